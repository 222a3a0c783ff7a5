package pair

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
)

// TestBodies: what is read, and what each kind of nonsense is answered.
func TestBodies(t *testing.T) {
	post := func(kind, body string) (values, error) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Del("Content-Type")
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		return read(httptest.NewRecorder(), r)
	}
	for _, c := range []struct {
		kind, body string
		status     int // 0 for a body that is read
	}{
		{typeJSON, `{"token":"x"}`, 0}, {typeJSON + "; charset=UTF-8", `{"token":"x"}`, 0}, {"Application/JSON", `{"token":"x"}`, 0},
		{typeForm, "token=x", 0}, {typeForm + ";charset=utf-8", "token=x&&", 0},
		{typeJSON, " {\n\"token\" : \"x\" } ", 0},
		{typeJSON, `{"token":"x","token":"y"}`, 400}, {typeForm, "token=x&token=y", 400}, {typeForm, "token=%zz", 400},
		{typeJSON, `{"token":"x"`, 400}, {typeJSON, `null`, 400}, {typeJSON, `"token"`, 400}, {typeJSON, "{\"token\":\"\xff\"}", 400},
		{typeJSON, `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 400},
		{"", "token=x", 415}, {"text/plain", "token=x", 415}, {typeMulti + "; boundary=x; charset=latin-1", "--x--", 415},
		{typeMulti + "; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--x--\r\n", 0},
		{typeMulti, "--x--", 400}, {typeMulti + "; boundary=x", "token=x", 400},
		{typeMulti + "; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"; filename=\"t\"\r\n\r\nx\r\n--x--\r\n", 400},
		{typeMulti + "; boundary*0=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx\r\n--x--\r\n", 415},
		{typeMulti + "; boundary=x", strings.Repeat("a", form.MaxBody+1), 413},
		{typeJSON + "; charset=utf-16", `{}`, 415}, {"a b", "x", 415},
		{typeJSON, strings.Repeat(" ", form.MaxBody+1), 413}, {typeForm, strings.Repeat("a", form.MaxBody+1), 413},
	} {
		v, err := post(c.kind, c.body)
		name := fmt.Sprintf("%s %.40q", c.kind, c.body)
		if c.status == 0 {
			if err != nil || v.text("token") != "x" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		n, ok := err.(*refusal)
		if !ok || n.status != c.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := map[string]string{}
	for i := range form.MaxFields + 1 {
		many[fmt.Sprint("m", i)] = "x"
	}
	b, _ := json.Marshal(many)
	if _, err := post(typeJSON, string(b)); err == nil {
		t.Error("a body of too many members was read")
	}
	if v, err := post("", ""); err != nil || len(v) != 0 {
		t.Errorf("an empty body: %v %v", v, err)
	}
	if s := fmt.Sprintf("%v %#v", values{"password": {text: "open-sesame"}}, values{"password": {text: "open-sesame"}}); strings.Contains(s, "sesame") {
		t.Errorf("a body prints what it holds: %s", s)
	}
}

// TestJSONAndForm: the same members say the same, whichever way they are sent.
func TestJSONAndForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOf(rapid.RuneFrom([]rune("ab é&=+%\"\\\n<")))
		sent := rapid.MapOfN(word, word, 0, 5).Draw(t, "members")
		asJSON, _ := json.Marshal(sent)
		asForm := url.Values{}
		for k, v := range sent {
			asForm.Set(k, v)
		}
		one, err := parseJSON(asJSON)
		if err != nil {
			t.Fatal(err)
		}
		other, err := fields(form.Parse(asForm.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range sent {
			if one[k] != (value{text: v}) || other[k] != one[k] {
				t.Fatalf("%q is %v and %v", k, one[k], other[k])
			}
		}
		if len(one) != len(sent) || len(other) != len(sent) {
			t.Fatalf("%d members are %d and %d", len(sent), len(one), len(other))
		}
	})
}

// FuzzJSON: no body crashes the reader, what it reads is what the standard decoder
// reads, and every refusal can be answered.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"username":"a","password":"b"}`, `{}`, `[]`, `{"a":1e9}`, `{"a":null,"b":[{}],"c":true}`, `{"a":"\ud800"}`, `{"a":1,"a":2}`, `1 2`, "\xff", `{"\u0061":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := parseJSON(body)
		if err != nil {
			n, ok := err.(*refusal)
			if !ok || n.status != http.StatusBadRequest || fault.As(n.fault).Kind != fault.InvalidRequest {
				t.Fatalf("%v", err)
			}
			if b, err := json.Marshal(n.body); err != nil || !utf8.Valid(b) {
				t.Fatalf("the refusal cannot be written: %v", err)
			}
			return
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if dec.Decode(&want) != nil || len(want) != len(v) {
			t.Fatalf("%q was read as %d members, not %d", body, len(v), len(want))
		}
		for name, is := range want {
			got := v[name]
			if s, ok := is.(string); ok && (got.problem != "" || got.text != s) || !ok && got.problem == "" && !bytes.Contains(body, []byte(got.text)) {
				t.Fatalf("%q is %+v", name, got)
			}
		}
		if b, err := json.Marshal(v.lacks("username", "password")); err == nil && !json.Valid(b) {
			t.Fatalf("%s", b)
		}
	})
}
