package token_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
	"holdfast.example/verify"
)

const issuer = "https://id.example.com"

func someAccess() token.Access {
	return token.Access{
		ID: id.NewToken(), Subject: "usr_abc", Client: "demo-native", Audience: []string{"https://api.example.com"},
		Scope: "openid read", IssuedAt: start.Truncate(time.Second), Expires: start.Truncate(time.Second).Add(15 * time.Minute),
		SID: "a-session", Epoch: 4, Grant: "password", AuthTime: start.Truncate(time.Second), ACR: "aal1", AMR: []string{"pwd"},
	}
}

// J01, J02: the shape of RFC 9068, golden to the byte but for what is random.
func TestAccessJWT(t *testing.T) {
	ring := openRing(t, "ES256", "RS256", "Ed25519")
	m := token.Minter{Keys: ring, Issuer: issuer}
	a := someAccess()
	a.ID = "the-jti"
	for _, alg := range []string{"", "ES256", "RS256", "Ed25519"} {
		jwt, err := m.JWT(a, alg)
		if err != nil {
			t.Fatal(err)
		}
		header, rest, _ := strings.Cut(jwt.Reveal(), ".")
		payload, _, _ := strings.Cut(rest, ".")
		var h struct{ Alg, Typ, Kid string }
		if err := json.Unmarshal(decode(t, header), &h); err != nil || h.Typ != "at+jwt" {
			t.Fatalf("header %s: %v", decode(t, header), err)
		}
		if _, published, ok := ring.Public(h.Kid); !ok || published != h.Alg {
			t.Errorf("kid %s with %s is not in the key set", h.Kid, h.Alg)
		}
		want := `{"iss":"https://id.example.com","sub":"usr_abc","aud":"https://api.example.com","exp":1795335300,"iat":1795334400,` +
			`"jti":"the-jti","client_id":"demo-native","scope":"openid read","sid":"a-session","epoch":4,"grant":"password",` +
			`"auth_time":1795334400,"acr":"aal1","amr":["pwd"]}`
		if got := string(decode(t, payload)); got != want {
			t.Errorf("claims\n got %s\nwant %s", got, want)
		}
	}
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := b64.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Strings of every kind survive the claim set.
func TestAccessQuotesWhatItMust(t *testing.T) {
	m := token.Minter{Keys: openRing(t), Issuer: issuer}
	a := someAccess()
	a.Audience = []string{`q"uote`, "tab\t", "ümlaut", "<&>", "back\\slash"}
	jwt, err := m.JWT(a, "")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Aud []string }
	if err := json.Unmarshal(decode(t, strings.Split(jwt.Reveal(), ".")[1]), &c); err != nil || !reflect.DeepEqual(c.Aud, a.Audience) {
		t.Fatalf("got %q, %v", c.Aud, err)
	}
}

func reader(t *testing.T, ring *key.Ring, m token.Minter) token.Reader {
	t.Helper()
	set, err := verify.ParseKeySet(ring.JWKS().Body)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{Issuer: issuer, Audience: "https://api.example.com", Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	return token.Reader{Minter: m, JWT: v}
}

func TestReaderReadsBothForms(t *testing.T) {
	ring := openRing(t)
	m := token.Minter{Keys: ring, Issuer: issuer}
	r := reader(t, ring, m)
	a := someAccess()
	jwt, err := m.JWT(a, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]secret.Text{"JWT": jwt, "opaque": must(m.Opaque(a))} {
		got, err := r.Access(t.Context(), text, start)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
		if _, err := r.Access(t.Context(), text, a.Expires.Add(31*time.Second)); err == nil {
			t.Errorf("%s: accepted 31 s after its end", name)
		}
		if _, err := r.Access(t.Context(), text, a.Expires.Add(29*time.Second)); err != nil {
			t.Errorf("%s: refused inside the skew of 30 s: %v", name, err)
		}
	}
}

// JW06, JOSE-12: an ID token and a refresh token in JWT dress are not access
// tokens.
func TestReaderRefusesOtherTokens(t *testing.T) {
	ring := openRing(t)
	m := token.Minter{Keys: ring, Issuer: issuer}
	r := reader(t, ring, m)
	idToken, err := m.ID(token.Identity{Subject: "usr_abc", Client: "https://api.example.com", IssuedAt: start, Expires: start.Add(time.Hour)}, "")
	if err != nil {
		t.Fatal(err)
	}
	c := token.Refreshes{Keys: ring}
	refresh := c.Encode(id.NewSession(), own, 1, start)
	opaque := must(m.Opaque(someAccess())).Reveal()
	for name, text := range map[string]secret.Text{
		"ID token": idToken, "refresh token": refresh,
		"refresh token in JWT dress": c.Dress(refresh, must(c.Decode(refresh)), token.DressClaims{Subject: "usr_abc"}),
		"opaque, one character off":  secret.New(opaque[:20] + flip(opaque[20]) + opaque[21:]),
		"opaque, cut":                secret.New(opaque[:40]),
		"opaque, long":               secret.New(opaque + strings.Repeat("A", token.MaxOpaque)),
	} {
		if _, err := r.Access(t.Context(), text, start); err == nil {
			t.Errorf("%s passed as an access token", name)
		}
	}
}

func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

func TestIDToken(t *testing.T) {
	m := token.Minter{Keys: openRing(t), Issuer: issuer}
	text, err := m.ID(token.Identity{Subject: "usr_abc", Client: "demo-native", IssuedAt: start, Expires: start.Add(time.Hour),
		AuthTime: start, Nonce: "n", ACR: "aal1", AMR: []string{"pwd"}, SID: "s", Access: secret.New("an access token"),
		Email: "demo@example.com", EmailVerified: true, Username: "demo"}, "")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"iss":"https://id.example.com","sub":"usr_abc","aud":"demo-native","exp":1795338000,"iat":1795334400,"auth_time":1795334400,` +
		`"nonce":"n","acr":"aal1","amr":["pwd"],"sid":"s","at_hash":"` + atHash("an access token") + `","email":"demo@example.com",` +
		`"email_verified":true,"preferred_username":"demo"}`
	if got := string(decode(t, strings.Split(text.Reveal(), ".")[1])); got != want {
		t.Errorf("claims\n got %s\nwant %s", got, want)
	}
}

func BenchmarkAccessJWT(b *testing.B) {
	m := token.Minter{Keys: openRing(b), Issuer: issuer}
	a := someAccess()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.JWT(a, ""); err != nil {
			b.Fatal(err)
		}
	}
}
