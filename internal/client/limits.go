package client

import (
	"math"
	"time"
)

// The caps that no setting lifts (design.md section 3).
const (
	// AccessCap is the longest life of a JWT access token: what a resource server
	// that follows no revocations believes for.
	AccessCap = time.Hour
	// OpaqueCap is the longest life of an opaque access token, which is asked
	// about at every use and therefore dies at once when its session ends.
	OpaqueCap = 10 * time.Hour
	// OverlapCap is the longest overlap. A thief who replays inside it is not
	// seen on an unbound session.
	OverlapCap = 10 * time.Minute
	// OverlapUsual is the longest overlap that needs no second thought.
	OverlapUsual = time.Minute
)

// AsIdle as a Recovery is "as long as the idle limit".
const AsIdle time.Duration = -1

// unlimited is a window that never closes.
const unlimited time.Duration = math.MaxInt64

// Defaults are the server's settings for clients that set nothing.
type Defaults struct {
	// Access is the life of a JWT access token, OpenEdXAccess that of a client
	// with claims = "openedx", whose apps were written for an hour; Opaque that of
	// an opaque one.
	Access, OpenEdXAccess, Opaque time.Duration
	// OpenEdXOpaque is the life of an opaque one of a client with claims =
	// "openedx"; 0 is Opaque.
	OpenEdXOpaque time.Duration
	// Idle is the idle limit of phones and servers, BrowserIdle of clients in a
	// browser; Absolute is that of all. 0 is none.
	Idle, BrowserIdle, Absolute time.Duration
	// Overlap, Late and Recovery are the windows of the refresh chain; 0 is off,
	// and Recovery may be AsIdle.
	Overlap, Late, Recovery time.Duration
}

// Standard are the defaults of a server whose settings say nothing.
func Standard() Defaults {
	return Defaults{
		Access: 15 * time.Minute, OpenEdXAccess: time.Hour, Opaque: time.Hour, OpenEdXOpaque: OpaqueCap,
		Idle: 90 * 24 * time.Hour, BrowserIdle: 14 * 24 * time.Hour,
		Overlap: time.Minute, Late: 5 * time.Minute, Recovery: AsIdle,
	}
}

// Limits is what one client's sign-ins and tokens may live, resolved.
type Limits struct {
	// Access is the life of an access token.
	Access time.Duration
	// Idle slides with each refresh, Absolute never moves; 0 is no limit.
	Idle, Absolute time.Duration
	// Overlap, Late and Recovery are the windows of the refresh chain; 0 is off.
	Overlap, Late, Recovery time.Duration
	// Rotate is false for the refresh profile none.
	Rotate bool
}

// Limits resolves the client's registration with the server's defaults.
func (c Client) Limits(d Defaults) Limits {
	l := Limits{
		Access:   or(c.AccessLifetime, c.defaultAccess(d)),
		Idle:     or(c.IdleLifetime, c.defaultIdle(d)),
		Absolute: or(c.AbsoluteLifetime, d.Absolute),
		Rotate:   c.Refresh != Never,
	}
	if c.Refresh == Strict { // RFC 9700 section 4.14 to the letter
		return l
	}
	l.Overlap, l.Late, l.Recovery = or(c.Overlap, d.Overlap), or(c.Late, d.Late), or(c.Recovery, d.Recovery)
	if l.Recovery == AsIdle {
		l.Recovery = l.Idle
		if l.Idle == 0 {
			l.Recovery = unlimited
		}
	}
	return l
}

func (c Client) defaultAccess(d Defaults) time.Duration {
	switch {
	case c.AccessFormat == Opaque:
		return d.opaque(c.Claims)
	case c.Claims == OpenEdX:
		return d.OpenEdXAccess
	}
	return d.Access
}

func (c Client) defaultIdle(d Defaults) time.Duration {
	if c.Browser() {
		return d.BrowserIdle
	}
	return d.Idle
}

// or is what the client set, else the default.
func or(set *time.Duration, otherwise time.Duration) time.Duration {
	if set == nil {
		return otherwise
	}
	return *set
}
