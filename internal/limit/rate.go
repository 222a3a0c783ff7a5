// Package limit owns how often something may be tried: failed sign-ins for each
// account and address, and requests for each address.
//
// It does not own what is tried or who may pass regardless: callers say which
// account, address and known install an attempt belongs to. A refresh is never
// counted here; the token it shows is proof enough, and nobody may be signed
// out by somebody else's guessing.
package limit

import "time"

// Rate allows Burst at once and then one per Every: the generic cell rate
// algorithm (ITU-T I.371), which needs one time per key and no history.
type Rate struct {
	// Burst is at least 1.
	Burst int
	// Every is how long one unit takes to come back.
	Every time.Duration
}

// take spends one unit. full is when the budget will be whole again, as it was
// last stored (the zero time for never used), and next what to store now. When
// there is no room, next is full and wait says when there will be.
//
// A full that lies further ahead than this rate can bring about comes from a
// clock that went back or from another setting; it counts as the emptiest
// budget, so that the longest wait is Every and nobody is shut out for as long
// as a clock was wrong.
func (r Rate) take(full, now time.Time) (next time.Time, wait time.Duration) {
	full = r.bounded(full, now)
	limit := now.Add(time.Duration(r.Burst-1) * r.Every)
	if full.After(limit) {
		return full, full.Sub(limit)
	}
	return full.Add(r.Every), 0
}

// give brings one unit back that was spent.
func (r Rate) give(full, now time.Time) (next time.Time) {
	return r.bounded(full, now).Add(-r.Every)
}

// bounded brings full between a whole budget and an empty one.
func (r Rate) bounded(full, now time.Time) time.Time {
	if full.Before(now) {
		return now
	}
	if emptiest := now.Add(time.Duration(r.Burst) * r.Every); full.After(emptiest) {
		return emptiest
	}
	return full
}
