package oauth

import (
	"net/http"
	"slices"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
)

// revoke is RFC 7009. token_type_hint is not needed: a token says itself what
// it is.
func (d *Door) revoke(w http.ResponseWriter, r *http.Request) {
	f, cred, err := d.ask(w, r)
	if err == nil {
		ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByClient, From: d.From(r)})
		err = d.Issuer.Revoke(ctx, cred, f.Secret("token"))
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	answer.Empty(w, http.StatusOK)
}

// introspectionBody is RFC 7662 section 2.2; inactive says nothing else.
type introspectionBody struct {
	Active    bool     `json:"active"`
	Scope     string   `json:"scope,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Username  string   `json:"username,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Exp       int64    `json:"exp,omitempty"`
	Iat       int64    `json:"iat,omitempty"`
	Sub       string   `json:"sub,omitempty"`
	Aud       []string `json:"aud,omitempty"`
	Iss       string   `json:"iss,omitempty"`
	JTI       string   `json:"jti,omitempty"`
	SID       string   `json:"sid,omitempty"`
	Epoch     *uint32  `json:"epoch,omitempty"`
	Grant     string   `json:"grant,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
}

// introspect is RFC 7662.
func (d *Door) introspect(w http.ResponseWriter, r *http.Request) {
	f, cred, err := d.ask(w, r)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	in, err := d.Issuer.Introspect(r.Context(), cred, f.Secret("token"))
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	if !in.Active {
		answer.JSON(w, http.StatusOK, introspectionBody{})
		return
	}
	a := in.Access
	b := introspectionBody{Active: true, Scope: a.Scope, ClientID: string(a.Client), Username: in.Username,
		TokenType: in.TokenType, Sub: a.Subject, Aud: a.Audience, Iss: d.Issuer.Minter.Issuer, JTI: a.ID, SID: a.SID,
		Grant: a.Grant, ACR: a.ACR, AMR: a.AMR}
	if !a.Expires.IsZero() {
		b.Exp, b.Iat = a.Expires.Unix(), a.IssuedAt.Unix()
	}
	if !a.AuthTime.IsZero() {
		b.AuthTime = a.AuthTime.Unix()
	}
	if a.SID != "" && a.ID != "" {
		b.Epoch = &a.Epoch
	}
	answer.JSON(w, http.StatusOK, b)
}

// ask reads what revocation and introspection have in common.
func (d *Door) ask(w http.ResponseWriter, r *http.Request) (form.Values, grant.Credential, error) {
	f, err := form.Read(w, r)
	if err != nil {
		return f, grant.Credential{}, err
	}
	cred, err := d.credential(r, f)
	if err != nil {
		return f, cred, err
	}
	if !f.Has("token") {
		// The caller's credential comes first: strangers learn nothing (RFC 7662 section 2.3).
		_, err = d.Issuer.Authenticate(r.Context(), cred)
		if err == nil {
			err = fault.New(fault.InvalidRequest, "token is missing")
		}
		return f, cred, err
	}
	return f, cred, nil
}

// profileBody is OIDC Core section 5.1, cut to the granted scopes.
type profileBody struct {
	Sub           string `json:"sub"`
	Name          string `json:"name,omitempty"`
	GivenName     string `json:"given_name,omitempty"`
	FamilyName    string `json:"family_name,omitempty"`
	Username      string `json:"preferred_username,omitempty"`
	UpdatedAt     int64  `json:"updated_at,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
}

// userinfo is OIDC Core section 5.3.
func (d *Door) userinfo(w http.ResponseWriter, r *http.Request) {
	t, err := bearer(w, r)
	if err != nil {
		d.refuseBearer(w, r, err)
		return
	}
	p, err := d.Issuer.UserInfo(r.Context(), t)
	if err != nil {
		d.refuseBearer(w, r, err)
		return
	}
	u := p.User
	b := profileBody{Sub: u.ID.String()}
	if slices.Contains(p.Scopes, "profile") {
		b.Name, b.GivenName, b.FamilyName, b.Username, b.UpdatedAt = u.Name, u.GivenName, u.FamilyName, u.Username, u.UpdatedAt.Unix()
	}
	if slices.Contains(p.Scopes, "email") && u.Email != "" {
		b.Email, b.EmailVerified = u.Email, &u.EmailVerified
	}
	answer.JSON(w, http.StatusOK, b)
}
