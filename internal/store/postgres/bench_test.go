package postgres

import (
	"sync/atomic"
	"testing"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// BenchmarkRefresh is what a refresh asks of the store: Load and Replace, by
// sixteen callers on sessions of their own. It says what the round trips cost on
// whatever server the tests run on, which syncs nothing unless HOLDFAST_TEST_PG
// names one that does.
func BenchmarkRefresh(b *testing.B) {
	db := openAt(b, newDatabase(b), Options{})
	const callers, each = 16, 64
	u, _ := signIn(b, db)
	var sessions [callers][each]session.Session
	for i := range sessions {
		for k := range sessions[i] {
			s := session.Session{ID: id.NewSession(), User: u.ID, Client: "demo", Epoch: 1, Scope: "openid offline_access", Grant: "password", AMR: "pwd",
				CreatedAt: day, UsedAt: day, AuthTime: day, Version: 1, Chain: session.Chain{Newest: 1, First: 1, IssuedAt: day}}
			if err := db.Sessions().Open(b.Context(), session.Opening{Session: s}); err != nil {
				b.Fatal(err)
			}
			sessions[i][k] = s
		}
	}
	var next atomic.Int32
	b.SetParallelism(callers / 2)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		mine := &sessions[int(next.Add(1)-1)%callers]
		for k := 0; pb.Next(); k++ {
			l, err := db.Sessions().Load(b.Context(), mine[k%each].ID)
			if err == nil {
				err = db.Sessions().Replace(b.Context(), session.Change{Next: rotated(l.Session)})
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkLoad reads one session, without a parent and with one: a round trip each.
func BenchmarkLoad(b *testing.B) {
	db := openAt(b, newDatabase(b), Options{})
	_, s := signIn(b, db)
	child := s
	child.ID, child.Parent = id.NewSession(), s.ID
	if err := db.Sessions().Open(b.Context(), session.Opening{Session: child}); err != nil {
		b.Fatal(err)
	}
	for name, which := range map[string]id.Session{"alone": s.ID, "child": child.ID} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := db.Sessions().Load(b.Context(), which); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
