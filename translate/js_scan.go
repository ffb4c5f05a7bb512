package translate

import (
	"unicode"
	"unicode/utf8"
)

// tokenKind is what a token of JavaScript is, as far as the reader must know.
type tokenKind uint8

const (
	tokenEnd      tokenKind = iota // the end of the text
	tokenWord                      // an identifier or keyword
	tokenNumber                    // 10, 0x1f, .5e3, 10n
	tokenString                    // with its quotes
	tokenTemplate                  // `text`, or a piece of it: `a${ or }b${ or }c`
	tokenRegExp                    // /text/flags
	tokenPunct                     // one character
	tokenBad                       // a string or comment without end, a character that starts nothing
)

// jsToken is one token; its text is text[start:end].
type jsToken struct {
	kind       tokenKind
	start, end int
}

// jsScanner splits JavaScript into tokens. goja has a scanner too, but not for
// others; the reader needs one for three things that must be right before or
// after goja's parser runs: a bound on nesting, the places of import and export
// statements, and the words of an error message.
type jsScanner struct {
	text []byte
	pos  int
	prev jsToken // the last token: tells a division from a regular expression
	open []byte  // brackets that are open; '$' for ${ inside a template
	at   []int   // where each of them stands
}

// next returns the next token, the end for ever after the last.
func (s *jsScanner) next() jsToken {
	t := s.scan()
	s.prev = t
	s.pos = t.end
	return t
}

func (s *jsScanner) scan() jsToken {
	if bad, ok := s.skipBlanks(); !ok {
		return bad
	}
	start := s.pos
	if start >= len(s.text) {
		return jsToken{tokenEnd, len(s.text), len(s.text)}
	}
	c := s.text[start]
	switch {
	case c == '"' || c == '\'':
		return s.scanString(start)
	case c == '`':
		return s.scanTemplate(start)
	case c == '/' && !s.afterValue():
		if t, ok := s.scanRegExp(start); ok {
			return t
		}
	case c == '(' || c == '[' || c == '{':
		s.open = append(s.open, c)
		s.at = append(s.at, start)
	case c == ')' || c == ']' || c == '}':
		if n := len(s.open) - 1; n >= 0 {
			opener := s.open[n]
			s.open, s.at = s.open[:n], s.at[:n]
			if opener == '$' && c == '}' {
				return s.scanTemplate(start)
			}
		}
	case isDigit(c) || c == '.' && start+1 < len(s.text) && isDigit(s.text[start+1]):
		return s.scanNumber(start)
	case isWordByte(c) || c == '\\' || c == '#':
		return s.scanWord(start)
	case c >= utf8.RuneSelf:
		if r, n := utf8.DecodeRune(s.text[start:]); !unicode.IsLetter(r) {
			return jsToken{tokenBad, start, start + n}
		}
		return s.scanWord(start)
	case c < ' ' || c == '@' || c == 0x7f:
		return jsToken{tokenBad, start, start + 1}
	}
	return jsToken{tokenPunct, start, start + 1}
}

// skipBlanks moves past white space and comments.
func (s *jsScanner) skipBlanks() (bad jsToken, ok bool) {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			s.pos++
		case c == '/' && s.pos+1 < len(s.text) && s.text[s.pos+1] == '/':
			for s.pos < len(s.text) && s.text[s.pos] != '\n' && s.text[s.pos] != '\r' {
				s.pos++
			}
		case c == '/' && s.pos+1 < len(s.text) && s.text[s.pos+1] == '*':
			end := indexFrom(s.text, "*/", s.pos+2)
			if end < 0 {
				return jsToken{tokenBad, s.pos, len(s.text)}, false
			}
			s.pos = end + 2
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(s.text[s.pos:])
			if !unicode.IsSpace(r) && r != '\ufeff' {
				return jsToken{}, true
			}
			s.pos += n
		default:
			return jsToken{}, true
		}
	}
	return jsToken{}, true
}

// indexFrom is bytes.Index from an offset on.
func indexFrom(text []byte, sub string, from int) int {
	for i := from; i+len(sub) <= len(text); i++ {
		if string(text[i:i+len(sub)]) == sub {
			return i
		}
	}
	return -1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || isDigit(c)
}

// afterValue reports whether the last token ends a value, so that a slash
// divides it. A closing brace counts as a value: an object, more often than a
// block.
func (s *jsScanner) afterValue() bool {
	switch s.prev.kind {
	case tokenNumber, tokenString, tokenRegExp:
		return true
	case tokenTemplate:
		return s.text[s.prev.end-1] == '`'
	case tokenWord:
		switch string(s.text[s.prev.start:s.prev.end]) {
		case "return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "else", "do", "instanceof", "await", "yield":
			return false
		}
		return true
	case tokenPunct:
		switch s.text[s.prev.start] {
		case ')', ']', '}':
			return true
		}
	}
	return false
}

// scanString reads a string; one that its line does not close is bad, and ends
// at the line's end.
func (s *jsScanner) scanString(start int) jsToken {
	quote := s.text[start]
	for i := start + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case quote:
			return jsToken{tokenString, start, i + 1}
		case '\\':
			i++
			if i+1 < len(s.text) && s.text[i] == '\r' && s.text[i+1] == '\n' {
				i++
			}
		case '\n', '\r':
			return jsToken{tokenBad, start, i}
		}
	}
	return jsToken{tokenBad, start, len(s.text)}
}

// scanTemplate reads a template from its backtick, or from the brace that ends
// a substitution, to the next substitution or its end.
func (s *jsScanner) scanTemplate(start int) jsToken {
	for i := start + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '`':
			return jsToken{tokenTemplate, start, i + 1}
		case '\\':
			i++
		case '$':
			if i+1 < len(s.text) && s.text[i+1] == '{' {
				s.open = append(s.open, '$')
				s.at = append(s.at, i)
				return jsToken{tokenTemplate, start, i + 2}
			}
		}
	}
	return jsToken{tokenBad, start, len(s.text)}
}

// scanRegExp reads a regular expression, which ends on its line.
func (s *jsScanner) scanRegExp(start int) (jsToken, bool) {
	class := false
	for i := start + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '[':
			class = true
		case ']':
			class = false
		case '/':
			if class {
				continue
			}
			for i++; i < len(s.text) && isWordByte(s.text[i]); i++ {
			}
			return jsToken{tokenRegExp, start, i}, true
		case '\n', '\r':
			return jsToken{}, false
		}
	}
	return jsToken{}, false
}

func (s *jsScanner) scanNumber(start int) jsToken {
	i := start
	for i < len(s.text) && (isWordByte(s.text[i]) || s.text[i] == '.' ||
		(s.text[i] == '+' || s.text[i] == '-') && i > start && (s.text[i-1] == 'e' || s.text[i-1] == 'E') && !isHex(s.text[start:i])) {
		i++
	}
	return jsToken{tokenNumber, start, i}
}

func isHex(number []byte) bool {
	return len(number) > 1 && number[0] == '0' && (number[1] == 'x' || number[1] == 'X')
}

func (s *jsScanner) scanWord(start int) jsToken {
	i := start + 1
	for i < len(s.text) {
		c := s.text[i]
		if isWordByte(c) || c == '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			break
		}
		r, n := utf8.DecodeRune(s.text[i:])
		if !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) {
			break
		}
		i += n
	}
	return jsToken{tokenWord, start, i}
}

// maxRun is how many tokens may follow each other without a comma or semicolon
// that ends the expression. goja's parser and compiler recurse on operators
// (!!!!a, a=>b=>c) as on brackets.
// Its scope analysis is quadratic in the depth, too.
const maxRun = 10_000

// jsDepth returns where the text nests deeper than goja's parser should follow,
// or -1. A frame counts the tokens of the expression or statement at its level,
// begun outside and not ended yet.
func jsDepth(text []byte) int {
	type frame struct {
		base  int // when the bracket opened
		run   int // now
		peak  int // the longest run since the last semicolon
		ended int // of the statement that the last semicolon ended
	}
	s := jsScanner{text: text}
	stack := []frame{{}}
	top := &stack[0]
	for {
		t := s.next()
		switch t.kind {
		case tokenEnd:
			return -1
		case tokenString, tokenRegExp, tokenTemplate, tokenBad:
			// Where a division was taken for a quote, brackets hide in here.
			top.run += 1 + (t.end-t.start)/16
		case tokenWord:
			top.run++
			switch string(text[t.start:t.end]) {
			case "else": // "if (a); else if (b); else …" nests, in spite of the semicolons
				top.run = max(top.run, top.ended+1)
			case "const", "let", "var", "import", "export": // a statement, whether or not a semicolon ends the last
				top.ended = max(top.peak, top.run)
				top.peak, top.run = top.base, top.base
			}
		default:
			switch text[t.start] {
			case ',':
				top.peak = max(top.peak, top.run)
				top.run = top.base
			case ';':
				top.ended = max(top.peak, top.run)
				top.peak, top.run = top.base, top.base
			default:
				top.run++
			}
		}
		switch open := len(s.open) + 1; {
		case open > len(stack):
			stack = append(stack, frame{base: top.run, run: top.run, peak: top.run, ended: top.run})
		case open < len(stack):
			stack = stack[:open]
			stack[open-1].run++
		}
		top = &stack[len(stack)-1]
		if len(stack) > maxDepth || top.run > maxRun {
			return t.start
		}
	}
}
