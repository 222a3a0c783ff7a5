// Package upstream owns what other sign-in providers say about people: which
// providers there are, how a token of theirs is proved to be genuine and made
// for one of our apps, and which account a provider's subject is linked to.
//
//	Presented ──▶ provider ──▶ Identity ──▶ Link ──▶ id.User
//
// A token counts when three things hold: the provider vouches for it (its
// signature, or its own answer about an opaque one), it is still good, and it was
// made for an app of ours. The last one matters most: without it whoever runs any
// other app at the provider could sign in here as his own users (OAuth 2.0
// security BCP, RFC 9700 section 4.10).
//
// The room does not own accounts (room user), nor what an identity earns and when
// one may be linked by its e-mail address (room grant). No token of a provider is
// kept or logged.
package upstream

import (
	"errors"
	"slices"
	"time"

	"holdfast.example/internal/secret"
)

// Kind is which provider it is, and so which rules its tokens are held to.
type Kind string

// The kinds.
const (
	Google    Kind = "google"
	Facebook  Kind = "facebook"
	Apple     Kind = "apple"
	Microsoft Kind = "microsoft"
	// OIDC is any issuer of ID tokens that publishes OpenID Connect Discovery 1.0.
	OIDC Kind = "oidc"
)

// Rule is what may link a subject that is not linked yet.
type Rule string

// The rules.
const (
	// LinkNever: only an operator links accounts.
	LinkNever Rule = "never"
	// LinkVerifiedEmail: also the first sign-in, when both sides have verified the
	// same e-mail address and the provider is the authority for it.
	LinkVerifiedEmail Rule = "verified_email"
)

// Upstream is one provider as an operator declared it.
type Upstream struct {
	ID   string
	Kind Kind
	// ClientIDs are our apps' ids at the provider.
	ClientIDs []string
	// Secret is our app's secret there; Facebook needs it.
	Secret secret.Text `json:"-"`
	// Issuer is who signs: needed for OIDC, and for Microsoft the one tenant whose
	// people may sign in.
	Issuer string
	// BaseURL replaces the provider's own addresses.
	BaseURL string
	Link    Rule
	// Disabled: nobody signs in through it. Links stay.
	Disabled bool

	Version uint64 `json:"-"`
}

// same reports whether two declarations say the same.
func (u Upstream) same(o Upstream) bool {
	return u.ID == o.ID && u.Kind == o.Kind && slices.Equal(u.ClientIDs, o.ClientIDs) && u.Secret.Equal(o.Secret) &&
		u.Issuer == o.Issuer && u.BaseURL == o.BaseURL && u.Link == o.Link
}

// Form is what kind of token somebody says he shows.
type Form uint8

// The forms.
const (
	// Any: the token itself tells.
	Any Form = iota
	// IDToken is a signed statement of the provider (OIDC Core section 2).
	IDToken
	// AccessToken is what the provider's API takes; only the provider can read it.
	AccessToken
)

// Presented is a provider's token as an app shows it.
type Presented struct {
	Token secret.Text
	Form  Form
	// Nonce is what the app bound its request at the provider to, "" for none.
	Nonce string
}

// Identity is who the provider says somebody is.
type Identity struct {
	// Upstream is the upstream's id, Subject the provider's own name of the person
	// there. The two together are the identity; nothing else is.
	Upstream, Subject string
	Email             string
	// EmailVerified is set when the provider says so, in so many words.
	EmailVerified bool
	// Authoritative is set when the provider itself gives out the address, so that
	// nobody else can have it: a Google account's gmail.com address, for one.
	Authoritative               bool
	Name, GivenName, FamilyName string
	// AuthTime is when the person proved himself there, zero when nobody says.
	AuthTime time.Time
	// Expires is when the token ends. SingleUse: it is a statement about one sign-in
	// and may be shown once.
	Expires   time.Time
	SingleUse bool
}

// ErrRejected is the private cause of every refusal of a provider's token: it is
// not genuine, no longer good, or not made for one of our apps.
var ErrRejected = errors.New("upstream: the token is not accepted")

// The limits of what a provider may say about a person.
const (
	// MaxToken is the longest token that is looked at, in bytes.
	MaxToken = 16 << 10
	// MaxSubject is OIDC Core section 2: a subject has at most 255 ASCII characters.
	MaxSubject = 255
	maxEmail   = 254 // RFC 5321
	maxName    = 200
	// Skew is how far a provider's clock may be from ours.
	Skew = 30 * time.Second
	// MaxAge is how long ago a statement about a sign-in may have been made. It also
	// bounds how long a used one must be remembered.
	MaxAge = 12 * time.Hour
)
