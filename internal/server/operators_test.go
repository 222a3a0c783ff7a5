package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"holdfast.example/docs/reference/openapi"
	"holdfast.example/internal/door/admin"
)

// This file holds the operators' API to the table of its routes. Tests that walk
// the table need a sample for every route, so a route cannot be added without
// being walked.

// operatorsFrom is the address that operators over TCP come from.
const operatorsFrom = "198.51.100.7"

// opsSecret is the secret of the operators' client.
const opsSecret = "ops-secret-of-enough-length"

// desk is a house with an operators' client and one person to look after.
type desk struct {
	*testing.T
	*house
	// user is the id of the person, sid a session of hers, access its token.
	user, sid, access string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{T: t, house: forTest(t)}
	d.must(201, "PUT", "/admin/v1/clients/ops", `{"type":"confidential","secret":"`+opsSecret+`","grants":["client_credentials"],
		"scopes":["admin","admin.viewer","admin.support","admin.clients","admin.owner","read"]}`)
	d.must(201, "PUT", "/admin/v1/clients/shop", `{"type":"confidential","secret":"shop-secret-of-enough-length","grants":["client_credentials"],"scopes":["read"]}`)
	var u struct{ ID string }
	d.decode(d.must(201, "POST", "/admin/v1/users", `{"username":"nora","email":"nora@example.com","password":"noras-password"}`), &u)
	d.user = u.ID
	d.sid, d.access = d.signIn("nora", "noras-password", "Nora's phone")
	return d
}

// signIn signs a person in at demo-native.
func (d *desk) signIn(user, password, device string) (sid, access string) {
	d.Helper()
	a := d.form(url.Values{"grant_type": {"password"}, "client_id": {"demo-native"}, "username": {user}, "password": {password}, "device_name": {device}})
	var got struct {
		Access string `json:"access_token"`
	}
	d.decode(a, &got)
	return sidOf(got.Access), got.Access
}

// form asks the token endpoint.
func (d *desk) form(f url.Values) answer {
	d.Helper()
	a, err := d.send(http.MethodPost, "/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(f.Encode()), nil)
	if err != nil || a.status != http.StatusOK {
		d.Fatalf("token: %d %s %v", a.status, a.body, err)
	}
	return a
}

// token is one of the operators' client with these scopes.
func (d *desk) token(scope string) string {
	d.Helper()
	var got struct {
		Access string `json:"access_token"`
	}
	d.decode(d.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {"ops"}, "client_secret": {opsSecret}, "scope": {scope}}), &got)
	return got.Access
}

// must calls through the socket and wants a status.
func (d *desk) must(status int, method, path, body string) answer {
	d.Helper()
	a, err := d.operate(method, path, strings.NewReader(body))
	if err != nil || a.status != status {
		d.Fatalf("%s %s: %d %s %v", method, path, a.status, a.body, err)
	}
	return a
}

// remote calls over TCP. header is name, value, name, value.
func (d *desk) remote(token, method, path, body string, header ...string) answer {
	d.Helper()
	r, err := http.NewRequest(method, "http://admin.test"+path, strings.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	r.RemoteAddr = operatorsFrom + ":4711"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	if strings.HasPrefix(path, "/admin/v1/apply") {
		r.Header.Set("Content-Type", "application/toml")
	}
	rec := httptest.NewRecorder()
	d.server.Operators().ServeHTTP(rec, r)
	a := answer{rec.Code, rec.Result().Header, rec.Body.Bytes()}
	if method == http.MethodHead {
		return a
	}
	r.Header.Set("Authorization", "Bearer x") // the description of a call without one is a 401
	err = described(true, r, []byte(body), a)
	if err != nil {
		d.Error(err)
	}
	return a
}

func (d *desk) decode(a answer, into any) {
	d.Helper()
	err := json.Unmarshal(a.body, into)
	if err != nil {
		d.Fatalf("%d %s: %v", a.status, a.body, err)
	}
}

// sample is one good call of a route.
type sample struct{ path, body string }

// samples has one for every route of the table.
func (d *desk) samples() map[string]sample {
	user, sid := "/admin/v1/users/"+d.user, d.sid
	return map[string]sample{
		"status": {"/admin/v1/status", ""}, "limits": {"/admin/v1/limits", ""}, "description": {"/admin/v1/openapi.yaml", ""},
		"check": {"/admin/v1/check", ""}, "why": {"/admin/v1/why", `{"token":"x"}`},
		"apply":     {"/admin/v1/apply?file=more.toml", "[[users]]\nusername = \"manifested\"\npassword = \"a-good-password\"\n"},
		"listUsers": {"/admin/v1/users", ""}, "createUser": {"/admin/v1/users", `{"username":"otto","email":"otto@example.com","password":"ottos-password"}`},
		"getUser": {user, ""}, "updateUser": {user, `{"name":"Nora N."}`},
		"enableUser": {user + "/enable", ""}, "disableUser": {user + "/disable", ""},
		"setPassword": {user + "/password", `{"password":"another-password"}`}, "signOutUser": {user + "/sign-out", "{}"},
		"listUserLinks": {user + "/links", ""}, "linkUser": {user + "/links", `{"upstream":"demo-google","subject":"g-1"}`}, "unlinkUser": {user + "/links/demo-google", ""},
		"listUpstreams": {"/admin/v1/upstreams", ""}, "disableUpstream": {"/admin/v1/upstreams/demo-google/disable", ""}, "enableUpstream": {"/admin/v1/upstreams/demo-google/enable", ""},
		"listUserSessions": {user + "/sessions", ""}, "endUserSession": {user + "/sessions/" + sid + "/end", ""},
		"listClients": {"/admin/v1/clients", ""}, "getClient": {"/admin/v1/clients/shop", ""},
		"putClient":          {"/admin/v1/clients/shop", `{"type":"confidential","name":"Shop","grants":["client_credentials"],"scopes":["read"]}`},
		"rotateClientSecret": {"/admin/v1/clients/shop/secret", ""}, "disableClient": {"/admin/v1/clients/shop/disable", ""},
		"enableClient": {"/admin/v1/clients/shop/enable", ""}, "deleteClient": {"/admin/v1/clients/shop", ""},
		"listSessions": {"/admin/v1/sessions", ""}, "getSession": {"/admin/v1/sessions/" + sid, ""}, "endSession": {"/admin/v1/sessions/" + sid + "/end", ""},
		"listKeys": {"/admin/v1/keys", ""}, "rotateKey": {"/admin/v1/keys/rotate", `{"purpose":"sign","alg":"ES256","force":true}`},
		"dropKey": {"/admin/v1/keys/drop", `{"key":"` + d.spareKey() + `"}`}, "listAudit": {"/admin/v1/audit", ""},
	}
}

// spareKey is the kid of a key that nobody misses.
func (d *desk) spareKey() string {
	for _, k := range d.server.Keys.Keys() {
		if k.Alg == "ES256" && k.State == "next" {
			return k.KID
		}
	}
	return "none"
}

// each calls f with every route of the table and its sample.
func (d *desk) each(f func(r admin.Route, s sample)) {
	d.Helper()
	samples := d.samples()
	for _, r := range admin.Routes() {
		s, ok := samples[r.Operation]
		if !ok {
			d.Fatalf("the route %s has no sample; add one", r.Operation)
		}
		f(r, s)
	}
}

// TestEveryRouteIsDescribed: the table and the description say the same, both
// ways: paths, methods, names, roles, parameters.
func TestEveryRouteIsDescribed(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData([]byte(openapi.Admin))
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]bool{}
	for _, r := range admin.Routes() {
		table[r.Method+" "+r.Pattern] = true
		item := doc.Paths.Value(r.Pattern)
		if item == nil || item.GetOperation(r.Method) == nil {
			t.Errorf("%s %s is not described in docs/reference/openapi/admin.yaml", r.Method, r.Pattern)
			continue
		}
		op := item.GetOperation(r.Method)
		if op.OperationID != r.Operation || op.Extensions["x-holdfast-role"] != string(r.Least) {
			t.Errorf("%s %s is described as %s for %v, it is %s for %s", r.Method, r.Pattern, op.OperationID, op.Extensions["x-holdfast-role"], r.Operation, r.Least)
		}
		described := map[string]bool{}
		for _, p := range op.Parameters {
			described[p.Value.In+" "+p.Value.Name] = true
		}
		for _, name := range r.Query {
			if !described["query "+name] {
				t.Errorf("%s reads %s, which is not described", r.Operation, name)
			}
			delete(described, "query "+name)
		}
		if described["header Idempotency-Key"] != (r.Method == http.MethodPost && r.Changes()) {
			t.Errorf("%s: Idempotency-Key is described: %v", r.Operation, described["header Idempotency-Key"])
		}
		for name := range described {
			if strings.HasPrefix(name, "query ") {
				t.Errorf("%s does not read %s, which is described", r.Operation, name)
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !table[method+" "+path] {
				t.Errorf("%s %s is described, and no route", method, path)
			}
		}
	}
}

// TestNothingWithoutAToken (ADMIN-01): every route in every spelling, and every
// path that is none, refuses who has no token, a token without a scope, one of
// another audience, an expired one and garbage; and nothing happens.
func TestNothingWithoutAToken(t *testing.T) {
	d := newDesk(t)
	expired := d.token("admin.owner")
	d.clock.advance(16 * 60e9)
	d.must(201, "PUT", "/admin/v1/clients/elsewhere", `{"type":"confidential","secret":"`+opsSecret+`","grants":["client_credentials"],
		"scopes":["admin.owner"],"audiences":["https://api.example.com"]}`)
	var other struct {
		Access string `json:"access_token"`
	}
	d.decode(d.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {"elsewhere"}, "client_secret": {opsSecret}}), &other)
	_, person := d.signIn("nora", "noras-password", "Nora's phone")
	before := d.events("")
	for name, c := range map[string]struct {
		token  string
		status int
		word   string
	}{
		"no token": {"", 401, ""}, "garbage": {"x.y.z", 401, "invalid_token"}, "expired": {expired, 401, "invalid_token"},
		"another audience": {other.Access, 401, "invalid_token"}, "a user's token": {person, 403, "insufficient_scope"},
		"no administrative scope": {d.token("read"), 403, "insufficient_scope"},
	} {
		check := func(method, path, body string) {
			t.Helper()
			a := d.remote(c.token, method, path, body)
			challenge := a.header.Get("WWW-Authenticate")
			if a.status != c.status || !strings.HasPrefix(challenge, `Bearer realm="`+testIssuer+`"`) ||
				(c.word == "") == strings.Contains(challenge, "error=") || !strings.Contains(challenge, c.word) {
				t.Errorf("%s: %s %s: %d %q", name, method, path, a.status, challenge)
			}
		}
		d.each(func(r admin.Route, s sample) {
			check(r.Method, s.path, s.body)
			path, query, _ := strings.Cut(s.path, "?")
			for _, spelling := range []string{path + "/", "/" + path, strings.Replace(path, "/v1/", "/v1//", 1), strings.Replace(path, "/v1/", "%2fv1%2f", 1),
				strings.ToUpper(path), path + "/../status", path + "%00"} {
				check(r.Method, spelling+"?"+query, s.body)
			}
			for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "PROPFIND"} {
				check(method, s.path, "")
			}
		})
		check("GET", "/admin/v1/nothing", "")
		check("GET", "/", "")
		check("GET", "/oauth2/jwks", "")
	}
	if after := d.events(""); len(after) != len(before) {
		t.Errorf("refused calls left %d rows in the audit", len(after)-len(before))
	}
}

// events searches the audit through the socket.
func (d *desk) events(filter string) []admin.Event {
	d.Helper()
	var got struct{ Events []admin.Event }
	d.decode(d.must(200, "GET", "/admin/v1/audit?limit=1000&"+filter, ""), &got)
	return got.Events
}

// TestTokensInOtherPlaces (RFC 6750): a token counts in one header, once.
func TestTokensInOtherPlaces(t *testing.T) {
	d := newDesk(t)
	token := d.token("admin.viewer")
	if a := d.remote("", "GET", "/admin/v1/status?access_token="+token, ""); a.status != 401 {
		t.Errorf("in the query: %d", a.status)
	}
	if a := d.remote(token, "GET", "/admin/v1/status", "", "Authorization", "Bearer "+token); a.status != 400 {
		t.Errorf("twice: %d", a.status)
	}
	if a := d.remote("", "GET", "/admin/v1/status", "", "Authorization", "bEARER "+token); a.status != 200 {
		t.Errorf("in another case: %d %s", a.status, a.body)
	}
	if a := d.remote("", "GET", "/admin/v1/status", "", "Authorization", "Basic "+token); a.status != 401 {
		t.Errorf("another scheme: %d", a.status)
	}
}

// TestRoleTable (ADMIN-02): each role at each route, with all other scopes
// around it, as the table says.
func TestRoleTable(t *testing.T) {
	reach := map[admin.Role][]admin.Role{ // who reaches what is open from a role on
		admin.Viewer:  {admin.Viewer, admin.Support, admin.Clients, admin.Owner},
		admin.Support: {admin.Support, admin.Owner},
		admin.Clients: {admin.Clients, admin.Owner},
		admin.Owner:   {admin.Owner},
	}
	d := newDesk(t)
	for _, role := range admin.Roles() {
		token := d.token("read " + role.Scope())
		d.each(func(r admin.Route, s sample) {
			may := false
			for _, one := range reach[r.Least] {
				may = may || one == role
			}
			if may && r.Changes() {
				s.path, s.body = strings.Replace(s.path, d.user, "nobody", 1), `{"unknown":1}` // what is let in need not happen here
			}
			a := d.remote(token, r.Method, s.path, s.body)
			if (a.status != 401 && a.status != 403) != may {
				t.Errorf("%s at %s: %d %s", role, r.Operation, a.status, a.body)
			}
			if a.status == 403 && !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="`+r.Least.Scope()+`"`) {
				t.Errorf("%s at %s is not told which scope is needed: %v", role, r.Operation, a.header)
			}
		})
	}
	for scope, status := range map[string]int{"admin": 200, "admin.owner": 200, "admin.viewer admin.clients": 403, "admin.support admin.viewer": 403} {
		if a := d.remote(d.token(scope), "GET", "/admin/v1/check", ""); a.status != status {
			t.Errorf("check with %s: %d", scope, a.status)
		}
	}
}

// TestNoRoleMakesItselfAnother (ADMIN-02): what makes operators is changed by
// owners alone.
func TestNoRoleMakesItselfAnother(t *testing.T) {
	d := newDesk(t)
	support, clients, owner := d.token("admin.support admin.clients"), d.token("admin.clients"), d.token("admin.owner")
	for _, c := range []struct{ token, method, path, body string }{
		{support, "POST", "/admin/v1/users/admin/password", `{"password":"mine-from-now-on"}`},
		{support, "PATCH", "/admin/v1/users/admin", `{"email":"mine@example.com"}`},
		{support, "POST", "/admin/v1/users/admin/disable", ""},
		{clients, "POST", "/admin/v1/clients/ops/secret", ""},
		{clients, "POST", "/admin/v1/clients/ops/disable", ""},
		{clients, "DELETE", "/admin/v1/clients/ops", ""},
		{clients, "PUT", "/admin/v1/clients/ops", `{"type":"confidential","grants":["client_credentials"],"scopes":["read"]}`},
		{clients, "PUT", "/admin/v1/clients/shop", `{"type":"confidential","grants":["client_credentials"],"scopes":["read","admin.owner"]}`},
		{clients, "PUT", "/admin/v1/clients/mine", `{"type":"confidential","grants":["client_credentials"],"scopes":["admin"]}`},
	} {
		if a := d.remote(c.token, c.method, c.path, c.body); a.status != 403 {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	for _, body := range []string{`{"staff":true}`, `{"superuser":true}`} {
		if a := d.remote(owner, "PATCH", "/admin/v1/users/nora", body); a.status != 400 {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := d.remote(owner, "PUT", "/admin/v1/clients/phone", `{"type":"public","scopes":["admin.viewer"],"redirect_uris":["https://a.example/cb"]}`); a.status != 400 || !bytes.Contains(a.body, []byte(`"scopes[0]"`)) {
		t.Errorf("a public client of operators: %d %s", a.status, a.body)
	}
	if a := d.remote(owner, "POST", "/admin/v1/clients/ops/secret", ""); a.status != 200 {
		t.Errorf("the owner: %d %s", a.status, a.body)
	}
}

// TestUsersActAsWhatTheyAre: any user can sign in at an application, so a scope
// makes an operator only of staff.
func TestUsersActAsWhatTheyAre(t *testing.T) {
	d := newDesk(t)
	d.must(201, "PUT", "/admin/v1/clients/console", `{"type":"confidential","first_party":true,"secret":"`+opsSecret+`",
		"grants":["password","refresh_token"],"scopes":["admin.viewer","admin.support","admin.clients","admin.owner"]}`)
	d.must(200, "POST", "/admin/v1/apply", "[[users]]\nusername = \"stella\"\npassword = \"stellas-password\"\nstaff = true\n"+
		"[[users]]\nusername = \"sue\"\npassword = \"sues-password\"\nsuperuser = true\n")
	for user, want := range map[string][3]int{"nora": {403, 403, 403}, "stella": {200, 200, 403}, "sue": {200, 200, 200}} {
		var got struct {
			Access string `json:"access_token"`
		}
		d.decode(d.form(url.Values{"grant_type": {"password"}, "client_id": {"console"}, "client_secret": {opsSecret}, "username": {user}, "password": {user + "s-password"}}), &got)
		for i, c := range []struct{ method, path string }{{"GET", "/admin/v1/status"}, {"POST", "/admin/v1/users/demo/enable"}, {"GET", "/admin/v1/check"}} {
			if a := d.remote(got.Access, c.method, c.path, ""); a.status != want[i] {
				t.Errorf("%s at %s: %d, want %d", user, c.path, a.status, want[i])
			}
		}
	}
}

// TestThePublicListenerHasNoAdmin: whatever is asked, and with whatever token.
func TestThePublicListenerHasNoAdmin(t *testing.T) {
	d := newDesk(t)
	for _, header := range []http.Header{nil, {"Authorization": {"Bearer " + d.token("admin.owner")}}} {
		for _, r := range admin.Routes() {
			req, err := http.NewRequest(r.Method, d.http.URL+r.Pattern, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header
			res, err := d.http.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d", r.Method, r.Pattern, res.StatusCode)
			}
		}
	}
}

// TestFirstOperator (ADMIN-09): before an operators' client is declared nothing
// works over TCP; it is declared through the socket, and there is no default one.
func TestFirstOperator(t *testing.T) {
	d := &desk{T: t, house: forTest(t)}
	for _, c := range d.server.Clients.All() {
		if c.Administers() {
			t.Errorf("the client %s of the demo manifest makes operators", c.ID)
		}
	}
	var service struct {
		Access string `json:"access_token"`
	}
	d.decode(d.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {"demo-service"}, "client_secret": {"demo-service-secret"}}), &service)
	if a := d.remote(service.Access, "PUT", "/admin/v1/clients/ops", `{"type":"confidential","grants":["client_credentials"],"scopes":["admin"]}`); a.status != 403 {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	var made struct {
		Secret string `json:"client_secret"`
	}
	d.decode(d.must(201, "PUT", "/admin/v1/clients/ops", `{"type":"confidential","grants":["client_credentials"],"scopes":["admin"]}`), &made)
	var got struct {
		Access string `json:"access_token"`
	}
	d.decode(d.form(url.Values{"grant_type": {"client_credentials"}, "client_id": {"ops"}, "client_secret": {made.Secret}}), &got)
	if a := d.remote(got.Access, "GET", "/admin/v1/clients/ops", ""); a.status != 200 || bytes.Contains(a.body, []byte("secret")) {
		t.Errorf("after: %d %s", a.status, a.body)
	}
}
