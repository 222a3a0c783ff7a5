package storetest

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

// EnvYears set to "hourly" makes Years refresh its first device every hour.
const EnvYears = "HOLDFAST_TEST_YEARS"

// Aged is an empty database on a clock that the exercise moves.
type Aged struct {
	Bundle
	// Rows counts the rows of every table.
	Rows func(*testing.T) map[string]int64
	// Size is what the tables take in bytes, after the upkeep that the database does
	// by itself in production.
	Size func(*testing.T) int64
	// Step is the time between two refreshes of the first device; the others refresh
	// every day.
	Step time.Duration
}

// What happens in the simulated years. Everything recurs after a whole number of
// times in a year, so that each year ends in the same state as the one before.
const (
	years     = 5
	aYear     = 365 * 24 * time.Hour
	aged      = 6                   // devices that stay
	visits    = 5 * 24 * time.Hour  // somebody signs in on another device, and out again
	changes   = 73 * 24 * time.Hour // somebody signs out everywhere else
	upkeep    = 24 * time.Hour      // house-keeping
	retention = 30 * 24 * time.Hour // ended sessions are shown so long
	idleLimit = 90 * 24 * time.Hour
	purgeMost = 1000
	// rowSlack is by how many rows a table may differ without having grown: how many
	// monthly key acts the audit remembers depends on the day one looks.
	rowSlack = 3
	// sizeSlack is what a file may differ by without having grown, in bytes.
	sizeSlack = 128 << 10
)

// Years lets devices live for five years: refreshes, visits that end, sign-outs
// everywhere, rotations of keys, house-keeping. A device is one row all the time,
// and no table has more rows or bytes after the fifth year than after the first.
func Years(t *testing.T, open func(t *testing.T, now func() time.Time) Aged) {
	var clock atomic.Int64
	clock.Store(day.UnixMilli())
	now := func() time.Time { return time.UnixMilli(clock.Load()).UTC() }
	a := open(t, now)
	if os.Getenv(EnvYears) == "hourly" {
		a.Step = time.Hour
	}
	l := live(t, a, now)
	next := []struct {
		every time.Duration
		do    func() error
	}{
		{a.Step, func() error { return l.refresh(0) }},
		{24 * time.Hour, func() error { return l.refreshOthers() }},
		{visits, l.visit}, {changes, l.signOutElsewhere}, {upkeep, l.keepHouse},
	}
	var rows map[string]int64
	var size int64
	tick := min(a.Step, 24*time.Hour)
	for year := range years {
		for at := tick; at <= aYear; at += tick {
			clock.Add(tick.Milliseconds())
			for _, n := range next {
				if at%n.every != 0 {
					continue
				}
				if err := n.do(); err != nil {
					t.Fatalf("year %d, day %d: %v", year+1, at/(24*time.Hour), err)
				}
			}
		}
		got, bytes := a.Rows(t), a.Size(t)
		t.Logf("after year %d: %d bytes, rows %v", year+1, bytes, got)
		if year == 0 {
			rows, size = got, bytes
			continue
		}
		for table, n := range got {
			if n > rows[table]+rowSlack {
				t.Errorf("year %d: %d rows in %s, %d after the first year", year+1, n, table, rows[table])
			}
		}
		if bytes > size+size/10+sizeSlack {
			t.Errorf("year %d: %d bytes, %d after the first year", year+1, bytes, size)
		}
	}
	l.oneRowEach()
}

// life is the devices and what they do.
type life struct {
	t      *testing.T
	ctx    context.Context
	db     Aged
	now    func() time.Time
	ring   *key.Ring
	keeper *session.Keeper
	owners []user.User
	tokens []secret.Text
	ids    []id.Session
}

func live(t *testing.T, a Aged, now func() time.Time) *life {
	t.Helper()
	l := &life{t: t, ctx: t.Context(), db: a, now: now}
	err := a.Clients.Put(l.ctx, client.Change{Next: client.Client{ID: app, Name: "App", Type: client.Public, Version: 1}})
	if err == nil {
		l.ring, err = key.Open(l.ctx, a.Keys, key.NewRoot(), key.Options{Algs: []string{"ES256"}, Now: now,
			LongestAccess: time.Hour, JWKSMaxAge: 15 * time.Minute, RotateEvery: changes, EntryLife: feed.Life(time.Hour)})
	}
	if err != nil {
		t.Fatal(err)
	}
	l.keeper = &session.Keeper{Store: a.Sessions, Tokens: token.Refreshes{Keys: l.ring}, Names: l.ring, EntryLife: feed.Life(time.Hour)}
	for i := range aged {
		u := id.NewUser()
		l.owners = append(l.owners, user.User{ID: u, Username: fmt.Sprint("owner", i), Epoch: 1, Version: 1, CreatedAt: now(), UpdatedAt: now()})
		if err := a.Users.Create(l.ctx, l.owners[i], nil); err != nil {
			t.Fatal(err)
		}
		turn, err := l.signIn(i)
		if err != nil {
			t.Fatal(err)
		}
		l.tokens, l.ids = append(l.tokens, turn.Token), append(l.ids, turn.Session.ID)
	}
	return l
}

var agedPolicy = session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: idleLimit, Idle: idleLimit}

func (l *life) signIn(owner int) (session.Turn, error) {
	return l.keeper.Open(l.ctx, session.SignIn{User: l.owners[owner].ID, Epoch: l.owners[owner].Epoch, Client: app, Scope: "openid read",
		Grant: "password", AMR: "pwd", Policy: agedPolicy, Device: session.Device{Name: "phone"}})
}

func (l *life) refresh(i int) error {
	turn, err := l.keeper.Refresh(l.ctx, l.tokens[i], app, func(session.Session) (session.Policy, error) { return agedPolicy, nil })
	if err != nil {
		return fmt.Errorf("device %d was signed out: %w", i, err)
	}
	if turn.Token.Equal(l.tokens[i]) {
		return fmt.Errorf("device %d kept its token", i)
	}
	l.tokens[i] = turn.Token
	return nil
}

func (l *life) refreshOthers() error {
	for i := 1; i < aged; i++ {
		if err := l.refresh(i); err != nil {
			return err
		}
	}
	return nil
}

func (l *life) visit() error {
	turn, err := l.signIn(0)
	if err != nil {
		return err
	}
	return l.keeper.End(l.ctx, turn.Session.ID, fault.SignedOut)
}

// signOutElsewhere ends all sessions of the last owner but the device itself.
func (l *life) signOutElsewhere() error {
	last := aged - 1
	if err := l.keeper.EndAll(l.ctx, l.owners[last].ID, fault.Everywhere, l.ids[last]); err != nil {
		return err
	}
	l.owners[last].Epoch++
	return nil
}

// keepHouse is what the server does every few minutes.
func (l *life) keepHouse() error {
	now := l.now()
	if _, err := l.db.Feed.Since(l.ctx, 0, 1); err != nil { // somebody follows
		return err
	}
	if _, err := l.db.Feed.Forget(l.ctx, now, purgeMost); err != nil {
		return err
	}
	if _, err := l.db.Sessions.Purge(l.ctx, now.Add(-retention), now.Add(-retention-idleLimit), purgeMost); err != nil {
		return err
	}
	if _, err := l.db.Audit.Forget(l.ctx, now.Add(-retention), purgeMost); err != nil {
		return err
	}
	if _, err := l.db.Calls.Forget(l.ctx, now.Add(-idem.Life), purgeMost); err != nil {
		return err
	}
	return l.ring.Tick(l.ctx, now)
}

// oneRowEach lets the last visits fade and looks what is left.
func (l *life) oneRowEach() {
	l.t.Helper()
	all, err := l.db.Sessions.Find(l.ctx, session.Query{Limit: 10 * aged, Ended: true})
	if err != nil {
		l.t.Fatal(err)
	}
	standing := map[id.Session]bool{}
	for _, s := range all {
		if s.Session.EndReason == "" {
			standing[s.Session.ID] = true
		} else if s.Session.EndedAt.Before(l.now().Add(-retention - upkeep)) {
			l.t.Errorf("the session %v ended at %v and is still kept", s.Session.ID, s.Session.EndedAt)
		}
	}
	for i, one := range l.ids {
		if !standing[one] {
			l.t.Errorf("device %d has no row", i)
		}
	}
	if len(standing) != aged {
		l.t.Errorf("%d sessions stand for %d devices", len(standing), aged)
	}
}
