package key

import (
	"crypto/aes"

	"holdfast.example/internal/id"
)

// sidLength is 16 bytes in base64url without padding.
const sidLength = 22

// SID is the outside name of a session (OIDC Front-Channel Logout section 3,
// "sid"): the id encrypted as one AES-256 block. It is always the same for a
// session, leads the server back to the row, and tells nobody else anything
// (docs/adr/0009).
func (r *Ring) SID(s id.Session) string {
	b := make([]byte, id.Size, id.Size+sidLength)
	r.live.Load().name.Encrypt(b, s[:])
	return string(b64.AppendEncode(b[id.Size:], b[:id.Size]))
}

// Session reads a sid back. Every well-formed sid gives some id, whether or
// not a session has it: a sid is a name and proves nothing. There is one
// spelling of each.
func (r *Ring) Session(sid string) (s id.Session, ok bool) {
	if len(sid) != sidLength {
		return id.Session{}, false
	}
	b, err := b64.DecodeString(sid)
	if err != nil || len(b) != aes.BlockSize {
		return id.Session{}, false // a line break, which the decoder skips, makes it shorter
	}
	r.live.Load().name.Decrypt(b, b)
	return id.Session(b), true
}
