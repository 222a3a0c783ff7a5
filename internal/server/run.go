package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listeners are where a Server answers. Main is needed; the others may be nil.
type Listeners struct {
	// Main is for the world.
	Main net.Listener
	// Admin is for operators: a Unix socket that only the server's account can open.
	Admin net.Listener
	// Operators is for operators too, over TCP: every call needs a token.
	Operators net.Listener
	// Metrics serves /metrics and /debug/pprof/.
	Metrics net.Listener
}

const (
	// settle is how long a draining server goes on answering on connections
	// that are open, telling each to close, before it closes the idle ones. A
	// request that was already on its way is answered, not reset.
	settle = 1500 * time.Millisecond
)

// Run answers on the listeners until the context ends, then drains: it tells
// load balancers (/readyz) and clients (Connection: close), answers what is in
// flight, and returns. The error is nil after a drain.
func (s *Server) Run(ctx context.Context, l Listeners) error {
	main := s.listen(s.Handler())
	servers := []*http.Server{main}
	failed := make(chan error, 4)
	start := func(srv *http.Server, on net.Listener, name string) {
		go func() {
			err := srv.Serve(on)
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		}()
	}
	start(main, l.Main, "listen")
	if l.Admin != nil {
		srv := s.listen(s.Admin())
		servers = append(servers, srv)
		start(srv, l.Admin, "admin socket")
	}
	if l.Operators != nil {
		srv := s.listen(s.Operators())
		servers = append(servers, srv)
		start(srv, l.Operators, "admin_listen")
	}
	if l.Metrics != nil {
		srv := s.listen(s.Metrics())
		srv.WriteTimeout = 0 // a profile takes as long as it is asked to
		servers = append(servers, srv)
		start(srv, l.Metrics, "metrics")
	}
	keep, stopKeeping := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { s.Keep(keep) })
	defer keeping.Wait()
	defer stopKeeping()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return s.drain(servers)
}

// drain ends the servers without failing a request that was sent before its
// connection was told to close.
func (s *Server) drain(servers []*http.Server) error {
	s.log.Info("draining")
	s.draining.Store(true)
	time.Sleep(settle)
	ctx, cancel := context.WithTimeout(context.Background(), s.config.DrainTimeout)
	defer cancel()
	var errs []error
	for _, srv := range servers {
		err := srv.Shutdown(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("requests were still running after %s: %w", s.config.DrainTimeout, err))
		}
	}
	s.log.Info("drained")
	return errors.Join(errs...)
}

// listen is an HTTP server with every limit set. It speaks HTTP/1.1 alone: HTTP/2
// and TLS end at the proxy in front.
func (s *Server) listen(h http.Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Protocols:         &protocols,
		Handler:           h,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// Metrics answers /metrics in the Prometheus text format, and profiles under
// /debug/pprof/. It belongs on a listener that the world cannot reach.
func (s *Server) Metrics() http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	m.HandleFunc("GET /debug/pprof/", pprof.Index)
	m.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	m.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	m.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return m
}

// ListenAdmin opens the admin socket for the server's own account alone. A
// socket left behind by a process that was killed is replaced; one that
// answers is not.
func ListenAdmin(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the admin socket path %s is longer than %d bytes, which no system allows; choose a shorter admin_socket", path, maxSocketPath)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return nil, fmt.Errorf("another holdfast answers on %s; stop it first, or choose another data directory", path)
	}
	err = os.Remove(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the old admin socket cannot be removed: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("the admin socket cannot be opened: %w", err)
	}
	err = os.Chmod(path, 0o600)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the admin socket cannot be closed to others: %w", err)
	}
	return l, nil
}

// maxSocketPath is the shortest limit of the systems we run on.
const maxSocketPath = 103
