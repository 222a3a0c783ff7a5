package session

import (
	"context"
	"errors"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// endTries is what maxTries is to a refresh, for an end. Somebody who keeps a session
// busy, a thief above all, must not win against its sign-out by chance.
const endTries = 16

// End ends one session. Ending an ended one is no error and keeps its reason.
// The error is NotFound or Unavailable; nil means durable.
func (k *Keeper) End(ctx context.Context, which id.Session, why fault.Reason) error {
	var last error
	for range endTries {
		l, err := k.Store.Load(ctx, which)
		if errors.Is(err, ErrNotFound) {
			return fault.New(fault.NotFound, "no such session")
		}
		if err != nil {
			return fault.Down(err)
		}
		if l.Session.EndReason != "" {
			return nil
		}
		c := k.ending(ctx, l, Policy{}, why)
		err = k.Store.Replace(ctx, c)
		if err == nil {
			if !noticed(l) {
				k.observe(Event{SID: k.Names.SID(which), Client: l.Session.Client, User: l.Session.User, Ended: c.Next.EndReason})
			}
			return nil
		}
		last = err
		if !errors.Is(err, ErrChanged) {
			break
		}
	}
	return fault.Down(last)
}

// ending is the change that ends a loaded session for a reason, or for the one
// that had ended it already without being written.
func (k *Keeper) ending(ctx context.Context, l Loaded, pol Policy, why fault.Reason) Change {
	was := l.Session.Ended(l.Standing, pol, l.Now)
	if was != "" {
		why = was
	}
	next := l.Session.End(why, l.Now)
	next.Version++
	next.Attempt = newAttempt()
	return k.change(ctx, next, true, l.Now)
}

// EndAll signs a user out everywhere, except on one session if it is named.
func (k *Keeper) EndAll(ctx context.Context, u id.User, why fault.Reason, except id.Session) error {
	e := Everywhere{User: u, Reason: why, Except: except, EntryLife: k.EntryLife}
	if !except.IsZero() {
		e.ExceptSID = k.Names.SID(except)
	}
	now, err := k.Store.Now(ctx)
	if err != nil {
		return fault.Down(err)
	}
	told := audit.New(ctx, audit.SignedOutAll, now)
	told.User, told.Reason = u, why
	if e.ExceptSID != "" {
		told.Details = map[string]string{"except": e.ExceptSID}
	}
	e.Audit = []audit.Event{told}
	epoch, err := k.Store.EndAll(ctx, e)
	if errors.Is(err, ErrNotFound) {
		return fault.New(fault.NotFound, "no such user")
	}
	if err != nil {
		return fault.Down(err)
	}
	k.NoticeAll(ctx, u, why, epoch)
	return nil
}
