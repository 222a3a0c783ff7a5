package key

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// golden is what one server stored and gave out.
type golden struct {
	Root        string
	Fingerprint string
	Version     uint64
	Roll        []byte
	Keys        []Row
	JWKS        string
	SID         string
	MACs        [][]byte
	Opaque      []byte
}

// What an earlier release stored must open for ever, and must give the same
// seals, sids and keys: a change here signs everybody out. The file is not made
// anew; a new format gets a new file beside it.
func TestStoredV1Opens(t *testing.T) {
	b, err := os.ReadFile("testdata/stored-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	err = json.Unmarshal(b, &g)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ParseRoot(secret.New(g.Root))
	if err != nil || root.Fingerprint() != g.Fingerprint {
		t.Fatalf("the root is %s now, %v", root.Fingerprint(), err)
	}
	m := &memStore{rows: Rows{Version: g.Version, Roll: g.Roll, Keys: g.Keys}}
	r := open(t, m, root, options("ES256", "Ed25519"))
	if m.replaced != 0 {
		t.Error("opening changed what is stored")
	}
	if string(r.JWKS().Body) != g.JWKS {
		t.Errorf("the key set is\n%s\nand was\n%s", r.JWKS().Body, g.JWKS)
	}
	if sid := r.SID(id.Session([]byte("0123456789abcdef"))); sid != g.SID {
		t.Errorf("the sid is %s and was %s", sid, g.SID)
	}
	for use, want := range g.MACs {
		got := r.SealKey().MAC(SealUse(use), []byte("holdfast"))
		if !bytes.Equal(got[:], want) {
			t.Errorf("the MAC of use %d is another", use)
		}
	}
	plain, ok := r.OpenOpaque(g.Opaque)
	if !ok || string(plain) != "holdfast" {
		t.Error("an opaque token does not open")
	}
}
