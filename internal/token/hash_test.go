package token_test

import (
	"crypto/sha256"
	"encoding/base64"
)

var b64 = base64.RawURLEncoding

// atHash is at_hash for ES256, written a second time from OIDC Core section 3.1.3.6.
func atHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return b64.EncodeToString(sum[:16])
}
