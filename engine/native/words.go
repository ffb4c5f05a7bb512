package native

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// substate is what a unit is in: the sub-state of systemctl(1).
type substate uint8

const (
	stateDead substate = iota
	stateFailed
	// Targets and slices.
	stateActive
	// Services.
	stateCondition
	stateStartPre
	stateStart
	stateStartPost
	stateRunning // timers and sockets too
	stateExited
	stateReload
	stateStop
	stateStopWatchdog
	stateStopSigterm
	stateStopSigkill
	stateStopPost
	stateFinalWatchdog
	stateFinalSigterm
	stateFinalSigkill
	stateAutoRestart
	// Timers and sockets.
	stateWaiting
	stateElapsed
	stateListening
)

// activity is what states of all kinds of units come to: ActiveState=.
type activity uint8

const (
	inactive activity = iota
	failedActivity
	activating
	active
	reloading
	deactivating
)

var activities = [...]string{"inactive", "failed", "activating", "active", "reloading", "deactivating"}

var states = [...]struct {
	active activity
	sub    string
}{
	stateDead:          {inactive, "dead"},
	stateFailed:        {failedActivity, "failed"},
	stateActive:        {active, "active"},
	stateCondition:     {activating, "condition"},
	stateStartPre:      {activating, "start-pre"},
	stateStart:         {activating, "start"},
	stateStartPost:     {activating, "start-post"},
	stateRunning:       {active, "running"},
	stateExited:        {active, "exited"},
	stateReload:        {reloading, "reload"},
	stateStop:          {deactivating, "stop"},
	stateStopWatchdog:  {deactivating, "stop-watchdog"},
	stateStopSigterm:   {deactivating, "stop-sigterm"},
	stateStopSigkill:   {deactivating, "stop-sigkill"},
	stateStopPost:      {deactivating, "stop-post"},
	stateFinalWatchdog: {deactivating, "final-watchdog"},
	stateFinalSigterm:  {deactivating, "final-sigterm"},
	stateFinalSigkill:  {deactivating, "final-sigkill"},
	stateAutoRestart:   {activating, "auto-restart"},
	stateWaiting:       {active, "waiting"},
	stateElapsed:       {active, "elapsed"},
	stateListening:     {active, "listening"},
}

func (s substate) active() activity { return states[s].active }
func (s substate) String() string   { return states[s].sub }

func (a activity) String() string { return activities[a] }
func (a activity) isDown() bool   { return a == inactive || a == failedActivity }
func (a activity) isUp() bool     { return a == active || a == reloading }

// stateNamed returns the state of a sub-state's name, stateDead if there is none.
func stateNamed(sub string) substate {
	for s := range states {
		if states[s].sub == sub {
			return substate(s)
		}
	}
	return stateDead
}

// The results of services: Result= of systemd, service_result_table in its service.c.
const (
	resultSuccess   = "success"
	resultResources = "resources"
	resultProtocol  = "protocol"
	resultTimeout   = "timeout"
	resultExitCode  = "exit-code"
	resultSignal    = "signal"
	resultCoreDump  = "core-dump"
	resultWatchdog  = "watchdog"
	resultLimit     = "start-limit-hit"
	resultOOM       = "oom-kill"
	resultSkipped   = "exec-condition"
	// resultUnknown is the one that systemd does not have: a process that was adopted
	// has ended, and its exit status is lost.
	resultUnknown = "exit-unknown"
	// Of sockets.
	resultServiceLimit = "service-start-limit-hit"
)

// String describes how a process ended, in systemd's words.
func (x exitStatus) String() string {
	switch {
	case x.unknown:
		return "its exit status is not known: it ended while no supervisor watched"
	case x.signal != 0 && x.core:
		return fmt.Sprintf("code=dumped, status=%d/%s", x.signal, signalWord(x.signal))
	case x.signal != 0:
		return fmt.Sprintf("code=killed, status=%d/%s", x.signal, signalWord(x.signal))
	case x.failed != nil:
		return fmt.Sprintf("code=exited, status=%d/%s: %v", x.code, exitWord(x.code), x.failed)
	}
	return fmt.Sprintf("code=exited, status=%d/%s", x.code, exitWord(x.code))
}

// environ is what an ExecStop= or ExecStopPost= is told of it: systemd.exec(5),
// ENVIRONMENT VARIABLES.
func (x exitStatus) environ() []string {
	switch {
	case x.unknown, x.at.IsZero():
		return nil
	case x.signal != 0 && x.core:
		return []string{"EXIT_CODE=dumped", "EXIT_STATUS=" + signalWord(x.signal)}
	case x.signal != 0:
		return []string{"EXIT_CODE=killed", "EXIT_STATUS=" + signalWord(x.signal)}
	}
	return []string{"EXIT_CODE=exited", "EXIT_STATUS=" + strconv.Itoa(x.code)}
}

// signalWord is a signal's name without SIG.
func signalWord(signal int) string {
	if name := unix.SignalName(syscall.Signal(signal)); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(signal)
}

// exitWord is the name of an exit code as systemd gives it: "n/a" for those of programs.
func exitWord(code int) string {
	if name := exitWords()[code]; name != "" {
		return name
	}
	return "n/a"
}

var exitWords = sync.OnceValue(func() map[int]string {
	words := map[int]string{}
	for name, code := range exitNames() {
		// 64 to 78 are BSD's, which systemd names only when it is asked for them.
		if code < 64 || code >= 200 {
			words[code] = name
		}
	}
	return words
})

// String is a condition as its line has it.
func (k condition) String() string {
	value := k.value
	if k.negate {
		value = "!" + value
	}
	if k.trigger {
		value = "|" + value
	}
	return "Condition" + k.key + "=" + value
}
