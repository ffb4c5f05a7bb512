package native

import (
	"slices"
	"testing"
	"time"

	"gm/engine"
)

// killSupervisor has a new core follow the one there is: it gets the records that were
// saved, and the processes that are still there.
func (r *rig) killSupervisor() {
	r.t.Helper()
	var left []record
	for _, u := range r.c.sorted() {
		if saved, ok := r.c.record(u.name); ok {
			left = append(left, saved)
		}
	}
	r.follow(left)
}

func (r *rig) follow(left []record) {
	r.restartCore()
	r.take()
	r.logs = nil
	r.loadAgain()
	own := token(0)
	adopted := map[token]*fakeProcess{}
	var events []evAdopted
	for _, saved := range left {
		ev := evAdopted{record: saved}
		for k, p := range r.procs {
			if p.unit != saved.Unit || k < 0 {
				continue
			}
			own--
			switch {
			case p.proc == saved.Main:
				ev.main = own
			case p.proc == saved.Control:
				ev.control = own
			default:
				continue
			}
			adopted[own] = p
			delete(r.procs, k)
		}
		events = append(events, ev)
	}
	for _, p := range r.procs {
		r.left[p.unit]++ // nobody knows it
	}
	r.procs = adopted
	for _, ev := range events {
		r.feed(ev)
	}
	r.pass(0)
}

// gone takes the process of a unit away while no supervisor watches.
func (r *rig) gone(unit string) { delete(r.procs, r.process(unit, "")) }

func TestAdoptService(t *testing.T) {
	chain := with(func(d *serviceDef) {
		d.pre, d.post, d.stop, d.stopPost = cmds("/bin/pre"), cmds("/bin/post"), cmds("/bin/stop"), cmds("/bin/stop-post")
		d.reload = cmds("/bin/reload")
	})
	start := func(r *rig) { r.do(engine.Start, "web.service") }
	for _, tt := range []struct {
		name   string
		set    []func(*definition)
		before func(*rig)
		gone   bool
		want   string
		then   func(*rig)
		did    []string
		end    string
	}{
		{name: "running", before: start, want: "active/running success", end: "active/running success"},
		{name: "running, gone", set: []func(*definition){restart("always")}, before: start, gone: true,
			want: "activating/auto-restart exit-unknown", did: []string{"signal web.service all: TERM", "main web.service: /bin/web"},
			then: func(r *rig) { r.pass(time.Second) }, end: "active/running success"},
		{name: "running, gone, on-failure", set: []func(*definition){restart("on-failure")}, before: start, gone: true,
			want: "activating/auto-restart exit-unknown", did: []string{"signal web.service all: TERM"}, end: "activating/auto-restart exit-unknown"},
		{name: "running, gone, no restart", before: start, gone: true, want: "failed/failed exit-unknown",
			did: []string{"signal web.service all: TERM"}, end: "failed/failed exit-unknown"},
		{name: "start-pre", set: []func(*definition){chain}, before: start, want: "deactivating/stop-post signal",
			did:  []string{"signal web.service all: TERM", "control web.service: /bin/stop-post", "signal web.service all: TERM", "control web.service: /bin/pre"},
			then: func(r *rig) { r.end("web.service", "/bin/stop-post", exitStatus{}) }, end: "activating/start-pre success"},
		{name: "start-post", set: []func(*definition){chain}, before: func(r *rig) {
			start(r)
			r.end("web.service", "/bin/pre", exitStatus{})
		}, want: "activating/start-post success", did: []string{"signal web.service /bin/post: KILL", "control web.service: /bin/post"},
			then: func(r *rig) { r.end("web.service", "/bin/post", exitStatus{}) }, end: "active/running success"},
		{name: "reload", set: []func(*definition){chain}, before: func(r *rig) {
			start(r)
			r.end("web.service", "/bin/pre", exitStatus{})
			r.end("web.service", "/bin/post", exitStatus{})
			r.do(engine.Reload, "web.service")
		}, want: "active/running success", did: []string{"signal web.service /bin/reload: KILL"}, end: "active/running success"},
		{name: "stop", set: []func(*definition){chain, restart("always")}, before: func(r *rig) {
			start(r)
			r.end("web.service", "/bin/pre", exitStatus{})
			r.end("web.service", "/bin/post", exitStatus{})
			r.do(engine.Stop, "web.service")
		}, want: "deactivating/stop success", then: func(r *rig) {
			r.end("web.service", "/bin/stop", exitStatus{})
			r.end("web.service", "/bin/stop-post", exitStatus{})
			r.pass(time.Hour)
		}, did: []string{"signal web.service all: TERM", "control web.service: /bin/stop-post", "signal web.service all: TERM"}, end: "inactive/dead success"},
		{name: "stop-sigterm", set: []func(*definition){restart("always")}, before: func(r *rig) {
			r.deaf["/bin/web"] = true
			start(r)
			r.do(engine.Stop, "web.service")
		}, want: "deactivating/stop-sigterm success", then: func(r *rig) {
			r.end("web.service", "/bin/web", exitStatus{unknown: true})
			r.pass(time.Hour)
		}, did: []string{"signal web.service all: TERM", "signal web.service all: TERM"}, end: "inactive/dead success"},
		{name: "stop-sigterm, gone", before: func(r *rig) {
			r.deaf["/bin/web"] = true
			start(r)
			r.do(engine.Stop, "web.service")
		}, gone: true, want: "inactive/dead success", did: []string{"signal web.service all: TERM"}, end: "inactive/dead success"},
		{name: "restart", before: func(r *rig) {
			r.deaf["/bin/web"] = true
			start(r)
			r.do(engine.Restart, "web.service")
		}, want: "deactivating/stop-sigterm success", then: func(r *rig) {
			r.end("web.service", "/bin/web", exitStatus{})
		}, did: []string{"signal web.service all: TERM", "signal web.service all: TERM", "main web.service: /bin/web"}, end: "active/running success"},
		{name: "stop-sigkill", before: func(r *rig) {
			r.deaf["/bin/web"] = true
			start(r)
			r.do(engine.Stop, "web.service")
			r.pass(89 * time.Second)
		}, want: "deactivating/stop-sigterm success", then: func(r *rig) { r.pass(90 * time.Second) },
			did: []string{"signal web.service all: TERM", "signal web.service all: KILL", "signal web.service all: TERM"}, end: "failed/failed timeout"},
		{name: "auto-restart", set: []func(*definition){restart("always"), with(func(d *serviceDef) { d.restartSec = 10 * time.Second })}, before: func(r *rig) {
			start(r)
			r.exits("web.service", 1)
			r.pass(4 * time.Second)
		}, want: "activating/auto-restart exit-code", then: func(r *rig) {
			r.pass(6*time.Second - 1)
			r.is("web.service", "activating/auto-restart")
			r.pass(1)
		}, did: []string{"main web.service: /bin/web"}, end: "active/running success"},
		{name: "failed", before: func(r *rig) {
			start(r)
			r.exits("web.service", 1)
		}, want: "failed/failed exit-code", end: "failed/failed exit-code"},
		{name: "stopped", before: func(r *rig) {
			start(r)
			r.do(engine.Stop, "web.service")
		}, want: "inactive/dead success", end: "inactive/dead success"},
		{name: "exited", set: []func(*definition){typ("oneshot"), with(func(d *serviceDef) { d.remainAfterExit = true })}, before: func(r *rig) {
			start(r)
			r.exits("web.service", 0)
		}, want: "active/exited success", end: "active/exited success"},
		{name: "oneshot", set: []func(*definition){typ("oneshot")}, before: start, want: "activating/start success",
			then: func(r *rig) { r.end("web.service", "/bin/web", exitStatus{unknown: true}) },
			did:  []string{"signal web.service all: TERM"}, end: "failed/failed exit-unknown"},
		{name: "one of several", set: []func(*definition){typ("oneshot"), with(func(d *serviceDef) { d.start = cmds("/bin/1", "/bin/2") })}, before: func(r *rig) {
			start(r)
			r.exits("web.service", 0)
		}, want: "activating/start success", did: []string{"signal web.service all: TERM", "signal web.service all: TERM", "main web.service: /bin/1"},
			end: "activating/start success"},
		{name: "notify", set: []func(*definition){typ("notify")}, before: start, want: "activating/start success",
			then: func(r *rig) { r.says("web.service", "READY=1") }, end: "active/running success"},
		// It said so while no supervisor listened.
		{name: "notify, unheard", set: []func(*definition){typ("notify")}, before: start, want: "activating/start success",
			then: func(r *rig) { r.pass(time.Hour) }, end: "active/running success"},
		{name: "auto-restart, the clock set back", set: []func(*definition){restart("always"), with(func(d *serviceDef) { d.restartSec = 10 * time.Second })},
			before: func(r *rig) {
				start(r)
				r.exits("web.service", 1)
				r.now = r.now.Add(-time.Hour)
			}, want: "activating/auto-restart exit-code", then: func(r *rig) { r.pass(10 * time.Second) },
			did: []string{"main web.service: /bin/web"}, end: "active/running success"},
		{name: "notify, gone", set: []func(*definition){typ("notify")}, before: start, gone: true, want: "failed/failed exit-unknown",
			did: []string{"signal web.service all: TERM"}, end: "failed/failed exit-unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newService("web.service", tt.set...))
			tt.before(r)
			before, _ := r.c.state("web.service")
			if tt.gone {
				r.gone("web.service")
			}
			r.killSupervisor()
			r.is("web.service", tt.want)
			if tt.then != nil {
				tt.then(r)
			}
			r.is("web.service", tt.end)
			r.did(tt.did...)
			after, _ := r.c.state("web.service")
			if after.Active == "active" && len(tt.did) == 0 && after.MainPID != before.MainPID {
				t.Errorf("the main process is %d, and was %d", after.MainPID, before.MainPID)
			}
		})
	}
}

// A supervisor that is killed in the middle of adopting leaves to the next one what it was yet
// to start.
func TestAdoptTwice(t *testing.T) {
	r := newRig(t, newService("web.service"))
	r.restartCore()
	r.loadAgain()
	r.feed(evAdopted{record: record{Unit: "web.service", Active: "inactive", Sub: "dead", Job: "start"}})
	r.killSupervisor()
	r.is("web.service", "active/running success")
}

func TestAdoptKeepsCounters(t *testing.T) {
	r := newRig(t, newService("web.service", restart("always"), func(d *definition) { d.limit.burst = 6 }))
	r.do(engine.Start, "web.service")
	for range 3 {
		r.exits("web.service", 1)
		r.pass(100 * time.Millisecond)
	}
	before, _ := r.c.state("web.service")
	r.killSupervisor()
	after, _ := r.c.state("web.service")
	if after.Restarts != 3 || !after.Started.Equal(before.Started) || !after.Since.Equal(before.Since) || after.Stale {
		t.Errorf("it is %+v, and was %+v", after, before)
	}
	for range 2 {
		r.exits("web.service", 1)
		r.pass(100 * time.Millisecond)
	}
	r.is("web.service", "active/running")
	r.exits("web.service", 1)
	r.pass(time.Second)
	r.is("web.service", "failed/failed exit-code") // the sixth start was the last
}

func TestAdoptOthers(t *testing.T) {
	r := newRig(t,
		newTarget("shop.target", wants("web.service")), newService("web.service"), newService("job.service", typ("oneshot")),
		newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, "*-*-* 15:00:00") }),
		newTimer("once.timer", func(d *timerDef) { d.onActive, d.unit = []time.Duration{time.Hour}, "job.service" }),
		newSocketUnit("api.socket"), newService("api.service"), newSocketUnit("idle.socket"), newService("idle.service"))
	for _, unit := range []string{"shop.target", "job.timer", "once.timer", "api.socket", "idle.socket"} {
		r.do(engine.Start, unit)
	}
	r.feed(evIncoming{"api.socket"})
	r.pass(time.Minute)
	r.killSupervisor()
	r.did("open api.socket", "open idle.socket")
	r.is("shop.target", "active/active")
	r.is("web.service", "active/running")
	r.is("job.timer", "active/waiting")
	r.next("job.timer", "03-02 15:00:00")
	r.next("once.timer", "03-02 13:00:00")
	r.is("api.socket", "active/running")
	r.is("idle.socket", "active/listening")
	r.pass(59 * time.Minute)
	r.is("job.service", "activating/start")
	r.killSupervisor()
	r.is("once.timer", "active/running")
	r.exits("job.service", 0)
	r.is("once.timer", "active/elapsed")
}

// A task ends with its supervisor. That is no failure of its own.
func TestAdoptTask(t *testing.T) {
	r := newRig(t, newService("watch.service", restart("always")))
	r.follow([]record{{Unit: "watch.service", Active: "active", Sub: "running", Restarts: 2, Task: true, Result: "success", Digest: "1"}})
	r.did("main watch.service: /bin/watch")
	r.is("watch.service", "active/running")
	if s, _ := r.c.state("watch.service"); s.Restarts != 2 {
		t.Errorf("the counter is %d", s.Restarts)
	}
}

// What was asked to start and waited is started; with what it needs, which may have been
// adopted after it.
func TestAdoptWaiting(t *testing.T) {
	r := newRig(t, newService("a-web.service", requires("db.service"), after("db.service")), newService("db.service", typ("notify")))
	r.do(engine.Start, "a-web.service")
	if saved, ok := r.c.record("a-web.service"); !ok || saved.Job != "start" {
		t.Fatalf("saved is %+v", saved)
	}
	r.killSupervisor()
	r.did()
	r.says("db.service", "READY=1")
	r.did("main a-web.service: /bin/a-web")
	r.is("a-web.service", "active/running")
}

func TestAdoptWithoutFiles(t *testing.T) {
	r := newRig(t, newService("web.service", restart("always")), newTarget("shop.target"))
	r.do(engine.Start, "web.service")
	r.do(engine.Start, "shop.target")
	r.defs = nil
	r.killSupervisor()
	r.is("web.service", "active/running")
	r.is("shop.target", "none")
	r.ended(r.do(engine.Stop, "web.service"), "done")
	if len(r.procs) != 0 {
		t.Error("it runs on")
	}
}

// What was to be started anew and cannot be any more is given up.
func TestAdoptWhatIsRefused(t *testing.T) {
	r := newRig(t, newService("watch.service", requires("gone.service")))
	r.follow([]record{{Unit: "watch.service", Active: "active", Sub: "running", Task: true, Result: "success"}})
	r.did()
	r.is("watch.service", "failed/failed resources")
}

func TestAdoptPersistentTimer(t *testing.T) {
	timer := newTimer("job.timer", func(d *timerDef) { d.calendar, d.persistent = calendars(t, "*-*-* 03:00:00"), true })
	r := newRig(t, timer, newService("job.service", typ("oneshot")))
	r.follow([]record{{Unit: "job.timer", Last: noon.Add(-48 * time.Hour)}})
	r.do(engine.Start, "job.timer")
	r.pass(0)
	if got := r.begun(); !slices.Equal(got, []string{"job"}) {
		t.Errorf("a time that was missed starts %v", got)
	}
}
