package sqlite

import (
	"slices"
	"testing"
	"time"
)

// report adds the median and the worst hundredth to a benchmark.
func report(b *testing.B, took [][]time.Duration) {
	all := slices.Concat(took...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
