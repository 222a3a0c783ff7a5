package session_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	. "holdfast.example/internal/session"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

// way is what becomes of one call to the store.
type way int

const (
	works   way = iota
	lost        // it fails, and nothing was done
	unheard     // it was done, and fails
	locked      // the store says that it wrote nothing (ErrReadOnly)
	crowded     // the store says that it did not begin (fault.Busy)
)

var wayNames = [...]string{"works", "lost", "unheard", "locked", "crowded"}

func (w way) String() string { return wayNames[w] }

var errDisk = errors.New("the disk is on fire")

// faulty is a real database whose calls fail as a test asks.
type faulty struct {
	Store
	mu sync.Mutex
	// script is what becomes of the next calls, in order; then all work.
	script []way
	// before, when set, runs before each call.
	before func(call string)
}

func (f *faulty) plan(script ...way) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = script
}

func (f *faulty) next(call string) way {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		f.before(call)
	}
	if len(f.script) == 0 {
		return works
	}
	w := f.script[0]
	f.script = f.script[1:]
	return w
}

// read fails or lets a read happen; a read that is not heard of is lost.
func (f *faulty) read(call string) error {
	if f.next(call) == works {
		return nil
	}
	return fault.Down(errDisk)
}

// write does a change, or not, and tells the truth about it, or not.
func (f *faulty) write(call string, do func() error) error {
	switch f.next(call) {
	case lost:
		return fault.Down(errDisk)
	case unheard:
		_ = do() // nobody hears how it went
		return fault.Down(errDisk)
	case locked:
		return fault.Down(errors.Join(ErrReadOnly, errDisk))
	case crowded:
		return &fault.Error{Kind: fault.Busy, RetryAfter: fault.RetrySoon}
	}
	return do()
}

func (f *faulty) Now(ctx context.Context) (time.Time, error) {
	if err := f.read("now"); err != nil {
		return time.Time{}, err
	}
	return f.Store.Now(ctx)
}

func (f *faulty) Load(ctx context.Context, s id.Session) (Loaded, error) {
	if err := f.read("load"); err != nil {
		return Loaded{}, err
	}
	return f.Store.Load(ctx, s)
}

func (f *faulty) ByInstall(ctx context.Context, u id.User, c id.Client, install [16]byte) (Loaded, error) {
	if err := f.read("install"); err != nil {
		return Loaded{}, err
	}
	return f.Store.ByInstall(ctx, u, c, install)
}

func (f *faulty) Replace(ctx context.Context, c Change) error {
	return f.write("replace", func() error { return f.Store.Replace(ctx, c) })
}

func (f *faulty) Open(ctx context.Context, o Opening) error {
	return f.write("open", func() error { return f.Store.Open(ctx, o) })
}

func (f *faulty) EndAll(ctx context.Context, e Everywhere) (epoch uint32, err error) {
	err = f.write("end all", func() error { epoch, err = f.Store.EndAll(ctx, e); return err })
	return epoch, err
}

// groundDir is where the database of the tests lies.
var groundDir string

func TestMain(m *testing.M) {
	var err error
	groundDir, err = os.MkdirTemp("", "keeper")
	if err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(groundDir)
	os.Exit(code)
}

// floor is the ground all keepers of the tests stand on: one database and one
// set of keys, because both take long to make.
type floor struct {
	db    *sqlite.DB
	ring  *key.Ring
	clock *hands
}

// hands is a clock that a test moves.
type hands struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now }

func (h *hands) move(d time.Duration) { h.mu.Lock(); defer h.mu.Unlock(); h.now = h.now.Add(d) }

var ground = sync.OnceValues(func() (*floor, error) {
	f := &floor{clock: &hands{now: t0}}
	var err error
	f.db, err = sqlite.Open(filepath.Join(groundDir, "keeper.db"), sqlite.Options{Now: f.clock.Now, Synchronous: sqlite.Off, LoseAcknowledged: true})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	err = f.db.Clients().Put(ctx, client.Change{Next: client.Client{ID: "app", Name: "App", Type: client.Public, Version: 1}})
	if err != nil {
		return nil, err
	}
	f.ring, err = key.Open(ctx, f.db.Keys(), key.NewRoot(), key.Options{Algs: []string{"ES256"}, Now: f.clock.Now,
		LongestAccess: time.Hour, JWKSMaxAge: 15 * time.Minute})
	return f, err
})

// kept is a Keeper, one user, and a store that fails on demand.
type kept struct {
	*testing.T
	*Keeper
	*floor
	disk  *faulty
	owner user.User

	mu     sync.Mutex
	events []Event
}

func keeping(t *testing.T) *kept {
	t.Helper()
	f, err := ground()
	if err != nil {
		t.Fatal(err)
	}
	u := id.NewUser()
	k := &kept{T: t, floor: f, disk: &faulty{Store: f.db.Sessions()},
		owner: user.User{ID: u, Username: u.String(), Epoch: 1, Version: 1, CreatedAt: t0, UpdatedAt: t0}}
	err = f.db.Users().Create(t.Context(), k.owner, nil)
	if err != nil {
		t.Fatal(err)
	}
	k.Keeper = &Keeper{Store: k.disk, Tokens: token.Refreshes{Keys: f.ring}, Names: f.ring, EntryLife: feed.Life(time.Hour),
		Observe: func(e Event) { k.mu.Lock(); defer k.mu.Unlock(); k.events = append(k.events, e) }}
	return k
}

// signsIn is a sign-in of the user's phone.
func (k *kept) signsIn(install, attempt string, pol Policy) SignIn {
	in := SignIn{User: k.owner.ID, Epoch: k.owner.Epoch, Client: "app", Scope: "openid read", Grant: "password", AMR: "pwd",
		Attempt: attempt, Policy: pol, Device: Device{Name: "phone"}}
	if install != "" {
		in.Device.Install = InstallDigest(install)
	}
	return in
}

// opened is a phone that has signed in.
func (k *kept) opened(pol Policy) Turn {
	k.Helper()
	turn, err := k.Open(k.Context(), k.signsIn("", "", pol))
	if err != nil {
		k.Fatal(err)
	}
	return turn
}

func under(pol Policy) Terms { return func(Session) (Policy, error) { return pol, nil } }

// present shows a token.
func (k *kept) present(t secret.Text, pol Policy) (Turn, error) {
	return k.Refresh(k.Context(), t, "app", under(pol))
}

// must shows a token that has to be good.
func (k *kept) must(t secret.Text, pol Policy) Turn {
	k.Helper()
	turn, err := k.present(t, pol)
	if err != nil {
		k.Fatal(err)
	}
	return turn
}

// stored is what the database really holds.
func (k *kept) stored(which id.Session) Session {
	k.Helper()
	l, err := k.db.Sessions().Load(k.Context(), which)
	if err != nil {
		k.Fatal(err)
	}
	return l.Session
}

// ends counts the ends that were observed since the last call.
func (k *kept) ends() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if e.Ended != "" {
			n++
		}
	}
	k.events = nil
	return n
}

// scripts lists every way in which the reads and writes of `turns` rounds of
// load and replace can go, for the given ways of a write.
func scripts(turns int, writes ...way) (all [][]way) {
	all = [][]way{nil}
	for range turns {
		var longer [][]way
		for _, s := range all {
			longer = append(longer, append(s[:len(s):len(s)], lost)) // the load fails: nothing comes after it
			for _, w := range writes {
				longer = append(longer, append(s[:len(s):len(s)], works, w))
			}
		}
		all = longer
	}
	return all
}

// answered reports whether an error is one that invites to repeat.
func repeatable(err error) bool {
	return fault.Is(err, fault.Unavailable) && fault.As(err).RetryAfter > 0
}
