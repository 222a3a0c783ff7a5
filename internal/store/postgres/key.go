package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/key"
	"holdfast.example/internal/session"
)

// loadKeys reads rows and roll in one statement, so in one state.
const loadKeys = `SELECT r.version, r.roll, coalesce(k.id, 0), coalesce(k.purpose, ''), coalesce(k.alg, ''), coalesce(k.kid, ''), coalesce(k.state, ''), k.wrapped,
 coalesce(k.created_at, 0), coalesce(k.active_at, 0), coalesce(k.retired_at, 0) FROM key_roll r LEFT JOIN wrapped_key k ON true ORDER BY k.id`

// Load implements key.Store.
func (ks Keys) Load(ctx context.Context) (rows key.Rows, err error) {
	err = ks.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows = key.Rows{}
		found, err := c.Query(ctx, loadKeys)
		if err != nil {
			return err
		}
		var k key.Row
		var purpose, state string
		var wrapped, roll []byte
		var created, active, retired int64
		_, err = pgx.ForEachRow(found, []any{&rows.Version, &roll, &k.ID, &purpose, &k.Alg, &k.KID, &state, &wrapped, &created, &active, &retired}, func() error {
			rows.Roll = roll
			if k.ID == 0 { // no key has the number 0: the roll stands alone
				return nil
			}
			k.Purpose, k.State, k.Wrapped = key.Purpose(purpose), key.State(state), wrapped
			k.CreatedAt, k.ActiveAt, k.RetiredAt = session.FromMillis(created), session.FromMillis(active), session.FromMillis(retired)
			rows.Keys = append(rows.Keys, k)
			return nil
		})
		return err
	})
	if err != nil {
		return key.Rows{}, err
	}
	return rows, nil
}

// replaceKeys swaps the roll, drops the rows that are no longer there and writes
// the others.
var replaceKeys = `WITH changed AS (UPDATE key_roll SET version = $1, roll = $2 WHERE one = 1 AND version = $1::bigint - 1 RETURNING 1),
dropped AS (DELETE FROM wrapped_key WHERE id <> ALL($3::bigint[]) AND EXISTS (SELECT 1 FROM changed)),
written AS (INSERT INTO wrapped_key (id, purpose, alg, kid, state, wrapped, created_at, active_at, retired_at)
 SELECT k.* FROM changed, unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[]) AS k
 ON CONFLICT (id) DO UPDATE SET purpose = excluded.purpose, alg = excluded.alg, kid = excluded.kid, state = excluded.state, wrapped = excluded.wrapped,
 created_at = excluded.created_at, active_at = excluded.active_at, retired_at = excluded.retired_at), ` +
	accountFor("changed", 12) + " SELECT 1 FROM changed"

// Replace implements key.Store.
func (ks Keys) Replace(ctx context.Context, next key.Rows) error {
	if next.Version == 0 {
		return key.ErrChanged
	}
	ids, wrapped := []int64{}, [][]byte{}
	purposes, algs, kids, states := []string{}, []string{}, []string{}, []string{}
	created, active, retired := []int64{}, []int64{}, []int64{}
	for _, k := range next.Keys {
		ids, wrapped = append(ids, int64(k.ID)), append(wrapped, k.Wrapped)
		purposes, algs, kids, states = append(purposes, string(k.Purpose)), append(algs, k.Alg), append(kids, k.KID), append(states, string(k.State))
		created, active, retired = append(created, session.Millis(k.CreatedAt)), append(active, session.Millis(k.ActiveAt)), append(retired, session.Millis(k.RetiredAt))
	}
	args := append([]any{next.Version, next.Roll, ids, purposes, algs, kids, states, wrapped, created, active, retired},
		accountArgs(next.Entries, next.Audit)...)
	return ks.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return changedOne(c.Exec(ctx, replaceKeys, args...))(key.ErrChanged)
	})
}
