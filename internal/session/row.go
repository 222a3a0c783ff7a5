package session

import (
	"encoding/binary"
	"errors"
	"time"
)

// useSize is a Use written down: three generations and a time in milliseconds.
const useSize = 4 + 4 + 4 + 8

// Times are kept in whole milliseconds everywhere, so that a session read back
// equals the one that was written.

// Millis writes a time; the zero time is 0.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromMillis reads what Millis wrote.
func FromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// EncodeUses writes the remembered uses in fixed-width fields, at most
// MaxUses of them: 120 bytes.
func EncodeUses(uses []Use) []byte {
	b := make([]byte, 0, len(uses)*useSize)
	for _, u := range uses {
		b = binary.BigEndian.AppendUint32(b, uint32(u.Generation))
		b = binary.BigEndian.AppendUint32(b, uint32(u.Low))
		b = binary.BigEndian.AppendUint32(b, uint32(u.High))
		b = binary.BigEndian.AppendUint64(b, uint64(Millis(u.At)))
	}
	return b
}

// DecodeUses reads what EncodeUses wrote.
func DecodeUses(b []byte) ([]Use, error) {
	if len(b)%useSize != 0 || len(b) > MaxUses*useSize {
		return nil, errors.New("session: uses column has a wrong length")
	}
	if len(b) == 0 {
		return nil, nil
	}
	uses := make([]Use, 0, len(b)/useSize)
	for ; len(b) > 0; b = b[useSize:] {
		uses = append(uses, Use{
			Generation: Generation(binary.BigEndian.Uint32(b)),
			Low:        Generation(binary.BigEndian.Uint32(b[4:])),
			High:       Generation(binary.BigEndian.Uint32(b[8:])),
			At:         FromMillis(int64(binary.BigEndian.Uint64(b[12:]))),
		})
	}
	return uses, nil
}
