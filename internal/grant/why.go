package grant

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

// Explanation answers "why does this token (not) work?" for an operator.
type Explanation struct {
	// What the string is: "refresh token", "access token", or "not a token of
	// this server".
	What string `json:"what"`
	// Works is whether it would be accepted now.
	Works bool `json:"works"`
	// Reason and Sentence say why not.
	Reason   fault.Reason `json:"reason,omitempty"`
	Sentence string       `json:"sentence,omitempty"`

	SID        string `json:"sid,omitempty"`
	User       string `json:"user,omitempty"`
	Client     string `json:"client,omitempty"`
	Generation uint32 `json:"generation,omitempty"`
	Newest     uint32 `json:"newest,omitempty"`
	IssuedAt   string `json:"issued_at,omitempty"`
	ExpiresAt  string `json:"expires_at,omitempty"`
	EndedAt    string `json:"ended_at,omitempty"`
	// WouldBe is what presenting a refresh token would earn.
	WouldBe string `json:"would_be,omitempty"`
}

// Why explains a token without any effect on it.
func (is *Issuer) Why(ctx context.Context, t secret.Text) (Explanation, error) {
	opened, err := is.Sessions.Tokens.Open(ctx, t)
	if fault.Is(err, fault.Unavailable) {
		return Explanation{}, err
	}
	if err != nil {
		return is.whyAccess(ctx, t)
	}
	l, err := is.Sessions.Store.Load(ctx, opened.Session)
	if errors.Is(err, session.ErrNotFound) {
		return Explanation{What: "refresh token", Reason: fault.Malformed, IssuedAt: when(opened.IssuedAt), Generation: opened.Generation,
			Sentence: "The session it belongs to is not in the database: it ended so long ago that it was purged, or it belongs to another install."}, nil
	}
	if err != nil {
		return Explanation{}, fault.Down(err)
	}
	s := l.Session
	e := Explanation{What: "refresh token", SID: is.Sessions.Names.SID(s.ID), User: s.User.String(), Client: string(s.Client),
		Generation: opened.Generation, Newest: uint32(s.Chain.Newest), IssuedAt: when(opened.IssuedAt)}
	c, _ := is.Clients.Get(s.Client)
	_, v := s.Refresh(session.Presented{Client: s.Client, Generation: session.Generation(opened.Generation), IssuedAt: opened.IssuedAt,
		Genuine: is.Sessions.Tokens.Genuine(opened, s.Secret), Key: s.Key}, l.Standing, is.policyOf(c, s.Grant), l.Now)
	e.WouldBe, e.Reason, e.Sentence = v.Answer.String(), v.Reason, v.Reason.Sentence()
	e.Works = v.Answer == session.Rotated || v.Answer == session.Repeated || v.Answer == session.Recovered
	_, at := is.Standing(l)
	e.EndedAt = when(at)
	return e, nil
}

func (is *Issuer) whyAccess(ctx context.Context, t secret.Text) (Explanation, error) {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return Explanation{}, fault.Down(err)
	}
	a, err := is.Reader.Access(ctx, t, now)
	if fault.Is(err, fault.Unavailable) {
		return Explanation{}, err
	}
	if err != nil {
		return Explanation{What: "not a token of this server, or an access token that has expired", Reason: fault.Malformed,
			Sentence: fault.Malformed.Sentence()}, nil
	}
	e := Explanation{What: "access token", SID: a.SID, User: a.Subject, Client: string(a.Client), IssuedAt: when(a.IssuedAt), ExpiresAt: when(a.Expires)}
	_, err = is.standing(ctx, a)
	if fault.Is(err, fault.Unavailable) {
		return Explanation{}, err
	}
	if err != nil {
		e.Reason, e.Sentence = fault.As(err).Reason, fault.As(err).Words
		return e, nil
	}
	e.Works = true
	return e, nil
}

// Standing says why and when a loaded session is over, or "" while it stands.
func (is *Issuer) Standing(l session.Loaded) (fault.Reason, time.Time) {
	c, _ := is.Clients.Get(l.Session.Client)
	pol := is.policyOf(c, l.Session.Grant)
	why := l.Session.Ended(l.Standing, pol, l.Now)
	switch {
	case why == "":
		return "", time.Time{}
	case !l.Session.EndedAt.IsZero():
		return why, l.Session.EndedAt
	case why == fault.Idle:
		return why, l.Session.UsedAt.Add(pol.Idle)
	case why == fault.Absolute:
		return why, l.Session.CreatedAt.Add(pol.Absolute)
	}
	return why, l.Standing.EpochAt
}

// when writes a time for people; the zero time is "".
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
