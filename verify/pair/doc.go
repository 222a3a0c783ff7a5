// Package pair lets a service accept the access tokens of a Holdfast server and
// refuse everything else in the words of djangorestframework-simplejwt, for apps
// that read them.
//
// # What should I do?
//
// Make a verify.Verifier with your issuer and audience, a Guard over it, and wrap
// each route:
//
//	tokens, err := verify.New(verify.Config{Issuer: "https://id.example.com", Audience: "https://api.example.com"})
//	guard, err := pair.NewGuard(pair.Config{Tokens: tokens})
//
//	mux.Handle("GET /notes", guard.Protect(pair.Need{}, notes))
//
// In the handler, ask who it is:
//
//	u, _ := pair.FromContext(r.Context())
//	owner := u.ID
//
// # What apps make of an answer
//
// Apps of simplejwt refresh at 401, and some of them sign their user out when that
// fails or even at once. So 401 is only said where a token is missing or is none; a
// service that cannot tell at the moment answers 503.
//
// The package owns the words and the claims of simplejwt. It does not own what makes
// a token good: that is package verify.
package pair
