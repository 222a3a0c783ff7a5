package server

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"holdfast.example/internal/door/account"
	"holdfast.example/internal/door/edx"
	"holdfast.example/internal/door/oauth"
	"holdfast.example/internal/door/pair"
	"holdfast.example/internal/door/web"
	"holdfast.example/internal/id"
	"holdfast.example/internal/settings"
)

// The dialects of Doors. A word of Doors is a dialect and what it needs to know,
// with single spaces between.
const (
	// DoorEdX is the apps of an Open edX. It has its own paths.
	DoorEdX = "edx"
	// DoorDOT is django-oauth-toolkit under a prefix.
	DoorDOT = "dot"
	// DoorWeb is cookies for applications in a browser. It has its own paths.
	DoorWeb = "web"
)

// allDoors lists the dialects, and how each is written.
var allDoors = []struct{ dialect, written string }{
	{DoorEdX, DoorEdX},
	{DoorWeb, DoorWeb},
	{DoorDOT, "dot /o"},
	{string(pair.SimpleJWT), "simplejwt /api/token my-app"},
	{string(pair.Sliding), "sliding /auth/sliding my-app"},
	{string(pair.DRFJWT), "drf-jwt /auth my-app"},
}

// doorWord is one word of Doors, taken apart.
type doorWord struct {
	dialect, prefix string
	client          id.Client
}

// doorOf takes a word of Doors apart. written is how the dialect is written, when
// ok is false for the shape alone; "" for an unknown dialect.
func doorOf(word string) (d doorWord, written string, ok bool) {
	parts := strings.Split(word, " ")
	for _, one := range allDoors {
		if one.dialect != parts[0] {
			continue
		}
		if len(parts) != len(strings.Split(one.written, " ")) {
			return d, one.written, false
		}
		d.dialect = parts[0]
		if len(parts) > 1 {
			d.prefix = parts[1]
		}
		if len(parts) > 2 {
			d.client = id.Client(parts[2])
		}
		return d, one.written, true
	}
	return d, "", false
}

// paths lists the paths of a door that has a prefix.
func (d doorWord) paths() []string {
	switch d.dialect {
	case DoorEdX, DoorWeb:
		return nil
	case DoorDOT:
		return oauth.DOTPaths(d.prefix)
	}
	return pair.Paths(pair.Dialect(d.dialect), d.prefix)
}

// ownPaths begin the paths that are this server's own, or another door's.
var ownPaths = []string{"/oauth2", "/.well-known", "/account", "/admin", "/revocations", "/healthz", "/readyz", "/metrics", "/dev", "/demo",
	"/web", "/login_refresh", "/csrf", "/logout", "/api/mobile", "/api/user", "/debug"}

// maxPrefix is the longest prefix of a door, in bytes.
const maxPrefix = 100

// badPrefix says what is wrong with the prefix of a door, "" for nothing.
func badPrefix(p string) string {
	plain := !strings.ContainsFunc(p, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/-_.", r)
	})
	switch {
	case !strings.HasPrefix(p, "/") || path.Clean(p) != p || p == "/" || !plain || len(p) > maxPrefix:
		return "a prefix is a plain path, as /api/token, without a slash at its end"
	case slices.ContainsFunc(ownPaths, func(own string) bool { return p == own || strings.HasPrefix(p, own+"/") }):
		return "paths under this prefix are this server's own"
	}
	return ""
}

// knownDoors holds doors to the dialects that are known here, their shape, and
// paths of their own.
func knownDoors(c *configCheck) {
	taken := map[string]bool{}
	for _, word := range c.Doors {
		shown := fmt.Sprintf("%.80q", word)
		d, written, ok := doorOf(word)
		switch {
		case written == "":
			c.refuse("doors", shown, "this door is not known here", mendDoor(word))
			continue
		case !ok:
			c.refuse("doors", shown, "this door is written in another way", fmt.Sprintf("write it like %q", written))
			continue
		case d.prefix != "" && badPrefix(d.prefix) != "":
			c.refuse("doors", shown, badPrefix(d.prefix), "choose another one")
			continue
		}
		paths := append(d.paths(), "door "+d.dialect+" "+d.prefix)
		if slices.ContainsFunc(paths, func(p string) bool { return taken[p] }) {
			reason, mend := "this door stands there twice", "remove one"
			if !taken[paths[len(paths)-1]] {
				reason, mend = "another door has the same path", "choose another prefix"
			}
			c.refuse("doors", shown, reason, mend)
		}
		for _, p := range paths {
			taken[p] = true
		}
	}
}

// mendDoor says how to write a door that is not known.
func mendDoor(word string) string {
	var dialects, all []string
	for _, one := range allDoors {
		dialects, all = append(dialects, one.dialect), append(all, fmt.Sprintf("%q", one.written))
	}
	first, _, _ := strings.Cut(word, " ")
	if s := settings.Suggest(first, dialects); s != "" {
		return "did you mean " + s + "?"
	}
	return "write one like " + strings.Join(all, ", ")
}

// ownCookieDomain holds cookie_domain to a domain that the issuer's host is
// under: a browser takes no other from us.
func ownCookieDomain(c *configCheck) {
	if c.CookieDomain == "" {
		return
	}
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return // the issuer has a rule of its own
	}
	host := u.Hostname()
	inside := host == c.CookieDomain || strings.HasSuffix(host, "."+c.CookieDomain)
	if !inside || !strings.Contains(c.CookieDomain, ".") || strings.ContainsAny(c.CookieDomain, " ;,/") {
		c.refuse("cookie_domain", fmt.Sprintf("%.80q", c.CookieDomain), "the issuer's host "+host+" is not under this domain, so no browser would keep the cookies",
			"write the domain that this server and the applications share, or remove the line")
	}
}

// open lists the doors that are open here.
func (c Config) open() []doorWord {
	var all []doorWord
	for _, word := range c.Doors {
		if d, _, ok := doorOf(word); ok {
			all = append(all, d)
		}
	}
	return all
}

// mountDialects mounts the doors besides the standard one.
func (s *Server) mountDialects(m *mux, std *oauth.Door) {
	for _, d := range s.config.open() {
		switch d.dialect {
		case DoorEdX:
			(&edx.Door{Issuer: s.Issuer, From: s.from, Note: note, CookieDomain: s.config.CookieDomain, Now: s.now}).Mount(m)
		case DoorWeb:
			s.web().Mount(m)
		case DoorDOT:
			std.MountDOT(m, d.prefix)
		default:
			(&pair.Door{Issuer: s.Issuer, Dialect: pair.Dialect(d.dialect), Prefix: d.prefix, Client: d.client, From: s.from, Note: note}).Mount(m)
		}
	}
}

// web is cookie mode.
func (s *Server) web() *web.Door {
	return &web.Door{Issuer: s.Issuer, From: s.from, Note: note, CookieDomain: s.config.CookieDomain}
}

// account is the device API. Where browsers keep their tokens in cookies, it takes
// those too.
func (s *Server) account() *account.Door {
	d := &account.Door{Issuer: s.Issuer, Keys: s.Keys, From: s.from, Note: note}
	if slices.ContainsFunc(s.config.open(), func(one doorWord) bool { return one.dialect == DoorWeb }) {
		cookies := s.web()
		d.Token, d.Cookies = cookies.Token, cookies.Trusts
	}
	return d
}

// clientsOfDoors is a rule about registrations, which no configuration knows:
// holdDoors holds it at the start and in a check.
func clientsOfDoors(*configCheck) {}

// holdDoors holds the clients that doors name to what their dialect needs. One that
// cannot serve refuses the start; one that is not there may still be applied.
func (s *Server) holdDoors(mending bool) error {
	var wrong settings.Problems
	for _, d := range s.config.open() {
		if d.client == "" {
			continue
		}
		c, found := s.Clients.Get(d.client)
		if !found {
			if !s.config.dev {
				s.log.Warn("a door names a client that is not registered", "door", d.dialect, "prefix", d.prefix, "client", string(d.client))
			}
			continue
		}
		reason, mend := pair.Unfit(c)
		if reason == "" {
			continue
		}
		p := settings.Problem{Code: "HF130", At: s.config.Source("doors"), Key: "doors", Value: fmt.Sprintf("%.80q", d.dialect+" "+d.prefix+" "+string(d.client)),
			Reason: "the client " + string(d.client) + " " + reason, Mend: mend + " at the client"}
		if mending || c.Disabled {
			s.log.Warn("a door names a client that does not fit", "problem", p.String())
			continue
		}
		wrong = append(wrong, p)
	}
	if wrong != nil {
		return wrong
	}
	return nil
}
