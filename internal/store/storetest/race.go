package storetest

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// The race: many present one refresh token at the same moment. Exactly one is
// rotated, all others are repeated, and everybody is told the same generation.
const (
	racers    = 64
	rounds    = 8
	processes = 3
	// tries is how often a racer may lose before it gives up; the second look
	// must already show the winner.
	tries = 3
)

// envRace tells a test binary to be one of the racing processes.
const envRace = "HOLDFAST_STORETEST_RACE"

// Main runs a package's tests, or, in a process that Exercise started, one part
// of the race. Call it from TestMain; open opens the database at a Bundle's
// Address.
func Main(m *testing.M, open func(address string) (b Bundle, closeIt func() error, err error)) {
	Child(open)
	os.Exit(m.Run())
}

// Child is Main for a package that has more to do after its tests: it returns
// unless this is a process that Exercise started.
func Child(open func(address string) (b Bundle, closeIt func() error, err error)) {
	address, ok := os.LookupEnv(envRace)
	if !ok {
		return
	}
	if err := raceProcess(address, open, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// outcome is what one racer was told.
type outcome struct {
	answer session.Answer
	newest session.Generation
	err    error
}

// present is the way of a refresh through a store: load, decide, replace.
func present(ctx context.Context, store session.Store, which id.Session, g session.Generation, round int) outcome {
	pol := session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 24 * time.Hour}
	for range tries {
		l, err := store.Load(ctx, which)
		if err != nil {
			return outcome{err: err}
		}
		// Rounds are an hour apart, so that each begins with a rotation.
		now := l.Now.Add(time.Duration(round) * time.Hour)
		p := session.Presented{Client: l.Session.Client, Generation: g, Genuine: true, IssuedAt: now}
		next, v := l.Session.Refresh(p, l.Standing, pol, now)
		if v.Answer == session.Repeated {
			return outcome{answer: v.Answer, newest: next.Chain.Newest}
		}
		if v.Answer != session.Rotated {
			return outcome{err: fmt.Errorf("answered %v (row %d)", v.Answer, v.Row)}
		}
		next.Version++
		err = store.Replace(ctx, session.Change{Next: next})
		if err == nil {
			return outcome{answer: v.Answer, newest: next.Chain.Newest}
		}
		if !errors.Is(err, session.ErrChanged) {
			return outcome{err: err}
		}
	}
	return outcome{err: fmt.Errorf("lost %d times", tries)}
}

// raceMany presents one generation from n goroutines.
func raceMany(ctx context.Context, store session.Store, which id.Session, g session.Generation, round, n int) []outcome {
	all := make([]outcome, n)
	every(n, func(i int) error {
		all[i] = present(ctx, store, which, g, round)
		return nil
	})
	return all
}

// judge holds the outcomes of one round against the rule.
func judge(t *testing.T, round int, g session.Generation, all []outcome) {
	t.Helper()
	rotated := 0
	for _, o := range all {
		switch {
		case o.err != nil:
			t.Errorf("round %d: %v", round, o.err)
		case o.newest != g+1:
			t.Errorf("round %d: somebody was told generation %d, want %d", round, o.newest, g+1)
		case o.answer == session.Rotated:
			rotated++
		}
	}
	if rotated != 1 {
		t.Errorf("round %d: %d of %d were rotated, want one", round, rotated, len(all))
	}
}

func exerciseRace(t *testing.T, open func(*testing.T) Bundle) {
	t.Run("goroutines", func(t *testing.T) {
		w := begin(t, open)
		s := w.opened(device(w.person()))
		for round := 1; round <= rounds; round++ {
			g := session.Generation(round)
			judge(t, round, g, raceMany(w.ctx, w.Sessions, s.ID, g, round, racers))
		}
		if got := w.load(s.ID).Session; got.Chain.Newest != rounds+1 || got.EndReason != "" {
			t.Errorf("after the race: generation %d, ended %q", got.Chain.Newest, got.EndReason)
		}
	})
	t.Run("processes", func(t *testing.T) {
		w := begin(t, open)
		if w.Address == "" {
			t.Skip("no second process can open this database")
		}
		s := w.opened(device(w.person()))
		var others []*process
		for range processes - 1 {
			others = append(others, startProcess(t, w.Address))
		}
		for round := 1; round <= rounds; round++ {
			g := session.Generation(round)
			for _, p := range others {
				p.ask(t, s.ID, g, round)
			}
			all := raceMany(w.ctx, w.Sessions, s.ID, g, round, racers/processes)
			for _, p := range others {
				all = append(all, p.answers(t)...)
			}
			judge(t, round, g, all)
		}
		for _, p := range others {
			p.stop(t)
		}
		if got := w.load(s.ID).Session; got.Chain.Newest != rounds+1 || got.EndReason != "" {
			t.Errorf("after the race: generation %d, ended %q", got.Chain.Newest, got.EndReason)
		}
	})
}

// process is a second process of the race. It is asked on its standard input,
// one line a round, and answers one line for each racer and an empty one.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startProcess(t *testing.T, address string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(t.Context(), self)}
	p.cmd.Env = append(os.Environ(), envRace+"="+address)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() || p.out.Text() != "ready" {
		t.Fatalf("the other process said %q", p.out.Text())
	}
	return p
}

func (p *process) ask(t *testing.T, which id.Session, g session.Generation, round int) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, hex.EncodeToString(which[:]), g, round); err != nil {
		t.Fatal(err)
	}
}

func (p *process) answers(t *testing.T) (all []outcome) {
	t.Helper()
	for p.out.Scan() {
		line := p.out.Text()
		if line == "" {
			return all
		}
		var o outcome
		if _, err := fmt.Sscan(line, &o.answer, &o.newest); err != nil {
			o.err = errors.New(line)
		}
		all = append(all, o)
	}
	t.Fatal("the other process stopped: ", p.out.Err())
	return nil
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(p.in.Close(), p.cmd.Wait()); err != nil {
		t.Error("the other process:", err)
	}
}

// raceProcess is the other end of process.
func raceProcess(address string, open func(string) (Bundle, func() error, error), in io.Reader, out io.Writer) (err error) {
	b, closeIt, err := open(address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeIt()) }()
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var text string
		var g session.Generation
		var round int
		if _, err := fmt.Sscan(lines.Text(), &text, &g, &round); err != nil {
			return err
		}
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != id.Size {
			return errors.Join(errors.New("asked for a bad session"), err)
		}
		for _, o := range raceMany(context.Background(), b.Sessions, id.Session(raw), g, round, racers/processes) {
			if o.err != nil {
				fmt.Fprintln(out, "failed:", strings.ReplaceAll(o.err.Error(), "\n", " "))
			} else {
				fmt.Fprintln(out, uint8(o.answer), o.newest)
			}
		}
		fmt.Fprintln(out)
	}
	return nil
}
