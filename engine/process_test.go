package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/units"
)

func TestStatus(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	once, always := &App{Once: true}, &App{}
	daemon := view{shared: Process{App: always}, restart: "always", prevent: map[string]bool{"0": true, "42": true}}
	job := view{shared: Process{App: once}, restart: "no"}
	timed := view{shared: Process{App: once}, restart: "no", armed: true}
	restarted := view{shared: Process{App: always}, restart: "always", armed: true}
	for _, test := range []struct {
		name  string
		view  view
		state UnitState
		off   bool
		want  Status
	}{
		{"running", daemon, UnitState{Active: "active", Sub: "running"}, false, StatusOnline},
		{"running though disabled", daemon, UnitState{Active: "active", Sub: "running"}, true, StatusOnline},
		{"reloading", daemon, UnitState{Active: "reloading", Sub: "reload"}, false, StatusOnline},
		{"reloading by notify", daemon, UnitState{Active: "reloading", Sub: "reload-notify"}, false, StatusOnline},
		{"refreshing", daemon, UnitState{Active: "refreshing", Sub: "refresh-extensions"}, false, StatusOnline},
		{"before its start", daemon, UnitState{Active: "activating", Sub: "start-pre"}, false, StatusLaunching},
		{"not ready yet", daemon, UnitState{Active: "activating", Sub: "start"}, false, StatusLaunching},
		{"between restarts", daemon, UnitState{Active: "activating", Sub: "auto-restart", Result: "exit-code"}, false, StatusRetrying},
		{"restart is queued", daemon, UnitState{Active: "activating", Sub: "auto-restart-queued"}, false, StatusRetrying},
		{"failed for a moment", daemon, UnitState{Active: "failed", Sub: "failed-before-auto-restart"}, false, StatusRetrying},
		{"dead for a moment", daemon, UnitState{Active: "inactive", Sub: "dead-before-auto-restart"}, false, StatusRetrying},
		{"told to stop", daemon, UnitState{Active: "deactivating", Sub: "stop-sigterm"}, false, StatusStopping},
		{"being killed", daemon, UnitState{Active: "deactivating", Sub: "final-sigkill"}, true, StatusStopping},
		{"crashed", daemon, UnitState{Active: "failed", Sub: "failed", Result: "exit-code"}, false, StatusErrored},
		{"gave up", daemon, UnitState{Active: "failed", Sub: "failed", Result: "start-limit-hit"}, false, StatusErrored},
		{"killed at its stop", daemon, UnitState{Active: "failed", Sub: "failed", Result: "timeout"}, true, StatusStopped},
		{"cannot be loaded", daemon, UnitState{Load: "bad-setting", Active: "inactive", Sub: "dead"}, false, StatusErrored},
		{"masked", daemon, UnitState{Load: "masked", Active: "inactive", Sub: "dead"}, false, StatusStopped},
		{"not in memory", daemon, UnitState{}, false, StatusStopped},
		{"stopped for good", daemon, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Code: 0, At: at}}, true, StatusStopped},
		{"stopped until the boot", daemon, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Signal: 2, At: at}}, false, StatusStopped},
		{"stopped by a handler", daemon, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Code: 130, At: at}}, false, StatusStopped},
		{"ended with a stop_exit_code", daemon, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Code: 0, At: at}}, false, StatusEnded},
		{"stopped, cron restarts it", restarted, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Signal: 2, At: at}}, false, StatusStopped},
		{"job ran", job, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{At: at}}, false, StatusEnded},
		{"job was stopped", job, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{Signal: 2, At: at}}, false, StatusStopped},
		{"job never ran", job, UnitState{Active: "inactive", Sub: "dead"}, false, StatusStopped},
		{"job failed", job, UnitState{Active: "failed", Sub: "failed", Result: "exit-code"}, false, StatusErrored},
		{"job of a timer runs", timed, UnitState{Active: "active", Sub: "running"}, false, StatusOnline},
		{"job of a timer waits", timed, UnitState{Active: "inactive", Sub: "dead", Exit: Exit{At: at}}, false, StatusWaiting},
		{"job of a timer waits for its first time", timed, UnitState{}, false, StatusWaiting},
		{"job of a timer failed", timed, UnitState{Active: "failed", Sub: "failed"}, false, StatusErrored},
		{"job of a timer stopped for good", timed, UnitState{}, true, StatusStopped},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.view.status(test.state, test.off); got != test.want {
				t.Errorf("status is %q, want %q", got, test.want)
			}
		})
	}
}

func TestEnabled(t *testing.T) {
	links := map[string][]string{
		"web@0.service":   {"web.target"},
		"web.target":      {"gm-shop.target"},
		"gm-shop.target":  {"multi-user.target"},
		"other.service":   {"gm-other.target"},
		"a.target":        {"b.target"},
		"b.target":        {"a.target"},
		"desktop.service": {"a.target", "graphical.target"},
		"mine.service":    {"default.target"},
	}
	for unit, want := range map[string]bool{
		"web@0.service": true, "web.target": true, "desktop.service": true, "mine.service": true,
		"web@1.service": false, "other.service": false, "a.target": false, "": false,
	} {
		if got := enabled(unit, links, 0); got != want {
			t.Errorf("enabled(%q) is %v", unit, got)
		}
	}
}

// templateApp is an app of two instances as Apps makes it.
func templateApp() *App {
	return &App{
		Name: "web api", Unit: `web\x20api@.service`, Group: `web\x20api.target`, Main: `web\x20api.target`, Boots: true,
		Instances:  []string{`web\x20api@0.service`, `web\x20api@1.service`},
		Companions: []string{`web\x20api-restart.service`, `web\x20api-restart.timer`, `web\x20api-watch.service`},
		Service: units.Unit{Name: `web\x20api@.service`, Directives: []units.Directive{
			{Section: "Service", Key: "User", Value: units.Word("www-data")},
			{Section: "Service", Key: "Restart", Value: units.Word("always")},
			{Section: "Service", Key: "RestartPreventExitStatus", Value: units.Words{"3", "42"}},
		}},
	}
}

func TestViewOf(t *testing.T) {
	next := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	states := map[string]UnitState{
		`web\x20api-restart.timer`: {Active: "active", Sub: "waiting", Next: next},
		`web\x20api-watch.service`: {Active: "active", Sub: "running"},
		`web\x20api@1.service`:     {Name: `web\x20api@1.service`, Active: "active", MainPID: 7, User: "ann"},
	}
	a := templateApp()
	v := viewOf(a, states)
	if diff := cmp.Diff([]bool{true, true, true}, []bool{v.armed, v.prevent["3"], v.prevent["42"]}); diff != "" {
		t.Errorf("armed, prevent 3, prevent 42: %s", diff)
	}
	shared := Process{
		App: a, User: "www-data", Timer: `web\x20api-restart.timer`, Next: next, Watch: `web\x20api-watch.service`, Watching: true,
	}
	first, second := shared, shared
	first.Name, first.Instance, first.Unit, first.Status = "web api@0", 0, `web\x20api@0.service`, StatusStopped
	first.State = UnitState{Name: first.Unit, CPU: -1, Memory: -1}
	second.Name, second.Instance, second.Unit, second.Status = "web api@1", 1, `web\x20api@1.service`, StatusOnline
	second.State, second.User, second.Enabled = states[second.Unit], "ann", true
	for _, want := range []Process{first, second} {
		if diff := cmp.Diff(want, v.process(want.Unit, states, want.Enabled)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Name, diff)
		}
	}
}

func TestSurplus(t *testing.T) {
	states := map[string]UnitState{
		`web\x20api@0.service`:  {Active: "active"},
		`web\x20api@10.service`: {Active: "active"},
		`web\x20api@9.service`:  {Active: "failed"},
		`web\x20api@8.service`:  {Active: "inactive"},
		`web\x20api@x.service`:  {Active: "active"},
	}
	var loaded []string
	for name := range states {
		loaded = append(loaded, name)
	}
	want := []string{`web\x20api@x.service`, `web\x20api@9.service`, `web\x20api@10.service`}
	if diff := cmp.Diff(want, surplus(templateApp(), loaded, states)); diff != "" {
		t.Errorf("surplus (-want +got):\n%s", diff)
	}
}

func TestCPUShare(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	reading := func(after, cpu time.Duration) UnitState { return UnitState{Measured: at.Add(after), CPU: cpu} }
	for _, test := range []struct {
		name          string
		before, after UnitState
		want          float64
	}{
		{"idle", reading(0, time.Second), reading(time.Second, time.Second), 0},
		{"half a CPU", reading(0, time.Second), reading(100*time.Millisecond, 1050*time.Millisecond), 50},
		{"two CPUs", reading(0, 0), reading(time.Second, 2*time.Second), 200},
		{"restarted in between", reading(0, time.Hour), reading(time.Second, time.Second), -1},
		{"unknown", reading(0, -1), reading(time.Second, -1), -1},
		{"gone", reading(0, time.Second), reading(time.Second, -1), -1},
		{"one reading", reading(0, time.Second), reading(0, time.Second), -1},
		{"not measured before", UnitState{}, reading(0, time.Second), -1},
		{"not measured after", reading(0, time.Second), UnitState{CPU: time.Second}, -1},
	} {
		if got := CPUShare(test.before, test.after); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestOutcome(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		state UnitState
		want  string
	}{
		{"not in memory", UnitState{}, ""},
		{"running", UnitState{Active: "active", Result: "success", Started: at}, ""},
		{"ended", UnitState{Result: "success", Started: at, Exit: Exit{At: at.Add(3 * time.Second)}}, "exited with code 0 after 3.0 s"},
		{"killed at its stop", UnitState{Active: "failed", Result: "timeout", Exit: Exit{Signal: 9, At: at}}, "did not start or stop in time, and was killed"},
	} {
		if got := Outcome(test.state); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
