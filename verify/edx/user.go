package edx

import (
	"context"
	"slices"
	"strings"

	"holdfast.example/verify"
)

// supportedMajor is the highest major version of the claim set that this package
// understands; a token that claims a higher one is refused.
const supportedMajor = "1"

// User is who stands behind a request.
type User struct {
	// Username is the user's name, by which Open edX knows him.
	Username string
	// ID is the number of the account; 0 without the scope user_id.
	ID int64
	// Email, Name, GivenName and FamilyName are empty without the scopes email and
	// profile.
	Email, Name, GivenName, FamilyName string
	// EmailVerified is what Open edX calls an active user.
	EmailVerified bool
	// Administrator and Superuser are false without the scope profile.
	Administrator, Superuser bool
	// Roles are the roles in "name:context" form.
	Roles []string
	// GrantType is how the token was earned: "password", "authorization-code",
	// "client-credentials".
	GrantType string
	// Scopes are what the token allows, Filters what it is limited to ("user:me",
	// "content_org:edX").
	Scopes, Filters []string
	// Restricted: the application may only use routes that opt in.
	Restricted bool
	// Via says what carried the sign-in.
	Via Via
	// Claims is the whole token; nil for a sign-in by the service's own session.
	Claims *verify.Claims
}

// Via is what carried a sign-in.
type Via int

// The ways to be signed in.
const (
	ViaHeader  Via = iota // Authorization: JWT or Bearer
	ViaCookie             // the cookie pair of the micro-frontends
	ViaSession            // the service's own session (Config.Session)
)

// HasScope reports whether the token has exactly this scope.
func (u *User) HasScope(scope string) bool { return slices.Contains(u.Scopes, scope) }

// Orgs are the organisations whose content the token is limited to.
func (u *User) Orgs() []string { return u.filters("content_org") }

func (u *User) filters(kind string) (values []string) {
	for _, f := range u.Filters {
		if name, value, ok := strings.Cut(f, ":"); ok && name == kind {
			values = append(values, value)
		}
	}
	return values
}

// claims are the members of an Open edX token that verify does not read itself.
type claims struct {
	PreferredUsername string   `json:"preferred_username"`
	Username          string   `json:"username"`
	UserID            int64    `json:"user_id"`
	Email             string   `json:"email"`
	EmailVerified     bool     `json:"email_verified"`
	Name              string   `json:"name"`
	GivenName         string   `json:"given_name"`
	FamilyName        string   `json:"family_name"`
	Administrator     bool     `json:"administrator"`
	Superuser         bool     `json:"superuser"`
	Roles             []string `json:"roles"`
	GrantType         string   `json:"grant_type"`
	Scopes            []string `json:"scopes"`
	Filters           []string `json:"filters"`
	Restricted        bool     `json:"is_restricted"`
	Version           string   `json:"version"`
}

// userOf reads the user out of a good token.
func userOf(c *verify.Claims, via Via) (*User, *refusal) {
	var e claims
	err := c.Decode(&e)
	if err != nil {
		return nil, invalid(err)
	}
	if major, _, _ := strings.Cut(e.Version, "."); e.Version != "" && major != supportedMajor && major != "0" {
		return nil, invalid(nil)
	}
	name := e.PreferredUsername
	if name == "" {
		name = e.Username
	}
	if name == "" {
		return nil, &refusal{kind: verify.Malformed, detail: "JWT must include a preferred_username or username claim!"}
	}
	scopes := e.Scopes
	if scopes == nil { // an opaque token says them in the standard's way
		scopes = strings.Fields(c.Scope)
	}
	return &User{Username: name, ID: e.UserID, Email: e.Email, EmailVerified: e.EmailVerified, Name: e.Name, GivenName: e.GivenName,
		FamilyName: e.FamilyName, Administrator: e.Administrator, Superuser: e.Superuser, Roles: e.Roles, GrantType: e.GrantType,
		Scopes: scopes, Filters: e.Filters, Restricted: e.Restricted, Via: via, Claims: c}, nil
}

type contextKey struct{}

// NewContext returns a context that carries a user. Protect does it for
// handlers; tests of handlers do it themselves.
func NewContext(ctx context.Context, u *User) context.Context {
	return context.WithValue(ctx, contextKey{}, u)
}

// FromContext returns the user of the request. ok is false where no Guard stood in
// the way.
func FromContext(ctx context.Context) (u *User, ok bool) {
	u, ok = ctx.Value(contextKey{}).(*User)
	return u, ok
}
