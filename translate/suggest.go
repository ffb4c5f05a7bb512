package translate

import (
	"slices"
	"strings"

	"gm/diag"
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
		if cost := diag.Edits(fold(text), fold(c), bestCost); cost < bestCost || cost == 0 && best == "" {
			best, bestCost = c, cost
		}
	}
	return best
}
