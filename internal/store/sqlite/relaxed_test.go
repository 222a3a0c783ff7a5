package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// windows is the policy of a client whose rotations may be relaxed.
var windows = session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * 24 * time.Hour, Idle: 90 * 24 * time.Hour}

// rotation is the change of one refresh, as the keeper decides and marks it.
func rotation(s session.Session) session.Change {
	now := s.UsedAt.Add(2 * windows.Overlap)
	next, _ := s.Refresh(session.Presented{Client: s.Client, Generation: s.Chain.Newest, Genuine: true}, session.Standing{UserEpoch: s.Epoch}, windows, now)
	next.Version, next.Attempt = s.Version+1, [8]byte{byte(s.Version + 1), 1}
	return session.Change{Next: next, Relaxed: true}
}

// goodbye is the change that ends a session.
func goodbye(s session.Session) session.Change {
	next := s.End(fault.SignedOut, s.UsedAt)
	next.Version, next.Attempt = s.Version+1, [8]byte{byte(s.Version + 1), 2}
	return session.Change{Next: next, Relaxed: true, // as nobody marks it
		Entries: []feed.Entry{{Kind: feed.Session, Key: fmt.Sprintf("%x", s.ID), Reason: fault.SignedOut, At: s.UsedAt, Until: s.UsedAt.Add(time.Hour)}}}
}

// relaxedChild rotates every session of a database whose durability is relaxed, all
// at once, and ends every fourth one half way. It says ACK and the generation, or
// ACK and 0 for an end.
func relaxedChild(args []string) error {
	db, err := Open(args[0], Options{Now: time.Now, Relaxed: true})
	if err != nil {
		return err
	}
	db.writer.checkpointAt = powerCheckpoint
	all, err := db.Sessions().Find(context.Background(), session.Query{Limit: 100})
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	errs := make(chan error, len(all))
	for i, l := range all {
		wait.Go(func() {
			s := l.Session
			for n := range powerRounds {
				ch, says := rotation(s), uint32(0)
				if i%4 == 3 && n == powerRounds/2 {
					ch = goodbye(s)
				} else {
					says = uint32(ch.Next.Chain.Newest)
				}
				if err := db.Sessions().Replace(context.Background(), ch); err != nil {
					errs <- err
					return
				}
				s = ch.Next
				fmt.Fprintf(os.Stdout, "ACK %x %d\n", s.ID, says)
				if says == 0 {
					return
				}
			}
		})
	}
	wait.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return db.Close()
	}
}

// promises is what relaxedChild acknowledged: the newest generation of each
// session, and which of them are over.
type promises struct {
	newest map[id.Session]session.Generation
	over   map[id.Session]bool
	// ahead is how many generations were lost and healed, in all failures.
	ahead session.Generation
}

func (p *promises) hear(said []byte) (heard int, err error) {
	for line := range bytes.Lines(said) {
		var raw []byte
		var g session.Generation
		if _, err := fmt.Sscanf(string(line), "ACK %x %d\n", &raw, &g); err != nil || len(raw) != id.Size {
			return heard, fmt.Errorf("said %q", line)
		}
		which := id.Session(raw)
		if g == 0 {
			p.over[which] = true
		}
		p.newest[which] = max(p.newest[which], g)
		heard++
	}
	return heard, nil
}

// missing counts the sessions that an end or a sign-in was lost of: an end that is
// not there, or a phone whose newest token earns no tokens.
func (p *promises) missing(t *testing.T, path string) (lost int) {
	t.Helper()
	db, err := Open(path, Options{Now: time.Now, Readers: 1, Synchronous: Off, LoseAcknowledged: true}) // only read here
	if err != nil {
		t.Fatalf("the database cannot be opened after the failure: %v", err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for which, g := range p.newest {
		l, err := db.Sessions().Load(t.Context(), which)
		if err != nil {
			t.Fatalf("a session cannot be read after the failure: %v", err)
		}
		if p.over[which] {
			if l.Session.EndReason != fault.SignedOut {
				lost++
			}
			continue
		}
		s := l.Session
		_, v := s.Refresh(session.Presented{Client: s.Client, Generation: g, IssuedAt: s.UsedAt, Genuine: true}, l.Standing, windows, s.UsedAt.Add(time.Hour))
		if s.EndReason == "" && !v.Answer.Issues() { // one whose end was not acknowledged may be over
			lost++
		}
		p.ahead += v.Ahead
	}
	return lost
}

// TestPowerLossRelaxed: with relaxed durability a power failure takes rotations
// back and nothing else: ends are there, and every phone goes on with the token it
// holds, which row 4 takes.
func TestPowerLossRelaxed(t *testing.T) {
	strace := stracer(t)
	path := prepared(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	calls := traced(t, strace, "relaxed", path)
	p := &promises{newest: map[id.Session]session.Generation{}, over: map[id.Session]bool{}}
	heard, lost := powerLoss(t, p, path, before, calls)
	const all = powerSessions*powerRounds - powerSessions/4*(powerRounds-powerRounds/2-1)
	if lost == 0 && (heard != all || len(p.over) != powerSessions/4) {
		t.Fatalf("the trace has %d acknowledgements, want %d, and %d ends, want %d", heard, all, len(p.over), powerSessions/4)
	}
	if lost != 0 {
		t.Errorf("%d times a sign-out or a phone would be lost in a power failure", lost)
	}
	if p.ahead == 0 {
		t.Error("no rotation was lost in any failure, so this test cannot see whether the loss heals")
	}
	t.Logf("%d acknowledgements, %d lost generations healed, 0 ends lost, 0 signed out", heard, p.ahead)
}
