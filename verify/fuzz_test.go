package verify_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"holdfast.example/verify"
)

// minted is what our own encoder writes: one spelling of the claims.
type minted struct {
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  []string        `json:"aud"`
	ClientID  string          `json:"client_id"`
	ID        string          `json:"jti"`
	IssuedAt  json.Number     `json:"iat"`
	Expires   json.Number     `json:"exp"`
	NotBefore json.Number     `json:"nbf,omitempty"`
	Scope     string          `json:"scope,omitempty"`
	Session   string          `json:"sid,omitempty"`
	ACR       string          `json:"acr,omitempty"`
	AMR       []string        `json:"amr,omitempty"`
	AuthTime  json.Number     `json:"auth_time,omitempty"`
	Epoch     int64           `json:"epoch,omitempty"`
	Grant     string          `json:"grant,omitempty"`
	CNF       json.RawMessage `json:"cnf,omitempty"`
}

// FuzzParse signs any header and payload with a trusted key. What is accepted
// must be what our own encoder would mint: written again by it, the token
// verifies to the same claims, and encoding/json reads the same out of it.
func FuzzParse(f *testing.F) {
	found, err := filepath.Glob("testdata/fuzz/FuzzParse/*")
	if err != nil || len(found) < 10 {
		f.Fatalf("%d committed seeds (%v)", len(found), err)
	}
	ed := newMint(f, "ed-1", "Ed25519")
	v := newVerifier(f, verify.Config{Keys: keySet(f, ed), Memo: 64, Bound: true})

	f.Fuzz(func(t *testing.T, header, payload string) {
		token := ed.sign(header, payload)
		c, err := v.Verify(t.Context(), token, noon)
		again, errAgain := v.Verify(t.Context(), token, noon)
		if (err == nil) != (errAgain == nil) {
			t.Fatalf("first %v, then %v", err, errAgain)
		}
		if err != nil {
			if verify.KindOf(err) == verify.Unready {
				t.Fatalf("a fixed key set cannot be unready: %v", err)
			}
			return
		}
		sameClaims(t, c, again)

		var std map[string]any
		err = json.Unmarshal([]byte(payload), &std)
		if err != nil {
			t.Fatalf("encoding/json refuses an accepted payload: %v", err)
		}
		if std["sub"] != c.Subject || std["iss"] != issuer || std["jti"] != c.ID || std["client_id"] != c.ClientID {
			t.Fatalf("read %+v; encoding/json read %v", c, std)
		}
		if c.Subject == "" || c.ID == "" || !slices.Contains(c.Audience, audience) || !noon.Before(c.Expires.Add(verify.DefaultSkew)) {
			t.Fatalf("accepted %+v", c)
		}

		ours := ed.sign(ed.header(), string(marshal(minted{
			Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience, ClientID: c.ClientID, ID: c.ID,
			IssuedAt: asRead(c.IssuedAt, std["iat"]), Expires: asRead(c.Expires, std["exp"]), NotBefore: asRead(c.NotBefore, std["nbf"]),
			Scope: c.Scope, Session: c.Session, ACR: c.ACR, AMR: c.AMR, AuthTime: asRead(c.AuthTime, std["auth_time"]),
			Epoch: c.Epoch, Grant: c.Grant, CNF: json.RawMessage(c.Confirmation),
		})))
		if len(ours) > verify.MaxToken {
			return // the same text, escaped more, is over the limit
		}
		remade, err := v.Verify(t.Context(), ours, noon)
		if err != nil {
			t.Fatalf("our own spelling of accepted claims is refused: %v\n%s", err, payload)
		}
		c.Confirmation, remade.Confirmation = compact(c.Confirmation), compact(remade.Confirmation)
		sameClaims(t, c, remade)
	})
}

// asRead writes a time as encoding/json read it, whatever its fraction.
func asRead(at time.Time, read any) json.Number {
	if at.IsZero() {
		return ""
	}
	return json.Number(marshal(read))
}

func compact(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return ""
	}
	return string(marshal(v))
}

func sameClaims(t *testing.T, a, b *verify.Claims) {
	t.Helper()
	same := a.Issuer == b.Issuer && a.Subject == b.Subject && slices.Equal(a.Audience, b.Audience) && a.ClientID == b.ClientID && a.ID == b.ID &&
		a.Scope == b.Scope && a.Session == b.Session && a.Expires.Equal(b.Expires) && a.IssuedAt.Equal(b.IssuedAt) && a.NotBefore.Equal(b.NotBefore) &&
		a.ACR == b.ACR && slices.Equal(a.AMR, b.AMR) && a.AuthTime.Equal(b.AuthTime) && a.Epoch == b.Epoch && a.Grant == b.Grant &&
		a.Confirmation == b.Confirmation && a.KeyID == b.KeyID
	if !same {
		t.Fatalf("%+v\nand\n%+v", a, b)
	}
}
