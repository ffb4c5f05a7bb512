package engine

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/units"
)

// Process is one instance of an app, seen as PM2 sees its processes.
type Process struct {
	App *App
	// Name is the app's, with "@2" behind it for an instance of a template.
	Name string
	// Instance is the number behind the "@", -1 for an app that is one service.
	Instance int
	Unit     string
	Status   Status
	// State is what the engine knows of the unit; of one that it does not have in
	// memory only the name.
	State UnitState
	// User is whom the process runs as, "" for the engine's own user.
	User string
	// Enabled says that links have it started at boot.
	Enabled bool
	// Surplus says that it is there although the app does not declare it.
	Surplus bool
	// Timer restarts the app, or runs the job; Next is when, zero if it does not.
	Timer string
	Next  time.Time
	// Watch restarts the app when its files change, Watching says that it runs.
	Watch    string
	Watching bool
}

// Status is the state of a process in PM2's words, and two of gm's: waiting and
// ended, which PM2 calls stopped.
type Status string

const (
	StatusOnline    Status = "online"
	StatusLaunching Status = "launching"
	StatusStopping  Status = "stopping"
	// StatusRetrying is the pause between an end and the restart after it.
	StatusRetrying Status = "waiting restart"
	// StatusErrored has failed, and nothing but its timer will start it again.
	StatusErrored Status = "errored"
	// StatusWaiting is a job between two of its times.
	StatusWaiting Status = "waiting"
	// StatusEnded is a process that ended by itself, as its app says it may.
	StatusEnded Status = "ended"
	// StatusStopped does not run because nobody started it, or somebody stopped it.
	StatusStopped Status = "stopped"
)

// Processes returns the instances of all apps of a state: those that are
// declared, in order, and after them those that are there nevertheless.
func Processes(s *State) []Process {
	apps := s.Apps()
	links := make(map[string][]string, len(s.Links)) // what wants a unit
	for _, l := range s.Links {
		links[l.Wanted] = append(links[l.Wanted], l.By)
	}
	instances := make(map[string][]string) // those in memory, by template
	for name := range s.Units {
		if at := strings.IndexByte(name, '@'); at > 0 && strings.HasSuffix(name, ".service") {
			template := name[:at] + "@.service"
			instances[template] = append(instances[template], name)
		}
	}
	var all []Process
	for i := range apps {
		a := &apps[i]
		v := viewOf(a, s.Units)
		for _, unit := range a.Instances {
			all = append(all, v.process(unit, s.Units, enabled(unit, links, 0)))
		}
		for _, unit := range surplus(a, instances[a.Unit], s.Units) {
			p := v.process(unit, s.Units, enabled(unit, links, 0))
			p.Surplus = true
			all = append(all, p)
		}
	}
	return all
}

// maxLinks is how many links lie between a unit and the target of the boot:
// web@0.service, web.target, gm-shop.target, multi-user.target. Links made by
// hand may go in circles.
const maxLinks = 8

// enabled reports whether links lead from a unit to a target that is not gm's.
func enabled(unit string, links map[string][]string, depth int) bool {
	if depth == maxLinks {
		return false
	}
	for _, by := range links[unit] {
		if isBootTarget(by) || enabled(by, links, depth+1) {
			return true
		}
	}
	return false
}

// isBootTarget reports whether a machine, or a user's manager, boots into a
// target: systemd.special(7).
func isBootTarget(unit string) bool {
	switch unit {
	case "default.target", "multi-user.target", "graphical.target":
		return true
	}
	return false
}

// surplus returns the instances in memory that are not declared and that run, or
// that failed, in order of their numbers.
func surplus(a *App, loaded []string, states map[string]UnitState) []string {
	var out []string
	for _, unit := range loaded {
		active := states[unit].Active
		if active != "" && active != "inactive" && !slices.Contains(a.Instances, unit) {
			out = append(out, unit)
		}
	}
	slices.SortFunc(out, func(x, y string) int {
		if d := instanceNumber(x) - instanceNumber(y); d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	return out
}

// instanceNumber returns the number of an instance, -1 for other units.
func instanceNumber(unit string) int {
	_, instance, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
	n, err := strconv.Atoi(instance)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// view is what the processes of an app have in common.
type view struct {
	shared  Process
	restart string          // Restart=
	prevent map[string]bool // RestartPreventExitStatus=
	armed   bool            // its timer runs
}

func viewOf(a *App, states map[string]UnitState) view {
	v := view{shared: Process{App: a}, restart: "no"}
	for _, d := range a.Service.Directives {
		if d.Section != "Service" {
			continue
		}
		switch text := units.Encode(d.Value); d.Key {
		case "Restart":
			v.restart = text
		case "RestartPreventExitStatus":
			if v.prevent == nil {
				v.prevent = map[string]bool{}
			}
			for code := range strings.FieldsSeq(text) {
				v.prevent[code] = true
			}
		case "User":
			v.shared.User, _ = units.Spec(text).Literal()
		}
	}
	for _, unit := range a.Companions {
		state := states[unit]
		switch {
		case strings.HasSuffix(unit, ".timer"):
			v.shared.Timer, v.shared.Next = unit, state.Next
			v.armed = state.Running()
		case strings.HasSuffix(unit, "-watch.service"):
			v.shared.Watch, v.shared.Watching = unit, state.Running()
		}
	}
	return v
}

func (v *view) process(unit string, states map[string]UnitState, enabled bool) Process {
	p := v.shared
	p.Unit, p.Name, p.Instance, p.Enabled = unit, p.App.Name, instanceNumber(unit), enabled
	if p.App.Group != "" {
		p.Name += "@" + strings.TrimSuffix(unit[strings.IndexByte(unit, '@')+1:], ".service")
	}
	state, loaded := states[unit]
	if !loaded {
		state = UnitState{Name: unit, CPU: -1, Memory: -1}
	}
	p.State = state
	if state.Started.IsZero() && state.MainPID > 0 {
		p.State.Started = state.Since // as near as List tells
	}
	if state.User != "" {
		p.User = state.User
	}
	p.Status = v.status(state, p.App.Boots && !enabled)
	return p
}

// status says what a state of a service is called. Off says that the app would
// start at boot if it had not been stopped for good.
//
// The active states are those of systemctl(1), the sub-states those of
// service_state in systemd's src/core/service.c: systemctl --state=help.
func (v *view) status(s UnitState, off bool) Status {
	switch s.Active {
	case "active", "reloading", "refreshing":
		return StatusOnline
	case "deactivating":
		return StatusStopping
	case "activating":
		if strings.HasPrefix(s.Sub, "auto-restart") {
			return StatusRetrying
		}
		return StatusLaunching
	}
	switch {
	case strings.HasSuffix(s.Sub, "-before-auto-restart"):
		// 254 and later pass through failed, or inactive, on the way to a restart.
		return StatusRetrying
	case off:
		// Whom the stop had to kill is failed for systemd.
		return StatusStopped
	case s.Active == "failed", s.Load == "error", s.Load == "bad-setting":
		return StatusErrored
	case v.shared.App.Once && v.armed:
		return StatusWaiting
	case v.ended(s):
		return StatusEnded
	}
	return StatusStopped
}

// ended reports whether the process of an inactive service ended by itself: with
// an exit code after which Restart= leaves it alone. One that handles the signal of
// a stop and exits looks the same where any end is accepted.
func (v *view) ended(s UnitState) bool {
	if s.Exit.At.IsZero() || s.Exit.Signal != 0 {
		return false
	}
	switch v.restart {
	case "always", "on-success":
		return v.prevent[strconv.Itoa(s.Exit.Code)]
	}
	return true
}

// CPUShareSince returns how much of one CPU a unit used since the earlier time that its
// engine told, in percent, -1 if that is unknown.
func CPUShareSince(s UnitState) float64 {
	return CPUShare(UnitState{CPU: s.CPUBefore, Measured: s.MeasuredBefore}, s)
}

// CPUShare returns how much of one CPU a unit used between two readings, in
// percent, -1 if that is unknown.
func CPUShare(before, after UnitState) float64 {
	elapsed := after.Measured.Sub(before.Measured)
	// A unit that was started in between begins at 0 again.
	if before.Measured.IsZero() || elapsed <= 0 || before.CPU < 0 || after.CPU < before.CPU {
		return -1
	}
	return 100 * float64(after.CPU-before.CPU) / float64(elapsed)
}

// Outcome says in words how a service's last process ended: "exited with code 1
// after 3.0 s"; "" if none has, as far as the engine knows.
func Outcome(s UnitState) string {
	if s.Result == "timeout" {
		return "did not start or stop in time, and was killed"
	}
	return ending(s, false, 0)
}
