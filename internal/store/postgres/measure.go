package postgres

import "holdfast.example/internal/session"

// RefreshStatements gives the two statements that a refresh asks of the database,
// as they are sent, for whoever measures what they cost without this program:
// load, whose one parameter is the id, and replace with its parameters, which
// leaves the session as next.
func RefreshStatements(next session.Session) (load, replace string, args []any) {
	return loadOne, replaceAlone, swapArgs(next)
}
