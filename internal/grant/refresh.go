package grant

import (
	"context"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// refresh is RFC 6749 section 6 with the chain of design.md section 3. Nothing
// here waits for a password hash, an upstream or a limit.
func (is *Issuer) refresh(ctx context.Context, c client.Client, r Request) (earned, error) {
	if r.RefreshToken.Empty() {
		return earned{}, fault.New(fault.InvalidRequest, "refresh_token is missing")
	}
	turn, err := is.Sessions.Refresh(ctx, r.RefreshToken, c.ID, is.terms(c, r.Scope))
	if err != nil {
		return earned{}, err
	}
	scope := both(turn.Session.Scope, c.Available())
	if r.Scope != "" {
		scope, err = scopeOf(r.Scope, fields(scope))
		if err != nil {
			return earned{}, err
		}
	}
	return earned{scope: scope, turn: &turn, now: turn.Now}, nil
}

// terms gives a session's policy, or refuses a scope wider than the grant
// before the token is spent. A narrower scope narrows one access token; the
// next refresh without scope has the whole grant again.
func (is *Issuer) terms(c client.Client, asked string) session.Terms {
	return func(s session.Session) (session.Policy, error) {
		if asked != "" {
			_, err := scopeOf(asked, fields(both(s.Scope, c.Available())))
			if err != nil {
				return is.policyOf(c, s.Grant), err
			}
		}
		return is.policyOf(c, s.Grant), nil
	}
}
