package user

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

const right = "correct horse"

// oldHash is right as Django kept it.
func oldHash(t *testing.T) string {
	t.Helper()
	for _, m := range foreign(t) {
		if m.Password == right && strings.HasPrefix(m.Hash, "pbkdf2_sha256$1000$") {
			return m.Hash
		}
	}
	t.Fatal("no old hash of the right password")
	return ""
}

// everybody is one account of each standing.
func everybody(t *testing.T, d *Directory) {
	must(t, d, Declared{Username: "alice", Email: ptr("alice@example.org"), Password: pass(right)})
	must(t, d, Declared{Username: "gone", Password: pass(right), Disabled: ptr(true)})
	must(t, d, Declared{Username: "social"}) // signs in through an upstream only
}

// TestOneAnswerAndOneCost is LOGIN-01 and LOGIN-02: whatever is wrong, the
// answer is the same and so is the number of hashes, all of one cost.
func TestOneAnswerAndOneCost(t *testing.T) {
	d, _ := newDirectory(t)
	everybody(t, d)
	causes := map[string]error{"alice": ErrWrongPassword, "gone": ErrWrongPassword, "social": ErrNoPassword, "zed": ErrUnknown, "": ErrUnknown,
		strings.Repeat("z", MaxCanonical+1): ErrUnknown}
	var answer string
	for login, cause := range causes {
		for _, password := range []secret.Text{pass("wrong"), pass(""), {}, pass("x"), pass("p\u00e4ss"), pass("pa\u0308ss"), pass(strings.Repeat("x", MaxPassword))} {
			before := d.Hasher.Load().Done
			u, err := d.Authenticate(t.Context(), login, password)
			e := kind(t, err, fault.InvalidGrant)
			if !errors.Is(err, cause) || u != (User{}) {
				t.Errorf("%.9q: cause %v, user %+v", login, e.Cause, u)
			}
			e.Cause = nil
			if answer == "" {
				answer = e.Error()
			}
			if e.Error() != answer || e.RetryAfter != 0 || e.Reason != "" {
				t.Errorf("%.9q is told %q, others %q", login, e.Error(), answer)
			}
			if n := d.Hasher.Load().Done - before; n != 1 {
				t.Errorf("%.9q with %d bytes of password costs %d hashes", login, len(password.Reveal()), n)
			}
		}
		// What cannot be a password is the same fault for all, before any hash.
		for _, password := range []string{strings.Repeat("x", MaxPassword+1), strings.Repeat("x", 1<<20), "pass\x00word"} {
			before := d.Hasher.Load().Done
			_, err := d.Authenticate(t.Context(), login, pass(password))
			kind(t, err, fault.InvalidRequest)
			if n := d.Hasher.Load().Done - before; n != 0 {
				t.Errorf("%.9q: an impossible password costs %d hashes", login, n)
			}
		}
	}
	// A disabled account gets the same answer for the right password.
	before := d.Hasher.Load().Done
	_, err := d.Authenticate(t.Context(), "gone", pass(right))
	e := kind(t, err, fault.InvalidGrant)
	if !errors.Is(err, ErrDisabled) || d.Hasher.Load().Done-before != 1 {
		t.Errorf("a disabled account: %v, %d hashes", err, d.Hasher.Load().Done-before)
	}
	if e.Cause = nil; e.Error() != answer {
		t.Errorf("a disabled account is told %q", e.Error())
	}
}

func TestRightPassword(t *testing.T) {
	d, m := newDirectory(t)
	everybody(t, d)
	for _, login := range []string{"alice", "ALICE", " Alice ", "\uff41lice", "alice@example.org", "Alice@Example.Org"} {
		u, err := d.Authenticate(t.Context(), login, pass(right))
		if err != nil || u.Username != "alice" {
			t.Errorf("%q: %+v, %v", login, u, err)
		}
	}
	if m.replaces != 0 {
		t.Errorf("signing in wrote %d times", m.replaces)
	}
}

// TestAnEmptyPasswordIsNone: an import may hold the hash of an empty password;
// nobody signs in with it.
func TestAnEmptyPasswordIsNone(t *testing.T) {
	d, m := newDirectory(t)
	alice := must(t, d, Declared{Username: "alice", Password: pass(right)})
	m.put(alice.ID, newArgon2("", cheap, [saltSize]byte{1}).String())
	_, err := d.Authenticate(t.Context(), "alice", pass(""))
	kind(t, err, fault.InvalidGrant)
}

// TestUnusableHash: a hash that cannot be read, or costs too much, is no
// password, at the same cost.
func TestUnusableHash(t *testing.T) {
	d, m := newDirectory(t)
	alice := must(t, d, Declared{Username: "alice", Password: pass(right)})
	for _, hash := range []string{"", "!", "plain", right, "$2b$31$" + bcryptSalt + bcryptDigest} {
		m.put(alice.ID, hash)
		before := d.Hasher.Load().Done
		_, err := d.Authenticate(t.Context(), "alice", pass(right))
		if kind(t, err, fault.InvalidGrant); !errors.Is(err, ErrNoPassword) || d.Hasher.Load().Done-before != 1 {
			t.Errorf("%q: %v", hash, err)
		}
	}
}

// TestOnlyTheExactPassword is LOGIN-08: every byte of a long password counts.
func TestOnlyTheExactPassword(t *testing.T) {
	d, _ := newDirectory(t)
	u := must(t, d, Declared{Username: "alice"})
	for _, n := range []int{64, 72, 73, 128, 1024} {
		password := strings.Repeat("0123456789abcdef", 64)[:n-4] + "\U0001f512"
		_, err := d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass(password)})
		if err != nil {
			t.Fatal(err)
		}
		wrong := []string{password[:n-1], password[:n-4], password[:min(72, n-1)], password[:min(128, n-1)], password[:n-4] + "\U0001f513"}
		if n < MaxPassword {
			wrong = append(wrong, password+"x")
		}
		for _, w := range wrong {
			if _, err := d.Authenticate(t.Context(), "alice", pass(w)); !fault.Is(err, fault.InvalidGrant) {
				t.Errorf("%d bytes: a wrong password of %d bytes gets %v", n, len(w), err)
			}
		}
		if _, err := d.Authenticate(t.Context(), "alice", pass(password)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSpellingsBothWays is LOGIN-09 through the door of sign-in.
func TestSpellingsBothWays(t *testing.T) {
	d, _ := newDirectory(t)
	nfc, nfd := "p\u00e4ssw\u00f6rter", "pa\u0308sswo\u0308rter"
	for _, c := range [][2]string{{nfc, nfd}, {nfd, nfc}, {"two words here", "two\u00a0words here"}} {
		u := must(t, d, Declared{Username: "u" + id.NewUser().String(), Password: pass(c[0])})
		if _, err := d.Authenticate(t.Context(), u.Username, pass(c[1])); err != nil {
			t.Errorf("%+q set, %+q typed: %v", c[0], c[1], err)
		}
	}
	u := must(t, d, Declared{Username: "spacey", Password: pass(" spaces kept ")})
	for typed, good := range map[string]bool{" spaces kept ": true, "spaces kept": false, " spaces kept": false} {
		if _, err := d.Authenticate(t.Context(), u.Username, pass(typed)); (err == nil) != good {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

// TestForeignPasswordsAsTyped: systems that did not normalise hashed what was
// typed, and so did the people's keyboards; after one sign-in both spellings do.
func TestForeignPasswordsAsTyped(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice"})
	nfc, nfd := "p\u00e4ssw\u00f6rter", "pa\u0308sswo\u0308rter"
	m.put(u.ID, newArgon2(nfd, Cost{16, 1, 1}, [saltSize]byte{7}).String())
	if _, err := d.Authenticate(t.Context(), "alice", pass(nfc)); err == nil {
		t.Error("the old system would have refused this spelling")
	}
	for _, typed := range []string{nfd, nfc, nfd} {
		if _, err := d.Authenticate(t.Context(), "alice", pass(typed)); err != nil {
			t.Errorf("%+q: %v", typed, err)
		}
	}
}

// TestRehashOnce is LOGIN-12: a foreign hash is replaced on success, once under
// concurrency, and never by a wrong password.
func TestRehashOnce(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", PasswordHash: oldHash(t)})
	for range 3 {
		_, err := d.Authenticate(t.Context(), "alice", pass("wrong"))
		kind(t, err, fault.InvalidGrant)
	}
	if m.replaces != 0 || m.get(u.ID).PasswordHash != oldHash(t) {
		t.Fatal("a wrong password replaced the hash")
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := d.Authenticate(t.Context(), "alice", pass(right))
			if err != nil || got.ID != u.ID {
				t.Errorf("a sign-in during the rehash: %v", err)
			}
		})
	}
	wg.Wait()
	now := m.get(u.ID)
	if m.replaces != 1 || !cheap.current(now.PasswordHash) || len(m.ends) != 0 || now.Epoch != u.Epoch {
		t.Errorf("%d replacements, %d ends, now %+v", m.replaces, len(m.ends), now)
	}
	before := d.Hasher.Load().Done
	if _, err := d.Authenticate(t.Context(), "alice", pass(right)); err != nil || d.Hasher.Load().Done-before != 1 || m.replaces != 1 {
		t.Errorf("the replaced hash: %v, %d hashes, %d replacements", err, d.Hasher.Load().Done-before, m.replaces)
	}
}

// TestWeakerAndDearerHashesAreReplaced: every account comes to cost the same.
func TestWeakerAndDearerHashesAreReplaced(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice"})
	for _, c := range []Cost{{8, 2, 1}, {16, 1, 1}, {16, 1, 2}} {
		m.put(u.ID, newArgon2(right, c, [saltSize]byte{3}).String())
		_, err := d.Authenticate(t.Context(), "alice", pass(right))
		if err != nil || !cheap.current(m.get(u.ID).PasswordHash) {
			t.Errorf("%+v: %v, now %s", c, err, m.get(u.ID).PasswordHash)
		}
	}
}

// TestBcryptTailIsNoPassword: what bcrypt did not read is not made a password.
func TestBcryptTailIsNoPassword(t *testing.T) {
	d, m := newDirectory(t)
	read := strings.Repeat("x", 72)
	for _, f := range foreign(t) {
		if f.Maker != "bcrypt 2b" || f.Password != read {
			continue
		}
		u := must(t, d, Declared{Username: "alice", PasswordHash: f.Hash})
		if _, err := d.Authenticate(t.Context(), "alice", pass(read+"typo")); err != nil || m.get(u.ID).PasswordHash != f.Hash {
			t.Errorf("a longer password: %v, hash %s", err, m.get(u.ID).PasswordHash)
		}
		if _, err := d.Authenticate(t.Context(), "alice", pass(read)); err != nil || m.get(u.ID).PasswordHash == f.Hash {
			t.Errorf("the password: %v, hash kept", err)
		}
		if _, err := d.Authenticate(t.Context(), "alice", pass(read+"typo")); err == nil {
			t.Error("the new hash reads all of it")
		}
		return
	}
	t.Fatal("no hash to test with")
}

// TestRehashLosesToAChangeOfPassword: the password is changed while the old one
// is being proved. The change stands, and the sign-in holds the old epoch, so
// that its session will not open.
func TestRehashLosesToAChangeOfPassword(t *testing.T) {
	d, m := newDirectory(t)
	u := must(t, d, Declared{Username: "alice", PasswordHash: oldHash(t)})
	var once atomic.Bool
	m.before = func(c Change) {
		if c.Ends == "" && once.CompareAndSwap(false, true) {
			_, err := d.SetPassword(t.Context(), u.ID, NewPassword{Password: pass("another horse")})
			if err != nil {
				t.Error(err)
			}
		}
	}
	got, err := d.Authenticate(t.Context(), "alice", pass(right))
	if err != nil || !once.Load() {
		t.Fatal(err, once.Load())
	}
	now := m.get(u.ID)
	if got.Epoch != u.Epoch || now.Epoch != u.Epoch+1 {
		t.Errorf("the sign-in holds epoch %d, the account %d", got.Epoch, now.Epoch)
	}
	if _, err := d.Authenticate(t.Context(), "alice", pass(right)); err == nil {
		t.Error("the old password came back")
	}
	if _, err := d.Authenticate(t.Context(), "alice", pass("another horse")); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// TestRehashFailureDoesNotFailTheSignIn: and it is told.
func TestRehashFailureDoesNotFailTheSignIn(t *testing.T) {
	broken := errors.New("disk full")
	for _, call := range []string{"Replace", "replaced", "ByID"} {
		d, m := newDirectory(t)
		u := must(t, d, Declared{Username: "alice", PasswordHash: oldHash(t)})
		var told error
		d.RehashFailed = func(who id.User, err error) {
			if who == u.ID {
				told = err
			}
		}
		m.fail = func(c string) error {
			if c == call {
				return broken
			}
			return nil
		}
		_, err := d.Authenticate(t.Context(), "alice", pass(right))
		if err != nil || !errors.Is(told, broken) {
			t.Errorf("%s fails: signed in %v, told %v", call, err, told)
		}
	}
}

func TestStoreDownIsUnavailable(t *testing.T) {
	d, m := newDirectory(t)
	m.fail = func(string) error { return errors.New("no route") }
	_, err := d.Authenticate(t.Context(), "alice", pass(right))
	if e := kind(t, err, fault.Unavailable); e.RetryAfter == 0 {
		t.Error("nobody is told when to come back")
	}
}

// TestOneKeyForAllNames is LOGIN-06: attempts on one account are counted in one
// place, whatever name and spelling they use.
func TestOneKeyForAllNames(t *testing.T) {
	d, _ := newDirectory(t)
	everybody(t, d)
	key := func(login string) string {
		c, err := d.Find(t.Context(), login)
		if err != nil {
			t.Fatal(err)
		}
		return c.Key()
	}
	for _, same := range [][]string{
		{"alice", "ALICE", "alice ", "\uff21LICE", "al\u200bice", "alice@example.org", "ALICE@EXAMPLE.ORG", " alice@example.org"},
		{"zed", "Zed", "zed\t", "\U0001d4e9ed"},
	} {
		for _, login := range same {
			if key(login) != key(same[0]) {
				t.Errorf("%+q is counted as %q, %q as %q", login, key(login), same[0], key(same[0]))
			}
		}
	}
	if key("alice") == key("social") || key("zed") == key("zod") || key("zed") == key("alice") {
		t.Error("accounts share a key")
	}
}
