package session_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
)

// worldDays is how many device-days the environment asks the world to live;
// 0 for the normal run. HOLDFAST_WORLD_SEED chooses another past.
func worldDays() int { return environment("HOLDFAST_WORLD_DAYS") }

func environment(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

// normalDays is what a normal run lives: under a minute with the race detector.
const normalDays = 24_000

// tally is what a class of devices or thieves came to.
type tally struct {
	days    float64
	rows    [10]int
	stuck   int   // requests with the stored token that earned 503
	broken  error // an invariant of one decision
	over    map[fault.Reason]int
	thieves int
	found   int
	steps   []int // refreshes until a thief was found, after both had used the token
}

func (c *tally) add(o *tally) {
	c.days += o.days
	for i := range c.rows {
		c.rows[i] += o.rows[i]
	}
	c.stuck += o.stuck
	c.broken = errors.Join(c.broken, o.broken)
	for why, n := range o.over {
		c.over[why] += n
	}
	c.thieves += o.thieves
	c.found += o.found
	c.steps = append(c.steps, o.steps...)
}

func (c *tally) requests() (n int) {
	for _, r := range c.rows {
		n += r
	}
	return n
}

func (c *tally) signedOut() (n int) {
	for _, k := range c.over {
		n += k
	}
	return n
}

// runDevice lives one device's days. A device that is signed out signs in again.
func runDevice(p *plan, seed uint64, count *tally) {
	for left := time.Duration(p.days) * day; left > 0; seed += 1 << 48 {
		d := newDevice(p, seed, count)
		d.run(left, func() bool { return d.over != "" })
		count.days += d.now.Hours() / 24
		if d.over == "" {
			return
		}
		count.over[d.over]++
		left -= d.now
	}
}

// live runs n lives of one class on all processors and adds them up.
func live(n int, run func(seed uint64, count *tally)) *tally {
	sum := &tally{over: map[fault.Reason]int{}}
	from := uint64(environment("HOLDFAST_WORLD_SEED")) << 32
	workers := uint64(runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	var mu sync.Mutex
	for w := range workers {
		wg.Go(func() {
			part := &tally{over: map[fault.Reason]int{}}
			for i := w; i < uint64(n); i += workers {
				run(from+i, part)
			}
			mu.Lock()
			defer mu.Unlock()
			sum.add(part)
		})
	}
	wg.Wait()
	return sum
}

// The world: honest devices are never signed out, and thieves who go on are
// always found. The table it prints is the one of docs/reference/chain.md.
func TestWorld(t *testing.T) {
	days := max(worldDays(), 0)
	if days == 0 {
		days = normalDays
	}
	if testing.Short() {
		days /= 10
	}
	var table strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&table, format+"\n", args...) }
	var all tally
	all.over = map[fault.Reason]int{}
	classes := func(title string, plans []*plan, days int, must bool) {
		line("\n%-40s %12s %12s %10s %14s", title, "device-days", "requests", "signed out", "per 10,000 d")
		for _, p := range plans {
			c := live(max(days*p.part/100/p.days, 4), func(seed uint64, count *tally) { runDevice(p, seed, count) })
			line("%-40s %12.0f %12d %10d %14.2f  %s", p.name, c.days, c.requests(), c.signedOut(), float64(c.signedOut())/c.days*1e4, reasons(c.over))
			all.add(c)
			if c.broken != nil {
				t.Errorf("%s: %v", p.name, c.broken)
			}
			if must && (c.signedOut() > 0 || c.stuck > 0) {
				t.Errorf("%s: %d honest devices were signed out, %d requests stuck: %v", p.name, c.signedOut(), c.stuck, c.over)
			}
		}
	}
	classes("honest devices", honest(), days, true)
	line("%-40s %12.0f %12d %10d", "all of them", all.days, all.requests(), all.signedOut())
	rows := all.rows
	classes("outside the model", outside(), days/20, false)
	line("\n%-44s %8s %8s %12s %6s %5s", "thieves", "thieves", "found", "undetected", "mean", "p99")
	for _, s := range schemes() {
		thieves := days / 100
		if s.limit {
			thieves /= 3 // they live long
		}
		c := live(max(thieves, 20), func(seed uint64, count *tally) { runTheft(s, seed, count) })
		mean, p99 := summary(c.steps)
		line("%-44s %8d %8d %10.2f %% %6.2f %5d", s.name, c.thieves, c.found, 100*float64(c.thieves-c.found)/float64(max(c.thieves, 1)), mean, p99)
		if c.broken != nil {
			t.Errorf("%s: %v", s.name, c.broken)
		}
		if !s.limit && c.found < c.thieves || c.thieves == 0 {
			t.Errorf("%s: %d of %d thieves were found", s.name, c.found, c.thieves)
		}
	}
	line("\nhonest requests by row of the table:")
	for r, n := range rows[1:] {
		line("  row %d %12d", r+1, n)
	}
	t.Log(table.String())
}

func reasons(over map[fault.Reason]int) string {
	var words []string
	for why, n := range over {
		words = append(words, fmt.Sprintf("%s %d", why, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func summary(steps []int) (mean float64, p99 int) {
	if len(steps) == 0 {
		return 0, 0
	}
	slices.Sort(steps)
	sum := 0
	for _, n := range steps {
		sum += n
	}
	return float64(sum) / float64(len(steps)), steps[(len(steps)*99-1)/100]
}
