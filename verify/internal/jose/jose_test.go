package jose

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestMembers(t *testing.T) {
	nested := func(n int) string { return `{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	var many strings.Builder
	for i := range maxMembers {
		many.WriteString(`"` + strconv.Itoa(i) + `":0,`)
	}
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"empty object", `{}`, nil},
		{"every kind of value", ` { "a" : [ 1 , -0.5e+3 , "x" , true , false , null , { } , [ ] ] , "b" : { "c" : "d" } } `, nil},
		{"escapes", `{"\u0061\"\\\/\b\f\n\r\t":"\ud83d\ude00"}`, nil},
		{"as deep as allowed", nested(maxDepth - 1), nil},
		{"too deep", nested(maxDepth), ErrTooDeep},
		{"as many as allowed", `{` + strings.TrimSuffix(many.String(), ",") + `}`, nil},
		{"too many", `{` + many.String() + `"one more":0}`, ErrTooMany},
		{"duplicate", `{"a":1,"a":1}`, ErrDuplicate},
		{"duplicate, escaped", `{"a":1,"\u0061":1}`, ErrDuplicate},
		{"duplicate, nested", `{"x":[{"a":1,"b":2,"a":1}]}`, ErrDuplicate},
		{"same name on two levels", `{"a":{"a":1}}`, nil},
		{"same name in another case", `{"a":1,"A":1}`, nil},
		{"nothing", ``, ErrJSON}, {"array", `[]`, ErrJSON}, {"string", `"x"`, ErrJSON}, {"null", `null`, ErrJSON},
		{"text behind", `{}x`, ErrJSON}, {"two texts", `{}{}`, ErrJSON}, {"byte order mark", "\ufeff{}", ErrJSON},
		{"comma at the end", `{"a":1,}`, ErrJSON}, {"comma in front", `{,"a":1}`, ErrJSON}, {"no comma", `{"a":1 "b":2}`, ErrJSON},
		{"no colon", `{"a" 1}`, ErrJSON}, {"no value", `{"a":}`, ErrJSON}, {"name without quotes", `{a:1}`, ErrJSON}, {"single quotes", `{'a':1}`, ErrJSON},
		{"cut in a name", `{"a`, ErrJSON}, {"cut in a value", `{"a":"b`, ErrJSON}, {"cut after colon", `{"a":`, ErrJSON}, {"cut in an array", `{"a":[1`, ErrJSON},
		{"comma in an array", `{"a":[1,]}`, ErrJSON}, {"array without comma", `{"a":[1 2]}`, ErrJSON}, {"comment", `{"a":1/*x*/}`, ErrJSON},
		{"leading zero", `{"a":01}`, ErrJSON}, {"plus", `{"a":+1}`, ErrJSON}, {"bare minus", `{"a":-}`, ErrJSON}, {"bare dot", `{"a":1.}`, ErrJSON},
		{"dot in front", `{"a":.1}`, ErrJSON}, {"empty exponent", `{"a":1e}`, ErrJSON}, {"hexadecimal", `{"a":0x1}`, ErrJSON}, {"Infinity", `{"a":Infinity}`, ErrJSON},
		{"True", `{"a":True}`, ErrJSON}, {"tru", `{"a":tru}`, ErrJSON}, {"line break in a string", "{\"a\":\"\n\"}", ErrJSON}, {"NUL in a string", "{\"a\":\"\x00\"}", ErrJSON},
		{"unknown escape", `{"a":"\x41"}`, ErrJSON}, {"short escape", `{"a":"\u00"}`, ErrJSON}, {"signed escape", `{"a":"\u+041"}`, ErrJSON},
		{"lone high surrogate", `{"a":"\ud800"}`, ErrJSON}, {"lone low surrogate", `{"a":"\udc00"}`, ErrJSON}, {"surrogates swapped", `{"a":"\ude00\ud83d"}`, ErrJSON},
		{"broken UTF-8", "{\"a\":\"\xff\"}", ErrJSON}, {"overlong UTF-8", "{\"a\":\"\xc0\x80\"}", ErrJSON}, {"vertical tab", "{\v}", ErrJSON},
	} {
		t.Run("JW08/"+c.name, func(t *testing.T) {
			err := Members(c.text, func(string, Value) error { return nil })
			if !errors.Is(err, c.want) {
				t.Errorf("%v; want %v", err, c.want)
			}
		})
	}
}

// corpus counts the committed seeds of a fuzz test, so that a test that lost
// them fails instead of starting from nothing.
func corpus(f *testing.F, atLeast int) {
	f.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", "fuzz", f.Name(), "*"))
	if err != nil || len(found) < atLeast {
		f.Fatalf("%d committed seeds, want %d or more (%v)", len(found), atLeast, err)
	}
	_, err = os.Stat(found[0])
	if err != nil {
		f.Fatal(err)
	}
}

// FuzzMembers: what the scanner accepts, encoding/json accepts, and both read
// the same out of it. (The reverse does not hold: the scanner is stricter.)
func FuzzMembers(f *testing.F) {
	corpus(f, 8)
	f.Fuzz(func(t *testing.T, text string) {
		got := map[string]any{}
		err := Members(text, func(name string, v Value) error {
			if _, twice := got[name]; twice {
				t.Fatalf("%q was given twice", name)
			}
			got[name] = generic(t, v)
			return nil
		})
		if err != nil {
			return
		}
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		var want map[string]any
		err = decoder.Decode(&want)
		if err != nil {
			t.Fatalf("encoding/json refuses what the scanner accepts: %v", err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("read %v; encoding/json read %v", got, want)
		}
	})
}

// generic builds what encoding/json would, from Value's own accessors.
func generic(t *testing.T, v Value) any {
	switch v.text[0] {
	case '"':
		s, ok := v.Text()
		if !ok {
			t.Fatalf("Text of %q", v.text)
		}
		return s
	case '{':
		m := map[string]any{}
		err := v.Object(func(name string, v Value) error { m[name] = generic(t, v); return nil })
		if err != nil {
			t.Fatalf("Object of %q: %v", v.text, err)
		}
		return m
	case '[':
		list := []any{}
		if !v.Elements(func(e Value) bool { list = append(list, generic(t, e)); return true }) {
			t.Fatalf("Elements of %q", v.text)
		}
		return list
	case 't', 'f':
		return v.IsTrue()
	case 'n':
		return nil
	}
	return json.Number(v.Raw())
}

// FuzzSplit: a token that is accepted has one spelling only. What its segments
// decode to, encodes to the very same text again.
func FuzzSplit(f *testing.F) {
	corpus(f, 8)
	f.Fuzz(func(t *testing.T, token string) {
		c, err := Split(token)
		if err != nil {
			return
		}
		if len(token) > MaxToken || c.Header+"."+c.Payload != c.Signed || c.Signed+"."+c.Signature != token {
			t.Fatalf("the parts are not the token")
		}
		for _, segment := range []string{c.Header, c.Payload, c.Signature} {
			b, err := Decode(segment)
			if err != nil {
				continue
			}
			if again := base64.RawURLEncoding.EncodeToString(b); again != segment {
				t.Fatalf("%q and %q decode to the same", segment, again)
			}
		}
		h, err := ParseHeader(c.Header)
		if err != nil {
			return
		}
		// What the header says, encoding/json reads too.
		raw, _ := Decode(c.Header)
		var std struct{ Alg, Kid, Typ *string }
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&std)
		if err != nil {
			t.Fatalf("encoding/json refuses an accepted header: %v", err)
		}
		for _, name := range []string{"crit", "b64", "zip", "enc"} {
			var m map[string]any
			_ = json.Unmarshal(raw, &m)
			if _, there := m[name]; there {
				t.Fatalf("accepted a header with %s", name)
			}
		}
		if h.Algorithm == "" || std.Alg == nil {
			t.Fatal("accepted a header without alg")
		}
	})
}
