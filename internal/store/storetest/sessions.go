package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// rich has every field set.
func rich(s session.Session) session.Session {
	s.Parent = id.NewSession()
	s.Key = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	s.Scope = "openid profile email offline_access read write"
	s.AMR = "pwd otp"
	s.AuthTime = day.Add(-time.Minute)
	s.UsedAt = day.Add(49 * time.Hour)
	s.Device = session.Device{Name: "Anna's phone", Model: "GP4BC", System: "Android 16", App: "5.12.1"}
	fillBytes(s.Device.Install[:])
	s.Chain = session.Chain{Newest: 70_004, First: 70_002, IssuedAt: day.Add(50 * time.Hour), Seen: day.Add(51 * time.Hour)}
	for g := session.Generation(69_990); len(s.Chain.Uses) < session.MaxUses; g += 2 {
		s.Chain.Uses = append(s.Chain.Uses, session.Use{Generation: g, Low: g - 1, High: g, At: day.Add(time.Duration(g) * time.Second)})
	}
	return s
}

func exerciseSessions(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("now", func(t *testing.T) {
		w := begin(t, open)
		before, err := w.Sessions.Now(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if before.Location() != time.UTC || !before.Equal(before.Truncate(time.Millisecond)) {
			t.Errorf("Now is %v, want UTC in whole milliseconds", before)
		}
		l := w.load(w.opened(device(w.person())).ID)
		if l.Now.Before(before) || l.Now.Location() != time.UTC || !l.Now.Equal(l.Now.Truncate(time.Millisecond)) {
			t.Errorf("Load's time is %v after %v, want UTC in whole milliseconds, never back", l.Now, before)
		}
	})
	t.Run("read back", func(t *testing.T) { readBack(t, open) })
	t.Run("not found", func(t *testing.T) {
		w := begin(t, open)
		s := w.opened(device(w.person()))
		near := s.ID
		near[15] ^= 1
		far := s.ID
		far[0] ^= 1
		for _, which := range []id.Session{{}, near, far, id.NewSession()} {
			if _, err := w.Sessions.Load(w.ctx, which); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Load of an id that differs: %v, want ErrNotFound", err)
			}
		}
	})
	t.Run("replace", func(t *testing.T) { replaces(t, open) })
	t.Run("context", func(t *testing.T) {
		w := begin(t, open)
		s := w.opened(device(w.person()))
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		if err := w.Sessions.Replace(ctx, session.Change{Next: next(s)}); err == nil {
			t.Error("Replace succeeded for a caller who had left")
		}
		if got := w.load(s.ID).Session; got.Version != s.Version {
			t.Errorf("a change that was cancelled before it began was written: version %d", got.Version)
		}
	})
}

// readBack: what is written is what is read, or it is refused; never altered.
func readBack(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	tests := map[string]func(session.Session) session.Session{
		"minimal": func(s session.Session) session.Session {
			s.Scope, s.Grant, s.AMR, s.Device, s.Epoch = "", "", "", session.Device{}, 1
			return s
		},
		"rich":  rich,
		"ended": func(s session.Session) session.Session { return end(rich(s), fault.SignedOutElsewhere).Next },
		"zero secret": func(s session.Session) session.Session {
			s.Secret, s.Attempt = [16]byte{}, [8]byte{}
			return s
		},
		"large numbers": func(s session.Session) session.Session {
			s.Epoch, s.Version, s.Chain.Newest, s.Chain.First = 1<<32-1, 1<<40, 1<<32-2, 1<<32-2
			return s
		},
		"odd strings": func(s session.Session) session.Session {
			s.Device.Name = "O'Brien \"; DROP TABLE session;-- \u202e \n\t %s 👩‍👩‍👧 \uffff"
			s.Device.Model, s.Scope, s.Key = "Ünïcödé", "a:b c/d?e=f&g", "-"
			return s
		},
		"big strings": func(s session.Session) session.Session {
			s.Device.Name, s.Scope = strings.Repeat("n", 100_000), strings.Repeat("scope ", 2_000)
			return s
		},
		"NUL and bytes that are no text": func(s session.Session) session.Session {
			s.Device.Name, s.Device.Model = "a\x00b", "\xff\xfe"
			return s
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := change(device(u))
			if err := w.Sessions.Open(w.ctx, session.Opening{Session: s}); err != nil {
				if !strings.HasPrefix(name, "NUL") {
					t.Fatal(err)
				}
				t.Skipf("refused: %v", err) // a database may refuse such text, not alter it
			}
			if d := cmp.Diff(s, w.load(s.ID).Session); d != "" {
				t.Error("opened and read:\n" + d)
			}
			changed := next(rich(s))
			changed.Parent = s.Parent // a session never changes its parent
			if err := w.Sessions.Replace(w.ctx, session.Change{Next: changed}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(changed, w.load(s.ID).Session); d != "" {
				t.Error("replaced and read:\n" + d)
			}
		})
	}
	t.Run("times are whole milliseconds in UTC", func(t *testing.T) {
		s := device(u)
		fine := time.Date(2026, 11, 22, 9, 0, 0, 987_654_321, time.FixedZone("somewhere", 3600))
		s.CreatedAt, s.UsedAt, s.AuthTime, s.Chain.IssuedAt, s.Chain.Seen = fine, fine, fine, fine, fine
		s.Chain.Uses = []session.Use{{Generation: 1, Low: 1, High: 1, At: fine}}
		w.opened(s)
		whole := fine.Truncate(time.Millisecond).UTC()
		s.CreatedAt, s.UsedAt, s.AuthTime, s.Chain.IssuedAt, s.Chain.Seen = whole, whole, whole, whole, whole
		s.Chain.Uses = []session.Use{{Generation: 1, Low: 1, High: 1, At: whole}}
		if d := cmp.Diff(s, w.load(s.ID).Session); d != "" {
			t.Error(d)
		}
	})
}

func replaces(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	s := w.opened(device(w.person()))
	second := next(s)
	if err := w.Sessions.Replace(w.ctx, session.Change{Next: second}); err != nil {
		t.Fatal(err)
	}
	unknown := next(device(w.person()))
	behind, ahead := end(s, fault.SignedOut), end(next(second), fault.SignedOut)
	for name, c := range map[string]session.Change{
		"the version before":  behind,
		"the version after":   ahead,
		"an unknown session":  {Next: unknown, Entries: []feed.Entry{entry(feed.Session, sid(unknown.ID))}},
		"version zero":        {Next: func() session.Session { n := s; n.Version = 0; return n }()},
		"the version it has ": {Next: second},
	} {
		if err := w.Sessions.Replace(w.ctx, c); !errors.Is(err, session.ErrChanged) {
			t.Errorf("Replace over %s: %v, want ErrChanged", name, err)
		}
	}
	if d := cmp.Diff(second, w.load(s.ID).Session); d != "" {
		t.Error("ErrChanged wrote something:\n" + d)
	}
	if all := w.record(); len(all) != 0 {
		t.Errorf("ErrChanged recorded %d entries", len(all))
	}
	c := end(second, fault.Reuse)
	c.Entries = append(c.Entries, entry(feed.Token, "jti-of-it"))
	if err := w.Sessions.Replace(w.ctx, c); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Next, w.load(s.ID).Session); d != "" {
		t.Error(d)
	}
	if !w.recorded(feed.Session, sid(s.ID)) || !w.recorded(feed.Token, "jti-of-it") {
		t.Error("the entries of a change are not in the record")
	}
}

// exerciseStanding: Load says what became of the owner, the client and the
// parent.
func exerciseStanding(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	stands := func(t *testing.T, which id.Session, want session.Standing) {
		t.Helper()
		if d := cmp.Diff(want, w.load(which).Standing); d != "" {
			t.Error(d)
		}
	}
	t.Run("nothing", func(t *testing.T) {
		stands(t, w.opened(device(w.person())).ID, session.Standing{UserEpoch: 1})
	})
	t.Run("user disabled", func(t *testing.T) {
		u := w.person()
		s := w.opened(device(u))
		u.Disabled, u.Version = true, 2
		if err := w.Users.Replace(w.ctx, userChange(u)); err != nil {
			t.Fatal(err)
		}
		stands(t, s.ID, session.Standing{UserDisabled: true, UserEpoch: 1})
	})
	t.Run("user gone", func(t *testing.T) {
		u := w.person()
		s := w.opened(device(u))
		if err := w.RemoveUser(w.ctx, u.ID); err != nil {
			t.Fatal(err)
		}
		l := w.load(s.ID)
		if !l.Standing.UserDeleted || l.Session.User != u.ID {
			t.Errorf("standing %+v, owner %v; want UserDeleted and the owner it had", l.Standing, l.Session.User)
		}
	})
	t.Run("client", func(t *testing.T) {
		c := fullClient("standing-client")
		c.Disabled = false
		if err := w.Clients.Put(w.ctx, client.Change{Next: c}); err != nil {
			t.Fatal(err)
		}
		s := device(w.person())
		s.Client = c.ID
		w.opened(s)
		stands(t, s.ID, session.Standing{UserEpoch: 1})
		c.Disabled, c.Version = true, 2
		if err := w.Clients.Put(w.ctx, client.Change{Next: c}); err != nil {
			t.Fatal(err)
		}
		stands(t, s.ID, session.Standing{UserEpoch: 1, ClientStopped: true})
		c.Disabled, c.Version = false, 3
		if err := w.Clients.Put(w.ctx, client.Change{Next: c}); err != nil {
			t.Fatal(err)
		}
		stands(t, s.ID, session.Standing{UserEpoch: 1})
		if err := w.Clients.Delete(w.ctx, c.ID, client.Along{}); err != nil {
			t.Fatal(err)
		}
		stands(t, s.ID, session.Standing{UserEpoch: 1, ClientStopped: true})
		c.Version = 1 // somebody else may have the name now
		if err := w.Clients.Put(w.ctx, client.Change{Next: c}); err != nil {
			t.Fatal(err)
		}
		was := w.load(s.ID).Session
		if was.EndReason != fault.ClientStopped || was.EndedAt.IsZero() || was.Version != s.Version+1 {
			t.Errorf("a deleted client's session came to life for another client: ended %q, version %d", was.EndReason, was.Version)
		}
		if err := w.Sessions.Replace(w.ctx, session.Change{Next: next(s)}); !errors.Is(err, session.ErrChanged) {
			t.Errorf("it can be replaced: %v", err)
		}
		again := device(w.person())
		again.Client = c.ID
		w.opened(again)
		stands(t, again.ID, session.Standing{UserEpoch: 1})
	})
	t.Run("client never registered", func(t *testing.T) {
		s := device(w.person())
		s.Client = "nobody-registered-me"
		w.opened(s)
		stands(t, s.ID, session.Standing{UserEpoch: 1, ClientStopped: true})
	})
	t.Run("parent", func(t *testing.T) {
		u := w.person()
		parent := w.opened(device(u))
		child := device(u)
		child.Parent = parent.ID
		w.opened(child)
		stands(t, child.ID, session.Standing{UserEpoch: 1})
		if err := w.Sessions.Replace(w.ctx, end(parent, fault.Reuse)); err != nil {
			t.Fatal(err)
		}
		stands(t, child.ID, session.Standing{UserEpoch: 1, ParentEnded: fault.Reuse})
		if _, err := w.Sessions.Purge(w.ctx, day.Add(2*time.Hour), time.Time{}, 10); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Sessions.Load(w.ctx, parent.ID); !errors.Is(err, session.ErrNotFound) {
			t.Fatalf("the parent was not purged: %v", err)
		}
		if l := w.load(child.ID); l.Standing.ParentEnded == "" {
			t.Error("the child of a purged parent stands")
		}
	})
}
