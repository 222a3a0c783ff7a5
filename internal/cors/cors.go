// Package cors owns what scripts of other origins may send to a door and read of
// its answers (the Fetch standard, section 3.2): preflights, and the headers of
// every other answer.
//
// It does not own which origins a door trusts, nor what an endpoint does with a
// request: a script that may not read an answer may still cause one, so nothing
// rests on these headers but the reading.
package cors

import (
	"net/http"
	"strconv"
	"strings"
)

// preflightMaxAge is how long, in seconds, a browser may remember the answer to its
// preflight. An origin that is taken out is refused at its next call all the same,
// because that answer names it no more.
const preflightMaxAge = 600

// Rule says who may call one path, and with what.
type Rule struct {
	// Allows reports whether pages of an origin may read the answers. Nil lets every
	// origin read them: for documents that hold nothing to protect.
	Allows func(origin string) bool
	// Credentials reports whether a browser may send its cookies along from an origin
	// that is allowed; nil is never.
	Credentials func(origin string) bool
	// Methods are those of the path.
	Methods []string
	// Asked are the headers that a script may send besides what any form can, Told
	// those it may read; separated by commas.
	Asked, Told string
}

// Wrap answers preflights of allowed origins, and lets them read what next answers.
// For everybody else next answers as if there were no such thing as an origin, and
// the browser keeps the answer from the script.
func (u Rule) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin, ok := u.origin(w, r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		if u.Credentials != nil && u.Allows != nil && u.Credentials(origin) {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
			h.Set("Access-Control-Expose-Headers", u.Told)
			next.ServeHTTP(w, r)
			return
		}
		// A browser remembers preflights in a place of their own.
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Access-Control-Allow-Methods", strings.Join(u.Methods, ", "))
		h.Set("Access-Control-Allow-Headers", u.Asked)
		h.Set("Access-Control-Max-Age", strconv.Itoa(preflightMaxAge))
		w.WriteHeader(http.StatusNoContent)
	})
}

// origin is what the answer names as allowed.
func (u Rule) origin(w http.ResponseWriter, r *http.Request) (string, bool) {
	if u.Allows == nil {
		return "*", true
	}
	w.Header().Add("Vary", "Origin") // what one origin may read is nothing to another
	sent := r.Header["Origin"]
	if len(sent) != 1 || sent[0] == "null" || !u.Allows(sent[0]) {
		return "", false
	}
	return sent[0], true
}
