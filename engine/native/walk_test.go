package native

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

// walkUnits is a bit of everything.
func walkUnits(t *testing.T, changed bool) []*definition {
	digest := func(d *definition) {
		if changed {
			d.digest = "2"
		}
	}
	web := newTimer("web-restart.timer", func(d *timerDef) {
		d.calendar, d.unit = calendars(t, "*-*-* *:*:00/20"), "web-restart.service"
	})
	web.partOf = []string{"web.service"}
	list := []*definition{
		newTarget("shop.target", wants("web.service", "api.target", "job.timer", "db.service")),
		newTarget("api.target", partOf("shop.target"), wants("api@0.service", "api@1.service")),
		newService("web.service", digest, partOf("shop.target"), wants("web-restart.timer"), requires("db.service"), after("db.service"), restart("always"), with(func(d *serviceDef) {
			d.pre, d.post, d.stopPost = cmds("/bin/pre"), cmds("/bin/post"), cmds("/bin/stop-post")
		})),
		web,
		newService("web-restart.service", typ("oneshot"), unlimited, after("web.service"), with(func(d *serviceDef) {
			d.pre = cmds("-/bin/systemctl reset-failed web.service")
			d.start = cmds("/bin/systemctl --job-mode=fail restart web.service api@0.service")
		})),
		newService("api@.service", digest, partOf("api.target"), requires("api.socket"), after("api.socket"), unlimited, restart("on-failure"), with(func(d *serviceDef) {
			d.sockets, d.restartSteps, d.restartMaxDelay = []string{"api.socket"}, 3, 5*time.Second
		})),
		newSocketUnit("api.socket", func(d *socketDef) { d.service = "api@0.service" }),
		newService("db.service", typ("notify"), restart("on-abnormal"), with(func(d *serviceDef) {
			d.killMode, d.watchdog, d.reload, d.stop = "mixed", 30*time.Second, cmds("/bin/reload"), cmds("/bin/stop")
		})),
		newTimer("job.timer", func(d *timerDef) { d.onActive, d.onInact = []time.Duration{0}, []time.Duration{7 * time.Second} }),
		newService("job.service", typ("oneshot"), with(func(d *serviceDef) { d.start, d.timeoutStart = cmds("/bin/1", "-/bin/2"), 5*time.Second })),
		newService("old.service", digest, restart("always"), func(d *definition) { d.conflicts = []string{"new.service"} }),
		newService("new.service", restart("always"), with(func(d *serviceDef) { d.killMode, d.runtimeMax = "process", 40*time.Second })),
		newService("bound.service", after("new.service"), func(d *definition) { d.bindsTo = []string{"new.service"} }),
		newService("loop-a.service", after("loop-b.service"), wants("loop-b.service")),
		newService("loop-b.service", after("loop-a.service"), wants("loop-a.service")),
	}
	if changed {
		list = slices.DeleteFunc(list, func(d *definition) bool { return d.name == "old.service" })
	}
	return list
}

// A walk at random, in which what must always hold is looked at after each step.
func TestRandomWalk(t *testing.T) {
	steps := 3000
	if testing.Short() {
		steps = 500
	}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{rig: newRig(t, walkUnits(t, false)...), rnd: rand.New(rand.NewPCG(seed, 1)), jobs: map[callID]engine.Job{}}
			w.quiet = true
			for i := range steps {
				w.doing = fmt.Sprintf("step %d", i)
				w.step(t)
				w.check()
			}
			w.finish()
		})
	}
}

type walk struct {
	*rig
	rnd   *rand.Rand
	jobs  map[callID]engine.Job
	doing string
}

func (w *walk) pick(list []string) string { return list[w.rnd.IntN(len(list))] }

var walked = []string{
	"shop.target", "api.target", "web.service", "web-restart.timer", "web-restart.service", "api@0.service", "api@1.service", "api@2.service",
	"api.socket", "db.service", "job.timer", "job.service", "old.service", "new.service", "bound.service", "loop-a.service", "loop-b.service", "none.service",
}

func (w *walk) step(t *testing.T) {
	switch n := w.rnd.IntN(100); {
	case n < 25:
		job := engine.Job{Unit: w.pick(walked), Alone: w.rnd.IntN(10) == 0, Yield: w.rnd.IntN(10) == 0}
		job.Op = []engine.Op{engine.Start, engine.Start, engine.Restart, engine.Stop, engine.Reload}[w.rnd.IntN(5)]
		w.doing += fmt.Sprintf(": %v", job)
		w.jobs[w.job(job)] = job
	case n < 50:
		w.someEnd()
	case n < 65:
		w.doing += ": time"
		w.rig.pass(time.Duration(w.rnd.Int64N(int64(20 * time.Second))))
	case n < 70:
		w.rig.pass(time.Duration(w.rnd.Int64N(int64(200 * time.Millisecond))))
	case n < 80:
		w.message()
	case n < 83:
		w.doing += ": deaf"
		program := "/bin/" + w.pick([]string{"web", "api@", "db", "new", "stop", "stop-post", "pre"})
		w.deaf[program] = !w.deaf[program]
	case n < 86:
		w.feed(evIncoming{"api.socket"})
	case n < 89:
		w.feed(evOverMemory{w.pick(walked), w.rnd.IntN(2) == 0})
	case n < 91:
		w.refused["/bin/web"] = map[bool]error{true: &spawnError{"EXEC", 203, errNoProgram}}[w.rnd.IntN(2) == 0]
	case n < 93:
		w.calls++
		w.feed(evReset{w.calls, w.pick(walked)})
	case n < 95:
		w.rig.load(walkUnits(t, w.rnd.IntN(2) == 0)...)
	case n < 97:
		w.calls++
		pull := w.calls
		w.feed(evPull{pull, "shop.target"})
		for range 3 {
			w.calls++
			w.feed(evJoin{w.calls, pull, w.pick(walked)})
		}
	case n < 98:
		w.set(w.now.Add(time.Duration(w.rnd.Int64N(int64(2*time.Hour))) - time.Hour))
	case n < 99:
		w.doing += ": supervisor killed"
		w.answer, w.answers = map[callID]int{}, map[callID]error{}
		w.jobs, w.calls = map[callID]engine.Job{}, 0
		w.killSupervisor()
	default:
		w.feed(evEmptied{w.pick(walked)}) // of before
	}
}

var errNoProgram = fmt.Errorf("no such file or directory")

// someEnd ends a process, one way or the other.
func (w *walk) someEnd() {
	tokens := make([]token, 0, len(w.procs))
	for k := range w.procs {
		tokens = append(tokens, k)
	}
	if len(tokens) == 0 {
		return
	}
	slices.Sort(tokens)
	k := tokens[w.rnd.IntN(len(tokens))]
	x := []exitStatus{{}, {}, {code: 1}, {signal: int(syscall.SIGKILL)}, {signal: int(syscall.SIGTERM)}, {unknown: true}}[w.rnd.IntN(6)]
	x.at = w.now
	w.doing += fmt.Sprintf(": end of %s of %s, %s", w.procs[k].name, w.procs[k].unit, x)
	delete(w.procs, k)
	w.feed(evExited{k, x})
}

func (w *walk) message() {
	unit := w.pick([]string{"db.service", "db.service", "db.service", "web.service"})
	text := w.pick([]string{"READY=1", "READY=1", "READY=1", "WATCHDOG=1", "STOPPING=1", "RELOADING=1", "EXTEND_TIMEOUT_USEC=5000000", "WATCHDOG=trigger", "MAINPID=2000"})
	w.feed(evNotified{unit: unit, pid: 1, main: w.rnd.IntN(4) > 0, fields: pairs([]string{text})})
}

// check looks at what must hold at any time.
func (w *walk) check() {
	w.t.Helper()
	c := w.c
	for _, u := range c.sorted() {
		if j := u.job; j != nil && !j.begun && !j.queued && (j.holder == nil || j.holder.unit.job != j.holder) {
			w.t.Fatalf("%s: the %s of %s waits for nothing", w.doing, j.typ, u.name)
		}
		down := u.state.active().isDown()
		if down && u.ran != nil {
			w.t.Fatalf("%s: %s is %s and runs by a definition", w.doing, u.name, u.state)
		}
		if !down && !u.builtin() && u.ran == nil {
			w.t.Fatalf("%s: %s is %s and runs by nothing", w.doing, u.name, u.state)
		}
		if u.entry != nil {
			w.t.Fatalf("%s: %s is in a transaction", w.doing, u.name)
		}
		if s := u.service; s != nil {
			for _, p := range []process{s.main, s.control} {
				if p.runs() && (c.tokens[p.token] != u || w.procs[p.token] == nil && !p.own) {
					w.t.Fatalf("%s: %s waits for a process that there is not", w.doing, u.name)
				}
				if p.runs() && down {
					w.t.Fatalf("%s: %s is %s and has a process", w.doing, u.name, u.state)
				}
			}
			waits := s.main.runs() || s.control.runs() || s.timer != 0 || s.scheduled || w.members(u.name) > 0
			if a := u.state.active(); !waits && (a == activating || a == deactivating) {
				w.t.Fatalf("%s: %s is %s for ever", w.doing, u.name, u.state)
			}
			if u.state == stateAutoRestart && s.timer == 0 && u.job == nil && !slices.Contains(c.adopted.units, u) {
				w.t.Fatalf("%s: %s waits for a restart that does not come", w.doing, u.name)
			}
		}
	}
	for k := range w.timers {
		if u := c.tokens[k]; k != c.adopted.token && (u == nil || u.state.active().isDown()) {
			w.t.Fatalf("%s: a timer is left: %v", w.doing, u)
		}
	}
	for _, p := range w.procs {
		if s, _ := c.state(p.unit); (s.Active == "inactive" || s.Active == "failed") && p.unit != "new.service" {
			w.t.Fatalf("%s: %s is %s and %s runs", w.doing, p.unit, s.Sub, p.name)
		}
	}
}

// finish ends it all: whatever was asked for is answered by then.
func (w *walk) finish() {
	w.doing = "shutdown"
	w.calls++
	w.feed(evShutdown{w.calls})
	w.check()
	for range 20 {
		w.rig.pass(100 * time.Second)
	}
	w.check()
	if !w.down || len(w.timers) > 0 {
		w.t.Errorf("down is %v, %d timers are left", w.down, len(w.timers))
	}
	for k := callID(1); k <= w.calls; k++ {
		if w.answer[k] != 1 {
			w.t.Errorf("call %d (%v) is answered %d times", k, w.jobs[k], w.answer[k])
		}
	}
}
