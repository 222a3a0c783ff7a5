package oauth

import (
	"net/http"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/cors"
)

// Cross-origin requests (room cors). Scripts of a registered origin may call the
// endpoints an application needs; scripts of any origin may read the public
// documents; nothing else is open to scripts. No answer allows credentials: nothing
// at this door rests on a cookie, so a browser has none to send.
const (
	// askedHeaders are what a script may send besides what any form can.
	askedHeaders = "Authorization, Content-Type"
	// toldHeaders are what it may read besides the body: why it was refused, and
	// when to come back.
	toldHeaders = "WWW-Authenticate, Retry-After, " + answer.ReasonHeader
)

// ours is only for endpoints that applications in a browser call: their
// registered origins, byte for byte, are allowed to read the answers.
func (d *Door) ours(h http.HandlerFunc, methods ...string) http.Handler {
	return d.shared(d.only(h, methods...), methods...)
}

// shared is ours for a handler that turns other methods away itself.
func (d *Door) shared(next http.Handler, methods ...string) http.Handler {
	return cors.Rule{Allows: d.Issuer.Clients.AllowsOrigin, Methods: methods, Asked: askedHeaders, Told: toldHeaders}.Wrap(next)
}

// anybodys is only for documents that hold nothing to protect.
func (d *Door) anybodys(h http.HandlerFunc) http.Handler {
	methods := []string{http.MethodGet, http.MethodHead}
	return cors.Rule{Methods: methods, Asked: askedHeaders, Told: toldHeaders}.Wrap(d.only(h, methods...))
}
