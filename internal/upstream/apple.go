package upstream

import (
	"context"
	"slices"
	"strings"
)

const appleHost = "https://appleid.apple.com"

// apple verifies identity tokens. Apple has no interface that tells whom an
// access token was made for, so an app shows the identity token.
type apple struct{ ids idTokens }

func (a *apple) verify(ctx context.Context, p Presented) (Identity, error) {
	if p.Form == AccessToken && !looksSigned(p.Token.Reveal()) {
		return Identity{}, rejected("no identity token")
	}
	_, who, err := a.ids.verify(ctx, p)
	at := strings.LastIndex(who.Email, "@")
	who.Authoritative = at > 0 && slices.Contains(appleDomains, strings.ToLower(who.Email[at+1:]))
	return who, err
}

// appleDomains are the addresses that Apple gives out.
var appleDomains = []string{"icloud.com", "me.com", "mac.com", "privaterelay.appleid.com"}
