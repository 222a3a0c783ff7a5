package client

import (
	"slices"
	"time"
)

// ScopeUserID opens the claim user_id of clients with claims = "openedx".
const ScopeUserID = "user_id"

// Available lists the scopes the client may be granted. It is what the client is
// registered for; a client with claims = "openedx" also has the four scopes that
// every application of an Open edX has, and user_id where its users sign in by
// password, because their APIs were written against that.
func (c Client) Available() []string {
	if c.Claims != OpenEdX {
		return c.Scopes
	}
	all := slices.Clone(EdXDefaults())
	if c.Allows(GrantPassword) {
		all = append(all, ScopeUserID)
	}
	for _, s := range c.Scopes {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// EdXDefaults are the scopes that an Open edX application gets when it asks for
// none, in the order of the answer.
func EdXDefaults() []string { return []string{"read", "write", "email", "profile"} }

// AccessLife is how long an access token of one form lives. A client that may
// have both forms (claims = "openedx") has a life for each: an opaque one is asked
// about at every use, so it may live as long as its server of today lets it, but
// never beyond the idle limit.
func (c Client) AccessLife(d Defaults, f Format) time.Duration {
	l := c.Limits(d)
	if f == "" || f == c.AccessFormat || f != Opaque {
		return l.Access
	}
	life := d.opaque(c.Claims)
	if l.Idle > 0 && life > l.Idle {
		life = l.Idle
	}
	return life
}

// opaque is the usual life of an opaque access token under a claim set.
func (d Defaults) opaque(claims string) time.Duration {
	if claims == OpenEdX && d.OpenEdXOpaque > 0 {
		return d.OpenEdXOpaque
	}
	return d.Opaque
}
