package server

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"holdfast.example/internal/settings"
)

// This file holds the rules of settings that name an address.

func plainIssuer(c *configCheck) {
	refuse := func(reason, mend string) *settings.Problem {
		return c.refuse("issuer", fmt.Sprintf("%.200q", c.Issuer), reason, mend)
	}
	if !c.places.Written("issuer") {
		host, _, err := net.SplitHostPort(c.Listen)
		if err == nil && !onMachine(host) && !c.dev { // in dev mode the rule about listen says more
			c.refuse("issuer", "", "the server listens on "+c.Listen+" and does not know under which address it is reached", `set issuer = "https://id.example.com"`)
		}
		return
	}
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Hostname() == "" || u.User != nil {
		refuse("this is no web address", `write "https://id.example.com"`)
		return
	}
	home := onMachine(u.Hostname())
	switch {
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(c.Issuer, "?#"):
		refuse("an issuer has no query and no fragment (RFC 8414 section 2)", "remove it")
	case strings.HasSuffix(c.Issuer, "/"):
		refuse("an issuer is compared byte for byte, and half of the world leaves out the last slash", "write "+strings.TrimRight(c.Issuer, "/"))
	case c.Issuer != u.Scheme+"://"+u.Host+u.Path || u.Host != strings.ToLower(u.Host):
		refuse("an issuer is compared byte for byte, so it is written in the one plain way", "write "+u.Scheme+"://"+strings.ToLower(u.Host)+u.Path)
	case u.Scheme != "https" && u.Scheme != "http":
		refuse("an issuer is https", `write "https://id.example.com"`)
	case u.Scheme == "http" && !home:
		p := refuse("over plain http everybody on the way can take passwords and tokens", "use https, and let a proxy end it")
		p.Warning = c.dev // an emulator or a phone in the same network
	}
}

// onMachine reports whether a host name means this machine.
func onMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func proxiesNamed(c *configCheck) {
	if strings.HasPrefix(c.Issuer, "https://") && len(c.TrustedProxies) == 0 && !c.dev {
		p := c.refuse("trusted_proxies", "", "the issuer is https, so a proxy stands in front; without its address all visitors count as one", `name it: trusted_proxies = ["127.0.0.1/32"]`)
		p.Warning, p.At = true, c.Source("issuer")
	}
}

func proxiesNarrow(c *configCheck) {
	for _, p := range c.TrustedProxies {
		if p.Bits() == 0 {
			c.refuse("trusted_proxies", p.String(), "this trusts everybody, so that everybody can choose his address and escape the limits", "name the proxy's own network")
		}
	}
}

func devStaysHome(c *configCheck) {
	host, _, err := net.SplitHostPort(c.Listen)
	if c.dev && err == nil && !onMachine(host) && !c.places.Written("issuer") {
		c.refuse("listen", fmt.Sprintf("%.80q", c.Listen), "dev mode has well-known passwords and would be open to the network",
			"listen on 127.0.0.1, or say under which address it is reached: --issuer http://10.0.2.2:8420")
	}
}

func listeners(c *configCheck) {
	for _, l := range []struct{ key, addr string }{{"listen", c.Listen}, {"metrics_listen", c.MetricsListen}, {"admin_listen", c.AdminListen}} {
		if l.key != "listen" && (l.addr == "" || l.addr == Off) {
			continue
		}
		host, port, err := net.SplitHostPort(l.addr)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil || strings.ContainsAny(l.addr, "/ ") || strconv.FormatUint(n, 10) != port {
			c.refuse(l.key, fmt.Sprintf("%.80q", l.addr), "this is no address to listen on", `write host and port: "127.0.0.1:8420", or ":8420" for every address of this machine`)
		} else if l.key == "admin_listen" && !onMachine(host) {
			c.refuse(l.key, fmt.Sprintf("%.80q", l.addr), "operators' tokens would cross the network in plain http", "listen on 127.0.0.1 behind a proxy that ends TLS, or let only that proxy reach it").Warning = true
		}
	}
	if c.MetricsListen != "" && c.MetricsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		c.between("metrics_listen", "listen", "metrics and profiles would be open to everybody who can sign in", "give metrics_listen a port of its own")
	}
	if a := c.Operators(); a != "" && !strings.HasSuffix(a, ":0") {
		for _, other := range []struct{ key, addr string }{{"listen", c.Listen}, {"metrics_listen", c.MetricsListen}} {
			if a == other.addr {
				c.between("admin_listen", other.key, "the operators' API has a listener of its own, so that a firewall can tell it from the rest", "give admin_listen a port of its own")
			}
		}
	}
	if s := c.Socket(); len(s) > maxSocketPath {
		c.refuse("admin_socket", fmt.Sprintf("%.120q", s), fmt.Sprintf("the path of a Unix socket has at most %d bytes", maxSocketPath), "set a shorter admin_socket, or a shorter data")
	}
	if strings.TrimSpace(c.Data) == "" {
		c.refuse("data", "", "the server needs a directory for its files", `write data = "/var/lib/holdfast"`)
	}
}

// redisAddress looks at the form of the address; the room that connects reads it
// in full. No message shows it.
func redisAddress(c *configCheck) {
	if c.Redis.Empty() {
		return
	}
	const form = "write redis://:password@host:6379, rediss:// for TLS, or unix:///path/to/socket"
	u, err := url.Parse(c.Redis.Reveal())
	if err != nil || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) {
		c.refuse("redis", "", "this is no address of a Redis", form)
		return
	}
	if u.Scheme == "unix" || onMachine(u.Hostname()) {
		return
	}
	_, set := u.User.Password()
	switch {
	case !set:
		c.refuse("redis", "", "whoever reaches a Redis without a password can make attempt limits whole, or use up somebody's", form).Warning = true
	case u.Scheme == "redis":
		c.refuse("redis", "", "the password of Redis crosses the network in the clear", "use rediss://, or a network that nobody else is on").Warning = true
	}
}
