package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// TestEveryFaultHasAStatus: no kind of fault leaves this door without a status.
func TestEveryFaultHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		if statuses[k] < 400 {
			t.Errorf("%v has the status %d", k, statuses[k])
		}
	}
	if len(statuses) != len(fault.Kinds()) {
		t.Error("a kind that is none has a status")
	}
}

// TestRefreshCookie: a refresh cookie is read back as what was written, whatever a
// client is called, and holds nothing that ends a cookie's value (RFC 6265 section
// 4.1.1).
func TestRefreshCookie(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[ -~]{1,200}`).Draw(t, "client")
		token := rapid.StringMatching(`hfr_[A-Za-z0-9_.-]{20,80}`).Draw(t, "token")
		c := pack(secret.New(token), id.Client(name))
		got, who, ok := unpack(c)
		if !ok || got.Reveal() != token || string(who) != name {
			t.Fatalf("%q %q %v", got.Reveal(), who, ok)
		}
		if strings.ContainsAny(c.Reveal(), " \",;\\") {
			t.Fatalf("%q", c.Reveal())
		}
	})
}

// FuzzRefreshCookie: what is read is what would be written, and nothing else is read.
func FuzzRefreshCookie(f *testing.F) {
	for _, s := range []string{"", "~", "a~", "~YQ", "a~YQ", "a~YR", "a~YQ==", "a~b~YQ", "hfr_x~ZGVtby1zcGE"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, who, ok := unpack(secret.New(s))
		if ok && pack(token, who).Reveal() != s {
			t.Fatalf("%q is another spelling of %q", s, pack(token, who).Reveal())
		}
	})
}

// TestCookieOf: a cookie that is there twice with two values is none, and one that is
// too long is none.
func TestCookieOf(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "a=1": "1", "b=2": "", "a=1; a=1": "1", "a=1; a=2": "", "a=2; b=1; a=1": "", "a=" + strings.Repeat("x", maxCookie+1): "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", header)
		if got := form.Cookie(r, "a", maxCookie).Reveal(); got != want {
			t.Errorf("%.40q: %.40q", header, got)
		}
	}
}

// TestCSRFTokens: those we make look like ours, no two are alike, and nothing else
// looks like them.
func TestCSRFTokens(t *testing.T) {
	one, two := newCSRF(), newCSRF()
	if !plainToken(one) || !plainToken(two) || one == two {
		t.Errorf("%q %q", one, two)
	}
	for _, s := range []string{"", one[1:], one + "A", strings.ToLower(one), strings.Repeat("=", csrfSize), strings.Repeat("é", csrfSize/2)} {
		if plainToken(s) && s != one {
			t.Errorf("%q", s)
		}
	}
}
