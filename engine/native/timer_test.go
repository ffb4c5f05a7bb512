package native

import (
	"testing"
	"time"

	"gm/engine"
	"gm/units"
)

func newTimer(name string, set func(*timerDef)) *definition {
	d := &definition{name: name, kind: kindTimer, description: name, load: "loaded", digest: "1", fragment: "/units/" + name}
	d.timer = &timerDef{accuracy: time.Minute, remain: true}
	set(d.timer)
	return d
}

func calendars(t *testing.T, lines ...string) (list []units.Calendar) {
	for _, line := range lines {
		c, err := units.ParseCalendar(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// next checks when a timer elapses next, as a time of day or with the date.
func (r *rig) next(unit, want string) {
	r.t.Helper()
	s, _ := r.c.state(unit)
	got := s.Next.In(r.now.Location()).Format("01-02 15:04:05")
	if s.Next.IsZero() {
		got = "never"
	}
	if got != want {
		r.t.Errorf("%s elapses next %s, want %s", unit, got, want)
	}
}

func TestCalendarTimer(t *testing.T) {
	r := newRig(t,
		newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, "*-*-* *:00/15:00", "*-*-* 13:07:00") }),
		newService("job.service", typ("oneshot")))
	r.ended(r.do(engine.Start, "job.timer"), "done")
	r.is("job.timer", "active/waiting")
	r.next("job.timer", "03-02 12:15:00")
	r.pass(15 * time.Minute)
	r.is("job.timer", "active/running")
	r.next("job.timer", "never")
	r.is("job.service", "activating/start")
	r.pass(20 * time.Minute) // it takes long: one time is missed
	r.exits("job.service", 0)
	// As systemd has it: the first time after it elapsed, which has passed, is now.
	r.next("job.timer", "03-02 12:30:00")
	r.pass(0)
	r.is("job.service", "activating/start")
	r.exits("job.service", 1)
	r.next("job.timer", "03-02 12:45:00")
	r.pass(10 * time.Minute)
	r.exits("job.service", 0)
	r.pass(15 * time.Minute)
	r.exits("job.service", 0)
	r.next("job.timer", "03-02 13:07:00")
	r.ended(r.do(engine.Stop, "job.timer"), "done")
	r.next("job.timer", "never")
	if len(r.timers) != 0 {
		t.Errorf("%d timers are left", len(r.timers))
	}
}

// A time that a clock change skips does not come, one that comes twice comes once.
func TestTimerAcrossClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for _, tt := range []struct {
		name, line string
		from       time.Time
		want       []string
	}{
		{"spring", "*-*-* 02:30:00", time.Date(2026, 3, 28, 3, 0, 0, 0, berlin), []string{"03-30 02:30:00", "03-31 02:30:00"}},
		{"autumn", "*-*-* 02:30:00", time.Date(2026, 10, 24, 3, 0, 0, 0, berlin), []string{"10-25 02:30:00", "10-26 02:30:00"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, tt.line) }),
				newService("job.service", typ("oneshot"), unlimited))
			r.now = tt.from
			r.do(engine.Start, "job.timer")
			for _, want := range tt.want {
				r.next("job.timer", want)
				s, _ := r.c.state("job.timer")
				r.pass(s.Next.Sub(r.now))
				r.exits("job.service", 0)
			}
		})
	}
}

// set sets the clock on the wall. Timers that go by it and are due then end at once.
func (r *rig) set(now time.Time) {
	d := now.Sub(r.now)
	for k, a := range r.timers {
		if !a.wall {
			a.at = a.at.Add(d) // the other clock does not jump
			r.timers[k] = a
		}
	}
	r.now = now
	r.feed(evClockSet{})
	r.pass(0)
}

func TestTimerWhenTheClockIsSet(t *testing.T) {
	start := func(t *testing.T) *rig {
		r := newRig(t, newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, "*-*-* 15:00:00") }),
			newService("job.service", typ("oneshot")))
		r.do(engine.Start, "job.timer")
		return r
	}
	t.Run("over a time", func(t *testing.T) {
		r := start(t)
		r.set(noon.Add(5 * time.Hour))
		r.is("job.service", "activating/start")
		r.exits("job.service", 0)
		r.next("job.timer", "03-03 15:00:00")
	})
	t.Run("forward", func(t *testing.T) {
		r := start(t)
		r.set(noon.Add(2 * time.Hour))
		r.next("job.timer", "03-02 15:00:00")
		r.is("job.service", "inactive/dead")
	})
	t.Run("back", func(t *testing.T) {
		r := start(t)
		r.pass(4 * time.Hour)
		r.exits("job.service", 0)
		r.next("job.timer", "03-03 15:00:00")
		r.set(noon.Add(-time.Hour))
		r.next("job.timer", "03-02 15:00:00")
	})
}

func TestSpanTimers(t *testing.T) {
	const hour = time.Hour
	for _, tt := range []struct {
		name string
		set  func(*timerDef)
		want []time.Duration // since the start of the timer, when the job is started
	}{
		{"once", func(d *timerDef) { d.onActive = []time.Duration{hour} }, []time.Duration{hour}},
		{"twice", func(d *timerDef) { d.onActive = []time.Duration{hour, 3 * hour} }, []time.Duration{hour, 3 * hour}},
		{"at boot", func(d *timerDef) { d.onBoot = []time.Duration{0} }, []time.Duration{0}},
		{"after its start", func(d *timerDef) { d.onActive, d.onUnit = []time.Duration{hour}, []time.Duration{2 * hour} },
			[]time.Duration{hour, 3 * hour, 5 * hour}},
		{"after its end", func(d *timerDef) { d.onActive, d.onInact = []time.Duration{hour}, []time.Duration{2 * hour} },
			[]time.Duration{hour, 3*hour + time.Minute, 5*hour + 2*time.Minute}},
		{"delayed", func(d *timerDef) { d.onActive, d.randomDelay = []time.Duration{hour}, 10*time.Minute },
			[]time.Duration{hour + 5*time.Minute}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, newTimer("job.timer", tt.set), newService("job.service", typ("oneshot"), unlimited))
			r.do(engine.Start, "job.timer")
			for _, want := range tt.want {
				r.pass(noon.Add(want).Sub(r.now))
				if r.begun() == nil {
					t.Fatalf("nothing is started at %s", want)
				}
				r.pass(time.Minute)
				r.exits("job.service", 0)
			}
			if tt.name == "once" || tt.name == "twice" {
				r.is("job.timer", "active/elapsed")
				r.pass(100 * hour)
				if got := r.begun(); got != nil {
					t.Errorf("it elapses again: %v", got)
				}
			}
		})
	}
}

func TestTimerOfWhatRuns(t *testing.T) {
	r := newRig(t, newTimer("web.timer", func(d *timerDef) { d.onActive = []time.Duration{time.Hour} }), newService("web.service", typ("notify"), with(func(d *serviceDef) { d.timeoutStart = 0 })))
	r.do(engine.Start, "web.timer")
	call := r.do(engine.Start, "web.service")
	r.pass(time.Hour) // its start becomes one with the one under way
	r.is("web.timer", "active/running")
	r.says("web.service", "READY=1")
	r.ended(call, "done")
	r.is("web.timer", "active/running")
	r.do(engine.Stop, "web.service")
	r.is("web.timer", "active/elapsed")
}

func TestTimerWithoutUnit(t *testing.T) {
	r := newRig(t, newTimer("job.timer", func(d *timerDef) { d.onActive = []time.Duration{time.Hour} }))
	r.ended(r.do(engine.Start, "job.timer"), "failed")
}

// A restart companion: its timer belongs to the app and is restarted with it.
func TestRestartTimer(t *testing.T) {
	r := newRig(t,
		newService("web.service", wants("web-restart.timer"), restart("always")),
		func() *definition {
			d := newTimer("web-restart.timer", func(d *timerDef) {
				d.calendar, d.unit = calendars(t, "*-*-* *:*:00/10"), "web-restart.service"
			})
			d.partOf = []string{"web.service"}
			return d
		}(),
		newService("web-restart.service", typ("oneshot"), unlimited, after("web.service"), with(func(d *serviceDef) {
			d.pre = cmds("-/bin/systemctl reset-failed web.service")
			d.start = cmds("/bin/systemctl --job-mode=fail restart web.service")
		})))
	r.do(engine.Start, "web.service")
	r.is("web-restart.timer", "active/waiting")
	for i := range 20 { // more often than the start limit
		r.take()
		r.pass(10 * time.Second)
		if got := r.begun(); len(got) != 1 {
			t.Fatalf("round %d: started were %v", i, got)
		}
		r.is("web.service", "active/running")
		r.is("web-restart.timer", "active/waiting")
		r.is("web-restart.service", "inactive/dead")
	}
	r.do(engine.Stop, "web.service")
	r.is("web-restart.timer", "inactive/dead")
}

func TestTimerNotStarted(t *testing.T) {
	timer := newTimer("job.timer", func(d *timerDef) { d.onActive = []time.Duration{time.Hour} })
	timer.conditions = []condition{{key: "PathExists", value: "/a"}}
	timer.limit.interval, timer.limit.burst = time.Minute, 2
	r := newRig(t, timer, newService("job.service", typ("oneshot")))
	r.unmet["/a"] = true
	r.ended(r.do(engine.Start, "job.timer"), "done")
	r.is("job.timer", "inactive/dead")
	clear(r.unmet)
	r.ended(r.do(engine.Start, "job.timer"), "done")
	r.ended(r.do(engine.Restart, "job.timer"), "failed")
	r.is("job.timer", "failed/failed")
	r.feed(evReset{1001, "job.timer"})
	r.is("job.timer", "inactive/dead")
	if len(r.timers) != 0 {
		t.Errorf("%d timers are left", len(r.timers))
	}
}

func TestTimerReloaded(t *testing.T) {
	service := newService("job.service", typ("oneshot"))
	r := newRig(t, newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, "*-*-* 15:00:00") }), service)
	r.do(engine.Start, "job.timer")
	fresh := newTimer("job.timer", func(d *timerDef) { d.calendar = calendars(t, "*-*-* 14:00:00") })
	fresh.digest = "2"
	r.load(fresh, service)
	r.next("job.timer", "03-02 14:00:00")
	if s, _ := r.c.state("job.timer"); s.Stale {
		t.Error("a timer that goes by its new times is stale")
	}
	r.load(service)
	r.next("job.timer", "03-02 14:00:00")
	r.ended(r.do(engine.Stop, "job.timer"), "done")
}
