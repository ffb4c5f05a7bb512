package translate

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"gm/diag"
)

// syntaxFault explains a syntax error: what is there, what was expected, and
// what to do. goja gives the place; the tokens before it give the reason.
func (r *reader) syntaxFault(code *Code, err error) *jsFault {
	var syntax *jsSyntaxError
	if !errors.As(err, &syntax) {
		return &jsFault{code: code, at: r.at(0, 0), cause: err.Error()}
	}
	e := explainer{reader: r, s: jsScanner{text: r.text}}
	at, cause, remedy := e.explain(syntax.offset, code == codeBadJSON)
	if cause == "" {
		end := min(syntax.offset+1, len(r.text))
		at, cause = r.at(syntax.offset, end), "a syntax error: "+lowerFirst(syntax.message)
	}
	return &jsFault{code: code, at: at, cause: cause, remedy: remedy}
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

const topLevelAwait = "found await outside an async function"

// explainer walks over the tokens up to a syntax error.
type explainer struct {
	*reader
	s jsScanner
}

// show names a token in a message.
func (e *explainer) show(t jsToken) string {
	if t.kind == tokenEnd {
		return "the end of the text"
	}
	text := string(e.text[t.start:t.end])
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:37], "") + "…"
	}
	return text
}

// explain finds the reason of an error at an offset. An empty cause means that
// it found none. JSON is one value and nothing more.
func (e *explainer) explain(offset int, json bool) (at diag.Range, cause, remedy string) {
	var before, prev, t jsToken // the last three tokens
	var open []byte
	var opened []int
	ended := false // the value of a JSON text is complete
	for {
		open, opened = append(open[:0], e.s.open...), append(opened[:0], e.s.at...)
		before, prev = prev, t
		t = e.s.next()
		if t.kind == tokenBad && t.start <= offset {
			return e.badToken(t)
		}
		if json && ended && t.kind != tokenEnd {
			return e.afterEnd(t)
		}
		if c := e.punct(t); c == ')' || c == ']' || c == '}' {
			if at, cause, remedy := e.closer(t, c, open, opened); cause != "" {
				return at, cause, remedy
			}
			ended = len(open) == 1
		}
		if t.kind == tokenEnd || t.end > offset || t.start >= offset {
			break
		}
		if json && len(e.s.open) == 0 && t.kind != tokenPunct {
			ended = t.kind != tokenTemplate
		}
	}
	if t.kind == tokenEnd {
		if len(opened) > 0 {
			at := opened[len(opened)-1]
			bracket := string(e.text[at])
			return e.at(at, at+1), "this " + bracket + " is never closed", "add the missing " + closerOf(bracket[0])
		}
		return e.at(t.start, t.end), "the text ends where a value was expected", ""
	}
	inside := byte(0)
	if len(open) > 0 {
		inside = open[len(open)-1]
	}
	at = e.at(t.start, t.end)
	found := e.show(t)
	key := inside == '{' && (e.punct(before) == '{' || e.punct(before) == ',')
	switch {
	case prev.kind == tokenWord && e.show(prev) == "await":
		return e.at(prev.start, prev.end), topLevelAwait, "export the value itself, without await"
	case inside == '{' && e.punct(prev) == ',' && e.punct(before) == ',':
		return e.at(prev.start, prev.end), "found a second comma where a key was expected", "remove it"
	case inside == '{' && e.punct(t) == '=':
		return at, "found = where : was expected", "write a colon between a key and its value"
	case e.punct(t) == ',' && (e.punct(prev) == ',' || e.punct(prev) == inside):
		return at, "found a comma where a value or key was expected", "remove it"
	case e.punct(t) == ',' && e.punct(prev) == ':':
		return at, "found a comma where a value was expected", "write the value after the colon"
	case !startsValue(t, e.punct(t)) || !endsValue(prev, e.punct(prev)) || inside == '(' || inside == 0:
		return diag.Range{}, "", ""
	case key && isKey(prev):
		return at, fmt.Sprintf("found %s after the key %s; a colon was expected", found, e.show(prev)), "write a colon between a key and its value"
	}
	return at, fmt.Sprintf("found %s after %s; a comma was expected", found, e.show(prev)), "write a comma before it"
}

// punct returns the character of a punctuation token, or 0.
func (e *explainer) punct(t jsToken) byte {
	if t.kind != tokenPunct {
		return 0
	}
	return e.text[t.start]
}

func closerOf(c byte) string {
	switch c {
	case '{', '$':
		return "}"
	case '[':
		return "]"
	}
	return ")"
}

func isKey(t jsToken) bool {
	return t.kind == tokenWord || t.kind == tokenString || t.kind == tokenNumber
}

func startsValue(t jsToken, c byte) bool { return c == 0 || c == '{' || c == '[' }

func endsValue(t jsToken, c byte) bool {
	return c == 0 && t.end > 0 || c == '}' || c == ']' || c == ')'
}

// badToken explains a character or string that is none.
func (e *explainer) badToken(t jsToken) (at diag.Range, cause, remedy string) {
	c, n := utf8.DecodeRune(e.text[t.start:])
	at = e.at(t.start, t.end)
	switch {
	case c == '"' || c == '\'':
		return at, "the string that starts here is not closed on its line", fmt.Sprintf("close it with %c", c)
	case c == '`' || c == '}':
		return at, "the template that starts here is never closed", "close it with `"
	case c == '/':
		return e.at(t.start, t.start+2), "the comment that starts here is never closed", "close it with */"
	case strings.ContainsRune("“”„‟«»‘’‚‛′″", c):
		return e.at(t.start, t.start+n), fmt.Sprintf("found the typographic quote %c where a plain quote was expected", c),
			"replace it by \" (word processors and chats change quotes)"
	case strings.ContainsRune("–—−", c):
		return e.at(t.start, t.start+n), fmt.Sprintf("found %c, which is a dash and no minus", c), "replace it by -"
	case c < ' ' || c == 0x7f:
		return e.at(t.start, t.start+n), fmt.Sprintf("found the control character U+%04X", c), "remove it"
	}
	return e.at(t.start, t.start+n), fmt.Sprintf("found %c, which starts no value", c), ""
}

// afterEnd explains text behind the value.
func (e *explainer) afterEnd(t jsToken) (at diag.Range, cause, remedy string) {
	at = e.at(t.start, t.end)
	switch e.punct(t) {
	case ';':
		return at, "found ; after the value; PM2 refuses it in JSON", "remove the semicolon"
	case '}', ']', ')':
		return at, fmt.Sprintf("found %s after the end of the value: it has no opening bracket", e.show(t)), "remove it, or add the opening bracket"
	}
	return at, fmt.Sprintf("found %s after the end of the value", e.show(t)), "keep one value: put the apps into one list"
}

// closer explains a closing bracket that closes nothing, or something else.
func (e *explainer) closer(t jsToken, c byte, open []byte, opened []int) (at diag.Range, cause, remedy string) {
	at = e.at(t.start, t.end)
	if len(open) == 0 {
		return at, fmt.Sprintf("found %c, and no bracket is open", c), "remove it"
	}
	want := closerOf(open[len(open)-1])
	if want[0] == c {
		return diag.Range{}, "", ""
	}
	from := opened[len(opened)-1]
	line, column := e.src.Position(from)
	return at, fmt.Sprintf("found %c where %s was expected, for the %c of line %d, column %d", c, want, e.text[from], line, column), "add the " + want
}
