package sqlite

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// readers is a fixed set of connections that only read. Every read sees the
// newest committed state: nothing here keeps a snapshot between two calls.
type readers struct {
	dial   dialer
	free   chan *conn // nil stands for a connection that is not open
	closed atomic.Bool
}

func newReaders(d dialer, n int) *readers {
	r := &readers{dial: d, free: make(chan *conn, n)}
	for range n {
		r.free <- nil
	}
	return r
}

var errClosed = errors.New("sqlite: the database is closed")

// read lends f a connection. Its error is the room's to interpret; a connection
// whose statement failed is closed and opened anew for the next caller, so that
// no bad state outlives its cause.
func (r *readers) read(ctx context.Context, f func(*conn) error) error {
	c, err := r.take(ctx)
	if err != nil {
		return err
	}
	if c == nil {
		if c, err = r.dial.open(reader); err != nil {
			r.free <- nil
			return unread(err)
		}
	}
	if err := f(c); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		_ = c.close() // it failed already; the cause is err
		r.free <- nil
		return unread(err)
	}
	r.free <- c
	return nil
}

func (r *readers) take(ctx context.Context) (*conn, error) {
	if r.closed.Load() {
		return nil, unread(errClosed)
	}
	select {
	case c := <-r.free:
		return c, nil
	default:
	}
	timer := time.NewTimer(ReadWait)
	defer timer.Stop()
	select {
	case c := <-r.free:
		return c, nil
	case <-ctx.Done():
		return nil, unread(context.Cause(ctx))
	case <-timer.C:
		return nil, busy("the server is reading as much as it can; repeat the request in a moment")
	}
}

// close waits for the reads under way.
func (r *readers) close() error {
	r.closed.Store(true)
	var errs []error
	for range cap(r.free) {
		if c := <-r.free; c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}
