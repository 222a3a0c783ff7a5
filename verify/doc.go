// Package verify checks the access tokens of a Holdfast server in the service
// that receives them. It uses the standard library only.
//
// # What should I do?
//
// If your service uses net/http: make one [Verifier] and one [Guard] at start,
// and wrap each route in [Guard.Protect], saying what it needs.
//
//	tokens, err := verify.New(verify.Config{
//		Issuer:   "https://id.example.com",  // who signs
//		Audience: "https://api.example.com", // who you are
//	})
//	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: tokens})
//
//	mux.Handle("GET /orders", guard.Protect(verify.Need{Scope: "orders.read"}, orders))
//
// In the handler, ask who it is:
//
//	claims, _ := verify.FromContext(r.Context())
//	user := claims.Subject
//
// Then, as the case may be:
//
//   - A route that moves money or changes a password: add MaxAge or ACR to its
//     [Need]. The app is told to let the user sign in again (RFC 9470).
//   - Another framework: call [Guard.Check] and [Guard.Refuse], the two halves
//     of Protect. No HTTP at all: call [Verifier.Verify] with the token.
//   - Very many requests per token: set Config.Memo. Measure first.
//   - Tokens that start with "hfa_": set Config.Opaque to an [Introspector].
//   - Several issuers: one Verifier each, joined by [NewIssuers].
//   - Pages on the same site that keep their tokens in cookies: set
//     GuardConfig.Cookie, and Origins if the pages have another origin.
//   - Clients that only know your URL: serve [ResourceMetadata].
//   - Readiness probes: call [JWKS.Ready] on a JWKS that you made yourself and
//     put into Config.Keys.
//   - The process holds the keys itself: put [LocalKeys] into Config.Keys.
//   - Tests of your own handlers: put a *[Claims] into the context with
//     [NewContext]; no token is needed.
//
// # What is checked
//
// The token is a JWS in compact form with one spelling only, 8 KiB at most.
// Its header says typ at+jwt and names a key of the issuer; the algorithm is
// the one that key is pinned to (ES256, RS256, RS512, Ed25519), never the
// token's choice. The signature is good. The payload is JSON without duplicate
// names and has all claims that RFC 9068 requires. Issuer and audience are the
// configured ones, byte for byte. The time is inside nbf, iat and exp, give or
// take Config.Skew. A token bound to a key is refused unless the binding is
// checked. Nothing in a token makes this package fetch anything.
//
// # What an answer means
//
// 401 invalid_token: this token is of no use here; the app should
// refresh. 403 insufficient_scope: it must ask for more. 401
// insufficient_user_authentication: the user must sign in again. 503: this
// service cannot tell at the moment (no keys yet, the issuer is away); the app
// should try again and must not sign the user out.
//
// # What is not here
//
// Until Config.Revocations is set, a token lives to its exp even if the user
// signs out meanwhile. The follower of the server's revocation feed and the
// proof of DPoP keys are not in this version; [Revocations] and
// GuardConfig.Proof are their places.
package verify
