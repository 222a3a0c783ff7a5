package sqlite

import (
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/store/storetest"
)

// TestPurgeUnderLoad: devices refresh while many sessions that are over are purged.
func TestPurgeUnderLoad(t *testing.T) {
	storetest.Purging(t, func(t *testing.T, now func() time.Time) storetest.Purgeable {
		db := openTest(t, Options{Now: now, Synchronous: Off, LoseAcknowledged: true})
		return storetest.Purgeable{Bundle: bundle(db),
			Watch:    time.Now,
			Count:    func(t *testing.T) int { return int(tableRows(t, db)["session"]) },
			Multiply: func(t *testing.T, which id.Session, copies int) { multiply(t, db, which, copies) }}
	})
}

// multiply copies a session, a few thousand times in one transaction.
func multiply(t *testing.T, db *DB, which id.Session, copies int) {
	t.Helper()
	key, _ := halves(which)
	const most = 20_000
	for left := copies; left > 0; left -= most {
		err := db.writer.write(t.Context(), func(c *conn) error {
			_, err := c.run(`INSERT INTO session (key, tail, version, epoch, user, terms, used_at, created_at, ended_at, end_reason, parent, facts, chain)
 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
 SELECT random(), randomblob(length(tail)), version, epoch, user, terms, used_at, created_at, ended_at, end_reason, parent, facts, chain FROM session, n WHERE key = ?1`,
				key, min(left, most))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPurgeOfALargeTable reads a part of it.
func TestAPurgeOfALargeTable(t *testing.T) {
	const look = 8
	db := openTest(t, Options{Now: func() time.Time { return benchDay }, Synchronous: Off, LoseAcknowledged: true})
	db.purge.look = look
	rows := func(table string) func(*testing.T) int {
		return func(t *testing.T) int { return int(tableRows(t, db)[table]) }
	}
	storetest.PurgeWalks(t, storetest.Purgeable{Bundle: bundle(db), Count: rows("session"),
		Multiply: func(t *testing.T, which id.Session, copies int) { multiply(t, db, which, copies) }}, look, purgeLooks, rows("user_epoch"))
}
