package journal

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// one is a session that ends.
type one struct {
	session.Store
	s   session.Session
	err error
}

func (o *one) Load(context.Context, id.Session) (session.Loaded, error) {
	return session.Loaded{Session: o.s, Now: day}, nil
}

func (o *one) Replace(_ context.Context, c session.Change) error { o.s = c.Next; return o.err }

// TestASignOutThatIsRepeated: the first was committed and not acknowledged, because
// the journal could not be written or the commit's answer was lost. The second finds
// the session ended, and is acknowledged only when the journal has it.
func TestASignOutThatIsRepeated(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for name, lost := range map[string]error{"the journal failed": nil, "the answer was lost": fault.Down(errors.New("no answer"))} {
		s := &one{s: session.Session{ID: id.NewSession()}, err: lost}
		k := j.Sessions(s)
		end := session.Change{Next: s.s, Entries: []feed.Entry{entry("a")}}
		end.Next.EndReason = fault.SignedOut
		j.feed = broken{f}
		if err := k.Replace(t.Context(), end); err == nil {
			t.Fatalf("%s: the end was acknowledged", name)
		}
		if _, err := k.Load(t.Context(), s.s.ID); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: the repeated end found the session ended while the journal cannot say so (%v)", name, err)
		}
		if _, err := k.Load(t.Context(), id.NewSession()); err != nil {
			t.Errorf("%s: an end that was acknowledged before waits, too: %v", name, err)
		}
		j.feed = f
		for range 2 { // the second time nothing is owed
			if l, err := k.Load(t.Context(), s.s.ID); err != nil || l.Session.EndReason == "" {
				t.Errorf("%s: %v", name, err)
			}
			j.feed = broken{f}
		}
		j.feed = f
	}
}

// someone is an account that is disabled.
type someone struct {
	user.Store
	u user.User
}

func (o *someone) ByID(context.Context, id.User) (user.User, error) { return o.u, nil }

func (o *someone) Replace(_ context.Context, c user.Change) error { o.u = c.Next; return nil }

// TestDisablingThatIsRepeated is the same of an account: the second call finds nothing
// to do.
func TestDisablingThatIsRepeated(t *testing.T) {
	f := database(t)
	j := opened(t, filepath.Join(t.TempDir(), "journal"), f)
	o := &someone{u: user.User{ID: id.NewUser()}}
	accounts := j.Users(o)
	next := o.u
	next.Disabled = true
	j.feed = broken{f}
	if err := accounts.Replace(t.Context(), user.Change{Next: next, Ends: fault.Disabled}); err == nil {
		t.Fatal("the change was acknowledged")
	}
	if _, err := accounts.ByID(t.Context(), next.ID); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the account is disabled while the journal cannot say so (%v)", err)
	}
	j.feed = f
	if u, err := accounts.ByID(t.Context(), next.ID); err != nil || !u.Disabled {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestManyEndsThatAreOwed: beyond what is remembered one by one all of them are.
func TestManyEndsThatAreOwed(t *testing.T) {
	var o owed
	for range maxOwed + 1 {
		o.add(id.NewSession())
	}
	upTo := o.moment()
	late := id.NewSession()
	o.add(late)
	if len(o.since) != maxOwed || !o.has(id.NewSession()) {
		t.Errorf("%d are remembered", len(o.since))
	}
	o.settle(upTo)
	if !o.has(late) {
		t.Error("an end that came after the round began was settled by it")
	}
	o.settle(o.moment())
	if o.has(late) || o.has(id.NewSession()) {
		t.Error("something is owed after everything was settled")
	}
}
