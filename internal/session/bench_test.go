package session_test

import (
	"testing"
	"time"

	. "holdfast.example/internal/session"
)

// BenchmarkRefresh is the decision alone: no database, no seal, no signature.
func BenchmarkRefresh(b *testing.B) {
	full := chain(7, 7, used(1, 1, 1, 0), used(2, 2, 2, 2*overlap), used(3, 3, 3, 4*overlap), used(4, 4, 4, 6*overlap),
		used(5, 5, 5, 8*overlap), used(6, 6, 6, 10*overlap))
	for _, c := range []struct {
		name string
		gen  Generation
		now  time.Duration
	}{
		{"rotated", 7, time.Hour},
		{"repeated", 7, 10*overlap + time.Second},
		{"repeated parent", 6, 10*overlap + time.Second},
		{"recovered", 6, time.Hour},
		{"late", 5, 10*overlap + late},
		{"reused", 2, time.Hour},
	} {
		b.Run(c.name, func(b *testing.B) {
			sc := scene{s: phone(), pol: balanced(), now: t0.Add(c.now), st: Standing{UserEpoch: 3},
				p: Presented{Client: "app", Generation: c.gen, IssuedAt: t0, Genuine: true}}
			sc.s.Chain = full
			b.ReportAllocs()
			for b.Loop() {
				sc.refresh()
			}
		})
	}
}
