package translate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gm/units"
)

// croner is what croner says of an expression.
type croner struct {
	Error string    // it refuses
	Once  *int64    // a date, in milliseconds
	Sets  [][]int   // its own arrays, as they are: days and months from 0
	Last  bool      // L
	Next  [][]int64 // the next runs after each base, in milliseconds
}

// cronerScript prints what croner says of each expression as a line of JSON. It
// never asks for the next run when a set is empty: croner would not return.
const cronerScript = `
const Cron = require(process.env.GM_CRONER + "/node_modules/croner");
const { crons, bases, count } = JSON.parse(require("fs").readFileSync(0, "utf8"));
for (const text of crons) {
	const out = { Next: [] };
	try {
		const job = new Cron(text);
		if (job.once) {
			out.Once = job.once.getTime();
		} else {
			const p = job.pattern;
			const numbers = (a) => a.map((on, i) => on ? i : -1).filter((i) => i >= 0);
			out.Sets = [p.seconds, p.minutes, p.hours, p.days, p.months, p.daysOfWeek].map(numbers);
			out.Last = p.lastDayOfMonth;
			if (out.Sets.every((s) => s.length > 0)) {
				for (const base of bases) {
					const runs = [];
					try {
						let at = new Date(base);
						while (runs.length < count && (at = job.next(at))) runs.push(at.getTime());
					} catch (e) {
						if (!(e instanceof RangeError)) throw e; // its stack overflowed: it never fires
					}
					out.Next.push(runs);
				}
			}
		}
	} catch (e) {
		out.Error = e.message || "error";
	}
	console.log(JSON.stringify(out));
}
`

func askCroner(t *testing.T, dir, zone string, crons []string, bases []time.Time, count int) []croner {
	t.Helper()
	input := struct {
		Crons []string `json:"crons"`
		Bases []int64  `json:"bases"`
		Count int      `json:"count"`
	}{Crons: crons, Count: count}
	for _, base := range bases {
		input.Bases = append(input.Bases, base.UnixMilli())
	}
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "-e", cronerScript)
	cmd.Env = append(os.Environ(), "TZ="+zone, "GM_CRONER="+dir)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	var answers []croner
	for line := range bytes.Lines(stdout) {
		var answer croner
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	if len(answers) != len(crons) {
		t.Fatalf("croner gave %d answers to %d expressions", len(answers), len(crons))
	}
	return answers
}

// systemdAnswer is what systemd-analyze says of one OnCalendar= value.
type systemdAnswer struct {
	normalized string
	next       []time.Time
}

// askSystemd asks systemd-analyze about many lines in one call.
func askSystemd(t *testing.T, zone string, lines []string, base time.Time, count int) []systemdAnswer {
	t.Helper()
	args := []string{"calendar", fmt.Sprintf("--iterations=%d", count), "--base-time=" + base.UTC().Format("2006-01-02 15:04:05 UTC")}
	cmd := exec.Command("systemd-analyze", append(args, lines...)...)
	cmd.Env = append(os.Environ(), "TZ="+zone, "LC_ALL=C", "SYSTEMD_COLORS=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Errorf("systemd-analyze: %v\n%s", err, stderr.Bytes())
	}
	// A block for each line that it takes. Local times have zone names that Go
	// does not know; a line "(in UTC)" follows each.
	var answers []systemdAnswer
	for line := range strings.Lines(string(stdout)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		value = strings.TrimSpace(value)
		switch name {
		case "Normalized form":
			answers = append(answers, systemdAnswer{normalized: value})
		case "(in UTC)":
			at, err := time.Parse("Mon 2006-01-02 15:04:05 MST", value)
			if err != nil {
				t.Fatal(err)
			}
			last := &answers[len(answers)-1]
			last.next = append(last.next, at)
		}
	}
	if len(answers) != len(lines) {
		t.Fatalf("systemd-analyze gave %d answers to %d expressions:\n%s", len(answers), len(lines), stderr.Bytes())
	}
	return answers
}

// cronSets are the six sets of an expression as croner has parsed them.
type cronSets struct {
	has  [6][64]bool
	last bool
}

func setsOf(answer croner) cronSets {
	c := cronSets{last: answer.Last}
	for i, numbers := range answer.Sets {
		for _, n := range numbers {
			if i == 3 || i == 4 {
				n++ // days and months
			}
			if i == 5 {
				n %= 7
			}
			c.has[i][n] = true
		}
	}
	return c
}

// next finds the moments after base by looking at every day, hour, minute and
// second: what the expression means, found by other means than Calendar.Next.
// It is the judge over all others, because croner itself slips.
func (c cronSets) next(base time.Time, count int) []time.Time {
	zone := base.Location()
	var found []time.Time
	year, month, day := base.Date()
	for date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC); date.Year() <= units.LastYear; date = date.AddDate(0, 0, 1) {
		if !c.has[4][date.Month()] || !c.has[5][date.Weekday()] || !c.has[3][date.Day()] || c.last && date.AddDate(0, 0, 1).Day() != 1 {
			continue
		}
		for minute := range 24 * 60 {
			if !c.has[2][minute/60] || !c.has[1][minute%60] {
				continue
			}
			for second := range 60 {
				if !c.has[0][second] {
					continue
				}
				at, ok := firstShown(date.Add(time.Duration(minute*60+second)*time.Second), zone)
				if ok && at.After(base) {
					if found = append(found, at); len(found) == count {
						return found
					}
				}
			}
		}
	}
	return found
}

// firstShown returns the first moment at which the clocks of zone show a
// reading; the offsets it tries are those of the day before and the day after.
func firstShown(reading time.Time, zone *time.Location) (first time.Time, ok bool) {
	for _, day := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := reading.Add(day).In(zone).Zone()
		at := reading.Add(-time.Duration(offset) * time.Second).In(zone)
		if at.Format(time.DateTime) == reading.Format(time.DateTime) && (!ok || at.Before(first)) {
			first, ok = at, true
		}
	}
	return first, ok
}

// cronerSlips reports whether croner 4.1.97 may lose a run, which gm does not
// imitate: it is the library's mistake, not the author's wish.
//
//   - A day 30 or 31 that is tried in February runs over into March, and the
//     search goes on from there: 1 or 2 March is lost (increment, src/date.js).
//   - From a day whose weekday does not match croner moves on without setting
//     the clock back, so that the first day begins at the time of day of the
//     base (resetPrevious without its argument, same place).
//   - A reading that a clock change skips it moves on by the length of the gap,
//     and searches from there: harmless for an hour, but where the gap is half
//     an hour (02:00 to 02:30) the first minutes behind it are lost.
func cronerSlips(c cronSets, base, first, at time.Time) bool {
	overflow := c.has[4][2] && (c.has[3][30] || c.has[3][31]) && at.Month() == time.March && at.Day() <= 2
	unreset := at.Format(time.DateOnly) == first.Format(time.DateOnly) &&
		at.Format(time.DateOnly) != base.Format(time.DateOnly) &&
		at.Format(time.TimeOnly) < base.Add(time.Second).Format(time.TimeOnly) &&
		slices.Contains(c.has[5][:7], false)
	return overflow || unreset || at.Sub(shortGap(at)) < 30*time.Minute
}

// shortGap returns the end of the gap before at, if clocks moved on by less than
// an hour there; else the zero time.
func shortGap(at time.Time) time.Time {
	start, _ := at.ZoneBounds()
	_, before := start.Add(-time.Second).Zone()
	_, after := start.Zone()
	if moved := after - before; moved <= 0 || moved >= 3600 {
		return time.Time{}
	}
	return start
}

// oracleBases are the moments from which runs are compared: the eves of clock
// changes (at midnight in Cairo and Santiago, by half an hour on Lord Howe),
// of a leap day, of a year. None is the very second before a skipped midnight:
// from there croner takes the end of the gap for midnight.
var oracleBases = []struct {
	zone  string
	bases []string
}{
	{"Europe/Berlin", []string{"2026-03-28 21:59:59", "2026-10-24 23:17:42", "2027-02-26 23:59:59", "2028-02-27 10:20:30", "2026-12-31 23:59:58"}},
	{"Africa/Cairo", []string{"2026-04-23 12:34:56", "2026-10-29 18:00:00"}},
	{"America/Santiago", []string{"2026-09-05 22:59:59", "2026-04-04 20:30:00"}},
	{"Australia/Lord_Howe", []string{"2026-10-03 23:59:59", "2026-04-04 23:00:00"}},
}

// oracleCount is how many runs are compared from each base.
const oracleCount = 30

// requireOracle skips the test when a program is missing; where the oracles are
// mandatory it fails.
func requireOracle(t *testing.T, missing func() error) {
	t.Helper()
	err := missing()
	if err == nil {
		return
	}
	if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}

func missingSystemd() error {
	_, err := exec.LookPath("systemd-analyze")
	return err
}

func missingCroner() error {
	dir := os.Getenv("GM_CRONER")
	if dir == "" {
		return fmt.Errorf("GM_CRONER is not set: it names a directory with node_modules/croner (4.1.97, which PM2 uses)")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "croner", "package.json")); err != nil {
		return err
	}
	_, err := exec.LookPath("node")
	return err
}

// TestCronFiresWithPM2 holds parseCron, Calendar.Next and systemd against
// croner, the library that PM2 uses, in time zones whose clocks change at
// awkward hours.
func TestCronFiresWithPM2(t *testing.T) {
	requireOracle(t, missingSystemd)
	requireOracle(t, missingCroner)
	dir, err := filepath.Abs(os.Getenv("GM_CRONER"))
	if err != nil {
		t.Fatal(err)
	}
	crons := slices.Clone(realCrons)
	r := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		crons = append(crons, randomCron(r))
	}
	judged := 0 // the zones in which croner had a say
	for _, place := range oracleBases {
		t.Run(place.zone, func(t *testing.T) {
			zone, err := time.LoadLocation(place.zone)
			if err != nil {
				t.Fatal(err)
			}
			var bases []time.Time
			for _, text := range place.bases {
				base, err := time.ParseInLocation(time.DateTime, text, zone)
				if err != nil {
					t.Fatal(err)
				}
				bases = append(bases, base)
			}
			known := nodeKnows(t, zone, bases)
			if known {
				judged++
			} else {
				t.Logf("this node has other rules for %s: croner is not asked there, systemd is", zone)
			}
			compareCrons(t, dir, zone, crons, bases, known)
		})
	}
	if judged < len(oracleBases)-1 {
		t.Errorf("croner had a say in %d of %d zones", judged, len(oracleBases))
	}
}

// nodeKnows reports whether node's own time zone data agree with Go's in the
// years behind the bases. Debian 12's node 18 does not know that Egypt changes
// its clocks again.
func nodeKnows(t *testing.T, zone *time.Location, bases []time.Time) bool {
	t.Helper()
	const script = `
const { bases, step, count } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(bases.map((b) => Array.from({ length: count }, (_, i) => -60 * new Date(b + i * step).getTimezoneOffset()))));
`
	const step, count = 12 * time.Hour, 4 * 2 * 366
	input := map[string]any{"step": step.Milliseconds(), "count": count}
	var starts []int64
	for _, base := range bases {
		starts = append(starts, base.UnixMilli())
	}
	input["bases"] = starts
	stdin, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "-e", script)
	cmd.Env = append(os.Environ(), "TZ="+zone.String())
	cmd.Stdin = bytes.NewReader(stdin)
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	var offsets [][]int
	if err := json.Unmarshal(stdout, &offsets); err != nil {
		t.Fatal(err)
	}
	for b, base := range bases {
		for i, theirs := range offsets[b] {
			if _, ours := base.Add(time.Duration(i) * step).Zone(); ours != theirs {
				return false
			}
		}
	}
	return true
}

func compareCrons(t *testing.T, dir string, zone *time.Location, crons []string, bases []time.Time, askTimes bool) {
	answers := askCroner(t, dir, zone.String(), crons, bases, oracleCount)
	type running struct {
		text   string
		spec   cronSpec
		sets   cronSets
		theirs croner
	}
	var run []running
	var lines []string
	for i, text := range crons {
		spec, fault := parseCron(text)
		theirs := answers[i]
		sets := setsOf(theirs)
		switch {
		case fault != nil && theirs.Error == "" && !knownRefusal(text, theirs, sets, zone):
			t.Errorf("parseCron(%q): %s, croner takes it", text, fault.cause)
		case fault == nil && theirs.Error != "":
			t.Errorf("parseCron(%q) = %q, croner: %s", text, spec.calendar, theirs.Error)
		case fault == nil:
			run = append(run, running{text, spec, sets, theirs})
			lines = append(lines, spec.calendar.String())
		}
	}
	if len(run) < 300 {
		t.Errorf("%d expressions run, want at least 300", len(run))
	}

	slips, slipped := 0, map[string]bool{}
	for b, base := range bases {
		systemds := askSystemd(t, zone.String(), lines, base, oracleCount)
		for i, c := range run {
			var want []time.Time
			if c.theirs.Once == nil {
				want = c.sets.next(base, oracleCount)
				if askTimes {
					if n := compareWithSlips(t, c.text, c.sets, base, want, c.theirs.Next[b]); n > 0 {
						slips += n
						slipped[c.text] = true
					}
				}
			} else if at := time.UnixMilli(*c.theirs.Once).In(zone); at.After(base) {
				want = []time.Time{at}
			}
			if systemds[i].normalized != lines[i] {
				t.Errorf("%q is %q, which systemd normalizes to %q", c.text, lines[i], systemds[i].normalized)
			}
			compareRuns(t, fmt.Sprintf("%q as %q in systemd", c.text, lines[i]), base, systemds[i].next, want, sameReading)
			var ours []time.Time
			for at, ok := c.spec.calendar.Next(base); ok && len(ours) < oracleCount; at, ok = c.spec.calendar.Next(at) {
				ours = append(ours, at)
			}
			compareRuns(t, fmt.Sprintf("%q as %q in Calendar.Next", c.text, lines[i]), base, ours, want, time.Time.Equal)
		}
	}
	if exact := len(run) - len(slipped); askTimes && exact < 300 {
		t.Errorf("croner gives the very instants for %d expressions, want at least 300", exact)
	}
	t.Logf("%d of %d expressions run, from %d bases; for %d of them croner lost %d runs by its own slips, for the rest it gives the very instants",
		len(run), len(crons), len(bases), len(slipped), slips)
}

// knownRefusal reports whether gm is right to refuse what croner's constructor
// takes: "?", an empty set (the daemon hangs), a day that never comes, a year
// beyond systemd's calendar.
func knownRefusal(text string, theirs croner, sets cronSets, zone *time.Location) bool {
	if theirs.Once != nil {
		year := time.UnixMilli(*theirs.Once).In(zone).Year()
		return year < units.FirstYear || year > units.LastYear
	}
	if strings.Contains(text, "?") {
		return true
	}
	if slices.ContainsFunc(theirs.Sets, func(set []int) bool { return len(set) == 0 }) {
		return true
	}
	return len(sets.next(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 1)) == 0
}

// compareWithSlips compares croner's runs with what the expression means and
// returns how many it lost by cronerSlips; any other difference fails.
func compareWithSlips(t *testing.T, text string, sets cronSets, base time.Time, want []time.Time, croner []int64) (slips int) {
	t.Helper()
	for i, at := range want {
		if i-slips >= len(croner) {
			return slips
		}
		if at.UnixMilli() == croner[i-slips] {
			continue
		}
		if !cronerSlips(sets, base, want[0], at) {
			t.Errorf("%q after %s: croner gives %s, the expression means %s", text, base, time.UnixMilli(croner[i-slips]).In(base.Location()), at)
			return slips
		}
		slips++
	}
	return slips
}

// sameReading compares moments by what the clocks of want's zone show. After a
// leap over weeks or months systemd may take a time that comes twice to be the
// second of the two: it leaves the choice to mktime(3), which remembers the
// offset it has last seen. It is one run all the same.
func sameReading(got, want time.Time) bool {
	return got.In(want.Location()).Format(time.DateTime) == want.Format(time.DateTime)
}

func compareRuns(t *testing.T, what string, base time.Time, got, want []time.Time, same func(got, want time.Time) bool) {
	t.Helper()
	if !slices.EqualFunc(got, want, same) {
		i := 0
		for i < len(got) && i < len(want) && same(got[i], want[i]) {
			i++
		}
		t.Errorf("%s after %s: run %d differs, got %v, want %v", what, base, i, got[i:min(i+2, len(got))], want[i:min(i+2, len(want))])
	}
}

// TestCronLinesAreSystemds garbles expressions: whatever parseCron still takes
// must be a line that systemd takes, in systemd's own normalized form.
func TestCronLinesAreSystemds(t *testing.T) {
	requireOracle(t, missingSystemd)
	r := rand.New(rand.NewPCG(9, 10))
	const alphabet = "0123456789*,-/ L?#monSUNjan:ZT"
	var lines []string
	for range 40_000 {
		text := []byte(randomCron(r))
		if r.IntN(4) == 0 {
			text = []byte(realCrons[r.IntN(len(realCrons))])
		}
		for range r.IntN(3) {
			text[r.IntN(len(text))] = alphabet[r.IntN(len(alphabet))]
		}
		spec, fault := parseCron(string(text))
		if fault == nil && !spec.disabled {
			checkCronRoundTrip(t, string(text), spec)
			lines = append(lines, spec.calendar.String())
		}
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	if len(lines) < 1000 {
		t.Errorf("%d lines, want 1000 or more: too few to say anything", len(lines))
	}
	base := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for chunk := range slices.Chunk(lines, 500) { // an argument list has its limits
		for i, answer := range askSystemd(t, "Europe/Berlin", chunk, base, 1) {
			if answer.normalized != chunk[i] {
				t.Errorf("systemd normalizes %q to %q", chunk[i], answer.normalized)
			}
		}
	}
}

// checkCronRoundTrip checks that a calendar fires and is read back from its text.
func checkCronRoundTrip(t *testing.T, text string, spec cronSpec) {
	t.Helper()
	line := spec.calendar.String()
	back, err := units.ParseCalendar(line)
	if err != nil || back != spec.calendar {
		t.Errorf("parseCron(%q) = %q, read back as %q, %v", text, line, back, err)
	}
	if _, ok := spec.calendar.Next(time.Unix(-1, 0).UTC()); !ok {
		t.Errorf("parseCron(%q) = %q, which never fires", text, line)
	}
}
