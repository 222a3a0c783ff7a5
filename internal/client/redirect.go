package client

import (
	"slices"
	"strconv"
	"strings"
)

// The loopback literals whose port may vary (RFC 8252 section 7.3). The name
// localhost is not one: what it resolves to is up to the machine (section 8.3).
var loopbacks = [...]string{"http://127.0.0.1", "http://[::1]"}

// MatchesRedirect reports whether a requested redirect_uri is a registered one,
// byte for byte (RFC 9700 section 2.1). Nothing is decoded, folded or normalised:
// every difference between two readers of a URI is a way out for a code. The one
// exception is the port of a loopback literal at a public client, which an app
// learns from its operating system when it starts to listen.
func (c Client) MatchesRedirect(uri string) bool {
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return registered == uri || c.Type == Public && sameButPort(registered, uri)
	})
}

// MatchesPostLogout reports whether a post_logout_redirect_uri is a registered
// one, by the same rule.
func (c Client) MatchesPostLogout(uri string) bool {
	return slices.ContainsFunc(c.PostLogoutURIs, func(registered string) bool {
		return registered == uri || c.Type == Public && sameButPort(registered, uri)
	})
}

// sameButPort reports whether two URIs have the same loopback literal and the
// same bytes after the port.
func sameButPort(registered, uri string) bool {
	for _, host := range loopbacks {
		a, ok := afterPort(registered, host)
		if !ok {
			continue
		}
		b, ok := afterPort(uri, host)
		return ok && a == b
	}
	return false
}

// afterPort strips host and an optional port and returns the rest, which is
// empty or begins the path or the query: so "http://127.0.0.1.evil" and
// "http://127.0.0.1:80@evil" have no such rest.
func afterPort(uri, host string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(uri, host)
	if !ok {
		return "", false
	}
	if port, found := strings.CutPrefix(rest, ":"); found {
		digits := 0
		for digits < len(port) && port[digits] >= '0' && port[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseUint(port[:digits], 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return "", false
		}
		rest = port[digits:]
	}
	return rest, rest == "" || rest[0] == '/' || rest[0] == '?'
}

// AllowsOrigin reports whether scripts of a web origin may call on behalf of the
// client (CORS). Origins compare byte for byte.
func (c Client) AllowsOrigin(origin string) bool { return slices.Contains(c.CORSOrigins, origin) }
