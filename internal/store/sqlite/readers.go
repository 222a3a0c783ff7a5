package sqlite

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// readers is a fixed set of connections that only read. Every read sees the
// newest committed state: nothing here keeps a snapshot between two calls.
//
// The connection that was given back last is lent first. SQLite drops what a
// connection has cached when somebody else commits, so reads between two commits
// share what the first of them read only if they share its connection.
type readers struct {
	dial   dialer
	slots  chan struct{} // one for each connection that may be lent
	closed atomic.Bool

	mu sync.Mutex
	// idle are the open connections that nobody holds, the hottest last.
	idle []*conn
}

func newReaders(d dialer, n int) *readers {
	r := &readers{dial: d, slots: make(chan struct{}, n)}
	for range n {
		r.slots <- struct{}{}
	}
	return r
}

var errClosed = errors.New("sqlite: the database is closed")

// read lends f a connection. Its error is the room's to interpret; a connection
// whose statement failed is closed and opened anew for the next caller, so that
// no bad state outlives its cause.
func (r *readers) read(ctx context.Context, f func(*conn) error) error {
	err := r.take(ctx)
	if err != nil {
		return err
	}
	defer func() { r.slots <- struct{}{} }()
	c := r.hottest()
	if c == nil {
		if c, err = r.dial.open(reader); err != nil {
			return unread(err)
		}
	}
	if err := f(c); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		_ = c.close() // it failed already; the cause is err
		return unread(err)
	}
	r.mu.Lock()
	r.idle = append(r.idle, c)
	r.mu.Unlock()
	return nil
}

// hottest is the connection that was given back last, nil when none is open.
func (r *readers) hottest() *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == 0 {
		return nil
	}
	c := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	return c
}

func (r *readers) take(ctx context.Context) error {
	if r.closed.Load() {
		return unread(errClosed)
	}
	select {
	case <-r.slots:
		return nil
	default:
	}
	timer := time.NewTimer(ReadWait)
	defer timer.Stop()
	select {
	case <-r.slots:
		return nil
	case <-ctx.Done():
		return unread(context.Cause(ctx))
	case <-timer.C:
		return busy("the server is reading as much as it can; repeat the request in a moment")
	}
}

// close waits for the reads under way.
func (r *readers) close() error {
	r.closed.Store(true)
	for range cap(r.slots) {
		<-r.slots
	}
	var errs []error
	for c := r.hottest(); c != nil; c = r.hottest() {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
