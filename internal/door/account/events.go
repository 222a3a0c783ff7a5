package account

import (
	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
)

// Event is one thing that happened to the account, as its user sees it.
type Event struct {
	Name     audit.Name  `json:"name"`
	Sentence string      `json:"sentence"`
	At       string      `json:"at"`
	By       audit.Actor `json:"by"`
	SID      string      `json:"sid,omitempty"`
	Device   string      `json:"device,omitempty"`
	// ThisDevice is true when the event is about the device that asks.
	ThisDevice     bool         `json:"this_device,omitempty"`
	Client         *Client      `json:"client,omitempty"`
	Reason         fault.Reason `json:"reason,omitempty"`
	ReasonSentence string       `json:"reason_sentence,omitempty"`
	Address        string       `json:"address,omitempty"`
}

// Events is one page of what happened.
type Events struct {
	Events     []Event `json:"events"`
	NextCursor string  `json:"next_cursor,omitempty"`
}

func (d *Door) tell(a *ask, e audit.Event) Event {
	out := Event{Name: e.Name, Sentence: e.Name.Sentence(), At: stamp(e.At), By: e.Who.Actor, SID: e.SID, Device: e.Details["device"],
		ThisDevice: e.SID != "" && e.SID == d.sid(a.owner.Device), Reason: e.Reason, ReasonSentence: e.Reason.Sentence()}
	if e.Client != "" {
		c := d.client(e.Client)
		out.Client = &c
	}
	// Where an operator sits is none of a user's business.
	if own := e.Who.Actor == audit.ByUser || e.Who.Actor == audit.ByClient; own && e.Who.From.IsValid() {
		out.Address = e.Who.From.String()
	}
	return out
}

func (d *Door) events(a *ask) (reply, error) {
	q, err := a.query("limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	limit, err := q.limit()
	if err != nil {
		return reply{}, err
	}
	list := eventList{a.owner.User}
	before, err := list.open(d.Keys, q["cursor"])
	if err != nil {
		return reply{}, err
	}
	page, next, err := d.Issuer.OwnEvents(a.Context(), a.owner, before, limit)
	if err != nil {
		return reply{}, err
	}
	out := Events{Events: make([]Event, len(page))}
	for i, e := range page {
		out.Events[i] = d.tell(a, e)
	}
	if next != nil {
		out.NextCursor = list.seal(d.Keys, *next)
	}
	return reply{body: out}, nil
}
