module holdfast.example/verify/oracle

go 1.26.4

// Independent verifiers and published vectors that the verify module is held
// against. They are a module of their own so that verify requires nothing.
require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a // test vectors of Project Wycheproof, Apache-2.0
	github.com/go-jose/go-jose/v4 v4.1.8 // Apache-2.0
	github.com/golang-jwt/jwt/v5 v5.3.1 // MIT
	holdfast.example/verify v0.0.0
)

replace holdfast.example/verify => ../
