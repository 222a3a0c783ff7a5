// Package interop drives the real program with client libraries that others
// wrote: golang.org/x/oauth2, coreos/go-oidc, golang-jwt and go-jose, axios and
// jwt-decode in Node and in Chromium, requests-oauthlib. It has tests only, and it
// is a module of its own so that the server needs none of them. It builds the
// program from the folder above and speaks to it over HTTP.
//
// What is not there is skipped, and said; HOLDFAST_TEST_REQUIRE names what must be
// there. Beside the program, some tests start what it replaces (folder django), as
// the control: a drill that signs nobody out there shows nothing here.
//
//	cd interop && (cd react && npm ci) && go test ./...
package interop
