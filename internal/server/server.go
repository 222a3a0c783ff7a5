// Package server owns the wiring of the house: it makes every room from one
// Config, mounts the doors, and starts and stops the listeners. It has the only
// list of routes.
//
// It does not own any rule of a token's life (rooms session, grant) nor the
// choice of a database (cmd hands it the stores).
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/breach"
	"holdfast.example/internal/client"
	"holdfast.example/internal/door/admin"
	"holdfast.example/internal/door/oauth"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/key"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/once"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/upstream"
	"holdfast.example/internal/user"
	"holdfast.example/verify"
)

// Stores are the databases behind the rooms; one database usually is all of them.
type Stores struct {
	Sessions session.Store
	Users    user.Store
	Clients  client.Store
	Keys     key.Store
	Feed     feed.Store
	Audit    audit.Store
	Calls    idem.Store
	Once     once.Store
	// Upstreams keeps providers and links; nil for a house without any.
	Upstreams upstream.Store
	// Budgets, when set, are the attempt limits of all nodes together; without them
	// this node counts by itself.
	Budgets limit.Store
	// Ready reports whether the store can be read, and Writable whether it can
	// be written; both are cheap.
	Ready    func(context.Context) error
	Writable func(context.Context) error
	// Check looks the whole store over, for holdfast check.
	Check func(context.Context) error
	// Figures, when set, are the writer's counters for /metrics.
	Figures func() StoreFigures
	// Journal, when set, are the figures of the revocation journal, and Settled returns
	// when it has what ended before the call; the error is Unavailable.
	Journal func() JournalFigures
	Settled func(context.Context) error
}

// JournalFigures are what a revocation journal tells about itself.
type JournalFigures struct {
	// Entries is how many were written, Failed how many attempts to follow the record
	// did not succeed; Failing says that the last one did not.
	Entries, Failed uint64
	Failing         bool
	// Behind is for how long it has not followed the record.
	Behind time.Duration
	// Owed is how many ends were answered with 503 because of it and are not in it.
	Owed int
}

// StoreFigures are what a store's writer tells about itself.
type StoreFigures struct {
	Batches, Failed, Operations uint64
	// Queue is how many operations wait now; CommitTime is what all commits took.
	Queue      int
	CommitTime time.Duration
	// Broken: calls are refused at once, because the database does not answer. Opened
	// is how often that began, Refused how many calls it refused.
	Broken          bool
	Opened, Refused uint64
	// Unreplicated is how many commits did not wait for their synchronous replica to
	// the end.
	Unreplicated uint64
}

// Parts are what a Server is made of besides its Config.
type Parts struct {
	Stores Stores
	Root   key.Root
	Log    *slog.Logger
	// Now is the clock of this process; time.Now outside of tests.
	Now func() time.Time
	// HashCommand starts a process that computes password hashes (see
	// user.HasherOptions); nil computes them in this process.
	HashCommand []string
	// Env looks up environment variables that manifests name; nil finds none.
	Env func(string) (string, bool)
	// Mending: the house is opened by an operator's command, not to serve; clients
	// that contradict the settings do not stop him from changing them.
	Mending bool
	// Dev adds what only holdfast dev has; nil in production.
	Dev *Dev
}

// Server is the running house.
type Server struct {
	config  Config
	stores  Stores
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	Keys     *key.Ring
	Clients  *client.Registry
	Users    *user.Directory
	Sessions *session.Keeper
	Once     *once.Keeper
	// Upstreams vouch for users of other providers.
	Upstreams *upstream.Registry
	Issuer    *grant.Issuer

	hasher *user.Hasher
	// stage plays providers, in dev.
	stage  *stage
	env    func(string) (string, bool)
	public http.Handler
	admin  http.Handler
	// operators is admin for the world: it asks for a token.
	operators http.Handler
	routes    []string
	draining  atomic.Bool
	// saidDegraded is when the log last said so, in nanoseconds since 1970.
	saidDegraded atomic.Int64
	drift        drift
	served       atomic.Uint64
}

// KeyOptions are the settings as far as they are about keys.
func KeyOptions(c Config) key.Options {
	return key.Options{Algs: c.SigningAlgs, LongestAccess: client.AccessCap, JWKSMaxAge: c.JWKSMaxAge, RotateEvery: c.KeyRotation,
		EntryLife: feed.Life(longestAccess)}
}

// New makes the house. It opens the keys, and refuses with one sentence when a
// key is missing, swapped or under another root secret.
func New(ctx context.Context, c Config, p Parts) (*Server, error) {
	s := &Server{config: c, stores: p.Stores, log: p.Log, now: p.Now, env: p.Env, metrics: newMetrics()}
	keys := KeyOptions(c)
	keys.Now, keys.Log = p.Now, p.Log
	keys.KeysExpected = func(ctx context.Context) (bool, error) { // where sessions are, keys were
		held, err := p.Stores.Sessions.Find(ctx, session.Query{Ended: true, Limit: 1})
		return len(held) > 0, err
	}
	var err error
	s.Keys, err = key.Open(ctx, p.Stores.Keys, p.Root, keys)
	if err != nil {
		return nil, err
	}
	s.Clients = &client.Registry{Store: p.Stores.Clients, Server: c.ForClients(), Now: p.Now, EntryLife: feed.Life(longestAccess)}
	err = s.Clients.Reload(ctx)
	if err != nil {
		return nil, fmt.Errorf("the clients cannot be read: %w", err)
	}
	err = s.holdClients(p.Mending)
	if err == nil {
		err = s.holdDoors(p.Mending)
	}
	if err != nil {
		return nil, err
	}
	s.hasher = user.NewHasher(user.HasherOptions{Slots: c.PasswordSlots, Line: c.PasswordQueue, Command: p.HashCommand})
	s.Users = &user.Directory{Store: p.Stores.Users, Hasher: s.hasher, Now: p.Now, EntryLife: feed.Life(longestAccess)}
	if c.BreachedPasswords != "" {
		s.Users.Breached = breach.List{Path: c.BreachedPasswords}
	}
	s.Sessions = &session.Keeper{Store: p.Stores.Sessions, Tokens: token.Refreshes{Keys: s.Keys}, Names: s.Keys,
		EntryLife: feed.Life(longestAccess), Observe: s.observe}
	s.Users.Ended = s.Sessions.NoticeAll
	s.Once = &once.Keeper{Store: p.Stores.Once, Seal: s.Keys, Now: p.Now}
	err = s.openUpstreams(ctx, p)
	if err != nil {
		return nil, err
	}
	minter := token.Minter{Keys: s.Keys, Issuer: c.Issuer}
	checker, err := verify.New(verify.Config{Issuer: c.Issuer, AnyAudience: true, Keys: localKeys(s.Keys)})
	if err != nil {
		return nil, err
	}
	s.Issuer = &grant.Issuer{Clients: s.Clients, Users: s.Users, Sessions: s.Sessions, Revoked: p.Stores.Feed, Audit: p.Stores.Audit,
		Minter: minter, Reader: token.Reader{Minter: minter, JWT: checker},
		Attempts: &limit.Attempts{Counters: s.counters(), Policy: attempts(c)}, Strangers: strangers(), Limits: c.Limits(), Now: p.Now,
		Upstreams: s.Upstreams, Exchanges: s.exchanges(), Once: s.Once}
	s.metrics.passwords(s.hasher)
	s.metrics.drift(s.drift.seconds)
	if p.Stores.Figures != nil {
		s.metrics.store(p.Stores.Figures)
	}
	if p.Stores.Journal != nil {
		s.metrics.journal(p.Stores.Journal)
	}
	s.mount(p.Dev)
	return s, nil
}

// holdClients holds the clients that stand to the settings, which may have
// changed since they were applied. What contradicts refuses the start, because
// it would only be noticed by people who are signed out; what is doubtful is
// logged.
func (s *Server) holdClients(mending bool) error {
	var wrong []error
	for _, p := range s.Clients.Problems() {
		c, _ := s.Clients.Get(p.Client)
		if p.Warning || mending || c.Disabled {
			s.log.Warn("a client is doubtful under these settings", "client", string(p.Client), "problem", p.String())
		} else {
			wrong = append(wrong, errors.New(p.String()))
		}
	}
	if wrong != nil {
		return fmt.Errorf("registered clients contradict the settings; change the settings back, or change the clients with `holdfast apply` or `holdfast client` while the server is stopped:\n%w", errors.Join(wrong...))
	}
	return nil
}

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

// longestAccess is the longest life any access token can have here: the cap of
// opaque ones. Ends are remembered that long.
const longestAccess = client.OpaqueCap

// localKeys lets verify check our own tokens with the ring's keys, without
// HTTP. The parsed set is kept until the published one changes.
func localKeys(r *key.Ring) verify.LocalKeys {
	type parsed struct {
		etag string
		set  *verify.KeySet
	}
	var last atomic.Pointer[parsed]
	return func() *verify.KeySet {
		published := r.JWKS()
		p := last.Load()
		if p == nil || p.etag != published.ETag {
			set, err := verify.ParseKeySet(published.Body)
			if err != nil {
				return nil // our own document: an answer of 503 is right, a refusal would be false
			}
			p = &parsed{published.ETag, set}
			last.Store(p)
		}
		return p.set
	}
}

// mount is the list of routes.
func (s *Server) mount(dev *Dev) {
	m := newMux()
	std := &oauth.Door{Issuer: s.Issuer, Keys: s.Keys, Log: s.log, From: s.from, Note: note,
		JWKSMaxAge: int(s.config.JWKSMaxAge / time.Second)}
	std.Mount(m)
	s.account().Mount(m)
	s.mountDialects(m, std)
	m.Handle("/healthz", http.HandlerFunc(s.healthz))
	m.Handle("/readyz", http.HandlerFunc(s.readyz))
	if dev != nil {
		dev.mount(s, m)
	}
	m.ServeMux.HandleFunc("/", std.NotFound)
	for _, r := range m.routes {
		s.metrics.routes[r] = s.metrics.route(r)
	}
	s.routes = m.routes
	s.public = s.front(m, std.NotFound)

	door := s.operatorsDoor()
	local, remote := door.Local(), door.Remote()
	s.admin, s.operators = s.front(local, local.NotFound), s.front(remote, remote.NotFound)
}

// operatorsDoor is the one door behind the admin socket and admin_listen.
func (s *Server) operatorsDoor() *admin.Door {
	return &admin.Door{Issuer: s.Issuer, Keys: s.Keys, Audit: s.stores.Audit, Check: s.check, From: s.from, Now: s.now, Note: note,
		Calls: &idem.Keeper{Store: s.stores.Calls, Seal: s.Keys, Now: s.now, Patience: 2 * s.config.RequestTimeout},
		Apply: func(ctx context.Context, file string, text []byte, local bool) (any, error) {
			report, err := s.apply(ctx, file, text, local)
			if err == nil && s.stores.Settled != nil { // what is declared as ended may have been so before
				err = s.stores.Settled(ctx)
			}
			return report, err
		},
		Settled: s.stores.Settled,
		Settings: func() []admin.Setting {
			var all []admin.Setting
			for _, one := range s.config.Effective() {
				all = append(all, admin.Setting(one))
			}
			return all
		}}
}

// counters is where failed sign-ins are counted: in what the nodes share, with the
// memory of this node to fall back on, or in that memory alone.
func (s *Server) counters() limit.Counters {
	own := limit.NewMemory()
	if s.stores.Budgets == nil {
		return own
	}
	f := &limit.Fallback{Nodes: s.stores.Budgets, Own: own}
	s.metrics.fallback(f)
	return f
}

// attempts spreads each budget of the settings over their window.
func attempts(c Config) limit.Policy {
	p := limit.Defaults()
	p.Account = limit.Rate{Burst: c.AttemptsPerAccount, Every: c.AttemptsWindow / time.Duration(c.AttemptsPerAccount)}
	p.Address = limit.Rate{Burst: c.AttemptsPerAddress, Every: c.AttemptsWindow / time.Duration(c.AttemptsPerAddress)}
	return p
}

// The budget of failed client authentications of one address. It is generous
// because it guards work that costs microseconds: it tells a broken deployment
// and a scanner to slow down, and never bites anybody whose client is right. So it
// is each node's own: asking the database about a request that costs less than the
// question would help the scanner.
const (
	strangerBurst = 400
	strangerEvery = 5 * time.Millisecond
)

func strangers() *limit.Requests {
	return &limit.Requests{Counters: limit.NewMemory(), Rate: limit.Rate{Burst: strangerBurst, Every: strangerEvery}}
}

// Handler answers what the world asks.
func (s *Server) Handler() http.Handler { return s.public }

// Admin answers what an operator asks, on a listener that only he can reach.
func (s *Server) Admin() http.Handler { return s.admin }

// Operators answers the same over TCP: every call shows an access token with an
// administrative scope.
func (s *Server) Operators() http.Handler { return s.operators }

// Served is how many requests were answered so far.
func (s *Server) Served() uint64 { return s.served.Load() }

// Close stops what the server started: the processes that hash passwords.
func (s *Server) Close() { s.hasher.Close() }

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

// The rounds of the house-keeper.
const (
	tickEvery  = key.ReloadEvery
	purgeBatch = 500
	// proofBatch and budgetBatch are how many of the rows that live for seconds or
	// minutes are deleted in a round: whoever floods the server makes one for each
	// request.
	proofBatch, budgetBatch = 5_000, 20_000
)

// Keep does the regular work until the context ends: key life, clients changed
// by another process, and the purge of what is long over. Each piece is bounded
// and safe to be cut off anywhere.
func (s *Server) Keep(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			err := s.Tick(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				s.log.Warn("house-keeping failed and will be tried again", "error", err)
			}
		}
	}
}

// Tick is one round of the house-keeper.
func (s *Server) Tick(ctx context.Context) error {
	before := s.now()
	now, err := s.stores.Sessions.Now(ctx)
	if err != nil {
		return err
	}
	if ahead, tell := s.drift.look(before, now, s.now()); tell {
		s.log.Warn("this machine's clock is not the database's: set it right, or its log is dated wrongly", "ahead_seconds", ahead.Seconds())
	}
	_, forgetErr := s.stores.Feed.Forget(ctx, now, purgeBatch)
	remembered := now.Add(-s.config.EndedRetention)
	_, purgeErr := s.stores.Sessions.Purge(ctx, remembered, remembered.Add(-s.config.LongestIdle(s.Clients)), purgeBatch)
	_, auditErr := s.stores.Audit.Forget(ctx, now.Add(-s.config.AuditRetention), purgeBatch)
	_, callsErr := s.stores.Calls.Forget(ctx, now.Add(-idem.Life), purgeBatch)
	onceErr := s.Once.Tick(ctx, now, proofBatch)
	var budgetErr error
	if s.stores.Budgets != nil {
		_, budgetErr = s.stores.Budgets.Forget(ctx, budgetBatch)
	}
	var upstreamErr error
	if s.Upstreams != nil {
		upstreamErr = errors.Join(s.Upstreams.Reload(ctx), s.Upstreams.Reseal(ctx))
	}
	return errors.Join(upstreamErr, s.Keys.Tick(ctx, now), s.Clients.Reload(ctx), forgetErr, purgeErr, auditErr, callsErr, onceErr, budgetErr)
}
