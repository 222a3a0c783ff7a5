package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// held is a database in memory.
type held struct {
	rows      map[string][]Row
	facts     Facts
	committed bool
	// spoil, when set, is what happens to a row on its way in.
	spoil func(*Table, Row) Row
}

func (h *held) Facts(context.Context) (Facts, error) {
	f := h.facts
	f.Rows = map[string]int64{}
	for name, rows := range h.rows {
		f.Rows[name] = int64(len(rows))
	}
	return f, nil
}

func (h *held) Each(_ context.Context, t *Table, f func(Row) error) error {
	for _, row := range h.rows[t.Name] {
		if err := f(slices.Clone(row)); err != nil {
			return err
		}
	}
	return nil
}

func (h *held) Close() error { return nil }

func (h *held) Put(_ context.Context, t *Table, row Row) error {
	if h.rows == nil {
		h.rows = map[string][]Row{}
	}
	mine := make(Row, len(row))
	for i, v := range row { // nothing may be kept of what is given
		if b, ok := v.([]byte); ok {
			v = append([]byte{}, b...)
		}
		mine[i] = v
	}
	if h.spoil != nil {
		mine = h.spoil(t, mine)
	}
	h.rows[t.Name] = append(h.rows[t.Name], mine)
	return nil
}

func (h *held) Written(context.Context) (Source, error) { return h, nil }
func (h *held) Commit(context.Context) error            { h.committed = true; return nil }
func (h *held) Abort() error                            { return nil }

var sealed = Sealed{Key: []byte("a key of a test"), Root: "0123"}

// archived writes a database to an archive.
func archived(t interface{ Fatal(...any) }, h *held) []byte {
	var b bytes.Buffer
	facts, _ := h.Facts(context.Background())
	w, err := NewWriter(&b, sealed, facts)
	if err == nil {
		_, err = Backup(context.Background(), h, w, nil)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if w.Bytes() != int64(b.Len()) {
		t.Fatal("Bytes is ", w.Bytes(), " of ", b.Len())
	}
	return b.Bytes()
}

// restored reads an archive into a database.
func restored(b []byte, floor *Floor) (*held, error) {
	r, err := NewReader(bytes.NewReader(b), sealed)
	if err != nil {
		return nil, err
	}
	h := &held{}
	_, err = Restore(context.Background(), r, h, floor, nil)
	return h, err
}

// anyRow draws a row of a table.
func anyRow(t *rapid.T, table *Table) Row {
	row := make(Row, len(table.Columns))
	for i, c := range table.Columns {
		if c.Null && rapid.Bool().Draw(t, "null") {
			continue
		}
		switch c.Kind {
		case Int:
			row[i] = rapid.Int64().Draw(t, c.Name)
		case Bool:
			row[i] = rapid.Int64Range(0, 1).Draw(t, c.Name)
		case Text:
			row[i] = rapid.String().Draw(t, c.Name)
		case Bytes:
			row[i] = rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, c.Name)
		case ID:
			row[i] = rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, c.Name)
		}
	}
	return row
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &held{rows: map[string][]Row{}, facts: Facts{Database: "x", Schema: 3, Now: time.UnixMilli(5), Head: 9}}
		for _, table := range Tables() {
			for range rapid.IntRange(0, 3).Draw(t, table.Name) {
				h.rows[table.Name] = append(h.rows[table.Name], anyRow(t, table))
			}
		}
		is, err := restored(archived(t, h), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !is.committed {
			t.Fatal("it was not committed")
		}
		for _, table := range Tables() {
			if !reflect.DeepEqual(h.rows[table.Name], is.rows[table.Name]) {
				t.Fatalf("%s: want %v, got %v", table.Name, h.rows[table.Name], is.rows[table.Name])
			}
		}
	})
}

// some is a database with rows of three tables, in more than one block.
func some() *held {
	h := &held{rows: map[string][]Row{}, facts: Facts{Database: "x", Now: time.UnixMilli(5)}}
	h.rows["key_roll"] = []Row{{int64(0), nil}}
	h.rows["login"] = []Row{{"anna", make([]byte, 16)}}
	for i := range 3 {
		h.rows["client"] = append(h.rows["client"], Row{fmt.Sprint("app", i), int64(1), int64(0), strings.Repeat("x", flushAt/2)})
	}
	return h
}

func TestEveryAlteredBitIsRefused(t *testing.T) {
	whole := archived(t, some())
	step := max(1, len(whole)/500)
	for i := 0; i < len(whole); i += step {
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		h, err := restored(b, nil)
		if err == nil || h != nil && h.committed {
			t.Fatalf("byte %d was altered and it was restored", i)
		}
	}
	if _, err := restored(whole, nil); err != nil {
		t.Fatal(err)
	}
}

func TestTruncatedIsRefused(t *testing.T) {
	whole := archived(t, some())
	step := max(1, len(whole)/250)
	for n := 0; n < len(whole); n += step {
		h, err := restored(whole[:n], nil)
		if !errors.Is(err, ErrRefused) || h != nil && h.committed {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	if _, err := restored(append(slices.Clone(whole), 0), nil); !errors.Is(err, ErrRefused) {
		t.Fatalf("something follows the end: %v", err)
	}
}

func TestAnotherRootIsRefused(t *testing.T) {
	b := archived(t, some())
	_, err := NewReader(bytes.NewReader(b), Sealed{Key: sealed.Key, Root: "4567"})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "0123") || !strings.Contains(err.Error(), "4567") {
		t.Errorf("the refusal does not name both roots: %v", err)
	}
	_, err = NewReader(bytes.NewReader(b), Sealed{Key: []byte("another"), Root: "0123"})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("a made-up archive was read: %v", err)
	}
}

// TestWhatIsReadBackDiffers spoils one row on its way into the database.
func TestWhatIsReadBackDiffers(t *testing.T) {
	to := &held{spoil: func(table *Table, row Row) Row {
		if table.Name == "client" {
			row[3] = "spoilt"
		}
		return row
	}}
	_, err := Move(context.Background(), some(), to, nil)
	if err == nil || to.committed || !strings.Contains(err.Error(), "client") {
		t.Fatalf("rows that were spoilt were committed: %v", err)
	}
	to.spoil, to.rows = nil, nil
	if _, err := Move(context.Background(), some(), to, nil); err != nil || !to.committed {
		t.Fatal(err)
	}
}

// TestOlderArchive reads one that lacks a column of today.
func TestOlderArchive(t *testing.T) {
	b := archived(t, some())
	file := *TableOf("login")
	file.Columns = file.Columns[:1]
	m := mapping{file: &file, ours: TableOf("login"), at: []int{0, -1}}
	row, err := file.appendRow([]byte{0}, Row{"anna"})
	if err != nil {
		t.Fatal(err)
	}
	r := Reader{from: []mapping{m}}
	var got Row
	err = r.rows(row, Totals{}, func(_ *Table, row Row) error { got = slices.Clone(row); return nil })
	if err != nil || !reflect.DeepEqual(got, Row{"anna", make([]byte, 16)}) {
		t.Fatal(got, err)
	}
	if len(b) == 0 {
		t.Fatal("nothing was written")
	}
}

func TestACancelledCopyStops(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	to := &held{}
	if _, err := Move(ctx, some(), to, nil); !errors.Is(err, context.Canceled) || to.committed {
		t.Fatal(err)
	}
}

// FuzzReader reads anything. What it is sealed with is known, so that fuzzing gets
// behind the codes: the blocks of the input are sealed anew.
func FuzzReader(f *testing.F) {
	small := some()
	for _, row := range small.rows["client"] {
		row[3] = "{}"
	}
	f.Add(archived(f, small), true)
	f.Add(archived(f, &held{rows: map[string][]Row{}}), false)
	f.Add([]byte(magic), true)
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal {
			b = resealed(b)
		}
		r, err := NewReader(bytes.NewReader(b), sealed)
		if err != nil {
			return
		}
		err = r.Each(func(table *Table, row Row) error {
			_, err := table.appendRow(nil, row) // what is read can be written
			return err
		})
		if err == nil && !reseal && len(b) == 0 {
			t.Fatal("nothing was taken for an archive")
		}
	})
}

// resealed gives every block of an archive the code it should have.
func resealed(b []byte) []byte {
	if len(b) < len(magic) {
		return b
	}
	out := bytes.NewBuffer(slices.Clone(b[:len(magic)]))
	c := newChain(sealed.Key)
	in := bytes.NewReader(b[len(magic):])
	for {
		head := make([]byte, headSize)
		if _, err := io.ReadFull(in, head); err != nil {
			return out.Bytes()
		}
		n := int(head[3])<<8 | int(head[4])
		payload := make([]byte, min(n|int(head[2])<<16, in.Len()))
		_, _ = io.ReadFull(in, payload)
		_, _ = in.Seek(int64(min(codeSize, in.Len())), io.SeekCurrent)
		head[1], head[2], head[3], head[4] = 0, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
		code := c.next(head, payload)
		out.Write(head)
		out.Write(payload)
		out.Write(code[:])
	}
}
