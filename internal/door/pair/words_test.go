package pair

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
)

func aDoor(d Dialect) *Door {
	return &Door{Issuer: &grant.Issuer{Clients: &client.Registry{}}, Dialect: d, Prefix: "/api/token", Client: "app"}
}

var dialects = []Dialect{SimpleJWT, Sliding, DRFJWT}

// TestEveryReasonHasWords: a reason without words here would be called a token that
// is none, and a kind without a status would be answered 0.
func TestEveryReasonHasWords(t *testing.T) {
	reasons := append(fault.Ends(), fault.Refusals()...)
	for _, r := range reasons {
		if w, ok := words[r]; !ok || w.simple == "" || w.drf == "" {
			t.Errorf("%s has no words", r)
		}
	}
	if len(words) != len(reasons) {
		t.Errorf("%d reasons have words, there are %d", len(words), len(reasons))
	}
	for _, k := range fault.Kinds() {
		if s := statuses[k]; s < 400 || s > 599 || http.StatusText(s) == "" {
			t.Errorf("%s is answered %d", k, s)
		}
	}
	if len(statuses) != len(fault.Kinds()) {
		t.Errorf("%d kinds have a status, there are %d", len(statuses), len(fault.Kinds()))
	}
}

// TestWordsOfReasons (contract 4.2 rows 8, 10..12): which of the original's few
// sentences each reason is told in.
func TestWordsOfReasons(t *testing.T) {
	d := aDoor(SimpleJWT)
	for _, r := range append(fault.Ends(), fault.Refusals()...) {
		want, code := blacklisted, notValid
		switch r {
		case fault.Idle, fault.Absolute, fault.Superseded:
			want = expired
		case fault.Malformed, fault.WrongClient, fault.WrongKey:
			want = invalid
		case fault.Disabled, fault.Deleted:
			want, code = accountGone, ""
		case fault.PasswordChanged, fault.PasswordReset:
			want, code = otherPassword, ""
		}
		n := d.worded(&fault.Error{Kind: fault.InvalidGrant, Reason: r})
		if n.status != http.StatusUnauthorized || n.body != (detail{want, code}) {
			t.Errorf("%s: %d %v", r, n.status, n.body)
		}
	}
	for cause, want := range map[error]string{grant.ErrExpired: expired, grant.ErrWrongType: wrongType, grant.ErrPastRefresh: pastRefresh} {
		n := d.worded(&fault.Error{Kind: fault.InvalidToken, Reason: fault.Malformed, Cause: cause})
		if n.body != (detail{want, notValid}) {
			t.Errorf("%v: %v", cause, n.body)
		}
	}
}

// TestEveryRefusal (HTTP-10, TOKEN-10): whatever went wrong, in every dialect: no
// cache keeps it, it tells nothing private, whoever has to wait is told how long,
// and nobody is signed out by what will pass.
func TestEveryRefusal(t *testing.T) {
	private := errors.New("SELECT secret FROM session")
	for _, d := range dialects {
		for _, k := range fault.Kinds() {
			for name, refuse := range map[string]func(*Door, http.ResponseWriter, *http.Request, error){"token": (*Door).refuse, "sign-in": (*Door).refuseSignIn} {
				w := httptest.NewRecorder()
				refuse(aDoor(d), w, httptest.NewRequest(http.MethodPost, "/", nil), fault.Wrap(k, private, "some words"))
				h := w.Result().Header
				var object map[string]any
				if json.Unmarshal(w.Body.Bytes(), &object) != nil || len(object) == 0 || h.Get("Content-Type") != "application/json" ||
					h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(w.Body.String(), "SELECT") {
					t.Fatalf("%s %s %s: %d %v %s", d, k, name, w.Code, h, w.Body)
				}
				if wait := h.Get("Retry-After"); (wait == "") == (w.Code == 429 || w.Code == 503) {
					t.Errorf("%s %s %s: %d with Retry-After %q", d, k, name, w.Code, wait)
				}
				passes := k == fault.TooMany || k == fault.Busy || k == fault.Unavailable || k == fault.LateAnswer || k == fault.Internal || k == fault.InvalidClient
				if passes && w.Code != 429 && w.Code < 500 {
					t.Errorf("%s %s %s: %d signs somebody out", d, k, name, w.Code)
				}
			}
		}
	}
}

// TestThrottled: the sentence of Django REST framework, in its grammar.
func TestThrottled(t *testing.T) {
	for _, c := range []struct {
		e    fault.Error
		want string
	}{
		{fault.Error{Kind: fault.TooMany}, "Request was throttled. Expected available in 1 second."},
		{fault.Error{Kind: fault.TooMany, RetryAfter: 89_500_000_000}, "Request was throttled. Expected available in 90 seconds."},
	} {
		if got := said(&c.e).body; got != (detail{Detail: c.want}) {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
}

// TestUnfit: what a client lacks to be the one behind this door.
func TestUnfit(t *testing.T) {
	fit := client.Client{ID: "app", Type: client.Public, FirstParty: true, Grants: []string{client.GrantPassword, client.GrantRefresh},
		Claims: client.SimpleJWT, AccessFormat: client.JWT}
	if reason, _ := Unfit(fit); reason != "" {
		t.Errorf("a fit client %s", reason)
	}
	for what, spoil := range map[string]func(*client.Client){
		"is confidential":     func(c *client.Client) { c.Type = client.Confidential },
		"is not first-party":  func(c *client.Client) { c.FirstParty = false },
		"is not registered":   func(c *client.Client) { c.Grants = []string{client.GrantPassword} },
		"has tokens without":  func(c *client.Client) { c.Claims = client.StandardClaims },
		"has opaque access t": func(c *client.Client) { c.AccessFormat = client.Opaque },
	} {
		c := fit
		spoil(&c)
		if reason, mend := Unfit(c); !strings.HasPrefix(reason, what) || mend == "" {
			t.Errorf("%s: %q, %q", what, reason, mend)
		}
	}
}
