// Package journal owns the revocation journal: a file, meant to be on another disk
// than the database, that remembers every entry of the record of revocations, so
// that a restored backup revives nothing that ended after it was made.
//
//	a sign-out ──▶ store: change and entry, committed ──▶ Sync ──▶ answer
//	                            │                           │
//	                            └── record of revocations ──┴──▶ lines, synced
//
// The journal follows the record and writes nothing of its own, so a process that
// dies between the commit and the line leaves nothing out: the next one goes on
// where the file ends. One read and one sync serve everybody who waits. It does
// not own the record (room feed), the ends (rooms session, user, client, key), nor
// what a restore makes of the lines (room archive). docs/adr/0014 gives the
// reasons.
package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

const (
	// page is how many entries are read and written at once.
	page = 500
	// roundWait is how long one look at the record and one sync may take.
	roundWait = 8 * time.Second

	fileMode = 0o600
	dirMode  = 0o700
)

// Journal is an open journal file. It is safe for concurrent use; no other process
// can open the same file.
type Journal struct {
	path string
	feed Record
	now  func() time.Time

	// sync makes a file durable; tests let it fail.
	sync func(*os.File) error
	owed owed

	// turn is held by whoever runs a round.
	turn chan struct{}
	// Only who has the turn touches these.
	file *os.File
	end  int64 // where the next line goes
	last int64 // the last position in the file
	// newest is the entry there, without one when a hole is.
	newest feed.Entry
	// strange: the record has another past than the file.
	strange bool

	mu      sync.Mutex
	next    *round // the round that has not begun yet
	figures Figures
	cut     string
}

// Record is the record of revocations that a journal follows.
type Record interface {
	feed.Store
	// Head is the last position that was given out.
	Head(ctx context.Context) (int64, error)
}

// round is one look at the record, for everybody who asked before it began.
type round struct {
	done chan struct{}
	err  error
}

// Open opens the journal at a path, makes one 0600 when there is none, and brings
// it up to date with the record. What a cut-off write left behind the last whole line
// is taken away, and Cut says so: its writer died before anybody was told. A file that
// is damaged elsewhere, or that another process has open, is refused.
func Open(ctx context.Context, path string, store Record, now func() time.Time) (*Journal, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, feed: store, now: now, sync: (*os.File).Sync, turn: make(chan struct{}, 1)}
	if err := j.open(); err != nil {
		return nil, err
	}
	head, err := store.Head(ctx)
	if err == nil && head < j.last {
		err = fmt.Errorf("the journal %s has entries up to position %d, and the record of this database ends at %d: the database is an older copy, or another one; "+
			"bring it back with `holdfast restore`, so that what ended stays ended, or move the journal away", path, j.last, head)
	}
	if err == nil {
		err = j.Sync(ctx)
	}
	if err == nil && hole(j.last, head+1) { // the record forgot its last entries
		if err = j.mark(head); err == nil {
			err = j.sync(j.file)
		}
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// Close ends the use of the file.
func (j *Journal) Close() error {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// open opens the file and finds its end.
func (j *Journal) open() error {
	if err := os.MkdirAll(filepath.Dir(j.path), dirMode); err != nil {
		return fmt.Errorf("the journal's directory cannot be made: %w", err)
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("the journal cannot be opened: %w", err)
	}
	if err := hold(f); err != nil {
		return errors.Join(fmt.Errorf("another process has the journal %s open; each server needs a journal of its own: %w", j.path, err), f.Close())
	}
	c, end, err := read(f, j.path, false)
	if err == nil && end == 0 { // new, or it died while it was made
		c, end, err = j.begin(f)
	}
	if err == nil {
		err = f.Truncate(end)
		j.say(c.Torn)
	}
	if err == nil { // its last writer may have died before it did
		err = j.sync(f)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if c.After > c.last {
		c.newest = feed.Entry{}
	}
	j.file, j.end, j.last, j.newest, j.strange = f, end, max(c.After, c.last), c.newest, false
	return nil
}

// begin writes the first line.
func (j *Journal) begin(f *os.File) (c Contents, end int64, err error) {
	c = Contents{Began: j.now(), After: j.last}
	if j.strange { // those positions are of another past
		c.After = 0
	}
	line := headLine(c)
	if _, err = f.WriteAt(line, 0); err == nil {
		err = errors.Join(f.Sync(), syncFolder(j.path))
	}
	return c, int64(len(line)), err
}

// syncFolder makes the name of a file durable.
func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sync returns when everything that was committed before the call is in the
// journal and synced. The error is a *fault.Error: then what ended has ended, but a
// restored backup might not know.
func (j *Journal) Sync(ctx context.Context) error {
	j.mu.Lock()
	if j.next == nil {
		j.next = &round{done: make(chan struct{})}
	}
	r := j.next
	j.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fault.Down(context.Cause(ctx))
	case j.turn <- struct{}{}:
	}
	defer func() { <-j.turn }()
	j.mu.Lock()
	mine := j.next == r
	if mine {
		j.next = nil // who asks from now on is not served by this look
	}
	j.mu.Unlock()
	if !mine { // somebody ran it, and has finished, because the turn is ours
		<-r.done
		return r.err
	}
	r.err = fault.Down(errRound)
	defer close(r.done) // also when it panics: whoever waits for it has the turn next
	limited, stop := context.WithTimeout(context.WithoutCancel(ctx), roundWait)
	defer stop()
	began := j.now()
	written, err := j.follow(limited)
	if r.err = nil; err != nil {
		r.err = fault.Down(fmt.Errorf("the revocation journal %s cannot be written: %w", j.path, err))
	}
	j.count(began, written, err)
	return r.err
}

// errRound is what a round ends with that came to no end.
var errRound = errors.New("a round of the revocation journal was broken off")
