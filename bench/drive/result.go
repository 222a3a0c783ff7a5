package drive

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is what one run measured. Times are milliseconds, memory is MiB.
type Result struct {
	Name        string  `json:"name"`
	Scenario    string  `json:"scenario"`
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate,omitempty"`
	Seconds     float64 `json:"seconds"`

	Operations int64 `json:"operations"`
	Errors     int64 `json:"errors"`
	// Dead counts devices that were signed out, since the devices were made.
	Dead int64 `json:"dead"`
	// Rotated counts refreshes that answered another refresh token, SameAccess
	// those that answered the same access token.
	Rotated    int64 `json:"rotated"`
	SameAccess int64 `json:"same_access"`
	// Reopened counts connections that the server closed while they were idle.
	Reopened int64 `json:"reopened"`

	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50"`
	P95       float64 `json:"p95"`
	P99       float64 `json:"p99"`
	Max       float64 `json:"max"`

	// CPU is what the server's processes used for one operation, errors included;
	// Apart is the part of it that the processes of Options.Apart used, and OwnCPU
	// what this client used.
	CPU    float64 `json:"cpu"`
	Apart  float64 `json:"apart,omitempty"`
	OwnCPU float64 `json:"own_cpu"`
	RSS    float64 `json:"rss"`
	PSS    float64 `json:"pss"`

	Kinds map[string]int64 `json:"kinds,omitempty"`
}

func (o Options) result(workers []*worker, devices []*Device, w window) Result {
	r := Result{Name: o.Name, Scenario: o.Scenario, Connections: o.Connections, Rate: o.Rate, Seconds: w.length.Seconds(),
		RSS: mib(w.server.RSS), PSS: mib(w.server.PSS)}
	var took []time.Duration
	for _, w := range workers {
		took = append(took, w.tally.took...)
		r.Rotated += w.tally.rotated
		r.SameAccess += w.tally.same
		r.Reopened += w.conn.reopened
		for kind, n := range w.tally.kinds {
			if r.Kinds == nil {
				r.Kinds = map[string]int64{}
			}
			r.Kinds[kind] += n
			r.Errors += n
		}
	}
	for _, d := range devices {
		if d.Dead && o.Scenario != Revoke {
			r.Dead++
		}
	}
	r.Operations = int64(len(took))
	r.PerSecond = float64(r.Operations) / w.length.Seconds()
	slices.Sort(took)
	r.P50, r.P95, r.P99, r.Max = quantile(took, .5), quantile(took, .95), quantile(took, .99), quantile(took, 1)
	all := float64(max(r.Operations+r.Errors, 1))
	r.CPU, r.Apart, r.OwnCPU = ms(w.server.CPU)/all, ms(w.apart.CPU)/all, ms(w.own.CPU)/all
	return r
}

// quantile is the value that a share of the sorted times is below, in
// milliseconds; 0 of none.
func quantile(sorted []time.Duration, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return ms(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))])
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// RotatedShare is the share of refreshes that rotated, 0 to 1.
func (r Result) RotatedShare() float64 { return float64(r.Rotated) / float64(max(r.Operations, 1)) }

// String is one line for people, and one more for each kind of error.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %-18s c=%-3d ops/s=%-8.1f p50=%.2f p95=%.2f p99=%.2f max=%.1f ms  cpu=%.3f own=%.3f ms/op  rss=%.0f pss=%.0f MiB  ops=%d err=%d dead=%d",
		r.Name, r.Scenario, r.Connections, r.PerSecond, r.P50, r.P95, r.P99, r.Max, r.CPU, r.OwnCPU, r.RSS, r.PSS, r.Operations, r.Errors, r.Dead)
	if r.Scenario == Refresh {
		fmt.Fprintf(&b, " rotated=%.1f%%", 100*r.RotatedShare())
	}
	if r.Apart > 0 {
		fmt.Fprintf(&b, " apart=%.3f ms/op", r.Apart)
	}
	if r.SameAccess > 0 {
		fmt.Fprintf(&b, " same_access=%d", r.SameAccess)
	}
	if r.Reopened > 0 {
		fmt.Fprintf(&b, " reopened=%d", r.Reopened)
	}
	for kind, n := range r.Kinds {
		fmt.Fprintf(&b, "\n    error x%d: %s", n, kind)
	}
	return b.String()
}
