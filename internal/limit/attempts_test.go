package limit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"holdfast.example/internal/fault"
)

func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
}

// guess tries and fails; it reports whether the guess was looked at.
func guess(t *testing.T, a *Attempts, now time.Time, try Try) bool {
	t.Helper()
	err := a.Begin(t.Context(), now, try)
	if err != nil && (!fault.Is(err, fault.TooMany) || fault.As(err).RetryAfter <= 0) {
		t.Fatalf("got %v", err)
	}
	return err == nil
}

// TestSpray is LOGIN-04: one address tries one password on 10,000 accounts.
func TestSpray(t *testing.T) {
	a, passed := NewAttempts(Defaults()), 0
	for i := range 10000 { // within ten minutes
		if guess(t, a, noon.Add(time.Duration(i)*60*time.Millisecond), Try{Account: fmt.Sprint("user ", i), Address: addr(1)}) {
			passed++
		}
	}
	if passed > 100+200 {
		t.Errorf("%d of 10,000 were looked at", passed)
	}
	now := noon.Add(10 * time.Minute)
	if !guess(t, a, now, Try{Account: "user 1", Address: addr(2)}) || !guess(t, a, now, Try{Account: "user 9999", Address: addr(2)}) {
		t.Error("another address is affected")
	}
}

// TestManyAddressesOneAccount is LOGIN-05: 5,000 addresses send 20,000 guesses at
// alice in ten minutes. Hardly any is looked at, and alice signs in on the phone
// she has signed in on before.
func TestManyAddressesOneAccount(t *testing.T) {
	a, passed := NewAttempts(Defaults()), 0
	phone := Try{Account: "alice", Address: addr(9999), Install: "phone"}
	for i := range 20000 {
		now := noon.Add(time.Duration(i) * 30 * time.Millisecond)
		if guess(t, a, now, Try{Account: "alice", Address: addr(i % 5000)}) {
			passed++
		}
		if i%1000 == 0 {
			if err := a.Begin(t.Context(), now, phone); err != nil {
				t.Fatalf("alice's phone: %v", err)
			}
			if err := a.Return(t.Context(), now, phone); err != nil {
				t.Fatal(err)
			}
		}
	}
	if passed > 30+10 {
		t.Errorf("%d of 20,000 were looked at", passed)
	}
	now := noon.Add(10*time.Minute - time.Millisecond)
	if guess(t, a, now, Try{Account: "alice", Address: addr(9999)}) {
		t.Error("a stranger at alice's address is let in")
	}
	if !guess(t, a, now, Try{Account: "bob", Address: addr(0)}) {
		t.Error("another account is affected")
	}
	// A known install is bounded too, on its own account and no other.
	tries := 0
	for tries < 1000 && guess(t, a, now, phone) {
		tries++
	}
	if tries != 30 {
		t.Errorf("a known install has %d tries at once", tries)
	}
	if !guess(t, a, now, Try{Account: "alice", Install: "tablet"}) || !guess(t, a, now, Try{Account: "bob", Install: "phone"}) {
		t.Error("another install, or another account on the same one, is affected")
	}
}

// TestAttemptsUnderWayCount: no more may be under way than may fail, and what
// succeeded gives back itself and no more.
func TestAttemptsUnderWayCount(t *testing.T) {
	a := NewAttempts(Policy{Account: Rate{5, time.Minute}, Address: Rate{8, time.Minute}})
	try := Try{Account: "alice", Address: addr(1)}
	for range 100 { // honest sign-ins, five at a time
		for range 5 {
			if !guess(t, a, noon, try) {
				t.Fatal("refused within the burst")
			}
		}
		if guess(t, a, noon, try) {
			t.Fatal("six under way at once")
		}
		for range 5 {
			if err := a.Return(t.Context(), noon, try); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 { // three that fail stay counted through a success
		guess(t, a, noon, try)
	}
	guess(t, a, noon, try)
	_ = a.Return(t.Context(), noon, try)
	left := 0
	for guess(t, a, noon, try) {
		left++
	}
	if left != 2 {
		t.Errorf("%d tries are left of 5 after three failures and a success", left)
	}
	// The account is spent; its refusals did not weigh on the address.
	for i := range 3 {
		if !guess(t, a, noon, Try{Account: fmt.Sprint(i), Address: addr(1)}) {
			t.Errorf("the address was refused at its try %d", 5+i)
		}
	}
	if guess(t, a, noon, Try{Account: "last", Address: addr(1)}) {
		t.Error("the address has more than its burst")
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"203.0.113.7", "203.0.113.7", true},
		{"203.0.113.7", "203.0.113.8", false},
		{"203.0.113.7", "::ffff:203.0.113.7", true},
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::1", "127.0.0.1", false},
	} {
		if same := AddressKey(netip.MustParseAddr(c.a)) == AddressKey(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: same %v", c.a, c.b, same)
		}
	}
	a := NewAttempts(Policy{Account: Rate{1, time.Minute}})
	if !guess(t, a, noon, Try{Account: "alice"}) || !guess(t, a, noon, Try{Account: "bob"}) {
		t.Error("an attempt without an address is counted by one")
	}
}

func TestRequests(t *testing.T) {
	r := &Requests{NewMemory(), Rate{2, time.Second}}
	for i, want := range []bool{true, true, false} {
		err := r.Allow(t.Context(), noon, AddressKey(addr(1)))
		if (err == nil) != want || err != nil && (!fault.Is(err, fault.TooMany) || fault.As(err).RetryAfter != time.Second) {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

// lost is a twin whose database is gone, from its nth call on.
type lost struct {
	Counters
	calls int
}

func (l *lost) Take(ctx context.Context, now time.Time, k Key, r Rate) (time.Duration, error) {
	if l.calls--; l.calls < 0 {
		return 0, errors.New("gone")
	}
	return l.Counters.Take(ctx, now, k, r)
}

func TestCountersThatAreGone(t *testing.T) {
	for calls := range 2 {
		memory := NewMemory()
		a := &Attempts{&lost{memory, calls}, Defaults()}
		err := a.Begin(t.Context(), noon, Try{Account: "alice", Address: addr(1)})
		if !fault.Is(err, fault.Unavailable) || memory.Len() != 0 {
			t.Errorf("after %d calls: %v, %d counted", calls, err, memory.Len())
		}
	}
	err := (&Requests{&lost{NewMemory(), 0}, Rate{1, 1}}).Allow(t.Context(), noon, NewKey("k"))
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
}
