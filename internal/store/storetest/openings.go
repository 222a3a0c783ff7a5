package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

func exerciseOpen(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("refused", func(t *testing.T) { openRefused(t, open) })
	t.Run("replacing", func(t *testing.T) { openReplacing(t, open) })
	t.Run("one install, one session", func(t *testing.T) { openInstall(t, open) })
	t.Run("race of one install", func(t *testing.T) { openRace(t, open) })
	t.Run("race with sign-out everywhere", func(t *testing.T) { openAgainstEndAll(t, open) })
}

// openRefused: each reason to refuse, and that nothing is left of the attempt.
func openRefused(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	old := w.opened(device(u))
	taken := w.opened(device(u))
	moved := next(old)
	if err := w.Sessions.Replace(w.ctx, session.Change{Next: moved}); err != nil {
		t.Fatal(err)
	}
	late := w.person()
	if _, err := w.Sessions.EndAll(w.ctx, session.Everywhere{User: late.ID, Reason: fault.Everywhere, EntryLife: entryLife}); err != nil {
		t.Fatal(err)
	}
	removed := w.person()
	if err := w.RemoveUser(w.ctx, removed.ID); err != nil {
		t.Fatal(err)
	}
	before := len(w.record())
	inUse := device(u)
	inUse.ID = taken.ID
	missing := device(u)
	tests := map[string]session.Opening{
		"the user's epoch moved on":  {Session: device(late)},
		"the user was removed":       {Session: device(removed)},
		"there is no such user":      {Session: device(account())},
		"the id is in use":           {Session: inUse},
		"a replaced session changed": {Session: device(u), Replaces: []session.Change{end(old, fault.Replaced)}},
		"one of two replaced sessions changed": {Session: device(u),
			Replaces: []session.Change{end(taken, fault.Replaced), end(old, fault.Replaced)}},
		"a replaced session is not there": {Session: device(u), Replaces: []session.Change{end(missing, fault.Replaced)}},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			if err := w.Sessions.Open(w.ctx, o); !errors.Is(err, session.ErrChanged) {
				t.Errorf("got %v, want ErrChanged", err)
			}
			if _, err := w.Sessions.Load(w.ctx, o.Session.ID); o.Session.ID != taken.ID && !errors.Is(err, session.ErrNotFound) {
				t.Errorf("the refused session can be loaded: %v", err)
			}
		})
	}
	for _, s := range []session.Session{moved, taken} {
		if d := cmp.Diff(s, w.load(s.ID).Session); d != "" {
			t.Error("a refused opening changed a session:\n" + d)
		}
	}
	if n := len(w.record()) - before; n != 0 {
		t.Errorf("refused openings recorded %d entries", n)
	}
}

func openReplacing(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	one, two := w.opened(device(u)), w.opened(device(u))
	s := device(u)
	ends := []session.Change{end(one, fault.Replaced), end(two, fault.Held)}
	if err := w.Sessions.Open(w.ctx, session.Opening{Session: s, Replaces: ends}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []session.Session{s, ends[0].Next, ends[1].Next} {
		if d := cmp.Diff(want, w.load(want.ID).Session); d != "" {
			t.Error(d)
		}
	}
	for _, e := range ends {
		if !w.recorded(feed.Session, sid(e.Next.ID)) {
			t.Error("the end of a replaced session is not in the record")
		}
	}
}

func openInstall(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	with := func(u user.User, install byte, client id.Client) session.Session {
		s := device(u)
		s.Device.Install = [16]byte{install}
		s.Client = client
		return s
	}
	first := w.opened(with(u, 1, app))
	for name, s := range map[string]session.Session{
		"another install": with(u, 2, app),
		"another client":  with(u, 1, "another-client"),
		"another user":    with(w.person(), 1, app),
		"no install":      with(u, 0, app),
		"no install too":  with(u, 0, app),
	} {
		if err := w.Sessions.Open(w.ctx, session.Opening{Session: s}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := with(u, 1, app)
	if err := w.Sessions.Open(w.ctx, session.Opening{Session: again}); !errors.Is(err, session.ErrChanged) {
		t.Errorf("a second session of a standing install: %v, want ErrChanged", err)
	}
	standing := session.Change{Next: next(first)} // replaced, but not ended
	if err := w.Sessions.Open(w.ctx, session.Opening{Session: again, Replaces: []session.Change{standing}}); !errors.Is(err, session.ErrChanged) {
		t.Errorf("beside a session that goes on standing: %v, want ErrChanged", err)
	}
	if err := w.Sessions.Open(w.ctx, session.Opening{Session: again, Replaces: []session.Change{end(first, fault.Replaced)}}); err != nil {
		t.Fatal(err)
	}
	if l, err := w.Sessions.ByInstall(w.ctx, u.ID, app, again.Device.Install); err != nil || l.Session.ID != again.ID {
		t.Errorf("the install's session is %x (%v), want the new one", l.Session.ID, err)
	}
}

// openRace: of many sign-ins of one install at once, one is opened.
func openRace(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const many = 32
	u := w.person()
	var sessions [many]session.Session
	for i := range sessions {
		sessions[i] = device(u)
		sessions[i].Device.Install = [16]byte{7}
	}
	won := 0
	for _, err := range every(many, func(i int) error {
		return w.Sessions.Open(w.ctx, session.Opening{Session: sessions[i]})
	}) {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, session.ErrChanged):
			t.Error(err)
		}
	}
	all, err := w.Sessions.OfUser(w.ctx, u.ID, many)
	if err != nil {
		t.Fatal(err)
	}
	if won != 1 || len(all) != 1 {
		t.Errorf("%d of %d sign-ins of one install were told yes, %d sessions stand; want one", won, many, len(all))
	}
}

// openAgainstEndAll: whatever the order of a sign-in and a sign-out everywhere,
// no session stands that was verified before the sign-out.
func openAgainstEndAll(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const rounds = 20
	for range rounds {
		u := w.person()
		s := device(u)
		errs := make(chan error, 1)
		go func() { errs <- w.Sessions.Open(w.ctx, session.Opening{Session: s}) }()
		if _, err := w.Sessions.EndAll(w.ctx, session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: entryLife}); err != nil {
			t.Fatal(err)
		}
		if err := <-errs; err != nil {
			if !errors.Is(err, session.ErrChanged) {
				t.Fatal(err)
			}
			continue
		}
		if l := w.load(s.ID); l.Session.Ended(l.Standing, session.Policy{}, l.Now) != fault.Everywhere {
			t.Fatalf("a session outlived the sign-out everywhere: %+v", l.Standing)
		}
	}
}
