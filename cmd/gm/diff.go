package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// contextLines is how many equal lines surround a change, as in diff -u.
const contextLines = 3

// unified returns the difference of two texts as diff -u prints it, or nothing
// when they are equal. An empty name stands for a file that is not there.
//
// Lines that both texts have exactly once are the fixed points, in the longest
// order that both share (patience diff). That is not always the shortest
// difference but one that people would have drawn, in time that grows with the
// length of the texts and not with how much they differ.
func unified(oldName, newName string, old, new []byte) []byte {
	if bytes.Equal(old, new) && oldName != "" && newName != "" {
		return nil
	}
	a, b := splitLines(old), splitLines(new)
	var out bytes.Buffer
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameOrNull(oldName), nameOrNull(newName))
	for _, h := range hunks(common(a, b), len(a), len(b)) {
		h.print(&out, a, b)
	}
	return out.Bytes()
}

func nameOrNull(name string) string {
	if name == "" {
		return "/dev/null"
	}
	return name
}

func splitLines(text []byte) []string { return slices.Collect(strings.Lines(string(text))) }

// match is n equal lines, at a in the one text and at b in the other.
type match struct{ a, b, n int }

// common returns equal lines of a and b in the order of both.
func common(a, b []string) []match {
	var out []match
	atA, atB := 0, 0 // what lies before is decided
	add := func(x, y int) {
		// Grow the fixed point in both directions.
		start, end := 0, 0
		for x-start > atA && y-start > atB && a[x-start-1] == b[y-start-1] {
			start++
		}
		for x+end < len(a) && y+end < len(b) && a[x+end] == b[y+end] {
			end++
		}
		if start+end == 0 {
			return
		}
		m := match{x - start, y - start, start + end}
		if n := len(out); n > 0 && out[n-1].a+out[n-1].n == m.a && out[n-1].b+out[n-1].n == m.b {
			out[n-1].n += m.n
		} else {
			out = append(out, m)
		}
		atA, atB = x+end, y+end
	}
	add(0, 0) // the common beginning
	for _, p := range fixedPoints(a, b) {
		if p.a >= atA && p.b >= atB {
			add(p.a, p.b)
		}
	}
	add(len(a), len(b)) // the common end
	return out
}

// fixedPoints returns the longest sequence of lines that occur once in each
// text, in the same order in both.
func fixedPoints(a, b []string) []match {
	type count struct{ inA, inB, atA int }
	lines := make(map[string]*count, len(a))
	for i, line := range a {
		c := lines[line]
		if c == nil {
			c = &count{}
			lines[line] = c
		}
		c.inA++
		c.atA = i
	}
	for _, line := range b {
		if c := lines[line]; c != nil {
			c.inB++
		}
	}
	// The pairs in the order of b; wanted is their longest part that rises in a.
	var pairs []match
	for i, line := range b {
		if c := lines[line]; c != nil && c.inA == 1 && c.inB == 1 {
			pairs = append(pairs, match{c.atA, i, 1})
		}
	}
	// Patience sorting: piles[k] is the pair that ends a rising sequence of
	// length k+1 lowest, previous[i] the pair before pair i in its sequence.
	piles := make([]int, 0, len(pairs))
	previous := make([]int, len(pairs))
	for i, p := range pairs {
		k, _ := slices.BinarySearchFunc(piles, p.a, func(pile, at int) int { return pairs[pile].a - at })
		previous[i] = -1
		if k > 0 {
			previous[i] = piles[k-1]
		}
		if k == len(piles) {
			piles = append(piles, i)
		} else {
			piles[k] = i
		}
	}
	out := make([]match, len(piles))
	if len(piles) > 0 {
		for k, i := len(piles)-1, piles[len(piles)-1]; k >= 0; k, i = k-1, previous[i] {
			out[k] = pairs[i]
		}
	}
	return out
}

// hunk is a stretch of both texts: changes with the equal lines around them.
type hunk struct {
	a, b, endA, endB int
	equal            []match
}

// hunks groups what lies between the matches, with context.
func hunks(matches []match, lenA, lenB int) []hunk {
	var out []hunk
	atA, atB := 0, 0
	for _, m := range append(matches, match{lenA, lenB, 0}) {
		if m.a > atA || m.b > atB { // a change before m
			before := min(contextLines, atA, atB)
			if n := len(out); n > 0 && out[n-1].endA >= atA-before {
				h := &out[n-1]
				h.endA, h.endB = m.a, m.b
			} else {
				out = append(out, hunk{a: atA - before, b: atB - before, endA: m.a, endB: m.b})
			}
		}
		atA, atB = m.a+m.n, m.b+m.n
		if n := len(out); n > 0 && out[n-1].endA == m.a {
			after := min(contextLines, m.n)
			out[n-1].endA += after
			out[n-1].endB += after
		}
	}
	first := 0 // a match may reach from one hunk into the next
	for i := range out {
		h := &out[i]
		for first < len(matches) && matches[first].a+matches[first].n <= h.a {
			first++
		}
		last := first
		for last < len(matches) && matches[last].a < h.endA {
			last++
		}
		h.equal = matches[first:last]
	}
	return out
}

func (h *hunk) print(out *bytes.Buffer, a, b []string) {
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(h.a, h.endA), span(h.b, h.endB))
	atA, atB := h.a, h.b
	changes := func(toA, toB int) {
		for ; atA < toA; atA++ {
			printLine(out, '-', a[atA])
		}
		for ; atB < toB; atB++ {
			printLine(out, '+', b[atB])
		}
	}
	for _, m := range h.equal {
		skip := max(0, h.a-m.a)
		changes(m.a+skip, m.b+skip)
		for ; atA < min(m.a+m.n, h.endA); atA, atB = atA+1, atB+1 {
			printLine(out, ' ', a[atA])
		}
	}
	changes(h.endA, h.endB)
}

func printLine(out *bytes.Buffer, sign byte, line string) {
	out.WriteByte(sign)
	out.WriteString(line)
	if !strings.HasSuffix(line, "\n") {
		out.WriteString("\n\\ No newline at end of file\n")
	}
}

// span is a range of lines in a hunk's head: "12,3", or "12" for one line; an
// empty one names the line before.
func span(start, end int) string {
	switch n := end - start; n {
	case 0:
		return fmt.Sprintf("%d,0", start)
	case 1:
		return fmt.Sprintf("%d", start+1)
	default:
		return fmt.Sprintf("%d,%d", start+1, n)
	}
}
