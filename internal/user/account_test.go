package user

import (
	"errors"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// TestNamesAreUnique is LOGIN-10: no second account shadows the first.
func TestNamesAreUnique(t *testing.T) {
	d, m := newDirectory(t)
	must(t, d, Declared{Username: "Alice", Email: ptr("alice@example.org"), Password: pass(right)})
	must(t, d, Declared{Username: "owner@example.org", Email: ptr("Owner@example.org"), Password: pass(right)})
	for _, c := range []struct {
		name, email string
		want        fault.Kind
	}{
		{"alice", "", fault.Conflict},
		{"ALICE", "", fault.Conflict},
		{"\uff41lice", "", fault.Conflict},
		{"bob", "ALICE@example.org", fault.Conflict},
		{"alice ", "", fault.InvalidRequest},
		{"\u0430lice", "", fault.InvalidRequest},                   // Cyrillic a
		{"alice@example.org", "", fault.InvalidRequest},            // somebody else's address as user name
		{"alice@example.org", "m@x.org", fault.InvalidRequest},     //
		{"nobody@example.org", "", fault.InvalidRequest},           // an address that is nobody's yet
		{"alice@example.org", "alice@example.org", fault.Conflict}, // claimed as one's own, and taken
		{"bob", "owner@example.org", fault.Conflict},               // somebody's user name as address
	} {
		before := d.Hasher.Load().Done
		want := Declared{Username: c.name, Password: pass(right)}
		if c.email != "" {
			want.Email = &c.email
		}
		_, err := d.Create(t.Context(), want)
		kind(t, err, c.want)
		if n := d.Hasher.Load().Done - before; c.want == fault.Conflict && n != 1 {
			t.Errorf("%q: a taken name costs %d hashes, a free one 1", c.name, n)
		}
	}
	if len(m.rows) != 2 {
		t.Errorf("%d accounts", len(m.rows))
	}
}

func TestCreate(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "Alice", Email: ptr("alice@example.org"), EmailVerified: ptr(true), Number: ptr(int64(42)),
		Profile: Profile{Name: ptr("Alice A."), GivenName: ptr("Alice"), FamilyName: ptr("A.")}, Staff: ptr(true), Password: pass(right)})
	want := User{ID: u.ID, Number: 42, Username: "Alice", Email: "alice@example.org", EmailVerified: true, Name: "Alice A.",
		GivenName: "Alice", FamilyName: "A.", Staff: true, PasswordHash: u.PasswordHash, CreatedAt: noon, UpdatedAt: noon, Version: 1}
	if u != want || m.get(u.ID) != u || u.ID.IsZero() || !cheap.current(u.PasswordHash) {
		t.Errorf("created %+v", u)
	}
	for name, bad := range map[string]Declared{
		"no name":           {},
		"short password":    {Username: "b", Password: pass("short")},
		"bad hash":          {Username: "b", PasswordHash: "md5$x$y"},
		"password and hash": {Username: "b", Password: pass(right), PasswordHash: oldHash(t)},
		"verified nothing":  {Username: "b", EmailVerified: ptr(true)},
		"bad address":       {Username: "b", Email: ptr("b@")},
		"negative number":   {Username: "b", Number: ptr(int64(-1))},
		"control in name":   {Username: "b", Profile: Profile{Name: ptr("B\x1b[2J")}},
	} {
		_, err := d.Create(t.Context(), bad)
		if !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetPassword(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Password: pass(right)})
	stay := id.NewSession()
	got, err := d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("another horse"), Except: stay, ExceptSID: "sid"})
	if err != nil || got != m.get(u.ID) || got.Epoch != 1 || got.Version != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("a third horse"), Reason: fault.PasswordReset})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.ends) != 2 {
		t.Fatalf("%d ends", len(m.ends))
	}
	if c := m.ends[0]; c.Ends != fault.PasswordChanged || c.Except != stay || c.ExceptSID != "sid" || c.EntryLife != time.Hour {
		t.Errorf("the change is %+v", c)
	}
	if c := m.ends[1]; c.Ends != fault.PasswordReset || c.Except != (id.Session{}) || c.Next.Epoch != 2 {
		t.Errorf("the reset is %+v", c)
	}
	for password, good := range map[string]bool{right: false, "another horse": false, "a third horse": true} {
		if _, err := d.Authenticate(t.Context(), "alice", pass(password)); (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
	_, err = d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("short")})
	kind(t, err, fault.InvalidRequest)
	_, err = d.SetPassword(t.Context(), id.NewUser(), NewPassword{Password: pass(right)})
	kind(t, err, fault.NotFound)
}

// TestDisableAndEnable: disabling ends everything, enabling revives nothing.
func TestDisableAndEnable(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Password: pass(right)})
	for range 2 {
		got, err := d.Disable(t.Context(), u.ID)
		if err != nil || !got.Disabled || got.Epoch != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := d.Authenticate(t.Context(), "alice", pass(right)); !errors.Is(err, ErrDisabled) {
		t.Errorf("disabled: %v", err)
	}
	for range 2 {
		got, err := d.Enable(t.Context(), u.ID)
		if err != nil || got.Disabled || got.Epoch != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := d.Authenticate(t.Context(), "alice", pass(right)); err != nil {
		t.Errorf("enabled: %v", err)
	}
	if len(m.ends) != 1 || m.ends[0].Ends != fault.Disabled || m.replaces != 2 {
		t.Errorf("%d ends, %d replacements", len(m.ends), m.replaces)
	}
}

func TestEmail(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Email: ptr("a@x.org")})
	must(t, d, Declared{Username: "bob", Email: ptr("b@x.org")})
	verify := func(address string, verified bool) (User, error) {
		return d.SetEmailVerified(t.Context(), u.ID, address, verified)
	}
	if got, err := verify("A@x.org", true); err != nil || !got.EmailVerified {
		t.Errorf("%+v, %v", got, err)
	}
	// The same address in other letters stays verified, another one does not.
	if got, err := d.SetEmail(t.Context(), u.ID, "A@X.org"); err != nil || !got.EmailVerified || got.Email != "A@X.org" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.SetEmail(t.Context(), u.ID, "new@x.org"); err != nil || got.EmailVerified {
		t.Errorf("%+v, %v", got, err)
	}
	// A link that was sent to the old address verifies nothing now.
	_, err := verify("a@x.org", true)
	kind(t, err, fault.Conflict)
	_, err = d.SetEmail(t.Context(), u.ID, "bob@")
	kind(t, err, fault.InvalidRequest)
	_, err = d.SetEmail(t.Context(), u.ID, "B@x.org")
	kind(t, err, fault.Conflict)
	if got := m.get(u.ID); got.Email != "new@x.org" || got.EmailVerified || len(m.ends) != 0 {
		t.Errorf("now %+v", got)
	}
	// Nothing to verify where there is no address.
	if _, err := d.SetEmail(t.Context(), u.ID, ""); err != nil {
		t.Error(err)
	}
	_, err = verify("", true)
	kind(t, err, fault.Conflict)
	// A user name that is the address follows it.
	c := must(t, d, Declared{Username: "c@x.org", Email: ptr("c@x.org")})
	if got, err := d.SetEmail(t.Context(), c.ID, "d@x.org"); err != nil || got.Username != "d@x.org" || got.Email != "d@x.org" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestProfile(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Profile: Profile{Name: ptr("Alice"), FamilyName: ptr("A")}})
	for range 2 {
		got, err := d.SetProfile(t.Context(), u.ID, Profile{GivenName: ptr("Al"), FamilyName: ptr("")})
		if err != nil || got.Name != "Alice" || got.GivenName != "Al" || got.FamilyName != "" || got.Version != 2 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	_, err := d.SetProfile(t.Context(), u.ID, Profile{Name: ptr("a\nb")})
	if kind(t, err, fault.InvalidRequest); m.replaces != 1 {
		t.Errorf("%d replacements", m.replaces)
	}
}

// TestChangesKeepEachOther: changes of different parts of one account, made at
// once, all stand.
func TestChangesKeepEachOther(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", Email: ptr("a@x.org"), Password: pass(right)})
	var wg sync.WaitGroup
	for _, change := range []func() (User, error){
		func() (User, error) { return d.Disable(t.Context(), u.ID) },
		func() (User, error) { return d.SetEmailVerified(t.Context(), u.ID, "a@x.org", true) },
		func() (User, error) { return d.SetProfile(t.Context(), u.ID, Profile{Name: ptr("Alice")}) },
	} {
		wg.Go(func() {
			if _, err := change(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := m.get(u.ID); !got.Disabled || !got.EmailVerified || got.Name != "Alice" || got.Epoch != 1 || got.Version != 4 {
		t.Errorf("now %+v", got)
	}
}

// TestTriesAreBounded: a row that always changes under the change is a Conflict
// after maxTries.
func TestTriesAreBounded(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice"})
	tries := 0
	m.before = func(Change) { tries++; m.put(u.ID, "") }
	_, err := d.Disable(t.Context(), u.ID)
	if kind(t, err, fault.Conflict); tries != maxTries || m.replaces != 0 {
		t.Errorf("%d tries, %d replacements", tries, m.replaces)
	}
}
