package sqlite

import (
	"errors"
	"slices"
	"sync"
	"time"

	"modernc.org/sqlite/lib"
)

// writer owns the only connection that writes. One goroutine takes whatever
// waits, executes it in one transaction, syncs, and only then answers everybody.
// While it syncs, the next batch gathers; nobody is ever made to wait for
// company, so a caller alone pays for exactly one fsync.
type writer struct {
	dial    dialer
	now     func() time.Time
	queue   chan *op
	closing chan struct{} // closed when no more is accepted
	stopped chan struct{} // closed when the goroutine is gone
	once    sync.Once

	// conn is nil after a failure that may have left it in an unknown state.
	// Only the goroutine touches it.
	conn *conn
	// unsynced: conn commits without syncing.
	unsynced bool
	// queueWait and commitWait are QueueWait and CommitWait, shorter in tests.
	queueWait, commitWait time.Duration
	// checkpointAt is checkpointPages, less in tests.
	checkpointAt int64
	// unasked counts operations since the length of the WAL was last asked for.
	unasked int64
	mover   mover
	// hook, set by tests before the first write, is asked at each point of a
	// batch and may make it fail there.
	hook func(point) error

	stats counters
}

// point is a place in a batch where a test may let it fail.
type point int

const (
	beforeBegin point = iota
	beforeCommit
	afterCommit
)

func newWriter(d dialer, now func() time.Time) *writer {
	w := &writer{
		dial: d, mover: mover{dial: d}, now: now, queueWait: QueueWait, commitWait: CommitWait, checkpointAt: checkpointPages,
		queue: make(chan *op, QueueDepth), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.run()
	return w
}

// close lets the writer answer everybody who is queued, then stops it.
func (w *writer) close() error {
	w.once.Do(func() { close(w.closing) })
	<-w.stopped
	err := w.mover.close()
	if w.conn == nil {
		return err
	}
	c := w.conn
	w.conn = nil
	return errors.Join(err, c.close())
}

func (w *writer) run() {
	defer close(w.stopped)
	batch := make([]*op, 0, MaxBatch)
	for {
		select {
		case o := <-w.queue:
			batch = w.gather(append(batch[:0], o))
		case <-w.closing:
			batch = w.gather(batch[:0])
			if len(batch) == 0 {
				return
			}
		}
		w.process(batch)
		clear(batch) // lets go of the callers' contexts
	}
}

// gather adds what waits already, up to a full batch.
func (w *writer) gather(batch []*op) []*op {
	for len(batch) < MaxBatch {
		select {
		case o := <-w.queue:
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

// process executes a batch and answers everybody in it.
func (w *writer) process(batch []*op) {
	live := batch[:0]
	for _, o := range batch {
		switch {
		case !o.state.CompareAndSwap(waiting, begun): // its caller has left
		case o.ctx.Err() != nil:
			o.done <- gone(o.ctx)
		default:
			live = append(live, o)
		}
	}
	if len(live) == 0 {
		return
	}
	answers, err := w.transact(live)
	if guilty := (*opFailed)(nil); errors.As(err, &guilty) && len(live) > 1 {
		// One operation's own fault must not fail its neighbours: nothing was
		// committed, so everybody gets a transaction of his own.
		for _, o := range live {
			one, err := w.transact([]*op{o})
			w.answer([]*op{o}, one, err)
		}
	} else {
		w.answer(live, answers, err)
	}
	w.unasked += int64(len(live))
	w.checkpoint()
}

// answer tells every caller his own answer, or the batch's failure.
func (w *writer) answer(batch []*op, answers []error, err error) {
	w.stats.batch(len(batch), err)
	for i, o := range batch {
		if err != nil {
			o.done <- err
		} else {
			o.done <- answers[i]
		}
	}
}

// opFailed is the failure of one operation that is neither a refusal nor the
// database's: a bug, or a value SQLite will not take.
type opFailed struct{ error }

func (e *opFailed) Unwrap() error { return e.error }

// transact runs operations in one transaction. The answers count only when the
// error is nil: then all of it is durable, or all of it is relaxed.
func (w *writer) transact(batch []*op) (answers []error, err error) {
	relaxed := !slices.ContainsFunc(batch, func(o *op) bool { return !o.relaxed })
	if err := w.begin(relaxed); err != nil {
		return nil, notWritten(err)
	}
	answers = make([]error, len(batch))
	for i, o := range batch {
		err := o.do(w.conn)
		if no, ok := errors.AsType[refusal](err); ok {
			answers[i] = no.error
			continue
		}
		if err == nil {
			continue
		}
		w.rollback()
		if failsAll(err) {
			return nil, notWritten(err)
		}
		return nil, &opFailed{notWritten(err)}
	}
	return answers, w.commit()
}

// begin opens a transaction that holds the write lock from its first moment,
// so that no statement in it can find the database busy or changed.
func (w *writer) begin(relaxed bool) error {
	if w.hook != nil {
		if err := w.hook(beforeBegin); err != nil {
			return err
		}
	}
	if w.conn == nil {
		c, err := w.dial.open(writing)
		if err != nil {
			return err
		}
		w.conn, w.unsynced = c, false
	}
	if err := w.sync(!relaxed); err != nil {
		w.drop()
		return err
	}
	_, err := w.conn.run("BEGIN IMMEDIATE")
	if err != nil && primary(err) != sqlite3.SQLITE_BUSY {
		w.drop()
	}
	return err
}

// sync decides whether the commits that follow are synced. A commit that is takes
// everything before it along, because the log is one file. SQLite heeds this pragma
// when it is prepared, and only outside a transaction, so the text is sent each time.
func (w *writer) sync(on bool) error {
	if on != w.unsynced {
		return nil
	}
	level := w.dial.synchronous
	if !on {
		level = max(level, Normal)
	}
	if err := w.conn.script("PRAGMA synchronous=" + level.pragma()); err != nil {
		return err
	}
	w.unsynced = !on
	return nil
}

func (w *writer) commit() error {
	if w.hook != nil {
		if err := w.hook(beforeCommit); err != nil {
			w.rollback()
			return commitFailed(err)
		}
	}
	start := w.now()
	_, err := w.conn.run("COMMIT")
	w.stats.committed(w.now().Sub(start))
	if err != nil {
		w.rollback()
		w.drop()
		return commitFailed(err)
	}
	if w.hook != nil {
		if err := w.hook(afterCommit); err != nil {
			return commitFailed(err)
		}
	}
	return nil
}

// rollback ends a transaction without effect. SQLite may have ended it itself.
// A connection that is still inside one afterwards is not used again; closing it
// discards what it had not committed.
func (w *writer) rollback() {
	clear(w.conn.terms) // it may name rows that are being undone
	_, err := w.conn.run("ROLLBACK")
	if err != nil && primary(err) != sqlite3.SQLITE_ERROR { // "no transaction is active"
		w.drop()
	}
}

// drop gives up a connection whose state is not known for certain. The next
// batch opens another, so the store recovers by itself once the disk does.
func (w *writer) drop() {
	if w.conn != nil {
		_ = w.conn.close() // the failure that brought us here is reported
		w.conn = nil
	}
}
