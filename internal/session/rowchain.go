package session

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"time"
)

// A chain is written down as the differences between its parts, because the
// parts nearly always follow from each other: a rotation happens at one moment,
// and a use stands for the one generation after the previous use. A phone with
// a year of hourly refreshes needs about 30 bytes instead of 140, and one row
// per device is only cheap when the row is small.
//
//	newest, newest-first, used-issued, seen   varints (seen 0 is unset)
//	per use, newest first: one head byte, then what it announces
//
// There is one spelling of a chain: every number is written in as few bytes as
// it needs, and nothing is announced that is as expected. DecodeChain refuses
// any other.

// The head byte of a use: how many bytes its time needs, and which of its parts
// are not as expected.
const (
	useTimeBytes  = 0x0f // the distance in time to the use before, 0 to 8 bytes
	useLater      = 0x10 // it happened after what was written before it
	useGeneration = 0x20 // the generation is not the one below the last Low
	useLow        = 0x40 // Low is not the generation
	useHigh       = 0x80 // High is not the generation
)

var errChain = errors.New("session: chain column is malformed")

// EncodeChain writes a chain beside the row's UsedAt, which DecodeChain needs
// again. Times are kept in whole milliseconds.
func EncodeChain(c Chain, used time.Time) []byte {
	b := make([]byte, 0, 48)
	b = binary.AppendUvarint(b, uint64(c.Newest))
	b = binary.AppendVarint(b, int64(c.Newest)-int64(c.First))
	issued := Millis(c.IssuedAt)
	b = binary.AppendVarint(b, Millis(used)-issued)
	if c.Seen.IsZero() {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, 1+zigzag(Millis(c.Seen)-issued))
	}
	at, expected := issued, c.First-1
	for i := len(c.Uses) - 1; i >= 0; i-- {
		u := c.Uses[i]
		b = appendUse(b, u, at, expected)
		at, expected = Millis(u.At), u.Low-1
	}
	return b
}

func appendUse(b []byte, u Use, at int64, expected Generation) []byte {
	distance := at - Millis(u.At)
	var head byte
	if distance < 0 {
		head, distance = useLater, -distance
	}
	size := (bits.Len64(uint64(distance)) + 7) / 8
	head |= byte(size)
	if u.Generation != expected {
		head |= useGeneration
	}
	if u.Low != u.Generation {
		head |= useLow
	}
	if u.High != u.Generation {
		head |= useHigh
	}
	b = append(b, head)
	var be [8]byte
	binary.BigEndian.PutUint64(be[:], uint64(distance))
	b = append(b, be[8-size:]...)
	if head&useGeneration != 0 {
		b = binary.AppendUvarint(b, uint64(u.Generation))
	}
	if head&useLow != 0 {
		b = binary.AppendUvarint(b, uint64(u.Low))
	}
	if head&useHigh != 0 {
		b = binary.AppendUvarint(b, uint64(u.High))
	}
	return b
}

// DecodeChain reads what EncodeChain wrote beside the same UsedAt.
func DecodeChain(b []byte, used time.Time) (Chain, error) {
	r := chainReader{rest: b}
	var c Chain
	c.Newest = r.generation()
	c.First = r.below(c.Newest)
	issued := Millis(used) - unzigzag(r.uvarint())
	c.IssuedAt = FromMillis(issued)
	if seen := r.uvarint(); seen > 0 {
		ms := issued + unzigzag(seen-1)
		r.bad = r.bad || ms == 0
		c.Seen = FromMillis(ms)
	}
	at, expected := issued, c.First-1
	for len(r.rest) > 0 && !r.bad {
		if len(c.Uses) == MaxUses {
			return Chain{}, errChain
		}
		u := r.use(at, expected)
		c.Uses = append(c.Uses, u)
		at, expected = Millis(u.At), u.Low-1
	}
	if r.bad {
		return Chain{}, errChain
	}
	for i, j := 0, len(c.Uses)-1; i < j; i, j = i+1, j-1 {
		c.Uses[i], c.Uses[j] = c.Uses[j], c.Uses[i]
	}
	return c, nil
}

// chainReader takes numbers from the front of a column. After the first bad one
// every answer is zero and bad stays set.
type chainReader struct {
	rest []byte
	bad  bool
}

func (r *chainReader) use(at int64, expected Generation) Use {
	head := r.take(1)[0]
	size := int(head & useTimeBytes)
	if size > 8 {
		r.bad = true
		return Use{}
	}
	var be [8]byte
	copy(be[8-size:], r.take(size))
	distance := int64(binary.BigEndian.Uint64(be[:]))
	// A leading zero byte, a "later" without a distance and a distance beyond
	// any clock are other spellings of something shorter.
	if size > 0 && be[8-size] == 0 || head&useLater != 0 && distance == 0 || distance < 0 {
		r.bad = true
	}
	if head&useLater != 0 {
		distance = -distance
	}
	u := Use{Generation: expected, At: FromMillis(at - distance)}
	if head&useGeneration != 0 {
		u.Generation = r.other(expected)
	}
	u.Low, u.High = u.Generation, u.Generation
	if head&useLow != 0 {
		u.Low = r.other(u.Generation)
	}
	if head&useHigh != 0 {
		u.High = r.other(u.Generation)
	}
	return u
}

// other reads a generation that must differ from the expected one.
func (r *chainReader) other(expected Generation) Generation {
	g := r.generation()
	r.bad = r.bad || g == expected
	return g
}

func (r *chainReader) generation() Generation {
	n := r.uvarint()
	r.bad = r.bad || n > 1<<32-1
	return Generation(n)
}

// below reads how far a generation lies below newest.
func (r *chainReader) below(newest Generation) Generation {
	n := int64(newest) - unzigzag(r.uvarint())
	r.bad = r.bad || n < 0 || n > 1<<32-1
	return Generation(n)
}

func (r *chainReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || size > 1 && r.rest[size-1] == 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *chainReader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// zigzag puts small numbers of either sign into few bytes, as
// binary.AppendVarint does.
func zigzag(n int64) uint64   { return uint64(n)<<1 ^ uint64(n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }
