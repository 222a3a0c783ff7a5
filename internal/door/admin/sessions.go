package admin

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Session is a device's sign-in as operators see it.
type Session struct {
	SID       string       `json:"sid"`
	User      string       `json:"user"`
	Client    string       `json:"client"`
	Device    string       `json:"device,omitempty"`
	Model     string       `json:"model,omitempty"`
	System    string       `json:"system,omitempty"`
	App       string       `json:"app,omitempty"`
	Scope     string       `json:"scope,omitempty"`
	SignedIn  string       `json:"signed_in"`
	CreatedAt string       `json:"created_at"`
	UsedAt    string       `json:"used_at"`
	Refreshes uint32       `json:"generation"`
	Ended     fault.Reason `json:"ended,omitempty"`
	EndedAt   string       `json:"ended_at,omitempty"`
}

func (d *Door) showSession(l session.Loaded) Session {
	s := l.Session
	why, at := d.Issuer.Standing(l)
	return Session{SID: d.Keys.SID(s.ID), User: s.User.String(), Client: string(s.Client), Device: s.Device.Name,
		Model: s.Device.Model, System: s.Device.System, App: s.Device.App, Scope: s.Scope, SignedIn: s.Grant,
		CreatedAt: stamp(s.CreatedAt), UsedAt: stamp(s.UsedAt), Refreshes: uint32(s.Chain.Newest),
		Ended: why, EndedAt: stamp(at)}
}

// maxPart is the longest part of a device's name that is searched for, in bytes.
const maxPart = 128

// sessions searches by user, client and device, or by the address of the
// sign-in. A page may hold fewer rows than asked for and not be the last:
// sign-ins that are over without being marked so are left out of it.
func (d *Door) sessions(c *call) (reply, error) {
	q := session.Query{Client: id.Client(c.query.Get("client")), Device: c.query.Get("device")}
	var err error
	q.Limit, err = c.limit()
	if err != nil {
		return reply{}, err
	}
	q.Ended, err = c.flag("ended")
	if err != nil {
		return reply{}, err
	}
	if len(q.Device) > maxPart {
		return reply{}, fault.Newf(fault.InvalidRequest, "device has at most %d bytes", maxPart)
	}
	place, err := d.place(c)
	if err != nil {
		return reply{}, err
	}
	if name := c.query.Get("user"); name != "" {
		u, err := d.named(c.Context(), name)
		if fault.Is(err, fault.NotFound) {
			return d.page(c, "sessions", []Session{}, false, "")
		}
		if err != nil {
			return reply{}, err
		}
		q.User = u.ID
	}
	if c.query.Has("address") {
		return d.sessionsFrom(c, q, place)
	}
	return d.found(c, q, place)
}

// found is one page of a search in the sessions.
func (d *Door) found(c *call, q session.Query, place string) (reply, error) {
	var err error
	q.After, err = d.parsePlace(place)
	if err != nil {
		return reply{}, err
	}
	list, err := d.Issuer.Sessions.Store.Find(c.Context(), q)
	if err != nil {
		return reply{}, fault.Down(err)
	}
	rows := []Session{}
	for _, l := range list {
		q.After = l.Session.Place()
		if s := d.showSession(l); s.Ended == "" || q.Ended {
			rows = append(rows, s)
		}
	}
	return d.page(c, "sessions", rows, len(list) == q.Limit, d.writePlace(q.After))
}

// writePlace and parsePlace are the place of a session in a cursor.
func (d *Door) writePlace(p session.Place) string {
	return strconv.FormatInt(session.Millis(p.UsedAt), 10) + " " + d.Keys.SID(p.Session)
}

func (d *Door) parsePlace(s string) (session.Place, error) {
	if s == "" {
		return session.Place{}, nil
	}
	ms, sid, _ := strings.Cut(s, " ")
	used, err := strconv.ParseInt(ms, 10, 64)
	which, known := d.Keys.Session(sid)
	if err != nil || !known {
		return session.Place{}, fault.New(fault.InvalidRequest, "cursor is not the next_cursor of this list; begin again without it")
	}
	return session.Place{UsedAt: session.FromMillis(used), Session: which}, nil
}

// sessionsFrom searches by the address that people signed in from. Only the
// audit knows addresses, so the page walks its sign-ins, newest first, and shows
// the sessions they began.
func (d *Door) sessionsFrom(c *call, q session.Query, place string) (reply, error) {
	from, err := netip.ParseAddr(c.query.Get("address"))
	if err != nil {
		return reply{}, fault.New(fault.InvalidRequest, "address is one IP address")
	}
	find := audit.Query{Name: audit.SignedIn, From: from.Unmap(), User: q.User, Client: q.Client, Limit: q.Limit}
	find.Before, err = position(place)
	if err != nil {
		return reply{}, err
	}
	events, err := d.Audit.Find(c.Context(), find)
	if err != nil {
		return reply{}, fault.Down(err)
	}
	rows := []Session{}
	for _, e := range events {
		find.Before = e.Position
		which, known := d.Keys.Session(e.SID)
		if !known {
			continue
		}
		l, err := d.Issuer.Sessions.Store.Load(c.Context(), which)
		if errors.Is(err, session.ErrNotFound) {
			continue // purged long after its end
		}
		if err != nil {
			return reply{}, fault.Down(err)
		}
		s := d.showSession(l)
		if (s.Ended == "" || q.Ended) && l.Session.Device.Matches(q.Device) {
			rows = append(rows, s)
		}
	}
	return d.page(c, "sessions", rows, len(events) == q.Limit, strconv.FormatInt(find.Before, 10))
}

// userSessions lists the sessions of {user}.
func (d *Door) userSessions(c *call) (reply, error) {
	limit, err := c.limit()
	if err != nil {
		return reply{}, err
	}
	ended, err := c.flag("ended")
	if err != nil {
		return reply{}, err
	}
	place, err := d.place(c)
	if err != nil {
		return reply{}, err
	}
	u, err := d.account(c)
	if err != nil {
		return reply{}, err
	}
	return d.found(c, session.Query{User: u.ID, Ended: ended, Limit: limit}, place)
}

// loaded reads {sid}.
func (d *Door) loaded(c *call) (session.Loaded, error) {
	which, known := d.Keys.Session(c.PathValue("sid"))
	if !known {
		return session.Loaded{}, fault.New(fault.NotFound, "no such session")
	}
	l, err := d.Issuer.Sessions.Store.Load(c.Context(), which)
	if errors.Is(err, session.ErrNotFound) {
		return session.Loaded{}, fault.New(fault.NotFound, "no such session")
	}
	if err != nil {
		return session.Loaded{}, fault.Down(err)
	}
	return l, nil
}

func (d *Door) session(c *call) (reply, error) {
	l, err := d.loaded(c)
	if err != nil {
		return reply{}, err
	}
	return shown(d.showSession(l))
}

func (d *Door) endSession(c *call) (reply, error) {
	err := c.nothing()
	if err != nil {
		return reply{}, err
	}
	l, err := d.loaded(c)
	if err != nil {
		return reply{}, err
	}
	return done(d.Issuer.Sessions.End(c.Context(), l.Session.ID, fault.Operator))
}

// endUserSession ends a session that must be {user}'s.
func (d *Door) endUserSession(c *call) (reply, error) {
	err := c.nothing()
	if err != nil {
		return reply{}, err
	}
	u, err := d.account(c)
	if err != nil {
		return reply{}, err
	}
	l, err := d.loaded(c)
	if err != nil {
		return reply{}, err
	}
	if l.Session.User != u.ID {
		return reply{}, fault.New(fault.NotFound, "no such session")
	}
	return done(d.Issuer.Sessions.End(c.Context(), l.Session.ID, fault.Operator))
}
