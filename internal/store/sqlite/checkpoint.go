package sqlite

import "sync/atomic"

// The WAL is moved into the database file in two steps, because copying a
// thousand pages and syncing them takes as long as many commits, and everybody
// who waits for the writer would wait for it:
//
//  1. mover copies what is there, on a connection and a goroutine of its own, while the
//     writer goes on appending.
//  2. The writer copies the little that came meanwhile, so that the next
//     transaction begins the WAL anew. Without this step a busy WAL would only
//     grow.
//
// A failure costs nothing but space: the WAL stays valid and grows until the next
// attempt, and beyond aloneFactor times the usual length the writer does it all.

// aloneFactor is how many times its usual length the WAL may have before the writer
// stops waiting for the mover.
const aloneFactor = 4

// mover is the first step. At most one runs.
type mover struct {
	dial    dialer
	running atomic.Bool
	// moved: a run has ended since the writer looked last.
	moved atomic.Bool
	done  chan struct{} // of the last run; nil before the first
	// conn belongs to the run. nil after a failure.
	conn *conn
}

// start begins a run, unless one is under way. Only the writer calls it.
func (m *mover) start(failed func()) {
	if !m.running.CompareAndSwap(false, true) {
		return
	}
	m.done = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		defer m.running.Store(false)
		err := m.run()
		if err != nil {
			failed()
			return
		}
		m.moved.Store(true)
	}(m.done)
}

func (m *mover) run() (err error) {
	if m.conn == nil {
		m.conn, err = m.dial.open(writing)
		if err != nil {
			m.conn = nil
			return err
		}
	}
	_, err = m.conn.passiveCheckpoint()
	if err != nil {
		_ = m.conn.close() // the failure that brought us here is counted
		m.conn = nil
	}
	return err
}

// close waits for the run under way and lets go of the connection.
func (m *mover) close() error {
	if m.done != nil {
		<-m.done
	}
	if m.conn == nil {
		return nil
	}
	c := m.conn
	m.conn = nil
	return c.close()
}

// checkpoint is what the writer does for the length of the WAL, after its
// answers, so that no caller waits for it alone.
func (w *writer) checkpoint() {
	moved := w.mover.moved.Swap(false)
	if !moved && w.unasked < min(askAfter, w.checkpointAt) || w.conn == nil {
		return
	}
	w.unasked = 0
	var err error
	if moved {
		_, err = w.conn.passiveCheckpoint()
	} else {
		var pages int64
		pages, err = w.conn.walPages()
		switch {
		case err != nil:
		case pages >= aloneFactor*w.checkpointAt:
			_, err = w.conn.passiveCheckpoint()
		case pages >= w.checkpointAt:
			w.mover.start(w.stats.checkpointFailed)
		}
	}
	if err != nil {
		w.stats.checkpointFailed()
	}
}

// walPages is how many pages the WAL has.
func (c *conn) walPages() (int64, error) { return c.walAfter("PRAGMA wal_checkpoint(NOOP)") }

// passiveCheckpoint copies what no reader keeps it from, waits for nobody, and
// tells how many pages the WAL has.
func (c *conn) passiveCheckpoint() (int64, error) {
	return c.walAfter("PRAGMA wal_checkpoint(PASSIVE)")
}

func (c *conn) walAfter(pragma string) (pages int64, err error) {
	_, err = c.one(pragma, nil, func(r row) error { pages = r.int(1); return nil })
	return pages, err
}
