package admin

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// Event is one row of the account of what happened.
type Event struct {
	At      string `json:"at"`
	Name    string `json:"name"`
	Actor   string `json:"actor"`
	ActorID string `json:"actor_id,omitempty"`
	// Via is the application whose token the actor showed.
	Via     string            `json:"via,omitempty"`
	Address string            `json:"address,omitempty"`
	User    string            `json:"user,omitempty"`
	Client  string            `json:"client,omitempty"`
	SID     string            `json:"sid,omitempty"`
	Object  string            `json:"object,omitempty"`
	Reason  fault.Reason      `json:"reason,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

func showEvent(e audit.Event) Event {
	out := Event{At: stamp(e.At), Name: string(e.Name), Actor: string(e.Who.Actor), ActorID: e.Who.ID, Via: string(e.Who.Via),
		Client: string(e.Client), SID: e.SID, Object: e.Object, Reason: e.Reason, Details: e.Details}
	if !e.User.IsZero() {
		out.User = e.User.String()
	}
	if e.Who.From.IsValid() {
		out.Address = e.Who.From.String()
	}
	return out
}

// audit searches what happened, newest first.
func (d *Door) audit(c *call) (reply, error) {
	q := audit.Query{Client: id.Client(c.query.Get("client")), SID: c.query.Get("sid"), Name: audit.Name(c.query.Get("name"))}
	var err error
	q.Limit, err = c.limit()
	if err != nil {
		return reply{}, err
	}
	if q.Name != "" && !slices.Contains(audit.Names(), q.Name) {
		return reply{}, fault.New(fault.InvalidRequest, "name is not the name of an event")
	}
	if c.query.Has("address") {
		q.From, err = netip.ParseAddr(c.query.Get("address"))
		if err != nil {
			return reply{}, fault.New(fault.InvalidRequest, "address is one IP address")
		}
		q.From = q.From.Unmap()
	}
	if c.query.Has("before") {
		q.Until, err = time.Parse(time.RFC3339, c.query.Get("before"))
		if err != nil || q.Until.IsZero() { // the zero time would be no limit
			return reply{}, fault.New(fault.InvalidRequest, "before is a time such as 2026-11-22T08:00:00Z")
		}
	}
	place, err := d.place(c)
	if err != nil {
		return reply{}, err
	}
	q.Before, err = position(place)
	if err != nil {
		return reply{}, err
	}
	if name := c.query.Get("user"); name != "" {
		q.User, err = d.subject(c.Context(), name)
		if fault.Is(err, fault.NotFound) {
			return d.page(c, "events", []Event{}, false, "")
		}
		if err != nil {
			return reply{}, err
		}
	}
	events, err := d.Audit.Find(c.Context(), q)
	if err != nil {
		return reply{}, fault.Down(err)
	}
	rows := make([]Event, len(events))
	for i, e := range events {
		rows[i], q.Before = showEvent(e), e.Position
	}
	return d.page(c, "events", rows, len(events) == q.Limit, strconv.FormatInt(q.Before, 10))
}

// position reads the place of an event in a cursor.
func position(place string) (int64, error) {
	if place == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(place, 10, 64)
	if err != nil || n < 1 {
		return 0, fault.New(fault.InvalidRequest, "cursor is not the next_cursor of this list; begin again without it")
	}
	return n, nil
}
