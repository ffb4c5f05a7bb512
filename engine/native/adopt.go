package native

import (
	"slices"
	"strings"
	"syscall"
	"time"
)

// A supervisor that follows one which was killed is given each unit as that one left it.
// No job runs before all of them are known, or a unit would be started that runs: jobs wait
// for a timer that is set for now and ends when the last unit has been given.

// adopted is what is to be looked at when all units are known.
type adopted struct {
	units []*unit
	token token // 0: they are
}

// adopt puts a unit into the state that it was left in, and goes on from there.
func (c *core) adopt(ev evAdopted) {
	if c.adopted.token == 0 {
		c.last++
		c.adopted.token = c.last
		c.emit(effArm{token: c.last, at: c.now})
	}
	r := &ev.record
	u := c.find(r.Unit)
	at := stateNamed(r.Sub)
	u.starts.at, u.digest = r.Starts, r.Digest
	switch {
	case at.active().isDown():
		u.down = r.Since
	default:
		u.up = r.Since
	}
	switch {
	case u.service != nil:
		c.adoptService(u, at, ev)
	case u.def == nil || u.def.load != "loaded":
		// What has no processes needs its files.
	case u.timer != nil:
		u.timer.last = r.Last
		c.adoptTimer(u, at, r)
	case u.socket != nil:
		u.socket.result = r.Result
		if at.active().isUp() {
			c.startSocket(u)
		} else {
			c.place(u, at, r)
		}
	case u.kind == kindTarget || u.kind == kindSlice:
		if at.active().isUp() {
			u.ran = u.def
		}
		if !u.builtin() {
			c.place(u, at, r)
		}
	}
	c.inform(u)
}

// place puts a unit into a state as if it had always been there.
func (c *core) place(u *unit, at substate, r *record) {
	u.state, u.since = at, r.Since
	c.touch(u)
}

// resume goes on where a unit needs others that were not known before.
func (c *core) resume() {
	list := c.adopted.units
	c.adopted = adopted{}
	for _, u := range list {
		switch {
		case u.timer != nil:
			c.timerInformed(u)
		case u.job == nil:
			if _, err := c.transact(jobRequest{unit: u, typ: jobStart}); err != nil {
				c.log(u, "Failed to queue startup job: "+err.Error())
				c.enterDead(u, resultResources, false)
			}
		}
	}
}

func (c *core) adoptTimer(u *unit, at substate, r *record) {
	c.place(u, at, r)
	if !at.active().isUp() {
		return
	}
	u.ran = u.def
	if at == stateRunning {
		c.adopted.units = append(c.adopted.units, u)
	} else {
		c.enterWaiting(u, false)
	}
}

func (c *core) adoptService(u *unit, at substate, ev evAdopted) {
	r, s := &ev.record, u.service
	c.place(u, at, r)
	*s = service{
		result: r.Result, reloadResult: resultSuccess, invocation: r.Invocation, restarts: r.Restarts, started: r.Started,
		exit: exitStatus{code: r.Exit.Code, signal: r.Exit.Signal, at: r.Exit.At},
	}
	if s.result == "" {
		s.result = resultSuccess
	}
	d := u.def
	if d == nil || d.service == nil {
		d = lost(u.name)
	}
	if at.active().isDown() {
		if r.Job == jobStart.String() || r.Job == jobRestart.String() {
			c.startAnew(u)
		}
		return
	}
	u.ran = d
	s.access, s.pinged = notifyAccess(d.service), d.service.watchdog
	var command *command
	if n := len(d.service.start); n > 0 {
		command = &d.service.start[n-1]
		s.nextStart = n
	}
	if ev.main != 0 {
		s.main = process{token: ev.main, made: true, proc: r.Main, command: command}
		c.tokens[ev.main] = u
	}
	if ev.control != 0 {
		s.control = process{token: ev.control, made: true, proc: r.Control}
		c.tokens[ev.control] = u
	}
	switch at.active() {
	case activating:
		c.adoptStarting(u, at, r)
	case deactivating:
		c.adoptStopping(u, at, r)
	default:
		c.adoptRunning(u, at, r)
	}
}

// adoptStarting goes on with a start whose main process is there, and begins it anew
// otherwise: nobody knows which of its commands have been executed.
func (c *core) adoptStarting(u *unit, at substate, r *record) {
	s, d := u.service, u.ran.service
	switch {
	case at == stateAutoRestart:
		// The clock may have been set back since.
		delay := restartDelay(d, s.restarts)
		s.timerAt = later(c.now, earlier(r.Since.Add(delay), c.now.Add(delay)))
		s.timer = c.arm(u, s.timerAt, false)
	case s.main.runs() && at == stateStart && (d.typ == "notify" || d.typ == "oneshot" && len(d.start) == 1):
		s.unheard = d.typ == "notify"
		c.limitTime(u, d.timeoutStart)
	case s.main.runs() && d.typ != "oneshot" && (at == stateStart || at == stateStartPost):
		c.killControl(u)
		c.enterStartPost(u)
	case at == stateStart && !s.main.runs() && r.Main.PID != 0 && !r.Task && d.typ != "simple" && d.typ != "exec":
		c.mainExited(u, exitStatus{unknown: true, at: c.now})
	default:
		c.begun(u, jobRestart)
		s.afresh = true
		c.stopService(u)
	}
}

// adoptRunning goes on with what was up.
func (c *core) adoptRunning(u *unit, at substate, r *record) {
	s, d := u.service, u.ran.service
	switch {
	case at == stateExited:
	case s.main.runs():
		c.killControl(u)
		u.state = stateRunning
		s.ready = later(r.Started, r.Since)
		if d.runtimeMax > 0 {
			s.timerAt = s.ready.Add(d.runtimeMax)
			s.timer = c.arm(u, s.timerAt, false)
		}
		c.feedWatchdog(u)
	case r.Task:
		c.startAnew(u) // it ended with the supervisor, which is none of its faults
	default:
		c.killControl(u)
		u.state = stateRunning
		c.mainExited(u, exitStatus{unknown: true, at: c.now})
	}
}

// adoptStopping goes on with a stop, or with the first half of a restart.
func (c *core) adoptStopping(u *unit, at substate, r *record) {
	s := u.service
	switch r.Job {
	case jobStop.String():
		c.begun(u, jobStop)
		s.stopped = true
	case jobRestart.String():
		c.begun(u, jobRestart)
		s.stopped = true
	}
	switch {
	case s.control.runs() && (at == stateStop || at == stateStopPost):
		// Of the commands after it nobody knows whether there are any left.
		c.limitTime(u, u.ran.service.timeoutStop)
	case at == stateStop:
		c.kill(u, stateStopSigterm, resultSuccess)
	case at == stateStopPost && r.Control.PID == 0:
		c.enterStopPost(u, resultSuccess)
	case at == stateStopPost:
		c.kill(u, stateFinalSigterm, resultSuccess)
	default:
		c.kill(u, at, resultSuccess)
	}
}

// begun gives a unit a job that an earlier supervisor had begun.
func (c *core) begun(u *unit, typ jobType) {
	u.job = &job{unit: u, typ: typ, begun: true}
}

// startAnew starts a service again as if it had never been down: with its counter.
func (c *core) startAnew(u *unit) {
	u.service.afresh = true
	u.state, u.ran = stateDead, nil
	c.adopted.units = append(c.adopted.units, u)
}

// killControl ends a process of ExecReload= or ExecStartPost= that nobody waits for any more.
func (c *core) killControl(u *unit) {
	if s := u.service; s.control.runs() {
		c.emit(effSignal{unit: u.name, token: s.control.token, signal: int(syscall.SIGKILL)})
		s.forgetControl(c)
	}
}

// lost is what a service runs by whose files are gone: enough to stop it.
func lost(name string) *definition {
	const patience = 90 * time.Second // DefaultTimeoutStopSec=
	return &definition{
		name: name, kind: kindService, description: name, load: "not-found",
		service: &serviceDef{
			typ: "simple", restart: "no", timeoutStart: patience, timeoutStop: patience, notifyAccess: "none",
			killMode: "control-group", killSignal: int(syscall.SIGTERM), restartKillSignal: int(syscall.SIGTERM),
			finalSignal: int(syscall.SIGKILL), sendSIGKILL: true, memoryMax: -1,
		},
	}
}

// sorted returns all units in memory, by name.
func (c *core) sorted() []*unit {
	list := make([]*unit, 0, len(c.units))
	for name, u := range c.units {
		if name == u.name {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b *unit) int { return strings.Compare(a.name, b.name) })
	return list
}
