package engine

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gm/disk"
	"gm/units"
)

// keep ends an Apply that failed and is to leave things as they are.
func (a *apply) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.o.Deadline)
	defer cancel()
	if !isLost(a.cause) {
		a.readLogs(ctx)
	}
	var undone []error
	if a.tx != nil {
		undone = append(undone, a.tx.Close())
	}
	undone = append(undone, a.noteAfter().replace(a.fs, a.dirs, a.plan.Project, a.noteBefore()))
	return a.failure(false, errors.Join(undone...))
}

// failure is the error of an Apply that failed.
func (a *apply) failure(rolledBack bool, undone error) *ApplyError {
	slices.SortFunc(a.failures, func(x, y Failure) int {
		return strings.Compare(x.App+"\x00"+x.Unit, y.App+"\x00"+y.Unit)
	})
	return &ApplyError{Failures: a.failures, Cause: a.cause, RolledBack: rolledBack, Undone: undone}
}

// rollBack puts everything back. What was started anew is stopped while the
// engine still knows how; then the old files return, and what ran before runs
// again. Of the caller's context only the values count: it may be what ended.
func (a *apply) rollBack(caller context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), a.o.Deadline)
	defer cancel()
	a.report(Progress{Step: RollingBack, Err: a.failure(false, nil)})
	reachable := !isLost(a.cause) || a.answers(ctx)

	var errs []error
	var wait sync.WaitGroup
	if reachable {
		wait.Go(func() { a.readLogs(ctx) })
		wait.Go(func() { errs = a.stopNew(ctx) })
	}
	filesBack := a.putFilesBack()
	wait.Wait()
	errs = append(errs, filesBack)

	left := pending{Units: maps.Clone(a.found.Units), Reload: a.found.Reload && !a.loaded || a.asked}
	restore := a.jobsBack()
	for _, job := range restore {
		left.Units[job.Unit] = "ran before an install that failed"
	}
	// Otherwise what is started again runs with whatever the engine has in memory.
	asBefore := filesBack == nil
	if reachable && a.asked {
		a.report(Progress{Step: Reloading})
		err := a.readFiles(ctx)
		asBefore = asBefore && err == nil
		left.Reload = false
		errs = append(errs, err)
	}
	left.Reload = left.Reload || !asBefore
	if reachable {
		back, failed := a.restore(ctx, restore)
		errs = append(errs, failed...)
		for _, unit := range back {
			if asBefore {
				delete(left.Units, unit)
			}
		}
	} else {
		errs = append(errs, notRestored(restore))
	}
	maps.Copy(left.Units, a.found.Units)
	errs = append(errs, left.replace(a.fs, a.dirs, a.plan.Project, a.noteBefore()))
	undone := errors.Join(errs...)
	a.report(Progress{Step: RolledBack, Err: undone})
	return a.failure(undone == nil, undone)
}

// answers reports whether an engine that was lost is there again: systemd closes its
// connections at daemon-reexec.
func (a *apply) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, returnTime)
	defer cancel()
	_, err := a.e.Units(ctx, Brief, []string{targetOf(a.plan.Project)})
	return err == nil
}

// returnTime is how long an engine that was lost is given to answer.
const returnTime = 10 * time.Second

// notRestored is the error of an engine that is gone before what ran runs again.
func notRestored(jobs []Job) error {
	if len(jobs) == 0 {
		return nil
	}
	names := make([]string, len(jobs))
	for i := range jobs {
		names[i] = jobs[i].Unit
	}
	return fmt.Errorf("without the engine these cannot be started again: %s", strings.Join(names, " "))
}

// putFilesBack takes back the file transaction. One that cannot be taken back is
// left for Recover.
func (a *apply) putFilesBack() error {
	if a.tx == nil {
		return nil
	}
	if err := a.tx.RollBack(); err != nil {
		return err
	}
	return a.tx.Close()
}

// stopNew stops what did not run before: what the plan started, and what came
// with it by the dependencies of its new units.
func (a *apply) stopNew(ctx context.Context) []error {
	var started, others []string
	for unit, op := range a.jobs {
		if op != Stop && !a.ran(unit) {
			started = append(started, unit)
		}
	}
	for i := range a.plan.Apps {
		for _, f := range a.plan.Apps[i].Files {
			_, begun := a.jobs[f.Name]
			if f.Old == nil && isUnitFile(f.Name) && !isTemplate(f.Name) && !begun && !a.ran(f.Name) {
				others = append(others, f.Name)
			}
		}
	}
	for _, unit := range a.along {
		if _, begun := a.jobs[unit]; !begun && !a.ran(unit) {
			others = append(others, unit)
		}
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if (a.asked || len(a.along) > 0) && len(others) > 0 {
		states, err := a.e.Units(ctx, Brief, others)
		for _, unit := range others {
			if err != nil || !isDown(states[unit]) {
				started = append(started, unit)
			}
		}
	}
	slices.Sort(started)
	owner := a.owners()
	var errs []error
	for _, wave := range stopOrder(started) {
		failed := a.stopWave(ctx, owner, wave)
		for _, unit := range slices.Sorted(maps.Keys(failed)) {
			errs = append(errs, fmt.Errorf("cannot stop %s again: %w", unit, failed[unit]))
		}
	}
	return errs
}

// jobsBack lists what ran before and does not any more, or not as it did: what was
// stopped or restarted.
func (a *apply) jobsBack() []Job {
	var jobs []Job
	for _, unit := range slices.Sorted(maps.Keys(a.jobs)) {
		switch op := a.jobs[unit]; {
		case !a.ran(unit), op == Start:
		case op == Stop:
			jobs = append(jobs, Job{Op: Start, Unit: unit, Alone: strings.HasSuffix(unit, ".target")})
		default:
			jobs = append(jobs, Job{Op: op, Unit: unit})
		}
	}
	return jobs
}

// restore starts again what ran before, and returns what is back.
func (a *apply) restore(ctx context.Context, jobs []Job) (back []string, errs []error) {
	owner := a.owners()
	errs = make([]error, len(jobs))
	var wait sync.WaitGroup
	for i, job := range jobs {
		wait.Go(func() {
			app, step := owner(job.Unit), Starting
			if job.Op == Restart {
				step = Restarting
			}
			_, err := a.do(ctx, app, step, job)
			if err == nil {
				a.report(Progress{App: app, Unit: job.Unit, Step: Up})
				return
			}
			a.report(Progress{App: app, Unit: job.Unit, Step: Failed, Err: err})
			// What was about to restart again and again is no worse off than before.
			if a.have.Units[job.Unit].Active != "activating" {
				errs[i] = fmt.Errorf("cannot start %s again: %w", job.Unit, err)
			}
		})
	}
	wait.Wait()
	for i, job := range jobs {
		if errs[i] == nil {
			back = append(back, job.Unit)
		}
	}
	return back, errs
}

// owners returns a function that says which app of the plan a unit belongs to.
func (a *apply) owners() func(unit string) string {
	owner := map[string]string{}
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		for _, unit := range slices.Concat(slices.Concat(p.Stop...), p.Restart, p.Start, p.Quiet) {
			owner[unit] = p.App
		}
		for _, f := range p.Files {
			owner[f.Name] = p.App
		}
	}
	return func(unit string) string { return owner[unit] }
}

const (
	logLines = 20
	logTime  = 5 * time.Second
	logTries = 3
	logPause = 100 * time.Millisecond
)

// readLogs adds to the failures what the units wrote last.
func (a *apply) readLogs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, logTime)
	defer cancel()
	for i := range a.failures {
		f := &a.failures[i]
		f.Log = a.lastLines(ctx, f)
		// What a process says last is in the log a moment after its end is known.
		for try := 0; try < logTries && !slices.ContainsFunc(f.Log, isWords); try++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(logPause):
			}
			f.Log = a.lastLines(ctx, f)
		}
	}
}

// isWords reports whether a line is the unit's own.
func isWords(e LogEntry) bool { return !e.Manager }

// lastLines returns the last lines of a unit since the Apply began, of the
// engine's log and of the files that its new units name. Of one that failed for a unit that it
// needs, as a socket, those of its companions are among them. Logs that cannot be read hide no
// failure.
func (a *apply) lastLines(ctx context.Context, f *Failure) []LogEntry {
	sources := []LogSource{{App: f.App, Unit: f.Unit}}
	after := a.filesAfter(f.App)
	for _, known := range after.Apps() {
		if fileOf(f.Unit) != known.Unit {
			continue
		}
		sources = Sources(after, a.dirs, []Selection{{App: known, Units: []string{f.Unit}}})
		if job := (*JobError)(nil); errors.As(f.Err, &job) && job.Result == "dependency" {
			for _, unit := range known.Companions {
				sources = append(sources, LogSource{App: f.App, Unit: unit})
			}
		}
	}
	for i := range sources {
		sources[i].From = a.logged[sources[i].File]
	}
	var lines []LogEntry
	for line, err := range Logs(ctx, a.e, sources, LogOptions{Lines: logLines, Since: a.began}) {
		if err == nil {
			lines = append(lines, line.LogEntry)
		}
	}
	return lines
}

// logSizes returns how large the files are that hold the output of apps.
func logSizes(dir string) map[string]int64 {
	list, err := os.ReadDir(dir)
	if dir == "" || err != nil {
		return nil
	}
	sizes := make(map[string]int64, len(list))
	for _, entry := range list {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sizes[filepath.Join(dir, entry.Name())] = info.Size()
		}
	}
	return sizes
}

// filesAfter is a state with the files that an app has by the plan.
func (a *apply) filesAfter(app string) *State {
	after := &State{}
	planned := map[string]bool{}
	for i := range a.plan.Apps {
		if p := &a.plan.Apps[i]; p.App == app {
			for _, f := range p.Files {
				planned[f.Name] = true
				if f.New != nil {
					mark, _, _ := units.Sealed([]byte(*f.New))
					after.Files = append(after.Files, File{Name: f.Name, Text: []byte(*f.New), Mark: mark})
				}
			}
		}
	}
	for _, f := range a.have.Files {
		if f.Mark.App == app && f.Mark.Project == a.plan.Project && !planned[f.Name] {
			after.Files = append(after.Files, f)
		}
	}
	slices.SortFunc(after.Files, func(x, y File) int { return strings.Compare(x.Name, y.Name) })
	return after
}

// Recover finishes or drops what a killed Apply of a project has left half done on
// the disk. It reports whether the next Apply has a Reload to see to, even of a plan
// that is empty. The caller holds the project's lock.
func Recover(ctx context.Context, e Engine, fs disk.FS, project string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	d := e.Dirs()
	found, err := disk.Recover(fs, stageDir(d, project))
	if err != nil {
		return found, err
	}
	old, err := readPending(d, project)
	if err != nil || !found {
		return old.Reload, err
	}
	now := old
	now.Reload = true
	return true, now.replace(fs, d, project, old)
}

// Lock takes a project for this process; who describes it for others ("gm
// install"). When another process has it, held is called once with who that is,
// and Lock waits until it is free or ctx ends.
func Lock(ctx context.Context, d Dirs, project, who string, held func(holder string)) (unlock func(), err error) {
	if held == nil {
		held = func(string) {}
	}
	unlock, err = disk.Lock(ctx, filepath.Join(runDir(d, project), "lock"), who, held)
	if errors.Is(err, iofs.ErrPermission) {
		err = fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return unlock, err
}
