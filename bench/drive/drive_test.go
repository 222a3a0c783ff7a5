package drive

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// jwt is a token of the right shape; nobody checks its signature.
func jwt(alg string, exp int64, signature int) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"`+alg+`"}`)) + "." + b64(fmt.Appendf(nil, `{"exp":%d,"jti":"%d"}`, exp, time.Now().UnixNano())) + "." + b64(make([]byte, signature))
}

// server is an OAuth server that rotates, and behaves in one way or another.
type server struct {
	behaves string
	mu      sync.Mutex
	live    map[string]bool
	made    int
	access  string
}

func (s *server) mint() string {
	s.made++
	t := fmt.Sprintf("token-%d", s.made)
	s.live[t] = true
	return t
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	soon := time.Now().Unix() + 60
	out := map[string]any{"access_token": jwt("ES256", soon, 64), "token_type": "Bearer"}
	presented := r.PostFormValue("refresh_token") + r.PostFormValue("token")
	switch {
	case r.URL.Path == "/introspect":
		out = map[string]any{"active": s.live[presented]}
	case r.URL.Path == "/revoke":
		if s.behaves != "revokes nothing" {
			delete(s.live, presented)
		}
		return
	case r.PostFormValue("grant_type") == "password":
		out["refresh_token"] = s.mint()
		if s.behaves == "busy at first" && s.made == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case r.PostFormValue("grant_type") == "refresh_token":
		if !s.live[presented] {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		if s.behaves != "same token" {
			delete(s.live, presented)
			out["refresh_token"] = s.mint()
		} else {
			out["refresh_token"] = presented
		}
		s.misbehave(w, out, soon)
		if s.behaves == "hangs up" {
			panic(http.ErrAbortHandler)
		}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// misbehave changes the answer to a refresh.
func (s *server) misbehave(w http.ResponseWriter, out map[string]any, soon int64) {
	switch s.behaves {
	case "no token":
		delete(out, "refresh_token")
	case "no access token":
		delete(out, "access_token")
	case "no type":
		delete(out, "token_type")
	case "bad JWT":
		out["access_token"] = "a.b.c"
	case "two parts":
		out["access_token"] = "a.b"
	case "unsigned":
		out["access_token"] = jwt("none", soon, 0)
	case "short signature":
		out["access_token"] = jwt("ES256", soon, 63)
	case "expired":
		out["access_token"] = jwt("ES256", 1, 64)
	case "same access token":
		if s.access == "" {
			s.access = out["access_token"].(string)
		}
		out["access_token"] = s.access
	case "error 500":
		w.WriteHeader(http.StatusInternalServerError)
	case "signs out":
		clear(s.live)
	case "busy":
		w.WriteHeader(http.StatusTooManyRequests)
	}
}

func start(t *testing.T, behaves string) Options {
	t.Helper()
	s := httptest.NewServer(&server{behaves: behaves, live: map[string]bool{}})
	t.Cleanup(s.Close)
	return Options{Scenario: Refresh, URL: s.URL + "/token", IntrospectURL: s.URL + "/introspect", RevokeURL: s.URL + "/revoke",
		ClientID: "app", Auth: "none", User: "u%d", Users: 4, Password: "p w&d", MustRotate: true, JWT: true,
		Connections: 2, Duration: 60 * time.Millisecond}
}

// A machine that is busy with other things asks little or nothing in the time of a
// test, so what asked less than enough is measured again, and longer, up to longest.
const (
	enough  = 40
	longest = 10 * time.Second
)

// drive signs devices in and measures.
func drive(t *testing.T, o Options, devices int) (Result, []*Device) {
	t.Helper()
	for {
		all, err := SignIn(o, devices, 2)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(o, all)
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations+r.Errors >= enough || o.Duration >= longest {
			return r, all
		}
		o.Duration = min(4*o.Duration, longest)
	}
}

// goOn measures with devices that are signed in.
func goOn(t *testing.T, o Options, devices []*Device) Result {
	t.Helper()
	for {
		r, err := Run(o, devices)
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations+r.Errors >= enough || o.Duration >= longest {
			return r
		}
		o.Duration = min(4*o.Duration, longest)
	}
}

func TestGoodServer(t *testing.T) {
	r, _ := drive(t, start(t, ""), 6)
	if r.Operations < 4 || r.Errors != 0 || r.Dead != 0 || r.Rotated != r.Operations || r.SameAccess != 0 || r.P50 <= 0 || r.Max < r.P99 {
		t.Errorf("a correct server: %s", r)
	}
}

// Connections are dealt out among the servers, and so are their devices. CPU that
// is told by itself is a part of the whole.
func TestSeveralServers(t *testing.T) {
	o, other := start(t, ""), start(t, "")
	o.URL, o.Connections = o.URL+","+other.URL, 4
	o.Processes, o.Apart = []int{os.Getpid()}, []int{os.Getpid()}
	r, _ := drive(t, o, 8) // each token is known to one of the two
	if r.Operations < 8 || r.Errors != 0 || r.Dead != 0 || r.Apart > r.CPU*1.5+1 {
		t.Errorf("two servers: %s", r)
	}
	o.Scenario = ClientCredentials
	if _, err := Run(o, nil); err == nil {
		t.Error("only refreshes may go to several servers")
	}
}

// Whatever is wrong in an answer is an error, and only a refusal kills a device.
func TestBadServers(t *testing.T) {
	for _, behaves := range []string{"same token", "no token", "no access token", "no type", "bad JWT", "two parts", "unsigned",
		"short signature", "expired", "error 500", "busy", "hangs up"} {
		r, _ := drive(t, start(t, behaves), 100)
		if r.Operations != 0 || r.Errors == 0 || len(r.Kinds) == 0 {
			t.Errorf("%s was not counted as an error: %s", behaves, r)
		}
		// Spent tokens of answers that could not be used are refused later on.
		if r.Dead != 0 && (behaves == "same token" || behaves == "busy" && r.Errors < 50) {
			t.Errorf("%s killed devices: %s", behaves, r)
		}
	}
}

func TestSignOutsAreCounted(t *testing.T) {
	o := start(t, "signs out")
	o.Duration = 10 * time.Second // ends when every device is dead
	r, _ := drive(t, o, 12)
	if r.Dead < 11 || r.Errors < 10 {
		t.Errorf("signed-out devices were not counted: %s", r)
	}
}

func TestSharesAreCounted(t *testing.T) {
	o := start(t, "same token")
	o.MustRotate = false
	if r, _ := drive(t, o, 4); r.Operations == 0 || r.Errors != 0 || r.Rotated != 0 || r.RotatedShare() != 0 {
		t.Errorf("nothing rotates here: %s", r)
	}
	if r, _ := drive(t, start(t, "same access token"), 1); r.Operations < 2 || r.SameAccess < r.Operations-1 || r.RotatedShare() != 1 {
		t.Errorf("the access token is always the same: %s", r)
	}
}

func TestOtherScenarios(t *testing.T) {
	for _, scenario := range []string{Password, ClientCredentials, Introspect, Get} {
		o, devices := start(t, ""), 4
		o.Scenario = scenario
		if scenario == Get {
			devices = 0 // there is no token endpoint to sign in at
		}
		if r, _ := drive(t, o, devices); r.Operations == 0 || r.Errors != 0 {
			t.Errorf("%s: %s", scenario, r)
		}
	}
	o := start(t, "signs out")
	o.Auth, o.ClientSecret = "basic", "s"
	_, devices := drive(t, o, 4)
	for _, d := range devices {
		d.Dead = false
	}
	o.Scenario = Introspect
	if r := goOn(t, o, devices); r.Operations != 0 || r.Errors == 0 {
		t.Errorf("inactive tokens passed: %s", r)
	}
}

func TestRevoke(t *testing.T) {
	for _, behaves := range []string{"", "revokes nothing"} {
		o := start(t, behaves)
		o.Scenario, o.Duration = Revoke, 10*time.Second // ends when every device is used up
		r, devices := drive(t, o, 6)
		tried, alive, err := StillAlive(o, devices)
		want := 0
		if behaves != "" {
			want = 6
		}
		if r.Errors != 0 || r.Dead != 0 || tried != 6 || alive != want || err != nil {
			t.Errorf("%q: %s, tried %d, alive %d, %v", behaves, r, tried, alive, err)
		}
	}
}

// A device that a busy server sends away comes back; one whose server is broken
// says so.
func TestSignIn(t *testing.T) {
	t.Parallel() // it waits as an app would
	all, err := SignIn(start(t, "busy at first"), 2, 1)
	if err != nil || len(all) != 2 || all[0].Refresh == "" || all[0].Refresh == all[1].Refresh {
		t.Errorf("got %v, %v", all, err)
	}
}

// In an open loop a slow server does not get fewer requests: those that waited
// for it count from when they were due.
func TestOpenLoop(t *testing.T) {
	const takes = 20 * time.Millisecond
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(takes) }))
	defer s.Close()
	r := goOn(t, Options{Scenario: Get, URL: s.URL, Auth: "none", Users: 1, Connections: 1, Rate: 1000, Duration: 15 * takes}, nil)
	if r.Errors != 0 || r.Max < 3*ms(takes) {
		t.Errorf("a queue of late requests is not in the latency: %s", r)
	}
}

func TestDevicesGoOn(t *testing.T) {
	o := start(t, "")
	_, devices := drive(t, o, 4)
	devices[0].Dead = true
	for _, bare := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "devices")
		err := SaveDevices(path, devices, bare)
		if err != nil {
			t.Fatal(err)
		}
		again, err := LoadDevices(path)
		if err != nil || len(again) != 3 || again[0].Refresh != devices[1].Refresh || (again[0].Access == "") != bare {
			t.Fatalf("bare %t: %v, %v", bare, again, err)
		}
		if r := goOn(t, o, again); r.Errors != 0 || r.Operations == 0 {
			t.Errorf("devices of a file: %s", r)
		}
		devices = append([]*Device{{Dead: true}}, again...)
	}
	path := filepath.Join(t.TempDir(), "broken")
	err := os.WriteFile(path, []byte("{\"refresh\":\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadDevices(path); err == nil {
		t.Error("a broken file was read")
	}
}

func TestRefusedOptions(t *testing.T) {
	good := start(t, "")
	for name, spoil := range map[string]func(*Options){
		"scenario":    func(o *Options) { o.Scenario = "x" },
		"auth":        func(o *Options) { o.Auth = "digest" },
		"address":     func(o *Options) { o.Scenario, o.RevokeURL = Revoke, "" },
		"https":       func(o *Options) { o.URL = "https://127.0.0.1:1/" },
		"connections": func(o *Options) { o.Connections = 0 },
		"devices":     func(*Options) {},
		"process":     func(o *Options) { o.Scenario, o.Processes = ClientCredentials, []int{1 << 30} },
	} {
		o := good
		spoil(&o)
		if r, err := Run(o, nil); err == nil {
			t.Errorf("%s: measured %s", name, r)
		}
	}
	if _, err := SignIn(start(t, ""), 1, 1); err != nil {
		t.Error(err)
	}
	bad := good
	bad.URL = strings.TrimSuffix(good.URL, "token") + "introspect"
	if _, err := SignIn(bad, 1, 1); err == nil {
		t.Error("an answer without tokens signed a device in")
	}
}
