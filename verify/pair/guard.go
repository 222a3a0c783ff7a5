package pair

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"holdfast.example/verify"
)

// The names of simplejwt, which Config may change.
const (
	DefaultScheme = "Bearer"
	DefaultRealm  = "api"
)

// The values of the claim token_type that a service may accept.
const (
	TypeAccess  = "access"
	TypeSliding = "sliding"
)

var (
	// ErrUserNotFound is what Config.User says of an id that it does not know.
	ErrUserNotFound = errors.New("pair: user not found")
	// ErrUserInactive is what Config.User says of a user who may do nothing.
	ErrUserInactive = errors.New("pair: user is inactive")
)

// Config says how requests are let in. Tokens is enough.
type Config struct {
	// Tokens checks access tokens: a *verify.Verifier, or *verify.Issuers. Required.
	Tokens verify.Checker

	// Types are the token types that are accepted; nil is access alone. Tokens of
	// django-rest-framework-jwt name no type: accept them with "".
	Types []string

	// Schemes are the words before the token, with their case; nil is "Bearer".
	// Clients of django-rest-framework-jwt say "JWT".
	Schemes []string

	// Realm is the realm of challenges; "" is "api".
	Realm string

	// User, when set, looks the user up whose id a good token carries. ErrUserNotFound
	// and ErrUserInactive are answered in simplejwt's words; any other error is 503.
	User func(ctx context.Context, id int64) error

	// OnRefusal is told about every request that is not let in; count by
	// verify.KindOf(err). The request's headers hold tokens and belong in no log.
	OnRefusal func(r *http.Request, err error)

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Guard is net/http middleware. Make it once, with NewGuard; it is safe for
// concurrent use.
type Guard struct{ config Config }

// NewGuard makes a Guard.
func NewGuard(config Config) (*Guard, error) {
	if config.Tokens == nil {
		return nil, errors.New("pair: Config.Tokens is nil; set it to the Verifier that verify.New made")
	}
	if config.Types == nil {
		config.Types = []string{TypeAccess}
	}
	for _, t := range config.Types {
		if _, known := classes[t]; !known {
			return nil, errors.New(`pair: Config.Types may hold "access", "sliding" and ""; a refresh token opens no API`)
		}
	}
	if config.Schemes == nil {
		config.Schemes = []string{DefaultScheme}
	}
	for _, s := range config.Schemes {
		if s == "" || !plain(s) || strings.Contains(s, " ") {
			return nil, errors.New("pair: Config.Schemes holds single words of printable ASCII")
		}
	}
	if config.Realm == "" {
		config.Realm = DefaultRealm
	}
	if !plain(config.Realm) {
		return nil, errors.New(`pair: Config.Realm must be printable ASCII without " and \`)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Guard{config: config}, nil
}

// plain reports whether a text can stand in a header without quoting.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' })
}

// Need says what a route asks of a request beyond being signed in. The zero value
// asks nothing more.
type Need struct {
	// Scopes must all be granted.
	Scopes []string
}

// User is who stands behind a request.
type User struct {
	// ID is the user's id, as Django knows it.
	ID int64
	// Username is set by django-rest-framework-jwt's dialect alone.
	Username string
	// Type is the token's type.
	Type string
	// Claims is the whole token.
	Claims *verify.Claims
}

// Protect returns a handler that calls next for requests that are signed in and
// meet need; FromContext gives next the user.
func (g *Guard) Protect(need Need, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := g.Check(r, need)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), u)))
	})
}

// Check returns the user of the request if there is one who meets need. It and
// Refuse are Protect in two halves, for other frameworks.
func (g *Guard) Check(r *http.Request, need Need) (*User, error) {
	token, no := g.token(r.Header.Values("Authorization"))
	if no != nil {
		return nil, no
	}
	claims, err := g.config.Tokens.Verify(r.Context(), token, g.config.Now())
	if err == nil && claims.Confirmation != "" {
		err = &verify.Error{Kind: verify.Bound} // nothing here checks the proof
	}
	if err != nil {
		return nil, g.refused(err, token)
	}
	u, no := g.userOf(claims)
	if no != nil {
		return nil, no
	}
	if g.config.User != nil {
		if err := g.config.User(r.Context(), u.ID); err != nil {
			return nil, unknown(err)
		}
	}
	for _, s := range need.Scopes {
		if !claims.HasScope(s) {
			return nil, forbidden()
		}
	}
	return u, nil
}

// token takes the token out of the Authorization header. A scheme of another case is
// none of ours, as in simplejwt.
func (g *Guard) token(values []string) (string, *refusal) {
	if len(values) > 1 {
		return "", malformedHeader()
	}
	words := strings.Fields(strings.Join(values, ""))
	switch {
	case len(words) == 0 || !slices.Contains(g.config.Schemes, words[0]):
		return "", absent()
	case len(words) != 2:
		return "", malformedHeader()
	}
	return words[1], nil
}

// userOf reads the user out of a good token.
func (g *Guard) userOf(c *verify.Claims) (*User, *refusal) {
	var said struct {
		Type     string `json:"token_type"`
		UserID   int64  `json:"user_id"`
		Username string `json:"username"`
	}
	err := c.Decode(&said)
	if err != nil {
		return nil, g.notValid(verify.Malformed, invalid, err)
	}
	if !slices.Contains(g.config.Types, said.Type) {
		return nil, g.notValid(verify.WrongType, wrongType, &verify.Error{Kind: verify.WrongType})
	}
	if said.UserID == 0 {
		return nil, nobody()
	}
	return &User{ID: said.UserID, Username: said.Username, Type: said.Type, Claims: c}, nil
}

type contextKey struct{}

// NewContext returns a context that carries a user. Protect does it for handlers;
// tests of handlers do it themselves.
func NewContext(ctx context.Context, u *User) context.Context {
	return context.WithValue(ctx, contextKey{}, u)
}

// FromContext returns the user of the request. ok is false where no Guard stood in
// the way.
func FromContext(ctx context.Context) (u *User, ok bool) {
	u, ok = ctx.Value(contextKey{}).(*User)
	return u, ok
}
