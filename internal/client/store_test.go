package client_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
)

// table is a client.Store in memory, with a hook that runs before a Put.
type table struct {
	last     client.Along // what came with the last Put
	mu       sync.Mutex
	rows     map[id.Client]client.Client
	revision uint64
	puts     int
	reads    int
	before   func(*table, client.Client) error
}

func newTable() *table { return &table{rows: map[id.Client]client.Client{}} }

func (s *table) All(context.Context) ([]client.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var all []client.Client
	for _, c := range s.rows {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b client.Client) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all, nil
}

func (s *table) Revision(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision, nil
}

func (s *table) Put(_ context.Context, ch client.Change) error {
	c := ch.Next
	if s.before != nil {
		if err := s.before(s, c); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[c.ID].Version != c.Version-1 {
		return client.ErrChanged
	}
	s.write(c)
	s.last = ch.Along
	return nil
}

// write stores a row the way a database would: empty lists come back as nil.
func (s *table) write(c client.Client) {
	if len(c.Grants) == 0 {
		c.Grants = nil
	}
	s.rows[c.ID] = c
	s.revision++
	s.puts++
}

func (s *table) Delete(_ context.Context, which id.Client, _ client.Along) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.rows[which]; !ok {
		return client.ErrNotFound
	}
	delete(s.rows, which)
	s.revision++
	return nil
}

// opened is when the tests' registries record their changes.
var opened = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func open(t *testing.T, s client.Store) *client.Registry {
	t.Helper()
	r, err := client.OpenRegistry(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r.Now, r.EntryLife = func() time.Time { return opened }, time.Hour
	return r
}

func apply(t *testing.T, r *client.Registry, declared ...client.Declared) client.Report {
	t.Helper()
	report, err := r.Apply(t.Context(), declared)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
