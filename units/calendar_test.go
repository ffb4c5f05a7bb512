package units

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// everyMidnight is a calendar for tests to vary.
var everyMidnight = Calendar{
	Weekdays: AllWeekdays, Months: AllMonths, Days: AllDays,
	Hours: NumbersOf(0), Minutes: NumbersOf(0), Seconds: NumbersOf(0),
}

func calendarWith(change func(*Calendar)) Calendar {
	c := everyMidnight
	change(&c)
	return c
}

func TestCalendarString(t *testing.T) {
	tests := []struct {
		want   string
		change func(*Calendar)
	}{
		{"*-*-* 00:00:00", func(c *Calendar) {}},
		{"*-*-* *:*:*", func(c *Calendar) { c.Hours, c.Minutes, c.Seconds = AllHours, AllMinutes, AllSeconds }},

		// Hours, days and months never repeat without an end: 252 breaks on it.
		{"*-*-* 00..22/2:00:00", func(c *Calendar) { c.Hours = NumbersOf(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22) }},
		{"*-*-01..29/7 00:00:00", func(c *Calendar) { c.Days = NumbersOf(1, 8, 15, 22, 29) }},
		{"*-01..10/3-* 00:00:00", func(c *Calendar) { c.Months = NumbersOf(1, 4, 7, 10) }},

		// Minutes and seconds do where the step divides 60 and fills the hour.
		{"*-*-* 00:00/15:00", func(c *Calendar) { c.Minutes = NumbersOf(0, 15, 30, 45) }},
		{"*-*-* 00:07/20:00", func(c *Calendar) { c.Minutes = NumbersOf(7, 27, 47) }},
		{"*-*-* 00:00:01/2", func(c *Calendar) { c.Seconds = 0xaaaaaaaaaaaaaaa }},
		{"*-*-* 00:15,30,45:00", func(c *Calendar) { c.Minutes = NumbersOf(15, 30, 45) }},
		{"*-*-* 00:00,15,30:00", func(c *Calendar) { c.Minutes = NumbersOf(0, 15, 30) }},
		{"*-*-* 00:00..56/7:00", func(c *Calendar) { c.Minutes = NumbersOf(0, 7, 14, 21, 28, 35, 42, 49, 56) }},
		{"*-*-* 00:00,30:00", func(c *Calendar) { c.Minutes = NumbersOf(0, 30) }},

		// Ranges and lists.
		{"*-*-* 09..18:00:00", func(c *Calendar) { c.Hours = NumbersBetween(9, 18) }},
		{"*-*-* 08,14,20:00:00", func(c *Calendar) { c.Hours = NumbersOf(8, 14, 20) }},
		{"*-*-* 08,09:00:00", func(c *Calendar) { c.Hours = NumbersOf(8, 9) }},
		{"*-*-* 01,03..05,07,08:00:00", func(c *Calendar) { c.Hours = NumbersOf(1, 3, 4, 5, 7, 8) }},

		// The week starts on Monday and does not wrap.
		{"Mon *-*-* 00:00:00", func(c *Calendar) { c.Weekdays = NumbersOf(1) }},
		{"Mon..Fri *-*-* 00:00:00", func(c *Calendar) { c.Weekdays = NumbersBetween(1, 5) }},
		{"Sat,Sun *-*-* 00:00:00", func(c *Calendar) { c.Weekdays = NumbersOf(0, 6) }},
		{"Mon,Fri..Sun *-*-* 00:00:00", func(c *Calendar) { c.Weekdays = NumbersOf(5, 6, 0, 1) }},
		{"Mon,Wed,Fri,Sun *-*-* 00:00:00", func(c *Calendar) { c.Weekdays = NumbersOf(1, 3, 5, 0) }},

		{"*-*~01 00:00:00", func(c *Calendar) { c.Days, c.FromEnd = NumbersOf(1), true }},
		{"Fri *-02~01,03..05 00:00:00", func(c *Calendar) {
			c.Weekdays, c.Months, c.Days, c.FromEnd = NumbersOf(5), NumbersOf(2), NumbersOf(1, 3, 4, 5), true
		}},
		{"2028-03-01 12:00:00 UTC", func(c *Calendar) {
			c.Year, c.Months, c.Days, c.Hours, c.UTC = 2028, NumbersOf(3), NumbersOf(1), NumbersOf(12), true
		}},
	}
	for _, test := range tests {
		c := calendarWith(test.change)
		if got := c.String(); got != test.want {
			t.Errorf("String() = %q, want %q", got, test.want)
		}
		back, err := ParseCalendar(test.want)
		if err != nil {
			t.Error(err)
		} else if back != c {
			t.Errorf("ParseCalendar(%q) = %+v, want %+v", test.want, back, c)
		}
	}
}

// handwritten holds expressions as people write them and what String makes of
// them. TestCalendarAgreesWithSystemd asks systemd about the same list.
var handwritten = []struct{ text, want string }{
	{"minutely", "*-*-* *:*:00"},
	{"hourly", "*-*-* *:00:00"},
	{"daily", "*-*-* 00:00:00"},
	{"Daily UTC", "*-*-* 00:00:00 UTC"},
	{"weekly", "Mon *-*-* 00:00:00"},
	{"monthly", "*-*-01 00:00:00"},
	{"quarterly", "*-01..10/3-01 00:00:00"},
	{"semi-annually", "*-01,07-01 00:00:00"},
	{"yearly", "*-01-01 00:00:00"},
	{"annually", "*-01-01 00:00:00"},

	{"10:00", "*-*-* 10:00:00"},
	{"1:2:3", "*-*-* 01:02:03"},
	{"*:*", "*-*-* *:*:00"},
	{"Sat", "Sat *-*-* 00:00:00"},
	{"saturday 3:30", "Sat *-*-* 03:30:00"},
	{"Mon,", "Mon *-*-* 00:00:00"},
	{"mon-FRI 10:00", "Mon..Fri *-*-* 10:00:00"},
	{"Sat..Sun", "Sat,Sun *-*-* 00:00:00"},
	{"Mon..Sun 4:00", "*-*-* 04:00:00"},
	{"mon,tue..thu", "Mon..Thu *-*-* 00:00:00"},
	{"*-*-* 0/1:00", "*-*-* *:00:00"},
	{"12-24", "*-12-24 00:00:00"},
	{"*-*-*", "*-*-* 00:00:00"},
	{"*-1-1  10:00", "*-01-01 10:00:00"},
	{"28-2-3", "2028-02-03 00:00:00"},
	{"70-1-1", "1970-01-01 00:00:00"},
	{"2028-02-03 4:5 utc", "2028-02-03 04:05:00 UTC"},
	{"*:0/5", "*-*-* *:00/5:00"},
	{"*:5/5", "*-*-* *:05..55/5:00"},
	{"*:05/10,07", "*-*-* *:05,07,15,25,35,45,55:00"},
	{"12..14:10,20,30..40/5", "*-*-* 12..14:10,20,30,35,40:00"},
	{"*:1..58/3", "*-*-* *:01/3:00"},
	{"*:3..4/30", "*-*-* *:03:00"},
	{"5..5:00", "*-*-* 05:00:00"},
	{"*:10..30,20..40", "*-*-* *:10..40:00"},
	{"*:05,05", "*-*-* *:05:00"},
	{"*:*:0..30/15", "*-*-* *:*:00,15,30"},

	{"*-*~1", "*-*~01 00:00:00"},
	{"02~03 4:00", "*-02~03 04:00:00"},
	{"Mon *-05~07/1", "Mon *-05~01..07 00:00:00"},
	{"*-*~10/3", "*-*~01,04,07,10 00:00:00"},
	{"*-*~01..07/2", "*-*~01,03,05,07 00:00:00"},
	{"*-*~* 0:00", "*-*-* 00:00:00"},
	{"2028-*~01..28 0:00", "2028-*~01..28 00:00:00"},
}

func TestParseCalendarReadsHandwriting(t *testing.T) {
	for _, test := range handwritten {
		c, err := ParseCalendar(test.text)
		if err != nil {
			t.Error(err)
		} else if got := c.String(); got != test.want {
			t.Errorf("ParseCalendar(%q) is %q, want %q", test.text, got, test.want)
		}
	}
}

var refusedCalendars = []struct{ text, cause string }{
	{"", "it is empty"},
	{"UTC", "no weekday"},
	{"10", "neither a date"},
	{"2028", "neither a date"},
	{"Mon *", "neither a date"},
	{"Foo 10:00", "no weekday"},
	{"Mon10:00", "no weekday"},
	{"Mon,,Tue", "no weekday"},
	{"Mon - Fri 10:00", "number is missing"},
	{"Sun..Tue", "runs backwards"},
	{"*:60", "outside 0 to 59"},
	{"24:00", "outside 0 to 23"},
	{"*-*-32", "outside 1 to 31"},
	{"*-*-00", "outside 1 to 31"},
	{"*-13-01", "outside 1 to 12"},
	{"*-*~29", "outside 1 to 28"},
	{"*-*~01..31", "outside 1 to 28"},
	{"*-*~1/1", "no second value"},
	{"*:5/60", "no second value"},
	{"*:20/40", "no second value"},
	{"*:0/0", "step 0"},
	{"*:20..2", "runs backwards"},
	{"*:*/5", "not a number"},
	{"*:*,5", "not a number"},
	{"+1:00", "not a number"},
	{"1:2:", "number is missing"},
	{"1:2:3:4", "not hour:minute"},
	{"*-*-*-* 10:00", "not a number"},
	{"*:99999999999999999999", "not a number"},
	{"10:00 *-*-*", "left over"},
	{"2200-01-01", "outside 1970 to 2199"},
	{"1969-01-01", "outside 1970 to 2199"},
}

func TestParseCalendarRefuses(t *testing.T) {
	for _, test := range refusedCalendars {
		c, err := ParseCalendar(test.text)
		if err == nil {
			t.Errorf("ParseCalendar(%q) = %q, want an error", test.text, c)
		} else if !strings.Contains(err.Error(), test.cause) {
			t.Errorf("ParseCalendar(%q): %v, want it to say %q", test.text, err, test.cause)
		}
	}
	// systemd knows these, Calendar does not.
	for _, text := range []string{"2024..2030-*-*", "*:*:0.5", "10:00 Europe/Berlin", "@1700000000"} {
		if c, err := ParseCalendar(text); err == nil {
			t.Errorf("ParseCalendar(%q) = %q, want an error", text, c)
		}
	}
}

// randomCalendar returns a calendar that String can write.
func randomCalendar(r *rand.Rand) Calendar {
	set := func(low, high int) Numbers {
		switch all := NumbersBetween(low, high); r.IntN(5) {
		case 0:
			return all
		case 1:
			return NumbersOf(low + r.IntN(high-low+1))
		case 2:
			first := low + r.IntN(high-low+1)
			return NumbersBetween(first, first+r.IntN(high-first+1))
		case 3:
			var s Numbers
			step := 1 + r.IntN(high-low)
			for n := low + r.IntN(step); n <= high; n += step {
				s |= NumbersOf(n)
			}
			return s
		default:
			return Numbers(r.Uint64())&all | NumbersOf(low)
		}
	}
	c := Calendar{
		Weekdays: set(0, 6), Months: set(1, 12), Days: set(1, 31),
		Hours: set(0, 23), Minutes: set(0, 59), Seconds: set(0, 59), UTC: r.IntN(4) == 0,
	}
	if r.IntN(4) == 0 {
		// Not any list: systemd takes 3 from the bound at each item (chain_valid in
		// calendarspec.c), so that it refuses ~21,22,23 and takes ~21..23.
		c.FromEnd, c.Days = true, NumbersBetween(1, 1+r.IntN(28))
	}
	if r.IntN(4) == 0 {
		c.Year = FirstYear + r.IntN(LastYear-FirstYear+1)
	}
	return c
}

func TestParseCalendarInvertsString(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		want := randomCalendar(r)
		got, err := ParseCalendar(want.String())
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("ParseCalendar(%q) = %+v, want %+v", want, got, want)
		}
	}
}

func FuzzParseCalendar(f *testing.F) {
	for _, test := range handwritten {
		f.Add(test.text)
	}
	for _, test := range refusedCalendars {
		f.Add(test.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCalendar(text)
		if err != nil {
			return
		}
		again, err := ParseCalendar(c.String())
		if err != nil || again != c {
			t.Fatalf("%q is read as %q and that as %q, %v", text, c, again, err)
		}
		c.Next(time.Unix(0, 0).UTC())
	})
}

func TestCalendarNext(t *testing.T) {
	const layout = "2006-01-02 15:04:05 -0700"
	tests := []struct {
		name, zone, calendar, after string
		want                        []string
	}{
		{
			"strictly after", "UTC", "*-*-* 10:00", "2026-03-01 10:00:00 +0000",
			[]string{"2026-03-02 10:00:00 +0000"},
		},
		{
			"carries to the next hour", "UTC", "*-*-* 9..10:15,45:30", "2026-03-01 09:45:30 +0000",
			[]string{"2026-03-01 10:15:30 +0000", "2026-03-01 10:45:30 +0000", "2026-03-02 09:15:30 +0000"},
		},
		{
			"leap day on a Monday", "UTC", "Mon *-02-29", "2000-03-01 00:00:00 +0000",
			[]string{"2016-02-29 00:00:00 +0000", "2044-02-29 00:00:00 +0000"},
		},
		{
			"end of month", "UTC", "*-*~01 12:00", "2028-01-31 12:00:00 +0000",
			[]string{"2028-02-29 12:00:00 +0000", "2028-03-31 12:00:00 +0000", "2028-04-30 12:00:00 +0000"},
		},
		{
			"last Monday of May", "UTC", "Mon *-05~07/1", "2026-01-01 00:00:00 +0000",
			[]string{"2026-05-25 00:00:00 +0000", "2027-05-31 00:00:00 +0000"},
		},
		{"never", "UTC", "*-02-30", "2026-01-01 00:00:00 +0000", nil},
		{"over", "UTC", "2026-01-01 10:00", "2026-01-01 10:00:00 +0000", nil},
		{"before its year", "UTC", "2028-03-01 12:00", "1901-01-01 00:00:00 +0000", []string{"2028-03-01 12:00:00 +0000"}},
		{
			"systemd's horizon", "UTC", "*-12-31 23:59:59", "2198-12-31 23:59:58 +0000",
			[]string{"2198-12-31 23:59:59 +0000", "2199-12-31 23:59:59 +0000"},
		},
		{
			"UTC in another zone", "Europe/Berlin", "*-*-* 12:00 UTC", "2026-03-28 12:00:00 +0100",
			[]string{"2026-03-28 13:00:00 +0100", "2026-03-29 14:00:00 +0200"},
		},

		{
			"spring: skipped", "Europe/Berlin", "*-*-* 02:30", "2026-03-28 02:30:00 +0100",
			[]string{"2026-03-30 02:30:00 +0200"},
		},
		{
			"spring: hourly goes on", "Europe/Berlin", "*-*-* *:00", "2026-03-29 01:00:00 +0100",
			[]string{"2026-03-29 03:00:00 +0200", "2026-03-29 04:00:00 +0200"},
		},
		{
			"spring: each second", "Europe/Berlin", "*-*-* *:*:*", "2026-03-29 01:59:59 +0100",
			[]string{"2026-03-29 03:00:00 +0200"},
		},
		{
			"autumn: once, the first", "Europe/Berlin", "*-*-* 02:30", "2026-10-24 02:30:00 +0200",
			[]string{"2026-10-25 02:30:00 +0200", "2026-10-26 02:30:00 +0100"},
		},
		{
			"autumn: hourly pauses", "Europe/Berlin", "*-*-* *:00", "2026-10-25 01:00:00 +0200",
			[]string{"2026-10-25 02:00:00 +0200", "2026-10-25 03:00:00 +0100"},
		},
		{
			"autumn: asked in the second pass", "Europe/Berlin", "*-*-* *:*:*", "2026-10-25 02:10:00 +0100",
			[]string{"2026-10-25 03:00:00 +0100"},
		},
		{
			"a midnight that is skipped", "Africa/Cairo", "*-*-* 00:00", "2026-04-23 00:00:00 +0200",
			[]string{"2026-04-25 00:00:00 +0300"},
		},
		{
			"a midnight that comes twice", "America/Havana", "*-*-* 00..01:00", "2026-10-31 12:00:00 -0400",
			[]string{"2026-11-01 00:00:00 -0400", "2026-11-01 01:00:00 -0500"},
		},
		{
			"a shift of half an hour", "Australia/Lord_Howe", "*-*-* *:0/15", "2026-10-04 01:45:00 +1030",
			[]string{"2026-10-04 02:30:00 +1100", "2026-10-04 02:45:00 +1100"},
		},
		{
			"a day that never was", "Pacific/Apia", "*-12-29..31 12:00", "2011-12-29 12:00:00 -1000",
			[]string{"2011-12-31 12:00:00 +1400", "2012-12-29 12:00:00 +1400"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			zone := loadZone(t, test.zone)
			c, err := ParseCalendar(test.calendar)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.ParseInLocation(layout, test.after, zone)
			if err != nil {
				t.Fatal(err)
			}
			at = at.In(zone)
			for _, want := range test.want {
				next, ok := c.Next(at)
				if got := next.Format(layout); !ok || got != want {
					t.Fatalf("Next(%s) = %s, %t, want %s", at.Format(layout), got, ok, want)
				}
				at = next
			}
			if test.want == nil {
				if next, ok := c.Next(at); ok {
					t.Errorf("Next(%s) = %s, want none", at.Format(layout), next)
				}
			}
		})
	}
	if next, ok := (Calendar{}).Next(time.Now()); ok {
		t.Errorf("the zero Calendar fires at %s, want never", next)
	}
}

// TestCalendarNextAgainstEverySecond walks the days around clock changes second
// by second: a moment counts when its wall clock matches and has not been shown
// before.
func TestCalendarNextAgainstEverySecond(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, place := range []struct{ zone, from string }{
		{"Europe/Berlin", "2026-03-28"}, {"Europe/Berlin", "2026-10-24"}, {"Africa/Cairo", "2026-04-23"},
		{"Africa/Cairo", "2026-10-29"}, {"America/Santiago", "2026-09-05"}, {"America/Santiago", "2026-04-04"},
		{"Australia/Lord_Howe", "2026-10-03"}, {"Australia/Lord_Howe", "2026-04-04"}, {"Pacific/Apia", "2011-12-29"},
	} {
		zone := loadZone(t, place.zone)
		from, err := time.ParseInLocation(time.DateOnly, place.from, zone)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			c := randomCalendar(r)
			c.Weekdays, c.Months, c.Days, c.FromEnd, c.Year, c.UTC = AllWeekdays, AllMonths, AllDays, false, 0, false
			want, _ := c.Next(from)
			latest := time.Time{} // the latest reading so far, as UTC
			for at := from; at.Before(from.Add(60 * time.Hour)); at = at.Add(time.Second) {
				shown := wallClock(at)
				repeated := !shown.After(latest)
				if !repeated {
					latest = shown
				}
				hour, minute, second := at.Clock()
				if at.Equal(from) || repeated || !c.Hours.Has(hour) || !c.Minutes.Has(minute) || !c.Seconds.Has(second) {
					continue
				}
				if !at.Equal(want) {
					t.Fatalf("%s in %s: Next gave %s, the clock says %s", c, place.zone, want, at)
				}
				want, _ = c.Next(at)
			}
		}
	}
}

func loadZone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no time zone data: %v", err)
	}
	return zone
}

// TestCalendarAgreesWithSystemd asks systemd itself: the same texts are refused,
// String is systemd's normalized form of itself, and both fire together.
func TestCalendarAgreesWithSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	const base = "2027-12-30 11:22:33 UTC"
	calendar := func(text string) ([]byte, error) {
		cmd := exec.Command(analyze, "calendar", "--iterations=5", "--base-time="+base, text)
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		return cmd.Output()
	}
	var texts []string
	for _, test := range handwritten {
		texts = append(texts, test.text)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		c := randomCalendar(r)
		if c.Year != 0 {
			c.Year = 2028 + r.IntN(3)
		}
		texts = append(texts, c.String())
	}
	for _, text := range texts {
		c, err := ParseCalendar(text)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := calendar(text)
		if err != nil {
			t.Errorf("systemd refuses %q: %v", text, err)
			continue
		}
		at, _ := time.Parse("2006-01-02 15:04:05 MST", base)
		for line := range strings.Lines(string(theirs)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			value = strings.TrimSpace(value)
			switch {
			case name == "Normalized form" && text == c.String() && value != text:
				t.Errorf("systemd normalizes %q to %q", text, value)
			case name == "Next elapse" || strings.HasPrefix(name, "Iter. #"):
				next, ok := c.Next(at)
				got := "never"
				if ok {
					got = next.Format("Mon 2006-01-02 15:04:05 MST")
				}
				if got != value {
					t.Fatalf("%q after %s: Next gives %s, systemd %s", text, at, got, value)
				}
				at = next
			}
		}
	}
	for _, test := range refusedCalendars {
		if out, err := calendar(test.text); err == nil {
			t.Errorf("systemd takes %q, ParseCalendar does not:\n%s", test.text, out)
		}
	}
}

func BenchmarkCalendarNext(b *testing.B) {
	c, err := ParseCalendar("Mon *-02-29 03:00")
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		c.Next(at)
	}
}
