package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/limit"
)

// Budgets satisfies limit.Store. It counts in whole microseconds by the
// database's clock, so that nodes whose clocks differ count alike.
//
// A budget is not durable and need not be: a server that crashed hands out whole
// ones, which is what an attacker would have had by waiting. In return counting an
// attempt waits for no disk.
type Budgets struct{ db *DB }

// Budgets gives the budgets kept here.
func (db *DB) Budgets() Budgets { return Budgets{db} }

// microClock is the database's time in microseconds.
const microClock = `floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

// takeBudget is limit.Rate's take in one statement: $1 key, $2 the time or NULL,
// $3 Every, $4 Burst. A new row is a whole budget with one unit spent, so now is
// excluded.whole - $3, read once. The row is locked before it is looked at, so of
// many at the same moment as many pass as there are units; one that is refused
// brings whole back within bounds and leaves word how long to wait.
const (
	budgetNow = "(excluded.whole - $3::bigint)"
	// bounded is whole between a full budget and an empty one.
	bounded    = "least(greatest(b.whole, " + budgetNow + "), " + budgetNow + " + $4::bigint * $3::bigint)"
	missing    = "greatest(0, " + bounded + " - " + budgetNow + " - ($4::bigint - 1) * $3::bigint)"
	takeBudget = "INSERT INTO budget AS b (key, whole, wait) SELECT $1::bytea, n.now + $3::bigint, 0 FROM (SELECT coalesce($2::bigint, " + microClock + `) AS now) n
 ON CONFLICT (key) DO UPDATE SET whole = ` + bounded + " + CASE WHEN " + missing + " = 0 THEN $3::bigint ELSE 0 END, wait = " + missing + " RETURNING wait"

	// giveBudget leaves a budget that became whole to Forget.
	giveBudget = `UPDATE budget b SET whole = least(greatest(b.whole, n.now), n.now + $4::bigint * $3::bigint) - $3::bigint
 FROM (SELECT coalesce($2::bigint, ` + microClock + `) AS now) n WHERE b.key = $1::bytea`

	forgetBudgets = `DELETE FROM budget WHERE key IN
 (SELECT key FROM budget WHERE whole < coalesce($1::bigint, ` + microClock + `) ORDER BY whole LIMIT $2 FOR UPDATE SKIP LOCKED)`
)

// given is the parameter that stands for the time: NULL lets the database take its
// own.
func (b Budgets) given() any {
	if b.db.now != nil {
		return b.db.now().UnixMicro()
	}
	return nil
}

// micros rounds up, so that a rate is never wider than it says.
func micros(d time.Duration) int64 {
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

// Take implements limit.Counters. Its time is the database's.
func (b Budgets) Take(ctx context.Context, _ time.Time, key limit.Key, r limit.Rate) (wait time.Duration, err error) {
	var us int64
	err = b.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, takeBudget, key[:], b.given(), micros(r.Every), r.Burst).Scan(&us)
	})
	return time.Duration(us) * time.Microsecond, err
}

// Give implements limit.Counters. Its time is the database's.
func (b Budgets) Give(ctx context.Context, _ time.Time, key limit.Key, r limit.Rate) error {
	return b.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, giveBudget, key[:], b.given(), micros(r.Every), r.Burst)
		return err
	})
}

// Forget implements limit.Store.
func (b Budgets) Forget(ctx context.Context, limit int) (forgotten int, err error) {
	return b.db.inBatches(ctx, limit, forgetBudgets, b.given())
}
