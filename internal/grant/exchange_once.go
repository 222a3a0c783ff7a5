package grant

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/once"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/upstream"
)

// spending is what a spent token may open: one session, under an id that was
// chosen when the token was spent, so that whoever repeats the request finds that
// session, and nobody makes a second one. It is zero for a token that is not
// spent, whose sign-ins are told apart by attempt_id alone.
type spending struct {
	session id.Session
	// attempt marks the session as this sign-in's: the app's attempt_id, or what
	// stands for it when it sent none; "" when nobody may repeat it.
	attempt string
}

// spent is a spending as room once keeps it, with who may come back for it.
type spent struct {
	Session id.Session
	// By is the client, the install and the attempt that spent it.
	By once.Key
	// At is when, by the store's clock, in milliseconds since 1970.
	At int64
}

// spend uses up a token that speaks of one sign-in, and the nonce it was bound to.
//
// A lost answer, or a crash before the session was written, must not cost the
// person a second visit to the provider. So the same request, by the same client
// and install, with the same attempt_id or with none, may come again within the
// client's overlap and gets the same session; a client without an overlap has one
// answer. Whoever holds a copy of the token can repeat it for as long, and gets
// the one session that the owner's next refresh would find him in. A nonce says
// that this must not be: with one, only an attempt_id tells a repeat from a replay,
// and without that the session is opened once.
//
// A provider's access token is not spent: its library keeps one for weeks and
// shows it at each sign-in.
func (is *Issuer) spend(ctx context.Context, c client.Client, who upstream.Identity, r Request) (spending, error) {
	if !who.SingleUse {
		return spending{attempt: r.Device.AttemptID}, nil
	}
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return spending{}, fault.Down(err)
	}
	digest := tokenDigest(r.Subject.Token)
	mine := spent{Session: id.NewSession(), By: once.NewKey("attempt", string(c.ID), r.Device.InstallID, r.Device.AttemptID), At: now.UnixMilli()}
	life := min(who.Expires.Sub(is.Now()), upstream.MaxAge) + 2*upstream.Skew
	first, err := is.keep(ctx, once.NewKey("exchange", who.Upstream, string(digest[:])), mine, life)
	if err != nil {
		return spending{}, err
	}
	overlap := is.policy(c).Overlap
	if first != mine && (first.By != mine.By || overlap <= 0 || now.Sub(time.UnixMilli(first.At)) > overlap) {
		return spending{}, notAccepted(ErrReplayed)
	}
	if r.Subject.Nonce != "" {
		bound, err := is.keep(ctx, once.NewKey("exchange nonce", who.Upstream, r.Subject.Nonce), first, life)
		if err != nil {
			return spending{}, err
		}
		if bound != first { // another token had it
			return spending{}, notAccepted(ErrReplayed)
		}
	}
	attempt := r.Device.AttemptID
	if attempt == "" && r.Subject.Nonce == "" {
		attempt = "token " + base64.RawURLEncoding.EncodeToString(digest[:])
	}
	return spending{first.Session, attempt}, nil
}

// tokenDigest names an ID token by what its signature covers. Not by the signature:
// whoever has a token of ES256 can make a second good one of it, without the key.
func tokenDigest(t secret.Text) [sha256.Size]byte {
	whole := t.Reveal()
	signed := whole[:max(0, strings.LastIndexByte(whole, '.'))]
	return sha256.Sum256([]byte(signed))
}

// keep remembers a spending under a key, and gives the one that was there first.
func (is *Issuer) keep(ctx context.Context, key once.Key, s spent, life time.Duration) (spent, error) {
	text, err := json.Marshal(s)
	if err != nil { // bytes and numbers always encode
		return spent{}, fault.Wrap(fault.Internal, err, "")
	}
	err = is.Once.Put(ctx, key, text, life)
	if !errors.Is(err, once.ErrTaken) {
		return s, err
	}
	text, err = is.Once.Take(ctx, key)
	if again, ok := errors.AsType[*once.Spent](err); ok {
		text, err = again.Value, nil
	}
	var first spent
	switch {
	case errors.Is(err, once.ErrUnknown):
		return spent{}, notAccepted(ErrReplayed)
	case err != nil:
		return spent{}, err
	case json.Unmarshal(text, &first) != nil: // another release wrote it
		return spent{}, notAccepted(ErrReplayed)
	}
	return first, nil
}
