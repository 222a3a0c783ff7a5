package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"holdfast.example/internal/upstream/fake"
)

// The providers that dev plays. Their addresses are those of the demo manifest;
// they exist in this process alone, so that a server in dev calls nobody.
const (
	demoGoogle   = "demo-google.invalid"
	demoFacebook = "demo-facebook.invalid"
	// demoApp is our app's id at both, and demoSecret its secret.
	demoApp    = "demo-app"
	demoSecret = "demo-facebook-secret"
)

// stage is the transport of dev: it answers for the invented providers and sends
// everything else on its way.
type stage struct {
	play map[string]http.Handler
	next http.RoundTripper
}

func newStage(now func() time.Time) *stage {
	return &stage{next: http.DefaultTransport, play: map[string]http.Handler{
		demoGoogle:   &fake.Provider{Issuer: "https://" + demoGoogle, Now: now},
		demoFacebook: &fake.Provider{Issuer: "https://" + demoFacebook, Secret: demoSecret, Now: now},
	}}
}

// RoundTrip implements http.RoundTripper.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	h, ours := s.play[r.URL.Host]
	if !ours {
		return s.next.RoundTrip(r)
	}
	said := &said{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(said, r)
	return &http.Response{StatusCode: said.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: said.header,
		Body: io.NopCloser(&said.body), ContentLength: int64(said.body.Len()), Request: r}, nil
}

// said is an answer that never leaves the process.
type said struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *said) Header() http.Header         { return s.header }
func (s *said) WriteHeader(status int)      { s.status = status }
func (s *said) Write(b []byte) (int, error) { return s.body.Write(b) }

// mount adds dev's page that gives out tokens of the invented providers.
func (s *stage) mount(m *mux) {
	m.Handle("/dev/google/token", s.gives(demoGoogle))
	m.Handle("/dev/facebook/token", s.gives(demoFacebook))
}

// maxWish is the largest body of a wish for a token.
const maxWish = 4 << 10

// gives answers POST /dev/google/token with an ID token and an access token for
// whomever the form invents: sub, email, email_verified, name, nonce, app.
func (s *stage) gives(host string) http.HandlerFunc {
	p := s.play[host].(*fake.Provider)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		r.Body = http.MaxBytesReader(w, r.Body, maxWish)
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		err := r.ParseForm()
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			tell(w, map[string]string{"error": "send a form: sub, email, email_verified, name, nonce, app"})
			return
		}
		c := wish(p, r)
		b, err := json.Marshal(map[string]string{"id_token": p.IDToken(c), "access_token": p.AccessToken(c)})
		if err != nil { // texts always encode
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(b)
	}
}

// wish makes the claims that a form asks for. An address without anything else is
// one that the provider gave out and verified.
func wish(p *fake.Provider, r *http.Request) fake.Claims {
	or := func(name, otherwise string) string {
		if v := r.PostForm.Get(name); v != "" {
			return v
		}
		return otherwise
	}
	email := or("email", "demo@example.com")
	_, domain, _ := strings.Cut(email, "@")
	c := p.Person(or("sub", "demo-"+email), or("app", demoApp)).With("email", email).With("hd", domain).
		With("email_verified", or("email_verified", "true") == "true").With("name", or("name", "Demo Person"))
	if nonce := r.PostForm.Get("nonce"); nonce != "" {
		c = c.With("nonce", nonce)
	}
	return c
}
