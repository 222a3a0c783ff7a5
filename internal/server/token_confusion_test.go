package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/server"
)

// everyToken is one good credential of each class that any door gives out.
func everyToken(a attack) map[string]string {
	a.Helper()
	all := map[string]string{}
	phone, learner := a.signIn("demo-native"), a.learner("demo-edx")
	all["access"], all["refresh"], all["id"] = phone.Access, phone.Refresh, phone.ID
	all["service"] = a.service().Access
	all["edx access"], all["edx refresh"] = learner.Access, learner.Refresh
	all["edx opaque"] = a.holds(a.app(accessToken, nil, "grant_type", "password", "client_id", "demo-edx", "username", "learner", "password", "the-password-of-learner"), "demo-edx").Access
	all["webview"] = a.web(learner.Access).Value
	halves := jar(a.app("/login_refresh", with("sessionid="+all["webview"])))
	all["webview jwt"] = halves["edx-jwt-cookie-header-payload"].Value + "." + halves["edx-jwt-cookie-signature"].Value
	_, ticket, _ := strings.Cut(a.sold(learner.Access), "ticket=")
	all["ticket"], _ = url.QueryUnescape(ticket)
	pair := a.keeps(a.json("/short", learnerJSON))
	all["pair access"], all["pair refresh"] = pair.Access, pair.Refresh
	body, _ := base64.RawURLEncoding.DecodeString(strings.Split(pair.Refresh, ".")[1])
	var inner struct{ RT string }
	_ = json.Unmarshal(body, &inner)
	all["pair undressed"] = inner.RT
	all["sliding"] = a.keeps(a.json(slidingAt, learnerJSON)).Token
	all["drf"] = a.keeps(a.slim(drfAt+"/get-token/", learnerJSON)).Token
	b := signedInBrowser(a, strings.Replace(goodSignIn, "true", "false", 1))
	all["visit access"], all["visit refresh"] = b.jar["holdfast"].Value, b.jar["holdfast-refresh"].Value
	for name, t := range all {
		if t == "" {
			a.Fatalf("no %s", name)
		}
		a.secrets.add(name, t)
	}
	return all
}

// TestTokenConfusion (RFC 8725 section 3.12, WEBVIEW-06, I6): each credential of each
// door, shown wherever another one is meant. What is not listed earns nothing, and
// no answer is the server's fault.
func TestTokenConfusion(t *testing.T) {
	a := everyDoor(t)
	all := everyToken(a) // in the overlap a refresh token may be shown more than once
	for name, c := range places(a) {
		for class, token := range all {
			got := c.show(token)
			if ok := got.status < 400; ok != slices.Contains(c.earns, class) || got.status >= 500 {
				t.Errorf("%s shown at %s: %d %s", class, name, got.status, got.body)
			}
		}
	}
}

// TestTokenEnds (I4, R19, R21, R23, WEBVIEW-07): what ends a user's sign-ins, or a client,
// ends every credential at every door.
func TestTokenEnds(t *testing.T) {
	for name, manifest := range map[string]string{
		"disabled":         "[[users]]\nusername = \"learner\"\ndisabled = true\n[[users]]\nusername = \"demo\"\ndisabled = true\n",
		"password changed": "[[users]]\nusername = \"learner\"\npassword = \"another password\"\n[[users]]\nusername = \"demo\"\npassword = \"another password\"\n",
		"clients stopped":  "",
	} {
		a := everyDoor(t)
		a.in(name, func(a attack) {
			all := everyToken(a)
			if manifest != "" {
				a.apply(manifest)
			} else {
				for _, id := range []string{"demo-native", "demo-edx", "pair-phone", "demo-spa"} {
					a.operator("POST", "/admin/v1/clients/"+id+"/disable", "")
				}
			}
			for name, c := range places(a) {
				for class, token := range all {
					if got := c.show(token); got.status < 400 && class != "service" || got.status >= 500 {
						a.Errorf("%s shown at %s afterwards: %d %s", class, name, got.status, got.body)
					}
				}
			}
		})
	}
}

// everyDoor is a house with every dialect of every door.
func everyDoor(t *testing.T) attack {
	t.Helper()
	a := attack{t, forTest(t, func(c *server.Config) {
		c.Doors = []string{"edx", "web", "dot /o", "simplejwt /api/token demo-pair", "simplejwt /short pair-phone", "sliding /auth/sliding pair-phone", "drf-jwt /auth pair-phone"}
	})}
	a.apply(edxClients)
	a.apply(strings.Split(pairClients, "[[users]]")[0])
	return a
}

// place is where a credential is shown, and the classes that earn something there.
type place struct {
	show  func(string) answer
	earns []string
}

// places lists where credentials are shown.
func places(a attack) map[string]place {
	access := []string{"access", "edx access", "edx opaque", "webview jwt", "pair access", "sliding", "drf", "visit access"}
	openid := []string{"access", "pair access", "sliding", "drf", "visit access"}
	send := func(method, path, kind, body string, h http.Header) answer {
		got, err := a.send(method, path, kind, strings.NewReader(body), h)
		if err != nil {
			a.Fatal(err)
		}
		return got
	}
	form := func(path string, fields ...string) answer { return send("POST", path, urlEncoded, encode(fields), nil) }
	cookie := func(method, path, c string) answer {
		csrf := strings.Repeat("A", 32)
		return send(method, path, "", "", http.Header{"Cookie": {c + "; holdfast-csrf=" + csrf}, "X-Csrf-Token": {csrf}, "Origin": {testIssuer}})
	}
	named := func(token, client string) string {
		return token + "~" + base64.RawURLEncoding.EncodeToString([]byte(client))
	}
	refreshes := func(path, client string) func(string) answer {
		return func(s string) answer {
			return form(path, "grant_type", "refresh_token", "client_id", client, "refresh_token", s)
		}
	}
	return map[string]place{
		"userinfo":         {func(s string) answer { return send("GET", "/oauth2/userinfo", "", "", bearer(s)) }, openid},
		"dot userinfo":     {func(s string) answer { return send("GET", "/o/userinfo", "", "", bearer(s)) }, openid},
		"account":          {func(s string) answer { return send("GET", "/account/v1/me", "", "", bearer(s)) }, access},
		"account, cookie":  {func(s string) answer { return cookie("GET", "/account/v1/me", "holdfast="+s) }, access},
		"edx user":         {func(s string) answer { return send("GET", "/api/mobile/v0.5/my_user_info", "", "", jwtHeader(s)) }, access},
		"edx user, Bearer": {func(s string) answer { return send("GET", "/api/mobile/v0.5/my_user_info", "", "", bearer(s)) }, access},
		"swap":             {func(s string) answer { return send("POST", "/oauth2/login", "", "", jwtHeader(s)) }, []string{"edx access", "edx opaque"}},
		"ticket":           {func(s string) answer { return send("POST", "/oauth2/login/ticket", "", "", bearer(s)) }, []string{"edx access", "edx opaque"}},
		"login_refresh":    {func(s string) answer { return send("POST", "/login_refresh", "", "", with("sessionid="+s)) }, []string{"webview"}},
		"redeem": {func(s string) answer {
			return send("GET", "/oauth2/login/ticket?"+url.Values{"ticket": {s}}.Encode(), "", "", nil)
		}, []string{"ticket"}},
		"refresh, demo-native": {refreshes("/oauth2/token", "demo-native"), []string{"refresh"}},
		"refresh, demo-edx":    {refreshes("/oauth2/token", "demo-edx"), []string{"edx refresh"}},
		"refresh, edx door":    {refreshes(accessToken, "demo-edx"), []string{"edx refresh"}},
		"refresh, demo-spa":    {refreshes("/oauth2/token", "demo-spa"), nil}, // the cookie's token has its client's name behind it
		"refresh, dot door":    {refreshes("/o/token/", "pair-phone"), []string{"pair refresh", "pair undressed"}},
		"pair refresh":         {func(s string) answer { return a.json("/short/refresh/", refreshJSON(s)) }, []string{"pair refresh", "pair undressed"}},
		"other pair's refresh": {func(s string) answer { return a.json("/api/token/refresh/", refreshJSON(s)) }, nil},
		"pair verify":          {func(s string) answer { return a.json("/short/verify/", tokenJSON(s)) }, []string{"pair access", "pair refresh", "pair undressed", "sliding", "drf"}},
		"sliding":              {func(s string) answer { return a.json(slidingAt+"/refresh/", tokenJSON(s)) }, []string{"sliding"}},
		"drf":                  {func(s string) answer { return a.slim(drfAt+"/refresh-token/", tokenJSON(s)) }, []string{"drf"}},
		"web refresh":          {func(s string) answer { return cookie("POST", "/web/v1/refresh", "holdfast-refresh="+s) }, []string{"visit refresh"}},
		"web refresh, spa": {func(s string) answer {
			return cookie("POST", "/web/v1/refresh", "holdfast-refresh="+named(s, "demo-spa"))
		}, nil},
		"exchange": {func(s string) answer {
			return form("/oauth2/token", "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", "client_id", "demo-native", "subject_token", s,
				"subject_token_type", "urn:ietf:params:oauth:token-type:access_token", "subject_issuer", "demo-google")
		}, nil},
		"operators": {func(s string) answer { return send("GET", "/admin/v1/users", "", "", bearer(s)) }, nil},
		"dot introspection": {func(s string) answer {
			return send("POST", "/o/introspect/", urlEncoded, "token=x", bearer(s))
		}, []string{"service"}},
	}
}
