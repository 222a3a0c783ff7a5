// Package fake owns a provider that exists only for trying things out and for
// tests: it plays Google, Facebook, Apple, Microsoft and a plain OpenID issuer at
// their own paths, for people that whoever asks invents.
//
// It does not own any rule about tokens (room upstream), and it is no provider:
// anybody who can reach it becomes anybody.
package fake

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Provider is one invented provider. Its fields are set before use.
type Provider struct {
	// Issuer is the iss of its ID tokens.
	Issuer string
	// Secret is the client secret that Facebook's questions must show.
	Secret string
	Now    func() time.Time

	once sync.Once
	key  *rsa.PrivateKey
	seal []byte
}

// KeyID is the name of the provider's one key.
const KeyID = "fake-1"

const (
	keyBits = 2048
	// life is how long its tokens are good.
	life = time.Hour
	// opaque begins its access tokens, as Google's do.
	opaque = "ya29."
)

func (p *Provider) ready() {
	p.once.Do(func() {
		var err error
		p.key, err = rsa.GenerateKey(rand.Reader, keyBits)
		if err != nil { // crypto/rand does not fail
			panic(err)
		}
		p.seal = make([]byte, sha256.Size)
		_, _ = rand.Read(p.seal)
	})
}

// PublicKey is the key that its ID tokens are verified with.
func (p *Provider) PublicKey() *rsa.PublicKey { p.ready(); return &p.key.PublicKey }

// Claims are what it says about somebody.
type Claims map[string]any

// Person is what a token says when nothing else is wished: who, at which app.
func (p *Provider) Person(subject, app string) Claims {
	now := p.Now().Unix()
	return Claims{"iss": p.Issuer, "sub": subject, "aud": app, "iat": now, "exp": now + int64(life/time.Second), "jti": rand.Text()}
}

// With is the claims with one changed; nil takes it out.
func (c Claims) With(name string, value any) Claims {
	next := Claims{}
	for k, v := range c {
		next[k] = v
	}
	next[name] = value
	if value == nil {
		delete(next, name)
	}
	return next
}

var segment = base64.RawURLEncoding

// IDToken signs claims as RS256.
func (p *Provider) IDToken(c Claims) string {
	return p.Sign(map[string]any{"alg": "RS256", "kid": KeyID, "typ": "JWT"}, c)
}

// Sign signs claims under any header. Whatever alg says, the signature is RS256.
func (p *Provider) Sign(header map[string]any, c Claims) string {
	p.ready()
	input := encode(header) + "." + encode(c)
	digest := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, digest[:])
	if err != nil { // the key was made for this
		panic(err)
	}
	return input + "." + segment.EncodeToString(sig)
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only a claim that is no JSON
	}
	return segment.EncodeToString(b)
}

// AccessToken is an opaque token that the provider's endpoints answer to with
// these claims. It remembers itself, so that nothing has to be kept.
func (p *Provider) AccessToken(c Claims) string {
	p.ready()
	text := encode(c)
	return opaque + text + "." + hex.EncodeToString(p.mac(text))
}

func (p *Provider) mac(text string) []byte {
	m := hmac.New(sha256.New, p.seal)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// read opens an access token.
func (p *Provider) read(token string) (Claims, bool) {
	p.ready()
	rest, ok := strings.CutPrefix(token, opaque)
	text, sum, cut := strings.Cut(rest, ".")
	mac, err := hex.DecodeString(sum)
	if !ok || !cut || err != nil || !hmac.Equal(mac, p.mac(text)) {
		return nil, false
	}
	b, err := segment.DecodeString(text)
	var c Claims
	return c, err == nil && json.Unmarshal(b, &c) == nil
}

// ServeHTTP answers at the paths of the providers it plays.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.ready()
	switch path := strings.TrimSuffix(r.URL.Path, "/"); path {
	case "/oauth2/v3/certs", "/auth/keys", "/common/discovery/v2.0/keys", "/.well-known/oauth/openid/jwks", "/keys":
		k := p.key.PublicKey
		tell(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{"kty": "RSA", "use": "sig", "kid": KeyID,
			"n": segment.EncodeToString(k.N.Bytes()), "e": segment.EncodeToString(big.NewInt(int64(k.E)).Bytes())}}})
	case "/.well-known/openid-configuration":
		tell(w, http.StatusOK, map[string]string{"issuer": p.Issuer, "jwks_uri": p.Issuer + "/keys"})
	case "/tokeninfo":
		c, ok := p.read(r.FormValue("access_token"))
		if !ok {
			tell(w, http.StatusBadRequest, map[string]string{"error": "invalid_token"})
			return
		}
		tell(w, http.StatusOK, googleInfo(c))
	case "/v1/userinfo":
		c, ok := p.read(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if !ok {
			tell(w, http.StatusUnauthorized, map[string]string{"error": "invalid_request"})
			return
		}
		tell(w, http.StatusOK, c)
	case "/debug_token":
		p.debugToken(w, r)
	case "/me":
		p.me(w, r)
	default:
		http.NotFound(w, r)
	}
}

// googleInfo writes claims as tokeninfo does: everything as text.
func googleInfo(c Claims) map[string]string {
	all := map[string]string{}
	for _, name := range []string{"aud", "azp", "sub", "exp", "email", "email_verified", "scope"} {
		switch v := c[name].(type) {
		case nil:
		case float64:
			all[name] = fmt.Sprintf("%.0f", v)
		default:
			all[name] = fmt.Sprint(v)
		}
	}
	return all
}

// debugToken plays Facebook's answer about a token. The claims data, where it is
// set, is said as it stands.
func (p *Provider) debugToken(w http.ResponseWriter, r *http.Request) {
	c, ok := p.read(r.FormValue("input_token"))
	app, secret, _ := strings.Cut(r.FormValue("access_token"), "|")
	if secret != p.Secret {
		tell(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"message": "Invalid OAuth access token."}})
		return
	}
	if !ok {
		tell(w, http.StatusOK, map[string]any{"data": map[string]any{"app_id": app, "is_valid": false}})
		return
	}
	data, given := c["data"]
	if !given {
		data = map[string]any{"app_id": c["aud"], "is_valid": true, "type": "USER", "user_id": c["sub"], "expires_at": c["exp"]}
	}
	tell(w, http.StatusOK, map[string]any{"data": data})
}

// me plays Facebook's answer about a person, to who proves to hold the secret.
func (p *Provider) me(w http.ResponseWriter, r *http.Request) {
	token := r.FormValue("access_token")
	c, ok := p.read(token)
	m := hmac.New(sha256.New, []byte(p.Secret))
	m.Write([]byte(token))
	if !ok || r.FormValue("appsecret_proof") != hex.EncodeToString(m.Sum(nil)) {
		tell(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"message": "Invalid appsecret_proof"}})
		return
	}
	about := map[string]any{"id": c["sub"], "name": c["name"], "first_name": c["given_name"], "last_name": c["family_name"], "email": c["email"]}
	if me, given := c["me"].(map[string]any); given {
		about = me
	}
	tell(w, http.StatusOK, about)
}

func tell(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // whoever asked is gone if this fails
}
