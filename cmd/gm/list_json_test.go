package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
	"gm/units"
)

// What gm list --json writes by itself is what encoding/json makes of it.
func TestListPages(t *testing.T) {
	l := shop(t)
	for name, groups := range map[string][]group{"everything": l.groups(false), "nothing": nil} {
		want, err := json.MarshalIndent(l.document(groups, false), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.pages(groups)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want)+"\n", string(got)); diff != "" {
			t.Errorf("%s (-encoding/json +gm):\n%s", name, diff)
		}
	}
	for _, text := range []string{`{}`, `[]`, `{"a":{},"b":[[],{"c":"}\\\",[:{\\\\"}],"":-1.5e9}`, `"\""`, `null`} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		compact, err1 := json.Marshal(value)
		want, err2 := json.MarshalIndent(value, "", "  ")
		if got := string(appendIndented(nil, compact, 0)); err1 != nil || err2 != nil || got != string(want) {
			t.Errorf("%s is\n%s\nwant\n%s", text, got, want)
		}
	}
}

// A list knows of the unit files what it would know if it read all of them.
func TestListOutline(t *testing.T) {
	whole := shop(t)
	dirs := engine.Dirs{Units: t.TempDir()}
	for _, f := range whole.state.Files {
		if err := os.WriteFile(filepath.Join(dirs.Units, f.Name), f.Text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	outlined, err := engine.Outline(t.Context(), &fakeMachine{dirs: dirs, usage: []map[string]engine.UnitState{whole.state.Units}}, "", engine.List)
	if err != nil {
		t.Fatal(err)
	}
	outlined.Links = whole.state.Links
	withoutService := func(all []engine.Process) []engine.Process {
		all = slices.Clone(all)
		for i := range all {
			a := *all[i].App
			a.Service = units.Unit{}
			all[i].App = &a
		}
		return all
	}
	if diff := cmp.Diff(withoutService(whole.processes), withoutService(engine.Processes(outlined))); diff != "" {
		t.Errorf("processes (-of whole files +of outlines):\n%s", diff)
	}
}

// What the engine says of an earlier time saves the list a second reading.
func TestListMeasuredByEngine(t *testing.T) {
	used := func(ago, cpu time.Duration) engine.UnitState {
		s := running("worker.service", 17, 90*time.Hour, -1)
		s.CPU = 100 * time.Hour
		s.CPUBefore, s.MeasuredBefore = s.CPU-cpu, s.Measured.Add(-ago)
		return s
	}
	again := []map[string]engine.UnitState{
		{"worker.service": {CPU: time.Second, Measured: listed}},
		{"worker.service": {CPU: 2 * time.Second, Measured: listed.Add(time.Second)}},
	}
	for name, test := range map[string]struct {
		state   engine.UnitState
		average bool
		want    float64
	}{
		"lately":              {used(10*time.Second, time.Second), false, 10},
		"since the start":     {used(40*time.Hour, 10*time.Hour), true, 25},
		"too long ago":        {used(40*time.Hour, 10*time.Hour), false, 100},
		"it does not say so":  {running("worker.service", 17, time.Hour, -1), true, 100},
		"it counts backwards": {used(10*time.Second, -time.Second), true, 100},
	} {
		t.Run(name, func(t *testing.T) {
			l := installed(t, []engine.UnitState{test.state}, "seed-production")
			l.conn, l.average = connTo(&fakeMachine{usage: again}), test.average
			if err := l.measure(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]float64{"worker.service": test.want}, l.cpu); diff != "" {
				t.Errorf("use of CPUs (-want +got):\n%s", diff)
			}
		})
	}
}
