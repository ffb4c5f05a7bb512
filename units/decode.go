package units

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// ParseValue reads the text behind "Key=" by the rule's grammar. The text holds
// one value; where a line can hold several, as Environment= can, ParseValues
// reads them all.
func ParseValue(rule Rule, text string) (Value, error) {
	values, err := ParseValues(rule, text)
	if err != nil {
		return nil, err
	}
	if len(values) != 1 {
		return nil, fmt.Errorf("%q holds %d values; one is expected", clip(text), len(values))
	}
	return values[0], nil
}

// ParseValues reads the text behind "Key=": one value, or those of the several
// directives that the line stands for. Empty text is Raw(""), or Text("").
func ParseValues(rule Rule, text string) ([]Value, error) {
	text = strings.Trim(text, " \t")
	if text == "" && rule.Kind != KindText {
		return []Value{Raw("")}, nil
	}
	switch rule.Kind {
	case KindCommand:
		return parseCommands(text)
	case KindAssign:
		return parseAssigns(text)
	}
	v, err := parseOne(rule.Kind, text)
	if err != nil {
		return nil, err
	}
	return []Value{v}, nil
}

func parseOne(kind Kind, text string) (Value, error) {
	switch kind {
	case KindText:
		return valueOf(NewText(Spec(text)))
	case KindWord:
		return valueOf(NewWord(text))
	case KindWords:
		return parseWords(text)
	case KindBool, KindSwitch:
		if b, ok := parseBool(text); ok {
			return Bool(b), nil
		}
		if kind == KindSwitch {
			return valueOf(NewWord(text))
		}
		return nil, fmt.Errorf("%q is neither yes nor no", clip(text))
	case KindCount, KindLimit:
		n, err := strconv.ParseInt(text, 0, 64)
		if err == nil && !strings.Contains(text, "_") {
			return Count(n), nil
		}
		if kind == KindLimit {
			return valueOf(NewWord(text))
		}
		return nil, fmt.Errorf("%q is not a whole number", clip(text))
	case KindBytes:
		if strings.HasSuffix(text, "%") {
			return valueOf(NewWord(text))
		}
		return valueOf(parseBytes(text))
	case KindSpan:
		return valueOf(parseSpan(text))
	case KindPath:
		return valueOf(NewPath(Spec(text)))
	case KindStream:
		kind, path, found := strings.Cut(text, ":")
		if found && path == "" {
			return nil, fmt.Errorf("%q needs a path behind the colon", clip(text))
		}
		return valueOf(NewStream(kind, Spec(path)))
	case KindCalendar:
		return valueOf(ParseCalendar(text))
	}
	return valueOf(NewRaw(text))
}

// valueOf makes a Value of a constructor's result, nil where it failed.
func valueOf[V Value](v V, err error) (Value, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func parseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}

func parseWords(text string) (Value, error) {
	if !strings.ContainsAny(text, `"'`) {
		return valueOf(NewWords(strings.Fields(text)...))
	}
	var words []string
	for rest := text; ; {
		word, tail, err := nextWord(rest, false)
		if err != nil {
			return nil, err
		}
		if tail == noMore {
			return valueOf(NewWords(words...))
		}
		words, rest = append(words, word), tail
	}
}

// parseAssigns returns those that can be read with the error of one that cannot be: systemd
// leaves out that one.
func parseAssigns(text string) (values []Value, wrong error) {
	for rest := text; ; {
		word, tail, err := nextWord(rest, true)
		if err != nil {
			return values, errors.Join(wrong, err)
		}
		if tail == noMore {
			return values, wrong
		}
		rest = tail
		name, value, found := strings.Cut(word, "=")
		if !found {
			wrong = fmt.Errorf(`%q is no NAME=value; a value with blanks needs quotes around the whole assignment: "NAME=a b"`, clip(word))
			continue
		}
		a, err := NewAssign(name, Spec(value))
		if err != nil {
			wrong = err
			continue
		}
		values = append(values, a)
	}
}

const blanks = " \t\n\r"

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func trimLeft(text string) string {
	for text != "" && isBlank(text[0]) {
		text = text[1:]
	}
	return text
}

func trimRight(text string) string {
	for text != "" && isBlank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

// noMore is what nextWord returns instead of a rest when there was no word; no
// unit holds it.
const noMore = "\x00"

// nextWord takes the first word off text: systemd.syntax(7), QUOTING. C escapes
// are resolved when escapes is set; else a backslash is itself.
func nextWord(text string, escapes bool) (word, rest string, err error) {
	text = strings.TrimLeft(text, blanks)
	if text == "" || text == noMore {
		return "", noMore, nil
	}
	var out []byte
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && escapes:
			n := 0
			if out, n, err = unescape(out, text[i+1:]); err != nil {
				return "", "", err
			}
			i += n
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				out = append(out, c)
			}
		case c == '"' || c == '\'':
			quote = c
		case isBlank(c):
			return string(out), strings.TrimLeft(text[i:], blanks), nil
		default:
			out = append(out, c)
		}
	}
	if quote != 0 {
		return "", "", fmt.Errorf("a quote %c is not closed", quote)
	}
	return string(out), "", nil
}

// unescape appends what the escape sequence at the start of text stands for,
// the backslash already taken, and returns how long the sequence is.
func unescape(out []byte, text string) ([]byte, int, error) {
	if text == "" {
		return nil, 0, errors.New("a backslash at the end escapes nothing")
	}
	c := text[0]
	if i := strings.IndexByte(`abfnrtv\"'s`, c); i >= 0 {
		return append(out, "\a\b\f\n\r\t\v\\\"' "[i]), 1, nil
	}
	base, digits, start := 16, 0, 1
	switch c {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3', '4', '5', '6', '7':
		base, digits, start = 8, 3, 0
	}
	if digits == 0 || len(text) < start+digits {
		return nil, 0, fmt.Errorf("%q is no escape sequence", clip(`\`+firstRune(text)))
	}
	sequence := text[:start+digits]
	n, err := strconv.ParseUint(sequence[start:], base, 32)
	if err != nil || n == 0 {
		return nil, 0, fmt.Errorf("%q is no escape sequence", `\`+strings.ToValidUTF8(sequence, "\ufffd"))
	}
	if digits <= 3 {
		if n > 255 {
			return nil, 0, fmt.Errorf("%q is no byte", `\`+sequence)
		}
		return append(out, byte(n)), len(sequence), nil
	}
	if n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return nil, 0, fmt.Errorf("%q is no character", `\`+sequence)
	}
	return utf8.AppendRune(out, rune(n)), len(sequence), nil
}

func firstRune(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return s[:size]
}

// parseBytes reads a size as systemd does: sums of numbers with K, M, G, T, P,
// E to the base of 1024, each unit smaller than the one before.
func parseBytes(text string) (Bytes, error) {
	if text == "infinity" {
		return InfiniteBytes, nil
	}
	bad := fmt.Errorf("%q is no size; bytes are expected, or a number with K, M, G or T", clip(text))
	const units = "EPTGMKB"
	total, next := uint64(0), 0
	for rest := text; rest != ""; {
		digits, fraction, tail := cutNumber(rest)
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return 0, bad
		}
		shift := 0
		rest = strings.TrimLeft(tail, blanks)
		if rest == "" {
			next = len(units)
		} else {
			unit := strings.IndexByte(units, rest[0])
			if unit < next {
				return 0, bad
			}
			next, shift, rest = unit+1, 10*(len(units)-1-unit), strings.TrimLeft(rest[1:], blanks)
		}
		size := n << shift
		if size>>shift != n {
			return 0, fmt.Errorf("%q is above 16 EiB", clip(text))
		}
		if fraction != "" {
			part, err := strconv.ParseFloat("0."+fraction, 64)
			if err != nil {
				return 0, bad
			}
			size += uint64(part * float64(uint64(1)<<shift))
		}
		if total += size; total < size || total == uint64(InfiniteBytes) {
			return 0, fmt.Errorf("%q is above 16 EiB", clip(text))
		}
	}
	if text == "" {
		return 0, bad
	}
	return Bytes(total), nil
}

// spanUnits are the units of systemd.time(7), PARSING TIME SPANS.
func spanUnit(name string) (time.Duration, bool) {
	switch name {
	case "usec", "us", "µs", "μs":
		return time.Microsecond, true
	case "msec", "ms":
		return time.Millisecond, true
	case "seconds", "second", "sec", "s", "":
		return time.Second, true
	case "minutes", "minute", "min", "m":
		return time.Minute, true
	case "hours", "hour", "hr", "h":
		return time.Hour, true
	case "days", "day", "d":
		return 24 * time.Hour, true
	case "weeks", "week", "w":
		return 7 * 24 * time.Hour, true
	case "months", "month", "M":
		return 2629800 * time.Second, true
	case "years", "year", "y":
		return 31557600 * time.Second, true
	}
	return 0, false
}

// parseSpan reads a length of time: "5", "100ms", "1min 30.5s", "infinity".
func parseSpan(text string) (Span, error) {
	if text == "infinity" {
		return InfiniteSpan, nil
	}
	bad := func() error {
		return fmt.Errorf("%q is no length of time; seconds are expected, or something like 100ms or 1min 30s", clip(text))
	}
	tooLong := func() error { return fmt.Errorf("%q is longer than 292 years; write infinity", clip(text)) }
	total := time.Duration(0)
	rest := strings.Trim(text, blanks)
	if rest == "" {
		return 0, bad()
	}
	for rest != "" {
		digits, fraction, tail := cutNumber(rest)
		if digits == "" && fraction == "" || strings.HasSuffix(rest[:len(rest)-len(tail)], ".") {
			return 0, bad()
		}
		n := int64(0)
		if digits != "" {
			var err error
			if n, err = strconv.ParseInt(digits, 10, 64); err != nil {
				return 0, tooLong()
			}
		}
		tail = strings.TrimLeft(tail, blanks)
		end := strings.IndexAny(tail, "0123456789."+blanks)
		if end < 0 {
			end = len(tail)
		}
		unit, ok := spanUnit(tail[:end])
		if !ok || end == 0 && strings.HasPrefix(tail, ".") {
			return 0, bad()
		}
		rest = strings.TrimLeft(tail[end:], blanks)
		if n > math.MaxInt64/int64(unit) {
			return 0, tooLong()
		}
		span := time.Duration(n) * unit
		// systemd counts a fraction in whole microseconds, digit by digit.
		for m := unit / 10; fraction != "" && m >= time.Microsecond; m /= 10 {
			span += time.Duration(fraction[0]-'0') * m.Truncate(time.Microsecond)
			fraction = fraction[1:]
		}
		if total += span; span < 0 || total < 0 || Span(total) == InfiniteSpan {
			return 0, tooLong()
		}
	}
	return Span(total), nil
}

// cutNumber cuts "12.5" off the front of text.
func cutNumber(text string) (digits, fraction, rest string) {
	end := len(text) - len(strings.TrimLeft(text, "0123456789"))
	digits, rest = text[:end], text[end:]
	if strings.HasPrefix(rest, ".") {
		rest = rest[1:]
		end = len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		fraction, rest = rest[:end], rest[end:]
	}
	return digits, fraction, rest
}
