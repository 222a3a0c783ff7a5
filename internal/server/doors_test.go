package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDoors runs the dialogs of testdata/doors: one file, one story, against
// the whole server on a real listener, a real database and a virtual clock.
// The commands are described in testdata/doors/README.md.
func TestDoors(t *testing.T) {
	runDialogs(t, testscript.Params{Dir: "../../testdata/doors"}, standardDialect)
}

// TestDoorsEdX (contract 1.4 row 1, R02..04, R13..14, R18) tells the stories of a
// refresh token at the door of Open edX.
func TestDoorsEdX(t *testing.T) {
	runDialogs(t, testscript.Params{Files: stories()}, edxDialect)
}

// stories are the dialogs that every door with a refresh token must end alike.
func stories() (files []string) {
	for _, story := range []string{"two-calls-at-once", "lost-answer-after-1s", "lost-answer-after-10min", "lost-answer-after-3days", "lost-answer-after-60days",
		"answer-comes-late", "thief-first", "thief-second", "sign-out", "idle", "same-install-signs-in-again"} {
		files = append(files, "../../testdata/doors/"+story+".txt")
	}
	return files
}

// dialect is how the people of a story speak to a door.
type dialect struct {
	token, revoke, me string
	client, scheme    string
	// always is sent with every token request.
	always url.Values
	// code reads the error code of a refusal in the words of the stories.
	code func(body []byte) string
	// rewrite, when set, turns a form of the stories into the door's, and says where
	// it goes; seen turns the answer into one of the stories.
	rewrite func(path string, f url.Values) string
	seen    func(path string, a answer) answer
}

// speak sends a form in the dialect, and reads the answer.
func (d dialect) speak(h *house, path string, f url.Values) (answer, error) {
	if d.rewrite != nil {
		path = d.rewrite(path, f)
	}
	a, err := h.send(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(f.Encode()), nil)
	if d.seen != nil {
		a = d.seen(path, a)
	}
	return a, err
}

var standardDialect = dialect{token: "/oauth2/token", revoke: "/oauth2/revoke", me: "/oauth2/userinfo", client: "demo-native", scheme: "Bearer ",
	code: func(body []byte) string {
		var e struct{ Error, Type string }
		_ = json.Unmarshal(body, &e)
		if kind, ok := strings.CutPrefix(e.Type, "urn:holdfast:problem:"); ok {
			e.Error = kind
		}
		return e.Error
	}}

var edxDialect = dialect{token: "/oauth2/access_token/", revoke: "/oauth2/revoke_token/", me: "/api/mobile/v0.5/my_user_info", client: "demo-edx", scheme: "JWT ",
	always: url.Values{"token_type": {"JWT"}, "asymmetric_jwt": {"true"}},
	code: func(body []byte) string {
		var e struct{ Detail string }
		_ = json.Unmarshal(body, &e)
		if e.Detail == "Invalid token." || e.Detail == "Token has expired." {
			return "invalid_token"
		}
		return standardDialect.code(body)
	}}

// runDialogs runs stories in a dialect.
func runDialogs(t *testing.T, p testscript.Params, d dialect) {
	testscript.Run(t, testscript.Params{
		Dir: p.Dir, Files: p.Files,
		Setup: func(env *testscript.Env) error {
			h, err := newHouse(env.WorkDir)
			if err != nil {
				return err
			}
			env.Defer(func() {
				for _, leak := range h.leaks() {
					t.Error(leak)
				}
				h.close()
			})
			env.Values[stageKey] = &stage{house: h, people: map[string]*person{}, kept: map[string]string{}, dialect: d}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"as": cmdAs, "sign-in": cmdSignIn, "refresh": cmdRefresh, "lose-answer": cmdLoseAnswer, "hold-answer": cmdHoldAnswer,
			"deliver": cmdDeliver, "together": cmdTogether, "steal": cmdSteal, "sign-out": cmdSignOut, "call": cmdCall,
			"expect": cmdExpect, "advance": cmdAdvance, "keep": cmdKeep, "token": cmdToken, "json": cmdJSON,
			"header": cmdHeader, "post": cmdPost, "get": cmdGet, "operator": cmdOperator, "account": cmdAccount, "introspect": cmdIntrospect,
			"reopen": cmdReopen, "metric": cmdMetric, "body": cmdBody, "kid": cmdKid,
			"wish": cmdWish, "exchange": cmdExchange,
		},
	})
}

type stageKeyType struct{}

var stageKey stageKeyType

// stage is one running story.
type stage struct {
	house  *house
	people map[string]*person
	who    *person
	last   answer
	kept   map[string]string
	dialect
}

// person is one device or thief and what it holds.
type person struct {
	name, client, secret, user, password string
	access, refresh, held                string
	upstreamID, upstreamAccess           string
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func on(ts *testscript.TestScript) *stage { return ts.Value(stageKey).(*stage) }

func (s *stage) actor(ts *testscript.TestScript) *person {
	if s.who == nil {
		ts.Fatalf("nobody is on stage: begin with `as NAME`")
	}
	return s.who
}

func usage(ts *testscript.TestScript, ok bool, how string) {
	if !ok {
		ts.Fatalf("usage: %s", how)
	}
}

// cmdAs: as NAME [client=ID] [secret=S] [user=U] [password=P]
func cmdAs(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) >= 1, "as NAME [client=ID] [secret=S] [user=U] [password=P]")
	s := on(ts)
	p := s.people[args[0]]
	if p == nil {
		p = &person{name: args[0], client: s.dialect.client, user: "demo", password: "demo-password"}
		s.people[args[0]] = p
	}
	for k, v := range fieldsOf(ts, args[1:]) {
		switch k {
		case "client":
			p.client = v[0]
		case "secret":
			p.secret = v[0]
		case "user":
			p.user = v[0]
		case "password":
			p.password = v[0]
		default:
			ts.Fatalf("as: unknown fact %s", k)
		}
	}
	s.who = p
}

func fieldsOf(ts *testscript.TestScript, args []string) url.Values {
	v := url.Values{}
	for _, a := range args {
		k, val, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("%q is not name=value", a)
		}
		v.Add(k, val)
	}
	return v
}

// ask posts a form as the actor; fields override what the actor would send, and
// a field given as name= is not sent.
func (s *stage) ask(ts *testscript.TestScript, path string, base url.Values, args []string) answer {
	p := s.actor(ts)
	maps.Copy(base, s.always)
	base.Set("client_id", p.client)
	if p.secret != "" {
		base.Set("client_secret", p.secret)
	}
	maps.Copy(base, fieldsOf(ts, args))
	for k, v := range base {
		if v[0] == "" {
			base.Del(k)
		}
	}
	a, err := s.speak(s.house, path, base)
	if err != nil {
		ts.Fatalf("%s: %v", path, err)
	}
	s.last = a
	return a
}

func (s *stage) send(ts *testscript.TestScript, method, path, kind string, body io.Reader, header http.Header) answer {
	a, err := s.house.send(method, path, kind, body, header)
	if err != nil {
		ts.Fatalf("%s %s: %v", method, path, err)
	}
	s.last = a
	return a
}

// take makes the actor hold what an answer brought.
func (p *person) take(a answer) {
	if a.status != http.StatusOK {
		return
	}
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if json.Unmarshal(a.body, &t) == nil {
		p.access = t.Access
		if t.Refresh != "" {
			p.refresh = t.Refresh
		}
	}
}

func (s *stage) signInFields(p *person) url.Values {
	return url.Values{"grant_type": {"password"}, "username": {p.user}, "password": {p.password},
		"install_id": {"install-of-" + p.name}, "device_name": {p.name}}
}

// cmdSignIn: sign-in [field=value ...]
func cmdSignIn(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	p := s.actor(ts)
	p.take(s.ask(ts, s.token, s.signInFields(p), args))
}

func (p *person) refreshFields() url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.refresh}}
}

// cmdRefresh: refresh [field=value ...]
func cmdRefresh(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	p := s.actor(ts)
	p.take(s.ask(ts, s.token, p.refreshFields(), args))
}

// cmdLoseAnswer: lose-answer [sign-in|refresh] - the server answers, the
// answer never arrives.
func cmdLoseAnswer(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	p := s.actor(ts)
	base := p.refreshFields()
	if len(args) > 0 && args[0] == "sign-in" {
		base, args = s.signInFields(p), args[1:]
	}
	a := s.ask(ts, s.token, base, args)
	if a.status != http.StatusOK {
		ts.Fatalf("the answer to lose was %d %s", a.status, a.body)
	}
}

// cmdHoldAnswer: hold-answer - as lose-answer, but `deliver` brings it later.
func cmdHoldAnswer(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	p := s.actor(ts)
	a := s.ask(ts, s.token, p.refreshFields(), args)
	before := *p
	p.take(a)
	p.held, p.refresh, p.access = p.refresh, before.refresh, before.access
}

// cmdDeliver: deliver - the held answer arrives and overwrites what is stored.
func cmdDeliver(ts *testscript.TestScript, _ bool, _ []string) {
	p := on(ts).actor(ts)
	p.refresh = p.held
}

// cmdTogether: together N - N refreshes with the same token at once. All must
// be 200 with one and the same refresh token.
func cmdTogether(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 1, "together N")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	s := on(ts)
	p := s.actor(ts)
	form := p.refreshFields()
	maps.Copy(form, s.always)
	form.Set("client_id", p.client)
	answers, errs := make([]answer, n), make([]error, n)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i], errs[i] = s.speak(s.house, s.token, maps.Clone(form))
		})
	}
	close(start)
	wg.Wait()
	ts.Check(errors.Join(errs...))
	got := map[string]bool{}
	for i, a := range answers {
		if a.status != http.StatusOK {
			ts.Fatalf("answer %d of %d was %d %s", i, n, a.status, a.body)
		}
		q := &person{}
		q.take(a)
		got[q.refresh] = true
	}
	if len(got) != 1 {
		ts.Fatalf("%d refreshes at once brought %d different refresh tokens", n, len(got))
	}
	s.last = answers[0]
	p.take(answers[0])
}

// cmdSteal: steal NAME - the actor copies what NAME holds, client included.
func cmdSteal(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 1, "steal NAME")
	s := on(ts)
	victim := s.people[args[0]]
	if victim == nil {
		ts.Fatalf("nobody is called %s", args[0])
	}
	p := s.actor(ts)
	p.refresh, p.access, p.client, p.secret = victim.refresh, victim.access, victim.client, victim.secret
}

// cmdSignOut: sign-out [field=value ...] - the actor revokes its refresh token.
func cmdSignOut(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	s.ask(ts, s.revoke, url.Values{"token": {s.actor(ts).refresh}}, args)
}

// cmdCall: call [PATH] - with the actor's access token; userinfo by default.
func cmdCall(ts *testscript.TestScript, _ bool, args []string) {
	s := on(ts)
	path := s.me
	if len(args) > 0 {
		path = args[0]
	}
	s.send(ts, http.MethodGet, path, "", nil, http.Header{"Authorization": {s.scheme + s.actor(ts).access}})
}

// cmdIntrospect: introspect access|refresh - as the actor, about its own token.
func cmdIntrospect(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 2, "introspect NAME access|refresh")
	s := on(ts)
	about := s.people[args[0]]
	if about == nil {
		ts.Fatalf("nobody is called %s", args[0])
	}
	t := about.access
	if args[1] == "refresh" {
		t = about.refresh
	}
	s.ask(ts, "/oauth2/introspect", url.Values{"token": {t}}, nil)
}

// cmdExpect: expect STATUS [ERROR [REASON]]
func cmdExpect(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) >= 1 && len(args) <= 3, "expect STATUS [ERROR [REASON]]")
	a := on(ts).last
	if strconv.Itoa(a.status) != args[0] {
		ts.Fatalf("the answer was %d, not %s: %s", a.status, args[0], a.body)
	}
	code := on(ts).code(a.body)
	if len(args) > 1 && code != args[1] {
		ts.Fatalf("error is %q, not %q: %s", code, args[1], a.body)
	}
	if reason := a.header.Get("Holdfast-Reason"); len(args) > 2 && reason != args[2] {
		ts.Fatalf("Holdfast-Reason is %q, not %q: %s", reason, args[2], a.body)
	}
	if bytes.HasSuffix(a.body, []byte("\n")) {
		ts.Fatalf("the body ends in a newline")
	}
}

// cmdAdvance: advance 61s|15d
func cmdAdvance(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 1, "advance DURATION")
	text, days := strings.CutSuffix(args[0], "d")
	if days {
		text += "h"
	}
	d, err := time.ParseDuration(text)
	ts.Check(err)
	if days {
		d *= 24
	}
	on(ts).house.clock.advance(d)
}

// cmdKeep: keep NAME - remembers the actor's refresh token.
func cmdKeep(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 1, "keep NAME")
	s := on(ts)
	s.kept[args[0]] = s.actor(ts).refresh
	ts.Setenv(args[0], s.actor(ts).refresh)
}

// cmdToken: [!] token is NAME
func cmdToken(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2 && args[0] == "is", "token is NAME")
	s := on(ts)
	kept, ok := s.kept[args[1]]
	if !ok {
		ts.Fatalf("nothing was kept as %s", args[1])
	}
	if same := s.actor(ts).refresh == kept; same == neg {
		ts.Fatalf("the refresh token of %s is the one kept as %s: %v", s.who.name, args[1], same)
	}
}

// cmdJSON: [!] json .path [VALUE] - a member of the last answer is there, or has a value.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "json .path [VALUE]")
	var v any
	err := json.Unmarshal(on(ts).last.body, &v)
	if err != nil {
		ts.Fatalf("not JSON: %s", on(ts).last.body)
	}
	found := true
	for _, name := range strings.Split(strings.TrimPrefix(args[0], "."), ".") {
		switch in := v.(type) {
		case map[string]any:
			v, found = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			found = err == nil && i < len(in)
			if found {
				v = in[i]
			}
		default:
			found = false
		}
		if !found {
			break
		}
	}
	holds := found && (len(args) == 1 || fmt.Sprint(v) == args[1])
	if holds == neg {
		ts.Fatalf("%s is %v (there: %v): %s", args[0], v, found, on(ts).last.body)
	}
}

// cmdBody: body TEXT - the last body, byte for byte.
func cmdBody(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1, "body TEXT")
	if got := string(on(ts).last.body); (got == args[0]) == neg {
		ts.Fatalf("the body is %q", got)
	}
}

// cmdHeader: [!] header NAME [VALUE]
func cmdHeader(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1 || len(args) == 2, "header NAME [VALUE]")
	got := on(ts).last.header.Values(args[0])
	holds := len(got) > 0 && (len(args) == 1 || slices.Contains(got, args[1]))
	if holds == neg {
		ts.Fatalf("header %s is %q", args[0], got)
	}
}

// cmdPost: post PATH [field=value ...] - a form as it is, without the actor's fields.
func cmdPost(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) >= 1, "post PATH [field=value ...]")
	f := fieldsOf(ts, args[1:])
	h := http.Header{}
	if basic := f.Get("@basic"); basic != "" {
		u, p, _ := strings.Cut(basic, ":")
		r, _ := http.NewRequest(http.MethodPost, "/", nil)
		r.SetBasicAuth(u, p)
		h = r.Header
		f.Del("@basic")
	}
	on(ts).send(ts, http.MethodPost, args[0], "application/x-www-form-urlencoded", strings.NewReader(f.Encode()), h)
}

// cmdGet: get PATH
func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 1, "get PATH")
	on(ts).send(ts, http.MethodGet, args[0], "", nil, nil)
}

// cmdOperator: operator METHOD PATH [JSON] - through the admin API; {sid:NAME}
// in the path is the session of NAME.
func cmdOperator(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 2 || len(args) == 3, "operator METHOD PATH [JSON]")
	s := on(ts)
	method, path, body := s.request(args)
	a, err := s.house.operate(method, path, body)
	ts.Check(err)
	s.last = a
}

// request reads METHOD PATH [JSON] with {sid:NAME} for the session of NAME.
func (s *stage) request(args []string) (method, path string, body io.Reader) {
	for name, p := range s.people {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{sid:"+name+"}", sidOf(p.access))
		}
	}
	if len(args) == 3 {
		body = strings.NewReader(args[2])
	}
	return args[0], args[1], body
}

// cmdAccount: account METHOD PATH [JSON] - the device API with the actor's
// access token; {sid:NAME} is the session of NAME, {next} the cursor that the
// last list gave.
func cmdAccount(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 2 || len(args) == 3, "account METHOD PATH [JSON]")
	s := on(ts)
	var list struct {
		Next string `json:"next_cursor"`
	}
	_ = json.Unmarshal(s.last.body, &list)
	method, path, body := s.request(args)
	path = strings.ReplaceAll(path, "{next}", list.Next)
	kind := ""
	if body != nil {
		kind = "application/json"
	}
	s.send(ts, method, path, kind, body, http.Header{"Authorization": {"Bearer " + s.actor(ts).access}})
}

// cmdReopen: reopen - the server is closed and opened again on the same data.
func cmdReopen(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(on(ts).house.reopen())
}

// cmdMetric: metric NAME{labels} VALUE
func cmdMetric(ts *testscript.TestScript, _ bool, args []string) {
	usage(ts, len(args) == 2, "metric NAME VALUE")
	text, err := on(ts).house.metrics()
	ts.Check(err)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == args[0] {
			if value != args[1] {
				ts.Fatalf("%s is %s, not %s", name, value, args[1])
			}
			return
		}
	}
	ts.Fatalf("no metric %s", args[0])
}

// cmdKid: [!] kid same - the access token's key is the one of the last `kid keep`.
func cmdKid(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1 && (args[0] == "keep" || args[0] == "same"), "kid keep|same")
	s := on(ts)
	kid := kidOf(s.actor(ts).access)
	if args[0] == "keep" {
		s.kept["kid"] = kid
		return
	}
	if same := kid == s.kept["kid"]; same == neg {
		ts.Fatalf("the access token is signed by %s, before by %s", kid, s.kept["kid"])
	}
}
