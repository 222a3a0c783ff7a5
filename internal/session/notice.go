package session

import (
	"context"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// An act on a user (a sign-out everywhere, a new password, a disabled account) ends
// all sessions at once by raising the user's epoch, and touches none of their rows.
// So that every session that ends is counted once and under its reason, the act tells
// of each here; whoever marks such a row later does not tell of it again. A session
// that hangs under a device's is over with it and is told of with it: one device that is
// signed out is one end, and a device that stays, whose WebView is opened anew, is none.

const (
	// noticeAtMost is how many sessions one act tells of.
	noticeAtMost = 1000
	// noticeWithin bounds the look at them, on top of the store's own limits. The act is
	// durable by then: its answer waits for the look, and does not depend on it.
	noticeWithin = 10 * time.Second
)

// NoticeAll tells the observer of every session that ended when the user's epoch was
// raised to epoch. It is called after that was durable. When they cannot be read it
// tells of one end that names no session.
func (k *Keeper) NoticeAll(ctx context.Context, u id.User, why fault.Reason, epoch uint32) {
	if k.Observe == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeWithin)
	defer cancel()
	all, err := k.Store.OfUser(ctx, u, noticeAtMost)
	if err != nil {
		k.observe(Event{User: u, Ended: why})
		return
	}
	for _, l := range all {
		if l.Session.Epoch+1 == epoch && l.Session.Parent.IsZero() { // an older one ended before; the one that stays was carried along
			k.observe(Event{SID: k.Names.SID(l.Session.ID), Client: l.Session.Client, User: u, Ended: why})
		}
	}
}

// noticed reports whether a session that is not marked ended was over by an act on its
// user, which NoticeAll has told of, or with the one that it hangs under.
func noticed(l Loaded) bool {
	return l.Standing.ParentEnded != "" || l.Standing.UserDeleted || l.Standing.UserDisabled || l.Standing.UserEpoch > l.Session.Epoch
}

// noticedAs is noticed for a session that a sign-in replaced, by the reason that it was
// marked with.
func noticedAs(why fault.Reason) bool {
	switch why {
	case fault.Replaced, fault.Idle, fault.Absolute, fault.ClientStopped:
		return false
	}
	return true
}
