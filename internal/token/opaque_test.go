package token_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
)

// drawn is any access token that a grant could make, and many that none does.
func drawn(t *rapid.T) token.Access {
	name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9_-]{0,40}`))
	iat := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "iat"), 0).UTC()
	a := token.Access{ID: name.Draw(t, "jti"), Client: id.Client(name.Draw(t, "client")), Subject: name.Draw(t, "sub"),
		Scope: name.Draw(t, "scope"), IssuedAt: iat, Expires: time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "exp"), 0).UTC(),
		Audience: rapid.SliceOfN(rapid.OneOf(rapid.Just(issuer), rapid.StringMatching(`.+`)), 0, 4).Draw(t, "aud")}
	switch rapid.IntRange(0, 2).Draw(t, "whose") {
	case 0:
		a.Subject = string(a.Client)
	case 1:
		a.Subject = id.NewUser().String()
	}
	if len(a.Audience) == 0 {
		a.Audience = nil
	}
	if rapid.Bool().Draw(t, "session") {
		a.SID, a.Epoch, a.Grant, a.ACR = rapid.StringMatching(`[A-Za-z0-9_-]{22}`).Draw(t, "sid"), rapid.Uint32().Draw(t, "epoch"), name.Draw(t, "grant"), name.Draw(t, "acr")
		if amr := rapid.SliceOfN(rapid.StringMatching(`[a-z:]+`), 0, 3).Draw(t, "amr"); len(amr) > 0 {
			a.AMR = amr
		}
		if rapid.Bool().Draw(t, "knows when") {
			a.AuthTime = time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "auth_time"), 0).UTC()
		}
	}
	return a
}

// TestOpaqueTellsAll: what was sealed is read back, whatever it was, by the same issuer
// and by no other.
func TestOpaqueTellsAll(t *testing.T) {
	ring := openRing(t)
	m, other := token.Minter{Keys: ring, Issuer: issuer}, token.Minter{Keys: ring, Issuer: issuer + "/"}
	rapid.Check(t, func(t *rapid.T) {
		a := drawn(t)
		text, err := m.Opaque(a)
		if err != nil {
			t.Skip("longer than what is read")
		}
		got, err := m.OpenOpaque(text)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, a)
		}
		if _, err := other.OpenOpaque(text); err == nil {
			t.Fatal("another issuer took it")
		}
	})
}

// TestOpaqueIsShort: a usual token has room in the 255 characters of a table of
// django-oauth-toolkit.
func TestOpaqueIsShort(t *testing.T) {
	m := token.Minter{Keys: openRing(t), Issuer: issuer}
	a := token.Access{ID: id.NewToken(), Subject: id.NewUser().String(), Client: "the-app-of-a-larger-company", Audience: []string{issuer},
		Scope: "openid profile email read write offline_access", IssuedAt: start, Expires: start.Add(10 * time.Hour),
		SID: id.NewToken(), Epoch: 300, Grant: "password", AuthTime: start.Add(-1000 * 24 * time.Hour), ACR: "aal1", AMR: []string{"pwd"}}
	const room = 255
	if n := len(must(m.Opaque(a)).Reveal()); n > room {
		t.Errorf("%d characters", n)
	}
}

// TestOpaqueStaysAsItIs: tokens in the field are written so. A change here needs
// another number in what they begin with.
func TestOpaqueStaysAsItIs(t *testing.T) {
	ring := openRing(t)
	m := token.Minter{Keys: ring, Issuer: issuer}
	at := time.Unix(1_795_334_400, 0)
	a := token.Access{ID: "AAAAAAAAAAAAAAAAAAAAAA", Subject: id.User{1, 2}.String(), Client: "demo-native", Audience: []string{issuer, "api"},
		Scope: "openid revocations.read other otp", IssuedAt: at, Expires: at.Add(time.Hour), SID: "BAAAAAAAAAAAAAAAAAAAAA", Epoch: 300, Grant: "drf-jwt",
		AuthTime: at.Add(-time.Minute), ACR: "aal1", AMR: []string{"pwd", "mfa"}}
	sealed, _ := b64.DecodeString(strings.TrimPrefix(must(m.Opaque(a)).Reveal(), token.OpaquePrefix))
	plain, ok := ring.OpenOpaque(sealed)
	if got, want := hex.EncodeToString(plain), "686661313d38e146cf9fbc8c808495b00da03841000000000000000000000000000000002c64656d6f2d6e6174697665010102000000000000000000000000000004000c617069080266146f74686572724104000000000000000000000000000000d8045a2e04326e78"; !ok || got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestTooLong: a token is read, or it is not made. A client may have a hundred scopes
// and a hundred audiences.
func TestTooLong(t *testing.T) {
	ring := openRing(t)
	m := token.Minter{Keys: ring, Issuer: issuer}
	r := reader(t, ring, m)
	for form, c := range map[string]struct {
		mint func(token.Access) (secret.Text, error)
		room int // for so many characters there is
	}{
		"opaque": {m.Opaque, 2800}, "JWT": {func(a token.Access) (secret.Text, error) { return m.JWT(a, "") }, 5400},
	} {
		n := c.room
		for ; ; n++ {
			a := someAccess()
			a.Scope = strings.Repeat("s", n) + " end"
			text, err := c.mint(a)
			if errors.Is(err, token.ErrTooLong) {
				break
			}
			if got, err := r.Access(t.Context(), text, start); err != nil || got.Scope != a.Scope {
				t.Fatalf("%s of %d characters: %v", form, len(text.Reveal()), err)
			}
		}
		if n == c.room {
			t.Errorf("%s: there is no room for %d characters", form, n)
		}
	}
}

// FuzzOpaque: what is sealed under our key and is no access token is refused, and
// never more than read.
func FuzzOpaque(f *testing.F) {
	ring := openRing(f)
	m := token.Minter{Keys: ring, Issuer: issuer}
	opened := func(t token.Access) []byte {
		sealed, _ := b64.DecodeString(strings.TrimPrefix(must(m.Opaque(t)).Reveal(), token.OpaquePrefix))
		plain, _ := ring.OpenOpaque(sealed)
		return plain
	}
	whole := opened(someAccess())
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add(whole[:12])
	f.Add([]byte("holdfast/web/v1\n"))
	f.Add(bytes.Repeat([]byte{0xff}, 60))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if len(plain) > 2000 {
			t.Skip("longer than what is read")
		}
		for _, b := range [][]byte{plain, append(bytes.Clone(whole[:12]), plain...)} {
			a, err := m.OpenOpaque(secret.New(token.OpaquePrefix + b64.EncodeToString(ring.SealOpaque(b))))
			if err != nil {
				continue
			}
			if !bytes.HasPrefix(b, whole[:12]) {
				t.Fatalf("%q passed as an access token", b)
			}
			if back, err := m.OpenOpaque(must(m.Opaque(a))); err != nil || !reflect.DeepEqual(back, a) {
				t.Fatalf("%v\n got %+v\nwant %+v", err, back, a)
			}
		}
	})
}
