package upstream

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Google's addresses and names.
const (
	googleKeys      = "https://www.googleapis.com"
	googleTokenInfo = "https://oauth2.googleapis.com"
	googleUserInfo  = "https://openidconnect.googleapis.com"
)

var googleIssuers = []string{"https://accounts.google.com", "accounts.google.com"}

// google verifies ID tokens by their signature. An access token is opaque: Google
// tells whom it was made for (tokeninfo), and only then who its user is
// (userinfo). What userinfo says proves nothing by itself, because it answers to
// a token of any app.
type google struct {
	Upstream
	calls *caller
	ids   idTokens
	now   func() time.Time
}

func (g *google) verify(ctx context.Context, p Presented) (Identity, error) {
	if p.Form == IDToken || p.Form == Any && looksSigned(p.Token.Reveal()) {
		claims, who, err := g.ids.verify(ctx, p)
		who.Authoritative = googleGave(claims, who.Email)
		return who, err
	}
	return g.opaque(ctx, p)
}

func (g *google) opaque(ctx context.Context, p Presented) (Identity, error) {
	info, err := ask(ctx, g.calls, g.at(googleTokenInfo, "/tokeninfo"), url.Values{"access_token": {p.Token.Reveal()}}, "")
	if err != nil {
		return Identity{}, err
	}
	expires, err := g.checkInfo(info)
	if err != nil {
		return Identity{}, err
	}
	claims, err := ask(ctx, g.calls, g.at(googleUserInfo, "/v1/userinfo"), nil, p.Token.Reveal())
	if err != nil {
		return Identity{}, err
	}
	if said := info.text("sub"); said != "" && said != claims.text("sub") {
		return Identity{}, rejected("tokeninfo and userinfo name two people")
	}
	who := Identity{Subject: claims.text("sub"), Email: claims.text("email"), EmailVerified: claims.yes("email_verified"),
		Name: claims.text("name"), GivenName: claims.text("given_name"), FamilyName: claims.text("family_name"), Expires: expires}
	who.Authoritative = googleGave(claims, who.Email)
	return who, nil
}

// checkInfo holds what tokeninfo says to our apps and to the time.
func (g *google) checkInfo(info object) (expires time.Time, err error) {
	aud, azp := info.text("aud"), info.text("azp")
	if !slices.Contains(g.ClientIDs, aud) || azp != "" && !slices.Contains(g.ClientIDs, azp) {
		return time.Time{}, rejected("made for an app that is not ours")
	}
	seconds, err := strconv.ParseInt(info.text("exp"), 10, 64) // tokeninfo writes numbers as text
	if err != nil {
		at, ok := info.time("exp")
		if !ok {
			return time.Time{}, rejected("without an end")
		}
		seconds = at.Unix()
	}
	expires = time.Unix(min(max(seconds, 0), lastSecond), 0).UTC()
	if !g.now().Before(expires) {
		return time.Time{}, rejected("expired")
	}
	return expires, nil
}

// googleGave reports whether Google itself gives out an address: a Gmail one, or
// one of a domain that it runs (hd). Any other was verified once, and may belong
// to somebody else by now.
func googleGave(claims object, email string) bool {
	at := strings.LastIndex(email, "@")
	if at < 1 {
		return false
	}
	domain := strings.ToLower(email[at+1:])
	return domain == "gmail.com" || claims.text("hd") != "" && strings.EqualFold(claims.text("hd"), domain)
}
