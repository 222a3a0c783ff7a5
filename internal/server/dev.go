package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// Dev is what only holdfast dev has.
type Dev struct {
	// Clock, when set, lets POST /dev/clock move the time.
	Clock *Clock
}

// Clock is the process's clock with an offset that only goes forward.
type Clock struct{ offset atomic.Int64 }

// Now is the time with the offset.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }

// maxAdvance bounds one move: further than a century nothing is tested.
const maxAdvance = 100 * 366 * 24 * time.Hour

// mount adds dev's own routes.
func (d *Dev) mount(s *Server, m *mux) {
	m.Handle("/demo/api", http.HandlerFunc(s.demoAPI))
	if s.stage != nil {
		s.stage.mount(m)
	}
	if d.Clock != nil {
		m.Handle("/dev/clock", http.HandlerFunc(d.clock))
	}
}

// demoAPI is a small protected API: it tells the bearer who he is. It asks the
// record, so it obeys every sign-out at once.
func (s *Server) demoAPI(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.config.Issuer+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b, err := s.Issuer.Bearer(r.Context(), secret.New(token))
	if err != nil {
		e := fault.As(err)
		note(r, e)
		if e.Kind != fault.InvalidToken {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Holdfast-Reason", string(e.Reason))
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.config.Issuer+`", error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		tell(w, map[string]string{"error": "invalid_token"})
		return
	}
	tell(w, map[string]string{"hello": b.Access.Subject, "device": b.Session.Device.Name, "scope": b.Access.Scope, "session": b.Access.SID})
}

// tell writes a small JSON object.
func tell(w http.ResponseWriter, body map[string]string) {
	b, _ := json.Marshal(body) // strings always encode
	_, _ = w.Write(b)
}

// clock moves the time: {"advance":"15d"}.
func (d *Dev) clock(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var in struct {
		Advance string `json:"advance"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&in)
	step, parseErr := settings.ParseDuration(in.Advance)
	if err != nil || parseErr != nil || step < 0 || step > maxAdvance {
		w.WriteHeader(http.StatusBadRequest)
		tell(w, map[string]string{"error": `send {"advance":"15d"}: a duration forward, at most a century`})
		return
	}
	d.Clock.Advance(step)
	tell(w, map[string]string{"now": d.Clock.Now().UTC().Format(time.RFC3339)})
}
