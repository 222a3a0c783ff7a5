package user

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// cheap keeps the tests fast; the product's cost is tested by name.
var cheap = Cost{Memory: 8, Passes: 1, Lanes: 1}

// memory is a Store that keeps the contract in a map, and holds callers to it.
type memory struct {
	t  *testing.T
	mu sync.Mutex
	// rows by id; ends lists every change that ended sessions.
	rows     map[id.User]User
	ends     []Change
	replaces int
	// fail, if set, is asked before each call by its name; fail after writing when
	// the name is "replaced".
	fail func(call string) error
	// before, if set, runs before each Replace, outside the lock.
	before func(Change)
}

func (m *memory) failing(call string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(call)
}

func (m *memory) ByLogin(_ context.Context, canonical string) (User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if canonical == "" || canonical != Canonical(canonical) {
		m.t.Errorf("ByLogin(%q): not a canonical name", canonical)
	}
	if err := m.failing("ByLogin"); err != nil {
		return User{}, err
	}
	for _, u := range m.rows {
		if slices.Contains(names(u), canonical) {
			return u, nil
		}
	}
	return User{}, ErrNotFound
}

func (m *memory) ByID(_ context.Context, who id.User) (User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("ByID"); err != nil {
		return User{}, err
	}
	u, ok := m.rows[who]
	if !ok {
		return User{}, ErrNotFound
	}
	return u, nil
}

func (m *memory) Create(_ context.Context, u User, events []audit.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("Create"); err != nil {
		return err
	}
	if len(events) != 1 || events[0].Name != audit.UserCreated || events[0].User != u.ID {
		m.t.Errorf("Create came with the account %+v", events)
	}
	if u.Version != 1 || u.CreatedAt.IsZero() || u.ID.IsZero() {
		m.t.Errorf("Create got %+v", u)
	}
	if m.taken(u) {
		return ErrTaken
	}
	m.rows[u.ID] = u
	return nil
}

func (m *memory) Replace(_ context.Context, c Change) error {
	if m.before != nil {
		m.before(c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("Replace"); err != nil {
		return err
	}
	was, ok := m.rows[c.Next.ID]
	switch {
	case !ok:
		return ErrNotFound
	case was.Version != c.Next.Version-1:
		return ErrChanged
	case m.taken(c.Next):
		return ErrTaken
	case c.Next.Epoch < was.Epoch, (c.Ends != "") != (c.Next.Epoch == was.Epoch+1), (c.Ends != "") != (c.EntryLife > 0):
		m.t.Errorf("a change that ends %q takes the epoch from %d to %d, entry life %v", c.Ends, was.Epoch, c.Next.Epoch, c.EntryLife)
	}
	m.rows[c.Next.ID] = c.Next
	m.replaces++
	if c.Ends != "" {
		m.ends = append(m.ends, c)
	}
	return m.failing("replaced")
}

func (m *memory) List(context.Context, id.User, int) ([]User, error) {
	return nil, errors.New("nobody lists here")
}

func names(u User) []string {
	return []string{Canonical(u.Username), Canonical(u.Email)}
}

func (m *memory) taken(u User) bool {
	for _, o := range m.rows {
		for _, n := range names(o) {
			if o.ID != u.ID && n != "" && slices.Contains(names(u), n) {
				return true
			}
		}
	}
	return false
}

// get reads a row for a test.
func (m *memory) get(who id.User) User {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[who]
}

// put lays a hash under an account's row, as an import would.
func (m *memory) put(who id.User, hash string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.rows[who]
	u.PasswordHash = hash
	u.Version++
	m.rows[who] = u
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// newDirectory is a Directory over memory with cheap hashes.
func newDirectory(t *testing.T) (*Directory, *memory) {
	t.Helper()
	m := &memory{t: t, rows: map[id.User]User{}}
	h := NewHasher(HasherOptions{Slots: 2, Cost: cheap})
	t.Cleanup(h.Close)
	return &Directory{Store: m, Hasher: h, Now: func() time.Time { return noon }, EntryLife: time.Hour,
		RehashFailed: func(u id.User, err error) { t.Errorf("rehash of %v failed: %v", u, err) }}, m
}

// must creates an account.
func must(t *testing.T, d *Directory, want Declared) User {
	t.Helper()
	u, err := d.Create(t.Context(), want)
	if err != nil {
		t.Fatalf("Create(%q): %v", want.Username, err)
	}
	return u
}

// kind fails the test unless err is a fault of kind k.
func kind(t *testing.T, err error, k fault.Kind) *fault.Error {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("got error %v, want %v", err, k)
	}
	return fault.As(err)
}

func pass(s string) secret.Text { return secret.New(s) }

func ptr[T any](v T) *T { return &v }
