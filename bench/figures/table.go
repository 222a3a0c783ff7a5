package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"holdfast.example/bench/drive"
)

// print writes the tables of a record: what was measured, and the goals.
func print(w io.Writer, r record, markdown bool) error {
	_, err := fmt.Fprintf(w, "\n%s, %d cores, Linux %s, %s; %s; %d run(s), load average %s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Linux, r.Machine.Go,
		r.Began.Format("2006-01-02 15:04 UTC"), r.Runs, strings.Join(r.Machine.Load, ", "))
	if err != nil {
		return err
	}
	err = grid(w, markdown, r.cells())
	if err != nil {
		return err
	}
	lines := [][]string{{"goal", "value", "bound", ""}}
	for _, g := range r.goals() {
		lines = append(lines, []string{g.what, strings.TrimSpace(short(g.value) + " " + g.unit), g.limit(), g.verdict()})
	}
	_, err = fmt.Fprintln(w)
	if err != nil {
		return err
	}
	return grid(w, markdown, lines)
}

// cells are the medians, a line for each server, scenario and load.
func (r *record) cells() [][]string {
	lines := [][]string{{"server", "operation", "conns", "ops/s", "p50 ms", "p99 ms", "CPU ms/op", "of it database", "client ms/op", "errors", "dead", "rotated"}}
	for _, scenario := range []string{drive.Refresh, drive.ClientCredentials, drive.Password, drive.Introspect} {
		for _, c := range connections {
			for _, server := range []string{house, sign, row, onPostgres, twoNodes, web, direct} {
				line := r.cell(server, scenario, c)
				if line != nil {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}

func (r *record) cell(server, scenario string, c int) []string {
	line := []string{server, scenario, fmt.Sprint(c)}
	for _, get := range []func(drive.Result) float64{
		func(d drive.Result) float64 { return d.PerSecond }, func(d drive.Result) float64 { return d.P50 },
		func(d drive.Result) float64 { return d.P99 }, func(d drive.Result) float64 { return d.CPU },
		func(d drive.Result) float64 { return d.Apart }, func(d drive.Result) float64 { return d.OwnCPU },
	} {
		v, ok := r.median(server, scenario, c, get)
		if !ok {
			return nil
		}
		line = append(line, short(v))
	}
	var errors, dead, rotated, all int64
	for _, one := range r.of(server, scenario, c) {
		errors += one.Errors
		dead = max(dead, one.Dead)
		rotated += one.Rotated
		all += one.Operations
	}
	share := ""
	if scenario == drive.Refresh {
		share = fmt.Sprintf("%.1f %%", 100*float64(rotated)/float64(max(all, 1)))
	}
	return append(line, fmt.Sprint(errors), fmt.Sprint(dead), share)
}

// short writes a figure with three digits that mean something.
func short(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// grid writes lines as aligned text or as a Markdown table. The first is the
// heading.
func grid(w io.Writer, markdown bool, lines [][]string) error {
	if !markdown {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, line := range lines {
			_, err := fmt.Fprintln(t, strings.Join(line, "\t"))
			if err != nil {
				return err
			}
		}
		return t.Flush()
	}
	for i, line := range lines {
		_, err := fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		if err == nil && i == 0 {
			_, err = fmt.Fprintln(w, strings.Repeat("|---", len(line))+"|")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
