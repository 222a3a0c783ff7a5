package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// reactApp declares the React application: what somebody writes who moves it over
// from simplejwt.
const reactApp = `
[[clients]]
id = "react-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "simplejwt"
cors_origins = [%q]
`

const (
	reactDoor = "simplejwt /auth/token react-app"
	reactPath = "/auth/token/"
	// A page opens with this many calls at once.
	reactCalls = 5
	// Both servers' access tokens have run out after this long.
	reactSeconds  = 16 * 60
	simpleModules = "rest_framework_simplejwt.token_blacklist"
)

// drillSettings say how a drill goes, as src/drill.js reads them.
type drillSettings struct {
	BaseURL   string `json:"baseURL"`
	TokenPath string `json:"tokenPath"`
	Rounds    int    `json:"rounds"`
	Calls     int    `json:"calls"`
	Seconds   int    `json:"seconds"`
}

// report is what a drill says at its end.
type report struct {
	Error     string         `json:"error"`
	Rounds    int            `json:"rounds"`
	SignedOut int            `json:"signedOut"` // rounds in which the person was sent to the sign-in page
	Why       map[string]int `json:"why"`       // what the server said then
	Answered  int            `json:"answered"`
	Failed    int            `json:"failed"`
	Silent    int            `json:"silent"` // rounds in which no call was answered
	Rotations int            `json:"rotations"`
	User      any            `json:"user"`
	Claims    struct {
		Access  map[string]any `json:"access"`
		Refresh map[string]any `json:"refresh"`
	} `json:"claims"`
}

// String is for the log of a test: it names no token.
func (r report) String() string {
	return fmt.Sprintf("%d rounds, signed out in %d of them (%v), calls answered %d, failed %d, rounds without an answer %d, with a new refresh token %d",
		r.Rounds, r.SignedOut, r.Why, r.Answered, r.Failed, r.Silent, r.Rotations)
}

// rounds is a number of rounds, which HOLDFAST_REACT_ROUNDS changes.
func rounds(t *testing.T, usual int) int {
	set := os.Getenv("HOLDFAST_REACT_ROUNDS")
	if set == "" {
		return usual
	}
	n, err := strconv.Atoi(set)
	if err != nil || n < 1 {
		t.Fatalf("HOLDFAST_REACT_ROUNDS=%s is no number of rounds", set)
	}
	return n
}

// inNode runs the drill in Node.
func inNode(t *testing.T, base string, n int) report {
	t.Helper()
	argument, err := json.Marshal(drillSettings{base, reactPath, n, reactCalls, reactSeconds})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd := child(t.Context(), t, node(t), filepath.Join("react", "src", "node.js"), string(argument))
	output := new(syncBuffer)
	cmd.Stderr = output
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, output.String())
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("Node: %d rounds in %s", r.Rounds, time.Since(began).Round(time.Millisecond))
	return r
}

// TestReact (R1, R2, R41, S2): the application keeps its person signed in through
// every round, on a network that loses, doubles and delays.
func TestReact(t *testing.T) {
	node(t)
	p := startAnother(t, fmt.Sprintf(reactApp, "http://127.0.0.1:3000"), "HOLDFAST_DOORS="+reactDoor)
	f := newFront(t, p.base, 1, badWeather)
	n := rounds(t, 1000)
	r := inNode(t, f.URL, n)
	stayed(t, r, n)
	spoiled := f.counts()
	t.Logf("%v; %+v", r, spoiled)
	if n >= 100 && (spoiled.dropped == 0 || spoiled.lost == 0 || spoiled.doubled == 0 || spoiled.delayed == 0 || r.Failed == 0) {
		t.Errorf("the network was too good: %+v, %d calls failed", spoiled, r.Failed)
	}
}

// stayed asks of a report that nobody was ever signed out, and that the drill was one.
func stayed(t *testing.T, r report, n int) {
	t.Helper()
	if r.Error != "" || r.Rounds != n {
		t.Fatalf("%d of %d rounds: %s", r.Rounds, n, r.Error)
	}
	if r.SignedOut != 0 || len(r.Why) != 0 {
		t.Errorf("signed out in %d of %d rounds: %v", r.SignedOut, n, r.Why)
	}
	if r.Rotations < n*9/10 { // a few rounds may hear no answer at all
		t.Errorf("only %d of %d rounds brought a new refresh token", r.Rotations, n)
	}
	a, f := r.Claims.Access, r.Claims.Refresh
	if a["token_type"] != "access" || f["token_type"] != "refresh" || f["jti"] == nil || r.User == nil || f["user_id"] != r.User || a["user_id"] != r.User {
		t.Errorf("user %v, claims %v and %v", r.User, a, f)
	}
}

// TestReactAtSimpleJWT is the control: the same application, the same network and
// the same seed, at djangorestframework-simplejwt, and once more on a network that
// spoils nothing. If nobody were signed out there, TestReact would show nothing.
func TestReactAtSimpleJWT(t *testing.T) {
	node(t)
	base := startDjango(t, python(t, needSimple, simpleModules))
	for name, w := range map[string]weather{"on a bad network": badWeather, "on a good network": {}} {
		w.fresh = true // Django's own server is slow on a connection that stays
		t.Run(name, func(t *testing.T) {
			f := newFront(t, base, 1, w)
			n := rounds(t, 20)
			r := inNode(t, f.URL, n)
			t.Logf("%v; %+v", r, f.counts())
			if r.Rounds != n || r.Answered == 0 {
				t.Fatalf("%d of %d rounds, %d calls answered: this shows nothing", r.Rounds, n, r.Answered)
			}
			if r.SignedOut == 0 || r.Why["Token is blacklisted"] == 0 {
				t.Errorf("signed out in %d of %d rounds (%v): the drill does not find what it looks for", r.SignedOut, n, r.Why)
			}
		})
	}
}

// TestReactStrict is the control on our own side: a client that is held to RFC 9700
// to the letter must not ask twice with one token, and this application does.
func TestReactStrict(t *testing.T) {
	node(t)
	p := startAnother(t, fmt.Sprintf(reactApp, "http://127.0.0.1:3000")+`refresh = "strict"`, "HOLDFAST_DOORS="+reactDoor)
	r := inNode(t, newFront(t, p.base, 1, weather{}).URL, 5)
	t.Log(r)
	if r.SignedOut != 5 || r.Why["Token is blacklisted"] == 0 {
		t.Errorf("signed out in %d of 5 rounds: %v", r.SignedOut, r.Why)
	}
}

// TestReactInChromium (R1, R41, S2): the same files in a real browser, from an
// origin of their own.
func TestReactInChromium(t *testing.T) {
	node(t) // the browser loads the packages that npm put there
	browser := tool(t, needChromium, "chromium", "chromium-browser", "google-chrome")
	reports := make(chan report, 1)
	page := httptest.NewServer(reactPage(reports))
	defer page.Close()
	p := startAnother(t, fmt.Sprintf(reactApp, page.URL), "HOLDFAST_DOORS="+reactDoor)
	f := newFront(t, p.base, 2, badWeather)
	n := min(rounds(t, 50), 50)
	r := inBrowser(t, browser, page.URL, drillSettings{f.URL, reactPath, n, reactCalls, reactSeconds}, reports)
	t.Logf("Chromium: %v; %+v", r, f.counts())
	stayed(t, r, n)
}

// reactPage serves the application's files and takes its report.
func reactPage(reports chan<- report) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /src/", http.FileServer(http.Dir("react")))
	mux.Handle("GET /node_modules/", http.FileServer(http.Dir("react")))
	mux.HandleFunc("POST /report", func(w http.ResponseWriter, r *http.Request) {
		var got report
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if err != nil {
			got.Error = err.Error()
		}
		select {
		case reports <- got:
		default: // it told already
		}
	})
	return mux
}

// inBrowser opens the page with a profile of its own and waits for its report.
func inBrowser(t *testing.T, browser, page string, s drillSettings, reports <-chan report) report {
	t.Helper()
	argument, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, browser, page+"/src/index.html#"+url.PathEscape(string(argument)), reports)
}
