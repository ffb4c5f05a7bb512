package engine

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The formats of log_date_format are those of dayjs 1.11 without plugins, which
// is what PM2 stamps lines with: https://day.js.org/docs/en/display/format.

// defaultDateFormat is what dayjs makes of an empty format.
const defaultDateFormat = "YYYY-MM-DDTHH:mm:ssZ"

// dateToken is a piece of a format: a token, or text that stands for itself.
type dateToken struct {
	text    string
	literal bool
}

// cutFormats are the formats that were cut already: a program uses one or two, for
// each line.
var cutFormats sync.Map // string -> []dateToken

func dateTokens(layout string) []dateToken {
	if tokens, ok := cutFormats.Load(layout); ok {
		return tokens.([]dateToken)
	}
	tokens := cutFormat(cmp.Or(layout, defaultDateFormat))
	cutFormats.Store(layout, tokens)
	return tokens
}

// cutFormat cuts a format as dayjs's REGEX_FORMAT does.
func cutFormat(layout string) []dateToken {
	// How many times a letter can be repeated in one token.
	longest := map[byte]int{'Y': 4, 'M': 4, 'D': 2, 'd': 4, 'H': 2, 'h': 2, 'a': 1, 'A': 1, 'm': 2, 's': 2, 'Z': 2}
	var tokens []dateToken
	plain := func(text string) {
		if n := len(tokens); n > 0 && tokens[n-1].literal {
			tokens[n-1].text += text
			return
		}
		tokens = append(tokens, dateToken{text, true})
	}
	for layout != "" {
		c := layout[0]
		if c == '[' {
			if end := strings.IndexByte(layout, ']'); end > 1 {
				plain(layout[1:end])
				layout = layout[end+1:]
				continue
			}
		}
		if strings.HasPrefix(layout, "SSS") {
			tokens = append(tokens, dateToken{"SSS", false})
			layout = layout[3:]
			continue
		}
		n := 0
		for n < longest[c] && n < len(layout) && layout[n] == c {
			n++
		}
		if n == 0 {
			plain(layout[:1])
			layout = layout[1:]
			continue
		}
		tokens = append(tokens, dateToken{layout[:n], false})
		layout = layout[n:]
	}
	return tokens
}

// FormatTime writes t, in its own time zone, in a format of dayjs's:
// "YYYY-MM-DD HH:mm:ss Z".
func FormatTime(t time.Time, layout string) string {
	return string(AppendTime(nil, t, layout))
}

// AppendTime appends what FormatTime returns.
func AppendTime(dst []byte, t time.Time, layout string) []byte {
	for _, token := range dateTokens(layout) {
		dst = token.append(dst, t)
	}
	return dst
}

func (d dateToken) append(dst []byte, t time.Time) []byte {
	if d.literal {
		return append(dst, d.text...)
	}
	digits := func(n, width int) []byte {
		for limit := 10; width > 1; width, limit = width-1, limit*10 {
			if n < limit {
				dst = append(dst, '0')
			}
		}
		return strconv.AppendInt(dst, int64(n), 10)
	}
	switch d.text {
	case "YY":
		return digits(t.Year()%100, 2)
	case "YYYY":
		return digits(t.Year(), 4)
	case "M", "MM":
		return digits(int(t.Month()), len(d.text))
	case "MMM":
		return append(dst, t.Month().String()[:3]...)
	case "MMMM":
		return append(dst, t.Month().String()...)
	case "D", "DD":
		return digits(t.Day(), len(d.text))
	case "d":
		return digits(int(t.Weekday()), 1)
	case "dd", "ddd":
		return append(dst, t.Weekday().String()[:len(d.text)]...)
	case "dddd":
		return append(dst, t.Weekday().String()...)
	case "H", "HH":
		return digits(t.Hour(), len(d.text))
	case "h", "hh":
		return digits((t.Hour()+11)%12+1, len(d.text))
	case "a":
		return append(dst, strings.ToLower(t.Format("PM"))...)
	case "A":
		return append(dst, t.Format("PM")...)
	case "m", "mm":
		return digits(t.Minute(), len(d.text))
	case "s", "ss":
		return digits(t.Second(), len(d.text))
	case "SSS":
		return digits(t.Nanosecond()/int(time.Millisecond), 3)
	case "Z":
		return appendZone(dst, t, ":")
	}
	return appendZone(dst, t, "") // ZZ, and what dayjs does not know: Y, YYY
}

// appendZone writes the offset in whole quarters of an hour, as dayjs does.
func appendZone(dst []byte, t time.Time, colon string) []byte {
	_, seconds := t.Zone()
	quarters := (seconds + 450 + 1<<20*900) / 900 // rounded, also where negative
	minutes := (quarters - 1<<20) * 15
	sign := '+'
	if minutes < 0 {
		sign, minutes = '-', -minutes
	}
	return fmt.Appendf(dst, "%c%02d%s%02d", sign, minutes/60, colon, minutes%60)
}

// ParseTime reads the time that text begins with, which FormatTime wrote in this
// format, and returns what is behind it. What the format leaves out is taken from
// near: a time of day is the last one before it. A format that says less than the
// minute is not understood, and neither is one whose hours are ambiguous.
func ParseTime(text, layout string, near time.Time) (t time.Time, rest string, ok bool) {
	var year, month, day, hour, minute, second, nanos int
	var has [256]bool // by the first letter of the token
	var half string
	zone := near.Location()
	for _, token := range dateTokens(layout) {
		if token.literal {
			if text, ok = strings.CutPrefix(text, token.text); !ok {
				return t, "", false
			}
			continue
		}
		number := func(into *int, least, most int) bool {
			n := 0
			for n < most && n < len(text) && '0' <= text[n] && text[n] <= '9' {
				n++
			}
			if n < least {
				return false
			}
			*into, _ = strconv.Atoi(text[:n]) // digits
			text = text[n:]
			return true
		}
		name := func(into *int, count, width int, full func(int) string) bool {
			for i := range count {
				word := full(i)
				if width > 0 {
					word = word[:width]
				}
				if after, found := strings.CutPrefix(text, word); found {
					*into, text = i, after
					return true
				}
			}
			return false
		}
		has[token.text[0]] = true
		found := false
		ignored := 0
		switch token.text {
		case "YY":
			found = number(&year, 2, 2)
			year += 2000
		case "YYYY":
			found = number(&year, 4, 4)
		case "M", "MM":
			found = number(&month, len(token.text), 2)
		case "MMM", "MMMM":
			width := 3
			if token.text == "MMMM" {
				width = 0
			}
			found = name(&month, 12, width, func(i int) string { return time.Month(i + 1).String() })
			month++
		case "D", "DD":
			found = number(&day, len(token.text), 2)
		case "d":
			found = number(&ignored, 1, 1)
			has['d'] = false
		case "dd", "ddd", "dddd":
			width := len(token.text)
			if width == 4 {
				width = 0
			}
			found = name(&ignored, 7, width, func(i int) string { return time.Weekday(i).String() })
		case "H", "HH", "h", "hh":
			found = number(&hour, len(token.text), 2)
		case "a", "A":
			found = len(text) >= 2
			if found {
				half, text = strings.ToLower(text[:2]), text[2:]
				found = half == "am" || half == "pm"
			}
		case "m", "mm":
			found = number(&minute, len(token.text), 2)
		case "s", "ss":
			found = number(&second, len(token.text), 2)
		case "SSS":
			found = number(&nanos, 3, 3)
			nanos *= int(time.Millisecond)
		default:
			zone, text, found = cutZone(text, token.text == "Z")
		}
		if !found {
			return t, "", false
		}
	}

	if !has['H'] && has['h'] {
		if half == "" || hour < 1 || hour > 12 {
			return t, "", false
		}
		hour %= 12
		if half == "pm" {
			hour += 12
		}
	}
	if !has['H'] && !has['h'] || !has['m'] || hour > 23 || minute > 59 || second > 60 {
		return t, "", false
	}
	near = near.In(zone)
	if !has['Y'] {
		year = near.Year()
	}
	if !has['M'] {
		month = int(near.Month())
	}
	if !has['D'] {
		day = near.Day()
	}
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return t, "", false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone)
	// A minute for clocks that are not quite the same.
	if limit := near.Add(time.Minute); t.After(limit) {
		switch {
		case !has['D'] && !has['M'] && !has['Y']:
			t = t.AddDate(0, 0, -1)
		case !has['Y']:
			t = t.AddDate(-1, 0, 0)
		}
	}
	return t, text, true
}

// cutZone reads "+02:00", or "+0200" without the colon.
func cutZone(text string, colon bool) (*time.Location, string, bool) {
	layout := "-0700"
	if colon {
		layout = "-07:00"
	}
	if len(text) < len(layout) {
		return nil, text, false
	}
	t, err := time.Parse(layout, text[:len(layout)])
	if err != nil {
		return nil, text, false
	}
	_, seconds := t.Zone()
	return time.FixedZone("", seconds), text[len(layout):], true
}
