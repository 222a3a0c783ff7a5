package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// All implements client.Store.
func (cs Clients) All(ctx context.Context) (all []client.Client, err error) {
	err = cs.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT id, version, stopped, doc FROM client WHERE version > 0 ORDER BY id")
		if err != nil {
			return err
		}
		all, err = collect(rows, scanClient)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func scanClient(row pgx.CollectableRow) (cl client.Client, err error) {
	var which, doc string
	var version uint64
	var stopped bool
	if err = row.Scan(&which, &version, &stopped, &doc); err != nil {
		return cl, err
	}
	if err = json.Unmarshal([]byte(doc), &cl); err != nil {
		return cl, fmt.Errorf("postgres: client %s: %w", which, err)
	}
	cl.ID, cl.Version, cl.Disabled = id.Client(which), version, stopped
	return cl, nil
}

// Revision implements client.Store.
func (cs Clients) Revision(ctx context.Context) (revision uint64, err error) {
	err = cs.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT revision FROM client_revision").Scan(&revision)
	})
	return revision, err
}

// A change of a client moves the revision in the same statement. The client's row
// is locked first, then the revision's.
const revised = ", revised AS (UPDATE client_revision SET revision = revision + 1 WHERE EXISTS (SELECT 1 FROM changed)) SELECT 1 FROM changed"

var (
	insertClient = `WITH changed AS (INSERT INTO client (id, version, stopped, doc) VALUES ($1, $2, $3, $4)
 ON CONFLICT (id) DO UPDATE SET version = excluded.version, stopped = excluded.stopped, doc = excluded.doc WHERE client.version = 0 RETURNING 1), ` +
		accountFor("changed", 5) + revised
	updateClient = `WITH changed AS (UPDATE client SET version = $2, stopped = $3, doc = $4 WHERE id = $1 AND version = $2::bigint - 1 RETURNING 1), ` +
		accountFor("changed", 5) + revised
	// The row stays, without its document, for the sessions that name it.
	deleteClient = `WITH changed AS (UPDATE client SET version = 0, stopped = true, doc = '' WHERE id = $1 AND version > 0 RETURNING 1), ` + accountFor("changed", 2) + revised
)

// Put implements client.Store.
func (cs Clients) Put(ctx context.Context, ch client.Change) error {
	cl := ch.Next
	if cl.Version == 0 {
		return client.ErrChanged
	}
	doc, err := json.Marshal(cl)
	if err != nil {
		return err
	}
	text := updateClient
	if cl.Version == 1 {
		text = insertClient
		if err := cs.bury(ctx, cl.ID); err != nil {
			return err
		}
	}
	args := append([]any{string(cl.ID), cl.Version, cl.Disabled, string(doc)}, accountArgs(ch.Entries, ch.Audit)...)
	return cs.change(ctx, text, args, client.ErrChanged)
}

// buryStretch ends the standing sessions of a client in one stretch of the table.
const buryStretch = `WITH look AS (SELECT id, client, ended_at FROM session WHERE id > $1 ORDER BY id LIMIT $2),
 due AS (SELECT s.id FROM session s JOIN look l ON l.id = s.id WHERE l.client = $3 AND l.ended_at IS NULL ORDER BY s.id FOR NO KEY UPDATE OF s),
 buried AS (UPDATE session s SET ended_at = coalesce($4::bigint, ` + clock + `), end_reason = $5, version = s.version + 1 FROM due WHERE s.id = due.id AND s.ended_at IS NULL)
SELECT (SELECT count(*) FROM look), (SELECT id FROM look ORDER BY id DESC LIMIT 1)`

// bury ends the sessions of a deleted client before its id is registered anew:
// what one application was given must not come to life for another of the same
// name. While it goes on, a stretch of the table at a time, the client still
// counts as stopped; a crash leaves nothing but work to be done again.
func (cs Clients) bury(ctx context.Context, which id.Client) error {
	var deleted bool
	err := cs.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM client WHERE id = $1 AND version = 0)", string(which)).Scan(&deleted)
	})
	if err != nil || !deleted {
		return err
	}
	for after, passed := [id.Size]byte{}, purgeLook; passed == purgeLook; {
		var last *[id.Size]byte
		err := cs.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
			return c.QueryRow(ctx, buryStretch, after, purgeLook, string(which), cs.db.given(), string(fault.ClientStopped)).Scan(&passed, &last)
		})
		if err != nil {
			return err
		}
		if last != nil {
			after = *last
		}
	}
	return nil
}

// Delete implements client.Store. Sessions that name the client count as stopped.
func (cs Clients) Delete(ctx context.Context, which id.Client, along client.Along) error {
	return cs.change(ctx, deleteClient, append([]any{string(which)}, accountArgs(along.Entries, along.Audit)...), client.ErrNotFound)
}

func (cs Clients) change(ctx context.Context, text string, args []any, otherwise error) error {
	return cs.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return changedOne(c.Exec(ctx, text, args...))(otherwise)
	})
}
