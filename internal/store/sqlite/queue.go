package sqlite

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// op is one caller's operation. do runs inside a transaction; it may run again
// in another one when the first was rolled back, and must then set anew whatever
// it sets.
type op struct {
	ctx   context.Context
	do    func(*conn) error
	state atomic.Int32
	done  chan error
	// relaxed: it may be answered before it is synced.
	relaxed bool
}

// The states of an op. Whoever moves it away from waiting decides: the writer
// begins it, or its caller leaves and it never runs.
const (
	waiting int32 = iota
	begun
	left
)

// write queues do and waits until its transaction is durable. The error is a
// room's sentinel, or *fault.Error: Busy when it was not begun, wrapping
// session.ErrReadOnly when it certainly was not written, and otherwise of
// unknown outcome.
func (w *writer) write(ctx context.Context, do func(*conn) error) error {
	return w.put(ctx, do, false)
}

// put is write, of a change that may be relaxed: then the error means the same, and
// nil means that the change is visible and will be on the disk soon.
func (w *writer) put(ctx context.Context, do func(*conn) error, relaxed bool) error {
	if ctx.Err() != nil {
		return gone(ctx)
	}
	o := &op{ctx: ctx, do: do, done: make(chan error, 1), relaxed: relaxed}
	timer := time.NewTimer(w.queueWait)
	defer timer.Stop()
	select {
	case w.queue <- o:
	case <-w.closing:
		return notWritten(errClosed)
	default:
		select {
		case w.queue <- o:
		case <-w.closing:
			return notWritten(errClosed)
		case <-ctx.Done():
			return gone(ctx)
		case <-timer.C:
			return busy("the server has more to write than it can; repeat the request in a moment")
		}
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		if o.state.CompareAndSwap(waiting, left) {
			return gone(ctx)
		}
		return unknownOutcome(context.Cause(ctx))
	case <-w.stopped:
		return w.afterStop(o)
	case <-timer.C:
	}
	if o.state.CompareAndSwap(waiting, left) {
		return busy("the server has more to write than it can; repeat the request in a moment")
	}
	timer.Reset(w.commitWait) // it has begun: wait for the disk a little longer
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return unknownOutcome(context.Cause(ctx))
	case <-timer.C:
		return unknownOutcome(errors.New("sqlite: the disk does not answer"))
	case <-w.stopped:
		return w.afterStop(o)
	}
}

// afterStop settles an operation that met the end of the writer: it was
// answered at the last moment, or it was queued too late and never ran.
func (w *writer) afterStop(o *op) error {
	select {
	case err := <-o.done:
		return err
	default:
		return notWritten(errClosed)
	}
}
