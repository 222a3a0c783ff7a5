package web

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/secret"
)

// person is what a page may know of who is signed in. It is the value of the readable
// cookie too, as JSON in percent-encoding.
type person struct {
	// Subject is the sub of the tokens; Number the same user for systems that have
	// numbers.
	Subject  string `json:"sub"`
	Number   string `json:"number"`
	Username string `json:"username"`
	Client   string `json:"client_id"`
	// Expires is when the access token does, Until when the session ends if nobody
	// renews it; seconds since 1970, 0 is never.
	Expires int64 `json:"expires_at"`
	Until   int64 `json:"until,omitempty"`
	// Remembered: the session outlives the browser's window.
	Remembered bool `json:"remembered"`
}

// state is the answer of this door.
type state struct {
	SignedIn bool `json:"signed_in"`
	// Renewable: there may be a refresh cookie although the access cookie is gone.
	Renewable bool    `json:"renewable"`
	CSRF      string  `json:"csrf_token"`
	User      *person `json:"user,omitempty"`
}

// signInBody is what a page sends. The device's facts are those of every door.
type signInBody struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Client   string `json:"client_id"`
	Scope    string `json:"scope"`
	// Remember keeps the sign-in when the browser is closed.
	Remember bool   `json:"remember"`
	Install  string `json:"install_id"`
	Attempt  string `json:"attempt_id"`
	Name     string `json:"device_name"`
	Model    string `json:"device_model"`
	System   string `json:"device_os"`
	App      string `json:"app_version"`
}

// browserName is the name of a device that has told none.
const browserName = "Browser"

func (d *Door) signIn(w http.ResponseWriter, r *http.Request) error {
	var b signInBody
	err := problem.Read(w, r, maxBody, &b)
	if err != nil {
		return err
	}
	c, _ := d.Issuer.Clients.Get(id.Client(b.Client))
	err = d.genuine(r, func(origin string) bool { return serves(c, origin) })
	if err != nil {
		return err
	}
	if !c.Disabled && c.ID != "" && !c.Allows(client.GrantRefresh) {
		return fault.Newf(fault.UnauthorizedClient, "this client is not registered for the grant %s, without which no browser stays signed in", client.GrantRefresh)
	}
	if b.Name == "" {
		b.Name = browserName
	}
	from := d.From(r)
	issued, err := d.Issuer.Grant(r.Context(), grant.Request{Type: client.GrantPassword, Scope: b.Scope, From: from, Visit: !b.Remember,
		Client:   grant.Credential{ID: id.Client(b.Client), Method: client.AuthNone, From: from},
		Username: b.Username, Password: secret.New(b.Password),
		Device: grant.Device{InstallID: b.Install, AttemptID: b.Attempt, Name: b.Name, Model: b.Model, System: b.System, App: b.App}})
	if err == nil {
		ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByUser, From: from})
		err = d.Issuer.EndReplaced(ctx, form.Cookie(r, d.names().access, maxCookie), issued)
	}
	if err != nil {
		return err
	}
	return d.answer(w, r, issued, id.Client(b.Client), newCSRF()) // one that somebody planted before is worth nothing now
}

// refresh answers the refresh cookie with the next cookies. Tabs that come at once,
// and answers that get lost, are what the refresh chain is made for: they all get the
// same session.
func (d *Door) refresh(w http.ResponseWriter, r *http.Request) error {
	t, who, ok := unpack(form.Cookie(r, d.names().refresh, maxCookie))
	c, _ := d.Issuer.Clients.Get(who)
	allows := d.trusts
	if ok {
		allows = func(origin string) bool { return serves(c, origin) }
	}
	err := d.genuine(r, allows)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.NoToken, "nobody is signed in at this browser")
	}
	from := d.From(r)
	issued, err := d.Issuer.Grant(r.Context(), grant.Request{Type: client.GrantRefresh, RefreshToken: t, From: from,
		Client: grant.Credential{ID: who, Method: client.AuthNone, From: from}})
	if err != nil {
		return err
	}
	return d.answer(w, r, issued, who, form.Cookie(r, d.names().csrf, maxCookie).Reveal())
}

// answer sets the cookies of what was issued and says who is signed in.
func (d *Door) answer(w http.ResponseWriter, r *http.Request, issued grant.Issued, who id.Client, csrf string) error {
	whose, err := d.person(r.Context(), issued.User)
	if err = fault.InTime(r.Context(), err); err != nil {
		return err
	}
	whose.Client, whose.Expires, whose.Remembered = string(who), issued.Now.Add(issued.ExpiresIn).Unix(), !issued.Visit
	if !issued.Until.IsZero() {
		whose.Until = issued.Until.Unix()
	}
	err = d.signedIn(w, issued, who, whose, csrf)
	if err != nil {
		return err
	}
	problem.Write(w, http.StatusOK, state{SignedIn: true, Renewable: true, CSRF: csrf, User: &whose})
	return nil
}

func (d *Door) person(ctx context.Context, who id.User) (person, error) {
	u, err := d.Issuer.Users.Get(ctx, who)
	return person{Subject: who.String(), Number: strconv.FormatInt(u.Integer(), 10), Username: u.Username}, err
}

// session tells a page whether somebody is signed in, and gives it a CSRF token. A
// store that does not answer is an error and not a sign-out.
func (d *Door) session(w http.ResponseWriter, r *http.Request) error {
	n := d.names()
	now := state{CSRF: form.Cookie(r, n.csrf, maxCookie).Reveal(), Renewable: !form.Cookie(r, n.user, maxCookie).Empty()}
	if t := form.Cookie(r, n.access, maxCookie); !t.Empty() {
		b, err := d.Issuer.Shown(r.Context(), t)
		if err != nil && !fault.Is(err, fault.InvalidToken) {
			return err
		}
		c, _ := d.Issuer.Clients.Get(b.Access.Client)
		if err == nil && !b.User.IsZero() && d.mine(r, c) {
			whose, err := d.person(r.Context(), b.User)
			if err != nil {
				return err
			}
			whose.Client, whose.Expires, whose.Remembered = string(c.ID), unix(b.Access.Expires), b.Access.Grant != grant.GrantVisit
			now.SignedIn, now.User = true, &whose
		}
	}
	if !plainToken(now.CSRF) {
		now.CSRF = newCSRF()
		d.set(w, cookie{name: n.csrf, value: now.CSRF})
	}
	problem.Write(w, http.StatusOK, now)
	return nil
}

// unix is a time in seconds since 1970.
func unix(t time.Time) int64 { return t.Unix() }

// ends signs out, here or everywhere. It needs a good access cookie: a page whose
// cookie has run out renews it first, because a sign-out that did not happen is not
// answered as one. A session that has ended already needs no other end.
func (d *Door) ends(why fault.Reason) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := d.genuine(r, d.trusts)
		if err != nil {
			return err
		}
		t := form.Cookie(r, d.names().access, maxCookie)
		if t.Empty() {
			return fault.New(fault.NoToken, "the access cookie is missing or has run out: renew it first")
		}
		b, err := d.Issuer.Shown(r.Context(), t)
		c, _ := d.Issuer.Clients.Get(b.Access.Client)
		if err == nil && !d.mine(r, c) {
			return notItsPage()
		}
		ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByUser, From: d.From(r)})
		err = d.Issuer.EndBehind(ctx, t, why)
		e := fault.As(err)
		ended := err != nil && e.Kind == fault.InvalidToken && e.Reason != "" && !errors.Is(err, grant.ErrExpired)
		if err != nil && !ended {
			return err
		}
		d.signedOut(w)
		w.Header().Set(answer.ReasonHeader, string(why))
		answer.Empty(w, http.StatusNoContent)
		return nil
	}
}
