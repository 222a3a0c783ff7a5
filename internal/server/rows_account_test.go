package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/limit"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/user"
)

// ask is one request to the device API. Every answer is held against the
// description (house.send) and against what all answers of this door must be.
func (a attack) ask(method, path, token, body string) answer {
	a.Helper()
	kind, header := "", http.Header{}
	if body != "" {
		kind = "application/json"
	}
	if token != "" {
		header = bearer(token)
	}
	return a.asks(method, path, kind, body, header)
}

func (a attack) asks(method, path, kind, body string, header http.Header) answer {
	a.Helper()
	got, err := a.send(method, path, kind, strings.NewReader(body), header)
	if err != nil {
		a.Fatal(err)
	}
	h := got.header
	if got.status >= 500 || h["Set-Cookie"] != nil || h.Get("Location") != "" || h["Access-Control-Allow-Origin"] != nil ||
		!strings.HasSuffix(path, ".yaml") && h.Get("Cache-Control") != "no-store" {
		a.Errorf("%s %s: %d %v %s", method, path, got.status, h, got.body)
	}
	return got
}

// problem checks the kind of a problem document.
func (a attack) problem(got answer, status int, kind string) {
	a.Helper()
	var p struct{ Type string }
	_ = json.Unmarshal(got.body, &p)
	if got.status != status || p.Type != "urn:holdfast:problem:"+kind {
		a.Errorf("answered %d %s, want %d %s", got.status, got.body, status, kind)
	}
}

// second makes another account and signs it in.
func (a attack) second() held {
	a.Helper()
	_, err := a.server.Users.Create(a.Context(), user.Declared{Username: "mallory", Password: secret.New("mallorys-password")})
	if err != nil {
		a.Fatal(err)
	}
	return a.signIn("demo-native", "username", "mallory", "password", "mallorys-password")
}

// operations are the calls of the device API that look after an account.
var operations = []struct{ method, path, body string }{
	{"GET", "/account/v1/me", ""},
	{"GET", "/account/v1/sessions", ""},
	{"GET", "/account/v1/sessions?ended=true", ""},
	{"PATCH", "/account/v1/sessions/{sid}", `{"name":"stolen"}`},
	{"DELETE", "/account/v1/sessions/{sid}", ""},
	{"POST", "/account/v1/sessions/end-others", ""},
	{"POST", "/account/v1/sessions/end-all", ""},
	{"POST", "/account/v1/password", `{"current_password":"demo-password","new_password":"another-password"}`},
	{"GET", "/account/v1/events", ""},
}

// TestAccountTakesOnlyItsUsersTokens (like ADMIN-01): every call, with and
// without its trailing slash, for everybody who may not make it; and nothing
// has happened afterwards.
func TestAccountTakesOnlyItsUsersTokens(t *testing.T) {
	a := attacks(t)
	victim := a.signIn("demo-native")
	expired := a.signIn("demo-native", "install_id", "old")
	a.apply(`[[clients]]
id = "other-api"
name = "Other"
type = "public"
first_party = true
redirect_uris = ["com.example.other:/callback"]
grants = ["password", "refresh_token"]
scopes = ["read"]
audiences = ["https://api.example.com"]
`)
	elsewhere := a.signIn("other-api")
	identity := victim.ID
	a.clock.advance(16 * time.Minute)
	victim = a.refreshed(victim)
	gone := a.signIn("demo-native", "install_id", "gone")
	a.post("/oauth2/revoke", "client_id", "demo-native", "token", gone.Refresh)
	for name, c := range map[string]struct {
		header http.Header
		status int
		kind   string
	}{
		"nobody":                  {nil, 401, "no_token"},
		"Basic":                   {basic("demo-web", "demo-web-secret"), 401, "no_token"},
		"garbage":                 {bearer("garbage"), 401, "invalid_token"},
		"two headers":             {http.Header{"Authorization": {"Bearer a", "Bearer b"}}, 400, "invalid_request"},
		"two tokens":              {bearer("a b"), 400, "invalid_request"},
		"a refresh token":         {bearer(victim.Refresh), 401, "invalid_token"},
		"an ID token":             {bearer(identity), 401, "invalid_token"},
		"an expired token":        {bearer(expired.Access), 401, "invalid_token"},
		"a token for another API": {bearer(elsewhere.Access), 401, "invalid_token"},
		"a session that ended":    {bearer(gone.Access), 401, "invalid_token"},
		"a client's own token":    {bearer(a.service().Access), 403, "forbidden"},
	} {
		a.in(name, func(a attack) {
			for _, op := range operations {
				for _, slash := range []string{"", "/"} {
					path, query, _ := strings.Cut(strings.ReplaceAll(op.path, "{sid}", sidOf(victim.Access)), "?")
					if query != "" {
						query = "?" + query
					}
					got := a.asks(op.method, path+slash+query, "application/json", op.body, c.header)
					a.problem(got, c.status, c.kind)
					if challenge := got.header.Get("WWW-Authenticate"); c.status == 401 && !strings.HasPrefix(challenge, `Bearer realm="`+testIssuer+`"`) {
						a.Errorf("WWW-Authenticate %q", challenge)
					}
				}
			}
		})
	}
	a.alive(victim.Access)
	a.signIn("demo-native") // the password is what it was
}

// TestAccountOfThirdParties: an app that is not first-party needs the scope
// account, or it could sign out its user's other devices.
func TestAccountOfThirdParties(t *testing.T) {
	a := attacks(t)
	client := func(firstParty string) string {
		return `[[clients]]
id = "partner"
name = "Partner"
type = "public"
first_party = ` + firstParty + `
redirect_uris = ["com.example.partner:/callback"]
scopes = ["read", "account"]
`
	}
	a.apply(client("true") + `grants = ["password", "refresh_token"]`)
	plain := a.signIn("partner", "scope", "read", "install_id", "plain")
	granted := a.signIn("partner", "scope", "read account", "install_id", "granted")
	a.apply(client("false") + `grants = ["authorization_code", "refresh_token"]`)
	for _, op := range operations {
		got := a.ask(op.method, strings.ReplaceAll(op.path, "{sid}", sidOf(granted.Access)), plain.Access, op.body)
		a.problem(got, 403, "insufficient_scope")
		want := `Bearer realm="` + testIssuer + `", error="insufficient_scope", scope="account"`
		if challenge := got.header.Get("WWW-Authenticate"); challenge != want {
			a.Errorf("WWW-Authenticate %q", challenge)
		}
	}
	if got := a.ask("DELETE", "/account/v1/sessions/"+sidOf(plain.Access), granted.Access, ""); got.status != 204 {
		a.Errorf("with the scope: %d %s", got.status, got.body)
	}
	a.want(a.call(plain.Access), 401, "invalid_token", "signed_out_elsewhere")
}

// TestAccountOfSomebodyElse (like ADMIN-03): the sid of somebody else's device,
// of none, and what cannot be one are one and the same unknown. Nothing changes.
func TestAccountOfSomebodyElse(t *testing.T) {
	a := attacks(t)
	victim, thief := a.signIn("demo-native", "device_name", "phone"), a.second()
	list := a.ask("GET", "/account/v1/sessions", victim.Access, "")
	var first []byte
	for _, sid := range []string{sidOf(victim.Access), "AAAAAAAAAAAAAAAAAAAAAA", "x", strings.Repeat("A", 21), strings.Repeat("A", 23),
		sidOf(victim.Access) + "%00", strings.ToUpper(sidOf(victim.Access)), "' OR 1=1"} {
		for _, op := range []struct{ method, body string }{{"PATCH", `{"name":"stolen"}`}, {"DELETE", ""}} {
			got := a.ask(op.method, "/account/v1/sessions/"+strings.ReplaceAll(sid, " ", "%20"), thief.Access, op.body)
			a.problem(got, 404, "not_found")
			if first == nil {
				first = got.body
			}
			if !bytes.Equal(got.body, first) {
				a.Errorf("%s %s is told apart: %s", op.method, sid, got.body)
			}
		}
	}
	a.ask("POST", "/account/v1/sessions/end-others", thief.Access, "")
	a.ask("POST", "/account/v1/sessions/end-all", thief.Access, "")
	a.alive(victim.Access)
	if again := a.ask("GET", "/account/v1/sessions", victim.Access, ""); !bytes.Equal(again.body, list.body) {
		a.Errorf("the victim's list was\n%s\nand is\n%s", list.body, again.body)
	}
	if events := a.ask("GET", "/account/v1/events", victim.Access, ""); bytes.Contains(events.body, []byte("session_")) {
		a.Errorf("something happened: %s", events.body)
	}
}

// TestAccountBodies (ADMIN-04; HTTP rows): unknown, doubled and misspelt
// members, other types and other lengths are refused, and set nothing.
func TestAccountBodies(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native", "device_name", "phone")
	me := "/account/v1/sessions/" + sidOf(h.Access)
	before := a.ask("GET", "/account/v1/sessions", h.Access, "").body
	for _, extra := range []string{"password_hash", "is_admin", "email_verified", "id", "created_at", "tenant", "sid", "user", "ended", "Name", "__proto__"} {
		a.problem(a.ask("PATCH", me, h.Access, `{"name":"x","`+extra+`":"y"}`), 400, "invalid_request")
		a.problem(a.ask("POST", "/account/v1/password", h.Access,
			`{"current_password":"demo-password","new_password":"another-password","`+extra+`":"y"}`), 400, "invalid_request")
		a.problem(a.ask("POST", "/account/v1/sessions/end-others", h.Access, `{"`+extra+`":"y"}`), 400, "invalid_request")
	}
	for _, body := range []string{`{"name":"x","name":"y"}`, `{"name":null}`, `{"name":["x"]}`, `{"name":5}`, `"x"`, `[]`, `{"name":"x"}{}`, `{`, `name=x`,
		`{"name":""}`, `{"name":"` + strings.Repeat("x", 129) + `"}`, `{"name":"a\u0000"}`, `{"name":"a\u001b[2J"}`, "{\"name\":\"\xff\"}"} {
		a.problem(a.ask("PATCH", me, h.Access, body), 400, "invalid_request")
	}
	a.problem(a.ask("PATCH", me, h.Access, `{"name":"`+strings.Repeat("x", 20<<10)+`"}`), 413, "too_large")
	for _, kind := range []string{"text/plain", urlEncoded, "", "application/json; charset=utf-7", "multipart/form-data"} {
		a.problem(a.asks("PATCH", me, kind, `{"name":"x"}`, bearer(h.Access)), 415, "unsupported_media_type")
	}
	for _, path := range []string{me + "?force=1", "/account/v1/me?access_token=" + h.Access, "/account/v1/sessions?ended=maybe", "/account/v1/sessions?user=admin",
		"/account/v1/sessions?ended=true&ended=false", "/account/v1/sessions?limit=", "/account/v1/events?order=at", "/account/v1/events?%zz"} {
		method := "GET"
		if strings.HasPrefix(path, me) {
			method = "DELETE"
		}
		a.problem(a.ask(method, path, h.Access, ""), 400, "invalid_request")
	}
	if after := a.ask("GET", "/account/v1/sessions", h.Access, "").body; !bytes.Equal(before, after) {
		a.Errorf("was %s\nis %s", before, after)
	}
	a.alive(h.Access)
}

// TestAccountMethods: what is not there is not there, also for HEAD and
// OPTIONS, and a GET may be a HEAD.
func TestAccountMethods(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native")
	for _, method := range []string{"PUT", "TRACE", "OPTIONS", "BREW"} {
		for _, op := range operations {
			path := strings.ReplaceAll(op.path, "{sid}", sidOf(h.Access))
			got := a.ask(method, path, h.Access, "")
			if got.status != 405 || !strings.Contains(got.header.Get("Allow"), op.method) {
				a.Errorf("%s %s: %d, Allow %q", method, path, got.status, got.header.Get("Allow"))
			}
		}
	}
	for path, status := range map[string]int{"/account/v1/me": 200, "/account/v1/sessions/end-all": 405, "/account/v1/password": 405, "/account/v1/sessions/" + sidOf(h.Access): 405} {
		if got := a.ask("HEAD", path, h.Access, ""); got.status != status || len(got.body) > 0 {
			a.Errorf("HEAD %s: %d %q", path, got.status, got.body)
		}
	}
	for _, path := range []string{"/account/v1", "/account/v1/", "/account/v1/users", "/account/v1/sessions/x/y", "/account/v2/me", "/account/v1/ME"} {
		if got := a.ask("GET", path, h.Access, ""); got.status != 404 {
			a.Errorf("%s: %d", path, got.status)
		}
	}
	a.alive(h.Access)
}

// TestAccountCursors (ADMIN-08): forged, flipped, foreign and injected cursors
// and limits are refused.
func TestAccountCursors(t *testing.T) {
	a := attacks(t)
	h, other := a.signIn("demo-native", "install_id", "one"), a.second()
	for i := range 3 {
		h = a.signIn("demo-native", "install_id", fmt.Sprint(i))
	}
	next := func(path, token string) string {
		var list struct {
			Next string `json:"next_cursor"`
		}
		got := a.ask("GET", path, token, "")
		if json.Unmarshal(got.body, &list) != nil || list.Next == "" {
			a.Fatalf("%s: no cursor in %s", path, got.body)
		}
		return list.Next
	}
	events, sessions := next("/account/v1/events?limit=1", h.Access), next("/account/v1/sessions?limit=1", h.Access)
	for path, good := range map[string]string{"/account/v1/events?limit=1&cursor=": events, "/account/v1/sessions?limit=1&cursor=": sessions} {
		if got := a.ask("GET", path+good, h.Access, ""); got.status != 200 {
			a.Errorf("%s: %d %s", path, got.status, got.body)
		}
		a.problem(a.ask("GET", path+good, other.Access, ""), 400, "invalid_request")
		opaque := strings.TrimPrefix(good, "hfa_")
		forged := []string{events[1:], good + "A", good + "%0A", good + "=", "1", "0", "-1", "null", "true", "%27%20OR%201=1--", "1;DROP%20TABLE%20audit", "%00", "..%2f",
			"eyJiZWZvcmUiOjF9", h.Refresh, h.Access, strings.Repeat("A", 600), strings.ToLower(good), opaque[:20] + "AAAA" + opaque[24:]}
		if good == events {
			forged = append(forged, sessions)
		} else {
			forged = append(forged, events)
		}
		for i := 0; i < len(good); i += 7 {
			flipped := []byte(good)
			flipped[i] = map[bool]byte{true: 'B', false: 'A'}[flipped[i] == 'A']
			forged = append(forged, string(flipped))
		}
		for _, f := range forged {
			a.problem(a.ask("GET", path+f, h.Access, ""), 400, "invalid_request")
		}
	}
	a.problem(a.ask("GET", "/account/v1/sessions?ended=true&cursor="+sessions, h.Access, ""), 400, "invalid_request")
	for _, limit := range []string{"0", "-1", "201", "1e2", "+5", "05", "x", "99999999999999999999", "%27", "1;2"} {
		a.problem(a.ask("GET", "/account/v1/events?limit="+limit, h.Access, ""), 400, "invalid_request")
	}
	// A cursor is not a credential either.
	a.problem(a.ask("GET", "/account/v1/me", "hfa_"+events, ""), 401, "invalid_token")
}

// TestAccountPages: page by page every sign-in is shown once, also while one
// ends in between, and a page never holds more than asked.
func TestAccountPages(t *testing.T) {
	a := attacks(t)
	var h held
	want := map[string]bool{}
	for i := range 7 {
		h = a.signIn("demo-native", "install_id", fmt.Sprint(i))
		want[sidOf(h.Access)] = true
	}
	// Those of an earlier life are in the same rows and must not be in the way.
	type page struct {
		Sessions []struct {
			SID string `json:"sid"`
		}
		Next string `json:"next_cursor"`
	}
	var seen []string
	for cursor := ""; ; {
		var p page
		got := a.ask("GET", "/account/v1/sessions?limit=2"+cursor, h.Access, "")
		if err := json.Unmarshal(got.body, &p); err != nil || len(p.Sessions) > 2 {
			a.Fatalf("%v %s", err, got.body)
		}
		for _, s := range p.Sessions {
			seen = append(seen, s.SID)
		}
		if p.Next == "" {
			break
		}
		cursor = "&cursor=" + p.Next
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(want) || len(seen) != len(want) {
		a.Errorf("%d sign-ins were shown, %d stand", len(seen), len(want))
	}
	a.ask("POST", "/account/v1/sessions/end-others", h.Access, "")
	var p page
	got := a.ask("GET", "/account/v1/sessions?limit=2", h.Access, "")
	if json.Unmarshal(got.body, &p) != nil || len(p.Sessions) != 1 || p.Sessions[0].SID != sidOf(h.Access) || p.Next != "" {
		a.Errorf("afterwards: %s", got.body)
	}
}

// TestAccountGuessing (LOGIN-05, 06): who holds a stolen token guesses at the
// password within the limits of that device, and locks nobody else out.
func TestAccountGuessing(t *testing.T) {
	a := attacks(t)
	a.server.Issuer.Attempts = limit.NewAttempts(limit.Policy{Account: limit.Rate{Burst: 2, Every: time.Minute},
		Address: limit.Rate{Burst: 20, Every: time.Second}, Install: limit.Rate{Burst: 3, Every: time.Minute}})
	stolen, other := a.signIn("demo-native", "install_id", "stolen"), a.signIn("demo-native", "install_id", "other")
	change := func(h held, current string) answer {
		return a.ask("POST", "/account/v1/password", h.Access, `{"current_password":"`+current+`","new_password":"another-password"}`)
	}
	for range 3 {
		a.problem(change(stolen, "guess"), 403, "forbidden")
	}
	for _, password := range []string{"guess", "demo-password"} {
		got := change(stolen, password)
		a.problem(got, 429, "too_many")
		if got.header.Get("Retry-After") == "" {
			a.Error("nobody says when to come back")
		}
	}
	// A sign-in on the same install shares its budget; everybody else has his own.
	if got := a.trySignIn("demo-native", "install_id", "stolen"); got.status != 429 {
		a.Errorf("the install signed in: %d", got.status)
	}
	a.signIn("demo-native", "install_id", "new")
	a.refreshed(stolen)
	if got := change(other, "demo-password"); got.status != 204 {
		a.Errorf("the other device: %d %s", got.status, got.body)
	}
	a.want(a.call(stolen.Access), 401, "invalid_token", "password_changed")
	events := a.ask("GET", "/account/v1/events", other.Access, "")
	if n := bytes.Count(events.body, []byte(`"password_change_refused"`)); n != 3 {
		a.Errorf("%d of 3 refusals are told: %s", n, events.body)
	}
	if bytes.Contains(events.body, []byte("guess")) || strings.Contains(a.log.String(), "another-password") || strings.Contains(a.log.String(), `"guess"`) {
		a.Error("a password is shown")
	}
}

// TestAccountMetrics (LOGS-03): a route is one series, whatever is in its path.
func TestAccountMetrics(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native")
	for _, sid := range []string{"x", "y", sidOf(h.Access)} {
		a.ask("DELETE", "/account/v1/sessions/"+sid+"/", h.Access, "")
	}
	for series, want := range map[string]float64{
		`holdfast_requests_total{route="/account/v1/sessions/{sid}",status="404"}`: 2,
		`holdfast_requests_total{route="/account/v1/sessions/{sid}",status="204"}`: 1,
	} {
		if got := a.figure(series); got != want {
			a.Errorf("%s is %v, want %v", series, got, want)
		}
	}
}
