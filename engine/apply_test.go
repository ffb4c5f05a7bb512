package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/units"
)

// The declarations that most tests go between: web rolls, api restarts, gone goes
// with its timer, fresh comes with a watch.
const (
	oldApps = `[
		{"name": "web", "script": "ok.js", "instances": 3},
		{"name": "api", "script": "ok.js"},
		{"name": "gone", "script": "ok.js", "cron_restart": "0 5 * * *"},
		{"name": "same", "script": "ok.js"}]`
	newApps = `[
		{"name": "web", "script": "ok-2.js", "instances": 3},
		{"name": "api", "script": "ok-2.js", "env": {"A": "1"}},
		{"name": "fresh", "script": "ok-2.js", "watch": true},
		{"name": "same", "script": "ok.js"}]`
)

var newRunning = map[string]string{
	"web@0.service": "ok-2", "web@1.service": "ok-2", "web@2.service": "ok-2", "web.target": "",
	"api.service": "ok-2", "fresh.service": "ok-2", "fresh-watch.service": "", "same.service": "ok", "gm-shop.target": "",
}

// installed is a machine on which a declaration is installed and has settled.
func installed(t *testing.T, set units.Set) *fake {
	t.Helper()
	f := newFake(t)
	if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
		t.Fatalf("the first install: %v", err)
	}
	f.calls, f.reloads = nil, 0
	return f
}

// applyError expects an *ApplyError that put everything back.
func applyError(t *testing.T, err error) *ApplyError {
	t.Helper()
	var failed *ApplyError
	if !errors.As(err, &failed) {
		t.Fatalf("the error is %v, an *ApplyError is expected", err)
	}
	if failed.Undone != nil || !failed.RolledBack {
		t.Errorf("it is not rolled back: %v", failed.Undone)
	}
	return failed
}

// same compares two pictures of a machine.
func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the machine (-want +got):\n%s", diff)
	}
}

// nothingLeft expects no staging directory and no note.
func nothingLeft(t *testing.T, f *fake) {
	t.Helper()
	for _, path := range []string{stageDir(f.dirs, "shop"), filepath.Join(runDir(f.dirs, "shop"), pendingFile), filepath.Join(runDir(f.dirs, "shop"), reloadFile)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", path)
		}
	}
}

func TestApplyInstalls(t *testing.T) {
	set := compileSet(t, oldApps)
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		began := time.Now()
		if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("it took %v; all apps stay up for min_uptime, 1 s, side by side", took)
		}
		same(t, f.running(), map[string]string{
			"web@0.service": "ok", "web@1.service": "ok", "web@2.service": "ok", "web.target": "", "api.service": "ok",
			"gone.service": "ok", "gone-restart.timer": "", "same.service": "ok", "gm-shop.target": "",
		})
		if f.reloads != 1 || len(f.called("watch")) != 1 {
			t.Errorf("%d reloads and %v, one of each is expected", f.reloads, f.called("watch"))
		}
		for path, to := range map[string]string{
			"gm-shop.target.wants/api.service": "../api.service", "web.target.wants/web@2.service": "../web@.service",
			"multi-user.target.wants/gm-shop.target": "../gm-shop.target",
		} {
			if got, err := os.Readlink(filepath.Join(f.dirs.Units, path)); err != nil || got != to {
				t.Errorf("%s leads to %q, %v", path, got, err)
			}
		}
		nothingLeft(t, f)

		f.calls, f.reloads = nil, 0
		if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		if calls := f.called("start", "stop", "restart", "reload", "watch"); len(calls) > 0 {
			t.Errorf("the same again does %v", calls)
		}
	})
}

func TestApplyChanges(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		var steps []string
		o := ApplyOptions{Report: func(p Progress) { steps = append(steps, strings.TrimSpace(string(p.Step)+" "+p.Unit)) }}
		if err := f.install(t.Context(), t, memory{}, after, o); err != nil {
			t.Fatal(err)
		}
		same(t, f.running(), newRunning)
		nothingLeft(t, f)
		if f.reloads != 1 {
			t.Errorf("%d reloads", f.reloads)
		}
		order := func(list ...string) {
			t.Helper()
			at := -1
			for _, step := range list {
				i := slices.Index(steps, step)
				if i <= at {
					t.Errorf("%q comes at %d, behind %d is expected, in\n%s", step, i, at, strings.Join(steps, "\n"))
				}
				at = i
			}
		}
		order("stopping gone-restart.timer", "stopped gone-restart.timer", "stopping gone.service", "stopped gone.service",
			"writing", "reloading", "starting fresh.service", "waiting fresh.service", "up fresh.service")
		order("restarting web@0.service", "up web@0.service", "restarting web@1.service", "up web@1.service", "restarting web@2.service", "up web@2.service")
		if got := f.called("restart same", "start same", "stop same"); len(got) > 0 {
			t.Errorf("what did not change gets %v", got)
		}
	})
}

// TestApplyStalePlan: a plan is for what it was made from.
func TestApplyStalePlan(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		p := Diff(after, have, DiffOptions{Project: "shop"})
		if err := os.Remove(filepath.Join(f.dirs.Units, "gm-shop.target.wants/api.service")); err != nil {
			t.Fatal(err)
		}
		was := f.picture(t)
		var stale *StalePlan
		if err := Apply(t.Context(), f, memory{}, p, ApplyOptions{}); !errors.As(err, &stale) {
			t.Errorf("the error is %v", err)
		}
		same(t, f.picture(t), was)
	})
}

// TestApplyRefusesPlans: a saved plan is anyone's to change.
func TestApplyRefusesPlans(t *testing.T) {
	text, foreign := string(units.Render(units.Seal(units.Unit{}, "shop", "a"))), "[Service]\n"
	edited := text + "X=1\n"
	for name, app := range map[string]AppPlan{
		"a path":             {Files: []FileChange{{Name: "../../passwd", New: &text}}},
		"a link's path":      {Links: []LinkChange{{Link: Link{By: "../x", Wanted: "a.service"}}}},
		"an edited unit":     {Files: []FileChange{{Name: "a.service", New: &edited}}},
		"no mark":            {Files: []FileChange{{Name: "a.service", New: &foreign}}},
		"somebody's file":    {Files: []FileChange{{Name: "theirs.service", New: &text}}},
		"no unit":            {Start: []string{"a"}},
		"a template":         {Restart: []string{"a@.service"}},
		"no unit to be kept": {Later: []string{"/"}},

		"somebody's file to be replaced": {Files: []FileChange{{Name: "theirs.service", Old: &foreign, New: &text}}},
		"somebody's file to be removed":  {Files: []FileChange{{Name: "theirs.service", Old: &foreign}}},
		"a drop-in of somebody's unit":   {Files: []FileChange{{Name: "theirs.service.d/a.conf", New: &text}}},
		"somebody's link to be removed":  {Links: []LinkChange{{Link: Link{By: "multi-user.target", Wanted: "theirs.service"}, Remove: true}}},
		"a link to somebody's unit":      {Links: []LinkChange{{Link: Link{By: "multi-user.target", Wanted: "theirs.service"}}}},
		"somebody's unit to be stopped":  {Stop: [][]string{{"theirs.service"}}},
		"somebody's unit to be started":  {Start: []string{"theirs@1.service"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			if err := os.WriteFile(filepath.Join(f.dirs.Units, "theirs.service"), []byte(foreign), 0o644); err != nil {
				t.Fatal(err)
			}
			wants := filepath.Join(f.dirs.Units, "multi-user.target.wants")
			if err := os.Mkdir(wants, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("../theirs.service", filepath.Join(wants, "theirs.service")); err != nil {
				t.Fatal(err)
			}
			was := f.picture(t)
			if err := Apply(t.Context(), f, memory{}, &Plan{Project: "shop", Apps: []AppPlan{app}}, ApplyOptions{}); err == nil {
				t.Error("it is carried out")
			}
			same(t, f.picture(t), was)
			nothingLeft(t, f)
		})
	}
}

// TestApplyRollsBack: one app fails, and everything is as it was.
func TestApplyRollsBack(t *testing.T) {
	for _, c := range []struct {
		name, apps, unit, reason string
	}{
		{"fails at once", `{"name": "api", "script": "fails.js"}`, "api.service", "its program cannot be run (exit code 203)"},
		{"crashes later", `{"name": "api", "script": "crash-300.js"}`, "api.service", "exited with code 1 after 0.3 s"},
		{"crashes once", `{"name": "api", "script": "crash-300.js", "autorestart": false}`, "api.service", "exited with code 1 after 0.3 s"},
		{"ends though it is restarted", `{"name": "api", "script": "exit-300.js"}`, "api.service", "exited with code 0 after 0.3 s"},
		{"new app", `{"name": "api", "script": "ok.js"}, {"name": "x", "script": "crash-900.js", "watch": true}`, "x.service", "exited with code 1 after 0.9 s"},
		{"rolling", `{"name": "api", "script": "ok.js"}, {"name": "web", "script": "crash-10.js", "instances": 3}`, "web@0.service", "exited with code 1 after 0.0 s"},
		{"hangs", `{"name": "api", "script": "hangs.js"}`, "api.service", "its restart hangs: the job was not finished after 1m0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			apps := c.apps
			if !strings.Contains(apps, `"web"`) {
				apps += `, {"name": "web", "script": "ok-2.js", "instances": 3}`
			}
			before, after := compileSet(t, oldApps), compileSet(t, "["+apps+"]")
			synctest.Test(t, func(t *testing.T) {
				f := installed(t, before)
				was := f.picture(t)
				err := f.install(t.Context(), t, memory{}, after, ApplyOptions{Deadline: time.Minute})
				failed := applyError(t, err)
				if len(failed.Failures) != 1 || failed.Cause != nil {
					t.Fatalf("the failures are %+v, the cause %v", failed.Failures, failed.Cause)
				}
				got := failed.Failures[0]
				if got.Unit != c.unit || got.Err.Error() != c.reason || got.At == "" {
					t.Errorf("%s at %s: %v; %s: %s is expected", got.Unit, got.At, got.Err, c.unit, c.reason)
				}
				if len(got.Log) != 1 || string(got.Log[0].Text) != c.unit+" says its last" {
					t.Errorf("its log is %v", got.Log)
				}
				same(t, f.picture(t), was)
				nothingLeft(t, f)
				if f.reloads > 2 {
					t.Errorf("%d reloads", f.reloads)
				}
				if c.name == "rolling" {
					if calls := f.called("restart web@1", "restart web@2", "stop web@"); len(calls) > 0 {
						t.Errorf("instances that the roll did not reach get %v", calls)
					}
				}
			})
		})
	}
}

// TestApplyReportsAllFailures: who mends one app should not meet the next only then.
func TestApplyReportsAllFailures(t *testing.T) {
	apps, want := []string{`{"name": "z", "script": "ok.js"}`}, []string{}
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		apps = append(apps, fmt.Sprintf(`{"name": "%s", "script": "crash-300.js"}`, name))
		want = append(want, name+".service")
	}
	set := compileSet(t, "["+strings.Join(apps, ",")+"]")
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		failed := applyError(t, f.install(t.Context(), t, memory{}, set, ApplyOptions{}))
		var names []string
		for _, one := range failed.Failures {
			names = append(names, one.Unit)
		}
		if !slices.Equal(names, want) {
			t.Errorf("the failures are of %v", names)
		}
		same(t, f.picture(t), map[string]string{})
	})
}

func TestApplyKeepsFailed(t *testing.T) {
	before := compileSet(t, oldApps)
	after := compileSet(t, `[{"name": "web", "script": "crash-10.js", "instances": 3}, {"name": "api", "script": "ok-2.js"}]`)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		err := f.install(t.Context(), t, memory{}, after, ApplyOptions{KeepFailed: true})
		var failed *ApplyError
		if !errors.As(err, &failed) || failed.RolledBack || failed.Undone != nil || len(failed.Failures) != 1 {
			t.Fatalf("the error is %+v", err)
		}
		running := f.running()
		if running["api.service"] != "ok-2" || running["web@1.service"] != "ok" || running["gone.service"] != "" {
			t.Errorf("what runs is %v", running)
		}
		n, err := readPending(f.dirs, "shop")
		if diff := cmp.Diff([]string{"web@1.service", "web@2.service"}, slices.Sorted(maps.Keys(n.Units))); err != nil || diff != "" || n.Reload {
			t.Errorf("the note has %+v, %v, the instances that the roll did not reach are expected", n, err)
		}
	})
}

// TestApplyJob: a job may end, if it ends well.
func TestApplyJob(t *testing.T) {
	set := compileSet(t, `[{"name": "job", "script": "exit-300.js", "autorestart": false}]`)
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var last Step
		began := time.Now()
		o := ApplyOptions{Report: func(p Progress) {
			if p.Unit == "job.service" {
				last = p.Step
			}
		}}
		if err := f.install(t.Context(), t, memory{}, set, o); err != nil || last != Ended {
			t.Errorf("%v, the last step is %s", err, last)
		}
		if took := time.Since(began); took > 400*time.Millisecond {
			t.Errorf("it took %v, and the job 300 ms", took)
		}
	})
}

// TestApplyNotifies: an app that tells when it is ready is up then.
func TestApplyNotifies(t *testing.T) {
	set := compileSet(t, `[{"name": "a", "script": "ready-300.js", "wait_ready": true}, {"name": "b", "script": "ok.js", "instances": 2}]`)
	for _, now := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			up := map[string]time.Duration{}
			began := time.Now()
			o := ApplyOptions{Now: now, Report: func(p Progress) {
				if p.Step == Up {
					up[p.Unit] = time.Since(began).Round(100 * time.Millisecond)
				}
			}}
			if err := f.install(t.Context(), t, memory{}, set, o); err != nil {
				t.Fatal(err)
			}
			b := time.Second
			if now {
				b = 0
			}
			if diff := cmp.Diff(map[string]time.Duration{"a.service": 300 * time.Millisecond, "b@0.service": b, "b@1.service": b}, up); diff != "" {
				t.Errorf("now=%v: when they are up (-want +got):\n%s", now, diff)
			}
		})
	}
}

// TestApplyStopsDeaf: what has to be killed is stopped all the same, and reported.
func TestApplyStopsDeaf(t *testing.T) {
	before, after := compileSet(t, `[{"name": "a", "script": "deaf.js"}, {"name": "b", "script": "ok.js"}]`), compileSet(t, `[{"name": "b", "script": "ok.js"}]`)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		var killed []string
		o := ApplyOptions{Report: func(p Progress) {
			if p.Step == Stopped && p.Err != nil {
				killed = append(killed, p.Unit)
			}
		}}
		if err := f.install(t.Context(), t, memory{}, after, o); err != nil || !slices.Equal(killed, []string{"a.service"}) {
			t.Errorf("%v, killed %v", err, killed)
		}
		if s := f.units["a.service"]; s != nil && s.state.Active == "failed" {
			t.Error("its failed state stays in memory")
		}
	})
}

// TestApplyJobsAtOnce: no more than asked for.
func TestApplyJobsAtOnce(t *testing.T) {
	var apps []string
	for i := range 40 {
		apps = append(apps, fmt.Sprintf(`{"name": "a%d", "script": "ready-100.js", "wait_ready": true}`, i))
	}
	set := compileSet(t, "["+strings.Join(apps, ",")+"]")
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{Jobs: 7}); err != nil {
			t.Fatal(err)
		}
		if f.most != 7 {
			t.Errorf("%d jobs at once, 7 are expected", f.most)
		}
	})
}

// TestApplyResetsStartLimit: starts by hand count for it, too.
func TestApplyResetsStartLimit(t *testing.T) {
	set := compileSet(t, `[{"name": "a", "script": "ok.js"}]`)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, set)
		for range 12 {
			have, err := Observe(t.Context(), f, "shop", Brief)
			if err != nil {
				t.Fatal(err)
			}
			sel, err := Select(have.Apps(), []string{"a"})
			if err != nil {
				t.Fatal(err)
			}
			if err := Apply(t.Context(), f, memory{}, PlanRestart(have, sel), ApplyOptions{Have: have, KeepFailed: true}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestApplyInterrupted: the end of the context is a failure like others, whenever
// it comes.
func TestApplyInterrupted(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	for at := time.Duration(0); at < 3*time.Second; at += 250 * time.Millisecond {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := installed(t, before)
				was := f.picture(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(at+time.Millisecond, cancel)
				err := f.install(ctx, t, memory{}, after, ApplyOptions{})
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("the error is %v", err)
				}
				applyError(t, err)
				same(t, f.picture(t), was)
				nothingLeft(t, f)
			})
		})
	}
}

// TestApplyFullDisk: nothing was changed, and what was stopped runs again.
func TestApplyFullDisk(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		was := f.picture(t)
		full := fullFS{}
		err := f.install(t.Context(), t, full, after, ApplyOptions{})
		failed := applyError(t, err)
		if !errors.Is(failed, errFull) || len(failed.Failures) > 0 {
			t.Errorf("the error is %v", err)
		}
		same(t, f.picture(t), was)
		if f.reloads > 0 {
			t.Error("nothing changed, and the engine is to read it")
		}
		nothingLeft(t, f)
	})
}

type fullFS struct{ memory }

var errFull = errors.New("no space left on device")

func (f fullFS) Create(path string, mode fs.FileMode, text []byte) error {
	if strings.HasSuffix(path, ".new") && strings.Contains(path, ".gm-shop") {
		return errFull
	}
	return f.memory.Create(path, mode, text)
}

// TestApplyLater: what a plan puts off is in the note, and the next install does
// it.
func TestApplyLater(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		p := Diff(after, have, DiffOptions{Project: "shop", NoStart: true})
		if err := Apply(t.Context(), f, memory{}, p, ApplyOptions{Have: have}); err != nil {
			t.Fatal(err)
		}
		if got := f.running(); got["api.service"] != "ok" || got["fresh.service"] != "" || got["web@1.service"] != "ok" {
			t.Errorf("what runs is %v", got)
		}
		if err := f.install(t.Context(), t, memory{}, after, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		same(t, f.running(), newRunning)
		nothingLeft(t, f)
	})
}

func TestReason(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1e12 + ms)) }
	job := &JobError{Job: Job{Op: Start, Unit: "a.service"}, Result: "failed"}
	for _, c := range []struct {
		want     string
		err      error
		state    UnitState
		notifies bool
		took     time.Duration
	}{
		{want: "killed by SIGKILL after 1.5 s", err: &notUp{}, state: UnitState{Active: "failed", Result: "signal", Exit: Exit{Signal: 9, At: at(1500)}, Started: at(0)}},
		{want: "crashed by SIGSEGV", err: &notUp{}, state: UnitState{Active: "failed", Result: "core-dump", Exit: Exit{Signal: 11, At: at(0)}}},
		{want: "killed for using more memory than MemoryMax= allows", err: &notUp{}, state: UnitState{Result: "oom-kill"}},
		{want: "not ready within 3s", err: job, state: UnitState{Result: "timeout"}, notifies: true, took: 3010 * time.Millisecond},
		{want: "gave up after 16 starts", err: &notUp{}, state: UnitState{Active: "failed", Result: "start-limit-hit", Restarts: 15}},
		{want: "exited with code 1, and was given up after 16 starts", err: &notUp{}, state: UnitState{Active: "failed", Result: "exit-code", Restarts: 15, Exit: Exit{Code: 1, At: at(0)}}},
		{want: "ended and was started again, 2 times", err: &notUp{}, state: UnitState{Active: "active", Result: "success", Restarts: 2}},
		{want: "a unit that it needs did not start", err: &JobError{Result: "dependency"}},
		{want: "another job took the place of its start", err: &JobError{Job: Job{Op: Start}, Result: "canceled"}},
		{want: "its user does not exist or cannot be taken (exit code 217)", err: job, state: UnitState{Result: "exit-code", Exit: Exit{Code: 217, At: at(0)}}},
		{want: "cannot start a.service: no", err: &JobError{Job: Job{Op: Start, Unit: "a.service"}, Cause: errors.New("no")}},
		{want: "its unit cannot be loaded (bad-setting)", err: job, state: UnitState{Load: "bad-setting"}},
		{want: "cannot start a.service: failed", err: job},
	} {
		if got := reason(c.err, c.state, c.notifies, c.took); got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%v is expected, not %v", c.want, got)
		}
	}
}

func TestLock(t *testing.T) {
	f := newFake(t)
	unlock, err := Lock(t.Context(), f.dirs, "my shop", "gm install", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var holder string
	_, err = Lock(ctx, f.dirs, "my shop", "gm stop", func(who string) { holder = who; cancel() })
	if want := fmt.Sprintf("%d gm install", os.Getpid()); !errors.Is(err, context.Canceled) || holder != want {
		t.Errorf("%v, the lock is held by %q, want %q", err, holder, want)
	}
	unlock()
	if unlock, err = Lock(t.Context(), f.dirs, "my shop", "gm stop", nil); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestApplyPauses: what was stopped only to be started again has a new process,
// and is put back as what was restarted.
func TestApplyPauses(t *testing.T) {
	before := compileSet(t, `[{"name": "a", "script": "ok.js"}, {"name": "b", "script": "ok.js"}]`)
	after := compileSet(t, `[{"name": "a", "script": "ok-2.js"}, {"name": "b", "script": "crash-500.js"}]`)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		was := f.picture(t)
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		p := Diff(after, have, DiffOptions{Project: "shop"})
		for i := range p.Apps {
			p.Apps[i].Stop, p.Apps[i].Start, p.Apps[i].Restart = [][]string{p.Apps[i].Restart}, p.Apps[i].Restart, nil
		}
		failed := applyError(t, Apply(t.Context(), f, memory{}, p, ApplyOptions{Have: have}))
		if len(failed.Failures) != 1 || failed.Failures[0].Unit != "b.service" {
			t.Errorf("the failures are %+v", failed.Failures)
		}
		same(t, f.picture(t), was)
		nothingLeft(t, f)
	})
}

// What an app needs says itself why it is not there: its socket, say.
func TestLogOfWhatIsNeeded(t *testing.T) {
	f := installed(t, compileSet(t, `[{"name": "web", "script": "ok.js", "systemd": {"listen": [3000]}}]`))
	have, err := Observe(t.Context(), f, "shop", Brief)
	if err != nil {
		t.Fatal(err)
	}
	a := &apply{e: f, dirs: f.Dirs(), plan: &Plan{Project: "shop"}, have: have}
	for result, want := range map[string]bool{"dependency": true, "failed": false} {
		failure := &Failure{App: "web", Unit: "web.service", Err: &explained{"it failed", &JobError{Result: result}}}
		told := false
		for _, line := range a.lastLines(t.Context(), failure) {
			told = told || string(line.Text) == "web.socket says its last"
		}
		if told != want {
			t.Errorf("%s: the socket's own words are there: %v", result, told)
		}
	}
}

// Lines without times, of a file that was there, are not taken for those of the start that failed.
func TestLogOfThisStart(t *testing.T) {
	set := compileSet(t, `[{"name": "web", "script": "fails.js"}]`)
	f := newFake(t)
	f.dirs.Logs = t.TempDir()
	file := filepath.Join(f.dirs.Logs, "web-out.log")
	if err := os.WriteFile(file, []byte("of an earlier run\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.fail = func(_ int, call string) error {
		if call != "start web.service" {
			return nil
		}
		log, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer log.Close()
		_, err = log.WriteString("of this one\n")
		return err
	}
	failed := applyError(t, f.install(t.Context(), t, memory{}, set, ApplyOptions{Deadline: time.Minute}))
	var words []string
	for _, line := range failed.Failures[0].Log {
		if line.File != "" {
			words = append(words, string(line.Text))
		}
	}
	if diff := cmp.Diff([]string{"of this one"}, words); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
