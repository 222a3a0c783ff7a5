package breach

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// window is how many bytes are read at once and looked through line by line: a
	// page of the system, which it reads anyway.
	window = 4096
	// probe is how many bytes are read to find the first whole line behind any place.
	probe = 2 * maxLine
	// maxReads bounds one search. Each read halves what is left of the file, give or
	// take a line, so this is enough for any file there can be; 40 GB take 24.
	maxReads = 64
)

// search looks for a hash in size bytes of sorted lines, by halving. Each line it
// meets must lie between the lines it met on both sides, so a list out of order
// is noticed where it would mislead this search.
func search(f io.ReaderAt, size int64, h Hash) (bool, error) {
	if size == 0 {
		return false, ErrEmpty
	}
	// The hash can only be on a line that begins in lo..hi. Both are beginnings of
	// lines, or the end of the file; below is the line before lo, above the one at
	// hi.
	lo, hi := int64(0), size
	var below, above *Hash
	for range maxReads {
		if hi-lo <= window {
			return within(f, lo, hi, h, below, above)
		}
		start, length, met, err := lineAfter(f, lo+(hi-lo)/2)
		if err != nil {
			return false, err
		}
		if !between(met, below, above) {
			return false, ErrUnsorted
		}
		switch bytes.Compare(met[:], h[:]) {
		case 0:
			return true, nil
		case -1:
			lo, below = start+length, &met
		default:
			hi, above = start, &met
		}
	}
	return false, fmt.Errorf("the list of breached passwords took more than %d reads", maxReads)
}

// lineAfter finds the first line that begins behind a place far from the end of
// the file: where it begins, its length with its end, and its hash.
func lineAfter(f io.ReaderAt, at int64) (start, length int64, h Hash, err error) {
	b, err := readPiece(f, at, probe)
	if err != nil {
		return 0, 0, h, err
	}
	before := bytes.IndexByte(b[:maxLine], '\n')
	if before < 0 {
		return 0, 0, h, ErrNoHash
	}
	line, _, ended := bytes.Cut(b[before+1:], []byte{'\n'})
	h, ok := parseLine(line)
	if !ended || !ok {
		return 0, 0, h, ErrNoHash
	}
	return at + int64(before) + 1, int64(len(line)) + 1, h, nil
}

// within looks through the lines of a piece that begins and ends with a line.
func within(f io.ReaderAt, lo, hi int64, h Hash, below, above *Hash) (bool, error) {
	b, err := readPiece(f, lo, hi-lo)
	if err != nil {
		return false, err
	}
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		met, ok := parseLine(line)
		if !ok {
			return false, ErrNoHash
		}
		if !between(met, below, above) {
			return false, ErrUnsorted
		}
		if met == h {
			return true, nil
		}
		below, b = &met, rest
	}
	return false, nil
}

// between reports whether a hash may stand between two others; nil is no bound.
func between(h Hash, below, above *Hash) bool {
	return (below == nil || bytes.Compare(below[:], h[:]) <= 0) && (above == nil || bytes.Compare(h[:], above[:]) <= 0)
}

// readPiece reads length bytes. A file that has fewer was cut off meanwhile.
func readPiece(f io.ReaderAt, at, length int64) ([]byte, error) {
	b := make([]byte, length)
	n, err := f.ReadAt(b, at)
	if n == len(b) {
		return b, nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it became shorter meanwhile")
	}
	return nil, unreadable(err)
}
