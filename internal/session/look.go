package session

import (
	"context"
	"errors"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
)

// Look decides what a refresh token would earn, without any effect: for
// introspection. An error says why it would earn nothing.
func (k *Keeper) Look(ctx context.Context, presented secret.Text, by id.Client, terms Terms) (Loaded, error) {
	opened, err := k.Tokens.Open(ctx, presented)
	if err != nil {
		return Loaded{}, unopened(err)
	}
	l, err := k.Store.Load(ctx, opened.Session)
	if errors.Is(err, ErrNotFound) {
		return Loaded{}, refusal(fault.Malformed)
	}
	if err != nil {
		return Loaded{}, fault.Down(err)
	}
	pol, err := terms(l.Session)
	if err != nil {
		return Loaded{}, err
	}
	p := Presented{Client: by, Generation: Generation(opened.Generation), IssuedAt: opened.IssuedAt,
		Genuine: k.Tokens.Genuine(opened, l.Session.Secret)}
	_, v := l.Session.Refresh(p, l.Standing, pol, l.Now)
	if !v.Answer.Issues() {
		return l, refusal(v.Reason)
	}
	return l, nil
}

// Owned finds the session behind any genuine refresh token of one client,
// whatever its generation, for revocation (RFC 7009: revoking a retired token
// ends the whole chain). ok is false when there is none.
func (k *Keeper) Owned(ctx context.Context, presented secret.Text, by id.Client) (which id.Session, ok bool, err error) {
	opened, err := k.Tokens.Open(ctx, presented)
	if errors.Is(err, token.ErrNotOurs) {
		return id.Session{}, false, nil
	}
	if err != nil { // a sign-out that nobody can tell about is not acknowledged
		return id.Session{}, false, err
	}
	l, err := k.Store.Load(ctx, opened.Session)
	if errors.Is(err, ErrNotFound) {
		return id.Session{}, false, nil
	}
	if err != nil {
		return id.Session{}, false, fault.Down(err)
	}
	return l.Session.ID, l.Session.Client == by && k.Tokens.Genuine(opened, l.Session.Secret), nil
}

// Rename gives the device of a session another name and returns the session
// under it. pol is the policy it lives under: what is over has no name to change.
// The mark of the last writer stays, so that a refresh which waits for its own
// commit still recognises it. Errors are *fault.Error: NotFound or Unavailable;
// nil means durable.
func (k *Keeper) Rename(ctx context.Context, which id.Session, name string, pol Policy) (Session, error) {
	var last error
	for range maxTries {
		l, err := k.Store.Load(ctx, which)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Session{}, fault.Down(err)
		}
		if err != nil || l.Session.Ended(l.Standing, pol, l.Now) != "" {
			return Session{}, fault.New(fault.NotFound, "no such session")
		}
		next := l.Session
		if next.Device.Name == name {
			return next, nil
		}
		next.Device.Name = name
		next.Version++
		err = k.Store.Replace(ctx, Change{Next: next, Audit: []audit.Event{k.renamed(ctx, l, name)}})
		if err == nil {
			return next, nil
		}
		last = err
		if !errors.Is(err, ErrChanged) {
			break
		}
	}
	return Session{}, fault.Down(last)
}

// renamed is the account of a new name.
func (k *Keeper) renamed(ctx context.Context, l Loaded, name string) audit.Event {
	s := l.Session
	e := audit.New(ctx, audit.SessionRenamed, l.Now)
	e.User, e.Client, e.SID = s.User, s.Client, k.Names.SID(s.ID)
	e.Details = map[string]string{"device": name, "before": s.Device.Name}
	return e
}

// Touch says that a session of a browser was used, which moves its idle limit:
// nothing refreshes there. pol is the policy it lives under. It writes when a
// hundredth of the limit has passed, and leaves a session that somebody else changes
// at the moment to him. Errors are *fault.Error: NotFound when it is over, or
// Unavailable.
func (k *Keeper) Touch(ctx context.Context, l Loaded, pol Policy) (Session, error) {
	if l.Session.Ended(l.Standing, pol, l.Now) != "" {
		return l.Session, fault.New(fault.NotFound, "no such session")
	}
	next := l.Session
	if pol.Idle == 0 || l.Now.Sub(next.UsedAt) < pol.touchEvery() {
		return next, nil
	}
	next.UsedAt = l.Now
	next.Version++
	err := k.Store.Replace(ctx, Change{Next: next})
	switch {
	case errors.Is(err, ErrChanged), err != nil && notWritten(err):
		return l.Session, nil
	case err != nil:
		return l.Session, fault.Down(err)
	}
	return next, nil
}
