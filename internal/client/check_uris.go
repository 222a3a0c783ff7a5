package client

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// privateScheme is a private-use scheme in reverse-DNS form (RFC 8252 section
// 7.1). The dot keeps out javascript:, data:, file: and every other scheme that
// a browser acts on.
var privateScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+-]*(\.[A-Za-z0-9+_-]+)+$`)

// plainHost is a host as an address of ours writes it: a name or an IP literal,
// nothing encoded, and perhaps a port.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

func redirects(c *checker) {
	for _, l := range []struct {
		field string
		uris  []string
	}{{"redirect_uris", c.RedirectURIs}, {"post_logout_redirect_uris", c.PostLogoutURIs}} {
		c.each(l.field, l.uris, func(field, uri string) {
			reason, mend := badRedirect(uri)
			if reason != "" {
				c.refuse(field, fmt.Sprintf("%q", clip(uri)), reason, mend)
			}
		})
	}
}

// badRedirect says what is wrong with a redirect URI, "" for nothing. Since a
// request is compared byte for byte, what is registered must be written the one
// way that every reader understands alike.
func badRedirect(uri string) (reason, mend string) {
	if reason = badText(uri); reason != "" {
		return reason, "write it exactly as the app sends it"
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch {
	case scheme == "https":
		return badHTTPS(uri)
	case scheme == "http":
		return badLoopback(uri)
	case strings.EqualFold(scheme, "https"), strings.EqualFold(scheme, "http"):
		return "a scheme is written in lower case", "write " + strings.ToLower(scheme)
	case !privateScheme.MatchString(scheme):
		return "a scheme of an app's own contains a dot, so that it belongs to somebody (RFC 8252 section 7.1)", `write your domain backwards: "com.example.app:/callback"`
	case !strings.HasPrefix(rest, "/") || strings.Contains(authority(rest), "@"):
		return "after the scheme stands a path", `write "` + scheme + `:/callback"`
	}
	return "", ""
}

// badText refuses what no address may contain.
func badText(uri string) string {
	switch {
	case uri == "":
		return "the address is empty"
	case len(uri) > maxURI:
		return fmt.Sprintf("the address is longer than %d bytes", maxURI)
	case strings.ContainsFunc(uri, func(r rune) bool { return r <= 0x20 || r > 0x7e }):
		return "an address is printable ASCII without spaces"
	case strings.ContainsAny(uri, "\\<>\"{}|^`"):
		return "a character that no address may contain"
	case strings.Contains(uri, "#"):
		return "a fragment is not allowed (RFC 6749 section 3.1.2)"
	case strings.Contains(uri, "*"):
		return "wildcards are not supported: every address is registered in full (RFC 9700 section 2.1)"
	}
	return ""
}

func badHTTPS(uri string) (reason, mend string) {
	u, err := url.Parse(uri)
	host := authority(strings.TrimPrefix(uri, "https:"))
	switch {
	case strings.Contains(host, "@"):
		return "a user before the host makes the host look like another one", "remove everything before @"
	case err != nil || !plainHost.MatchString(host):
		return "this is not an https address", `write "https://app.example/callback"`
	case hasDots(u):
		return "a path with . or .. in it means different things to different readers", "write the path it leads to"
	}
	return "", ""
}

// badLoopback holds plain http to the two loopback literals.
func badLoopback(uri string) (reason, mend string) {
	u, err := url.Parse(uri)
	for _, host := range loopbacks {
		if _, ok := afterPort(uri, host); ok && err == nil && u.User == nil && !hasDots(u) {
			return "", ""
		}
	}
	if err == nil && u.Hostname() == "localhost" {
		return "what localhost means is up to the machine (RFC 8252 section 8.3)", "write http://127.0.0.1 and let the app listen there; the port may vary"
	}
	return "plain http is only for an app on the same machine: http://127.0.0.1 or http://[::1]", "use https"
}

// authority is what stands between // and the path.
func authority(rest string) string {
	a, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(a, "/?#"); i >= 0 {
		a = a[:i]
	}
	return a
}

func hasDots(u *url.URL) bool {
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func addresses(c *checker) {
	if c.BackchannelLogoutURI != "" {
		c.address("backchannel_logout_uri", c.BackchannelLogoutURI, true)
	}
	c.each("cors_origins", c.CORSOrigins, func(field, origin string) {
		if reason := badOrigin(origin); reason != "" {
			c.refuse(field, fmt.Sprintf("%q", clip(origin)), reason, `write "https://app.example", as a browser sends it in Origin`)
		}
	})
}

// address checks an address that the server calls or a page shows: https, or on
// the machine itself where that makes sense.
func (c *checker) address(field, uri string, onMachine bool) {
	u, err := url.Parse(uri)
	reason := badText(uri)
	switch {
	case reason != "":
	case err != nil || !plainHost.MatchString(u.Host) || u.User != nil:
		reason = "this is not a plain address"
	case u.Scheme == "https", onMachine && u.Scheme == "http" && loopback(u.Hostname()):
		return
	default:
		reason = "this address is not https"
	}
	c.refuse(field, fmt.Sprintf("%q", clip(uri)), reason, `write "https://app.example/..."`)
}

// badOrigin says what is wrong with a web origin, "" for nothing. It must be
// byte for byte what a browser sends, or it would never match.
func badOrigin(origin string) string {
	u, err := url.Parse(origin)
	switch {
	case badText(origin) != "" || err != nil || !plainHost.MatchString(u.Host):
		return "this is no web origin: wildcards, null and paths are not supported"
	case origin != u.Scheme+"://"+u.Host:
		return "an origin is scheme, host and port, without a path and in lower case"
	case origin != strings.ToLower(origin):
		return "a browser sends the host in lower case"
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80", strings.HasSuffix(u.Host, ":"):
		return "a browser leaves out the scheme's own port"
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "scripts from plain http can be replaced on the way"
	case u.Scheme != "https" && u.Scheme != "http":
		return "an origin is https"
	}
	return ""
}

// loopback reports whether a host name means the machine itself.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
