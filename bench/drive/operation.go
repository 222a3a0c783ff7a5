package drive

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// did says what an operation that succeeded did.
type did struct {
	rotated    bool // the refresh token is another
	sameAccess bool // the access token is not: legal, but worth knowing
}

// operation does one operation of its scenario.
type operation func(*worker) (did, error)

var operations = map[string]operation{
	Refresh: (*worker).refresh, Password: (*worker).password, ClientCredentials: (*worker).clientCredentials,
	Introspect: (*worker).introspect, Revoke: (*worker).revoke, Get: (*worker).get,
}

// targets are the token endpoints, one for each server, and the endpoint of the
// scenario.
func (o Options) targets() (tokens []target, endpoint target, err error) {
	if o.Scenario == Get {
		endpoint, err = newTarget("GET", o.URL)
		return []target{endpoint}, endpoint, err
	}
	var headers []string
	if o.Auth == "basic" {
		pair := url.QueryEscape(o.ClientID) + ":" + url.QueryEscape(o.ClientSecret)
		headers = append(headers, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	for _, address := range strings.Split(o.URL, ",") {
		token, failed := newTarget("POST", address, headers...)
		tokens, err = append(tokens, token), errors.Join(err, failed)
	}
	endpoint = tokens[0]
	if err == nil && o.Scenario == Introspect {
		endpoint, err = newTarget("POST", o.IntrospectURL, headers...)
	}
	if err == nil && o.Scenario == Revoke {
		endpoint, err = newTarget("POST", o.RevokeURL, headers...)
	}
	return tokens, endpoint, err
}

// form writes a body: the client's own fields, then pairs of name and value.
func (w *worker) form(pairs ...string) []byte {
	o := &w.run.Options
	b := w.body[:0]
	field := func(name, value string) {
		if value == "" {
			return
		}
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = append(append(b, name...), '=')
		b = append(b, escaped(value)...)
	}
	if o.Auth != "basic" {
		field("client_id", o.ClientID)
	}
	if o.Auth == "post" {
		field("client_secret", o.ClientSecret)
	}
	for i := 0; i < len(pairs); i += 2 {
		field(pairs[i], pairs[i+1])
	}
	w.body = b
	return b
}

// escaped leaves alone what needs no escaping, as most tokens do.
func escaped(s string) string {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return url.QueryEscape(s)
		}
	}
	return s
}

func (w *worker) ask(t target, pairs ...string) (tokens, error) {
	a, err := w.conn.do(t, w.form(pairs...))
	if err != nil {
		return tokens{}, err
	}
	return w.check.tokens(a)
}

// device is the next one that lives, nil when there is none.
func (w *worker) device() *Device {
	for range w.devices {
		d := w.devices[w.next%len(w.devices)]
		w.next++
		if !d.Dead {
			return d
		}
	}
	return nil
}

func (w *worker) refresh() (did, error) {
	d := w.device()
	if d == nil {
		return did{}, errNothingLeft
	}
	t, err := w.ask(w.token, "grant_type", "refresh_token", "refresh_token", d.Refresh)
	if err != nil {
		var no *refused
		d.Dead = errors.As(err, &no) && no.signedOut()
		return did{}, err
	}
	now := did{rotated: t.Refresh != "" && t.Refresh != d.Refresh, sameAccess: t.Access == d.Access}
	if t.Refresh != "" {
		d.Refresh = t.Refresh
	}
	d.Access = t.Access
	if w.run.MustRotate && !now.rotated {
		return did{}, errors.New("the refresh token was not rotated")
	}
	return now, nil
}

func (w *worker) signIn(n int) (tokens, error) {
	o := &w.run.Options
	user := o.User
	if strings.Contains(user, "%d") {
		user = fmt.Sprintf(user, n%o.Users)
	}
	return w.ask(w.token, "grant_type", "password", "username", user, "password", o.Password, "scope", o.Scope)
}

func (w *worker) password() (did, error) {
	w.next++
	_, err := w.signIn(w.number + w.next*w.run.Connections)
	return did{}, err
}

func (w *worker) clientCredentials() (did, error) {
	_, err := w.ask(w.token, "grant_type", "client_credentials", "scope", w.run.Scope)
	return did{}, err
}

func (w *worker) introspect() (did, error) {
	d := w.device()
	if d == nil {
		return did{}, errNothingLeft
	}
	token, hint := d.Refresh, "refresh_token"
	if w.run.AccessTokens {
		token, hint = d.Access, "access_token"
	}
	a, err := w.conn.do(w.run.endpoint, w.form("token", token, "token_type_hint", hint))
	if err != nil {
		return did{}, err
	}
	var said struct {
		Active bool `json:"active"`
	}
	if a.status != 200 {
		return did{}, unexpected(a)
	}
	err = json.Unmarshal(a.body, &said)
	if err != nil || !said.Active {
		return did{}, fmt.Errorf("a live token is not active: %s", shown(a.body))
	}
	return did{}, nil
}

func (w *worker) revoke() (did, error) {
	d := w.device()
	if d == nil {
		return did{}, errNothingLeft
	}
	a, err := w.conn.do(w.run.endpoint, w.form("token", d.Refresh, "token_type_hint", "refresh_token"))
	d.Dead = true // used up, whatever became of it
	if err == nil && a.status != 200 && a.status != 204 {
		err = unexpected(a)
	}
	return did{}, err
}

func (w *worker) get() (did, error) {
	a, err := w.conn.do(w.run.endpoint, nil)
	if err == nil && a.status != 200 {
		err = unexpected(a)
	}
	return did{}, err
}

// maxTried is how many revoked devices are tried afterwards.
const maxTried = 20

// StillAlive refreshes some of the devices that were revoked and reports how
// many were tried and how many of those were served all the same.
func StillAlive(o Options, devices []*Device) (tried, alive int, err error) {
	tokens, _, err := o.targets()
	if err != nil {
		return 0, 0, err
	}
	w := &worker{run: &run{Options: o}, token: tokens[0]}
	defer w.conn.close()
	for _, d := range devices {
		if !d.Dead || tried == maxTried {
			continue
		}
		tried++
		_, err := w.ask(w.token, "grant_type", "refresh_token", "refresh_token", d.Refresh)
		var no *refused
		switch {
		case err == nil:
			alive++
		case !errors.As(err, &no) || !no.signedOut():
			return tried, alive, err // not an answer to the question
		}
	}
	return tried, alive, nil
}
