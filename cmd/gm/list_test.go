package main

import (
	"context"
	"encoding/json"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/tools/txtar"

	"gm"
	"gm/diag"
	"gm/engine"
	"gm/units"
)

// listed is the time of the listings of these tests.
var listed = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

// fakeMachine is an engine with states that a test makes.
type fakeMachine struct {
	engine.Engine
	usage []map[string]engine.UnitState // one reading after the other
	dirs  engine.Dirs                   // if others than the usual ones
}

func (m *fakeMachine) Dirs() engine.Dirs {
	if m.dirs.Units != "" {
		return m.dirs
	}
	return engine.Dirs{Units: "/etc/systemd/system", Env: "/etc/gm", Run: "/run/gm"}
}

func (m *fakeMachine) Logs(_ context.Context, q engine.LogQuery) iter.Seq2[engine.LogEntry, error] {
	return func(yield func(engine.LogEntry, error) bool) {
		for i, unit := range q.Units {
			at := listed.Add(time.Duration(i-len(q.Units)) * time.Minute)
			if !yield(engine.LogEntry{Time: at, Unit: unit, Text: []byte("a line of " + unit + "\x1b[2J")}, nil) {
				return
			}
		}
	}
}

func (m *fakeMachine) Units(context.Context, engine.Detail, []string) (map[string]engine.UnitState, error) {
	reading := m.usage[0]
	m.usage = m.usage[1:]
	return reading, nil
}

// installed is the listing of the units of golden cases, as install would leave
// them, with the states of what is in memory.
func installed(t *testing.T, states []engine.UnitState, goldens ...string) *listing {
	t.Helper()
	s := &engine.State{Units: map[string]engine.UnitState{}, DropIns: map[string][]string{}}
	var set units.Set
	for _, name := range goldens {
		archive, err := txtar.ParseFile(filepath.Join("../../golden", name+".txtar"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			unit, ok := strings.CutPrefix(f.Name, "want/")
			mark, pristine, ok2 := units.Sealed(f.Data)
			if !ok || !ok2 || slices.ContainsFunc(s.Files, func(f engine.File) bool { return f.Name == unit }) {
				continue
			}
			dir := "/etc/systemd/system"
			if units.IsEnvFile(unit) {
				dir = "/etc/gm/shop"
			}
			s.Files = append(s.Files, engine.File{Name: unit, Path: filepath.Join(dir, unit), Text: f.Data, Mark: mark, Edited: !pristine})
			u, _ := units.Parse(unit, diag.NewSource(unit, f.Data))
			set = append(set, u)
		}
	}
	slices.SortFunc(s.Files, func(a, b engine.File) int { return strings.Compare(a.Name, b.Name) })
	set.Sort()
	s.Links = engine.Links(set)
	for _, u := range states {
		s.Units[u.Name] = u
	}
	return &listing{conn: connTo(&fakeMachine{}), state: s, processes: engine.Processes(s), user: "root", at: listed}
}

// connTo is a connection to an engine.
func connTo(e engine.Engine) *gm.Conn {
	conn, err := gm.New(e, gm.Options{Dir: "/"})
	must(err)
	return conn
}

func running(unit string, pid int, uptime time.Duration, memory int64) engine.UnitState {
	return engine.UnitState{
		Name: unit, Load: "loaded", Active: "active", Sub: "running", Result: "success", MainPID: pid,
		Since: listed.Add(-uptime), Started: listed.Add(-uptime), Memory: memory, CPU: time.Second, Measured: listed,
	}
}

func failed(unit string, restarts, code int) engine.UnitState {
	return engine.UnitState{
		Name: unit, Load: "loaded", Active: "failed", Sub: "failed", Result: "exit-code", Restarts: restarts,
		Exit: engine.Exit{Code: code, At: listed.Add(-time.Minute)}, CPU: -1, Memory: -1,
	}
}

// shop is a listing with something of everything.
func shop(t *testing.T) *listing {
	states := []engine.UnitState{
		running("web-api@0.service", 4242, 49*time.Hour, 50<<20),
		running("web-api@1.service", 4243, 3*time.Minute, 3<<30/2),
		failed("web-api@2.service", 15, 1),
		running("worker.service", 17, 119*time.Second, -1),
		{Name: "worker-watch.service", Active: "active", Sub: "running"},
		{Name: "job.service", Active: "inactive", Sub: "dead", Result: "success", Exit: engine.Exit{At: listed.Add(-time.Hour)}, CPU: -1, Memory: -1},
		{Name: "job-restart.timer", Active: "active", Sub: "waiting", Next: listed.Add(14 * time.Minute)},
	}
	l := installed(t, states, "seed-production", "cron-job")
	l.cpu = map[string]float64{"web-api@0.service": 12.34, "web-api@1.service": 87, "worker.service": 0}
	return l
}

func TestListTable(t *testing.T) {
	order := func(text string) order {
		o, err := sorting(text)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, test := range []struct {
		name  string
		all   bool
		sort  string
		width int
		color bool
	}{
		{"folded", false, "name", 0, false},
		{"all", true, "name", 0, false},
		{"all by memory", true, "memory:desc", 0, false},
		{"colour", false, "name", 200, true},
		{"just wide enough", false, "name", 104, false},
		{"one less", false, "name", 103, false},
		{"80 columns", false, "name", 80, false},
		{"60 columns", true, "name", 60, false},
		{"40 columns", false, "name", 40, false},
		{"no room at all", false, "name", 10, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := shop(t)
			groups := l.groups(test.all)
			order(test.sort).sort(groups)
			got := string(l.table(groups, test.width, test.color))
			if test.width > 40 {
				for line := range strings.Lines(got) {
					if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > test.width {
						t.Fatalf("a line has %d columns of %d:\n%s", n, test.width, got)
					}
				}
			}
			compareGolden(t, got)
		})
	}
}

func TestMiniList(t *testing.T) {
	l := shop(t)
	compareGolden(t, string(l.miniList(l.groups(true))))
}

func TestListJSON(t *testing.T) {
	l := shop(t)
	text, err := json.MarshalIndent(l.document(l.groups(false), true), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, string(text)+"\n")
}

// compareGolden compares a text with testdata/list/TEST.txt.
func compareGolden(t *testing.T, got string) {
	t.Helper()
	name := strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test"))
	path := filepath.Join("testdata/list", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestSorting(t *testing.T) {
	for _, test := range []struct{ sort, want string }{
		{"name", "job later web-api worker"},
		{"name:desc", "worker web-api later job"},
		{"memory:desc", "web-api job later worker"},
		{"cpu:desc", "web-api worker job later"},
		{"uptime", "job later worker web-api"},
		{"uptime:desc", "web-api worker job later"},
		{"Restarts:desc", "web-api job later worker"},
		{"pid:desc", "worker job later web-api"},
		{"namespace", "job later web-api worker"},
		{"status", "worker web-api later job"},
	} {
		o, err := sorting(test.sort)
		if err != nil {
			t.Fatal(err)
		}
		groups := shop(t).groups(false)
		o.sort(groups)
		var names []string
		for _, g := range groups {
			names = append(names, g.name)
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("--sort %s: %s, want %s", test.sort, got, test.want)
		}
	}
	for _, bad := range []string{"", "size", "name:up", ":desc", "name:"} {
		if _, err := sorting(bad); err == nil {
			t.Errorf("--sort %s is taken", bad)
		}
	}
}

// TestUnits compares with PM2's UX/helpers.js, run by hand.
func TestUnits(t *testing.T) {
	const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 119 * time.Second: "119s", 2 * minute: "2m", 119 * minute: "119m",
		2 * hour: "2h", 47 * hour: "47h", 2 * day: "2D", 59 * day: "59D", 60 * day: "2M", 729 * day: "24M", 730 * day: "2Y",
	} {
		if got := since(d); got != want {
			t.Errorf("since(%v) is %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{
		-1: "N/A", 0: "0b", 1023: "1023b", 1024: "1.0kb", 1536: "1.5kb", 1 << 20: "1.0mb", 52_638_515: "50.2mb", 1<<30 - 1: "1024.0mb",
		1 << 30: "1.0gb", 1 << 40: "1.0tb", 1 << 52: "4096.0tb",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %s, want %s", n, got, want)
		}
	}
	for share, want := range map[float64]string{-1: "N/A", 0: "0%", 0.04: "0%", 12.34: "12.3%", 100: "100%", 187.96: "188%"} {
		if got := percent(share); got != want {
			t.Errorf("percent(%v) is %s, want %s", share, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "0.5": 500 * time.Millisecond, "1m": time.Minute} {
		if got, err := seconds("watch", text); err != nil || got != want {
			t.Errorf("seconds(%q) is %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"0", "-1", "x", "web", "1e300", "NaN", "1ms"} {
		if got, err := seconds("watch", bad); err == nil {
			t.Errorf("seconds(%q) is %v", bad, got)
		}
	}
}

// TestMeasure reads only when something runs, and twice if there is nothing to
// compare with.
func TestMeasure(t *testing.T) {
	reading := func(at time.Duration) map[string]engine.UnitState {
		states := map[string]engine.UnitState{}
		for _, unit := range []string{"web-api@0.service", "web-api@1.service", "worker.service"} {
			states[unit] = engine.UnitState{Name: unit, Measured: listed.Add(at), CPU: time.Second + at/4}
		}
		return states
	}
	l := shop(t)
	l.conn = connTo(&fakeMachine{usage: []map[string]engine.UnitState{reading(time.Second), reading(2 * time.Second)}})
	if err := l.measure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"web-api@0.service": 25, "web-api@1.service": 25, "worker.service": 25}
	if diff := cmp.Diff(want, l.cpu); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}

	// Compared with an earlier listing the engine is not asked.
	next := shop(t)
	next.state.Units, next.conn = reading(3*time.Second), nil
	if err := next.measure(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, next.cpu); diff != "" {
		t.Errorf("shares since the last listing (-want +got):\n%s", diff)
	}

	idle := installed(t, nil, "seed-production")
	idle.conn = nil
	if err := idle.measure(t.Context(), nil); err != nil || len(idle.cpu) != 0 {
		t.Errorf("nothing runs: %v, %v", idle.cpu, err)
	}
}
