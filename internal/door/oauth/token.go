package oauth

import (
	"net/http"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
)

// tokenBody is RFC 6749 section 5.1 with the id_token of OIDC Core section
// 3.1.3.3. The order of the members is the order on the wire.
type tokenBody struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	IDToken      string `json:"id_token,omitempty"`
	IssuedType   string `json:"issued_token_type,omitempty"` // RFC 8693 section 2.2.1
}

// token is the token endpoint: parse once, grant, render.
func (d *Door) token(w http.ResponseWriter, r *http.Request) {
	f, err := form.Read(w, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	cred, err := d.credential(r, f)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	issued, err := d.Issuer.Grant(r.Context(), d.request(r, f, cred))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	answer.JSON(w, http.StatusOK, tokenBody{
		AccessToken: issued.AccessToken.Reveal(), TokenType: "Bearer", ExpiresIn: int64(issued.ExpiresIn / time.Second),
		RefreshToken: issued.RefreshToken.Reveal(), Scope: issued.Scope, IDToken: issued.IDToken.Reveal(),
		IssuedType: issued.TokenType,
	})
}

// request is the one place where a form becomes a grant.Request.
func (d *Door) request(r *http.Request, f form.Values, cred grant.Credential) grant.Request {
	return grant.Request{
		Type: f.Get("grant_type"), Client: cred, Scope: f.Get("scope"),
		Username: f.Get("username"), Password: f.Secret("password"),
		RefreshToken: f.Secret("refresh_token"),
		Device: grant.Device{InstallID: f.Get("install_id"), AttemptID: f.Get("attempt_id"), Name: f.Get("device_name"),
			Model: f.Get("device_model"), System: f.Get("device_os"), App: f.Get("app_version")},
		From: cred.From,
		Subject: grant.Subject{Token: f.Secret("subject_token"), Type: f.Get("subject_token_type"), Upstream: f.Get("subject_issuer"),
			Nonce: f.Get("nonce"), Requested: f.Get("requested_token_type"), Resource: f.Get("resource"), Audience: f.Get("audience"),
			Actor: f.Has("actor_token") || f.Has("actor_token_type")},
	}
}
