package translate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/robfig/cron/v3"

	"gm/units"
)

// cronSpec is what a cron_restart means.
type cronSpec struct {
	disabled bool           // PM2 takes 0, "0", "", … for no schedule at all
	calendar units.Calendar // set unless disabled
	notes    []string       // where PM2's reading is not what most people expect
}

// cronFault is why a cron_restart cannot become a timer.
type cronFault struct {
	field         string // "minute", "day of week", …; "" when it is about the whole
	start, end    int    // the byte range in the text
	cause, remedy string
}

// parseCron reads a cron_restart as PM2 does, which hands it to croner 4.1.97.
//
// The screening below is croner's grammar (src/pattern.js), with its leniency
// and its refusals: it turns each field into plain numbers, and robfig/cron
// reads these. Given the text as written, robfig would accept what PM2 refuses
// (1-5,10), refuse what PM2 accepts (weekday 7, L) and read other days (5/10);
// of plain numbers its bit sets are right. Its Next is not used: it joins the
// two day fields by OR where PM2 and systemd mean AND.
func parseCron(text string) (spec cronSpec, fault *cronFault) {
	if isCronDisabled(text) {
		return cronSpec{disabled: true}, nil
	}
	// croner's own test (src/croner.js): a colon that is not the first character
	// makes it a date.
	if strings.IndexByte(text, ':') > 0 {
		return parseCronDate(text)
	}
	words := cronWords(text)
	if len(words) < 5 || len(words) > 6 {
		return spec, cronCountFault(text, words)
	}
	fields := cronFields[:]
	if len(words) == 5 {
		fields = fields[1:] // no seconds: second 0
	}
	for i := range words {
		// croner looks at the characters of all fields before it reads any.
		if fault := fields[i].checkCharacters(&words[i], words); fault != nil {
			return spec, fault
		}
	}
	lists := make([]string, 0, len(cronFields))
	for i, word := range words {
		set, note, fault := fields[i].read(word)
		if fault != nil {
			return spec, fault
		}
		if note != "" {
			spec.notes = append(spec.notes, note)
		}
		lists = append(lists, cronList(set))
	}

	calendar, err := readWithRobfig(lists)
	if err != nil {
		// The numbers are in range: a bug of gm, reported rather than guessed at.
		return spec, &cronFault{end: len(text), cause: err.Error()}
	}
	spec.calendar = calendar
	days := words[len(words)-3]
	if isLastDay(days.text) {
		spec.calendar.Days, spec.calendar.FromEnd = units.NumbersOf(1), true
	}
	first, fires := spec.calendar.Next(time.Unix(0, 0).UTC())
	if !fires {
		return spec, &cronFault{
			field: "day of month", start: days.start, end: days.end(),
			cause:  fmt.Sprintf("none of its months has the day of month %s: it never fires", days.text),
			remedy: "use a day that one of its months has, or L for the last day of the month",
		}
	}
	if spec.calendar.Days != units.AllDays && spec.calendar.Weekdays != units.AllWeekdays {
		spec.notes = append(spec.notes, "it runs only on days that match both the day of month and the day of week, as in PM2; crontab(5) would run on either")
	}
	if waitsTooLong(spec.calendar, first) {
		spec.notes = append(spec.notes, "PM2 stops at the first wait of more than 24.8 days between two runs; the timer goes on")
	}
	return spec, nil
}

// readWithRobfig reads fields that hold nothing but numbers.
func readWithRobfig(fields []string) (units.Calendar, error) {
	// No Descriptor: PM2 knows no @daily.
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	schedule, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return units.Calendar{}, err
	}
	bits := schedule.(*cron.SpecSchedule)
	return units.Calendar{
		Weekdays: units.Numbers(bits.Dow), Months: units.Numbers(bits.Month), Days: units.Numbers(bits.Dom),
		Hours: units.Numbers(bits.Hour), Minutes: units.Numbers(bits.Minute), Seconds: units.Numbers(bits.Second),
	}, nil
}

// isCronDisabled reports whether text == 0 in JavaScript, PM2's test for "no
// schedule" (lib/Common.js, determineCron): "", " ", "00", "0.0", "0x0".
func isCronDisabled(text string) bool {
	text = strings.TrimFunc(text, isJSSpace)
	if text == "" {
		return true
	}
	if strings.Trim(text, "0123456789+-.eE") == "" {
		n, err := strconv.ParseFloat(text, 64)
		return err == nil && n == 0
	}
	if len(text) > 2 && text[0] == '0' {
		if base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[text[1]|0x20]; base != 0 {
			n, err := strconv.ParseUint(text[2:], base, 64)
			return err == nil && n == 0
		}
	}
	return false
}

// cronWord is one blank-separated word of an expression.
type cronWord struct {
	text    string
	start   int    // its place in the expression
	numeric string // text with names replaced by numbers
}

func (w cronWord) end() int { return w.start + len(w.text) }

func cronWords(text string) []cronWord {
	var words []cronWord
	start := -1
	for i, c := range text + " " {
		switch {
		case isJSSpace(c) && start >= 0:
			words = append(words, cronWord{text: text[start:i], start: start})
			start = -1
		case !isJSSpace(c) && start < 0:
			start = i
		}
	}
	return words
}

func isLastDay(word string) bool { return word == "L" || word == "l" }

// cronField is one of the six fields.
type cronField struct {
	name  string   // in messages
	value string   // what one of its numbers is
	low   int      // the smallest number
	high  int      // the largest, to PM2
	names []string // names[i] stands for low+i
}

var cronFields = [...]cronField{
	{name: "second", value: "second", low: 0, high: 59},
	{name: "minute", value: "minute", low: 0, high: 59},
	{name: "hour", value: "hour", low: 0, high: 23},
	{name: "day of month", value: "day", low: 1, high: 31},
	{name: "month", value: "month", low: 1, high: 12, names: []string{
		"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december",
	}},
	// 7 is Sunday too, and a number of its own: steps may be 8, and 1/2 reaches it.
	{name: "day of week", value: "weekday", low: 0, high: 7, names: []string{
		"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
	}},
}

func (f *cronField) hasLast() bool   { return f.name == "day of month" }
func (f *cronField) isWeekday() bool { return f.name == "day of week" }

// size is croner's array length, the largest step it takes.
func (f *cronField) size() int { return f.high - f.low + 1 }

func (f *cronField) all() units.Numbers { return units.NumbersBetween(f.low, f.high) }

// replaceNames replaces names by numbers as croner does: the first three
// letters, in any case, wherever they stand, one name after the other. So
// "MON/2" works, "MONDAY" leaves letters behind, and "janfeb" is 12.
func (f *cronField) replaceNames(text string) string {
	if f.names == nil || strings.IndexFunc(text, isASCIILetter) < 0 {
		return text
	}
	lower := strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' { // not ToLower: to JavaScript's /i, K (Kelvin) is no k
			return c + 'a' - 'A'
		}
		return c
	}, text)
	for i, name := range f.names {
		lower = strings.ReplaceAll(lower, name[:3], strconv.Itoa(f.low+i))
	}
	return lower
}

func isASCIILetter(c rune) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// read returns the numbers of a field, weekday 7 as 0, and a note where PM2's
// reading surprises (partToArray in croner's src/pattern.js).
func (f *cronField) read(word cronWord) (set units.Numbers, note string, fault *cronFault) {
	if f.hasLast() && isLastDay(word.text) {
		return f.all(), "", nil // the caller sees to it
	}
	items := strings.Split(word.numeric, ",")
	originals := strings.Split(word.text, ",") // no name holds a comma
	at := word.start
	for i, item := range items {
		bad := func(cause, remedy string) *cronFault {
			return &cronFault{field: f.name, start: at, end: at + len(originals[i]), cause: cause, remedy: remedy}
		}
		if len(items) > 1 && strings.ContainsAny(item, "-/") {
			return 0, "", bad(fmt.Sprintf("%q stands in a list, where PM2 takes only single numbers", originals[i]), f.listRemedy(items))
		}
		numbers, cause, remedy := f.readItem(item, originals[i])
		if cause != "" {
			return 0, "", bad(cause, remedy)
		}
		set |= numbers
		at += len(originals[i]) + 1
	}
	if set == 0 {
		return 0, "", &cronFault{
			field: f.name, start: word.start, end: word.end(),
			cause:  fmt.Sprintf("%q names no %s: it never fires, and PM2's daemon would hang on it", word.text, f.value),
			remedy: f.emptyRemedy(word.numeric),
		}
	}
	note = f.stepNote(word.text, word.numeric, set)
	if f.isWeekday() && set.Has(7) {
		set = set&units.AllWeekdays | units.NumbersOf(0)
	}
	return set, note, nil
}

// readItem reads one item of a field; cause is "" when croner takes it. Items
// without any number, such as "" or "**", are taken and mean nothing.
func (f *cronField) readItem(item, original string) (set units.Numbers, cause, remedy string) {
	span, stepText, stepped := strings.Cut(item, "/")
	firstText, lastText, ranged := strings.Cut(span, "-")
	ranged = ranged || strings.Contains(stepText, "-")
	switch {
	case item == "*":
		return f.all(), "", ""

	case !ranged && !stepped:
		n, ok := parseInt(item)
		if cause := f.outside(n); ok && cause != "" {
			return 0, cause, f.rangeRemedy(n)
		}
		if ok {
			set = units.NumbersOf(n)
		}
		return set, "", ""

	case ranged:
		first, ok1 := parseInt(firstText)
		last, ok2 := parseInt(lastText)
		step, ok3 := 1, true
		if stepped {
			// With a step croner is strict: ^\d+-\d+/\d+$.
			step, ok3 = parseInt(stepText)
			ok3 = ok3 && isDigits(firstText) && isDigits(lastText) && isDigits(stepText)
		}
		if !ok1 || !ok2 || !ok3 || strings.Contains(lastText, "-") {
			return 0, fmt.Sprintf("%q is not a range of the form 1-5 or 1-5/2", original), f.syntaxRemedy()
		}
		if cause := f.badStep(step); cause != "" {
			return 0, cause, f.stepRemedy()
		}
		for _, n := range []int{first, last} {
			if cause := f.outside(n); cause != "" {
				return 0, cause, f.rangeRemedy(n)
			}
		}
		if first > last {
			return 0, fmt.Sprintf("%q runs backwards in the %s field, and PM2 does not wrap around", original, f.name), f.listRemedy([]string{item})
		}
		for n := first; n <= last; n += step {
			set |= units.NumbersOf(n)
		}
		return set, "", ""
	}

	step, ok := parseInt(stepText)
	if !ok || strings.Contains(stepText, "/") {
		return 0, fmt.Sprintf("%q is not a step of the form */2 or 3/2", original), f.syntaxRemedy()
	}
	if cause := f.badStep(step); cause != "" {
		return 0, cause, f.stepRemedy()
	}
	first := 0
	if span != "*" {
		if first, ok = parseInt(span); !ok {
			return 0, "", ""
		}
	}
	// croner's handleStepping forgets that days and months start at 1: N is an
	// index, and 1/3 in months is February, May, …
	for n := f.low + first; n <= f.high; n += step {
		set |= units.NumbersOf(n)
	}
	return set, "", ""
}

// outside says how n is out of the field's range; "" when it is not.
func (f *cronField) outside(n int) string {
	switch {
	case n < f.low:
		return fmt.Sprintf("%s %d is below %d", f.value, n, f.low)
	case n > f.high:
		return fmt.Sprintf("%s %d is above %d", f.value, n, f.high)
	}
	return ""
}

func (f *cronField) badStep(step int) string {
	if step >= 1 && step <= f.size() {
		return ""
	}
	return fmt.Sprintf("step %d in the %s field is not within 1 to %d", step, f.name, f.size())
}

// stepNote says where a step counts otherwise than in other crons.
func (f *cronField) stepNote(text, numeric string, set units.Numbers) string {
	first, step, stepped := strings.Cut(numeric, "/")
	if !stepped || first == "*" || strings.Contains(first, "-") {
		return ""
	}
	n, _ := parseInt(first)
	switch {
	case f.low == 1 && n > 0: // 0/5 is */5
		return fmt.Sprintf("PM2 counts from 0 here: %s in the %s field is %s; %s-%d/%s starts at %s",
			text, f.name, cronList(set), first, f.high, step, first)
	case f.isWeekday() && set.Has(7) && !set.Has(0):
		return fmt.Sprintf("PM2 counts weekdays up to 7: %s is %s, Sunday included; %s-6/%s ends on Saturday", text, cronList(set), first, step)
	}
	return ""
}

// parseInt is JavaScript's: the digits at the start; false (NaN) without any.
// Large numbers are cut off: all that matters is that they are out of range.
func parseInt(text string) (int, bool) {
	n, i := 0, 0
	for ; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
		n = min(n*10+int(text[i]-'0'), 1_000_000)
	}
	return n, i > 0
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// cronList writes a set as robfig/cron and PM2 both read it: a list, or one
// range.
func cronList(set units.Numbers) string {
	first, _ := set.From(0)
	if last := set.Last(); last >= first+2 && set == units.NumbersBetween(first, last) {
		return fmt.Sprintf("%d-%d", first, last)
	}
	var list []byte
	for n, ok := first, set != 0; ok; n, ok = set.From(n + 1) {
		if len(list) > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, int64(n), 10)
	}
	return string(list)
}

// waitsTooLong reports whether a wait between two runs is longer than croner
// can measure. It caps a wait at 2^31-1 ms, starts anew without moving its point
// of departure, and so never ends a longer one (schedule in src/croner.js).
func waitsTooLong(c units.Calendar, first time.Time) bool {
	const longest = (1<<31 - 1) * time.Millisecond
	if c.Months == units.AllMonths && c.Days == units.AllDays {
		return false // weekdays alone leave seven days at most
	}
	years := 5 // one of them has a leap day
	if c.Weekdays != units.AllWeekdays {
		years = 28 // until dates and weekdays meet again
	}
	last := time.Duration(c.Hours.Last()*3600+c.Minutes.Last()*60+c.Seconds.Last()) * time.Second
	end := first.AddDate(years, 0, 0)
	for run := first; run.Before(end); {
		run = run.Truncate(24 * time.Hour).Add(last) // the last run of that day
		next, ok := c.Next(run)
		if !ok || next.Sub(run) > longest {
			return ok
		}
		run = next
	}
	return false
}

// parseCronDate reads a date, which PM2 runs once (parseISOLocal in croner's
// src/date.js): the first six numbers, whatever stands between them, in UTC if
// there is a Z. Anything else, such as +05:00, counts for nothing.
//
// A local time that a clock change skips is refused by PM2 and never reached by
// the timer; which times those are only the machine knows.
func parseCronDate(text string) (spec cronSpec, fault *cronFault) {
	bad := func(cause, remedy string) (cronSpec, *cronFault) {
		return cronSpec{}, &cronFault{end: len(text), cause: cause, remedy: remedy}
	}
	var numbers []int
	rest := text
	for len(numbers) < 6 {
		n, ok := parseInt(rest)
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if !ok || digits == len(rest) && len(numbers) < 5 {
			return bad(`a colon makes it a date, for which PM2 wants year, month, day, hour, minute and second`, dateRemedy(text))
		}
		numbers = append(numbers, n)
		if rest = rest[digits:]; len(numbers) < 6 {
			// One character, so that "--" leaves an empty number behind.
			_, size := utf8.DecodeRuneInString(rest)
			rest = rest[size:]
		}
	}
	year, month, day, hour, minute, second := numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if !slices.Equal(numbers, []int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()}) {
		return bad(fmt.Sprintf("there is no %d-%02d-%02d %02d:%02d:%02d", year, month, day, hour, minute, second), "use a date that exists")
	}
	if year < units.FirstYear || year > units.LastYear {
		return bad(fmt.Sprintf("year %d is outside %d to %d, all that systemd's timers know", year, units.FirstYear, units.LastYear),
			"use a year that systemd knows")
	}
	spec.calendar = units.Calendar{
		Weekdays: units.AllWeekdays, Year: year, Months: units.NumbersOf(month), Days: units.NumbersOf(day),
		Hours: units.NumbersOf(hour), Minutes: units.NumbersOf(minute), Seconds: units.NumbersOf(second),
		UTC: strings.IndexByte(text, 'Z') > 0,
	}
	if offset := strings.IndexAny(rest, "+-"); offset >= 0 && !spec.calendar.UTC {
		spec.notes = []string{fmt.Sprintf("PM2 ignores %q behind a date: it is taken as local time", rest[offset:])}
	}
	return spec, nil
}
