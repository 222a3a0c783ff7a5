package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// changedOne gives the error of a statement that changes one row, or the refusal
// when it changed none.
func changedOne(tag pgconn.CommandTag, err error) func(otherwise error) error {
	return func(otherwise error) error {
		if err == nil && tag.RowsAffected() == 0 {
			err = refuse(otherwise)
		}
		return err
	}
}

// where collects the conditions of a query and their arguments.
type where struct {
	conditions []string
	args       []any
}

// and adds a condition, in which each ? stands for the next argument.
func (w *where) and(condition string, args ...any) {
	for _, a := range args {
		condition = strings.Replace(condition, "?", w.arg(a), 1)
	}
	w.conditions = append(w.conditions, condition)
}

// arg adds an argument and gives its name.
func (w *where) arg(a any) string {
	w.args = append(w.args, a)
	return fmt.Sprintf("$%d", len(w.args))
}

func (w *where) text() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// inBatches runs a statement that deletes at most $2 rows, purgeDelete at a time,
// until limit rows are gone or fewer than asked for were found.
func (db *DB) inBatches(ctx context.Context, limit int, text string, arg any) (deleted int, err error) {
	for deleted < limit {
		batch := min(limit-deleted, purgeDelete)
		var n int64
		err := db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
			tag, err := c.Exec(ctx, text, arg, batch)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return deleted, err
		}
		deleted += int(n)
		if n < int64(batch) {
			break
		}
	}
	return deleted, nil
}

// collect reads all rows; none give nil.
func collect[T any](rows pgx.Rows, scan func(pgx.CollectableRow) (T, error)) ([]T, error) {
	var all []T
	return pgx.AppendRows(all, rows, scan)
}
