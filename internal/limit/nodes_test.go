package limit_test

import (
	"testing"
	"time"

	"holdfast.example/internal/limit"
	"holdfast.example/internal/limit/limittest"
)

// TestMemory: the budgets of one node, also under a clock that goes back (FAULT-10).
func TestMemory(t *testing.T) {
	limittest.Exercise(t, limittest.Subject{Unit: 1, Open: func(_ *testing.T, nodes int, _ func() time.Time) []limit.Counters {
		m, all := limit.NewMemory(), []limit.Counters{}
		for range nodes {
			all = append(all, m)
		}
		return all
	}})
}
