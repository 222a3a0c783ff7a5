// Package cursor owns the marks that JSON lists give out to be asked for their
// next page with: sealed, so that nobody can make one, read one, or use one on
// another list.
//
// It does not own what a place in a list is (the doors write it) nor the keys
// (room key).
package cursor

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"holdfast.example/internal/fault"
)

// Keys is the part of key.Ring that cursors need.
type Keys interface {
	SealOpaque(plain []byte) []byte
	OpenOpaque(sealed []byte) (plain []byte, ok bool)
}

// Max is the longest cursor, in bytes.
const Max = 512

// label keeps cursors apart from everything else that is sealed under the same
// keys: no access token begins with it.
const label = "holdfast cursor 1\x00"

var b64 = base64.RawURLEncoding.Strict()

// Seal makes the cursor of a place in a list. The name of the list holds all
// that a page depends on, the caller above all: a cursor is good there and
// nowhere else. Name and place together have at most 250 bytes.
func Seal(k Keys, list string, place []byte) string {
	b := binary.BigEndian.AppendUint16([]byte(label), uint16(len(list)))
	b = append(append(b, list...), place...)
	return b64.EncodeToString(k.SealOpaque(b))
}

// Open reads a cursor of a list. The error is a *fault.Error of kind
// InvalidRequest, one and the same for every cursor that is not of this list.
func Open(k Keys, list, cursor string) (place []byte, err error) {
	refused := fault.New(fault.InvalidRequest, "cursor is not the next_cursor of this list; begin again without it")
	if len(cursor) > Max {
		return nil, refused
	}
	sealed, err := b64.DecodeString(cursor)
	if err != nil || b64.EncodeToString(sealed) != cursor { // the decoder skips line breaks
		return nil, refused
	}
	plain, ok := k.OpenOpaque(sealed)
	rest, ours := strings.CutPrefix(string(plain), label)
	if !ok || !ours || len(rest) < 2 {
		return nil, refused
	}
	n := int(binary.BigEndian.Uint16([]byte(rest)))
	if n > len(rest)-2 || rest[2:2+n] != list {
		return nil, refused
	}
	return []byte(rest[2+n:]), nil
}
