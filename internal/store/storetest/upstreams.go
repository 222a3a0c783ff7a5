package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/upstream"
)

// exerciseUpstreams: an upstream is replaced by compare-and-swap; a subject has
// one user and a user one subject at each upstream, however many link at once;
// what is told comes with the change or not at all; nobody's link outlives them.
func exerciseUpstreams(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	if w.Upstreams == nil {
		t.Skip("this store keeps no upstreams")
	}
	t.Run("Rows", func(t *testing.T) { w.T = t; w.upstreamRows() })
	t.Run("Links", func(t *testing.T) { w.T = t; w.links() })
	t.Run("Race", func(t *testing.T) { w.T = t; w.linkRace() })
}

func (w world) upstreamRows() {
	one := upstream.Row{ID: "google", Version: 1, Doc: `{"Kind":"google"}`, Sealed: []byte{1, 2}}
	two := upstream.Row{ID: "apple", Version: 1, Doc: `{"Kind":"apple"}`}
	for _, r := range []upstream.Row{one, two} {
		w.is(w.Upstreams.PutUpstream(w.ctx, r, nil), nil)
	}
	w.is(w.Upstreams.PutUpstream(w.ctx, one, nil), upstream.ErrChanged)
	one.Version, one.Doc, one.Sealed = 2, `{"Kind":"oidc"}`, []byte{3}
	w.is(w.Upstreams.PutUpstream(w.ctx, one, []audit.Event{{At: day, Name: audit.UpstreamUpdated, Object: "google"}}), nil)
	w.is(w.Upstreams.PutUpstream(w.ctx, one, []audit.Event{{At: day, Name: audit.UpstreamUpdated, Object: "not told"}}), upstream.ErrChanged)
	all, err := w.Upstreams.Upstreams(w.ctx)
	if want := []upstream.Row{two, one}; err != nil || !cmp.Equal(all, want, cmp.Comparer(func(a, b []byte) bool { return string(a) == string(b) })) {
		w.Errorf("upstreams: %+v (%v), want %+v", all, err, want)
	}
	w.told(audit.UpstreamUpdated, "google")
}

// is holds an error to the one that is expected.
func (w world) is(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%v, want %v", err, want)
	}
}

// told checks that one event of a name was written, about an object.
func (w world) told(name audit.Name, object string) {
	w.Helper()
	if w.Audit == nil {
		return
	}
	found, err := w.Audit.Find(w.ctx, audit.Query{Name: name, Limit: 10})
	if err != nil || len(found) != 1 || found[0].Object != object {
		w.Errorf("told of %s: %+v (%v), want one about %s", name, found, err, object)
	}
}

func (w world) links() {
	alice, bob := w.person(), w.person()
	at := func(up, subject string, u int) upstream.Link {
		who := []upstream.Link{{User: alice.ID}, {User: bob.ID}}[u].User
		return upstream.Link{Upstream: up, Subject: subject, User: who, At: day}
	}
	event := func(l upstream.Link, n audit.Name) []audit.Event {
		return []audit.Event{{At: day, Name: n, User: l.User, Object: l.Upstream}}
	}
	first := at("google", "1", 0)
	w.is(w.Upstreams.Link(w.ctx, first, event(first, audit.Linked)), nil)
	w.told(audit.Linked, "google")
	for _, l := range []upstream.Link{first, at("google", "1", 1), at("google", "2", 0)} {
		w.is(w.Upstreams.Link(w.ctx, l, event(l, audit.Linked)), upstream.ErrTaken)
	}
	w.told(audit.Linked, "google")
	stranger := first
	stranger.User = account().ID
	stranger.Subject = "9"
	w.is(w.Upstreams.Link(w.ctx, stranger, nil), upstream.ErrNotFound)
	for _, l := range []upstream.Link{at("apple", "1", 0), at("google", "2", 1)} {
		w.is(w.Upstreams.Link(w.ctx, l, nil), nil)
	}
	got, err := w.Upstreams.BySubject(w.ctx, "google", "1")
	if err != nil || !cmp.Equal(got, first) {
		w.Errorf("by subject: %+v (%v), want %+v", got, err, first)
	}
	for _, s := range [][2]string{{"google", "3"}, {"apple", "2"}, {"Google", "1"}, {"google", "1 "}} {
		_, err := w.Upstreams.BySubject(w.ctx, s[0], s[1])
		w.is(err, upstream.ErrNotFound)
	}
	all, err := w.Upstreams.OfUser(w.ctx, alice.ID)
	if want := []upstream.Link{at("apple", "1", 0), first}; err != nil || !cmp.Equal(all, want) {
		w.Errorf("of a user: %+v (%v), want %+v", all, err, want)
	}
	w.is(w.Upstreams.Unlink(w.ctx, bob.ID, "apple", event(at("apple", "", 1), audit.Unlinked)), upstream.ErrNotFound)
	w.is(w.Upstreams.Unlink(w.ctx, alice.ID, "google", event(first, audit.Unlinked)), nil)
	w.told(audit.Unlinked, "google")
	w.is(w.Upstreams.Link(w.ctx, at("google", "3", 0), nil), nil)
	if w.RemoveUser == nil {
		return
	}
	w.is(w.RemoveUser(w.ctx, alice.ID), nil)
	_, err = w.Upstreams.BySubject(w.ctx, "google", "3")
	w.is(err, upstream.ErrNotFound)
	w.is(w.Upstreams.Link(w.ctx, at("apple", "9", 0), nil), upstream.ErrNotFound)
	w.is(w.Upstreams.Link(w.ctx, at("apple", "1", 1), nil), nil) // the subject is free again
}

func (w world) linkRace() {
	const racers = 8
	u := w.person()
	links := make([]upstream.Link, racers)
	for i := range links {
		links[i] = upstream.Link{Upstream: "race", Subject: []string{"one", "two"}[i%2], User: u.ID, At: day.Add(time.Duration(i) * time.Second)}
	}
	won := 0
	for _, err := range every(racers, func(i int) error { return w.Upstreams.Link(w.ctx, links[i], nil) }) {
		if err == nil {
			won++
		} else {
			w.is(err, upstream.ErrTaken)
		}
	}
	all, err := w.Upstreams.OfUser(w.ctx, u.ID)
	if won != 1 || err != nil || len(all) != 1 {
		w.Errorf("%d of %d linked: %+v (%v)", won, racers, all, err)
	}
}
