package edx

import (
	"net/http"
	"net/url"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
)

// maxNext is the longest path that a ticket's link leads on to, in bytes.
const maxNext = 2048

// ticketBody tells an app the link to open in its WebView.
type ticketBody struct {
	Ticket  string `json:"ticket"`
	URL     string `json:"url"`
	Expires int    `json:"expires_in"`
}

// ticket is the swap for apps that cannot set cookies in their WebView. Posted with
// an access token it gives a link; opened in the WebView, once and within a minute,
// the link sets the cookies and leads on to next, a path of this host.
func (d *Door) ticket(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		d.sellTicket(w, r)
		return
	}
	// Whoever sends a browser here from a page of his own would sign it in as
	// himself. An app's WebView comes from nowhere.
	if from := r.Header.Get("Sec-Fetch-Site"); from != "" && from != "none" && from != "same-origin" {
		d.turnAway(w, r, schemeBearer, &refusal{http.StatusForbidden, detail{"A ticket is opened by the app that asked for it."},
			fault.New(fault.Forbidden, "a ticket opened from another site's page")})
		return
	}
	next, ok := localPath(r.URL.Query().Get("next"))
	if !ok {
		d.turnAway(w, r, schemeBearer, &refusal{http.StatusBadRequest, detail{"next must be a path of this host."},
			fault.New(fault.InvalidRequest, "next must be a path of this host")})
		return
	}
	ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByUser, From: d.From(r)})
	web, err := d.Issuer.Redeem(ctx, secret.New(r.URL.Query().Get("ticket")), form.Cookie(r, sessionCookie, maxCookie))
	if err != nil {
		e := fault.As(err)
		if e.Kind == fault.InvalidToken {
			err = &refusal{http.StatusUnauthorized, detail{"This link was used before or is too old."}, e}
		}
		d.turnAway(w, r, schemeBearer, err)
		return
	}
	d.signedIn(w, r, web)
	w.Header().Set("Referrer-Policy", "no-referrer") // the next page learns nothing of the link
	w.Header().Set("Location", next)
	answer.Empty(w, http.StatusFound)
}

func (d *Door) sellTicket(w http.ResponseWriter, r *http.Request) {
	web, ok := d.swapped(w, r)
	if !ok {
		return
	}
	t, err := d.Issuer.Ticket(r.Context(), web)
	if err != nil {
		d.turnAway(w, r, schemeBearer, err)
		return
	}
	at := d.Issuer.Minter.Issuer + "/oauth2/login/ticket?" + url.Values{"ticket": {t.Reveal()}}.Encode()
	answer.JSON(w, http.StatusOK, ticketBody{Ticket: t.Reveal(), URL: at, Expires: int(grant.TicketLife.Seconds())})
}

// localPath is a place on this host that a link may lead on to: "/" for none.
func localPath(next string) (string, bool) {
	if next == "" {
		return "/", true
	}
	u, err := url.Parse(next)
	if err != nil || len(next) > maxNext || u.Scheme != "" || u.Host != "" || u.Opaque != "" ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
		return "", false
	}
	return u.String(), true
}
