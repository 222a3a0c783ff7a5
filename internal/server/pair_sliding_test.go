package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// TestPairSliding (contract 4.4 rows 1..6, R18, R23): one token that is prolonged
// while it is good, under its own jti, until a day after the sign-in.
func TestPairSliding(t *testing.T) {
	a := pairs(t)
	began := a.clock.Now()
	got := a.json(slidingAt+"/", learnerJSON)
	h := a.keeps(got)
	if strings.Join(members(got.body), " ") != "token" {
		a.Errorf("%s", got.body)
	}
	first := claims(h.Token)
	if jti, _ := first["jti"].(string); first["token_type"] != "sliding" || first["user_id"] != float64(4711) || !hex32.MatchString(jti) ||
		first["refresh_exp"] != float64(began.Unix()+24*3600) || first["exp"] != float64(began.Unix()+300) {
		a.Errorf("%v", first)
	}
	a.clock.advance(4 * time.Minute)
	next := a.keeps(a.json(slidingAt+"/refresh/", tokenJSON(h.Token)))
	c := claims(next.Token)
	if c["jti"] != first["jti"] || c["refresh_exp"] != first["refresh_exp"] || c["exp"] != float64(a.clock.Now().Unix()+300) {
		a.Errorf("%v", c)
	}
	for _, one := range []string{h.Token, next.Token} { // the old one stays valid
		a.exactly(a.json(slidingAt+"/verify", tokenJSON(one)), 200, `{}`)
	}
	a.in("contract 4.4 row 4 other tokens", func(a attack) {
		pair := a.keeps(a.json("/short", learnerJSON))
		const wrong = `{"detail":"Token has wrong type","code":"token_not_valid"}`
		for _, one := range []string{pair.Access, pair.Refresh} {
			a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(one)), 401, wrong)
		}
		drf := a.keeps(a.slim(drfAt+"/get-token/", learnerJSON))
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(drf.Token)), 401, wrong)
		a.exactly(a.json(slidingAt+"/blacklist/", tokenJSON(pair.Access)), 401, wrong)
		a.exactly(a.json("/short/refresh/", refreshJSON(next.Token)), 401, wrong)
		a.exactly(a.json("/short/blacklist/", refreshJSON(next.Token)), 401, wrong)
		demo := a.signIn("demo-native")
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(demo.Access)), 401, `{"detail":"Token is invalid","code":"token_not_valid"}`)
	})
	a.in("contract 4.4 row 5 expired", func(a attack) {
		old := next.Token
		for a.clock.Now().Before(began.Add(24*time.Hour + time.Minute)) {
			a.clock.advance(4 * time.Minute)
			got := a.json(slidingAt+"/refresh/", tokenJSON(next.Token))
			if got.status != 200 {
				break
			}
			next = a.keeps(got)
		}
		if now := a.clock.Now(); now.Before(began.Add(24 * time.Hour)) {
			a.Errorf("no longer prolonged after %s", now.Sub(began))
		}
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(next.Token)), 401, `{"detail":"Token 'refresh_exp' claim has expired","code":"token_not_valid"}`)
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(old)), 401, `{"detail":"Token is expired","code":"token_not_valid"}`)
	})
	a.in("contract 4.4 row 6 signed out", func(a attack) {
		h, other := a.keeps(a.json(slidingAt, learnerJSON)), a.keeps(a.json(slidingAt, learnerJSON))
		a.exactly(a.json(slidingAt+"/blacklist/", tokenJSON(h.Token)), 200, `{}`)
		const blacklisted = `{"detail":"Token is blacklisted","code":"token_not_valid"}`
		a.exactly(a.json(slidingAt+"/blacklist/", tokenJSON(h.Token)), 401, blacklisted)
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(h.Token)), 401, blacklisted)
		a.exactly(a.json(slidingAt+"/verify/", tokenJSON(h.Token)), 400, `{"non_field_errors":["Token is blacklisted"]}`)
		a.keeps(a.json(slidingAt+"/refresh/", tokenJSON(other.Token)))
		a.apply("[[users]]\nusername = \"learner\"\ndisabled = true\n")
		a.exactly(a.json(slidingAt+"/refresh/", tokenJSON(other.Token)), 401, `{"detail":"No active account found for the given token."}`)
	})
}

// TestPairOneToken: a session whose token is prolonged has no refresh token, at no
// door and for nobody inside; and only a client of this dialect can have one.
func TestPairOneToken(t *testing.T) {
	a := pairs(t)
	for client, grantOf := range map[string]string{"pair-phone": "sliding", "demo-native": "password"} {
		issued, err := a.server.Issuer.Grant(t.Context(), grant.Request{Type: "password", Username: "learner", Password: secret.New("the-password-of-learner"),
			Client: grant.Credential{ID: id.Client(client), Method: "none"}, Prolongs: grant.GrantSliding})
		if err != nil || issued.RefreshToken.Empty() != (grantOf == "sliding") || claims(issued.AccessToken.Reveal())["grant"] != grantOf {
			t.Errorf("%s: %v %v", client, claims(issued.AccessToken.Reveal()), err)
		}
	}
}

// slim sends a JSON body to the door of django-rest-framework-jwt, which refuses
// with 400.
func (a attack) slim(path, body string) answer {
	a.Helper()
	got := a.pairAsk(http.MethodPost, path, "application/json", body)
	if got.status == 401 {
		a.Errorf("%s answered 401", path)
	}
	return got
}

// TestPairDRF (contract 4.5 rows 1..6, R18): the older dialect, with its limit from
// the sign-in on.
func TestPairDRF(t *testing.T) {
	a := pairs(t)
	began := a.clock.Now()
	h := a.keeps(a.slim(drfAt+"/get-token/", learnerJSON))
	first := claims(h.Token)
	if first["username"] != "learner" || first["user_id"] != float64(4711) || first["orig_iat"] != float64(began.Unix()) || first["token_type"] != nil {
		a.Errorf("%v", first)
	}
	no := func(message string) string { return `{"non_field_errors":["` + message + `"]}` }
	a.exactly(a.slim(drfAt+"/get-token/", `{"username":"learner","password":"wrong"}`), 400, no("Unable to log in with provided credentials."))
	a.exactly(a.slim(drfAt+"/get-token/", `{"username":"nobody","password":"wrong"}`), 400, no("Unable to log in with provided credentials."))
	a.exactly(a.slim(drfAt+"/get-token/", `{}`), 400, `{"username":["This field is required."],"password":["This field is required."]}`)
	a.exactly(a.slim(drfAt+"/refresh-token/", `{"token":""}`), 400, `{"token":["This field may not be blank."]}`)
	a.exactly(a.slim(drfAt+"/refresh-token/", `{"token":"x"}`), 400, no("Error decoding signature."))
	a.exactly(a.slim(drfAt+"/verify-token/", tokenJSON(h.Token)), 200, tokenJSON(h.Token))
	for a.clock.Now().Before(began.Add(24*time.Hour - 5*time.Minute)) {
		a.clock.advance(4 * time.Minute)
		h = a.keeps(a.slim(drfAt+"/refresh-token", tokenJSON(h.Token)))
	}
	if c := claims(h.Token); c["orig_iat"] != first["orig_iat"] || c["username"] != "learner" {
		a.Errorf("%v", c)
	}
	old := h.Token
	a.clock.advance(4 * time.Minute)
	h = a.keeps(a.slim(drfAt+"/refresh-token/", tokenJSON(h.Token)))
	a.clock.advance(3 * time.Minute)
	a.exactly(a.slim(drfAt+"/refresh-token/", tokenJSON(h.Token)), 400, no("Refresh has expired."))
	a.clock.advance(time.Minute)
	a.exactly(a.slim(drfAt+"/verify-token/", tokenJSON(old)), 400, no("Signature has expired."))
	h = a.keeps(a.slim(drfAt+"/get-token/", learnerJSON))
	a.exactly(a.slim(drfAt+"/blacklist-token/", tokenJSON(h.Token)), 200, `{}`)
	a.exactly(a.slim(drfAt+"/refresh-token/", tokenJSON(h.Token)), 400, no("Token is blacklisted."))
	a.exactly(a.slim(drfAt+"/verify-token/", tokenJSON(h.Token)), 400, no("Token is blacklisted."))
}
