package oauth

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
)

// metadata is RFC 8414 section 2 and OIDC Discovery section 3. It advertises
// only what works here now; members with nothing to say are left out.
type metadata struct {
	Issuer                string   `json:"issuer"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	GrantTypes            []string `json:"grant_types_supported,omitempty"`
	SubjectTypes          []string `json:"subject_types_supported"`
	Scopes                []string `json:"scopes_supported,omitempty"`
	IDTokenAlgs           []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuthMethods []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionMethods  []string `json:"introspection_endpoint_auth_methods_supported"`
	Claims                []string `json:"claims_supported"`
	RequestParameter      bool     `json:"request_parameter_supported"`
	RequestURIParameter   bool     `json:"request_uri_parameter_supported"`
	ClaimsParameter       bool     `json:"claims_parameter_supported"`
}

// metadataMaxAge is how long clients may keep the discovery document, in
// seconds: an hour would be common, five minutes let a new feature show.
const metadataMaxAge = 300

// etagSize is how much of a document's hash names its version, in bytes.
const etagSize = 12

// discovery serves both documents: they are one.
func (d *Door) discovery(w http.ResponseWriter, r *http.Request) {
	base := strings.TrimSuffix(d.Issuer.Minter.Issuer, "/")
	offered := d.Issuer.Clients.Grants()
	var grants []string
	for _, g := range grant.Types() {
		if slices.Contains(offered, grant.Registered(g)) {
			grants = append(grants, g)
		}
	}
	body, err := json.Marshal(metadata{
		Issuer:        d.Issuer.Minter.Issuer,
		TokenEndpoint: base + "/oauth2/token", JWKSURI: base + "/oauth2/jwks", UserinfoEndpoint: base + "/oauth2/userinfo",
		RevocationEndpoint: base + "/oauth2/revoke", IntrospectionEndpoint: base + "/oauth2/introspect",
		GrantTypes: grants, SubjectTypes: []string{"public"},
		Scopes: d.Issuer.Clients.Scopes(), IDTokenAlgs: d.Keys.Algs(),
		TokenAuthMethods:      []string{"none", "client_secret_basic", "client_secret_post"},
		RevocationAuthMethods: []string{"none", "client_secret_basic", "client_secret_post"},
		IntrospectionMethods:  []string{"client_secret_basic", "client_secret_post"},
		Claims: []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "sid", "at_hash", "email",
			"email_verified", "name", "given_name", "family_name", "preferred_username", "updated_at"},
	})
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:etagSize]) + `"`
	public(w, r, body, etag, "application/json", metadataMaxAge)
}

// jwks serves the key set (RFC 7517), next keys included.
func (d *Door) jwks(w http.ResponseWriter, r *http.Request) {
	set := d.Keys.JWKS()
	public(w, r, set.Body, set.ETag, "application/jwk-set+json", d.JWKSMaxAge)
}

// public writes a document that anybody may read and keep for a while.
func public(w http.ResponseWriter, r *http.Request, body []byte, etag, kind string, maxAge int) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(maxAge))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = bytes.NewReader(body).WriteTo(w)
	}
}

// NotFound answers every path that nobody owns.
func (d *Door) NotFound(w http.ResponseWriter, r *http.Request) {
	d.refuse(w, r, fault.New(fault.NotFound, "no such endpoint; see /.well-known/openid-configuration"))
}
