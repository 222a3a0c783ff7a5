// Package proctree reads what a process and its descendants use, from Linux's
// /proc: CPU time, resident memory and proportional memory.
package proctree

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Usage is what a process tree has used, and the memory it holds now.
type Usage struct {
	// CPU is user and system time, that of children which have ended included,
	// so it only grows. Linux tells it in ticks of 10 ms.
	CPU time.Duration
	// RSS is resident memory in bytes; pages that processes share count once for
	// each of them. PSS divides those among their holders and is the one to read
	// for a tree.
	RSS, PSS int64
}

// tick is the unit of times in /proc/PID/stat (proc_pid_stat(5)); Linux gives
// user space 100 a second on every platform that Go runs on.
const tick = 10 * time.Millisecond

// Read adds up the trees below some processes. A root that is gone is an error:
// figures of half a server would look good and be wrong.
func Read(roots ...int) (Usage, error) {
	var total Usage
	all, err := processes()
	if err != nil {
		return total, err
	}
	children := map[int][]int{}
	for pid, p := range all {
		children[p.parent] = append(children[p.parent], pid)
	}
	for _, root := range roots {
		if _, there := all[root]; !there {
			return total, fmt.Errorf("proctree: there is no process %d", root)
		}
	}
	seen := map[int]bool{}
	for left := append([]int(nil), roots...); len(left) > 0; {
		pid := left[0]
		left = append(left[1:], children[pid]...)
		if seen[pid] {
			continue
		}
		seen[pid] = true
		total.CPU += all[pid].cpu
		rss, pss := memory(pid)
		total.RSS += rss
		total.PSS += pss
	}
	return total, nil
}

type process struct {
	parent int
	cpu    time.Duration
}

func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("proctree: this needs Linux's /proc: %w", err)
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil { // it ended meanwhile
			continue
		}
		p, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		all[pid] = p
	}
	return all, nil
}

// parseStat reads /proc/PID/stat. The second field is the command in
// parentheses and may hold anything, also a parenthesis, so fields are counted
// from the last one.
func parseStat(text string) (process, error) {
	bad := errors.New("proctree: a line of /proc/PID/stat has another form than expected")
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return process{}, bad
	}
	f := strings.Fields(text[end+1:])
	const parent, utime, cstime = 1, 11, 14 // fields 4, 14 and 17 of the manual
	if len(f) <= cstime {
		return process{}, bad
	}
	var p process
	var err error
	p.parent, err = strconv.Atoi(f[parent])
	if err != nil {
		return process{}, bad
	}
	for _, field := range f[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return process{}, bad
		}
		p.cpu += time.Duration(n) * tick
	}
	return p, nil
}

// memory is 0 for a process that ended meanwhile.
func memory(pid int) (rss, pss int64) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, 0
	}
	return parseRollup(string(text))
}

func parseRollup(text string) (rss, pss int64) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64) // 0 for lines of another kind
		switch f[0] {
		case "Rss:":
			rss = kib << 10
		case "Pss:":
			pss = kib << 10
		}
	}
	return rss, pss
}

// sampleEvery is how often a Sampler looks at memory. Each look makes the kernel
// walk the pages of the measured processes, so it is seldom.
const sampleEvery = time.Second

// Sampler measures over a window: the CPU time used between its ends, and the
// highest memory seen.
type Sampler struct {
	roots []int
	begin time.Duration
	quit  chan struct{}
	done  sync.WaitGroup

	mu   sync.Mutex
	peak Usage
	err  error
}

// Start begins a window.
func Start(roots ...int) (*Sampler, error) {
	s := &Sampler{roots: roots, quit: make(chan struct{})}
	u, err := Read(roots...)
	if err != nil {
		return nil, err
	}
	s.begin, s.peak = u.CPU, u
	s.done.Go(func() {
		t := time.NewTicker(sampleEvery)
		defer t.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-t.C:
				s.look()
			}
		}
	})
	return s, nil
}

func (s *Sampler) look() {
	u, err := Read(s.roots...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	s.peak = Usage{max(s.peak.CPU, u.CPU), max(s.peak.RSS, u.RSS), max(s.peak.PSS, u.PSS)}
}

// Stop ends the window. Call it once.
func (s *Sampler) Stop() (Usage, error) {
	s.look()
	close(s.quit)
	s.done.Wait()
	u := s.peak
	u.CPU -= s.begin
	return u, s.err
}
