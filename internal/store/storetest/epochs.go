package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

func exerciseEpochs(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("everywhere", func(t *testing.T) { endsEverywhere(t, open) })
	t.Run("the first reason counts", func(t *testing.T) { firstReason(t, open) })
	t.Run("except one", func(t *testing.T) { endsExcept(t, open) })
	t.Run("with the account", func(t *testing.T) { endsWithAccount(t, open) })
	t.Run("many at once", func(t *testing.T) { endsAtOnce(t, open) })
}

func (w world) endAll(e session.Everywhere) uint32 {
	w.Helper()
	e.EntryLife = entryLife
	epoch, err := w.Sessions.EndAll(w.ctx, e)
	if err != nil {
		w.Fatal(err)
	}
	return epoch
}

// why is the reason a session is over, as the session's own rules see it.
func (w world) why(which id.Session) fault.Reason {
	w.Helper()
	l := w.load(which)
	return l.Session.Ended(l.Standing, session.Policy{}, l.Now)
}

func endsEverywhere(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u, other := w.person(), w.person()
	one, two, foreign := w.opened(device(u)), w.opened(device(u)), w.opened(device(other))
	before, err := w.Sessions.Now(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.endAll(session.Everywhere{User: u.ID, Reason: fault.Operator}); got != u.Epoch+1 {
		t.Errorf("the new epoch is %d, want %d", got, u.Epoch+1)
	}
	for _, s := range []session.Session{one, two} {
		l := w.load(s.ID)
		st := l.Standing
		if st.UserEpoch != 2 || st.EpochReason != fault.Operator || st.EpochAt.Before(before) || st.EpochAt.After(l.Now) {
			t.Errorf("standing %+v, want epoch 2, operator, at a moment between %v and %v", st, before, l.Now)
		}
		if d := cmp.Diff(s, l.Session); d != "" {
			t.Error("a sign-out everywhere wrote to a session:\n" + d)
		}
	}
	if why := w.why(foreign.ID); why != "" {
		t.Errorf("another user's session ended: %s", why)
	}
	if got, err := w.Users.ByID(w.ctx, u.ID); err != nil || got.Epoch != 2 {
		t.Errorf("the account has epoch %d (%v), want 2", got.Epoch, err)
	}
	all := w.record()
	if len(all) != 1 {
		t.Fatalf("%d entries were recorded, want one", len(all))
	}
	e := all[0]
	want := feed.Entry{Position: e.Position, Kind: feed.Subject, Key: u.ID.String(), Epoch: 2, Reason: fault.Operator, At: e.At, Until: e.At.Add(entryLife)}
	if d := cmp.Diff(want, e); d != "" || e.At.Before(before) {
		t.Errorf("entry at %v:\n%s", e.At, d)
	}
	if _, err := w.Sessions.EndAll(w.ctx, session.Everywhere{User: id.NewUser(), Reason: fault.Everywhere}); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("for an unknown user: %v, want ErrNotFound", err)
	}
	if len(w.record()) != 1 {
		t.Error("a refused sign-out everywhere was recorded")
	}
}

func firstReason(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	one := w.opened(device(u))
	u.Epoch = w.endAll(session.Everywhere{User: u.ID, Reason: fault.PasswordReset})
	two := w.opened(device(u))
	u.Epoch = w.endAll(session.Everywhere{User: u.ID, Reason: fault.Operator})
	three := w.opened(device(u))
	for s, want := range map[id.Session]fault.Reason{one.ID: fault.PasswordReset, two.ID: fault.Operator, three.ID: ""} {
		if got := w.why(s); got != want {
			t.Errorf("ended as %q, want %q", got, want)
		}
	}
	if st := w.load(one.ID).Standing; st.UserEpoch != 3 {
		t.Errorf("epoch %d, want 3", st.UserEpoch)
	}
}

func endsExcept(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u, other := w.person(), w.person()
	stays, goes := w.opened(device(u)), w.opened(device(u))
	foreign := w.opened(device(other))
	u.Epoch = w.endAll(session.Everywhere{User: u.ID, Reason: fault.Everywhere, Except: stays.ID, ExceptSID: sid(stays.ID)})
	if why := w.why(stays.ID); why != "" {
		t.Errorf("the session that stays ended: %s", why)
	}
	if got := w.load(stays.ID).Session.Epoch; got != u.Epoch {
		t.Errorf("its epoch is %d, want %d", got, u.Epoch)
	}
	if why := w.why(goes.ID); why != fault.Everywhere {
		t.Errorf("the other session: %q, want everywhere", why)
	}
	if e := w.record()[0]; e.ExceptSID != sid(stays.ID) {
		t.Errorf("the entry excepts %q", e.ExceptSID)
	}
	// Whoever loaded the session before must not write the old epoch back.
	if err := w.Sessions.Replace(w.ctx, session.Change{Next: next(stays)}); !errors.Is(err, session.ErrChanged) {
		t.Errorf("a change decided before the epoch moved: %v, want ErrChanged", err)
	}
	w.endAll(session.Everywhere{User: u.ID, Reason: fault.Operator, Except: goes.ID})
	if why := w.why(goes.ID); why != fault.Everywhere {
		t.Errorf("naming a dead session as the one that stays gives %q, want everywhere", why)
	}
	if why := w.why(stays.ID); why != fault.Operator {
		t.Errorf("the session that stayed the first time: %q, want operator", why)
	}
	w.endAll(session.Everywhere{User: w.person().ID, Reason: fault.Operator, Except: foreign.ID}) // of the same epoch
	if l := w.load(foreign.ID); l.Session.Epoch != other.Epoch || l.Session.Version != foreign.Version {
		t.Errorf("another user's session was moved along: %+v", l.Session)
	}
}

// userChange is a plain replacement of an account.
func userChange(u user.User) user.Change { return user.Change{Next: u, EntryLife: entryLife} }

func endsWithAccount(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	stays, goes := w.opened(device(u)), w.opened(device(u))
	changed := u
	changed.PasswordHash, changed.Version, changed.Epoch = "$argon2id$new", 2, 2
	c := user.Change{Next: changed, Ends: fault.PasswordChanged, Except: stays.ID, ExceptSID: sid(stays.ID), EntryLife: entryLife}
	if err := w.Users.Replace(w.ctx, c); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Users.ByID(w.ctx, u.ID); err != nil || cmp.Diff(changed, got) != "" {
		t.Errorf("%v\n%s", err, cmp.Diff(changed, got))
	}
	if a, b := w.why(stays.ID), w.why(goes.ID); a != "" || b != fault.PasswordChanged {
		t.Errorf("the session that stays: %q, the other: %q; want nothing and password_changed", a, b)
	}
	all := w.record()
	if len(all) != 1 || all[0].Kind != feed.Subject || all[0].Epoch != 2 || all[0].ExceptSID != sid(stays.ID) || !all[0].Until.Equal(all[0].At.Add(entryLife)) {
		t.Errorf("recorded %+v", all)
	}
	// A sign-out everywhere between reading and writing an account must survive.
	w.endAll(session.Everywhere{User: u.ID, Reason: fault.Everywhere})
	for name, c := range map[string]user.Change{
		"renamed": userChange(withVersion(changed, 3, 2)),
		"ended":   {Next: withVersion(changed, 3, 3), Ends: fault.Disabled, EntryLife: entryLife},
	} {
		if err := w.Users.Replace(w.ctx, c); !errors.Is(err, user.ErrChanged) {
			t.Errorf("%s with an epoch that has moved: %v, want ErrChanged", name, err)
		}
	}
	if got, err := w.Users.ByID(w.ctx, u.ID); err != nil || got.Epoch != 3 || got.Version != 2 {
		t.Errorf("epoch %d version %d (%v), want 3 and 2", got.Epoch, got.Version, err)
	}
	if err := w.Users.Replace(w.ctx, user.Change{Next: withVersion(changed, 3, 4), Ends: fault.Disabled, EntryLife: entryLife}); err != nil {
		t.Errorf("after reading again: %v", err)
	}
	if n := len(w.record()); n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

func withVersion(u user.User, version uint64, epoch uint32) user.User {
	u.Version, u.Epoch = version, epoch
	return u
}

// endsAtOnce: sign-outs everywhere at the same moment each get an epoch of their
// own and an entry of their own.
func endsAtOnce(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	const many = 16
	u := w.person()
	epochs := make([]uint32, many)
	for _, err := range every(many, func(i int) (err error) {
		epochs[i], err = w.Sessions.EndAll(w.ctx, session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: time.Hour})
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(epochs)
	for i, e := range epochs {
		if e != u.Epoch+1+uint32(i) {
			t.Fatalf("epochs %v, want each once", epochs)
		}
	}
	if n := len(w.record()); n != many {
		t.Errorf("%d entries for %d sign-outs", n, many)
	}
}
