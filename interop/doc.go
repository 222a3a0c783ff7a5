// Package interop drives the real program with client libraries that others
// wrote: golang.org/x/oauth2, coreos/go-oidc, golang-jwt and go-jose. It has
// tests only, and it is a module of its own so that the server needs none of
// them. It builds the program from the folder above and speaks to it over HTTP.
//
//	cd interop && go test ./...
package interop
