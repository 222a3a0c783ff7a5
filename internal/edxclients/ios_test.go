package edxclients_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// ios is the iOS app (contract 2.2). It refreshes on any 401 and never before, and
// any refresh that fails signs it out.
type ios struct {
	*air
	client string
	wrong  time.Duration

	access, refresh string
	web             jar
	webAt           time.Time
	out             string
	// kept is when it last got tokens, by the right clock.
	kept time.Time
	// said is what the user was told.
	said []string
}

func (p *ios) now() time.Time { return p.clock.Now().Add(p.wrong) }

func (p *ios) header() map[string]string {
	h := map[string]string{"User-Agent": "OpenEdX/org.example.app (1.0; OS Version 18.0)"}
	if p.access != "" {
		h["Authorization"] = "JWT " + p.access
	}
	return h
}

// signIn is the sign-in and the question that has to follow it.
func (p *ios) signIn(user string) bool {
	got := p.ask("POST", lms+"/oauth2/access_token", url.Values{"grant_type": {"password"}, "client_id": {p.client}, "username": {user}, "password": {password},
		"token_type": {"JWT"}, "asymmetric_jwt": {"1"}}.Encode(), p.header())
	if !p.keep(got) {
		p.said = append(p.said, p.told(got))
		return false
	}
	p.out = ""
	return p.call(whoAmI) == 200
}

// keep stores what a grant answered. It looks at the members, and at no status; when
// the token ends it does not ask.
func (p *ios) keep(got answer) bool {
	var t tokens
	if got.err != nil || json.Unmarshal(got.body, &t) != nil || t.Access == "" || t.Refresh == "" {
		return false
	}
	p.access, p.refresh, p.kept = t.Access, t.Refresh, p.clock.Now()
	return true
}

// told is what the user reads when a sign-in fails. A body counts when it begins
// and ends in braces.
func (p *ios) told(got answer) string {
	body := string(got.body)
	if got.status < 400 || got.status > 403 || !strings.HasPrefix(body, "{") || !strings.HasSuffix(body, "}") {
		return "generic"
	}
	var e struct {
		Description string `json:"error_description"`
	}
	switch err := json.Unmarshal(got.body, &e); {
	case err != nil || e.Description == "":
		return "unknown error"
	case got.status == 403:
		return "account disabled"
	}
	return e.Description
}

// call is one call of an API.
func (p *ios) call(at string) int { return p.calls(at)[0] }

// calls are some at once. Those that meet 401 wait for one refresh, and then all
// are sent again.
func (p *ios) calls(at ...string) []int {
	statuses := make([]int, len(at))
	waiting := make([]int, len(at))
	for i := range at {
		waiting[i] = i
	}
	for range tries {
		var refused []int
		header := p.header() // all leave with the token that is stored
		for _, i := range waiting {
			statuses[i] = p.ask("GET", at[i], "", header).status
			if statuses[i] == 401 && !strings.HasSuffix(at[i], "deactivate_logout/") && p.refresh != "" {
				refused = append(refused, i)
			}
		}
		if len(refused) == 0 || !p.renew() {
			return statuses
		}
		waiting = refused
	}
	return statuses
}

// renew refreshes without an Authorization header. Whatever goes wrong signs out.
func (p *ios) renew() bool {
	got := p.ask("POST", lms+"/oauth2/access_token", url.Values{"grant_type": {"refresh_token"}, "client_id": {p.client}, "refresh_token": {p.refresh},
		"token_type": {"JWT"}, "asymmetric_jwt": {"1"}}.Encode(), nil)
	if p.keep(got) {
		return true
	}
	why := string(got.body)
	if got.err != nil {
		why = got.err.Error()
	}
	p.out = "the refresh failed: " + why
	p.access, p.refresh, p.web = "", "", jar{}
	return false
}

// signOut is meant by the user. After an answer that is no success the app shows
// its start page and keeps its tokens.
func (p *ios) signOut() {
	got := p.ask("POST", lms+"/oauth2/revoke_token", url.Values{"client_id": {p.client}, "token": {p.refresh}, "token_type_hint": {"refresh_token"}}.Encode(), p.header())
	p.out = "by the user"
	empty := len(got.body) == 0 && (got.status == 200 || got.status == 204 || got.status == 205)
	if got.err == nil && (got.status/100 == 2 && len(got.body) > 0 || empty) {
		p.access, p.refresh, p.web = "", "", jar{}
	}
}

// webView makes the cookies of the WebView fresh: all that were there are wiped
// first.
func (p *ios) webView() bool {
	if !p.webAt.IsZero() && p.now().Sub(p.webAt) < webFresh && p.web.kept != nil {
		return true
	}
	for range tries {
		got := p.ask("POST", lms+"/oauth2/login/", "", p.header())
		if got.err == nil && got.status/100 == 2 {
			p.web = jar{}
			p.web.keep(got, lms, p.now())
			p.webAt = p.now()
			return true
		}
		if got.status != 401 || p.refresh == "" || !p.renew() {
			return false
		}
	}
	return false
}

// adopt is the sign-in of a WebView that came in by a provider's pages: the app
// puts the halves of the JWT together and has no refresh token.
func (p *ios) adopt(web *jar) bool {
	front, signature := web.read("edx-jwt-cookie-header-payload", lms, p.now()), web.read("edx-jwt-cookie-signature", lms, p.now())
	if front == "" || signature == "" {
		return false
	}
	p.access, p.refresh, p.out = front+"."+signature, "", ""
	return p.call(whoAmI) == 200
}
