package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// The limits of one connection and one request.
const (
	// headerTimeout ends a connection that sends its header too slowly.
	headerTimeout = 10 * time.Second
	// readTimeout bounds header and body together, writeTimeout everything.
	readTimeout  = 20 * time.Second
	writeTimeout = 30 * time.Second
	// idleTimeout closes a kept-alive connection nobody uses. It is longer than
	// the usual 60 s of a proxy in front, so that the proxy closes first.
	idleTimeout = 120 * time.Second
	// maxHeader is the largest request header, in bytes.
	maxHeader = 16 << 10
	// maxMethod is how much of a method the log shows: those in use are shorter.
	maxMethod = 16
)

// exchange is what the log and the metrics want to know of one request. It is
// carried in the context so that a door can add the fault it answered.
type exchange struct {
	id    string
	fault *fault.Error
}

type exchangeKey struct{}

// note keeps the fault of a request for its log line.
func note(r *http.Request, e *fault.Error) {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		x.fault = e
	}
}

// mux is the router of one listener: every path with and without its trailing
// slash, no redirects.
type mux struct {
	*http.ServeMux
	// routes lists what is mounted, for the tests that hold tables complete.
	routes []string
}

func newMux() *mux { return &mux{ServeMux: http.NewServeMux()} }

// Handle mounts a path under both spellings.
func (m *mux) Handle(p string, h http.Handler) {
	m.routes = append(m.routes, p)
	m.ServeMux.Handle(p, h)
	if !strings.HasSuffix(p, "/") {
		m.ServeMux.Handle(p+"/{$}", h)
	}
}

// front is everything that happens to a request before a door sees it and
// after: a deadline, an id, one log line, one measurement, and no panic that
// leaves the process. The deadline is what keeps an answer from being older than
// the record of revocations allows (design.md section 3).
func (s *Server) front(next http.Handler, notFound http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		x := &exchange{}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), exchangeKey{}, x), s.config.RequestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		rec := recorderPool.Get().(*recorder)
		rec.ResponseWriter, rec.status = w, 0
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.log.Error("panic", "method", shown(r.Method, maxMethod), "path", shown(r.URL.Path, maxPath), "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					told(rec, http.StatusInternalServerError, `{"error":"server_error"}`)
				}
			}
			s.finish(r, rec.status, x, time.Since(began))
			rec.ResponseWriter = nil
			recorderPool.Put(rec)
		}()
		if s.draining.Load() || doubtful(r) {
			w.Header().Set("Connection", "close")
		}
		if clean := path.Clean(r.URL.Path); clean != r.URL.Path && clean+"/" != r.URL.Path {
			notFound(rec, r) // a path is never corrected by a redirect
			return
		}
		next.ServeHTTP(rec, r)
	})
}

// told answers with JSON that no cache keeps, where no door is there to do it.
func told(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	for _, one := range [][2]string{{"Content-Type", "application/json"}, {"Content-Length", strconv.Itoa(len(body))},
		{"Cache-Control", "no-store"}, {"Pragma", "no-cache"}, {"X-Content-Type-Options", "nosniff"}} {
		h.Set(one[0], one[1])
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the caller is gone if this fails
}

// doubtful reports whether a proxy in front may see the end of this request at
// another place than we do: the length of the body is told in chunks, which override
// a Content-Length that net/http then hides, or the request is of HTTP/1.0, which
// knows no chunks. Such a connection ends with the answer, so that nothing behind
// the body is ever taken for another request (RFC 9112 section 6.1).
func doubtful(r *http.Request) bool { return len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) }

var recorderPool = sync.Pool{New: func() any { return new(recorder) }}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// finish writes the one log line and the one measurement of a request. Only
// what is listed here is logged: never a body, a query or a header.
func (s *Server) finish(r *http.Request, status int, x *exchange, took time.Duration) {
	s.served.Add(1)
	route := s.metrics.request(r, status, took)
	level := slog.LevelDebug
	if status >= 500 {
		level = slog.LevelWarn
	}
	if x.fault != nil && x.fault.Kind == fault.Internal {
		level = slog.LevelError
	}
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	x.id = id.NewToken()
	attrs := []slog.Attr{
		slog.String("request", x.id), slog.String("method", shown(r.Method, maxMethod)), slog.String("route", route),
		slog.Int("status", status), slog.Float64("ms", float64(took)/float64(time.Millisecond)),
		slog.String("from", s.origin(r)),
	}
	if x.fault != nil {
		attrs = append(attrs, slog.String("fault", x.fault.Kind.String()), slog.String("reason", string(x.fault.Reason)))
		if x.fault.Cause != nil {
			attrs = append(attrs, slog.String("cause", x.fault.Cause.Error()))
		}
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// origin is where a request came from, for the log: an address, or the admin socket,
// which has none.
func (s *Server) origin(r *http.Request) string {
	if from := s.from(r); from.IsValid() {
		return from.String()
	}
	return "socket"
}

// maxPath is how much of a path the log shows, in bytes.
const maxPath = 200

// shown bounds what a caller chose for the log.
func shown(s string, most int) string {
	if len(s) > most {
		return s[:most]
	}
	return s
}

// from is the caller's address. A forwarded address counts only when the peer
// is a trusted proxy, and then the right-most hop that is not one (HTTP-06).
func (s *Server) from(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !s.trusted(peer) {
		return peer
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		peer = a.Unmap()
		if !s.trusted(peer) {
			break
		}
	}
	return peer
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.config.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func peerOf(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // a Unix socket has no address
	}
	a, _ := netip.ParseAddr(host)
	return a.Unmap()
}
