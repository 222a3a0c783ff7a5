package interop

import (
	"path/filepath"
	"testing"
)

// guideApp is the client of the guide, with the address that is not a secret left
// out.
const guideApp = `
[[clients]]
id = "my-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "simplejwt"

`

// TestGuideSimpleJWT (S2): the Python of docs/guide/move-simplejwt.md does what the
// guide says: users come over with ids and passwords, a Django API reads our tokens,
// and during the overlap both kinds are good.
func TestGuideSimpleJWT(t *testing.T) {
	name := python(t, needSimple, simpleModules+", requests")
	part := func(which, base string) string {
		cmd := child(t.Context(), t, name, filepath.Join("django", "guide.py"), which, filepath.Join("..", "docs", "guide", "move-simplejwt.md"), base)
		cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		output := new(syncBuffer)
		cmd.Stderr = output
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", which, err, tail(output.String()))
		}
		return string(out)
	}
	p := startAnother(t, guideApp+part("users", ""), "HOLDFAST_DOORS=simplejwt /api/token my-app")
	for which, want := range map[string]string{
		"service": `{"sign-in of who is not active": 401, "refresh": 401, "access": "anna"}`,
		"overlap": `{"sign-in of who is not active": 401, "ours": "anna", "theirs": "anna", "neither": 401, ` +
			`"ours refreshed": "anna", "theirs refreshed": "anna", "garbage refreshed": 401}`,
	} {
		if got := part(which, p.base); got != want+"\n" {
			t.Errorf("%s:\n%s, want\n%s", which, got, want)
		}
	}
}

// toolkitAPI is the client of the other guide, with a secret in the place of its file.
const toolkitAPI = `
[[clients]]
id = "orders-api"
type = "confidential"
secret = "orders-api-secret"
grants = ["client_credentials"]
scopes = ["introspection"]

[[clients]]
id = "dot-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read", "write"]
access_format = "opaque"

[[users]]
username = "anna"
password = "anna's password"

[[users]]
username = "nora"
password = "nora's password"
`

// TestGuideToolkit: the settings of docs/guide/move-django-oauth-toolkit.md make a
// resource server of django-oauth-toolkit ask here, and it does what the guide says:
// it finds or makes its user, and remembers what it was told.
func TestGuideToolkit(t *testing.T) {
	name := python(t, needToolkit, "oauth2_provider, rest_framework, requests")
	p := startAnother(t, toolkitAPI, "HOLDFAST_DOORS=dot /o")
	cmd := child(t.Context(), t, name, filepath.Join("django", "toolkit.py"), filepath.Join("..", "docs", "guide", "move-django-oauth-toolkit.md"), p.base)
	cmd.Env = append(cmd.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	output := new(syncBuffer)
	cmd.Stderr = output
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, tail(output.String()))
	}
	const want = `{"who is known": "anna", "who is new": "nora", "without the scope": 403, "garbage": 401, ` +
		`"signed out before the first question": 401, "signed out after it": "anna", "users": ["anna", "nora"]}`
	if string(out) != want+"\n" {
		t.Errorf("%s, want\n%s", out, want)
	}
}
