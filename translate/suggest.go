package translate

import (
	"slices"
	"strings"
)

// fieldNames lists every spelling of every key.
func fieldNames() []string {
	var out []string
	for _, f := range fields() {
		out = append(out, f.spellings()...)
	}
	return out
}

// nearest returns the candidate that text most likely misspells, or "".
func nearest(text string, candidates []string) string {
	if trimmed := strings.TrimSpace(text); trimmed != text && slices.Contains(candidates, trimmed) {
		return trimmed
	}
	best, bestCost := "", len(text)/3+1
	if bestCost > 3 {
		bestCost = 3
	}
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	for _, c := range candidates {
		if cost := editDistance(fold(text), fold(c), bestCost); cost < bestCost || cost == 0 && best == "" {
			best, bestCost = c, cost
		}
	}
	return best
}

// editDistance is Damerau-Levenshtein (a swap of neighbours counts one), or
// anything above limit when it exceeds it.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit || len(a) > 64 {
		return limit + 1
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
