package units

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Numbers is a set of small numbers: bit n stands for n.
type Numbers uint64

// NumbersOf returns the set of those numbers, each 0 to 63.
func NumbersOf(numbers ...int) Numbers {
	var s Numbers
	for _, n := range numbers {
		s |= 1 << n
	}
	return s
}

// NumbersBetween returns the set low, low+1, … high.
func NumbersBetween(low, high int) Numbers {
	return ^Numbers(0) >> (63 - high + low) << low
}

// Has reports whether n is in s.
func (s Numbers) Has(n int) bool { return s>>n&1 != 0 }

// Len returns how many numbers are in s.
func (s Numbers) Len() int { return bits.OnesCount64(uint64(s)) }

// From returns the smallest number of s that is n or above.
func (s Numbers) From(n int) (int, bool) {
	s = s >> n << n
	return bits.TrailingZeros64(uint64(s)), s != 0
}

// Last returns the largest number of s, or -1 when s is empty.
func (s Numbers) Last() int { return bits.Len64(uint64(s)) - 1 }

// The full sets: each is written "*" (all weekdays are written as nothing).
const (
	AllWeekdays Numbers = 1<<7 - 1
	AllMonths   Numbers = 1<<13 - 1<<1
	AllDays     Numbers = 1<<32 - 1<<1
	AllHours    Numbers = 1<<24 - 1
	AllMinutes  Numbers = 1<<60 - 1
	AllSeconds  Numbers = 1<<60 - 1
)

// The years systemd's calendar knows: MIN_YEAR and MAX_YEAR of its
// calendarspec.c. An expression is over for good after LastYear.
const (
	FirstYear = 1970
	LastYear  = 2199
)

// Calendar is the value of OnCalendar= (systemd.time(7), CALENDAR EVENTS): the
// moments whose weekday, month, day, hour, minute and second are each in their
// set. An empty set means never, which systemd cannot write: the zero Calendar
// must not be rendered. Calendars are compared with ==.
type Calendar struct {
	Weekdays Numbers // 0 is Sunday, as in time.Weekday
	Months   Numbers // 1 to 12
	Days     Numbers // 1 to 31
	Hours    Numbers // 0 to 23
	Minutes  Numbers // 0 to 59
	Seconds  Numbers // 0 to 59; systemd's fractions are not modelled

	// FromEnd counts Days from the end of the month, written "~": 1 is the last
	// day. systemd takes 1 to 28 there, and no long lists.
	FromEnd bool
	// Year is the only year, or 0 for every year.
	Year int
	// UTC holds the clock to UTC; otherwise it is the local time of the machine.
	UTC bool
}

// String returns c as it stands behind "OnCalendar=".
func (c Calendar) String() string { return string(c.append(nil)) }

// append writes c in the form to which systemd normalizes it, so that
// `systemd-analyze calendar` shows the very line of the unit.
func (c Calendar) append(dst []byte) []byte {
	if c.Weekdays != AllWeekdays {
		// systemd's week starts on Monday and its ranges do not wrap: Sun..Tue is
		// refused, Sat..Sun is not.
		monday := c.Weekdays>>1 | c.Weekdays&1<<6
		dst = appendRuns(dst, monday, func(dst []byte, n int) []byte { return append(dst, weekdayNames[n][:3]...) })
		dst = append(dst, ' ')
	}
	if c.Year == 0 {
		dst = append(dst, '*')
	} else {
		dst = strconv.AppendInt(dst, int64(c.Year), 10)
	}
	dst = append(dst, '-')
	dst = appendNumbers(dst, c.Months, AllMonths, false)
	if c.FromEnd {
		dst = append(dst, '~')
		dst = appendRuns(dst, c.Days, appendTwoDigits)
	} else {
		dst = append(dst, '-')
		dst = appendNumbers(dst, c.Days, AllDays, false)
	}
	dst = append(dst, ' ')
	dst = appendNumbers(dst, c.Hours, AllHours, false)
	dst = append(dst, ':')
	dst = appendNumbers(dst, c.Minutes, AllMinutes, true)
	dst = append(dst, ':')
	dst = appendNumbers(dst, c.Seconds, AllSeconds, true)
	if c.UTC {
		dst = append(dst, " UTC"...)
	}
	return dst
}

// appendNumbers writes one component: "*", "08..18", "00/15", "00..56/7" or a
// list.
//
// The open repetition "a/s" is written only where open is set (minutes and
// seconds) and the step divides 60. Elsewhere systemd 252 goes wrong: it tries
// last+s (hour 26, day 36), has mktime(3) carry it over, and so loses what lies
// between the carry and the start; on the day of a clock change 00/2 hours even
// ends in "Infinite loop in calendar calculation", after which the timer is
// dead. A minute that spills to 60 is the next hour's minute 0, in order.
func appendNumbers(dst []byte, set, all Numbers, open bool) []byte {
	first, last, step := set.progression()
	switch count := set.Len(); {
	case set == all:
		return append(dst, '*')
	case step == 0 || step == 1 || count < 3:
		return appendRuns(dst, set, appendTwoDigits)
	case open && 60%step == 0 && first < step && last+step >= 60:
		dst = append(appendTwoDigits(dst, first), '/')
		return strconv.AppendInt(dst, int64(step), 10)
	case count == 3:
		return appendRuns(dst, set, appendTwoDigits)
	default:
		dst = append(appendTwoDigits(dst, first), ".."...)
		dst = append(appendTwoDigits(dst, last), '/')
		return strconv.AppendInt(dst, int64(step), 10)
	}
}

// progression returns the ends of s and the distance of its numbers; distance
// 0 when they are not evenly spaced or fewer than two.
func (s Numbers) progression() (first, last, step int) {
	first, last = bits.TrailingZeros64(uint64(s)), s.Last()
	second, ok := s.From(first + 1)
	if !ok {
		return first, last, 0
	}
	step = second - first
	var even Numbers
	for n := first; n <= last; n += step {
		even |= NumbersOf(n)
	}
	if even != s {
		step = 0
	}
	return first, last, step
}

// appendRuns writes a list in which three or more neighbours are "a..b".
func appendRuns(dst []byte, set Numbers, item func(dst []byte, n int) []byte) []byte {
	comma := false
	for n, ok := set.From(0); ok; n, ok = set.From(n) {
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = item(dst, n)
		end := n
		for set.Has(end + 1) {
			end++
		}
		if end >= n+2 {
			dst = item(append(dst, ".."...), end)
			n = end
		}
		n++
	}
	return dst
}

func appendTwoDigits(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// weekdayNames is systemd's week.
var weekdayNames = [...]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

// calendarShorthands are the words of systemd.time(7).
var calendarShorthands = map[string]string{
	"minutely":      "*-*-* *:*:00",
	"hourly":        "*-*-* *:00:00",
	"daily":         "*-*-* 00:00:00",
	"weekly":        "Mon *-*-* 00:00:00",
	"monthly":       "*-*-01 00:00:00",
	"quarterly":     "*-01,04,07,10-01 00:00:00",
	"semiannually":  "*-01,07-01 00:00:00",
	"semi-annually": "*-01,07-01 00:00:00",
	"biannually":    "*-01,07-01 00:00:00",
	"bi-annually":   "*-01,07-01 00:00:00",
	"annually":      "*-01-01 00:00:00",
	"yearly":        "*-01-01 00:00:00",
}

// ParseCalendar reads an expression as people and String write it: [weekdays]
// [date] [time] [UTC], or a word such as daily. It refuses what systemd refuses
// and what Calendar cannot hold: several years, other time zones, fractions of
// seconds. An open repetition means its multiples within the hour, day, month
// or year, which is what its author wants; systemd 252 loses some of them.
func ParseCalendar(text string) (Calendar, error) {
	c, err := parseCalendar(text)
	if err != nil {
		return Calendar{}, fmt.Errorf("cannot read calendar expression %q: %w", text, err)
	}
	return c, nil
}

func parseCalendar(text string) (Calendar, error) {
	words := strings.Fields(text)
	utc := len(words) > 1 && strings.EqualFold(words[len(words)-1], "UTC")
	if utc {
		words = words[:len(words)-1]
	}
	if len(words) == 1 {
		if full, ok := calendarShorthands[strings.ToLower(words[0])]; ok {
			words = strings.Fields(full)
		}
	}
	if len(words) == 0 {
		return Calendar{}, errors.New("it is empty")
	}
	c := Calendar{
		Weekdays: AllWeekdays, Months: AllMonths, Days: AllDays,
		Hours: NumbersOf(0), Minutes: NumbersOf(0), Seconds: NumbersOf(0), UTC: utc,
	}
	var err error
	if isLetter(words[0][0]) {
		if c.Weekdays, err = parseWeekdays(words[0]); err != nil {
			return c, err
		}
		words = words[1:]
	}
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		if err := c.parseDate(words[0]); err != nil {
			return c, err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		if err := c.parseTime(words[0]); err != nil {
			return c, err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		return c, fmt.Errorf("%q is left over after the time", words[0])
	}
	return c, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// parseWeekdays reads "Mon..Fri,Sun"; a trailing comma is allowed, as in systemd.
func parseWeekdays(text string) (Numbers, error) {
	var set Numbers
	for item := range strings.SplitSeq(strings.TrimSuffix(text, ","), ",") {
		from, to, ranged := strings.Cut(item, "..")
		if !ranged {
			// The older spelling of a range, still taken by systemd.
			from, to, ranged = strings.Cut(item, "-")
		}
		low, err := parseWeekday(from)
		if err != nil {
			return 0, err
		}
		high := low
		if ranged {
			if high, err = parseWeekday(to); err != nil {
				return 0, err
			}
		}
		if high < low {
			return 0, fmt.Errorf("%q runs backwards: the week starts on Monday", item)
		}
		for day := low; day <= high; day++ {
			set |= NumbersOf((day + 1) % 7)
		}
	}
	return set, nil
}

// parseWeekday returns 0 for Monday to 6 for Sunday.
func parseWeekday(name string) (int, error) {
	for day, full := range weekdayNames {
		if strings.EqualFold(name, full) || strings.EqualFold(name, full[:3]) {
			return day, nil
		}
	}
	return 0, fmt.Errorf("%q is no weekday", name)
}

// parseDate reads year-month-day or month-day; "~" before the day counts from
// the end.
func (c *Calendar) parseDate(text string) (err error) {
	date, day, fromEnd := strings.Cut(text, "~")
	if !fromEnd {
		cut := strings.LastIndexByte(text, '-')
		if cut < 0 {
			return fmt.Errorf("%q is neither a date (month-day) nor a time (hour:minute)", text)
		}
		date, day = text[:cut], text[cut+1:]
	}
	year, month, hasYear := strings.Cut(date, "-")
	if !hasYear {
		year, month = "*", date
	}
	if c.Year, err = parseYear(year); err != nil {
		return err
	}
	if c.Months, err = parseNumbers("month", month, 1, 12); err != nil {
		return err
	}
	if fromEnd && day != "*" {
		c.FromEnd = true
		c.Days, err = parseNumbers("day from the end", day, 28, 1)
	} else {
		c.Days, err = parseNumbers("day", day, 1, 31)
	}
	return err
}

func parseYear(text string) (int, error) {
	if text == "*" {
		return 0, nil
	}
	year, err := parseDigits(text)
	if err != nil {
		return 0, fmt.Errorf("year: %w", err)
	}
	switch { // as systemd's fix_year in calendarspec.c
	case year < 70:
		year += 2000
	case year < 100:
		year += 1900
	}
	if year < FirstYear || year > LastYear {
		return 0, fmt.Errorf("year %d is outside %d to %d", year, FirstYear, LastYear)
	}
	return year, nil
}

// parseTime reads hour:minute[:second].
func (c *Calendar) parseTime(text string) (err error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return fmt.Errorf("%q is not hour:minute or hour:minute:second", text)
	}
	if c.Hours, err = parseNumbers("hour", parts[0], 0, 23); err != nil {
		return err
	}
	if c.Minutes, err = parseNumbers("minute", parts[1], 0, 59); err != nil {
		return err
	}
	if len(parts) == 3 {
		c.Seconds, err = parseNumbers("second", parts[2], 0, 59)
	}
	return err
}

// parseNumbers reads one component: "*", or a list of a, a..b, a/s and a..b/s.
// An open repetition runs towards the bound to, which is the lower one for days
// counted from the end: ~07/1 is the last seven days of a month.
func parseNumbers(what, text string, from, to int) (Numbers, error) {
	low, high := min(from, to), max(from, to)
	if text == "*" {
		return NumbersBetween(low, high), nil
	}
	var set Numbers
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		firstText, lastText, ranged := strings.Cut(span, "..")
		first, err := parseDigits(firstText)
		last, step := first, 1
		if err == nil && ranged {
			last, err = parseDigits(lastText)
		}
		if err == nil && stepped {
			step, err = parseDigits(stepText)
		}
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", what, err)
		case first < low || last > high || first > high:
			return 0, fmt.Errorf("%s %q is outside %d to %d", what, item, low, high)
		case last < first:
			return 0, fmt.Errorf("%s %q runs backwards", what, item)
		case step == 0:
			return 0, fmt.Errorf("%s %q has step 0", what, item)
		}
		direction := 1
		if stepped && !ranged {
			if direction = cmp.Compare(to, from); (to-first)*direction < step {
				return 0, fmt.Errorf("%s %q has no second value within %d to %d", what, item, low, high)
			}
			last = to
		}
		for n := first; (last-n)*direction >= 0; n += step * direction {
			set |= NumbersOf(n)
		}
	}
	return set, nil
}

// parseDigits reads a whole number. Only digits: "+5" is nothing to systemd.
func parseDigits(text string) (int, error) {
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' || n > 9999 {
			return 0, fmt.Errorf("%q is not a number here", text)
		}
		n = n*10 + int(text[i]-'0')
	}
	if text == "" {
		return 0, errors.New("a number is missing")
	}
	return n, nil
}
