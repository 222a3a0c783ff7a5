package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// MaxFile bounds a settings file or a manifest, in bytes: some ten thousand
// clients. What is larger is not a file somebody wrote.
const MaxFile = 1 << 20

// Document is one TOML file, parsed, with the line of every key.
type Document struct {
	// Name is the file's name as errors repeat it.
	Name string
	root *table
}

// table is a TOML table in the order it was written.
type table struct {
	line  int
	names []string
	value map[string]*value
}

// value is one TOML value and the line of its key (or, in a list, its own).
type value struct {
	kind kind
	// text is the content of a string, and the source text of other scalars.
	text  string
	list  []*value
	table *table
	// tables are the elements of an array of tables.
	tables []*table
	line   int
}

// kind is the type of a TOML value, in the words an error uses.
type kind string

const (
	text   kind = "text in quotes"
	whole  kind = "a whole number"
	real   kind = "a number with a fraction"
	yesNo  kind = "true or false"
	moment kind = "a date or time"
	list   kind = "a list in [ ]"
	inside kind = "a table"
	tables kind = "an array of tables"
)

// ReadFile reads and parses a file. The error is Problems with exactly one
// entry.
func ReadFile(path string) (*Document, error) {
	refuse := func(reason, mend string) (*Document, error) {
		return nil, Problems{{Code: CodeSyntax, At: Source{File: path}, Reason: reason, Mend: mend}}
	}
	f, err := os.Open(path)
	if err != nil {
		return refuse("the file cannot be opened: "+cause(err), "check the path and the rights of the file")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return refuse("the file cannot be read: "+cause(err), "check that it is a regular file")
	}
	return Parse(path, data)
}

// cause is an operating system's reason without the path, which the problem
// names already.
func cause(err error) string {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

// Parse reads TOML text. The error is Problems with exactly one entry: after a
// syntax error everything else would be a guess.
func Parse(name string, data []byte) (*Document, error) {
	if len(data) > MaxFile {
		return nil, Problems{{Code: CodeSyntax, At: Source{File: name}, Reason: fmt.Sprintf("the file is larger than %d bytes", MaxFile), Mend: "split it"}}
	}
	data = data[:len(data):len(data)] // the parser measures positions by capacity
	// The first pass holds the file to the whole of TOML, doubled keys included.
	var all map[string]any
	err := toml.Unmarshal(data, &all)
	if err != nil {
		return nil, Problems{syntax(name, err)}
	}
	// The second keeps what the first forgets: order and lines.
	b := builder{lines: lineStarts(data), root: newTable(1)}
	b.here = b.root
	b.parser.Reset(data)
	for b.parser.NextExpression() {
		b.expression(b.parser.Expression())
	}
	err = b.parser.Error()
	if err != nil {
		return nil, Problems{syntax(name, err)}
	}
	return &Document{Name: name, root: b.root}, nil
}

// syntax turns the parser's error into ours. The parser's drawing of the line
// is left out, because that line may hold a secret.
func syntax(name string, err error) Problem {
	p := Problem{Code: CodeSyntax, At: Source{File: name}, Reason: "the file is not valid TOML: " + err.Error()}
	if de, ok := errors.AsType[*toml.DecodeError](err); ok {
		p.At.Line, _ = de.Position()
		p.Reason = "not valid TOML: " + words(de)
	}
	switch {
	case strings.Contains(p.Reason, "at start of value"), strings.Contains(p.Reason, "keyword"):
		p.Mend = `put text in double quotes: name = "text"`
	case strings.Contains(p.Reason, "already"):
		p.Mend = "keep one of the two"
	}
	return p
}

// words is the parser's message, unless it repeats a number: an unquoted secret
// may be one.
func words(e *toml.DecodeError) string {
	m := strings.TrimPrefix(e.Error(), "toml: ")
	if strings.Contains(m, "parse") || strings.Contains(m, "strconv") {
		return "a number or date that cannot be read"
	}
	return m
}

// builder turns the parser's expressions into a tree.
type builder struct {
	parser     unstable.Parser
	lines      []int
	root, here *table
}

func newTable(line int) *table { return &table{line: line, value: map[string]*value{}} }

// lineStarts lists the offset of every line.
func lineStarts(data []byte) []int {
	starts := []int{0}
	for i, c := range data {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

func (b *builder) line(n *unstable.Node) int {
	return sort.SearchInts(b.lines, int(n.Raw.Offset)+1)
}

// expression takes one line of the file: a header or a key with its value.
func (b *builder) expression(e *unstable.Node) {
	names, line := b.key(e.Key())
	switch e.Kind {
	case unstable.KeyValue:
		v := b.value(e.Value(), line)
		b.here.descend(names[:len(names)-1], line).set(names[len(names)-1], v)
	case unstable.Table:
		b.here = b.root.descend(names, line)
	case unstable.ArrayTable:
		parent, last := b.root.descend(names[:len(names)-1], line), names[len(names)-1]
		v := parent.value[last]
		if v == nil {
			v = &value{kind: tables, line: line}
			parent.set(last, v)
		}
		b.here = newTable(line)
		v.tables = append(v.tables, b.here)
	}
}

// key copies a dotted key; its line is that of the first part.
func (b *builder) key(it unstable.Iterator) (names []string, line int) {
	for it.Next() {
		if line == 0 {
			line = b.line(it.Node())
		}
		names = append(names, string(it.Node().Data))
	}
	return names, line
}

// descend walks to a table and makes what is missing. In an array of tables it
// stands in the newest.
func (t *table) descend(names []string, line int) *table {
	for _, name := range names {
		v := t.value[name]
		if v == nil {
			v = &value{kind: inside, line: line, table: newTable(line)}
			t.set(name, v)
		}
		if v.kind == tables {
			t = v.tables[len(v.tables)-1]
		} else {
			t = v.table
		}
	}
	return t
}

func (t *table) set(name string, v *value) {
	t.names = append(t.names, name)
	t.value[name] = v
}

// value copies a value. line is that of its key, for nodes without their own.
func (b *builder) value(n *unstable.Node, line int) *value {
	if n.Raw.Length > 0 {
		line = b.line(n)
	}
	v := &value{line: line, text: string(n.Data)}
	switch n.Kind {
	case unstable.String:
		v.kind = text
	case unstable.Bool:
		v.kind = yesNo
	case unstable.Integer:
		v.kind = whole
	case unstable.Float:
		v.kind = real
	case unstable.Array:
		v.kind = list
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, b.value(it.Node(), line))
		}
	case unstable.InlineTable:
		v.kind, v.table = inside, newTable(line)
		for it := n.Children(); it.Next(); {
			names, at := b.key(it.Node().Key())
			v.table.descend(names[:len(names)-1], at).set(names[len(names)-1], b.value(it.Node().Value(), at))
		}
	default:
		v.kind = moment
	}
	return v
}
