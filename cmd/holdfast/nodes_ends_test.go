package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// endRounds is how often each end is looked at from the other node, where a round
// costs little; HOLDFAST_END_ROUNDS asks for all ends so often.
const endRounds = 200

// endClients are a service that asks about tokens and an application that is
// stopped.
const endClients = `
[[clients]]
id = "watcher"
type = "confidential"
secret = "watcher-secret-of-the-test"
grants = ["client_credentials"]
scopes = ["introspect"]

[[clients]]
id = "shop"
type = "confidential"
secret = "shop-secret-of-the-test"
first_party = true
grants = ["client_credentials", "password", "refresh_token"]
scopes = ["read"]
`

// acknowledged makes one call of the admin API through the node's socket.
func (n *node) acknowledged(t *testing.T, method, path, body string) {
	t.Helper()
	socket := filepath.Join(n.dir, "data", "admin.sock")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://admin/admin/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s", method, path, res.Status, text)
	}
}

// active asks a node about a token.
func (n *node) active(t *testing.T, token string) bool {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.base+"/oauth2/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("watcher", "watcher-secret-of-the-test")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var said struct {
		Active bool `json:"active"`
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("introspect: %s %v", res.Status, err)
	}
	return said.Active
}

// held is what a phone has after a sign-in.
type held struct{ access, refresh string }

// asked makes a token request that must be answered. It follows Retry-After as an
// app does: on a loaded machine the disk or the passwords may take their time.
func (n *node) asked(t *testing.T, f url.Values) (a map[string]string, status int) {
	t.Helper()
	const patience = 30
	for range patience {
		var err error
		a, status, err = post(http.DefaultClient, n.base, f)
		if err != nil {
			t.Fatal(err)
		}
		if status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(time.Second)
	}
	return a, status
}

func (n *node) signIn(t *testing.T, password string) held {
	t.Helper()
	f := signInForm("ends")
	f.Set("password", password)
	var a map[string]string
	var status int
	for range 500 {
		if a, status = n.asked(t, f); status == http.StatusOK {
			return held{a["access_token"], a["refresh_token"]}
		}
		// A client that another node let go on is heard of within a moment.
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("sign-in: %d %v", status, a)
	return held{}
}

// over reports what of a sign-in a node still takes for good, "" for nothing.
func (n *node) over(t *testing.T, h held) (still string) {
	t.Helper()
	if n.active(t, h.access) {
		still += " the access token is active"
	}
	if a, status := n.asked(t, refreshForm(h.refresh)); status != http.StatusBadRequest || a["error"] != "invalid_grant" {
		still += fmt.Sprintf(" a refresh is answered %d %v", status, a["error"])
	}
	return still
}

// TestEndsAtTheOtherNode (FAULT-02, INV-04): what one node acknowledged is obeyed by the
// other in the next request: a sign-out, a stopped account, a changed password, a
// stopped application.
func TestEndsAtTheOtherNode(t *testing.T) {
	if testing.Short() {
		t.Skip("signs in some hundred times; run without -short")
	}
	many := times(t, "HOLDFAST_END_ROUNDS", endRounds)
	few := times(t, "HOLDFAST_END_ROUNDS", endRounds/10) // each of these computes passwords
	_, two := cluster(t, endClients)
	password := "demo-password"
	for _, end := range []struct {
		name   string
		rounds int
		act    func(n *node, h held, i int)
		undo   func(n *node)
	}{
		{"sign-out", many, func(n *node, h held, _ int) {
			res, err := http.PostForm(n.base+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {h.refresh}})
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("revoke: %v %v", res, err)
			}
			res.Body.Close()
		}, nil},
		{"sign-out everywhere", few, func(n *node, _ held, _ int) { n.acknowledged(t, http.MethodPost, "/users/demo/sign-out", "") }, nil},
		{"disable", few, func(n *node, _ held, _ int) { n.acknowledged(t, http.MethodPost, "/users/demo/disable", "") },
			func(n *node) { n.acknowledged(t, http.MethodPost, "/users/demo/enable", "") }},
		{"password", few, func(n *node, _ held, i int) {
			password = fmt.Sprint("another-password-", i)
			n.acknowledged(t, http.MethodPost, "/users/demo/password", `{"password":"`+password+`"}`)
		}, nil},
		{"client stop", few, func(n *node, _ held, _ int) { n.acknowledged(t, http.MethodPost, "/clients/crash/disable", "") },
			func(n *node) { n.acknowledged(t, http.MethodPost, "/clients/crash/enable", "") }},
	} {
		for i := range end.rounds {
			here, there := two[i%2], two[(i+1)%2]
			h := there.signIn(t, password)
			if !there.active(t, h.access) || !here.active(t, h.access) {
				t.Fatalf("%s, round %d: a fresh token is not active", end.name, i)
			}
			end.act(here, h, i)
			if still := there.over(t, h); still != "" && end.undo == nil || end.undo != nil && there.active(t, h.access) {
				t.Fatalf("%s, round %d: acknowledged at one node, and at the other%s", end.name, i, still)
			}
			if end.undo != nil {
				there.refusesAll(t, h, password)
				end.undo(there)
			}
		}
	}
	t.Logf("sign-outs %d times, other ends %d times each: all obeyed by the other node in its next request", many, few)
	stopClient(t, two, many)
	stopAll(t, two)
}

// refusesAll: neither a refresh nor a sign-in is answered with tokens.
func (n *node) refusesAll(t *testing.T, h held, password string) {
	t.Helper()
	f := signInForm("ends")
	f.Set("password", password)
	f.Del("install_id") // an install has a small budget of its own for refused attempts
	for what, form := range map[string]url.Values{"refresh": refreshForm(h.refresh), "sign-in": f} {
		if a, status := n.asked(t, form); status < 400 || status >= 500 || a["access_token"] != "" {
			t.Fatalf("a %s is answered %d %v", what, status, a["error"])
		}
	}
}

// stopClient stops an application that acts for itself: no session's row tells the
// other node.
func stopClient(t *testing.T, two []*node, rounds int) {
	t.Helper()
	own := url.Values{"grant_type": {"client_credentials"}, "client_id": {"shop"}, "client_secret": {"shop-secret-of-the-test"}}
	person := url.Values{"grant_type": {"password"}, "client_id": {"shop"}, "client_secret": {"shop-secret-of-the-test"}, "username": {"demo"}, "password": {"not-his"}}
	here, there := two[0], two[1]
	for i := range rounds {
		a, status := there.asked(t, own)
		if status != http.StatusOK || !there.active(t, a["access_token"]) {
			t.Fatalf("round %d: its own token: %d %v", i, status, a["error"])
		}
		here.acknowledged(t, http.MethodPost, "/clients/shop/disable", "")
		if there.active(t, a["access_token"]) {
			t.Fatalf("round %d: stopped at one node, and its token is active at the other", i)
		}
		for what, form := range map[string]url.Values{"client_credentials": own, "password": person} {
			if a, status := there.asked(t, form); status != http.StatusUnauthorized || a["error"] != "invalid_client" {
				t.Fatalf("round %d: stopped at one node, and at the other %s is answered %d %v", i, what, status, a["error"])
			}
		}
		there.acknowledged(t, http.MethodPost, "/clients/shop/enable", "")
	}
	t.Logf("an application stopped %d times: its own tokens and its sign-ins refused by the other node in the next request", rounds)
}
