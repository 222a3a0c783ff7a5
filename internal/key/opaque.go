package key

import (
	"crypto/cipher"
	"encoding/binary"
)

// A sealed opaque token is, in bytes:
//
//	version 1 | key id 4 | nonce 12 | encrypted | tag 16
const (
	opaqueVersion  = 1
	opaqueHeader   = 1 + 4
	opaqueOverhead = opaqueHeader + 12 + 16
)

// opaqueKey is one key of opaque access tokens.
type opaqueKey struct {
	id   uint32
	aead cipher.AEAD
}

// SealOpaque encrypts and authenticates what an opaque access token says, under
// the current key. It adds 33 bytes.
func (r *Ring) SealOpaque(plain []byte) []byte {
	k := r.live.Load().opaque
	b := append(make([]byte, 0, opaqueOverhead+len(plain)), opaqueVersion)
	b = binary.BigEndian.AppendUint32(b, k.id)
	return k.aead.Seal(b, nil, plain, b[:opaqueHeader])
}

// OpenOpaque reads what SealOpaque wrote, under the key that it names; false
// for everything else. Whether it has expired is for the reader of plain to
// see: a retired key stays for as long as a token of its may be good.
func (r *Ring) OpenOpaque(sealed []byte) (plain []byte, ok bool) {
	n, ok := opaqueID(sealed)
	if !ok {
		return nil, false
	}
	k, ok := r.live.Load().opaques[n]
	if !ok {
		return nil, false
	}
	plain, err := k.aead.Open(nil, nil, sealed[opaqueHeader:], sealed[:opaqueHeader])
	return plain, err == nil
}

// opaqueID reads which key a sealed opaque token names.
func opaqueID(sealed []byte) (uint32, bool) {
	if len(sealed) < opaqueOverhead || sealed[0] != opaqueVersion {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}
