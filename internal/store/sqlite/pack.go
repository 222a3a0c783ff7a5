package sqlite

import (
	"encoding/binary"
	"errors"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// The facts of a session are what no query asks for, packed into one column:
// fewer columns make the row smaller and reading it faster.
//
//	head byte: layout and which parts follow
//	install 16, if any; parent 16, if any; secret 16; attempt 8
//	auth_time as its distance to created_at, a varint
//	key, if any; device name, model, system, app: length and bytes
//
// There is one spelling of a session's facts.
const (
	factsLayout  = 1 // the low four bits of the head; raised when this changes
	factsInstall = 0x10
	factsParent  = 0x20
	factsKey     = 0x40
)

var errFacts = errors.New("sqlite: facts column is malformed")

func packFacts(s session.Session) []byte {
	d := s.Device
	b := make([]byte, 1, 96+len(d.Name)+len(d.Model)+len(d.System)+len(d.App)+len(s.Key))
	head := byte(factsLayout)
	if d.HasInstall() {
		head |= factsInstall
		b = append(b, d.Install[:]...)
	}
	if !s.Parent.IsZero() {
		head |= factsParent
		b = append(b, s.Parent[:]...)
	}
	b = append(b, s.Secret[:]...)
	b = append(b, s.Attempt[:]...)
	b = binary.AppendVarint(b, session.Millis(s.CreatedAt)-session.Millis(s.AuthTime))
	if s.Key != "" {
		head |= factsKey
		b = appendText(b, s.Key)
	}
	for _, text := range [...]string{d.Name, d.Model, d.System, d.App} {
		b = appendText(b, text)
	}
	b[0] = head
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unpackFacts adds the facts to a session whose CreatedAt is set.
func unpackFacts(b []byte, s *session.Session) error {
	r := factsReader{rest: b}
	head := r.take(1)[0]
	if head&0x8f != factsLayout {
		return errFacts
	}
	if head&factsInstall != 0 {
		copy(s.Device.Install[:], r.take(16))
		r.bad = r.bad || !s.Device.HasInstall()
	}
	if head&factsParent != 0 {
		copy(s.Parent[:], r.take(id.Size))
		r.bad = r.bad || s.Parent.IsZero()
	}
	copy(s.Secret[:], r.take(16))
	copy(s.Attempt[:], r.take(8))
	s.AuthTime = session.FromMillis(session.Millis(s.CreatedAt) - r.varint())
	if head&factsKey != 0 {
		s.Key = r.text()
		r.bad = r.bad || s.Key == ""
	}
	s.Device.Name, s.Device.Model = r.text(), r.text()
	s.Device.System, s.Device.App = r.text(), r.text()
	if r.bad || len(r.rest) != 0 {
		return errFacts
	}
	return nil
}

// factsReader takes parts from the front. After the first bad one every answer
// is empty and bad stays set.
type factsReader struct {
	rest []byte
	bad  bool
}

func (r *factsReader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, min(n, 16))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *factsReader) varint() int64 {
	n, size := binary.Varint(r.rest)
	r.skip(size)
	return n
}

func (r *factsReader) text() string {
	n, size := binary.Uvarint(r.rest)
	r.skip(size)
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	return string(r.take(int(n)))
}

// skip passes over a varint and refuses one that is longer than it needs to be.
func (r *factsReader) skip(size int) {
	if size <= 0 || size > 1 && r.rest[size-1] == 0 {
		r.bad = true
		return
	}
	r.rest = r.rest[size:]
}

// halves splits a session id into the integer the row is found by and the rest.
func halves(s id.Session) (key int64, tail []byte) {
	return int64(binary.BigEndian.Uint64(s[:8])), s[8:]
}

// joined is the id that halves split.
func joined(key int64, tail []byte) (s id.Session, err error) {
	if len(tail) != 8 {
		return s, errors.New("sqlite: a session id of the wrong length")
	}
	binary.BigEndian.PutUint64(s[:8], uint64(key))
	copy(s[8:], tail)
	return s, nil
}
