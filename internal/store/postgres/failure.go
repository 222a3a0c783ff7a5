package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// refusal is a call's own no: a row that changed, a name that is taken. Nothing
// was written.
type refusal struct{ error }

func refuse(err error) error { return refusal{err} }

// notWritten is a failure after which the change is certainly not there. A caller
// that can live without the write may go on (session.ErrReadOnly).
func notWritten(cause error) error {
	return fault.Down(fmt.Errorf("%w: %w", session.ErrReadOnly, cause))
}

// unknownOutcome is a failure after which nobody knows whether the change is
// there. Repeating the request finds out.
func unknownOutcome(cause error) error { return fault.Down(cause) }

// busy is a refusal of a call that was not begun, or that the server ended each
// time it was tried.
func busy(cause error) error {
	return &fault.Error{Kind: fault.Busy, Words: "the database has more to do than it can; repeat the request in a moment",
		RetryAfter: fault.RetrySoon, Cause: cause}
}

// unread is a read that failed.
func unread(cause error) error { return fault.Down(cause) }

// gone is what a caller hears whose context ended before its call began. It was
// certainly not written, but that is no reason to go on without it: nobody waits
// any more, or the time for an answer is over.
func gone(ctx context.Context) error { return unknownOutcome(context.Cause(ctx)) }

// unconnected is what a caller hears who got no connection: nothing was sent.
func (db *DB) unconnected(ctx, wait context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return gone(ctx)
	case wait.Err() != nil:
		return busy(err)
	case strings.Contains(err.Error(), "closed pool"):
		return notWritten(errClosed)
	}
	return notWritten(err)
}

// verdict is what a failed change means.
type verdict int

const (
	unknown verdict = iota // it may be there
	never                  // it is certainly not there
	again                  // the same, and trying again is worth it
)

// The SQLSTATEs that decide something (PostgreSQL's appendix A).
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	lockNotAvailable     = "55P03"
	queryCanceled        = "57014" // statement_timeout; it does not run during a commit
	uniqueViolation      = "23505"
	noSuchStatement      = "26000" // a prepared statement that a pooler's connection lacks
	featureNotSupported  = "0A000" // "cached plan must not change result type", after a migration
	readOnlyTransaction  = "25006"
	completionUnknown    = "40003"
	connectionException  = "08" // the class: a pooler says it for a server that left it
)

// judge says what an error of a change means. A change is one implicit
// transaction: when the server answers with an error, all of it is undone. When
// the server ends the connection instead (FATAL) or there is no answer, the commit
// may have happened before. So it may when a pooler lost its server: that error is the
// pooler's own, and has only the words of the severity or none that ends anything.
func judge(err error) verdict {
	if pgconn.SafeToRetry(err) {
		return again // nothing was sent
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || hungUp(e) || e.Code == completionUnknown || strings.HasPrefix(e.Code, connectionException) {
		return unknown
	}
	switch e.Code {
	case serializationFailure, deadlockDetected, noSuchStatement, featureNotSupported:
		return again
	case uniqueViolation:
		if e.ConstraintName == auditPrimaryKey { // two events drew one position
			return again
		}
	}
	return never
}

// hungUp reports whether an error came with the end of its connection. Poolers send
// the severity once, in English; a server that speaks another language sends it in
// English, too.
func hungUp(e *pgconn.PgError) bool {
	severity := cmp.Or(e.SeverityUnlocalized, e.Severity)
	return severity == "FATAL" || severity == "PANIC"
}

// settle turns the last error of a change into what its caller is told.
func settle(err error) error {
	if no, ok := errors.AsType[refusal](err); ok {
		return no.error
	}
	switch judge(err) {
	case again:
		return busy(err)
	case never:
		if code(err) == lockNotAvailable || code(err) == queryCanceled {
			return busy(err)
		}
		return notWritten(err)
	}
	return unknownOutcome(err)
}

// broken reports whether a connection died under a read, which is harmless to
// repeat on another one.
func broken(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return hungUp(e) || strings.HasPrefix(e.Code, connectionException)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	_, netError := errors.AsType[net.Error](err)
	return netError || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// code is the SQLSTATE of an error, "" for none.
func code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// violates reports whether an error is the violation of one of the named unique
// constraints.
func violates(err error, constraints ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || e.Code != uniqueViolation {
		return false
	}
	for _, c := range constraints {
		if e.ConstraintName == c {
			return true
		}
	}
	return false
}
