package problem_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/secret"
)

// TestRefuse (AD01): the status of the document is that of the answer, nothing
// private leaves, no cache keeps it, and whoever has to wait is told how long.
func TestRefuse(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		e      *fault.Error
		wait   string
	}{
		{"plain", 404, fault.Wrap(fault.NotFound, errors.New("SELECT secret"), "words"), ""},
		{"a session's end", 401, &fault.Error{Kind: fault.InvalidToken, Reason: fault.Everywhere, Words: "words"}, ""},
		{"wait, unsaid", 503, fault.New(fault.Busy, "words"), "1"},
		{"wait, rounded up", 429, &fault.Error{Kind: fault.TooMany, Words: "words", RetryAfter: 1500 * time.Millisecond}, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			problem.Refuse(w, c.status, c.e)
			var p problem.Problem
			err := json.Unmarshal(w.Body.Bytes(), &p)
			want := problem.Problem{Type: "urn:holdfast:problem:" + c.e.Kind.String(), Title: http.StatusText(c.status),
				Status: c.status, Detail: "words", Reason: c.e.Reason}
			if err != nil || w.Code != c.status || p != want || strings.Contains(w.Body.String(), "SELECT") {
				t.Errorf("%d %s %v", w.Code, w.Body, err)
			}
			h := w.Result().Header
			if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Retry-After") != c.wait ||
				h.Get(answer.ReasonHeader) != string(c.e.Reason) {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestWhatCannotBeWrittenIsAProblem(t *testing.T) {
	w := httptest.NewRecorder()
	problem.Write(w, http.StatusOK, func() {})
	if w.Code != http.StatusInternalServerError || w.Header().Get("Content-Type") != "application/problem+json" || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

type target struct {
	Name     string            `json:"name"`
	Password secret.Text       `json:"password"`
	Tags     []string          `json:"tags"`
	Inner    *inner            `json:"inner"`
	Facts    map[string]string `json:"facts"`
}

type inner struct {
	Count int `json:"count"`
}

const bodyLimit = 200

func read(kind, body string) (target, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	var in target
	return in, problem.Read(httptest.NewRecorder(), r, bodyLimit, &in)
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       fault.Kind
		words      string
	}{
		{"unknown member", `{"is_admin":true}`, fault.InvalidRequest, "is_admin"},
		{"unknown inside", `{"inner":{"count":1,"more":2}}`, fault.InvalidRequest, "more"},
		{"another case", `{"Name":"x"}`, fault.InvalidRequest, "Name"},
		{"doubled", `{"name":"x","name":"y"}`, fault.InvalidRequest, "name was sent twice"},
		{"doubled by escape", `{"name":"x","n\u0061me":"y"}`, fault.InvalidRequest, "name was sent twice"},
		{"doubled inside", `{"inner":{"count":1,"count":2}}`, fault.InvalidRequest, "count was sent twice"},
		{"doubled in free facts", `{"facts":{"a":"1","a":"2"}}`, fault.InvalidRequest, "a was sent twice"},
		{"null", `{"name":null}`, fault.InvalidRequest, "name is null"},
		{"null whole", `null`, fault.InvalidRequest, "null"},
		{"wrong type", `{"name":5}`, fault.InvalidRequest, "name has the wrong type"},
		{"wrong type of a secret", `{"password":12345678}`, fault.InvalidRequest, "password has the wrong type"},
		{"an array", `[]`, fault.InvalidRequest, "wrong type"},
		{"a string", `"x"`, fault.InvalidRequest, "wrong type"},
		{"two values", `{"name":"x"} {}`, fault.InvalidRequest, "after its JSON"},
		{"garbage after", `{"name":"x"} x`, fault.InvalidRequest, "not JSON"},
		{"half", `{"name":"x"`, fault.InvalidRequest, "not JSON"},
		{"a comma too many", `{"name":"x",}`, fault.InvalidRequest, "not JSON"},
		{"no JSON", `name=x`, fault.InvalidRequest, "not JSON"},
		{"only white space", ` `, fault.InvalidRequest, "not JSON"},
		{"not UTF-8", "{\"name\":\"\xff\"}", fault.InvalidRequest, "UTF-8"},
		{"deep", `{"name":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, fault.InvalidRequest, "deeper"},
		{"large", `{"name":"` + strings.Repeat("x", bodyLimit) + `"}`, fault.TooLarge, "larger than 200 bytes"},
		{"a long unknown name", `{"` + strings.Repeat("x", 65) + `":1}`, fault.InvalidRequest, "a member"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read("application/json", c.body)
			e := fault.As(err)
			if err == nil || e.Kind != c.kind || !strings.Contains(e.Words, c.words) || strings.Contains(e.Words, "12345678") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestReadTakesOnlyJSON(t *testing.T) {
	for kind, ok := range map[string]bool{"application/json": true, "application/json; charset=utf-8": true, "Application/JSON;charset=UTF-8": true,
		"": false, "text/plain": false, "application/x-www-form-urlencoded": false, "application/json; charset=utf-16": false, "application/json, text/plain": false} {
		in, err := read(kind, `{"name":"x"}`)
		if (err == nil) != ok || !ok && !fault.Is(err, fault.UnsupportedMediaType) || ok && in.Name != "x" {
			t.Errorf("%q: %v %v", kind, in, err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"name":"x"}`))
	r.Header = http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	if err := problem.Read(httptest.NewRecorder(), r, bodyLimit, &target{}); !fault.Is(err, fault.UnsupportedMediaType) {
		t.Errorf("an encoded body: %v", err)
	}
}

func TestReadReads(t *testing.T) {
	in, err := read("application/json", ` {"name":"x","password":"p","tags":["a","b"],"inner":{"count":3},"facts":{"a":"1"}} `)
	if err != nil || in.Name != "x" || in.Password.Reveal() != "p" || len(in.Tags) != 2 || in.Inner.Count != 3 || in.Facts["a"] != "1" {
		t.Errorf("%+v %v", in, err)
	}
	in, err = read("", "")
	if err != nil || in.Name != "" {
		t.Errorf("an empty body: %+v %v", in, err)
	}
}

// FuzzRead: nothing crashes it, and what it takes means the same to a reader
// that takes the first of two members and to one that takes the last.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`{"name":"x"}`, `{"name":"x","NAME":"y"}`, `{"inner":{"count":1},"tags":["\u0000"]}`, `{"facts":{"":""}}`, `[{}]`, `{"name":"\ud800"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		in, err := read("application/json", body)
		if err != nil {
			e := fault.As(err)
			if e.Kind == fault.Internal {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if body == "" {
			return
		}
		var loose struct {
			Name string `json:"name"`
		}
		if json.Unmarshal([]byte(body), &loose) != nil || loose.Name != in.Name {
			t.Fatalf("%q was read as %q and as %q", body, in.Name, loose.Name)
		}
	})
}
