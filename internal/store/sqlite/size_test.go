package sqlite

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/session"
)

var million = flag.Int("million", 0, "measure the size of the database with this many sessions, like 1000000 (takes some minutes)")

// maxBytesPerSession is what one device may cost in the file, index included,
// when every one of them has told all about itself and refreshes every hour.
const maxBytesPerSession = 200

// TestSize measures; it runs only when asked to.
func TestSize(t *testing.T) {
	n := *million
	if n == 0 {
		t.Skip("measures only with -million N")
	}
	db := openBench(t, Options{Synchronous: Off, LoseAcknowledged: true})
	all := fill(t, db, n/2, n, 0)
	bytesPerSession(t, db, "signed in", n)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for range session.MaxUses {
		rewrite(t, db, all)
	}
	if got := bytesPerSession(t, db, "refreshed every hour", n); got > maxBytesPerSession {
		t.Errorf("one session takes %.1f bytes, want at most %d", got, maxBytesPerSession)
	}
	churn(t, db, all)
	bytesPerSession(t, db, "after half of them made room for new ones", n)
	start := time.Now()
	purged, err := db.Sessions().Purge(t.Context(), benchDay.Add(-1000*time.Hour), benchDay.Add(-5000*time.Hour), 1)
	if err != nil || purged != 0 {
		t.Errorf("purged %d (%v)", purged, err)
	}
	t.Logf("a purge that finds nothing looks at all of them in %v", time.Since(start))
	start = time.Now()
	if _, err := db.Sessions().Find(t.Context(), session.Query{Limit: 50}); err != nil {
		t.Error(err)
	}
	t.Logf("Find without a user takes %v", time.Since(start))
	start = time.Now()
	rep, err := db.Check(t.Context())
	if err != nil || len(rep.Problems) != 0 {
		t.Errorf("check: %v %v", err, rep.Problems)
	}
	t.Logf("a check takes %v", time.Since(start))
	start = time.Now()
	again, err := Open(db.path, Options{Now: time.Now})
	if err == nil {
		_, err = again.Sessions().Load(t.Context(), all[0].ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("opening and the first read take %v", time.Since(start))
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// rewrite refreshes every session once, an hour later.
func rewrite(t *testing.T, db *DB, all []session.Session) {
	t.Helper()
	const chunk = 10_000
	for from := 0; from < len(all); from += chunk {
		err := db.writer.write(context.Background(), func(c *conn) error {
			for i := from; i < min(from+chunk, len(all)); i++ {
				all[i] = refreshed(all[i])
				if n, err := replaceSession(c, all[i]); err != nil || n != 1 {
					return orCorrupt(err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// churn deletes half of the sessions and opens as many new ones.
func churn(t *testing.T, db *DB, all []session.Session) {
	t.Helper()
	const chunk = 10_000
	for from := 0; from < len(all)/2; from += chunk {
		err := db.writer.write(context.Background(), func(c *conn) error {
			for i := from; i < min(from+chunk, len(all)/2); i++ {
				key, _ := halves(all[i].ID)
				if _, err := c.run("DELETE FROM session WHERE key = ?", key); err != nil {
					return err
				}
				s := mature(all[i].User, session.MaxUses)
				ref, _, err := standingUser(c, s.User)
				if err != nil {
					return err
				}
				if err := insertSession(c, ref, s); err != nil {
					return err
				}
				all[i] = s
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// bytesPerSession reads from SQLite's own accounts what sessions take.
func bytesPerSession(t *testing.T, db *DB, when string, n int) (per float64) {
	t.Helper()
	total := int64(0)
	err := db.readers.read(t.Context(), func(c *conn) error {
		return c.each(t.Context(), "SELECT name, sum(pgsize), sum(payload), sum(ncell) FROM dbstat GROUP BY name ORDER BY 2 DESC", nil, func(r row) error {
			name := r.text(0)
			if strings.HasPrefix(name, "session") || strings.HasPrefix(name, "user") || name == "login" {
				t.Logf("%s: %-24s %6.1f bytes a session (payload %.1f, %.2f full)", when, name,
					float64(r.int(1))/float64(n), float64(r.int(2))/float64(n), float64(r.int(2))/float64(r.int(1)))
			}
			if strings.HasPrefix(name, "session") {
				total += r.int(1)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(db.path)
	if err != nil {
		t.Fatal(err)
	}
	per = float64(total) / float64(n)
	t.Logf("%s: %.1f bytes a session with its index; the whole file with %d users: %d MB", when, per, n/2, info.Size()/1_000_000)
	return per
}
