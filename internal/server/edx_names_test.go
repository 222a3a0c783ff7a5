package server_test

import "testing"

// TestEdXServiceNamedLikeAPerson (R36): Open edX finds a service by the name of its
// client, so a client that has the name of somebody who signs in gets no token, in
// any case of letters. An account that nobody signs in to reserves the name.
func TestEdXServiceNamedLikeAPerson(t *testing.T) {
	a := edx(t)
	for _, id := range []string{"Ada", "grace", "worker", "free", "joan@example.com"} {
		a.apply("[[clients]]\nid = \"" + id + "\"\ntype = \"confidential\"\nsecret = \"the-secret-of-a-service\"\n" +
			"grants = [\"client_credentials\"]\nscopes = [\"read\"]\nclaims = \"openedx\"\n")
	}
	a.apply("[[users]]\nusername = \"ada\"\npassword = \"the-password-of-ada\"\nstaff = true\n" +
		"[[users]]\nusername = \"grace\"\n" + "[[users]]\nusername = \"worker\"\nstaff = true\n" +
		"[[users]]\nusername = \"joan\"\nemail = \"joan@example.com\"\npassword = \"the-password-of-joan\"\n")
	a.apply("[[upstreams]]\nid = \"names\"\nkind = \"google\"\nclient_ids = [\"our-app\"]\n")
	a.operator("POST", "/admin/v1/users/grace/links", `{"upstream":"names","subject":"g-1"}`)
	for id, want := range map[string]int{"Ada": 400, "grace": 400, "worker": 200, "free": 200, "joan@example.com": 200} {
		for path, kind := range map[string]string{accessToken: "jwt", "/oauth2/token": ""} {
			got := a.app(path, nil, "grant_type", "client_credentials", "client_id", id, "client_secret", "the-secret-of-a-service", "token_type", kind)
			if got.status != want {
				t.Errorf("%s at %s: %d %s, want %d", id, path, got.status, got.body, want)
			}
		}
	}
	a.operator("POST", "/admin/v1/users/ada/disable", "")
	got := a.app(accessToken, nil, "grant_type", "client_credentials", "client_id", "Ada", "client_secret", "the-secret-of-a-service")
	a.exactly(got, 400, `{"error":"unauthorized_client"}`)
}
