package key

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"holdfast.example/internal/id"
)

// MAC is HMAC-SHA-256 under a subkey per use, whatever was asked before.
func TestMAC(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, symmetricSize)
	k := SealKey{ID: 1, key: newSealKey(raw)}
	rapid.Check(t, func(t *rapid.T) {
		use := SealUse(rapid.IntRange(0, int(sealUses)-1).Draw(t, "use"))
		data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")
		before := slices.Clone(data)
		want := hmac.New(sha256.New, expand(raw, sealLabels[use], 32))
		want.Write(data)
		got := k.MAC(use, data)
		if !bytes.Equal(want.Sum(nil), got[:]) || !bytes.Equal(before, data) {
			t.Fatalf("use %d of %x gives %x", use, data, got)
		}
	})
	long := bytes.Repeat([]byte("x"), 3*maxKeptInput)
	want := hmac.New(sha256.New, expand(raw, sealLabels[UseDress], 32))
	want.Write(long)
	for range 2 {
		got := k.MAC(UseDress, long)
		if !bytes.Equal(want.Sum(nil), got[:]) {
			t.Error("the MAC of a long input is another")
		}
	}
	seen := make(map[[32]byte]bool)
	for use := range sealUses {
		seen[k.MAC(use, nil)] = true
	}
	if len(seen) != int(sealUses) {
		t.Error("two uses share a subkey")
	}
}

func TestMACConcurrently(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options("Ed25519"))
	k := r.SealKey()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(g)}, 70+g)
			want := k.MAC(UseSeal, data)
			for range 200 {
				if k.MAC(UseSeal, data) != want {
					t.Error("a MAC changed under concurrent use")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestSealKeyByID(t *testing.T) {
	m := new(memStore)
	r := open(t, m, NewRoot(), options("Ed25519"))
	current := r.SealKey()
	next, ok := r.SealKeyByID(m.id(t, Seal, "", Next))
	if !ok || next.ID == current.ID || next.MAC(UseSeal, nil) == current.MAC(UseSeal, nil) {
		t.Error("the next sealing key is not known yet, or is the current one")
	}
	_, ok = r.SealKeyByID(m.id(t, Opaque, "", Current))
	if ok {
		t.Error("an opaque key was given out as a sealing key")
	}
}

func TestSID(t *testing.T) {
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, options("Ed25519"))
	other := open(t, new(memStore), NewRoot(), options("Ed25519"))
	again := open(t, m, root, options("Ed25519"))
	rapid.Check(t, func(t *rapid.T) {
		s := id.Session(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		sid := r.SID(s)
		back, ok := r.Session(sid)
		if !ok || back != s || len(sid) != 22 || again.SID(s) != sid {
			t.Fatalf("%x is %q outside and %x back", s, sid, back)
		}
		if sid == b64.EncodeToString(s[:]) || other.SID(s) == sid {
			t.Fatal("the sid shows the id, or does not hang on the key")
		}
		theirs, ok := other.Session(sid)
		if !ok || theirs == s {
			t.Fatal("another key reads the sid")
		}
		for _, bad := range []string{"", sid[:21], sid + "A", sid + "=", sid[:21] + spareBit(sid[21]), sid[:10] + "\n" + sid[11:], sid[:10] + "+" + sid[11:], sid[:20] + "==", sid + "\n"} {
			_, ok := r.Session(bad)
			if ok {
				t.Fatalf("%q is accepted beside %q", bad, sid)
			}
		}
	})
}

func TestOpaque(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options("Ed25519"))
	other := open(t, new(memStore), NewRoot(), options("Ed25519"))
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain")
		sealed := r.SealOpaque(plain)
		got, ok := r.OpenOpaque(sealed)
		if !ok || !bytes.Equal(got, plain) || len(sealed) != len(plain)+33 {
			t.Fatalf("%x came back as %x, %v", plain, got, ok)
		}
		if bytes.Equal(sealed, r.SealOpaque(plain)) || len(plain) > 3 && bytes.Contains(sealed, plain) {
			t.Fatal("sealed alike twice, or not encrypted")
		}
		_, ok = other.OpenOpaque(sealed)
		if ok {
			t.Fatal("another server opened it")
		}
		harmed := slices.Clone(sealed)
		harmed[rapid.IntRange(0, len(sealed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, ok = r.OpenOpaque(harmed)
		if ok {
			t.Fatal("opened after a bit was flipped")
		}
		_, ok = r.OpenOpaque(sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")])
		if ok {
			t.Fatal("opened a part")
		}
	})
	_, ok := r.OpenOpaque([]byte(strings.Repeat("\x01", 100)))
	if ok {
		t.Error("opened ones")
	}
}
