package interop

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// edxApps declares a phone app of an Open edX, and its micro-frontends at an origin.
const edxApps = `
[[clients]]
id = "edx-phone"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"
access_alg = "RS512"
audiences = ["openedx"]
webview = true

[[clients]]
id = "edx-pages"
type = "public"
first_party = true
grants = ["password"]
claims = "openedx"
access_alg = "RS512"
cors_origins = [%q]

[[users]]
username = "learner"
email = "learner@example.com"
password = "the-password-of-learner"
name = "A Learner"
id = 4711
`

// edxAlgs lets a demo server sign as an LMS does.
const edxAlgs = "HOLDFAST_SIGNING_ALGS=ES256,RS256,RS512"

// phoneTokens is a sign-in as the apps do it.
func phoneTokens(t *testing.T, base string, fields url.Values) (access, refresh string) {
	t.Helper()
	fields.Set("client_id", "edx-phone")
	fields.Set("token_type", "JWT")
	fields.Set("asymmetric_jwt", "true")
	res, err := http.PostForm(base+"/oauth2/access_token", fields)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %v", res.Status, err)
	}
	return said.Access, said.Refresh
}

func learner() url.Values {
	return url.Values{"grant_type": {"password"}, "username": {"learner"}, "password": {"the-password-of-learner"}}
}

// pageReport is what edx/page.js reports.
type pageReport struct {
	Error           string   `json:"error"`
	Logged          []string `json:"logged"`
	Visible         []string `json:"visible"`
	User            pageUser `json:"user"`
	RefreshesOfMany int      `json:"refreshesOfEight"`
	Post            int      `json:"post"`
	CSRF            bool     `json:"csrf"`
	Later           string   `json:"later"`
	LaterRefreshes  int      `json:"laterRefreshes"`
	Fast            string   `json:"fast"`
	Slow            string   `json:"slow"`
	Again           string   `json:"again"`
	AgainRefreshes  int      `json:"againRefreshes"`
	Ended           any      `json:"ended"`
	Left            bool     `json:"left"`
}

type pageUser struct {
	Username string `json:"username"`
	Email    string `json:"email"`
	UserID   int    `json:"userId"`
	Name     string `json:"name"`
	ID       int    `json:"id"`
}

// pageHours is how long the page is left alone: its JWT has run out then.
const pageHours = 2 * time.Hour

// TestEdXPage (contract 1.9 rows 2, 3, contract 1.10 rows 2, 3, 7, contract 2.3 rows 1..4): the
// authentication service of the Open edX pages, in a real browser, finds its user,
// renews itself once for all its parts, on wrong clocks too, brings CSRF tokens, and
// learns of a sign-out.
func TestEdXPage(t *testing.T) {
	script := bundled(t)
	browser := tool(t, needChromium, "chromium", "chromium-browser", "google-chrome")
	reports := make(chan pageReport, 1)
	var p *program
	var refresh string
	var cookies []string // of the WebView
	ready := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		<-ready
		for _, line := range cookies {
			w.Header().Add("Set-Cookie", line)
		}
		http.ServeFile(w, r, filepath.Join("edx", "index.html"))
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, script) })
	mux.HandleFunc("POST /advance", func(http.ResponseWriter, *http.Request) {
		<-ready
		p.advance(t, pageHours)
	})
	mux.HandleFunc("POST /end", func(http.ResponseWriter, *http.Request) {
		<-ready
		res, err := http.PostForm(p.base+"/oauth2/revoke_token/", url.Values{"client_id": {"edx-phone"}, "token": {refresh}})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Error("the phone could not be signed out", err)
		}
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var got pageReport
		if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&got); err != nil {
			got.Error = err.Error()
		}
		select {
		case reports <- got:
		default: // it told already
		}
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	p = startAnother(t, fmt.Sprintf(edxApps, page.URL), edxAlgs)
	access, refreshToken := phoneTokens(t, p.base, learner())
	refresh = refreshToken
	cookies = webView(t, p.base, access)
	close(ready)
	settings, _ := json.Marshal(map[string]any{"lms": p.base, "seconds": int(pageHours.Seconds())})
	r := opened(t, browser, page.URL+"/#"+url.PathEscape(string(settings)), reports)
	if r.Error != "" || len(r.Logged) > 0 {
		t.Fatalf("%s, logged %q", r.Error, r.Logged)
	}
	want := pageReport{Visible: r.Visible, Logged: r.Logged, User: pageUser{"learner", "learner@example.com", 4711, "A Learner", 4711},
		RefreshesOfMany: 1, Post: http.StatusMethodNotAllowed, CSRF: true, Later: "learner", LaterRefreshes: 1, Fast: "learner", Slow: "learner", Again: "learner"}
	if got, expected := fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", want); got != expected {
		t.Errorf("the page saw\n%s, want\n%s", got, expected)
	}
	if !slices.Contains(r.Visible, "edx-jwt-cookie-header-payload") || slices.Contains(r.Visible, "edx-jwt-cookie-signature") || slices.Contains(r.Visible, "sessionid") {
		t.Errorf("scripts see the cookies %v", r.Visible)
	}
}

// webView is what an app does before it opens a page: it swaps its access token for
// cookies and puts them into its WebView.
func webView(t *testing.T, base, access string) []string {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, base+"/oauth2/login/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "JWT "+access)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatal(res.Status)
	}
	return res.Header["Set-Cookie"]
}

// bundled makes one script of edx/page.js and the packages it uses.
func bundled(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"@edx/frontend-platform", "esbuild"} {
		if _, err := os.Stat(filepath.Join("edx", "node_modules", name, "package.json")); err != nil {
			missing(t, needEdX, "npm package "+name+" (npm ci --prefix interop/edx)")
		}
	}
	at := filepath.Join(t.TempDir(), "page.js")
	cmd := exec.Command(tool(t, needEdX, "node"), filepath.Join("node_modules", "esbuild", "bin", "esbuild"), "page.js", "--bundle", "--format=iife",
		"--define:global=window", `--define:process.env.NODE_ENV="production"`, "--log-level=warning", "--outfile="+at)
	cmd.Dir = "edx"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return at
}

// TestEdXServices (contract 1.11 rows 1..4, 6..13, R39, R46): PyJWT, which the services of an Open edX are moving to,
// reads our tokens with the key set, issuer and audience of its settings, and
// refuses what is not meant for it.
func TestEdXServices(t *testing.T) {
	name := python(t, needPyJWT, "jwt, cryptography")
	p := startAnother(t, fmt.Sprintf(edxApps, "http://127.0.0.1:3000"), edxAlgs)
	access, _ := phoneTokens(t, p.base, learner())
	parts := strings.Split(access, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."
	hmac := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + parts[1] + "." + parts[2]
	res, err := http.Get(p.base + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	keys, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	read := func(issuer, audience string) map[string]any {
		asked, _ := json.Marshal(map[string]any{"keys": string(keys), "issuer": issuer, "audience": audience,
			"tokens": map[string]string{"good": access, "none": none, "hmac": hmac, "cut": access[:len(access)-3] + "AAA"}})
		cmd := child(t.Context(), t, name, filepath.Join("edx", "verify.py"), string(asked))
		output := new(syncBuffer)
		cmd.Stderr = output
		out, err := cmd.Output()
		var found map[string]any
		if err != nil || json.Unmarshal(out, &found) != nil {
			t.Fatalf("%v: %s %s", err, out, tail(output.String()))
		}
		return found
	}
	found := read(p.base, "openedx")
	good, ok := found["good"].(map[string]any)
	if !ok {
		t.Fatalf("%v", found)
	}
	for claim, want := range map[string]any{"preferred_username": "learner", "user_id": 4711.0, "email": "learner@example.com", "grant_type": "password", "version": "1.2.0"} {
		if good[claim] != want {
			t.Errorf("%s is %v, want %v", claim, good[claim], want)
		}
	}
	if header := found["header"].(map[string]any); header["alg"] != "RS512" || header["kid"] == "" {
		t.Errorf("%v", header)
	}
	for _, bad := range []string{"none", "hmac", "cut"} {
		if _, word := found[bad].(string); !word {
			t.Errorf("%s was read: %v", bad, found[bad])
		}
	}
	if got := read("https://id.example.com", "openedx")["good"]; got != "InvalidIssuerError" {
		t.Errorf("another issuer: %v", got)
	}
	if got := read(p.base, "another-service")["good"]; got != "InvalidAudienceError" {
		t.Errorf("another audience: %v", got)
	}
}
