package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// idTokens verifies the signed tokens of one issuer.
type idTokens struct {
	keys *keySet
	// issuer reports whether the claims' iss is the one that is trusted.
	issuer func(claims object) bool
	// apps are our client ids.
	apps []string
	now  func() time.Time
}

// verify is OIDC Core section 3.1.3.7: the signature, then who made it, for whom,
// when, and for which request. Errors are those of Registry.Verify.
func (v idTokens) verify(ctx context.Context, p Presented) (object, Identity, error) {
	s, ok := split(p.Token.Reveal())
	if !ok {
		return nil, Identity{}, rejected("no signed token")
	}
	if s.typ != "" && !strings.EqualFold(s.typ, "JWT") {
		return nil, Identity{}, rejected("a token of type %.20q", s.typ)
	}
	if s.alg != "RS256" && s.alg != "ES256" { // before anything is fetched
		return nil, Identity{}, rejected("signed with %.20q", s.alg)
	}
	key, found, err := v.keys.find(ctx, s.kid)
	switch {
	case err != nil:
		return nil, Identity{}, err
	case !found:
		return nil, Identity{}, rejected("signed with a key that the provider does not publish")
	case !key.verifies(s):
		return nil, Identity{}, rejected("a signature that does not hold")
	}
	claims, err := parse(s.payload)
	if err != nil {
		return nil, Identity{}, rejected("claims: %w", err)
	}
	who, err := v.check(claims, p.Nonce)
	return claims, who, err
}

// check holds the claims to their rules.
func (v idTokens) check(claims object, nonce string) (Identity, error) {
	now := v.now()
	expires, hasEnd := claims.time("exp")
	issued, hasStart := claims.time("iat")
	from, hasFrom := claims.time("nbf")
	for _, rule := range []struct {
		broken bool
		what   string
	}{
		{!v.issuer(claims), "another issuer"},
		{!ours(claims, v.apps), "made for an app that is not ours"},
		{!hasEnd || !now.Before(expires.Add(Skew)), "expired"},
		{!hasStart || issued.After(now.Add(Skew)), "issued in the future"},
		{hasStart && now.Sub(issued) > MaxAge, "too old to tell of a sign-in"},
		{claims.has("nbf") && (!hasFrom || from.After(now.Add(Skew))), "not good yet"},
		{!rightNonce(claims, nonce), "another nonce"},
	} {
		if rule.broken {
			return Identity{}, rejected("%s", rule.what)
		}
	}
	signedIn := issued
	if at, ok := claims.time("auth_time"); ok && at.Before(signedIn) {
		signedIn = at
	}
	return Identity{Subject: claims.text("sub"), Email: claims.text("email"), EmailVerified: claims.yes("email_verified"),
		Name: claims.text("name"), GivenName: claims.text("given_name"), FamilyName: claims.text("family_name"),
		AuthTime: signedIn, Expires: expires, SingleUse: true}, nil
}

// ours reports whether a token was made for apps of ours and for nobody else. azp
// is who asked for it; where it stands, it must be ours too.
func ours(claims object, apps []string) bool {
	audience := claims.texts("aud")
	if len(audience) == 0 {
		return false
	}
	for _, a := range audience {
		if !slices.Contains(apps, a) {
			return false
		}
	}
	return !claims.has("azp") || slices.Contains(apps, claims.text("azp"))
}

// rightNonce compares the nonce of a token with what the app sends. Apple's and
// Google's libraries are given the SHA-256 of it, so that the plain one is known
// to the app alone. A token that has a nonce and comes without one may be stolen.
func rightNonce(claims object, nonce string) bool {
	said := claims.text("nonce")
	if nonce == "" {
		return !claims.has("nonce")
	}
	sum := sha256.Sum256([]byte(nonce))
	return equal(said, nonce) || equal(said, hex.EncodeToString(sum[:])) || equal(said, segment.EncodeToString(sum[:]))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// signedBy reports whether an issuer is this upstream's.
func (u Upstream) signedBy(iss string) bool {
	if iss == "" {
		return false
	}
	if u.Kind == Microsoft && u.Issuer == "" {
		return strings.HasPrefix(iss, microsoftHost+"/") || u.BaseURL != "" && strings.HasPrefix(iss, strings.TrimSuffix(u.BaseURL, "/")+"/")
	}
	return slices.Contains(u.issuers(), iss)
}

// issuers are the names that the provider signs with: the declared one, else its
// usual ones, and where its addresses were replaced that address too.
func (u Upstream) issuers() []string {
	if u.Issuer != "" {
		if u.Kind == Google && slices.Contains(googleIssuers, u.Issuer) {
			return googleIssuers
		}
		return []string{u.Issuer}
	}
	all := map[Kind][]string{Google: googleIssuers, Facebook: facebookIssuers, Apple: {appleHost}}[u.Kind]
	if u.BaseURL != "" {
		all = append(slices.Clone(all), strings.TrimSuffix(u.BaseURL, "/"))
	}
	return all
}

// at is an address of the provider, at its own host or at the one that replaces
// all of them.
func (u Upstream) at(host, path string) string {
	if u.BaseURL != "" {
		host = strings.TrimSuffix(u.BaseURL, "/")
	}
	return host + path
}
