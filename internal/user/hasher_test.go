package user

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast.example/internal/fault"
)

// takeAll empties the slots, as hashes under way would.
func takeAll(t *testing.T, h *Hasher) (release func()) {
	t.Helper()
	var held []*slot
	for range cap(h.slots) {
		held = append(held, <-h.slots)
	}
	return func() {
		for _, s := range held {
			h.slots <- s
		}
	}
}

// TestLineIsBounded is LOGIN-07: 200 sign-ins at once, of which only so many are
// hashed at a time, so many wait, and the rest is told to come back.
func TestLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(HasherOptions{Slots: 2, Line: 50, Wait: time.Second, Cost: cheap})
		release := takeAll(t, h)
		var ok, busy atomic.Int64
		for range 200 {
			go func() {
				_, err := h.hash(t.Context(), typed{prepared: "password"})
				switch {
				case err == nil:
					ok.Add(1)
				case fault.Is(err, fault.Busy) && fault.As(err).RetryAfter > 0:
					busy.Add(1)
				default:
					t.Errorf("got %v", err)
				}
			}()
		}
		synctest.Wait()
		if busy.Load() != 150 || h.Load() != (Load{0, 50, 2}) {
			t.Errorf("%d were refused, load %+v; want 150 and 50 waiting", busy.Load(), h.Load())
		}
		release()
		synctest.Wait()
		if ok.Load() != 50 || h.Load() != (Load{50, 0, 0}) {
			t.Errorf("%d were served, load %+v", ok.Load(), h.Load())
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(HasherOptions{Slots: 1, Wait: 3 * time.Second, Cost: cheap})
		defer takeAll(t, h)()
		started := time.Now()
		_, err := h.hash(t.Context(), typed{prepared: "password"})
		kind(t, err, fault.Busy)
		if waited := time.Since(started); waited != 3*time.Second {
			t.Errorf("waited %v", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = h.hash(ctx, typed{prepared: "password"})
		if e := kind(t, err, fault.Busy); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("who left is told %v", e)
		}
		if h.Load().Waiting != 0 {
			t.Errorf("%d wait on", h.Load().Waiting)
		}
	})
}

func TestCloseWaitsForHashesAndRefusesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(HasherOptions{Slots: 2, Cost: cheap})
		release := takeAll(t, h)
		closed := false
		go func() { h.Close(); closed = true }()
		synctest.Wait()
		if closed {
			t.Error("Close did not wait")
		}
		release()
		synctest.Wait()
		_, err := h.hash(t.Context(), typed{prepared: "password"})
		if !closed || !fault.Is(err, fault.Unavailable) {
			t.Errorf("closed %v, then %v", closed, err)
		}
	})
}

func TestHasherDefaults(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	h := NewHasher(HasherOptions{})
	if cap(h.slots) != max(1, cores-1) || h.line != DefaultLine || h.wait != DefaultWait || h.cost != DefaultCost {
		t.Errorf("without a command: %d slots, line %d, wait %v, cost %+v", cap(h.slots), h.line, h.wait, h.cost)
	}
	if h := NewHasher(HasherOptions{Command: []string{"x"}}); cap(h.slots) != cores {
		t.Errorf("with a command: %d slots for %d cores", cap(h.slots), cores)
	}
}

func TestNewHashesAreOurs(t *testing.T) {
	h := NewHasher(HasherOptions{})
	a, err := h.hash(t.Context(), typed{prepared: "password"})
	b, _ := h.hash(t.Context(), typed{prepared: "password"})
	if err != nil || !strings.HasPrefix(a, "$argon2id$v=19$m=19456,t=2,p=1$") || CheckHash(a) != nil || !DefaultCost.current(a) {
		t.Errorf("a new hash is %q (%v)", a, err)
	}
	if a == b {
		t.Error("two hashes of one password are equal: the salt is not fresh")
	}
}

// inWorker runs a test against hashes computed in processes.
func inWorker(t *testing.T, slots int) *Hasher {
	h := NewHasher(HasherOptions{Slots: slots, Cost: cheap, Command: workerCommand(t)})
	t.Cleanup(h.Close)
	return h
}

func TestWorkersAnswerLikeTheProcessItself(t *testing.T) {
	there, here := inWorker(t, 2), NewHasher(HasherOptions{Slots: 1, Cost: cheap})
	if err := there.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, m := range foreign(t)[:20] {
		wg.Go(func() {
			password := m.Password
			if i%2 == 1 {
				password += "?"
			}
			p, err := prepare(pass(password))
			if err != nil {
				t.Error(err)
			}
			ok, replace, err := there.verify(t.Context(), m.Hash, p)
			wantOK, wantReplace, _ := here.verify(t.Context(), m.Hash, p)
			if err != nil || ok != wantOK || replace != wantReplace || ok != (i%2 == 0) {
				t.Errorf("%s: %v %v %v, here %v %v", m.Hash, ok, replace, err, wantOK, wantReplace)
			}
			a, err := there.hashSalted(t.Context(), p, [saltSize]byte{byte(i)})
			b, _ := here.hashSalted(t.Context(), p, [saltSize]byte{byte(i)})
			if a != b || err != nil {
				t.Errorf("hashes differ: %s %s %v", a, b, err)
			}
		})
	}
	wg.Wait()
	longest := typed{strings.Repeat("\u0344", MaxPassword), strings.Repeat("\U0001f512", MaxPassword/4)}
	if _, _, err := there.verify(t.Context(), foreign(t)[0].Hash, longest); err != nil {
		t.Errorf("the longest task does not fit: %v", err)
	}
}

func TestWorkerThatDiesIsReplaced(t *testing.T) {
	h := inWorker(t, 1)
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := <-h.slots
	first := s.worker.process.Process
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	h.slots <- s
	if err := h.Probe(t.Context()); err != nil {
		t.Fatalf("after the worker was killed: %v", err)
	}
	if now := s.worker.process.Process.Pid; now == first.Pid {
		t.Error("the worker was not replaced")
	}
}

func TestWorkerThatCannotStart(t *testing.T) {
	for _, command := range [][]string{{"/does/not/exist"}, {"true"}, {"echo", "{"}} {
		h := NewHasher(HasherOptions{Slots: 1, Cost: cheap, Command: command})
		e := kind(t, h.Probe(t.Context()), fault.Unavailable)
		if e.RetryAfter == 0 || strings.Contains(e.Words, "exist") {
			t.Errorf("%v: %+v", command, e)
		}
		h.Close()
	}
}

// TestWorkerLeavesWithItsServer: the end of its input is the end of a worker.
func TestWorkerLeavesWithItsServer(t *testing.T) {
	command := workerCommand(t)
	c := exec.Command(command[0], command[1:]...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Errorf("the worker left with %v", err)
	}
}

func TestWorkerRefusesNonsense(t *testing.T) {
	for _, in := range []string{"x", "{}\n", `{"passwords":[]}`, `{"passwords":["cA=="]}`, `{"passwords":["cA=="],"cost":{"Memory":8}}`,
		`{"encoded":"` + strings.Repeat("x", maxTask) + `"}`} {
		err := ServeHashes(strings.NewReader(in), os.Stderr)
		if err == nil {
			t.Errorf("%.40q was taken for a task", in)
		}
	}
	var out strings.Builder
	in := `{"encoded":"nonsense","passwords":["cA=="]}`
	if err := ServeHashes(strings.NewReader(in), &out); err != nil || out.String() != "{}\n" {
		t.Errorf("a bad hash gets %q, %v", out.String(), err)
	}
}
