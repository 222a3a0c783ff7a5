package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"holdfast.example/internal/door/edx"
	"holdfast.example/internal/settings"
)

// DoorEdX is the word of Doors for the Open edX dialect.
const DoorEdX = "edx"

// allDoors are the words of Doors.
var allDoors = []string{DoorEdX}

// knownDoors holds doors to the dialects that are known here.
func knownDoors(c *configCheck) {
	for i, d := range c.Doors {
		shown := fmt.Sprintf("%.40q", d)
		switch {
		case !slices.Contains(allDoors, d):
			mend := "write one of " + strings.Join(allDoors, ", ")
			if s := settings.Suggest(d, allDoors); s != "" {
				mend = "did you mean " + s + "?"
			}
			c.refuse("doors", shown, "this door is not known here", mend)
		case slices.Contains(c.Doors[:i], d):
			c.refuse("doors", shown, "this door stands there twice", "remove one")
		}
	}
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

// speaks reports whether a door is open here.
func (c Config) speaks(door string) bool { return slices.Contains(c.Doors, door) }

// mountDialects mounts the doors besides the standard one.
func (s *Server) mountDialects(m *mux) {
	if s.config.speaks(DoorEdX) {
		(&edx.Door{Issuer: s.Issuer, From: s.from, Note: note, CookieDomain: s.config.CookieDomain, Now: s.now}).Mount(m)
	}
}
