package postgres

import (
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/store/storetest"
)

// TestPurgeUnderLoad: devices refresh while many sessions that are over are purged.
func TestPurgeUnderLoad(t *testing.T) {
	storetest.Purging(t, func(t *testing.T, now func() time.Time) storetest.Purgeable {
		url := newDatabase(t)
		db := openAt(t, url, Options{Now: now})
		return storetest.Purgeable{Bundle: bundle(db, url),
			Watch:    time.Now,
			Count:    func(t *testing.T) int { return int(tableRows(t, db)["session"]) },
			Multiply: func(t *testing.T, which id.Session, copies int) { multiply(t, db, which, copies) }}
	})
}

// multiply copies a session, some thousand times in one statement.
func multiply(t *testing.T, db *DB, which id.Session, copies int) {
	t.Helper()
	const most = 10_000
	for left := copies; left > 0; left -= most {
		_, err := db.pool.Exec(t.Context(), `INSERT INTO session (id, account, version, epoch, used_at, created_at, auth_time, ended_at, end_reason, parent, install, secret, attempt, client, scope,
  earned, amr, bound_to, device_name, device_model, device_system, device_app, chain)
 SELECT gen_random_uuid(), account, version, epoch, used_at, created_at, auth_time, ended_at, end_reason, parent, install, secret, attempt, client, scope,
  earned, amr, bound_to, device_name, device_model, device_system, device_app, chain FROM session, generate_series(1, $2) WHERE id = $1`, [id.Size]byte(which), min(left, most))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPurgeOfALargeTable reads a part of it.
func TestAPurgeOfALargeTable(t *testing.T) {
	const look = 8
	url := newDatabase(t)
	db := openAt(t, url, Options{Now: func() time.Time { return day }})
	db.purge.look = look
	rows := func(table string) func(*testing.T) int {
		return func(t *testing.T) int { return int(tableRows(t, db)[table]) }
	}
	storetest.PurgeWalks(t, storetest.Purgeable{Bundle: bundle(db, url), Count: rows("session"),
		Multiply: func(t *testing.T, which id.Session, copies int) { multiply(t, db, which, copies) }}, look, purgeLooks, rows("account_epoch"))
}
