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
