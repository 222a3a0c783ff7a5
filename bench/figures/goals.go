package main

import (
	"fmt"

	"holdfast.example/bench/drive"
)

// goal is one line of what was promised. A goal without a bound is for
// information: it explains another.
type goal struct {
	what  string
	value float64
	unit  string
	// bound is the least or, with most, the greatest value that meets the goal.
	bound   float64
	most    bool
	bounded bool
}

func atMost(what string, v float64, unit string, bound float64) goal {
	return goal{what, v, unit, bound, true, true}
}

func atLeast(what string, v float64, unit string, bound float64) goal {
	return goal{what, v, unit, bound, false, true}
}

func justSo(what string, v float64, unit string) goal {
	return goal{what: what, value: v, unit: unit}
}

func (g goal) met() bool {
	if g.most {
		return g.value <= g.bound
	}
	return g.value >= g.bound
}

// verdict is "", "met" or "MISSED".
func (g goal) verdict() string {
	switch {
	case !g.bounded:
		return ""
	case g.met():
		return "met"
	}
	return "MISSED"
}

func (g goal) limit() string {
	switch {
	case !g.bounded:
		return ""
	case g.most:
		return fmt.Sprintf("<= %g %s", g.bound, g.unit)
	}
	return fmt.Sprintf(">= %g %s", g.bound, g.unit)
}

// goals holds a record to what was promised. Figures that were not taken are
// left out.
func (r *record) goals() []goal {
	var all []goal
	cpu := func(d drive.Result) float64 { return d.CPU }
	speed := func(d drive.Result) float64 { return d.PerSecond }
	p99 := func(d drive.Result) float64 { return d.P99 }
	for _, c := range connections {
		if v, ok := r.ratio(row, c, cpu); ok {
			what := fmt.Sprintf("refresh CPU / floor (b) CPU, %d connections", c)
			all = append(all, if1(c, justSo(what, v, "x"), atMost(what, v, "x", 1.5)))
		}
	}
	for _, c := range connections {
		if v, ok := r.ratio(sign, c, speed); ok {
			what := fmt.Sprintf("refreshes / floor (a) operations, %d connections", c)
			all = append(all, if1(c, justSo(what, v, "x"), atLeast(what, v, "x", 0.5)))
		}
	}
	for _, b := range []struct {
		connections int
		ms          float64
	}{{16, 10}, {64, 25}} {
		if v, ok := r.median(house, drive.Refresh, b.connections, p99); ok {
			all = append(all, atMost(fmt.Sprintf("refresh p99, %d connections", b.connections), v, "ms", b.ms))
		}
		if v, ok := r.median(row, drive.Refresh, b.connections, p99); ok {
			all = append(all, justSo(fmt.Sprintf("  floor (b) p99, %d connections", b.connections), v, "ms"))
		}
	}
	all = append(all, r.postgresGoals()...)
	all = append(all, r.flawless()...)
	all = append(all, r.facts()...)
	return all
}

// if1 picks the first for one connection, where a lone caller waits for the disk
// and a ratio says more about the disk than about us.
func if1(connections int, alone, many goal) goal {
	if connections == 1 {
		return alone
	}
	return many
}

// flawless adds up what must not happen.
func (r *record) flawless() []goal {
	var errors, dead, operations, rotated, refreshes int64
	for _, s := range r.Samples {
		if s.Server != house && s.Server != onPostgres && s.Server != twoNodes {
			continue
		}
		errors += s.Result.Errors
		operations += s.Result.Operations
		if s.Result.Scenario == drive.Refresh {
			dead = max(dead, s.Result.Dead)
			rotated += s.Result.Rotated
			refreshes += s.Result.Operations
		}
	}
	if operations == 0 {
		return nil
	}
	for _, n := range r.Facts[mixedErrors] {
		errors += int64(n)
	}
	return []goal{
		justSo("operations of the house", float64(operations), ""),
		atMost("errors among them", float64(errors), "", 0),
		atMost("devices signed out", float64(dead), "", 0),
		atLeast("share of refreshes that rotated", float64(rotated)/float64(max(refreshes, 1)), "", 1),
	}
}

// facts are the goals that rest on single figures.
func (r *record) facts() []goal {
	var all []goal
	for _, f := range []struct {
		name, unit string
		make       func(what string, v float64, unit string, bound float64) goal
		bound      float64
	}{
		{hashRate, "/s", nil, 0},
		{mixedSignIns, "/s", nil, 0},
		{mixedRatio, "x", atLeast, 0.8},
		{quietP99, "ms", nil, 0},
		{mixedP99, "ms", nil, 0},
		{mixedSlower, "x", atMost, 2},
		{hashSlower, "x", nil, 0},
		{floorSlower, "x", nil, 0},
		{idleRSS, "MiB", atMost, 30},
		{idlePSS, "MiB", nil, 0},
		{firstStart, "ms", nil, 0},
		{coldStart, "ms", atMost, 50},
		{programSize, "MiB", nil, 0},
		{millionFile, "MB", atMost, 200},
		{millionAll, "MB", nil, 0},
		{millionStart, "ms", atMost, 150},
		{millionRSS, "MiB", nil, 0},
		{walHot, "bytes", nil, 0},
		{walCold, "bytes", nil, 0},
		{walSyncs, "", nil, 0},
		{commits, "", nil, 0},
		{hotShare, "", atLeast, 0.99},
		{idleCPU, "ms/s", nil, 0},
		{deviceBytes, "bytes", nil, 0},
		{deviceTable, "bytes", nil, 0},
		{accountBytes, "bytes", nil, 0},
		{scaleCPU, "x", nil, 0},
		{scaleP99, "x", atMost, 1.2},
	} {
		values := r.Facts[f.name]
		switch {
		case len(values) == 0:
		case f.make == nil:
			all = append(all, justSo(f.name, middle(values), f.unit))
		default:
			all = append(all, f.make(f.name, middle(values), f.unit, f.bound))
		}
	}
	return all
}
