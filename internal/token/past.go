package token

import (
	"context"
	"encoding/json"
	"strings"
	"time"

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
