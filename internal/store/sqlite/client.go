package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
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
	if cl.Version == 1 {
		if err := cs.bury(ctx, cl.ID); err != nil {
			return err
		}
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

// tombstone stands for the document of a client that was deleted.
const tombstone = "deleted"

// bury ends the sessions of a deleted client before its id is registered anew:
// what one application was given must not come to life for another of the same
// name. While it goes on, a stretch of the table at a time, the client still
// counts as stopped; a crash leaves nothing but work to be done again.
func (cs Clients) bury(ctx context.Context, which id.Client) error {
	var deleted int64
	err := cs.db.readers.read(ctx, func(c *conn) (err error) {
		deleted, err = c.number("SELECT ref FROM client WHERE id = ? AND version = 0 AND doc = ?", string(which), tombstone)
		return err
	})
	if err != nil || deleted == 0 {
		return err
	}
	for from, last := int64(math.MinInt64), false; !last; {
		until, err := cs.stretch(ctx, from)
		if err != nil {
			return err
		}
		err = cs.db.writer.write(ctx, func(c *conn) error {
			_, err := c.run(`UPDATE session SET ended_at = ?, end_reason = ?, version = version + 1
 WHERE key BETWEEN ? AND ? AND ended_at IS NULL AND terms IN (SELECT ref FROM terms WHERE client = ?)`,
				session.Millis(cs.db.time()), string(fault.ClientStopped), from, until, deleted)
			return err
		})
		if err != nil {
			return err
		}
		from, last = until+1, until == math.MaxInt64
	}
	return nil
}

// stretch tells where a stretch of the table of sessions ends.
func (cs Clients) stretch(ctx context.Context, from int64) (until int64, err error) {
	err = cs.db.readers.read(ctx, func(c *conn) error {
		until = math.MaxInt64
		_, err := c.one("SELECT key FROM session WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?", []any{from, purgeLook}, func(r row) error {
			until = r.int(0) - 1
			return nil
		})
		return err
	})
	return until, err
}

// Delete implements client.Store. The row stays, without its document, for the
// sessions that name it.
func (cs Clients) Delete(ctx context.Context, which id.Client, along client.Along) error {
	return cs.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("UPDATE client SET version = 0, stopped = 1, doc = ? WHERE id = ? AND version > 0", tombstone, string(which))
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
