package key

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
)

// O18, the part of the keys: a next key is in the JWKS before its first use,
// for longer than a verifier caches, and a retired one stays until its last
// token has expired.
func TestO18(t *testing.T) {
	m := new(memStore)
	r := open(t, m, NewRoot(), options("ES256"))
	first, _ := r.Signer("ES256")
	before := kids(t, r)
	if len(before) != 2 || before[0] != first.KID {
		t.Fatalf("published %v, current is %s", before, first.KID)
	}
	next := before[1]
	etag := r.JWKS().ETag

	// Too early: refused, with the time to wait, and nothing changes.
	wait := testMaxAge + ReloadEvery
	for _, age := range []time.Duration{-time.Hour, 0, testMaxAge, wait - time.Millisecond} {
		err := r.Rotate(t.Context(), Sign, "ES256", t0.Add(age))
		e := fault.As(err)
		if !fault.Is(err, fault.Conflict) || e.RetryAfter != wait-age || !strings.Contains(e.Words, "ES256 signing key") {
			t.Errorf("rotating a next key of %s: %v, retry after %s", age, err, e.RetryAfter)
		}
	}
	if m.replaced != 1 || r.JWKS().ETag != etag {
		t.Fatal("a refused rotation changed something")
	}

	rotated := t0.Add(wait)
	err := r.Rotate(t.Context(), Sign, "ES256", rotated)
	if err != nil {
		t.Fatal(err)
	}
	second, _ := r.Signer("ES256")
	after := kids(t, r)
	if second.KID != next || len(after) != 3 || after[0] != next || after[2] != first.KID || r.JWKS().ETag == etag {
		t.Fatalf("after the rotation %v is published, signing is %s", after, second.KID)
	}

	// The retired key stays to the last millisecond a token of its can live.
	last := rotated.Add(testAccess + Answer + Skew)
	for _, c := range []struct {
		at    time.Time
		there bool
	}{{rotated, true}, {rotated.Add(testAccess), true}, {last, true}, {last.Add(time.Millisecond), false}} {
		err := r.Tick(t.Context(), c.at)
		if err != nil {
			t.Fatal(err)
		}
		_, _, public := r.Public(first.KID)
		if slices.Contains(kids(t, r), first.KID) != c.there || public != c.there {
			t.Errorf("%s after the rotation the retired key is published: %v", c.at.Sub(rotated), !c.there)
		}
	}
	if i := slices.IndexFunc(m.rows.Keys, func(row Row) bool { return row.KID == first.KID }); i >= 0 {
		t.Error("the row of the dropped key is still there")
	}
}

// What O18 is for: two nodes that look at the store every five seconds, and a
// verifier that never looks again for an unknown kid, only when its cache has
// expired. Whatever the operators do, short of forcing, no token is refused
// before it has expired.
func TestO18NoFalseRefusal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		m := new(memStore)
		clock := t0
		opt := options("Ed25519")
		opt.RotateEvery = time.Duration(rapid.IntRange(0, 1).Draw(t, "by itself")) * time.Hour
		opt.Now = func() time.Time { return clock }
		root := NewRoot()
		var nodes [2]*Ring
		var looked [2]time.Time
		for i := range nodes {
			var err error
			nodes[i], err = Open(ctx, m, root, opt)
			if err != nil {
				t.Fatal(err)
			}
			looked[i] = clock
		}
		anyNode := func(t *rapid.T) *Ring { return nodes[rapid.IntRange(0, 1).Draw(t, "node")] }

		type token struct {
			kid     string
			expires time.Time
		}
		var issued []token
		cache, fetched := nodes[0].JWKS(), clock
		unexpected := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) {
				longest := rapid.SampledFrom([]int{5, 60, 700, 4000}).Draw(t, "scale")
				clock = clock.Add(time.Duration(rapid.IntRange(0, longest*1000).Draw(t, "ms")) * time.Millisecond)
				for i, r := range nodes {
					if clock.Sub(looked[i]) > ReloadEvery {
						looked[i] = clock
						unexpected(r.Tick(ctx, clock))
					}
				}
			},
			"issue": func(t *rapid.T) {
				s, err := anyNode(t).Signer("")
				unexpected(err)
				issued = append(issued, token{s.KID, clock.Add(testAccess)})
			},
			"rotate": func(t *rapid.T) {
				err := anyNode(t).Rotate(ctx, Sign, "Ed25519", clock)
				if err != nil && !fault.Is(err, fault.Conflict) {
					t.Fatal(err)
				}
			},
			"verify": func(t *rapid.T) {
				if clock.Sub(fetched) >= testMaxAge {
					cache, fetched = anyNode(t).JWKS(), clock
				}
				for _, tok := range issued {
					if !clock.After(tok.expires.Add(Skew)) && !strings.Contains(string(cache.Body), tok.kid) {
						t.Fatalf("a token of %s, good until %s, is refused at %s with keys of %s", tok.kid, tok.expires, clock, fetched)
					}
				}
			},
			"": func(t *rapid.T) {
				current := 0
				for _, k := range nodes[0].Keys() {
					if k.Purpose == Sign && k.State == Current {
						current++
					}
				}
				if current != 1 || len(nodes[0].Keys()) > MaxKeys {
					t.Fatalf("%d current keys in %v", current, nodes[0].Keys())
				}
			},
		})
	})
}
