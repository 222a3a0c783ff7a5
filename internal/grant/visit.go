package grant

import (
	"context"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

const (
	// GrantVisit says of a session that its user did not ask to be remembered by the
	// browser he signed in with. It is the claim grant of its tokens.
	GrantVisit = "visit"
	// VisitIdle is how long such a session may be silent. The browser forgets it
	// earlier, when it is closed; but some bring the cookies of the last visit back,
	// and nobody sees a browser close.
	VisitIdle = 24 * time.Hour
)

// policyOf is what a client's registration means for a session that was earned by a
// grant. The choice not to be remembered is kept in that word, so it holds for the
// session's whole life and cannot be lost by a cookie.
func (is *Issuer) policyOf(c client.Client, grant string) session.Policy {
	p := is.policy(c)
	if grant != GrantVisit {
		return p
	}
	if p.Idle == 0 || p.Idle > VisitIdle {
		p.Idle = VisitIdle
	}
	p.Recovery = min(p.Recovery, p.Idle)
	return p
}

// until is when a session ends that was used now and is not used again; zero is
// never.
func (is *Issuer) until(c client.Client, s session.Session, now time.Time) time.Time {
	p := is.policyOf(c, s.Grant)
	var end time.Time
	if p.Idle > 0 {
		end = now.Add(p.Idle)
	}
	if p.Absolute > 0 {
		last := s.CreatedAt.Add(p.Absolute)
		if end.IsZero() || last.Before(end) {
			end = last
		}
	}
	return end
}

// EndBehind ends the session behind an access token, as its user asks at a browser:
// with the reason Everywhere all of his sessions. A token that does not hold any
// more is an error, so that nobody takes a sign-out for done that was not.
//
// Errors are *fault.Error: InvalidToken with the reason, whose cause is ErrExpired
// while the session stands; Forbidden when no user stands behind the token, or his
// client is not first-party; or Unavailable. nil means durable.
func (is *Issuer) EndBehind(ctx context.Context, t secret.Text, why fault.Reason) error {
	b, err := is.Shown(ctx, t)
	if err != nil {
		return err
	}
	c, _ := is.Clients.Get(b.Access.Client)
	if b.User.IsZero() || !c.FirstParty {
		return fault.New(fault.Forbidden, "nobody signed in at this browser with this token")
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByUser, ID: b.User.String(), Via: c.ID, From: audit.Acting(ctx).From})
	if why == fault.Everywhere {
		return is.Sessions.EndAll(ctx, b.User, why, id.Session{})
	}
	return is.endIfThere(ctx, b.Session.ID, why)
}

// EndReplaced ends the session whose access token a browser showed at a new sign-in,
// unless the sign-in is that very session: what was planted there is not merged with
// what came. A token that does not hold ends nothing.
func (is *Issuer) EndReplaced(ctx context.Context, before secret.Text, by Issued) error {
	if before.Empty() {
		return nil
	}
	b, err := is.Shown(ctx, before)
	if fault.Is(err, fault.InvalidToken) || err == nil && (b.User.IsZero() || b.Access.SID == by.SID) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByUser, ID: by.User.String(), Via: b.Access.Client, From: audit.Acting(ctx).From})
	return is.endIfThere(ctx, b.Session.ID, fault.Replaced)
}

// endIfThere ends a session; one that was purged since the look is as dead as can be.
func (is *Issuer) endIfThere(ctx context.Context, which id.Session, why fault.Reason) error {
	err := is.Sessions.End(ctx, which, why)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
