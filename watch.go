package gm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gm/engine"
	"gm/units"
)

// EventKind says what happened.
type EventKind string

const (
	// Started is a new process: Event.PID.
	Started EventKind = "started"
	// Ready is a process that has said that it is ready, if its app says so (wait_ready),
	// and else has been started.
	Ready EventKind = "ready"
	// Exited is a process that has ended: Event.Exit says how.
	Exited EventKind = "exited"
	// Restarting is the automatic restart after an end, or the pause before it:
	// Event.Restarts counts them.
	Restarting EventKind = "restarting"
	// GaveUp is a process that failed and is not started again: Event.Reason says why.
	GaveUp EventKind = "gave up"
	// Stopped is a process that was stopped, or has ended as it may. A restart by hand may
	// be Stopped and Started.
	Stopped EventKind = "stopped"
	// Lost is the last event of a Watch whose engine cannot be reached any more: Event.Err.
	Lost EventKind = "lost"
)

// Event is one thing that happened to a process of an app.
type Event struct {
	Kind EventKind
	Time time.Time
	// Project, App and Process name it: "shop", "web", "web@2"; Unit is what runs it.
	Project, App, Process, Unit string
	PID                         int
	// Exit is how a process ended; with a zero At nobody knows.
	Exit     engine.Exit
	Restarts int
	Reason   string
	Err      error
}

// String is the event in words: "web@2: exited with code 1".
func (e Event) String() string {
	text := string(e.Kind)
	switch e.Kind {
	case Exited:
		text = "ended"
		switch {
		case e.Exit.Signal != 0:
			text = "killed by " + signalName(e.Exit.Signal)
		case !e.Exit.At.IsZero():
			text = fmt.Sprintf("exited with code %d", e.Exit.Code)
		}
	case Restarting:
		text = fmt.Sprintf("restarting (%d)", e.Restarts)
	case GaveUp:
		if e.Reason != "" {
			text += ": " + e.Reason
		}
	case Lost:
		return fmt.Sprintf("lost: %v", e.Err)
	}
	return e.Process + ": " + text
}

func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}

// Watch tells what happens to apps until ctx ends, and then closes the channel: to those
// that selectors choose, or without any to all, those that are installed later among them.
// What is so when it is called is not told. With gm's own supervisor one is started if there
// is none.
//
// Events of one process come in order. As long as they are taken, and the engine can be
// reached all the time, none is left out; otherwise several changes may be told as the last
// one, so that a process Started whose end before that was not told. The apps do not wait
// for who watches them.
func (c *Conn) Watch(ctx context.Context, selectors ...string) (<-chan Event, error) {
	w := &watcher{c: c, all: len(selectors) == 0, out: make(chan Event), known: map[string]*process{}}
	have, err := c.Observe(ctx, "", engine.Brief)
	if err != nil {
		return nil, err
	}
	apps := have.Apps()
	if w.all {
		selectors = []string{"all"}
	}
	selected, err := engine.Select(apps, selectors)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, s := range selected {
		if s.Whole {
			names = append(names, s.App.Unit)
		} else {
			names = append(names, s.Units...)
		}
	}
	watched := names
	if w.all {
		watched = []string{engine.Every}
	}
	w.apps = apps
	inner, cancel := context.WithCancel(ctx)
	told, err := c.engine.Watch(inner, watched)
	if err == nil {
		err = w.begin(inner, names)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(w.out)
		defer cancel()
		w.run(inner, told)
	}()
	return w.out, nil
}

// watcher is one Watch.
type watcher struct {
	c    *Conn
	all  bool // also apps that are installed later
	out  chan Event
	apps []engine.App // that are installed
	// known is processes by unit.
	known map[string]*process
}

// begin reads what is so now.
func (w *watcher) begin(ctx context.Context, names []string) error {
	states, err := w.c.engine.Units(ctx, engine.Full, names)
	if err != nil {
		return err
	}
	for unit, s := range states {
		if p := w.find(unit); p != nil {
			p.begin(s)
		}
	}
	return nil
}

func (w *watcher) run(ctx context.Context, told <-chan engine.UnitState) {
	for s := range told {
		p, err := w.process(ctx, s.Name)
		if err != nil {
			w.lose(ctx, err)
			return
		}
		if p == nil {
			continue
		}
		s = w.whole(ctx, p, s)
		for _, e := range p.next(s) {
			e.Project, e.App, e.Process, e.Unit = p.project, p.app, p.name, s.Name
			if !w.send(ctx, e) {
				return
			}
		}
	}
	w.lose(ctx, fmt.Errorf("%w: it does not tell of changes any more", ErrUnreachable))
}

// whole completes a state of which not all can be told from itself.
func (w *watcher) whole(ctx context.Context, p *process, s engine.UnitState) engine.UnitState {
	// One that is told from a list has no process.
	torn := s.Sub == "running" && s.MainPID == 0
	// On its way to an automatic restart a service may be told as down.
	down := isDown(s) && !isDown(p.last)
	if !torn && !down {
		return s
	}
	states, err := w.c.engine.Units(ctx, engine.Full, []string{s.Name})
	now, there := states[s.Name]
	switch {
	case err != nil || !there:
	case torn:
		return now
	case between(now), now.Restarts > s.Restarts:
		s.Sub += beforeRestart
	}
	return s
}

func (w *watcher) lose(ctx context.Context, err error) {
	if ctx.Err() == nil {
		w.send(ctx, Event{Kind: Lost, Time: time.Now(), Err: err})
	}
}

func (w *watcher) send(ctx context.Context, e Event) bool {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	select {
	case w.out <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// process returns the process of a unit, nil if it is of no app.
func (w *watcher) process(ctx context.Context, unit string) (*process, error) {
	if p := w.known[unit]; p != nil || !w.all || !strings.HasSuffix(unit, ".service") || w.find(unit) != nil {
		return w.known[unit], nil
	}
	// The manager tells of all that runs on the machine: only what has gm's mark is looked
	// into.
	file := fileOf(unit)
	text, err := os.ReadFile(filepath.Join(w.c.engine.Dirs().Units, file))
	mark, _, marked := units.Sealed(text)
	if err != nil || !marked || mark.App == "" {
		return nil, nil
	}
	have, err := w.c.Observe(ctx, mark.Project, engine.Brief)
	if err != nil {
		return nil, err
	}
	w.apps = slices.DeleteFunc(w.apps, func(a engine.App) bool { return a.Project == mark.Project })
	w.apps = append(w.apps, have.Apps()...)
	return w.find(unit), nil
}

// find makes the process of a unit, if it is one of the apps that are known.
func (w *watcher) find(unit string) *process {
	file := fileOf(unit)
	for i := range w.apps {
		a := &w.apps[i]
		if a.Unit != file {
			continue
		}
		p := &process{project: a.Project, app: a.Name, name: a.Name}
		if file != unit {
			_, instance, _ := strings.Cut(strings.TrimSuffix(unit, ".service"), "@")
			p.name += "@" + instance
		}
		w.known[unit] = p
		return p
	}
	return nil
}

// fileOf is the file that a unit is loaded from: an instance's is its template.
func fileOf(unit string) string {
	if prefix, _, ok := strings.Cut(unit, "@"); ok {
		return prefix + "@.service"
	}
	return unit
}

// process is what was told of one process.
type process struct {
	project, app, name string

	last engine.UnitState
	// pid is the process that was told of, 0 once its end was.
	pid int
	// restarts is the number of the last automatic restart.
	restarts int
	// asked says that it is going down because somebody wants it to.
	asked bool
	// due says that its automatic restart is under way: systemd has a service be inactive
	// between the pause and the start.
	due bool
}

// begin takes in a state that nobody is told of.
func (p *process) begin(s engine.UnitState) { p.last, p.pid, p.restarts = s, s.MainPID, s.Restarts }

// next takes in a state, and returns what has happened since the last one.
func (p *process) next(s engine.UnitState) []Event {
	before := p.last
	p.last = s
	var events []Event
	ended := false
	switch {
	case s.Exit.At.After(before.Exit.At):
		events = append(events, Event{Kind: Exited, Time: s.Exit.At, PID: p.pid, Exit: s.Exit})
		ended = true
	case p.pid != 0 && s.MainPID != p.pid:
		events = append(events, Event{Kind: Exited, PID: p.pid})
		ended = true
	}
	if s.Exit.At.IsZero() {
		p.last.Exit = before.Exit // of the one before
	}
	if ended {
		p.pid = 0
	}

	if s.Restarts < before.Restarts {
		p.restarts = s.Restarts // counted from a start by hand
	}
	number := s.Restarts
	if between(s) && (ended || !between(before)) {
		number = max(number, p.restarts+1) // it is counted when the pause is over
	}
	if number > p.restarts {
		p.restarts = number
		events = append(events, Event{Kind: Restarting, Restarts: number})
	}

	started := s.MainPID != 0 && s.MainPID != p.pid
	if started {
		p.pid = s.MainPID
		events = append(events, Event{Kind: Started, Time: s.Started, PID: p.pid})
	}
	if isUp(s) && (started || !isUp(before)) {
		events = append(events, Event{Kind: Ready, PID: p.pid})
	}

	if s.Active == "deactivating" && before.Active != "deactivating" {
		p.asked = s.Result == "" || s.Result == "success"
	} else if isUp(s) {
		p.asked = false
	}
	switch {
	case between(s):
		p.due = s.Restarts >= p.restarts
	case s.Active != "inactive":
		p.due = false
	}
	if isDown(s) && !isDown(before) && !p.due {
		if s.Active == "failed" && !p.asked {
			events = append(events, Event{Kind: GaveUp, Reason: engine.Outcome(s)})
		} else {
			events = append(events, Event{Kind: Stopped})
		}
		p.asked = false
	}
	return events
}

// beforeRestart is what systemd 254 and later add to the state of a service that is on its
// way from its end to an automatic restart.
const beforeRestart = "-before-auto-restart"

func isUp(s engine.UnitState) bool {
	return s.Active == "active" || s.Active == "reloading" || s.Active == "refreshing"
}

// between reports whether a unit is between its end and an automatic restart.
func between(s engine.UnitState) bool {
	return strings.HasPrefix(s.Sub, "auto-restart") || strings.HasSuffix(s.Sub, beforeRestart)
}

// isDown reports whether a unit is down for good; one that nobody has told of is.
func isDown(s engine.UnitState) bool {
	return (s.Active == "" || s.Active == "inactive" || s.Active == "failed") && !between(s)
}
