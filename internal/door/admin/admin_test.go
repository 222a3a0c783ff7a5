package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/user"
)

// TestEveryKindHasAStatus: a kind of fault without one would be answered with
// status 0.
func TestEveryKindHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		s, ok := statuses[k]
		if !ok || s < 400 || s > 599 || http.StatusText(s) == "" {
			t.Errorf("%s has the status %d", k, s)
		}
	}
	if len(statuses) != len(fault.Kinds()) {
		t.Errorf("%d kinds have a status, there are %d", len(statuses), len(fault.Kinds()))
	}
}

// TestEveryRefusal (AD01): whatever went wrong, the answer is a problem document
// (RFC 9457) whose status is the answer's, no cache keeps it, it tells nothing
// private, and whoever has to wait is told how long.
func TestEveryRefusal(t *testing.T) {
	for _, k := range fault.Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			w := httptest.NewRecorder()
			(&Door{}).refuse(w, httptest.NewRequest(http.MethodGet, "/", nil), fault.Wrap(k, errors.New("SELECT secret"), "words"))
			var p Problem
			err := json.Unmarshal(w.Body.Bytes(), &p)
			h := w.Result().Header
			if err != nil || w.Code != statuses[k] || p.Status != w.Code || p.Title == "" || p.Detail != "words" ||
				p.Type != "urn:holdfast:problem:"+k.String() || strings.Contains(w.Body.String(), "SELECT") {
				t.Errorf("%d %s %v", w.Code, w.Body, err)
			}
			if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Content-Type-Options") != "nosniff" || h["Set-Cookie"] != nil || h["Access-Control-Allow-Origin"] != nil {
				t.Errorf("headers %v", h)
			}
			if wait := h.Get("Retry-After"); (wait == "") == (w.Code == 429 || w.Code == 503) {
				t.Errorf("%d with Retry-After %q", w.Code, wait)
			}
		})
	}
}

// TestRolesOfScopes: a scope names a role or nothing, and a user's account bounds
// what his token may name.
func TestRolesOfScopes(t *testing.T) {
	for scope, want := range map[string]roles{
		"": nil, "read openid": nil, "admin": {Owner}, "admin.viewer": {Viewer}, "admin.viewer read admin.clients": {Viewer, Clients},
		"Admin": nil, "admin.": nil, "admin.root": nil, "admin.viewer.x": nil, "xadmin": nil, "administrator": nil,
	} {
		if got := rolesOf(scope); !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", scope, got, want)
		}
	}
	all := roles(Roles())
	for name, c := range map[string]struct {
		u    user.User
		want roles
	}{
		"anybody": {user.User{}, roles{}}, "staff": {user.User{Staff: true}, roles{Viewer, Support}}, "superuser": {user.User{Superuser: true}, all},
	} {
		if got := all.of(c.u); !slices.Equal(got, c.want) {
			t.Errorf("%s acts as %v, want %v", name, got, c.want)
		}
	}
}

// TestTheTableIsWhole: every route has all that makes one, and no two are the same.
func TestTheTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Routes() {
		if r.Operation == "" || r.act == nil || !slices.Contains(Roles(), r.Least) || !strings.HasPrefix(r.Pattern, "/admin/v1/") {
			t.Errorf("%+v", r)
		}
		for _, name := range []string{r.Operation, r.Method + " " + r.Pattern} {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if r.Changes() && r.Least == Viewer {
			t.Errorf("%s changes something and is open to viewers", r.Operation)
		}
	}
}
