package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/session"
)

// Limits of writing together.
const (
	// groupsAtOnce is how many transactions of rotations a node has under way. The
	// next one gathers what arrives meanwhile: one transaction waits for the disk
	// while the other is carried out.
	groupsAtOnce = 2
	// groupSize is how many rotations share a transaction at most.
	groupSize = 64
)

// group makes one transaction of the rotations that wait: the server then commits,
// syncs and wakes up once for all of them. A rotation that meets nobody is sent at
// once and by itself, so nobody waits for company.
//
// The rotations of a transaction are sent in one piece, in the order of their ids,
// like all that locks sessions. Each is its own compare-and-swap and is answered by
// itself. Two of one session meet in the order in which they came, and the second
// one finds the row changed. When one fails, none is there; then each is sent again
// by itself, so that nobody else pays for it twice.
type group struct {
	mu      sync.Mutex
	waiting []*rotation
	running int
}

// rotation is one call of Replace.
type rotation struct {
	args []any
	done chan error // nil, session.ErrChanged, errAlone, or what all of them failed with
}

// errAlone says that nothing was written because of one among several.
var errAlone = errors.New("postgres: one of several writes failed")

// together replaces a session with whoever else is there.
func (db *DB) together(ctx context.Context, args []any) error {
	g, r := &db.group, &rotation{args: args, done: make(chan error, 1)}
	g.mu.Lock()
	alone := g.running < groupsAtOnce
	if alone {
		g.running++
	} else {
		g.waiting = append(g.waiting, r)
	}
	g.mu.Unlock()
	if alone {
		defer db.nextGroup()
		return db.replaceAlone(ctx, args)
	}
	var err error
	select {
	case err = <-r.done:
	case <-ctx.Done():
		if g.withdraw(r) || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return gone(ctx)
		}
		err = <-r.done // it is under way, and whoever only left does not end it
	}
	if err == errAlone {
		return db.replaceAlone(ctx, args)
	}
	return err
}

// withdraw takes a rotation back unless it is under way.
func (g *group) withdraw(r *rotation) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, r)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// nextGroup follows a transaction that ended: with those who wait, if any.
func (db *DB) nextGroup() {
	g := &db.group
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), groupSize)
	if n == 0 {
		g.running--
		return
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	go func() {
		defer db.nextGroup()
		db.writeGroup(batch)
	}()
}

// writeGroup writes one transaction and tells everybody.
func (db *DB) writeGroup(batch []*rotation) {
	slices.SortStableFunc(batch, func(a, b *rotation) int {
		x, y := sessionOf(a), sessionOf(b)
		return bytes.Compare(x[:], y[:])
	})
	answers := make([]error, len(batch))
	var last error
	err := db.write(context.Background(), func(ctx context.Context, c *pgx.Conn) error {
		b := &pgx.Batch{}
		for _, r := range batch {
			b.Queue(replaceAlone, r.args...)
		}
		results := c.SendBatch(ctx, b)
		last = nil
		for i := range batch {
			tag, err := results.Exec()
			answers[i] = nil
			if err == nil && tag.RowsAffected() == 0 {
				answers[i] = session.ErrChanged
			}
			last = first(last, err)
		}
		last = first(last, results.Close())
		return last
	})
	for i, r := range batch {
		switch {
		case err == nil:
			r.done <- answers[i]
		case len(batch) > 1 && last != nil && judge(last) != unknown:
			r.done <- errAlone
		default:
			r.done <- err
		}
	}
}

// first is the first of two errors.
func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func sessionOf(r *rotation) [16]byte { return r.args[0].([16]byte) }

// replaceAlone is a transaction of one rotation.
func (db *DB) replaceAlone(ctx context.Context, args []any) error {
	return db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return changedOne(c.Exec(ctx, replaceAlone, args...))(session.ErrChanged)
	})
}
