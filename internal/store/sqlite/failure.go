package sqlite

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite/lib"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// refusal is an operation's own no: a row that changed, a name that is taken.
// It is decided before the operation's first write, so it leaves no effect, and
// it is answered only when the batch it was decided in is durable.
type refusal struct{ error }

// refuse says no to the caller with one of its room's sentinel errors.
func refuse(err error) error { return refusal{err} }

// notWritten is a failure after which the change is certainly not there: the
// disk is full, the file cannot be written, another process holds the lock. A
// caller that can live without the write may go on (session.ErrReadOnly).
func notWritten(cause error) error {
	return fault.Down(fmt.Errorf("%w: %w", session.ErrReadOnly, cause))
}

// unknownOutcome is a failure after which nobody knows whether the change is
// there. Repeating the request finds out.
func unknownOutcome(cause error) error { return fault.Down(cause) }

// busy is a refusal of the queue: the operation was not begun and never will.
func busy(words string) error {
	return &fault.Error{Kind: fault.Busy, Words: words, RetryAfter: fault.RetrySoon}
}

// unread is a read that failed.
func unread(cause error) error { return fault.Down(cause) }

// primary is SQLite's result code without the extended part; 0 is no such code.
func primary(err error) int { return extended(err) & 0xff }

func extended(err error) int {
	if e, ok := errors.AsType[coded](err); ok {
		return e.Code()
	}
	return 0
}

// coded is what the driver's errors are.
type coded interface {
	error
	Code() int
}

// failsAll reports whether an error is the database's or the disk's, which fails
// everybody in the batch, and not one operation's own fault.
func failsAll(err error) bool {
	switch primary(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL,
		sqlite3.SQLITE_PERM, sqlite3.SQLITE_ABORT, sqlite3.SQLITE_INTERRUPT:
		return true
	}
	return false
}

// commitFailed classifies the failure of a COMMIT. The mark that makes a
// transaction count is in the last frame it appends to the WAL. When appending
// failed, that frame is not there in full, its checksum does not fit, and no
// recovery will ever read it: certainly not written. This is where a full disk
// shows. A failure of anything after it, the fsync above all, leaves a complete
// transaction in the file that a crash may bring back: unknown.
func commitFailed(err error) error {
	switch code := extended(err); {
	case code&0xff == sqlite3.SQLITE_FULL, code&0xff == sqlite3.SQLITE_READONLY, code == sqlite3.SQLITE_IOERR_WRITE:
		return notWritten(err)
	}
	return unknownOutcome(err)
}

// gone is what a caller hears whose context ended before its operation began. It
// was certainly not written, but that is no reason to go on without it: nobody
// waits any more, or the time for an answer is over.
func gone(ctx context.Context) error { return unknownOutcome(context.Cause(ctx)) }
