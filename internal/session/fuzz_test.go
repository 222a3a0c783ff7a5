package session_test

import "testing"

// fuzzMoves bounds one life, so that the oracle's long memory stays cheap.
const fuzzMoves = 300

// bytesDice throws dice with the fuzzer's bytes and stops the walk when they
// are used up.
type bytesDice struct {
	left []byte
	out  bool
}

func (b *bytesDice) roll(sides int) int {
	n := 0
	for wide := sides - 1; wide > 0; wide >>= 8 {
		if len(b.left) == 0 {
			b.out = true
			return 0
		}
		n = n<<8 | int(b.left[0])
		b.left = b.left[1:]
	}
	return n % sides
}

// FuzzRefresh plays whatever life the bytes describe: presentations of every
// kind of token, time passing and stepping back, profiles that change, commits
// that are lost. The invariants hold and the oracle agrees at each move. The
// corpus in testdata/fuzz/FuzzRefresh reaches each of the nine rows.
func FuzzRefresh(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, life []byte) {
		b := &bytesDice{left: life}
		d := newDuel(b.roll)
		for range fuzzMoves {
			if err := d.move(b.roll); err != nil {
				t.Fatal(err)
			}
			if b.out {
				return
			}
		}
	})
}
