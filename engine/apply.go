package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gm/disk"
)

// ApplyOptions is how a plan is carried out.
type ApplyOptions struct {
	// KeepFailed leaves what was changed when something fails; otherwise files, links
	// and what ran are put back as they were.
	KeepFailed bool
	// Now does not wait for MinUptime (30 s of it at most): a unit is up when its job
	// is done.
	Now bool
	// Jobs is how many jobs run at once; 0 is 200, or all that start with their project.
	// systemd has no limit of its own.
	Jobs int
	// Deadline is how long one job may take; 0 is 10 minutes, longer than any stop
	// and start that the units themselves allow.
	Deadline time.Duration
	// Have is what is installed, if the caller has just observed it under the lock;
	// otherwise Apply observes it.
	Have *State
	// Report, if there is one, is told of every step as it begins and ends, by one
	// goroutine at a time.
	Report func(Progress)
}

const (
	defaultJobs     = 200
	defaultDeadline = 10 * time.Minute
)

// Progress is one step of Apply.
type Progress struct {
	App  string
	Unit string
	Step Step
	Err  error
}

// Step is what Apply is doing.
type Step string

const (
	Stopping    Step = "stopping"
	Stopped     Step = "stopped" // with an error if it had to be killed
	Writing     Step = "writing"
	Reloading   Step = "reloading"
	Starting    Step = "starting"
	Restarting  Step = "restarting"
	Waiting     Step = "waiting" // for the unit to stay up
	Up          Step = "up"
	Ended       Step = "ended" // a job that did what it had to
	Failed      Step = "failed"
	RollingBack Step = "rolling back"
	RolledBack  Step = "rolled back"
)

// Apply carries out a plan. The caller holds the project's lock, and has called
// Recover.
//
// When something fails everything is put back: files, links, and what ran before
// runs again, unless KeepFailed. The error is then an *ApplyError. So it is when ctx
// ends. Killed at any moment, Apply leaves files that are all old or all new once
// Recover has seen to them, and a note of what is left to do (State.Pending), which
// the next Diff takes up.
//
// An error of another type came before anything was changed.
func Apply(ctx context.Context, e Engine, fs disk.FS, p *Plan, o ApplyOptions) error {
	a, err := newApply(ctx, e, fs, p, o)
	if err != nil || a.idle() {
		return err
	}
	if err := a.noteBefore().replace(fs, a.dirs, p.Project, a.found); err != nil {
		return err
	}
	a.carryOut(ctx)
	if len(a.failures) == 0 && a.cause == nil {
		return a.finish()
	}
	if o.KeepFailed {
		return a.keep(ctx)
	}
	return a.rollBack(ctx)
}

// ApplyError is an Apply that did not succeed.
type ApplyError struct {
	Failures []Failure
	// Cause is what failed beside units, nil if nothing did: the disk, the engine as a
	// whole, or the end of the context.
	Cause error
	// RolledBack says that everything is as it was before.
	RolledBack bool
	// Undone is what went wrong while putting things back.
	Undone error
}

// Failure is one unit that did not do what was asked.
type Failure struct {
	App, At, Unit string
	Err           error
	// State is the unit's at that time, with what its process ended with.
	State UnitState
	// Log is the last that it wrote.
	Log []LogEntry
}

func (e *ApplyError) Error() string {
	switch {
	case e.Cause != nil:
		return e.Cause.Error()
	case len(e.Failures) == 1:
		return fmt.Sprintf("%s: %v", e.Failures[0].Unit, e.Failures[0].Err)
	}
	return fmt.Sprintf("%d units failed", len(e.Failures))
}

func (e *ApplyError) Unwrap() []error {
	var list []error
	if e.Cause != nil {
		list = append(list, e.Cause)
	}
	for i := range e.Failures {
		list = append(list, e.Failures[i].Err)
	}
	return list
}

// StalePlan is the error of Apply for a saved plan whose base has changed.
type StalePlan struct{ Want, Have string }

func (e *StalePlan) Error() string { return "what is installed has changed since the plan was made" }

// apply is one Apply.
type apply struct {
	e     Engine
	fs    disk.FS
	dirs  Dirs
	plan  *Plan
	o     ApplyOptions
	have  *State
	found pending // the note of an earlier run
	tx    *disk.Tx
	began time.Time
	// logged is the size of each log file then: what came before has no times to tell by.
	logged map[string]int64
	slots  chan struct{}
	watch  *watch
	abort  context.CancelCauseFunc
	// pulled are the units that one request starts together, if there was one: at that
	// time, and pullEnded waits for each. Quiet ones come along.
	pulled    map[string]bool
	along     []string
	pulledAt  time.Time
	pullEnded func(ctx context.Context, unit string) error
	// reload says that a Reload is due or will be, written that files and links are new,
	// asked that the Reload was asked for, and loaded that it was done.
	reload, written, asked, loaded bool

	reports sync.Mutex

	mu       sync.Mutex
	failures []Failure
	cause    error
	jobs     map[string]Op       // that were begun, of each unit; Stop and Start are a Restart
	done     map[string]struct{} // units that are up, have ended or have failed
	unmoved  map[string]bool     // apps that could not be stopped
}

// errAborted calls off what is under way when something has failed.
var errAborted = errors.New("called off, because something else failed")

func newApply(ctx context.Context, e Engine, fs disk.FS, p *Plan, o ApplyOptions) (*apply, error) {
	a := &apply{
		e: e, fs: fs, dirs: e.Dirs(), plan: p, o: o, have: o.Have, began: time.Now(),
		jobs: map[string]Op{}, done: map[string]struct{}{}, unmoved: map[string]bool{},
	}
	a.o.Deadline = cmp.Or(max(o.Deadline, 0), defaultDeadline)
	a.slots = make(chan struct{}, cmp.Or(max(o.Jobs, 0), defaultJobs))
	if a.have == nil {
		have, err := Observe(ctx, e, p.Project, Brief)
		if err != nil {
			return nil, err
		}
		a.have = have
	}
	if base := a.have.Base(p.Project); p.Base != "" && p.Base != base {
		return nil, &StalePlan{Want: p.Base, Have: base}
	}
	if err := p.check(e, a.have); err != nil {
		return nil, err
	}
	var err error
	if a.found, err = readPending(a.dirs, p.Project); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(p.Apps, func(a AppPlan) bool { return len(a.Restart)+len(a.Start)+len(a.Quiet) > 0 }) {
		a.logged = logSizes(a.dirs.Logs)
	}
	a.reload = a.found.Reload || slices.ContainsFunc(p.Apps, func(a AppPlan) bool { return len(a.Files)+len(a.Links) > 0 })
	return a, nil
}

// idle reports whether there is nothing to do.
func (a *apply) idle() bool { return a.plan.Empty() && !a.reload }

// ran reports whether a unit ran before.
func (a *apply) ran(unit string) bool { return a.have.Units[unit].Running() }

func (a *apply) report(p Progress) {
	if a.o.Report != nil {
		a.reports.Lock()
		defer a.reports.Unlock()
		a.o.Report(p)
	}
}

// noteBefore says what a run that is killed from now on leaves to do.
func (a *apply) noteBefore() pending {
	n := pending{Units: maps.Clone(a.found.Units), Reload: a.reload}
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		for _, list := range [][]string{p.Restart, p.Start, p.Quiet, p.Later} {
			for _, unit := range list {
				n.Units[unit] = p.why()
			}
		}
		if p.Effect == Halt {
			continue // none of it is to run again
		}
		for _, unit := range slices.Concat(p.Stop...) {
			if _, noted := n.Units[unit]; !noted && a.ran(unit) {
				n.Units[unit] = p.why()
			}
		}
	}
	return n
}

// noteAfter says what is left to do: of what was found the rest, what the plan
// puts off, and what it did not get to although it changed the files.
func (a *apply) noteAfter() pending {
	if stuck := (*disk.NotRestored)(nil); errors.As(a.cause, &stuck) {
		return a.noteBefore() // Recover will carry the changes out, or take them back
	}
	n := pending{Units: maps.Clone(a.found.Units), Reload: (a.found.Reload || a.written) && !a.loaded}
	files := make(map[string]bool, len(a.have.Files))
	for i := range a.have.Files {
		files[a.have.Files[i].Name] = true
	}
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		for _, f := range p.Files {
			files[f.Name] = f.New != nil && (a.written || f.Old != nil)
		}
		for _, unit := range slices.Concat(p.Stop...) {
			delete(n.Units, unit)
		}
		for _, unit := range slices.Concat(p.Restart, p.Start, p.Quiet) {
			if _, begun := a.jobs[unit]; begun {
				delete(n.Units, unit)
			} else if a.written && len(p.Files) > 0 {
				n.Units[unit] = p.why()
			}
		}
		for _, unit := range p.Later {
			n.Units[unit] = p.why()
		}
	}
	maps.DeleteFunc(n.Units, func(unit, _ string) bool { return !files[fileOf(unit)] })
	return n
}

// why says in one line what led to the effect.
func (p *AppPlan) why() string { return cmp.Or(strings.Join(p.Why, ", "), string(p.Effect)) }

// finish ends an Apply in which all went well.
func (a *apply) finish() error {
	var err error
	if a.tx != nil {
		err = a.tx.Close()
	}
	if err == nil {
		err = a.noteAfter().replace(a.fs, a.dirs, a.plan.Project, a.noteBefore())
	}
	if err == nil {
		return nil
	}
	a.cause = fmt.Errorf("all is done, but not cleaned up: %w", err)
	return a.failure(false, nil)
}
