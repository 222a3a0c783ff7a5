package journal

import (
	"fmt"
	"time"
)

// Figures are what a journal tells about itself.
type Figures struct {
	// Entries is how many were written and synced since the start, Failed how many
	// rounds did not succeed.
	Entries, Failed uint64
	// Failing: the last round failed. What ends is answered with 503.
	Failing bool
	// Good is when the last round began that succeeded, by this process's clock: what
	// was committed before it is in the journal. The zero time means none did.
	Good time.Time
	// Owed is how many ends took effect and were not acknowledged, because the journal
	// does not have them, or may not.
	Owed int
}

// Figures are those of this moment.
func (j *Journal) Figures() Figures {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.figures
	f.Owed = j.owed.count()
	return f
}

// count takes a round down.
func (j *Journal) count(began time.Time, written int, failed error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.figures.Entries += uint64(written)
	if j.figures.Failing = failed != nil; failed != nil {
		j.figures.Failed++
	} else {
		j.figures.Good = began
	}
}

// doubt is how far the clock of this process and that of the store may differ,
// together with how long a commit may take after its time was read.
const doubt = time.Minute

// mayLack reports whether something that ended at a time of the store may be missing in
// the journal: no round that succeeded is known to have begun later. Another node may
// have ended it, and may have had no journal to write it to.
func (j *Journal) mayLack(ended time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return ended.Add(doubt).After(j.figures.Good)
}

// Cut says what was taken away at the end of the file when it was opened, in one
// sentence for the operator; "" for nothing.
func (j *Journal) Cut() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cut
}

func (j *Journal) say(torn int64) {
	if torn == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cut = fmt.Sprintf("the revocation journal %s ended in %d bytes of a write that was cut off; they were taken away, and what they said is written again as far as the record has it. "+
		"Nobody had been told of it", j.path, torn)
}
