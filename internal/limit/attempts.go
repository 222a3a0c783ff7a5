package limit

import (
	"context"
	"net/netip"
	"time"

	"holdfast.example/internal/fault"
)

// Policy is how many failed attempts are allowed. An attempt under way counts
// as failed until it is given back, so each Burst is also how many may be under
// way at once.
type Policy struct {
	// Account is for attempts on one account from anywhere, except from its known
	// installs. It bounds what a thief with many addresses can guess: with the
	// default 30 at once and 1,440 a day (NIST SP 800-63B-4 section 3.2.2 allows 100
	// in a row).
	Account Rate
	// Address is for attempts from one address on any account, except from known
	// installs. Many honest people share an address behind a carrier, so it is
	// wide.
	Address Rate
	// Install is for attempts of one known install on its account.
	Install Rate
}

// Defaults is the policy that stands unless an operator sets another.
func Defaults() Policy {
	return Policy{
		Account: Rate{Burst: 30, Every: time.Minute},
		Address: Rate{Burst: 100, Every: 3 * time.Second},
		Install: Rate{Burst: 30, Every: 20 * time.Second},
	}
}

// Try is one attempt to sign in.
type Try struct {
	// Account is one name for all names of an account, and also for an account
	// that does not exist: whoever guesses at names is slowed down alike and learns
	// nothing (user.Candidate.Key).
	Account string
	// Address is where the attempt comes from, behind trusted proxies; the zero
	// Addr is not counted.
	Address netip.Addr
	// Install is an install that is known to have signed in to this account
	// before, as the caller checked; "" for a stranger. It has a budget of its own,
	// so that nobody locks a person out of the phone in their hand by guessing at
	// their password elsewhere (LOGIN-05).
	Install string
}

// Attempts bounds failed sign-ins. Before the proof, Begin; after it, Return
// unless it failed:
//
//	err := attempts.Begin(ctx, now, try)   // TooMany: answer it, prove nothing
//	_, err = directory.Prove(ctx, ...)
//	if err is not InvalidGrant { attempts.Return(ctx, now, try) }
//
// An attempt is counted before its outcome is known, or a thousand sent at the
// same moment would all pass before the first of them failed. A caller that dies
// in between leaves one failure too many, which time heals. A success gives back
// no more than itself: else a thief with an account of his own would wash his
// address with it, and the owner of an account would renew the thief's budget.
type Attempts struct {
	Counters Counters
	Policy   Policy
}

// NewAttempts counts in the memory of this process.
func NewAttempts(p Policy) *Attempts { return &Attempts{NewMemory(), p} }

// budget is one thing an attempt is counted by.
type budget struct {
	key  Key
	rate Rate
}

// budgets lists what a try is counted by. The address comes first: while it has
// no room its tries do not weigh on accounts.
func (a *Attempts) budgets(t Try) []budget {
	if t.Install != "" {
		return []budget{{NewKey("install", t.Account, t.Install), a.Policy.Install}}
	}
	account := budget{NewKey("account", t.Account), a.Policy.Account}
	if !t.Address.IsValid() {
		return []budget{account}
	}
	return []budget{{AddressKey(t.Address), a.Policy.Address}, account}
}

// Begin counts an attempt. Errors are *fault.Error: TooMany with RetryAfter, the
// same for every account, or Unavailable when the counters cannot be reached;
// then nothing was counted.
func (a *Attempts) Begin(ctx context.Context, now time.Time, t Try) error {
	all := a.budgets(t)
	for i, b := range all {
		wait, err := a.Counters.Take(ctx, now, b.key, b.rate)
		if err == nil && wait == 0 {
			continue
		}
		for _, taken := range all[:i] {
			_ = a.Counters.Give(ctx, now, taken.key, taken.rate) // best effort: a unit too few heals by itself
		}
		if err != nil {
			return fault.Down(err)
		}
		return &fault.Error{Kind: fault.TooMany, RetryAfter: wait,
			Words: "too many attempts; wait before trying again"}
	}
	return nil
}

// Return takes an attempt back that did not fail: the password was right, or it
// was never looked at. Errors are *fault.Error of kind Unavailable; the attempt
// then stays counted.
func (a *Attempts) Return(ctx context.Context, now time.Time, t Try) error {
	for _, b := range a.budgets(t) {
		err := a.Counters.Give(ctx, now, b.key, b.rate)
		if err != nil {
			return fault.Down(err)
		}
	}
	return nil
}

// networkBits is how much of an IPv6 address is one customer (RFC 6177): the
// rest they choose themselves.
const networkBits = 64

// AddressKey is the budget of an address: an IPv4 address whole, an IPv6 address
// by its /64. An IPv4 address written as IPv6 is the IPv4 address.
func AddressKey(a netip.Addr) Key {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return NewKey("address", a.String())
	}
	network, err := a.Prefix(networkBits)
	if err != nil { // the zero Addr
		return NewKey("address")
	}
	return NewKey("address", network.String())
}

// Requests bounds how often one key may do something, whatever comes of it.
type Requests struct {
	Counters Counters
	Rate     Rate
}

// Allow counts one request. Errors are those of Attempts.Begin.
func (r *Requests) Allow(ctx context.Context, now time.Time, key Key) error {
	wait, err := r.Counters.Take(ctx, now, key, r.Rate)
	switch {
	case err != nil:
		return fault.Down(err)
	case wait > 0:
		return &fault.Error{Kind: fault.TooMany, RetryAfter: wait, Words: "too many requests; wait before the next one"}
	}
	return nil
}
