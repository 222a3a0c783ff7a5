package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/id"
)

const swap = "/oauth2/login/"

// jar reads what an answer sets.
func jar(got answer) map[string]*http.Cookie {
	all := map[string]*http.Cookie{}
	for _, c := range (&http.Response{Header: got.header}).Cookies() {
		all[c.Name] = c
	}
	return all
}

// with is a request header that sends cookies.
func with(cookies ...string) http.Header {
	return http.Header{"Cookie": {strings.Join(cookies, "; ")}}
}

// web swaps an access token for a WebView's cookie.
func (a attack) web(access string, header ...http.Header) *http.Cookie {
	a.Helper()
	h := jwtHeader(access)
	for _, more := range header {
		for k, v := range more {
			h[k] = v
		}
	}
	got := a.app(swap, h)
	c := jar(got)["sessionid"]
	if got.status != 204 || len(got.body) != 0 || c == nil {
		a.Fatalf("the swap was answered %d %s %v", got.status, got.body, got.header)
	}
	return c
}

// pages is what a page with the cookie is answered.
func (a attack) pages(c *http.Cookie) int {
	a.Helper()
	return a.app("/login_refresh", with("sessionid="+c.Value)).status
}

// TestEdXSwap (contract 1.1 row 3, contract 1.6 rows 1, 2, 4..8, contract 1.10 rows 1, 7, WEBVIEW-01, 02, 05, 06, R34, R35): who may swap
// an access token for a cookie, and how everybody else is refused.
func TestEdXSwap(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	a.in("contract 1.6 row 8", func(a attack) {
		for _, path := range []string{swap, "/oauth2/login"} {
			for _, word := range []string{"JWT ", "Bearer ", "jwt "} {
				got := a.app(path, http.Header{"Authorization": {word + h.Access}})
				c := jar(got)["sessionid"]
				if got.status != 204 || len(got.body) > 0 || c == nil || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode ||
					c.MaxAge != 14*24*3600 || jar(got)["csrftoken"] == nil || len(jar(got)) != 2 || strings.Contains(c.Value, "ey") && strings.Contains(c.Value, ".") {
					a.Errorf("%s %s: %d %v", path, word, got.status, got.header)
				}
			}
		}
	})
	asymmetricOnly := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + h.Access[strings.Index(h.Access, "."):]
	service := a.holds(a.app(accessToken, nil, "grant_type", "client_credentials", "client_id", "edx-web", "client_secret", "the-secret-of-edx-web", "token_type", "jwt"), "").Access
	narrow := a.holds(a.app(accessToken, nil, "grant_type", "refresh_token", "client_id", "demo-edx", "refresh_token", h.Refresh, "scope", "read", "token_type", "jwt"), "").Access
	std := a.signIn("demo-native")
	refused := func(name, header string, status int, body string) {
		a.in(name, func(a attack) {
			head := http.Header{}
			if header != "" {
				head.Set("Authorization", header)
			}
			got := a.app(swap, head)
			a.exactly(got, status, body)
			if got.header.Get("WWW-Authenticate") != `Bearer realm="api"` || got.header["Set-Cookie"] != nil {
				a.Errorf("%v", got.header)
			}
		})
	}
	const grantBody = `{"error_code":"non_supported_token","developer_message":"Only access tokens with grant type password are supported."}`
	refused("contract 1.6 row 1 WEBVIEW-02 a service", "JWT "+service, 401, grantBody)
	refused("WEBVIEW-02 narrowed", "JWT "+narrow, 401, grantBody)
	refused("WEBVIEW-06 client without pages", "JWT "+a.learner("edx-no-pages").Access, 401, grantBody)
	refused("WEBVIEW-06 another client", "JWT "+std.Access, 401, grantBody)
	refused("WEBVIEW-06 restricted", "JWT "+a.learner("edx-restricted").Access, 401, grantBody)
	refused("contract 1.6 row 2 WEBVIEW-01", "JWT "+asymmetricOnly, 401, `{"error_code":"non_asymmetric_token","developer_message":"Only asymmetric jwt are supported."}`)
	refused("contract 1.6 row 4 none", "", 401, `{"detail":"Authentication credentials were not provided."}`)
	refused("contract 1.6 row 4 three words", "JWT a b", 401, `{"detail":"Authentication credentials were not provided."}`)
	refused("contract 1.6 row 5 garbage", "JWT "+h.Access+"x", 401, `{"detail":"Invalid token."}`)
	refused("contract 1.6 row 5 WEBVIEW-06 ID token", "JWT "+std.ID, 401, `{"detail":"Invalid token."}`)
	refused("contract 1.6 row 6 WEBVIEW-06 refresh token", "Bearer "+h.Refresh, 401, `{"error_code":"token_nonexistent","developer_message":"The provided access token does not match any valid tokens."}`)
	refused("contract 1.6 row 7 one word", "Bearer", 401, `{"error_code":"token_not_provided","developer_message":"Invalid token header. No credentials provided."}`)
	refused("contract 1.6 row 7 three words", "Bearer a b", 401, `{"error_code":"token_malformed","developer_message":"Invalid token header. Token string should not contain spaces."}`)
	opaque := a.learner("edx-opaque").Access
	a.web(opaque)
	a.clock.advance(11 * time.Hour)
	refused("contract 1.6 row 5 expired", "JWT "+h.Access, 401, `{"detail":"Token has expired."}`)
	refused("contract 1.6 row 6 expired", "Bearer "+opaque, 401, `{"error_code":"token_expired","developer_message":"The provided access token has expired and is no longer valid."}`)
}

// TestEdXSwapLives (WEBVIEW-03, 04, 07, 08, INV-05, R03, R19, R23, R34, contract 1.3 row 2, contract 1.6 row 3): the cookie
// is a part of the device: it ends with it, outlives nothing, and is nobody else's.
func TestEdXSwapLives(t *testing.T) {
	a := edx(t)
	a.in("WEBVIEW-04 planted", func(a attack) {
		thief := a.web(a.signInEdX("demo").Access)
		h := a.learner("demo-edx")
		c := a.web(h.Access, with("sessionid="+thief.Value))
		if a.pages(thief) != 401 || a.pages(c) != 200 {
			a.Error("the planted session lives, or the new one does not")
		}
		again := a.web(h.Access, with("sessionid="+c.Value))
		if again.Value == c.Value || a.pages(c) != 200 || a.pages(again) != 200 {
			a.Error("the second cookie of a device")
		}
	})
	for name, end := range map[string]func(attack, held){
		"logout of the device": func(a attack, h held) {
			a.app("/oauth2/revoke_token", nil, "token", h.Refresh, "client_id", "demo-edx")
		},
		"operator": func(a attack, h held) {
			a.operator("POST", "/admin/v1/sessions/"+sidOf(h.Access)+"/end", "")
		},
		"password changed": func(a attack, h held) {
			got, err := a.send("POST", "/account/v1/password", "application/json", strings.NewReader(`{"current_password":"the-password-of-learner","new_password":"another-password-of-learner"}`), bearer(h.Access))
			if err != nil || got.status != 204 {
				a.Fatalf("%v %d %s", err, got.status, got.body)
			}
			next := a.holds(a.renewed(h), "demo-edx") // this device goes on (R19), and its pages with it
			if a.pages(a.web(next.Access)) != 200 {
				a.Error("the device that changed the password has no pages")
			}
			a.operator("POST", "/admin/v1/users/"+claims(h.Access)["sub"].(string)+"/password", `{"password":"the-password-of-learner"}`)
		},
		"reuse": func(a attack, h held) {
			first := h
			for range 3 {
				h = a.holds(a.renewed(h), "demo-edx")
				a.clock.advance(10 * time.Minute)
			}
			a.renewed(first)
		},
	} {
		a.in("WEBVIEW-07 "+name, func(a attack) {
			h := a.learner("demo-edx")
			c := a.web(h.Access)
			if a.pages(c) != 200 {
				a.Fatal("the cookie never lived")
			}
			end(a, h)
			if a.pages(c) != 401 {
				a.Error("the cookie outlives its device")
			}
		})
	}
	a.in("WEBVIEW-08", func(a attack) {
		h := a.learner("demo-edx")
		var c *http.Cookie
		for range 5 {
			a.clock.advance(10 * time.Minute)
			c = a.web(h.Access)
		}
		if c.MaxAge != 14*24*3600-50*60 {
			a.Errorf("Max-Age %d", c.MaxAge)
		}
		got := a.app("/login_refresh", with("sessionid="+c.Value))
		pages := jar(got)["edx-jwt-cookie-header-payload"].Value + "." + jar(got)["edx-jwt-cookie-signature"].Value
		if got := a.app(swap, jwtHeader(pages)); got.status != 401 {
			a.Error("a page's own token prolonged its session")
		}
		a.clock.advance(14 * 24 * time.Hour)
		if a.pages(c) != 401 {
			a.Error("the cookie has no end")
		}
	})
	a.in("the cookie opens nothing else", func(a attack) {
		c := a.web(a.learner("demo-edx").Access)
		a.dead(c.Value, "")
		a.exactly(a.edxAsk("GET", "/api/mobile/v0.5/my_user_info", jwtHeader(c.Value)), 401, `{"detail":"Invalid token."}`)
		if a.pages(&http.Cookie{Value: a.learner("edx-opaque").Access}) != 401 {
			a.Error("an access token is a cookie")
		}
	})
	a.in("WEBVIEW-03 contract 1.6 row 3 disabled, R23", func(a attack) {
		h := a.learner("demo-edx")
		opaque := a.learner("edx-opaque")
		c := a.web(h.Access)
		me := claims(h.Access)["sub"].(string)
		if _, err := id.ParseUser(me); err != nil {
			a.Fatal(err)
		}
		a.operator("POST", "/admin/v1/users/"+me+"/disable", "")
		a.exactly(a.app(swap, jwtHeader(h.Access)), 401, `{"error_code":"account_disabled","developer_message":"User account is disabled."}`)
		a.exactly(a.app(swap, bearer(opaque.Access)), 401, `{"error_code":"account_disabled","developer_message":"User account is disabled."}`)
		a.exactly(a.edxAsk("GET", "/api/mobile/v0.5/my_user_info", jwtHeader(h.Access)), 401, `{"detail":"User account is disabled."}`)
		a.exactly(a.edxAsk("GET", "/api/mobile/v0.5/my_user_info", bearer(opaque.Access)), 401, `{"error_code":"user_is_disabled","developer_message":"User disabled by admin: learner"}`)
		a.exactly(a.renewed(h), 400, `{"error":"invalid_grant"}`)
		a.exactly(a.app(accessToken, nil, "grant_type", "password", "client_id", "demo-edx", "username", "learner", "password", "the-password-of-learner"), 400,
			`{"error":"invalid_grant","error_description":"Invalid credentials given."}`)
		if a.pages(c) != 401 {
			a.Error("the cookie outlives the account")
		}
	})
}

// signInEdX signs the demo user in.
func (a attack) signInEdX(user string) held {
	a.Helper()
	return a.holds(a.app(accessToken, nil, "grant_type", "password", "client_id", "demo-edx", "username", user, "password", user+"-password", "token_type", "jwt"), "demo-edx")
}

// TestEdXPages (contract 1.1 rows 7, 8, 10, 14, contract 1.9 rows 2..4, contract 1.10 rows 2..7, contract 1.12 rows 2, 4,
// contract 2.3 rows 1..3, R30..R33): what pages live on: their cookies, their renewal, their end.
func TestEdXPages(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	c := a.web(h.Access)
	var cookies []string
	a.in("contract 1.9 row 2 login_refresh", func(a attack) {
		got := a.app("/login_refresh", with("sessionid="+c.Value))
		var b map[string]any
		if json.Unmarshal(got.body, &b) != nil || got.status != 200 || b["success"] != true || b["user_id"] != float64(4711) ||
			b["expires_epoch_seconds"].(float64)-b["response_epoch_seconds"].(float64) != 3600 {
			a.Fatalf("%d %s", got.status, got.body)
		}
		all := jar(got)
		pay, sig := all["edx-jwt-cookie-header-payload"], all["edx-jwt-cookie-signature"]
		if pay == nil || sig == nil || pay.HttpOnly || !sig.HttpOnly || pay.MaxAge != 3600 || sig.MaxAge != 3600 || strings.Count(pay.Value, ".") != 1 ||
			len(pay.Value) >= 4096 || all["edxloggedin"].Value != "true" || !strings.Contains(strings.Join(got.header["Set-Cookie"], "\n"), `edx-user-info="{\"version\":1\054\"username\":\"learner\"\054`) {
			a.Fatalf("%v", got.header["Set-Cookie"])
		}
		said := claims(pay.Value + "." + sig.Value)
		scopes, _ := json.Marshal(said["scopes"])
		if said["preferred_username"] != "learner" || said["user_id"] != float64(4711) || string(scopes) != `["user_id","email","profile"]` || said["grant_type"] != "password" {
			a.Errorf("%v", said)
		}
		cookies = []string{"edx-jwt-cookie-header-payload=" + pay.Value, "edx-jwt-cookie-signature=" + sig.Value}
	})
	own := func(header http.Header) answer { return a.edxAsk("GET", "/api/user/v1/accounts/learner", header) }
	a.in("contract 1.12 rows 2, 4 cookies", func(a attack) {
		for name, header := range map[string]http.Header{"both halves": with(cookies...), "session": with("sessionid=" + c.Value),
			"a bad half is forgiven": with(cookies[0], "edx-jwt-cookie-signature=AAAA", "sessionid="+c.Value)} {
			if got := own(header); got.status != 200 || !strings.Contains(string(got.body), `"id":4711,"username":"learner"`) {
				a.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		a.exactly(own(with(cookies[0])), 401, `{"detail":"Authentication credentials were not provided."}`)
		both := with(cookies...)
		both["Authorization"] = []string{"JWT bad"}
		a.exactly(own(both), 401, `{"detail":"Invalid token."}`) // the header is final
		demo := a.web(a.signInEdX("demo").Access)
		a.exactly(own(with(append(cookies, "sessionid="+demo.Value)...)), 401, `{"detail":"Invalid token."}`)
	})
	a.in("contract 2.3 row 3 origins", func(a attack) {
		for origin, want := range map[string]string{"https://apps.example": "https://apps.example", "https://evil.example": "", "http://127.0.0.1:8422": "", "null": ""} {
			for _, path := range []string{"/login_refresh", "/csrf/api/v1/token", "/api/user/v1/accounts/learner", "/api/mobile/v0.5/my_user_info"} {
				got := a.edxAsk("OPTIONS", path, http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}})
				allowed := got.header.Get("Access-Control-Allow-Headers")
				if got.header.Get("Access-Control-Allow-Origin") != want || (got.header.Get("Access-Control-Allow-Credentials") == "true") != (want != "") ||
					want != "" && (!strings.Contains(allowed, "USE-JWT-COOKIE") || !strings.Contains(allowed, "X-CSRFToken") || !strings.Contains(allowed, "Content-Type")) {
					a.Errorf("%s from %s: %v", path, origin, got.header)
				}
			}
		}
		if got := a.app("/oauth2/login/", http.Header{"Origin": {"https://apps.example"}, "Authorization": {"JWT " + h.Access}}); got.header.Get("Access-Control-Allow-Origin") != "" {
			a.Error("a page may swap tokens")
		}
	})
	a.in("contract 1.9 row 3 csrf", func(a attack) {
		got := a.edxAsk("GET", "/csrf/api/v1/token", nil)
		t := jar(got)["csrftoken"]
		a.exactly(got, 200, `{"csrfToken":"`+t.Value+`"}`)
		again := a.edxAsk("GET", "/csrf/api/v1/token", with("csrftoken="+t.Value))
		a.exactly(again, 200, string(got.body))
		if odd := a.edxAsk("GET", "/csrf/api/v1/token", with("csrftoken=<script>")); strings.Contains(string(odd.body), "script") {
			a.Errorf("%s", odd.body)
		}
	})
	a.in("contract 1.9 row 4 logout", func(a attack) {
		for asked, want := range map[string]string{"": "/", "/courses?x=1": "/courses?x=1", "//evil.example/": "/", `/\evil.example`: "/", "https://evil.example/": "/",
			"https://apps.example/bye": "https://apps.example/bye", "https://apps.example@evil.example/": "/", "javascript:alert(1)": "/", testIssuer + "/x": testIssuer + "/x", "/%0d%0aSet-Cookie:x": "/%0d%0aSet-Cookie:x"} {
			got := a.edxAsk("GET", "/logout?redirect_url="+url.QueryEscape(asked), nil)
			if got.status != 302 || got.header.Get("Location") != want {
				a.Errorf("%q goes to %q", asked, got.header.Get("Location"))
			}
		}
		got := a.edxAsk("GET", "/logout", with("sessionid="+c.Value))
		for _, name := range []string{"sessionid", "edx-jwt-cookie-header-payload", "edx-jwt-cookie-signature", "edxloggedin", "edx-user-info"} {
			if k := jar(got)[name]; k == nil || k.Value != "" || k.MaxAge >= 0 && k.Expires.After(a.clock.Now()) {
				a.Errorf("%s: %v", name, k)
			}
		}
		if a.pages(c) != 401 || a.renewed(h).status != 200 {
			a.Error("the page's session lives, or the device was signed out")
		}
		a.exactly(own(with(cookies...)), 401, `{"detail":"Authentication credentials were not provided."}`)
		a.exactly(a.app("/login_refresh", nil), 401, `"Unauthorized"`)
		a.exactly(a.app("/login_refresh", with("sessionid="+c.Value)), 401, `"Unauthorized"`)
		a.exactly(a.edxAsk("GET", "/login_refresh", nil), 405, "")
	})
}

// TestEdXMe (contract 1.1 row 6, contract 1.8 rows 1, 2, contract 1.12 rows 1, 8, contract 2.1 row 2, R29): what apps ask
// right after a sign-in, and the words they act on.
func TestEdXMe(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	const me = "/api/mobile/v0.5/my_user_info"
	want := `{"id":4711,"username":"learner","email":"learner@example.com","name":"A Learner","course_enrollments":"` + testIssuer + `/api/mobile/v0.5/users/learner/course_enrollments/"}`
	for _, path := range []string{me, me + "/", "/api/mobile/v0.5/users/learner", "/api/mobile/v0.5/users/Learner/"} {
		a.exactly(a.edxAsk("GET", path, jwtHeader(h.Access)), 200, want)
	}
	a.exactly(a.edxAsk("GET", "/api/mobile/v0.5/users/demo", jwtHeader(h.Access)), 404, `{"detail":"Not found."}`)
	a.exactly(a.edxAsk("GET", "/api/user/v1/accounts/demo", jwtHeader(h.Access)), 404, `{"detail":"Not found."}`)
	a.exactly(a.edxAsk("POST", me, jwtHeader(h.Access)), 405, `{"detail":"Method \"POST\" not allowed."}`)
	got := a.edxAsk("GET", me, nil)
	a.exactly(got, 401, `{"detail":"Authentication credentials were not provided."}`)
	if got.header.Get("WWW-Authenticate") != `JWT realm="api"` {
		a.Errorf("%v", got.header)
	}
	var number struct{ ID int64 }
	got = a.edxAsk("GET", me, jwtHeader(a.signInEdX("demo").Access))
	if json.Unmarshal(got.body, &number) != nil || number.ID < 1<<52 || number.ID >= 1<<53 {
		a.Errorf("%s", got.body)
	}

	a.clock.advance(61 * time.Minute)
	a.exactly(a.edxAsk("GET", me, jwtHeader(h.Access)), 401, `{"detail":"Token has expired."}`)
	a.app("/oauth2/revoke_token", nil, "token", h.Refresh, "client_id", "demo-edx")
	a.exactly(a.edxAsk("GET", me, jwtHeader(h.Access)), 401, `{"detail":"Invalid token."}`) // ended and expired: ended
	o := a.learner("edx-opaque")
	a.app("/oauth2/revoke_token", nil, "token", o.Refresh, "client_id", "edx-opaque")
	a.exactly(a.edxAsk("GET", me, jwtHeader(o.Access)), 401, `{"error_code":"token_nonexistent","developer_message":"The provided access token does not match any valid tokens."}`)
}
