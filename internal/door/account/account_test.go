package account

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"holdfast.example/docs/reference/openapi"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/session"
)

func door() *Door { return &Door{Issuer: &grant.Issuer{}} }

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

// TestEveryRefusal (AD01): the answer is a problem document that tells nothing
// private, and a token that is the matter is challenged.
func TestEveryRefusal(t *testing.T) {
	for _, k := range fault.Kinds() {
		w := httptest.NewRecorder()
		door().refuse(w, httptest.NewRequest(http.MethodGet, "/", nil), fault.Wrap(k, errors.New("SELECT secret"), "words"))
		var p problem.Problem
		err := json.Unmarshal(w.Body.Bytes(), &p)
		if err != nil || p.Status != w.Code || w.Code != statuses[k] || p.Detail != "words" || strings.Contains(w.Body.String(), "SELECT") {
			t.Errorf("%s: %d %s %v", k, w.Code, w.Body, err)
		}
		if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (w.Code == 401 && k != fault.InvalidClient || k == fault.InsufficientScope) {
			t.Errorf("%s: WWW-Authenticate %q", k, challenge)
		}
	}
}

// routes is a router that only remembers.
type routes map[string]http.Handler

func (r routes) Handle(path string, h http.Handler) { r[path] = h }

// TestEveryRouteIsDescribed: what is mounted and what the description says are
// the same, path by path and method by method.
func TestEveryRouteIsDescribed(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openapi.Account))
	if err != nil {
		t.Fatal(err)
	}
	mounted := routes{}
	door().Mount(mounted)
	for path, h := range mounted {
		if path == root || path+"/" == root { // for whatever is not there
			continue
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("BREW", path, nil))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("BREW %s was answered %d", path, w.Code)
		}
		var described []string
		if item := doc.Paths.Find(path); item != nil {
			for method := range item.Operations() {
				described = append(described, method)
			}
		}
		if slices.Contains(described, http.MethodGet) {
			described = append(described, http.MethodHead)
		}
		slices.Sort(described)
		if allow := w.Header().Get("Allow"); allow != strings.Join(described, ", ") {
			t.Errorf("%s allows %q, described are %v", path, allow, described)
		}
	}
	for path := range doc.Paths.Map() {
		if mounted[path] == nil {
			t.Errorf("%s is described and not mounted", path)
		}
	}
}

// TestListsOfTheDescription: the closed lists that the description repeats are
// those of the house.
func TestListsOfTheDescription(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openapi.Account))
	if err != nil {
		t.Fatal(err)
	}
	var reasons, events []any
	for _, r := range append(fault.Ends(), fault.Refusals()...) {
		reasons = append(reasons, string(r))
	}
	for _, n := range audit.Names() {
		if n.Sentence() != "" {
			events = append(events, string(n))
		}
	}
	schemas := doc.Components.Schemas
	for name, lists := range map[string][2][]any{
		"reasons": {schemas["Reason"].Value.Enum, reasons},
		"events":  {schemas["Event"].Value.Properties["name"].Value.Enum, events},
	} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("the %s described are\n%v, there are\n%v", name, lists[0], lists[1])
		}
	}
	limit := doc.Components.Parameters["Limit"].Value.Schema.Value
	if *limit.Max != MaxPage || limit.Default != float64(usualPage) || doc.Components.Parameters["Cursor"].Value.Schema.Value.MaxLength == nil {
		t.Errorf("limit is %v to %v, usually %v", *limit.Min, *limit.Max, limit.Default)
	}
}

// TestEveryWayInHasWords: people read how a device signed in.
func TestEveryWayInHasWords(t *testing.T) {
	alone := []string{"client_credentials", "refresh_token"} // open no session
	for _, name := range grant.Types() {
		if ways[grant.Registered(name)] == "" && !slices.Contains(alone, name) {
			t.Errorf("the grant %s opens sessions that nobody can read about; give it words in ways", name)
		}
	}
}

// names gives every session the same outside name.
type names struct{}

func (names) SID(id.Session) string             { return "sid" }
func (names) Session(string) (id.Session, bool) { return id.Session{}, true }

// TestAddressesOfOperators: people see where they and their apps called from,
// not where an operator sits.
func TestAddressesOfOperators(t *testing.T) {
	d := &Door{Issuer: &grant.Issuer{Sessions: &session.Keeper{Names: names{}}, Clients: &client.Registry{}}}
	from := netip.MustParseAddr("192.0.2.7")
	for by, want := range map[audit.Actor]string{audit.ByUser: "192.0.2.7", audit.ByClient: "192.0.2.7", audit.ByOperator: "", audit.BySystem: ""} {
		e := d.tell(&ask{}, audit.Event{Name: audit.SessionEnded, SID: "sid", Who: audit.Who{Actor: by, From: from}})
		if e.Address != want || e.By != by || !e.ThisDevice {
			t.Errorf("%+v", e)
		}
	}
}
