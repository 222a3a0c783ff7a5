package key

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/fault"
)

func TestRotateByItself(t *testing.T) {
	m := new(memStore)
	opt := options("Ed25519")
	opt.RotateEvery = 24 * time.Hour
	r := open(t, m, NewRoot(), opt)
	seal, opaque, sign := m.id(t, Seal, "", Current), m.id(t, Opaque, "", Current), m.id(t, Sign, "Ed25519", Current)
	tick := func(at time.Duration) {
		t.Helper()
		err := r.Tick(t.Context(), t0.Add(at))
		if err != nil {
			t.Fatal(err)
		}
	}
	tick(24*time.Hour - time.Millisecond)
	if m.replaced != 1 {
		t.Fatal("rotated too early")
	}
	tick(24 * time.Hour)
	if m.id(t, Sign, "Ed25519", Current) == sign || m.id(t, Opaque, "", Current) == opaque {
		t.Error("a signing or opaque key did not rotate")
	}
	if m.id(t, Seal, "", Current) != seal {
		t.Error("a sealing key rotated by itself")
	}
	tick(24 * time.Hour)
	if m.replaced != 2 {
		t.Errorf("a second tick replaced again (%d)", m.replaced)
	}

	// The opaque key turns every 30 days at least, whatever the setting.
	for _, every := range []time.Duration{0, 90 * 24 * time.Hour} {
		m, opt.RotateEvery = new(memStore), every
		r = open(t, m, NewRoot(), opt)
		sign, opaque = m.id(t, Sign, "Ed25519", Current), m.id(t, Opaque, "", Current)
		tick(30*24*time.Hour - time.Millisecond)
		if m.replaced != 1 {
			t.Errorf("every %s: something rotated before its time", every)
		}
		tick(30 * 24 * time.Hour)
		if m.id(t, Sign, "Ed25519", Current) != sign || m.id(t, Opaque, "", Current) == opaque {
			t.Errorf("every %s: after 30 days the signing key turned or the opaque one did not", every)
		}
	}
}

// The decisions leave the rows they were given alone.
func TestLifeIsPure(t *testing.T) {
	m := new(memStore)
	open(t, m, NewRoot(), options("Ed25519"))
	rows := m.rows.clone().Keys
	later := t0.AddDate(1, 0, 0)
	turned, err := rotate(rows, line{Seal, ""}, later, time.Hour, false)
	if err != nil || len(turned) != len(rows) {
		t.Fatal(err)
	}
	_ = drop(rows, 0, later)
	turned, err = rotate(turned, line{Sign, "Ed25519"}, later, time.Hour, false)
	if err != nil || len(expire(turned, later.AddDate(1, 0, 0), time.Hour)) != len(rows)-1 {
		t.Errorf("one signing key should have expired: %v", err)
	}
	if !slices.EqualFunc(rows, m.rows.Keys, func(a, b Row) bool {
		return a.ID == b.ID && a.State == b.State && a.ActiveAt.Equal(b.ActiveAt) && a.RetiredAt.Equal(b.RetiredAt)
	}) {
		t.Error("a decision changed the rows it was given")
	}
}

func TestRetiredStay(t *testing.T) {
	m := new(memStore)
	r := open(t, m, NewRoot(), options("Ed25519"))
	seal, opaque := r.SealKey(), r.SealOpaque([]byte("claims"))
	for _, p := range []Purpose{Seal, Opaque} {
		err := r.RotateNow(t.Context(), p, "", t0)
		if err != nil {
			t.Fatal(err)
		}
	}
	if r.SealKey().ID == seal.ID {
		t.Fatal("the sealing key did not rotate")
	}
	at := t0.Add(OpaqueKept + Answer + Skew)
	for _, c := range []struct {
		at   time.Time
		open bool
	}{{at, true}, {at.Add(time.Millisecond), false}, {t0.AddDate(5, 0, 0), false}} {
		err := r.Tick(t.Context(), c.at)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := r.OpenOpaque(opaque)
		if ok != c.open {
			t.Errorf("after %s the retired opaque key opens: %v", c.at.Sub(t0), ok)
		}
		again, ok := r.SealKeyByID(seal.ID)
		if !ok || again.MAC(UseSeal, []byte("x")) != seal.MAC(UseSeal, []byte("x")) {
			t.Errorf("after %s the retired sealing key is gone", c.at.Sub(t0))
		}
	}
}

func TestRotateRefusals(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options("Ed25519"))
	for _, c := range []struct {
		p    Purpose
		alg  string
		kind fault.Kind
	}{
		{Name, "", fault.InvalidRequest}, {Sign, "ES256", fault.NotFound}, {Sign, "", fault.NotFound},
		{"other", "", fault.NotFound}, {Seal, "Ed25519", fault.NotFound}, {Seal, "", fault.Conflict}, {Opaque, "", fault.Conflict},
	} {
		err := r.Rotate(t.Context(), c.p, c.alg, t0)
		if !fault.Is(err, c.kind) {
			t.Errorf("Rotate(%q, %q): %v, want %s", c.p, c.alg, err, c.kind)
		}
	}
}

func TestDrop(t *testing.T) {
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, options("ES256", "Ed25519"))
	old, _ := r.Signer("ES256")
	next := kids(t, r)[2]
	gone, err := r.Drop(t.Context(), old.KID)
	if err != nil || gone.KID != old.KID || gone.Alg != "ES256" || gone.State != Current {
		t.Fatalf("%+v, %v", gone, err)
	}
	now, _ := r.Signer("ES256")
	_, _, published := r.Public(old.KID)
	if now.KID != next || published || slices.Contains(kids(t, r), old.KID) || len(kids(t, r)) != 4 {
		t.Errorf("after the drop %s signs, dropped key published: %v", now.KID, published)
	}
	_, err = r.Drop(t.Context(), old.KID)
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("dropping twice: %v", err)
	}
	for _, ref := range []string{"", "0", "-1", "+1", "01", "99999999999", "nobody"} {
		_, err = r.Drop(t.Context(), ref)
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("Drop(%q): %v", ref, err)
		}
	}

	// Every other purpose, by id; an id is never used twice.
	seal, sid := r.SealKey(), r.SID([16]byte{1})
	opaque := r.SealOpaque([]byte("claims"))
	highest := m.rows.Keys[len(m.rows.Keys)-1].ID
	for _, p := range []Purpose{Seal, Name, Opaque} {
		dropped := m.id(t, p, "", Current)
		_, err = r.Drop(t.Context(), itoa(dropped))
		if err != nil {
			t.Fatal(err)
		}
		m.id(t, p, "", Current) // there is one again
		if m.rows.Keys[len(m.rows.Keys)-1].ID <= highest {
			t.Errorf("after the drop of %d the newest id is %d", dropped, m.rows.Keys[len(m.rows.Keys)-1].ID)
		}
		highest = m.rows.Keys[len(m.rows.Keys)-1].ID
	}
	_, ok := r.SealKeyByID(seal.ID)
	_, opens := r.OpenOpaque(opaque)
	if ok || opens || r.SID([16]byte{1}) == sid {
		t.Error("a dropped key still works")
	}
	_, err = r.Drop(t.Context(), itoa(highest))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range open(t, m, root, options("ES256", "Ed25519")).Keys() {
		if k.ID == highest {
			t.Error("the highest id was given again after its key was dropped")
		}
	}
}

func TestAlgsChange(t *testing.T) {
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, options("ES256"))
	es, _ := r.Signer("ES256")
	seal := r.SealKey().MAC(UseSeal, []byte("x"))

	// One more is an addition: what was there stays.
	r = open(t, m, root, options("Ed25519", "ES256"))
	same, _ := r.Signer("ES256")
	ed, err := r.Signer("")
	if err != nil || ed.Alg != "Ed25519" || same.KID != es.KID || r.SealKey().MAC(UseSeal, []byte("x")) != seal || len(kids(t, r)) != 4 {
		t.Errorf("adding an algorithm: %v", err)
	}
	if m.rows.Version != 2 {
		t.Errorf("version %d", m.rows.Version)
	}

	// One less leaves its keys for the other nodes, until they are dropped.
	r = open(t, m, root, options("ES256"))
	_, err = r.Signer("Ed25519")
	if err != nil || m.rows.Version != 2 || !slices.Equal(r.Algs(), []string{"ES256", "Ed25519"}) {
		t.Errorf("taking an algorithm away: %v, %v", err, r.Algs())
	}
	for _, ref := range []uint32{m.id(t, Sign, "Ed25519", Next), m.id(t, Sign, "Ed25519", Current)} {
		_, err = r.Drop(t.Context(), itoa(ref))
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.Signer("Ed25519")
	if err == nil || len(kids(t, r)) != 2 {
		t.Errorf("keys of an algorithm nobody asks for came back: %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := options("ES256")
	for name, harm := range map[string]func(*Options){
		"unknown signing":    func(o *Options) { o.Algs = []string{"HS256"} },
		"listed twice":       func(o *Options) { o.Algs = []string{"ES256", "ES256"} },
		"Now is not set":     func(o *Options) { o.Now = nil },
		"LongestAccess":      func(o *Options) { o.LongestAccess = 0 },
		"negative":           func(o *Options) { o.JWKSMaxAge = -1 },
		"cannot rotate ever": func(o *Options) { o.RotateEvery = time.Minute },
	} {
		opt := good
		harm(&opt)
		m := new(memStore)
		_, err := Open(t.Context(), m, NewRoot(), opt)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(name, " ever")) || m.replaced != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := open(t, new(memStore), NewRoot(), options())
	if !slices.Equal(r.Algs(), []string{"ES256", "RS256", "Ed25519"}) {
		t.Errorf("defaults are %v", r.Algs())
	}
}

// MaxKeys holds even against an operator who forces without end.
func TestMaxKeys(t *testing.T) {
	m := new(memStore)
	r := open(t, m, NewRoot(), options("Ed25519"))
	var err error
	n := 0
	for ; err == nil && n <= MaxKeys; n++ {
		err = r.RotateNow(t.Context(), Seal, "", t0)
	}
	if !fault.Is(err, fault.Conflict) || len(m.rows.Keys) != MaxKeys {
		t.Errorf("after %d rotations there are %d keys: %v", n, len(m.rows.Keys), err)
	}
	if errors.Is(r.Reload(t.Context()), ErrRefused) {
		t.Error("a full ring does not open")
	}
}
