package jose

import (
	"errors"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Two readers that understand one JSON text differently are a hole: one checks
// the first "sub", the other acts on the last. encoding/json (v1) accepts
// duplicate members, any case of a name and broken UTF-8, so the payload is
// read by this scanner instead. It accepts a subset of what RFC 8259 allows,
// and FuzzMembers holds it against encoding/json.

// Limits of one JSON text. The text itself is bounded by MaxToken or by the
// limit of the document it came from.
const (
	maxDepth   = 16  // nested arrays and objects, so that 100,000 brackets cost nothing
	maxMembers = 128 // of one object: the search for duplicates compares every pair
)

// Errors say what is wrong and never what was in the text.
var (
	ErrJSON      = errors.New("not valid JSON")
	ErrDuplicate = errors.New("a JSON member that is there twice")
	ErrTooDeep   = errors.New("JSON nested too deeply")
	ErrTooMany   = errors.New("a JSON object with too many members")
)

// Value is the exact text of one JSON value, already known to be valid.
type Value struct{ text string }

// Members reads text as exactly one JSON object and calls each for its members
// in order. The whole text is checked, nested values too, but a nested error
// may come after each was called: use what each collected only if Members
// returns nil. An error from each ends the reading and is returned.
func Members(text string, each func(name string, v Value) error) error {
	if !utf8.ValidString(text) {
		return ErrJSON
	}
	s := scanner{text: text}
	s.space()
	err := s.object(1, each)
	if err != nil {
		return err
	}
	s.space()
	if s.at != len(s.text) {
		return ErrJSON
	}
	return nil
}

// Text returns a JSON string.
func (v Value) Text() (string, bool) {
	s := scanner{text: v.text}
	text, err := s.str()
	return text, err == nil
}

// Texts returns a JSON array of strings, or a single string as a list of one
// (the two shapes of "aud", RFC 7519 section 4.1.3).
func (v Value) Texts() ([]string, bool) {
	if one, ok := v.Text(); ok {
		return []string{one}, true
	}
	list := []string{}
	ok := v.Elements(func(e Value) bool {
		text, ok := e.Text()
		list = append(list, text)
		return ok
	})
	return list, ok
}

// Elements calls each for the elements of a JSON array, until each says false.
// It reports whether v is an array and each never said false.
func (v Value) Elements(each func(Value) bool) bool {
	if v.text[0] != '[' {
		return false
	}
	s := scanner{text: v.text}
	goOn := true
	err := s.array(1, func(e Value) error {
		if goOn = each(e); !goOn {
			return ErrJSON
		}
		return nil
	})
	return err == nil && goOn
}

// Object calls each for the members of a JSON object.
func (v Value) Object(each func(name string, v Value) error) error {
	return Members(v.text, each)
}

// IsObject reports whether v is a JSON object.
func (v Value) IsObject() bool { return v.text[0] == '{' }

// IsTrue reports whether v is the literal true.
func (v Value) IsTrue() bool { return v.text == "true" }

// Raw returns the text as it was written.
func (v Value) Raw() string { return v.text }

// lastSecond is the end of the year 9999, the last that RFC 3339 and most
// clocks can write. A NumericDate beyond it is a mistake or an attack.
const lastSecond = 253402300799

// Seconds returns a NumericDate (RFC 7519 section 2): seconds since 1970, a
// fraction allowed, negative or absurd values not.
func (v Value) Seconds() (time.Time, bool) {
	f, err := strconv.ParseFloat(v.text, 64) // refuses strings, null and literals: they start otherwise
	if err != nil || f < 0 || f > lastSecond {
		return time.Time{}, false
	}
	whole := int64(f)
	return time.Unix(whole, int64((f-float64(whole))*1e9)), true
}

// Int returns an integer that was written without fraction or exponent.
func (v Value) Int() (int64, bool) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	return n, err == nil
}

// scanner is a recursive descent over one text; at is the next unread byte.
type scanner struct {
	text string
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 (which no JSON text contains) at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// take moves over c and the space after it.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	s.space()
	return true
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		return s.skipString()
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth, nil)
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if len(s.text)-s.at >= len(word) && s.text[s.at:s.at+len(word)] == word {
			s.at += len(word)
			return nil
		}
	}
	return ErrJSON
}

// object reads an object whose brace is next. Names are compared after their
// escapes are resolved: "\u0073ub" and "sub" are one name.
func (s *scanner) object(depth int, each func(string, Value) error) error {
	if depth > maxDepth {
		return ErrTooDeep
	}
	if !s.take('{') {
		return ErrJSON
	}
	if s.peek() == '}' {
		s.at++
		return nil
	}
	var few [24]string // an access token has about 14 claims: no allocation for them
	names := few[:0]
	for {
		name, err := s.str()
		if err != nil {
			return err
		}
		for _, n := range names {
			if n == name {
				return ErrDuplicate
			}
		}
		if len(names) == maxMembers {
			return ErrTooMany
		}
		names = append(names, name)
		s.space()
		if !s.take(':') {
			return ErrJSON
		}
		start := s.at
		err = s.value(depth + 1)
		if err != nil {
			return err
		}
		if each != nil {
			err = each(name, Value{s.text[start:s.at]})
			if err != nil {
				return err
			}
		}
		s.space()
		if s.peek() == '}' {
			s.at++
			return nil
		}
		if !s.take(',') {
			return ErrJSON
		}
	}
}

func (s *scanner) array(depth int, each func(Value) error) error {
	if depth > maxDepth {
		return ErrTooDeep
	}
	if !s.take('[') {
		return ErrJSON
	}
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		start := s.at
		err := s.value(depth + 1)
		if err != nil {
			return err
		}
		if each != nil {
			err = each(Value{s.text[start:s.at]})
			if err != nil {
				return err
			}
		}
		s.space()
		if s.peek() == ']' {
			s.at++
			return nil
		}
		if !s.take(',') {
			return ErrJSON
		}
	}
}

// number moves over the grammar of RFC 8259 section 6: no leading zero, no
// bare dot, no plus sign, no hexadecimal, no Infinity.
func (s *scanner) number() error {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return ErrJSON
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return ErrJSON
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return ErrJSON
		}
	}
	return nil
}

// digits moves over one digit or more.
func (s *scanner) digits() bool {
	start := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > start
}

// str reads a string. Without escapes it is a part of the text, not a copy.
func (s *scanner) str() (string, error) {
	start := s.at + 1
	err := s.skipString()
	if err != nil {
		return "", err
	}
	body := s.text[start : s.at-1]
	for i := range len(body) {
		if body[i] == '\\' {
			return unescape(body), nil
		}
	}
	return body, nil
}

// skipString moves over a string and checks its escapes. UTF-8 was checked for
// the whole text at once.
func (s *scanner) skipString() error {
	if s.peek() != '"' {
		return ErrJSON
	}
	s.at++
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '"':
			s.at++
			return nil
		case c < 0x20:
			return ErrJSON
		case c != '\\':
			s.at++
		default:
			n := escapeLength(s.text[s.at:])
			if n == 0 {
				return ErrJSON
			}
			s.at += n
		}
	}
	return ErrJSON
}

// escapeLength returns how long the escape is that text starts with, 0 if it
// is none. Half a surrogate pair is none: what it would decode to is a matter
// of taste, and two readers may differ.
func escapeLength(text string) int {
	if len(text) < 2 {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	r, ok := hex4(text)
	if !ok {
		return 0
	}
	if !utf16.IsSurrogate(r) {
		return 6
	}
	low, ok := hex4(text[6:])
	if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return 0
	}
	return 12
}

// hex4 reads the escape \u and its four hexadecimal digits at the start of text.
func hex4(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16) // takes no sign and, base given, no underscore
	return rune(n), err == nil
}

// unescape resolves the escapes of a string body that skipString accepted.
func unescape(body string) string {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			out = append(out, body[i])
			i++
			continue
		}
		n := escapeLength(body[i:])
		switch c := body[i+1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(body[i:])
			if n == 12 {
				low, _ := hex4(body[i+6:])
				r = utf16.DecodeRune(r, low)
			}
			out = utf8.AppendRune(out, r)
		default: // the quote, the backslash and the slash stand for themselves
			out = append(out, c)
		}
		i += n
	}
	return string(out)
}
