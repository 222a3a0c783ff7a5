package pair

import (
	"testing"

	"holdfast.example/verify"
)

// TestEveryKindHasWords: what a Verifier can say of a token in the header has a
// sentence of this dialect.
func TestEveryKindHasWords(t *testing.T) {
	for k := verify.NoToken; k <= verify.InsufficientGrade; k++ {
		if sentences[k] == "" {
			t.Errorf("%s has no words", k)
		}
	}
}
