package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast.example/bench/drive"
)

// taken is a record of three rounds in which the house needs so much more
// processor than floor (b), and answers so many of floor (a)'s requests.
func taken(cpu, speed float64) record {
	r := record{Runs: 1}
	for round, noise := range []float64{1, 3, 1.1} { // a neighbour wakes up in the second round
		for _, c := range connections {
			at := func(server string, d drive.Result) {
				d.Scenario, d.Connections, d.Operations, d.Rotated = drive.Refresh, c, 100, 100
				r.Samples = append(r.Samples, sample{server, round, d})
			}
			at(house, drive.Result{CPU: cpu * noise, PerSecond: speed / noise, P99: 4})
			at(sign, drive.Result{CPU: .5 * noise, PerSecond: 1 / noise, P99: 1})
			at(row, drive.Result{CPU: noise, PerSecond: .9 / noise, P99: 2})
		}
	}
	r.fact(idleRSS, 20)
	return r
}

func verdicts(r record) map[string]string {
	all := map[string]string{}
	for _, g := range r.goals() {
		all[g.what] = g.verdict()
	}
	return all
}

// Ratios are taken within a round, so that noise which hits all servers alike
// changes no verdict.
func TestGoals(t *testing.T) {
	cpu, speed := "refresh CPU / floor (b) CPU, 16 connections", "refreshes / floor (a) operations, 64 connections"
	good := verdicts(taken(1.4, .6))
	if good[cpu] != "met" || good[speed] != "met" || good["errors among them"] != "met" || good[idleRSS] != "met" {
		t.Errorf("everything is met here: %v", good)
	}
	bad := verdicts(taken(1.6, .4))
	if bad[cpu] != "MISSED" || bad[speed] != "MISSED" || bad["refresh p99, 16 connections"] != "met" {
		t.Errorf("two goals are missed here: %v", bad)
	}
	if _, there := good[millionStart]; there {
		t.Error("a figure that was not taken is among the goals")
	}
	flawed := taken(1, 1)
	flawed.Samples[0].Result.Dead, flawed.Samples[0].Result.Errors, flawed.Samples[0].Result.Rotated = 1, 2, 99
	v := verdicts(flawed)
	if v["devices signed out"] != "MISSED" || v["errors among them"] != "MISSED" || v["share of refreshes that rotated"] != "MISSED" {
		t.Errorf("one flaw is enough: %v", v)
	}
	mixed := taken(1, 1)
	mixed.fact(mixedErrors, 1)
	if verdicts(mixed)["errors among them"] != "MISSED" {
		t.Error("an error beside sign-ins is not counted")
	}
}

// On PostgreSQL the floors are others, and throughput is held against a peer's.
func TestPostgresGoals(t *testing.T) {
	of := func(cpu, speed float64) map[string]string {
		r := record{Runs: 1}
		for _, c := range connections {
			at := func(server string, d drive.Result) {
				d.Scenario, d.Connections, d.Operations, d.Rotated = drive.Refresh, c, 100, 100
				r.Samples = append(r.Samples, sample{server, 0, d})
			}
			at(onPostgres, drive.Result{CPU: cpu, Apart: cpu / 2, PerSecond: speed})
			at(twoNodes, drive.Result{CPU: cpu, PerSecond: 2 * speed})
			at(web, drive.Result{CPU: 1})
			at(direct, drive.Result{CPU: 0.5})
		}
		r.fact(hotShare, 0.5)
		return verdicts(r)
	}
	cpu, speed, hot := "refresh CPU / floor (c) CPU, 16 connections", "refreshes / the fastest peer's 529, 16 connections", hotShare
	if v := of(1.4, 6*529); v[cpu] != "met" || v[speed] != "met" || v[hot] != "MISSED" || v["refresh CPU / floor (d) CPU, 16 connections"] != "MISSED" {
		t.Errorf("%v", v)
	}
	if v := of(1.6, 6*528); v[cpu] != "MISSED" || v[speed] != "MISSED" || v["devices signed out"] != "met" {
		t.Errorf("%v", v)
	}
}

// Three runs together are one record of all their rounds.
func TestRunsTogether(t *testing.T) {
	var files []string
	for i, cpu := range []float64{1, 2, 1.2} {
		text, err := json.Marshal(taken(cpu, 1))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, filepath.Join(t.TempDir(), "run"))
		err = os.WriteFile(files[i], text, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := read(files)
	if err != nil || all.Runs != 3 || len(all.of(house, drive.Refresh, 16)) != 9 || len(all.Facts[idleRSS]) != 3 {
		t.Fatalf("%d runs, %d rounds, %v", all.Runs, len(all.of(house, drive.Refresh, 16)), err)
	}
	v, _ := all.ratio(row, 16, func(d drive.Result) float64 { return d.CPU })
	if v != 1.2 {
		t.Errorf("the median of nine rounds is %v", v)
	}
	for _, markdown := range []bool{false, true} {
		var b bytes.Buffer
		err = print(&b, all, markdown)
		if err != nil || !strings.Contains(b.String(), "floor (b)") || strings.Contains(b.String(), "|---") != markdown {
			t.Errorf("%s %v", &b, err)
		}
	}
	if _, err := read([]string{filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestMiddle(t *testing.T) {
	for want, all := range map[float64][]float64{0: nil, 2: {9, 2, 1}, 2.5: {9, 3, 2, 1}} {
		if got := middle(all); got != want {
			t.Errorf("the middle of %v is %v", all, got)
		}
	}
}
