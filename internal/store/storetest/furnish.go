package storetest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// Furnished is what Furnish put into a database, as its rooms read it.
type Furnished struct {
	Sessions []session.Loaded
	Users    []user.User
	Clients  []client.Client
	Keys     key.Rows
	Record   []feed.Entry
	Events   []audit.Event
}

// Furnish fills an empty database with some of everything, chosen by a seed:
// accounts that are gone, sessions of clients that are, ends of each kind.
func Furnish(t testing.TB, b Bundle, seed uint64) Furnished {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Clients.Put(ctx, client.Change{Next: client.Client{ID: app, Name: "Demo", Version: 1}}))
	must(b.Clients.Put(ctx, client.Change{Next: client.Client{ID: "gone", Name: "Gone", Version: 1}}))
	event := audit.Event{Name: audit.SignedIn, At: day, Client: app, Details: map[string]string{"a": "ä\u2028"}}
	must(b.Keys.Replace(ctx, key.Rows{Version: 1, Roll: []byte("roll"), Keys: []key.Row{
		{ID: 1, Purpose: key.Sign, Alg: "ES256", KID: "kid", State: key.Current, Wrapped: []byte{0, 1, 2}, CreatedAt: day, ActiveAt: day},
		{ID: 2, Purpose: key.Seal, State: key.Next, Wrapped: []byte{3}, CreatedAt: day}}, Audit: []audit.Event{event}}))
	var all []session.Session
	for i := range 3 + r.IntN(6) {
		u := account()
		u.Number, u.Disabled, u.Staff = r.Int64N(5), r.IntN(4) == 0, r.IntN(3) == 0
		u.Name, u.PasswordHash = fmt.Sprintf("Zoë %d 山", i), "hash"
		must(b.Users.Create(ctx, u, []audit.Event{event}))
		for range r.IntN(5) {
			s := device(u)
			if r.IntN(2) == 0 {
				s = rich(s)
			}
			switch r.IntN(4) {
			case 0:
				s.Client = "gone"
			case 1:
				s.Client = "never registered"
			}
			must(b.Sessions.Open(ctx, session.Opening{Session: s}))
			if r.IntN(3) == 0 {
				must(b.Sessions.Replace(ctx, end(s, fault.SignedOut)))
			}
			all = append(all, s)
		}
		if r.IntN(3) == 0 {
			_, err := b.Sessions.EndAll(ctx, session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: entryLife})
			must(err)
		}
		if r.IntN(4) == 0 {
			must(b.RemoveUser(ctx, u.ID))
		}
	}
	must(b.Clients.Delete(ctx, "gone", client.Along{Entries: []feed.Entry{entry(feed.Client, "gone")}}))
	must(b.Feed.Record(ctx, entry(feed.Token, "jti"), nil))
	return Found(t, b, all)
}

// Found reads everything that Furnish may have put into a database.
func Found(t testing.TB, b Bundle, sessions []session.Session) (f Furnished) {
	t.Helper()
	ctx := t.Context()
	const plenty = 1000
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sessions {
		var l session.Loaded
		l, err = b.Sessions.Load(ctx, s.ID)
		must()
		l.Now = time.Time{}
		f.Sessions = append(f.Sessions, l)
	}
	f.Users, err = b.Users.List(ctx, id.User{}, plenty)
	must()
	f.Clients, err = b.Clients.All(ctx)
	must()
	f.Keys, err = b.Keys.Load(ctx)
	must()
	f.Record, err = b.Feed.Since(ctx, 0, plenty)
	must()
	f.Events, err = b.Audit.Find(ctx, audit.Query{Limit: plenty})
	must()
	return f
}

// Holds fails unless another database holds exactly the same.
func (f Furnished) Holds(t testing.TB, b Bundle) {
	t.Helper()
	var all []session.Session
	for _, l := range f.Sessions {
		all = append(all, l.Session)
	}
	is := Found(t, b, all)
	for _, part := range [...]struct {
		name      string
		want, got any
	}{{"sessions", f.Sessions, is.Sessions}, {"users", f.Users, is.Users}, {"clients", f.Clients, is.Clients},
		{"keys", f.Keys, is.Keys}, {"record", f.Record, is.Record}, {"audit", f.Events, is.Events}} {
		if !reflect.DeepEqual(part.want, part.got) {
			t.Errorf("the %s of the copy differ:\nwant %+v\ngot  %+v", part.name, part.want, part.got)
		}
	}
}
