package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// handler is the bare token endpoint.
type handler struct {
	issuer, header string
	key            *ecdsa.PrivateKey
	writer         toucher // nil for none
}

// toucher changes one row for a request and returns when that is durable.
type toucher interface {
	touch(token string, now time.Time) error
}

func newHandler(issuer string, w toucher) (*handler, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &handler{issuer: issuer, header: b64([]byte(`{"alg":"ES256","kid":"floor","typ":"at+jwt"}`)), key: key, writer: w}, nil
}

var b64 = base64.RawURLEncoding.EncodeToString

// claims are those of a phone's access token.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
	ID       string `json:"jti"`
	Client   string `json:"client_id"`
	Scope    string `json:"scope"`
	Session  string `json:"sid"`
}

type body struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
}

const (
	scope = "openid profile email offline_access read write"
	life  = 900 // seconds
	// maxForm bounds a request, in bytes.
	maxForm = 64 << 10
)

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if err != nil {
		http.Error(w, "no form", http.StatusBadRequest)
		return
	}
	now := time.Now()
	presented := r.PostForm.Get("refresh_token")
	if h.writer != nil {
		err = h.writer.touch(presented, now)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	access, err := h.sign(r.PostForm.Get("client_id"), now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer, err := json.Marshal(body{access, "Bearer", life, random(32), scope})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer) // the client is gone if this fails
}

// sign makes a JWT (RFC 7515 section 5.1, RFC 7518 section 3.4).
func (h *handler) sign(client string, now time.Time) (string, error) {
	payload, err := json.Marshal(claims{h.issuer, "floor-user", h.issuer, now.Unix() + life, now.Unix(), random(16), client, scope, "floor-session"})
	if err != nil {
		return "", err
	}
	input := h.header + "." + b64(payload)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, h.key, digest[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + b64(signature[:]), nil
}

func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return b64(b)
}
