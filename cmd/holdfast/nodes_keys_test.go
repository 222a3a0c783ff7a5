package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// keyRounds is how often keys are turned at one node under the eyes of the other.
const keyRounds = 20

// keyClients get each form of access token.
const keyClients = endClients + `
[[clients]]
id = "opaque"
type = "confidential"
secret = "opaque-secret-of-the-test"
grants = ["client_credentials"]
scopes = ["read"]
access_format = "opaque"
`

// TestKeysAtTheOtherNode (FAULT-09): one node turns its keys, and what it makes with
// the new ones is used at the other in the same moment. Once is the common case: the
// next key was known everywhere before. Twice by force is what only an incident
// brings: the other node cannot know the key yet, and must ask before it refuses.
func TestKeysAtTheOtherNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers; run without -short")
	}
	_, two := cluster(t, keyClients)
	phone := two[0].signIn(t, "demo-password")
	refreshed := func(n *node, what string) {
		a, status := n.asked(t, refreshForm(phone.refresh))
		if status != http.StatusOK {
			t.Fatalf("%s: a phone is refused: %d %v", what, status, a)
		}
		phone = held{a["access_token"], a["refresh_token"]}
	}
	turn := func(n *node, purpose string) {
		n.acknowledged(t, http.MethodPost, "/keys/rotate", fmt.Sprintf(`{"purpose":%q,"force":true}`, purpose))
	}
	for i := range keyRounds {
		here, there := two[i%2], two[(i+1)%2]
		for turns := 1; turns <= 2; turns++ {
			what := fmt.Sprintf("round %d, turned %d times", i, turns)
			for range turns {
				turn(here, "seal")
				turn(here, "sign")
				turn(here, "opaque")
			}
			refreshed(here, what) // sealed and signed with the new keys
			if !there.active(t, phone.access) {
				t.Errorf("%s: an access token is refused by introspection at the other node", what)
			}
			refreshed(there, what) // the other node opens the seal, and seals with what it has
			if !here.active(t, phone.access) {
				t.Errorf("%s: the other node's access token is refused", what)
			}
			refreshed(here, what)
			if turns == 1 && !strings.Contains(keySet(t, there), kid(t, phone.access)) {
				t.Errorf("%s: the other node's JWKS lacks the key in use", what)
			}
			own, status := here.asked(t, url.Values{"grant_type": {"client_credentials"}, "client_id": {"opaque"}, "client_secret": {"opaque-secret-of-the-test"}})
			if status != http.StatusOK || !there.active(t, own["access_token"]) {
				t.Errorf("%s: an opaque access token is refused at the other node: %d", what, status)
			}
		}
		// A sign-out with a token of an unknown seal ends the session.
		out := here.signIn(t, "demo-password")
		turn(here, "seal")
		turn(here, "seal")
		a, status := here.asked(t, refreshForm(out.refresh))
		if status != http.StatusOK {
			t.Fatalf("round %d: %d %v", i, status, a)
		}
		out = held{a["access_token"], a["refresh_token"]}
		res, err := http.PostForm(there.base+"/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {out.refresh}})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("revoke: %v %v", res, err)
		}
		res.Body.Close()
		if still := here.over(t, out); still != "" {
			t.Errorf("round %d: signed out at the node that had not heard of the key, and%s", i, still)
		}
		phone = here.signIn(t, "demo-password")
	}
	stopAll(t, two)
}

// keySet is a node's JWKS.
func keySet(t *testing.T, n *node) string {
	t.Helper()
	res, err := http.Get(n.base + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("jwks: %s %v", res.Status, err)
	}
	return string(text)
}

// kid reads which key signed a token.
func kid(t *testing.T, token string) string {
	t.Helper()
	header, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	var h struct {
		KID string `json:"kid"`
	}
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil || h.KID == "" {
		t.Fatalf("no kid in the header: %v", err)
	}
	return h.KID
}
