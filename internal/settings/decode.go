package settings

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Places tells where every value was written, by path: "idle_lifetime",
// "clients[2].idle_lifetime", "clients[2]" for the table itself. Counting in
// paths starts at 0.
type Places map[string]Source

// At finds a path's source. A setting that was not written is where it would
// stand: at the head of its table; at the top level it is the default.
func (ps Places) At(path string) Source {
	for {
		if s, ok := ps[path]; ok {
			return s
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return Source{}
		}
		path = path[:i]
	}
}

// Written reports whether somebody wrote the setting.
func (ps Places) Written(path string) bool { _, ok := ps[path]; return ok }

// Decode reads the document into the struct that dst points to, over what
// stands there already. Fields are named by the tag toml; a field may be text,
// a bool, an int, a time.Duration, an encoding.TextUnmarshaler, a pointer to one
// of these, a list of them, or a list of structs (an array of tables). The tag
// source:"env" marks a secret that may not stand in the file.
func (d *Document) Decode(dst any) (Places, Problems) {
	r := reading{file: d.Name, places: Places{}}
	r.table(d.root, reflect.ValueOf(dst).Elem(), "")
	return r.places, r.problems
}

// reading is one pass over a document.
type reading struct {
	file     string
	places   Places
	problems Problems
}

func (r *reading) at(line int) Source { return Source{File: r.file, Line: line} }

func (r *reading) table(t *table, into reflect.Value, prefix string) {
	fields := fieldsOf(into.Type())
	for _, name := range t.names {
		v := t.value[name]
		f, known := fields.find(name)
		switch {
		case !known:
			r.unknown(name, prefix, v, fields)
		case f.EnvOnly:
			r.problems = append(r.problems, Problem{Code: CodeSecretFlag, At: r.at(v.line), Key: name, Doubt: prefix + name,
				Reason: "this secret may not stand in the file", Mend: "put it into a file of its own and name that with " + name + "_file, or into the environment"})
		default:
			r.value(v, into.Field(f.index), name, prefix+name)
		}
	}
}

// unknown reports a key that nobody reads. Its value is not shown: it may be a
// misspelt secret.
func (r *reading) unknown(name, prefix string, v *value, fields fieldList) {
	otherwise := "remove it; the known ones are " + strings.Join(fields.names(), ", ")
	if v.kind == inside {
		otherwise = "settings stand at the top of the file, without a [section]"
	}
	p := Problem{Code: CodeUnknownKey, At: r.at(v.line), Key: shorten(name),
		Reason: "no setting has this name", Mend: didYouMean(name, fields.names(), otherwise)}
	if meant := Suggest(name, fields.names()); meant != "" {
		p.Doubt = prefix + meant
	}
	r.problems = append(r.problems, p)
}

// value decodes one value into a field and notes its place.
func (r *reading) value(v *value, into reflect.Value, key, path string) {
	r.places[path] = r.at(v.line)
	t := into.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		fresh := reflect.New(t.Elem())
		r.value(v, fresh.Elem(), key, path)
		into.Set(fresh)
	case isTables(t):
		r.elements(v, into, key, path)
	case isList(t):
		if v.kind != list {
			r.wrong(v, t, key, path, "wants "+wants(t)+", has "+string(v.kind))
			return
		}
		all := reflect.MakeSlice(t, len(v.list), len(v.list))
		for i, e := range v.list {
			r.value(e, all.Index(i), key, fmt.Sprintf("%s[%d]", path, i))
		}
		into.Set(all)
	case v.kind != kindOf(t):
		r.wrong(v, t, key, path, "wants "+wants(t)+", has "+string(v.kind))
	default:
		err := setText(into, v.text)
		if err != nil {
			r.wrong(v, t, key, path, err.Error())
		}
	}
}

// elements decodes an array of tables, written as [[name]] or inline.
func (r *reading) elements(v *value, into reflect.Value, key, path string) {
	all := v.tables
	for _, e := range v.list {
		if e.kind == inside {
			all = append(all, e.table)
		}
	}
	if v.kind != tables && (v.kind != list || len(all) != len(v.list)) {
		r.problems = append(r.problems, Problem{Code: CodeValue, At: r.at(v.line), Key: key, Doubt: path,
			Reason: "wants one table for each entry, has " + string(v.kind), Mend: "begin each entry with [[" + key + "]]"})
		return
	}
	elems := reflect.MakeSlice(into.Type(), len(all), len(all))
	for i, t := range all {
		here := fmt.Sprintf("%s[%d]", path, i)
		r.places[here] = r.at(t.line)
		r.table(t, elems.Index(i), here+".")
	}
	into.Set(elems)
}

func (r *reading) wrong(v *value, t reflect.Type, key, path, reason string) {
	p := Problem{Code: CodeValue, At: r.at(v.line), Key: key, Doubt: path, Reason: reason, Mend: "write " + wants(t)}
	if !isSecret(t) {
		p.Value = v.show()
	}
	r.problems = append(r.problems, p)
}

// show repeats a value in an error.
func (v *value) show() string {
	switch v.kind {
	case text:
		return strconv.Quote(shorten(v.text))
	case list:
		return fmt.Sprintf("a list of %d", len(v.list))
	case inside, tables:
		return ""
	}
	return shorten(v.text)
}

// maxShown bounds how much of a value an error repeats, in bytes.
const maxShown = 80

func shorten(s string) string {
	if len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

// setText sets a scalar field from its text. The error is a reason.
func setText(into reflect.Value, s string) error {
	if into.Type() == prefixType {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return errors.New("not a network")
		}
		into.Set(reflect.ValueOf(p))
		return nil
	}
	if u, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	if into.Type() == durationType {
		d, err := ParseDuration(s)
		if err != nil {
			return err
		}
		into.SetInt(int64(d))
		return nil
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(s)
	case reflect.Bool:
		if s != "true" && s != "false" {
			return errors.New("neither true nor false")
		}
		into.SetBool(s == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 0, 64)
		if err != nil || into.OverflowInt(n) {
			return errors.New("not a whole number")
		}
		into.SetInt(n)
	default:
		panic("settings: a field of type " + into.Type().String() + " cannot be read")
	}
	return nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

func isTables(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !isText(t.Elem())
}

func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice && !isText(t) }

// kindOf is the TOML type a scalar field is written in.
func kindOf(t reflect.Type) kind {
	switch {
	case isText(t), t == durationType, t.Kind() == reflect.String:
		return text
	case t.Kind() == reflect.Bool:
		return yesNo
	}
	return whole
}

// wants says how a field is written.
func wants(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return wants(t.Elem())
	case isList(t) && t.Elem() == prefixType:
		return `a list of networks such as ["10.0.0.0/8", "10.0.0.1/32"]`
	case isList(t):
		return `a list such as ["a", "b"]`
	case t == durationType:
		return `a length of time in quotes, such as "15m" or "90d"`
	case t == prefixType:
		return `a network in quotes, such as "10.0.0.0/8" or, for one address, "10.0.0.1/32"`
	case t == reflect.TypeFor[Window]():
		return `a length of time in quotes, such as "72h", or "idle"`
	}
	return string(kindOf(t))
}
