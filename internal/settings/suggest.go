package settings

import "strings"

// Suggest finds the known name that was most likely meant by an unknown one, or
// "". A name within a third of its length in slips of the hand is close enough,
// and within three of them; a further one would be a guess that sends people the
// wrong way.
func Suggest(unknown string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), "-", "_")) }
	u := plain(unknown)
	if len(u) > maxSuggest {
		return ""
	}
	best, least := "", min(len(u)/3+1, maxSlips)
	for _, k := range known {
		if d := slips(u, plain(k)); d <= least && (best == "" || d < least) {
			best, least = k, d
		}
	}
	return best
}

// maxSlips is how many slips of the hand one name can have. Long names share long
// endings, so more would make them all alike.
const maxSlips = 3

// maxSuggest bounds the names that are compared, in bytes: the comparison costs
// the product of both lengths.
const maxSuggest = 64

// didYouMean is the mend of an unknown name.
func didYouMean(unknown string, known []string, otherwise string) string {
	if s := Suggest(unknown, known); s != "" {
		return "did you mean " + s + "?"
	}
	return otherwise
}

// slips is the Damerau-Levenshtein distance in its restricted form: how many
// insertions, deletions, replacements and swaps of neighbours lead from a to b.
func slips(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
