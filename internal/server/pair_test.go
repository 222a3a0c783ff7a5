package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/server"
)

// The tests of pair_*_test.go hold the door of simplejwt and django-rest-framework-jwt
// to the wire contract of the apps it serves; the rows they name are listed in
// docs/reference/compatibility.md.

// pairClients are what the tests need besides demo-pair.
const pairClients = `
[[clients]]
id = "pair-phone"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "simplejwt"
access_lifetime = "5m"
idle_lifetime = "1d"

[[users]]
username = "learner"
email = "learner@example.com"
password = "the-password-of-learner"
id = 4711
`

const (
	pairAt    = "/api/token"
	slidingAt = "/auth/sliding"
	drfAt     = "/auth"
)

// pairs is a house with every dialect of the door.
func pairs(t *testing.T) attack {
	t.Helper()
	a := attack{t, forTest(t, func(c *server.Config) {
		c.Doors = []string{"edx", "dot /o", "simplejwt /api/token demo-pair", "simplejwt /short pair-phone", "sliding /auth/sliding pair-phone", "drf-jwt /auth pair-phone"}
	})}
	a.apply(pairClients)
	return a
}

// json sends a JSON body, and holds the answer to what every answer of this door
// must be.
func (a attack) json(path, body string, header ...http.Header) answer {
	a.Helper()
	return a.pairAsk(http.MethodPost, path, "application/json", body, header...)
}

func (a attack) pairAsk(method, path, kind, body string, header ...http.Header) answer {
	a.Helper()
	var h http.Header
	if len(header) > 0 {
		h = header[0]
	}
	got, err := a.send(method, path, kind, strings.NewReader(body), h)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	head := got.header
	if head.Get("Cache-Control") != "no-store" || head.Get("Allow") != "POST, OPTIONS" || head["Set-Cookie"] != nil || head.Get("Location") != "" ||
		len(got.body) > 0 && head.Get("Content-Type") != "application/json" {
		a.Errorf("%s %s: %d %v", method, path, got.status, head)
	}
	challenge := head.Get("WWW-Authenticate")
	if (got.status == 401) != (challenge == `Bearer realm="api"`) {
		a.Errorf("%s %s: %d with WWW-Authenticate %q", method, path, got.status, challenge)
	}
	var object map[string]any
	if len(got.body) > 0 && (json.Unmarshal(got.body, &object) != nil || bytes.HasSuffix(got.body, []byte("\n"))) {
		a.Errorf("%s %s: %q is no JSON object", method, path, got.body)
	}
	return got
}

// pairHeld is what an app of this door holds.
type pairHeld struct {
	Access, Refresh, Token string
}

func (a attack) keeps(got answer) (h pairHeld) {
	a.Helper()
	if got.status != 200 || json.Unmarshal(got.body, &h) != nil {
		a.Fatalf("%d %s", got.status, got.body)
	}
	return h
}

const learnerJSON = `{"username":"learner","password":"the-password-of-learner"}`

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

func refreshJSON(t string) string { return `{"refresh":` + quote(t) + `}` }
func tokenJSON(t string) string   { return `{"token":` + quote(t) + `}` }

// members lists the members of a JSON object in their order.
func members(b []byte) (names []string) {
	dec := json.NewDecoder(bytes.NewReader(b))
	_, _ = dec.Token()
	for dec.More() {
		name, _ := dec.Token()
		names = append(names, name.(string))
		var v json.RawMessage
		_ = dec.Decode(&v)
	}
	return names
}

var hex32 = regexp.MustCompile(`^[0-9a-f]{32}$`)

// TestPairObtain (contract 4.1 rows 1, 2, 6, 7, contract 4.3 rows 1..5, R04, R41, R43): what a
// sign-in and a refresh are answered, as JSON and as a form, with and without the
// trailing slash.
func TestPairObtain(t *testing.T) {
	a := pairs(t)
	for _, path := range []string{pairAt, pairAt + "/"} {
		for kind, body := range map[string]string{
			"application/json":                learnerJSON,
			"application/json; charset=utf-8": `{"username":" learner ","password":"the-password-of-learner","next":{"a":[1]},"remember":null}`,
			"application/json;charset=UTF-8":  `{"email":"learner@example.com","password":"the-password-of-learner"}`,
			urlEncoded:                        "username=learner&password=the-password-of-learner&csrf=",
		} {
			got := a.pairAsk(http.MethodPost, path, kind, body)
			h := a.keeps(got)
			if strings.Join(members(got.body), " ") != "refresh access" {
				a.Errorf("%s: %s", kind, got.body)
			}
			a.pairClaims(h)
		}
	}
	h := a.keeps(a.json(pairAt, learnerJSON))
	a.clock.advance(time.Hour)
	got := a.json(pairAt+"/refresh/", refreshJSON(h.Refresh))
	next := a.keeps(got)
	if strings.Join(members(got.body), " ") != "access refresh" || next.Refresh == h.Refresh {
		a.Errorf("%s", got.body)
	}
	a.pairClaims(next)
	a.clock.advance(30 * time.Second) // a repeated answer is the same to the last byte
	if again := a.keeps(a.pairAsk(http.MethodPost, pairAt+"/refresh", urlEncoded, encode([]string{"refresh", h.Refresh}))); again.Refresh != next.Refresh || again.Access == next.Access {
		a.Error("the repeated refresh brought another token (R4)")
	}
	if got := a.request("GET", "/oauth2/userinfo", "", "", bearer(next.Access)); got.status != 403 {
		a.Errorf("the access token is none: %d %s", got.status, got.body)
	}
}

// pairClaims holds the claims of contract 4 that apps decode.
func (a attack) pairClaims(h pairHeld) {
	a.Helper()
	now := float64(a.clock.Now().Unix())
	for what, jwt := range map[string]string{"access": h.Access, "refresh": h.Refresh} {
		c := claims(jwt)
		jti, _ := c["jti"].(string)
		exp, _ := c["exp"].(float64)
		if c["token_type"] != what || c["user_id"] != float64(4711) || c["iat"] != now || exp <= now || !hex32.MatchString(jti) {
			a.Errorf("%s: %v", what, c)
		}
	}
	if exp := claims(h.Refresh)["exp"].(float64); exp != now+90*24*3600 {
		a.Errorf("the refresh token says that it ends at %v", exp)
	}
	head, _ := base64.RawURLEncoding.DecodeString(strings.Split(h.Access, ".")[0])
	if !strings.Contains(string(head), `"typ":"at+jwt"`) || strings.Contains(string(head), "HS256") {
		a.Errorf("header %s", head)
	}
}

// TestPairErrors (contract 4.2 rows 1..10, 14, R07, R45): every refusal, byte by byte.
func TestPairErrors(t *testing.T) {
	a := pairs(t)
	const noAccount = `{"detail":"No active account found with the given credentials"}`
	const invalid = `{"detail":"Token is invalid","code":"token_not_valid"}`
	h := a.keeps(a.json(pairAt, learnerJSON))
	other := a.keeps(a.json("/short", learnerJSON))
	for _, c := range []struct {
		name, path, kind, body string
		status                 int
		want                   string
	}{
		{"row 1 wrong password", "", "", `{"username":"learner","password":"wrong"}`, 401, noAccount},
		{"row 1 unknown user", "", "", `{"username":"nobody","password":"wrong"}`, 401, noAccount},
		{"row 2 no password", "", "", `{"username":"learner"}`, 400, `{"password":["This field is required."]}`},
		{"row 2 nothing", "", "", `{}`, 400, `{"username":["This field is required."],"password":["This field is required."]}`},
		{"row 2 no body", "", "", ``, 400, `{"username":["This field is required."],"password":["This field is required."]}`},
		{"row 2 no refresh", "/refresh/", "", `{}`, 400, `{"refresh":["This field is required."]}`},
		{"row 2 no token", "/verify/", urlEncoded, "x=y", 400, `{"token":["This field is required."]}`},
		{"row 3 blank", "", "", `{"username":"","password":"  "}`, 400, `{"username":["This field may not be blank."],"password":["This field may not be blank."]}`},
		{"row 3 blank in a form", "", urlEncoded, "username=&password=x", 400, `{"username":["This field may not be blank."]}`},
		{"row 3 null", "", "", `{"username":null,"password":["x"]}`, 400, `{"username":["This field may not be null."],"password":["Not a valid string."]}`},
		{"row 3 NUL", "", "", `{"username":"a\u0000b","password":"x"}`, 400, `{"username":["Null characters are not allowed."]}`},
		{"row 4 no object", "", "", `[1]`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got list."]}`},
		{"row 4 a number", "", "", `1`, 400, `{"non_field_errors":["Invalid data. Expected a dictionary, but got int."]}`},
		{"row 5 media type", "", "text/plain", "x", 415, `{"detail":"Unsupported media type \"text/plain\" in request."}`},
		{"row 5 no media type", "", "", "", 400, `{"username":["This field is required."],"password":["This field is required."]}`},
		{"row 7 refresh", "/refresh/", "", `{"refresh":"x"}`, 401, invalid},
		{"row 7 forged", "/refresh/", "", refreshJSON(h.Refresh[:len(h.Refresh)-2] + "AA"), 401, invalid},
		{"row 7 another app's", "/refresh/", "", refreshJSON(other.Refresh), 401, invalid},
		{"row 9 access", "/refresh/", "", refreshJSON(h.Access), 401, `{"detail":"Token has wrong type","code":"token_not_valid"}`},
		{"row 14 verify", "/verify/", "", `{"token":"x.y.z"}`, 401, invalid},
		{"row 14 verify another app's", "/verify/", "", tokenJSON(other.Access), 401, invalid},
		{"row 14 blacklist", "/blacklist/", "", `{"refresh":"x"}`, 401, invalid},
		{"row 14 blacklist access", "/blacklist/", "", refreshJSON(h.Access), 401, `{"detail":"Token has wrong type","code":"token_not_valid"}`},
	} {
		a.in("contract 4.2 "+c.name, func(a attack) {
			kind := c.kind
			if kind == "" {
				kind = "application/json"
			}
			a.exactly(a.pairAsk(http.MethodPost, pairAt+c.path, kind, c.body), c.status, c.want)
		})
	}
	a.in("contract 4.2 row 4 broken JSON", func(a attack) {
		for _, body := range []string{`{`, `{"username":`, `{"username":"a","username":"b"}`, `{} {}`, "\xff", `{"a":1}x`} {
			got := a.json(pairAt, body)
			if got.status != 400 || !strings.HasPrefix(string(got.body), `{"detail":"JSON parse error - `) {
				a.Errorf("%q: %d %s", body, got.status, got.body)
			}
		}
	})
	a.in("contract 4.2 row 6 GET", func(a attack) {
		for _, path := range []string{"", "/refresh", "/verify", "/blacklist/"} {
			a.exactly(a.pairAsk(http.MethodGet, pairAt+path, "", ""), 405, `{"detail":"Method \"GET\" not allowed."}`)
			a.exactly(a.pairAsk(http.MethodOptions, pairAt+path, "", ""), 200, "")
		}
	})
	if a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)).status != 200 || a.json("/short/refresh/", refreshJSON(other.Refresh)).status != 200 {
		a.Error("a refusal spent a token (R7)")
	}
}

// TestPairEnds (contract 4.1 rows 3, 4, contract 4.2 rows 8, 11..15, R02..03, R18,
// R23, R42): what a token whose sign-in is over is told, by each route.
func TestPairEnds(t *testing.T) {
	const blacklisted = `{"detail":"Token is blacklisted","code":"token_not_valid"}`
	const ended = `{"non_field_errors":["Token is blacklisted"]}`
	a := pairs(t)
	a.in("contract 4.2 row 13, 15 blacklist", func(a attack) {
		h, other := a.keeps(a.json(pairAt, learnerJSON)), a.keeps(a.json(pairAt, learnerJSON))
		for _, jwt := range []string{h.Access, h.Refresh} {
			a.exactly(a.json(pairAt+"/verify/", tokenJSON(jwt)), 200, `{}`)
		}
		a.exactly(a.json(pairAt+"/blacklist/", refreshJSON(h.Refresh)), 200, `{}`)
		got := a.json(pairAt+"/blacklist/", refreshJSON(h.Refresh))
		a.exactly(got, 401, blacklisted)
		if got.header.Get("Holdfast-Reason") != "signed_out" {
			a.Errorf("reason %q", got.header.Get("Holdfast-Reason"))
		}
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)), 401, blacklisted)
		a.exactly(a.json(pairAt+"/verify/", tokenJSON(h.Refresh)), 400, ended)
		a.exactly(a.json(pairAt+"/verify/", tokenJSON(h.Access)), 400, ended)
		a.exactly(a.json(pairAt+"/verify/", tokenJSON(other.Refresh)), 200, `{}`)
	})
	a.in("contract 4.2 row 10 replayed, R3", func(a attack) {
		h := a.keeps(a.json(pairAt, learnerJSON))
		a.clock.advance(time.Hour)
		next := a.keeps(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)))
		a.clock.advance(time.Hour)
		last := a.keeps(a.json(pairAt+"/refresh/", refreshJSON(next.Refresh)))
		late := a.json(pairAt+"/refresh/", refreshJSON(h.Refresh))
		if late.status != 503 || late.header.Get("Retry-After") != "1" || late.header.Get("Holdfast-Reason") != "late" {
			a.Errorf("%d %v %s", late.status, late.header, late.body)
		}
		if got := a.json(pairAt+"/verify/", tokenJSON(h.Refresh)); got.status != 503 {
			a.Errorf("verify: %d %s", got.status, got.body)
		}
		a.clock.advance(10 * time.Minute)
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)), 401, blacklisted)
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(last.Refresh)), 401, blacklisted)
	})
	a.in("blacklist by an old token", func(a attack) {
		h := a.keeps(a.json(pairAt, learnerJSON))
		a.clock.advance(time.Hour)
		next := a.keeps(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)))
		a.clock.advance(time.Hour)
		last := a.keeps(a.json(pairAt+"/refresh/", refreshJSON(next.Refresh)))
		a.clock.advance(time.Hour)
		a.exactly(a.json(pairAt+"/blacklist/", refreshJSON(h.Refresh)), 200, `{}`)
		got := a.json(pairAt+"/refresh/", refreshJSON(last.Refresh))
		a.exactly(got, 401, blacklisted)
		if got.header.Get("Holdfast-Reason") != "signed_out" {
			a.Errorf("reason %q", got.header.Get("Holdfast-Reason"))
		}
	})
	a.in("contract 4.2 row 8 expired", func(a attack) {
		h := a.keeps(a.json("/short", learnerJSON))
		a.clock.advance(10 * time.Minute)
		const expired = `{"detail":"Token is expired","code":"token_not_valid"}`
		a.exactly(a.json("/short/verify/", tokenJSON(h.Access)), 401, expired)
		a.exactly(a.json("/short/refresh/", refreshJSON(h.Access)), 401, expired)
		a.clock.advance(25 * time.Hour)
		for _, route := range []string{"/refresh/", "/blacklist/"} {
			got := a.json("/short"+route, refreshJSON(h.Refresh))
			a.exactly(got, 401, expired)
			if got.header.Get("Holdfast-Reason") != "idle" {
				a.Errorf("reason %q", got.header.Get("Holdfast-Reason"))
			}
		}
		a.exactly(a.json("/short/verify/", tokenJSON(h.Refresh)), 401, expired)
	})
	a.in("contract 4.2 row 12 password changed", func(a attack) {
		h, mine := a.keeps(a.json(pairAt, learnerJSON)), a.signIn("demo-native", "username", "learner", "password", "the-password-of-learner")
		got := a.ask("POST", "/account/v1/password", mine.Access,
			`{"current_password":"the-password-of-learner","new_password":"another-password-of-learner"}`)
		if got.status >= 300 {
			a.Fatalf("%d %s", got.status, got.body)
		}
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)), 401, `{"detail":"The user's password has been changed."}`)
	})
	a.in("contract 4.2 row 11 disabled, R23", func(a attack) {
		const body = `{"username":"learner","password":"another-password-of-learner"}`
		h := a.keeps(a.json(pairAt, body))
		a.apply("[[users]]\nusername = \"learner\"\ndisabled = true\n")
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)), 401, `{"detail":"No active account found for the given token."}`)
		a.exactly(a.json(pairAt, body), 401, `{"detail":"No active account found with the given credentials"}`)
	})
	a.in("the client is stopped", func(a attack) {
		h := a.keeps(a.json(pairAt, `{"username":"demo","password":"demo-password"}`))
		a.operator("POST", "/admin/v1/clients/demo-pair/disable", "")
		a.exactly(a.json(pairAt+"/refresh/", refreshJSON(h.Refresh)), 401, blacklisted)
		if got := a.json(pairAt, `{"username":"demo","password":"demo-password"}`); got.status != 403 {
			a.Errorf("%d %s", got.status, got.body)
		}
	})
}

// TestPairCrossOrigin (contract 4.1 row 8): pages of the client's own origins may
// call, with an Authorization header too.
func TestPairCrossOrigin(t *testing.T) {
	a := pairs(t)
	const own = "http://127.0.0.1:8423"
	for _, path := range []string{"", "/", "/refresh/", "/verify", "/blacklist"} {
		for origin, ok := range map[string]bool{own: true, "http://127.0.0.1:8422": false, "null": false, own + "/": false} {
			got := a.pairAsk(http.MethodOptions, pairAt+path, "", "", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type"}})
			h := got.header
			if ok != (got.status == 204) || ok != (h.Get("Access-Control-Allow-Origin") == origin) || h.Get("Vary") != "Origin" ||
				ok != strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Access-Control-Allow-Credentials") != "" {
				a.Errorf("%s %s: %d %v", path, origin, got.status, h)
			}
		}
		got := a.json(pairAt+path, `{}`, http.Header{"Origin": {own}, "Authorization": {"Bearer stale"}})
		if got.status != 400 || got.header.Get("Access-Control-Allow-Origin") != own || !slices.Contains(strings.Split(got.header.Get("Access-Control-Expose-Headers"), ", "), "Holdfast-Reason") {
			a.Errorf("%s: %d %v", path, got.status, got.header)
		}
	}
}

// TestPairClient: a client that cannot be the one behind a door refuses the start,
// and the sentence says where the door is written; one that is not there is told
// to come back by each request, and signs nobody out.
func TestPairClient(t *testing.T) {
	for client, want := range map[string]string{
		"demo-native": `doors = "simplejwt /x demo-native": the client demo-native has tokens without user_id and token_type; set claims = "simplejwt" at the client [HF130]`,
		"demo-web":    `the client demo-web is confidential`,
		"demo-edx":    `the client demo-edx has tokens without user_id and token_type`,
	} {
		_, err := newHouse(t.TempDir(), func(c *server.Config) { c.Doors = []string{"simplejwt /x " + client} })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", client, err)
		}
	}
	a := attack{t, forTest(t, func(c *server.Config) { c.Doors = []string{"simplejwt /x nobody"} })}
	a.operator("GET", "/admin/v1/check", "")
	a.apply("[[clients]]\nid = \"nobody\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\n")
	if got, err := a.operate("GET", "/admin/v1/check", nil); err != nil || got.status != 500 || !strings.Contains(string(got.body), "HF130") {
		a.Errorf("check: %d %s %v", got.status, got.body, err)
	}
	if got, err := a.operate("DELETE", "/admin/v1/clients/nobody", nil); err != nil || got.status >= 300 {
		a.Fatalf("%d %s %v", got.status, got.body, err)
	}
	for path, body := range map[string]string{"/x/": learnerJSON, "/x/refresh/": refreshJSON("x"), "/x/verify/": tokenJSON("x"), "/x/blacklist/": refreshJSON("x")} {
		got := a.json(path, body)
		if got.status != 503 || got.header.Get("Retry-After") == "" {
			a.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}
