package postgres

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// maxDoubts is how many sessions and accounts in doubt are remembered one by one;
// beyond it all of them are, until the next write that is answered.
const maxDoubts = 4096

// doubts are the sessions whose last change had an unknown outcome at this node, and the
// accounts of which that is true of a change that ended something. A
// server commits a change whose wait for the synchronous replica is cut short, also
// when this side gave up, and shows it from then on. Whoever repeats the request
// would find it and be told that it is done, while a failover can still lose it. So
// such a session or account is read again only after a later write was answered: the replica
// receives changes in order, and then has this one, too.
type doubts struct {
	// any is how many there are, so that nearly every read asks nothing else.
	any atomic.Int64

	mu sync.Mutex
	// since is when each one came, counted in changes of unknown outcome.
	since map[[id.Size]byte]uint64
	// overflow is when the last one came that had no room.
	overflow, last uint64
	running        *confirmation
}

// confirmation is one write that settles the doubts there were when it began.
type confirmation struct {
	done chan struct{}
	err  error
}

// doubt gives back the error of a change of a session or an account, and remembers it
// when nobody knows what became of it.
func (db *DB) doubt(which [id.Size]byte, err error) error {
	if err == nil || !uncertain(err) {
		return err
	}
	d := &db.doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	if d.since == nil {
		d.since = map[[id.Size]byte]uint64{}
	}
	if _, known := d.since[which]; known || len(d.since) < maxDoubts {
		d.since[which] = d.last
	} else {
		d.overflow = d.last
	}
	d.count()
	return err
}

// uncertain reports whether a change may be there. Work that has begun ends by time
// alone, so a caller who cancelled had not begun any.
func uncertain(err error) bool {
	return !errors.Is(err, context.Canceled) && !errors.Is(err, session.ErrChanged) && !errors.Is(err, user.ErrChanged) && !errors.Is(err, user.ErrTaken) && !errors.Is(err, session.ErrReadOnly) && !fault.Is(err, fault.Busy)
}

func (d *doubts) count() {
	n := int64(len(d.since))
	if d.overflow > 0 {
		n++
	}
	d.any.Store(n)
}

// settled waits until nothing about a session or an account is in doubt.
func (db *DB) settled(ctx context.Context, which [id.Size]byte) error {
	d := &db.doubts
	for d.any.Load() > 0 {
		d.mu.Lock()
		if _, doubtful := d.since[which]; !doubtful && d.overflow == 0 {
			d.mu.Unlock()
			return nil
		}
		c := d.running
		if c == nil {
			c = &confirmation{done: make(chan struct{})}
			d.running = c
			go db.confirm(c, d.last)
		}
		d.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			return gone(ctx)
		}
		if c.err != nil {
			return c.err
		}
	}
	return nil
}

// confirm settles what came up to a moment. A server that refuses the write for
// certain (read-only, disk full) has no replica to wait for, and is read as it is.
func (db *DB) confirm(c *confirmation, upTo uint64) {
	err := db.write(context.Background(), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "UPDATE write_probe SET count = count + 1")
		return err
	})
	d := &db.doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && !refused(err) {
		c.err = err
	} else {
		maps.DeleteFunc(d.since, func(_ [id.Size]byte, at uint64) bool { return at <= upTo })
		if d.overflow <= upTo {
			d.overflow = 0
		}
		d.count()
	}
	d.running = nil
	close(c.done)
}

// refused reports whether the server itself answered that it does not write. That
// there was no connection also means that nothing was written, but tells nothing about
// what was before.
func refused(err error) bool {
	e, answered := errors.AsType[*pgconn.PgError](err)
	return answered && !hungUp(e) && errors.Is(err, session.ErrReadOnly)
}
