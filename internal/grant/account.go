package grant

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// scopeAccount lets the token of a client that is not first-party, or is restricted,
// look after its user's account.
const scopeAccount = "account"

// Owner is a user who looks after his own account, on the device he does it from.
type Owner struct {
	User   id.User
	Client client.Client
	// Device is the session that stands for the device: the one behind the token,
	// or its parent.
	Device id.Session
}

// Owner says whose account an access token may look after. A third-party app, or a
// restricted one, must have been granted the scope account, or it could sign out its user's
// other devices. Errors are *fault.Error: InvalidToken with the reason,
// Forbidden when no user stands behind the token, InsufficientScope, Unavailable.
func (is *Issuer) Owner(ctx context.Context, t secret.Text) (Owner, error) {
	b, err := is.Bearer(ctx, t)
	if err != nil {
		return Owner{}, err
	}
	if b.User.IsZero() {
		return Owner{}, fault.New(fault.Forbidden, "no user stands behind this token")
	}
	c, _ := is.Clients.Get(b.Access.Client)
	if (!c.FirstParty || c.Restricted) && !hasScope(b.Access.Scope, scopeAccount) {
		return Owner{}, fault.Newf(fault.InsufficientScope, "the scope %s is needed", scopeAccount)
	}
	device := b.Session.ID
	if !b.Session.Parent.IsZero() {
		device = b.Session.Parent
	}
	return Owner{User: b.User, Client: c, Device: device}, nil
}

// OwnSession is one of the owner's sign-ins, and whether it is over.
type OwnSession struct {
	session.Session
	// Ended is empty while the sign-in stands. EndedAt is zero where nobody knows.
	Ended   fault.Reason
	EndedAt time.Time
}

// OwnSessions lists the owner's sign-ins that stand, or those that have ended
// and are still remembered, newest use first. A sign-in under another one (a
// WebView's) is part of that device and not listed. next is where to go on, nil
// at the end; a page with a next may be short.
func (is *Issuer) OwnSessions(ctx context.Context, o Owner, ended bool, after session.Place, limit int) (page []OwnSession, next *session.Place, err error) {
	rows, next, err := fill(limit, after,
		func(after session.Place, limit int) ([]session.Loaded, error) {
			return is.Sessions.Store.Find(ctx, session.Query{User: o.User, Ended: ended, After: after, Limit: limit})
		},
		func(l session.Loaded) session.Place { return l.Session.Place() },
		func(l session.Loaded) bool {
			why, _ := is.Standing(l)
			return (why != "") == ended && l.Session.Parent.IsZero()
		})
	for _, l := range rows {
		why, at := is.Standing(l)
		page = append(page, OwnSession{l.Session, why, at})
	}
	return page, next, err
}

// own loads one of the owner's sessions. One of somebody else is as unknown as
// one that never was.
func (is *Issuer) own(ctx context.Context, o Owner, sid string) (session.Loaded, error) {
	unknown := fault.New(fault.NotFound, "you have no such sign-in")
	which, ok := is.Sessions.Names.Session(sid)
	if !ok {
		return session.Loaded{}, unknown
	}
	l, err := is.Sessions.Store.Load(ctx, which)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return session.Loaded{}, fault.Down(err)
	}
	if err != nil || l.Session.User != o.User {
		return session.Loaded{}, unknown
	}
	return l, nil
}

// Rename gives one of the owner's devices another name.
func (is *Issuer) Rename(ctx context.Context, o Owner, sid, name string) (OwnSession, error) {
	if strings.TrimSpace(name) == "" {
		return OwnSession{}, fault.New(fault.InvalidRequest, "name is missing")
	}
	err := checkFact("name", name, maxFact)
	if err != nil {
		return OwnSession{}, err
	}
	l, err := is.own(ctx, o, sid)
	if err != nil {
		return OwnSession{}, err
	}
	c, _ := is.Clients.Get(l.Session.Client)
	s, err := is.Sessions.Rename(ctx, l.Session.ID, name, is.policyOf(c, l.Session.Grant))
	return OwnSession{Session: s}, err
}

// EndOwn signs one of the owner's devices out and returns the reason it hears.
func (is *Issuer) EndOwn(ctx context.Context, o Owner, sid string) (fault.Reason, error) {
	l, err := is.own(ctx, o, sid)
	if err != nil {
		return "", err
	}
	why := fault.SignedOutElsewhere
	if l.Session.ID == o.Device {
		why = fault.SignedOut
	}
	return why, is.Sessions.End(ctx, l.Session.ID, why)
}

// EndOthers signs out every device of the owner but this one.
func (is *Issuer) EndOthers(ctx context.Context, o Owner) error {
	return is.Sessions.EndAll(ctx, o.User, fault.SignedOutElsewhere, o.Device)
}

// EndEverywhere signs out every device of the owner.
func (is *Issuer) EndEverywhere(ctx context.Context, o Owner) error {
	return is.Sessions.EndAll(ctx, o.User, fault.Everywhere, id.Session{})
}

// ChangePassword replaces the owner's password when the current one is proved.
// This device stays signed in, all others end. A wrong current password is a
// failed attempt like any at a sign-in, but counted on this device alone: who
// holds a stolen token guesses no faster, and locks nobody else out.
//
// Errors are *fault.Error: Forbidden for a wrong password, InvalidRequest for a
// new one that will not do, Conflict, TooMany, Busy or Unavailable.
func (is *Issuer) ChangePassword(ctx context.Context, o Owner, from netip.Addr, current, next secret.Text) error {
	if current.Empty() || next.Empty() {
		return fault.New(fault.InvalidRequest, "current_password and new_password are needed")
	}
	err := is.Users.CheckNew(next)
	if err != nil {
		return err
	}
	l, err := is.Sessions.Store.Load(ctx, o.Device)
	if err != nil {
		return fault.Down(err)
	}
	who, err := is.Users.Known(ctx, o.User)
	if err != nil {
		return err
	}
	try := limit.Try{Account: who.Key(), Address: from, Install: budgetOf(o.Device)}
	if d := l.Session.Device; d.HasInstall() {
		try.Install = budgetOf(d.Install)
	}
	proved, err := is.attempt(ctx, who, try, current)
	if fault.Is(err, fault.InvalidGrant) {
		return is.refusedChange(ctx, o, l, err)
	}
	if err != nil {
		return err
	}
	_, err = is.Users.SetPassword(ctx, o.User, user.NewPassword{Password: next, Proved: &proved,
		Except: o.Device, ExceptSID: is.Sessions.Names.SID(o.Device)})
	return err
}

// refusedChange writes the account of a wrong current password, and refuses.
func (is *Issuer) refusedChange(ctx context.Context, o Owner, l session.Loaded, cause error) error {
	if errors.Is(cause, user.ErrNoPassword) {
		return fault.Wrap(fault.Conflict, cause, "this account has no password to change")
	}
	e := audit.New(ctx, audit.PasswordRefused, l.Now)
	e.User, e.Client, e.SID = o.User, o.Client.ID, is.Sessions.Names.SID(o.Device)
	e.Details = map[string]string{"device": l.Session.Device.Name, "why": errors.Unwrap(cause).Error()}
	err := is.Audit.Add(ctx, e)
	if err != nil {
		return fault.Down(err)
	}
	return fault.Wrap(fault.Forbidden, cause, "the current password is wrong")
}

// OwnEvents lists what happened to the owner's account and may be told to him,
// newest first, from before a position (0 for the newest). next is the position
// to go on from, nil at the end; a page with a next may be short.
func (is *Issuer) OwnEvents(ctx context.Context, o Owner, before int64, limit int) (page []audit.Event, next *int64, err error) {
	return fill(limit, before,
		func(before int64, limit int) ([]audit.Event, error) {
			return is.Audit.Find(ctx, audit.Query{User: o.User, Before: before, Limit: limit})
		},
		func(e audit.Event) int64 { return e.Position },
		func(e audit.Event) bool { return e.Name.Sentence() != "" })
}

// fillRounds bounds how often one answer looks for rows that may be shown.
const fillRounds = 8

// fill makes one page of a list of which not every row is shown. next is the
// place to go on from, nil when the list is at its end.
func fill[Row, Place any](limit int, after Place, find func(after Place, limit int) ([]Row, error),
	place func(Row) Place, shown func(Row) bool) (page []Row, next *Place, err error) {
	for range fillRounds {
		rows, err := find(after, limit+1)
		if err != nil {
			return nil, nil, fault.Down(err)
		}
		for _, r := range rows {
			if len(page) == limit {
				return page, &after, nil
			}
			if shown(r) {
				page = append(page, r)
			}
			after = place(r)
		}
		if len(rows) <= limit {
			return page, nil, nil
		}
	}
	return page, &after, nil
}
