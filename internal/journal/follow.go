package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"holdfast.example/internal/feed"
)

// follow writes what the record has beyond the journal, syncs it, and tells how many
// entries that were. Lines that a failed sync left behind count for nothing: the system
// may have forgotten them, so that another sync would succeed without them. They are
// written again.
func (j *Journal) follow(ctx context.Context) (written int, err error) {
	upTo, known := j.owed.moment(), j.last
	if j.strange { // a file that begins now owes nothing to the one before
		known = 0
	}
	if err := j.stillThere(); err != nil {
		return 0, err
	}
	end, last, newest := j.end, j.last, j.newest
	written, err = j.take(ctx)
	if err == nil && j.last < known { // the file was cut, and the record has forgotten what it had
		err = j.mark(known)
	}
	if j.end > end {
		if failed := j.sync(j.file); failed != nil {
			j.end, j.last, j.newest = end, last, newest
			return 0, errors.Join(err, failed, j.file.Truncate(end))
		}
	}
	if err == nil {
		j.owed.settle(upTo)
	}
	return written, err
}

// errUnnumbered: a change is committed and has no place in the record yet, because
// the database cannot be written. A restore could not tell whether a backup has it.
var errUnnumbered = errors.New("the record cannot number its entries")

// take appends what the record has beyond the journal, and counts it.
func (j *Journal) take(ctx context.Context) (taken int, err error) {
	for {
		entries, full, err := j.beyond(ctx)
		if err != nil {
			return taken, err
		}
		numbered, before := 0, j.last
		for numbered < len(entries) && entries[numbered].Position > before {
			before = entries[numbered].Position
			numbered++
		}
		if numbered > 0 {
			if err := j.append(entries[:numbered]); err != nil {
				return taken, err
			}
			taken += numbered
		}
		switch {
		case numbered < len(entries):
			return taken, errUnnumbered
		case !full:
			return taken, nil
		}
	}
}

// beyond looks for what the record has beyond the journal, and whether there may be
// more. The look begins at the last entry of the journal, because the record must
// still say the same there, or have forgotten it.
func (j *Journal) beyond(ctx context.Context) (entries []feed.Entry, full bool, err error) {
	if j.newest.Key == "" {
		entries, err = j.feed.Since(ctx, j.last, page)
		return entries, len(entries) == page, err
	}
	entries, err = j.feed.Since(ctx, j.last-1, page)
	full = len(entries) == page
	switch {
	case err != nil:
		return nil, false, err
	case len(entries) == 0:
		head, err := j.feed.Head(ctx)
		if err == nil && (head < j.last || j.strange) {
			err = j.estranged()
		}
		return nil, false, err
	case entries[0].Position != j.last && !j.strange:
		return entries, full, nil
	case entries[0].Position != j.last, entries[0].Kind != j.newest.Kind, entries[0].Key != j.newest.Key, entries[0].Epoch != j.newest.Epoch:
		return nil, false, j.estranged()
	}
	j.strange = false
	return entries[1:], full, nil
}

// estranged: the record lost entries that the journal has, because a replica was
// promoted that lacked them, and gives their positions to others. Nothing is
// acknowledged any more until the record says again what the journal ends with, or the
// file is moved away: then a new one begins with all that the record has.
func (j *Journal) estranged() error {
	j.strange = true
	return fmt.Errorf("the journal %s has entries that the record of this database lacks: the database is an older copy, or another one; "+
		"bring it back with `holdfast restore`, so that what ended stays ended, or move the journal away, keep it, and sign out again whom it names", j.path)
}

// leap is the least by which positions jump when a backup is restored (room archive
// adds twice as much, and the entries of the lost time come off it). Nothing is missing
// in between.
const leap = 1 << 31

// hole reports whether entries are missing between two that should follow each other.
func hole(last, next int64) bool { return next > last+1 && next-last < leap }

// mark writes that something is missing up to a position: the record has forgotten it
// while this journal was not kept, and another node's may have it.
func (j *Journal) mark(after int64) error {
	line := headLine(Contents{Began: j.now(), After: after})
	if _, err := j.file.WriteAt(line, j.end); err != nil {
		return errors.Join(err, j.file.Truncate(j.end))
	}
	j.end, j.last, j.newest = j.end+int64(len(line)), after, feed.Entry{}
	return nil
}

// append writes lines behind the last one. What a failure leaves of them is taken
// away, or written over by the next attempt.
func (j *Journal) append(entries []feed.Entry) error {
	var lines []byte
	last, newest := j.last, j.newest
	for _, e := range entries {
		if hole(last, e.Position) {
			lines = append(lines, headLine(Contents{Began: j.now(), After: e.Position - 1})...)
		}
		lines = append(lines, entryLine(e)...)
		if e.Position >= last {
			last, newest = e.Position, e
		}
	}
	if _, err := j.file.WriteAt(lines, j.end); err != nil {
		return errors.Join(err, j.file.Truncate(j.end))
	}
	j.end, j.last, j.newest = j.end+int64(len(lines)), last, newest
	return nil
}

// stillThere notices that the file was moved away, as a log would be rotated, and
// begins a new one. One that became shorter or longer without this journal is read
// again: what was cut off it is written once more, as far as the record has it.
func (j *Journal) stillThere() error {
	if j.file != nil {
		mine, err := j.file.Stat()
		if err != nil {
			return err
		}
		there, err := os.Stat(j.path)
		if err == nil && os.SameFile(mine, there) && mine.Size() == j.end {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = j.file.Close()
		j.file = nil
		if err != nil {
			return err
		}
	}
	return j.open()
}
