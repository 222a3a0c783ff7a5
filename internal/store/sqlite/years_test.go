package sqlite

import (
	"os"
	"testing"
	"time"

	"holdfast.example/internal/store/storetest"
)

// TestFiveYears: a device is one row, however long it lives.
func TestFiveYears(t *testing.T) {
	storetest.Years(t, func(t *testing.T, now func() time.Time) storetest.Aged {
		db := openTest(t, Options{Now: now, Synchronous: Off, LoseAcknowledged: true})
		return storetest.Aged{Bundle: bundle(db), Step: 6 * time.Hour,
			Rows: func(t *testing.T) map[string]int64 { return tableRows(t, db) },
			Size: func(t *testing.T) int64 { return fileBytes(t, db) }}
	})
}

func tableRows(t *testing.T, db *DB) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := db.readers.read(t.Context(), func(c *conn) error {
		var names []string
		err := c.each(t.Context(), "SELECT name FROM sqlite_schema WHERE type = 'table'", nil, func(r row) error {
			names = append(names, string(append([]byte(nil), r.text(0)...)))
			return nil
		})
		for _, name := range names {
			if err != nil {
				break
			}
			_, err = c.one(`SELECT count(*) FROM "`+name+`"`, nil, func(r row) error { all[name] = r.int(0); return nil })
		}
		return err
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("the tables are %v: %v", all, err)
	}
	return all
}

// fileBytes is the size of the database file. It never shrinks, so that pages which
// are free count too.
func fileBytes(t *testing.T, db *DB) int64 {
	t.Helper()
	info, err := os.Stat(db.path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
