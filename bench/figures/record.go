package main

import (
	"bufio"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"holdfast.example/bench/drive"
)

// The servers of a run.
const (
	house = "holdfast"
	sign  = "floor (a)"
	row   = "floor (b)"

	// On PostgreSQL. The CPU of all of them includes the database's.
	onPostgres = "holdfast, PostgreSQL"
	twoNodes   = "two nodes of it"
	web        = "floor (c)"
	direct     = "floor (d)"
)

// record is everything that was measured, before any median.
type record struct {
	Machine machine   `json:"machine"`
	Began   time.Time `json:"began"`
	Runs    int       `json:"runs"`
	Samples []sample  `json:"samples"`
	// Facts are single figures by name, one for each time they were taken.
	Facts map[string][]float64 `json:"facts"`
}

// sample is one window of one server.
type sample struct {
	Server string       `json:"server"`
	Round  int          `json:"round"`
	Result drive.Result `json:"result"`
}

// machine is where it was measured.
type machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Linux string `json:"linux"`
	Go    string `json:"go"`
	// Load is the load average before and after.
	Load []string `json:"load"`
}

// The names of facts. Units: MiB, ms, per second.
const (
	firstStart   = "first start to first 200, keys are made"
	coldStart    = "cold start to first 200"
	idleRSS      = "idle RSS"
	idlePSS      = "idle PSS"
	hashRate     = "argon2id alone, all cores"
	mixedSignIns = "sign-ins while refreshes run"
	mixedRatio   = "sign-ins / argon2id alone"
	quietP99     = "refresh p99 at a fixed rate, alone"
	mixedP99     = "refresh p99 at that rate, while sign-ins run"
	mixedSlower  = "refresh p99 while sign-ins run / alone"
	hashSlower   = "  the same beside the bare hash and no sign-ins"
	floorSlower  = "  floor (b) p99 beside the bare hash / alone"
	mixedErrors  = "errors of both"
	programSize  = "program"
	millionFile  = "a million sessions in the file"
	millionAll   = "the file with them and 500,000 accounts"
	millionStart = "cold start to first 200 with a million sessions"
	millionRSS   = "RSS 1 s after start with a million sessions"
)

func (r *record) fact(name string, v float64) {
	if r.Facts == nil {
		r.Facts = map[string][]float64{}
	}
	r.Facts[name] = append(r.Facts[name], v)
}

// add joins the record of a later run. Rounds stay apart.
func (r *record) add(later record) {
	if r.Runs == 0 {
		r.Machine, r.Began = later.Machine, later.Began
	} else {
		r.Machine.Load = append(r.Machine.Load, later.Machine.Load...)
	}
	r.Runs += later.Runs
	next := 0
	for _, s := range r.Samples {
		next = max(next, s.Round+1)
	}
	for _, s := range later.Samples {
		s.Round += next
		r.Samples = append(r.Samples, s)
	}
	for name, values := range later.Facts {
		for _, v := range values {
			r.fact(name, v)
		}
	}
}

// of lists the samples of one cell of the table, by round.
func (r *record) of(server, scenario string, connections int) map[int]drive.Result {
	found := map[int]drive.Result{}
	for _, s := range r.Samples {
		if s.Server == server && s.Result.Scenario == scenario && s.Result.Connections == connections {
			found[s.Round] = s.Result
		}
	}
	return found
}

// median of what get takes from each sample of a cell; ok is false without any.
func (r *record) median(server, scenario string, connections int, get func(drive.Result) float64) (v float64, ok bool) {
	var all []float64
	for _, one := range r.of(server, scenario, connections) {
		all = append(all, get(one))
	}
	return middle(all), len(all) > 0
}

// ratio is the median over the rounds of ours / theirs within a round.
func (r *record) ratio(theirs string, connections int, get func(drive.Result) float64) (v float64, ok bool) {
	return r.between(house, theirs, connections, get)
}

func (r *record) between(ours, theirs string, connections int, get func(drive.Result) float64) (v float64, ok bool) {
	var all []float64
	floor := r.of(theirs, drive.Refresh, connections)
	for round, one := range r.of(ours, drive.Refresh, connections) {
		if below := get(floor[round]); below > 0 {
			all = append(all, get(one)/below)
		}
	}
	return middle(all), len(all) > 0
}

// middle is the median, 0 of nothing.
func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ":")
			if strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Linux = strings.TrimSpace(string(b))
	}
	return m
}

// loadAverage is that of the last minute, "" where nobody tells.
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
