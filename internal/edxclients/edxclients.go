// Package edxclients owns the proof that the clients of an Open edX can live with
// this server: the state machines of its Android app, its iOS app and its
// micro-frontends, with the quirks they have in the field, run against whole
// servers through networks that fail and on clocks that are wrong. Nobody may be
// signed out by that, and everybody must learn of a sign-out that was meant.
//
// All of it is tests. It does not own the door (room door/edx), whose answers are
// held byte by byte in room server, nor what services answer (verify/edx).
package edxclients
