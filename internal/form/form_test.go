package form

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"holdfast.example/internal/fault"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       map[string]string
		words      string // of the refusal, "" when it is read
	}{
		{"two parameters", "grant_type=password&username=a%40b.org", map[string]string{"grant_type": "password", "username": "a@b.org"}, ""},
		{"plus is a space", "scope=read+write", map[string]string{"scope": "read write"}, ""},
		{"without a value is not sent", "scope=&grant_type=x", map[string]string{"scope": "", "grant_type": "x"}, ""},
		{"unknown parameters are read", "x_unknown=1", map[string]string{"x_unknown": "1"}, ""},
		{"empty", "", nil, ""},
		{"TOKEN-03 A07 twice, same value", "a=1&a=1", nil, "a was sent twice"},
		{"TOKEN-03 A07 twice, other value", "client_id=1&x=2&client_id=3", nil, "client_id was sent twice"},
		{"TOKEN-03 twice, one of them empty", "a=&a=1", nil, "a was sent twice"},
		{"TOKEN-03 twice, spelled differently", "a=1&%61=2", nil, "a was sent twice"},
		{"TOKEN-06 NUL", "username=a%00b", nil, "username is not valid"},
		{"TOKEN-06 overlong UTF-8", "username=%c0%af", nil, "username is not valid"},
		{"TOKEN-06 lone surrogate", "username=%ed%a0%80", nil, "username is not valid"},
		{"broken escape", "username=%zz", nil, "username is not valid"},
		{"broken name", "%zz=1", nil, "parameter name is not valid"},
		{"name unfit to repeat", "%22%0d%0a=%zz", nil, "value of a parameter"},
		{"TOKEN-05 too many", strings.Repeat("a=1&", 1), map[string]string{"a": "1"}, ""},
		{"TOKEN-05 100k parameters", manyParameters(100), nil, "more than 64 parameters"},
		{"TOKEN-05 too large", "a=" + strings.Repeat("x", MaxBody), nil, "larger than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Parse(c.body)
			if c.words != "" {
				if err == nil || !strings.Contains(fault.As(err).Words, c.words) {
					t.Fatalf("got %v, want a refusal with %q", err, c.words)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got := v.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
		})
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "p%d=1&", i)
	}
	return b.String()
}

func TestRead(t *testing.T) {
	const kind = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, target, kind, encoding string
		want                         fault.Kind
	}{
		{"form", "/token", kind, "", 0},
		{"form in UTF-8", "/token", kind + "; charset=UTF-8", "", 0},
		{"TOKEN-04 utf-16", "/token", kind + "; charset=utf-16", "", fault.UnsupportedMediaType},
		{"TOKEN-04 json", "/token", "application/json", "", fault.UnsupportedMediaType},
		{"TOKEN-04 text", "/token", "text/plain", "", fault.UnsupportedMediaType},
		{"TOKEN-04 multipart", "/token", "multipart/form-data; boundary=x", "", fault.UnsupportedMediaType},
		{"TOKEN-04 missing", "/token", "", "", fault.UnsupportedMediaType},
		{"TOKEN-05 gzip", "/token", kind, "gzip", fault.UnsupportedMediaType},
		{"TOKEN-01 query", "/token?client_secret=s", kind, "", fault.InvalidRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, c.target, strings.NewReader("a=1"))
			r.Header.Set("Content-Type", c.kind)
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
			v, err := Read(httptest.NewRecorder(), r)
			if c.want == 0 {
				if err != nil || v.Get("a") != "1" {
					t.Fatalf("got %v, %v", v.Get("a"), err)
				}
				return
			}
			if !fault.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestReadAny: what a framework read, either kind of form, with one set of rules;
// nothing else.
func TestReadAny(t *testing.T) {
	const parts = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n"
	for _, c := range []struct {
		name, target, kind, body string
		want                     fault.Kind
	}{
		{"url-encoded", "/token", "application/x-www-form-urlencoded", "a=1", 0},
		{"multipart", "/token", "multipart/form-data; boundary=x", parts, 0},
		{"multipart in UTF-16", "/token", "multipart/form-data; boundary=x; charset=utf-16", parts, fault.UnsupportedMediaType},
		{"two boundaries", "/token", "multipart/form-data; boundary=y; boundary*=utf-8''x", parts, fault.UnsupportedMediaType},
		{"a boundary in pieces", "/token", "multipart/form-data; boundary*0=\"\"; boundary*1=x", parts, fault.UnsupportedMediaType},
		{"a quoted boundary", "/token", "multipart/form-data; boundary=\"x\"", parts, 0},
		{"two charsets", "/token", "application/x-www-form-urlencoded; charset=utf-7; charset*=utf-8''utf-8", "a=1", fault.UnsupportedMediaType},
		{"no boundary", "/token", "multipart/form-data", parts, fault.InvalidRequest},
		{"mixed", "/token", "multipart/mixed; boundary=x", parts, fault.UnsupportedMediaType},
		{"query", "/token?b=1", "multipart/form-data; boundary=x", parts, fault.InvalidRequest},
		{"large", "/token", "multipart/form-data; boundary=x", strings.Repeat("x", MaxBody) + parts, fault.TooLarge},
		{"json", "/token", "application/json", `{"a":1}`, fault.UnsupportedMediaType},
	} {
		r := httptest.NewRequest(http.MethodPost, c.target, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		v, err := ReadAny(httptest.NewRecorder(), r)
		if c.want == 0 && (err != nil || v.Get("a") != "1") || c.want != 0 && !fault.Is(err, c.want) {
			t.Errorf("%s: %q, %v; want %v", c.name, v.Get("a"), err, c.want)
		}
	}
}

// TOKEN-05: a body without a length is cut at the limit, not read to its end.
func TestReadEndlessBody(t *testing.T) {
	body := &endless{}
	r := httptest.NewRequest(http.MethodPost, "/token", body)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err := Read(httptest.NewRecorder(), r)
	if !fault.Is(err, fault.TooLarge) {
		t.Fatalf("got %v, want too_large", err)
	}
	if body.read > 2*MaxBody {
		t.Errorf("read %d bytes of an endless body", body.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func TestBasic(t *testing.T) {
	header := func(user, pw string) http.Header {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.SetBasicAuth(user, pw)
		return r.Header
	}
	for _, c := range []struct {
		name     string
		h        http.Header
		user, pw string
		ok       bool
		want     fault.Kind
	}{
		{"none", http.Header{}, "", "", false, 0},
		{"plain", header("demo-web", "s3cret"), "demo-web", "s3cret", true, 0},
		{"A19 colon, percent, plus and umlaut", header(url.QueryEscape("a:b"), url.QueryEscape("p%+:ü")), "a:b", "p%+:ü", true, 0},
		{"broken escape", header("a%zz", "x"), "", "", false, fault.InvalidClient},
		{"another scheme", http.Header{"Authorization": {"Bearer x"}}, "", "", false, fault.InvalidClient},
		{"A18 TOKEN-02 two headers", http.Header{"Authorization": {"Basic YTpi", "Basic YTpi"}}, "", "", false, fault.InvalidRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			user, pw, ok, err := Basic(c.h)
			if c.want != 0 {
				if !fault.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				return
			}
			if err != nil || user != c.user || pw.Reveal() != c.pw || ok != c.ok {
				t.Fatalf("got %q %q %v %v", user, pw.Reveal(), ok, err)
			}
		})
	}
}

// A body never shows itself in a log line or an error.
func TestValuesAreUnloggable(t *testing.T) {
	v, err := Parse("password=open-sesame")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, v); strings.Contains(s, "sesame") {
			t.Errorf("%s shows %s", verb, s)
		}
	}
	_, err = Parse("password=open-sesame%zz")
	if strings.Contains(err.Error(), "sesame") {
		t.Errorf("the error shows the value: %v", err)
	}
}

// FuzzParse holds the parser to one meaning per body: what it accepts, the
// standard library reads the same way, and nothing is there twice.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a=1", "a=1&b=2", "a=1&a=2", "a=%41&%61=1", "a", "=1", "&&&", "a=%00", "a=%c3%bc+x", "a=1;b=2", "a=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		v, err := Parse(body)
		if err != nil {
			return
		}
		if strings.Contains(body, ";") {
			return // the standard library refuses a bare semicolon; for us it is a character
		}
		std, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("accepted %q, which net/url refuses: %v", body, err)
		}
		if len(std) != len(v.names) {
			t.Fatalf("%q: %d names, net/url has %d", body, len(v.names), len(std))
		}
		for name, values := range std {
			if len(values) != 1 || v.Get(name) != values[0] {
				t.Fatalf("%q: %q is %q, net/url says %q", body, name, v.Get(name), values)
			}
		}
	})
}
