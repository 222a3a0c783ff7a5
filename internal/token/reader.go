package token

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/verify"
)

// Reader reads access tokens of this server in either form. JWTs go through
// the same module that resource servers use: there is one verifier.
type Reader struct {
	Minter Minter
	JWT    verify.Checker
}

// opaqueSkew forgives a clock that differs between two nodes, as verify does
// for JWTs.
const opaqueSkew = verify.DefaultSkew

// Access returns what a token says, when it is ours and not expired. The error
// says nothing about which of the two it was; a *fault.Error of kind Unavailable
// means that nobody can tell.
func (r Reader) Access(ctx context.Context, t secret.Text, now time.Time) (Access, error) {
	return again(ctx, r.Minter.Keys, func() (Access, error) { return r.access(ctx, t, now) })
}

// access reads a token with the keys held here.
func (r Reader) access(ctx context.Context, t secret.Text, now time.Time) (Access, error) {
	if strings.HasPrefix(t.Reveal(), OpaquePrefix) {
		a, err := r.Minter.OpenOpaque(t)
		if err == nil && now.After(a.Expires.Add(opaqueSkew)) {
			err = ErrNotOurs
		}
		if err != nil {
			return Access{}, err
		}
		return a, nil
	}
	c, err := r.JWT.Verify(ctx, t.Reveal(), now)
	if no, ok := errors.AsType[*verify.Error](err); ok && no.Kind == verify.UnknownKey {
		return Access{}, unknownKey{}
	}
	if err != nil {
		return Access{}, err
	}
	return Access{ID: c.ID, Subject: c.Subject, Client: id.Client(c.ClientID), Audience: c.Audience, Scope: c.Scope,
		IssuedAt: c.IssuedAt.UTC(), Expires: c.Expires.UTC(), SID: c.Session, Epoch: uint32(c.Epoch), Grant: c.Grant,
		AuthTime: utc(c.AuthTime), ACR: c.ACR, AMR: c.AMR}, nil
}

// utc keeps a zero time zero.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
