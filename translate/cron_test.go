package translate

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const (
	andNote  = "it runs only on days that match both the day of month and the day of week, as in PM2; crontab(5) would run on either"
	longNote = "PM2 stops at the first wait of more than 24.8 days between two runs; the timer goes on"
)

func TestParseCron(t *testing.T) {
	tests := []struct {
		text, want string
		notes      []string
	}{
		// Plain expressions, of five fields and of six.
		{"0 0 * * *", "*-*-* 00:00:00", nil},
		{"* * * * *", "*-*-* *:*:00", nil},
		{"* * * * * *", "*-*-* *:*:*", nil},
		{"*/30 * * * * *", "*-*-* *:*:00,30", nil},
		{"*/15 * * * *", "*-*-* *:00/15:00", nil},
		{"2/5 * * * *", "*-*-* *:02/5:00", nil},
		{"*/7 * * * *", "*-*-* *:00..56/7:00", nil},
		{"0 */6 * * *", "*-*-* 00..18/6:00:00", nil},
		{"0 8,14,20 * * *", "*-*-* 08,14,20:00:00", nil},
		{"0,30 9-18 * * 1-5", "Mon..Fri *-*-* 09..18:00,30:00", nil},
		{"0 0 13 * FRI", "Fri *-*-13 00:00:00", []string{andNote, longNote}},
		{"0 0 29 2 *", "*-02-29 00:00:00", []string{longNote}},
		{"0 0 1 * *", "*-*-01 00:00:00", []string{longNote}},
		{"0 0 1,15 * *", "*-*-01,15 00:00:00", nil},
		{"0 0 1 */3 *", "*-01..10/3-01 00:00:00", []string{longNote}},
		{"0 0 */2 * *", "*-*-01..31/2 00:00:00", nil},
		{"0 0 * 1,3 *", "*-01,03-* 00:00:00", []string{longNote}},
		{"0 0 1-31 * 1", "Mon *-*-* 00:00:00", nil},
		// A step of 1 restricts nothing.
		{"*/1 */1 */1 */1 */1 */1", "*-*-* *:*:*", nil},

		// The last day of the month.
		{"0 0 L * *", "*-*~01 00:00:00", []string{longNote}},
		{"0 0 l * 5", "Fri *-*~01 00:00:00", []string{andNote, longNote}},
		{"0 0 L 2 *", "*-02~01 00:00:00", []string{longNote}},

		// Steps count from 0, also where the field starts at 1.
		{"0 0 1/6 * *", "*-*-02..26/6 00:00:00", []string{
			"PM2 counts from 0 here: 1/6 in the day of month field is 2,8,14,20,26; 1-31/6 starts at 1",
		}},
		{"0 0 5/10 * *", "*-*-06,16,26 00:00:00", []string{
			"PM2 counts from 0 here: 5/10 in the day of month field is 6,16,26; 5-31/10 starts at 5",
		}},
		{"0 0 * jan/3 *", "*-02..11/3-* 00:00:00", []string{
			"PM2 counts from 0 here: jan/3 in the month field is 2,5,8,11; 1-12/3 starts at 1", longNote,
		}},
		{"0 0 0/5 * *", "*-*-01..31/5 00:00:00", nil},
		{"0 0 1-31/6 * *", "*-*-01..31/6 00:00:00", nil},

		// Weekdays: 7 is Sunday, and a step reaches it.
		{"0 0 * * 7", "Sun *-*-* 00:00:00", nil},
		{"0 0 * * 0-7", "*-*-* 00:00:00", nil},
		{"0 0 * * fri-7", "Fri..Sun *-*-* 00:00:00", nil},
		{"0 0 * * 6-7", "Sat,Sun *-*-* 00:00:00", nil},
		{"0 0 * * */8", "Sun *-*-* 00:00:00", nil},
		{"0 0 * * */7", "Sun *-*-* 00:00:00", nil},
		{"0 0 * * */2", "Tue,Thu,Sat,Sun *-*-* 00:00:00", nil},
		{"* * * * * 5,6,0,1", "Mon,Fri..Sun *-*-* *:*:*", nil},
		{"0 0 * * 1/2", "Mon,Wed,Fri,Sun *-*-* 00:00:00", []string{
			"PM2 counts weekdays up to 7: 1/2 is 1,3,5,7, Sunday included; 1-6/2 ends on Saturday",
		}},
		{"0 0 * * 3/4", "Wed,Sun *-*-* 00:00:00", []string{
			"PM2 counts weekdays up to 7: 3/4 is 3,7, Sunday included; 3-6/4 ends on Saturday",
		}},

		// Names are replaced as text, in their own field.
		{"0 0 * * MON/2", "Mon,Wed,Fri,Sun *-*-* 00:00:00", []string{
			"PM2 counts weekdays up to 7: MON/2 is 1,3,5,7, Sunday included; 1-6/2 ends on Saturday",
		}},
		{"0 0 * * Mon,wEd", "Mon,Wed *-*-* 00:00:00", nil},
		{"0 0 * janfeb *", "*-12-* 00:00:00", []string{longNote}},
		{"0 0 * 1jan *", "*-11-* 00:00:00", []string{longNote}},
		{"0 0 * jan-MAR *", "*-01..03-* 00:00:00", []string{longNote}},

		// JavaScript's parseInt, and lists with holes.
		{"007 0 * * *", "*-*-* 00:07:00", nil},
		{"5* 0 * * *", "*-*-* 00:05:00", nil},
		{"5*3 0 * * *", "*-*-* 00:05:00", nil},
		{"1*-5 0 * * *", "*-*-* 00:01..05:00", nil},
		{"1,,2 0 * * *", "*-*-* 00:01,02:00", nil},
		{",5 0 * * *", "*-*-* 00:05:00", nil},
		{"5,* 0 * * *", "*-*-* 00:*:00", nil},
		{"*/5* 0 * * *", "*-*-* 00:00/5:00", nil},
		{"*/60 */24 */31 */12 *", "*-01-01 00:00:00", []string{longNote}},

		// JavaScript's white space.
		{"\t0\u00a00  *\n*\u3000* \ufeff", "*-*-* 00:00:00", nil},

		// Dates, once.
		{"2028-03-01T12:00:00", "2028-03-01 12:00:00", nil},
		{"2028-03-01T12:00:00Z", "2028-03-01 12:00:00 UTC", nil},
		{"2028-03-01 12:00:00.500", "2028-03-01 12:00:00", nil},
		{"2028/3/1 1:2:3", "2028-03-01 01:02:03", nil},
		{"2028–3–1 1:2:3", "2028-03-01 01:02:03", nil},
		{"2028-03-01T12:00:00+05:00", "2028-03-01 12:00:00", []string{
			`PM2 ignores "+05:00" behind a date: it is taken as local time`,
		}},
	}
	for _, test := range tests {
		spec, fault := parseCron(test.text)
		if fault != nil {
			t.Errorf("parseCron(%q): %s, want %s", test.text, fault.cause, test.want)
			continue
		}
		if got := spec.calendar.String(); got != test.want {
			t.Errorf("parseCron(%q) = %q, want %q", test.text, got, test.want)
		}
		if diff := cmp.Diff(spec.notes, test.notes); diff != "" {
			t.Errorf("notes of parseCron(%q), - got, + want:\n%s", test.text, diff)
		}
	}
}

func TestParseCronDisabled(t *testing.T) {
	for _, text := range []string{"", "0", " ", "00", "0.0", "\ufeff", "-0", "0e5", "0x0", "0B00", ".0"} {
		if spec, fault := parseCron(text); fault != nil || !spec.disabled {
			t.Errorf("parseCron(%q) = %+v, %+v, want disabled", text, spec, fault)
		}
	}
	for _, text := range []string{"1", "0 0", "0x", "-0x0", "0_0", ".", "-", "\u0085", "0b2", "Infinity"} {
		if spec, fault := parseCron(text); fault == nil {
			t.Errorf("parseCron(%q) = %+v, want a fault", text, spec)
		}
	}
}

func TestParseCronFaults(t *testing.T) {
	// The place is marked in the text: «» around what the message points at.
	tests := []struct{ text, field, cause, remedy string }{
		// Lists hold numbers only.
		{"«1-5»,10 * * * *", "minute", "stands in a list", "write 1,2,3,4,5,10"},
		{"5,«*/10» * * * *", "minute", "stands in a list", "write 0,5,10,20,30,40,50"},
		{"0 0 * * «MON-FRI»,SUN", "day of week", "stands in a list", "write 0-5"},
		{"0 0 * * «mon-wed»,fri-7", "day of week", "stands in a list", "write 0,1,2,3,5,6"},
		{"0 «22-4/2»,12 * * *", "hour", "stands in a list", "write 0,2,4,12,22"},
		{"0 «1-99»,3 * * *", "hour", "stands in a list", "one by one"},

		// No range wraps around.
		{"0 0 * * «FRI-MON»", "day of week", `"FRI-MON" runs backwards`, "write 0,1,5,6"},
		{"0 «22-4» * * *", "hour", `"22-4" runs backwards`, "write 0,1,2,3,4,22,23"},
		{"0 0 * * «sat-sun»", "day of week", "runs backwards", "write 0,6"},
		{"0 0 * «nov-feb» *", "month", "runs backwards", "write 1,2,11,12"},

		// Numbers out of range.
		{"0 0 * * «9»", "day of week", "weekday 9 is above 7", "use 0-7, or a name such as fri"},
		{"0 «24» * * *", "hour", "hour 24 is above 23", "use 0-23; midnight is 0"},
		{"5,«60» * * * *", "minute", "minute 60 is above 59", "use 0-59"},
		{"0 0 «0» * *", "day of month", "day 0 is below 1", "use 1-31"},
		{"0 0 * «0-5» *", "month", "month 0 is below 1", "use 1-12, or a name such as jan"},
		{"0 0 «1-32» * *", "day of month", "day 32 is above 31", "use 1-31"},
		{"«99999999999999999999» 0 * * *", "minute", "is above 59", "use 0-59"},

		// Steps.
		{"«*/61» * * * *", "minute", "step 61 in the minute field is not within 1 to 60", "use a step of 1 to 60"},
		{"0 «*/25» * * *", "hour", "1 to 24", "1 to 24"},
		{"0 0 «*/32» * *", "day of month", "1 to 31", "1 to 31"},
		{"0 0 * «*/13» *", "month", "1 to 12", "1 to 12"},
		{"0 0 * * «*/9»", "day of week", "1 to 8", "1 to 8"},
		{"«*/0» * * * *", "minute", "step 0", "1 to 60"},
		{"«1-5/0» * * * *", "minute", "step 0", "1 to 60"},

		// Syntax.
		{"«1-2-3» * * * *", "minute", "not a range", "use *, 0-59"},
		{"«1-» * * * *", "minute", "not a range", "use *, 0-59"},
		{"«*-5» * * * *", "minute", "not a range", "use *, 0-59"},
		{"«1*-5/2» * * * *", "minute", "not a range", "use *, 0-59"},
		{"«*/-5» * * * *", "minute", "not a range", "use *, 0-59"},
		{"«1/2/3» * * * *", "minute", "not a step", "use *, 0-59"},
		{"«*/» * * * *", "minute", "not a step", "use *, 0-59"},

		// Characters of other crons.
		{"0 0 12 * * «?»", "day of week", "the moment at which it loads the file", "write * for every weekday"},
		{"0 0 «LW» * *", "day of month", "knows L as the whole field", "use L alone"},
		{"0 0 «L-3» * *", "day of month", "knows L as the whole field", "use L alone"},
		{"0 0 15,«L» * *", "day of month", "knows L as the whole field", "use L alone"},
		{"0 0 «15W» * *", "day of month", "knows L as the whole field", "use L alone"},
		{"0 0 * * «5L»", "day of week", "nothing that PM2 knows", "use *, 0-7"},
		{"0 0 * * «MON#2»", "day of week", "knows no weekday of a month", "write 1 here and 8-14 in the day of month field"},
		{"0 0 1 * «1#2»", "day of week", "knows no weekday of a month", "use *, 0-7"},
		{"«H» * * * *", "minute", "nothing that PM2 knows", "use *, 0-59"},
		{"«0~30» * * * *", "minute", "nothing that PM2 knows", "use *, 0-59"},
		{"0 0 * * «MONDAY»", "day of week", "is spelled out", "write mon"},
		{"0 0 * «january» *", "month", "is spelled out", "write jan"},
		{"0 0 * «MON» *", "month", "nothing that PM2 knows", "belongs in the day of week field"},
		{"«jan» 0 * * *", "minute", "nothing that PM2 knows", "belongs in the month field"},
		{"0 0 * * 1,«é»", "day of week", "nothing that PM2 knows", "use *, 0-7"},
		{"«+5» 0 * * *", "minute", "nothing that PM2 knows", "use *, 0-59"},
		{"«TZ=UTC» 0 0 * * *", "second", "no time zones", "leave TZ=UTC out"},
		{"«CRON_TZ=Europe/Berlin» 0 0 * * *", "second", "no time zones", "leave CRON_TZ=Europe/Berlin out"},

		// What PM2 takes, and its daemon hangs on.
		{"«70/5» * * * *", "minute", "names no minute", "start the step within 0-59"},
		{"«/5» * * * *", "minute", "names no minute", "write */5"},
		{"«**» * * * *", "minute", "names no minute", "use *, 0-59"},
		{"«,» * * * *", "minute", "names no minute", "use *, 0-59"},
		{"0 0 «31/5» * *", "day of month", "names no day", "write 31"},
		{"0 0 1 «12/1» *", "month", "names no month", "write 12"},
		{"0 0 «30» 2 *", "day of month", "none of its months has the day of month 30", "L for the last day"},
		{"0 0 «31» 2,4,6,9,11 *", "day of month", "none of its months", "L for the last day"},
		{"0 0 0 «30,31» feb 1", "day of month", "none of its months", "L for the last day"},

		// The number of fields, and the @ words.
		{"«@daily»", "", "none of the @ words", "write 0 0 * * *"},
		{" «@HOURLY» ", "", "none of the @ words", "write 0 * * * *"},
		{"«@reboot»", "", "none of the @ words", "leave cron_restart out"},
		{"«@every 5m»", "", "none of the @ words", "write */5 * * * *"},
		{"«@every 30s»", "", "none of the @ words", "write */30 * * * * *"},
		{"«@every 2h»", "", "none of the @ words", "write 0 */2 * * *"},
		{"«@every 24h»", "", "none of the @ words", "write 0 0 * * *"},
		{"«@every 7m»", "", "none of the @ words", "cron counts by the clock"},
		{"«@every -1s»", "", "none of the @ words", "cron counts by the clock"},
		{"«@fortnightly»", "", "none of the @ words", "write five fields"},
		{"«5»", "", "it has 1 field:", "write five fields"},
		{"«0 0 * *»", "", "it has 4 fields", "write five fields"},
		{"«0 0 12 * * ? 2030»", "", "it has 7 fields", "leave the last field out: 0 0 12 * * *"},
		{"«0 0 0 0 0 0 0 0»", "", "it has 8 fields", "write five fields"},

		// Dates.
		{"«12:30»", "", "a colon makes it a date", "write 30 12 * * *"},
		{"«12:30:15»", "", "a colon makes it a date", "write 15 30 12 * * *"},
		{"«2028-03-01 12:30»", "", "a colon makes it a date", "2030-03-01T12:00:00"},
		{"« 2028-03-01 12:30:00»", "", "a colon makes it a date", "2030-03-01T12:00:00"},
		{"«2028--03-01 12:30:00»", "", "a colon makes it a date", "2030-03-01T12:00:00"},
		{"«x:»", "", "a colon makes it a date", "2030-03-01T12:00:00"},
		{"«2027-02-29 00:00:00»", "", "there is no 2027-02-29 00:00:00", "use a date that exists"},
		{"«2027-02-28 24:00:00»", "", "there is no 2027-02-28 24:00:00", "use a date that exists"},
		{"«2200-01-01 00:00:00»", "", "outside 1970 to 2199", "use a year"},
		{"«1969-12-31 23:59:59Z»", "", "outside 1970 to 2199", "use a year"},
	}
	for _, test := range tests {
		before, rest, _ := strings.Cut(test.text, "«")
		marked, after, _ := strings.Cut(rest, "»")
		text := before + marked + after
		spec, fault := parseCron(text)
		if fault == nil {
			t.Errorf("parseCron(%q) = %q, want a fault: %s", text, spec.calendar, test.cause)
			continue
		}
		if got := text[fault.start:fault.end]; got != marked || fault.start != len(before) {
			t.Errorf("parseCron(%q) points at %q, want %q", text, got, marked)
		}
		if fault.field != test.field {
			t.Errorf("parseCron(%q) is about the field %q, want %q", text, fault.field, test.field)
		}
		if !strings.Contains(fault.cause, test.cause) {
			t.Errorf("parseCron(%q): cause %q, want it to say %q", text, fault.cause, test.cause)
		}
		if !strings.Contains(fault.remedy, test.remedy) {
			t.Errorf("parseCron(%q): remedy %q, want it to say %q", text, fault.remedy, test.remedy)
		}
		// A whole expression stands last in its remedy.
		if test.field == "" && strings.HasSuffix(fault.remedy, "*") {
			start := max(strings.LastIndex(fault.remedy, "write ")+len("write "), strings.LastIndex(fault.remedy, ": ")+len(": "))
			if _, again := parseCron(fault.remedy[start:]); again != nil {
				t.Errorf("parseCron(%q): its own remedy %q is refused: %s", text, fault.remedy, again.cause)
			}
		}
	}
}

// FuzzParseCron holds parseCron to its promises whatever the text: no panic, a
// range within the text, a cause and a remedy, and a calendar that fires.
func FuzzParseCron(f *testing.F) {
	for _, text := range realCrons {
		f.Add(text)
	}
	for _, text := range []string{"", "0x0", "TZ=UTC", "2028-03-01T12:00:00Z", "1-5,10 * * * *", "0 0 * * MON#2", "@every 5m", "\ufeff", "x:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spec, fault := parseCron(text)
		switch {
		case fault != nil:
			if fault.start < 0 || fault.end < fault.start || fault.end > len(text) {
				t.Errorf("parseCron(%q) points at [%d, %d)", text, fault.start, fault.end)
			}
			if fault.cause == "" || fault.remedy == "" {
				t.Errorf("parseCron(%q) = %+v, want a cause and a remedy", text, *fault)
			}
			if utf8.ValidString(text) && !utf8.ValidString(text[fault.start:fault.end]) {
				t.Errorf("parseCron(%q) cuts a character in two", text)
			}
		case !spec.disabled:
			checkCronRoundTrip(t, text, spec)
		}
	})
}

func BenchmarkParseCron(b *testing.B) {
	for _, text := range []string{"0 0 * * *", "*/5 9-17 * * MON-FRI", "0 0 1,15 * *", "0 0 L * 5", "1-5,10 * * * *"} {
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parseCron(text)
			}
		})
	}
}
