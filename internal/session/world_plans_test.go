package session_test

import (
	"time"

	. "holdfast.example/internal/session"
)

// How often devices come back, and how long a call waits for its answer.
var (
	hourly = span{15 * time.Minute, 3 * time.Hour}
	busy   = span{5 * time.Second, 5 * time.Minute}
	rarely = span{time.Hour, 85 * day}

	short = span{5 * time.Second, 30 * time.Second}
	whole = span{overlap / 2, overlap} // as long as the model allows
	long  = span{2 * time.Minute, 5 * time.Minute}
)

// honest lists the classes inside the model of invariants 2 and 3.
func honest() []*plan {
	return []*plan{
		{name: "one call at a time, fair network", part: 20, days: 60, pace: hourly, weather: fair, calls: 1, tabs: 1, timeout: short},
		{name: "one call at a time, storm", part: 10, days: 30, pace: hourly, weather: storm, calls: 1, tabs: 1, timeout: short},
		{name: "one call, storm, lost commits", part: 12, days: 30, pace: hourly, weather: storm, calls: 1, tabs: 1, timeout: short, losses: .01},
		{name: "one call, edges, lost commits", part: 8, days: 10, pace: hourly, weather: edges, calls: 1, tabs: 1, timeout: whole, losses: .02},
		{name: "one call, busy, storm, lost commits", part: 2, days: 2, pace: busy, weather: storm, calls: 1, tabs: 1, timeout: whole, losses: .01},
		{name: "one call, busy, edges, lost commits", part: 2, days: 2, pace: busy, weather: edges, calls: 1, tabs: 1, timeout: whole, losses: .02},
		{name: "away for up to 85 days, storm", part: 10, days: 600, pace: rarely, weather: storm, calls: 1, tabs: 1, timeout: short},
		{name: "away for up to 85 days, lost commits", part: 10, days: 600, pace: rarely, weather: storm, calls: 1, tabs: 1, timeout: short, losses: .05},
		{name: "8 calls at once, fair network", part: 10, days: 10, pace: hourly, weather: fair, calls: 8, tabs: 1, timeout: short},
		{name: "8 calls at once, storm", part: 5, days: 10, pace: hourly, weather: storm, calls: 8, tabs: 1, timeout: short},
		{name: "8 calls at once, edges", part: 3, days: 5, pace: hourly, weather: edges, calls: 8, tabs: 1, timeout: whole},
		{name: "4 calls at once, often, edges", part: 1, days: 1, pace: span{time.Minute, 30 * time.Minute}, weather: edges, calls: 4, tabs: 1, timeout: whole},
		{name: "two tabs, one store, storm", part: 6, days: 10, pace: hourly, weather: storm, calls: 1, tabs: 2, timeout: short},
		{name: "two tabs, one store, busy, edges", part: 1, days: 1, pace: busy, weather: edges, calls: 1, tabs: 2, timeout: whole},
	}
}

// outside lists what the model leaves out, to show what it costs.
func outside() []*plan {
	slower := storm
	slower.latest = 20 * time.Minute
	narrow := func() Policy { p := balanced(); p.Overlap = 10 * time.Second; return p }
	strict := func() Policy { return balanced().Strict() }
	return []*plan{
		{name: "two tabs with separate copies", part: 10, days: 10, pace: hourly, weather: fair, calls: 1, tabs: 2, timeout: short, separate: true},
		{name: "older answers overwrite newer ones", part: 20, days: 10, pace: hourly, weather: storm, calls: 8, tabs: 1, timeout: short, backwards: true},
		{name: "8 calls, time-outs beyond the overlap", part: 10, days: 5, pace: hourly, weather: edges, calls: 8, tabs: 1, timeout: long},
		{name: "8 calls, storm, lost commits", part: 10, days: 5, pace: hourly, weather: storm, calls: 8, tabs: 1, timeout: short, losses: .01},
		{name: "one call, time-outs beyond the overlap", part: 10, days: 5, pace: hourly, weather: edges, calls: 1, tabs: 1, timeout: long},
		{name: "requests delivered after 20 minutes", part: 10, days: 5, pace: hourly, weather: slower, calls: 1, tabs: 1, timeout: whole},
		{name: "overlap 10 s under late 300 s, busy", part: 10, days: 1, pace: busy, weather: storm, calls: 1, tabs: 1, timeout: span{time.Second, 10 * time.Second}, policy: narrow},
		{name: "strict, one call, fair network", part: 10, days: 60, pace: hourly, weather: fair, calls: 1, tabs: 1, timeout: short, policy: strict},
	}
}
