package translate

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// yamlPlain resolves a plain scalar as js-yaml 4 does (lib/type of that
// package): the core schema of YAML 1.2, and timestamps. Go's yaml reads 017
// as 15 and 1_000 as 1000, and so is not asked. A date is the JSON text that
// PM2 exports, quotes included.
func yamlPlain(s string) (v value, date bool) {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return value{kind: kindNull}, false
	case "true", "True", "TRUE":
		return value{kind: kindBool, flag: true}, false
	case "false", "False", "FALSE":
		return value{kind: kindBool}, false
	}
	n, ok := yamlInt(s)
	if !ok {
		n, ok = yamlFloat(s)
	}
	if ok {
		return value{kind: kindNumber, number: n, text: jsNumber(n)}, false
	}
	if t, ok := yamlTime(s); ok {
		return value{kind: kindString, text: `"` + isoTime(t) + `"`}, true
	}
	return value{kind: kindString, text: s}, false
}

// yamlInt reads 12, -012, 0b11, 0o17 and 0x1F. A leading zero means nothing.
func yamlInt(s string) (float64, bool) {
	digits := s
	negative := false
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		negative = digits[0] == '-'
		digits = digits[1:]
	}
	base := 10
	if len(digits) > 2 && digits[0] == '0' {
		switch digits[1] {
		case 'b':
			base, digits = 2, digits[2:]
		case 'o':
			base, digits = 8, digits[2:]
		case 'x':
			base, digits = 16, digits[2:]
		}
	}
	for i := range len(digits) {
		if d := hexDigit(digits[i]); d < 0 || d >= base {
			return 0, false
		}
	}
	if digits == "" {
		return 0, false
	}
	var n float64
	if base == 10 {
		n, _ = strconv.ParseFloat(digits, 64)
	} else {
		i, _ := new(big.Int).SetString(digits, base)
		n, _ = new(big.Float).SetInt(i).Float64()
	}
	if math.IsInf(n, 0) {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// yamlFloat reads 1.5, 1., 1e3, .5 (but not -.5), .inf and .nan.
func yamlFloat(s string) (float64, bool) {
	switch strings.TrimLeft(s, "+-") {
	case ".inf", ".Inf", ".INF":
		switch {
		case len(s) == 4 || len(s) == 5 && s[0] == '+':
			return math.Inf(1), true
		case len(s) == 5:
			return math.Inf(-1), true
		}
		return 0, false
	}
	if s == ".nan" || s == ".NaN" || s == ".NAN" {
		return math.NaN(), true
	}
	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '+') && (len(rest) < 2 || rest[1] != '.') {
		rest = rest[1:]
	}
	whole := leadingDigits(rest)
	rest = rest[whole:]
	fraction := 0
	if strings.HasPrefix(rest, ".") {
		fraction = leadingDigits(rest[1:])
		rest = rest[1+fraction:]
	}
	if whole == 0 && fraction == 0 {
		return 0, false
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		if rest != "" && (rest[0] == '-' || rest[0] == '+') {
			rest = rest[1:]
		}
		n := leadingDigits(rest)
		if n == 0 {
			return 0, false
		}
		rest = rest[n:]
	}
	if rest != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil // out of range stays a string
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// yamlTime reads 2001-12-14 and 2001-12-14t21:59:43.10-05:00 with its many
// variations. Fields beyond their range carry over, as in Date.UTC.
func yamlTime(s string) (time.Time, bool) {
	p := timeParser{rest: s, ok: true}
	year := p.number(4, 4)
	p.literal("-")
	month := p.number(1, 2)
	monthDigits := p.digits
	p.literal("-")
	day := p.number(1, 2)
	if p.ok && p.rest == "" {
		return utc(year, month, day, 0, 0, 0, 0), monthDigits == 2 && p.digits == 2
	}
	switch blanks := len(p.rest) - len(strings.TrimLeft(p.rest, " \t")); {
	case blanks > 0:
		p.rest = p.rest[blanks:]
	case strings.HasPrefix(p.rest, "T") || strings.HasPrefix(p.rest, "t"):
		p.rest = p.rest[1:]
	default:
		return time.Time{}, false
	}
	hour := p.number(1, 2)
	p.literal(":")
	minute := p.number(2, 2)
	p.literal(":")
	second := p.number(2, 2)
	millis := 0
	if p.ok && strings.HasPrefix(p.rest, ".") {
		n := leadingDigits(p.rest[1:])
		millis, _ = strconv.Atoi((p.rest[1:1+n] + "000")[:3])
		p.rest = p.rest[1+n:]
	}
	var shift time.Duration
	if p.ok && p.rest != "" {
		p.rest = strings.TrimLeft(p.rest, " \t")
		sign := time.Duration(1)
		switch {
		case p.rest == "Z":
			p.rest = ""
		case strings.HasPrefix(p.rest, "-"), strings.HasPrefix(p.rest, "+"):
			if p.rest[0] == '-' {
				sign = -1
			}
			p.rest = p.rest[1:]
			shift = time.Duration(p.number(1, 2)) * time.Hour
			if p.rest != "" {
				p.literal(":")
				shift += time.Duration(p.number(2, 2)) * time.Minute
			}
			shift *= sign
		default:
			p.ok = false
		}
	}
	if !p.ok || p.rest != "" {
		return time.Time{}, false
	}
	return utc(year, month, day, hour, minute, second, millis).Add(-shift), true
}

// utc is Date.UTC of JavaScript, for which the years 0 to 99 are in the 1900s.
func utc(year, month, day, hour, minute, second, millis int) time.Time {
	if year < 100 {
		year += 1900
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, millis*1e6, time.UTC)
}

// isoTime is Date.prototype.toISOString.
func isoTime(t time.Time) string {
	if t.Year() > 9999 {
		return "+0" + t.Format("2006-01-02T15:04:05.000Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// timeParser reads numbers and punctuation off a text.
type timeParser struct {
	rest   string
	digits int // of the last number
	ok     bool
}

func (p *timeParser) number(least, most int) int {
	p.digits = min(leadingDigits(p.rest), most)
	if p.digits < least {
		p.ok = false
		return 0
	}
	n, _ := strconv.Atoi(p.rest[:p.digits])
	p.rest = p.rest[p.digits:]
	return n
}

func (p *timeParser) literal(s string) {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest, p.ok = rest, p.ok && ok
}
