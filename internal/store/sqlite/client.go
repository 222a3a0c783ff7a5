package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
)

// All implements client.Store.
func (cs Clients) All(ctx context.Context) (all []client.Client, err error) {
	err = cs.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, "SELECT id, version, stopped, doc FROM client WHERE version > 0 ORDER BY id", nil, func(r row) error {
			var cl client.Client
			if err := json.Unmarshal([]byte(r.text(3)), &cl); err != nil {
				return fmt.Errorf("sqlite: client %s: %w", r.text(0), err)
			}
			cl.ID, cl.Version, cl.Disabled = id.Client(r.text(0)), uint64(r.int(1)), r.bool(2)
			all = append(all, cl)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Revision implements client.Store.
func (cs Clients) Revision(ctx context.Context) (revision uint64, err error) {
	err = cs.db.readers.read(ctx, func(c *conn) error {
		n, err := c.number("SELECT revision FROM client_revision")
		revision = uint64(n)
		return err
	})
	return revision, err
}

// Put implements client.Store.
func (cs Clients) Put(ctx context.Context, ch client.Change) error {
	cl := ch.Next
	doc, err := json.Marshal(cl)
	if err != nil {
		return err
	}
	return cs.db.writer.write(ctx, func(c *conn) error {
		stored, err := c.number("SELECT version FROM client WHERE id = ?", string(cl.ID))
		if err != nil {
			return err
		}
		if uint64(stored) != cl.Version-1 {
			return refuse(client.ErrChanged)
		}
		ref, err := clientRef(c, cl.ID)
		if err != nil {
			return err
		}
		if _, err := c.run("UPDATE client SET version = ?, stopped = ?, doc = ? WHERE ref = ?", cl.Version, cl.Disabled, string(doc), ref); err != nil {
			return err
		}
		if err := account(c, ch.Entries, ch.Audit); err != nil {
			return err
		}
		return revise(c)
	})
}

// Delete implements client.Store. The row stays, empty, for the sessions that
// name it.
func (cs Clients) Delete(ctx context.Context, which id.Client, along client.Along) error {
	return cs.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("UPDATE client SET version = 0, stopped = 1, doc = '' WHERE id = ? AND version > 0", string(which))
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(client.ErrNotFound)
		}
		if err := account(c, along.Entries, along.Audit); err != nil {
			return err
		}
		return revise(c)
	})
}

func revise(c *conn) error {
	_, err := c.run("UPDATE client_revision SET revision = revision + 1")
	return err
}
