package native

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gm/engine"
)

// begun returns the units whose main process was made, in order.
func (r *rig) begun() (units []string) {
	for _, line := range r.take() {
		if rest, ok := strings.CutPrefix(line, "main "); ok {
			unit, _, _ := strings.Cut(rest, ":")
			units = append(units, strings.TrimSuffix(unit, ".service"))
		}
	}
	return units
}

// signaled returns the units that were told to end.
func (r *rig) signaled() (units []string) {
	for _, line := range r.take() {
		if rest, ok := strings.CutPrefix(line, "signal "); ok {
			unit := strings.TrimSuffix(strings.Fields(rest)[0], ".service")
			if !slices.Contains(units, unit) {
				units = append(units, unit)
			}
		}
	}
	return units
}

func (r *rig) order(got []string, want string) {
	r.t.Helper()
	if strings.Join(got, " ") != want {
		r.t.Errorf("the order is %v, want %s", got, want)
	}
}

func TestOrder(t *testing.T) {
	// shop.target wants three services, of which each waits for the one before it.
	defs := []*definition{
		newTarget("shop.target", wants("web.service", "api.service", "db.service")),
		newService("web.service", partOf("shop.target"), after("api.service", "network.target"), typ("notify")),
		newService("api.service", partOf("shop.target"), after("db.service"), typ("notify")),
		newService("db.service", partOf("shop.target"), typ("notify")),
	}
	r := newRig(t, defs...)
	up := r.do(engine.Start, "shop.target")
	r.order(r.begun(), "db")
	r.says("db.service", "READY=1")
	r.order(r.begun(), "api")
	r.says("api.service", "READY=1")
	r.order(r.begun(), "web")
	r.ended(up, "") // a target comes after what it wants
	r.is("shop.target", "inactive/dead")
	r.says("web.service", "READY=1")
	r.ended(up, "done")
	r.is("shop.target", "active/active")

	for _, unit := range []string{"db", "api", "web"} {
		r.deaf["/bin/"+unit] = true
	}
	r.take()
	down := r.do(engine.Stop, "shop.target")
	r.order(r.signaled(), "web")
	r.exits("web.service", 0)
	r.order(r.signaled(), "web api")
	r.exits("api.service", 0)
	r.order(r.signaled(), "api db")
	r.exits("db.service", 0)
	r.ended(down, "done")
	r.is("shop.target", "inactive/dead")
}

func TestRestartOfTarget(t *testing.T) {
	r := newRig(t,
		newTarget("shop.target", wants("web.service", "db.service")),
		newService("web.service", partOf("shop.target"), after("db.service")),
		newService("db.service", partOf("shop.target")),
		newService("odd.service", partOf("shop.target")),
		newService("idle.service", partOf("shop.target")))
	r.do(engine.Start, "shop.target")
	r.do(engine.Start, "odd.service")
	r.do(engine.Stop, "db.service")
	r.take()
	// What the target wants is started, what is part of it restarted if it runs.
	r.ended(r.do(engine.Restart, "shop.target"), "done")
	r.is("db.service", "active/running")
	r.is("web.service", "active/running")
	r.is("odd.service", "active/running")
	r.is("idle.service", "inactive/dead")
	got := r.begun()
	if slices.Index(got, "web") < slices.Index(got, "db") || !slices.Contains(got, "odd") || len(got) != 3 {
		t.Errorf("started were %v", got)
	}
}

func TestJobDependencies(t *testing.T) {
	binds := func(name string) func(*definition) { return func(d *definition) { d.bindsTo = []string{name} } }
	requisite := func(name string) func(*definition) {
		return func(d *definition) { d.requisite = []string{name} }
	}
	conflicts := func(name string) func(*definition) {
		return func(d *definition) { d.conflicts = []string{name} }
	}
	t.Run("Requires pulls in", func(t *testing.T) {
		r := newRig(t, newService("web.service", requires("db.service")), newService("db.service"))
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.is("db.service", "active/running")
	})
	t.Run("Requires fails", func(t *testing.T) {
		r := newRig(t, newService("web.service", requires("db.service"), after("db.service")), newService("db.service", typ("notify")))
		call := r.do(engine.Start, "web.service")
		r.exits("db.service", 1)
		r.ended(call, "dependency")
		r.is("web.service", "inactive/dead")
		if !r.logged("Dependency failed for web.service.") {
			t.Error("it is not logged")
		}
	})
	t.Run("Requires is gone", func(t *testing.T) {
		r := newRig(t, newService("web.service", requires("db.service")))
		r.ended(r.do(engine.Start, "web.service"), "(there is no unit db.service)")
		r.is("web.service", "inactive/dead")
	})
	t.Run("Requires is stopped", func(t *testing.T) {
		r := newRig(t, newService("web.service", requires("db.service"), after("db.service")), newService("db.service"))
		r.do(engine.Start, "web.service")
		r.take()
		r.ended(r.do(engine.Stop, "db.service"), "done")
		r.order(r.signaled(), "web db")
		r.is("web.service", "inactive/dead")
	})
	t.Run("Requires crashes", func(t *testing.T) {
		// It is no reason to stop, but its restart is one to restart.
		r := newRig(t, newService("web.service", requires("db.service"), after("db.service")), newService("db.service", restart("always")))
		r.do(engine.Start, "web.service")
		r.exits("db.service", 1)
		r.is("web.service", "active/running")
		r.take()
		r.pass(100 * time.Millisecond)
		r.order(r.begun(), "db web")
		r.is("web.service", "active/running")
		if s, _ := r.c.state("db.service"); s.Restarts != 1 {
			t.Errorf("db was restarted %d times", s.Restarts)
		}
	})
	t.Run("Wants fails", func(t *testing.T) {
		r := newRig(t, newService("web.service", wants("db.service", "gone.service"), after("db.service")), newService("db.service", typ("notify")))
		call := r.do(engine.Start, "web.service")
		r.exits("db.service", 1)
		r.ended(call, "done")
		r.is("web.service", "active/running")
	})
	t.Run("Wants that requires what is gone", func(t *testing.T) {
		r := newRig(t, newService("web.service", wants("db.service")), newService("db.service", requires("gone.service")))
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.is("db.service", "inactive/dead")
	})
	t.Run("bad unit", func(t *testing.T) {
		r := newRig(t, newService("web.service", func(d *definition) { d.load, d.why = "bad-setting", "Type=forking is not possible" }))
		r.ended(r.do(engine.Start, "web.service"), "(web.service cannot be loaded (bad-setting): Type=forking is not possible)")
	})
	t.Run("BindsTo", func(t *testing.T) {
		r := newRig(t, newService("web.service", binds("db.service"), after("db.service")), newService("db.service"))
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.exits("db.service", 1)
		r.is("web.service", "inactive/dead")
	})
	t.Run("BindsTo a oneshot", func(t *testing.T) {
		r := newRig(t, newService("web.service", binds("db.service"), after("db.service")), newService("db.service", typ("oneshot")))
		call := r.do(engine.Start, "web.service")
		r.exits("db.service", 0)
		r.ended(call, "dependency")
	})
	t.Run("Requisite", func(t *testing.T) {
		r := newRig(t, newService("web.service", requisite("db.service"), after("db.service")), newService("db.service"))
		r.ended(r.do(engine.Start, "web.service"), "dependency")
		r.is("db.service", "inactive/dead")
		r.do(engine.Start, "db.service")
		r.ended(r.do(engine.Start, "web.service"), "done")
	})
	t.Run("Conflicts", func(t *testing.T) {
		r := newRig(t, newService("web.service", conflicts("old.service")), newService("old.service"))
		r.do(engine.Start, "old.service")
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.is("old.service", "inactive/dead")
		r.ended(r.do(engine.Start, "old.service"), "done")
		r.is("web.service", "inactive/dead")
	})
	t.Run("Requires and Conflicts", func(t *testing.T) {
		r := newRig(t, newService("web.service", conflicts("db.service"), requires("db.service")), newService("db.service"))
		r.ended(r.do(engine.Start, "web.service"), "(db.service would have to be started and stopped: what is required contradicts itself)")
	})
	t.Run("PartOf", func(t *testing.T) {
		r := newRig(t, newService("web.service", wants("watch.service")), newService("watch.service", partOf("web.service")))
		r.do(engine.Start, "web.service")
		r.is("watch.service", "active/running")
		r.take()
		r.do(engine.Restart, "web.service")
		if got := r.begun(); len(got) != 2 {
			t.Errorf("restarted were %v", got)
		}
		r.do(engine.Stop, "web.service")
		r.is("watch.service", "inactive/dead")
	})
	t.Run("alone", func(t *testing.T) {
		r := newRig(t, newService("web.service", requires("db.service"), after("db.service")), newService("db.service"),
			newService("part.service", partOf("web.service")))
		r.ended(r.job(engine.Job{Op: engine.Start, Unit: "web.service", Alone: true}), "done")
		r.is("db.service", "inactive/dead")
		r.do(engine.Start, "part.service")
		r.job(engine.Job{Op: engine.Stop, Unit: "web.service", Alone: true})
		r.is("part.service", "active/running")
	})
}

func TestJobsMeet(t *testing.T) {
	r := newRig(t, newService("web.service", typ("notify")))
	first := r.do(engine.Start, "web.service")
	second := r.do(engine.Start, "web.service")
	r.says("web.service", "READY=1")
	r.ended(first, "done")
	r.ended(second, "done")
	r.ended(r.do(engine.Start, "web.service"), "done") // it is up
	if got := r.begun(); len(got) != 1 {
		t.Errorf("started were %v", got)
	}
	r.deaf["/bin/web"] = true
	stop := r.do(engine.Stop, "web.service")
	yields := r.job(engine.Job{Op: engine.Restart, Unit: "web.service", Yield: true})
	r.ended(yields, "canceled (it contradicts a job that is under way: stop of web.service)")
	r.ended(stop, "")
	r.exits("web.service", 0)
	r.ended(stop, "done")
	r.ended(r.do(engine.Stop, "web.service"), "done")
	r.ended(r.do(engine.Stop, "nobody.service"), "done")
	r.ended(r.do(engine.Start, "nobody.service"), "(there is no unit nobody.service)")
	r.ended(r.do(engine.Start, "web@.service"), "(web@.service is a template: name one of its instances)")
	// A restart overtakes a start that is under way.
	start := r.do(engine.Start, "web.service")
	again := r.do(engine.Restart, "web.service")
	r.exits("web.service", 0)
	r.ended(start, "")
	r.says("web.service", "READY=1")
	r.ended(start, "done")
	r.ended(again, "done")
}

func TestCircles(t *testing.T) {
	t.Run("wanted", func(t *testing.T) {
		r := newRig(t,
			newTarget("shop.target", wants("a.service", "b.service", "c.service")),
			newService("a.service", after("b.service")), newService("b.service", after("c.service")), newService("c.service", after("a.service")))
		r.ended(r.do(engine.Start, "shop.target"), "done")
		if got := r.begun(); len(got) != 2 {
			t.Errorf("started were %v, want two of three", got)
		}
		if !r.logged("Found ordering cycle") {
			t.Error("the circle is not logged")
		}
	})
	t.Run("required", func(t *testing.T) {
		r := newRig(t, newService("a.service", after("b.service"), requires("b.service")), newService("b.service", after("a.service")))
		r.ended(r.do(engine.Start, "a.service"), "(the order of these units is a circle: a.service after b.service after a.service)")
		r.ended(r.do(engine.Start, "b.service"), "done")
	})
	t.Run("closed by a reload", func(t *testing.T) {
		a, b, c := newService("a.service", after("c.service")), newService("b.service", after("c.service")), newService("c.service", typ("notify"))
		r := newRig(t, a, b, c)
		r.do(engine.Start, "c.service")
		first, second := r.do(engine.Start, "a.service"), r.do(engine.Start, "b.service")
		r.load(newService("a.service", after("b.service")), newService("b.service", after("a.service")), c)
		r.says("c.service", "READY=1")
		r.ended(first, "done")
		r.ended(second, "done")
	})
	t.Run("of itself", func(t *testing.T) {
		r := newRig(t, newService("a.service", after("a.service"), requires("a.service")))
		r.ended(r.do(engine.Start, "a.service"), "done")
	})
}

func TestPull(t *testing.T) {
	r := newRig(t,
		newTarget("shop.target", wants("quick.service", "slow.service", "broken.service", "job.service")),
		newService("quick.service"), newService("slow.service", typ("notify")), newService("broken.service", typ("notify")),
		newService("job.service", typ("oneshot")), newService("other.service"), newService("up.service"))
	r.link("shop.target", "up.service")
	r.do(engine.Start, "up.service")
	r.feed(evPull{50, "shop.target"})
	r.ended(50, "done")
	join := func(call callID, unit string) { r.feed(evJoin{call, 50, unit}) }
	r.exits("broken.service", 1)
	r.exits("job.service", 0)
	r.do(engine.Start, "job.service") // which is not the one that was pulled in
	join(51, "quick.service")
	join(52, "slow.service")
	join(53, "broken.service")
	join(54, "job.service")
	join(55, "other.service")
	join(56, "up.service")
	join(57, "gone.service")
	r.ended(51, "done")
	r.ended(52, "")
	r.ended(53, "failed")
	r.ended(54, "done")
	r.ended(55, "done") // it was started
	r.is("other.service", "active/running")
	r.ended(56, "done")
	r.ended(57, "(there is no unit gone.service)")
	r.says("slow.service", "READY=1")
	r.ended(52, "done")
	join(58, "slow.service")
	r.ended(58, "done")

	r.feed(evPull{60, "gone.target"}) // which the joins find out
	r.ended(60, "done")
	r.feed(evJoin{61, 60, "quick.service"})
	r.ended(61, "done")
}

func TestBoot(t *testing.T) {
	r := newRig(t,
		newTarget("gm-shop.target", after("network.target")), newService("web.service", after("gone.service", "network-online.target")),
		newService("off.service"), newService("user.service"))
	r.link("multi-user.target", "gm-shop.target", "gone.service")
	r.link("gm-shop.target", "web.service")
	r.link("default.target", "user.service")
	r.is("web.service", "inactive/dead")
	r.is("multi-user.target", "active/active")
	r.feed(evBoot{})
	r.is("gm-shop.target", "active/active")
	r.is("web.service", "active/running")
	r.is("user.service", "active/running")
	r.is("off.service", "inactive/dead")
}

func TestShutdown(t *testing.T) {
	r := newRig(t,
		newTarget("shop.target", wants("web.service", "db.service")),
		newService("web.service", after("db.service"), restart("always")), newService("db.service", restart("always")),
		newService("late.service", after("slow.service")), newService("slow.service", typ("notify")),
		newService("crashed.service", restart("always")))
	r.deaf["/bin/web"], r.deaf["/bin/db"] = true, true
	r.do(engine.Start, "shop.target")
	r.do(engine.Start, "slow.service")
	waits := r.do(engine.Start, "late.service")
	r.do(engine.Start, "crashed.service")
	r.exits("crashed.service", 1)
	r.take()
	r.feed(evShutdown{99})
	r.ended(waits, "canceled")
	r.ended(99, "")
	r.feed(evShutdown{98})
	r.ended(r.do(engine.Start, "web.service"), "(the supervisor is about to end)")
	if got := r.signaled(); slices.Contains(got, "db") || !slices.Contains(got, "web") {
		t.Errorf("%v were told to end, want web before db", got)
	}
	r.exits("web.service", 0)
	r.exits("db.service", 1)
	r.ended(99, "done")
	r.ended(98, "done")
	if !r.down || len(r.procs) != 0 || len(r.timers) != 0 {
		t.Errorf("down is %v, %d processes and %d timers are left", r.down, len(r.procs), len(r.timers))
	}
}

func TestShutdownOfNothing(t *testing.T) {
	r := newRig(t)
	r.feed(evShutdown{1})
	r.ended(1, "done")
	if !r.down {
		t.Error("it does not tell that everything is down")
	}
}

func TestStartConditions(t *testing.T) {
	r := newRig(t, newService("web.service", restart("always"), func(d *definition) {
		d.conditions = []condition{{key: "PathExists", value: "/a"}, {key: "PathExists", value: "/b", trigger: true}, {key: "PathExists", value: "/c", trigger: true}}
	}))
	for _, tt := range []struct {
		unmet string
		want  string
	}{{"/a", "inactive/dead"}, {"/b /c", "inactive/dead"}, {"/b", "active/running"}, {"", "active/running"}} {
		clear(r.unmet)
		for _, path := range strings.Fields(tt.unmet) {
			r.unmet[path] = true
		}
		r.ended(r.do(engine.Start, "web.service"), "done")
		r.is("web.service", tt.want)
		r.do(engine.Stop, "web.service")
	}
	if !r.logged("web.service was skipped because of an unmet condition check (ConditionPathExists=/a).") {
		t.Errorf("it is not logged: %q", r.logs)
	}
	r.do(engine.Start, "web.service")
	r.unmet["/a"] = true
	r.exits("web.service", 1)
	r.pass(time.Second)
	r.is("web.service", "failed/failed exit-code")
}

func TestLoad(t *testing.T) {
	old := newService("web.service", with(func(d *serviceDef) { d.stop = cmds("/bin/old-stop") }))
	r := newRig(t, old, newService("gone.service"), newService("left.service"), newTarget("shop.target"))
	r.do(engine.Start, "web.service")
	r.do(engine.Start, "gone.service")
	r.do(engine.Start, "left.service")
	r.do(engine.Stop, "left.service")
	r.do(engine.Start, "shop.target")
	r.take()
	fresh := newService("web.service", partOf("shop.target"), with(func(d *serviceDef) { d.stop = cmds("/bin/new-stop") }))
	fresh.digest = "2"
	r.load(fresh, newTarget("shop.target"))
	r.did() // nothing
	if s, _ := r.c.state("web.service"); !s.Stale {
		t.Error("what runs by an older file is not stale")
	}
	if s, ok := r.c.state("gone.service"); !ok || s.Active != "active" || s.Load != "not-found" || !s.Stale {
		t.Errorf("what runs without a file is %+v", s)
	}
	if s, ok := r.c.state("left.service"); ok {
		t.Errorf("what is gone and down is %+v", s)
	}
	if d, _ := r.c.definition("web.service"); d != old {
		t.Error("it does not run by the definition it was started with")
	}
	r.do(engine.Stop, "shop.target") // it is part of that now
	r.did("control web.service: /bin/old-stop")
	r.end("web.service", "/bin/old-stop", exitStatus{})
	r.is("web.service", "inactive/dead")
	r.ended(r.do(engine.Stop, "gone.service"), "done")
	if s, ok := r.c.state("gone.service"); ok {
		t.Errorf("what is gone and stopped is %+v", s)
	}
	r.do(engine.Start, "web.service")
	r.is("web.service", "active/running")
	if s, _ := r.c.state("web.service"); s.Stale {
		t.Error("what was started anew is stale")
	}
}

func TestNotesAreLoggedOnce(t *testing.T) {
	noted := func(d *definition) { d.notes = []string{"ProtectSystem= is ignored"} }
	r := newRig(t, newService("web@.service", noted))
	r.do(engine.Start, "web@0.service")
	r.do(engine.Start, "web@1.service")
	r.do(engine.Restart, "web@0.service")
	n := 0
	for _, line := range r.logs {
		if strings.Contains(line, "ProtectSystem") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestExpand(t *testing.T) {
	r := newRig(t, newService("web@.service"), newService("one.service"), newTarget("web.target"))
	r.link("web.target", "web@0.service", "web@1.service")
	r.do(engine.Start, "web@7.service")
	r.do(engine.Start, "web@8.service")
	r.do(engine.Stop, "web@8.service")
	for name, want := range map[string]string{
		"web@.service": "web@0.service web@1.service web@7.service", "one.service": "one.service", "none.service": "",
		"web@0.service": "web@0.service", "api@.service": "",
	} {
		if got := strings.Join(r.c.expand(name), " "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := strings.Join(r.c.running(), " "); got != "web@7.service" {
		t.Errorf("running are %s", got)
	}
}

func TestSystemctl(t *testing.T) {
	companion := newService("web-restart.service", typ("oneshot"), unlimited, with(func(d *serviceDef) {
		d.pre = cmds("-/bin/systemctl reset-failed web.service api.service")
		d.start = cmds("/bin/systemctl --user --job-mode=fail restart web.service api.service")
	}))
	r := newRig(t, companion, newService("web.service", typ("notify")), newService("api.service"), newService("stopping.service"))
	r.deaf["/bin/web"] = true
	call := r.do(engine.Start, "web-restart.service")
	r.order(r.begun(), "web api")
	r.is("web-restart.service", "activating/start")
	r.says("web.service", "READY=1")
	r.ended(call, "done")
	r.is("web-restart.service", "inactive/dead success")
	r.is("web.service", "active/running")

	stop := r.do(engine.Stop, "web.service")
	call = r.do(engine.Start, "web-restart.service")
	r.ended(call, "failed") // it gives way
	r.is("web-restart.service", "failed/failed exit-code")
	r.exits("web.service", 0)
	r.ended(stop, "done")

	call = r.do(engine.Start, "web-restart.service")
	r.is("web.service", "activating/start")
	stop = r.do(engine.Stop, "web-restart.service")
	r.ended(call, "canceled")
	r.ended(stop, "done")
	r.is("web.service", "activating/start")
}

func TestParseSystemctl(t *testing.T) {
	for line, want := range map[string]string{
		"/bin/systemctl --job-mode=fail restart a.service b.service": "{restart true [a.service b.service]}",
		"systemctl --user reset-failed a.service":                    "{reset-failed false [a.service]}",
		"/bin/systemctl try-restart a.service":                       "{try-restart false [a.service]}",
		"/bin/systemctl restart a@*.service":                         "",
		"/bin/systemctl --no-block restart a.service":                "",
		"/bin/systemctl poweroff now":                                "",
		"/bin/systemctl restart":                                     "",
		"/bin/true restart a.service":                                "",
	} {
		call, ok := parseSystemctl(strings.Fields(line))
		got := ""
		if ok {
			got = fmt.Sprint(call)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", line, got, want)
		}
	}
}

func TestStateWords(t *testing.T) {
	for s := range states {
		if states[s].sub == "" {
			t.Errorf("state %d has no name", s)
		} else if got := stateNamed(states[s].sub); got != substate(s) {
			t.Errorf("%s is the name of state %d, want %d", states[s].sub, got, s)
		}
	}
}
