package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Kind is what a column holds. A row has int64 for Int and Bool (0 or 1), string
// for Text, and []byte for Bytes and ID (16 bytes).
type Kind string

// The kinds. Times are Int: milliseconds since 1970 in UTC, 0 for none.
const (
	Int   Kind = "int"
	Bool  Kind = "bool"
	Text  Kind = "text"
	Bytes Kind = "bytes"
	ID    Kind = "id"
)

// Column is one column of a table.
type Column struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Null: a row may have nil here.
	Null bool `json:"null,omitempty"`
}

// Table is one table as no database has it in particular: rows name users and
// sessions by their ids.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`
}

// Row is one row: a value for each column of its table, nil for NULL.
type Row []any

// Index is where a column stands; it panics when there is none, because the
// names are constants.
func (t *Table) Index(column string) int {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
	if i < 0 {
		panic("archive: " + t.Name + " has no column " + column)
	}
	return i
}

// Names lists the columns.
func (t *Table) Names() []string {
	all := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		all[i] = c.Name
	}
	return all
}

func ints(names ...string) []Column  { return columns(Int, names) }
func texts(names ...string) []Column { return columns(Text, names) }
func bools(names ...string) []Column { return columns(Bool, names) }
func bytesOf(names ...string) []Column {
	return columns(Bytes, names)
}
func ids(names ...string) []Column { return columns(ID, names) }

func columns(k Kind, names []string) []Column {
	all := make([]Column, len(names))
	for i, name := range names {
		all[i] = Column{Name: name, Kind: k}
	}
	return all
}

// null says that columns may be NULL.
func null(cs []Column) []Column {
	for i := range cs {
		cs[i].Null = true
	}
	return cs
}

// tables is everything that a backup carries, what is referred to before what
// refers to it. Keys come first, because a restore needs them to read what the
// journal says. What is not here is not carried: answers kept for calls with an
// idempotency key (they are about the last day), counters of attempts, and the row that is written to see whether the disk is back.
var tables = []*Table{
	{"key_roll", slices.Concat(ints("version"), null(bytesOf("roll")))},
	{"wrapped_key", slices.Concat(ints("id"), texts("purpose", "alg", "kid", "state"), null(bytesOf("wrapped")), ints("created_at", "active_at", "retired_at"))},
	{"user", slices.Concat(ids("id"), ints("epoch", "version", "created_at", "updated_at", "number"),
		bools("disabled", "gone", "email_verified", "staff", "superuser"),
		texts("username", "email", "name", "given_name", "family_name", "password_hash"))},
	{"login", slices.Concat(texts("canonical"), ids("user"))},
	{"user_epoch", slices.Concat(ids("user"), ints("epoch"), texts("reason"), ints("at"))},
	{"client", slices.Concat(texts("id"), ints("version"), bools("stopped"), texts("doc"))},
	{"client_revision", ints("revision")},
	{"session", slices.Concat(ids("id", "user"), ints("version", "epoch", "used_at", "created_at", "auth_time"),
		null(ints("ended_at")), null(texts("end_reason")), null(ids("parent", "install")), bytesOf("secret", "attempt"),
		texts("client", "scope", "earned", "amr", "bound_to", "device_name", "device_model", "device_system", "device_app"), bytesOf("chain"))},
	{"revocation", slices.Concat(ints("position"), texts("kind", "key"), ints("epoch"), texts("except_sid", "reason"), ints("at", "until"))},
	{"record_head", ints("head")},
	{"audit", slices.Concat(ints("position", "at"), texts("name", "actor", "actor_id", "via", "address"), null(ids("user")),
		texts("client", "sid", "object", "reason", "details"))},
	{"upstream", slices.Concat(texts("id"), ints("version"), texts("doc"), null(bytesOf("sealed")))},
	{"upstream_link", slices.Concat(texts("upstream", "subject"), ids("user"), ints("linked_at"))},
	{"single_use", slices.Concat(bytesOf("key"), ints("until"), null(ints("taken_at")), null(bytesOf("sealed")))},
}

// Tables lists the tables in the order in which they are copied. Callers do not
// change them.
func Tables() []*Table { return tables }

// TableOf finds a table by its name; nil when there is none.
func TableOf(name string) *Table {
	for _, t := range tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// The first byte of a value in a file.
const (
	markNull = iota
	markInt
	markBytes // text, too
)

var errRow = errors.New("archive: a row is malformed")

// appendRow writes a row: for each column a mark, then a varint, or a length and
// bytes.
func (t *Table) appendRow(b []byte, row Row) ([]byte, error) {
	if len(row) != len(t.Columns) {
		return nil, fmt.Errorf("archive: a row of %s has %d values", t.Name, len(row))
	}
	for i, c := range t.Columns {
		if err := c.fits(row[i]); err != nil {
			return nil, fmt.Errorf("archive: %s.%s: %w", t.Name, c.Name, err)
		}
		switch v := row[i].(type) {
		case nil:
			b = append(b, markNull)
		case int64:
			b = binary.AppendVarint(append(b, markInt), v)
		case string:
			b = append(binary.AppendUvarint(append(b, markBytes), uint64(len(v))), v...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, markBytes), uint64(len(v))), v...)
		}
	}
	return b, nil
}

// fits reports whether a value may stand in the column.
func (c Column) fits(v any) error {
	ok := false
	switch v := v.(type) {
	case nil:
		ok = c.Null
	case int64:
		ok = c.Kind == Int || c.Kind == Bool && (v == 0 || v == 1)
	case string:
		ok = c.Kind == Text && utf8.ValidString(v)
	case []byte:
		ok = c.Kind == Bytes || c.Kind == ID && len(v) == 16
	}
	if !ok {
		return fmt.Errorf("a %T does not fit a column of kind %s", v, c.Kind)
	}
	return nil
}

// zero is what a row gets in a column that its archive does not have yet.
func (c Column) zero() any {
	switch {
	case c.Null:
		return nil
	case c.Kind == Text:
		return ""
	case c.Kind == Bytes:
		return []byte{}
	case c.Kind == ID:
		return make([]byte, 16)
	}
	return int64(0)
}

// readRow takes one row from the front. The values share b's memory where they
// can.
func (t *Table) readRow(b []byte, row Row) (rest []byte, err error) {
	for i, c := range t.Columns {
		if len(b) == 0 {
			return nil, errRow
		}
		mark := b[0]
		b = b[1:]
		switch mark {
		case markNull:
			row[i] = nil
		case markInt:
			n, size := binary.Varint(b)
			if size <= 0 {
				return nil, errRow
			}
			row[i], b = n, b[size:]
		case markBytes:
			n, size := binary.Uvarint(b)
			if size <= 0 || n > uint64(len(b)-size) {
				return nil, errRow
			}
			v := b[size : size+int(n) : size+int(n)]
			if b = b[size+int(n):]; c.Kind == Text {
				row[i] = string(v)
			} else {
				row[i] = v
			}
		default:
			return nil, errRow
		}
		if c.fits(row[i]) != nil {
			return nil, errRow
		}
	}
	return b, nil
}

// Total is what a table holds: how many rows, and the sum of their digests, which
// does not depend on their order.
type Total struct {
	Rows int64     `json:"rows"`
	Sum  [4]uint64 `json:"sum"`
}

// Totals are the totals of tables by their names.
type Totals map[string]Total

func (ts Totals) add(t *Table, row []byte) {
	d := sha256.Sum256(row)
	total := ts[t.Name]
	total.Rows++
	for i := range total.Sum {
		total.Sum[i] += binary.BigEndian.Uint64(d[8*i:])
	}
	ts[t.Name] = total
}

// Rows is the number of rows in all tables.
func (ts Totals) Rows() (n int64) {
	for _, t := range ts {
		n += t.Rows
	}
	return n
}

// Same reports where two totals differ, nil when they do not.
func (ts Totals) Same(other Totals) error {
	for _, t := range tables {
		a, b := ts[t.Name], other[t.Name]
		switch {
		case a.Rows != b.Rows:
			return fmt.Errorf("table %s has %d rows in one and %d in the other", t.Name, a.Rows, b.Rows)
		case a.Sum != b.Sum:
			return fmt.Errorf("table %s has %d rows in both, and they are not the same", t.Name, a.Rows)
		}
	}
	return nil
}
