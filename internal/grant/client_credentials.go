package grant

import (
	"context"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
)

// clientCredentials is RFC 6749 section 4.4: a confidential client acts for
// itself. There is no session, no refresh token, and no user.
func (is *Issuer) clientCredentials(ctx context.Context, c client.Client, r Request) (earned, error) {
	if c.Type != client.Confidential {
		return earned{}, fault.New(fault.UnauthorizedClient, "a public client cannot prove that it is itself")
	}
	c, err := is.current(ctx, r.Client)
	if err != nil && !fault.Is(err, fault.Unavailable) {
		return earned{}, err
	}
	// A store that cannot be asked stops no service: it cannot have been told of a
	// stop either, but by another node, and then followers of the record refuse the
	// token, and introspection does.
	scope, err := scopeOf(r.Scope, c.Available())
	if err != nil {
		return earned{}, err
	}
	return earned{scope: scope, now: is.Now()}, nil
}
