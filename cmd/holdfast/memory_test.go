package main

import "testing"

// Memory is given back once for each time the server becomes quiet.
func TestRest(t *testing.T) {
	r := rest{busy: true}
	for i, step := range []struct {
		served uint64
		begins bool
	}{{0, true}, {0, false}, {quiet, false}, {2*quiet + 1, false}, {9000, false}, {9000 + quiet, true}, {9001 + quiet, false}} {
		if got := r.begins(step.served); got != step.begins {
			t.Errorf("step %d: %t", i, got)
		}
	}
}
