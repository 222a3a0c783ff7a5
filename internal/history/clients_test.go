package history_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
)

// clientWait is how long a client waits for an answer before it gives up.
const clientWait = time.Second

// maxOpen is how many operations of one session may have no outcome in one round.
// Each of them doubles the orders that are possible, so a device that has heard
// nothing that often waits for the next round.
const maxOpen = 6

// signInTries is how often a device tries to sign in again.
const signInTries = 5

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 10

// record is a history under way.
type record struct {
	clock *clock
	// order counts calls and returns; porcupine needs no other time.
	order atomic.Int64

	mu       sync.Mutex
	sessions map[int][]porcupine.Operation
	// open are the operations whose outcome nobody heard.
	open     []asked
	outcomes map[string]int
}

// asked is an operation under way.
type asked struct {
	question
	call int64
	mark int
}

func newRecord(c *clock) *record {
	return &record{clock: c, sessions: map[int][]porcupine.Operation{}, outcomes: map[string]int{}}
}

// call begins an operation.
func (r *record) call(q question) asked { return asked{q, r.order.Add(1), r.clock.mark()} }

// answered writes down an operation and its outcome. One of unknown outcome stays
// open until the cluster is at rest.
func (r *record) answered(a asked, out reply) {
	a.clock = r.clock.since(a.mark)
	back := r.order.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	name := a.kind + " " + out.kind
	if out.reason != "" {
		name += " " + out.reason
	}
	r.outcomes[name]++
	switch {
	case out.kind != unknown:
		r.write(a, out, back)
	case a.kind != introspect: // a question without effect and answer says nothing
		r.open = append(r.open, a)
	}
}

func (r *record) write(a asked, out reply, back int64) {
	r.sessions[a.session] = append(r.sessions[a.session], porcupine.Operation{ClientId: a.node, Input: a.question, Call: a.call, Output: out, Return: back})
}

// close ends the operations of unknown outcome: the cluster is at rest.
func (r *record) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.open {
		a.clock = r.clock.since(a.mark)
		r.write(a, reply{kind: unknown}, r.order.Add(1))
	}
	r.open = nil
}

// take gives the history of one session and forgets it.
func (r *record) take(session int) []porcupine.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.sessions[session]
	delete(r.sessions, session)
	return all
}

// device is one place where a user is signed in: one session after the other.
type device struct {
	user     id.User
	client   string
	terms    *terms
	callers  int
	siblings []*device

	mu      sync.Mutex
	session int
	refresh []refreshToken // in the order in which they were first seen
	access  []accessToken
	over    bool
	asked   int
	open    int // operations of this round that nobody heard the outcome of
}

type refreshToken struct {
	text       string
	generation uint32
	issued     int64
}

type accessToken struct {
	text            string
	issued, expires int64
}

// signIn opens a session, at a node that is at rest.
func (d *device) signIn(t *testing.T, r *record, n *node, number int) {
	t.Helper()
	u, err := n.Users.Get(t.Context(), d.user)
	if err != nil {
		t.Fatal(err)
	}
	var turn session.Turn
	for range signInTries { // the first may meet a connection that a fault has left dead
		turn, err = n.Sessions.Open(t.Context(), session.SignIn{User: d.user, Epoch: u.Epoch, Client: id.Client(d.client), Scope: "openid",
			Grant: "password", AMR: "pwd", Policy: session.Policy{Rotate: true}})
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	d.session, d.over, d.asked, d.access = number, false, 0, nil
	d.refresh = []refreshToken{{turn.Token.Reveal(), 1, turn.Now.Unix()}}
	r.answered(r.call(question{kind: signIn, session: number, terms: d.terms}), reply{kind: done})
}

// caller is one thread of an app. It asks whatever node, one thing at a time.
type caller struct {
	*record
	cluster *cluster
	http    *http.Client
	dice    *rand.Rand
}

func newCaller(r *record, c *cluster, seed, number uint64) *caller {
	return &caller{record: r, cluster: c, dice: rand.New(rand.NewPCG(seed, number)),
		http: &http.Client{Timeout: clientWait, Transport: &http.Transport{DisableCompression: true}}}
}

// once asks one thing for a device, and reports whether it did.
func (c *caller) once(d *device) bool {
	d.mu.Lock()
	if d.open >= maxOpen {
		d.mu.Unlock()
		return false
	}
	d.asked++
	newest := d.refresh[len(d.refresh)-1]
	before := d.refresh[max(len(d.refresh)-2, 0)]
	any := d.refresh[c.dice.IntN(len(d.refresh))]
	var a accessToken
	if len(d.access) > 0 {
		a = d.access[len(d.access)-1-c.dice.IntN(min(3, len(d.access)))]
	}
	d.mu.Unlock()
	at := c.dice.IntN(len(c.cluster.nodes))
	switch roll := c.dice.IntN(1000); {
	case roll < 520 || a.text == "":
		c.refresh(d, at, newest)
	case roll < 640:
		c.refresh(d, at, before)
	case roll < 660:
		c.refresh(d, at, any)
	case roll < 980:
		c.introspect(d, at, a)
	case roll < 990:
		c.signOut(d, at, any)
	default:
		c.everywhere(d, at, a)
	}
	return true
}

// unheard counts an operation without an outcome.
func (d *device) unheard(out reply) {
	if out.kind == unknown {
		d.mu.Lock()
		d.open++
		d.mu.Unlock()
	}
}

// post sends a form and reads the answer; status 0 is none.
func (c *caller) post(at int, path string, form url.Values, bearer string) (status int, reason string, body []byte) {
	r, err := http.NewRequest(http.MethodPost, c.cluster.nodes[at].base+path, strings.NewReader(form.Encode()))
	if err != nil {
		panic(err) // our own address
	}
	if len(form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return 0, "", nil
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, "", nil
	}
	return res.StatusCode, res.Header.Get("Holdfast-Reason"), body
}

func (c *caller) refresh(d *device, at int, t refreshToken) {
	a := c.call(question{kind: refresh, session: d.session, terms: d.terms, generation: t.generation, issued: t.issued, node: at})
	status, reason, body := c.post(at, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "client_id": {d.client}, "refresh_token": {t.text}}, "")
	out := reply{kind: unknown}
	switch {
	case status == http.StatusOK:
		out = d.keep(c.cluster.nodes[at], body)
	case status == http.StatusBadRequest:
		out = reply{kind: refused, reason: reason}
		d.mu.Lock()
		d.over = true
		d.mu.Unlock()
	case status == http.StatusServiceUnavailable && reason == "late":
		out = reply{kind: late}
	}
	d.unheard(out)
	c.answered(a, out)
}

// keep reads tokens and remembers them. The outcome says what they say.
func (d *device) keep(n *node, body []byte) reply {
	var in struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return reply{kind: "an answer that is no JSON: " + string(body)}
	}
	opened, err := token.Refreshes{Keys: n.Keys}.Decode(secret.New(in.Refresh))
	if err != nil {
		return reply{kind: "a refresh token that cannot be read: " + err.Error()}
	}
	var claims struct{ Iat, Exp int64 }
	parts := strings.Split(in.Access, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return reply{kind: "an access token that cannot be read: " + in.Access}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := opened.Generation; g > d.refresh[len(d.refresh)-1].generation { // a stored token never goes backwards
		d.refresh = append(d.refresh, refreshToken{in.Refresh, g, opened.IssuedAt.Unix()})
	}
	d.access = append(d.access, accessToken{in.Access, claims.Iat, claims.Exp})
	return reply{kind: tokens, generation: opened.Generation, at: claims.Iat}
}

func (c *caller) introspect(d *device, at int, t accessToken) {
	a := c.call(question{kind: introspect, session: d.session, terms: d.terms, issued: t.issued, expires: t.expires, node: at})
	status, _, body := c.post(at, "/oauth2/introspect", url.Values{"client_id": {watcher}, "client_secret": {watcherSecret}, "token": {t.text}}, "")
	var in struct{ Active bool }
	out := reply{kind: unknown}
	switch {
	case status == http.StatusOK && json.Unmarshal(body, &in) == nil:
		out.kind = inactive
		if in.Active {
			out.kind = active
		}
	case status != 0 && status != http.StatusServiceUnavailable:
		out.kind = fmt.Sprint("status ", status)
	}
	c.answered(a, out)
}

func (c *caller) signOut(d *device, at int, t refreshToken) {
	a := c.call(question{kind: signOut, session: d.session, terms: d.terms, generation: t.generation, node: at})
	status, _, _ := c.post(at, "/oauth2/revoke", url.Values{"client_id": {d.client}, "token": {t.text}}, "")
	out := reply{kind: unknown}
	if status == http.StatusOK {
		out.kind = done
	}
	d.unheard(out)
	c.answered(a, out)
}

// everywhere signs the user out with an access token of this device. It is written
// down for each of the user's devices.
func (c *caller) everywhere(d *device, at int, t accessToken) {
	q := question{kind: everywhere, session: d.session, terms: d.terms, issued: t.issued, expires: t.expires, node: at}
	own := c.call(q)
	var others []asked
	for _, s := range d.siblings {
		q.session = s.session
		others = append(others, asked{q, own.call, own.mark})
	}
	status, _, _ := c.post(at, "/account/v1/sessions/end-all", nil, t.text)
	out := reply{kind: unknown}
	switch status {
	case http.StatusNoContent:
		out.kind = done
	case http.StatusUnauthorized:
		out.kind = refused
	}
	d.unheard(out)
	for _, s := range d.siblings {
		s.unheard(out)
	}
	c.answered(own, out)
	for _, o := range others {
		if out.kind != refused { // then nothing happened to them
			c.answered(o, out)
		}
	}
}
