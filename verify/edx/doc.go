// Package edx lets a service of an Open edX accept the access tokens of a Holdfast
// server as edx-drf-extensions does: the scheme word JWT, the cookie pair of the
// micro-frontends with its forgiveness and its CSRF check, restricted
// applications, and the exact bodies that the phone apps read.
//
// # What should I do?
//
// Make a verify.Verifier with your issuer and audience, a Guard over it, and wrap
// each route:
//
//	tokens, err := verify.New(verify.Config{Issuer: "https://id.example.com", Audience: "openedx"})
//	guard, err := edx.NewGuard(edx.Config{Tokens: tokens})
//
//	mux.Handle("GET /api/courses", guard.Protect(edx.Need{}, courses))
//
// In the handler, ask who it is:
//
//	u, _ := edx.FromContext(r.Context())
//	name := u.Username
//
// A route that restricted applications may use says in its Need which scopes they
// must have, and which part of the URL is a course's organisation or a user name.
//
// # What the apps make of an answer
//
// Android refreshes at "Token has expired." and signs the user out at "Invalid
// token."; iOS refreshes at any 401. So "Invalid token." is said only of tokens
// that no refresh can mend: forged, foreign or revoked ones. A token that is too
// old, one from a clock that runs ahead, and one whose key this service has not
// seen yet are all answered "Token has expired.".
//
// The package owns the words and the rules of Open edX. It does not own what makes a
// token good: that is package verify.
package edx
