package server

import (
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"
)

// TestEveryListenerHasLimits (HTTP-01): no connection may take as long as it
// likes over its header, its body or its answer, or send as much as it likes.
func TestEveryListenerHasLimits(t *testing.T) {
	s := &Server{log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	h := s.listen(http.NotFoundHandler())
	for name, limit := range map[string]time.Duration{"header": h.ReadHeaderTimeout, "read": h.ReadTimeout, "write": h.WriteTimeout, "idle": h.IdleTimeout} {
		if limit <= 0 {
			t.Errorf("the %s timeout is not set", name)
		}
	}
	if h.ReadHeaderTimeout > 10*time.Second || h.MaxHeaderBytes <= 0 || h.MaxHeaderBytes > 16<<10 {
		t.Errorf("a header may take %v and %d bytes", h.ReadHeaderTimeout, h.MaxHeaderBytes)
	}
	if Defaults().RequestTimeout > h.WriteTimeout {
		t.Errorf("an answer is cut off after %v, before its own deadline of %v", h.WriteTimeout, Defaults().RequestTimeout)
	}
}
