package postgres

import (
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A server with a synchronous replica answers a commit when the replica has it.
// When that wait is cancelled (by an operator, or because this side gave up) the
// server has committed, sends a warning, and then answers as if all were well. The
// change may be lost if the replica takes over, so its outcome is unknown; whoever
// reads in between sees it.

// errUnreplicated: the wait for the synchronous replica was cancelled.
var errUnreplicated = errors.New("postgres: committed, but the wait for the synchronous replica was cancelled: the change may be lost in a failover")

// The SQLSTATEs of the two warnings: the statement was cancelled, or the
// connection is being ended. 01000 is every plain warning, and no other is known
// to come from statements that only read and write rows.
const (
	plainWarning  = "01000"
	adminShutdown = "57P01"
)

// noticeKey is where a connection keeps that it heard such a warning.
const noticeKey = "holdfast.unreplicated"

// hearNotice is called while an answer is read, by the goroutine that reads it.
func hearNotice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" && (n.Code == plainWarning || n.Code == adminShutdown) {
		c.CustomData()[noticeKey] = true
	}
}

func forgetNotices(c *pgx.Conn) { delete(c.PgConn().CustomData(), noticeKey) }

// unreplicated reports whether a warning was heard since forgetNotices.
func unreplicated(c *pgx.Conn) bool {
	_, heard := c.PgConn().CustomData()[noticeKey]
	return heard
}
