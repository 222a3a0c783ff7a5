// Command figures measures the house from outside and prints the table of
// docs/reference/performance.md: every server is started on a free port of this
// machine, in one run and in turns, so that a busy machine meets all of them
// alike, and each goal is a ratio or a bound that is printed as met or missed.
//
// scripts/bench builds what it needs and calls it:
//
//	scripts/bench [-quick] [-rounds N] [-million] [-o FILE] [-profile DIR]
//	scripts/bench -postgres [-millions N]  the same on PostgreSQL
//	scripts/bench -from FILE,FILE,FILE     the table of earlier runs together
//
// Exit codes: 0 measured (a missed goal is in the table), 1 not measured.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// plan is the command line.
type plan struct {
	bin, out, from, profile, agree string
	quick, million, markdown       bool
	postgres                       bool
	millions                       float64
	settings                       string
	rounds                         int
	window, warm                   time.Duration
	dir                            string
}

func main() {
	var p plan
	flag.StringVar(&p.bin, "bin", "bin", "directory with the programs holdfast, load, floor and seed")
	flag.BoolVar(&p.quick, "quick", false, "one short round: enough to see that it works, not to compare")
	flag.IntVar(&p.rounds, "rounds", 3, "how often everything is measured; the table has the medians")
	flag.BoolVar(&p.million, "million", false, "also seed a million sessions and start with them, which takes minutes")
	flag.BoolVar(&p.postgres, "postgres", false, "measure on a PostgreSQL of its own instead of the embedded database")
	flag.Float64Var(&p.millions, "millions", 0, "with -postgres: also compare so many million sessions with ten thousand, and measure their bytes")
	flag.StringVar(&p.settings, "settings", "", "with -postgres: further settings of the database server, name=value, comma separated")
	flag.StringVar(&p.out, "o", "", "write what was measured to this file")
	flag.StringVar(&p.from, "from", "", "measure nothing: print the table of these files, comma separated")
	flag.BoolVar(&p.markdown, "markdown", false, "print the table in Markdown")
	flag.StringVar(&p.profile, "profile", "", "write CPU profiles of the refresh path and of its floor to this directory")
	flag.StringVar(&p.agree, "agree", "", "only compare our load generator with another program that has the same flags")
	flag.Parse()
	err := p.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func (p *plan) run() error {
	if p.from != "" {
		r, err := read(strings.Split(p.from, ","))
		if err != nil {
			return err
		}
		return print(os.Stdout, r, p.markdown)
	}
	p.window, p.warm = 2*time.Second, 500*time.Millisecond
	if p.quick {
		p.rounds, p.window, p.warm = 1, 800*time.Millisecond, 200*time.Millisecond
	}
	var err error
	p.dir, err = os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(p.dir)
	if p.agree != "" {
		return p.compare()
	}
	measure := p.measure
	if p.postgres {
		measure = p.measurePostgres
	}
	r, err := measure()
	if err != nil {
		return err
	}
	if p.out != "" {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		err = os.WriteFile(p.out, append(text, '\n'), 0o644)
		if err != nil {
			return err
		}
	}
	return print(os.Stdout, r, p.markdown)
}

// read puts the records of several runs together.
func read(files []string) (record, error) {
	var all record
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return all, err
		}
		var r record
		err = json.Unmarshal(text, &r)
		if err != nil {
			return all, fmt.Errorf("%s: %w", f, err)
		}
		all.add(r)
	}
	return all, nil
}

// program is the path of one of ours.
func (p *plan) program(name string) string { return filepath.Join(p.bin, name) }

// say tells who waits what is going on.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
