package units

import (
	"strings"
)

// envMarkPrefix begins a comment in an environment file that holds a directive
// of [X-Gm].
const envMarkPrefix = "# X-Gm: "

// envFile reads an environment file by the states of systemd's own reader
// (src/basic/env-file.c), which is close to a shell and is none: text behind a
// closing quote goes on, quoted or not, and a backslash inside double quotes
// escapes only what a shell would expand.
func (p *parser) envFile() {
	var marks []Directive
	text := p.src.Text
	for p.pos < p.end {
		start := p.pos
		switch c := text[p.pos]; {
		case isBlank(c):
			p.pos++
		case c == '#' || c == ';':
			end := p.lineEnd()
			p.pos = end
			if directive, ok := strings.CutPrefix(string(text[start:end]), envMarkPrefix); ok {
				if key, value, ok := strings.Cut(directive, "="); ok && isKey(key) && key != "" {
					before := len(p.unit.Directives)
					p.directive(markSection, true, key, value, end-len(directive), end)
					marks = append(marks, p.unit.Directives[before:]...)
					p.unit.Directives = p.unit.Directives[:before]
				}
			}
		default:
			p.envVariable()
		}
	}
	p.unit.Directives = append(p.unit.Directives, marks...)
}

// lineEnd returns where the line at pos ends.
func (p *parser) lineEnd() int {
	i := p.pos
	for i < p.end && p.src.Text[i] != '\n' && p.src.Text[i] != '\r' {
		i++
	}
	return i
}

// envVariable reads one NAME=value, over as many lines as its quotes span.
func (p *parser) envVariable() {
	start, end := p.pos, p.lineEnd()
	line := string(p.src.Text[start:end])
	name, _, found := strings.Cut(line, "=")
	if !found {
		p.bad(start, end, "write NAME=value", "%q has no =", clip(line))
		p.pos = end
		return
	}
	p.pos += len(name) + 1
	name = strings.TrimRight(name, blanks)
	value, closed := p.envValue()
	if !closed {
		// systemd takes all that follows for the value.
		p.bad(start, start+len(name), "", "a quote in the value of %s is not closed", clip(name))
	}
	v, err := NewFileAssign(name, value)
	if err != nil {
		p.bad(start, start+len(name), "", "%s", err)
		return
	}
	p.unit.Directives = append(p.unit.Directives, Directive{Key: name, Value: v, From: p.src.Range(start, p.pos)})
}

// envValue reads the value at pos and its line end.
func (p *parser) envValue() (value string, closed bool) {
	var out []byte
	var quote byte
	bare := false // in text without quotes, whose trailing blanks are dropped
	keep := 0     // how much of out stays when they are
	for ; p.pos < p.end; p.pos++ {
		c := p.src.Text[p.pos]
		next := byte(0)
		if p.pos+1 < p.end {
			next = p.src.Text[p.pos+1]
		}
		switch {
		case quote == '\'' && c != '\'':
			out = append(out, c)
		case quote == '"' && c == '\\':
			p.pos++
			switch {
			case strings.IndexByte("\"\\`$", next) >= 0:
				out = append(out, next)
			case next != '\n':
				out = append(out, '\\', next)
			}
		case quote != 0 && c == quote:
			quote, bare = 0, false
		case quote != 0:
			out = append(out, c)
		case c == '\n' || c == '\r':
			if bare {
				out = out[:keep]
			}
			return string(out), true
		case c == '\\':
			p.pos++
			if next != '\n' && next != '\r' && p.pos < p.end {
				out = append(out, next)
			}
			bare, keep = true, len(out)
		case !bare && (c == '"' || c == '\''):
			quote = c
		case !bare && isBlank(c):
		default:
			out = append(out, c)
			bare = true
			if !isBlank(c) {
				keep = len(out)
			}
		}
	}
	if bare {
		out = out[:keep]
	}
	return string(out), quote == 0
}
