package diag

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Style is how messages are shown.
type Style struct {
	Color bool
}

const (
	reset  = "\x1b[0m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	green  = "\x1b[32m"
)

// Print writes l for a person: the place, the cause, the line with a caret
// under it, the remedy.
func Print(w io.Writer, l List, style Style) {
	paint := func(color, s string) string {
		if !style.Color {
			return s
		}
		return color + s + reset
	}
	for _, d := range l {
		place := d.At.String()
		if place == "" {
			place = "gm"
		}
		tone := [...]string{red, yellow, blue}[d.Severity]
		fmt.Fprintf(w, "%s %s %s [%s]\n", paint(bold, printable(place)+":"), paint(tone, d.Severity.String()+":"), printable(d.Cause), d.Code)
		if text, caret, ok := excerpt(d.At); ok {
			fmt.Fprintf(w, "    %s\n    %s\n", text, paint(green, caret))
		}
		if d.Remedy != "" {
			fmt.Fprintf(w, "    %s %s\n", paint(bold, "fix:"), printable(d.Remedy))
		}
	}
}

// excerptWidth is how much of a long line is shown around the caret.
const excerptWidth = 100

// excerpt returns the line of r and the carets under it; tabs are kept so that
// both line up. A long line is cut around the place.
func excerpt(r Range) (text, caret string, ok bool) {
	if r.Src == nil || len(r.Src.Text) == 0 {
		return "", "", false
	}
	lineNumber, column := r.Src.Position(int(r.Start))
	line := []rune(string(r.Src.line(lineNumber))) // an invalid byte is one character, as in Position
	from := min(column-1, len(line))
	width := max(utf8.RuneCount(r.Src.Text[r.Start:r.End]), 1)
	width = max(min(width, len(line)-from), 1)
	cut := 0
	if len(line) > excerptWidth {
		cut = max(0, min(from-excerptWidth/3, len(line)-excerptWidth))
		line = line[cut:min(cut+excerptWidth, len(line))]
	}
	from -= cut
	width = min(width, excerptWidth-min(from, excerptWidth-1))
	var pad strings.Builder
	for _, c := range line[:min(from, len(line))] {
		if c == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteByte(' ')
		}
	}
	return printable(string(line)), pad.String() + "^" + strings.Repeat("~", width-1), true
}

// printable replaces control characters, so that a declaration's text cannot
// move the cursor or forge a line of a message.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c != '\t' && (c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029') {
			return '\ufffd'
		}
		return c
	}, s)
}

// jsonDiagnostic is the shape of one message in PrintJSON.
type jsonDiagnostic struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndLine   int    `json:"endLine,omitempty"`
	EndColumn int    `json:"endColumn,omitempty"`
	Severity  string `json:"severity"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	Fix       string `json:"fix,omitempty"`
}

// PrintJSON writes l as one JSON array, for programs.
func PrintJSON(w io.Writer, l List) error {
	out := make([]jsonDiagnostic, 0, len(l))
	for _, d := range l {
		j := jsonDiagnostic{Severity: d.Severity.String(), Code: d.Code, Message: d.Cause, Fix: d.Remedy}
		if d.At.Src != nil {
			j.File = d.At.Src.Name
			j.Line, j.Column = d.At.Src.Position(int(d.At.Start))
			j.EndLine, j.EndColumn = d.At.Src.Position(int(d.At.End))
		}
		out = append(out, j)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
