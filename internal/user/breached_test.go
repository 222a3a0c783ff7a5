package user

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/breach"
	"holdfast.example/internal/fault"
)

// listOf is a list of breached passwords.
func listOf(t *testing.T, passwords ...string) breach.List {
	t.Helper()
	var lines []string
	for i, p := range passwords {
		lines = append(lines, fmt.Sprintf("%X:%d\r\n", sha1.Sum([]byte(p)), i+1))
	}
	slices.Sort(lines)
	l := breach.List{Path: filepath.Join(t.TempDir(), "breached.txt")}
	err := os.WriteFile(l.Path, []byte(strings.Join(lines, "")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestBreachedPasswords (LOGIN-11): which passwords are found on a list, in which
// spelling.
func TestBreachedPasswords(t *testing.T) {
	d, _ := newDirectory(t)
	d.Breached = listOf(t, "no\u00a0break\u00a0here", "trustno1", "p\u00e4ssword", "cafe\u0301-de-flore", "two words", "short", "12345678", strings.Repeat("a", 72))
	for password, listed := range map[string]bool{
		"trustno1":                true,
		"Trustno1":                false, // guessers know the other one
		"trustno1 ":               false,
		"p\u00e4ssword":           true,
		"pa\u0308ssword":          true, // NFD of what is listed in NFC: the same password here
		"cafe\u0301-de-flore":     true, // listed as it was typed, in NFD
		"caf\u00e9-de-flore":      true, // the same password here
		"two words":               true,
		"two\u00a0words":          true, // a space of another script is a space
		"no\u00a0break\u00a0here": true, // listed as it was typed
		"12345678":                true,
		strings.Repeat("a", 72):   true,
		strings.Repeat("a", 73):   false,
		"correct horse, battery":  false,
	} {
		err := d.CheckNew(pass(password))
		if listed != (err != nil) {
			t.Errorf("%+q: %v, want it listed %v", password, err, listed)
		}
		if err != nil {
			words := kind(t, err, fault.InvalidRequest).Words
			if !strings.Contains(words, "choose another one") || strings.Contains(err.Error(), password) {
				t.Errorf("%+q is refused with %q", password, err)
			}
		}
	}
	for _, unfit := range []string{"", "short", "pass\x00word", strings.Repeat("a", MaxPassword+1)} {
		err := d.CheckNew(pass(unfit))
		if e := kind(t, err, fault.InvalidRequest); strings.Contains(e.Words, "breach") {
			t.Errorf("%+q is refused with %q", unfit, e.Words)
		}
	}
}

// TestBreachedAccounts (LOGIN-11): a listed password cannot be given to an account and
// costs no hash; one that an account has goes on working, and so does a manifest's.
func TestBreachedAccounts(t *testing.T) {
	d, m := newDirectory(t)
	alice := must(t, d, Declared{Username: "alice", Password: pass(right)})
	d.Breached = listOf(t, right, "trustno1")
	before := d.Hasher.Load().Done
	_, err := d.Create(t.Context(), Declared{Username: "bob", Password: pass("trustno1")})
	kind(t, err, fault.InvalidRequest)
	_, err = d.SetPassword(t.Context(), alice.ID, NewPassword{Password: pass("trustno1")})
	kind(t, err, fault.InvalidRequest)
	if done := d.Hasher.Load().Done; done != before {
		t.Errorf("%d hashes were computed for what was refused", done-before)
	}
	if is := m.get(alice.ID); is != alice {
		t.Errorf("a refusal changed the account: %+v", is)
	}
	if _, err := d.ByLogin(t.Context(), "bob"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a refusal created an account: %v", err)
	}
	c, err := d.Find(t.Context(), "alice")
	if err == nil {
		_, err = d.Prove(t.Context(), c, pass(right))
	}
	if err != nil {
		t.Errorf("an existing password that is listed: %v", err)
	}
	must(t, d, Declared{Username: "carol"}) // no password at all
	apply(t, d, Declared{Username: "dave", Password: pass("trustno1")}, true)
	apply(t, d, Declared{Username: "dave", Password: pass("trustno1")}, false)
	apply(t, d, Declared{Username: "alice", Password: pass("trustno1")}, true)
	_, err = d.SetPassword(t.Context(), alice.ID, NewPassword{Password: pass("correct horse, battery")})
	if err != nil {
		t.Errorf("a password that is on no list: %v", err)
	}
}

// TestBreachedListFails (LOGIN-11): while a list cannot be read, new passwords wait
// and sign-ins do not.
func TestBreachedListFails(t *testing.T) {
	d, m := newDirectory(t)
	alice := must(t, d, Declared{Username: "alice", Password: pass(right)})
	d.Breached = breach.List{Path: filepath.Join(t.TempDir(), "missing")}
	_, err := d.SetPassword(t.Context(), alice.ID, NewPassword{Password: pass("correct horse, battery")})
	if e := kind(t, err, fault.Unavailable); e.RetryAfter == 0 || e.Cause == nil || strings.Contains(e.Words, "missing") {
		t.Errorf("%+v", e)
	}
	_, err = d.Create(t.Context(), Declared{Username: "bob", Password: pass("correct horse, battery")})
	kind(t, err, fault.Unavailable)
	if is := m.get(alice.ID); is != alice {
		t.Errorf("the account changed: %+v", is)
	}
	c, err := d.Find(t.Context(), "alice")
	if err == nil {
		_, err = d.Prove(t.Context(), c, pass(right))
	}
	if err != nil {
		t.Errorf("a sign-in waits for the list: %v", err)
	}
	apply(t, d, Declared{Username: "carol", Password: pass("correct horse, battery")}, true)
}
