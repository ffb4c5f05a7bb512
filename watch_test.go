package gm

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"gm/engine"
)

// TestProcessNext: what a process does, state after state as engines tell them, is told
// once, in order.
func TestProcessNext(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	state := func(active, sub string, pid int) engine.UnitState {
		return engine.UnitState{Name: "web.service", Load: "loaded", Active: active, Sub: sub, MainPID: pid, Result: "success"}
	}
	exited := func(s engine.UnitState, code, signal, seconds int) engine.UnitState {
		s.Exit = engine.Exit{Code: code, Signal: signal, At: at.Add(time.Duration(seconds) * time.Second)}
		return s
	}
	with := func(s engine.UnitState, restarts int, result string) engine.UnitState {
		s.Restarts, s.Result = restarts, result
		return s
	}
	running := state("active", "running", 10)
	for _, test := range []struct {
		name   string
		before engine.UnitState
		states []engine.UnitState
		want   string
	}{
		{"a start", state("inactive", "dead", 0), []engine.UnitState{running}, "started 10, ready 10"},
		{"a start that says when it is ready", engine.UnitState{}, []engine.UnitState{
			state("activating", "start", 10), running,
		}, "started 10, ready 10"},
		{"a crash", running, []engine.UnitState{
			with(exited(state("activating", "auto-restart", 0), 3, 0, 1), 0, "exit-code"),
			with(state("active", "running", 11), 1, "success"),
		}, "exited 10 3, restarting 1, started 11, ready 11"},
		{"a crash of systemd 254 and later", running, []engine.UnitState{
			with(exited(state("failed", "failed-before-auto-restart", 0), 0, 9, 1), 0, "signal"),
			with(exited(state("activating", "auto-restart", 0), 0, 9, 1), 0, "signal"),
			with(state("active", "running", 11), 1, "success"),
		}, "exited 10 SIGKILL, restarting 1, started 11, ready 11"},
		{"a crash told as one with its restart", running, []engine.UnitState{
			with(exited(state("active", "running", 11), 3, 0, 1), 1, "success"),
		}, "exited 10 3, restarting 1, started 11, ready 11"},
		{"another process, and nobody knows why", running, []engine.UnitState{state("active", "running", 11)},
			"exited 10 ?, started 11, ready 11"},
		{"two crashes", running, []engine.UnitState{
			with(exited(state("activating", "auto-restart", 0), 3, 0, 1), 0, "exit-code"),
			with(state("active", "running", 11), 1, "success"),
			with(exited(state("activating", "auto-restart", 0), 4, 0, 2), 1, "exit-code"),
			with(state("active", "running", 12), 2, "success"),
		}, "exited 10 3, restarting 1, started 11, ready 11, exited 11 4, restarting 2, started 12, ready 12"},
		{"a crash on systemd 252, which counts in the pause and passes through inactive", running, []engine.UnitState{
			with(exited(state("activating", "auto-restart", 0), 0, 9, 1), 0, "signal"),
			with(exited(state("activating", "auto-restart", 0), 0, 9, 1), 1, "signal"),
			with(exited(state("inactive", "dead", 0), 0, 9, 1), 1, "signal"),
			with(state("activating", "start", 11), 1, "success"),
			with(state("active", "running", 11), 1, "success"),
		}, "exited 10 SIGKILL, restarting 1, started 11, ready 11"},
		{"given up", running, []engine.UnitState{
			with(exited(state("failed", "failed", 0), 3, 0, 1), 2, "exit-code"),
		}, "exited 10 3, restarting 2, gave up"},
		{"a stop", running, []engine.UnitState{
			state("deactivating", "stop-sigterm", 10),
			exited(state("inactive", "dead", 0), 0, 15, 1),
		}, "exited 10 SIGTERM, stopped"},
		{"a stop that has to kill", running, []engine.UnitState{
			state("deactivating", "stop-sigterm", 10),
			with(state("deactivating", "stop-sigkill", 10), 0, "timeout"),
			with(exited(state("failed", "failed", 0), 0, 9, 1), 0, "timeout"),
		}, "exited 10 SIGKILL, stopped"},
		{"a start that takes too long", state("activating", "start", 10), []engine.UnitState{
			with(state("deactivating", "stop-sigterm", 10), 0, "timeout"),
			with(exited(state("failed", "failed", 0), 0, 15, 1), 0, "timeout"),
		}, "exited 10 SIGTERM, gave up"},
		{"a job", state("inactive", "dead", 0), []engine.UnitState{
			running, exited(state("inactive", "dead", 0), 0, 0, 1),
		}, "started 10, ready 10, exited 10 0, stopped"},
		{"a job again", exited(state("inactive", "dead", 0), 0, 0, 1), []engine.UnitState{
			running, exited(state("inactive", "dead", 0), 0, 0, 2),
		}, "started 10, ready 10, exited 10 0, stopped"},
		{"a stop in the pause before a restart", with(exited(state("activating", "auto-restart", 0), 3, 0, 1), 0, "exit-code"), []engine.UnitState{
			with(exited(state("inactive", "dead", 0), 3, 0, 1), 0, "success"),
		}, "stopped"},
		{"a reload of its own", running, []engine.UnitState{state("reloading", "reload", 10), running}, ""},
		{"a count that starts anew", with(running, 3, "success"), []engine.UnitState{
			exited(state("deactivating", "stop-sigterm", 0), 0, 15, 1),
			exited(state("inactive", "dead", 0), 0, 15, 1),
			state("active", "running", 11),
			with(exited(state("activating", "auto-restart", 0), 3, 0, 2), 0, "exit-code"),
		}, "exited 10 SIGTERM, stopped, started 11, ready 11, exited 11 3, restarting 1"},
		{"nothing new", running, []engine.UnitState{running, running}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p process
			p.begin(test.before)
			var got []string
			for _, s := range test.states {
				for _, e := range p.next(s) {
					got = append(got, brief(e))
				}
			}
			if text := strings.Join(got, ", "); text != test.want {
				t.Errorf("got  %s\nwant %s", text, test.want)
			}
		})
	}
}

// brief is an event in a word or two.
func brief(e Event) string {
	number := ""
	switch e.Kind {
	case Started, Ready:
		number = strconv.Itoa(e.PID)
	case Restarting:
		number = strconv.Itoa(e.Restarts)
	case Exited:
		how := strconv.Itoa(e.Exit.Code)
		if e.Exit.Signal != 0 {
			how = signalName(e.Exit.Signal)
		} else if e.Exit.At.IsZero() {
			how = "?"
		}
		number = strconv.Itoa(e.PID) + " " + how
	}
	return strings.TrimSpace(string(e.Kind) + " " + number)
}
