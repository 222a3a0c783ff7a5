package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.example/bench/drive"
	"holdfast.example/bench/proctree"
)

// connections are the loads that everything is measured under.
var connections = []int{1, 16, 64}

// measure is one run: everything, in turns, so many rounds.
func (p *plan) measure() (r record, err error) {
	r = record{Machine: thisMachine(), Began: time.Now().UTC().Truncate(time.Second), Runs: 1}
	r.Machine.Load = []string{loadAverage()}
	say("starting the servers in %s", p.dir)
	err = p.starts(&r)
	if err != nil {
		return r, err
	}
	ours, _, err := p.startHouse("house")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, ours.stop()) }()
	a, err := p.startFloor(sign, "sign")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	b, err := p.startFloor(row, "row")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()

	all := []*server{ours, a, b}
	for _, s := range all {
		err = p.signIn(s, s.devices, phoneFlags(s))
		if err != nil {
			return r, err
		}
	}
	for round := range p.rounds {
		say("round %d of %d", round+1, p.rounds)
		err = p.round(&r, round, all)
		if err != nil {
			return r, err
		}
	}
	if p.profile != "" {
		err = p.profiles(ours, b)
	}
	r.Machine.Load = append(r.Machine.Load, loadAverage())
	return r, err
}

// round measures every cell of the table once. Who goes first changes.
func (p *plan) round(r *record, round int, all []*server) error {
	for _, c := range connections {
		for i := range all {
			s := all[(i+round)%len(all)]
			err := p.sample(r, s, round, append(phoneFlags(s), "-scenario", drive.Refresh, "-c", strconv.Itoa(c), "-tokens", s.devices, "-save", s.devices))
			if err != nil {
				return err
			}
		}
	}
	ours := all[0]
	asked := ours.devices + ".api"
	err := p.signIn(ours, asked, apiFlags(ours)) // anew in each round: access tokens expire
	if err != nil {
		return err
	}
	for _, c := range connections {
		for _, flags := range [][]string{
			append(apiFlags(ours), "-scenario", drive.ClientCredentials, "-scope", "read"),
			append(phoneFlags(ours), "-scenario", drive.Password),
			append(apiFlags(ours), "-scenario", drive.Introspect, "-access", "-tokens", asked),
		} {
			err := p.sample(r, ours, round, append(flags, "-c", strconv.Itoa(c)))
			if err != nil {
				return err
			}
		}
	}
	return errors.Join(p.mixed(r, ours), p.besideHash(r, ours, hashSlower), p.besideHash(r, all[len(all)-1], floorSlower))
}

// phoneFlags and apiFlags are load's flags for a client at a server.
func phoneFlags(s *server) []string {
	return []string{"-token-url", s.base + "/oauth2/token", "-client-id", phone,
		"-user", "user%d", "-users", strconv.Itoa(users), "-pass", password}
}

func apiFlags(s *server) []string {
	return []string{"-token-url", s.base + "/oauth2/token", "-introspect-url", s.base + "/oauth2/introspect",
		"-client-id", api, "-client-secret", apiSecret, "-auth", "basic",
		"-user", "user%d", "-users", strconv.Itoa(users), "-pass", password}
}

// signIn fills a file with devices.
func (p *plan) signIn(s *server, file string, flags []string) error {
	_, err := p.load(append(flags, "-seed", strconv.Itoa(devices), "-seed-par", "8", "-d", "0", "-save", file))
	return err
}

// sample measures one window and keeps it.
func (p *plan) sample(r *record, s *server, round int, flags []string) error {
	got, err := p.measured(s, append(flags, "-d", p.window.String(), "-warm", p.warm.String()))
	if err != nil {
		return err
	}
	say("  %s", got)
	r.Samples = append(r.Samples, sample{s.name, round, got})
	return nil
}

func (p *plan) measured(s *server, flags []string) (drive.Result, error) {
	var got drive.Result
	out, err := p.load(append(flags, "-name", s.name, "-pid", pids(slices.Concat([]int{s.pid()}, s.also, s.apart)), "-apart", pids(s.apart), "-json"))
	if err == nil {
		err = json.Unmarshal(out, &got)
	}
	return got, err
}

// pids lists processes as load's flags have them.
func pids(all []int) string {
	text := make([]string, len(all))
	for i, pid := range all {
		text[i] = strconv.Itoa(pid)
	}
	return strings.Join(text, ",")
}

func (p *plan) load(flags []string) ([]byte, error) {
	var complaint strings.Builder
	c := exec.Command(p.program("load"), flags...)
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w: %s", strings.Join(flags, " "), err, complaint.String())
	}
	return out, nil
}

// The load of mixed.
const (
	mixedRate    = 200 // refreshes a second
	mixedDevices = 16  // connections of each kind
)

// mixed measures what sign-ins and refreshes do to each other: the bare hash on
// all cores, refreshes at a fixed rate, and then sign-ins as fast as they go
// beside refreshes at that rate.
func (p *plan) mixed(r *record, s *server) error {
	length := p.mixedLength()
	refreshes := p.steady(s)
	signIns := append(phoneFlags(s), "-scenario", drive.Password, "-c", strconv.Itoa(mixedDevices), "-warm", p.warm.String(), "-d", length.String())

	out, err := exec.Command("nice", "-n", strconv.Itoa(hashNice), p.program("floor"), "hash", "-d", length.String()).Output()
	if err != nil {
		return err
	}
	bare, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return err
	}
	alone, err := p.measured(s, refreshes)
	if err != nil {
		return err
	}
	type answer struct {
		drive.Result
		err error
	}
	meanwhile := make(chan answer, 1)
	go func() {
		got, err := p.measured(s, signIns)
		meanwhile <- answer{got, err}
	}()
	together, err := p.measured(s, refreshes)
	in := <-meanwhile
	if err = errors.Join(err, in.err); err != nil {
		return err
	}
	say("  argon2id alone %.1f/s, sign-ins %.1f/s beside %d refreshes/s, refresh p99 %.2f ms alone and %.2f ms then",
		bare, in.PerSecond, mixedRate, alone.P99, together.P99)
	r.fact(hashRate, bare)
	r.fact(mixedSignIns, in.PerSecond)
	r.fact(mixedRatio, in.PerSecond/bare)
	r.fact(quietP99, alone.P99)
	r.fact(mixedP99, together.P99)
	r.fact(mixedSlower, together.P99/alone.P99)
	r.fact(mixedErrors, float64(alone.Errors+together.Errors+in.Errors+together.Dead))
	return nil
}

// mixedLength is how long each part of mixed is.
func (p *plan) mixedLength() time.Duration { return max(p.window*3/2, time.Second) }

// steady are the flags of refreshes at the fixed rate.
func (p *plan) steady(s *server) []string {
	return append(phoneFlags(s), "-scenario", drive.Refresh, "-c", strconv.Itoa(mixedDevices), "-rate", strconv.Itoa(mixedRate),
		"-tokens", s.devices, "-save", s.devices, "-warm", p.warm.String(), "-d", p.mixedLength().String())
}

// besideHash measures what the bare hash on all cores does to a server's refreshes
// at the fixed rate: nobody signs in, so what it costs is the machine's.
func (p *plan) besideHash(r *record, s *server, name string) error {
	alone, err := p.measured(s, p.steady(s))
	if err != nil {
		return err
	}
	hash := exec.Command("nice", "-n", strconv.Itoa(hashNice), p.program("floor"), "hash", "-d", (p.mixedLength() + p.warm + time.Second).String())
	err = hash.Start()
	if err != nil {
		return err
	}
	beside, err := p.measured(s, p.steady(s))
	if err = errors.Join(err, hash.Process.Kill()); err != nil {
		return err
	}
	_ = hash.Wait() // it was killed
	say("  %s beside the bare hash: refresh p99 %.2f ms alone and %.2f ms then", s.name, alone.P99, beside.P99)
	r.fact(name, beside.P99/alone.P99)
	return nil
}

// hashNice is the priority that the server's own hashing runs at: neighbours on
// the machine then weigh on both alike.
const hashNice = 10

// starts measures starts and the memory of an idle server, and leaves a house
// with its clients and users behind.
func (p *plan) starts(r *record) error {
	s, took, err := p.startHouse("house")
	if err != nil {
		return err
	}
	r.fact(firstStart, inMS(took))
	err = errors.Join(p.furnish(s), s.stop())
	if err != nil {
		return err
	}
	info, err := os.Stat(p.program("holdfast"))
	if err != nil {
		return err
	}
	r.fact(programSize, float64(info.Size())/(1<<20))
	for range max(3, p.rounds) {
		err = p.coldStart(r, "house", coldStart, idleRSS, idlePSS)
		if err != nil {
			return err
		}
	}
	if p.million {
		return p.withMillion(r)
	}
	return nil
}

// coldStart starts a house that has run before, and looks at it a second later.
func (p *plan) coldStart(r *record, folder, start, rss, pss string) error {
	s, took, err := p.startHouse(folder)
	if err != nil {
		return err
	}
	r.fact(start, inMS(took))
	time.Sleep(time.Second)
	u, err := proctree.Read(s.pid())
	r.fact(rss, float64(u.RSS)/(1<<20))
	if pss != "" {
		r.fact(pss, float64(u.PSS)/(1<<20))
	}
	return errors.Join(err, s.stop())
}

// withMillion seeds a million sessions into a house and starts it.
func (p *plan) withMillion(r *record) error {
	say("seeding a million sessions")
	s, _, err := p.startHouse("million")
	if err != nil {
		return err
	}
	err = errors.Join(p.furnish(s), s.stop())
	if err != nil {
		return err
	}
	file := filepath.Join(p.dir, "million", "data", "holdfast.db")
	c := exec.Command(p.program("seed"), "-db", file, "-client", phone, "-sessions", "1000000", "-users", "500000")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("a million sessions cannot be seeded: %w", err)
	}
	var before, accounts, all float64
	_, err = fmt.Sscan(string(out), &before, &accounts, &all)
	if err != nil {
		return fmt.Errorf("seed said %q: %w", out, err)
	}
	r.fact(millionFile, (all-accounts)/1e6)
	r.fact(millionAll, all/1e6)
	for range max(3, p.rounds) {
		err = p.coldStart(r, "million", millionStart, millionRSS, "")
		if err != nil {
			return err
		}
	}
	return nil
}

// profiled is how long a CPU profile is.
const profiled = 5 // seconds

// profiles takes a CPU profile of each server while it answers refreshes.
func (p *plan) profiles(servers ...*server) error {
	err := os.MkdirAll(p.profile, 0o755)
	if err != nil {
		return err
	}
	for _, s := range servers {
		done := make(chan error, 1)
		go func() {
			time.Sleep(p.warm)
			done <- fetch(s.metrics+"/debug/pprof/profile?seconds="+strconv.Itoa(profiled), filepath.Join(p.profile, strings.Fields(s.name)[0]+".pprof"))
		}()
		got, err := p.measured(s, append(phoneFlags(s), "-scenario", drive.Refresh, "-c", "16", "-tokens", s.devices, "-save", s.devices,
			"-warm", p.warm.String(), "-d", strconv.Itoa(profiled)+"s"))
		err = errors.Join(err, <-done)
		if err != nil {
			return err
		}
		say("  profiled %s", got)
	}
	return nil
}

func fetch(url, file string) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", url, res.StatusCode, b)
	}
	return os.WriteFile(file, b, 0o644)
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
