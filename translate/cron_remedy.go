package translate

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"gm/units"
)

// What to write instead of a cron_restart that parseCron refuses. Only messages
// are made here: nothing in this file decides what an expression means.

// cronWordsFor is what PM2's cron lacks: the @words of other crons.
var cronWordsFor = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// cronCountFault is about an expression of fewer than 5 or more than 6 words.
func cronCountFault(text string, words []cronWord) *cronFault {
	fault := &cronFault{start: words[0].start, end: words[len(words)-1].end()}
	first := strings.ToLower(words[0].text)
	switch {
	case strings.HasPrefix(first, "@"):
		fault.cause = "PM2 knows none of the @ words"
		switch plain, ok := cronWordsFor[first]; {
		case ok:
			fault.remedy = "write " + plain
		case first == "@reboot":
			fault.remedy = "leave cron_restart out: systemd starts the app at boot"
		case first == "@every" && len(words) == 2:
			fault.remedy = everyRemedy(words[1].text)
		default:
			fault.remedy = "write five fields; for midnight: 0 0 * * *"
		}
	case len(words) == 7:
		fault.cause = "it has 7 fields: PM2 takes 5 or 6 and knows no year"
		fault.remedy = "leave the last field out: " + strings.ReplaceAll(text[words[0].start:words[5].end()], "?", "*")
	default:
		fault.cause = fmt.Sprintf("it has %d fields: PM2 takes 5 (minute, hour, day of month, month, day of week), or 6 with the second in front", len(words))
		if len(words) == 1 {
			fault.cause = strings.Replace(fault.cause, "fields", "field", 1)
		}
		fault.remedy = "write five fields; for 03:00 every day: 0 3 * * *"
	}
	return fault
}

// everyRemedy turns Go's "@every 5m" into a step where one says the same.
func everyRemedy(text string) string {
	every, err := time.ParseDuration(text)
	switch {
	case err != nil || every <= 0 || every%time.Second != 0:
	case every < time.Minute && time.Minute%every == 0:
		return fmt.Sprintf("write */%d * * * * *", every/time.Second)
	case every%time.Minute == 0 && every < time.Hour && time.Hour%every == 0:
		return fmt.Sprintf("write */%d * * * *", every/time.Minute)
	case every%time.Hour == 0 && every < 24*time.Hour && 24*time.Hour%every == 0:
		return fmt.Sprintf("write 0 */%d * * *", every/time.Hour)
	case every == time.Minute:
		return "write * * * * *"
	case every == time.Hour:
		return "write 0 * * * *"
	case every == 24*time.Hour:
		return "write 0 0 * * *"
	}
	return "write five fields; cron counts by the clock, not from the last run"
}

// dateRemedy is for a text with a colon that is no full date; most often it is
// a time of day.
func dateRemedy(text string) string {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimFunc(text, isJSSpace)); err == nil {
			if t.Second() != 0 {
				return fmt.Sprintf("for every day at that time write %d %d %d * * *", t.Second(), t.Minute(), t.Hour())
			}
			return fmt.Sprintf("for every day at that time write %d %d * * *", t.Minute(), t.Hour())
		}
	}
	return "write a date as 2030-03-01T12:00:00, or five fields; for noon every day: 0 12 * * *"
}

// checkCharacters replaces the names in a field and refuses what is left besides
// digits and "*,-/", as croner does (throwAtIllegalCharacters).
func (f *cronField) checkCharacters(word *cronWord, words []cronWord) *cronFault {
	if f.hasLast() && isLastDay(word.text) {
		return nil
	}
	word.numeric = f.replaceNames(word.text)
	if strings.IndexFunc(word.numeric, isForeignToCron) < 0 {
		return nil
	}
	// Show the item that holds it.
	at := word.start
	for item := range strings.SplitSeq(word.text, ",") {
		numeric := f.replaceNames(item)
		if i := strings.IndexFunc(numeric, isForeignToCron); i >= 0 {
			fault := &cronFault{field: f.name, start: at, end: at + len(item)}
			foreign, _ := utf8.DecodeRuneInString(numeric[i:])
			fault.cause, fault.remedy = f.foreignFault(item, foreign, words)
			return fault
		}
		at += len(item) + 1
	}
	return nil
}

func isForeignToCron(c rune) bool { return !strings.ContainsRune("0123456789*,-/", c) }

// foreignFault explains an item that holds a character croner does not know;
// most come from other crons.
func (f *cronField) foreignFault(item string, foreign rune, words []cronWord) (cause, remedy string) {
	upper := strings.ToUpper(item)
	switch {
	case foreign == '?':
		return fmt.Sprintf("%q in the %s field is, to PM2, the moment at which it loads the file: no unit can say that", item, f.name),
			"write * for every " + f.value
	case strings.Contains(upper, "TZ="):
		return "PM2 knows no time zones in cron expressions", "leave " + item + " out: the time zone of the machine counts"
	case foreign == '#':
		cause = fmt.Sprintf("PM2 knows no weekday of a month such as %q", item)
		day, nth, _ := strings.Cut(f.replaceNames(item), "#")
		weekday, ok1 := parseInt(day)
		n, ok2 := parseInt(nth)
		if f.isWeekday() && ok1 && ok2 && n >= 1 && n <= 4 && words[len(words)-3].text == "*" {
			return cause, fmt.Sprintf("write %d here and %d-%d in the day of month field: PM2 wants both to match", weekday, 7*n-6, 7*n)
		}
	case f.hasLast() && strings.ContainsAny(upper, "LW"):
		return fmt.Sprintf("%q in the %s field: PM2 knows L as the whole field, for the last day of the month, and nothing like it", item, f.name),
			"use L alone, or " + f.grammar()
	default:
		cause = fmt.Sprintf("%q is nothing that PM2 knows in the %s field", item, f.name)
	}
	for _, name := range f.names {
		if strings.Contains(upper, strings.ToUpper(name)) {
			return fmt.Sprintf("%q is spelled out, PM2 takes the first three letters", item), "write " + name[:3]
		}
	}
	if field := cronNameField(upper); field != "" && field != f.name {
		return cause, fmt.Sprintf("use %s; that name belongs in the %s field", f.grammar(), field)
	}
	return cause, "use " + f.grammar()
}

// cronNameField returns the field whose names an item holds, or "".
func cronNameField(upper string) string {
	for _, f := range cronFields {
		for _, name := range f.names {
			if strings.Contains(upper, strings.ToUpper(name[:3])) {
				return f.name
			}
		}
	}
	return ""
}

// grammar says what a field may hold.
func (f *cronField) grammar() string {
	name := ""
	if f.names != nil {
		name = ", a name such as " + f.names[0][:3]
	}
	return fmt.Sprintf("*, %d-%d, a list such as %d,%d%s, or a step such as */2", f.low, f.high, f.low+1, f.low+3, name)
}

func (f *cronField) syntaxRemedy() string { return "use " + f.grammar() }

func (f *cronField) stepRemedy() string { return fmt.Sprintf("use a step of 1 to %d", f.size()) }

func (f *cronField) rangeRemedy(n int) string {
	switch {
	case f.name == "hour" && n == 24:
		return "use 0-23; midnight is 0"
	case f.isWeekday():
		return "use 0-7, or a name such as fri"
	case f.names != nil:
		return "use 1-12, or a name such as jan"
	}
	return fmt.Sprintf("use %d-%d", f.low, f.high)
}

// emptyRemedy is for a field that names nothing: "/5", "**", "31/5", "12/1".
func (f *cronField) emptyRemedy(numeric string) string {
	span, step, stepped := strings.Cut(numeric, "/")
	n, ok := parseInt(span)
	switch {
	case stepped && !ok:
		return "write */" + step
	case stepped && n == f.high:
		return fmt.Sprintf("write %d", n)
	case stepped:
		return fmt.Sprintf("start the step within %d-%d", f.low, f.high)
	}
	return "use " + f.grammar()
}

// listRemedy writes out what a list with ranges, or a range that wraps, means in
// other crons.
func (f *cronField) listRemedy(items []string) string {
	high := f.high
	if f.isWeekday() {
		high = 6
	}
	var set units.Numbers
	for _, item := range items {
		span, stepText, stepped := strings.Cut(item, "/")
		firstText, lastText, ranged := strings.Cut(span, "-")
		first, ok1 := parseInt(firstText)
		last, ok2, step, ok3 := first, true, 1, true
		switch {
		case span == "*":
			first, last, ok1 = f.low, high, true
		case ranged:
			last, ok2 = parseInt(lastText)
		case stepped:
			last = high
		}
		if stepped {
			step, ok3 = parseInt(stepText)
		}
		if !ok1 || !ok2 || !ok3 || step == 0 || f.outside(first) != "" || f.outside(last) != "" {
			return "write the numbers one by one, separated by commas"
		}
		count := high - f.low + 1
		if last < first {
			last += count
		}
		for n := first; n <= last; n += step {
			set |= units.NumbersOf(f.low + (n-f.low)%count)
		}
	}
	return "write " + cronList(set)
}
