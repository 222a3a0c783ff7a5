package server_test

import (
	"net/http"
	"testing"

	"holdfast.example/internal/upstream"
)

// TestEdXExchange (contract 1.1 row 2, contract 1.5 rows 1..4, 6..10, R23, R45): the token of another provider
// for tokens of ours, in the order of the checks and with the words of the original.
func TestEdXExchange(t *testing.T) {
	w := goesAbroad(t)
	w.apply(edxClients)
	at := func(backend string) string { return "/oauth2/exchange_access_token/" + backend + "/" }
	bob := w.person("b-1", "bob@gmail.com")
	account, err := w.server.Users.ByLogin(t.Context(), "bob")
	if err != nil {
		t.Fatal(err)
	}
	err = w.server.Upstreams.Link(t.Context(), upstream.Link{Upstream: "apple", Subject: "b-1", User: account.ID}, upstream.ByOperator)
	if err != nil {
		t.Fatal(err)
	}
	swapped := func(backend, token string, fields ...string) answer {
		w.Helper()
		return w.app(at(backend), nil, append([]string{"access_token", token, "client_id", "demo-edx"}, fields...)...)
	}
	w.in("contract 1.5 row 1", func(a attack) {
		for backend, token := range map[string]string{"google": w.p.AccessToken(bob), "apple-id": w.p.IDToken(bob)} {
			got := swapped(backend, token, "token_type", "jwt", "asymmetric_jwt", "true")
			h := a.holds(got, "demo-edx")
			c := claims(h.Access)
			scopes, _ := c["scopes"].([]any)
			if got.status != 200 || h.Type != "JWT" || h.ExpiresIn != 3600 || h.Scope != "" || h.Refresh == "" || len(scopes) != 1 || scopes[0] != "" ||
				c["grant_type"] != "password" || c["preferred_username"] != "bob" || c["email"] != nil || c["user_id"] != nil {
				a.Fatalf("%s: %d %s %v", backend, got.status, got.body, c)
			}
			a.web(h.Access) // pages open after a social sign-in too
			if got := a.edxAsk("GET", "/api/mobile/v0.5/my_user_info", jwtHeader(h.Access)); got.status != 200 {
				a.Errorf("%d %s", got.status, got.body)
			}
			if next := a.holds(a.renewed(h), "demo-edx"); next.status != 200 || next.Scope != "" || claims(next.Access)["grant_type"] != "password" {
				a.Errorf("%+v", next)
			}
		}
		if h := a.holds(swapped("google", w.p.AccessToken(bob)), "demo-edx"); h.Type != "Bearer" || h.ExpiresIn != 36000 {
			a.Errorf("%+v", h)
		}
		if h := a.holds(swapped("google", w.p.AccessToken(bob), "scope", "email profile"), "demo-edx"); h.Scope != "email profile" {
			a.Errorf("%+v", h)
		}
	})
	stranger, good := w.p.AccessToken(w.person("s-1", "stranger@gmail.com")), w.p.AccessToken(bob)
	for _, c := range []struct {
		name, backend, fields string
		status                int
		body                  string
	}{
		{"row 2 no token", "google", "client_id=demo-edx", 400, `{"error":"invalid_request","error_description":"access_token is required"}`},
		{"row 2 no client", "google", "access_token=x", 400, `{"error":"invalid_request","error_description":"client_id is required"}`},
		{"row 3", "google", "access_token=x&client_id=nobody", 400, `{"error":"invalid_client","error_description":"nobody is not a valid client_id"}`},
		{"row 4", "google", "access_token=x&client_id=edx-web", 400, `{"error":"invalid_client","error_description":"edx-web is not a public client"}`},
		{"row 6", "myspace", "access_token=x&client_id=demo-edx", 404, `{"detail":"Not found."}`},
		{"row 7 refused there", "google", "access_token=x&client_id=demo-edx", 400, `{"error":"invalid_grant","error_description":"access_token is not valid"}`},
		{"row 7 nobody linked", "google", "access_token=" + stranger + "&client_id=demo-edx", 400, `{"error":"invalid_grant","error_description":"access_token is not valid"}`},
		{"row 9", "google", "access_token=" + good + "&client_id=demo-edx&scope=magic", 400, `{"error":"invalid_request","error_description":"'magic' is not a valid scope."}`},
		{"client without the grant", "google", "access_token=" + good + "&client_id=edx-no-pages", 400, `{"error":"unauthorized_client","error_description":"this client is not registered for the grant token_exchange"}`},
	} {
		w.in("contract 1.5 "+c.name, func(a attack) { a.exactly(a.app(at(c.backend), nil, fieldsIn(c.fields)...), c.status, c.body) })
	}
	w.in("contract 1.5 row 10", func(a attack) {
		got := a.edxAsk(http.MethodGet, at("google"), nil)
		a.exactly(got, 405, `{"detail":"Method \"GET\" not allowed."}`)
	})
	w.in("contract 1.5 row 8", func(a attack) {
		a.operator("POST", "/admin/v1/users/"+account.ID.String()+"/disable", "")
		a.exactly(swapped("google", good), 403, `{"error":"account_disabled","error_description":"user account is disabled","error_code":403}`)
	})
}

// TestEdXBackends (contract 1.5 row 6): the backends are known by the names that apps
// have for them.
func TestEdXBackends(t *testing.T) {
	a := edx(t)
	for _, path := range []string{"google-oauth2/", "google-oauth2", "facebook/"} {
		got := a.app("/oauth2/exchange_access_token/"+path, nil, "access_token", "x", "client_id", "demo-edx")
		a.exactly(got, 400, `{"error":"invalid_grant","error_description":"access_token is not valid"}`)
	}
}
