package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"holdfast.example/bench/drive"
)

// tolerated is how far two load generators may be apart on one server.
const tolerated = 0.10

// Both measure each server so often, one right after the other, in windows so
// long: the neighbours on a machine come and go in seconds, so many short pairs
// say more than a few long ones.
const (
	agreePairs  = 21
	agreeWindow = time.Second
)

// figure is one thing that two load generators must see alike: what each saw,
// pair by pair.
type figure struct {
	name         string
	ours, theirs []float64
}

// ratio is the median over the pairs of ours / theirs.
func (f figure) ratio() float64 {
	var all []float64
	for i := range f.ours {
		all = append(all, f.ours[i]/f.theirs[i])
	}
	return middle(all)
}

func (f figure) apart() bool { return math.Abs(f.ratio()-1) > tolerated }

// compare has our load generator and another one measure the same servers in
// turns, and fails when they see further apart than is tolerated.
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
			if f.apart() {
				verdict = "APART"
				apart = errors.Join(apart, fmt.Errorf("%s of %s: the ratio is %.2f", f.name, s.name, f.ratio()))
			}
			lines = append(lines, []string{s.name, f.name, short(middle(f.ours)), short(middle(f.theirs)), short(f.ratio()), verdict})
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
	flags := append(phoneFlags(s), "-scenario", drive.Refresh, "-c", "16", "-tokens", s.devices, "-save", s.devices,
		"-d", agreeWindow.String(), "-warm", p.warm.String())
	for pair := range agreePairs {
		for turn := range 2 {
			if (pair+turn)%2 == 0 {
				got, err := p.measured(s, append(slices.Clone(flags), "-bare"))
				if err != nil {
					return nil, err
				}
				if got.Errors+got.Dead > 0 {
					return nil, fmt.Errorf("%s", got)
				}
				speed.ours, cpu.ours = append(speed.ours, got.PerSecond), append(cpu.ours, got.CPU)
				continue
			}
			perSecond, perOp, err := p.other(s, flags)
			if err != nil {
				return nil, err
			}
			speed.theirs, cpu.theirs = append(speed.theirs, perSecond), append(cpu.theirs, perOp)
		}
		say("  %s: ours %.0f/s and %.3f CPU-ms/op, the other's %.0f/s and %.3f", s.name,
			speed.ours[pair], cpu.ours[pair], speed.theirs[pair], cpu.theirs[pair])
	}
	return []figure{speed, cpu}, nil
}

// other runs the other program: `run` and then the flags that both share. It
// appends its result to a file.
func (p *plan) other(s *server, flags []string) (perSecond, cpu float64, err error) {
	file := filepath.Join(p.dir, "other.json")
	err = os.Remove(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	args := append([]string{"run"}, flags...)
	out, err := exec.Command(p.agree, append(args, "-pid", strconv.Itoa(s.pid()), "-json", file)...).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	var got struct {
		OpsPerSec, CPUms float64
		Errors, Dead     int64
	}
	err = json.Unmarshal(text, &got)
	if err == nil && got.Errors+got.Dead > 0 {
		err = fmt.Errorf("the other load generator met errors: %s", out)
	}
	return got.OpsPerSec, got.CPUms, err
}
