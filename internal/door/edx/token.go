package edx

import (
	"net/http"
	"strings"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
)

// tokenBody is the answer of the token endpoint. The order of the members is the
// order on the wire.
type tokenBody struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token,omitempty"`
}

// grants are the grant_types that exist at this endpoint, with the parameters that
// one of them may not be without. Every other word is answered alike.
var grants = map[string][]string{
	"password":           {"username", "password"},
	"refresh_token":      {"refresh_token"},
	"authorization_code": {"code"},
	"client_credentials": nil,
}

// missing is how the original words a missing parameter.
func missing(parameter string) string {
	if parameter == "refresh_token" {
		return "Missing refresh token parameter."
	}
	return "Request is missing " + parameter + " parameter."
}

// token is the token endpoint: parse once, grant, render.
func (d *Door) token(w http.ResponseWriter, r *http.Request) {
	f, err := form.ReadAny(w, r)
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	needs, known := grants[f.Get("grant_type")]
	if !known {
		d.refuse(w, r, fault.New(fault.UnsupportedGrant, "grant_type is missing or unknown"), "")
		return
	}
	cred, err := d.credential(r, f)
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	for _, name := range needs {
		if !f.Has(name) {
			d.refuseMissing(w, r, cred, missing(name))
			return
		}
	}
	issued, err := d.Issuer.Grant(r.Context(), request(r, f, cred))
	if err != nil {
		said := ""
		if f.Get("grant_type") == "password" && fault.Is(err, fault.InvalidGrant) {
			said = wrongPassword
		}
		d.refuse(w, r, err, said)
		return
	}
	answer.JSON(w, http.StatusOK, body(issued))
}

// body is what was issued, as apps read it.
func body(issued grant.Issued) tokenBody {
	b := tokenBody{AccessToken: issued.AccessToken.Reveal(), TokenType: "Bearer", ExpiresIn: int64(issued.ExpiresIn / time.Second),
		RefreshToken: issued.RefreshToken.Reveal(), Scope: issued.Scope}
	if issued.Format == client.JWT {
		b.TokenType = "JWT"
	}
	return b
}

// refuseMissing refuses a request without a parameter it needs, after the client
// has proved itself: strangers learn that they are strangers.
func (d *Door) refuseMissing(w http.ResponseWriter, r *http.Request, cred grant.Credential, said string) {
	_, err := d.Issuer.Authenticate(r.Context(), cred)
	if err == nil {
		err = fault.New(fault.InvalidRequest, said)
	}
	d.refuse(w, r, err, "")
}

// credential reads how the client authenticates. Apps send the access token they
// hold with every call, this one too, so only an Authorization header that is
// Basic is about the client.
func (d *Door) credential(r *http.Request, f form.Values) (grant.Credential, error) {
	c := grant.Credential{ID: id.Client(f.Get("client_id")), Method: client.AuthNone, From: d.From(r)}
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Basic") {
		name, secret, _, err := form.Basic(r.Header)
		switch {
		case err != nil:
			return c, err
		case f.Has("client_secret"):
			return c, fault.New(fault.InvalidRequest, "authenticate the client in one way: either the Authorization header or the body")
		case c.ID != "" && c.ID != id.Client(name):
			return c, fault.New(fault.InvalidRequest, "client_id in the body is not the client of the Authorization header")
		}
		c.ID, c.Secret, c.Method = id.Client(name), secret, client.AuthBasic
		return c, nil
	}
	if f.Has("client_secret") {
		c.Secret, c.Method = f.Secret("client_secret"), client.AuthPost
	}
	return c, nil
}

// request is the one place where a form becomes a grant.Request.
func request(r *http.Request, f form.Values, cred grant.Credential) grant.Request {
	return grant.Request{
		Type: f.Get("grant_type"), Client: cred, Scope: scope(f.Get("grant_type"), f.Get("scope")), Format: format(r, f),
		Username: f.Get("username"), Password: f.Secret("password"),
		RefreshToken: f.Secret("refresh_token"),
		Device: grant.Device{InstallID: f.Get("install_id"), AttemptID: f.Get("attempt_id"), Name: f.Get("device_name"),
			Model: f.Get("device_model"), System: f.Get("device_os"), App: f.Get("app_version")},
		From: cred.From,
	}
}

// typeHeader asks for a form of token where the body does not.
const typeHeader = "X-Token-Type"

// format is the form of access token that was asked for. asymmetric_jwt is read by
// nobody: every JWT here is signed with a private key.
func format(r *http.Request, f form.Values) client.Format {
	asked := f.Get("token_type")
	if asked == "" {
		asked = r.Header.Get(typeHeader)
	}
	if strings.EqualFold(asked, "jwt") {
		return client.JWT
	}
	return client.Opaque
}

// scope is what a grant asks for here: the four scopes of every application where
// none is named, and user_id with every password (Open edX's decision 15). A
// refresh without scope has the whole grant again.
func scope(grantType, asked string) string {
	switch grantType {
	case "password", "client_credentials":
		if asked == "" {
			asked = strings.Join(client.EdXDefaults(), " ")
		}
		if grantType == "password" && !strings.Contains(" "+asked+" ", " "+client.ScopeUserID+" ") {
			asked += " " + client.ScopeUserID
		}
	}
	return asked
}

// revoke ends what a token stands for. It is answered alike whatever the token
// was.
func (d *Door) revoke(w http.ResponseWriter, r *http.Request) {
	f, err := form.ReadAny(w, r)
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	cred, err := d.credential(r, f)
	if err == nil && !f.Has("token") {
		d.refuseMissing(w, r, cred, "Missing token parameter.")
		return
	}
	if err == nil {
		ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByClient, From: d.From(r)})
		err = d.Issuer.Revoke(ctx, cred, f.Secret("token"))
	}
	if err != nil {
		d.refuse(w, r, err, "")
		return
	}
	w.Header().Set("Content-Type", "text/html")
	answer.Empty(w, http.StatusOK)
}
