// Package secret owns the type that passwords, tokens and keys travel in, so
// that no log line, error or debug print can carry one by mistake.
//
// It does not own encryption and does not wipe memory: it only makes sure that
// whoever wants the value has to ask for it by name, with Reveal.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Redacted is what every accidental print of a secret shows.
const Redacted = "[redacted]"

// Text is a string that must not be printed: a password, a token, a client
// secret. The zero value is the empty secret.
//
// The value sits behind a pointer because fmt prints unexported fields of a
// surrounding struct without asking their methods; of a pointer inside a
// struct it prints only the address.
type Text struct{ p *string }

// New wraps s.
func New(s string) Text { return Text{&s} }

// Reveal returns the value. Every call is a place to review.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Empty reports whether there is nothing inside.
func (t Text) Empty() bool { return t.p == nil || *t.p == "" }

// Equal compares in time that depends on neither value nor length.
func (t Text) Equal(o Text) bool {
	a, b := sha256.Sum256([]byte(t.Reveal())), sha256.Sum256([]byte(o.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String implements fmt.Stringer and reveals nothing.
func (Text) String() string { return Redacted }

// GoString implements fmt.GoStringer and reveals nothing.
func (Text) GoString() string { return Redacted }

// Format implements fmt.Formatter: no verb reveals anything.
func (Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// LogValue implements slog.LogValuer and reveals nothing.
func (Text) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText implements encoding.TextMarshaler (and so JSON) and reveals nothing.
func (Text) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler: a secret can be read from
// a file or a request body, but never written back.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
