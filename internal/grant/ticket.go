package grant

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/once"
	"holdfast.example/internal/secret"
)

// TicketLife is how long a ticket for a web session may be used: an app opens its
// WebView at once.
const TicketLife = time.Minute

// maxTicket bounds a ticket before anything is looked up.
const maxTicket = 128

// Ticket puts the cookie of a web session under a name that works once, for an app
// that cannot set cookies in its WebView: the WebView brings the ticket and gets
// the cookie. Errors are *fault.Error of kind Unavailable.
func (is *Issuer) Ticket(ctx context.Context, w Web) (secret.Text, error) {
	ticket := rand.Text() + rand.Text()
	kept, err := json.Marshal(w.Cookie.Reveal()) // sealed before it is stored
	if err != nil {
		return secret.Text{}, fault.Wrap(fault.Internal, err, "")
	}
	err = is.Once.Put(ctx, ticketKey(ticket), kept, TicketLife)
	if err != nil {
		return secret.Text{}, fault.Down(err)
	}
	return secret.New(ticket), nil
}

// Redeem gives the web session of a ticket to the first who brings it, if the
// session still stands. before is the cookie that came with the request, as at
// OpenWeb. Errors are *fault.Error: InvalidToken, or Unavailable, after which the app
// asks for another ticket.
func (is *Issuer) Redeem(ctx context.Context, ticket, before secret.Text) (Web, error) {
	if ticket.Empty() || len(ticket.Reveal()) > maxTicket {
		return Web{}, fault.New(fault.InvalidToken, "there is no such ticket")
	}
	kept, err := is.Once.Take(ctx, ticketKey(ticket.Reveal()))
	var spent *once.Spent
	switch {
	case errors.As(err, &spent):
		return Web{}, fault.New(fault.InvalidToken, "the ticket was used before; the app asks for another one")
	case errors.Is(err, once.ErrUnknown):
		return Web{}, fault.New(fault.InvalidToken, "there is no such ticket, or it is too old; the app asks for another one")
	case err != nil:
		return Web{}, err
	}
	var cookie string
	if json.Unmarshal(kept, &cookie) != nil {
		return Web{}, fault.New(fault.InvalidToken, "there is no such ticket")
	}
	w, err := is.Web(ctx, secret.New(cookie))
	if err != nil {
		return Web{}, err
	}
	w.Cookie = secret.New(cookie)
	return w, is.displaced(ctx, before, w.Session.ID, w.Now)
}

func ticketKey(ticket string) once.Key { return once.NewKey("web ticket", ticket) }
