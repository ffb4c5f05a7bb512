package native

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"gm/engine"
)

// service is a service as it runs, or as it was left.
//
// Its way up is condition, start-pre, start, start-post, running (or exited), and its way
// down stop, stop-sigterm, stop-sigkill, stop-post, final-sigterm, final-sigkill, dead or
// failed; from there Restart= may lead to auto-restart and up again. In each state it
// waits for processes, a message, the end of the unit's last process, or a timer;
// what each of these does in each state is in service_events.go. Here is what is done
// when a state is entered.
type service struct {
	main, control process
	commands      []command // of ExecStartPre=, ExecStop=, …: those of the state
	next          int       // of them
	nextStart     int       // of ExecStart=

	invocation   string
	result       string // the first thing that went wrong
	reloadResult string
	exit         exitStatus // of the main process
	started      time.Time  // of the main process
	ready        time.Time  // when it was first up: of RuntimeMaxSec=
	restarts     int
	stopping     bool          // it has said STOPPING=1
	access       string        // NotifyAccess=
	pinged       time.Duration // WatchdogSec=, or what it has asked for instead

	timer, watchdog token
	timerAt         time.Time

	// empty says that no process of the unit is left.
	empty bool
	// stopped forbids Restart=: somebody wants it down.
	stopped bool
	// scheduled says that a start job is there for auto-restart, returns that it is about to
	// go there.
	scheduled, returns bool
	// afresh has the start after an adoption keep the counter.
	afresh bool
	// unheard says that READY=1 may have been said to nobody: between two supervisors.
	unheard bool
}

// process is a process that the service waits for.
type process struct {
	token   token // 0: there is none
	made    bool  // it is known that it could be made
	own     bool  // it is a command that the core executes itself: systemctl.go
	proc    proc
	task    bool
	command *command
}

func (p *process) runs() bool  { return p.token != 0 }
func (p *process) there() bool { return p.token != 0 && p.made && !p.own }

// fail notes what went wrong, if nothing has before.
func (s *service) fail(result string) {
	if s.result == resultSuccess {
		s.result = result
	}
}

// startService begins the way up.
func (c *core) startService(u *unit) {
	s := u.service
	restarts := 0
	if s.scheduled || s.afresh {
		restarts = s.restarts
	}
	c.disarm(&s.timer) // of auto-restart, which a start by hand overtakes
	u.ran, u.digest = u.def, u.def.digest
	d := u.ran.service
	*s = service{
		result: resultSuccess, reloadResult: resultSuccess, invocation: c.invocation(), restarts: restarts, empty: true,
		access: notifyAccess(d), pinged: d.watchdog,
	}
	c.touch(u)
	c.enterCondition(u)
}

// notifyAccess is whose messages are taken: systemd.service(5), Type=notify.
func notifyAccess(d *serviceDef) string {
	if (d.notifyAccess == "" || d.notifyAccess == "none") && (d.typ == "notify" || d.watchdog > 0) {
		return "main"
	}
	return d.notifyAccess
}

func (c *core) enterCondition(u *unit) {
	if !c.control(u, stateCondition, u.ran.service.condition) {
		c.enterStartPre(u)
	}
}

func (c *core) enterStartPre(u *unit) {
	if !c.control(u, stateStartPre, u.ran.service.pre) {
		c.enterStart(u)
	}
}

func (c *core) enterStart(u *unit) {
	s, d := u.service, u.ran.service
	c.disarm(&s.timer)
	s.nextStart = 0
	c.set(u, stateStart)
	if len(d.start) == 0 { // Type=oneshot
		c.enterStartPost(u)
		return
	}
	c.nextMain(u)
}

// nextMain makes the main process: of Type=oneshot one after the other.
func (c *core) nextMain(u *unit) {
	s, d := u.service, u.ran.service
	command := &d.start[s.nextStart]
	s.nextStart++
	if d.typ == "oneshot" || d.typ == "notify" {
		c.limitTime(u, d.timeoutStart)
	}
	c.spawn(u, roleMain, command)
}

// enterStartPost is when the main process is as far as the type of the service asks for.
func (c *core) enterStartPost(u *unit) {
	c.disarm(&u.service.timer)
	c.feedWatchdog(u)
	if !c.control(u, stateStartPost, u.ran.service.post) {
		c.enterRunning(u, resultSuccess)
	}
}

// enterRunning goes to where the service belongs that has been started: it may have
// ended in the meantime.
func (c *core) enterRunning(u *unit, result string) {
	s, d := u.service, u.ran.service
	s.fail(result)
	c.disarm(&s.timer)
	switch {
	case s.result != resultSuccess:
		c.kill(u, stateStopSigterm, result)
	case s.main.runs() && s.stopping:
		c.enterStopByMessage(u)
	case s.main.runs():
		if s.ready.IsZero() {
			s.ready = c.now
		}
		if d.runtimeMax > 0 {
			s.timerAt = s.ready.Add(d.runtimeMax)
			s.timer = c.arm(u, s.timerAt, false)
		}
		c.set(u, stateRunning)
	case d.remainAfterExit:
		c.disarm(&s.watchdog)
		c.set(u, stateExited)
	default:
		c.enterStop(u, resultSuccess)
	}
}

// reloadable says why a unit cannot be reloaded.
func reloadable(u *unit) error {
	switch d := u.runs(); {
	case d == nil:
		return fmt.Errorf("there is no unit %s", u.name)
	case u.state.active().isDown() && u.job == nil:
		return fmt.Errorf("%s is not active and cannot be reloaded", u.name)
	case d.service == nil || len(d.service.reload) == 0:
		return fmt.Errorf("%s has no ExecReload=", u.name)
	}
	return nil
}

func (c *core) reloadService(u *unit) {
	s := u.service
	s.reloadResult = resultSuccess
	c.disarm(&s.timer)
	if !c.control(u, stateReload, u.ran.service.reload) {
		c.endReload(u, resultSuccess)
	}
}

func (c *core) endReload(u *unit, result string) {
	u.service.reloadResult = result
	c.enterRunning(u, resultSuccess)
}

// enterReloadByMessage follows RELOADING=1. READY=1 ends it.
func (c *core) enterReloadByMessage(u *unit) {
	u.service.reloadResult = resultSuccess
	c.limitTime(u, u.ran.service.timeoutStart)
	c.set(u, stateReload)
}

// stopService brings a service down because somebody wants it.
func (c *core) stopService(u *unit) {
	s := u.service
	s.stopped = true
	switch u.state {
	case stateCondition, stateStartPre, stateStart, stateStartPost, stateReload:
		// What is in the middle of something is not asked by ExecStop=.
		c.kill(u, stateStopSigterm, resultSuccess)
	case stateRunning, stateExited:
		c.enterStop(u, resultSuccess)
	case stateAutoRestart:
		c.disarm(&s.timer)
		s.scheduled, s.stopped = false, false
		u.ran = nil
		c.set(u, stateDead)
	}
}

func (c *core) enterStop(u *unit, result string) {
	s := u.service
	s.fail(result)
	c.disarm(&s.watchdog)
	if !c.control(u, stateStop, u.ran.service.stop) {
		c.kill(u, stateStopSigterm, resultSuccess)
	}
}

// enterStopByMessage follows STOPPING=1, which is as if the service had been told to.
func (c *core) enterStopByMessage(u *unit) {
	c.limitTime(u, u.ran.service.timeoutStop)
	c.set(u, stateStopSigterm)
}

func (c *core) enterStopPost(u *unit, result string) {
	s := u.service
	s.fail(result)
	s.forgetControl(c)
	if !c.control(u, stateStopPost, u.ran.service.stopPost) {
		c.kill(u, stateFinalSigterm, resultSuccess)
	}
}

// kill enters a state in which processes are killed, or if there are none what comes after.
func (c *core) kill(u *unit, to substate, result string) {
	s, d := u.service, u.ran.service
	s.fail(result)
	c.disarm(&s.watchdog)
	if c.terminate(u, to) {
		c.limitTime(u, d.timeoutStop)
		c.set(u, to)
		return
	}
	switch to {
	case stateStopSigterm, stateStopWatchdog:
		if d.sendSIGKILL {
			c.kill(u, stateStopSigkill, resultSuccess)
		} else {
			c.enterStopPost(u, resultSuccess)
		}
	case stateStopSigkill:
		c.enterStopPost(u, resultSuccess)
	case stateFinalSigterm, stateFinalWatchdog:
		if d.sendSIGKILL {
			c.kill(u, stateFinalSigkill, resultSuccess)
		} else {
			c.enterDead(u, resultSuccess, true)
		}
	default:
		c.enterDead(u, resultSuccess, true)
	}
}

// terminate signals the processes that KillMode= names, and reports whether there are some
// to wait for: systemd.kill(5).
func (c *core) terminate(u *unit, to substate) (wait bool) {
	s, d := u.service, u.ran.service
	if d.killMode == "none" {
		return false
	}
	signal, last := d.killSignal, false
	switch {
	case to == stateStopSigkill || to == stateFinalSigkill:
		signal, last = d.finalSignal, true
	case to == stateStopWatchdog || to == stateFinalWatchdog:
		signal = int(syscall.SIGABRT)
	case to == stateStopSigterm && u.job != nil && u.job.typ == jobRestart && d.restartKillSignal != 0:
		signal = d.restartKillSignal
	}
	signals := []int{signal}
	if signal != int(syscall.SIGKILL) && signal != int(syscall.SIGCONT) {
		// One that is suspended must be able to end.
		signals = append(signals, int(syscall.SIGCONT))
	}
	if d.sendSIGHUP && !last && signal != int(syscall.SIGHUP) && to != stateStopWatchdog && to != stateFinalWatchdog {
		signals = append(signals, int(syscall.SIGHUP))
	}
	all := d.killMode == "control-group" || d.killMode == "mixed" && last
	alive := s.main.runs() || s.control.runs()
	for _, p := range []*process{&s.main, &s.control} {
		if p.runs() && p.own {
			c.giveUpOwn(u, p, signal)
		} else if p.runs() && !all {
			for _, n := range signals {
				c.emit(effSignal{unit: u.name, token: p.token, signal: n})
			}
		}
	}
	if !all || s.empty {
		return alive
	}
	for _, n := range signals {
		c.emit(effSignal{unit: u.name, signal: n})
	}
	if !alive {
		c.emit(effAwaitEmpty{u.name})
	}
	return true
}

// enterDead is the end of the way down: for good, or until Restart= starts it again.
func (c *core) enterDead(u *unit, result string, mayRestart bool) {
	s := u.service
	if u.job != nil && u.job.typ == jobStop || c.ending != nil {
		mayRestart = false
	}
	s.fail(result)
	c.disarm(&s.timer)
	c.disarm(&s.watchdog)
	s.forgetControl(c)
	if s.main.runs() { // it could not be killed, or KillMode= spares it
		delete(c.tokens, s.main.token)
		s.main = process{}
	}
	end := stateFailed
	switch s.result {
	case resultSuccess:
		end = stateDead
		if u.state != stateAutoRestart {
			c.log(u, "Deactivated successfully.")
		}
	case resultSkipped:
		end = stateDead
		c.log(u, "Skipped due to '"+s.result+"'.")
	default:
		c.log(u, "Failed with result '"+s.result+"'.")
	}
	s.scheduled, s.stopping = false, false
	// The definition that counts is the new one, if there is one: it decides what the next
	// process is, and whether there is to be one.
	d := u.def
	if d == nil || d.service == nil {
		d = u.ran
	}
	s.returns = mayRestart && d != nil && s.shallRestart(d.service)
	s.stopped = false
	// A start job ends here, even if another try follows.
	c.set(u, end)
	if s.returns && u.state == end {
		s.returns = false
		s.timerAt = c.now.Add(restartDelay(d.service, s.restarts))
		s.timer = c.arm(u, s.timerAt, false)
		c.set(u, stateAutoRestart)
	} else {
		s.returns = false
		u.ran = nil
	}
}

// autoRestart starts a service again whose pause after its end is over.
func (c *core) autoRestart(u *unit) {
	s := u.service
	s.scheduled = true
	s.restarts++
	c.touch(u)
	c.log(u, "Scheduled restart job, restart counter is at "+strconv.Itoa(s.restarts)+".")
	if _, err := c.transact(jobRequest{unit: u, typ: jobStart, ripple: true}); err != nil {
		c.log(u, "Failed to schedule restart job: "+err.Error())
		c.enterDead(u, resultResources, false)
	}
}

// control enters a state that executes commands one after the other; false if there are none.
func (c *core) control(u *unit, to substate, commands []command) bool {
	s := u.service
	s.forgetControl(c)
	s.commands, s.next = commands, 0
	if len(commands) == 0 {
		return false
	}
	c.set(u, to)
	c.nextControl(u)
	return true
}

func (c *core) nextControl(u *unit) {
	s, d := u.service, u.ran.service
	command := &s.commands[s.next]
	s.next++
	switch u.state {
	case stateStop, stateStopPost:
		c.limitTime(u, d.timeoutStop)
	default:
		c.limitTime(u, d.timeoutStart)
	}
	c.spawn(u, roleControl, command)
}

// forgetControl gives up a control process: nothing that it does counts any more.
func (s *service) forgetControl(c *core) {
	if s.control.runs() {
		delete(c.tokens, s.control.token)
		s.control = process{}
	}
}

// limitTime sets the timer of the state that begins, if it has one.
func (c *core) limitTime(u *unit, d time.Duration) {
	s := u.service
	c.disarm(&s.timer)
	if d > 0 {
		s.timerAt = c.now.Add(d)
		s.timer = c.arm(u, s.timerAt, false)
	}
}

// feedWatchdog begins the time anew in which a service has to say WATCHDOG=1.
func (c *core) feedWatchdog(u *unit) {
	s := u.service
	c.disarm(&s.watchdog)
	if s.pinged > 0 {
		s.watchdog = c.arm(u, c.now.Add(s.pinged), false)
	}
}

// spawn makes a process, or executes a command itself that needs none.
func (c *core) spawn(u *unit, role role, command *command) {
	s := u.service
	p := &s.main
	if role == roleControl {
		p = &s.control
	}
	*p = process{token: c.newToken(u), command: command}
	if call, ok := parseSystemctl(command.argv); ok {
		p.own, p.made = true, true
		c.callOwn(u, role, p.token, call)
		return
	}
	s.empty = false
	e := effSpawn{token: p.token, unit: u.name, role: role, def: u.ran, command: *command, invocation: s.invocation}
	if role == roleMain {
		e.notify = s.access != "none" && s.access != ""
		e.sockets = u.openSockets()
		if s.pinged > 0 {
			e.env = append(e.env, "WATCHDOG_USEC="+strconv.FormatInt(s.pinged.Microseconds(), 10))
		}
	} else {
		e.notify = s.access == "exec" || s.access == "all"
		if s.main.proc.PID != 0 {
			e.env = append(e.env, "MAINPID="+strconv.Itoa(s.main.proc.PID))
		}
		if u.state == stateStop || u.state == stateStopPost {
			e.env = append(e.env, "SERVICE_RESULT="+s.result)
			e.env = append(e.env, s.exit.environ()...)
		}
	}
	c.emit(e)
}

// spawned takes note of a process that was made, or of why it was not.
func (c *core) spawned(u *unit, ev evSpawned) {
	s := u.service
	p := &s.main
	if ev.token == s.control.token {
		p = &s.control
	} else if ev.token != s.main.token {
		c.mainMoved(u, ev)
		return
	}
	if ev.err != nil {
		c.spawnFailed(u, p, ev.err)
		return
	}
	p.made, p.proc, p.task = true, ev.proc, ev.proc.PID == 0
	c.touch(u)
	if p == &s.main {
		s.started, s.exit = c.now, exitStatus{}
		c.mainMade(u)
	}
}

// mainMade goes on when the main process is there, if that is what the type waits for.
func (c *core) mainMade(u *unit) {
	switch u.ran.service.typ {
	case "oneshot", "notify":
	default:
		c.enterStartPost(u)
	}
}

// spawnFailed is a process that could not be made. systemd forks before it finds that out,
// so the process has an exit code for it, 200 and above.
func (c *core) spawnFailed(u *unit, p *process, err error) {
	s := u.service
	c.log(u, fmt.Sprintf("Failed to execute %s: %v", p.command.program(), err))
	var step *spawnError
	if errors.As(err, &step) && step.code >= 200 && step.code < 255 {
		t := p.token
		p.made = true
		if p == &s.main {
			s.started = c.now
			if typ := u.ran.service.typ; typ == "simple" || typ == "idle" || typ == "" {
				c.enterStartPost(u) // its start is done as soon as there is a process
			}
		}
		c.onExited(t, exitStatus{code: step.code, at: c.now})
		return
	}
	delete(c.tokens, p.token)
	main := p == &s.main
	*p = process{}
	switch {
	case main:
		c.kill(u, stateStopSigterm, resultResources)
	case u.state == stateReload:
		c.endReload(u, resultResources)
	case u.state == stateStopPost:
		c.kill(u, stateFinalSigterm, resultResources)
	default:
		c.kill(u, stateStopSigterm, resultResources)
	}
}

func (c *command) program() string {
	if len(c.argv) == 0 {
		return "nothing"
	}
	return c.argv[0]
}

// describe fills in what a service has of a state.
func (s *service) describe(st *engine.UnitState, d *definition) {
	if s.main.there() {
		st.MainPID = s.main.proc.PID
	}
	st.Started, st.Restarts, st.Result = s.started, s.restarts, s.result
	st.Exit = engine.Exit{Code: s.exit.code, Signal: s.exit.signal, At: s.exit.at}
	if d != nil && d.service != nil {
		st.User = d.service.exec.user
	}
}

// note fills in what a service has of a record.
func (s *service) note(r *record) {
	r.Invocation, r.Restarts, r.Result, r.Started = s.invocation, s.restarts, s.result, s.started
	r.Exit = engine.Exit{Code: s.exit.code, Signal: s.exit.signal, At: s.exit.at}
	if s.main.there() {
		r.Main, r.Task = s.main.proc, s.main.task
	}
	if s.control.there() {
		r.Control = s.control.proc
	}
}
