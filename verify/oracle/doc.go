// Package oracle holds verify against verifiers and vectors that others wrote:
// go-jose, golang-jwt and Project Wycheproof. It has tests only, and it is a
// module of its own so that whoever imports verify inherits none of them.
//
//	cd verify/oracle && go test ./...
package oracle
