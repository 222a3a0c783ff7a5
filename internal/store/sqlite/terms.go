package sqlite

import (
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// terms is what many sessions have in common. Its rows never change and are
// never deleted, so a number once read may be remembered; a rollback forgets.
type terms struct {
	client             id.Client
	scope, earned, amr string
}

// maxTerms is how many numbers the writer remembers before it starts anew.
const maxTerms = 4096

// termsOf gives the number of a session's terms, inside a transaction, and
// makes a row when they are new.
func termsOf(c *conn, s session.Session) (ref int64, err error) {
	t := terms{s.Client, s.Scope, s.Grant, s.AMR}
	if ref, ok := c.terms[t]; ok {
		return ref, nil
	}
	client, err := clientRef(c, t.client)
	if err != nil {
		return 0, err
	}
	ref, err = c.number("SELECT ref FROM terms WHERE client = ? AND scope = ? AND earned = ? AND amr = ?", client, t.scope, t.earned, t.amr)
	if err != nil {
		return 0, err
	}
	if ref == 0 {
		ref, err = c.number("INSERT INTO terms (client, scope, earned, amr) VALUES (?, ?, ?, ?) RETURNING ref", client, t.scope, t.earned, t.amr)
		if err != nil {
			return 0, err
		}
	}
	if len(c.terms) >= maxTerms {
		clear(c.terms)
	}
	c.terms[t] = ref
	return ref, nil
}

// clientRef gives the number of a client. One that is not registered gets a row
// that says so: its sessions can name it and count as stopped.
func clientRef(c *conn, client id.Client) (ref int64, err error) {
	ref, err = c.number("SELECT ref FROM client WHERE id = ?", string(client))
	if err != nil || ref != 0 {
		return ref, err
	}
	return c.number("INSERT INTO client (id, version, stopped, doc) VALUES (?, 0, 1, '') RETURNING ref", string(client))
}
