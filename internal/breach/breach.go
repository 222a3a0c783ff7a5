// Package breach owns the look into a list of breached passwords: a file of
// SHA-1 hashes in ascending order that an operator downloaded, as large as it may
// be. It is searched where it lies and never loaded.
//
//	Check  at the start: is this such a list?
//	Has    at each new password: is this hash on it?
//
// SHA-1 is what such lists are made of. It guards nothing here: nobody learns a
// password by it, because it is computed, compared and forgotten.
//
// It does not own which passwords are looked for, in which spelling, or what
// becomes of one that is found (room user).
package breach

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Hash is the SHA-1 of a password.
type Hash = [sha1.Size]byte

// List is a file of hashes. The zero value has no path and cannot be asked.
//
// The file is opened for each question, which costs microseconds beside the
// milliseconds of a password's hash. So a list that an operator puts in the place
// of another one (by a rename) is the one that the next question asks, and an old
// one takes no room on the disk for longer than a question lasts.
type List struct {
	// Path of the file: one hash a line in 40 hexadecimal digits of either case,
	// ascending, perhaps followed by a colon and a count. Lines end with LF or
	// CRLF; the last one may end with the file.
	Path string
}

// What a list can be wrong by. None of them names a place in the file: the places
// a search looks at tell what it looks for, and errors are logged.
var (
	ErrEmpty    = errors.New("the list of breached passwords is empty")
	ErrNoHash   = errors.New("the list of breached passwords has a line that is not a SHA-1 hash of 40 hexadecimal digits, alone or with a colon and a count")
	ErrUnsorted = errors.New("the list of breached passwords is not in ascending order of its hashes")
	errNoFile   = errors.New("the list of breached passwords is not a regular file")
)

// Has reports whether the list holds a hash. It is safe for concurrent use, takes
// at most maxReads small reads, and keeps nothing. A list that cannot be read, or
// that is seen to be damaged on the way, is an error and no answer.
func (l List) Has(h Hash) (bool, error) {
	f, size, err := l.open()
	if err != nil {
		return false, err
	}
	defer f.Close()
	return search(f, size, h)
}

// open opens the file and tells its size in bytes. What is no regular file is
// not opened, because opening a device can do something.
func (l List) open() (*os.File, int64, error) {
	info, err := os.Stat(l.Path)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errNoFile
	}
	return openRegular(l.Path)
}

// openRegular opens what stands there by now, which may be something else than a
// moment ago. It waits for nobody to write into a pipe.
func openRegular(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		f.Close()
		return nil, 0, errNoFile
	}
	return f, info.Size(), nil
}

func unreadable(err error) error {
	return fmt.Errorf("the list of breached passwords cannot be read: %w", err)
}

// Samples of Check, each of window bytes.
const samples = 256

// Check reports what is wrong with a list before it is used: that it cannot be
// read, is empty, holds something else, or is not in order. It reads the whole of
// a list of up to a MiB, and of a larger one as much, in samples spread evenly
// from its first to its last line. A list ordered by anything but its hashes
// does not pass; a single line out of place in a large one can, and is met by Has
// if a search comes past it.
func (l List) Check() error {
	f, size, err := l.open()
	if err != nil {
		return err
	}
	defer f.Close()
	return check(f, size)
}

func check(f io.ReaderAt, size int64) error {
	if size == 0 {
		return ErrEmpty
	}
	if size <= samples*window {
		var last Hash
		return inOrder(f, 0, size, size, &last)
	}
	var last Hash
	for i := range int64(samples) {
		at := (size - window) / (samples - 1) * i
		if i == samples-1 {
			at = size - window // what the division dropped: the end is the end
		}
		err := inOrder(f, at, window, size, &last)
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrder holds the whole lines of one piece against the form and the order, from
// last on, and moves last. A line that the piece cuts off is left out, but not
// the first and the last one of the file.
func inOrder(f io.ReaderAt, at, length, size int64, last *Hash) error {
	b, err := readPiece(f, at, length)
	if err != nil {
		return err
	}
	if at > 0 {
		i := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
		if i < 0 {
			return fmt.Errorf("%w (near byte %d)", ErrNoHash, at)
		}
		at, b = at+int64(i)+1, b[i+1:]
	}
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte{'\n'})
		if !ended && at+int64(len(b)) < size && len(b) < maxLine {
			return nil
		}
		h, ok := parseLine(line)
		if !ok {
			return fmt.Errorf("%w (at byte %d)", ErrNoHash, at)
		}
		if bytes.Compare(h[:], last[:]) < 0 {
			return fmt.Errorf("%w (at byte %d)", ErrUnsorted, at)
		}
		*last = h
		at, b = at+int64(len(line))+1, rest
	}
	return nil
}

// maxCount is the longest count behind a hash, in digits; counts mean nothing
// here.
const maxCount = 20

// maxLine is the longest line with its end, in bytes: hash, colon, count, CRLF.
const maxLine = 2*sha1.Size + 1 + maxCount + 2

// parseLine reads one line without its LF.
func parseLine(line []byte) (h Hash, ok bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if len(line) < 2*len(h) {
		return h, false
	}
	_, err := hex.Decode(h[:], line[:2*len(h)])
	if err != nil {
		return h, false
	}
	count := line[2*len(h):]
	if len(count) == 0 {
		return h, true
	}
	if count[0] != ':' || len(count) < 2 || len(count) > 1+maxCount {
		return h, false
	}
	for _, c := range count[1:] {
		if c < '0' || c > '9' {
			return h, false
		}
	}
	return h, true
}
