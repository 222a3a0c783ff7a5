package client_test

import (
	"net/url"
	"strings"
	"testing"

	"holdfast.example/internal/client"
)

func match(typ client.Type, registered, uri string) bool {
	return client.Client{Type: typ, RedirectURIs: []string{registered}}.MatchesRedirect(uri)
}

// security.md AUTHZ-01: an https address matches itself and nothing else.
func TestRedirectMatchesByteForByte(t *testing.T) {
	const registered = "https://app.example/cb"
	if !match(client.Public, registered, registered) || !match(client.Confidential, registered, registered) {
		t.Fatal("an address does not match itself")
	}
	for _, uri := range []string{
		"https://app.example/cb/", "https://app.example/CB", "https://app.example/cb?x=1", "https://app.example/cb?", "https://app.example/cb#f",
		"https://app.example/cb#", "https://app.example/cb%2f..", "https://app.example/cb/../x", "https://app.example/./cb", "https://app.example/cb;/x",
		"https://app.example.evil/cb", "https://app.example@evil/cb", "https://evil\\@app.example/cb", "//evil", "//app.example/cb",
		"https:app.example/cb", "https:/app.example/cb", "HTTPS://app.example/cb", "https://APP.example/cb", "https://app.example:443/cb",
		"https://app.example./cb", "https://xn--app-0ra.example/cb", "https://аpp.example/cb", "https://app.example/cb ", " https://app.example/cb",
		"https://app.example/\tcb", "https://app.example/\ncb", "https://app.example/c%62", "http://app.example/cb", "https://app.example", "",
		"https://app.example/cb\x00",
	} {
		if match(client.Public, registered, uri) || match(client.Confidential, registered, uri) {
			t.Errorf("%q matches", uri)
		}
	}
	none := client.Client{Type: client.Public}
	if none.MatchesRedirect("") || none.MatchesRedirect(registered) {
		t.Error("something matches where nothing is registered")
	}
}

// security.md AUTHZ-02: of a loopback literal only the port may vary.
func TestLoopbackPortMayVary(t *testing.T) {
	for _, c := range []struct {
		registered, uri string
		want            bool
	}{
		{"http://127.0.0.1/cb", "http://127.0.0.1/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:1/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:8080/cb", true},
		{"http://127.0.0.1/cb", "http://127.0.0.1:65535/cb", true},
		{"http://127.0.0.1:9000/cb", "http://127.0.0.1:8080/cb", true},
		{"http://127.0.0.1:9000/cb", "http://127.0.0.1/cb", true},
		{"http://[::1]/cb", "http://[::1]:8080/cb", true},
		{"http://127.0.0.1", "http://127.0.0.1:8080", true},
		{"http://127.0.0.1?a=b", "http://127.0.0.1:8080?a=b", true},

		{"http://127.0.0.1/cb", "http://127.0.0.1:65536/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:0/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:080/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:+80/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:٨٠/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80:81/cb", false},
		{"http://127.0.0.1/cb", "http://[::1]/cb", false},
		{"http://127.0.0.1/cb", "http://localhost/cb", false},
		{"http://127.0.0.1/cb", "http://localhost:80/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.2/cb", false},
		{"http://127.0.0.1/cb", "http://0.0.0.0/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1.evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80.evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80@evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1@evil/cb", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80/cb/", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80/", false},
		{"http://127.0.0.1/cb", "http://127.0.0.1:80/cb?x", false},
		{"http://127.0.0.1/cb", "https://127.0.0.1:80/cb", false},
		{"http://127.0.0.1/cb", "http://127.1:80/cb", false},
		{"http://127.0.0.1/cb", "http://2130706433/cb", false},
		{"http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:80/cb", false},
		{"http://[::1]/cb", "http://::1:80/cb", false},
		{"https://app.example/cb", "https://app.example:8080/cb", false},
		{"com.example.app:/cb", "com.example.app:80/cb", false},
	} {
		if got := match(client.Public, c.registered, c.uri); got != c.want {
			t.Errorf("registered %s: %s gives %v", c.registered, c.uri, got)
		}
		if c.registered != c.uri && match(client.Confidential, c.registered, c.uri) {
			t.Errorf("registered %s: %s matches at a confidential client", c.registered, c.uri)
		}
	}
}

// security.md AUTHZ-03 and standards.md N02, N03, N05.
func TestRedirectRegistration(t *testing.T) {
	for uri, good := range map[string]bool{
		"https://app.example/cb": true, "https://app.example": true, "https://app.example:8443/cb?a=b": true, "https://[2001:db8::1]/cb": true,
		"http://127.0.0.1/cb": true, "http://127.0.0.1:9000/cb": true, "http://[::1]/cb": true, "http://127.0.0.1": true,
		"com.example.app:/cb": true, "com.example.app://cb": true, "org.openedx.app://oauth2Callback": true, "com.example.my_app:/cb": true,

		"": false, "app.example/cb": false, "/cb": false, "//app.example/cb": false, "https:app.example": false, "https:///cb": false, "https://": false,
		"javascript:alert(1)": false, "JaVaScRiPt:alert(1)": false, "data:text/html,x": false, "vbscript:x": false, "blob:https://x": false,
		"file:///etc/passwd": false, "about:blank": false, "myapp:/cb": false, "ftp://app.example/cb": false, "urn:ietf:wg:oauth:2.0:oob": false,
		"http://app.example/cb": false, "http://localhost/cb": false, "http://127.0.0.2/cb": false, "http://0.0.0.0/cb": false,
		"http://127.0.0.1.evil/cb": false, "http://127.0.0.1@evil/cb": false, "http://127.0.0.1:80@evil/cb": false, "HTTP://127.0.0.1/cb": false,
		"https://*.app.example/cb": false, "https://app.example/*": false, "https://user@app.example/cb": false, "https://app.example@evil/cb": false,
		"https://user:pw@app.example/cb": false, "https://app.example/cb#f": false, "https://app.example/cb#": false, "https://app.example\\@evil/cb": false,
		"https://app.example/a/../cb": false, "https://app.example/%2e%2e/cb": false, "https://app.example/a b": false, "https://аpp.example/cb": false,
		"https://app.example/\ncb": false, "https://%61pp.example/cb": false, "HTTPS://app.example/cb": false, "com.example.app:cb": false,
		"com.example.app:": false, "com.example.app://user@host/cb": false, "com..app:/cb": false, "https://app.example/" + strings.Repeat("x", 2000): false,
	} {
		d := phone()
		d.RedirectURIs = []string{uri}
		found := check(d, client.Server{})
		if (found == nil) != good || !good && found[0].Code != "HF112" {
			t.Errorf("%q: %v", uri, found)
		}
	}
}

func TestOriginsAreExact(t *testing.T) {
	for origin, good := range map[string]bool{
		"https://app.example": true, "https://app.example:8443": true, "http://127.0.0.1:8422": true, "http://localhost:3000": true, "http://[::1]:3000": true,
		"": false, "*": false, "null": false, "https://*.app.example": false, "https://app.example/": false, "https://app.example/x": false,
		"https://App.example": false, "https://app.example:443": false, "http://127.0.0.1:80": false, "http://app.example": false, "https://app.example:": false,
		"https://u@app.example": false, "capacitor://app.example": false, "https://app.example?x": false, "https://app.example#": false, "app.example": false,
	} {
		d := phone()
		d.CORSOrigins = []string{origin}
		found := check(d, client.Server{})
		if (found == nil) != good || !good && found[0].Code != "HF207" {
			t.Errorf("%q: %v", origin, found)
		}
	}
	c := client.Client{CORSOrigins: []string{"https://app.example"}}
	if !c.AllowsOrigin("https://app.example") || c.AllowsOrigin("https://app.example.evil") || c.AllowsOrigin("null") || c.AllowsOrigin("") {
		t.Error("origins do not compare byte for byte")
	}
}

// A requested address that is not the registered one may match only when a
// general parser agrees that host, path and query are the same and that the host
// is this machine.
func FuzzRedirectMatch(f *testing.F) {
	for _, s := range [][2]string{
		{"http://127.0.0.1/cb", "http://127.0.0.1:80/cb"}, {"http://127.0.0.1/cb", "http://127.0.0.1:80@evil/cb"}, {"http://[::1]/cb", "http://[::1]:9/cb"},
		{"http://127.0.0.1?x", "http://127.0.0.1:1?x"}, {"http://127.0.0.1", "http://127.0.0.1:1"}, {"https://app.example/cb", "https://app.example/cb/"},
		{"http://127.0.0.1/", "http://127.0.0.1:80\\@evil/"}, {"com.example:/x", "com.example:/x"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, registered, uri string) {
		got := match(client.Public, registered, uri)
		if registered == uri && !got {
			t.Fatalf("%q does not match itself", uri)
		}
		if !got || registered == uri {
			return
		}
		a, errA := url.Parse(registered)
		b, errB := url.Parse(uri)
		if errA != nil || errB != nil { // what no parser reads was not registered either
			return
		}
		host := b.Hostname()
		if a.Scheme != "http" || b.Scheme != "http" || a.Hostname() != host || host != "127.0.0.1" && host != "::1" ||
			b.User != nil || a.EscapedPath() != b.EscapedPath() || a.RawQuery != b.RawQuery || a.Fragment != b.Fragment {
			t.Fatalf("%q matches %q", uri, registered)
		}
	})
}
