package translate

import (
	"strings"
	"unicode/utf8"
)

// splitArgs splits a string of arguments with PM2's own rule (lib/tools/
// Config.js): it is no shell. In order of choice at each place a token is
// x="…" or x='…' (quotes kept), "…" or '…' (quotes dropped), or a run without
// blanks; empty tokens vanish.
func splitArgs(s string) []string {
	var out []string
	for i := 0; i < len(s); {
		if n := assignToken(s[i:]); n > 0 {
			out = append(out, s[i:i+n])
			i += n
			continue
		}
		if q := s[i]; q == '"' || q == '\'' {
			if end := strings.IndexByte(s[i+1:], q); end >= 0 {
				if token := s[i+1 : i+1+end]; strings.TrimFunc(token, isJSSpace) != "" {
					out = append(out, token)
				}
				i += end + 2
				continue
			}
		}
		n := len(s) - i
		for j, c := range s[i:] {
			if isJSSpace(c) {
				n = j
				break
			}
		}
		if n == 0 {
			_, size := utf8.DecodeRuneInString(s[i:])
			i += size
			continue
		}
		token := s[i : i+n]
		if q := token[0]; (q == '"' || q == '\'') && last(token) == q { // only a lone quote gets here
			token = strings.TrimSuffix(token[1:], string(q))
		}
		if strings.TrimFunc(token, isJSSpace) != "" {
			out = append(out, token)
		}
		i += n
	}
	return out
}

// assignToken returns the length of a leading x="…" or x='…', or 0. It is the
// pattern [^\s"'=]+="[^"]*" of PM2, and its twin for single quotes.
func assignToken(s string) int {
	name := strings.IndexFunc(s, func(c rune) bool { return c == '"' || c == '\'' || c == '=' || isJSSpace(c) })
	if name < 1 || s[name] != '=' || name+1 >= len(s) {
		return 0
	}
	q := s[name+1]
	if q != '"' && q != '\'' {
		return 0
	}
	end := strings.IndexByte(s[name+2:], q)
	if end < 0 {
		return 0
	}
	return name + 2 + end + 1
}

// isJSSpace is JavaScript's \s, which also holds the byte order mark.
func isJSSpace(c rune) bool {
	switch c {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return c >= 0x2000 && c <= 0x200a
}
