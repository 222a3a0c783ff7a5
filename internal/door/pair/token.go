package pair

import (
	"net/http"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
)

// pairBody is the answer of simplejwt. The order of the members is the order on
// the wire.
type pairBody struct {
	Refresh string `json:"refresh,omitempty"`
	Access  string `json:"access"`
}

// rotatedBody is its answer to a refresh, in the other order.
type rotatedBody struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
}

// tokenBody is the answer of the dialects with one token.
type tokenBody struct {
	Token string `json:"token"`
}

// credential names the door's client: a public one, which proves nothing.
func (d *Door) credential(r *http.Request) grant.Credential {
	return grant.Credential{ID: d.Client, Method: client.AuthNone, From: d.From(r)}
}

// ask reads a body that must have some fields. The error is a *refusal.
func ask(w http.ResponseWriter, r *http.Request, needs ...string) (values, error) {
	v, err := read(w, r)
	if err != nil {
		return nil, err
	}
	if lacks := v.lacks(needs...); lacks != nil {
		return nil, &refusal{http.StatusBadRequest, lacks, fault.New(fault.InvalidRequest, "a field is missing")}
	}
	return v, nil
}

// obtain signs a user in. Some apps of simplejwt send the address under the name
// email, where the user model has no user names.
func (d *Door) obtain(w http.ResponseWriter, r *http.Request) {
	v, err := read(w, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	name := "username"
	if _, sent := v[name]; !sent {
		if _, sent = v["email"]; sent {
			name = "email"
		}
	}
	if lacks := v.lacks(name, "password"); lacks != nil {
		d.refuse(w, r, &refusal{http.StatusBadRequest, lacks, fault.New(fault.InvalidRequest, "a field is missing")})
		return
	}
	asked := grant.Request{Type: client.GrantPassword, Client: d.credential(r), Username: v.text(name), Password: v.secret("password"),
		Device: grant.Device{InstallID: v.text("install_id"), AttemptID: v.text("attempt_id"), Name: v.text("device_name"),
			Model: v.text("device_model"), System: v.text("device_os"), App: v.text("app_version")}}
	asked.From = asked.Client.From
	if d.Dialect != SimpleJWT {
		asked.Prolongs = string(d.Dialect)
	}
	issued, err := d.Issuer.Grant(r.Context(), asked)
	if err != nil {
		d.refuseSignIn(w, r, err)
		return
	}
	if d.Dialect == SimpleJWT {
		answer.JSON(w, http.StatusOK, pairBody{Refresh: issued.RefreshToken.Reveal(), Access: issued.AccessToken.Reveal()})
		return
	}
	answer.JSON(w, http.StatusOK, tokenBody{issued.AccessToken.Reveal()})
}

// refuseSignIn words what a password was refused with: one answer, whoever it was
// about.
func (d *Door) refuseSignIn(w http.ResponseWriter, r *http.Request, err error) {
	err = d.stopped(err)
	e := fault.As(err)
	switch {
	case e.Kind != fault.InvalidGrant:
	case e.Reason == fault.ClientStopped:
		err = &refusal{http.StatusForbidden, detail{Detail: e.Words}, e}
	case d.Dialect == DRFJWT:
		err = &refusal{http.StatusBadRequest, nonField(drfNoAccount), e}
	default:
		err = &refusal{http.StatusUnauthorized, detail{Detail: noAccount}, e}
	}
	d.refuse(w, r, err)
}

// refresh turns a refresh token into the next pair. The refresh token is always in
// the answer: an app that keeps what it was sent is never left behind.
func (d *Door) refresh(w http.ResponseWriter, r *http.Request) {
	v, err := ask(w, r, "refresh")
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	shown, cred := secret.New(v.text("refresh")), d.credential(r)
	issued, err := d.Issuer.Grant(r.Context(), grant.Request{Type: client.GrantRefresh, Client: cred, RefreshToken: shown, From: cred.From})
	if err != nil {
		d.refuse(w, r, d.Issuer.Refused(r.Context(), shown, err))
		return
	}
	answer.JSON(w, http.StatusOK, rotatedBody{Access: issued.AccessToken.Reveal(), Refresh: issued.RefreshToken.Reveal()})
}

// prolong turns a good token into a longer one, in the dialects with one token.
func (d *Door) prolong(w http.ResponseWriter, r *http.Request) {
	v, err := ask(w, r, "token")
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	issued, err := d.Issuer.Prolong(r.Context(), d.credential(r), string(d.Dialect), secret.New(v.text("token")))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	answer.JSON(w, http.StatusOK, tokenBody{issued.AccessToken.Reveal()})
}

// verify tells whether a token of any type stands.
func (d *Door) verify(w http.ResponseWriter, r *http.Request) {
	v, err := ask(w, r, "token")
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	shown := secret.New(v.text("token"))
	err = fault.InTime(r.Context(), d.Issuer.Stands(r.Context(), d.credential(r), shown))
	if err != nil {
		d.refuse(w, r, d.onVerify(err))
		return
	}
	if d.Dialect == DRFJWT {
		answer.JSON(w, http.StatusOK, tokenBody{shown.Reveal()})
		return
	}
	answer.JSON(w, http.StatusOK, struct{}{})
}

// onVerify words what verify alone says in another way: that a token was ended.
func (d *Door) onVerify(err error) error {
	n := d.worded(d.stopped(err))
	if b, ok := n.body.(detail); ok && n.status == http.StatusUnauthorized && b.Detail == blacklisted {
		return &refusal{http.StatusBadRequest, nonField(blacklisted), n.fault}
	}
	return n
}

// blacklist ends the session behind a token: the refresh token of simplejwt, the
// one token of the other dialects.
func (d *Door) blacklist(w http.ResponseWriter, r *http.Request) {
	field := "refresh"
	if d.Dialect != SimpleJWT {
		field = "token"
	}
	v, err := ask(w, r, field)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	shown := secret.New(v.text(field))
	if d.Dialect == SimpleJWT {
		err = d.Issuer.SignOut(r.Context(), d.credential(r), shown)
	} else {
		err = d.Issuer.SignOutProlonged(r.Context(), d.credential(r), string(d.Dialect), shown)
	}
	if err = fault.InTime(r.Context(), err); err != nil {
		d.refuse(w, r, err)
		return
	}
	answer.JSON(w, http.StatusOK, struct{}{})
}
