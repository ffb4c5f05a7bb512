package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// freshApps have something of all that hangs on a project's target.
const freshApps = `[
	{"name": "api", "script": "ok.js"},
	{"name": "slow", "script": "ready-300.js", "wait_ready": true},
	{"name": "job", "script": "exit-10.js", "autorestart": false},
	{"name": "web", "script": "ok.js", "instances": 3, "watch": true},
	{"name": "tick", "script": "ok.js", "cron_restart": "0 5 * * *"},
	{"name": "off", "script": "ok.js", "autostart": false}]`

var freshRunning = map[string]string{
	"gm-shop.target": "", "api.service": "ok", "slow.service": "ready-300", "web.target": "", "web@0.service": "ok",
	"web@1.service": "ok", "web@2.service": "ok", "web-watch.service": "", "tick.service": "ok", "tick-restart.timer": "",
}

// startedOnce expects that no unit was started by hand more than once.
func startedOnce(t *testing.T, f *fake) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, u := range f.units {
		if u.starts > 1 {
			t.Errorf("%s was started %d times", name, u.starts)
		}
	}
}

// TestApplyPulls: what comes with a new project is started by one request.
func TestApplyPulls(t *testing.T) {
	set := compileSet(t, freshApps)
	for _, now := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t)
			steps := map[string][]Step{}
			began := time.Now()
			o := ApplyOptions{Now: now, Report: func(p Progress) {
				if strings.HasSuffix(p.Unit, ".service") {
					steps[p.Unit] = append(steps[p.Unit], p.Step)
				}
			}}
			if err := f.install(t.Context(), t, memory{}, set, o); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			same(t, f.running(), freshRunning)
			startedOnce(t, f)
			nothingLeft(t, f)
			want := []string{"start gm-shop.target alone", "start web.target alone", "pull gm-shop.target", "start tick-restart.timer", "start web-watch.service"}
			calls := f.called("start", "pull", "restart", "reset")
			slices.Sort(calls[:2])
			slices.Sort(calls[min(3, len(calls)):])
			if diff := cmp.Diff(want, calls); diff != "" {
				t.Errorf("the calls (-want +got):\n%s", diff)
			}
			up := []Step{Starting, Waiting, Up}
			if now {
				up = []Step{Starting, Up}
			}
			wantSteps := map[string][]Step{"slow.service": {Starting, Up}, "job.service": {Starting, Waiting, Ended}}
			for _, unit := range []string{"api.service", "web@0.service", "web@1.service", "web@2.service", "tick.service"} {
				wantSteps[unit] = up
			}
			if now {
				wantSteps["job.service"] = up
			}
			if diff := cmp.Diff(wantSteps, steps); diff != "" {
				t.Errorf("now=%v: the steps (-want +got):\n%s", now, diff)
			}
			if most := 1100 * time.Millisecond; !now && took > most || now && took > 400*time.Millisecond {
				t.Errorf("now=%v: it took %v", now, took)
			}
		})
	}
}

// TestApplyPullsNot: where a target pulls in more or less than what the plan starts,
// each unit is started by itself.
func TestApplyPullsNot(t *testing.T) {
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, dir, by, to string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, by), 0o755), os.Symlink("../"+to, filepath.Join(dir, by, to))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		o      ApplyOptions
		before func(t *testing.T, f *fake)
	}{
		{"jobs are limited", ApplyOptions{Jobs: 4}, func(*testing.T, *fake) {}},
		{"a drop-in of the target", ApplyOptions{}, func(t *testing.T, f *fake) {
			write(t, f.dirs.Units, "gm-shop.target.d/own.conf", "[Unit]\nWants=theirs.service\n")
		}},
		{"a drop-in of a group", ApplyOptions{}, func(t *testing.T, f *fake) {
			write(t, f.dirs.Units, "web.target.d/own.conf", "[Unit]\nWants=theirs.service\n")
		}},
		{"a link of somebody's", ApplyOptions{}, func(t *testing.T, f *fake) {
			write(t, f.dirs.Units, "theirs.service", "[Service]\nExecStart=/bin/true\n")
			link(t, f.dirs.Units, "gm-shop.target.wants", "theirs.service")
		}},
		{"a link of somebody's who needs it", ApplyOptions{}, func(t *testing.T, f *fake) {
			write(t, f.dirs.Units, "theirs.service", "[Service]\nExecStart=/bin/true\n")
			link(t, f.dirs.Units, "gm-shop.target.requires", "theirs.service")
		}},
		{"a link elsewhere", ApplyOptions{}, func(t *testing.T, f *fake) {
			lib := filepath.Join(t.TempDir(), "lib")
			f.dirs.Search = append(f.dirs.Search, lib)
			link(t, lib, "web.target.wants", "theirs.service")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := compileSet(t, freshApps)
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				c.before(t, f)
				if err := f.install(t.Context(), t, memory{}, set, c.o); err != nil {
					t.Fatal(err)
				}
				same(t, f.running(), freshRunning)
				startedOnce(t, f)
				if calls := f.called("pull"); len(calls) > 0 {
					t.Errorf("it pulls: %v", calls)
				}
			})
		})
	}
	t.Run("others run or have ended", func(t *testing.T) {
		before := compileSet(t, `[{"name": "same", "script": "ok.js"}, {"name": "done", "script": "exit-10.js", "autorestart": false}]`)
		after := compileSet(t, `[{"name": "same", "script": "ok.js"}, {"name": "done", "script": "exit-10.js", "autorestart": false},
			{"name": "a", "script": "ok.js"}, {"name": "b", "script": "ok.js"}]`)
		synctest.Test(t, func(t *testing.T) {
			f := installed(t, before)
			if err := f.install(t.Context(), t, memory{}, after, ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
			if calls := f.called("pull"); len(calls) > 0 {
				t.Errorf("it pulls: %v", calls)
			}
			startedOnce(t, f)
		})
	})
	t.Run("nothing starts", func(t *testing.T) {
		set := compileSet(t, freshApps)
		f := newFake(t)
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		p := Diff(set, have, DiffOptions{Project: "shop", NoStart: true})
		if err := Apply(t.Context(), f, memory{}, p, ApplyOptions{Have: have}); err != nil {
			t.Fatal(err)
		}
		if calls := f.called("pull", "start"); len(calls) > 0 || len(f.running()) > 0 {
			t.Errorf("it starts: %v", calls)
		}
	})
}

// TestApplyPullFails: each unit that fails is told of as if it had been started by
// itself, one that is not reached is started by itself, and all is put back.
func TestApplyPullFails(t *testing.T) {
	for _, c := range []struct {
		script, reason string
		starts         []string
	}{
		{"fails.js", "its program cannot be run (exit code 203)", nil},
		{"crash-300.js", "exited with code 1 after 0.3 s", nil},
		{"unloadable.js", "cannot start bad.service: unit bad.service has a bad unit file setting", []string{"start bad.service"}},
		{"hangs.js", "its start hangs: the job was not finished after 1m0s", nil},
	} {
		t.Run(c.script, func(t *testing.T) {
			set := compileSet(t, fmt.Sprintf(`[{"name": "bad", "script": %q}, {"name": "api", "script": "ok.js"},
				{"name": "slow", "script": "ready-300.js", "wait_ready": true}, {"name": "web", "script": "ok.js", "instances": 2}]`, c.script))
			for _, keep := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					err := f.install(t.Context(), t, memory{}, set, ApplyOptions{Deadline: time.Minute, KeepFailed: keep})
					var failed *ApplyError
					if !errors.As(err, &failed) || failed.RolledBack == keep || failed.Undone != nil || failed.Cause != nil || len(failed.Failures) != 1 {
						t.Fatalf("the error is %+v", err)
					}
					if got := failed.Failures[0]; got.Unit != "bad.service" || got.App != "bad" || got.Err.Error() != c.reason {
						t.Errorf("%s: %v; %s is expected", got.Unit, got.Err, c.reason)
					}
					calls := f.called("start bad", "start api", "start slow", "start web@")
					if diff := cmp.Diff(c.starts, calls); diff != "" || len(f.called("pull")) != 1 {
						t.Errorf("the calls (-want +got):\n%s", diff)
					}
					startedOnce(t, f)
					if !keep {
						same(t, f.picture(t), map[string]string{})
						nothingLeft(t, f)
					} else if got := f.running(); got["api.service"] != "ok" || got["slow.service"] == "" || got["web@1.service"] != "ok" {
						t.Errorf("what runs is %v", got)
					}
					_ = f.Do(t.Context(), Job{Op: Stop, Unit: "bad.service"}) // the job that hangs
				})
			}
		})
	}
}

// TestApplyPullBreaks fails each call of a first install in turn, for once or for
// good, or ends the context at it.
func TestApplyPullBreaks(t *testing.T) {
	set := compileSet(t, freshApps)
	for _, kind := range []string{"call", "engine", "engine for a while"} {
		for n, more := 1, true; more; n++ {
			t.Run(fmt.Sprint(kind, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					more = false
					f := newFake(t)
					broken := errors.New("broken")
					if kind != "call" {
						broken = fmt.Errorf("%w: it is gone", ErrUnreachable)
					}
					f.fail = func(call int, what string) error {
						if call == n || call > n && kind == "engine" {
							more = true
							return broken
						}
						return nil
					}
					err := f.install(t.Context(), t, memory{}, set, ApplyOptions{})
					f.fail = nil
					startedOnce(t, f)
					switch {
					case err == nil:
						same(t, f.running(), freshRunning)
						return
					case kind != "call" && errors.Is(err, ErrUnreachable):
						// The watch may be the first to notice.
					case !errors.Is(err, broken):
						t.Errorf("the error is %v", err)
					}
					if len(filesOf(f.picture(t))) > 0 {
						t.Errorf("there is still %v", slices.Sorted(maps.Keys(f.picture(t))))
					}
					if kind != "engine" {
						same(t, f.picture(t), map[string]string{})
						nothingLeft(t, f)
						return
					}
					if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
						t.Errorf("the next install: %v", err)
					}
					same(t, f.running(), freshRunning)
				})
			})
		}
	}
}

// TestApplyPullsStopped: gm start of a project that was stopped as a whole.
func TestApplyPullsStopped(t *testing.T) {
	set := compileSet(t, freshApps)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, set)
		verb := func(plan func(*State, []Selection) *Plan) {
			t.Helper()
			have, err := Observe(t.Context(), f, "shop", Brief)
			if err != nil {
				t.Fatal(err)
			}
			sel, err := Select(have.Apps(), []string{"api", "slow", "web", "tick"})
			if err != nil {
				t.Fatal(err)
			}
			if err := Apply(t.Context(), f, memory{}, plan(have, sel), ApplyOptions{Have: have, KeepFailed: true}); err != nil {
				t.Fatal(err)
			}
		}
		verb(PlanStop)
		f.calls = nil
		verb(PlanStart)
		same(t, f.running(), freshRunning)
		if calls := f.called("pull"); len(calls) > 0 {
			t.Errorf("the job that ended starts with %v", calls)
		}
	})
}

// TestApplyPutsBackWhatCameAlong: an app fails before the timer of another one, which
// was installed before and stopped, is due.
func TestApplyPutsBackWhatCameAlong(t *testing.T) {
	const web = `{"name": "web", "script": "ok.js", "instances": 2, "cron_restart": "0 5 * * *"}`
	before, after := compileSet(t, "["+web+"]"), compileSet(t, "["+web+`, {"name": "bad", "script": "fails.js"}]`)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, before)
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		sel, err := Select(have.Apps(), []string{"all"})
		if err != nil {
			t.Fatal(err)
		}
		if err := Apply(t.Context(), f, memory{}, PlanStop(have, sel), ApplyOptions{Have: have}); err != nil {
			t.Fatal(err)
		}
		was := f.picture(t)
		f.calls = nil
		if have, err = Observe(t.Context(), f, "shop", Brief); err != nil {
			t.Fatal(err)
		}
		p := Diff(after, have, DiffOptions{Project: "shop", Wake: true})
		applyError(t, Apply(t.Context(), f, memory{}, p, ApplyOptions{Have: have}))
		if calls := f.called("pull"); len(calls) != 1 {
			t.Errorf("it pulls: %v", calls)
		}
		same(t, f.picture(t), was)
		nothingLeft(t, f)
	})
}
