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
		EntryLife: feed.Life(longestAccess), Observe: s.observe, Settled: p.Stores.Settled}
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
