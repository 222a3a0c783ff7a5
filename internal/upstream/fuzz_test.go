package upstream

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// FuzzObject: what is read has each member once and is JSON; what is refused by
// the standard library is refused here.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":1,"a":2}`, `{"a":{"b":[1,2]}}`, `[]`, `null`, `{"a":1}x`, `{"a"}`, "", `{"A":1,"a":2}`, `{"a":1`,
		`{"sub":"1","exp":1e300}`, `{"aud":["a","b"]}`, `{"email_verified":"true"}`, "{\"\\u0061\":1,\"a\":2}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := parse(text)
		if err != nil {
			return
		}
		var plain map[string]json.RawMessage
		if json.Unmarshal(text, &plain) != nil || len(plain) != len(o) {
			t.Fatalf("%q was read as %d members, the standard library reads %d", text, len(o), len(plain))
		}
		for name := range o {
			o.text(name)
			o.texts(name)
			o.list(name)
			at, ok := o.time(name)
			if ok && (at.Year() < 1970 || at.Year() > 9999) {
				t.Fatalf("%q tells the time %v", text, at)
			}
		}
	})
}

// FuzzSplit: a token that is cut can be put together again, and nothing else is
// cut; there is one spelling.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "..", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30.AA", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiIsImNyaXQiOltdfQ.e30.AA",
		"eyJhbGciOiJSUzI1NiJ9.e30.AB", "eyJhbGciOiJSUzI1NiJ9.e30=.AA", "ya29.abc.def"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		s, ok := split(token)
		if !ok {
			return
		}
		if again := s.input + "." + segment.EncodeToString(s.signature); again != token {
			t.Fatalf("%q was read as %q", token, again)
		}
		_, payload, _ := strings.Cut(s.input, ".")
		if payload != segment.EncodeToString(s.payload) {
			t.Fatalf("%q has a payload of another spelling", token)
		}
	})
}

// FuzzKeys: a key set is read or refused as an outage; what is read can be used.
func FuzzKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","kid":"1","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"1","k":"AAAA"}]}`))
	f.Add([]byte(`{"keys":{}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, err := readKeys(document)
		if err != nil {
			if !fault.Is(err, fault.Unavailable) {
				t.Fatalf("%q: %v", document, err)
			}
			return
		}
		for kid, k := range keys {
			if kid == "" || (k.rsa == nil) == (k.ec == nil) {
				t.Fatalf("%q: key %q is none or two", document, kid)
			}
			k.verifies(signed{alg: "RS256", input: "x", signature: make([]byte, 256)})
			k.verifies(signed{alg: "ES256", input: "x", signature: make([]byte, 64)})
		}
	})
}

// scripted answers every call with one text.
type scripted struct{ body string }

func (s scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: readCloser{strings.NewReader(s.body)}, Request: r}, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// FuzzProviders: whatever Google and Facebook answer, the outcome is an identity
// with a subject that was said to be of our app, or one of the two refusals.
func FuzzProviders(f *testing.F) {
	for _, s := range []string{`{}`, `{"aud":"our-app","exp":"1795348800","sub":"1"}`, `{"aud":"our-app","exp":1795348800,"sub":"1","id":"1","data":{"app_id":"our-app"}}`,
		`{"id":"7","data":{"app_id":"our-app","is_valid":true,"type":"USER","user_id":"7","expires_at":0}}`, `{"aud":"evil","azp":"our-app"}`, `{"aud":"our-app","exp":"-1"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := &Registry{Now: func() time.Time { return noon }, Transport: scripted{body}}
		for _, kind := range []Kind{Google, Facebook} {
			u := Upstream{ID: "x", Kind: kind, ClientIDs: []string{"our-app"}, Secret: secret.New("s")}
			r.set.Store(&map[string]*standing{"x": {Upstream: u, provider: r.provider(u)}})
			who, err := r.Verify(context.Background(), "x", Presented{Token: secret.New("opaque"), Form: AccessToken})
			switch {
			case err == nil && (who.Subject == "" || !strings.Contains(body, `our-app`) && !strings.Contains(body, `\u`)):
				t.Fatalf("%s: %q made %+v", kind, body, who)
			case err != nil && !fault.Is(err, fault.InvalidSubject) && !fault.Is(err, fault.Unavailable):
				t.Fatalf("%s: %q: %v", kind, body, err)
			}
		}
	})
}
