package user

import (
	"testing"

	"holdfast.example/internal/fault"
)

// apply applies and checks whether it changed something.
func apply(t *testing.T, d *Directory, want Declared, changes bool) {
	t.Helper()
	changed, err := d.Apply(t.Context(), want)
	if err != nil || changed != changes {
		t.Fatalf("Apply(%+v) = %v, %v; want %v", want, changed, err, changes)
	}
}

func only(t *testing.T, m *memory) User {
	t.Helper()
	if len(m.rows) != 1 {
		t.Fatalf("%d accounts", len(m.rows))
	}
	for _, u := range m.rows {
		return u
	}
	return User{}
}

func TestApplyTwiceIsApplyOnce(t *testing.T) {
	d, m := newDirectory(t)
	full := Declared{Username: "Demo", Email: ptr("demo@example.com"), EmailVerified: ptr(true), Password: pass("demo-password"),
		Number: ptr(int64(7)), Profile: Profile{Name: ptr("Demo")}, Staff: ptr(true), Superuser: ptr(false), Disabled: ptr(false)}
	apply(t, d, full, true)
	apply(t, d, full, false)
	apply(t, d, Declared{Username: "Demo"}, false) // what is not said stays
	first := only(t, m)

	more := full
	more.Email, more.EmailVerified, more.Staff = ptr("new@example.com"), nil, ptr(false)
	apply(t, d, more, true)
	apply(t, d, more, false)
	if u := only(t, m); u.Email != "new@example.com" || u.EmailVerified || u.Staff || u.Number != 7 || u.PasswordHash != first.PasswordHash || u.Epoch != 0 || u.Version != 2 {
		t.Errorf("now %+v", u)
	}
	apply(t, d, Declared{Username: "DEMO"}, true) // another spelling of the same name
	if u := only(t, m); u.Username != "DEMO" || u.ID != first.ID || len(m.ends) != 0 {
		t.Errorf("now %+v, %d ends", u, len(m.ends))
	}
}

func TestApplyPassword(t *testing.T) {
	d, m := newDirectory(t)
	apply(t, d, Declared{Username: "demo", Password: pass("demo-password")}, true)
	apply(t, d, Declared{Username: "demo", Password: pass("new-password")}, true)
	apply(t, d, Declared{Username: "demo", Password: pass("new-password")}, false)
	if len(m.ends) != 1 || m.ends[0].Ends != fault.PasswordChanged || only(t, m).Epoch != 1 {
		t.Errorf("ends %+v", m.ends)
	}
	if _, err := d.Authenticate(t.Context(), "demo", pass("new-password")); err != nil {
		t.Error(err)
	}
	// Disabling in the same breath is the reason that counts.
	apply(t, d, Declared{Username: "demo", Password: pass("third-password"), Disabled: ptr(true)}, true)
	apply(t, d, Declared{Username: "demo", Password: pass("third-password"), Disabled: ptr(true)}, false)
	if u := only(t, m); len(m.ends) != 2 || m.ends[1].Ends != fault.Disabled || u.Epoch != 2 || !u.Disabled {
		t.Errorf("ends %+v", m.ends)
	}
	apply(t, d, Declared{Username: "demo", Disabled: ptr(false)}, true)
	if u := only(t, m); u.Epoch != 2 || u.Disabled {
		t.Errorf("enabled: %+v", u)
	}
}

// TestApplyHash: a declared hash that a sign-in replaced is fulfilled; another
// declared hash is another password.
func TestApplyHash(t *testing.T) {
	d, m := newDirectory(t)
	declared := Declared{Username: "demo", PasswordHash: oldHash(t)}
	apply(t, d, declared, true)
	apply(t, d, declared, false)
	if _, err := d.Authenticate(t.Context(), "demo", pass(right)); err != nil {
		t.Fatal(err)
	}
	if u := only(t, m); !cheap.current(u.PasswordHash) || u.Epoch != 0 {
		t.Fatalf("after the sign-in: %+v", u)
	}
	apply(t, d, declared, false)
	apply(t, d, Declared{Username: "demo", Password: pass(right)}, false)

	other := newArgon2("another horse", cheap, [saltSize]byte{5}).String()
	apply(t, d, Declared{Username: "demo", PasswordHash: other}, true)
	apply(t, d, Declared{Username: "demo", PasswordHash: other}, false)
	if len(m.ends) != 1 || m.ends[0].Ends != fault.PasswordChanged {
		t.Errorf("ends %+v", m.ends)
	}
	if _, err := d.Authenticate(t.Context(), "demo", pass("another horse")); err != nil {
		t.Error(err)
	}
}

func TestApplyRefuses(t *testing.T) {
	d, m := newDirectory(t)
	must(t, d, Declared{Username: "alice", Email: ptr("alice@x.org")})
	must(t, d, Declared{Username: "bob@x.org", Email: ptr("bob@x.org")})
	for name, c := range map[string]struct {
		want Declared
		kind fault.Kind
	}{
		"another's address as name":  {Declared{Username: "alice@x.org", Email: ptr("alice@x.org")}, fault.Conflict},
		"another's name as address":  {Declared{Username: "alice", Email: ptr("bob@x.org")}, fault.Conflict},
		"an address that is no name": {Declared{Username: "carol@x.org"}, fault.InvalidRequest},
		"no name":                    {Declared{}, fault.InvalidRequest},
		"a short password":           {Declared{Username: "alice", Password: pass("short")}, fault.InvalidRequest},
		"a hash of nothing known":    {Declared{Username: "alice", PasswordHash: "crypt$x"}, fault.InvalidRequest},
		"two passwords":              {Declared{Username: "alice", Password: pass(right), PasswordHash: oldHash(t)}, fault.InvalidRequest},
	} {
		changed, err := d.Apply(t.Context(), c.want)
		if changed || !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
	if m.replaces != 0 || len(m.rows) != 2 {
		t.Errorf("%d replacements, %d accounts", m.replaces, len(m.rows))
	}
}

// TestApplyBesideASignIn: a sign-in replaces the hash while the manifest is
// applied; nobody's sessions end.
func TestApplyBesideASignIn(t *testing.T) {
	d, m := newDirectory(t)
	apply(t, d, Declared{Username: "demo", PasswordHash: oldHash(t)}, true)
	raced := false
	m.before = func(c Change) {
		if c.Next.Staff && !raced {
			raced = true
			if _, err := d.Authenticate(t.Context(), "demo", pass(right)); err != nil {
				t.Error(err)
			}
		}
	}
	apply(t, d, Declared{Username: "demo", PasswordHash: oldHash(t), Staff: ptr(true)}, true)
	if u := only(t, m); !raced || len(m.ends) != 0 || !u.Staff || !cheap.current(u.PasswordHash) {
		t.Errorf("raced %v, now %+v, ends %+v", raced, u, m.ends)
	}
}
