// Package pair owns the door for apps of djangorestframework-simplejwt and of
// django-rest-framework-jwt: their paths, their bodies and their words, under a
// prefix that a setting chooses. A door parses, calls, renders.
//
//	simplejwt   {p}/  {p}/refresh/  {p}/verify/  {p}/blacklist/            access and refresh token
//	sliding     {p}/  {p}/refresh/  {p}/verify/  {p}/blacklist/            one token that is prolonged
//	drf-jwt     {p}/get-token/  {p}/refresh-token/  {p}/verify-token/  {p}/blacklist-token/
//
// Everything is POST, as JSON or as a form, and every path answers with and
// without its trailing slash. These dialects name no client, so the setting names
// the one whose terms apply. The refresh tokens are JWTs, and obey the same chain
// as everybody's.
//
// It does not own what a grant is worth or how long a token is prolonged (room
// grant), nor what the tokens look like (room token).
package pair

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/cors"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
)

// Dialect is one of the three that this door speaks.
type Dialect string

// The dialects, by their words in the setting doors.
const (
	SimpleJWT Dialect = "simplejwt"
	Sliding   Dialect = grant.GrantSliding
	DRFJWT    Dialect = grant.GrantDRFJWT
)

// Door is one dialect under one prefix for one client.
type Door struct {
	Issuer  *grant.Issuer
	Dialect Dialect
	// Prefix is the path under which it answers, as "/api/token".
	Prefix string
	// Client is the public first-party client whose terms apply.
	Client id.Client
	// From tells the caller's address, which depends on trusted proxies.
	From func(*http.Request) netip.Addr
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
}

// Mux is the part of a router a door needs. Every path is registered with and
// without its trailing slash, and a POST is never redirected.
type Mux interface {
	Handle(path string, h http.Handler)
}

// route is one path below the prefix.
type route struct {
	path string
	does func(*Door, http.ResponseWriter, *http.Request)
}

// routes lists what each dialect has.
var routes = map[Dialect][]route{
	SimpleJWT: {{"", (*Door).obtain}, {"/refresh", (*Door).refresh}, {"/verify", (*Door).verify}, {"/blacklist", (*Door).blacklist}},
	Sliding:   {{"", (*Door).obtain}, {"/refresh", (*Door).prolong}, {"/verify", (*Door).verify}, {"/blacklist", (*Door).blacklist}},
	DRFJWT: {{"/get-token", (*Door).obtain}, {"/refresh-token", (*Door).prolong}, {"/verify-token", (*Door).verify},
		{"/blacklist-token", (*Door).blacklist}},
}

// Paths lists the paths of a dialect under a prefix, nil for an unknown one.
func Paths(d Dialect, prefix string) []string {
	var all []string
	for _, r := range routes[d] {
		all = append(all, prefix+r.path)
	}
	return all
}

// Mount registers the door's routes.
func (d *Door) Mount(m Mux) {
	for _, r := range routes[d.Dialect] {
		m.Handle(d.Prefix+r.path, d.ours(func(w http.ResponseWriter, r2 *http.Request) { r.does(d, w, r2) }))
	}
}

// Unfit says why a client cannot be the one behind this door, "" when it can, and
// what to do about it.
func Unfit(c client.Client) (reason, mend string) {
	switch {
	case c.Type != client.Public:
		return "is confidential, and this dialect has no place for a secret", `set type = "public"`
	case !c.FirstParty:
		return "is not first-party, so it may not ask for passwords", "set first_party = true for an app of your own"
	case !c.Allows(client.GrantPassword) || !c.Allows(client.GrantRefresh):
		return "is not registered for both grants that this dialect has", `set grants = ["password", "refresh_token"]`
	case c.Claims != client.SimpleJWT:
		return "has tokens without user_id and token_type", `set claims = "simplejwt"`
	case c.AccessFormat == client.Opaque:
		return "has opaque access tokens, which no app of this dialect can decode", `set access_format = "jwt"`
	}
	return "", ""
}

// allow is the one method of every path.
const allow = "POST, OPTIONS"

// What pages of other hosts may send and read (room cors).
const (
	askedHeaders = "Authorization, Content-Type"
	toldHeaders  = "WWW-Authenticate, Retry-After, " + answer.ReasonHeader
)

// ours lets POST in, answers preflights of the client's registered origins, and
// turns every other method away. No answer allows credentials: nothing here rests
// on a cookie.
func (d *Door) ours(h http.HandlerFunc) http.Handler {
	shared := cors.Rule{Allows: d.trusts, Methods: []string{http.MethodPost}, Asked: askedHeaders, Told: toldHeaders}
	next := shared.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			h(w, r)
		case http.MethodOptions:
			answer.Empty(w, http.StatusOK)
		default:
			d.note(r, fault.Newf(fault.MethodNotAllowed, "use %s", allow))
			answer.JSON(w, http.StatusMethodNotAllowed, detail{Detail: "Method " + strconv.Quote(printable(r.Method)) + " not allowed."})
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		next.ServeHTTP(w, r)
	})
}

// trusts reports whether pages of an origin belong to the door's client.
func (d *Door) trusts(origin string) bool {
	c, found := d.Issuer.Clients.Get(d.Client)
	return found && !c.Disabled && c.AllowsOrigin(origin)
}

func (d *Door) note(r *http.Request, e *fault.Error) {
	if d.Note != nil {
		d.Note(r, e)
	}
}

// printable keeps what a caller chose short and plain.
func printable(s string) string {
	const longest = 40
	if len(s) > longest {
		s = s[:longest]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || slices.Contains([]rune(`"\<>&`), r) {
			return '?'
		}
		return r
	}, s)
}
