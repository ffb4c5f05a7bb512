package units

import (
	"math"
	"strings"
	"time"
)

// Spec is text in which systemd expands %-specifiers: "%i" is the instance,
// "%%" a percent sign (systemd.unit(5), SPECIFIERS). Plain text becomes a Spec
// through Escape; Specs are joined with +.
type Spec string

// Escape returns plain text as a Spec: "%" is doubled, the rest is itself.
func Escape(s string) Spec { return Spec(strings.ReplaceAll(s, "%", "%%")) }

// Literal returns the text that s stands for, and whether s is plain text: a
// Spec with a specifier has no text of its own.
func (s Spec) Literal() (string, bool) {
	plain := true
	text := s.Expand(func(byte) (string, bool) { plain = false; return "", false })
	return text, plain
}

// Expand returns s with each specifier replaced by what lookup says; an unknown
// one is left as it is, as systemd leaves a percent sign before a character
// that is no letter.
func (s Spec) Expand(lookup func(specifier byte) (string, bool)) string {
	if !strings.Contains(string(s), "%") {
		return string(s)
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == '%' {
			out.WriteByte('%')
		} else if text, ok := lookup(s[i]); ok {
			out.WriteString(text)
		} else {
			out.WriteByte('%')
			out.WriteByte(s[i])
		}
	}
	return out.String()
}

// Value is the typed value of a directive. Each type below is one grammar of
// unit files with one encoder and one decoder. Values that hold a user's text
// come from a constructor (NewText, NewPath, NewCommand, …) that refuses what
// the grammar cannot carry; the rest are written as literals.
//
// Calendar, the grammar of OnCalendar=, has a file of its own.
type Value interface {
	// append writes the value as it stands behind "Key=".
	append(dst []byte) []byte
}

// Text is free text on one line, with specifiers: Description=.
type Text Spec

// Word is one token without blanks: always, SIGINT, exec, a unit name, a user.
// Whether specifiers are expanded in it depends on the directive.
type Word string

// Words is a list of tokens on one line: Wants=, SuccessExitStatus=.
type Words []string

// Bool is yes or no.
type Bool bool

// Count is a whole number: StartLimitBurst=.
type Count int64

// Bytes is a size in bytes, written as plain digits: MemoryMax=.
type Bytes uint64

// Span is a length of time: RestartSec=. It is written in systemd's own form
// ("1min 30s", "100ms") and is exact to the microsecond. There is no negative
// one in systemd; it would be written 0.
type Span time.Duration

// InfiniteBytes and InfiniteSpan are written "infinity".
const (
	InfiniteBytes Bytes = math.MaxUint64
	InfiniteSpan  Span  = math.MaxInt64
)

// Path is a path, raw to the end of the line, with specifiers:
// WorkingDirectory=, SourcePath=. Nothing quotes it, so control characters and
// outer blanks cannot be written and are refused.
type Path Spec

// Stream is where a stream goes: StandardOutput=. Kind is journal, null,
// inherit, tty, socket, append, file, truncate or fd; append, file and truncate
// take a path, fd a name.
type Stream struct {
	Kind string
	Path Spec
}

// Command is one command of an Exec line: systemd.service(5), COMMAND LINES.
type Command struct {
	// Prefix is what stands before the program: "", "-", "+", "-+", …
	Prefix string
	Argv   []Spec
	// Vars says that "$NAME" and "${NAME}" in Argv are variables, as in
	// ExecReload=/bin/kill -HUP $MAINPID, and "$$" a dollar sign. Without it
	// Argv is what the program gets. NewCommand never sets it.
	Vars bool
}

// Assign is one variable of Environment=.
type Assign struct {
	Name  string
	Value Spec
}

// FileAssign is the value of one variable in an environment file
// (systemd.exec(5), EnvironmentFile=): no specifiers, no expansion. The
// directive's Key is the variable's name, its Section is empty.
type FileAssign string

// Raw is the text of a directive whose grammar gm does not model, on one line,
// as it is. For every directive but those of Text, Raw("") is the empty
// assignment, which clears what was set before.
type Raw string
