package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/store/storetest"
)

// TestFiveYears: a device is one row, however long it lives.
func TestFiveYears(t *testing.T) {
	storetest.Years(t, func(t *testing.T, now func() time.Time) storetest.Aged {
		url := newDatabase(t)
		db := openAt(t, url, Options{Now: now})
		return storetest.Aged{Bundle: bundle(db, url), Step: 24 * time.Hour,
			Rows: func(t *testing.T) map[string]int64 { return tableRows(t, db) },
			Size: func(t *testing.T) int64 { return tableBytes(t, db) }}
	})
}

// tableRows counts what is in each table; partitions count as one.
func tableRows(t *testing.T, db *DB) map[string]int64 {
	t.Helper()
	rows, err := db.pool.Query(t.Context(), "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 10 {
		t.Fatalf("the tables are %v: %v", names, err)
	}
	all := map[string]int64{}
	for _, name := range names {
		var n int64
		if err := db.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{name}.Sanitize()).Scan(&n); err != nil {
			t.Fatal(err)
		}
		all[name] = n
	}
	return all
}

// tableBytes is what tables and indexes take after the vacuum that the server does
// by itself where a year takes a year.
func tableBytes(t *testing.T, db *DB) (n int64) {
	t.Helper()
	_, err := db.pool.Exec(t.Context(), "VACUUM")
	if err == nil {
		err = db.pool.QueryRow(t.Context(), `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'`).Scan(&n)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
