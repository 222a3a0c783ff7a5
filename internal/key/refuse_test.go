package key

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// REST-03: a wrong or missing root, and every way to damage, swap, delete, add
// or put back what is stored, is refused with a sentence; the store is left
// exactly as it was.
func TestREST03(t *testing.T) {
	root := NewRoot()
	// One good store with a history: an older state of it, a key that was
	// dropped, and a second database under another root.
	good := new(memStore)
	r := open(t, good, root, options("ES256", "Ed25519"))
	old := good.rows.clone()
	gone := *good.row(t, good.id(t, Sign, "Ed25519", Current))
	_, err := r.Drop(t.Context(), gone.KID)
	if err != nil {
		t.Fatal(err)
	}
	err = r.RotateNow(t.Context(), Sign, "ES256", t0.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	foreign := new(memStore)
	open(t, foreign, NewRoot(), options("ES256", "Ed25519"))

	es := func(m *memStore) *Row { return m.row(t, m.id(t, Sign, "ES256", Current)) }
	seal := func(m *memStore) *Row { return m.row(t, m.id(t, Seal, "", Current)) }
	opaque := func(m *memStore) *Row { return m.row(t, m.id(t, Opaque, "", Current)) }

	cases := []struct {
		name string
		root Root
		harm func(m *memStore)
		want string
	}{
		{"wrong root", NewRoot(), func(*memStore) {}, "made under root secret " + root.Fingerprint() + ", you gave "},
		{"missing root", Root{}, func(*memStore) {}, "no root secret was given, and they were made under root secret " + root.Fingerprint()},
		{"truncated blob", root, func(m *memStore) { es(m).Wrapped = es(m).Wrapped[:20] }, "is truncated to 20 bytes"},
		{"empty blob", root, func(m *memStore) { seal(m).Wrapped = nil }, "is truncated to 0 bytes"},
		{"shortened blob", root, func(m *memStore) { es(m).Wrapped = es(m).Wrapped[:60] }, "(sign ES256) is damaged"},
		{"flipped bit", root, func(m *memStore) { seal(m).Wrapped[30] ^= 1 }, "(seal) is damaged"},
		{"other wrap version", root, func(m *memStore) { seal(m).Wrapped[0]++ }, "(seal) is damaged"},
		{"swapped blobs", root, func(m *memStore) {
			a, b := seal(m), opaque(m)
			a.Wrapped, b.Wrapped = b.Wrapped, a.Wrapped
		}, "holds the wrapped key of"},
		{"swapped blobs of one purpose", root, func(m *memStore) {
			a, b := seal(m), m.row(t, m.id(t, Seal, "", Next))
			a.Wrapped, b.Wrapped = b.Wrapped, a.Wrapped
		}, "holds the wrapped key of"},
		{"swapped ids", root, func(m *memStore) {
			a, b := seal(m), m.row(t, m.id(t, Seal, "", Next))
			a.ID, b.ID = b.ID, a.ID
		}, "the roll says"},
		{"deleted row", root, func(m *memStore) {
			m.rows.Keys = slices.DeleteFunc(m.rows.Keys, func(row Row) bool { return row.Purpose == Name })
		}, "(name) is missing"},
		{"deleted signing row", root, func(m *memStore) {
			m.rows.Keys = slices.DeleteFunc(m.rows.Keys, func(row Row) bool { return row.Alg == "ES256" && row.State == Current })
		}, "(sign ES256) is missing"},
		{"no rows left", root, func(m *memStore) { m.rows.Keys = nil }, "is missing"},
		{"extra row", root, func(m *memStore) {
			extra := *seal(m)
			extra.ID = 99
			m.rows.Keys = append(m.rows.Keys, extra)
		}, "key 99 (seal) is not on the roll"},
		{"dropped row put back", root, func(m *memStore) { m.rows.Keys = append(m.rows.Keys, gone) }, "is not on the roll"},
		{"row twice", root, func(m *memStore) { m.rows.Keys = append(m.rows.Keys, *seal(m)) }, "is there twice"},
		{"row of another database", root, func(m *memStore) {
			theirs := foreign.rows.clone().Keys[0]
			mine := m.row(t, theirs.ID)
			mine.Wrapped = theirs.Wrapped
		}, "is damaged"},
		{"old roll put back", root, func(m *memStore) { m.rows.Roll = old.Roll }, "roll is of version 1 and the rows are of version 3"},
		{"old roll with its version forged", root, func(m *memStore) {
			m.rows.Roll = slices.Clone(old.Roll)
			m.rows.Roll[16] = 3
		}, "their roll is damaged"},
		{"old rows put back", root, func(m *memStore) { m.rows.Keys = old.clone().Keys }, "the roll"},
		{"version moved", root, func(m *memStore) { m.rows.Version-- }, "roll is of version 3 and the rows are of version 2"},
		{"roll missing", root, func(m *memStore) { m.rows.Roll = nil }, "missing or truncated (0 bytes)"},
		{"roll truncated", root, func(m *memStore) { m.rows.Roll = m.rows.Roll[:40] }, "missing or truncated (40 bytes)"},
		{"roll cut short", root, func(m *memStore) { m.rows.Roll = m.rows.Roll[:100] }, "their roll is damaged"},
		{"roll flipped", root, func(m *memStore) { m.rows.Roll[50] ^= 1 }, "their roll is damaged"},
		{"roll of another database", root, func(m *memStore) { m.rows.Roll = foreign.rows.Roll }, "you gave " + root.Fingerprint()},
		{"version zeroed", root, func(m *memStore) { m.rows.Version = 0 }, "says that no key was ever made and holds"},
		{"version and rows zeroed", root, func(m *memStore) { m.rows.Version, m.rows.Keys = 0, nil }, "says that no key was ever made and holds"},
		{"state changed", root, func(m *memStore) {
			m.row(t, m.id(t, Sign, "ES256", Retired)).State = Next
		}, `is marked "next" and the roll says "retired"`},
		{"kid changed", root, func(m *memStore) { es(m).KID = "forged" }, "was changed"},
		{"algorithm changed", root, func(m *memStore) { es(m).Alg = "Ed25519" }, "was changed"},
		{"purpose changed", root, func(m *memStore) { seal(m).Purpose = Opaque }, "was changed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := &memStore{rows: good.rows.clone()}
			c.harm(m)
			before := m.rows.clone()

			got, err := Open(t.Context(), m, c.root, options("ES256", "Ed25519"))
			if got != nil || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Open: %v\nwant a refusal with %q", err, c.want)
			}
			unchanged(t, m, before)
			if c.root != root {
				return
			}

			// A server that runs since an older version refuses the same rows and
			// goes on with the keys it has.
			m = &memStore{rows: old.clone()}
			running := open(t, m, root, options("ES256", "Ed25519"))
			signer, err := running.Signer("")
			if err != nil {
				t.Fatal(err)
			}
			m.rows = good.rows.clone()
			c.harm(m)
			before = m.rows.clone()
			err = running.Reload(t.Context())
			if !errors.Is(err, ErrRefused) {
				t.Errorf("Reload: %v, want a refusal", err)
			}
			unchanged(t, m, before)
			again, err := running.Signer("")
			if err != nil || again.KID != signer.KID {
				t.Errorf("a refused reload changed the signer: %v", err)
			}
		})
	}
}

func unchanged(t *testing.T, m *memStore, before Rows) {
	t.Helper()
	same := m.rows.Version == before.Version && bytes.Equal(m.rows.Roll, before.Roll) &&
		slices.EqualFunc(m.rows.Keys, before.Keys, func(a, b Row) bool {
			return a.ID == b.ID && a.State == b.State && bytes.Equal(a.Wrapped, b.Wrapped)
		})
	if !same {
		t.Error("the refusal changed the store")
	}
}

// The whole table gone looks like a new database. Whoever knows better says so
// with KeysExpected, and a running server knows by itself.
func TestREST03EmptiedTable(t *testing.T) {
	m := new(memStore)
	opt := options("ES256")
	opt.KeysExpected = func(context.Context) (bool, error) { return true, nil }
	_, err := Open(t.Context(), m, NewRoot(), opt)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "they are gone") || m.replaced != 0 {
		t.Errorf("Open with KeysExpected: %v", err)
	}
	_, err = Open(t.Context(), m, Root{}, options("ES256"))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no root secret was given") || m.replaced != 0 {
		t.Errorf("first start without a root: %v", err)
	}
	r := open(t, m, NewRoot(), options("ES256"))
	m.rows = Rows{}
	for name, err := range map[string]error{
		"Reload": r.Reload(t.Context()), "Tick": r.Tick(t.Context(), t0), "Rotate": r.RotateNow(t.Context(), Seal, "", t0),
	} {
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "they are gone") {
			t.Errorf("%s over an emptied table: %v", name, err)
		}
	}
	if m.replaced != 1 {
		t.Errorf("keys were made %d times", m.replaced)
	}
}

// vouched seals a roll over rows as only the holder of the root could.
func vouched(root Root, rows []Row, plain []byte) Rows {
	w := root.wrapper()
	list := roll{NextID: 100}
	for i := range rows {
		if rows[i].Wrapped == nil {
			rows[i].Wrapped = w.wrap(rows[i], plain)
		}
		list.Keys = append(list.Keys, entryOf(rows[i]))
	}
	return Rows{Version: 7, Roll: w.sealRoll(list, 7), Keys: rows}
}

// What the roll vouches for is still not used blindly: another release or a
// mistake of this one may have written it.
func TestREST03VouchedButWrong(t *testing.T) {
	root := NewRoot()
	good := new(memStore)
	open(t, good, root, options("Ed25519"))
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(weak)
	raw := make([]byte, symmetricSize)
	for name, c := range map[string]struct {
		row   Row
		plain []byte
		want  string
	}{
		"second current":  {Row{ID: 50, Purpose: Seal, State: Current}, raw, "two current keys"},
		"second next":     {Row{ID: 50, Purpose: Opaque, State: Next}, raw, "two next keys"},
		"unknown state":   {Row{ID: 50, Purpose: Seal, State: "resting"}, raw, `unknown state "resting"`},
		"unknown purpose": {Row{ID: 50, Purpose: "cookie", State: Current}, raw, `"cookie" is not a purpose`},
		"weak key":        {Row{ID: 50, Purpose: Sign, Alg: "RS256", State: Current}, pkcs8, "1024 bits is too short"},
		"short key":       {Row{ID: 50, Purpose: Opaque, State: Retired}, raw[:16], "16 bytes instead of 32"},
		"no key":          {Row{ID: 50, Purpose: Sign, Alg: "ES256", State: Current}, raw, "not a PKCS #8 key"},
	} {
		m := &memStore{rows: vouched(root, append(good.rows.clone().Keys, c.row), c.plain)}
		_, err := Open(t.Context(), m, root, options("Ed25519"))
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) || m.replaced != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := &memStore{rows: vouched(root, good.rows.clone().Keys, nil)}
	m.rows.Roll = root.wrapper().aead.Seal(slices.Clone(m.rows.Roll[:rollHeader]), nil, []byte("{"),
		append([]byte(rollLabel), m.rows.Roll[:rollHeader]...))
	_, err := Open(t.Context(), m, root, options("Ed25519"))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "another release") {
		t.Errorf("a roll that is no JSON: %v", err)
	}
}

// A purpose that no release before had: the roll vouches that there was no key,
// so a start makes one, and a running server says what it waits for.
func TestNewPurpose(t *testing.T) {
	root := NewRoot()
	m := new(memStore)
	r := open(t, m, root, options("Ed25519"))
	older := slices.DeleteFunc(m.rows.clone().Keys, func(row Row) bool { return row.Purpose == Opaque })
	m.rows = vouched(root, older, nil)
	err := r.Reload(t.Context())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "restart the server") {
		t.Errorf("Reload: %v", err)
	}
	_, ok := r.OpenOpaque(r.SealOpaque([]byte("claims")))
	if !ok {
		t.Error("the refused reload took keys away")
	}
	seal := r.SealKey()
	r = open(t, m, root, options("Ed25519"))
	_, ok = r.OpenOpaque(r.SealOpaque([]byte("claims")))
	if !ok || r.SealKey().MAC(UseSeal, nil) != seal.MAC(UseSeal, nil) || m.rows.Version != 8 {
		t.Error("the start did not add the missing purpose, or changed another")
	}
}

// Two rows never share a binding, whatever their fields hold.
func TestBindingIsUnambiguous(t *testing.T) {
	rows := []Row{
		{ID: 1, Purpose: "seal"}, {ID: 2, Purpose: "seal"}, {ID: 1, Purpose: "sea", Alg: "l"}, {ID: 1, Alg: "seal"},
		{ID: 1, KID: "seal"}, {ID: 1, Purpose: "se", Alg: "a", KID: "l"}, {ID: 1, Purpose: "\x04seal"},
		{ID: 1, Purpose: Purpose(strings.Repeat("a", 200)), Alg: "b"}, {ID: 1, Purpose: Purpose(strings.Repeat("a", 200)), KID: "b"},
	}
	seen := make(map[string]int)
	for i, row := range rows {
		if j, twice := seen[string(row.binding())]; twice {
			t.Errorf("rows %d and %d are bound alike", i, j)
		}
		seen[string(row.binding())] = i
	}
}
