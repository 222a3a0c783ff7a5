package key

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// memStore keeps rows as a database would, and can be told to fail.
type memStore struct {
	mu       sync.Mutex
	rows     Rows
	replaced int

	// failNext makes the next Replace fail: before it is applied, or after.
	failBefore, failAfter bool
	// meanwhile runs once inside the next Replace, as another node would.
	meanwhile func()
	down      bool
}

var errDisk = errors.New("disk on fire")

func (m *memStore) Load(context.Context) (Rows, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return Rows{}, errDisk
	}
	return m.rows.clone(), nil
}

func (m *memStore) Replace(_ context.Context, next Rows) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if run := m.meanwhile; run != nil {
		m.meanwhile = nil
		m.mu.Unlock()
		run()
		m.mu.Lock()
	}
	switch {
	case m.down:
		return errDisk
	case m.failBefore:
		m.failBefore = false
		return errDisk
	case m.rows.Version+1 != next.Version:
		return ErrChanged
	}
	m.rows = next.clone()
	m.replaced++
	if m.failAfter {
		m.failAfter = false
		return errDisk
	}
	return nil
}

func (r Rows) clone() Rows {
	r.Roll = slices.Clone(r.Roll)
	r.Keys = slices.Clone(r.Keys)
	for i := range r.Keys {
		r.Keys[i].Wrapped = slices.Clone(r.Keys[i].Wrapped)
	}
	return r
}

// t0 is when tests begin.
var t0 = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

const (
	testAccess = 15 * time.Minute
	testMaxAge = 10 * time.Minute
)

func options(algs ...string) Options {
	return Options{Algs: algs, LongestAccess: testAccess, JWKSMaxAge: testMaxAge, Now: func() time.Time { return t0 }}
}

// open opens a ring that must open.
func open(t testing.TB, s Store, root Root, opt Options) *Ring {
	t.Helper()
	r, err := Open(t.Context(), s, root, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// id gives the id of the one key of a line in a state.
func (m *memStore) id(t testing.TB, p Purpose, alg string, s State) uint32 {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	i := find(m.rows.Keys, line{p, alg}, s)
	if i < 0 {
		t.Fatalf("no %s %s key that is %s", alg, p, s)
	}
	return m.rows.Keys[i].ID
}

func (m *memStore) row(t testing.TB, id uint32) *Row {
	t.Helper()
	i := slices.IndexFunc(m.rows.Keys, func(row Row) bool { return row.ID == id })
	if i < 0 {
		t.Fatalf("no row %d", id)
	}
	return &m.rows.Keys[i]
}
