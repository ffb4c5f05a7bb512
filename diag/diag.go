// Package diag holds what gm says about a text: where (a range of a source),
// how bad, what is there and what was expected, and what to do. Positions are
// byte offsets; they become lines and columns only when a message is printed.
package diag

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode/utf8"
)

// Source is one text that gm reads: a declaration, a unit file.
type Source struct {
	// Name is what messages call it: the path as the user gave it, or "<stdin>".
	Name string
	// Text is the whole content, byte for byte.
	Text []byte

	once   sync.Once
	starts []int32 // offset of each line; made on first use
}

// NewSource returns the source of that name and text.
func NewSource(name string, text []byte) *Source { return &Source{Name: name, Text: text} }

func (s *Source) lines() []int32 {
	s.once.Do(func() {
		s.starts = []int32{0}
		for i, c := range s.Text {
			if c == '\n' {
				s.starts = append(s.starts, int32(i+1))
			}
		}
	})
	return s.starts
}

// Range returns the range [start, end) of s, clipped to the text.
func (s *Source) Range(start, end int) Range {
	start = min(max(start, 0), len(s.Text))
	end = min(max(end, start), len(s.Text))
	return Range{s, int32(start), int32(end)}
}

// Position returns the 1-based line and column of a byte offset. Columns count
// characters, as editors do.
func (s *Source) Position(offset int) (line, column int) {
	starts := s.lines()
	line = sort.Search(len(starts), func(i int) bool { return int(starts[i]) > offset })
	before := s.Text[starts[line-1]:min(offset, len(s.Text))]
	if line == 1 {
		before = trimBOM(before)
	}
	return line, utf8.RuneCount(before) + 1
}

// line returns the text of a 1-based line without its end.
func (s *Source) line(n int) []byte {
	starts := s.lines()
	end := len(s.Text)
	if n < len(starts) {
		end = int(starts[n]) - 1
	}
	text := s.Text[starts[n-1]:end]
	if len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	if n == 1 {
		text = trimBOM(text)
	}
	return text
}

func trimBOM(text []byte) []byte {
	if len(text) >= 3 && string(text[:3]) == "\ufeff" {
		return text[3:]
	}
	return text
}

// Range is a piece of a source. The zero Range is about no text: the bus, the
// disk, a flag.
type Range struct {
	Src        *Source
	Start, End int32
}

// IsZero reports whether r is about no text.
func (r Range) IsZero() bool { return r.Src == nil }

// String returns the place as file:line:column, or "" for the zero Range.
func (r Range) String() string {
	if r.Src == nil {
		return ""
	}
	line, column := r.Src.Position(int(r.Start))
	return fmt.Sprintf("%s:%d:%d", r.Src.Name, line, column)
}

// Severity says what a diagnostic does to the run.
type Severity uint8

// An Error stops the line before anything is written. A Warning is a loss or a
// likely mistake (an error under --strict). A Note explains.
const (
	Error Severity = iota
	Warning
	Note
)

func (s Severity) String() string {
	return [...]string{"error", "warning", "note"}[s]
}

// Diagnostic is one message.
type Diagnostic struct {
	Severity Severity
	// Code is stable and never reused: "bad-cron".
	Code string
	At   Range
	// Cause says what is there and what was expected.
	Cause string
	// Remedy is an action; "" where there is none.
	Remedy string
}

// List is the messages of a run; nil is empty.
type List []Diagnostic

// HasErrors reports whether l holds an error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Strict returns l with every warning made an error.
func (l List) Strict() List {
	out := slices.Clone(l)
	for i := range out {
		if out[i].Severity == Warning {
			out[i].Severity = Error
		}
	}
	return out
}

// Sort orders l by place; messages without a place come first, those of one
// place keep their order.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		if a.At.Src != b.At.Src {
			switch {
			case a.At.Src == nil:
				return -1
			case b.At.Src == nil:
				return 1
			case a.At.Src.Name != b.At.Src.Name:
				return strings.Compare(a.At.Src.Name, b.At.Src.Name)
			}
		}
		return int(a.At.Start) - int(b.At.Start)
	})
}
