package native

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

// rig plays the loop for a core: a clock that it moves, processes that do what a test says,
// and a note of everything that was asked for.
type rig struct {
	t     testing.TB
	c     *core
	lib   *library
	defs  []*definition
	links map[string][]string
	now   time.Time
	trace []string // of effects, since the last take
	logs  []string

	procs   map[token]*fakeProcess
	left    map[string]int // processes of a unit that nobody waits for
	timers  map[token]effArm
	open    map[string]bool
	listens map[string]bool
	answers map[callID]error
	answer  map[callID]int // how often
	calls   callID
	pid     int
	down    bool

	// deaf processes end by SIGKILL alone; others by any signal that asks them to.
	deaf map[string]bool
	// refused programs cannot be executed.
	refused map[string]error
	unmet   map[string]bool // conditions
	quiet   bool            // the trace is not kept
}

type fakeProcess struct {
	unit string
	role role
	name string
	proc proc
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// newRig makes a core that has loaded units.
func newRig(t testing.TB, defs ...*definition) *rig {
	r := &rig{
		t: t, now: noon, links: map[string][]string{}, procs: map[token]*fakeProcess{}, left: map[string]int{}, timers: map[token]effArm{},
		open: map[string]bool{}, listens: map[string]bool{}, answers: map[callID]error{}, answer: map[callID]int{},
		deaf: map[string]bool{}, refused: map[string]error{}, unmet: map[string]bool{}, pid: 100,
	}
	r.restartCore()
	r.load(defs...)
	return r
}

// restartCore makes a new core, as a new supervisor does. Processes stay.
func (r *rig) restartCore() {
	runs := 0
	r.c = newCore(func(k condition) bool { return !r.unmet[k.value] }, func() string {
		runs++
		return fmt.Sprintf("%032x", runs)
	})
	r.c.random = func(n int64) int64 { return n / 2 }
	r.timers, r.open, r.listens = map[token]effArm{}, map[string]bool{}, map[string]bool{}
}

// load gives the core other unit files.
func (r *rig) load(defs ...*definition) {
	r.defs = defs
	r.loadAgain()
}

// link makes links in a .wants directory.
func (r *rig) link(by string, wanted ...string) {
	r.links[by] = append(r.links[by], wanted...)
	r.loadAgain()
}

func (r *rig) loadAgain() {
	lib := newLibrary("/units", false)
	lib.wants = r.links
	for _, d := range r.defs {
		if links := r.links[d.name]; links != nil {
			linked := *d
			linked.wants = append(slices.Clone(d.wants), links...)
			d = &linked
		}
		lib.units[d.name] = d
		if isTemplate(d.name) {
			for i := range 10 {
				instance := *d
				instance.name = strings.Replace(d.name, "@", fmt.Sprintf("@%d", i), 1)
				lib.instances[instance.name] = &instance
			}
		}
	}
	for _, d := range lib.units {
		lib.order(d)
	}
	r.lib = lib
	r.feed(evLoaded{lib})
}

// feed gives the core an event, and plays what comes of it.
func (r *rig) feed(ev event) {
	for queue := []event{ev}; len(queue) > 0; queue = queue[1:] {
		for _, e := range r.c.step(r.now, queue[0]) {
			queue = append(queue, r.carryOut(e)...)
		}
	}
}

func (r *rig) carryOut(e effect) []event {
	switch e := e.(type) {
	case effSpawn:
		r.note("%s %s: %s", [...]string{"main", "control"}[e.role], e.unit, strings.Join(e.command.argv, " "))
		if err := r.refused[e.command.argv[0]]; err != nil {
			return []event{evSpawned{token: e.token, err: err}}
		}
		for _, p := range r.procs {
			if p.unit == e.unit && p.role == roleMain && e.role == roleMain {
				r.t.Fatalf("%s has two main processes", e.unit)
			}
		}
		r.pid++
		p := &fakeProcess{e.unit, e.role, e.command.argv[0], proc{PID: r.pid, Start: uint64(r.pid)}}
		r.procs[e.token] = p
		return []event{evSpawned{token: e.token, proc: p.proc}}
	case effSignal:
		return r.signal(e)
	case effAwaitEmpty:
		if r.members(e.unit) == 0 {
			return []event{evEmptied{e.unit}}
		}
		r.note("await %s", e.unit)
	case effMain:
		r.note("main-pid %s: %d", e.unit, e.pid)
		if e.pid >= 1000 {
			return []event{evSpawned{token: e.token, err: errors.New("there is no such process")}}
		}
		r.procs[e.token] = &fakeProcess{unit: e.unit, name: "moved", proc: proc{PID: e.pid}}
		return []event{evSpawned{token: e.token, proc: proc{PID: e.pid}}}
	case effArm:
		if _, twice := r.timers[e.token]; twice {
			r.t.Fatalf("timer %d is set twice", e.token)
		}
		r.timers[e.token] = e
	case effDisarm:
		if _, ok := r.timers[e.token]; !ok {
			r.t.Fatalf("timer %d is disarmed and was not set", e.token)
		}
		delete(r.timers, e.token)
	case effOpen:
		r.note("open %s", e.unit)
		if err := r.refused[e.unit]; err != nil {
			return []event{evSpawned{token: e.token, err: err}}
		}
		r.open[e.unit] = true
		return []event{evSpawned{token: e.token}}
	case effClose:
		r.note("close %s", e.unit)
		delete(r.open, e.unit)
		delete(r.listens, e.unit)
	case effListen:
		r.listens[e.unit] = true
	case effReply:
		r.answers[e.call] = e.err
		if r.answer[e.call]++; r.answer[e.call] > 1 {
			r.t.Fatalf("call %d is answered twice", e.call)
		}
	case effLog:
		if !r.quiet {
			r.logs = append(r.logs, e.unit+": "+e.text)
		}
	case effChanged:
	case effDown:
		r.down = true
	}
	return nil
}

// signal sends a signal to processes. Those that obey end by it.
func (r *rig) signal(e effSignal) (events []event) {
	whom := "all"
	if p := r.procs[e.token]; p != nil {
		whom = p.name
	} else if e.token != 0 {
		return nil
	}
	name := signalWord(e.signal)
	if e.signal != int(syscall.SIGCONT) {
		r.note("signal %s %s: %s", e.unit, whom, name)
	}
	var hit []token
	for k, p := range r.procs {
		if p.unit == e.unit && (e.token == 0 || k == e.token) && k != e.except {
			hit = append(hit, k)
		}
	}
	slices.Sort(hit)
	for _, k := range hit {
		p := r.procs[k]
		switch {
		case e.signal == int(syscall.SIGKILL),
			!r.deaf[p.unit] && !r.deaf[p.name] && (endsDaemon(e.signal) || e.signal == int(syscall.SIGABRT)):
			delete(r.procs, k)
			events = append(events, evExited{k, exitStatus{signal: e.signal, at: r.now}})
		}
	}
	if e.token == 0 && r.left[e.unit] > 0 && (e.signal == int(syscall.SIGKILL) || !r.deaf["left"] && endsDaemon(e.signal)) {
		r.left[e.unit] = 0
		events = append(events, evEmptied{e.unit})
	}
	return events
}

// members is how many processes a unit has.
func (r *rig) members(unit string) int {
	n := r.left[unit]
	for _, p := range r.procs {
		if p.unit == unit {
			n++
		}
	}
	return n
}

func (r *rig) note(format string, args ...any) {
	if !r.quiet {
		r.trace = append(r.trace, fmt.Sprintf(format, args...))
	}
}

// take returns what was done since the last time.
func (r *rig) take() []string {
	trace := r.trace
	r.trace = nil
	return trace
}

// do asks for a job.
func (r *rig) do(op engine.Op, unit string) callID { return r.job(engine.Job{Op: op, Unit: unit}) }

func (r *rig) job(job engine.Job) callID {
	r.calls++
	r.feed(evJob{r.calls, job})
	return r.calls
}

// result is how a job has ended: "" when it has not.
func (r *rig) result(call callID) string {
	if r.answer[call] == 0 {
		return ""
	}
	var job *engine.JobError
	switch err := r.answers[call]; {
	case err == nil:
		return "done"
	case errors.As(err, &job) && job.Cause != nil:
		return strings.TrimSpace(job.Result + " (" + job.Cause.Error() + ")")
	case errors.As(err, &job):
		return job.Result
	default:
		return err.Error()
	}
}

// pass lets time go by, and timers end in their order.
func (r *rig) pass(d time.Duration) {
	end := r.now.Add(d)
	for {
		var next effArm
		for _, a := range r.timers {
			if !a.at.After(end) && (next.token == 0 || a.at.Before(next.at) || a.at.Equal(next.at) && a.token < next.token) {
				next = a
			}
		}
		if next.token == 0 {
			break
		}
		delete(r.timers, next.token)
		if next.at.After(r.now) {
			r.now = next.at
		}
		r.feed(evTimeout{next.token})
	}
	r.now = end
}

// process returns the process of a unit that executes a program.
func (r *rig) process(unit, program string) token {
	var found token
	for k, p := range r.procs {
		if p.unit == unit && (program == "" && p.role == roleMain || p.name == program) && max(k, -k) > max(found, -found) {
			found = k
		}
	}
	if found == 0 {
		r.t.Helper()
		r.t.Fatalf("%s has no process %q", unit, program)
	}
	return found
}

// exits ends the main process of a unit, or the one of a program, by an exit code.
func (r *rig) exits(unit string, code int) { r.end(unit, "", exitStatus{code: code}) }

// dies ends it by a signal.
func (r *rig) dies(unit string, signal syscall.Signal) {
	r.end(unit, "", exitStatus{signal: int(signal)})
}

func (r *rig) end(unit, program string, x exitStatus) {
	r.t.Helper()
	k := r.process(unit, program)
	delete(r.procs, k)
	x.at = r.now
	r.feed(evExited{k, x})
}

// says sends a message of the main process.
func (r *rig) says(unit string, fields ...string) {
	r.feed(evNotified{unit: unit, pid: r.procs[r.process(unit, "")].proc.PID, main: true, fields: pairs(fields)})
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for _, pair := range list {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

// is checks what a unit is in: "active/running", or with its result "failed/failed timeout".
func (r *rig) is(unit, want string) {
	r.t.Helper()
	s, ok := r.c.state(unit)
	got := s.Active + "/" + s.Sub
	if !ok {
		got = "none"
	}
	if strings.Contains(want, " ") {
		got += " " + s.Result
	}
	if got != want {
		r.t.Errorf("%s is %s, want %s", unit, got, want)
	}
}

// did checks what was done since the last time.
func (r *rig) did(want ...string) {
	r.t.Helper()
	if got := r.take(); !slices.Equal(got, want) {
		r.t.Errorf("it did\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// ended checks how a job ended.
func (r *rig) ended(call callID, want string) {
	r.t.Helper()
	if got := r.result(call); got != want {
		r.t.Errorf("the job ended %q, want %q", got, want)
	}
}

// logged reports whether a line about a unit was logged that contains text.
func (r *rig) logged(text string) bool {
	return slices.ContainsFunc(r.logs, func(line string) bool { return strings.Contains(line, text) })
}

// service is a definition with what the loader fills in.
func newService(name string, set ...func(*definition)) *definition {
	d := lost(name)
	d.load, d.digest, d.fragment = "loaded", "1", "/units/"+name
	d.limit.interval, d.limit.burst = 10*time.Second, 5
	d.service.restartSec = 100 * time.Millisecond
	d.service.typ = "exec"
	d.service.start = []command{run("/bin/" + strings.TrimSuffix(name, ".service"))}
	for _, f := range set {
		f(d)
	}
	return d
}

func newTarget(name string, set ...func(*definition)) *definition {
	d := &definition{name: name, kind: kindTarget, description: name, load: "loaded", digest: "1", fragment: "/units/" + name}
	for _, f := range set {
		f(d)
	}
	return d
}

func run(line string) command {
	c := command{}
	if strings.HasPrefix(line, "-") {
		c.ignoreFailure, line = true, line[1:]
	}
	c.argv = strings.Fields(line)
	return c
}

func cmds(lines ...string) (list []command) {
	for _, line := range lines {
		list = append(list, run(line))
	}
	return list
}

func wants(names ...string) func(*definition) { return func(d *definition) { d.wants = names } }

func requires(names ...string) func(*definition) { return func(d *definition) { d.requires = names } }

func after(names ...string) func(*definition) { return func(d *definition) { d.after = names } }

func partOf(names ...string) func(*definition) { return func(d *definition) { d.partOf = names } }

func typ(t string) func(*definition) {
	return func(d *definition) {
		if d.service.typ = t; t == "oneshot" {
			d.service.timeoutStart = 0
		}
	}
}

func restart(when string) func(*definition) { return func(d *definition) { d.service.restart = when } }

func unlimited(d *definition) { d.limit.interval = 0 }

func with(f func(*serviceDef)) func(*definition) { return func(d *definition) { f(d.service) } }
