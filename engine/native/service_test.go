package native

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

func TestStartTypes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		typ   string
		began string // after the start
		say   string // READY=1, or "exit" for exit code 0
		ended string
	}{
		{"simple", "simple", "active/running", "", "active/running"},
		{"exec", "exec", "active/running", "", "active/running"},
		{"oneshot", "oneshot", "activating/start", "exit", "inactive/dead"},
		{"notify", "notify", "activating/start", "READY=1", "active/running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", typ(tt.typ)))
			call := r.do(engine.Start, "web.service")
			r.is("web.service", tt.began)
			switch tt.say {
			case "":
			case "exit":
				r.ended(call, "")
				r.exits("web.service", 0)
			default:
				r.ended(call, "")
				r.says("web.service", tt.say)
			}
			r.is("web.service", tt.ended)
			r.ended(call, "done")
		})
	}
}

// Every value of Restart= and every way to end: systemd.service(5), Table 2.
func TestRestartSetting(t *testing.T) {
	ends := []struct {
		name   string
		end    func(*rig)
		result string
		by     string // the values of Restart= that restart
	}{
		{"clean code", func(r *rig) { r.exits("web.service", 0) }, "success", "always on-success"},
		{"clean signal", func(r *rig) { r.dies("web.service", syscall.SIGTERM) }, "success", "always on-success"},
		{"declared clean", func(r *rig) { r.exits("web.service", 42) }, "success", "always on-success"},
		{"unclean code", func(r *rig) { r.exits("web.service", 1) }, "exit-code", "always on-failure"},
		{"unclean signal", func(r *rig) { r.dies("web.service", syscall.SIGKILL) }, "signal", "always on-failure on-abnormal on-abort"},
		{"core dump", func(r *rig) {
			r.end("web.service", "", exitStatus{signal: int(syscall.SIGSEGV), core: true})
		}, "core-dump", "always on-failure on-abnormal on-abort"},
		{"timeout", func(r *rig) { r.pass(time.Hour) }, "timeout", "always on-failure on-abnormal"},
		{"watchdog", func(r *rig) { r.pass(time.Minute) }, "watchdog", "always on-failure on-abnormal on-watchdog"},
		{"memory", func(r *rig) { r.feed(evOverMemory{unit: "web.service"}) }, "oom-kill", "always on-failure on-abnormal"},
		{"unknown", func(r *rig) {
			r.end("web.service", "", exitStatus{unknown: true})
		}, "exit-unknown", "always on-failure"},
		{"prevented", func(r *rig) { r.exits("web.service", 7) }, "exit-code", ""},
		{"forced", func(r *rig) { r.exits("web.service", 8) }, "exit-code", "no always on-success on-failure on-abnormal on-watchdog on-abort"},
	}
	for _, setting := range []string{"no", "always", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort"} {
		for _, end := range ends {
			t.Run(setting+"/"+end.name, func(t *testing.T) {
				r := newRig(t, newService("web.service", unlimited, with(func(d *serviceDef) {
					d.restart = setting
					d.success.codes = map[int]bool{42: true}
					d.restartPrevent.codes = map[int]bool{7: true}
					d.restartForce.codes = map[int]bool{7: true, 8: true}
					switch end.name {
					case "timeout":
						d.runtimeMax = time.Hour
					case "watchdog":
						d.watchdog = time.Minute
					}
				})))
				r.do(engine.Start, "web.service")
				end.end(r)
				switch again := slices.Contains(strings.Fields(end.by), setting); {
				case again:
					r.is("web.service", "activating/auto-restart "+end.result)
					r.pass(100 * time.Millisecond)
					r.is("web.service", "active/running success")
				case end.result == "success":
					r.is("web.service", "inactive/dead success")
				default:
					r.is("web.service", "failed/failed "+end.result)
				}
			})
		}
	}
}

func TestRestartPauses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps int
		limit time.Duration
		want  []time.Duration
	}{
		{"plain", 0, 0, []time.Duration{100, 100, 100}},
		{"steps without a limit", 3, 0, []time.Duration{100, 100, 100}},
		// As systemd 257 showed it: 0.1, 0.27, 0.74, 2, 2.
		{"steps", 3, 2 * time.Second, []time.Duration{100, 271, 736, 2000, 2000}},
		{"one step", 1, time.Second, []time.Duration{100, 1000, 1000}},
		{"limit below", 3, 50 * time.Millisecond, []time.Duration{100, 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", unlimited, restart("always"), with(func(d *serviceDef) {
				d.restartSteps, d.restartMaxDelay = tt.steps, tt.limit
			})))
			r.do(engine.Start, "web.service")
			for i, want := range tt.want {
				r.exits("web.service", 1)
				want *= time.Millisecond
				r.pass(want - time.Millisecond)
				r.is("web.service", "activating/auto-restart")
				r.pass(2 * time.Millisecond)
				r.is("web.service", "active/running")
				if s, _ := r.c.state("web.service"); s.Restarts != i+1 {
					t.Errorf("after restart %d the counter is %d", i+1, s.Restarts)
				}
			}
			r.do(engine.Restart, "web.service")
			if s, _ := r.c.state("web.service"); s.Restarts != 0 {
				t.Errorf("after a restart by hand the counter is %d", s.Restarts)
			}
		})
	}
}

func TestStartLimit(t *testing.T) {
	t.Run("automatic", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always")))
		r.do(engine.Start, "web.service")
		for range 4 {
			r.exits("web.service", 1)
			r.pass(100 * time.Millisecond)
			r.is("web.service", "active/running")
		}
		r.exits("web.service", 1)
		r.pass(time.Minute)
		// As systemd has it: the result is that of the end, not of the limit.
		r.is("web.service", "failed/failed exit-code")
		if !r.logged("Start request repeated too quickly.") {
			t.Error("the limit is not logged")
		}
	})
	t.Run("by hand", func(t *testing.T) {
		r := newRig(t, newService("web.service"))
		for i := range 5 {
			r.ended(r.do(engine.Restart, "web.service"), "done")
			if i == 0 {
				r.pass(time.Second)
			}
		}
		r.ended(r.do(engine.Restart, "web.service"), "failed")
		r.is("web.service", "failed/failed start-limit-hit")
		r.feed(evReset{1001, "web.service"})
		r.is("web.service", "inactive/dead success")
		r.ended(r.do(engine.Start, "web.service"), "done")
	})
	t.Run("window", func(t *testing.T) {
		r := newRig(t, newService("web.service"))
		for range 20 {
			r.ended(r.do(engine.Restart, "web.service"), "done")
			r.pass(3 * time.Second)
		}
	})
	t.Run("none", func(t *testing.T) {
		r := newRig(t, newService("web.service", unlimited))
		for range 50 {
			r.ended(r.do(engine.Restart, "web.service"), "done")
		}
	})
}

func TestCommands(t *testing.T) {
	chain := with(func(d *serviceDef) {
		d.condition = cmds("/bin/condition")
		d.pre = cmds("/bin/pre1", "-/bin/pre2")
		d.post = cmds("/bin/post")
		d.reload = cmds("/bin/reload")
		d.stop = cmds("/bin/stop")
		d.stopPost = cmds("/bin/stop-post")
	})
	r := newRig(t, newService("web.service", chain))
	call := r.do(engine.Start, "web.service")
	r.is("web.service", "activating/condition")
	r.end("web.service", "/bin/condition", exitStatus{})
	r.is("web.service", "activating/start-pre")
	r.end("web.service", "/bin/pre1", exitStatus{})
	r.end("web.service", "/bin/pre2", exitStatus{code: 3}) // of no effect
	r.is("web.service", "activating/start-post")
	r.ended(call, "")
	r.end("web.service", "/bin/post", exitStatus{})
	r.is("web.service", "active/running")
	r.ended(call, "done")
	r.did("control web.service: /bin/condition", "control web.service: /bin/pre1", "control web.service: /bin/pre2",
		"main web.service: /bin/web", "control web.service: /bin/post")

	call = r.do(engine.Reload, "web.service")
	r.is("web.service", "reloading/reload")
	r.end("web.service", "/bin/reload", exitStatus{code: 1})
	r.is("web.service", "active/running")
	r.ended(call, "failed")
	call = r.do(engine.Reload, "web.service")
	r.end("web.service", "/bin/reload", exitStatus{})
	r.ended(call, "done")
	r.take()

	call = r.do(engine.Stop, "web.service")
	r.is("web.service", "deactivating/stop")
	r.end("web.service", "/bin/stop", exitStatus{})
	r.is("web.service", "deactivating/stop-post")
	r.end("web.service", "/bin/stop-post", exitStatus{})
	r.is("web.service", "inactive/dead success")
	r.ended(call, "done")
	r.did("control web.service: /bin/stop", "signal web.service all: TERM",
		"control web.service: /bin/stop-post", "signal web.service all: TERM")
}

func TestFailingCommands(t *testing.T) {
	all := with(func(d *serviceDef) {
		d.condition, d.pre, d.post = cmds("/bin/condition"), cmds("/bin/pre"), cmds("/bin/post")
		d.stopPost = cmds("/bin/stop-post")
	})
	for _, tt := range []struct {
		name, until string
		x           exitStatus
		job, state  string
	}{
		{"condition says no", "/bin/condition", exitStatus{code: 1}, "done", "inactive/dead exec-condition"},
		{"condition fails", "/bin/condition", exitStatus{code: 255}, "failed", "failed/failed exit-code"},
		{"pre fails", "/bin/pre", exitStatus{code: 1}, "failed", "failed/failed exit-code"},
		{"pre is killed", "/bin/pre", exitStatus{signal: 15}, "failed", "failed/failed signal"},
		{"post fails", "/bin/post", exitStatus{code: 1}, "failed", "failed/failed exit-code"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", all))
			call := r.do(engine.Start, "web.service")
			for _, program := range []string{"/bin/condition", "/bin/pre", "/bin/post"} {
				if program == tt.until {
					r.end("web.service", program, tt.x)
					break
				}
				r.end("web.service", program, exitStatus{})
			}
			r.ended(call, "")
			r.end("web.service", "/bin/stop-post", exitStatus{})
			r.ended(call, tt.job)
			r.is("web.service", tt.state)
			if n := r.members("web.service"); n != 0 {
				t.Errorf("%d processes are left", n)
			}
		})
	}
}

func TestSpawnErrors(t *testing.T) {
	missing := &spawnError{"EXEC", 203, errors.New("no such file or directory")}
	for _, tt := range []struct {
		name, typ, program string
		err                error
		job, state         string
		code               int
	}{
		{"exec", "exec", "/bin/web", missing, "failed", "failed/failed exit-code", 203},
		// Its start is done when there is a process, whatever becomes of it.
		{"simple", "simple", "/bin/web", missing, "done", "failed/failed exit-code", 203},
		{"oneshot", "oneshot", "/bin/web", missing, "failed", "failed/failed exit-code", 203},
		{"notify", "notify", "/bin/web", missing, "failed", "failed/failed exit-code", 203},
		{"pre", "exec", "/bin/pre", missing, "failed", "failed/failed exit-code", 0},
		{"no process", "exec", "/bin/web", errors.New("fork: out of memory"), "failed", "failed/failed resources", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", typ(tt.typ), with(func(d *serviceDef) { d.pre = cmds("/bin/pre") })))
			r.refused[tt.program] = tt.err
			call := r.do(engine.Start, "web.service")
			if tt.program != "/bin/pre" {
				r.end("web.service", "/bin/pre", exitStatus{})
			}
			r.ended(call, tt.job)
			r.is("web.service", tt.state)
			if s, _ := r.c.state("web.service"); s.Exit.Code != tt.code {
				t.Errorf("the exit code is %d, want %d", s.Exit.Code, tt.code)
			}
		})
	}
	t.Run("restarts", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("on-failure")))
		r.refused["/bin/web"] = missing
		r.ended(r.do(engine.Start, "web.service"), "failed")
		r.is("web.service", "activating/auto-restart")
		delete(r.refused, "/bin/web")
		r.pass(100 * time.Millisecond)
		r.is("web.service", "active/running")
	})
}

func TestOneshot(t *testing.T) {
	several := with(func(d *serviceDef) { d.start = cmds("/bin/1", "-/bin/2", "/bin/3") })
	t.Run("in order", func(t *testing.T) {
		r := newRig(t, newService("job.service", typ("oneshot"), several))
		call := r.do(engine.Start, "job.service")
		r.exits("job.service", 0)
		r.exits("job.service", 1)
		r.is("job.service", "activating/start")
		r.exits("job.service", 0)
		r.ended(call, "done")
		r.did("main job.service: /bin/1", "main job.service: /bin/2", "main job.service: /bin/3", "signal job.service all: TERM")
		r.is("job.service", "inactive/dead success")
	})
	t.Run("stops at a failure", func(t *testing.T) {
		r := newRig(t, newService("job.service", typ("oneshot"), several))
		call := r.do(engine.Start, "job.service")
		r.exits("job.service", 1)
		r.ended(call, "failed")
		r.is("job.service", "failed/failed exit-code")
	})
	t.Run("SIGTERM is no success", func(t *testing.T) {
		r := newRig(t, newService("job.service", typ("oneshot")))
		r.do(engine.Start, "job.service")
		r.dies("job.service", syscall.SIGTERM)
		r.is("job.service", "failed/failed signal")
	})
	t.Run("remains", func(t *testing.T) {
		r := newRig(t, newService("job.service", typ("oneshot"), with(func(d *serviceDef) {
			d.remainAfterExit, d.stop = true, cmds("/bin/stop")
		})))
		call := r.do(engine.Start, "job.service")
		r.exits("job.service", 0)
		r.ended(call, "done")
		r.is("job.service", "active/exited")
		call = r.do(engine.Stop, "job.service")
		r.end("job.service", "/bin/stop", exitStatus{})
		r.ended(call, "done")
		r.is("job.service", "inactive/dead")
	})
	t.Run("without a command", func(t *testing.T) {
		r := newRig(t, newService("job.service", typ("oneshot"), with(func(d *serviceDef) {
			d.remainAfterExit, d.start, d.stop = true, nil, cmds("/bin/stop")
		})))
		r.ended(r.do(engine.Start, "job.service"), "done")
		r.is("job.service", "active/exited")
	})
}

func TestKillModes(t *testing.T) {
	const term = 10 * time.Second
	for _, tt := range []struct {
		name, mode string
		set        func(*serviceDef)
		deaf       []string // programs that do not end by TERM
		left       int      // other processes of the unit
		want       []string
		after      time.Duration // when the stop is done
		state      string
		survive    int
	}{
		{"group", "control-group", nil, nil, 2,
			[]string{"signal web.service all: TERM", "signal web.service all: TERM"}, 0, "inactive/dead success", 0},
		{"group, main is deaf", "control-group", nil, []string{"/bin/web"}, 0,
			[]string{"signal web.service all: TERM", "signal web.service all: KILL", "signal web.service all: TERM"}, term, "failed/failed timeout", 0},
		{"group, others are deaf", "control-group", nil, []string{"left"}, 1,
			[]string{"signal web.service all: TERM", "signal web.service all: TERM", "await web.service", "signal web.service all: KILL"},
			term, "failed/failed timeout", 0},
		{"mixed", "mixed", nil, []string{"left"}, 1,
			[]string{"signal web.service /bin/web: TERM", "signal web.service all: KILL"}, 0, "inactive/dead success", 0},
		{"process", "process", nil, nil, 2,
			[]string{"signal web.service /bin/web: TERM"}, 0, "inactive/dead success", 2},
		{"process, deaf", "process", nil, []string{"/bin/web"}, 0,
			[]string{"signal web.service /bin/web: TERM", "signal web.service /bin/web: KILL"}, term, "failed/failed timeout", 0},
		{"none", "none", nil, nil, 2, nil, 0, "inactive/dead success", 3},
		{"other signals", "control-group", func(d *serviceDef) {
			d.killSignal, d.finalSignal, d.sendSIGHUP = int(syscall.SIGINT), int(syscall.SIGQUIT), true
		}, []string{"/bin/web"}, 0,
			[]string{"signal web.service all: INT", "signal web.service all: HUP", "signal web.service all: QUIT"}, -1, "", 1},
		{"no SIGKILL", "control-group", func(d *serviceDef) { d.sendSIGKILL = false }, []string{"/bin/web"}, 0,
			[]string{"signal web.service all: TERM", "signal web.service all: TERM"}, 2 * term, "failed/failed timeout", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", with(func(d *serviceDef) {
				d.killMode, d.timeoutStop = tt.mode, term
				if tt.set != nil {
					tt.set(d)
				}
			})))
			r.do(engine.Start, "web.service")
			r.left["web.service"] = tt.left
			for _, program := range tt.deaf {
				r.deaf[program] = true
			}
			r.take()
			call := r.do(engine.Stop, "web.service")
			if tt.after < 0 {
				r.pass(term)
				r.did(tt.want...)
				return
			}
			if tt.after > 0 {
				r.pass(tt.after - time.Millisecond)
				r.ended(call, "")
				r.pass(time.Millisecond)
			}
			r.ended(call, "done")
			r.is("web.service", tt.state)
			r.did(tt.want...)
			if got := r.members("web.service"); got != tt.survive {
				t.Errorf("%d processes are left, want %d", got, tt.survive)
			}
		})
	}
}

func TestRestartKillSignal(t *testing.T) {
	r := newRig(t, newService("web.service", with(func(d *serviceDef) { d.restartKillSignal = int(syscall.SIGHUP) })))
	r.do(engine.Start, "web.service")
	r.take()
	r.do(engine.Restart, "web.service")
	r.did("signal web.service all: HUP", "signal web.service all: TERM", "main web.service: /bin/web")
}

// After a crash what is left of the unit is ended before it is started again.
func TestCrashLeavesNothing(t *testing.T) {
	r := newRig(t, newService("web.service", restart("always")))
	r.do(engine.Start, "web.service")
	r.deaf["left"] = true
	r.left["web.service"] = 1
	r.exits("web.service", 1)
	r.is("web.service", "deactivating/stop-sigterm")
	r.pass(time.Second)
	r.is("web.service", "deactivating/stop-sigterm")
	r.left["web.service"] = 0
	r.feed(evEmptied{"web.service"})
	r.is("web.service", "activating/auto-restart exit-code")
}

func TestStopTimeouts(t *testing.T) {
	r := newRig(t, newService("web.service", with(func(d *serviceDef) {
		d.stop, d.stopPost, d.timeoutStop = cmds("/bin/stop"), cmds("/bin/stop-post"), time.Second
	})))
	r.deaf["/bin/web"], r.deaf["/bin/stop"], r.deaf["/bin/stop-post"] = true, true, true
	r.do(engine.Start, "web.service")
	call := r.do(engine.Stop, "web.service")
	for _, want := range []string{
		"deactivating/stop", "deactivating/stop-sigterm", "deactivating/stop-post", "deactivating/final-sigterm",
	} {
		r.is("web.service", want)
		r.ended(call, "")
		r.pass(time.Second)
	}
	r.is("web.service", "failed/failed timeout")
	r.ended(call, "done")
	if len(r.procs) != 0 || len(r.timers) != 0 {
		t.Errorf("%d processes and %d timers are left", len(r.procs), len(r.timers))
	}
}

func TestStartTimeout(t *testing.T) {
	for _, kind := range []string{"notify", "oneshot"} {
		r := newRig(t, newService("web.service", typ(kind), with(func(d *serviceDef) { d.timeoutStart = 3 * time.Second })))
		call := r.do(engine.Start, "web.service")
		r.pass(3*time.Second - 1)
		r.is("web.service", "activating/start")
		r.pass(1)
		r.is("web.service", "failed/failed timeout")
		r.ended(call, "failed")
	}
}

func TestNotifyMessages(t *testing.T) {
	start := func(t *testing.T, set ...func(*definition)) *rig {
		r := newRig(t, newService("web.service", append([]func(*definition){typ("notify"), unlimited}, set...)...))
		r.do(engine.Start, "web.service")
		return r
	}
	t.Run("ends before it is ready", func(t *testing.T) {
		r := start(t)
		r.exits("web.service", 0)
		r.is("web.service", "failed/failed protocol")
	})
	t.Run("extends its timeout", func(t *testing.T) {
		r := start(t)
		r.pass(80 * time.Second)
		r.says("web.service", "EXTEND_TIMEOUT_USEC=60000000")
		r.pass(59 * time.Second)
		r.is("web.service", "activating/start")
		r.pass(time.Second)
		r.is("web.service", "failed/failed timeout")
	})
	t.Run("does not shorten it", func(t *testing.T) {
		r := start(t)
		r.says("web.service", "EXTEND_TIMEOUT_USEC=1000000")
		r.pass(89 * time.Second)
		r.is("web.service", "activating/start")
	})
	t.Run("reloads", func(t *testing.T) {
		r := start(t)
		r.says("web.service", "READY=1")
		r.says("web.service", "RELOADING=1")
		r.is("web.service", "reloading/reload")
		r.says("web.service", "READY=1")
		r.is("web.service", "active/running")
	})
	t.Run("stops", func(t *testing.T) {
		r := start(t, restart("no"))
		r.says("web.service", "READY=1")
		r.says("web.service", "STOPPING=1")
		r.is("web.service", "deactivating/stop-sigterm")
		r.exits("web.service", 0)
		r.is("web.service", "inactive/dead success")
	})
	t.Run("stops before it is ready", func(t *testing.T) {
		r := start(t)
		r.says("web.service", "STOPPING=1")
		r.says("web.service", "READY=1")
		r.is("web.service", "activating/start")
	})
	t.Run("watchdog", func(t *testing.T) {
		r := start(t, with(func(d *serviceDef) { d.watchdog = time.Second }))
		r.says("web.service", "READY=1")
		for range 5 {
			r.pass(900 * time.Millisecond)
			r.says("web.service", "WATCHDOG=1")
		}
		r.is("web.service", "active/running")
		r.take()
		r.pass(time.Second)
		r.is("web.service", "failed/failed watchdog")
		r.did("signal web.service all: ABRT", "signal web.service all: TERM")
	})
	t.Run("another main process", func(t *testing.T) {
		r := start(t)
		r.says("web.service", "READY=1", "MAINPID=77")
		if s, _ := r.c.state("web.service"); s.MainPID != 77 {
			t.Errorf("the main process is %d", s.MainPID)
		}
		r.says("web.service", "MAINPID=1077") // is not there
		r.end("web.service", "/bin/web", exitStatus{code: 1})
		r.is("web.service", "active/running")
		r.end("web.service", "moved", exitStatus{})
		r.is("web.service", "inactive/dead success")
	})
	t.Run("unanswered", func(t *testing.T) {
		// A loop that knows no effMain leaves the main process as it is.
		r := start(t)
		r.c.step(r.now, evNotified{unit: "web.service", main: true, fields: map[string]string{"READY": "1", "MAINPID": "5"}})
		r.exits("web.service", 0)
		r.is("web.service", "inactive/dead success")
	})
}

func TestNotifyAccess(t *testing.T) {
	const main, control, other = 101, 102, 103
	for _, tt := range []struct {
		access string
		heard  []int
	}{
		{"none", []int{main}}, // Type=notify needs one: as main
		{"main", []int{main}},
		{"exec", []int{main}},
		{"all", []int{main, control, other}},
	} {
		for _, pid := range []int{main, control, other} {
			r := newRig(t, newService("web.service", typ("notify"), with(func(d *serviceDef) { d.notifyAccess = tt.access })))
			r.do(engine.Start, "web.service")
			r.feed(evNotified{unit: "web.service", pid: pid, main: pid == main, fields: map[string]string{"READY": "1"}})
			want := "activating/start"
			if slices.Contains(tt.heard, pid) {
				want = "active/running"
			}
			r.is("web.service", want)
		}
	}
}

func TestStopWhileRestarting(t *testing.T) {
	t.Run("stop in auto-restart", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always")))
		r.do(engine.Start, "web.service")
		r.exits("web.service", 1)
		r.is("web.service", "activating/auto-restart")
		r.ended(r.do(engine.Stop, "web.service"), "done")
		r.is("web.service", "inactive/dead")
		r.pass(time.Hour)
		r.is("web.service", "inactive/dead")
	})
	t.Run("start in auto-restart", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always")))
		r.do(engine.Start, "web.service")
		r.exits("web.service", 1)
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.is("web.service", "active/running")
		if s, _ := r.c.state("web.service"); s.Restarts != 0 {
			t.Errorf("a start by hand leaves the counter at %d", s.Restarts)
		}
		if len(r.timers) != 0 {
			t.Error("the timer of the restart is left")
		}
	})
	t.Run("restart in auto-restart", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always")))
		r.do(engine.Start, "web.service")
		r.exits("web.service", 1)
		r.ended(r.do(engine.Restart, "web.service"), "done")
		r.is("web.service", "active/running")
	})
	t.Run("stop while it comes down by itself", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always"), with(func(d *serviceDef) { d.stopPost = cmds("/bin/clean") })))
		r.do(engine.Start, "web.service")
		r.exits("web.service", 1)
		r.is("web.service", "deactivating/stop-post")
		call := r.do(engine.Stop, "web.service")
		r.end("web.service", "/bin/clean", exitStatus{})
		r.ended(call, "done")
		r.is("web.service", "failed/failed exit-code")
	})
	t.Run("start while it comes down", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always")))
		r.deaf["/bin/web"] = true
		r.do(engine.Start, "web.service")
		stop := r.do(engine.Stop, "web.service")
		start := r.do(engine.Start, "web.service")
		r.ended(stop, "canceled")
		r.ended(start, "")
		r.exits("web.service", 0)
		r.ended(start, "done")
		r.is("web.service", "active/running")
	})
	t.Run("restart while it comes down", func(t *testing.T) {
		r := newRig(t, newService("web.service"))
		r.deaf["/bin/web"] = true
		r.do(engine.Start, "web.service")
		stop := r.do(engine.Stop, "web.service")
		again := r.do(engine.Restart, "web.service")
		r.ended(stop, "canceled")
		r.exits("web.service", 0)
		r.ended(again, "done")
	})
	t.Run("stop while it comes up", func(t *testing.T) {
		r := newRig(t, newService("web.service", typ("notify")))
		start := r.do(engine.Start, "web.service")
		stop := r.do(engine.Stop, "web.service")
		r.ended(start, "canceled")
		r.ended(stop, "done")
		r.is("web.service", "inactive/dead success")
	})
}

func TestOverMemory(t *testing.T) {
	t.Run("polled", func(t *testing.T) {
		r := newRig(t, newService("web.service", restart("always"), with(func(d *serviceDef) { d.stop = cmds("/bin/stop") })))
		r.deaf["/bin/web"] = true
		r.do(engine.Start, "web.service")
		r.take()
		r.feed(evOverMemory{unit: "web.service"})
		r.is("web.service", "deactivating/stop-sigterm")
		r.pass(90 * time.Second)
		r.is("web.service", "activating/auto-restart oom-kill")
		r.did("signal web.service all: TERM", "signal web.service all: KILL", "signal web.service all: TERM")
	})
	for _, tt := range []struct {
		policy string
		first  bool // the kernel's word comes before the end of the process
		want   string
	}{
		{"stop", true, "failed/failed oom-kill"},
		{"kill", true, "failed/failed oom-kill"},
		{"kill", false, "failed/failed oom-kill"},
		{"continue", true, "failed/failed signal"},
	} {
		r := newRig(t, newService("web.service", with(func(d *serviceDef) { d.oomPolicy = tt.policy })))
		r.deaf["/bin/web"] = true
		r.do(engine.Start, "web.service")
		k := r.process("web.service", "")
		if tt.first {
			r.feed(evOverMemory{"web.service", true})
		}
		if r.procs[k] != nil {
			r.dies("web.service", syscall.SIGKILL)
		}
		if !tt.first {
			r.feed(evOverMemory{"web.service", true})
		}
		r.is("web.service", tt.want)
	}
}

func TestReloadRefused(t *testing.T) {
	r := newRig(t, newService("web.service"), newService("api.service", with(func(d *serviceDef) { d.reload = cmds("/bin/hup") })))
	r.do(engine.Start, "web.service")
	r.ended(r.do(engine.Reload, "web.service"), "(web.service has no ExecReload=)")
	r.ended(r.do(engine.Reload, "api.service"), "(api.service is not active and cannot be reloaded)")
}

func TestControlEnvironment(t *testing.T) {
	r := newRig(t, newService("web.service", with(func(d *serviceDef) {
		d.post, d.stopPost, d.watchdog = cmds("/bin/post"), cmds("/bin/stop-post"), 2*time.Second
	})))
	env := map[string][]string{}
	feed := func(ev event) {
		for queue := []event{ev}; len(queue) > 0; queue = queue[1:] {
			for _, e := range r.c.step(r.now, queue[0]) {
				if s, ok := e.(effSpawn); ok {
					env[s.command.argv[0]] = s.env
				}
				queue = append(queue, r.carryOut(e)...)
			}
		}
	}
	feed(evJob{1, engine.Job{Op: engine.Start, Unit: "web.service"}})
	k := r.process("web.service", "/bin/web")
	delete(r.procs, k)
	feed(evExited{k, exitStatus{signal: 9}})
	post := r.process("web.service", "/bin/post")
	delete(r.procs, post)
	feed(evExited{post, exitStatus{}})
	for program, want := range map[string][]string{
		"/bin/web":       {"WATCHDOG_USEC=2000000"},
		"/bin/post":      {"MAINPID=101"},
		"/bin/stop-post": {"SERVICE_RESULT=signal", "EXIT_CODE=killed", "EXIT_STATUS=KILL"},
	} {
		if !slices.Equal(env[program], want) {
			t.Errorf("%s gets %q, want %q", program, env[program], want)
		}
	}
}
