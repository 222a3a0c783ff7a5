// Package session owns the life of one device's standing sign-in: it opens,
// it is refreshed again and again, it ends once and for good.
//
//	     Open                    Refresh                          End
//	────────────▶ generation 1 ──────────▶ generation 2, 3, 4 … ───────▶ ended
//	                   │  ▲                        │
//	                   └──┘ repeated, recovered    └─▶ ended: a spent token was used again
//
// This file is the whole life and nothing but: no database, no clock, no
// randomness, no keys. keeper.go loads, asks this file, and replaces by
// compare-and-swap. row.go is how a Session is written down.
//
// It does not own how tokens look (room token), how they are earned (room
// grant), or who follows an end (room feed).
package session

import (
	"cmp"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// Generation counts the refresh tokens of one session: 1, 2, 3 …
type Generation uint32

const (
	// MaxUses is how many accepted tokens a session remembers. Six cover every
	// answer that can still be under way, as long as late is at most five
	// overlaps: uses lie more than one overlap apart.
	MaxUses = 6

	// MaxAhead is how far a presented generation may lie beyond the newest one
	// we remember. A store that lost its last commits explains a few; nothing
	// explains more (design.md section 3, row 4).
	MaxAhead = 4096

	// maxGeneration is where a chain stops growing instead of overflowing:
	// 8,000 years of one rotation a minute.
	maxGeneration = Generation(1<<32 - 2)
)

// Session is one device's sign-in, as the store keeps it. It is a value: every
// verb returns the next one and leaves the old untouched.
type Session struct {
	ID     id.Session
	User   id.User
	Client id.Client
	// Parent is the session this one hangs under, zero for none: a WebView's
	// cookie session ends with its phone's.
	Parent id.Session
	// Epoch is the user's epoch that was read when the credential was verified.
	// A user's epoch that has moved past it ends the session (design.md
	// section 7): no clock decides who is signed out.
	Epoch uint32
	// Secret goes into the seal of every refresh token of this session, so that
	// neither the sealing key nor a dump of the table alone can make one.
	Secret [16]byte
	// Scope is what the user granted, space separated; a refresh may narrow
	// what one access token carries, never widen this.
	Scope string
	// Grant says how the session was earned ("password", …).
	Grant string
	// AuthTime is when the user proved himself, zero when nobody says; a refresh
	// does not move it.
	AuthTime time.Time
	// AMR lists how he did (RFC 8176), space separated.
	AMR string
	// Key is the thumbprint of the key the session is bound to, "" for a bearer
	// session.
	Key    string
	Device Device

	CreatedAt time.Time
	// UsedAt is the last sign-in, rotation or recovery: the idle limit counts
	// from here.
	UsedAt time.Time

	Chain Chain

	// EndedAt is zero while the session stands. EndReason is set with it.
	EndedAt   time.Time
	EndReason fault.Reason

	// Version counts the replacements of this row; compare-and-swap rests on it.
	Version uint64
	// Attempt is the mark of whoever wrote the row last: the keeper's own, so
	// that it recognises its own write after an unknown commit, or, until the
	// first refresh, a digest of the sign-in's attempt_id.
	Attempt [8]byte
}

// Device is what the app told about itself at sign-in. All of it is optional
// and shown to people, none of it is trusted.
type Device struct {
	// Install is a digest of the app's install_id: one install, one session.
	Install [16]byte
	Name    string
	Model   string
	System  string
	App     string
}

// HasInstall reports whether the app named its install.
func (d Device) HasInstall() bool { return d.Install != [16]byte{} }

// Chain is the part of a session that moves with every refresh.
type Chain struct {
	// Newest is the generation of the newest token issued, IssuedAt its time of
	// issue: with both, the same token can be made again.
	Newest   Generation
	IssuedAt time.Time
	// First..Newest are live: the answers given since the last accepted token.
	First Generation
	// Seen is when a live token was first shown again inside the overlap. It
	// proves that an answer arrived, so the parent is no longer needed.
	Seen time.Time
	// Uses are the last accepted tokens, newest last, at most MaxUses, without those
	// that no row will ask about again.
	Uses []Use
}

// Use is one accepted token: Generation was shown at At and stood for Low..High.
type Use struct {
	Generation Generation
	Low, High  Generation
	At         time.Time
}

// OnReuse is what becomes of a session whose spent token was used.
type OnReuse uint8

// The policies of design.md section 6.
const (
	EndOnReuse  OnReuse = iota // the session ends
	HoldOnReuse                // it ends, and the owner may prove himself for a new one
)

// Policy is what the client's registration and the server's settings allow.
type Policy struct {
	// Rotate is false only for the profile none.
	Rotate bool
	// Overlap, Late and Recovery are the windows of the chain; 0 is off.
	Overlap, Late, Recovery time.Duration
	// Idle slides with each refresh, Absolute never moves; 0 is no limit.
	Idle, Absolute time.Duration
	OnReuse        OnReuse
}

// Strict turns all windows off: RFC 9700 section 4.14 to the letter.
func (p Policy) Strict() Policy {
	p.Rotate, p.Overlap, p.Late, p.Recovery = true, 0, 0, 0
	return p
}

// Presented is what came in: the fields of an opened refresh token and what
// was checked about its bearer.
type Presented struct {
	Client     id.Client
	Generation Generation
	IssuedAt   time.Time
	// Genuine: the seal was right for this session.
	Genuine bool
	// Key is the thumbprint of the key the bearer proved to hold, "" for none.
	Key string
}

// Standing is what the read that brought the session said about its owner and
// its client.
type Standing struct {
	UserDisabled bool
	UserDeleted  bool
	// UserEpoch is the user's epoch now; EpochReason says why it moved past the
	// session's, and EpochAt when.
	UserEpoch     uint32
	EpochReason   fault.Reason
	EpochAt       time.Time
	ClientStopped bool
	// Parent's end ends the child.
	ParentEnded fault.Reason
}

// Answer is what a presented token earns.
type Answer uint8

// The answers of design.md section 3.
const (
	Refused   Answer = iota // nothing, and nothing changes
	Repeated                // the newest token again, with a fresh access token
	Rotated                 // the next generation
	Recovered               // a new newest token for an answer that was lost
	LateUse                 // 503 and no tokens: a newer answer is on its way
	Reused                  // nothing, and the session ends
)

var answerNames = [...]string{"refused", "repeated", "rotated", "recovered", "late", "reused"}

// String is the answer's name in logs and metrics.
func (a Answer) String() string { return answerNames[a] }

// Issues reports whether the bearer gets tokens.
func (a Answer) Issues() bool { return a == Repeated || a == Rotated || a == Recovered }

// Verdict is the decision and the row of the table it came from.
type Verdict struct {
	Answer Answer
	// Row is the row of design.md section 3, 1 to 9.
	Row int
	// Reason is set when nothing is issued.
	Reason fault.Reason
	// Ahead is how many generations the store had lost (row 4).
	Ahead Generation
}

// Ended says why the session is over, or "" while it stands. Idle and absolute
// limits are computed here and never written.
func (s Session) Ended(st Standing, pol Policy, now time.Time) fault.Reason {
	switch {
	case s.EndReason != "":
		return s.EndReason
	case st.UserDeleted:
		return fault.Deleted
	case st.UserDisabled:
		return fault.Disabled
	case st.UserEpoch > s.Epoch:
		// A read that cannot say why must still not let the session stand.
		return cmp.Or(st.EpochReason, fault.Everywhere)
	case st.ClientStopped:
		return fault.ClientStopped
	case st.ParentEnded != "":
		return st.ParentEnded
	case pol.Idle > 0 && now.Sub(s.UsedAt) > pol.Idle:
		return fault.Idle
	case pol.Absolute > 0 && now.Sub(s.CreatedAt) > pol.Absolute:
		return fault.Absolute
	}
	return ""
}

// Refresh decides what a presented refresh token earns and what the session
// becomes. The rows are those of design.md section 3; the first that fits wins.
// When the answer is Refused or LateUse, next equals s; Repeated changes at most
// Seen (or UsedAt, where a session never rotates).
func (s Session) Refresh(p Presented, st Standing, pol Policy, now time.Time) (next Session, v Verdict) {
	c := s.Chain
	last, used := c.lastUse()
	live := p.Generation >= c.First

	switch ended := s.lastKnown(p).Ended(st, pol, now); {
	case !p.Genuine:
		return s, Verdict{Refused, 1, fault.Malformed, 0}
	case p.Client != s.Client:
		return s, Verdict{Refused, 1, fault.WrongClient, 0}
	case s.Key != "" && p.Key != s.Key:
		return s, Verdict{Refused, 1, fault.WrongKey, 0}

	case ended != "":
		return s, Verdict{Refused, 2, ended, 0}

	case live && p.Generation <= c.Newest && (!pol.Rotate || used && within(pol.Overlap, last.At, now)):
		return s.shown(now, pol), Verdict{Repeated, 3, "", 0}

	case live && p.Generation > c.Newest && p.Generation-c.Newest > MaxAhead || live && max(p.Generation, c.Newest) >= maxGeneration:
		return s, Verdict{Refused, 4, fault.Malformed, 0}
	case live:
		return s.rotated(p.Generation, pol, now), Verdict{Rotated, 4, "", max(p.Generation, c.Newest) - c.Newest}

	case c.usedWithin(p.Generation, pol.Overlap, now):
		return s, Verdict{Repeated, 5, "", 0}

	case used && last.covers(p.Generation) && c.Seen.IsZero() && within(pol.Recovery, last.At, now) && c.Newest < maxGeneration:
		return s.recovered(pol, now), Verdict{Recovered, 6, "", 0}

	case c.supersededWithin(p.Generation, pol.Late, now):
		return s, Verdict{LateUse, 7, fault.Late, 0}

	case s.Key != "":
		return s, Verdict{Repeated, 8, "", 0}

	case pol.Idle > 0 && now.Sub(p.IssuedAt) > pol.Idle:
		return s, Verdict{Refused, 9, fault.Superseded, 0}
	case pol.OnReuse == HoldOnReuse:
		return s.End(fault.Held, now), Verdict{Reused, 9, fault.Held, 0}
	default:
		return s.End(fault.Reuse, now), Verdict{Reused, 9, fault.Reuse, 0}
	}
}

// lastKnown lets a genuine live token testify to its own issue: a store that
// lost its last commits would otherwise call a session idle that is not.
func (s Session) lastKnown(p Presented) Session {
	if p.Genuine && p.Generation >= s.Chain.First && p.IssuedAt.After(s.UsedAt) {
		s.UsedAt = p.IssuedAt
	}
	return s
}

// End closes the session. An ended session keeps its first reason: ended
// absorbs.
func (s Session) End(why fault.Reason, now time.Time) Session {
	if s.EndReason == "" {
		s.EndedAt, s.EndReason = now, why
	}
	return s
}

// shown notes that a live token came back, which proves that its answer
// arrived. A session that never rotates has nothing to prove, but its idle
// limit slides.
func (s Session) shown(now time.Time, pol Policy) Session {
	switch {
	case !pol.Rotate && now.Sub(s.UsedAt) >= pol.touchEvery():
		s.UsedAt = now
	case pol.Rotate && s.Chain.Seen.IsZero():
		s.Chain.Seen = now
	}
	return s
}

// touchEvery is how stale UsedAt may grow on a session that never rotates, so
// that its refreshes need not write each time: a hundredth of the idle limit.
func (p Policy) touchEvery() time.Duration { return p.Idle / 100 }

// rotated accepts generation p and issues the next one. Uses that no row will ask
// about again are forgotten: a row in the store is a third smaller without them.
func (s Session) rotated(p Generation, pol Policy, now time.Time) Session {
	c := s.Chain
	high := max(p, c.Newest)
	uses := append(make([]Use, 0, MaxUses+1), c.Uses[c.decided(pol, now):]...)
	uses = append(uses, Use{Generation: p, Low: c.First, High: high, At: now})
	if len(uses) > MaxUses {
		uses = uses[len(uses)-MaxUses:]
	}
	s.Chain = Chain{Newest: high + 1, First: high + 1, IssuedAt: now, Uses: uses}
	s.UsedAt = now
	return s
}

// decided is how many of the oldest uses were overtaken so long ago that rows 5
// and 7 are past for them. The last use is not among them: it is overtaken now.
// Twice the windows and an hour at least, because a clock that is set back, or a
// client whose windows were just made wider, must not make a late request a theft.
func (c Chain) decided(pol Policy, now time.Time) (n int) {
	for n+1 < len(c.Uses) && now.Sub(c.Uses[n+1].At) > max(time.Hour, 2*pol.Overlap, 2*pol.Late) {
		n++
	}
	return n
}

// recovered issues a new newest token because no answer to the last use was
// ever shown. While an honest device may still hold one of those answers they
// stay live; later they are void.
func (s Session) recovered(pol Policy, now time.Time) Session {
	c := s.Chain
	c.Uses = append([]Use(nil), c.Uses...)
	last := &c.Uses[len(c.Uses)-1]
	c.Newest++
	c.IssuedAt = now
	if now.Sub(last.At) > pol.unsettled() {
		c.First = c.Newest
	}
	last.At = now
	s.Chain, s.UsedAt = c, now
	return s
}

// unsettled is how long after a use its parent can honestly come back although
// an answer was stored: answers leave for one overlap (row 5), are awaited for
// another, and a parallel call that sent the parent just before one was stored
// is delivered late (docs/adr/0003-overlap-and-recovery-windows.md).
func (p Policy) unsettled() time.Duration { return 2*p.Overlap + p.Late }

func (c Chain) lastUse() (Use, bool) {
	if len(c.Uses) == 0 {
		return Use{}, false
	}
	return c.Uses[len(c.Uses)-1], true
}

// usedWithin reports whether g stood behind a use at most window ago.
func (c Chain) usedWithin(g Generation, window time.Duration, now time.Time) bool {
	for _, u := range c.Uses {
		if u.covers(g) && within(window, u.At, now) {
			return true
		}
	}
	return false
}

// supersededWithin reports whether g stood behind a use that was overtaken at
// most window ago: by the next use, else by a live token being shown, else by
// itself.
func (c Chain) supersededWithin(g Generation, window time.Duration, now time.Time) bool {
	for i, u := range c.Uses {
		at := u.At
		switch {
		case i+1 < len(c.Uses):
			at = c.Uses[i+1].At
		case !c.Seen.IsZero():
			at = c.Seen
		}
		if u.covers(g) && within(window, at, now) {
			return true
		}
	}
	return false
}

func (u Use) covers(g Generation) bool { return u.Low <= g && g <= u.High }

// within reports whether at lies at most window before now. A window of 0 is
// off: nothing is within it, not even the same tick.
func within(window time.Duration, at, now time.Time) bool {
	return window > 0 && now.Sub(at) <= window
}
