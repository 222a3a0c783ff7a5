package server

import (
	"context"
	"net/http"
	"time"

	"holdfast.example/internal/breach"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// observe counts and logs what happens to sessions. Ends that nobody asked for
// are worth a line.
func (s *Server) observe(e session.Event) {
	s.metrics.session(e)
	switch {
	case e.Verdict.Ahead > 0:
		s.log.Error("the store lost commits: a refresh token is newer than what it remembers",
			"sid", e.SID, "generations", uint32(e.Verdict.Ahead))
	case e.Degraded:
		s.sayDegraded()
	case e.Ended != "":
		s.log.Info("session ended", "sid", e.SID, "client", string(e.Client), "user", e.User.String(), "reason", string(e.Ended))
	}
}

// degradedEvery is how often the log says that the store cannot be written: a
// line for each refresh would fill what is full already. The metric counts them.
const degradedEvery = 10 * time.Second

func (s *Server) sayDegraded() {
	now, last := s.now().UnixNano(), s.saidDegraded.Load()
	if age := time.Duration(now - last); last != 0 && age >= 0 && age < degradedEvery {
		return
	}
	if s.saidDegraded.CompareAndSwap(last, now) {
		s.log.Warn("the store cannot be written: refreshes are answered with the same token")
	}
}

// healthz answers while the process lives; it asks nobody.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(`{"status":"ok"}`))
}

// readyz tells a load balancer whether to send requests here: the store must
// answer a read, and the server must not be draining. A store or a journal that cannot
// be written does not close the gate: refreshes still answer.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	err := s.stores.Ready(ctx)
	switch {
	case s.draining.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":"draining"}`))
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":"the database does not answer"}`))
	case s.stores.Writable(ctx) != nil:
		_, _ = w.Write([]byte(`{"status":"read-only"}`))
	case s.stores.Journal != nil && s.stores.Journal().Failing:
		_, _ = w.Write([]byte(`{"status":"the revocation journal cannot be written"}`))
	default:
		_, _ = w.Write([]byte(`{"status":"ok"}`))
	}
}

// readyWithin bounds the look at the store behind /readyz.
const readyWithin = 2 * time.Second

// check holds the clients that stand and the list of breached passwords to the
// settings, as the next start will, and looks the store over. What is about the
// settings is a *fault.Error with the words of the problem.
func (s *Server) check(ctx context.Context) error {
	err := s.Clients.Fresh(ctx)
	if err != nil {
		return fault.Down(err)
	}
	err = s.holdClients(false)
	if err == nil {
		err = s.holdDoors(false)
	}
	if path := s.config.BreachedPasswords; err == nil && path != "" {
		err = breach.List{Path: path}.Check()
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, err.Error())
	}
	return s.stores.Check(ctx)
}
