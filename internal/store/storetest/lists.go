package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

func exerciseLists(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u, other := w.person(), w.person()
	install := [16]byte{9, 9}
	// Three standing sessions, the newest least used, one of another client; one
	// ended; one of somebody else.
	made := map[string]session.Session{}
	for i, name := range []string{"old", "middle", "new", "ended"} {
		s := device(u)
		s.CreatedAt = day.Add(time.Duration(i) * time.Hour)
		s.UsedAt = day.Add(time.Duration(10-i) * time.Hour)
		switch name {
		case "middle":
			s.Client = "another-client"
			s.Device.Install = install
		case "ended":
			s.Device.Install = install
		}
		if name == "new" {
			s.Device.Name, s.Device.Model, s.Device.System = "Handset", "Pixel 9", "NoSuchOS"
		}
		made[name] = w.opened(s)
	}
	ended := end(made["ended"], fault.SignedOut)
	if err := w.Sessions.Replace(w.ctx, ended); err != nil {
		t.Fatal(err)
	}
	made["ended"] = ended.Next
	foreign := device(other)
	foreign.Device.Install, foreign.UsedAt = install, day.Add(-time.Hour)
	made["foreign"] = w.opened(foreign)

	named := func(t *testing.T, all []session.Loaded, err error) (names []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range all {
			for name, s := range made {
				if s.ID == l.Session.ID {
					names = append(names, name)
					if d := cmp.Diff(s, l.Session); d != "" {
						t.Error(d)
					}
				}
			}
			if l.Standing.UserEpoch != 1 || l.Now.IsZero() {
				t.Errorf("standing %+v at %v", l.Standing, l.Now)
			}
		}
		return names
	}
	want := func(t *testing.T, got []string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	t.Run("of user", func(t *testing.T) {
		all, err := w.Sessions.OfUser(w.ctx, u.ID, 10)
		want(t, named(t, all, err), "new", "middle", "old")
		all, err = w.Sessions.OfUser(w.ctx, u.ID, 2)
		want(t, named(t, all, err), "new", "middle")
		all, err = w.Sessions.OfUser(w.ctx, id.NewUser(), 10)
		want(t, named(t, all, err))
	})
	t.Run("find", func(t *testing.T) {
		for name, tt := range map[string]struct {
			q    session.Query
			want []string
		}{
			"all standing":      {session.Query{Limit: 10}, []string{"old", "middle", "new", "foreign"}},
			"all":               {session.Query{Limit: 10, Ended: true}, []string{"old", "middle", "new", "ended", "foreign"}},
			"limit":             {session.Query{Limit: 2}, []string{"old", "middle"}},
			"no limit is none":  {session.Query{}, nil},
			"of a user":         {session.Query{User: u.ID, Limit: 10}, []string{"old", "middle", "new"}},
			"ended of a user":   {session.Query{User: u.ID, Ended: true, Limit: 10}, []string{"old", "middle", "new", "ended"}},
			"of a client":       {session.Query{Client: "another-client", Limit: 10}, []string{"middle"}},
			"of both":           {session.Query{Client: app, User: other.ID, Limit: 10}, []string{"foreign"}},
			"of unknown client": {session.Query{Client: "unknown", Limit: 10}, nil},
			"by device name":    {session.Query{Device: "pHONe", Limit: 10}, []string{"old", "middle", "foreign"}},
			"by device model":   {session.Query{Device: "pixel", Limit: 10}, []string{"new"}},
			"limit of device":   {session.Query{Device: "phone", Limit: 2}, []string{"old", "middle"}},
			"no such device":    {session.Query{Device: "nokia", Limit: 10, Ended: true}, nil},
			"no other fact":     {session.Query{Device: "nosuchos", Limit: 10}, nil},
			"not a pattern":     {session.Query{Device: "%", Limit: 10}, nil},
			"after one":         {session.Query{After: made["old"].Place(), Limit: 10}, []string{"middle", "new", "foreign"}},
			"after all":         {session.Query{After: made["foreign"].Place(), Limit: 10}, nil},
			"after, filtered":   {session.Query{After: made["old"].Place(), User: u.ID, Device: "phone", Limit: 10}, []string{"middle"}},
		} {
			t.Run(name, func(t *testing.T) {
				all, err := w.Sessions.Find(w.ctx, tt.q)
				want(t, named(t, all, err), tt.want...)
			})
		}
	})
	t.Run("pages", func(t *testing.T) {
		// Sessions used in the same millisecond are each on exactly one page.
		crowd := w.person()
		want := map[id.Session]bool{}
		for range 9 {
			want[w.opened(device(crowd)).ID] = true
		}
		q := session.Query{User: crowd.ID, Limit: 2}
		for range len(want) {
			page, err := w.Sessions.Find(w.ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page {
				if !want[l.Session.ID] {
					t.Error("a session is on two pages")
				}
				delete(want, l.Session.ID)
				q.After = l.Session.Place()
			}
		}
		if len(want) != 0 {
			t.Errorf("%d sessions are on no page", len(want))
		}
	})
	t.Run("by install", func(t *testing.T) {
		l, err := w.Sessions.ByInstall(w.ctx, u.ID, "another-client", install)
		want(t, named(t, []session.Loaded{l}, err), "middle")
		l, err = w.Sessions.ByInstall(w.ctx, other.ID, app, install)
		want(t, named(t, []session.Loaded{l}, err), "foreign")
		for name, try := range map[string]func() (session.Loaded, error){
			"ended":        func() (session.Loaded, error) { return w.Sessions.ByInstall(w.ctx, u.ID, app, install) },
			"unknown":      func() (session.Loaded, error) { return w.Sessions.ByInstall(w.ctx, u.ID, app, [16]byte{1}) },
			"no install":   func() (session.Loaded, error) { return w.Sessions.ByInstall(w.ctx, u.ID, app, [16]byte{}) },
			"unknown user": func() (session.Loaded, error) { return w.Sessions.ByInstall(w.ctx, id.NewUser(), app, install) },
		} {
			if _, err := try(); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
	})
}

// exercisePurge: what is due goes, what is not stays, and of a table as
// small as this fewer than the limit means that nothing due is left.
func exercisePurge(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	u := w.person()
	const each = 40
	keep := map[id.Session]bool{}
	for i := range 3 * each {
		s := device(u)
		switch i % 3 {
		case 0: // stands and is used
			s.UsedAt = day.Add(100 * time.Hour)
			keep[s.ID] = true
		case 1: // not used for long
			s.UsedAt = day.Add(time.Hour)
		case 2: // ended long ago, or only just
			s.UsedAt = day.Add(100 * time.Hour)
			s.EndReason, s.EndedAt = fault.SignedOut, day.Add(2*time.Hour)
			if i%2 == 0 {
				s.EndedAt = day.Add(99 * time.Hour)
				keep[s.ID] = true
			}
		}
		w.opened(s)
	}
	due := 3*each - len(keep)
	if n, err := w.Sessions.Purge(w.ctx, time.Time{}, time.Time{}, 1000); err != nil || n != 0 {
		t.Errorf("with no times it purged %d (%v)", n, err)
	}
	const step = 7
	total := 0
	for {
		n, err := w.Sessions.Purge(w.ctx, day.Add(50*time.Hour), day.Add(50*time.Hour), step)
		if err != nil {
			t.Fatal(err)
		}
		if n > step {
			t.Fatalf("purged %d at once, the limit is %d", n, step)
		}
		total += n
		if n < step {
			break
		}
	}
	if total != due {
		t.Errorf("purged %d, want %d", total, due)
	}
	all, err := w.Sessions.Find(w.ctx, session.Query{Ended: true, Limit: 10 * each})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if !keep[l.Session.ID] {
			t.Error("a session that was due is still there")
		}
	}
	if len(all) != len(keep) {
		t.Errorf("%d sessions are left, want %d", len(all), len(keep))
	}
	if n, err := w.Sessions.Purge(w.ctx, day.Add(50*time.Hour), day.Add(50*time.Hour), step); err != nil || n != 0 {
		t.Errorf("a second purge found %d (%v)", n, err)
	}
}
