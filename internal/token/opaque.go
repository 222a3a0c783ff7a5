package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

const (
	// OpaquePrefix opens every opaque access token.
	OpaquePrefix = "hfa_"
	// MaxOpaque bounds what follows the prefix, in characters, before anything is
	// decoded.
	MaxOpaque = 4096
	// opaqueUse keeps an access token apart from everything else that is sealed under
	// the same key, and says how it is written. Its number changes with the writing.
	opaqueUse = "hfa1"
	// issuerSize is how much of the hash of its issuer a token has: enough to tell
	// the issuers that one house ever had.
	issuerSize = 8
)

// Opaque seals an access token: the server reads it back from the string
// itself, and nothing is stored. It is written tightly, because some of those who
// keep our tokens have room for 255 characters (the tables of django-oauth-toolkit);
// long scopes and audiences can make it longer. The error is ErrTooLong.
func (m Minter) Opaque(a Access) (secret.Text, error) {
	text := b64.EncodeToString(m.Keys.SealOpaque(m.tight(a)))
	if len(text) > MaxOpaque {
		return secret.Text{}, ErrTooLong
	}
	return secret.New(OpaquePrefix + text), nil
}

// OpenOpaque reads an opaque access token back. ErrNotOurs when it is not one;
// its times are not checked. What only a JWT tells (EdX, Pair) is not in it.
func (m Minter) OpenOpaque(t secret.Text) (Access, error) {
	plain, err := m.unsealed(t, OpaquePrefix)
	if err != nil {
		return Access{}, err
	}
	return m.loosen(plain)
}

// unsealed is what was sealed in a text with a prefix: ErrNotOurs for any other text,
// and for another spelling of ours.
func (m Minter) unsealed(t secret.Text, prefix string) ([]byte, error) {
	s, ok := strings.CutPrefix(t.Reveal(), prefix)
	if !ok || len(s) > MaxOpaque {
		return nil, ErrNotOurs
	}
	sealed, err := b64.DecodeString(s)
	if err != nil || b64.EncodeToString(sealed) != s {
		return nil, ErrNotOurs
	}
	plain, ok := m.Keys.OpenOpaque(sealed)
	if ok {
		return plain, nil
	}
	if n := m.Keys.UnknownOpaque(sealed); n != 0 {
		return nil, unknownKey{n}
	}
	return nil, ErrNotOurs
}

// Whose the subject of an opaque token is.
const (
	subjectText   = 0
	subjectUser   = 1 // an id.User, in its bytes
	subjectClient = 2 // the client itself
)

// tight writes what an opaque token says. Times are whole seconds, all but the first
// told by how far they are from it.
func (m Minter) tight(a Access) []byte {
	b := append(make(packed, 0, 256), opaqueUse...)
	b = append(b, m.issuerSum()...)
	b.number(a.IssuedAt.Unix())
	b.number(a.Expires.Unix() - a.IssuedAt.Unix())
	b.text(a.ID)
	b.text(string(a.Client))
	u, err := id.ParseUser(a.Subject)
	switch {
	case err == nil:
		b = append(append(b, subjectUser), u[:]...)
	case a.Subject == string(a.Client):
		b = append(b, subjectClient)
	default:
		b = append(b, subjectText)
		b.text(a.Subject)
	}
	b.number(int64(len(a.Audience)))
	for _, aud := range a.Audience {
		if aud == m.Issuer {
			aud = "" // no audience is empty
		}
		b.text(aud)
	}
	b.words(a.Scope)
	b.text(a.SID)
	if a.SID == "" {
		return b
	}
	b.number(int64(a.Epoch))
	b.text(a.Grant)
	b.text(a.ACR)
	b.words(strings.Join(a.AMR, " "))
	if !a.AuthTime.IsZero() {
		b.number(a.IssuedAt.Unix() - a.AuthTime.Unix())
	}
	return b
}

// loosen reads what tight wrote.
func (m Minter) loosen(plain []byte) (Access, error) {
	rest, ok := bytes.CutPrefix(plain, append([]byte(opaqueUse), m.issuerSum()...))
	if !ok {
		return Access{}, ErrNotOurs
	}
	p := unpacked{rest: rest}
	iat := p.number()
	a := Access{IssuedAt: time.Unix(iat, 0).UTC(), Expires: time.Unix(iat+p.number(), 0).UTC(), ID: p.text(), Client: id.Client(p.text())}
	switch p.byte() {
	case subjectUser:
		a.Subject = id.User(p.bytes(id.Size)).String()
	case subjectClient:
		a.Subject = string(a.Client)
	case subjectText:
		a.Subject = p.text()
	default:
		p.bad = true
	}
	for range min(p.number(), int64(len(p.rest))) { // each has a byte at least
		aud := p.text()
		if aud == "" {
			aud = m.Issuer
		}
		a.Audience = append(a.Audience, aud)
	}
	a.Scope, a.SID = p.words(), p.text()
	if a.SID != "" {
		a.Epoch, a.Grant, a.ACR = uint32(p.number()), p.text(), p.text()
		if amr := p.words(); amr != "" {
			a.AMR = strings.Split(amr, " ")
		}
		if len(p.rest) > 0 {
			a.AuthTime = time.Unix(iat-p.number(), 0).UTC()
		}
	}
	if p.bad || len(p.rest) > 0 {
		return Access{}, ErrNotOurs
	}
	return a, nil
}

func (m Minter) issuerSum() []byte {
	sum := sha256.Sum256([]byte(m.Issuer))
	return sum[:issuerSize]
}

// packed is a text being written: numbers are varints, strings have their length
// before them.
type packed []byte

func (b *packed) number(n int64) { *b = binary.AppendVarint(*b, n) }

// A string begins with a varint whose lowest bits say what follows.
const (
	asBytes  = 0 // so many bytes of the string
	asBase64 = 1 // so many bytes, which the string is the base64url of
	asWord   = 2 // nothing: it is the string of that place in common
	kindBits = 2
)

// common are strings that many tokens say. A token in the field names them by their
// place, so the list only grows at its end.
var common = []string{
	"openid", "profile", "email", "offline_access", "read", "write", "introspect", "introspection", "user_id", "address", "phone",
	"aal1", "pwd", "fed", "password", "client_credentials", "token_exchange", "authorization_code", "device_code",
	"webview", "visit", "sliding", "drf-jwt", "grades:read", "certificates:read", "revocations.read", "aal2", "mfa", "otp",
}

// places is where each of them is.
var places = func() map[string]int {
	m := make(map[string]int, len(common))
	for i, w := range common {
		m[w] = i
	}
	return m
}()

func (b *packed) text(s string) {
	if i, ok := places[s]; ok {
		*b = binary.AppendUvarint(*b, uint64(i)<<kindBits|asWord)
		return
	}
	if raw, err := b64.DecodeString(s); err == nil && len(raw) < len(s) && b64.EncodeToString(raw) == s {
		*b = append(binary.AppendUvarint(*b, uint64(len(raw))<<kindBits|asBase64), raw...)
		return
	}
	*b = append(binary.AppendUvarint(*b, uint64(len(s))<<kindBits|asBytes), s...)
}

// words writes what single spaces divide.
func (b *packed) words(s string) {
	all := strings.Split(s, " ")
	b.number(int64(len(all)))
	for _, w := range all {
		b.text(w)
	}
}

// unpacked is one being read. bad says that something was not there; what is read
// afterwards is empty.
type unpacked struct {
	rest []byte
	bad  bool
}

func (p *unpacked) number() int64 {
	n, size := binary.Varint(p.rest)
	p.bad = p.bad || size <= 0
	p.bytes(size)
	return n
}

func (p *unpacked) text() string {
	n, size := binary.Uvarint(p.rest)
	p.bad = p.bad || size <= 0
	p.bytes(size)
	kind, n := n&(1<<kindBits-1), n>>kindBits
	switch {
	case p.bad:
	case kind == asWord && n < uint64(len(common)):
		return common[n]
	case kind == asBytes && n <= uint64(len(p.rest)):
		return string(p.bytes(int(n)))
	case kind == asBase64 && n <= uint64(len(p.rest)):
		return b64.EncodeToString(p.bytes(int(n)))
	}
	p.bad = true
	return ""
}

func (p *unpacked) words() string {
	var all []string
	for range min(p.number(), int64(len(p.rest))) {
		all = append(all, p.text())
	}
	return strings.Join(all, " ")
}

func (p *unpacked) byte() byte { return p.bytes(1)[0] }

// bytes takes n bytes; so many zeros when they are not there.
func (p *unpacked) bytes(n int) []byte {
	if n < 0 || n > len(p.rest) || p.bad {
		p.bad, p.rest = true, nil
		return make([]byte, max(n, 1))
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}
