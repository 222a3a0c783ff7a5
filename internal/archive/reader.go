package archive

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrRefused: the file is no archive, or is not whole, or is not what was
// written. Nothing of it should be used.
var ErrRefused = errors.New("this backup is refused")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Reader reads an archive. Its memory is one block.
type Reader struct {
	in     *bufio.Reader
	chain  chain
	header Header
	// from says, for each table of the file, which table of ours it is and where
	// its columns go.
	from  []mapping
	block []byte
}

// mapping is how rows of a file become rows of ours.
type mapping struct {
	file, ours *Table
	// at is, for each of our columns, where the file has it, or -1.
	at []int
}

// NewReader begins to read an archive. It needs the root secret that the archive
// was made under; without any key (nil), only the header is read and not trusted.
func NewReader(r io.Reader, sealed Sealed) (*Reader, error) {
	rd := &Reader{in: bufio.NewReaderSize(r, flushAt), chain: newChain(sealed.Key)}
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(rd.in, start); err != nil || string(start) != magic {
		return nil, refused("it is no Holdfast backup")
	}
	kind, head, code, err := rd.read()
	if err != nil {
		return nil, err
	}
	if kind != blockHeader || json.Unmarshal(rd.block, &rd.header) != nil {
		return nil, refused("its beginning cannot be read")
	}
	h := rd.header
	switch {
	case h.Version != Version:
		return nil, refused("it has format %d and this program reads format %d; use the version that wrote it, or a newer one", h.Version, Version)
	case h.Root != sealed.Root:
		return nil, refused("it was made under root secret %s, and the configuration has %s; give the root secret that was in use when it was made", h.Root, sealed.Root)
	}
	if rd.chain.next(head, rd.block) != code {
		return nil, refused("its beginning was altered")
	}
	return rd, rd.align()
}

// Header is what the archive says about itself.
func (r *Reader) Header() Header { return r.header }

// align finds our tables and columns in the file's.
func (r *Reader) align() error {
	for _, f := range r.header.Tables {
		if f == nil {
			return refused("a table has no name")
		}
		ours := TableOf(f.Name)
		if ours == nil {
			return refused("it has a table %q that this version does not know; use the version that wrote it, or a newer one", f.Name)
		}
		m := mapping{file: f, ours: ours, at: make([]int, len(ours.Columns))}
		for i := range m.at {
			m.at[i] = -1
		}
		for i, c := range f.Columns {
			found := false
			for j, mine := range ours.Columns {
				if mine.Name == c.Name && mine.Kind == c.Kind && (mine.Null || !c.Null) {
					m.at[j], found = i, true
				}
			}
			if !found {
				return refused("it has a column %s.%s that this version does not know; use the version that wrote it, or a newer one", f.Name, c.Name)
			}
		}
		r.from = append(r.from, m)
	}
	return nil
}

// read takes the next block without judging its code.
func (r *Reader) read() (kind byte, head []byte, code [codeSize]byte, err error) {
	head = make([]byte, headSize)
	if _, err := io.ReadFull(r.in, head); err != nil {
		return 0, nil, code, short(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxBlock {
		return 0, nil, code, refused("it was altered: a block of %d bytes", n)
	}
	if uint32(cap(r.block)) < n {
		r.block = make([]byte, n)
	}
	r.block = r.block[:n]
	if _, err := io.ReadFull(r.in, r.block); err != nil {
		return 0, nil, code, short(err)
	}
	if _, err := io.ReadFull(r.in, code[:]); err != nil {
		return 0, nil, code, short(err)
	}
	return head[0], head, code, nil
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refused("it is truncated: its end is missing")
	}
	return err
}

// Each calls f with every row and then holds what it read against what the end
// says. A row is valid until f returns.
func (r *Reader) Each(f func(*Table, Row) error) error {
	totals := Totals{}
	for {
		kind, head, code, err := r.read()
		if err != nil {
			return err
		}
		if r.chain.next(head, r.block) != code {
			return refused("it was altered, or damaged on its way")
		}
		switch kind {
		case blockRows:
			if err := r.rows(r.block, totals, f); err != nil {
				return err
			}
		case blockEnd:
			return r.finish(totals)
		default:
			return refused("it has a block of kind %q", kind)
		}
	}
}

func (r *Reader) finish(totals Totals) error {
	var e ending
	if json.Unmarshal(r.block, &e) != nil {
		return refused("its end cannot be read")
	}
	if err := e.Totals.Same(totals); err != nil {
		return refused("its end tells of other rows: %v", err)
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return refused("something follows its end")
	}
	return nil
}

// rows reads a block of rows.
func (r *Reader) rows(b []byte, totals Totals, f func(*Table, Row) error) error {
	if len(b) == 0 || int(b[0]) >= len(r.from) {
		return refused("it names a table that it does not have")
	}
	m := r.from[b[0]]
	b = b[1:]
	there, row := make(Row, len(m.file.Columns)), make(Row, len(m.ours.Columns))
	for len(b) > 0 {
		rest, err := m.file.readRow(b, there)
		if err != nil {
			return refused("a row of %s is malformed", m.file.Name)
		}
		totals.add(m.ours, b[:len(b)-len(rest)])
		for i, at := range m.at {
			if at < 0 {
				row[i] = m.ours.Columns[i].zero()
			} else {
				row[i] = there[at]
			}
		}
		if err := f(m.ours, row); err != nil {
			return err
		}
		b = rest
	}
	return nil
}
