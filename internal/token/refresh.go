package token

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
)

// A refresh token is a sealed counter (design.md section 3), in fixed-width
// big-endian fields:
//
//	version 1 | key id 4 | session 16 | generation 4 | issued, ms 6 | seal 20 | check 6
//
// 57 bytes, so that base64url has no spare bits and no second spelling. The
// prefix lets secret scanners find a leaked one. The seal also covers the
// session's own secret, which only the database knows; the check needs no
// database and turns garbage away before any query.
const (
	// RefreshPrefix opens every refresh token in its string dress.
	RefreshPrefix = "hfr_"

	refreshVersion = 1
	sealSize       = 20 // 160 bits kept of HMAC-SHA-256
	checkSize      = 6
	fieldSize      = 1 + 4 + id.Size + 4 + 6
	refreshSize    = fieldSize + sealSize + checkSize

	// RefreshLength is the length of the string dress.
	RefreshLength = len(RefreshPrefix) + refreshSize/3*4
	// MaxJWTDress bounds the JWT dress before anything is decoded.
	MaxJWTDress = 2048
)

// Refresh is an opened refresh token. The check was right; whether the seal is,
// only Genuine can tell, with the session's secret.
type Refresh struct {
	Session    id.Session
	Generation uint32
	// IssuedAt is in whole milliseconds.
	IssuedAt time.Time
	KeyID    uint32

	seal [sealSize]byte
}

// Refreshes encodes and decodes refresh tokens with the keys of a ring.
type Refreshes struct{ Keys SealKeys }

// SealKeys is the part of key.Ring that refresh tokens need.
type SealKeys interface {
	// SealKey is the key new tokens are sealed with.
	SealKey() key.SealKey
	// SealKeyByID also finds retired keys.
	SealKeyByID(n uint32) (key.SealKey, bool)
	CatchUp
}

// Encode seals one generation of one session. The same arguments give the same
// string while the sealing key stays.
func (c Refreshes) Encode(s id.Session, own [16]byte, generation uint32, issuedAt time.Time) secret.Text {
	k := c.Keys.SealKey()
	var b [refreshSize]byte
	b[0] = refreshVersion
	binary.BigEndian.PutUint32(b[1:], k.ID)
	copy(b[5:], s[:])
	binary.BigEndian.PutUint32(b[21:], generation)
	putMillis(b[25:31], issuedAt)
	seal := sealOf(k, b[:fieldSize], own)
	copy(b[fieldSize:], seal[:])
	check := k.MAC(key.UseCheck, b[:fieldSize+sealSize])
	copy(b[fieldSize+sealSize:], check[:checkSize])
	return secret.New(RefreshPrefix + b64.EncodeToString(b[:]))
}

// Open is Decode for a server that has company: a token sealed under a key that
// this node has not heard of is no garbage before the store was asked for it. The
// error is ErrNotOurs, or a *fault.Error of kind Unavailable when nobody can tell.
func (c Refreshes) Open(ctx context.Context, t secret.Text) (Refresh, error) {
	return again(ctx, c.Keys, func() (Refresh, error) { return c.Decode(t) })
}

// Decode opens a refresh token in either dress with the keys held here. ErrNotOurs
// for anything else; there is exactly one accepted spelling of each token.
func (c Refreshes) Decode(t secret.Text) (Refresh, error) {
	s := t.Reveal()
	if Dressed(t) {
		inner, err := c.undress(s)
		if err != nil {
			return Refresh{}, err
		}
		s = inner
	}
	if len(s) != RefreshLength || !strings.HasPrefix(s, RefreshPrefix) {
		return Refresh{}, ErrNotOurs
	}
	var b [refreshSize]byte
	n, err := b64.Decode(b[:], []byte(s[len(RefreshPrefix):]))
	if err != nil || n != refreshSize || b[0] != refreshVersion {
		return Refresh{}, ErrNotOurs
	}
	if b64.EncodeToString(b[:]) != s[len(RefreshPrefix):] {
		return Refresh{}, ErrNotOurs // the decoder skips line breaks
	}
	named := binary.BigEndian.Uint32(b[1:])
	k, ok := c.Keys.SealKeyByID(named)
	if !ok {
		return Refresh{}, unknownKey{named}
	}
	check := k.MAC(key.UseCheck, b[:fieldSize+sealSize])
	if subtle.ConstantTimeCompare(check[:checkSize], b[fieldSize+sealSize:]) != 1 {
		return Refresh{}, ErrNotOurs
	}
	r := Refresh{
		KeyID:      k.ID,
		Session:    id.Session(b[5:21]),
		Generation: binary.BigEndian.Uint32(b[21:]),
		IssuedAt:   millis(b[25:31]),
	}
	copy(r.seal[:], b[fieldSize:])
	return r, nil
}

// Genuine reports whether the seal is right for the session's own secret.
func (c Refreshes) Genuine(r Refresh, own [16]byte) bool {
	k, ok := c.Keys.SealKeyByID(r.KeyID)
	if !ok {
		return false
	}
	var b [fieldSize]byte
	b[0] = refreshVersion
	binary.BigEndian.PutUint32(b[1:], r.KeyID)
	copy(b[5:], r.Session[:])
	binary.BigEndian.PutUint32(b[21:], r.Generation)
	putMillis(b[25:31], r.IssuedAt)
	seal := sealOf(k, b[:], own)
	return subtle.ConstantTimeCompare(seal[:], r.seal[:]) == 1
}

// sealOf is the seal over the fields and the session's own secret. The label
// is part of the key's use, the fields are fixed-width, so no two inputs meet.
func sealOf(k key.SealKey, fields []byte, own [16]byte) (seal [sealSize]byte) {
	var b [fieldSize + len(own)]byte
	copy(b[:], fields)
	copy(b[fieldSize:], own[:])
	mac := k.MAC(key.UseSeal, b[:])
	copy(seal[:], mac[:])
	return seal
}

// putMillis writes t as 48 bits of milliseconds: until the year 10889.
func putMillis(b []byte, t time.Time) {
	ms := uint64(t.UnixMilli())
	binary.BigEndian.PutUint16(b, uint16(ms>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(ms))
}

func millis(b []byte) time.Time {
	ms := uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))
	return time.UnixMilli(int64(ms)).UTC()
}

// DressClaims are what a client that decodes its refresh token wants to read.
// They are for its eyes only: no decision rests on them.
type DressClaims struct {
	Subject   string
	ExpiresAt time.Time // zero for none
	// UserID becomes user_id; 0 leaves it out.
	UserID int64
}

// Dress wraps a refresh token in a JWT for clients that decode theirs. The JWT
// carries the sealed string as its "rt" claim and is authenticated with a
// use of the sealing key of its own; no verifier outside the house can or
// should check it, and typ rt+jwt keeps it from passing as anything else
// (RFC 8725 section 3.11). Equal arguments give equal JWTs.
func (c Refreshes) Dress(t secret.Text, r Refresh, claims DressClaims) secret.Text {
	k, ok := c.Keys.SealKeyByID(r.KeyID)
	if !ok {
		k = c.Keys.SealKey()
	}
	o := newObject()
	o.text("token_type", "refresh")
	o.seconds("exp", claims.ExpiresAt)
	o.seconds("iat", r.IssuedAt)
	o.text("jti", dressID(t))
	if claims.UserID != 0 {
		o.integer("user_id", claims.UserID)
	}
	o.text("sub", claims.Subject)
	o.text("rt", t.Reveal())
	input := dressHeader + "." + b64.EncodeToString(o.close())
	mac := k.MAC(key.UseDress, []byte(input))
	return secret.New(input + "." + b64.EncodeToString(mac[:]))
}

// undress checks the JWT dress and returns the sealed string inside.
func (c Refreshes) undress(s string) (string, error) {
	if len(s) > MaxJWTDress {
		return "", ErrNotOurs
	}
	header, rest, _ := strings.Cut(s, ".")
	payload, sig, _ := strings.Cut(rest, ".")
	if header != dressHeader {
		return "", ErrNotOurs
	}
	body, err := b64.DecodeString(payload)
	if err != nil {
		return "", ErrNotOurs
	}
	// The token is the last claim; its own check says which key to ask.
	_, after, found := strings.Cut(string(body), `,"rt":"`)
	inner, ok := strings.CutSuffix(after, `"}`)
	if !found || !ok {
		return "", ErrNotOurs
	}
	r, err := c.Decode(secret.New(inner))
	if err != nil {
		return "", err
	}
	k, ok := c.Keys.SealKeyByID(r.KeyID)
	if !ok {
		return "", ErrNotOurs
	}
	mac := k.MAC(key.UseDress, []byte(header+"."+payload))
	// Comparing the text also compares the spelling.
	if subtle.ConstantTimeCompare([]byte(b64.EncodeToString(mac[:])), []byte(sig)) != 1 {
		return "", ErrNotOurs
	}
	return inner, nil
}
