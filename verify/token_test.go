package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/verify"
)

// attack is a token that must be refused, named after the rows of the house's
// catalogue (JOSE, JW) and of the standards' checklist (RS).
type attack struct {
	rows  string
	name  string
	token string
	want  verify.Kind
}

// TestRefusedTokens shows every token of the catalogue to a Verifier with and
// without memo, and to a Guard, which must answer 401 invalid_token to all. A
// canary listens where headers point: nothing may be fetched.
func TestRefusedTokens(t *testing.T) {
	var hits atomic.Int32
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer canary.Close()

	es := newMint(t, "es-1", "ES256")
	rs := newMint(t, "rs-1", "RS256")
	ed := newMint(t, "ed-1", "Ed25519")
	keys := keySet(t, es, rs, ed)

	var attacks []attack
	add := func(rows, name, token string, want verify.Kind) {
		attacks = append(attacks, attack{rows, name, token, want})
	}
	attacksOnAlgorithm(add, es, rs, ed)
	attacksOnKeys(t, add, es, canary.URL)
	attacksOnHeader(add, es)
	attacksOnSignature(add, es)
	attacksOnSpelling(add, es)
	attacksOnClaims(add, es)

	for _, memo := range []int{0, 64} {
		v := newVerifier(t, verify.Config{Keys: keys, Memo: memo})
		guard, err := verify.NewGuard(verify.GuardConfig{Tokens: v, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		h := guard.Protect(verify.Need{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Error("the handler was reached")
		}))
		// A good token first, so that its header is on the fast path.
		_, err = v.Verify(t.Context(), es.token(claims()), noon)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attacks {
			t.Run(fmt.Sprintf("%s/%s/memo %d", a.rows, a.name, memo), func(t *testing.T) {
				for range 2 { // what is refused once must not be remembered
					_, err := v.Verify(t.Context(), a.token, noon)
					wantKind(t, err, a.want)
					if len(a.token) > 100 && strings.Contains(err.Error(), a.token[40:60]) {
						t.Errorf("the error quotes the token: %v", err)
					}
				}
				if strings.ContainsAny(a.token, " \t\r\n,") || a.token == "" {
					return // no header value of one credential: RS02 answers it
				}
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Authorization", "Bearer "+a.token)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 401 || !strings.Contains(w.Header().Get("WWW-Authenticate"), `error="invalid_token"`) {
					t.Errorf("answer %d %s; want 401 invalid_token", w.Code, w.Header().Get("WWW-Authenticate"))
				}
			})
		}
	}
	if hits.Load() != 0 {
		t.Errorf("JOSE-03, JOSE-04, JOSE-05: %d requests to an address from a token", hits.Load())
	}
}

type adder func(rows, name, token string, want verify.Kind)

// JOSE-01, JOSE-02, JW01: the token tries to choose the algorithm.
func attacksOnAlgorithm(add adder, es, rs, ed *mint) {
	payload := string(marshal(claims()))
	for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
		header := fmt.Sprintf(`{"alg":%q,"kid":"es-1","typ":"at+jwt"}`, alg)
		unsigned := b64([]byte(header)) + "." + b64([]byte(payload)) + "."
		add("JOSE-01 JW01", "alg "+alg, unsigned, verify.BadSignature)
		add("JOSE-01 JW01", "alg "+alg+" with a good signature", es.sign(header, payload), verify.BadSignature)
	}
	add("JOSE-01 JW01", "empty signature", unsignedPart(es.token(claims()))+".", verify.BadSignature)

	for _, m := range []*mint{es, rs} {
		for name, secret := range publicEncodings(m) {
			header := fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":"at+jwt"}`, m.id)
			add("JOSE-02 JW01", m.alg+" public key as HMAC secret: "+name, hmacToken(header, payload, secret), verify.BadSignature)
			add("JOSE-02 JW01", m.alg+" the same under the known header: "+name, hmacToken(m.header(), payload, secret), verify.BadSignature)
		}
	}
	for _, alg := range []string{"HS384", "HS512", "PS256", "ES384", "ES512", "ES256K", "RSA-OAEP", "dir", "", "es256"} {
		want := verify.BadSignature
		if alg == "" {
			want = verify.Malformed
		}
		add("JW01", "alg "+alg+" is not supported", es.sign(fmt.Sprintf(`{"alg":%q,"kid":"es-1","typ":"at+jwt"}`, alg), payload), want)
	}
	add("JW01", "RS512 under a key pinned to RS256", (&mint{"rs-1", "RS512", rs.private}).token(claims()), verify.BadSignature)
	add("JW01", "EdDSA under a key pinned to Ed25519", (&mint{"ed-1", "EdDSA", ed.private}).token(claims()), verify.BadSignature)
	add("JW01", "ES256 naming an RSA key", (&mint{"rs-1", "ES256", es.private}).token(claims()), verify.BadSignature)
	add("JW01", "Ed25519 naming an EC key", (&mint{"es-1", "Ed25519", ed.private}).token(claims()), verify.BadSignature)
}

// publicEncodings are the forms in which a confused verifier might hold a
// public key as bytes.
func publicEncodings(m *mint) map[string][]byte {
	der, err := x509.MarshalPKIXPublicKey(m.private.Public())
	if err != nil {
		panic(err)
	}
	forms := map[string][]byte{
		"DER": der, "JWK": marshal(m.jwk()),
		"PEM SPKI": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}
	if pub, ok := m.private.Public().(*rsa.PublicKey); ok {
		forms["PEM PKCS1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(pub)})
	} else {
		point, _ := m.private.Public().(*ecdsa.PublicKey).Bytes()
		forms["point"] = point
	}
	for name, b := range forms {
		if trimmed := strings.TrimSuffix(string(b), "\n"); trimmed != string(b) {
			forms[name+" without newline"] = []byte(trimmed)
		} else if !strings.HasSuffix(name, "newline") {
			forms[name+" with newline"] = append(slices.Clone(b), '\n')
		}
	}
	return forms
}

func hmacToken(header, payload string, secret []byte) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(signed))
	return signed + "." + b64(h.Sum(nil))
}

// JOSE-03 to JOSE-06, JW03: the token tries to bring or name its key.
func attacksOnKeys(t *testing.T, add adder, es *mint, canary string) {
	thief := newMint(t, "es-1", "ES256")
	payload := string(marshal(claims()))
	jwk := string(marshal(thief.jwk()))
	for name, member := range map[string]string{
		"jwk": fmt.Sprintf(`"jwk":%s`, jwk),
		"jku": fmt.Sprintf(`"jku":"%s/jwks"`, canary),
		"x5u": fmt.Sprintf(`"x5u":"%s/cert"`, canary),
		"x5c": fmt.Sprintf(`"x5c":["%s"]`, base64.StdEncoding.EncodeToString([]byte(jwk))),
	} {
		row := "JOSE-04 JW03"
		if name == "jwk" {
			row = "JOSE-03 JW03"
		}
		add(row, name+" and a kid of ours", thief.sign(`{"alg":"ES256","kid":"es-1","typ":"at+jwt",`+member+`}`, payload), verify.BadSignature)
		add(row, name+" and a new kid", thief.sign(`{"alg":"ES256","kid":"new","typ":"at+jwt",`+member+`}`, payload), verify.UnknownKey)
		add(row, name+" and no kid", thief.sign(`{"alg":"ES256","typ":"at+jwt",`+member+`}`, payload), verify.UnknownKey)
	}
	for _, kid := range []string{"../../../../dev/null", "/tmp/k.bin", canary + "/key"} {
		header := fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":"at+jwt"}`, kid)
		add("JOSE-05 JW03", "HS256 "+kid, hmacToken(header, payload, nil), verify.BadSignature)
		add("JOSE-05 JW03", "ES256 "+kid, (&mint{kid, "ES256", thief.private}).token(claims()), verify.UnknownKey)
	}
	add("JOSE-05", "kid longer than any key name", (&mint{strings.Repeat("k", verify.MaxKeyID+1), "ES256", es.private}).token(claims()), verify.UnknownKey)
	for _, kid := range hostileNames() {
		header := fmt.Sprintf(`{"alg":"ES256","kid":%s,"typ":"at+jwt"}`, marshal(kid))
		add("JOSE-06 JW03", fmt.Sprintf("kid %q", kid), es.sign(header, payload), verify.UnknownKey)
	}
}

// hostileNames are texts that mean something to a database, a shell, a
// directory, a template or a format.
func hostileNames() []string {
	names := []string{
		`x' UNION SELECT 'AA'--`, `' OR 1=1--`, `'; DROP TABLE keys;--`, `1; WAITFOR DELAY '0:0:5'--`,
		`' AND pg_sleep(5)--`, `" OR ""="`, `admin'/*`, `*)(uid=*))(|(uid=*`, `)(cn=*`, `{"$ne":null}`,
		`{"$gt":""}`, `[$regex]`, `; cat /etc/passwd`, "`id`", `$(id)`, `| ls`, `&& ls`, `%00`, "a\x00b",
		`%s%s%s%n`, `%x%x`, `{{7*7}}`, `${7*7}`, `#{7*7}`, `<%= 7*7 %>`, `<script>alert(1)</script>`,
		`<!ENTITY x SYSTEM "file:///etc/passwd">`, `../es-1`, `./es-1`, `es-1/`, `es-1 `, ` es-1`, `ES-1`,
		"es-1\x00", "es-1\n", "\u202ees-1", "es\u00ad-1", "\u0435s-1", `..\..\windows\win.ini`, `\\host\share`,
		`ldap://127.0.0.1/x`, `${jndi:ldap://127.0.0.1/x}`,
	}
	return names
}

// JOSE-07, JOSE-08, JOSE-09, JOSE-12, JW03, JW06, JW08: signed by the real
// key, so only the header itself is wrong.
func attacksOnHeader(add adder, es *mint) {
	payload := string(marshal(claims()))
	base := `"alg":"ES256","kid":"es-1","typ":"at+jwt"`
	for _, member := range []string{
		`"crit":["bork"]`, `"crit":["exp"]`, `"crit":[]`, `"crit":"b64"`, `"crit":["absent"]`, `"crit":null`,
		`"crit":["bork"],"bork":true`,
	} {
		add("JOSE-07 JW03", member, es.sign(`{`+base+`,`+member+`}`, payload), verify.Malformed)
	}
	b64False := `{` + base + `,"b64":false,"crit":["b64"]}`
	signature := b64(es.signature([]byte(b64([]byte(b64False)) + "." + payload)))
	add("JOSE-08", "b64 false, encoded", es.sign(b64False, payload), verify.Malformed)
	add("JOSE-08", "b64 false, detached", b64([]byte(b64False))+".."+signature, verify.Malformed)
	add("JOSE-08", "b64 false, raw", b64([]byte(b64False))+"."+payload+"."+signature, verify.Malformed)
	add("JOSE-08", "b64 true", es.sign(`{`+base+`,"b64":true}`, payload), verify.Malformed)
	add("JOSE-18", "zip", es.sign(`{`+base+`,"zip":"DEF"}`, payload), verify.Malformed)
	add("JOSE-18", "enc", es.sign(`{`+base+`,"enc":"A128GCM"}`, payload), verify.Malformed)
	add("JOSE-18", "PBES2 in three parts", es.sign(`{"alg":"PBES2-HS256+A128KW","p2c":2147483648,"kid":"es-1","typ":"at+jwt"}`, payload), verify.BadSignature)
	jwe := b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483648,"p2s":"AAAA","kid":"es-1"}`))
	add("JOSE-18", "JWE in five parts", jwe+".AAAA.AAAA.AAAA.AAAA", verify.Malformed)
	add("JOSE-18", "JWE with an empty key", jwe+"..AAAA.AAAA.AAAA", verify.Malformed)

	add("JOSE-09 JW08", "alg twice, good first", es.sign(`{"alg":"ES256","kid":"es-1","typ":"at+jwt","alg":"none"}`, payload), verify.Malformed)
	add("JOSE-09 JW08", "alg twice, bad first", es.sign(`{"alg":"none","kid":"es-1","typ":"at+jwt","alg":"ES256"}`, payload), verify.Malformed)
	add("JOSE-09 JW08", "alg twice, once escaped", es.sign(`{`+base+`,"\u0061lg":"none"}`, payload), verify.Malformed)
	add("JOSE-09 JW08", "twice inside an ignored member", es.sign(`{`+base+`,"jwk":{"x":1,"x":2}}`, payload), verify.Malformed)
	for name, header := range map[string]string{
		"alg is a number": `{"alg":1,"kid":"es-1","typ":"at+jwt"}`, "alg is null": `{"alg":null,"kid":"es-1","typ":"at+jwt"}`,
		"alg is a list": `{"alg":["ES256"],"kid":"es-1","typ":"at+jwt"}`, "no alg": `{"kid":"es-1","typ":"at+jwt"}`,
		"ALG in capitals": `{"ALG":"ES256","kid":"es-1","typ":"at+jwt"}`,
		"kid is a number": `{"alg":"ES256","kid":7,"typ":"at+jwt"}`, "not an object": `["ES256"]`, "text after it": `{` + base + `}{}`,
		"not JSON": `{` + base, "empty object": `{}`, "broken UTF-8": "{" + base + ",\"x\":\"\xff\"}", "byte order mark": "\ufeff{" + base + "}",
	} {
		add("JW08", "header: "+name, es.sign(header, payload), verify.Malformed)
	}

	for _, typ := range []string{
		"JWT", "jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "client-authentication+jwt", "oauth-client-attestation+jwt",
		"token-introspection+jwt", "rt+jwt", "webview+jwt", "AT+JWT", "at+jwt ", "application/jwt", "at+jwt+x",
	} {
		add("JOSE-12 JW06 RS04", "typ "+typ, es.sign(fmt.Sprintf(`{"alg":"ES256","kid":"es-1","typ":%q}`, typ), payload), verify.WrongType)
	}
	add("JOSE-12 JW06 RS04", "no typ (ID token)", es.sign(`{"alg":"ES256","kid":"es-1"}`, payload), verify.WrongType)
	add("JW06", "an opaque token", "hfa_0123456789", verify.WrongType)
}

// JOSE-11: signatures that broken libraries accept.
func attacksOnSignature(add adder, es *mint) {
	signed := unsignedPart(es.token(claims()))
	n := elliptic.P256().Params().N
	pair := func(r, s []byte) []byte {
		out := make([]byte, 64)
		copy(out[32-len(r):], r)
		copy(out[64-len(s):], s)
		return out
	}
	good := es.signature([]byte(signed))
	digest := sha256.Sum256([]byte(signed))
	der, err := ecdsa.SignASN1(nil, es.private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		panic(err)
	}
	for name, signature := range map[string][]byte{
		"r=0 s=0": pair(nil, nil), "r=0 s=1": pair(nil, []byte{1}), "r=1 s=0": pair([]byte{1}, nil),
		"r=n": pair(n.Bytes(), good[32:]), "s=n": pair(good[:32], n.Bytes()),
		"DER": der, "63 bytes": good[:63], "65 bytes": append(slices.Clone(good), 0), "65 bytes, zero first": append([]byte{0}, good...),
		"65 bytes, zero before s": append(append(slices.Clone(good[:32]), 0), good[32:]...),
		"of another token":        es.signature([]byte("x")),
	} {
		add("JOSE-11 RS04", name, signed+"."+b64(signature), verify.BadSignature)
	}
}

func unsignedPart(token string) string { return token[:strings.LastIndexByte(token, '.')] }

// JOSE-10, JOSE-17, JW04: other spellings, other forms, sizes.
func attacksOnSpelling(add adder, es *mint) {
	token := es.token(claims())
	parts := strings.Split(token, ".")
	h, p, s := parts[0], parts[1], parts[2]
	for name, text := range map[string]string{
		"empty": "", "one dot": h + "." + p, "four parts": token + "." + s, "five parts": token + "." + s + "." + s, "trailing dot": token + ".",
		"leading dot": "." + token, "empty header": "." + p + "." + s, "only dots": "..",
		"padding on the header": h + "=." + p + "." + s, "padding on the payload": h + "." + p + "=." + s, "padding on the signature": token + "==",
		"space in front": " " + token, "space behind": token + " ", "line break behind": token + "\n", "line break inside": h + "\n." + p + "." + s,
		"carriage return inside": h + "." + p[:10] + "\r" + p[10:] + "." + s, "tab": h + ".\t" + p + "." + s,
		"standard alphabet +": h + "." + p + "." + "+" + s[1:], "standard alphabet /": h + "." + p + ".a/" + s[2:], "NUL": token + "\x00", "not ASCII": token + "é",
		"JSON serialization": fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, p, h, s),
		"JSON general":       fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, p, h, s),
		"quoted":             `"` + token + `"`,
	} {
		add("JOSE-17 JW04", name, text, verify.Malformed)
	}
	add("JOSE-17", "payload cut out", h+".."+s, verify.BadSignature)
	add("JW08", "payload empty", es.sign(es.header(), ""), verify.Malformed)
	// 64 bytes leave 4 bits unused in the last character: 15 other spellings.
	last := strings.IndexByte(base64url, s[len(s)-1])
	for bits := 1; bits < 16; bits++ {
		add("JOSE-17 JW04", fmt.Sprintf("unused bits %d", bits), h+"."+p+"."+s[:len(s)-1]+string(base64url[last|bits]), verify.Malformed)
	}

	big := strings.Repeat("a", verify.MaxToken)
	add("JOSE-10", "8 KiB and one byte", big+".", verify.Malformed)
	add("JOSE-10", "a megabyte of dots", strings.Repeat(".", 1<<20), verify.Malformed)
	add("JOSE-10", "8 KiB of dots", strings.Repeat(".", verify.MaxToken), verify.Malformed)
	add("JOSE-10", "ten megabytes", h+"."+strings.Repeat(big, 1280)+"."+s, verify.Malformed)
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	add("JOSE-10", "2,000 brackets in the payload", es.sign(es.header(), `{"x":`+deep+`}`), verify.Malformed)
	add("JOSE-10", "2,000 brackets in the header", es.sign(`{"alg":"ES256","x":`+deep+`}`, `{}`), verify.Malformed)
	add("JOSE-10", "100,000 brackets", es.sign(es.header(), strings.Repeat("[", 100_000)), verify.Malformed)
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, `"%d":0,`, i)
	}
	add("JOSE-10", "300 members in the header", es.sign(`{`+many.String()+`"alg":"ES256"}`, `{}`), verify.Malformed)
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// JOSE-09, JOSE-13, JOSE-14, JOSE-16, RS04, RS22, JW08: signed by the real
// key, so only the claims are wrong.
func attacksOnClaims(add adder, es *mint) {
	change := func(rows, name string, want verify.Kind, changes map[string]any) {
		add(rows, name, es.token(claims(changes)), want)
	}
	raw := func(rows, name, claim, value string, want verify.Kind) {
		c := string(marshal(claims(with(claim, nil))))
		add(rows, name, es.sign(es.header(), c[:len(c)-1]+fmt.Sprintf(`,%q:%s}`, claim, value)), want)
	}
	for _, claim := range []string{"sub", "exp", "aud", "iss", "jti", "client_id", "iat", "scope", "sid"} {
		c := string(marshal(claims()))
		add("JOSE-09 JW08", claim+" twice, bad last", es.sign(es.header(), c[:len(c)-1]+fmt.Sprintf(`,%q:"evil"}`, claim)), verify.Malformed)
		add("JOSE-09 JW08", claim+" twice, bad first", es.sign(es.header(), fmt.Sprintf(`{%q:"evil",`, claim)+c[1:]), verify.Malformed)
	}
	for _, claim := range []string{"sub", "exp", "aud", "iss", "jti", "client_id", "iat"} {
		change("RS04", claim+" missing", verify.Malformed, with(claim, nil))
		raw("RS04 JW08", claim+" null", claim, `null`, verify.Malformed)
	}
	change("RS04", "sub empty", verify.Malformed, with("sub", ""))

	for name, aud := range map[string]any{
		"of a sibling": "https://api.b", "of a sibling, list": []string{"https://api.b", "https://api.c"},
		"contains ours as a part": audience + ".evil", "list, contains ours as a part": []string{"x" + audience, audience + "/", audience + ".evil"},
		"ours in capitals": strings.ToUpper(audience), "ours with a slash": audience + "/", "prefix of ours": audience[:len(audience)-1],
		"two in one string": audience + " https://api.b",
	} {
		change("JOSE-13 RS22 RS04", "aud "+name, verify.WrongAudience, with("aud", aud))
	}
	change("JOSE-13", "aud empty list", verify.Malformed, with("aud", []string{}))
	change("JOSE-13", "aud empty string", verify.WrongAudience, with("aud", ""))
	change("JOSE-13", "aud list with a number", verify.Malformed, with("aud", []any{audience, 1}))
	change("JOSE-13", "aud object", verify.Malformed, with("aud", map[string]any{audience: true}))

	for name, iss := range map[string]string{
		"of a neighbour": "https://staging.id.test", "slash": issuer + "/", "capitals": "https://ID.test", "http": "http://id.test", "path": issuer + "/x", "port": issuer + ":443",
	} {
		change("JOSE-14 RS04", "iss "+name, verify.WrongIssuer, with("iss", iss))
	}

	for _, claim := range []string{"exp", "iat", "nbf", "auth_time"} {
		for name, value := range map[string]string{
			"a string": `"1795262400"`, "1e99": `1e99`, "negative": `-1`, "NaN": `"NaN"`, "bare NaN": `NaN`, "null": `null`, "2^63": `9223372036854775808`,
			"ISO date": `"2026-11-21T12:00:00Z"`, "a list": `[1795262400]`, "true": `true`, "beyond the year 9999": `253402300800`, "1e400": `1e400`, "hexadecimal": `0x1`, "leading zero": `01`,
		} {
			raw("JOSE-16 JW08", claim+" "+name, claim, value, verify.Malformed)
		}
	}
	raw("JOSE-16", "exp 0", "exp", `0`, verify.Expired)
	raw("JW08", "scope a list", "scope", `["read"]`, verify.Malformed)
	raw("JW08", "amr a number", "amr", `1`, verify.Malformed)
	raw("JW08", "epoch a fraction", "epoch", `1.5`, verify.Malformed)
	raw("JW08", "epoch negative", "epoch", `-1`, verify.Malformed)
	raw("JW08", "cnf a string", "cnf", `"x"`, verify.Malformed)
	raw("JW08", "half a surrogate pair", "x", `"\ud800"`, verify.Malformed)
	add("JW08", "payload not an object", es.sign(es.header(), `"x"`), verify.Malformed)
	add("JW08", "payload with something after it", es.sign(es.header(), string(marshal(claims()))+" x"), verify.Malformed)
	change("RS19", "bound to a key, nobody checks", verify.Bound, with("cnf", map[string]any{"jkt": "x"}))

	change("RS04", "expired", verify.Expired, with("exp", noon.Add(-time.Hour).Unix()))
	change("RS04", "nbf in the future", verify.NotYet, with("nbf", noon.Add(time.Hour).Unix()))
}

// TestOneSpelling flips every bit of every character of a token: JOSE-17 says
// that a token has exactly one accepted spelling.
func TestOneSpelling(t *testing.T) {
	t.Run("JOSE-17", func(t *testing.T) {
		ed := newMint(t, "ed-1", "Ed25519")
		v := newVerifier(t, verify.Config{Keys: keySet(t, ed), Memo: 16})
		token := ed.token(claims())
		_, err := v.Verify(t.Context(), token, noon)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(token) {
			for bit := range 8 {
				changed := []byte(token)
				changed[i] ^= 1 << bit
				_, err := v.Verify(t.Context(), string(changed), noon)
				if err == nil {
					t.Fatalf("accepted with bit %d of character %d flipped", bit, i)
				}
			}
		}
	})
}

// TestAcceptedTokens shows what must be accepted, and that all claims arrive.
func TestAcceptedTokens(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "RS512", "Ed25519", "EdDSA"} {
		t.Run("JW09/"+alg, func(t *testing.T) {
			m := newMint(t, "k", alg)
			v := newVerifier(t, verify.Config{Keys: keySet(t, m)})
			for range 2 { // slow path, then the known header
				c, err := v.Verify(t.Context(), m.token(claims()), noon)
				if err != nil {
					t.Fatal(err)
				}
				if c.Subject != "usr_alice" || c.ClientID != "demo-native" || c.ID != "jti-1" || c.Session != "sid-1" || c.Issuer != issuer ||
					!slices.Equal(c.Audience, []string{audience}) || c.Epoch != 3 || c.Grant != "password" || c.KeyID != "k" ||
					c.ACR != "urn:holdfast:password" || !slices.Equal(c.AMR, []string{"pwd"}) || !c.AuthTime.Equal(noon.Add(-time.Hour)) ||
					!c.IssuedAt.Equal(noon) || !c.Expires.Equal(noon.Add(15*time.Minute)) || !c.NotBefore.IsZero() {
					t.Fatalf("claims: %+v", c)
				}
				if !c.HasScope("read") || !c.HasScope("openid") || c.HasScope("rea") || c.HasScope("write") || c.HasScope("") || c.HasScope("openid read") {
					t.Fatalf("scope %q", c.Scope)
				}
			}
		})
	}

	es := newMint(t, "es-1", "ES256")
	v := newVerifier(t, verify.Config{Keys: keySet(t, es)})
	accept := func(row, name, token string) {
		t.Run(row+"/"+name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), token, noon)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	payload := string(marshal(claims()))
	accept("JOSE-12", "typ application/at+jwt", es.sign(`{"alg":"ES256","kid":"es-1","typ":"application/at+jwt"}`, payload))
	accept("JOSE-04", "jku, x5u and x5c are ignored under a good signature",
		es.sign(`{"alg":"ES256","kid":"es-1","typ":"at+jwt","jku":"http://127.0.0.1:1/","x5u":"http://127.0.0.1:1/","x5c":["AA"]}`, payload))
	accept("JOSE-13", "aud is a list with ours", es.token(claims(with("aud", []string{"https://api.b", audience}))))
	accept("JW08", "fractional times", es.token(claims(map[string]any{"exp": 1795262999.5, "nbf": 1795262399.25})))
	accept("JW08", "unknown claims of any shape", es.token(claims(with("custom", map[string]any{"a": []any{1, "é\"\n", nil, true, 1.5e3}}))))
	accept("JW08", "white space in JSON", es.sign(es.header(), " \t\r\n"+strings.ReplaceAll(payload, `,`, " ,\n ")+" "))
}

// TestTimes walks the edges of skew: JOSE-15, RS04.
func TestTimes(t *testing.T) {
	es := newMint(t, "es-1", "ES256")
	for _, memo := range []int{0, 16} {
		v := newVerifier(t, verify.Config{Keys: keySet(t, es), Memo: memo})
		const skew = verify.DefaultSkew
		for _, c := range []struct {
			name  string
			claim string
			at    time.Duration // the claim, seen from now
			want  verify.Kind   // 0: accepted
		}{
			{"exp 1 s ago", "exp", -time.Second, 0},
			{"exp skew - 1 s ago", "exp", -skew + time.Second, 0},
			{"exp skew ago", "exp", -skew, verify.Expired},
			{"exp skew + 1 s ago", "exp", -skew - time.Second, verify.Expired},
			{"nbf in 1 s", "nbf", time.Second, 0},
			{"nbf in skew - 1 s", "nbf", skew - time.Second, 0},
			{"nbf in skew", "nbf", skew, 0},
			{"nbf in skew + 1 s", "nbf", skew + time.Second, verify.NotYet},
			{"iat in 1 s", "iat", time.Second, 0},
			{"iat in skew", "iat", skew, 0},
			{"iat in skew + 1 s", "iat", skew + time.Second, verify.NotYet},
		} {
			t.Run(fmt.Sprintf("JOSE-15 RS04/%s/memo %d", c.name, memo), func(t *testing.T) {
				token := es.token(claims(with("exp", noon.Add(time.Hour).Unix()), with(c.claim, noon.Add(c.at).Unix())))
				for range 2 {
					_, err := v.Verify(t.Context(), token, noon)
					if c.want == 0 && err != nil {
						t.Fatal(err)
					}
					if c.want != 0 {
						wantKind(t, err, c.want)
					}
				}
			})
		}
	}
}

// TestLargeInputsAreCheap is JOSE-10 for the process: no input takes long or
// much memory before it is refused.
func TestLargeInputsAreCheap(t *testing.T) {
	t.Run("JOSE-10", func(t *testing.T) {
		es := newMint(t, "es-1", "ES256")
		v := newVerifier(t, verify.Config{Keys: keySet(t, es), Memo: 16})
		guard, err := verify.NewGuard(verify.GuardConfig{Tokens: v})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(guard.Protect(verify.Need{}, http.NotFoundHandler()))
		defer server.Close()

		huge := []string{
			strings.Repeat(".", 1<<20), strings.Repeat("a", 10<<20), es.sign(es.header(), strings.Repeat("[", 100_000)),
			b64([]byte(`{"alg":"ES256","kid":"`+strings.Repeat("k", 5000)+`","typ":"at+jwt"}`)) + ".e30.AAAA",
			b64([]byte(strings.Repeat("[", 6000))) + ".e30.AAAA",
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		const rounds = 1000
		for range rounds {
			for _, token := range huge {
				_, err := v.Verify(t.Context(), token, noon)
				if err == nil {
					t.Fatal("accepted")
				}
			}
		}
		each := time.Since(start) / time.Duration(rounds*len(huge))
		runtime.ReadMemStats(&after)
		if each > 5*time.Millisecond {
			t.Errorf("%v for one refusal", each)
		}
		if grown := (after.TotalAlloc - before.TotalAlloc) / (rounds * uint64(len(huge))); grown > 64<<10 {
			t.Errorf("%d bytes allocated for one refusal", grown)
		}

		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				req, _ := http.NewRequest("GET", server.URL, nil)
				req.Header.Set("Authorization", "Bearer "+huge[0])
				resp, err := server.Client().Do(req)
				if err != nil {
					return // net/http may cut the connection: that is a refusal too
				}
				resp.Body.Close()
				if resp.StatusCode != 431 && resp.StatusCode != 401 {
					t.Errorf("a megabyte of dots: %d", resp.StatusCode)
				}
			})
		}
		wg.Wait()
	})
}

// TestSameAnswerForEveryKid is the black-box half of JOSE-06.
func TestSameAnswerForEveryKid(t *testing.T) {
	t.Run("JOSE-06", func(t *testing.T) {
		es := newMint(t, "es-1", "ES256")
		guard, err := verify.NewGuard(verify.GuardConfig{Tokens: newVerifier(t, verify.Config{Keys: keySet(t, es)})})
		if err != nil {
			t.Fatal(err)
		}
		h := guard.Protect(verify.Need{}, http.NotFoundHandler())
		answers := map[string]bool{}
		for _, kid := range hostileNames() {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+es.sign(fmt.Sprintf(`{"alg":"ES256","kid":%s,"typ":"at+jwt"}`, marshal(kid)), `{}`))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answers[fmt.Sprint(w.Code, w.Header(), w.Body)] = true
		}
		if len(answers) != 1 {
			t.Errorf("%d different answers: %v", len(answers), answers)
		}
	})
}
