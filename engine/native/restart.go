package native

import (
	"math"
	"time"
)

// starts counts the starts of a unit for its limit: StartLimitIntervalSec= and
// StartLimitBurst=. As systemd does it, a window of that length begins with a start, and
// the next one with the first start after its end (src/basic/ratelimit.c).
type starts struct {
	at  []time.Time // of the window
	hit bool
}

// admit counts a start, or says that there were too many.
func (s *starts) admit(now time.Time, d *definition) bool {
	s.hit = false
	if d.limit.interval <= 0 || d.limit.burst <= 0 {
		s.at = nil
		return true
	}
	if len(s.at) > 0 && now.Sub(s.at[0]) > d.limit.interval {
		s.at = nil
	}
	if len(s.at) >= d.limit.burst {
		return false
	}
	s.at = append(s.at, now)
	return true
}

// shallRestart reports whether Restart= has a service start again that has come down:
// systemd.service(5), Table 2.
func (s *service) shallRestart(d *serviceDef) bool {
	if s.stopped {
		return false
	}
	if !s.exit.at.IsZero() && !s.exit.unknown {
		if s.exit.in(d.restartPrevent) {
			return false
		}
		if s.exit.in(d.restartForce) {
			return d.typ != "oneshot" || s.result != resultSuccess
		}
	}
	switch d.restart {
	case "always":
		return s.result != resultSkipped
	case "on-success":
		return s.result == resultSuccess
	case "on-failure":
		return s.result != resultSuccess && s.result != resultSkipped
	case "on-abnormal":
		switch s.result {
		case resultSuccess, resultExitCode, resultSkipped, resultUnknown:
			return false
		}
		return true
	case "on-watchdog":
		return s.result == resultWatchdog
	case "on-abort":
		return s.result == resultSignal || s.result == resultCoreDump
	}
	return false
}

// in reports whether a process ended by a code or signal of a set.
func (x exitStatus) in(set exitSet) bool {
	if x.signal != 0 {
		return set.signals[x.signal]
	}
	return set.codes[x.code]
}

// isClean reports whether an end is a success. A daemon may also be ended by the signals
// that ask it to.
func (x exitStatus) isClean(daemon bool, success exitSet) bool {
	if x.signal == 0 {
		return x.code == 0 || success.codes[x.code]
	}
	return daemon && endsDaemon(x.signal) || success.signals[x.signal]
}

// restartDelay is the pause before an automatic restart, of which there were so many
// since the last start by hand. With RestartSteps= it grows in that many steps from
// RestartSec= to RestartMaxDelaySec=, by a factor that is always the same.
func restartDelay(d *serviceDef, restarts int) time.Duration {
	n := restarts + 1
	switch {
	case n <= 1, d.restartSteps <= 0, d.restartSec <= 0, d.restartMaxDelay <= d.restartSec:
		return max(d.restartSec, 0)
	case n > d.restartSteps:
		return d.restartMaxDelay
	}
	factor := float64(d.restartMaxDelay) / float64(d.restartSec)
	return time.Duration(float64(d.restartSec) * math.Pow(factor, float64(n-1)/float64(d.restartSteps)))
}
