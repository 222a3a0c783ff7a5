package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// How long one look at the store may take: for the house-keeper, and for a request
// that waits for it. A caller that comes while another one looks waits at most that
// long for its turn.
const (
	reloadLimit = 5 * time.Second
	freshLimit  = 2 * time.Second
	// againGap keeps the looks apart that failed authentications make.
	againGap = 100 * time.Millisecond
)

// Registry holds every client in memory, so that no request asks the store who
// a client is. Readers see one consistent set and never wait.
//
// The set is as old as the last Reload. Somebody calls it every few seconds. A
// session's row tells a refresh at once that its client was stopped; whoever
// decides about a client without such a row calls Fresh first. For a client_id or a
// secret that is not known there is Again, which asks the store so seldom that no
// stranger can make it work.
type Registry struct {
	Store Store
	// Server is what registrations are held to by Apply and Problems; with the
	// zero Server those are the standard settings.
	Server Server
	// Now is the time that changes are recorded at.
	Now func() time.Time
	// EntryLife is how long followers of revocations must remember that a client
	// was stopped (feed.Life).
	EntryLife time.Duration

	// loading lets one goroutine at a time replace the set, so that an older one
	// never covers a newer.
	loading sync.Mutex
	// begun counts the looks at the store, and failed is how the last one ended,
	// which loading guards.
	begun  atomic.Uint64
	failed error
	// again is when Again last looked, in milliseconds since 1970.
	again atomic.Int64
	set   atomic.Pointer[set]
}

// set is one consistent state of all clients. It never changes.
type set struct {
	revision uint64
	byID     map[id.Client]Client
	// The rest is what doors ask about all clients that are not disabled.
	grants, scopes []string
	origins        map[string]bool
}

// OpenRegistry reads every client for the first time. Server is to be set before
// Apply is used, unless the server's settings are the standard ones.
func OpenRegistry(ctx context.Context, store Store) (*Registry, error) {
	r := &Registry{Store: store}
	return r, r.Reload(ctx)
}

// Reload looks at the store and takes over what changed. The error is the
// store's; the set stays what it was.
func (r *Registry) Reload(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	return r.renew(ctx, reloadLimit)
}

// Fresh is Reload for everybody who is about to decide about a client: when it
// returns nil the set holds what the store held at some moment after the call.
// Callers that come together share one look, so it costs the store the same for
// one as for a thousand.
func (r *Registry) Fresh(ctx context.Context) error {
	seen := r.begun.Load()
	r.loading.Lock()
	defer r.loading.Unlock()
	// One that began after the call may have ended meanwhile.
	if r.begun.Load() != seen && !errors.Is(r.failed, context.Canceled) {
		return r.failed
	}
	// Others may wait for this look, so the one who makes it cannot call it off.
	return r.renew(context.WithoutCancel(ctx), freshLimit)
}

// Again is Fresh for somebody whose authentication failed: another node may have
// registered his client, let it go on, or changed its secret a moment ago. Anybody
// can fail, so a look is made at most once in againGap; false means that none was.
func (r *Registry) Again(ctx context.Context) bool {
	if r.Now == nil {
		return false
	}
	now, last := r.Now().UnixMilli(), r.again.Load()
	if age := now - last; last != 0 && age >= 0 && age < againGap.Milliseconds() || !r.again.CompareAndSwap(last, now) {
		return false
	}
	return r.Fresh(ctx) == nil
}

// renew takes over what changed. loading is held.
func (r *Registry) renew(ctx context.Context, limit time.Duration) error {
	r.begun.Add(1)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r.failed = r.takeOver(ctx)
	return r.failed
}

func (r *Registry) takeOver(ctx context.Context) error {
	// The revision is read first: a change between the two reads makes the set
	// newer than its number, and the next Reload looks again.
	revision, err := r.Store.Revision(ctx)
	if err != nil {
		return err
	}
	if was := r.set.Load(); was != nil && was.revision == revision {
		return nil
	}
	all, err := r.Store.All(ctx)
	if err != nil {
		return err
	}
	r.set.Store(newSet(revision, all))
	return nil
}

func newSet(revision uint64, all []Client) *set {
	s := &set{revision: revision, byID: make(map[id.Client]Client, len(all)), origins: map[string]bool{}}
	for _, c := range all {
		s.byID[c.ID] = c
		if c.Disabled {
			continue
		}
		s.grants, s.scopes = append(s.grants, c.Grants...), append(s.scopes, c.Scopes...)
		for _, o := range c.CORSOrigins {
			s.origins[o] = true
		}
	}
	slices.Sort(s.grants)
	slices.Sort(s.scopes)
	s.grants, s.scopes = slices.Compact(s.grants), slices.Compact(s.scopes)
	return s
}

func (r *Registry) current() *set {
	if s := r.set.Load(); s != nil {
		return s
	}
	return &set{}
}

// Get finds a client, disabled ones too. Its lists are shared: read only.
func (r *Registry) Get(c id.Client) (Client, bool) {
	found, ok := r.current().byID[c]
	return found, ok
}

// All lists every client, in order of id.
func (r *Registry) All() []Client {
	s := r.current()
	all := make([]Client, 0, len(s.byID))
	for _, c := range s.byID {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Client) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

// Grants lists the grants that any client may use, in order of name.
func (r *Registry) Grants() []string { return slices.Clone(r.current().grants) }

// Scopes lists the scopes that any client may ask for, in order of name.
func (r *Registry) Scopes() []string { return slices.Clone(r.current().scopes) }

// AllowsOrigin reports whether any client's scripts may call from a web origin.
// A preflight names no client, so the answer is about all of them: which client
// asks, and whether it may, rests on its credential and never on an origin.
func (r *Registry) AllowsOrigin(origin string) bool { return r.current().origins[origin] }

// CheckSecret reports whether presented is c's secret, at the same cost when c
// is the zero Client or has none.
func (r *Registry) CheckSecret(c Client, presented secret.Text) bool {
	return CheckSecret(c.SecretHash, presented)
}

// Problems holds every client that stands to the server's rules. Settings may
// have changed since a client was applied: a shorter idle limit can contradict
// what was fine before.
func (r *Registry) Problems() []Problem {
	var found []Problem
	for _, c := range r.All() {
		found = append(found, Check(Declared{Client: c}, r.Server)...)
	}
	return found
}
