package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDoorsPair (contract 4.1 row 9, contract 4.2 rows 8, 10, R01..04, R13..14, R41) tells the
// stories of a refresh token at the door of simplejwt. One of them it ends in its
// own way: to sign out twice is an error there (TestPairEnds).
func TestDoorsPair(t *testing.T) {
	files := slices.DeleteFunc(stories(), func(f string) bool { return strings.HasSuffix(f, "/sign-out.txt") })
	runDialogs(t, testscript.Params{Files: files}, pairDialect)
}

// TestDoorsDOT (contract 3.1 rows 1, 6, R01..04) tells three of them in the dialect of
// django-oauth-toolkit, which has words of its own and nothing else.
func TestDoorsDOT(t *testing.T) {
	files := slices.DeleteFunc(stories(), func(f string) bool {
		return !slices.Contains([]string{"two-calls-at-once.txt", "lost-answer-after-1s.txt", "thief-first.txt"}, path.Base(f))
	})
	d := standardDialect
	d.token, d.revoke, d.me = "/o/token/", "/o/revoke_token/", "/o/userinfo/"
	runDialogs(t, testscript.Params{Files: files}, d)
}

// pairDialect is how the people of a story speak to the door of simplejwt.
var pairDialect = dialect{token: pairAt + "/", revoke: pairAt + "/blacklist/", me: "/demo/api", client: "demo-pair", scheme: "Bearer ",
	code: standardDialect.code,
	rewrite: func(path string, f url.Values) string {
		if f.Get("grant_type") == "refresh_token" {
			path += "refresh/"
		}
		for _, from := range []string{"refresh_token", "token"} {
			if f.Has(from) {
				f.Set("refresh", f.Get(from))
			}
		}
		return path
	},
	seen: func(path string, a answer) answer {
		var in struct{ Access, Refresh, Detail string }
		if !strings.HasPrefix(path, pairAt) || json.Unmarshal(a.body, &in) != nil {
			return a
		}
		out := map[string]string{}
		switch {
		case a.status == http.StatusOK && in.Access != "":
			out = map[string]string{"access_token": in.Access, "refresh_token": in.Refresh}
		case a.status == http.StatusUnauthorized && strings.HasPrefix(in.Detail, "Token is "):
			a.status, out["error"] = http.StatusBadRequest, "invalid_grant"
		case a.status == http.StatusServiceUnavailable && in.Detail != "":
			out["error"] = "temporarily_unavailable"
		}
		a.body, _ = json.Marshal(out)
		return a
	}}
