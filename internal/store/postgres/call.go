package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// errClosed is what calls after Close get.
var errClosed = errors.New("postgres: the database is closed")

// read runs f, which only reads, on a connection. Its error is *fault.Error, or
// one of the room's sentinels wrapped in refuse.
func (db *DB) read(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return db.call(ctx, StatementWait, f, readSays, readAgain)
}

// readSays is what the caller of a failed read is told, readAgain whether another
// connection is worth a try: a read may be repeated.
func readSays(err error) error {
	if no, ok := errors.AsType[refusal](err); ok {
		return no.error
	}
	return unread(err)
}

func readAgain(err error) bool { return judge(err) == again || broken(err) }

// write runs f, which is one implicit transaction, on a connection. The error is
// a room's sentinel, or *fault.Error: Busy when it was not begun, wrapping
// session.ErrReadOnly when it certainly was not written, and otherwise of unknown
// outcome.
func (db *DB) write(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	stop := db.stats.write()
	err := db.call(ctx, StatementWait, db.certain(f), settle, func(err error) bool {
		if judge(err) != again {
			return false
		}
		db.stats.retried()
		return true
	})
	stop(err)
	return err
}

// certain is f whose success counts: the server is the primary, and did not give up
// waiting for its synchronous replica.
func (db *DB) certain(f func(context.Context, *pgx.Conn) error) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		forgetNotices(c)
		err := f(ctx, c)
		switch {
		case unreplicated(c):
			db.stats.unreplicated.Add(1)
			return errUnreplicated // also after a refusal: what it saw may be lost
		case code(err) == readOnlyTransaction && alive(ctx, c) != nil:
			// What was read here lags behind, so going on without the write would be
			// wrong, too.
			return errors.Join(errStandby, c.Close(ctx))
		}
		return err
	}
}

// call is work behind the breaker: while the database does not answer it fails at
// once.
func (db *DB) call(ctx context.Context, limit time.Duration, f func(context.Context, *pgx.Conn) error, told func(error) error, retry func(error) bool) error {
	if err := db.breaker.admit(); err != nil {
		return err
	}
	return db.work(ctx, limit, f, told, retry)
}

// work lends f a connection, and another one as long as retry says so. Once f has
// begun it is not interrupted when its caller leaves: giving up a statement means
// giving up its connection, and callers on bad networks leave all the time.
func (db *DB) work(ctx context.Context, limit time.Duration, f func(context.Context, *pgx.Conn) error, told func(error) error, retry func(error) bool) error {
	all, cancel := context.WithTimeout(ctx, max(CallWait, limit))
	defer cancel()
	for try := 1; ; try++ {
		begun, err := db.attempt(all, limit, f)
		switch {
		case !begun:
			db.breaker.note(unheard(ctx, err))
			return err
		case err == nil || try == MaxTries || !retry(err) || !pause(all, try):
			db.breaker.note(heard(ctx, err))
			if err == nil {
				return nil
			}
			return told(err)
		}
	}
}

// attempt lends f a connection once. begun is false when f was not called; then
// the error is for the caller as it is.
func (db *DB) attempt(ctx context.Context, limit time.Duration, f func(context.Context, *pgx.Conn) error) (begun bool, err error) {
	if ctx.Err() != nil {
		return false, gone(ctx)
	}
	wait, cancel := context.WithTimeout(ctx, AcquireWait)
	defer cancel()
	db.stats.waiting.Add(1)
	conn, err := db.pool.Acquire(wait)
	db.stats.waiting.Add(-1)
	if err != nil {
		return false, db.unconnected(ctx, wait, err)
	}
	defer conn.Release()
	work, stop := lasting(ctx, limit)
	defer stop()
	return true, f(work, conn.Conn())
}

// lasting is a context that ends by time alone: after limit, or at the deadline
// of the caller's.
func lasting(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	work, stop := context.WithTimeout(context.WithoutCancel(ctx), limit)
	deadline, ok := ctx.Deadline()
	if !ok {
		return work, stop
	}
	work, stopToo := context.WithDeadline(work, deadline)
	return work, func() { stopToo(); stop() }
}

// pause waits before the next try; false when there will be none.
func pause(ctx context.Context, try int) bool {
	whole := retryPause << (try - 1)
	t := time.NewTimer(whole/2 + rand.N(whole/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// longRead runs f in a transaction that may take LongWait: for operators. It ends
// when its caller leaves.
func (db *DB) longRead(caller context.Context, f func(context.Context, pgx.Tx) error) error {
	return db.call(caller, LongWait, func(ctx context.Context, c *pgx.Conn) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(caller, stop)()
		return pgx.BeginTxFunc(ctx, c, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SET LOCAL statement_timeout = "+milliseconds(LongWait))
			if err == nil {
				_, err = tx.Exec(ctx, "SET LOCAL plan_cache_mode = auto")
			}
			if err != nil {
				return err
			}
			return f(ctx, tx)
		})
	}, unread, broken)
}
