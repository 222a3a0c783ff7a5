package token

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// Expired returns what a token of ours said whose time is over. ok is false for
// one that is still good, and for everything that never was a token of this
// server or whose key is gone.
func (r Reader) Expired(ctx context.Context, t secret.Text, now time.Time) (a Access, ok bool) {
	end, ok := r.end(t)
	if !ok || !end.Before(now) {
		return Access{}, false
	}
	a, err := r.Access(ctx, t, end.Add(-time.Second))
	return a, err == nil
}

// Gone returns what a JWT whose time is over says when it names a key that is not
// kept any more, as the key of a phone that slept through a rotation. Nothing in it
// is proved: it serves to word a refusal, and for nothing else. Whoever asks has
// asked for the token itself before, which looked for keys that another node made.
func (r Reader) Gone(ctx context.Context, t secret.Text, now time.Time) (a Access, ok bool) {
	_, err := r.access(ctx, t, now)
	_, unknown := errors.AsType[unknownKey](err)
	end, read := r.end(t)
	if !unknown || !read || !end.Before(now) || strings.HasPrefix(t.Reveal(), OpaquePrefix) {
		return Access{}, false
	}
	b, err := b64.DecodeString(strings.Split(t.Reveal(), ".")[1])
	var c struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
		Client  string `json:"client_id"`
		SID     string `json:"sid"`
		ID      string `json:"jti"`
	}
	if err != nil || json.Unmarshal(b, &c) != nil || c.Issuer != r.Minter.Issuer || c.SID == "" {
		return Access{}, false
	}
	return Access{ID: c.ID, Subject: c.Subject, Client: id.Client(c.Client), SID: c.SID, Expires: end}, true
}

// end is when a token says that it expires; nothing about it is checked.
func (r Reader) end(t secret.Text) (time.Time, bool) {
	if strings.HasPrefix(t.Reveal(), OpaquePrefix) {
		a, err := r.Minter.OpenOpaque(t)
		return a.Expires, err == nil
	}
	_, rest, _ := strings.Cut(t.Reveal(), ".")
	payload, _, _ := strings.Cut(rest, ".")
	if len(payload) > MaxOpaque {
		return time.Time{}, false
	}
	b, err := b64.DecodeString(payload)
	var c struct {
		Exp int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(b, &c) != nil || c.Exp <= 0 {
		return time.Time{}, false
	}
	return time.Unix(c.Exp, 0).UTC(), true
}
