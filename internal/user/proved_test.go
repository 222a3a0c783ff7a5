package user

import (
	"testing"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// TestTheOldPasswordAllowsNothingAfterAReset: somebody proved the old password,
// and before the new one was stored the account was reset, disabled or signed
// out everywhere. The change he was allowed is allowed no more.
func TestTheOldPasswordAllowsNothingAfterAReset(t *testing.T) {
	for name, meanwhile := range map[string]func(*Directory, id.User) error{
		"reset": func(d *Directory, u id.User) error {
			_, err := d.SetPassword(t.Context(), u, NewPassword{Password: pass("set by an operator"), Reason: fault.PasswordReset})
			return err
		},
		"disabled": func(d *Directory, u id.User) error { _, err := d.Disable(t.Context(), u); return err },
	} {
		t.Run(name, func(t *testing.T) {
			d, m := newDirectory(t)
			u := must(t, d, Declared{Username: "alice", Password: pass(right)})
			who, err := d.Known(t.Context(), u.ID)
			if err != nil {
				t.Fatal(err)
			}
			proved, err := d.Prove(t.Context(), who, pass(right))
			if err != nil {
				t.Fatal(err)
			}
			err = meanwhile(d, u.ID)
			if err != nil {
				t.Fatal(err)
			}
			before := m.get(u.ID)
			_, err = d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("the thief's own"), Proved: &proved})
			kind(t, err, fault.Conflict)
			if m.get(u.ID) != before {
				t.Error("the account was changed")
			}
		})
	}
}

// TestABetterHashIsNoObstacle: proving an old hash replaces it, and the change
// that follows is still the one that was allowed. Users are not told of the
// better hash.
func TestABetterHashIsNoObstacle(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", PasswordHash: oldHash(t)})
	var told []audit.Name
	m.before = func(c Change) { told = append(told, c.Audit[0].Name) }
	who, err := d.Known(t.Context(), u.ID)
	if err != nil || who.ID() != u.ID {
		t.Fatal(who.ID(), err)
	}
	proved, err := d.Prove(t.Context(), who, pass(right))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("a new horse"), Proved: &proved})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || told[0] != audit.PasswordRehash || told[0].Sentence() != "" || told[1] != audit.PasswordChanged {
		t.Errorf("told %v", told)
	}
}

func TestKnownIsCountedLikeFound(t *testing.T) {
	d, _ := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Password: pass(right)})
	known, err := d.Known(t.Context(), u.ID)
	found, findErr := d.Find(t.Context(), "ALICE")
	if err != nil || findErr != nil || known.Key() != found.Key() {
		t.Errorf("%q and %q: %v %v", known.Key(), found.Key(), err, findErr)
	}
	_, err = d.Known(t.Context(), id.NewUser())
	kind(t, err, fault.NotFound)
}
