package units

import (
	"strconv"
	"strings"
)

// Encode returns v as it stands behind "Key=" in a unit file.
func Encode(v Value) string { return string(v.append(nil)) }

// Render returns the text of u. There is one form, without options.
func Render(u Unit) []byte { return AppendRender(nil, u) }

// AppendRender appends the text of u to dst: the directives in held order, a
// header wherever the section changes, a blank line before each header but the
// first. The directives of an environment file are NAME=value lines.
//
// It panics when a value holds a line end (for systemd also "\r" and NUL), or a
// key or section is none (CheckKey): such a unit was not built by the
// constructors, and a value must never add a line to a unit.
func AppendRender(dst []byte, u Unit) []byte {
	if IsEnvFile(u.Name) {
		return appendEnvFile(dst, u)
	}
	section, start := "", len(dst)
	for i := range u.Directives {
		d := &u.Directives[i]
		if d.Section != section || i == 0 {
			if len(dst) > start {
				dst = append(dst, '\n')
			}
			section = d.Section
			dst = append(dst, '[')
			dst = append(dst, section...)
			dst = append(dst, "]\n"...)
			mustBeKey(u.Name, d, section)
		}
		dst = appendDirective(dst, "", u.Name, d)
	}
	return dst
}

// appendDirective appends one line: prefix, Key=Value.
func appendDirective(dst []byte, prefix, unit string, d *Directive) []byte {
	mustBeKey(unit, d, d.Key)
	dst = append(dst, prefix...)
	dst = append(dst, d.Key...)
	dst = append(dst, '=')
	value := len(dst)
	dst = d.Value.append(dst)
	for _, c := range dst[value:] {
		if c == '\n' || c == '\r' || c == 0 {
			panic("units: " + unit + ": [" + d.Section + "] " + d.Key + "= holds a line end: " + strconv.Quote(string(dst[value:])))
		}
	}
	return append(dst, '\n')
}

// appendEnvFile appends an environment file. gm's mark comes first, as
// comments, because every other line is a variable.
func appendEnvFile(dst []byte, u Unit) []byte {
	for i := range u.Directives {
		d := &u.Directives[i]
		if d.Section != markSection {
			continue
		}
		dst = appendDirective(dst, envMarkPrefix, u.Name, d)
	}
	for i := range u.Directives {
		d := &u.Directives[i]
		if d.Section == markSection {
			continue
		}
		mustBeKey(u.Name, d, d.Key)
		dst = append(dst, d.Key...)
		dst = append(dst, '=')
		dst = d.Value.append(dst)
		dst = append(dst, '\n')
	}
	return dst
}

// mustBeKey panics if name, of a section or directive, would not be read back.
func mustBeKey(unit string, d *Directive, name string) {
	if name == "" || !isKey(name) {
		panic("units: " + unit + ": [" + d.Section + "] " + d.Key + "= cannot be written")
	}
}

// IsEnvFile reports whether name is the name of an environment file.
func IsEnvFile(name string) bool { return strings.HasSuffix(name, ".env") }

func (v Text) append(dst []byte) []byte { return append(dst, v...) }
func (v Word) append(dst []byte) []byte { return append(dst, v...) }
func (v Path) append(dst []byte) []byte { return append(dst, v...) }
func (v Raw) append(dst []byte) []byte  { return append(dst, v...) }

func (v Words) append(dst []byte) []byte {
	for i, w := range v {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, w...)
	}
	return dst
}

func (v Bool) append(dst []byte) []byte {
	if v {
		return append(dst, "yes"...)
	}
	return append(dst, "no"...)
}

func (v Count) append(dst []byte) []byte { return strconv.AppendInt(dst, int64(v), 10) }

func (v Bytes) append(dst []byte) []byte {
	if v == InfiniteBytes {
		return append(dst, "infinity"...)
	}
	return strconv.AppendUint(dst, uint64(v), 10)
}

// append leaves out years, months and weeks, whose length a reader has to look
// up (systemd.time(7): a month is 30.44 days).
func (v Span) append(dst []byte) []byte {
	if v == InfiniteSpan {
		return append(dst, "infinity"...)
	}
	us := int64(v) / 1000
	if us <= 0 {
		return append(dst, '0')
	}
	start := len(dst)
	for _, unit := range [...]struct {
		us   int64
		name string
	}{{86400e6, "d"}, {3600e6, "h"}, {60e6, "min"}, {1e6, "s"}, {1e3, "ms"}, {1, "us"}} {
		if us < unit.us {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendInt(dst, us/unit.us, 10)
		dst = append(dst, unit.name...)
		us %= unit.us
	}
	return dst
}

func (v Stream) append(dst []byte) []byte {
	dst = append(dst, v.Kind...)
	if v.Path != "" {
		dst = append(dst, ':')
		dst = append(dst, v.Path...)
	}
	return dst
}

func (v Command) append(dst []byte) []byte {
	dst = append(dst, v.Prefix...)
	for i, arg := range v.Argv {
		if i > 0 {
			dst = append(dst, ' ')
		}
		// The program is never a variable, and systemd does not halve "$$" in it.
		dst = appendWord(dst, "", string(arg), i > 0 && !v.keepsDollar())
	}
	return dst
}

// keepsDollar reports whether "$" stands in Argv as it does in the unit.
func (v Command) keepsDollar() bool { return v.Vars || strings.Contains(v.Prefix, ":") }

func (v Assign) append(dst []byte) []byte { return appendWord(dst, v.Name, string(v.Value), false) }

// append writes the value for an environment file: inside double quotes only
// `"\$ and the backquote are escaped, everything else is itself, line ends too.
func (v FileAssign) append(dst []byte) []byte {
	if isPlain(string(v)) {
		return append(dst, v...)
	}
	dst = append(dst, '"')
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch c {
		case '"', '\\', '$', '`':
			dst = append(dst, '\\')
		case '-':
			// Such a line could be taken for a file's header in a stream
			// (WriteStream). systemd drops a backslash at the end of a line
			// together with the line's end.
			if i > 0 && v[i-1] == '\n' && strings.HasPrefix(string(v[i:]), "-- ") {
				dst = append(dst, "-\\\n"...)
				continue
			}
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// appendWord appends name=text as one word of systemd.syntax(7), QUOTING, bare
// where it needs no quotes. With an empty name there is no "=".
func appendWord(dst []byte, name, text string, doubleDollar bool) []byte {
	quote := !isPlain(text) || text == "" && name == ""
	if quote {
		dst = append(dst, '"')
	}
	if name != "" {
		dst = append(dst, name...)
		dst = append(dst, '=')
	}
	if !quote {
		return append(dst, text...)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '$' && doubleDollar:
			dst = append(dst, "$$"...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c == 0xc2 && i+1 < len(text) && text[i+1] < 0xa0:
			// U+0080 to U+009F are controls as well: no terminal shall see them.
			i++
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[text[i]>>4], hexDigits[text[i]&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// isPlain reports whether text needs no quotes, for systemd or for a reader who
// knows the shell.
func isPlain(text string) bool {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '+' <= c && c <= ':', '@' <= c && c <= 'Z', c == '_', c == '=', c == '%', c == '~':
			// From + to : are the digits and ",-./".
		default:
			return false
		}
	}
	return true
}
