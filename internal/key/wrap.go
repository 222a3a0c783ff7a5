package key

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRefused marks every refusal to use the stored keys: a wrong or missing
// root secret, rows that were damaged, swapped, deleted, added or put back. The
// error's text is one sentence that says what is wrong and what to do. Nothing
// was changed, and no key was made in place of a lost one: a new key would sign
// everybody out and hide the loss.
var ErrRefused = errors.New("key: the stored keys are refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// A wrapped key is, in bytes:
//
//	version 1 | nonce 12 | the key, encrypted | tag 16
const (
	wrapVersion  = 1
	wrapOverhead = 1 + 12 + 16
)

// binding is the additional data of a wrapped key: where it belongs. Fields are
// length-prefixed, so that no two rows have one binding.
func (row Row) binding() []byte {
	b := append(make([]byte, 0, 128), "holdfast/key/row/v1"...)
	b = binary.BigEndian.AppendUint32(b, row.ID)
	for _, field := range []string{string(row.Purpose), row.Alg, row.KID} {
		b = binary.AppendUvarint(b, uint64(len(field)))
		b = append(b, field...)
	}
	return b
}

// wrap encrypts a key for the row it belongs to.
func (w wrapper) wrap(row Row, plain []byte) []byte {
	return w.aead.Seal([]byte{wrapVersion}, nil, plain, row.binding())
}

// unwrap gives the key back, if the blob was wrapped for this very row under
// this very root.
func (w wrapper) unwrap(row Row) ([]byte, bool) {
	if len(row.Wrapped) < wrapOverhead || row.Wrapped[0] != wrapVersion {
		return nil, false
	}
	plain, err := w.aead.Open(nil, nil, row.Wrapped[1:], row.binding())
	return plain, err == nil
}

// whyNot says why a row that the roll knows does not unwrap.
func (w wrapper) whyNot(row Row, all []Row) error {
	if len(row.Wrapped) < wrapOverhead {
		return refuse("%s is truncated to %d bytes; restore the stored keys from a backup", row.name(), len(row.Wrapped))
	}
	for _, other := range all {
		moved := other
		moved.Wrapped = row.Wrapped
		if _, ok := w.unwrap(moved); ok && other.ID != row.ID {
			return refuse("%s holds the wrapped key of %s; put them back in their own rows or restore the stored keys from a backup",
				row.name(), other.name())
		}
	}
	return refuse("%s is damaged: it does not open under the root secret that opens the roll; restore the stored keys from a backup", row.name())
}

// name is how sentences call a row.
func (row Row) name() string {
	if row.Alg == "" {
		return fmt.Sprintf("key %d (%s)", row.ID, row.Purpose)
	}
	return fmt.Sprintf("key %d (%s %s)", row.ID, row.Purpose, row.Alg)
}
