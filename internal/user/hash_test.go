package user

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// made is one hash in testdata/hashes.json, which testdata/hashes.py wrote with
// the libraries of other systems.
type made struct{ Maker, Password, Hash string }

func foreign(t testing.TB) (all []made) {
	t.Helper()
	b, err := os.ReadFile("testdata/hashes.json")
	if err != nil {
		t.Fatal(err)
	}
	err = json.Unmarshal(b, &all)
	if err != nil || len(all) < 60 {
		t.Fatalf("%d hashes, %v", len(all), err)
	}
	return all
}

func TestForeignHashes(t *testing.T) {
	for _, m := range foreign(t) {
		s, err := parseHash(m.Hash)
		if err != nil {
			t.Errorf("%s: %s: %v", m.Maker, m.Hash, err)
			continue
		}
		dear := strings.Contains(m.Maker, "default")
		if dear && raceDetector {
			continue // ten times slower, and that it is within the limits was most of the news
		}
		ok, whole := s.matches([]byte(m.Password))
		if !ok || !whole {
			t.Errorf("%s: %s: matches %v, whole %v", m.Maker, m.Hash, ok, whole)
		}
		wrong := m.Password[:len(m.Password)-1] + "?"
		if dear {
			continue
		}
		if ok, _ := s.matches([]byte(wrong)); ok {
			t.Errorf("%s: %s matches %q", m.Maker, m.Hash, wrong)
		}
		if cheap.current(m.Hash) || DefaultCost.current(m.Hash) {
			t.Errorf("%s: %s would be kept", m.Maker, m.Hash)
		}
	}
}

// TestBcryptProvesOnlyWhatItReads: bytes past the 72nd were never part of a
// bcrypt hash, so they match and prove nothing.
func TestBcryptProvesOnlyWhatItReads(t *testing.T) {
	read := strings.Repeat("x", 72)
	for _, m := range foreign(t) {
		if m.Password != read || !strings.HasPrefix(strings.TrimPrefix(m.Hash, "bcrypt$"), "$2") {
			continue
		}
		s, err := parseHash(m.Hash)
		if err != nil {
			t.Fatal(err)
		}
		for password, want := range map[string][2]bool{
			read: {true, true}, read + "y": {true, false}, read[1:]: {false, true}, read[1:] + "y": {false, true}, read[1:] + "yz": {false, false},
		} {
			ok, whole := s.matches([]byte(password))
			if ok != want[0] || whole != want[1] {
				t.Errorf("%s, %d bytes: %v %v, want %v", m.Hash, len(password), ok, whole, want)
			}
		}
	}
}

const (
	bcryptSalt   = "CtJP2HnUJQE3cMuFITKQqO"
	bcryptDigest = "D6u8iUwRdo3y1qJQmw6J9RycvdYVJjy"
	salt22       = "c2FsdHNhbHRzYWx0c2FsdA" // saltsaltsaltsalt
	digest43     = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
	digest44     = digest43 + "="
)

func TestHashStringsAreStrict(t *testing.T) {
	good := []string{
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=8,t=1,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=131072,t=7,p=16$" + salt22 + "$" + digest43,
		"argon2$argon2i$v=19$m=102400,t=2,p=8$" + salt22 + "$" + digest43,
		"pbkdf2_sha256$1$s$" + digest44,
		"pbkdf2_sha256$5000000$s$" + digest44,
		"$2b$04$" + bcryptSalt + bcryptDigest,
		"$2y$14$" + bcryptSalt + bcryptDigest,
		"bcrypt$$2a$10$" + bcryptSalt + bcryptDigest,
		"bcrypt_sha256$$2b$12$" + bcryptSalt + bcryptDigest,
		"scrypt$16384$s$8$5$" + digest44,
		"scrypt$2$s$1$1$" + digest44,
		"scrypt$65536$s$8$1$" + digest44,
	}
	for _, s := range good {
		if err := CheckHash(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	bad := []string{
		"", "!", "!unusable", "plain", "$", "$$$$$", "$argon2id$",
		"$argon2d$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=16$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1,keyid=x$" + salt22 + "$" + digest43,
		"$argon2id$v=19$t=2,m=19456,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=019456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=+19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=0,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=0$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=17$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=15,t=2,p=2$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=131073,t=1,p=1$" + salt22 + "$" + digest43,     // memory
		"$argon2id$v=19$m=102400,t=10,p=1$" + salt22 + "$" + digest43,    // time
		"$argon2id$v=19$m=8,t=2147483647,p=1$" + salt22 + "$" + digest43, // time, from many cheap passes
		"$argon2id$v=19$m=2147483647,t=2147483647,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=4294967296,t=1,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "==$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "\n$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22[:21] + "B$" + digest43, // stray bits
		"$argon2id$v=19$m=19456,t=2,p=1$$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$MDEyMzQ1",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43 + "$",
		" $argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43 + " ",
		"argon2$$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"argon2$argon2d$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43,
		"pbkdf2_sha256$0$s$" + digest44,
		"pbkdf2_sha256$5000001$s$" + digest44,
		"pbkdf2_sha256$-1$s$" + digest44,
		"pbkdf2_sha256$1$$" + digest44,
		"pbkdf2_sha256$1$s$" + digest43,
		"pbkdf2_sha256$1$" + strings.Repeat("s", maxSalt+1) + "$" + digest44,
		"pbkdf2_sha1$1$s$" + digest44,
		"$2x$10$" + bcryptSalt + bcryptDigest,
		"$2$10$" + bcryptSalt + bcryptDigest,
		"$2b$10$" + bcryptSalt + bcryptDigest + "a",
		"$2b$10$" + bcryptSalt[:21] + "P" + bcryptDigest, // stray bits in the salt
		"$2b$10$" + bcryptSalt + bcryptDigest[:30] + "z", // and in the digest
		"$2b$3$" + bcryptSalt + bcryptDigest,
		"$2b$03$" + bcryptSalt + bcryptDigest,
		"$2b$15$" + bcryptSalt + bcryptDigest,
		"$2b$31$" + bcryptSalt + bcryptDigest,
		"$2b$99$" + bcryptSalt + bcryptDigest,
		"bcrypt$2b$10$" + bcryptSalt + bcryptDigest,
		"bcrypt$$2$10$" + bcryptSalt + bcryptDigest,
		"bcrypt$$$10$" + bcryptSalt + bcryptDigest,
		"bcrypt_sha512$$2b$10$" + bcryptSalt + bcryptDigest,
		"scrypt$16383$s$8$5$" + digest44,
		"scrypt$1$s$8$5$" + digest44,
		"scrypt$0$s$8$5$" + digest44,
		"scrypt$16384$s$0$5$" + digest44,
		"scrypt$16384$s$8$0$" + digest44,
		"scrypt$1048576$s$8$1$" + digest44, // 1 GiB
		"scrypt$16384$s$8$100$" + digest44, // time
		"scrypt$1073741824$s$1024$1024$" + digest44,
		"scrypt$s$16384$8$5$" + digest44,
		strings.Repeat("$", maxEncoded+1),
	}
	for _, s := range bad {
		if CheckHash(s) == nil {
			t.Errorf("%q is taken for a hash", s)
		}
	}
}

// FuzzHashString: what is taken is canonical, affordable and harmless to verify.
func FuzzHashString(f *testing.F) {
	for _, m := range foreign(f) {
		f.Add(m.Hash)
	}
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$" + salt22 + "$" + digest43)
	f.Fuzz(func(t *testing.T, encoded string) {
		s, err := parseHash(encoded)
		if err != nil {
			if CheckHash(encoded) == nil || cheap.current(encoded) {
				t.Fatal("a bad hash is used")
			}
			return
		}
		w := s.work()
		if s.String() != encoded || w.memory < 0 || w.memory > MaxHashMemory || w.time < 0 || w.time > MaxHashTime {
			t.Fatalf("%q is taken as %q at %+v", encoded, s, w)
		}
		if w.memory <= 1<<20 && w.time <= MaxHashTime/200 { // dear ones would make the fuzzer idle
			s.matches([]byte("password"))
		}
		if !replaced(encoded, encoded) {
			t.Fatal("a hash does not fulfil itself")
		}
	})
}

// TestHeirs: what a proof makes of a hash is known again by Apply.
func TestHeirs(t *testing.T) {
	dear := Cost{Memory: 16, Passes: 1, Lanes: 1}
	old := newArgon2("password", cheap, [saltSize]byte{1}).String()
	for _, from := range append([]string{old}, "scrypt$2$s$1$1$"+digest44, "argon2"+newArgon2("p", cheap, [saltSize]byte{2}).String()) {
		heir := newArgon2("password", dear, heirSalt(from)).String()
		again := newArgon2("password", Cost{Memory: 32, Passes: 1, Lanes: 1}, heirSalt(heir)).String()
		for _, h := range []string{from, heir, again} {
			if !replaced(from, h) {
				t.Errorf("%s is no heir of %s", h, from)
			}
		}
		for _, h := range []string{"", "!", newArgon2("password", dear, [saltSize]byte{9}).String(), "scrypt$2$t$1$1$" + digest44} {
			if replaced(from, h) {
				t.Errorf("%q is taken for the heir of %s", h, from)
			}
		}
	}
	// The same salt and cost but another digest is another password.
	if replaced(old, newArgon2("other", cheap, [saltSize]byte{1}).String()) {
		t.Error("another password's hash is taken for the same")
	}
}
