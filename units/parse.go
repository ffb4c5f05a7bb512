package units

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gm/diag"
)

// The codes of what Parse, ReadStream and Set.Check report. Like every code
// they are never renamed.
const (
	// CodeUnknown is for a directive or section that gm's table lacks.
	CodeUnknown = "unknown-directive"
	// CodeBad is for a line that systemd would drop, or refuse the file for.
	CodeBad = "bad-directive"
	// CodeTooNew is for a directive that the target's systemd does not know.
	CodeTooNew = "directive-too-new"
	// CodeBadStream is for a stream that is not one file after the other.
	CodeBadStream = "bad-stream"
)

// Parse reads the text of the file of that name: a unit, a drop-in or an
// environment file. It takes what systemd takes (systemd.syntax(7)) and undoes
// Render: Parse(Render(u)) has u's names and values.
//
// A directive gm does not know is kept as Raw, with a warning unless its name
// or its section's begins with "X-". What systemd would drop is an error and is
// not in the result.
func Parse(name string, src *diag.Source) (Unit, diag.List) {
	return parseRange(name, src, 0, len(src.Text))
}

// ParseOnly returns those directives of Parse's result that are wanted, in a fraction of its
// time if they are few. Wanted is asked by section and key.
func ParseOnly(name string, src *diag.Source, wanted func(section, key string) bool) Unit {
	p := parser{src: src, end: len(src.Text), text: string(src.Text), wanted: wanted}
	p.unit.Name = name
	const usual = 12
	p.unit.Directives = make([]Directive, 0, usual)
	if IsEnvFile(name) {
		p.envFile()
		p.unit.Directives = slices.DeleteFunc(p.unit.Directives, func(d Directive) bool { return !wanted(d.Section, d.Key) })
	} else {
		p.unitFile()
	}
	return p.unit
}

// parseRange parses src.Text[start:end].
func parseRange(name string, src *diag.Source, start, end int) (Unit, diag.List) {
	p := parser{src: src, pos: start, end: end}
	p.unit.Name = name
	if IsEnvFile(name) {
		p.envFile()
	} else {
		p.unitFile()
	}
	return p.unit, p.list
}

type parser struct {
	src      *diag.Source
	pos, end int
	unit     Unit
	list     diag.List
	// For ParseOnly: src.Text, of which lines are parts, and what is wanted of it.
	text   string
	wanted func(section, key string) bool
}

func (p *parser) report(severity diag.Severity, code string, start, end int, remedy, cause string, args ...any) {
	p.list = append(p.list, diag.Diagnostic{
		Severity: severity, Code: code, At: p.src.Range(start, end),
		Cause: fmt.Sprintf(cause, args...), Remedy: remedy,
	})
}

func (p *parser) bad(start, end int, remedy, cause string, args ...any) {
	p.report(diag.Error, CodeBad, start, end, remedy, cause, args...)
}

func (p *parser) unitFile() {
	section, known, ignored := "", false, false
	if bytes.HasPrefix(p.src.Text[p.pos:p.end], []byte(byteOrderMark)) {
		p.pos += len(byteOrderMark)
	}
	for {
		line, start, end, ok := p.logicalLine()
		if !ok {
			return
		}
		if line == "" {
			continue
		}
		if p.wanted != nil && line[0] != '[' {
			if key, _, _ := strings.Cut(line, "="); !p.wanted(section, trimRight(key)) {
				continue
			}
		}
		if err := checkBytes(line); err != nil {
			p.bad(start, end, "", "the line %s", err)
			continue
		}
		if line[0] == '[' {
			if line[len(line)-1] != ']' || !isKey(line[1:len(line)-1]) || len(line) == 2 {
				p.bad(start, end, "write [Name], with letters, digits, - and _", "%q is no section header", clip(line))
				ignored = true
				continue
			}
			section, ignored = line[1:len(line)-1], false
			known = isKnownSection(section)
			if !known && !isExtension(section) {
				p.report(diag.Warning, CodeUnknown, start, end, "", "[%s] is no section that gm knows", section)
			}
			continue
		}
		key, text, found := strings.Cut(line, "=")
		key = trimRight(key)
		switch {
		case ignored:
		case !found:
			p.bad(start, end, "write Key=value", "%q has no =", clip(line))
		case !isKey(key) || key == "":
			p.bad(start, end, "", "%q is no directive name; it takes letters, digits, -, _ and .", clip(key))
		case section == "":
			p.bad(start, end, "put a header such as [Service] above it", "%s= stands outside of any section", key)
		default:
			p.directive(section, known, key, trimLeft(text), start, end)
		}
	}
}

// directive adds what one line holds.
func (p *parser) directive(section string, known bool, key, text string, start, end int) {
	rule, ok := Lookup(section, key)
	if !ok && known && !isExtension(section) && !isExtension(key) {
		p.report(diag.Warning, CodeUnknown, start, start+len(key), remedyForUnknown(section, key),
			"%s= is no directive of [%s] that gm knows", key, section)
	}
	values, err := ParseValues(rule, text)
	if err != nil {
		p.bad(max(start, end-len(text)), end, "", "%s: %s", key, err)
	}
	from := p.src.Range(start, end)
	for _, v := range values {
		p.unit.Directives = append(p.unit.Directives, Directive{section, key, v, from})
	}
}

const byteOrderMark = "\ufeff"

// logicalLine returns the next line that is no comment, without outer blanks,
// and where it is. Lines that a backslash joins are one: each backslash becomes
// a blank, and comments between them are left out.
func (p *parser) logicalLine() (line string, start, end int, ok bool) {
	joined := ""
	continued := false
	for p.pos < p.end {
		text, at := p.physicalLine()
		trimmed := trimLeft(text)
		if trimmed != "" && (trimmed[0] == '#' || trimmed[0] == ';') {
			continue
		}
		if !continued {
			start = at + len(text) - len(trimmed)
		}
		end = at + len(trimRight(text))
		joined += text
		if !oddBackslashes(joined) {
			return trimLeft(trimRight(joined)), start, max(start, end), true
		}
		joined = joined[:len(joined)-1] + " "
		continued = true
	}
	return trimLeft(trimRight(joined)), start, max(start, end), continued
}

// physicalLine returns the next line and its offset. Like systemd's read_line
// it ends a line at "\n", "\r", NUL, or each of them once in a row.
func (p *parser) physicalLine() (string, int) {
	text, at := p.src.Text[p.pos:p.end], p.pos
	n := len(text)
	for _, c := range []byte{'\n', '\r', 0} {
		if end := bytes.IndexByte(text[:n], c); end >= 0 {
			n = end
		}
	}
	p.pos += n
	for seen := uint32(0); p.pos < p.end; p.pos++ {
		c := p.src.Text[p.pos]
		if c != '\n' && c != '\r' && c != 0 || seen&(1<<c) != 0 || seen&1 != 0 {
			break
		}
		seen |= 1 << c
	}
	if n >= 1<<20 {
		p.bad(at, at+n, "", "the line has %d bytes; systemd reads lines of at most 1 MiB", n)
		return "", at
	}
	if p.text != "" {
		return p.text[at : at+n], at
	}
	return string(text[:n]), at
}

// isKnownSection reports whether gm's table covers the section.
func isKnownSection(section string) bool {
	_, ok := table().end[section]
	return ok
}

// isExtension reports whether systemd leaves a section or key of that name to
// others (systemd.unit(5)).
func isExtension(name string) bool { return strings.HasPrefix(name, "X-") }

// remedyForUnknown says where key belongs, or what it may have been meant to be.
func remedyForUnknown(section, key string) string {
	if now, ok := successor(section, key); now != "" {
		return "write " + now + " instead"
	} else if ok {
		return "leave it out; it has no effect"
	}
	best, bestDistance := "", min(3, len(key)/2+1)
	for _, r := range table().rules {
		if r.Key == key && r.Section != markSection {
			return fmt.Sprintf("%s= belongs in [%s]", key, r.Section)
		}
		if r.Section == section {
			if d := diag.Edits(strings.ToLower(key), strings.ToLower(r.Key), bestDistance); d < bestDistance {
				best, bestDistance = r.Key, d
			}
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "=?"
}
