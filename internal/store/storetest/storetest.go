// Package storetest is the exercise that every database must pass: one test
// suite for the stores of all rooms, run by each store package against itself.
//
// It owns what the contracts written at the Store interfaces mean in practice,
// above all what they say about errors, atomicity, durability and races. It does
// not own the rules of the rooms, and it knows no database.
package storetest

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/key"
	"holdfast.example/internal/once"
	"holdfast.example/internal/session"
	"holdfast.example/internal/upstream"
	"holdfast.example/internal/user"
)

// Bundle is one open database, empty when Exercise gets it.
type Bundle struct {
	Sessions session.Store
	Users    user.Store
	Clients  client.Store
	Keys     key.Store
	Feed     feed.Store
	Audit    audit.Store
	Calls    idem.Store
	Once     once.Store
	// Upstreams keeps providers and links.
	Upstreams upstream.Store
	// RemoveUser erases an account, as an operator would.
	RemoveUser func(context.Context, id.User) error
	// Address is what a second process opens to reach the same database, "" if
	// none can; see Main.
	Address string
}

// Exercise runs the whole suite. open gives a new, empty database each time and
// closes it with the test.
func Exercise(t *testing.T, open func(*testing.T) Bundle) {
	groups := []struct {
		name string
		run  func(*testing.T, func(*testing.T) Bundle)
	}{
		{"Sessions", exerciseSessions},
		{"Standing", exerciseStanding},
		{"Open", exerciseOpen},
		{"Epochs", exerciseEpochs},
		{"Lists", exerciseLists},
		{"Purge", exercisePurge},
		{"Feed", exerciseFeed},
		{"Users", exerciseUsers},
		{"Clients", exerciseClients},
		{"Keys", exerciseKeys},
		{"Calls", exerciseCalls},
		{"Once", exerciseOnce},
		{"Upstreams", exerciseUpstreams},
		{"Audit", exerciseAudit},
		{"Race", exerciseRace},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) { g.run(t, open) })
	}
}

// day is the date the suite's records carry. It is no special date to a store.
var day = time.Date(2026, 11, 22, 8, 30, 0, 123_000_000, time.UTC)

// app is the client most sessions are of.
const app id.Client = "demo-native"

// entryLife is how long the suite's entries are remembered.
const entryLife = time.Hour

// world is a database with the helpers of a test around it.
type world struct {
	*testing.T
	Bundle
	ctx context.Context
}

// begin opens an empty database and registers the usual client.
func begin(t *testing.T, open func(*testing.T) Bundle) world {
	t.Helper()
	w := world{t, open(t), t.Context()}
	if err := w.Clients.Put(w.ctx, client.Change{Next: client.Client{ID: app, Name: "Demo", Version: 1}}); err != nil {
		t.Fatal(err)
	}
	return w
}

// person creates an account.
func (w world) person() user.User {
	w.Helper()
	u := account()
	if err := w.Users.Create(w.ctx, u, nil); err != nil {
		w.Fatal(err)
	}
	return u
}

// account is an account nobody else has.
func account() user.User {
	u := id.NewUser()
	return user.User{ID: u, Username: "P" + u.String(), Email: u.String() + "@Example.com", Epoch: 1, Version: 1, CreatedAt: day, UpdatedAt: day}
}

// device is a new session of a user, not yet written.
func device(u user.User) session.Session {
	s := session.Session{
		ID: id.NewSession(), User: u.ID, Client: app, Epoch: u.Epoch, Scope: "openid offline_access", Grant: "password",
		AMR: "pwd", AuthTime: day, CreatedAt: day, UsedAt: day, Chain: session.Chain{Newest: 1, First: 1, IssuedAt: day}, Version: 1,
		Device: session.Device{Name: "Phone"},
	}
	fillBytes(s.Secret[:])
	fillBytes(s.Attempt[:])
	return s
}

func fillBytes(b []byte) {
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
}

// opened writes a session.
func (w world) opened(s session.Session) session.Session {
	w.Helper()
	if err := w.Sessions.Open(w.ctx, session.Opening{Session: s}); err != nil {
		w.Fatal(err)
	}
	return s
}

func (w world) load(which id.Session) session.Loaded {
	w.Helper()
	l, err := w.Sessions.Load(w.ctx, which)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// next is s after one more replacement.
func next(s session.Session) session.Session {
	s.Version++
	fillBytes(s.Attempt[:])
	return s
}

// end is the change that ends s, with its entry.
func end(s session.Session, why fault.Reason) session.Change {
	s = next(s)
	s.EndedAt, s.EndReason = day.Add(time.Hour), why
	return session.Change{Next: s, Entries: []feed.Entry{entry(feed.Session, sid(s.ID))}}
}

// sid is a session's outside name in this suite. The real one is keyed.
func sid(s id.Session) string { return "sid-" + hex.EncodeToString(s[:]) }

func entry(kind feed.Kind, key string) feed.Entry {
	return feed.Entry{Kind: kind, Key: key, Reason: fault.SignedOut, At: day, Until: day.Add(entryLife)}
}

// record lists the whole record.
func (w world) record() []feed.Entry {
	w.Helper()
	const plenty = 10_000
	all, err := w.Feed.Since(w.ctx, 0, plenty)
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// recorded reports whether the record has an entry.
func (w world) recorded(kind feed.Kind, key string) bool {
	w.Helper()
	for _, e := range w.record() {
		if e.Kind == kind && e.Key == key {
			return true
		}
	}
	return false
}

// every runs f at the same moment in n goroutines and collects their errors.
func every(n int, f func(i int) error) []error {
	start := make(chan struct{})
	errs := make(chan error, n)
	for i := range n {
		go func() {
			<-start
			errs <- f(i)
		}()
	}
	close(start)
	all := make([]error, n)
	for i := range all {
		all[i] = <-errs
	}
	return all
}
