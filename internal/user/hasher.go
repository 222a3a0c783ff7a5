package user

import (
	"context"
	"crypto/rand"
	"runtime"
	"sync/atomic"
	"time"

	"holdfast.example/internal/fault"
)

// Limits of the line before the hash. Two cores do about 90 hashes of
// DefaultCost a second, so a full line is served in under three seconds, and who
// would wait longer is told at once to come back.
const (
	DefaultLine = 256
	DefaultWait = 2 * time.Second
)

// HasherOptions say how much password work may go on at once. The zero value
// is usable.
type HasherOptions struct {
	// Slots is how many hashes are computed at once; each takes a core and
	// Cost.Memory. 0 is one for each core with Command, and one less (but at
	// least one) without.
	Slots int
	// Line is how many more may wait; 0 is DefaultLine. Wait is the longest wait;
	// 0 is DefaultWait.
	Line int
	Wait time.Duration
	// Cost is that of new hashes; the zero value is DefaultCost.
	Cost Cost
	// Command starts a process that calls ServeHashes, and then hashes are
	// computed in such processes, one for each slot, at low priority. Empty
	// computes them in this process.
	Command []string
}

// Hasher computes password hashes, a bounded number at once, so that a storm of
// sign-ins takes neither all memory nor all cores (LOGIN-07). Nothing but
// passwords passes here: a refresh never waits behind it.
//
// A hash is 20 ms of pure work, and a process that does it on every core answers
// everything else late: the scheduler looks at the network only when a core runs
// out of work. Measured on two cores (BenchmarkFairness), a small HTTP request
// with a p99 of 0.5 ms takes 62 ms beside two hashing goroutines, and still
// 0.5 ms beside two hashing processes of lower priority, which do nine tenths of
// the hashes. So that is what a server should use (HasherOptions.Command);
// without it one core is left free.
type Hasher struct {
	cost  Cost
	slots chan *slot
	wait  time.Duration
	line  int64
	// waiting is how many stand in line now; done counts finished hashes.
	waiting atomic.Int64
	done    atomic.Uint64
	closed  chan struct{}
}

// slot is the right to compute one hash, and the process that does it, if any.
type slot struct{ worker *worker }

// NewHasher returns a Hasher. It starts no process before there is work.
func NewHasher(o HasherOptions) *Hasher {
	if o.Slots == 0 {
		o.Slots = runtime.GOMAXPROCS(0)
		if len(o.Command) == 0 {
			o.Slots = max(1, o.Slots-1)
		}
	}
	if o.Line == 0 {
		o.Line = DefaultLine
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.Cost == (Cost{}) {
		o.Cost = DefaultCost
	}
	h := &Hasher{cost: o.Cost, slots: make(chan *slot, o.Slots), wait: o.Wait, line: int64(o.Line), closed: make(chan struct{})}
	for range o.Slots {
		s := &slot{}
		if len(o.Command) > 0 {
			s.worker = &worker{command: o.Command}
		}
		h.slots <- s
	}
	return h
}

// Load is what a Hasher has done and has to do.
type Load struct {
	// Done counts hashes computed, Waiting is who stands in line now, Busy is how
	// many slots are at work.
	Done    uint64
	Waiting int
	Busy    int
}

// Load tells for metrics.
func (h *Hasher) Load() Load {
	return Load{h.done.Load(), int(h.waiting.Load()), cap(h.slots) - len(h.slots)}
}

// Probe computes one hash, so that a server learns at its start whether it can.
func (h *Hasher) Probe(ctx context.Context) error { return h.pretend(ctx, typed{}) }

// Close waits for the hashes under way and ends the processes. Later calls are
// refused with Unavailable. Call it once.
func (h *Hasher) Close() {
	close(h.closed)
	for range cap(h.slots) {
		s := <-h.slots
		if s.worker != nil {
			s.worker.stop()
		}
	}
}

// hash makes a new hash of a prepared password under a fresh salt.
func (h *Hasher) hash(ctx context.Context, password typed) (string, error) {
	var salt [saltSize]byte
	rand.Read(salt[:])
	return h.hashSalted(ctx, password, salt)
}

func (h *Hasher) hashSalted(ctx context.Context, password typed, salt [saltSize]byte) (string, error) {
	a, err := h.do(ctx, task{Cost: h.cost, Salt: salt, Passwords: [][]byte{[]byte(password.prepared)}})
	return a.Hash, err
}

// pretend does the work of a verification for somebody there is nothing to
// verify for, so that the time of the answer does not tell (LOGIN-01).
func (h *Hasher) pretend(ctx context.Context, password typed) error {
	_, err := h.hashSalted(ctx, password, [saltSize]byte{})
	return err
}

// verify reports whether encoded was made from the password, and whether it
// should be replaced by a new hash of the same password. A hash that is not of
// today's kind may come from a system that hashed what was typed as it was, so
// it is tried with the prepared password and then, if that differs, with the
// raw one.
func (h *Hasher) verify(ctx context.Context, encoded string, password typed) (ok, replace bool, err error) {
	t := task{Encoded: encoded, Passwords: [][]byte{[]byte(password.prepared)}}
	current := h.cost.current(encoded)
	if !current && password.raw != password.prepared {
		t.Passwords = append(t.Passwords, []byte(password.raw))
	}
	a, err := h.do(ctx, t)
	return a.Matches, a.Matches && a.Whole && !current, err
}

// do waits for a slot and does the task in it. A hash that was begun is
// finished, whatever becomes of ctx: it takes MaxHashTime at most.
func (h *Hasher) do(ctx context.Context, t task) (answer, error) {
	s, err := h.take(ctx)
	if err != nil {
		return answer{}, err
	}
	defer func() { h.slots <- s }()
	h.done.Add(1)
	if s.worker == nil {
		return t.do(), nil
	}
	a, err := s.worker.do(t)
	if err != nil {
		return answer{}, &fault.Error{Kind: fault.Unavailable, RetryAfter: fault.RetrySoon, Cause: err,
			Words: "the server cannot check passwords right now; repeat the same request"}
	}
	return a, nil
}

// take waits in line for a slot; who waits longest is next.
func (h *Hasher) take(ctx context.Context) (*slot, error) {
	select {
	case <-h.closed:
		return nil, &fault.Error{Kind: fault.Unavailable, RetryAfter: fault.RetrySoon, Words: "the server is shutting down"}
	default:
	}
	busy := &fault.Error{Kind: fault.Busy, RetryAfter: fault.RetrySoon,
		Words: "too many people are signing in at this moment; repeat the same request"}
	select {
	case s := <-h.slots:
		return s, nil
	default:
	}
	if h.waiting.Add(1) > h.line {
		h.waiting.Add(-1)
		return nil, busy
	}
	defer h.waiting.Add(-1)
	patience := time.NewTimer(h.wait)
	defer patience.Stop()
	select {
	case s := <-h.slots:
		return s, nil
	case <-patience.C:
		return nil, busy
	case <-ctx.Done():
		busy.Cause = context.Cause(ctx)
		return nil, busy
	}
}
