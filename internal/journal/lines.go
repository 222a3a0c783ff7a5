package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

// A journal is lines of JSON, each followed by a tab and its CRC-32C in hex, so
// that people can read it and nobody mistakes half a line for a whole one. The
// first line says when the journal began. Another one like it says that something is
// missing before it, and since when nothing is.

// headline is the first line.
type headline struct {
	Journal int   `json:"holdfast_journal"`
	Began   int64 `json:"began"`
	After   int64 `json:"after"`
}

// written is an entry as a line has it.
type written struct {
	Position int64        `json:"position"`
	Kind     feed.Kind    `json:"kind"`
	Key      string       `json:"key"`
	Epoch    uint32       `json:"epoch,omitempty"`
	Except   string       `json:"except,omitempty"`
	Reason   fault.Reason `json:"reason"`
	At       int64        `json:"at"`
	Until    int64        `json:"until"`
}

// headBegin is what lines like the first one begin with.
var headBegin = []byte(`{"holdfast_journal":`)

// format is the version of the lines.
const format = 1

const (
	// maxLine is the longest line, in bytes.
	maxLine = 4096
	// maxWrite is the longest write, in bytes: a page of entries, each behind a hole.
	// What a crash can leave behind the last synced line is no longer.
	maxWrite = 2 * page * maxLine
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sealLine(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	return fmt.Appendf(b, "\t%08x\n", crc32.Checksum(b, castagnoli))
}

func headLine(c Contents) []byte {
	return sealLine(headline{format, c.Began.UnixMilli(), c.After})
}

func entryLine(e feed.Entry) []byte {
	return sealLine(written{e.Position, e.Kind, e.Key, e.Epoch, e.ExceptSID, e.Reason, e.At.UnixMilli(), e.Until.UnixMilli()})
}

// Contents are what journals say.
type Contents struct {
	// Began is since when nothing is missing.
	Began time.Time
	// After is the position behind which nothing is missing.
	After   int64
	Entries []feed.Entry
	// Torn is how many bytes behind the last whole line are none: a write that was cut
	// off, and that nobody was told of.
	Torn int64
	last int64
	// newest is the entry at last, without one when there is none.
	newest feed.Entry
	// earlier is what stands before a hole.
	earlier []Contents
}

// Read reads a journal, or several that follow each other after the first was
// moved away, in any order. Lines that are not whole are refused, except those that
// a cut-off write left at the end of a file.
func Read(paths ...string) (Contents, error) {
	var all []Contents
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return Contents{}, err
		}
		c, end, err := read(f, path, true)
		if err == nil && end == 0 {
			err = fmt.Errorf("%s is not a revocation journal", path)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return Contents{}, err
		}
		all = append(append(all, c.earlier...), c)
	}
	if len(all) == 0 {
		return Contents{}, errors.New("no journal was named")
	}
	// Positions tell what follows what; a clock may have gone back in between.
	slices.SortStableFunc(all, func(a, b Contents) int { return cmp.Or(cmp.Compare(a.After, b.After), a.Began.Compare(b.Began)) })
	whole := all[0]
	whole.earlier = nil
	for _, c := range all[1:] {
		if c.After > whole.last && c.After > whole.After { // something between them is missing
			whole.Began, whole.After = c.Began, c.After
		}
		whole.Entries = append(whole.Entries, c.Entries...)
		whole.Torn += c.Torn
		whole.last = max(whole.last, c.last)
	}
	return whole, nil
}

// read reads one file, keeps its entries if asked to, and tells where its last whole line ends: 0 when there is
// not even the first.
func read(f io.Reader, path string, keep bool) (c Contents, end int64, err error) {
	in := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case err == nil && c.take(n, line, keep):
			end += int64(len(line))
			continue
		case errors.Is(err, io.EOF) && len(line) == 0:
			return c, end, nil
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
			return c, 0, err
		}
		rest, err := io.ReadAll(io.LimitReader(in, maxWrite+1-int64(len(line))))
		if err != nil {
			return c, 0, err
		}
		if tail := append(bytes.Clone(line), rest...); torn(tail, n == 1) {
			c.Torn = int64(len(tail))
			return c, end, nil
		}
		return c, 0, fmt.Errorf("%s is damaged in line %d, at byte %d, or is not a revocation journal; move it away and keep it, a new one begins by itself", path, n, end)
	}
}

// torn reports whether bytes that begin with no whole line are what a write can leave
// that was cut off: no longer than one, and without a whole line. A whole line behind a
// damaged one may have been acknowledged, and so may the damaged one. Of a file without
// any line less is believed, because it may be anybody's.
func torn(tail []byte, whole bool) bool {
	if len(tail) > maxWrite {
		return false
	}
	if whole {
		text := bytes.TrimRight(tail, "\x00")
		return len(tail) <= maxLine && !bytes.ContainsRune(text, '\n') && (bytes.HasPrefix(text, headBegin) || bytes.HasPrefix(headBegin, text))
	}
	for line := range bytes.Lines(tail) {
		for from := 0; ; from++ { // what is damaged may have swallowed the end of the line before
			next := bytes.Index(line[from:], []byte(`{"`))
			if next < 0 {
				break
			}
			from += next
			if _, ok := unsealed(line[from:]); ok && line[len(line)-1] == '\n' {
				return false
			}
		}
	}
	return true
}

// unsealed is what a line says, if it is whole.
func unsealed(line []byte) (body []byte, ok bool) {
	body, code, found := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
	return body, found && string(code) == fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli))
}

// take reads one line.
func (c *Contents) take(n int, line []byte, keep bool) bool {
	body, ok := unsealed(line)
	if !ok {
		return false
	}
	if n == 1 || bytes.HasPrefix(body, headBegin) {
		var h headline
		if json.Unmarshal(body, &h) != nil || h.Journal != format {
			return false
		}
		if n > 1 { // a hole
			c.earlier = append(c.earlier, Contents{Began: c.Began, After: c.After, Entries: c.Entries, last: c.last})
			c.Entries, c.last, c.newest = nil, 0, feed.Entry{}
		}
		c.Began, c.After = time.UnixMilli(h.Began).UTC(), h.After
		return true
	}
	var w written
	if json.Unmarshal(body, &w) != nil || w.Kind == "" {
		return false
	}
	e := feed.Entry{Position: w.Position, Kind: w.Kind, Key: w.Key, Epoch: w.Epoch, ExceptSID: w.Except, Reason: w.Reason,
		At: time.UnixMilli(w.At).UTC(), Until: time.UnixMilli(w.Until).UTC()}
	if e.Position >= c.last {
		c.last, c.newest = e.Position, e
	}
	if keep {
		c.Entries = append(c.Entries, e)
	}
	return true
}

// Since gives the entries that a backup whose record ended at a position does not
// have. It refuses a journal that began after the backup was made, by its clock or by
// its positions.
func (c Contents) Since(position int64, made time.Time) ([]feed.Entry, error) {
	if c.Began.After(made) || c.After > position {
		return nil, fmt.Errorf("the journal knows what ended since %s, and the backup was made at %s: what ended in between is missing; name the older journal, too, or say --floor",
			c.Began.Format(time.RFC3339), made.Format(time.RFC3339))
	}
	return c.Later(position), nil
}

// Later gives what is known to have come after a position, whether or not something is
// missing.
func (c Contents) Later(position int64) (later []feed.Entry) {
	for _, e := range c.Entries {
		if e.Position > position {
			later = append(later, e)
		}
	}
	return later
}
