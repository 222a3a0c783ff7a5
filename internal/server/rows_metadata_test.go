package server_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/server"
)

// TestMetadata (D01, D03..D07, A21): the document says what works, all of it and
// nothing else, and every address in it answers.
func TestMetadata(t *testing.T) {
	a := attacks(t)
	got := a.request("GET", "/.well-known/openid-configuration", "", "", nil)
	twin := a.request("GET", "/.well-known/oauth-authorization-server", "", "", nil)
	if string(got.body) != string(twin.body) {
		t.Errorf("two documents: %s and %s", got.body, twin.body)
	}
	var doc map[string]any
	if err := json.Unmarshal(got.body, &doc); err != nil {
		t.Fatal(err)
	}
	if doc["issuer"] != testIssuer {
		t.Errorf("D01: issuer is %v", doc["issuer"])
	}
	list := func(name string) (all []string) {
		for _, v := range doc[name].([]any) {
			all = append(all, v.(string))
		}
		return all
	}
	a.in("D05 required members", func(a attack) {
		for _, name := range []string{"issuer", "token_endpoint", "jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported", "grant_types_supported",
			"revocation_endpoint", "introspection_endpoint", "userinfo_endpoint", "token_endpoint_auth_methods_supported"} {
			if doc[name] == nil {
				a.Errorf("%s is missing", name)
			}
		}
		if !slices.Contains(list("id_token_signing_alg_values_supported"), "RS256") {
			a.Error("RS256 is not offered for ID tokens")
		}
		for name, v := range doc {
			if all, ok := v.([]any); ok && len(all) == 0 || v == nil || v == "" {
				a.Errorf("D06: %s is empty", name)
			}
			if strings.Contains(fmt.Sprint(v), "HS256") || strings.Contains(fmt.Sprint(v), "none") && !strings.HasSuffix(name, "_auth_methods_supported") {
				a.Errorf("%s offers %v", name, v)
			}
		}
	})
	a.in("D04 every address answers", func(a attack) {
		for name, v := range doc {
			if !strings.HasSuffix(name, "_endpoint") && !strings.HasSuffix(name, "_uri") {
				continue
			}
			path, ok := strings.CutPrefix(v.(string), testIssuer)
			if !ok {
				a.Errorf("%s is elsewhere: %v", name, v)
				continue
			}
			for _, p := range []string{path, path + "/"} {
				if a.request("GET", p, "", "", nil).status == 404 || a.request("POST", p, urlEncoded, "", nil).status == 404 {
					a.Errorf("%s (%s) is not there", name, p)
				}
			}
		}
	})
	a.in("D06 grants are as offered", func(a attack) {
		offered := list("grant_types_supported")
		for grant, fields := range map[string][]string{
			"password":           {"client_id", "demo-native", "username", "demo", "password", "demo-password"},
			"client_credentials": {"client_id", "demo-service", "client_secret", "demo-service-secret"},
			"refresh_token":      {"client_id", "demo-native", "refresh_token", a.signIn("demo-native").Refresh},
		} {
			got := a.post("/oauth2/token", append([]string{"grant_type", grant}, fields...)...)
			if works := got.status == 200; works != slices.Contains(offered, grant) {
				a.Errorf("%s works: %v, offered: %v", grant, works, offered)
			}
		}
		for _, grant := range []string{"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
			"urn:ietf:params:oauth:grant-type:jwt-bearer", "token_exchange", "device_code"} {
			got := a.post("/oauth2/token", "grant_type", grant, "client_id", "demo-native", "code", "x", "subject_token", "x", "device_code", "x")
			if offers := slices.Contains(offered, grant); !offers && got.status != 400 {
				a.Errorf("%s is hidden and works: %d", grant, got.status)
			}
		}
	})
	a.in("D06 authentication is as offered", func(a attack) {
		for _, m := range list("token_endpoint_auth_methods_supported") {
			if !slices.Contains([]string{"none", "client_secret_basic", "client_secret_post"}, m) {
				a.Errorf("no test knows %s", m)
			}
		}
		got := a.post("/oauth2/token", "grant_type", "client_credentials", "client_id", "demo-service", "client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		a.want(got, 401, "invalid_client", "")
	})
	a.in("D10 unknown well-known", func(a attack) {
		for _, path := range []string{"/.well-known/nothing", "/.well-known/openid-configuration/x", "/.well-known/security.txt"} {
			a.want(a.request("GET", path, "", "", nil), 404, "invalid_request", "")
		}
	})
	a.in("D07 scopes", func(a attack) {
		for _, s := range list("scopes_supported") {
			if s == "introspect" || strings.HasPrefix(s, "revocations") {
				continue // for services; which scopes there are is no secret
			}
			if !slices.Contains([]string{"openid", "profile", "email", "offline_access", "read", "write", "user_id"}, s) {
				a.Errorf("no client has the scope %s", s)
			}
		}
	})
}

// TestKeySet (D09, JW02, J01): public parts only, each key with its own id, use
// and algorithm.
func TestKeySet(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.SigningAlgs = []string{"ES256", "RS256", "Ed25519"} })}
	for _, when := range []string{"at first", "after a rotation"} {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(a.request("GET", "/oauth2/jwks", "", "", nil).body, &set); err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for _, k := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
				if k[private] != nil {
					t.Errorf("%s: %v has the member %s", when, k["kid"], private)
				}
			}
			if k["use"] != "sig" || k["alg"] == nil || k["kid"] == nil || seen[k["kid"]] {
				t.Errorf("%s: %v", when, k)
			}
			seen[k["kid"]] = true
			switch k["alg"] {
			case "RS256":
				if len(k["n"].(string)) < 342 { // 2048 bits in base64url
					t.Errorf("%s: an RSA key of %d characters", when, len(k["n"].(string)))
				}
			case "ES256", "Ed25519":
			default:
				t.Errorf("%s: %v", when, k["alg"])
			}
		}
		if len(set.Keys) < 6 {
			t.Errorf("%s: %d keys; each algorithm has a current and a next one", when, len(set.Keys))
		}
		a.operator("POST", "/admin/v1/keys/rotate", `{"purpose":"sign","alg":"RS256","force":true}`)
	}
}

// TestAccessTokenShape (J01, J02, J04..J06, J08, O01, O03, O04): what is in a
// token, and what is not.
func TestAccessTokenShape(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native", "scope", "openid read", "device_name", "My phone", "install_id", "install-1")
	jwks := string(a.request("GET", "/oauth2/jwks", "", "", nil).body)
	header := func(token string) (v map[string]any) {
		_ = json.Unmarshal(sure(b64.DecodeString(strings.Split(token, ".")[0])), &v)
		return v
	}
	a.in("J01", func(a attack) {
		for token, typ := range map[string]string{h.Access: "at+jwt", a.service().Access: "at+jwt", a.signIn("demo-edx").Access: "at+jwt", h.ID: "JWT"} {
			v := header(token)
			if v["typ"] != typ || !slices.Contains([]any{"ES256", "RS256"}, v["alg"]) || !strings.Contains(jwks, fmt.Sprint(v["kid"])) || len(v) != 3 {
				a.Errorf("%v, want typ %s", v, typ)
			}
		}
	})
	a.in("J02 J06", func(a attack) {
		c := claims(h.Access)
		for _, name := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope", "auth_time", "acr", "amr", "sid", "epoch", "grant"} {
			if c[name] == nil {
				a.Errorf("%s is missing", name)
			}
			delete(c, name)
		}
		if len(c) > 0 {
			a.Errorf("nobody asked for %v", c)
		}
		for _, pii := range []string{"demo@example.com", "Demo User", "My phone", "install-1", `"demo"`} {
			if strings.Contains(string(sure(b64.DecodeString(strings.Split(h.Access, ".")[1]))), pii) {
				a.Errorf("the access token tells %s", pii)
			}
		}
	})
	a.in("O01 O04", func(a attack) {
		c := claims(h.ID)
		for name, want := range map[string]any{"iss": testIssuer, "aud": "demo-native", "sub": claims(h.Access)["sub"], "sid": sidOf(h.Access), "auth_time": claims(h.Access)["auth_time"]} {
			if c[name] != want {
				a.Errorf("%s is %v, want %v", name, c[name], want)
			}
		}
		if c["nonce"] != nil || c["email"] != nil || c["name"] != nil || c["at_hash"] == nil || c["exp"] == nil || c["iat"] == nil {
			a.Errorf("%v", c)
		}
	})
	a.in("J08", func(a attack) {
		seen := map[any]bool{}
		for range 50 { // repeats of one refresh
			jti := claims(a.refreshed(h).Access)["jti"]
			if seen[jti] {
				a.Fatal("two access tokens with one jti")
			}
			seen[jti] = true
		}
	})
}
