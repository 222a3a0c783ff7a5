package postgres

import (
	"testing"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// taken refuses the first position that is drawn, as if another event had it, and
// goes on refusing that one.
const taken = `CREATE SEQUENCE drawn;
CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE first bigint;
BEGIN
 SELECT last_value INTO first FROM drawn;
 IF first = 1 OR first = NEW.position THEN
  PERFORM setval('drawn', NEW.position);
  RAISE unique_violation USING CONSTRAINT = 'audit_pkey';
 END IF;
 RETURN NEW;
END $$;
CREATE TRIGGER taken BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION taken()`

// TestATakenPositionIsDrawnAnew: an event that drew the position of another one
// costs its change a second try and nothing more.
func TestATakenPositionIsDrawnAnew(t *testing.T) {
	db := openTest(t)
	u, s := signIn(t, db)
	if _, err := db.pool.Exec(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	told := []audit.Event{{Name: audit.SignedIn, At: time.UnixMilli(1), User: u.ID}}
	other := s
	other.ID = id.NewSession()
	next := rotated(s)
	for _, c := range []struct {
		name   string
		change func() error
	}{
		{"sign-in", func() error {
			return db.Sessions().Open(t.Context(), session.Opening{Session: other, Audit: told})
		}},
		{"replacement", func() error {
			return db.Sessions().Replace(t.Context(), session.Change{Next: next, Audit: told})
		}},
		{"sign-out everywhere", func() error {
			_, err := db.Sessions().EndAll(t.Context(), session.Everywhere{User: u.ID, Reason: fault.Everywhere, Except: other.ID, Audit: told})
			return err
		}},
	} {
		if _, err := db.pool.Exec(t.Context(), "SELECT setval('drawn', 1)"); err != nil {
			t.Fatal(err)
		}
		if err := c.change(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
