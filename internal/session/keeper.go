package session

import (
	"context"
	"crypto/rand"
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
