package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/id"
)

type idSession = id.Session

var b64 = base64.RawURLEncoding

// sign signs a payload with the server's own key, whatever it says.
func (a attack) sign(typ string, payload []byte) string {
	a.Helper()
	s, err := a.server.Keys.Signer("")
	if err != nil {
		a.Fatal(err)
	}
	input := string(s.Header(typ)) + "." + b64.EncodeToString(payload)
	sig, err := s.Sign([]byte(input))
	if err != nil {
		a.Fatal(err)
	}
	return input + "." + b64.EncodeToString(sig)
}

// signRaw signs header and payload as they are.
func (a attack) signRaw(header, payload string) string {
	a.Helper()
	s, err := a.server.Keys.Signer("")
	if err != nil {
		a.Fatal(err)
	}
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	sig, err := s.Sign([]byte(input))
	if err != nil {
		a.Fatal(err)
	}
	return input + "." + b64.EncodeToString(sig)
}

// useless: a token that is nothing at every endpoint that takes one.
func (a attack) useless(what, token string) {
	a.Helper()
	got := a.call(token)
	if got.status != 401 && !(got.status == 400 && strings.ContainsAny(token, " ,")) && got.status != 431 {
		a.Errorf("%s: userinfo says %d %s", what, got.status, got.body)
	}
	if len(token) > 60_000 {
		return
	}
	if got := a.introspect(token); got.status != 200 || string(got.body) != inactive {
		a.Errorf("%s: introspection says %d %s", what, got.status, got.body)
	}
	if got := a.refresh(held{Refresh: token, client: "demo-native"}); token != "" && (got.status != 400 || got.header.Get("Holdfast-Reason") != "malformed") {
		a.Errorf("%s: as a refresh token it is answered %d %s", what, got.status, got.body)
	}
	if got := a.post("/oauth2/revoke", "client_id", "demo-native", "token", token); token != "" && got.status != 200 {
		a.Errorf("%s: revoked it is answered %d %s", what, got.status, got.body)
	}
}

// published reads the first key of a type from the key set.
func (a attack) published(kty string) map[string]string {
	a.Helper()
	var set struct{ Keys []map[string]any }
	err := json.Unmarshal(a.request("GET", "/oauth2/jwks", "", "", nil).body, &set)
	if err != nil {
		a.Fatal(err)
	}
	for _, k := range set.Keys {
		if k["kty"] == kty {
			text := map[string]string{}
			for name, v := range k {
				text[name] = fmt.Sprint(v)
			}
			return text
		}
	}
	a.Fatalf("no %s key in %v", kty, set)
	return nil
}

func number(s string) *big.Int {
	b, _ := b64.DecodeString(s)
	return new(big.Int).SetBytes(b)
}

// TestForgedTokens (JOSE-01..08, 11, 17, 18; JW01, JW03..JW05, I10): nothing that
// the server did not sign is a token anywhere, and no header makes it look
// anywhere for a key.
func TestForgedTokens(t *testing.T) {
	a := attacks(t)
	good := a.signIn("demo-native").Access
	parts := strings.Split(good, ".")
	payload := parts[1]
	var visited atomic.Int64
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	defer canary.Close()
	header := func(members string) string { return b64.EncodeToString([]byte(members)) }
	kid := kidOf(good)

	a.in("JOSE-01 no algorithm", func(a attack) {
		for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "ES256 ", "es256", "HS256", "unknown"} {
			for _, sig := range []string{"", parts[2], "AAAA"} {
				a.useless(alg, header(fmt.Sprintf(`{"alg":%q,"typ":"at+jwt","kid":%q}`, alg, kid))+"."+payload+"."+sig)
			}
		}
		a.useless("no alg", header(`{"typ":"at+jwt"}`)+"."+payload+"."+parts[2])
	})
	a.in("JOSE-02 a public key as a secret", func(a attack) {
		ec, rs := a.published("EC"), a.published("RSA")
		var secrets [][]byte
		for _, jwk := range []map[string]string{ec, rs} {
			b, _ := json.Marshal(jwk)
			secrets = append(secrets, b)
		}
		pub := &rsa.PublicKey{N: number(rs["n"]), E: int(number(rs["e"]).Int64())}
		point := slices.Concat([]byte{4}, number(ec["x"]).FillBytes(make([]byte, 32)), number(ec["y"]).FillBytes(make([]byte, 32)))
		ecPub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []any{pub, ecPub} {
			der, err := x509.MarshalPKIXPublicKey(k)
			if err != nil {
				a.Fatal(err)
			}
			secrets = append(secrets, der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		pkcs1 := x509.MarshalPKCS1PublicKey(pub)
		secrets = append(secrets, pkcs1, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), nil)
		for _, s := range secrets {
			for _, secret := range [][]byte{s, []byte(strings.TrimRight(string(s), "\n")), append(s[:len(s):len(s)], '\n')} {
				for _, id := range []string{kid, rs["kid"], ""} {
					input := header(fmt.Sprintf(`{"alg":"HS256","typ":"at+jwt","kid":%q}`, id)) + "." + payload
					m := hmac.New(sha256.New, secret)
					m.Write([]byte(input))
					a.useless("HS256", input+"."+b64.EncodeToString(m.Sum(nil)))
				}
			}
		}
	})
	a.in("JOSE-03 JOSE-04 JOSE-05 JW03 a key brought along", func(a attack) {
		mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			a.Fatal(err)
		}
		jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}`, kid,
			b64.EncodeToString(mine.X.FillBytes(make([]byte, 32))), b64.EncodeToString(mine.Y.FillBytes(make([]byte, 32))))
		zeros := filepath.Join(a.TempDir(), "k.bin")
		if err := os.WriteFile(zeros, make([]byte, 32), 0o600); err != nil {
			a.Fatal(err)
		}
		for _, extra := range []string{`"jwk":` + jwk, `"jku":"` + canary.URL + `/jwks"`, `"x5u":"` + canary.URL + `/cert"`, `"x5c":["AAAA"]`, `"jwk":` + jwk + `,"kid":"` + kid + `"`,
			`"kid":"` + canary.URL + `"`, `"kid":"../../../../dev/null"`, `"kid":"` + zeros + `"`} {
			input := header(`{"alg":"ES256","typ":"at+jwt",`+extra+`}`) + "." + payload
			sum := sha256.Sum256([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, mine, sum[:])
			if err != nil {
				a.Fatal(err)
			}
			a.useless(extra, input+"."+b64.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)))
			m := hmac.New(sha256.New, make([]byte, 32))
			input = header(`{"alg":"HS256","typ":"at+jwt",`+extra+`}`) + "." + payload
			m.Write([]byte(input))
			a.useless(extra, input+"."+b64.EncodeToString(m.Sum(nil)))
		}
		if visited.Load() > 0 {
			a.Errorf("the server made %d requests for a key", visited.Load())
		}
	})
	a.in("JOSE-06 kid as code", func(a attack) {
		want := string(a.call(a.signRaw(`{"alg":"ES256","typ":"at+jwt","kid":"unknown"}`, string(sure(b64.DecodeString(payload))))).body)
		for _, k := range []string{`x' UNION SELECT 'AA'--`, `'; DROP TABLE session;--`, `" OR ""="`, `1 OR 1=1`, `{"$ne":null}`, `%s%s%n`, `${jndi:ldap://x}`,
			`$(id)`, "`id`", `*)(uid=*`, `a\u0000b`, `\r\nX: y`, strings.Repeat("k", 5000), `'||pg_sleep(9)--`, `randomblob(1000000000)`} {
			b, _ := json.Marshal(k)
			token := a.signRaw(`{"alg":"ES256","typ":"at+jwt","kid":`+string(b)+`}`, string(sure(b64.DecodeString(payload))))
			a.useless(k, token)
			if got := a.call(token); got.status == 401 && string(got.body) != want {
				a.Errorf("kid %q is answered otherwise: %s", k, got.body)
			}
		}
		if strings.Contains(a.log.String(), "syntax error") {
			a.Error("SQL errors in the log")
		}
	})
	a.in("JOSE-07 JOSE-08 crit and b64", func(a attack) {
		plain := string(sure(b64.DecodeString(payload)))
		for _, extra := range []string{`"crit":["bork"],"bork":1`, `"crit":["exp"]`, `"crit":[]`, `"crit":"b64"`, `"crit":["absent"]`, `"crit":null`, `"crit":["alg"]`,
			`"b64":false,"crit":["b64"]`, `"b64":true,"crit":["b64"]`, `"b64":false`} {
			a.useless(extra, a.signRaw(fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q,%s}`, kid, extra), plain))
		}
		s, _ := a.server.Keys.Signer("")
		input := header(fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q,"b64":false,"crit":["b64"]}`, kid)) + "." + plain
		sig, _ := s.Sign([]byte(input))
		a.useless("raw payload", input+"."+b64.EncodeToString(sig))
		a.useless("detached payload", parts[0]+".."+parts[2])
	})
	a.in("JOSE-11 signatures", func(a attack) {
		n := elliptic.P256().Params().N
		sig, _ := b64.DecodeString(parts[2])
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		pair := func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}
		one, zero := big.NewInt(1), new(big.Int)
		der := append([]byte{0x30, 0x44, 0x02, 0x20}, append(append(sig[:32:32], 0x02, 0x20), sig[32:]...)...)
		for what, bad := range map[string][]byte{"0 0": pair(zero, zero), "0 1": pair(zero, one), "1 0": pair(one, zero), "n s": pair(n, s), "r n": pair(r, n), "n n": pair(n, n),
			"DER": der, "63": sig[:63], "65": append(sig[:64:64], 0), "none": nil, "1": {1}, "128": append(sig[:64:64], sig...)} {
			a.useless(what, parts[0]+"."+parts[1]+"."+b64.EncodeToString(bad))
		}
	})
	a.in("JOSE-17 JW04 one spelling", func(a attack) {
		for what, bad := range map[string]string{"padding": good + "=", "two pads": good + "==", "newline": good + "\n", "space": " " + good, "fourth part": good + ".", "fifth part": good + ".a.b",
			"two parts": parts[0] + "." + parts[1], "JSON": fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
			"padded payload": parts[0] + "." + parts[1] + "=." + parts[2], "tab": parts[0] + "\t." + parts[1] + "." + parts[2], "empty": "", "dots": "....", "lower case": strings.ToLower(good)} {
			if what == "newline" || what == "tab" || what == "JSON" {
				if got := a.introspect(bad); string(got.body) != inactive {
					a.Errorf("%s: %s", what, got.body)
				}
				continue // no header can carry it
			}
			if bad != "" {
				a.useless(what, bad)
			}
		}
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for i := range len(good) { // every character, the last ones of each part above all
			if good[i] == '.' || i%7 != 0 && i != len(good)-1 && good[i+1] != '.' {
				continue
			}
			at := strings.IndexByte(alphabet, good[i])
			for _, c := range []byte{alphabet[(at+1)%64], alphabet[at^1], alphabet[at^2]} {
				bad := good[:i] + string(c) + good[i+1:]
				if got := a.call(bad); got.status != 401 {
					a.Errorf("character %d of %d changed: %d", i, len(good), got.status)
				}
			}
		}
		std := strings.NewReplacer("-", "+", "_", "/").Replace(good)
		if std != good {
			a.useless("the other alphabet", std)
		}
	})
	a.in("JOSE-18 JW05 JWE", func(a attack) {
		for _, h := range []string{`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}`, `{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, `{"alg":"RSA-OAEP","enc":"A128GCM"}`} {
			began := time.Now()
			a.useless("JWE", header(h)+"..AAAA.AAAA.AAAA")
			if took := time.Since(began); took > 30*time.Second { // to do what it asks takes hours
				a.Errorf("%s kept the server busy for %v", h, took)
			}
		}
	})
	if got := a.call(good); got.status != 200 {
		t.Errorf("after all of it the good token is answered %d", got.status)
	}
}

func sure[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestSignedButWrong (JOSE-09, 12..16; JW06, JW08, J04): a right signature is not
// enough. Every claim has one form and one meaning.
func TestSignedButWrong(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native")
	base, now := claims(h.Access), a.clock.Now().Unix()
	with := func(change map[string]any) string {
		c := maps.Clone(base)
		for k, v := range change {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		return a.forge("at+jwt", c)
	}
	if got := a.call(with(nil)); got.status != 200 {
		t.Fatalf("a token as the server makes it is answered %d %s", got.status, got.body)
	}
	plain := string(sure(json.Marshal(base)))
	twice := func(name string, value any) string {
		return fmt.Sprintf(`{%q:%s,%s`, name, sure(json.Marshal(value)), plain[1:])
	}
	atFront := map[string]string{}
	for _, name := range []string{"sub", "exp", "aud", "iss", "jti", "sid"} {
		atFront["JOSE-09 "+name+" twice"] = a.sign("at+jwt", []byte(twice(name, base[name])))
		atFront["JOSE-09 "+name+" twice, the last one wrong"] = a.sign("at+jwt", []byte(plain[:len(plain)-1]+fmt.Sprintf(`,%q:"x"}`, name)))
	}
	header := func(h string) string { return a.signRaw(h, plain) }
	kid := kidOf(h.Access)
	deep := a.sign("at+jwt", []byte(plain[:len(plain)-1]+`,"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+"}"))
	cases := map[string]string{
		"JOSE-09 alg twice":           header(fmt.Sprintf(`{"alg":"ES256","alg":"none","typ":"at+jwt","kid":%q}`, kid)),
		"JOSE-09 alg twice, reversed": header(fmt.Sprintf(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":%q}`, kid)),
		"JOSE-10 deep":                deep,
		"JOSE-12 ID token":            h.ID,
		"JOSE-12 JW06 typ JWT":        a.forge("JWT", base),
		"JOSE-12 logout+jwt":          a.forge("logout+jwt", base),
		"JOSE-12 secevent+jwt":        a.forge("secevent+jwt", base),
		"JOSE-12 rt+jwt":              a.forge("rt+jwt", base),
		"JOSE-12 client assertion":    a.forge("client-authentication+jwt", base),
		"JOSE-12 no typ":              header(fmt.Sprintf(`{"alg":"ES256","kid":%q}`, kid)),
		"JOSE-14 other issuer":        with(map[string]any{"iss": "http://id.test.evil"}),
		"JOSE-14 slash":               with(map[string]any{"iss": testIssuer + "/"}),
		"JOSE-14 upper case":          with(map[string]any{"iss": "http://ID.test"}),
		"JOSE-14 https":               with(map[string]any{"iss": "https://id.test"}),
		"JOSE-14 no issuer":           with(map[string]any{"iss": nil}),
		"JOSE-15 expired":             with(map[string]any{"exp": now - 31}),
		"JOSE-15 not yet":             with(map[string]any{"nbf": now + 31}),
		"JOSE-15 from the future":     with(map[string]any{"iat": now + 31}),
		"JOSE-16 no exp":              with(map[string]any{"exp": nil}),
		"JOSE-16 exp text":            with(map[string]any{"exp": fmt.Sprint(now + 600)}),
		"JOSE-16 exp huge":            with(map[string]any{"exp": json.Number("1e99")}),
		"JOSE-16 exp 2^63":            with(map[string]any{"exp": json.Number("9223372036854775808")}),
		"JOSE-16 exp negative":        with(map[string]any{"exp": -1}),
		"JOSE-16 exp date":            with(map[string]any{"exp": "2030-01-01T00:00:00Z"}),
		"JOSE-16 exp null":            a.sign("at+jwt", []byte(strings.Replace(plain, fmt.Sprintf(`"exp":%d`, int64(base["exp"].(float64))), `"exp":null`, 1))),
		"JOSE-16 exp NaN":             a.sign("at+jwt", []byte(strings.Replace(plain, `"exp":`, `"exp":NaN,"x":`, 1))),
		"no sub":                      with(map[string]any{"sub": nil}),
		"no jti":                      with(map[string]any{"jti": nil}),
		"another session's name":      with(map[string]any{"sid": "AAAAAAAAAAAAAAAAAAAAAA", "jti": "its-own"}),
		"no payload":                  a.sign("at+jwt", nil),
		"an array":                    a.sign("at+jwt", []byte("[]")),
		"trailing":                    a.sign("at+jwt", []byte(plain+" {}")),
	}
	maps.Copy(cases, atFront)
	for name, token := range cases {
		a.in(name, func(a attack) { a.useless(name, token) })
	}
	a.in("JOSE-13 audience", func(a attack) {
		for _, aud := range []any{"https://other", []string{"https://other"}, []string{}, testIssuer + ".evil", []string{testIssuer + ".evil"}, "evil " + testIssuer, ""} {
			if got := a.call(with(map[string]any{"aud": aud})); got.status != 401 {
				a.Errorf("%v is answered %d", aud, got.status)
			}
		}
		if got := a.call(with(map[string]any{"aud": nil})); got.status != 401 {
			a.Errorf("none is answered %d", got.status)
		}
		if got := a.call(with(map[string]any{"aud": []string{"https://other", testIssuer}})); got.status != 200 {
			a.Errorf("one of two is answered %d", got.status)
		}
	})
	a.in("JOSE-15 inside the skew", func(a attack) {
		for _, good := range []map[string]any{{"exp": now - 29}, {"nbf": now + 29}, {"iat": now + 29}, {"exp": json.Number(fmt.Sprintf("%d.5", now+60))}} {
			if got := a.call(with(good)); got.status != 200 {
				a.Errorf("%v is answered %d", good, got.status)
			}
		}
	})
}

// TestTokensOfAnySize (JOSE-10, INV-09): too large is refused before it is decoded.
func TestTokensOfAnySize(t *testing.T) {
	a := attacks(t)
	a.useless("dots", strings.Repeat(".", 50_000))
	a.useless("8 KiB and more", strings.Repeat("A", 9000)+".AAAA.AAAA")
	atOnce(8, func(int) {
		got, err := a.send("GET", "/oauth2/userinfo", "", nil, bearer(strings.Repeat("A", 900_000)))
		if err == nil && got.status != 401 && got.status != 431 {
			a.Errorf("a huge header is answered %d", got.status)
		}
		got, err = a.send("POST", "/oauth2/introspect", urlEncoded, strings.NewReader("token="+strings.Repeat("A", 1<<20)), basic("demo-service", "demo-service-secret"))
		if err == nil && got.status != 413 {
			a.Errorf("a huge form is answered %d", got.status)
		}
	})
}

// TestAccessTooLong: a client that is registered for more than a token can carry gets
// no token that nobody reads, and is told what to ask for.
func TestAccessTooLong(t *testing.T) {
	a := attacks(t)
	var scopes []string
	for i := range 70 {
		scopes = append(scopes, fmt.Sprintf("%q", fmt.Sprintf("s%02d:%s", i, strings.Repeat("x", 120))))
	}
	for _, format := range []string{"jwt", "opaque"} {
		a.apply(fmt.Sprintf("[[clients]]\nid = \"long\"\ntype = \"confidential\"\nsecret = \"the-secret-of-the-long-one\"\ngrants = [\"client_credentials\"]\nscopes = [\"read\", %s]\naccess_format = %q\n",
			strings.Join(scopes, ", "), format))
		ask := []string{"grant_type", "client_credentials", "client_id", "long", "client_secret", "the-secret-of-the-long-one"}
		a.want(a.post("/oauth2/token", ask...), 400, "invalid_scope", "")
		short := a.holds(a.post("/oauth2/token", append(ask, "scope", "read")...), "long")
		if got := a.introspect(short.Access); short.status != 200 || !strings.Contains(string(got.body), `"active":true`) {
			t.Errorf("%s: answered %d, and the token is %s", format, short.status, got.body)
		}
	}
}

// TestOpaqueTokens (JOSE-17, REST-01): the sealed form has one spelling too, and
// every changed bit is noticed.
func TestOpaqueTokens(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"sealed\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\naccess_format = \"opaque\"\n")
	h := a.signIn("sealed")
	if !strings.HasPrefix(h.Access, "hfa_") {
		t.Fatalf("the token is %s", h.Access)
	}
	a.alive(h.Access)
	for i := len("hfa_"); i < len(h.Access); i += 5 {
		for _, c := range []byte{'A', 'B', '_', '='} {
			if h.Access[i] != c {
				if got := a.call(h.Access[:i] + string(c) + h.Access[i+1:]); got.status != 401 {
					a.Errorf("character %d changed: %d", i, got.status)
				}
			}
		}
	}
	for what, bad := range map[string]string{"longer": h.Access + "A", "padded": h.Access + "=", "shorter": h.Access[:len(h.Access)-1], "no prefix": h.Access[4:],
		"other prefix": "hfr_" + h.Access[4:], "only a prefix": "hfa_", "huge": "hfa_" + strings.Repeat("A", 8000)} {
		a.useless(what, bad)
	}
	a.clock.advance(time.Hour + 31*time.Second)
	a.dead(h.Access, "")
	h = a.refreshed(h)
	a.want(a.post("/oauth2/revoke", "client_id", "sealed", "token", h.Refresh), 200, "", "")
	a.dead(h.Access, "signed_out")
}
