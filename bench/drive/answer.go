package drive

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// refused is an answer with another status than asked for.
type refused struct {
	status int
	body   string
}

func (r *refused) Error() string { return fmt.Sprintf("status %d: %s", r.status, r.body) }

// signedOut reports whether an app that gets this answer to its refresh has to
// send its user to the sign-in: every 4xx but "too many".
func (r *refused) signedOut() bool { return r.status >= 400 && r.status < 500 && r.status != 429 }

func unexpected(a answer) error { return &refused{a.status, shown(a.body)} }

// maxShown bounds what an error repeats of a body.
const maxShown = 200

func shown(body []byte) string {
	s := bytes.Join(bytes.Fields(body), []byte(" "))
	return string(s[:min(len(s), maxShown)])
}

// tokens is what a token endpoint answers (RFC 6749 section 5.1).
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
}

// checker verifies answers. It remembers the JOSE header that it saw last:
// servers send the same one until they change their key. It is used by one
// goroutine.
type checker struct {
	jwt    bool
	header []byte
	least  int
	buf    []byte
}

// tokens verifies the answer of a token endpoint: the status, the access token
// and, where it must be a JWT, its shape.
func (c *checker) tokens(a answer) (tokens, error) {
	var t tokens
	if a.status != 200 {
		return t, unexpected(a)
	}
	err := json.Unmarshal(a.body, &t)
	switch {
	case err != nil:
		return t, fmt.Errorf("not JSON: %s", shown(a.body))
	case t.Access == "":
		return t, errors.New("no access token in the answer")
	case t.Type == "":
		return t, errors.New("no token_type in the answer")
	case c.jwt:
		return t, c.access([]byte(t.Access))
	}
	return t, nil
}

// The signature lengths of JWS algorithms in bytes; RSA's depend on the key and
// are at least that of 2048 bits (RFC 7518 section 3).
var signatures = map[string]int{"ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64, "Ed25519": 64, "HS256": 32, "HS384": 48, "HS512": 64,
	"RS256": 256, "RS384": 256, "RS512": 256, "PS256": 256, "PS384": 256, "PS512": 256, "ML-DSA-44": 2420, "ML-DSA-65": 3309}

// access checks a JWT's shape: three base64url parts, a header with an
// algorithm that signs, a payload whose exp lies ahead, a signature of that
// algorithm's length. Whether the signature is right is not checked: that would
// cost the client more than the server.
func (c *checker) access(t []byte) error {
	header, rest, _ := bytes.Cut(t, []byte("."))
	payload, signature, two := bytes.Cut(rest, []byte("."))
	if !two || bytes.IndexByte(signature, '.') >= 0 {
		return errors.New("the access token is no JWT: it has not three parts")
	}
	if len(c.header) == 0 || !bytes.Equal(header, c.header) {
		var h struct {
			Alg string `json:"alg"`
		}
		err := c.part(header, &h)
		if err != nil {
			return err
		}
		least, signs := signatures[h.Alg]
		if !signs {
			return fmt.Errorf("the access token is signed with %.20q", h.Alg)
		}
		c.header, c.least = bytes.Clone(header), least
	}
	var p struct {
		Exp float64 `json:"exp"`
	}
	err := c.part(payload, &p)
	if err != nil {
		return err
	}
	if p.Exp <= float64(time.Now().Unix()) {
		return errors.New("the access token is expired, or has no exp")
	}
	raw, err := c.decode(signature)
	if err != nil || len(raw) < c.least {
		return errors.New("the access token has no signature of its algorithm")
	}
	return nil
}

func (c *checker) part(b64 []byte, into any) error {
	raw, err := c.decode(b64)
	if err != nil {
		return errors.New("a part of the access token is not base64url")
	}
	err = json.Unmarshal(raw, into)
	if err != nil {
		return errors.New("a part of the access token is not JSON")
	}
	return nil
}

func (c *checker) decode(b64 []byte) ([]byte, error) {
	var err error
	c.buf, err = base64.RawURLEncoding.AppendDecode(c.buf[:0], b64)
	return c.buf, err
}
