package interop

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// toolkitApps are the applications that oauthlib/client.py is.
const toolkitApps = `
[[clients]]
id = "dot-public"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read", "write"]

[[clients]]
id = "dot-app"
type = "confidential"
secret = "dot-app-secret"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read", "write"]

[[clients]]
id = "dot-service"
type = "confidential"
secret = "dot-service-secret"
grants = ["client_credentials"]
scopes = ["read", "write", "introspection"]
`

// story is what oauthlib/client.py writes down of one application.
type story map[string]any

// stories runs oauthlib/client.py.
func stories(t *testing.T, base string) map[string]story {
	t.Helper()
	name := python(t, needOAuthlib, "requests_oauthlib")
	cmd := child(t.Context(), t, name, filepath.Join("oauthlib", "client.py"), base)
	output := new(syncBuffer)
	cmd.Stderr = output
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, tail(output.String()))
	}
	var all map[string]any
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	told := map[string]story{"": {}}
	for name, one := range all {
		if s, ok := one.(map[string]any); ok {
			told[name] = s
		} else {
			told[""][name] = one
		}
	}
	if len(told) != 4 {
		t.Fatalf("not three applications: %s", out)
	}
	return told
}

// refusal is what oauthlib makes of an error answer.
func refusal(class, code, words string) []any { return []any{class, code, words} }

// empty is the answer to a revocation.
var empty = map[string]any{"status": 200.0, "type": "text/html", "body": ""}

// toolkitSays is what a client of django-oauth-toolkit relies on, for every
// application. What depends on the application is asked apart.
var toolkitSays = story{
	"call":                                200.0,
	"call after the access token ran out": 200.0,
	"refresh again after a lost answer":   "answered",
	"rounds that kept the sign-in":        10.0,
	"rounds with every call answered":     10.0,
	"revoke":                              empty,
	"revoke again":                        empty,
	"revoke what never was":               empty,
	"call after revoke":                   401.0,
	"refresh after revoke":                refusal("InvalidGrantError", "invalid_grant", ""),
	"introspection after revoke":          map[string]any{"active": false},
	"wrong password":                      refusal("InvalidGrantError", "invalid_grant", "Invalid credentials given."),
}

// introspectionSays is what a resource server of django-oauth-toolkit relies on,
// besides the answer about an access token.
var introspectionSays = map[string]any{
	"expires as it said":     true,
	"refresh token":          map[string]any{"active": false},
	"garbage":                map[string]any{"active": false},
	"no token":               map[string]any{"status": 400.0, "type": "application/json", "body": `{"error":"invalid_request","error_description":"Token parameter is missing."}`},
	"by a token":             true,
	"the token's own answer": []any{"access_token", "expires_in", "scope", "token_type"},
	"stranger":               []any{403.0, ""},
}

// TestRequestsOAuthlib (A17, R1): requests-oauthlib as a client of
// django-oauth-toolkit signs in, refreshes by itself, alone and five at once, and
// signs out.
func TestRequestsOAuthlib(t *testing.T) {
	python(t, needOAuthlib, "requests_oauthlib")
	p := startAnother(t, toolkitApps, "HOLDFAST_DOORS=dot /o")
	for name, s := range stories(t, p.base) {
		if name == "" {
			want := story{"wrong secret": refusal("InvalidClientError", "invalid_client", ""), "unknown client": refusal("InvalidClientError", "invalid_client", "")}
			if !reflect.DeepEqual(s, want) {
				t.Errorf("%v", s)
			}
			continue
		}
		for step, want := range toolkitSays {
			if !reflect.DeepEqual(s[step], want) {
				t.Errorf("%s: %s: %v, want %v", name, step, s[step], want)
			}
		}
		token := map[string]any{"members": []any{"access_token", "expires_in", "refresh_token", "scope", "token_type"},
			"expires_in": 900.0, "token_type": "Bearer", "scope": []any{"read", "write"}}
		if !reflect.DeepEqual(s["sign-in"], token) || !reflect.DeepEqual(s["refreshed"], []any{1.0, true, true, token}) {
			t.Errorf("%s: signed in with %v, refreshed with %v", name, s["sign-in"], s["refreshed"])
		}
		told, _ := s["introspection"].(map[string]any)
		access, _ := told["access token"].(map[string]any)
		if access["active"] != true || access["username"] != "demo" || access["scope"] != "read write" || access["client_id"] == nil {
			t.Errorf("%s: introspection of its access token: %v", name, access)
		}
		delete(told, "access token")
		if !reflect.DeepEqual(told, introspectionSays) {
			t.Errorf("%s: introspection: %v", name, told)
		}
	}
}

// toolkitDiffers are the steps in which we answer otherwise than Debian's
// django-oauth-toolkit 1.7.0, and why.
var toolkitDiffers = map[string]string{
	"refresh again after a lost answer": "a lost answer signs nobody out here",
	"rounds that kept the sign-in":      "calls at once are refused nothing here",
	"rounds with every call answered":   "as before",
	"revoke":                            "Django adds a charset to text/html",
	"revoke again":                      "as revoke",
	"revoke what never was":             "as revoke",
	"introspection":                     "newer versions answer a missing token with 400, and name the audience; so do we",
}

// TestRequestsOAuthlibAtToolkit is the control: the same client at a real
// django-oauth-toolkit hears the same, but for what is listed above.
func TestRequestsOAuthlibAtToolkit(t *testing.T) {
	python(t, needOAuthlib, "requests_oauthlib")
	django := python(t, needToolkit, simpleModules+", oauth2_provider")
	ours := stories(t, startAnother(t, toolkitApps, "HOLDFAST_DOORS=dot /o").base)
	theirs := stories(t, startDjango(t, django))
	for name, s := range ours {
		for _, step := range slices.Sorted(maps.Keys(s)) {
			_, may := toolkitDiffers[step]
			if same := reflect.DeepEqual(s[step], theirs[name][step]); !same && !may {
				t.Errorf("%s: %s:\n%v here\n%v at django-oauth-toolkit", name, step, s[step], theirs[name][step])
			}
		}
		if name == "" {
			continue
		}
		t.Logf("%s: django-oauth-toolkit said invalid_grant to nobody in %v of 10 rounds, and to a lost answer %v", name,
			theirs[name]["rounds that kept the sign-in"], theirs[name]["refresh again after a lost answer"])
		if theirs[name]["refresh again after a lost answer"] == "answered" {
			t.Errorf("%s: the original forgives a lost answer: the step shows nothing", name)
		}
	}
}
