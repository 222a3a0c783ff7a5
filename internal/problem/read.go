package problem

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"holdfast.example/internal/fault"
)

// The limits of one body, besides its size, which each door sets.
const (
	// maxDepth is how deep a body may nest.
	maxDepth = 16
	// maxName is the longest member name that an error repeats, in bytes.
	maxName = 64
)

// Read decodes a JSON body of at most limit bytes into a struct. It refuses
// what two readers could understand differently or what would silently do less
// than was meant: a member that is unknown, doubled, null or spelt in another
// case, anything after the JSON, and any other media type. An empty body leaves
// into as it is. Errors are *fault.Error: UnsupportedMediaType, TooLarge or
// InvalidRequest, with words that name the member, never its value.
func Read(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return tooLarge(limit)
		}
		return fault.Wrap(fault.InvalidRequest, err, "the body ended early; repeat the request")
	}
	if len(body) == 0 {
		return nil
	}
	if !isJSON(r.Header) {
		return fault.New(fault.UnsupportedMediaType, "send the body as "+jsonType+", without Content-Encoding")
	}
	return decode(body, into)
}

func tooLarge(limit int64) error {
	return fault.Newf(fault.TooLarge, "the body is larger than %d bytes", limit)
}

// isJSON reports whether a body says that it is JSON. A browser sends a type
// that is none of a form's across origins only after asking.
func isJSON(h http.Header) bool {
	if len(h["Content-Type"]) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := params["charset"]
	return err == nil && kind == jsonType && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return fault.New(fault.InvalidRequest, "the body is not UTF-8 text")
	}
	w := walker{json.NewDecoder(bytes.NewReader(body))}
	err := w.value(reflect.TypeOf(into), "the body", 0)
	if err == nil {
		_, err = w.Token()
		if err == nil {
			return fault.New(fault.InvalidRequest, "the body has something after its JSON")
		}
		if !errors.Is(err, io.EOF) {
			return notJSON(err)
		}
		err = json.Unmarshal(body, into)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.Newf(fault.InvalidRequest, "%s has the wrong type", member(wrong.Field))
	}
	return err
}

func notJSON(err error) error {
	return fault.Wrap(fault.InvalidRequest, err, "the body is not JSON")
}

// walker goes through a body before it is decoded, because encoding/json takes
// the last of two members with one name, and names in any case.
type walker struct{ *json.Decoder }

// value walks one value that will be decoded into a type; nil is for any.
func (w walker) value(t reflect.Type, name string, depth int) error {
	if depth > maxDepth {
		return fault.Newf(fault.InvalidRequest, "the body nests deeper than %d", maxDepth)
	}
	tok, err := w.Token()
	if err != nil {
		return notJSON(err)
	}
	if tok == nil {
		return fault.Newf(fault.InvalidRequest, "%s is null; leave it out instead", name)
	}
	switch tok {
	case json.Delim('{'):
		err = w.object(t, depth)
	case json.Delim('['):
		for err == nil && w.More() {
			err = w.value(elem(t, reflect.Slice), name, depth+1)
		}
	default:
		return nil
	}
	if err == nil {
		_, err = w.Token() // the closing delimiter
		if err != nil {
			err = notJSON(err)
		}
	}
	return err
}

func (w walker) object(t reflect.Type, depth int) error {
	known := members(t)
	seen := map[string]bool{}
	for w.More() {
		tok, err := w.Token()
		if err != nil {
			return notJSON(err)
		}
		name := tok.(string) // the decoder lets nothing else stand before a colon
		if seen[name] {
			return fault.Newf(fault.InvalidRequest, "%s was sent twice", member(name))
		}
		seen[name] = true
		of := elem(t, reflect.Map)
		if known != nil {
			var ok bool
			if of, ok = known[name]; !ok {
				return fault.Newf(fault.InvalidRequest, "%s is not a member this endpoint reads", member(name))
			}
		}
		err = w.value(of, member(name), depth+1)
		if err != nil {
			return err
		}
	}
	return nil
}

var textual = reflect.TypeFor[encoding.TextUnmarshaler]()

// members lists what a struct reads, nil for everything that is none.
func members(t reflect.Type) map[string]reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(textual) {
		return nil
	}
	all := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			all[name] = t.Field(i).Type
		}
	}
	return all
}

// elem is the type of the elements of a slice or a map, nil for any.
func elem(t reflect.Type, kind reflect.Kind) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != kind {
		return nil
	}
	return t.Elem()
}

// member is a name fit for an error: a caller's own, but short and plain.
func member(name string) string {
	if name == "" || len(name) > maxName {
		return "a member"
	}
	for _, c := range name {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return "a member"
		}
	}
	return name
}
