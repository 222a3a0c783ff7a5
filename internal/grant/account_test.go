package grant

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
)

// TestFillShowsEveryRowOnce: pages put together are the rows that may be shown,
// in order, each once, whatever the size of a page and whatever is hidden; and
// no page is longer than asked.
func TestFillShowsEveryRowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hidden := rapid.SliceOfN(rapid.Bool(), 0, 120).Draw(t, "hidden")
		limit := rapid.IntRange(1, 7).Draw(t, "limit")
		find := func(after, limit int) ([]int, error) {
			var rows []int
			for n := after + 1; n <= len(hidden) && len(rows) < limit; n++ {
				rows = append(rows, n)
			}
			return rows, nil
		}
		var want, got []int
		for n := 1; n <= len(hidden); n++ {
			if !hidden[n-1] {
				want = append(want, n)
			}
		}
		after := 0
		for {
			page, next, err := fill(limit, after, find, func(n int) int { return n }, func(n int) bool { return !hidden[n-1] })
			if err != nil || len(page) > limit {
				t.Fatalf("%v of at most %d: %v", page, limit, err)
			}
			got = append(got, page...)
			if next == nil {
				break
			}
			if *next <= after {
				t.Fatalf("after %d comes %d", after, *next)
			}
			after = *next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("pages of %d: %v, want %v", limit, got, want)
		}
	})
}

func TestFillPassesAFailureOn(t *testing.T) {
	_, _, err := fill(1, 0, func(int, int) ([]int, error) { return nil, errors.New("disk") }, func(n int) int { return n }, func(int) bool { return true })
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
