package edxclients_test

import (
	"encoding/json"
	"net/url"
	"time"
)

// android is the Android app (contract 2.1). It refreshes a minute early and at most
// once a minute, takes 400 on a refresh for another refresh that is under way, and
// signs out on nothing but the words of an API.
type android struct {
	*air
	client string
	// wrong is how far the phone's clock is ahead.
	wrong time.Duration

	access, refresh string
	ends, refreshed time.Time // on the phone's clock
	web             jar
	webAt           time.Time
	// out is the answer that signed the app out; "" while it is signed in.
	out string
	// kept is when it last got tokens, by the right clock.
	kept time.Time
	// odd are answers it could not read, which it does not survive.
	odd []string
}

// The times of the Android app.
const (
	early     = 60 * time.Second
	throttle  = 60 * time.Second
	afterBusy = 1500 * time.Millisecond
	webFresh  = time.Hour
	// peeked is how much of a refusal it looks at, in bytes.
	peeked = 200
)

func (p *android) now() time.Time { return p.clock.Now().Add(p.wrong) }

// grant asks the token endpoint. Tokens are whatever the answer has.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Expires int64  `json:"expires_in"`
}

// signIn is the sign-in and the question that has to follow it.
func (p *android) signIn(user string) bool {
	header := map[string]string{"Accept": "application/json"}
	if p.access != "" {
		header["Authorization"] = "JWT " + p.access // of the last user
	}
	got := p.ask("POST", lms+"/oauth2/access_token/", url.Values{"grant_type": {"password"}, "client_id": {p.client}, "username": {user}, "password": {password},
		"token_type": {"JWT"}, "asymmetric_jwt": {"true"}}.Encode(), header)
	if !p.keep(p.readable(got)) {
		return false
	}
	p.out = ""
	return p.call(whoAmI) == 200
}

// keep stores what a grant answered.
func (p *android) keep(got answer) bool {
	var t tokens
	if got.err != nil || got.status != 200 || json.Unmarshal(got.body, &t) != nil || t.Access == "" || t.Refresh == "" {
		return false
	}
	p.access, p.refresh, p.ends = t.Access, t.Refresh, p.now().Add(time.Duration(t.Expires)*time.Second)
	p.kept = p.clock.Now()
	return true
}

// readable holds an answer to what the app can read: a failure is a JSON object or
// empty, or it throws.
func (p *android) readable(got answer) answer {
	if got.err == nil && got.status >= 400 && got.status <= 500 && len(got.body) > 0 {
		var object map[string]any
		if json.Unmarshal(got.body, &object) != nil {
			p.odd = append(p.odd, string(got.body))
		}
	}
	return got
}

// call is one call of an API.
func (p *android) call(at string) int { return p.calls(at)[0] }

// calls are some at once: all leave with the token that is stored, and the answers
// come back one after the other.
func (p *android) calls(at ...string) []int {
	if !p.now().Add(early).Before(p.ends) && p.refresh != "" {
		p.renew()
	}
	used := p.access
	got := make([]answer, len(at))
	for i, a := range at {
		got[i] = p.get(a, used)
	}
	statuses := make([]int, len(at))
	for i, a := range at {
		statuses[i] = p.judged(a, used, got[i])
	}
	return statuses
}

func (p *android) get(at, token string) answer {
	return p.readable(p.ask("GET", at, "", map[string]string{"Authorization": "JWT " + token, "Accept": "application/json"}))
}

// tries bounds how often a call is sent again.
const tries = 20

// judged looks at the answer to a call, and may send it again.
func (p *android) judged(at, used string, got answer) int {
	for range tries {
		if got.status != 401 || p.refresh == "" {
			return got.status
		}
		again := ""
		switch why := code(got.body); why {
		case "token_expired", "Token has expired.":
			stored := p.access
			if p.renew() || p.access != stored {
				again = p.access
			}
		case "token_nonexistent", "invalid_grant", "Invalid token.":
			if used != p.access {
				again = p.access
				break
			}
			p.signedOut(why)
		case "user_is_disabled", "User account is disabled.", "Failing JWT authentication due to jwt user email mismatch with lms user email.":
			p.signedOut(why)
		}
		if again == "" {
			return got.status
		}
		used = again
		got = p.get(at, used)
	}
	return got.status
}

// code is the word of a refusal that the app goes by.
func code(body []byte) string {
	var object map[string]any
	if len(body) > peeked || json.Unmarshal(body, &object) != nil {
		return ""
	}
	for _, name := range []string{"error_code", "detail", "developer_message"} {
		if word, there := object[name].(string); there {
			return word
		}
	}
	return ""
}

// renew refreshes, and reports whether it did.
func (p *android) renew() bool {
	if p.now().Sub(p.refreshed) <= throttle && !p.refreshed.IsZero() {
		return false
	}
	got := p.ask("POST", lms+"/oauth2/access_token/", url.Values{"grant_type": {"refresh_token"}, "client_id": {p.client}, "refresh_token": {p.refresh},
		"token_type": {"JWT"}, "asymmetric_jwt": {"true"}}.Encode(), nil)
	if p.keep(got) {
		p.refreshed = p.now()
		return true
	}
	if got.status == 400 { // another refresh is under way, it thinks
		p.clock.advance(afterBusy)
	}
	return false
}

// signedOut wipes what the app knows.
func (p *android) signedOut(why string) {
	p.out = why
	p.access, p.refresh, p.web = "", "", jar{}
}

// signOut is meant by the user: it is done whatever the answer.
func (p *android) signOut() {
	p.ask("POST", lms+"/oauth2/revoke_token/", url.Values{"client_id": {p.client}, "token": {p.refresh}, "token_type_hint": {"refresh_token"}}.Encode(), nil)
	p.signedOut("by the user")
}

// webView makes the cookies of the WebView fresh.
func (p *android) webView() bool {
	if !p.webAt.IsZero() && p.now().Sub(p.webAt) < webFresh && p.web.kept != nil {
		return true
	}
	if !p.now().Add(early).Before(p.ends) {
		p.renew()
	}
	got := p.readable(p.ask("POST", lms+"/oauth2/login/", "", map[string]string{"Authorization": "JWT " + p.access}))
	if got.status == 401 {
		p.judged(whoAmI, p.access, got)
	}
	if got.err != nil || got.status/100 != 2 {
		return false
	}
	p.web.keep(got, lms, p.now())
	p.webAt = p.now()
	return true
}
