// Package client owns the registered applications: who they are, what they may
// ask for, and how long what they get may live.
//
// It does not own what the limits do to a session (room session) or how a
// client proves itself on the wire (the doors read, room grant decides).
package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
)

// Client is one registered application. The fields are those of a manifest
// (design.md section 10).
type Client struct {
	ID         id.Client
	Name       string
	Type       Type
	FirstParty bool
	// AuthMethod is the registered method; see Accepts for what "" means.
	AuthMethod AuthMethod
	// SecretHash is what HashSecret made of the generated or declared secret, ""
	// for none.
	SecretHash string

	JWKS                 string
	JWKSURI              string
	RedirectURIs         []string
	PostLogoutURIs       []string
	BackchannelLogoutURI string
	CORSOrigins          []string
	Grants               []string
	Scopes               []string
	Audiences            []string
	Claims               string // standard | openedx | simplejwt

	AccessFormat Format
	AccessAlg    string // "" is the server's default
	IDTokenAlg   string

	// Lifetimes and windows; nil is the server's default, 0 is off or no limit,
	// and a Recovery of AsIdle is as long as the idle limit.
	AccessLifetime   *time.Duration
	IdleLifetime     *time.Duration
	AbsoluteLifetime *time.Duration
	Refresh          Refresh
	Overlap          *time.Duration
	Late             *time.Duration
	Recovery         *time.Duration
	OnReuse          string // end | hold | notify

	PKCE       string // required | optional
	Consent    string // ask | skip
	WebView    bool
	Restricted bool
	Filters    []string
	Upstreams  []string
	Logo       string
	Accent     string
	AndroidApp string
	IOSApp     string
	Disabled   bool

	Version uint64
}

// Type is RFC 6749 section 2.1.
type Type string

// The two client types.
const (
	Public       Type = "public"
	Confidential Type = "confidential"
)

// AuthMethod is how the client authenticates at the token endpoint.
type AuthMethod string

// The methods (RFC 6749 2.3.1, RFC 7523).
const (
	AuthNone       AuthMethod = "none"
	AuthBasic      AuthMethod = "basic"
	AuthPost       AuthMethod = "post"
	AuthPrivateKey AuthMethod = "private_key_jwt"
)

// Format is the form of the client's access tokens.
type Format string

// The two forms: RFC 9068 JWT, or an opaque sealed string.
const (
	JWT    Format = "jwt"
	Opaque Format = "opaque"
)

// Refresh is the profile of the client's refresh chain.
type Refresh string

// The profiles of design.md section 3.
const (
	Strict   Refresh = "strict"
	Balanced Refresh = "balanced"
	Never    Refresh = "none"
)

// The grants a client can be registered for, by their names in a manifest.
const (
	GrantCode              = "authorization_code" // RFC 6749 4.1
	GrantRefresh           = "refresh_token"      // RFC 6749 6
	GrantPassword          = "password"           // RFC 6749 4.3, first-party clients only
	GrantClientCredentials = "client_credentials" // RFC 6749 4.4
	GrantTokenExchange     = "token_exchange"     // RFC 8693
	GrantDeviceCode        = "device_code"        // RFC 8628
)

// Allows reports whether the client may use a grant.
func (c Client) Allows(grant string) bool { return slices.Contains(c.Grants, grant) }

// Accepts reports whether the client may authenticate by method m. A method
// that was registered is the only one. With none registered a public client
// only names itself, and a confidential client may send its secret in the
// header or in the body: the first must be offered (RFC 6749 section 2.3.1), and
// phone and Django clients in the field use the second.
func (c Client) Accepts(m AuthMethod) bool {
	switch {
	case c.AuthMethod != "":
		return m == c.AuthMethod
	case c.Type == Confidential:
		return m == AuthBasic || m == AuthPost
	}
	return m == AuthNone
}

// Browser reports whether the client runs in a browser: a public client that
// calls from a web origin. Its sign-ins have the browser's idle limit.
func (c Client) Browser() bool { return c.Type == Public && len(c.CORSOrigins) > 0 }

// The outcomes of a Store that change what its caller does next.
var (
	ErrNotFound = errors.New("client: not found")
	ErrChanged  = errors.New("client: changed meanwhile")
)

// Store keeps clients. There are few; a server holds them all in memory.
type Store interface {
	// All lists every client, in order of id.
	All(ctx context.Context) ([]Client, error)
	// Revision changes whenever any client changed.
	Revision(ctx context.Context) (uint64, error)
	// Put writes c.Next, whose stored version is c.Next.Version-1 (0 for a new
	// one), and what comes along in the same transaction. ErrChanged otherwise.
	Put(ctx context.Context, c Change) error
	// Delete removes a client; ErrNotFound when there is none. Its sessions never
	// stand again, not even when another client is registered under its id.
	Delete(ctx context.Context, which id.Client, along Along) error
}

// Change is one replacement of a client.
type Change struct {
	Next Client
	Along
}

// Along is what a change writes besides the client, in its transaction: what
// followers of revocations must hear, and the account of who did it.
type Along struct {
	Entries []feed.Entry
	Audit   []audit.Event
}
