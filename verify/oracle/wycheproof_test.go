package oracle

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/c2sp/wycheproof"

	"holdfast.example/verify"
	"holdfast.example/verify/internal/jose"
)

func load(t *testing.T, name string, into any) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	err = json.Unmarshal(text, into)
	if err != nil {
		t.Fatal(err)
	}
}

// joseFile is the shape of the JWS, JWK and mixed vector files.
type joseFile struct {
	NumberOfTests int
	TestGroups    []struct {
		Comment         string
		Public, Private map[string]any
		Tests           []struct {
			TcID     int
			Comment  string
			JWS, JWE token
			Result   string
			Flags    []string
		}
	}
}

// token is a JWS or JWE. A few vectors are in JSON serialization: they are
// shown to us as that text.
type token string

func (k *token) UnmarshalJSON(text []byte) error {
	var compact string
	if json.Unmarshal(text, &compact) != nil {
		compact = string(text)
	}
	*k = token(compact)
	return nil
}

// publicJWKs returns the keys of a group as a JWK set would publish them: the
// files give private keys, and we refuse a document that does.
func publicJWKs(group map[string]any) []map[string]any {
	list, isSet := group["keys"].([]any)
	if !isSet {
		list = []any{group}
	}
	var keys []map[string]any
	for _, k := range list {
		public := map[string]any{}
		for name, value := range k.(map[string]any) {
			switch name {
			case "d", "p", "q", "dp", "dq", "qi":
			default:
				public[name] = value
			}
		}
		keys = append(keys, public)
	}
	return keys
}

// checkJWS does what verify does before it looks at claims: the key is chosen
// by kid, its own algorithm decides, and the header must name the same.
func checkJWS(keys []map[string]any, token string) error {
	byID := map[string]*jose.PublicKey{}
	for _, k := range keys {
		text, err := json.Marshal(map[string]any{"key": k})
		if err != nil {
			return err
		}
		err = jose.Members(string(text), func(_ string, v jose.Value) error {
			id, key, err := jose.ParseJWK(v)
			if err == nil {
				byID[id] = key
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	parts, err := jose.Split(token)
	if err != nil {
		return err
	}
	header, err := jose.ParseHeader(parts.Header)
	if err != nil {
		return err
	}
	key := byID[header.KeyID]
	if key == nil || key.Algorithm() != header.Algorithm {
		return errors.New("no such key for this algorithm")
	}
	signature, err := jose.Decode(parts.Signature)
	if err != nil {
		return err
	}
	_, err = jose.Decode(parts.Payload)
	if err != nil {
		return err
	}
	if !key.Verify([]byte(parts.Signed), signature) {
		return errors.New("the signature is not valid")
	}
	return nil
}

// allOurs reports whether we support the algorithm of every key: a valid
// vector for another one must be refused, as a symmetric or unknown key.
func allOurs(keys []map[string]any) bool {
	for _, k := range keys {
		alg, _ := k["alg"].(string)
		if !jose.Supported(alg) {
			return false
		}
	}
	return true
}

// TestWycheproofJOSE is JW11 for JWS, JWK and mixed vectors.
func TestWycheproofJOSE(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		t.Run("JW11/"+name, func(t *testing.T) {
			var file joseFile
			load(t, name, &file)
			total, accepted, foreign := 0, 0, 0
			for _, group := range file.TestGroups {
				source := group.Public
				if source == nil {
					source = group.Private
				}
				keys := publicJWKs(source)
				for _, c := range group.Tests {
					total++
					err := checkJWS(keys, string(c.JWS+c.JWE)) // each vector has one of them
					where := fmt.Sprintf("%s, tc %d (%s) %v", group.Comment, c.TcID, c.Comment, c.Flags)
					switch {
					case c.Result == "valid" && allOurs(keys):
						accepted++
						if err != nil {
							t.Errorf("%s: refused: %v", where, err)
						}
					case c.Result == "valid":
						foreign++
						if err == nil {
							t.Errorf("%s: accepted with an algorithm that is not ours", where)
						}
					case err == nil:
						t.Errorf("%s: accepted", where)
					}
				}
			}
			if total != file.NumberOfTests || total == 0 {
				t.Errorf("%d of %d vectors run", total, file.NumberOfTests)
			}
			t.Logf("%d vectors: %d valid ones accepted, %d valid ones of other algorithms and %d invalid ones refused", total, accepted, foreign, total-accepted-foreign)
		})
	}
}

// TestWycheproofJWE is JOSE-18: whatever is encrypted is refused, valid or
// not, before anything is decrypted.
func TestWycheproofJWE(t *testing.T) {
	t.Run("JOSE-18", func(t *testing.T) {
		var file joseFile
		load(t, "json_web_encryption_test.json", &file)
		v, err := verify.New(verify.Config{Issuer: "i", Audience: "a", Keys: &verify.KeySet{}})
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, group := range file.TestGroups {
			for _, c := range group.Tests {
				total++
				_, err := v.Verify(t.Context(), string(c.JWE), time.Unix(0, 0))
				if err == nil {
					t.Errorf("tc %d accepted", c.TcID)
				}
			}
		}
		if total != file.NumberOfTests || total == 0 {
			t.Errorf("%d of %d vectors run", total, file.NumberOfTests)
		}
	})
}

// signatureFile is the shape of the vector files of the primitives.
type signatureFile struct {
	NumberOfTests int
	TestGroups    []struct {
		PublicKey    struct{ Uncompressed, Pk string }
		PublicKeyDer string
		Tests        []struct {
			TcID                      int
			Comment, Msg, Sig, Result string
		}
	}
}

// TestWycheproofSignatures is JW11 for the primitives, through the code that
// checks the signature of a token.
func TestWycheproofSignatures(t *testing.T) {
	for name, alg := range map[string]string{
		"ecdsa_secp256r1_sha256_p1363_test.json": jose.ES256,
		"ed25519_test.json":                      jose.Ed25519,
		"rsa_signature_2048_sha256_test.json":    jose.RS256,
		"rsa_signature_3072_sha256_test.json":    jose.RS256,
		"rsa_signature_4096_sha256_test.json":    jose.RS256,
		"rsa_signature_2048_sha512_test.json":    jose.RS512,
	} {
		t.Run("JW11/"+name, func(t *testing.T) {
			var file signatureFile
			load(t, name, &file)
			total, accepted := 0, 0
			for _, group := range file.TestGroups {
				var public any
				var err error
				switch alg {
				case jose.ES256:
					public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, group.PublicKey.Uncompressed))
				case jose.Ed25519:
					public = ed25519.PublicKey(unhex(t, group.PublicKey.Pk))
				default:
					public, err = x509.ParsePKIXPublicKey(unhex(t, group.PublicKeyDer))
					if _, isRSA := public.(*rsa.PublicKey); err == nil && !isRSA {
						t.Fatalf("a %T", public)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				key, err := jose.NewPublicKey(alg, public)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range group.Tests {
					total++
					ok := key.Verify(unhex(t, c.Msg), unhex(t, c.Sig))
					if ok {
						accepted++
					}
					// "acceptable" leaves the choice to the verifier.
					if c.Result != "acceptable" && ok != (c.Result == "valid") {
						t.Errorf("tc %d (%s): accepted %v, the vector is %s", c.TcID, c.Comment, ok, c.Result)
					}
				}
			}
			if total != file.NumberOfTests || accepted == 0 {
				t.Errorf("%d of %d vectors run, %d accepted", total, file.NumberOfTests, accepted)
			}
			t.Logf("%d vectors, %d accepted", total, accepted)
		})
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
