package web

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
)

// CSRFHeader is the header in which a page shows its CSRF token. No form and no page
// of an origin that is not allowed can set it.
const CSRFHeader = "X-CSRF-Token"

// errForged marks a refusal of a request that may not be its user's wish.
var errForged = errors.New("web: not shown to come from a page of ours")

// forgedType is what such a refusal is called, so that a page whose token is old can
// tell it from others: it fetches a token and repeats the request.
const forgedType = "urn:holdfast:problem:csrf"

// genuine holds an unsafe request to two proofs that each alone would do: the browser
// says that a page of ours sent it (Sec-Fetch-Site, or Origin), and the page shows the
// token that only pages of this site can read. That goes for a sign-in too, or anybody
// could sign a visitor in under an account that is not his.
func (d *Door) genuine(r *http.Request, allows func(origin string) bool) error {
	origin := r.Header["Origin"]
	guard := http.NewCrossOriginProtection()
	if len(origin) == 1 && (origin[0] == d.own() || allows(origin[0])) {
		if err := guard.AddTrustedOrigin(origin[0]); err != nil {
			return fault.Wrap(fault.Forbidden, errForged, "the Origin header is no origin")
		}
	}
	if len(origin) > 1 || guard.Check(r) != nil {
		return fault.Wrap(fault.Forbidden, errForged, "this request came from a page of another origin; register the origin at the client: cors_origins")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	kept, shown := form.Cookie(r, d.names().csrf, maxCookie).Reveal(), r.Header[CSRFHeaderKey]
	if !plainToken(kept) || len(shown) != 1 || subtle.ConstantTimeCompare([]byte(kept), []byte(shown[0])) != 1 {
		return fault.Wrap(fault.Forbidden, errForged, "send the token of "+root+"session in the header "+CSRFHeader)
	}
	return nil
}

// CSRFHeaderKey is CSRFHeader as net/http keeps it.
var CSRFHeaderKey = http.CanonicalHeaderKey(CSRFHeader)

// own is the origin of this server.
func (d *Door) own() string {
	scheme, rest, _ := strings.Cut(d.Issuer.Minter.Issuer, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}

// mine reports whether a request may see the session of a client: it came from this
// server's own origin, from one of the client's, or from no page of another origin.
func (d *Door) mine(r *http.Request, c client.Client) bool {
	origin := r.Header["Origin"]
	return len(origin) == 0 || len(origin) == 1 && (origin[0] == d.own() || serves(c, origin[0]))
}

// plainToken reports whether a CSRF token looks like one of ours; what does not is
// never compared and never sent back.
func plainToken(t string) bool {
	return len(t) == csrfSize && !strings.ContainsFunc(t, func(r rune) bool { return (r < '2' || r > '7') && (r < 'A' || r > 'Z') })
}
