package form

import (
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
)

// part is one part of a body between boundaries that are "x".
func part(headers, value string) string { return "--x\r\n" + headers + "\r\n\r\n" + value + "\r\n" }

func named(name, more string) string {
	return `Content-Disposition: form-data; name="` + name + `"` + more
}

// TestParseMultipart: text fields are read; whatever two readers could take for two
// things is refused.
func TestParseMultipart(t *testing.T) {
	const good = fault.Internal // a refusal is never of this kind
	many := ""
	for i := range MaxFields + 1 {
		many += part(named(fmt.Sprint("n", i), ""), "v")
	}
	for _, c := range []struct {
		name, body, want string
		kind             fault.Kind
	}{
		{"one", part(named("a", ""), "b") + "--x--\r\n", "b", good},
		{"as a browser says it", part(named("a", "\r\nContent-Type: text/plain; charset=UTF-8"), "b") + "--x--", "b", good},
		{"before and after", "hello\r\n" + part(named("a", ""), "b") + "--x--\r\nbye", "b", good},
		{"lines", part(named("a", ""), " b\r\nc ") + "--x--", " b\r\nc ", good},
		{"nothing", "--x--", "", good},
		{"twice", part(named("a", ""), "b") + part(named("a", ""), "c") + "--x--", "", fault.InvalidRequest},
		{"a file", part(named("a", `; filename="f"`), "b") + "--x--", "", fault.InvalidRequest},
		{"a file without a name", part(named("a", `; filename=""`), "b") + "--x--", "", fault.InvalidRequest},
		{"a file, told otherwise", part(named("a", "; filename*=utf-8''f"), "b") + "--x--", "", fault.InvalidRequest},
		{"two names", part(named("a", `; name="c"`), "b") + "--x--", "", fault.InvalidRequest},
		{"two dispositions", part(named("a", "")+"\r\n"+named("c", ""), "b") + "--x--", "", fault.InvalidRequest},
		{"no name", part("Content-Disposition: form-data", "b") + "--x--", "", fault.InvalidRequest},
		{"not of a form", part(`Content-Disposition: attachment; name="a"`, "b") + "--x--", "", fault.InvalidRequest},
		{"no disposition", part("A: b", "b") + "--x--", "", fault.InvalidRequest},
		{"another type", part(named("a", "\r\nContent-Type: application/json"), "b") + "--x--", "", fault.InvalidRequest},
		{"another charset", part(named("a", "\r\nContent-Type: text/plain; charset=utf-7"), "b") + "--x--", "", fault.InvalidRequest},
		{"encoded", part(named("a", "\r\nContent-Transfer-Encoding: quoted-printable"), "=62") + "--x--", "", fault.InvalidRequest},
		{"not UTF-8", part(named("a", ""), "\xff") + "--x--", "", fault.InvalidRequest},
		{"NUL", part(named("a", ""), "b\x00") + "--x--", "", fault.InvalidRequest},
		{"cut off", part(named("a", ""), "b"), "", fault.InvalidRequest},
		{"cut off inside", "--x\r\n" + named("a", "") + "\r\n\r\nb", "", fault.InvalidRequest},
		{"no boundary", "a=b", "", fault.InvalidRequest},
		{"many", many + "--x--", "", fault.InvalidRequest},
		{"large", part(named("a", ""), strings.Repeat("b", MaxBody)) + "--x--", "", fault.TooLarge},
	} {
		v, err := ParseMultipart(c.body, "x")
		if err == nil && c.kind != good || err != nil && !fault.Is(err, c.kind) || v.Get("a") != c.want {
			t.Errorf("%s: %q, %v", c.name, v.Get("a"), err)
		}
	}
	for _, boundary := range []string{"", strings.Repeat("x", maxBoundary+1)} {
		if _, err := ParseMultipart("--"+boundary+"--", boundary); !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("a boundary of %d characters: %v", len(boundary), err)
		}
	}
}

// TestMultipartDoubtful: what one reader of multipart forgives and another does not is
// refused, so that nobody who reads a body before us sees other fields in it.
func TestMultipartDoubtful(t *testing.T) {
	const end = "--x--"
	good := part(named("a", ""), "b")
	for name, body := range map[string]string{
		"lines of LF":                         strings.ReplaceAll(good+end, "\r\n", "\n"),
		"a boundary that ends with LF":        "--x\n" + named("a", "") + "\r\n\r\nb\r\n" + end,
		"a boundary after LF":                 "--x\r\n" + named("a", "") + "\r\n\r\nb\n" + end,
		"a header that ends with LF":          part(named("a", "\nContent-Type: text/plain"), "b") + end,
		"a header that ends with CR":          part(named("a", "\rX: y"), "b") + end,
		"a blank line of LF":                  part(named("a", "\n\nb"), "c") + end,
		"a folded header":                     part("Content-Disposition: form-data;\r\n name=\"a\"", "b") + end,
		"a boundary in a line":                part(named("a", ""), "b--x") + end,
		"a boundary and more":                 part(named("a", ""), "b\r\n--xy\r\nc") + end,
		"a boundary in what comes before":     "see --x\r\n" + good + end,
		"a part after the end":                good + end + "\r\n" + part(named("a", ""), "c") + end,
		"an end in the middle of a line":      good + end + "x",
		"a second name":                       part(named("c", "; name*=utf-8''a"), "b") + end,
		"a name in pieces":                    part("Content-Disposition: form-data; name*0=\"a\"; name*1=\"b\"", "b") + end,
		"a backslash in a name":               part(named(`a\"`, "")+"", "b") + end,
		"a backslash that escapes nothing":    part(named(`a\b`, ""), "b") + end,
		"two encodings":                       part(named("a", "\r\nContent-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64"), "Yg==") + end,
		"an empty encoding and one":           part(named("a", "\r\nContent-Transfer-Encoding:\r\nContent-Transfer-Encoding: base64"), "Yg==") + end,
		"two types":                           part(named("a", "\r\nContent-Type: text/plain\r\nContent-Type: text/plain; charset=utf-7"), "b") + end,
		"a second charset":                    part(named("a", "\r\nContent-Type: text/plain; charset=utf-7; charset*=utf-8''utf-8"), "b") + end,
		"a space before the colon":            part("Content-Disposition : form-data; name=\"a\"", "b") + end,
		"a header without a colon":            part(named("a", "\r\nX"), "b") + end,
		"no header":                           part("", "b") + end,
		"not closed":                          good + "--x",
		"a part that begins behind its mark":  "--x " + named("a", "") + "\r\n\r\nb\r\n" + end,
		"a boundary longer than it should be": "---x\r\n" + named("a", "") + "\r\n\r\nb\r\n" + end,
	} {
		if v, err := ParseMultipart(body, "x"); !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("%s: %q, %v", name, v.names, err)
		}
	}
	for _, boundary := range []string{"x ", "x\ty", "é", "x\"", "x;y", "x*"} {
		if _, err := ParseMultipart("--"+boundary+"--", boundary); !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("the boundary %q: %v", boundary, err)
		}
	}
	for name, body := range map[string]string{
		"room behind a boundary": "--x \t\r\n" + named("a", "") + "\r\n\r\nb\r\n--x-- \r\n",
		"an empty line before":   "\r\n" + good + end,
		"a length":               part("content-length: 1\r\n"+named("a", ""), "b") + end,
	} {
		if v, err := ParseMultipart(body, "x"); err != nil || v.Get("a") != "b" {
			t.Errorf("%s: %q, %v", name, v.Get("a"), err)
		}
	}
	if v, err := ParseMultipart("--x\r\n"+named("a", "")+"\r\n\r\n"+end, "x"); err != nil || len(v.names) != 1 || v.Has("a") {
		t.Errorf("a part that is only a header: %q, %v", v.names, err)
	}
}

// TestMultipartAsWritten: what another writer writes is read as it was meant.
func TestMultipartAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("ab é&=+%-<")), 1, 12, -1)
		text := rapid.StringOf(rapid.RuneFrom([]rune("ab é&=+%-\"\\\r\n<")))
		sent := rapid.MapOfN(word, text, 0, 5).Draw(t, "fields")
		var b strings.Builder
		w := multipart.NewWriter(&b)
		for name, value := range sent {
			if err := w.WriteField(name, value); err != nil {
				t.Fatal(err)
			}
		}
		_ = w.Close()
		got, err := ParseMultipart(b.String(), w.Boundary())
		if err != nil || len(got.names) != len(sent) {
			t.Fatalf("%d fields were read as %d: %v", len(sent), len(got.names), err)
		}
		for name, value := range sent {
			if got.Get(name) != value {
				t.Fatalf("%q is %q, not %q", name, got.Get(name), value)
			}
		}
	})
}

// FuzzMultipart: no body crashes the reader, what it reads is text that was in the
// body, no name stands there twice, and another reader reads the same.
func FuzzMultipart(f *testing.F) {
	f.Add(part(named("a", ""), "b")+"--x--", "x")
	f.Add(part(named("a", `; filename="f"`), "b")+"--x--", "x")
	f.Add("--x\n"+named("a", "")+"\n\nb\n--x--", "x")
	f.Add("--x--", "")
	f.Add(part(named("a", ""), "b")+"--x--\r\n"+part(named("a", ""), "c")+"--x--", "x")
	f.Add("\r\n--x\t\r\n"+named("a", "\r\ncontent-type: text/plain; charset=utf-8")+"\r\n\r\n--x--", "x")
	f.Fuzz(func(t *testing.T, body, boundary string) {
		v, err := ParseMultipart(body, boundary)
		if err != nil {
			if !fault.Is(err, fault.InvalidRequest) && !fault.Is(err, fault.TooLarge) {
				t.Fatal(err)
			}
			return
		}
		other := multipart.NewReader(strings.NewReader(body), boundary)
		for i, name := range v.names {
			p, err := other.NextRawPart()
			if err != nil {
				t.Fatalf("another reader does not see %q: %v", name, err)
			}
			value, err := io.ReadAll(p)
			if err != nil || p.FormName() != name || string(value) != v.values[i] {
				t.Fatalf("another reader sees %q is %q, not %q is %q: %v", p.FormName(), value, name, v.values[i], err)
			}
		}
		if _, err := other.NextRawPart(); err != io.EOF {
			t.Fatalf("another reader sees more: %v", err)
		}
		seen := map[string]bool{}
		for i, name := range v.names {
			if seen[name] || name == "" || !utf8.ValidString(name) || !utf8.ValidString(v.values[i]) || !strings.Contains(body, v.values[i]) {
				t.Fatalf("%q is %q", name, v.values[i])
			}
			seen[name] = true
		}
	})
}
