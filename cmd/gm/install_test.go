package main

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

func TestPrintFailed(t *testing.T) {
	failure := engine.Failure{
		App: "worker", At: "processes.json:3:5", Unit: "worker.service", Err: errors.New("exited with code 1 after 0.2 s"),
		Log: []engine.LogEntry{{Text: []byte("boom")}, {Text: []byte("at \x1b[31mline 3\r\n")}},
	}
	first := `processes.json:3:5: error: worker.service: exited with code 1 after 0.2 s [start-failed]
    | boom
    | at �[31mline 3
`
	for _, test := range []struct {
		name          string
		err           *engine.ApplyError
		kept, stopped bool
		noChanges     bool
		want          string
	}{
		{"rolled back", &engine.ApplyError{Failures: []engine.Failure{failure}, RolledBack: true}, false, false, false,
			first + "gm: note: everything is as it was before [rolled-back]\n"},
		{"kept", &engine.ApplyError{Failures: []engine.Failure{failure}}, true, false, false,
			first + "gm: note: what was changed stays as it is [kept]\n"},
		{"a verb", &engine.ApplyError{Failures: []engine.Failure{failure}}, true, false, true, first},
		{"rollback failed", &engine.ApplyError{Failures: []engine.Failure{failure}, Undone: errors.New("cannot start web.service: timeout")}, false, false, false,
			first + "gm: error: not everything could be put back: cannot start web.service: timeout [not-rolled-back]\n" +
				"    fix: see what runs with gm list, then run gm install again: it takes up what is left\n"},
		{"disk", &engine.ApplyError{Cause: errors.New("cannot write web.service: no space left on device"), RolledBack: true}, false, false, false,
			"gm: error: cannot write web.service: no space left on device [failed]\n" +
				"gm: note: everything is as it was before [rolled-back]\n"},
		{"interrupted", &engine.ApplyError{Cause: errors.New("context canceled"), RolledBack: true}, false, true, false,
			"gm: note: interrupted; everything is as it was before [rolled-back]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			c := &caller{err: &out}
			c.printFailed(test.err, test.kept, !test.noChanges, test.stopped)
			if diff := cmp.Diff(out.String(), test.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestInstalledLine(t *testing.T) {
	want := map[string]string{
		"":       "shop (project)",
		"api":    "api: reloaded, 2 instances (ExecStart=)",
		"gone":   "gone: removed",
		"idle":   "",
		"jobs":   "jobs: started (failed (exit-code))",
		"many":   "many: scaled from 2 to 3 instances",
		"new":    "new: 3 instances up",
		"quiet":  "quiet: updated without a restart (Description=)",
		"worker": "worker: restarted (Environment=INTERVAL)",
	}
	for _, a := range somePlan().Apps {
		if got := installedLine(&a, false); a.App != "" && got != want[a.App] {
			t.Errorf("got %q, want %q", got, want[a.App])
		}
	}
	if got, want := installedLine(&engine.AppPlan{App: "a", Effect: engine.Create}, true), "a: installed, not started"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestProgress feeds the steps of an Apply, and compares what is on the screen
// with what was printed for good.
func TestProgress(t *testing.T) {
	plan := &engine.Plan{Apps: []engine.AppPlan{
		{App: ""},
		{App: "api", Effect: engine.RestartApp, Restart: []string{"api@0.service", "api@1.service"}, Quiet: []string{"api.target"}},
		{App: "gone", Effect: engine.Remove, Stop: [][]string{{"gone.timer"}, {"gone.service"}}},
		{App: "worker", Effect: engine.RestartApp, Restart: []string{"worker.service"}},
	}}
	steps := []struct {
		step  engine.Progress
		block string // on a terminal of 30 columns, after the step
		out   string // printed by it
	}{
		{engine.Progress{App: "gone", Unit: "gone.timer", Step: engine.Stopping}, "1 stopping: gone|2 starting: api (0 of 2), wor…", ""},
		{engine.Progress{App: "gone", Unit: "gone.timer", Step: engine.Stopped}, "1 stopping: gone|2 starting: api (0 of 2), wor…", ""},
		{engine.Progress{App: "gone", Unit: "gone.service", Step: engine.Stopped}, "2 starting: api (0 of 2), wor…", ""},
		{engine.Progress{Step: engine.Writing}, "writing units", ""},
		{engine.Progress{Step: engine.Reloading}, "having them read", ""},
		{engine.Progress{App: "worker", Unit: "worker.service", Step: engine.Restarting}, "2 starting: api (0 of 2), wor…", ""},
		{engine.Progress{App: "api", Unit: "api.target", Step: engine.Up}, "2 starting: api (0 of 2), wor…", ""},
		{engine.Progress{App: "api", Unit: "api@1.service", Step: engine.Up}, "2 starting: api (1 of 2), wor…", ""},
		{engine.Progress{App: "worker", Unit: "worker.service", Step: engine.Up}, "1 starting: api (1 of 2)", "worker\n"},
		{engine.Progress{App: "api", Unit: "api@0.service", Step: engine.Ended}, "", "api\n"},
	}
	line := func(a *engine.AppPlan) string { return a.App }
	for _, live := range []bool{false, true} {
		var out, err bytes.Buffer
		g := (&caller{out: &out, err: &err}).newProgress(plan, line)
		if live {
			g.width = func() int { return 30 }
		}
		for i, s := range steps {
			out.Reset()
			g.report(s.step)
			if out.String() != s.out {
				t.Errorf("live %v, step %d: printed %q, want %q", live, i, out.String(), s.out)
			}
			if got := strings.Join(g.lines(), "|"); live && got != s.block && !strings.HasPrefix(got, strings.TrimSuffix(s.block, "…")) {
				t.Errorf("step %d: the block is %q, want %q", i, got, s.block)
			}
		}
		g.finish(true)
		if want := "api\ngone\n"; out.String() != want {
			t.Errorf("live %v: printed %q at the end, want %q", live, out.String(), want)
		}
		if !live && err.Len() > 0 {
			t.Errorf("without a terminal there is no block, and %q was printed", err.String())
		}
		if live {
			if diff := cmp.Diff(screen(err.String()), []string{""}); diff != "" {
				t.Errorf("the block is left on the screen (-got +want):\n%s", diff)
			}
			for line := range strings.Lines(err.String()) {
				if text := []rune(strings.TrimSuffix(line[strings.LastIndex(line, "J")+1:], "\n")); len(text) >= 30 {
					t.Errorf("%q does not fit", string(text))
				}
			}
		}
	}
}

// fullDisk is a standard output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestProgressUnprinted: that nobody is told is known at the end.
func TestProgressUnprinted(t *testing.T) {
	plan := &engine.Plan{Apps: []engine.AppPlan{{App: "web", Effect: engine.RestartApp, Restart: []string{"web.service"}}}}
	g := (&caller{out: fullDisk{}, err: &bytes.Buffer{}}).newProgress(plan, func(a *engine.AppPlan) string { return a.App })
	g.report(engine.Progress{App: "web", Unit: "web.service", Step: engine.Up})
	g.finish(true)
	if g.lost != syscall.ENOSPC {
		t.Errorf("the error is %v", g.lost)
	}
}

// TestProgressRollsBack: what comes up again while everything is put back is not
// what was asked for.
func TestProgressRollsBack(t *testing.T) {
	plan := &engine.Plan{Apps: []engine.AppPlan{
		{App: "api", Effect: engine.RestartApp, Restart: []string{"api.service"}},
		{App: "worker", Effect: engine.RestartApp, Restart: []string{"worker.service"}},
	}}
	var out, err bytes.Buffer
	g := (&caller{out: &out, err: &err}).newProgress(plan, func(a *engine.AppPlan) string { return a.App })
	g.report(engine.Progress{App: "worker", Unit: "worker.service", Step: engine.Failed})
	g.report(engine.Progress{Step: engine.RollingBack})
	g.report(engine.Progress{Step: engine.Writing})
	g.report(engine.Progress{Step: engine.Reloading})
	g.report(engine.Progress{App: "api", Unit: "api.service", Step: engine.Restarting})
	g.report(engine.Progress{App: "api", Unit: "api.service", Step: engine.Up})
	g.finish(false)
	if out.Len() > 0 || err.String() != "gm: putting everything back\n" {
		t.Errorf("printed %q and %q", out.String(), err.String())
	}
}

// screen plays what was written to a terminal: text, line ends, cursor up, and
// erasing below.
func screen(written string) []string {
	rows := []string{""}
	at := 0
	for written != "" {
		switch {
		case strings.HasPrefix(written, "\x1b["):
			end := strings.IndexAny(written, "AJ")
			if written[end] == 'A' {
				at -= int(written[2] - '0')
			} else {
				rows = append(rows[:at], "")
			}
			written = written[end+1:]
			continue
		case written[0] == '\n':
			at++
			for len(rows) <= at {
				rows = append(rows, "")
			}
		case written[0] != '\r':
			rows[at] += written[:1]
		}
		written = written[1:]
	}
	return rows
}

// TestWarnOfRoot: one warning, of the apps that the plan starts, with the name of
// who called sudo.
func TestWarnOfRoot(t *testing.T) {
	plan := &engine.Plan{Apps: []engine.AppPlan{
		{App: "idle", Effect: engine.Keep},
		{App: "web", Effect: engine.Create, Start: []string{"web.service"}},
		{App: "worker", Effect: engine.RestartApp, Restart: []string{"worker.service"}},
	}}
	for _, test := range []struct {
		name    string
		root    []string
		environ []string
		want    string
	}{
		{"two", []string{"idle", "web", "worker"}, nil, "web, worker run as root: no user is declared; --run-as USER"},
		{"sudo", []string{"web"}, []string{"SUDO_USER=ada"}, "web runs as root: no user is declared; --run-as ada"},
		{"nothing starts", []string{"idle"}, nil, ""},
		{"nobody", nil, nil, ""},
	} {
		c := &caller{environ: test.environ}
		got := ""
		for _, d := range c.rootWarning(&wanted{rootApps: test.root}, plan) {
			got += d.Cause + "; " + d.Remedy[strings.Index(d.Remedy, "--run-as"):]
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
