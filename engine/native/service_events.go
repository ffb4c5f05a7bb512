package native

import (
	"strconv"
	"syscall"
	"time"
)

// What happens to a service, by the state that it is in. What has no case changes
// nothing there. It follows systemd's src/core/service.c, of 252 to 257.

// endsDaemon reports whether a signal asks a daemon to end, so that its death by it is
// a success: systemd.service(5), SuccessExitStatus=.
func endsDaemon(signal int) bool {
	switch syscall.Signal(signal) {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE:
		return true
	}
	return false
}

// verdict is the result that the end of a process gives.
func verdict(x exitStatus, daemon bool, d *serviceDef) string {
	switch {
	case x.unknown:
		return resultUnknown
	case x.isClean(daemon, d.success):
		return resultSuccess
	case x.signal != 0 && x.core:
		return resultCoreDump
	case x.signal != 0:
		return resultSignal
	}
	return resultExitCode
}

// mainExited: the main process has ended.
func (c *core) mainExited(u *unit, x exitStatus) {
	s, d := u.service, u.ran.service
	command := s.main.command
	s.main = process{}
	s.exit = x
	c.touch(u)
	result := verdict(x, d.typ != "oneshot", d)
	if x.unknown && u.state.active() == deactivating || command != nil && command.ignoreFailure {
		result = resultSuccess
	}
	if result != resultSuccess {
		c.log(u, "Main process exited, "+x.String())
	}
	s.fail(result)
	if d.typ == "oneshot" && u.state == stateStart && result == resultSuccess && s.nextStart < len(d.start) {
		c.nextMain(u)
		return
	}
	switch u.state {
	case stateStart:
		switch {
		case d.typ == "oneshot" && result == resultSuccess:
			c.enterStartPost(u)
		case d.typ == "notify" && result == resultSuccess && d.remainAfterExit && s.access != "main":
			// Another of its processes may still say that it is ready.
		case d.typ == "notify" && result == resultSuccess:
			c.kill(u, stateStopSigterm, resultProtocol)
		default:
			c.enterRunning(u, result)
		}
	case stateRunning:
		c.enterRunning(u, result)
	case stateStartPost, stateReload:
		if !s.control.runs() {
			c.enterStop(u, result)
		}
	case stateStopWatchdog, stateStopSigterm, stateStopSigkill:
		if !s.control.runs() {
			c.enterStopPost(u, result)
		}
	case stateStopPost:
		if !s.control.runs() {
			c.kill(u, stateFinalSigterm, result)
		}
	case stateFinalWatchdog, stateFinalSigterm, stateFinalSigkill:
		if !s.control.runs() {
			c.lastExited(u, result)
		}
	}
}

// controlExited: a process of ExecStartPre=, ExecReload=, … has ended.
func (c *core) controlExited(u *unit, x exitStatus) {
	s, d := u.service, u.ran.service
	command := s.control.command
	s.control = process{}
	result := verdict(x, false, d)
	if x.unknown || command != nil && command.ignoreFailure {
		result = resultSuccess
	}
	if u.state == stateCondition && result == resultExitCode && x.code < 255 {
		result = resultSkipped
	}
	if result != resultSuccess && result != resultSkipped {
		c.log(u, "Control process exited, "+x.String())
	}
	if u.state != stateReload {
		s.fail(result)
	}
	switch u.state {
	case stateCondition, stateStartPre, stateStartPost, stateReload, stateStop, stateStopPost:
		if result == resultSuccess && s.next < len(s.commands) {
			c.nextControl(u)
			return
		}
	}
	switch u.state {
	case stateCondition:
		if result == resultSuccess {
			c.enterStartPre(u)
		} else {
			c.kill(u, stateStopSigterm, result)
		}
	case stateStartPre:
		if result == resultSuccess {
			c.enterStart(u)
		} else {
			c.kill(u, stateStopSigterm, result)
		}
	case stateStartPost:
		if result == resultSuccess {
			c.enterRunning(u, resultSuccess)
		} else {
			c.kill(u, stateStopSigterm, result)
		}
	case stateReload:
		c.endReload(u, result)
	case stateStop:
		c.kill(u, stateStopSigterm, result)
	case stateStopWatchdog, stateStopSigterm, stateStopSigkill:
		if !s.main.runs() {
			c.enterStopPost(u, result)
		}
	case stateStopPost:
		if !s.main.runs() {
			c.kill(u, stateFinalSigterm, result)
		}
	case stateFinalWatchdog, stateFinalSigterm, stateFinalSigkill:
		if !s.main.runs() {
			c.lastExited(u, result)
		}
	}
}

// lastExited: in a final state the last process that is known has ended. Others may be there.
func (c *core) lastExited(u *unit, result string) {
	s, d := u.service, u.ran.service
	s.fail(result)
	all := d.killMode == "control-group" || d.killMode == "mixed" && u.state == stateFinalSigkill
	if all && !s.empty {
		c.emit(effAwaitEmpty{u.name})
		return
	}
	c.enterDead(u, resultSuccess, true)
}

// emptied: no process of the unit is left.
func (c *core) emptied(u *unit) {
	s := u.service
	if s.main.runs() || s.control.runs() {
		return // of an earlier run
	}
	s.empty = true
	switch u.state {
	case stateStopWatchdog, stateStopSigterm, stateStopSigkill:
		c.enterStopPost(u, resultSuccess)
	case stateFinalWatchdog, stateFinalSigterm, stateFinalSigkill:
		c.enterDead(u, resultSuccess, true)
	}
}

// timedOut: the time of the state is over.
func (c *core) timedOut(u *unit) {
	s := u.service
	sendSIGKILL := u.ran == nil || u.ran.service.sendSIGKILL
	over := func(what string) { c.log(u, what) }
	if u.state == stateStart && s.unheard && s.main.runs() {
		// No app ends because a supervisor did.
		s.unheard = false
		over("It may have said that it is ready while no supervisor listened, and is taken for ready.")
		c.enterStartPost(u)
		return
	}
	switch u.state {
	case stateCondition, stateStartPre, stateStart, stateStartPost:
		over(u.state.String() + " operation timed out. Terminating.")
		c.kill(u, stateStopSigterm, resultTimeout)
	case stateRunning:
		over("Service reached runtime time limit. Stopping.")
		c.enterStop(u, resultTimeout)
	case stateReload:
		over("Reload operation timed out. Killing reload process.")
		if s.control.runs() {
			c.emit(effSignal{unit: u.name, token: s.control.token, signal: int(syscall.SIGKILL)})
		}
		s.forgetControl(c)
		c.endReload(u, resultTimeout)
	case stateStop:
		over("Stopping timed out. Terminating.")
		c.kill(u, stateStopSigterm, resultTimeout)
	case stateStopSigterm, stateStopWatchdog:
		if sendSIGKILL {
			over("State '" + u.state.String() + "' timed out. Killing.")
			c.kill(u, stateStopSigkill, resultTimeout)
		} else {
			over("State '" + u.state.String() + "' timed out. Skipping SIGKILL.")
			c.enterStopPost(u, resultTimeout)
		}
	case stateStopSigkill:
		over("Processes still around after SIGKILL. Ignoring.")
		c.enterStopPost(u, resultTimeout)
	case stateStopPost:
		over("State 'stop-post' timed out. Terminating.")
		c.kill(u, stateFinalSigterm, resultTimeout)
	case stateFinalSigterm, stateFinalWatchdog:
		if sendSIGKILL {
			over("State '" + u.state.String() + "' timed out. Killing.")
			c.kill(u, stateFinalSigkill, resultTimeout)
		} else {
			over("State '" + u.state.String() + "' timed out. Skipping SIGKILL. Entering failed mode.")
			c.enterDead(u, resultTimeout, false)
		}
	case stateFinalSigkill:
		over("Processes still around after final SIGKILL. Entering failed mode.")
		c.enterDead(u, resultTimeout, true)
	case stateAutoRestart:
		c.autoRestart(u)
	}
}

// watchdogEnded: the service has not said WATCHDOG=1 in time.
func (c *core) watchdogEnded(u *unit) {
	c.log(u, "Watchdog timeout (limit "+u.service.pinged.String()+")!")
	c.kill(u, stateStopWatchdog, resultWatchdog)
}

// overMemory: the unit uses more than MemoryMax=, or the kernel has killed a process of
// it for that.
func (c *core) overMemory(u *unit, killed bool) {
	s := u.service
	if killed {
		c.log(u, "A process of this unit has been killed by the OOM killer.")
		if u.ran != nil && u.ran.service.oomPolicy == "continue" {
			return
		}
		// What the process ended by may be known before why.
		if s.result == resultSignal && s.exit.signal == int(syscall.SIGKILL) && c.now.Sub(s.exit.at) < time.Second {
			s.result = resultOOM
			c.touch(u)
		}
	} else {
		c.log(u, "Uses more memory than MemoryMax= allows. Stopping.")
	}
	kill := stateStopSigterm
	if killed && u.ran != nil && u.ran.service.oomPolicy == "kill" {
		kill = stateStopSigkill
	}
	switch u.state {
	case stateCondition, stateStartPre, stateStart, stateStartPost, stateReload, stateStop:
		c.kill(u, kill, resultOOM)
	case stateRunning, stateExited:
		if killed && kill == stateStopSigterm {
			c.enterStop(u, resultOOM)
		} else {
			c.kill(u, kill, resultOOM)
		}
	case stateStopSigterm, stateStopWatchdog:
		s.fail(resultOOM)
		if killed {
			c.kill(u, stateStopSigkill, resultOOM)
		}
	case stateStopSigkill, stateFinalSigkill:
		s.fail(resultOOM)
	case stateStopPost, stateFinalSigterm, stateFinalWatchdog:
		if killed {
			c.kill(u, stateFinalSigkill, resultOOM)
		}
	}
}

// notified: a process of the unit has said something by sd_notify(3).
func (c *core) notified(u *unit, ev evNotified) {
	s := u.service
	if u.ran == nil || !s.listensTo(ev) {
		return
	}
	fields := ev.fields
	if pid, err := strconv.Atoi(fields["MAINPID"]); err == nil && pid > 0 && pid != s.main.proc.PID && u.hasMain() {
		// Answered by evSpawned, before the next event; until then the old one is it.
		c.emit(effMain{token: c.newToken(u), unit: u.name, pid: pid})
	}
	switch {
	case fields["STOPPING"] == "1":
		s.stopping = true
		if u.state == stateRunning || u.state == stateReload && !s.control.runs() {
			c.enterStopByMessage(u)
		}
	case s.stopping:
		// What is about to end does not come back.
	case fields["READY"] == "1":
		switch {
		case u.state == stateStart && u.ran.service.typ == "notify":
			c.enterStartPost(u)
		case u.state == stateReload && !s.control.runs():
			c.endReload(u, resultSuccess)
		}
	case fields["RELOADING"] == "1":
		if u.state == stateRunning {
			c.enterReloadByMessage(u)
		}
	}
	if usec, err := strconv.ParseInt(fields["EXTEND_TIMEOUT_USEC"], 10, 64); err == nil && usec > 0 {
		c.extend(u, time.Duration(usec)*time.Microsecond)
	}
	if usec, err := strconv.ParseInt(fields["WATCHDOG_USEC"], 10, 64); err == nil && usec > 0 {
		s.pinged = time.Duration(usec) * time.Microsecond
		c.pingWatchdog(u)
	}
	switch fields["WATCHDOG"] {
	case "1":
		c.pingWatchdog(u)
	case "trigger":
		if !u.state.active().isDown() && u.state.active() != deactivating && u.state != stateAutoRestart {
			c.log(u, "Watchdog request!")
			c.kill(u, stateStopWatchdog, resultWatchdog)
		}
	}
}

// listensTo obeys NotifyAccess=.
func (s *service) listensTo(ev evNotified) bool {
	switch s.access {
	case "all":
		return true
	case "exec":
		return ev.main || ev.pid != 0 && ev.pid == s.control.proc.PID
	case "main":
		return ev.main
	}
	return false
}

// hasMain reports whether the unit is in a state in which a main process is expected.
func (u *unit) hasMain() bool {
	switch u.state {
	case stateStart, stateStartPost, stateRunning, stateReload, stateStop, stateStopSigterm:
		return true
	}
	return false
}

// mainMoved: another process of the unit is its main one (MAINPID=), or is not there.
func (c *core) mainMoved(u *unit, ev evSpawned) {
	s := u.service
	if ev.err != nil || !u.hasMain() {
		delete(c.tokens, ev.token)
		if ev.err != nil {
			c.log(u, "New main PID does not exist or is no process of this unit, ignoring: "+ev.err.Error())
		}
		return
	}
	delete(c.tokens, s.main.token)
	s.main = process{token: ev.token, made: true, proc: ev.proc, command: s.main.command}
	c.touch(u)
}

// extend gives the state that is under way more time.
func (c *core) extend(u *unit, by time.Duration) {
	s := u.service
	if at := c.now.Add(by); s.timer != 0 && u.state != stateAutoRestart && at.After(s.timerAt) {
		c.limitTime(u, by)
	}
}

// pingWatchdog takes a sign of life, in the states that ask for one.
func (c *core) pingWatchdog(u *unit) {
	switch u.state {
	case stateStartPost, stateRunning, stateReload:
		c.feedWatchdog(u)
	}
}
