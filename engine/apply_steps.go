package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gm/disk"
)

// carryOut does what the plan says, until something fails.
func (a *apply) carryOut(caller context.Context) {
	ctx, abort := context.WithCancelCause(caller)
	a.abort = abort
	defer abort(nil)
	steps := []func(context.Context){a.stop, a.write, a.load, a.start}
	for _, step := range steps {
		if ctx.Err() != nil {
			break
		}
		step(ctx)
	}
	if err := caller.Err(); err != nil && a.cause == nil {
		a.cause = fmt.Errorf("interrupted: %w", context.Cause(caller))
	}
	if len(a.failures) > 0 && a.cause == nil && !a.o.KeepFailed {
		a.failAlike(caller)
	}
}

// breaks notes what fails beside units, and calls everything off.
func (a *apply) breaks(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cause == nil {
		a.cause = err
	}
	a.abort(errAborted)
}

// stop stops what the plan says: the apps side by side, each wave after wave, and
// after them what they hang on.
func (a *apply) stop(ctx context.Context) {
	var apps, project []*AppPlan
	for i := range a.plan.Apps {
		switch p := &a.plan.Apps[i]; {
		case len(p.Stop) == 0:
		case p.App == "":
			project = append(project, p)
		default:
			apps = append(apps, p)
		}
	}
	for _, list := range [][]*AppPlan{apps, project} {
		var wait sync.WaitGroup
		for _, p := range list {
			wait.Go(func() {
				for _, wave := range p.Stop {
					for unit, err := range a.stopWave(ctx, func(string) string { return p.App }, wave) {
						a.unitFails(ctx, p, unit, err, 0)
					}
					if ctx.Err() != nil {
						return
					}
				}
			})
		}
		wait.Wait()
	}
}

// stopWave stops units side by side, and clears the failed state of those that did
// not end in peace. It returns why some could not be stopped.
func (a *apply) stopWave(ctx context.Context, app func(unit string) string, wave []string) map[string]error {
	errs := make([]error, len(wave))
	var wait sync.WaitGroup
	for i, unit := range wave {
		wait.Go(func() {
			job := Job{Op: Stop, Unit: unit, Alone: strings.HasSuffix(unit, ".target")}
			_, errs[i] = a.do(ctx, app(unit), Stopping, job)
		})
	}
	wait.Wait()
	failed := map[string]error{}
	for i, err := range errs {
		if err != nil {
			failed[wave[i]] = err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	states, err := a.e.Units(ctx, Brief, wave)
	if err != nil {
		for _, unit := range wave {
			failed[unit] = cmp.Or(failed[unit], err)
		}
		return failed
	}
	// A unit that is not loaded cannot be stopped, and need not.
	var dirty []string
	for unit, err := range failed {
		if s, loaded := states[unit]; (!loaded || s.Active == "inactive" || s.Active == "failed") && !isLost(err) {
			delete(failed, unit)
		}
	}
	for _, unit := range wave {
		if states[unit].Active == "failed" {
			dirty = append(dirty, unit)
		}
	}
	killed := a.clear(ctx, dirty)
	for _, unit := range wave {
		if failed[unit] == nil {
			a.report(Progress{App: app(unit), Unit: unit, Step: Stopped, Err: killed[unit]})
		}
	}
	return failed
}

// clear clears the failed state that stopped units are left in, and returns which
// of them had to be killed. What it cannot clear is only for show.
func (a *apply) clear(ctx context.Context, units []string) map[string]error {
	killed := map[string]error{}
	if len(units) == 0 {
		return killed
	}
	states, _ := a.e.Units(ctx, Full, units)
	for _, unit := range units {
		// A failure of before the stop is none of it.
		if states[unit].Result == "timeout" && a.have.Units[unit].Active != "failed" {
			killed[unit] = errors.New("it did not stop in time and was killed")
		}
		_ = a.e.ResetFailed(ctx, unit)
	}
	return killed
}

// write makes the files and links what the plan says.
func (a *apply) write(ctx context.Context) {
	changes := fileChanges(a.dirs, a.plan, a.unmoved)
	if len(changes) == 0 {
		return
	}
	a.report(Progress{Step: Writing})
	tx, err := disk.Prepare(ctx, a.fs, stageDir(a.dirs, a.plan.Project), changes, true)
	if err == nil {
		a.tx = tx
		err = tx.Commit(ctx)
	}
	if err == nil {
		a.written = true
	} else if !isCancel(ctx, err) {
		a.breaks(err)
	}
}

// load has the engine read the files, if it has to.
func (a *apply) load(ctx context.Context) {
	if !a.reload {
		return
	}
	a.report(Progress{Step: Reloading})
	a.asked = true
	if err := a.readFiles(ctx); err != nil {
		if !isCancel(ctx, err) {
			a.breaks(err)
		}
		return
	}
	a.loaded = true
	a.forgetRemoved(ctx)
}

// forgetRemoved clears the failed state of units that are no more: it would keep
// them in the engine's memory.
func (a *apply) forgetRemoved(ctx context.Context) {
	removed := map[string]bool{}
	for i := range a.plan.Apps {
		for _, f := range a.plan.Apps[i].Files {
			if f.New == nil {
				removed[f.Name] = true
			}
		}
	}
	if len(removed) == 0 {
		return
	}
	for unit, s := range a.have.Units {
		if _, stopped := a.jobs[unit]; !stopped && s.Active == "failed" && removed[fileOf(unit)] {
			_ = a.e.ResetFailed(ctx, unit)
		}
	}
}

func (a *apply) readFiles(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, a.o.Deadline)
	defer cancel()
	err := a.e.Reload(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("the engine did not read the unit files within %s: %w", a.o.Deadline, err)
	}
	return err
}

// start starts and restarts what the plan says, the apps side by side. The order
// between them is the engine's, which has all jobs at once.
func (a *apply) start(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch
	var watched []string
	for i := range a.plan.Apps {
		if p := &a.plan.Apps[i]; a.waits(p) {
			watched = append(watched, slices.Concat(p.Restart, p.Start)...)
		}
	}
	if len(watched) > 0 {
		var err error
		if a.watch, err = openWatch(ctx, a.e, watched); err != nil {
			if !isCancel(ctx, err) {
				a.breaks(err)
			}
			return
		}
	}
	var wait sync.WaitGroup
	each := func(one func(*AppPlan)) {
		for i := range a.plan.Apps {
			wait.Go(func() { one(&a.plan.Apps[i]) })
		}
		wait.Wait()
	}
	together := a.together()
	if len(together) > 0 {
		each(func(p *AppPlan) { a.startTargets(ctx, p) })
		a.pull(ctx, together)
		each(func(p *AppPlan) { a.startUnits(ctx, p) })
		return
	}
	each(func(p *AppPlan) {
		a.startTargets(ctx, p)
		a.startUnits(ctx, p)
	})
}

// waits reports whether what is started of an app has to stay up for a time.
func (a *apply) waits(p *AppPlan) bool { return !a.o.Now && !p.Notifies && p.MinUptime > 0 }

// startTargets starts what holds units together, without these.
func (a *apply) startTargets(ctx context.Context, p *AppPlan) {
	var wait sync.WaitGroup
	for _, unit := range p.Quiet {
		if isTarget(unit) {
			wait.Go(func() { a.quiet(ctx, p, Job{Op: Start, Unit: unit, Alone: true}) })
		}
	}
	wait.Wait()
}

func isTarget(unit string) bool { return strings.HasSuffix(unit, ".target") }

// startUnits starts and restarts the units of an app.
func (a *apply) startUnits(ctx context.Context, p *AppPlan) {
	var wait sync.WaitGroup
	each := func(units []string, one func(unit string)) {
		for _, unit := range units {
			wait.Go(func() { one(unit) })
		}
	}
	restart := func(unit string) bool { return a.up(ctx, p, unit, Restart) }
	rolled := true
	if p.Effect == Roll {
		for _, unit := range p.Restart {
			// One that does not come up ends the roll: the others are as they were.
			if rolled = restart(unit); !rolled {
				break
			}
		}
	} else {
		each(p.Restart, func(unit string) { restart(unit) })
	}
	if rolled {
		each(p.Start, func(unit string) { a.up(ctx, p, unit, Start) })
	}
	wait.Wait()
	// Timers and watches last: what they start again must not come in between.
	each(slices.DeleteFunc(slices.Clone(p.Quiet), isTarget), func(unit string) {
		op := Start
		if a.ran(unit) {
			op = Restart
		}
		a.quiet(ctx, p, Job{Op: op, Unit: unit})
	})
	wait.Wait()
}

// quiet starts a unit that has nothing to prove.
func (a *apply) quiet(ctx context.Context, p *AppPlan, job Job) {
	if took, err := a.do(ctx, p.App, "", job); err != nil {
		a.unitFails(ctx, p, job.Unit, err, took)
	}
}

// longestStay is how long a unit is watched at most, whatever its MinUptime: an app
// that has to live for an hour to count as up is not worth the wait.
const longestStay = 30 * time.Second

// up starts or restarts a unit and waits until it is up.
func (a *apply) up(ctx context.Context, p *AppPlan, unit string, op Op) bool {
	waits := a.waits(p)
	var took time.Duration
	var err error
	if a.pulled[unit] {
		took, err = a.awaitPulled(ctx, unit)
	} else {
		if waits {
			a.watch.forget(unit)
		}
		step := Starting
		if op == Restart {
			step = Restarting
		}
		took, err = a.do(ctx, p.App, step, Job{Op: op, Unit: unit})
	}
	end := Up
	if err == nil && waits {
		a.report(Progress{App: p.App, Unit: unit, Step: Waiting})
		var since time.Time
		if a.ran(unit) {
			since = time.Now() // the process before has ended
		}
		end, err = a.watch.stay(ctx, unit, min(p.MinUptime, longestStay), p.Once, a.isFresh(unit), since)
	}
	if err != nil {
		a.unitFails(ctx, p, unit, err, took)
		return false
	}
	a.mu.Lock()
	a.done[unit] = struct{}{}
	a.mu.Unlock()
	a.report(Progress{App: p.App, Unit: unit, Step: end})
	return true
}

// isFresh reports whether a unit that was started has a new process.
func (a *apply) isFresh(unit string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.jobs[unit] == Restart || !a.ran(unit)
}

// counts reports whether the engine may have counted starts of a unit: it has it in
// memory, or this run had to do with it.
func (a *apply) counts(unit string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, loaded := a.have.Units[unit]
	_, begun := a.jobs[unit]
	return loaded || begun
}

// do runs a job once there is a place for it. Starts count for the start limit,
// those by hand as well: the counter is cleared before.
func (a *apply) do(ctx context.Context, app string, step Step, job Job) (took time.Duration, err error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if step != "" {
		a.report(Progress{App: app, Unit: job.Unit, Step: step})
	}
	limited, cancel := context.WithTimeout(ctx, a.o.Deadline)
	defer cancel()
	if job.Op != Stop && !job.Alone && a.counts(job.Unit) {
		if err := a.e.ResetFailed(limited, job.Unit); err != nil {
			return 0, err
		}
	}
	a.begins(job)
	begun := time.Now()
	err = a.e.Do(limited, job)
	took = time.Since(begun)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &hangs{job, a.o.Deadline}
	}
	return took, err
}

// begins notes that a job begins.
func (a *apply) begins(job Job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	op := job.Op
	if op == Start && a.jobs[job.Unit] == Stop {
		op = Restart
	}
	a.jobs[job.Unit] = op
}

// isLost reports whether the engine itself is gone.
func isLost(err error) bool { return errors.Is(err, ErrUnreachable) }

// unitFails notes that a unit failed, with the state that it is in, and calls off
// what is under way.
func (a *apply) unitFails(ctx context.Context, p *AppPlan, unit string, err error, took time.Duration) {
	switch {
	case isCancel(ctx, err):
		return
	case isLost(err):
		a.breaks(err)
		return
	}
	state := UnitState{Name: unit}
	if stay := (*notUp)(nil); errors.As(err, &stay) {
		state = stay.state
	} else if s, ok := a.look(ctx, Full, []string{unit})[unit]; ok {
		state = s
	}
	err = reason(err, state, p.Notifies, took)
	a.mu.Lock()
	a.failures = append(a.failures, Failure{App: p.App, At: p.At, Unit: unit, Err: err, State: state})
	a.done[unit] = struct{}{}
	if a.jobs[unit] == Stop {
		a.unmoved[p.App] = p.Effect == Remove
	}
	if !a.o.KeepFailed {
		a.abort(errAborted)
	}
	a.mu.Unlock()
	a.report(Progress{App: p.App, Unit: unit, Step: Failed, Err: err})
}

// lookTime bounds what is asked only to tell a person more.
const lookTime = 5 * time.Second

// look returns the state of units as far as the engine tells, even if the work has
// been called off.
func (a *apply) look(ctx context.Context, detail Detail, names []string) map[string]UnitState {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	states, _ := a.e.Units(ctx, detail, names)
	return states
}

// alikePause is what apps that fail for the same reason are given to do so: half of what
// passes before they are started again.
const alikePause = 50 * time.Millisecond

// failAlike finds the units that were called off and fail as well: who mends the
// first would meet them next.
func (a *apply) failAlike(ctx context.Context) {
	var names []string
	owner := map[string]*AppPlan{}
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		for _, unit := range slices.Concat(p.Restart, p.Start) {
			_, done := a.done[unit]
			if _, begun := a.jobs[unit]; begun && !done {
				names = append(names, unit)
				owner[unit] = p
			}
		}
	}
	if len(names) == 0 {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(alikePause):
	}
	states := a.look(ctx, Brief, names)
	for _, unit := range names {
		if s := states[unit]; s.Active == "failed" || restarting(s) {
			if full, ok := a.look(ctx, Full, []string{unit})[unit]; ok {
				s = full
			}
			a.unitFails(ctx, owner[unit], unit, &notUp{s}, 0)
		}
	}
}
