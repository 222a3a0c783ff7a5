package session_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	. "holdfast.example/internal/session"
)

// The eleven invariants of design.md section 3 and where each is held:
//
//	 1  one generation per overlap        lawful, below
//	 2  a single-flight client never ends  explore_test.go and the world
//	 3  a parallel client never ends       explore_test.go and the world
//	 4  two parties are found              explore_test.go and the world
//	 5  refusals change nothing            lawful
//	 6  newest never falls, no overflow    lawful
//	 7  a bound session never ends         lawful
//	 8  strict ends at any second use      lawful
//	 9  an end covers what was minted before it, clocks 30 s apart: the server's tests
//	10  a crash equals a lost answer: keeper_fault_test.go, and here the world draws
//	    a line through every answer
//	11  dump, sealing key or root alone make no token: room token
//
// lawful is put to every decision that any test of this package makes.

// lawful reports which invariant one decision broke.
func lawful(sc scene, next Session, v Verdict) error {
	return errors.Join(staysInPlace(sc, next, v), staysOne(sc, next, v), staysForgiving(sc, next, v), staysShaped(sc, next, v))
}

// same compares two sessions in full. It stands in for reflect.DeepEqual, which
// would take most of the time of a million decisions.
func same(a, b Session) bool {
	return slices.Equal(a.Chain.Uses, b.Chain.Uses) && flat(a) == flat(b)
}

// flattened is a Session without the one field that Go cannot compare.
type flattened struct {
	ID                id.Session
	User              id.User
	Client            id.Client
	Parent            id.Session
	Epoch             uint32
	Secret            [16]byte
	Scope, Grant      string
	AuthTime          time.Time
	AMR, Key          string
	Device            Device
	CreatedAt, UsedAt time.Time
	Newest, First     Generation
	IssuedAt, Seen    time.Time
	EndedAt           time.Time
	EndReason         fault.Reason
	Version           uint64
	Attempt           [8]byte
}

func flat(s Session) flattened {
	return flattened{s.ID, s.User, s.Client, s.Parent, s.Epoch, s.Secret, s.Scope, s.Grant, s.AuthTime, s.AMR, s.Key, s.Device,
		s.CreatedAt, s.UsedAt, s.Chain.Newest, s.Chain.First, s.Chain.IssuedAt, s.Chain.Seen, s.EndedAt, s.EndReason, s.Version, s.Attempt}
}

// A field that Session or Chain gains must be compared as well.
func TestSameComparesEveryField(t *testing.T) {
	fields := reflect.TypeFor[Session]().NumField() - 1 + reflect.TypeFor[Chain]().NumField() - 1
	if n := reflect.TypeFor[flattened]().NumField(); n != fields {
		t.Fatalf("flattened has %d fields, Session and Chain have %d", n, fields)
	}
}

func issues(v Verdict) bool {
	return v.Answer == Repeated || v.Answer == Rotated || v.Answer == Recovered
}

// staysInPlace is invariant 5: refusals and late change nothing, ended absorbs,
// and only the moving parts of a session ever move.
func staysInPlace(sc scene, next Session, v Verdict) error {
	if (v.Answer == Refused || v.Answer == LateUse) && !same(next, sc.s) {
		return fmt.Errorf("invariant 5: %v changed the session", v.Answer)
	}
	if sc.s.EndReason != "" && v.Answer != Refused {
		return fmt.Errorf("invariant 5: an ended session answered %v", v.Answer)
	}
	if (v.Reason == "") != issues(v) {
		return fmt.Errorf("invariant 5: %v with reason %q", v.Answer, v.Reason)
	}
	if v.Answer == Reused != (next.EndReason != sc.s.EndReason) {
		return fmt.Errorf("invariant 5: %v, and the end went from %q to %q", v.Answer, sc.s.EndReason, next.EndReason)
	}
	if v.Answer == Reused && (next.EndReason != v.Reason || !next.EndedAt.Equal(sc.now) || !slices.Contains(fault.Ends(), v.Reason)) {
		return fmt.Errorf("invariant 5: ended as %q at %v", next.EndReason, next.EndedAt)
	}
	fixed := next
	fixed.Chain, fixed.UsedAt, fixed.EndedAt, fixed.EndReason = sc.s.Chain, sc.s.UsedAt, sc.s.EndedAt, sc.s.EndReason
	if !same(fixed, sc.s) {
		return errors.New("invariant 5: a refresh changed what never changes")
	}
	return nil
}

// staysOne is invariants 1 and 6.
func staysOne(sc scene, next Session, v Verdict) error {
	was, is := sc.s.Chain, next.Chain
	if is.Newest < was.Newest || is.Newest > lastGeneration {
		return fmt.Errorf("invariant 6: newest went from %d to %d", was.Newest, is.Newest)
	}
	if grew := v.Answer == Rotated || v.Answer == Recovered; grew != (is.Newest > was.Newest) {
		return fmt.Errorf("invariant 6: %v, and newest went from %d to %d", v.Answer, was.Newest, is.Newest)
	}
	if n := len(was.Uses); n > 0 && sc.pol.Overlap > 0 && v.Ahead == 0 && is.Newest != was.Newest &&
		sc.now.Sub(was.Uses[n-1].At) <= sc.pol.Overlap {
		return fmt.Errorf("invariant 1: a second generation inside the overlap, %d after %d", is.Newest, was.Newest)
	}
	return nil
}

// staysForgiving is invariants 7 and 8 and the rule for strangers.
func staysForgiving(sc scene, next Session, v Verdict) error {
	stranger := !sc.p.Genuine || sc.p.Client != sc.s.Client || sc.s.Key != "" && sc.p.Key != sc.s.Key
	if stranger {
		if v.Answer != Refused || v.Row != 1 {
			return fmt.Errorf("a stranger was answered %v by row %d", v.Answer, v.Row)
		}
		return nil
	}
	if sc.s.Key != "" && v.Answer == Reused {
		return errors.New("invariant 7: a bearer with a valid proof ended the session")
	}
	strict := sc.pol.Rotate && sc.pol.Overlap == 0 && sc.pol.Late == 0 && sc.pol.Recovery == 0
	tooOld := sc.pol.Idle > 0 && sc.now.Sub(sc.p.IssuedAt) > sc.pol.Idle
	over := sc.s.Ended(sc.st, sc.pol, sc.now) != ""
	if strict && !over && sc.s.Key == "" && !tooOld && sc.p.Generation < sc.s.Chain.First && v.Answer != Reused {
		return fmt.Errorf("invariant 8: strict answered %v to a second use", v.Answer)
	}
	return nil
}

// staysShaped says what a row always looks like: live tokens above spent ones,
// at most six uses, each in order and none over another.
func staysShaped(sc scene, next Session, v Verdict) error {
	c := next.Chain
	if c.First < 1 || c.First > c.Newest || len(c.Uses) > MaxUses {
		return fmt.Errorf("shape: first %d, newest %d, %d uses", c.First, c.Newest, len(c.Uses))
	}
	below := Generation(0)
	for _, u := range c.Uses {
		if u.Low <= below || u.Low > u.Generation || u.Generation > u.High {
			return fmt.Errorf("shape: use %d stands for %d..%d after %d", u.Generation, u.Low, u.High, below)
		}
		below = u.High
	}
	if below >= c.First {
		return fmt.Errorf("shape: %d is spent and live", below)
	}
	if (v.Answer == Rotated || v.Answer == Recovered) && !(c.IssuedAt.Equal(sc.now) && next.UsedAt.Equal(sc.now)) {
		return fmt.Errorf("shape: %v, issued %v, used %v, at %v", v.Answer, c.IssuedAt, next.UsedAt, sc.now)
	}
	return nil
}
