package form

import (
	"fmt"
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
// body, and no name stands there twice.
func FuzzMultipart(f *testing.F) {
	f.Add(part(named("a", ""), "b")+"--x--", "x")
	f.Add(part(named("a", `; filename="f"`), "b")+"--x--", "x")
	f.Add("--x\n"+named("a", "")+"\n\nb\n--x--", "x")
	f.Add("--x--", "")
	f.Fuzz(func(t *testing.T, body, boundary string) {
		v, err := ParseMultipart(body, boundary)
		if err != nil {
			if !fault.Is(err, fault.InvalidRequest) && !fault.Is(err, fault.TooLarge) {
				t.Fatal(err)
			}
			return
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
