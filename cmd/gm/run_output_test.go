package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

// printedApps are one process and a template of two.
func printedApps() []engine.App {
	return []engine.App{
		{Name: "web api", Unit: `web\x20api@.service`, Instances: []string{`web\x20api@0.service`, `web\x20api@1.service`}},
		{Name: "worker", Unit: "worker.service", Instances: []string{"worker.service"}, Companions: []string{"worker-watch.service"}},
	}
}

func TestPrefixer(t *testing.T) {
	type printed struct {
		unit   string
		stream engine.Stream
		text   string
	}
	lines := []printed{
		{`web\x20api@1.service`, engine.Stdout, "hello"},
		{"worker.service", engine.Stderr, "oh"},
		{`web\x20api@1.service`, engine.Stdout, ""},
		{`web\x20api@12.service`, engine.Stdout, "scaled"},
		{"worker-watch.service", engine.Stdout, "restarting"},
	}
	for _, test := range []struct {
		name     string
		o        runOptions
		color    bool
		out, err string
	}{
		{"prefixed", runOptions{}, false,
			"web api.1 | hello\nweb api.1 | \nweb api.12 | scaled\nworker-watch | restarting\n",
			"worker    | oh\n"},
		{"raw", runOptions{raw: true}, false, "hello\n\nscaled\nrestarting\n", "oh\n"},
		{"in colours", runOptions{}, true,
			"\x1b[33mweb api.1 |\x1b[0m hello\n\x1b[33mweb api.1 |\x1b[0m \n\x1b[35mweb api.12 |\x1b[0m scaled\n\x1b[34mworker-watch |\x1b[0m restarting\n",
			"\x1b[32mworker    |\x1b[0m oh\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, err bytes.Buffer
			p := newPrefixer(&caller{out: &out, err: &err}, &test.o, printedApps(), func(err error) { t.Error(err) })
			p.color = test.color
			for _, l := range lines {
				p.line(l.unit, l.stream, []byte(l.text))
			}
			if diff := cmp.Diff(out.String(), test.out); diff != "" {
				t.Errorf("standard output (-got +want):\n%s", diff)
			}
			if diff := cmp.Diff(err.String(), test.err); diff != "" {
				t.Errorf("standard error (-got +want):\n%s", diff)
			}
		})
	}
}

func TestPrefixerJSON(t *testing.T) {
	var out, err bytes.Buffer
	p := newPrefixer(&caller{out: &out, err: &err}, &runOptions{json: true}, printedApps(), func(err error) { t.Error(err) })
	p.line(`web\x20api@1.service`, engine.Stdout, []byte("a <b> \"c\""))
	p.line("worker.service", engine.Stderr, []byte("oh"))
	p.say("stopping all apps")
	var got []printedLine
	for line := range strings.Lines(out.String()) {
		var l printedLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if l.Time.IsZero() {
			t.Errorf("%q has no time", line)
		}
		l.Time = printedLine{}.Time
		got = append(got, l)
	}
	want := []printedLine{
		{App: "web api", Instance: "1", Stream: "out", Message: `a <b> "c"`},
		{App: "worker", Stream: "err", Message: "oh"},
		{App: "gm", Stream: "gm", Message: "stopping all apps"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if err.Len() > 0 {
		t.Errorf("standard error: %s", &err)
	}
}

// A reader that is gone is told once a line, and nothing panics.
func TestPrefixerBroken(t *testing.T) {
	failed := 0
	p := newPrefixer(&caller{out: brokenWriter{}, err: brokenWriter{}}, &runOptions{}, nil, func(error) { failed++ })
	p.line("a.service", engine.Stdout, []byte("x"))
	p.say("y")
	if failed != 2 {
		t.Errorf("told %d times", failed)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestForegroundOver(t *testing.T) {
	app := func(name string, once bool, companions ...string) engine.App {
		return engine.App{Name: name, Once: once, Unit: name + ".service", Instances: []string{name + ".service"}, Companions: companions}
	}
	epoch := time.Unix(1, 0)
	ended := func(code, signal int) engine.UnitState {
		u := engine.UnitState{Active: "inactive", Started: epoch, Exit: engine.Exit{Code: code, Signal: signal, At: epoch}}
		if code != 0 || signal != 0 {
			u.Active = "failed"
		}
		return u
	}
	up := engine.UnitState{Active: "active", Started: epoch}
	for _, test := range []struct {
		name       string
		apps       []engine.App
		states     map[string]engine.UnitState
		starting   bool
		endWithAll bool
		status     int
		over       bool
	}{
		{name: "a job that is done", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": ended(0, 0)}, over: true},
		{name: "its status", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": ended(42, 0)}, over: true, status: 42},
		{name: "a signal", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": ended(0, 11)}, over: true, status: 139},
		{name: "it runs", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": up}},
		{name: "starts are under way", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": ended(0, 0)}, starting: true},
		{name: "it was never started", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{}},
		{name: "it could not be started", apps: []engine.App{app("a", true)}, states: map[string]engine.UnitState{"a.service": {Active: "failed"}}, over: true, status: 1},
		{name: "a cron job", apps: []engine.App{app("a", true, "a-restart.timer")}, states: map[string]engine.UnitState{"a.service": ended(0, 0)}, endWithAll: true},
		{name: "a job that is watched", apps: []engine.App{app("a", true, "a-watch.service")}, states: map[string]engine.UnitState{"a.service": ended(0, 0)}},
		{name: "one that is given up", apps: []engine.App{app("a", false)}, states: map[string]engine.UnitState{"a.service": ended(1, 0)}},
		{name: "one that is given up, and nothing else", apps: []engine.App{app("a", false)}, states: map[string]engine.UnitState{"a.service": ended(1, 0)}, endWithAll: true, over: true, status: 1},
		{name: "one of two", apps: []engine.App{app("a", true), app("b", false)}, states: map[string]engine.UnitState{"a.service": ended(1, 0), "b.service": up}, endWithAll: true},
		{name: "two jobs", apps: []engine.App{app("a", true), app("b", true)}, states: map[string]engine.UnitState{"a.service": ended(0, 0), "b.service": ended(0, 0)}},
		{name: "two jobs, to the end", apps: []engine.App{app("a", true), app("b", true)},
			states: map[string]engine.UnitState{"a.service": ended(0, 0), "b.service": ended(0, 0)}, endWithAll: true, over: true},
		{name: "one of two jobs failed", apps: []engine.App{app("a", true), app("b", true)},
			states: map[string]engine.UnitState{"a.service": ended(3, 0), "b.service": ended(0, 0)}, endWithAll: true, over: true, status: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &foreground{apps: test.apps, states: test.states, started: !test.starting, o: &runOptions{endWithAll: test.endWithAll}}
			status, over := r.over()
			if status != test.status || over != test.over {
				t.Errorf("got %d, %v; want %d, %v", status, over, test.status, test.over)
			}
		})
	}
}
