package token

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"holdfast.example/internal/secret"
)

// dressHeader is {"alg":"HS256","typ":"rt+jwt"}, the constant header of every
// refresh token in JWT dress.
var dressHeader = b64.EncodeToString([]byte(`{"alg":"HS256","typ":"rt+jwt"}`))

// dressID is a stable id for one refresh token that does not contain it.
func dressID(t secret.Text) string {
	sum := sha256.Sum256([]byte("jti " + t.Reveal()))
	return hex.EncodeToString(sum[:16])
}

// object appends a JSON object member by member, in the order of the calls. It
// writes what our tokens need and nothing more.
type object []byte

func newObject() object { return append(make([]byte, 0, 768), '{') }

func (o *object) name(n string) {
	if len(*o) > 1 {
		*o = append(*o, ',')
	}
	*o = append(*o, '"')
	*o = append(*o, n...)
	*o = append(*o, '"', ':')
}

// text writes a string member; an empty one is left out.
func (o *object) text(n, v string) {
	if v != "" {
		o.name(n)
		*o = appendString(*o, v)
	}
}

// integer writes a number member.
func (o *object) integer(n string, v int64) {
	o.name(n)
	*o = strconv.AppendInt(*o, v, 10)
}

// seconds writes a NumericDate member (RFC 7519 section 2); a zero time is left out.
func (o *object) seconds(n string, t time.Time) {
	if !t.IsZero() {
		o.integer(n, t.Unix())
	}
}

// list writes an array of strings; an empty one is left out.
func (o *object) list(n string, vs []string) {
	if len(vs) == 0 {
		return
	}
	o.name(n)
	for i, v := range vs {
		*o = append(*o, "[,"[min(i, 1)])
		*o = appendString(*o, v)
	}
	*o = append(*o, ']')
}

func (o *object) close() []byte { return append(*o, '}') }

// appendString appends s as a JSON string. Nearly all our strings are plain
// ASCII and need no encoder.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			enc, _ := json.Marshal(s) // a string always encodes
			return append(b, enc...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// boolean writes a member that is never left out.
func (o *object) boolean(n string, v bool) {
	o.name(n)
	*o = strconv.AppendBool(*o, v)
}
