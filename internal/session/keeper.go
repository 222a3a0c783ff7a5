package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
)

// maxTries is how often the Keeper decides anew when somebody else changed the
// row in between. The loser of a race sees the winner's row on its second look,
// so three are plenty; more would mean a row that changes all the time.
const maxTries = 3

// endTries is the same for an end. Somebody who keeps a session busy, a thief
// above all, must not win against its sign-out by chance.
const endTries = 16

// Keeper carries a session through its life: it opens the seal, loads, asks
// session.go, and replaces by compare-and-swap. No lock and no transaction is
// held while it thinks.
type Keeper struct {
	Store  Store
	Tokens token.Refreshes
	Names  Names
	// EntryLife is how long followers must remember an end: feed.Life.
	EntryLife time.Duration
	// Observe, when set, hears of every decision and every end.
	Observe func(Event)
	// Settled, when set, returns once what ended before the call can be acknowledged;
	// the error is Unavailable. A sign-in that is answered again asks it, because the
	// first time may have failed over the end of the session that it replaced.
	Settled func(context.Context) error
}

// Names gives sessions their outside name, the sid.
type Names interface {
	SID(id.Session) string
	Session(sid string) (id.Session, bool)
}

// Terms says under which policy a session is refreshed, or why it is not.
type Terms func(Session) (Policy, error)

// Event is one decision or end, for metrics and the log. It carries no secret.
type Event struct {
	SID     string
	Client  id.Client
	User    id.User
	Verdict Verdict
	// Ended is set when this event ended the session.
	Ended fault.Reason
	// Degraded: the store could not be written, so the same token was answered.
	Degraded bool
	// Tries is how many looks it took.
	Tries int
}

// Turn is what a sign-in or a refresh gives the grant to answer with.
type Turn struct {
	Session Session
	// Token is the session's newest refresh token.
	Token  secret.Text
	Answer Answer
	// Now is the store's time of the read the answer rests on.
	Now time.Time
}

// Refresh turns a presented refresh token into an answer. Its four steps are
// the protocol: open the seal, load, decide, replace.
//
// Errors are *fault.Error: InvalidGrant with the reason, LateAnswer, or
// Unavailable when nothing is known to have happened and repeating is safe.
//
// terms gives the policy the session lives under, and perhaps an error that the
// caller answers instead of tokens. Then nothing is written, so a refused request
// costs nobody a rotation; but a token that would not have earned any is answered
// as what it is, so a spent one is found out whatever else was asked.
func (k *Keeper) Refresh(ctx context.Context, presented secret.Text, by id.Client, terms Terms) (Turn, error) {
	opened, err := k.Tokens.Open(ctx, presented)
	if err != nil {
		return Turn{}, unopened(err)
	}
	attempt := newAttempt()
	var decided Verdict // what the last write was about
	var unknown error
	for try := 1; try <= maxTries; try++ {
		l, err := k.Store.Load(ctx, opened.Session)
		if errors.Is(err, ErrNotFound) {
			return Turn{}, refusal(fault.Malformed)
		}
		if err != nil {
			return Turn{}, fault.Down(err)
		}
		s := l.Session
		pol, refused := terms(s)
		if s.Attempt == attempt { // our own write, whose commit we had not heard of
			if why := s.Ended(l.Standing, pol, l.Now); why != "" && decided.Answer.Issues() { // it ended since
				decided = Verdict{Refused, 2, why, 0}
			}
			return k.settle(s, l.Now, decided, try)
		}
		p := Presented{Client: by, Generation: Generation(opened.Generation), IssuedAt: opened.IssuedAt,
			Genuine: k.Tokens.Genuine(opened, s.Secret)}
		next, v := s.Refresh(p, l.Standing, pol, l.Now)
		if refused != nil && v.Answer.Issues() {
			return Turn{}, refused
		}
		if !moved(s, next) {
			return k.settle(s, l.Now, v, try)
		}
		decided = v
		next.Version, next.Attempt = s.Version+1, attempt
		ch := k.change(ctx, next, v.Answer == Reused, l.Now)
		ch.Relaxed = v.Answer.Issues() && pol.Overlap > 0
		err = k.Store.Replace(ctx, ch)
		switch {
		case err == nil:
			return k.settle(next, l.Now, v, try)
		case errors.Is(err, ErrChanged):
		case notWritten(err) && v.Answer.Issues() && ctx.Err() == nil:
			// The same token stays good, and a phone that signs out on any failure
			// gets its access token (design.md section 3). A caller who left has
			// nothing to get, and says nothing about the store.
			k.observe(Event{SID: k.Names.SID(s.ID), Client: s.Client, User: s.User, Verdict: v, Degraded: true, Tries: try})
			return Turn{Session: s, Token: presented, Answer: Repeated, Now: l.Now}, nil
		default:
			unknown = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if unknown == nil {
		unknown = ErrChanged
	}
	return Turn{}, fault.Down(unknown)
}

// settle turns a verdict that needs no further write into the answer.
func (k *Keeper) settle(s Session, now time.Time, v Verdict, tries int) (Turn, error) {
	e := Event{SID: k.Names.SID(s.ID), Client: s.Client, User: s.User, Verdict: v, Tries: tries}
	if v.Answer == Reused {
		e.Ended = s.EndReason
	}
	k.observe(e)
	switch {
	case v.Answer == LateUse:
		return Turn{}, &fault.Error{Kind: fault.LateAnswer, Reason: fault.Late, RetryAfter: fault.RetrySoon,
			Words: "a newer answer for this device is on its way; repeat the request"}
	case v.Answer == Refused:
		return Turn{}, refusal(v.Reason)
	case v.Answer == Reused:
		return Turn{}, refusal(s.EndReason)
	}
	return Turn{Session: s, Token: k.newest(s), Answer: v.Answer, Now: now}, nil
}

// newest makes the session's newest refresh token again.
func (k *Keeper) newest(s Session) secret.Text {
	return k.Tokens.Encode(s.ID, s.Secret, uint32(s.Chain.Newest), s.Chain.IssuedAt)
}

// notWritten reports whether a change that failed is certainly not there.
func notWritten(err error) bool { return errors.Is(err, ErrReadOnly) || fault.Is(err, fault.Busy) }

// moved reports whether a decision asks for a write.
func moved(was, is Session) bool {
	return was.Chain.Newest != is.Chain.Newest || !was.Chain.Seen.Equal(is.Chain.Seen) ||
		!was.UsedAt.Equal(is.UsedAt) || was.EndReason != is.EndReason
}

// change is one replacement; one that ended the session brings what followers
// and people must hear of it.
func (k *Keeper) change(ctx context.Context, next Session, ended bool, now time.Time) Change {
	if !ended {
		return Change{Next: next}
	}
	sid := k.Names.SID(next.ID)
	e := audit.New(ctx, audit.SessionEnded, now)
	e.User, e.Client, e.SID, e.Reason = next.User, next.Client, sid, next.EndReason
	e.Details = facts(next.Device)
	return Change{Next: next, Audit: []audit.Event{e},
		Entries: []feed.Entry{{Kind: feed.Session, Key: sid, Reason: next.EndReason, At: now, Until: now.Add(k.EntryLife)}}}
}

// facts names the device in the account of what happened.
func facts(d Device) map[string]string {
	all := map[string]string{}
	for name, value := range map[string]string{"device": d.Name, "model": d.Model, "system": d.System, "app": d.App} {
		if value != "" {
			all[name] = value
		}
	}
	return all
}

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

// renamed is the account of a new name.
func (k *Keeper) renamed(ctx context.Context, l Loaded, name string) audit.Event {
	s := l.Session
	e := audit.New(ctx, audit.SessionRenamed, l.Now)
	e.User, e.Client, e.SID = s.User, s.Client, k.Names.SID(s.ID)
	e.Details = map[string]string{"device": name, "before": s.Device.Name}
	return e
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

func (k *Keeper) observe(e Event) {
	if k.Observe != nil {
		k.Observe(e)
	}
}

// refusal is the one shape of a refused refresh.
func refusal(r fault.Reason) error {
	return &fault.Error{Kind: fault.InvalidGrant, Reason: r, Words: r.Sentence()}
}

// unopened is the answer to a refresh token that could not be opened: nobody's, or
// nobody can tell.
func unopened(err error) error {
	if errors.Is(err, token.ErrNotOurs) {
		return refusal(fault.Malformed)
	}
	return fault.As(err)
}

func newAttempt() (a [8]byte) { rand.Read(a[:]); return a }

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
