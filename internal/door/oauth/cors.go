package oauth

import (
	"net/http"
	"strconv"
	"strings"
)

// Cross-origin requests (the Fetch standard, section 3.2). Scripts of a
// registered origin may call the endpoints an application needs; scripts of any
// origin may read the public documents; nothing else is open to scripts. No
// answer allows credentials: nothing at this door rests on a cookie, so a
// browser has none to send.
const (
	// askedHeaders are what a script may send besides what any form can.
	askedHeaders = "Authorization, Content-Type"
	// toldHeaders are what it may read besides the body: why it was refused, and
	// when to come back.
	toldHeaders = "WWW-Authenticate, Retry-After, " + ReasonHeader
	// preflightMaxAge is how long, in seconds, a browser may remember the answer
	// to its preflight. An origin that is taken out is refused at its next call
	// all the same, because that answer names it no more.
	preflightMaxAge = 600
)

// ours is only for endpoints that applications in a browser call: their
// registered origins, byte for byte, are allowed to read the answers.
func (d *Door) ours(h http.HandlerFunc, methods ...string) http.Handler {
	return d.shared(d.only(h, methods...), methods...)
}

// shared is ours for a handler that turns other methods away itself.
func (d *Door) shared(next http.Handler, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin") // what one origin may read is nothing to another
		origin := r.Header["Origin"]
		if len(origin) != 1 || !d.Issuer.Clients.AllowsOrigin(origin[0]) {
			next.ServeHTTP(w, r) // the browser keeps the answer from the script
			return
		}
		share(w, r, origin[0], methods, next)
	})
}

// anybodys is only for documents that hold nothing to protect.
func (d *Door) anybodys(h http.HandlerFunc) http.Handler {
	methods := []string{http.MethodGet, http.MethodHead}
	next := d.only(h, methods...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { share(w, r, "*", methods, next) })
}

// share answers a preflight, or lets an origin read what comes.
func share(w http.ResponseWriter, r *http.Request, origin string, methods []string, next http.Handler) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", toldHeaders)
		next.ServeHTTP(w, r)
		return
	}
	private(h) // a browser remembers preflights in a place of their own
	h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	h.Set("Access-Control-Allow-Headers", askedHeaders)
	h.Set("Access-Control-Max-Age", strconv.Itoa(preflightMaxAge))
	w.WriteHeader(http.StatusNoContent)
}
