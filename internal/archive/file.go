package archive

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"time"
)

// An archive is a magic and blocks:
//
//	magic 16 | block ...
//	block:  kind 1 | length 4, big endian | payload | code 16
//
// The code is HMAC-SHA-256, under a key derived from the root secret, of the code
// before it (the magic, for the first), the kind, the length and the payload, cut
// to 16 bytes: a block that was altered, moved, left out or made by somebody
// without the root secret is noticed where it stands. The last block says how
// much there was, so that a shorter file is noticed, too.
//
//	header  JSON, first and once
//	rows    table number 1 | rows, one after the other
//	end     JSON, last and once
const (
	magic = "holdfast archive"

	blockHeader = 'H'
	blockRows   = 'R'
	blockEnd    = 'E'

	codeSize = 16
	headSize = 5

	// Version is the version of this format.
	Version = 1

	// flushAt is how many bytes of rows make a block, maxRow how long one row may
	// be, and maxBlock how long a block may be: what a reader keeps in memory.
	flushAt  = 64 << 10
	maxRow   = 4 << 20
	maxBlock = flushAt + maxRow + 1
)

// Header is what an archive says about itself at its beginning.
type Header struct {
	Version int `json:"version"`
	// MadeAt is the store's time of the state, in milliseconds.
	MadeAt int64 `json:"made_at"`
	// Database and Schema are where it came from.
	Database string `json:"database"`
	Schema   int    `json:"schema"`
	// Root names the root secret that the keys are wrapped under, and that this
	// file is sealed with.
	Root string `json:"root"`
	// Head is the last position of the record in this state.
	Head int64 `json:"head"`
	// Rows counts the rows of all tables.
	Rows   int64    `json:"rows"`
	Tables []*Table `json:"tables"`
}

// At is MadeAt as a time.
func (h Header) At() time.Time { return time.UnixMilli(h.MadeAt).UTC() }

// ending is the last block.
type ending struct {
	Totals Totals `json:"totals"`
}

// Sealed is what archives are sealed with: a key and the name of the root secret
// it came from.
type Sealed struct {
	Key  []byte
	Root string
}

// chain computes the codes of blocks.
type chain struct {
	mac  hash.Hash
	last [codeSize]byte
}

func newChain(key []byte) chain {
	c := chain{mac: hmac.New(sha256.New, key)}
	copy(c.last[:], magic)
	return c
}

func (c *chain) next(head, payload []byte) [codeSize]byte {
	c.mac.Reset()
	c.mac.Write(c.last[:])
	c.mac.Write(head)
	c.mac.Write(payload)
	copy(c.last[:], c.mac.Sum(nil))
	return c.last
}

// Writer writes an archive. Its memory is one block.
type Writer struct {
	out    *bufio.Writer
	chain  chain
	table  *Table
	block  []byte
	totals Totals
	bytes  int64
}

// NewWriter begins an archive of a state.
func NewWriter(w io.Writer, sealed Sealed, f Facts) (*Writer, error) {
	wr := &Writer{out: bufio.NewWriterSize(w, flushAt), chain: newChain(sealed.Key), totals: Totals{}}
	h := Header{Version: Version, MadeAt: f.Now.UnixMilli(), Database: f.Database, Schema: f.Schema, Root: sealed.Root,
		Head: f.Head, Rows: f.Total(), Tables: Tables()}
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if _, err := wr.out.WriteString(magic); err != nil {
		return nil, err
	}
	wr.bytes += int64(len(magic))
	return wr, wr.emit(blockHeader, b)
}

// emit writes one block.
func (w *Writer) emit(kind byte, payload []byte) error {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	code := w.chain.next(head, payload)
	w.bytes += int64(headSize + len(payload) + codeSize)
	for _, part := range [][]byte{head, payload, code[:]} {
		if _, err := w.out.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Put adds a row. The rows of one table come together.
func (w *Writer) Put(t *Table, row Row) error {
	if t != w.table || len(w.block) >= flushAt {
		if err := w.flush(); err != nil {
			return err
		}
		w.table = t
		for i, known := range tables {
			if known == t {
				w.block = append(w.block, byte(i))
			}
		}
		if len(w.block) == 0 {
			return fmt.Errorf("archive: %s is not a table of archives", t.Name)
		}
	}
	before := len(w.block)
	b, err := t.appendRow(w.block, row)
	if err != nil {
		return err
	}
	if len(b)-before > maxRow {
		return fmt.Errorf("archive: a row of %s has %d bytes, and %d is the most", t.Name, len(b)-before, maxRow)
	}
	w.block = b
	w.totals.add(t, b[before:])
	return nil
}

func (w *Writer) flush() error {
	if len(w.block) == 0 {
		return nil
	}
	err := w.emit(blockRows, w.block)
	w.block = w.block[:0]
	return err
}

// Close writes the end. Without it the archive is refused as truncated.
func (w *Writer) Close() error {
	if err := w.flush(); err != nil {
		return err
	}
	b, err := json.Marshal(ending{w.totals})
	if err != nil {
		return err
	}
	if err := w.emit(blockEnd, b); err != nil {
		return err
	}
	return w.out.Flush()
}

// Bytes is how long the archive is so far.
func (w *Writer) Bytes() int64 { return w.bytes }
