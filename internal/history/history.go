// Package history owns the proof that several nodes over one database are one
// server: clients ask real nodes through a network that fails, everything they
// asked and heard is written down, and a checker looks for an order in which one
// session, alone in the world, would have answered the same. It also owns the storm:
// phones that lose, double and delay answers for as long as it takes to sign one out.
//
// All of it is tests. It does not own the rules of the chain (room session), which
// it tells once more from design.md, nor the services it needs (room testsvc).
package history
