package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// ErrOpened: the session of SignIn.ID stands under its id, and this is not the
// sign-in whose answer was lost.
var ErrOpened = errors.New("session: the sign-in was used")

// SignIn is everything a grant knows about a sign-in that it has verified.
type SignIn struct {
	// ID is the id that the session is to have, where what was shown may open one
	// session only and that id is remembered with it; zero is a new one.
	ID     id.Session
	User   id.User
	Epoch  uint32
	Client id.Client
	Parent id.Session
	Scope  string
	Grant  string
	AMR    string
	// AuthTime is when the user proved himself, where that was elsewhere and before;
	// zero is now. AuthTimeUnknown: it was elsewhere, and nobody says when. Then no
	// token of the session tells an auth_time.
	AuthTime        time.Time
	AuthTimeUnknown bool
	Key             string
	Device          Device
	// Attempt is the app's attempt_id, "" for none.
	Attempt string
	Policy  Policy
}

// Open begins a session. One install has one session at a client: an earlier
// one ends as replaced. The same install with the same attempt_id inside the
// overlap is one sign-in whose answer was lost, and gets the same session. So is
// the same ID with the same attempt_id; at any other time an ID that is in use is
// refused with ErrOpened.
func (k *Keeper) Open(ctx context.Context, in SignIn) (Turn, error) {
	attempt := newAttempt()
	if in.Attempt != "" {
		attempt = AttemptDigest(in.Attempt)
	}
	var unknown error
	for range maxTries {
		now, err := k.Store.Now(ctx)
		if err != nil {
			return Turn{}, fault.Down(err)
		}
		if !in.ID.IsZero() {
			l, err := k.Store.Load(ctx, in.ID)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return Turn{}, fault.Down(err)
			case sameSignIn(l, in, attempt):
				return k.again(ctx, l)
			default:
				return Turn{}, ErrOpened
			}
		}
		var replaces []Change
		if in.Device.HasInstall() {
			l, err := k.Store.ByInstall(ctx, in.User, in.Client, in.Device.Install)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return Turn{}, fault.Down(err)
			case sameSignIn(l, in, attempt):
				return k.again(ctx, l)
			default:
				replaces = append(replaces, k.ending(ctx, l, in.Policy, fault.Replaced))
			}
		}
		s := in.session(now, attempt)
		err = k.Store.Open(ctx, Opening{Session: s, Replaces: replaces, Audit: []audit.Event{k.opened(ctx, s)}})
		if err == nil {
			for _, c := range replaces {
				if noticedAs(c.Next.EndReason) {
					continue
				}
				k.observe(Event{SID: k.Names.SID(c.Next.ID), Client: in.Client, User: in.User, Ended: c.Next.EndReason})
			}
			return Turn{Session: s, Token: k.newest(s), Answer: Rotated, Now: now}, nil
		}
		if !errors.Is(err, ErrChanged) {
			// An unknown outcome is not tried again here: without an install id a
			// second row would be a ghost device. The app repeats the request.
			return Turn{}, fault.Down(err)
		}
		unknown = err
	}
	return Turn{}, fault.Down(unknown)
}

// again is the answer to a sign-in whose answer was lost. It says that the session
// which it replaced is over; only an install has one to replace.
func (k *Keeper) again(ctx context.Context, l Loaded) (Turn, error) {
	if k.Settled != nil && l.Session.Device.HasInstall() {
		err := k.Settled(ctx)
		if err != nil {
			return Turn{}, fault.Down(err)
		}
	}
	return Turn{Session: l.Session, Token: k.newest(l.Session), Answer: Repeated, Now: l.Now}, nil
}

// opened is the account of a sign-in.
func (k *Keeper) opened(ctx context.Context, s Session) audit.Event {
	e := audit.New(ctx, audit.SignedIn, s.CreatedAt)
	e.User, e.Client, e.SID, e.Details = s.User, s.Client, k.Names.SID(s.ID), facts(s.Device)
	e.Details["grant"] = s.Grant
	return e
}

// session is the first state of a life.
func (in SignIn) session(now time.Time, attempt [8]byte) Session {
	s := Session{
		ID: id.NewSession(), User: in.User, Client: in.Client, Parent: in.Parent, Epoch: in.Epoch,
		Scope: in.Scope, Grant: in.Grant, AuthTime: now, AMR: in.AMR, Key: in.Key, Device: in.Device,
		CreatedAt: now, UsedAt: now, Chain: Chain{Newest: 1, First: 1, IssuedAt: now},
		Version: 1, Attempt: attempt,
	}
	if !in.ID.IsZero() {
		s.ID = in.ID
	}
	switch {
	case in.AuthTimeUnknown:
		s.AuthTime = time.Time{}
	case !in.AuthTime.IsZero() && in.AuthTime.Before(now):
		s.AuthTime = in.AuthTime
	}
	rand.Read(s.Secret[:])
	return s
}

// sameSignIn reports whether the session found under the install or the id is the
// one this very attempt opened a moment ago, untouched since.
func sameSignIn(l Loaded, in SignIn, attempt [8]byte) bool {
	s := l.Session
	return in.Attempt != "" && s.Attempt == attempt && s.User == in.User && s.Client == in.Client && s.Device.Install == in.Device.Install &&
		s.Chain.Newest == 1 && s.Scope == in.Scope && s.Grant == in.Grant && s.Key == in.Key &&
		s.Ended(l.Standing, in.Policy, l.Now) == "" && within(in.Policy.Overlap, s.CreatedAt, l.Now)
}

// AttemptDigest is how an app's attempt_id is remembered.
func AttemptDigest(attemptID string) [8]byte {
	sum := sha256.Sum256([]byte("attempt " + attemptID))
	return [8]byte(sum[:8])
}

// InstallDigest is how an app's install_id is remembered: it tells installs
// apart and cannot be read back.
func InstallDigest(installID string) [16]byte {
	sum := sha256.Sum256([]byte("install " + installID))
	return [16]byte(sum[:16])
}
