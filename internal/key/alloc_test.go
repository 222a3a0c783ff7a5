//go:build !race

package key

import "testing"

// The refresh path asks for these on each request. The race detector makes
// pools forget, so that it is not counted under it.
func TestNoAllocations(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options("ES256"))
	for name, f := range map[string]func(){
		"MAC": func() {
			var data [73]byte
			_ = r.SealKey().MAC(UseSeal, data[:])
		},
		"SealKeyByID": func() { _, _ = r.SealKeyByID(3) },
		"Signer": func() {
			s, _ := r.Signer("")
			_ = s.Header("at+jwt")
		},
		"JWKS": func() { _ = r.JWKS() },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
