package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"holdfast.example/bench/drive"
)

// tolerated is how far two load generators may be apart on one server.
const tolerated = 0.10

// agreeRounds is how often both measure each server: medians of fewer windows
// move by more than what is tolerated.
const agreeRounds = 9

// figure is one thing that two load generators must see alike.
type figure struct {
	name         string
	ours, theirs []float64
}

func (f figure) apart() float64 { return math.Abs(middle(f.ours)/middle(f.theirs) - 1) }

// compare has our load generator and another one measure the same servers in
// turns, and fails when their medians are further apart than is tolerated.
func (p *plan) compare() error {
	ours, _, err := p.startHouse("house")
	if err != nil {
		return err
	}
	defer func() { _ = ours.stop() }()
	err = p.furnish(ours)
	if err != nil {
		return err
	}
	floor, err := p.startFloor(row, "row")
	if err != nil {
		return err
	}
	defer func() { _ = floor.stop() }()
	lines := [][]string{{"server", "figure", "ours", "the other's", "ratio", ""}}
	var apart error
	for _, s := range []*server{ours, floor} {
		all, err := p.both(s)
		if err != nil {
			return err
		}
		for _, f := range all {
			verdict := "agree"
			if f.apart() > tolerated {
				verdict = "APART"
				apart = errors.Join(apart, fmt.Errorf("%s of %s differ by %.0f %%", f.name, s.name, 100*f.apart()))
			}
			lines = append(lines, []string{s.name, f.name, short(middle(f.ours)), short(middle(f.theirs)), short(middle(f.ours) / middle(f.theirs)), verdict})
		}
	}
	return errors.Join(grid(os.Stdout, p.markdown, lines), apart)
}

// both measures one server with both, each in turn the first, on the same
// devices.
func (p *plan) both(s *server) ([]figure, error) {
	err := p.signIn(s, s.devices, append(phoneFlags(s), "-bare"))
	if err != nil {
		return nil, err
	}
	speed, cpu := figure{name: "refreshes/s at 16 connections"}, figure{name: "CPU ms/op"}
	errs := figure{name: "errors"}
	for round := range agreeRounds {
		flags := append(phoneFlags(s), "-scenario", drive.Refresh, "-c", "16", "-tokens", s.devices, "-save", s.devices,
			"-d", p.window.String(), "-warm", p.warm.String())
		for turn := range 2 {
			var perSecond, perOp float64
			var bad int64
			if (round+turn)%2 == 0 {
				got, err := p.measured(s, append(flags, "-bare"))
				if err != nil {
					return nil, err
				}
				perSecond, perOp, bad = got.PerSecond, got.CPU, got.Errors
				speed.ours, cpu.ours, errs.ours = append(speed.ours, perSecond), append(cpu.ours, perOp), append(errs.ours, float64(bad))
			} else {
				perSecond, perOp, bad, err = p.other(s, flags)
				if err != nil {
					return nil, err
				}
				speed.theirs, cpu.theirs, errs.theirs = append(speed.theirs, perSecond), append(cpu.theirs, perOp), append(errs.theirs, float64(bad))
			}
			say("  %s: %.0f/s, %.3f CPU-ms/op, %d errors", s.name, perSecond, perOp, bad)
		}
	}
	if middle(errs.ours)+middle(errs.theirs) > 0 {
		return []figure{speed, cpu, errs}, nil
	}
	return []figure{speed, cpu}, nil
}

// other runs the other program: `run` and then the flags that both share. It
// appends its result to a file.
func (p *plan) other(s *server, flags []string) (perSecond, cpu float64, bad int64, err error) {
	file := filepath.Join(p.dir, "other.json")
	err = os.Remove(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, 0, err
	}
	out, err := exec.Command(p.agree, append(append([]string{"run"}, flags...), "-pid", strconv.Itoa(s.pid()), "-json", file)...).CombinedOutput()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, 0, err
	}
	var got struct {
		OpsPerSec, CPUms float64
		Errors, Dead     int64
	}
	err = json.Unmarshal(text, &got)
	return got.OpsPerSec, got.CPUms, got.Errors + got.Dead, err
}
