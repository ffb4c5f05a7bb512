package watch

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// glob is a pattern of chokidar's (picomatch with dot: true): each alternative is a
// path in segments.
type glob [][]segment

// segment is what stands between two slashes.
type segment struct {
	deep   bool // "**": any number of directories
	tokens []token
}

type token struct {
	kind byte // 0 is the rune itself; '?', '*', '[' as in a glob; '(' is a group
	r    rune
	set  set
	op   byte // of a group: one of @ ? * + !
	alts [][]token
}

type set struct {
	not    bool
	ranges [][2]rune
}

// parseGlob reads a cleaned path.
func parseGlob(text string) glob {
	var g glob
	for _, alternative := range expandBraces(text) {
		var segments []segment
		for _, part := range strings.Split(alternative, "/") {
			segments = append(segments, segment{part == "**", parseTokens(part)})
		}
		g = append(g, segments)
	}
	return g
}

// literal returns the text that a segment stands for, if it is only one.
func (s segment) literal() (string, bool) {
	var b strings.Builder
	for _, t := range s.tokens {
		if t.kind != 0 {
			return "", false
		}
		b.WriteRune(t.r)
	}
	return b.String(), true
}

// match reports whether the glob matches a path.
func (g glob) match(parts []string) bool {
	for _, segments := range g {
		if matchSegments(segments, parts, false) {
			return true
		}
	}
	return false
}

// reaches reports whether the glob may match something below a directory.
func (g glob) reaches(dir []string) bool {
	for _, segments := range g {
		if matchSegments(segments, dir, true) {
			return true
		}
	}
	return false
}

func matchSegments(segments []segment, parts []string, below bool) bool {
	for len(segments) > 0 {
		if segments[0].deep {
			if below {
				return true
			}
			for i := range len(parts) + 1 {
				if matchSegments(segments[1:], parts[i:], below) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return below
		}
		if !matchName(segments[0].tokens, parts[0]) {
			return false
		}
		segments, parts = segments[1:], parts[1:]
	}
	return len(parts) == 0 && !below
}

// matchName reports whether tokens match a whole name.
func matchName(tokens []token, name string) bool { return new(matching).match(tokens, name, atEnd) }

func atEnd(rest string) bool { return rest == "" }

// matching is one attempt, which counts its steps: with groups of stars in groups
// there is no end of them.
type matching struct{ steps int }

// mostSteps is when a name counts as not matched. Without such groups it takes some
// hundred.
const mostSteps = 100_000

// match reports whether s begins with what the tokens match and next takes the
// rest.
func (m *matching) match(tokens []token, s string, next func(string) bool) bool {
	if m.steps++; m.steps > mostSteps {
		return false
	}
	if len(tokens) == 0 {
		return next(s)
	}
	t, after := tokens[0], tokens[1:]
	rest := func(s string) bool { return m.match(after, s, next) }
	switch t.kind {
	case '*':
		for i := range s {
			if rest(s[i:]) {
				return true
			}
		}
		return rest("")
	case '(':
		return m.group(t, s, rest)
	}
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 || t.kind == 0 && r != t.r || t.kind == '[' && !t.set.has(r) {
		return false
	}
	return rest(s[size:])
}

func (m *matching) group(t token, s string, rest func(string) bool) bool {
	one := func(s string, next func(string) bool) bool {
		for _, alternative := range t.alts {
			if m.match(alternative, s, next) {
				return true
			}
		}
		return false
	}
	switch t.op {
	case '?':
		return rest(s) || one(s, rest)
	case '*', '+':
		var more func(string) bool
		more = func(left string) bool {
			return rest(left) || one(left, func(r string) bool { return len(r) < len(left) && more(r) })
		}
		if t.op == '*' {
			return more(s)
		}
		return one(s, more)
	case '!':
		for i := range len(s) + 1 {
			if !one(s[:i], atEnd) && rest(s[i:]) {
				return true
			}
		}
		return false
	}
	return one(s, rest)
}

func (s set) has(r rune) bool {
	for _, span := range s.ranges {
		if span[0] <= r && r <= span[1] {
			return !s.not
		}
	}
	return s.not
}

// parseTokens reads one segment. What is not closed stands for itself.
func parseTokens(text string) []token {
	var tokens []token
	for text != "" {
		r, size := utf8.DecodeRuneInString(text)
		op, open := byte('@'), 0
		switch {
		case strings.ContainsRune("@?*+!", r) && strings.HasPrefix(text[1:], "("):
			op, open = text[0], 1
		case r == '(' && strings.Contains(text, "|"):
		default:
			open = -1
		}
		if open >= 0 {
			if end := closing(text, open, '(', ')'); end > 0 {
				group := token{kind: '(', op: op}
				for _, alternative := range splitTop(text[open+1:end], '|') {
					group.alts = append(group.alts, parseTokens(alternative))
				}
				tokens, text = append(tokens, group), text[end+1:]
				continue
			}
		}
		switch {
		case r == '\\' && len(text) > 1:
			text = text[1:]
			r, size = utf8.DecodeRuneInString(text)
			tokens = append(tokens, token{r: r})
		case r == '*' || r == '?':
			if n := len(tokens); r == '?' || n == 0 || tokens[n-1].kind != '*' {
				tokens = append(tokens, token{kind: byte(r)})
			}
		case r == '[':
			if set, length, ok := parseSet(text); ok {
				tokens, size = append(tokens, token{kind: '[', set: set}), length
				break
			}
			fallthrough
		default:
			tokens = append(tokens, token{r: r})
		}
		text = text[size:]
	}
	return tokens
}

// parseSet reads "[a-z_]" and how long it is.
func parseSet(text string) (s set, length int, ok bool) {
	i := 1
	if i < len(text) && (text[i] == '^' || text[i] == '!') {
		s.not = true
		i++
	}
	char := func() rune {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		return r
	}
	for first := i; i < len(text) && (text[i] != ']' || i == first); {
		low := char()
		high := low
		if i+1 < len(text) && text[i] == '-' && text[i+1] != ']' {
			i++
			high = char()
		}
		s.ranges = append(s.ranges, [2]rune{low, high})
	}
	if i >= len(text) {
		return s, 0, false
	}
	return s, i + 1, true
}

// closing returns where the bracket that opens at start is closed, or -1.
func closing(text string, start int, open, shut byte) int {
	level := 0
	for i := start; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case open:
			level++
		case shut:
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

// splitTop splits at a character that is in no bracket.
func splitTop(text string, at byte) []string {
	var parts []string
	level, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '(' || c == '{':
			level++
		case c == ')' || c == '}':
			level--
		case c == at && level == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// mostAlternatives is how many patterns the braces of one may stand for.
const mostAlternatives = 1000

// expandBraces turns "a{b,c}" into "ab" and "ac", and "{1..3}" into three.
func expandBraces(text string) []string {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
			continue
		}
		end := -1
		if text[i] == '{' {
			end = closing(text, i, '{', '}')
		}
		if end < 0 {
			continue
		}
		words := splitTop(text[i+1:end], ',')
		if len(words) == 1 {
			if words = numbers(words[0]); words == nil {
				continue
			}
		}
		var all []string
		for _, word := range words {
			for _, one := range expandBraces(text[:i] + word + text[end+1:]) {
				if all = append(all, one); len(all) > mostAlternatives {
					return []string{text}
				}
			}
		}
		return all
	}
	return []string{text}
}

// numbers is "1", "2", "3" for "1..3".
func numbers(text string) []string {
	from, to, _ := strings.Cut(text, "..")
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || b < a || b-a > mostAlternatives {
		return nil
	}
	var all []string
	for ; a <= b; a++ {
		all = append(all, strconv.Itoa(a))
	}
	return all
}
