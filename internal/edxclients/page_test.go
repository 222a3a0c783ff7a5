package edxclients_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// page is a micro-frontend in a browser or a WebView (contract 2.3). It reads one
// half of the JWT with a decoder that checks nothing, refreshes what is over by its
// own clock, and takes exactly 401 for signed out.
type page struct {
	*air
	cookies *jar
	wrong   time.Duration
	csrf    map[string]string // by host

	user string
	out  bool
	// broken are failures that the page shows instead of itself.
	broken []string
}

// origin is where the pages are.
const origin = "https://apps.test"

func (p *page) now() time.Time { return p.clock.Now().Add(p.wrong) }

// decoded is what jwt-decode reads of two segments.
type decoded struct {
	Exp      int64  `json:"exp"`
	Username string `json:"preferred_username"`
	UserID   int64  `json:"user_id"`
	Email    string `json:"email"`
}

func (p *page) token() (t decoded, ok bool) {
	segments := strings.Split(p.cookies.read("edx-jwt-cookie-header-payload", lms, p.now()), ".")
	if len(segments) < 2 {
		return t, false
	}
	b, err := base64.RawURLEncoding.DecodeString(segments[1])
	return t, err == nil && json.Unmarshal(b, &t) == nil
}

// load is the start of the page: who is there?
func (p *page) load() bool {
	p.csrf = nil
	t, ok := p.token()
	if !ok || t.Exp < p.now().Unix() {
		if !p.renew() {
			return false
		}
		t, ok = p.token()
		if !ok {
			p.broken = append(p.broken, "Access token is still null after successful refresh.")
			return false
		}
	}
	p.user = t.Username
	got := p.send("GET", lms+"/api/user/v1/accounts/"+t.Username)
	return got.status == 200
}

// backOff is how long it waits before it tries again, after a network failure only.
var backOff = []time.Duration{2 * time.Second, 4 * time.Second}

// renew is /login_refresh, which a page has under way once at most.
func (p *page) renew() bool {
	var got answer
	for try := 0; ; try++ {
		got = p.ask("POST", lms+"/login_refresh", "", map[string]string{"Origin": origin, "Cookie": p.cookies.send(lms, p.now())})
		if got.err == nil || try == len(backOff) {
			break
		}
		p.clock.advance(backOff[try])
	}
	switch {
	case got.err != nil: // an error page until it is loaded again
		return false
	case got.header.Get("Access-Control-Allow-Origin") != origin || got.header.Get("Access-Control-Allow-Credentials") != "true":
		p.broken = append(p.broken, "the browser keeps the answer from the page")
		return false
	case got.status == 401:
		delete(p.cookies.kept, "edx-jwt-cookie-header-payload "+lms)
		p.out, p.user = true, ""
		return false
	case got.status != 200:
		p.broken = append(p.broken, string(got.body))
		return false
	}
	p.cookies.keep(got, lms, p.now())
	return true
}

// send is one authenticated call: a refresh before it when the token is over, and
// the CSRF token of the host where it changes something.
func (p *page) send(method, at string) answer {
	if t, ok := p.token(); !ok || t.Exp < p.now().Unix() {
		if !p.renew() {
			return answer{err: errNetwork}
		}
	}
	host := lms
	if strings.HasPrefix(at, courses) {
		host = courses
	}
	header := map[string]string{"Origin": origin, "USE-JWT-COOKIE": "true"}
	if method != "GET" {
		if p.csrf == nil {
			p.csrf = map[string]string{}
		}
		if p.csrf[host] == "" {
			got := p.ask("GET", host+"/csrf/api/v1/token", "", map[string]string{"Origin": origin, "Cookie": p.cookies.send(host, p.now())})
			var said struct {
				Token string `json:"csrfToken"`
			}
			if got.err != nil || json.Unmarshal(got.body, &said) != nil {
				return answer{err: errNetwork}
			}
			p.cookies.keep(got, host, p.now())
			p.csrf[host] = said.Token
		}
		header["X-CSRFToken"] = p.csrf[host]
	}
	header["Cookie"] = p.cookies.send(host, p.now())
	return p.ask(method, at, "", header)
}
