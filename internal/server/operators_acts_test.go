package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/door/admin"
	"holdfast.example/internal/server"
)

// TestIdsOfOthers (ADMIN-03): a session is found below its own user alone.
func TestIdsOfOthers(t *testing.T) {
	d := newDesk(t)
	before := d.must(200, "GET", "/admin/v1/sessions/"+d.sid, "")
	d.must(404, "POST", "/admin/v1/users/demo/sessions/"+d.sid+"/end", "")
	d.must(404, "POST", "/admin/v1/users/"+d.user+"/sessions/"+strings.Repeat("A", len(d.sid))+"/end", "")
	d.must(400, "POST", "/admin/v1/users/demo/sign-out", `{"except":"`+d.sid+`"}`)
	d.must(400, "POST", "/admin/v1/users/demo/password", `{"password":"another-password","except":"`+d.sid+`"}`)
	if after := d.must(200, "GET", "/admin/v1/sessions/"+d.sid, ""); !bytes.Equal(before.body, after.body) {
		t.Errorf("it changed: %s, then %s", before.body, after.body)
	}
	d.must(200, "POST", "/admin/v1/users/nora/sessions/"+d.sid+"/end", "")
}

// TestUnknownMembers (ADMIN-04): at every route a member that it does not read is
// refused, and so is a parameter; nothing changes.
func TestUnknownMembers(t *testing.T) {
	d := newDesk(t)
	token := d.token("admin.owner")
	before := d.events("")
	d.each(func(r admin.Route, s sample) {
		if a := d.remote(token, r.Method, s.path+"?"[:1-min(1, strings.Count(s.path, "?"))]+"&order_by=id", s.body); a.status != 400 {
			t.Errorf("%s with an unknown parameter: %d %s", r.Operation, a.status, a.body)
		}
		if r.Method == http.MethodGet {
			return
		}
		for _, extra := range []string{"password_hash", "is_admin", "staff", "superuser", "id_", "created_at", "tenant", "version", "SecretHash", "epoch"} {
			body := s.body
			switch {
			case r.Operation == "apply":
				body = extra + " = 1\n" + body
			case body == "" || body == "{}":
				body = `{"` + extra + `":true}`
			default:
				body = `{"` + extra + `":true,` + body[1:]
			}
			if a := d.remote(token, r.Method, s.path, body); a.status != 400 {
				t.Errorf("%s with %s: %d %s", r.Operation, extra, a.status, a.body)
			}
		}
	})
	if after := d.events(""); len(after) != len(before) {
		t.Errorf("refused calls left %d rows in the audit", len(after)-len(before))
	}
}

// TestNoSecretIsShown (ADMIN-06): no answer to a question, no audit row and no
// log line has a secret in it.
func TestNoSecretIsShown(t *testing.T) {
	d := newDesk(t)
	var fresh struct {
		Secret string `json:"client_secret"`
	}
	d.decode(d.must(200, "POST", "/admin/v1/clients/shop/secret", ""), &fresh)
	d.must(200, "POST", "/admin/v1/users/nora/password", `{"password":"noras-next-password"}`)
	secrets := []string{opsSecret, "shop-secret", "noras-password", "noras-next-password", fresh.Secret, d.root.Text().Reveal(), d.access,
		"hmac-sha256", "$argon2", `"password_hash"`, "SecretHash", "PRIVATE", `"d":`}
	look := func(where, text string) {
		t.Helper()
		for _, s := range secrets {
			encoded := base64.StdEncoding.EncodeToString([]byte(s))
			if strings.Contains(text, s) || strings.Contains(text, url.QueryEscape(s)) || len(s) > 8 && strings.Contains(text, encoded[:len(encoded)-4]) {
				t.Errorf("%s shows %.12s…", where, s)
			}
		}
	}
	d.each(func(r admin.Route, s sample) {
		if r.Method == http.MethodGet && r.Operation != "description" {
			look(r.Operation, string(d.must(200, r.Method, s.path, "").body))
		}
	})
	metrics, err := d.metrics()
	if err != nil {
		t.Fatal(err)
	}
	look("/metrics", metrics)
	look("the log", d.log.String())
	if a := d.must(200, "GET", "/admin/v1/limits", ""); !bytes.Contains(a.body, []byte(`{"key":"root_secret","value":"",`)) || !bytes.Contains(a.body, []byte(`"client":"ops"`)) {
		t.Errorf("the limits are %s", a.body)
	}
}

// TestEveryChangeIsTold (ADMIN-07): each route that changes something leaves rows
// that say who did what, when and from where, with what was before and after.
func TestEveryChangeIsTold(t *testing.T) {
	tells := map[string]struct{ name, detail string }{
		"apply": {"user_created", `username: "" -> "manifested"`}, "createUser": {"user_created", `email: "" -> "otto@example.com"`},
		"updateUser": {"user_updated", `name: "" -> "Nora N."`}, "disableUser": {"user_disabled", ""}, "enableUser": {"user_enabled", ""},
		"setPassword": {"password_changed", "password: changed"}, "signOutUser": {"signed_out_everywhere", ""},
		"endUserSession": {"session_ended", "device: Nora's phone"}, "endSession": {"session_ended", "device: Nora's phone"},
		"putClient": {"client_updated", `Name: "shop" -> "Shop"`}, "deleteClient": {"client_deleted", ""},
		"rotateClientSecret": {"client_secret_rotated", "secret: changed"}, "disableClient": {"client_disabled", "Disabled: false -> true"},
		"enableClient": {"client_enabled", "Disabled: true -> false"}, "rotateKey": {"key_rotated", "purpose: sign"}, "dropKey": {"key_dropped", "alg: ES256"},
		"linkUser": {"upstream_linked", "subject: g-1"}, "unlinkUser": {"upstream_unlinked", ""},
		"disableUpstream": {"upstream_updated", "disabled: false -> true"}, "enableUpstream": {"upstream_updated", "disabled: true -> false"},
	}
	d := newDesk(t)
	token := d.token("admin.owner")
	d.each(func(r admin.Route, s sample) {
		if !r.Changes() {
			return
		}
		want, ok := tells[r.Operation]
		if !ok {
			t.Errorf("%s: say which event tells of it", r.Operation)
			return
		}
		switch r.Operation { // what stands before the act
		case "enableUser":
			d.must(200, "POST", "/admin/v1/users/nora/disable", "")
		case "enableClient":
			d.must(200, "POST", "/admin/v1/clients/shop/disable", "")
		case "endSession", "endUserSession":
			d.must(200, "POST", "/admin/v1/users/nora/enable", "")
			d.must(200, "POST", "/admin/v1/users/nora/password", `{"password":"noras-password"}`)
			sid, _ := d.signIn("nora", "noras-password", "Nora's phone")
			s.path = strings.Replace(s.path, d.sid, sid, 1)
		case "disableUser":
			d.must(200, "POST", "/admin/v1/users/nora/enable", "")
		case "disableClient", "deleteClient":
			d.must(200, "POST", "/admin/v1/clients/shop/enable", "")
		case "dropKey":
			s.body = `{"key":"` + d.spareKey() + `"}`
		}
		if r.Operation == "deleteClient" { // last of its kind: put it back
			defer d.must(201, "PUT", "/admin/v1/clients/shop", `{"type":"confidential","secret":"shop-secret-of-enough-length","grants":["client_credentials"],"scopes":["read"]}`)
		}
		was := len(d.events(""))
		d.clock.advance(time.Second)
		if a := d.remote(token, r.Method, s.path, s.body); a.status >= 300 {
			t.Errorf("%s: %d %s", r.Operation, a.status, a.body)
			return
		}
		rows := d.events("")
		rows = rows[:len(rows)-was]
		i := slices.IndexFunc(rows, func(e admin.Event) bool { return e.Name == want.name })
		if i < 0 {
			t.Errorf("%s left %d rows, none of them %s: %+v", r.Operation, len(rows), want.name, rows)
			return
		}
		for _, e := range rows {
			if e.Actor != "operator" || e.ActorID != "ops" || e.Via != "ops" || e.Address != operatorsFrom || e.At != d.clock.Now().UTC().Format(time.RFC3339) {
				t.Errorf("%s: %+v", r.Operation, e)
			}
		}
		var details []string
		for name, value := range rows[i].Details {
			details = append(details, name+": "+value)
		}
		if want.detail != "" && !slices.Contains(details, want.detail) {
			t.Errorf("%s tells %q, not %q", r.Operation, details, want.detail)
		}
	})
	if e := d.events("name=user_created&user=" + d.user); len(e) == 0 || e[len(e)-1].ActorID != "socket" || e[len(e)-1].Address != "" {
		t.Errorf("the first account was made through the socket: %+v", e)
	}
}

// TestAuditIsOnlyAddedTo (ADMIN-07): the API has no way to change a row.
func TestAuditIsOnlyAddedTo(t *testing.T) {
	for _, r := range admin.Routes() {
		if strings.HasPrefix(r.Pattern, "/admin/v1/audit") && r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.Pattern)
		}
	}
}

// injections are what scanners and thieves put where a name is expected.
var injections = []string{
	"'", "''", `"`, "`", "' OR '1'='1", "' OR 1=1 --", `" OR ""="`, "1; DROP TABLE user", "'; DELETE FROM audit; --", "') UNION SELECT password_hash FROM user --",
	"1 UNION SELECT 1,2,3", "%' AND 1=0 UNION ALL SELECT 1 --", "admin'--", "' AND sleep(5)--", "1 OR pg_sleep(5)", "' || (SELECT doc FROM client) || '", "x' AND substr(facts,1,1)='a",
	"id DESC", "created_at; SELECT 1", "user.password_hash", "password_hash asc", "(CASE WHEN 1=1 THEN 1 ELSE 2 END)", "%", "%%", "_", "\\", "\\'", "\x00", "a\x00b", "\x1a", "\r\n", "a\r\nSet-Cookie: x=1",
	"<script>alert(1)</script>", "{{7*7}}", "${7*7}", "#{7*7}", "${jndi:ldap://x/a}", "../../etc/passwd", "..%2f..%2f", "file:///etc/passwd", "http://169.254.169.254/", "|id", "; id", "$(id)", "&& id",
	"*)(uid=*", `{"$ne":null}`, `{"$gt":""}`, "[]", "{}", "null", "undefined", "NaN", "-1", "0", "99999999999999999999", "1e9", "0x10", "\xff\xfe", "\u202e", "\ufeff", strings.Repeat("A", 5000), strings.Repeat("é", 600),
}

// TestInjections (ADMIN-08): in every filter, every cursor and every path, what
// looks like SQL is a name that nobody has, or refused.
func TestInjections(t *testing.T) {
	if len(injections) < 60 {
		t.Fatalf("%d injections", len(injections))
	}
	d := newDesk(t)
	token := d.token("admin.owner")
	ask := func(method, path, body, what string) answer {
		t.Helper()
		a := d.remote(token, method, path, body)
		if a.status != 200 && a.status != 400 && a.status != 404 {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		return a
	}
	d.each(func(r admin.Route, s sample) {
		for _, name := range r.Query {
			for _, in := range injections {
				if r.Operation == "apply" {
					continue // file is only a name in errors
				}
				a := ask(r.Method, s.path+"?"+name+"="+url.QueryEscape(in), "", r.Operation+" "+name+" "+strconv.Quote(in))
				if a.status == 404 || a.status == 200 && (name == "cursor" || name == "limit") {
					t.Errorf("%s %s=%q: %d", r.Operation, name, in, a.status)
				}
				if a.status == 200 && name != "device" && !bytes.Contains(a.body, []byte(":[]")) {
					t.Errorf("%s %s=%q found %s", r.Operation, name, in, a.body)
				}
			}
		}
	})
	for _, in := range injections {
		for _, path := range []string{"/admin/v1/users/%s", "/admin/v1/clients/%s", "/admin/v1/sessions/%s", "/admin/v1/users/%s/sessions"} {
			if a := ask("GET", strings.Replace(path, "%s", url.PathEscape(in), 1), "", path+" "+strconv.Quote(in)); a.status == 200 {
				t.Errorf("%s with %q: %s", path, in, a.body)
			}
		}
	}
	if n := len(d.events("")); n == 0 {
		t.Error("the audit is gone")
	}
}

// page is any list.
type page struct {
	Users, Clients, Sessions, Events []json.RawMessage
	Next                             string `json:"next_cursor"`
}

func (p page) rows() []json.RawMessage {
	return slices.Concat(p.Users, p.Clients, p.Sessions, p.Events)
}

// TestPages (ADMIN-08, AD05): every list gives every row on exactly one page,
// and its cursor is good for it and for nothing and nobody else.
func TestPages(t *testing.T) {
	d := newDesk(t)
	for range 4 {
		d.clock.advance(time.Second)
		d.signIn("nora", "noras-password", "Nora's phone")
	}
	owner, viewer := d.token("admin.owner"), d.token("admin.viewer")
	lists := []string{"/admin/v1/users?", "/admin/v1/clients?", "/admin/v1/sessions?", "/admin/v1/sessions?device=PHONE&user=nora&", "/admin/v1/sessions?address=127.0.0.1&",
		"/admin/v1/users/nora/sessions?", "/admin/v1/users/nora/sessions?ended=true&", "/admin/v1/audit?", "/admin/v1/audit?user=nora&name=signed_in&"}
	cursors := map[string]string{}
	for _, list := range lists {
		var whole page
		d.decode(d.remote(owner, "GET", list+"limit=1000", ""), &whole)
		if len(whole.rows()) < 3 {
			t.Errorf("%s has %d rows", list, len(whole.rows()))
		}
		var got []json.RawMessage
		next := ""
		for range 100 {
			var p page
			a := d.remote(owner, "GET", list+"limit=2"+next, "")
			if a.status != 200 {
				t.Fatalf("%s: %d %s", list, a.status, a.body)
			}
			d.decode(a, &p)
			got = append(got, p.rows()...)
			if p.Next == "" {
				break
			}
			cursors[list] = p.Next
			next = "&cursor=" + p.Next
		}
		if len(got) != len(whole.rows()) || !slices.EqualFunc(got, whole.rows(), func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%s: %d rows on pages, %d at once", list, len(got), len(whole.rows()))
		}
	}
	for _, list := range lists {
		good := cursors[list]
		if a := d.remote(viewer, "GET", list+"cursor="+good, ""); a.status != 200 { // the same client: the same caller
			t.Errorf("%s: the same caller with another role: %d", list, a.status)
		}
		if a, err := d.operate("GET", list+"cursor="+good, nil); err != nil || a.status != 400 {
			t.Errorf("%s: another caller's cursor: %d %v", list, a.status, err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(good)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(raw); i += 9 { // each byte: internal/cursor
			flipped := slices.Clone(raw)
			flipped[i] ^= 0x40
			if a := d.remote(owner, "GET", list+"cursor="+base64.RawURLEncoding.EncodeToString(flipped), ""); a.status != 400 {
				t.Errorf("%s: byte %d flipped: %d", list, i, a.status)
			}
		}
		for _, other := range lists {
			if a := d.remote(owner, "GET", other+"cursor="+good, ""); (a.status == 200) != (other == list) {
				t.Errorf("a cursor of %s at %s: %d", list, other, a.status)
			}
		}
	}
}

// TestSearch: sessions by user, client, device and address.
func TestSearch(t *testing.T) {
	d := newDesk(t)
	d.signIn("demo", "demo-password", "Tablet")
	for query, want := range map[string]int{
		"user=nora": 1, "user=" + d.user: 1, "user=nora@example.com": 1, "user=nobody": 0, "client=demo-native": 2, "client=shop": 0,
		"device=nora%27s": 1, "device=TABLET": 1, "device=watch": 0, "address=127.0.0.1": 2, "address=::ffff:127.0.0.1": 2,
		"address=127.0.0.1&user=demo": 1, "address=127.0.0.1&device=tab": 1, "address=127.0.0.1&client=shop": 0, "address=192.0.2.1": 0,
	} {
		var p page
		d.decode(d.must(200, "GET", "/admin/v1/sessions?"+query, ""), &p)
		if len(p.Sessions) != want {
			t.Errorf("%s finds %d sessions, want %d", query, len(p.Sessions), want)
		}
	}
	d.must(200, "POST", "/admin/v1/sessions/"+d.sid+"/end", "")
	for query, want := range map[string]int{"user=nora": 0, "user=nora&ended=true": 1, "address=127.0.0.1": 1, "address=127.0.0.1&ended=true": 2} {
		var p page
		d.decode(d.must(200, "GET", "/admin/v1/sessions?"+query, ""), &p)
		if len(p.Sessions) != want {
			t.Errorf("after the end %s finds %d sessions, want %d", query, len(p.Sessions), want)
		}
	}
	for query, want := range map[string]int{"before=2026-11-22T08:00:00Z": 0, "before=2026-11-22T08:00:01Z&name=signed_in": 2, "sid=" + d.sid: 2, "address=127.0.0.1&user=demo": 1, "name=session_ended": 1} {
		if got := d.events(query); len(got) != want {
			t.Errorf("audit %s finds %d events, want %d", query, len(got), want)
		}
	}
}

// TestIdempotencyKeys (AD04): the same call with the same key happens once.
func TestIdempotencyKeys(t *testing.T) {
	d := newDesk(t)
	owner := d.token("admin.owner")
	rotate := func(token, key, path, body string) answer {
		t.Helper()
		return d.remote(token, "POST", path, body, "Idempotency-Key", key)
	}
	const path = "/admin/v1/clients/shop/secret"
	first := rotate(owner, "a-key", path, "{}")
	again := rotate(owner, "a-key", path+"/", "{}")
	if first.status != 200 || again.status != 200 || !bytes.Equal(first.body, again.body) || first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	if n := len(d.events("name=client_secret_rotated")); n != 1 {
		t.Errorf("it happened %d times", n)
	}
	if a := rotate(owner, "a-key", path, "{ }"); a.status != 422 || !bytes.Contains(a.body, []byte("idempotency_key_reused")) {
		t.Errorf("another body: %d %s", a.status, a.body)
	}
	for name, a := range map[string]answer{"another key": rotate(owner, "b-key", path, "{}"), "another route": rotate(owner, "a-key", "/admin/v1/clients/demo-service/secret", "{}")} {
		if a.status != 200 || bytes.Equal(a.body, first.body) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a, err := d.operate("POST", path, strings.NewReader("{}")); err != nil || a.status != 200 {
		t.Errorf("no key: %d %v", a.status, err)
	}
	for _, bad := range []string{"", " ", "a b", "é", strings.Repeat("k", 256), "a\tb"} {
		if a := rotate(owner, bad, path, ""); a.status != 400 {
			t.Errorf("the key %q: %d", bad, a.status)
		}
	}
	made := rotate(owner, "make", "/admin/v1/users", `{"username":"otto","password":"ottos-password"}`)
	remade := rotate(owner, "make", "/admin/v1/users", `{"username":"otto","password":"ottos-password"}`)
	if made.status != 201 || remade.status != 201 || remade.header.Get("ETag") != `"1"` || !bytes.Equal(made.body, remade.body) {
		t.Errorf("%d %s, then %d %s", made.status, made.body, remade.status, remade.body)
	}
	// A refused call leaves the key free.
	if a := rotate(owner, "c-key", "/admin/v1/users", `{"username":"otto"}`); a.status != 409 {
		t.Errorf("a name that is taken: %d", a.status)
	}
	if a := rotate(owner, "c-key", "/admin/v1/users", `{"username":"otto2"}`); a.status != 201 {
		t.Errorf("its key again: %d %s", a.status, a.body)
	}
	d.clock.advance(25 * time.Hour)
	if a := rotate(d.token("admin.owner"), "b-key", path, "{ }"); a.status != 200 {
		t.Errorf("after its life: %d %s", a.status, a.body)
	}
	image, err := d.db.Calls().Forget(context.Background(), d.clock.Now().Add(-24*time.Hour), 100)
	if err != nil || image == 0 {
		t.Errorf("nothing to forget: %d %v", image, err)
	}
}

// TestOneOfManyWithAKey: however many send it at once, it happens once.
func TestOneOfManyWithAKey(t *testing.T) {
	d := newDesk(t)
	token := d.token("admin.owner")
	var all sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		all.Go(func() {
			answers[i] = d.remote(token, "POST", "/admin/v1/clients/shop/secret", "", "Idempotency-Key", "one")
		})
	}
	all.Wait()
	var body []byte
	for _, a := range answers {
		switch {
		case a.status == 409 && a.header.Get("Retry-After") != "": // under way
		case a.status == 200 && (body == nil || bytes.Equal(body, a.body)):
			body = a.body
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := len(d.events("name=client_secret_rotated")); n != 1 {
		t.Errorf("it happened %d times", n)
	}
}

// TestVersions (AD04): a change decided on an old version is refused.
func TestVersions(t *testing.T) {
	d := newDesk(t)
	owner := d.token("admin.owner")
	for path, c := range map[string]struct{ method, first, second string }{
		"/admin/v1/users/nora": {"PATCH", `{"name":"N"}`, `{"name":"M"}`},
		"/admin/v1/clients/shop": {"PUT", `{"type":"confidential","grants":["client_credentials"],"scopes":["read"],"name":"N"}`,
			`{"type":"confidential","grants":["client_credentials"],"scopes":["read"],"name":"M"}`},
	} {
		tag := d.remote(owner, "GET", path, "").header.Get("ETag")
		a := d.remote(owner, c.method, path, c.first, "If-Match", tag)
		if a.status != 200 || a.header.Get("ETag") == tag || d.remote(owner, "GET", path, "").header.Get("ETag") != a.header.Get("ETag") {
			t.Errorf("%s: %d %s %v", path, a.status, a.body, a.header)
		}
		if a := d.remote(owner, c.method, path, c.second, "If-Match", tag); a.status != 412 || !bytes.Contains(a.body, []byte("precondition_failed")) {
			t.Errorf("%s with the old version: %d %s", path, a.status, a.body)
		}
		for _, bad := range []string{"", "1", `W/"1"`, `"x"`, `"0"`, `"1", "2"`, "*"} {
			if a := d.remote(owner, c.method, path, c.second, "If-Match", bad); a.status != 400 {
				t.Errorf("%s with If-Match %q: %d", path, bad, a.status)
			}
		}
		if a := d.remote(owner, c.method, path, c.second); a.status != 200 {
			t.Errorf("%s without a version: %d %s", path, a.status, a.body)
		}
	}
	if a := d.remote(owner, "PUT", "/admin/v1/clients/shop", `{"type":"confidential"}`, "If-None-Match", "*"); a.status != 412 && a.status != 400 {
		t.Errorf("a new client of a name that is taken: %d %s", a.status, a.body)
	}
}

// TestRefusalsAreProblems (AD01): each is a problem document of its own status.
func TestRefusalsAreProblems(t *testing.T) {
	d := newDesk(t)
	owner := d.token("admin.owner")
	for _, c := range []struct {
		status                    int
		token, method, path, body string
	}{
		{401, "", "GET", "/admin/v1/status", ""}, {403, d.token("admin.viewer"), "GET", "/admin/v1/check", ""},
		{404, owner, "GET", "/admin/v1/users/nobody", ""}, {404, owner, "GET", "/admin/v1/nothing", ""}, {404, owner, "GET", "/admin//v1/status", ""},
		{405, owner, "PUT", "/admin/v1/status", ""}, {409, owner, "POST", "/admin/v1/users", `{"username":"nora"}`},
		{409, owner, "POST", "/admin/v1/keys/rotate", "{}"}, {400, owner, "POST", "/admin/v1/users", `{"username":"x"`},
		{400, owner, "GET", "/admin/v1/users?limit=0", ""}, {413, owner, "POST", "/admin/v1/why", strings.Repeat(" ", admin.MaxBody+1)},
		{400, owner, "PUT", "/admin/v1/clients/x", `{"type":"wrong","grants":["magic"],"idle_lifetime":"soon"}`},
		{400, owner, "PUT", "/admin/v1/clients/x", `{"type":"confidential","recovery":"soon"}`},
		{400, owner, "PUT", "/admin/v1/clients/x", `{"type":"public","id":"y"}`},
		{400, owner, "PUT", "/admin/v1/clients/x", `{"type":"wrong","grants":["magic"]}`},
		{400, owner, "POST", "/admin/v1/apply?file=m.toml", "[[clients]]\nid = 'x'\ntype = 'confidential'\nsecret_file = '/etc/hostname'\n"},
	} {
		a := d.remote(c.token, c.method, c.path, c.body)
		var p admin.Problem
		err := json.Unmarshal(a.body, &p)
		path, _, _ := strings.Cut(c.path, "?")
		if err != nil || a.status != c.status || p.Status != a.status || p.Title != http.StatusText(a.status) || p.Instance != path ||
			!strings.HasPrefix(p.Type, "urn:holdfast:problem:") || p.Detail == "" || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
		if a.status == 405 && a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("405 with Allow %q", a.header.Get("Allow"))
		}
		if strings.Contains(c.body, "magic") && !strings.Contains(c.body, "soon") && len(p.Errors) < 2 {
			t.Errorf("the mistakes are %+v", p.Errors)
		}
		if strings.Contains(c.body, "secret_file") && !strings.Contains(p.Detail, "sent over the network") {
			t.Errorf("a file of the server's machine: %s", a.body)
		}
	}
	if a := d.remote(owner, "POST", "/admin/v1/users", `{"username":"x"}`, "Content-Type", "text/plain"); a.status != 415 {
		t.Errorf("another media type: %d %s", a.status, a.body)
	}
}

// TestAClientComesBackAsItWasSent: what was put is what is read, but for its secret.
func TestAClientComesBackAsItWasSent(t *testing.T) {
	d := newDesk(t)
	sent := `{"id":"full","name":"Full","type":"confidential","first_party":true,"auth_method":"post","redirect_uris":["https://a.example/cb"],
		"post_logout_redirect_uris":["https://a.example/out"],"grants":["authorization_code","refresh_token"],"scopes":["openid","read"],"audiences":["https://api.example"],
		"claims":"standard","access_format":"jwt","access_alg":"RS256","access_lifetime":"10m","idle_lifetime":"30d","absolute_lifetime":"60d12h","refresh":"balanced",
		"overlap":"30s","late":"5m","recovery":"idle","on_reuse":"hold","pkce":"required","consent":"skip","disabled":false}`
	made := d.must(201, "PUT", "/admin/v1/clients/full", sent)
	var want, got map[string]any
	d.decode(answer{body: []byte(sent)}, &want)
	d.decode(d.must(200, "GET", "/admin/v1/clients/full", ""), &got)
	for name, value := range want {
		a, _ := json.Marshal(value)
		b, _ := json.Marshal(got[name])
		if !bytes.Equal(a, b) {
			t.Errorf("%s was sent as %s and is %s", name, a, b)
		}
	}
	if !bytes.Contains(made.body, []byte(`"client_secret":"hfs_`)) || got["client_secret"] != nil || got["secret"] != nil {
		t.Errorf("%s, then %v", made.body, got)
	}
	back, _ := json.Marshal(got)
	if a := d.must(200, "PUT", "/admin/v1/clients/full", string(back)); a.header.Get("ETag") != `"1"` || bytes.Contains(a.body, []byte("client_secret")) {
		t.Errorf("putting back what was read changed it: %v %s", a.header, a.body)
	}
}

// TestAuditRetention: the server deletes what is older, and only that.
func TestAuditRetention(t *testing.T) {
	h := forTest(t, func(c *server.Config) { c.AuditRetention = 48 * time.Hour })
	d := &desk{T: t, house: h}
	d.must(201, "POST", "/admin/v1/users", `{"username":"old"}`)
	h.clock.advance(47 * time.Hour)
	d.must(201, "POST", "/admin/v1/users", `{"username":"new"}`)
	for _, step := range []struct {
		more time.Duration
		want int
	}{{0, 2}, {2 * time.Hour, 1}, {47 * time.Hour, 0}} {
		h.clock.advance(step.more)
		err := h.server.Tick(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := d.events("name=user_created"); len(got) != step.want && step.want == 0 || step.want > 0 && !slices.ContainsFunc(got, func(e admin.Event) bool { return e.Details["username"] == `"" -> "new"` }) {
			t.Errorf("after %s: %+v", step.more, got)
		}
	}
}

// TestClientsContradictTheSettings: the start is refused with the sentence, but
// an operator's command may open the house to mend it.
func TestClientsContradictTheSettings(t *testing.T) {
	h := forTest(t)
	d := &desk{T: t, house: h}
	d.must(201, "PUT", "/admin/v1/clients/slow", `{"type":"confidential","grants":["authorization_code","refresh_token"],"redirect_uris":["https://a.example/cb"],"access_lifetime":"1h"}`)
	h.config.IdleLifetime = 30 * time.Minute
	err := h.reopen()
	if err == nil || !strings.Contains(err.Error(), "client slow: access_lifetime") || !strings.Contains(err.Error(), "[HF101]") {
		t.Fatalf("the start with a contradiction: %v", err)
	}
	h.config.IdleLifetime = 2 * time.Hour
	err = h.db.Close()
	if err == nil {
		err = h.open()
	}
	if err != nil {
		t.Fatal(err)
	}
}
