package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// stagePrefix begins the name of the directory in which files are prepared. It
// is hidden, and systemd ignores hidden files.
const stagePrefix = ".gm-stage-"

// write carries the changes out: all of them, or none. Everything is prepared
// in a staging directory on the same file system, so that a full disk is met
// before anything changes; what follows is renames, each with its undo. A
// signal, which ends ctx, is an error like any other.
//
// Files are not synced. What gm gen writes can be written again from its
// source, as a compiler's output can; after a power cut, gm gen --check tells.
// A process that is killed with SIGKILL between two renames leaves some files
// new and some old, and its staging directory, which the next run removes.
//
// The caller holds a lock that lockDir took before the survey.
func (o *outdir) write(ctx context.Context, d disk, lock dirLock) error {
	if len(o.changes) == 0 && o.exists {
		return nil
	}
	w := &writer{outdir: o, ctx: ctx, disk: d, lock: lock}
	var err error
	if o.exists {
		err = w.update()
	} else {
		err = w.create()
	}
	if err == nil {
		return nil
	}
	if undone := w.rollBack(); undone != nil {
		return &failure{statusFailed, "cannot-write",
			fmt.Sprintf("%s, and what was there cannot be restored: %s", w.describe(err), undone),
			fmt.Sprintf("the old files are in %s; move them back by hand", w.stage)}
	}
	if errors.Is(err, context.Canceled) {
		return &failure{statusFailed, "interrupted", fmt.Sprintf("interrupted; %s is as it was", o.shown), ""}
	}
	return &failure{statusFailed, "cannot-write", fmt.Sprintf("%s; %s is as it was", w.describe(err), o.shown), remedyFor(err)}
}

// writer is one run of write.
type writer struct {
	*outdir
	ctx   context.Context
	disk  disk
	lock  dirLock
	stage string
	keep  bool           // the staging directory must stay
	undo  []func() error // in the order of the steps they undo
}

// stepError is what failed for which file.
type stepError struct {
	name string
	err  error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

func (w *writer) describe(err error) string {
	var step *stepError
	if errors.As(err, &step) {
		return fmt.Sprintf("cannot write %s: %s", w.path(step.name), reason(step.err))
	}
	return fmt.Sprintf("cannot write to %s: %s", w.shown, reason(err))
}

// rollBack undoes the steps, last one first. When one cannot be undone the rest
// is tried all the same, and the staging directory stays: it holds the backups.
func (w *writer) rollBack() error {
	var problem error
	for _, undo := range slices.Backward(w.undo) {
		if err := undo(); err != nil && problem == nil {
			problem = err
			w.keep = true
		}
	}
	return problem
}

// removeStage removes the staging directory. What it leaves does no harm and
// goes with the next run, so a failure is not worth failing for.
func (w *writer) removeStage() {
	if !w.keep {
		_ = w.disk.RemoveAll(w.stage)
	}
}

// open makes the staging directory in dir, after removing what a killed run
// left there; the lock tells that no live run uses it.
func (w *writer) open(dir, pattern string) (err error) {
	if w.lock.holds(dir) {
		// The error is about the pattern, and it is a good one.
		left, _ := filepath.Glob(filepath.Join(escapeGlob(dir), escapeGlob(pattern)+"*"))
		for _, stage := range left {
			_ = w.disk.RemoveAll(stage) // as removeStage
		}
	}
	if w.stage, err = w.disk.MkdirTemp(dir, pattern); err != nil {
		return err
	}
	// After the backups in it were moved back, before the parents made for it go.
	w.undo = append(w.undo, func() error { w.removeStage(); return nil })
	return nil
}

// escapeGlob quotes what filepath.Glob would take for a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// create makes a directory that does not exist: it is filled under another name
// beside, and appears as a whole.
func (w *writer) create() error {
	parent, name := filepath.Dir(w.dir), filepath.Base(w.dir)
	if err := w.makeParents(parent); err != nil {
		return err
	}
	if !w.lock.holds(parent) { // it was not there to be locked
		w.lock = lockDir(parent)
		defer w.lock.unlock()
	}
	if err := w.open(parent, stagePrefix+name+"-"); err != nil {
		return err
	}
	made := map[string]bool{}
	for i := range w.changes {
		if dir, _ := filepath.Split(w.changes[i].name); dir != "" && !made[dir] {
			made[dir] = true
			if err := w.makeDir(filepath.Join(w.stage, dir)); err != nil {
				return &stepError{w.changes[i].name, err}
			}
		}
	}
	err := w.fill(func(i int) string { return filepath.Join(w.stage, w.changes[i].name) })
	if err != nil {
		return err
	}
	if err := w.disk.Chmod(w.stage, dirMode); err != nil {
		return err
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return w.disk.Rename(w.stage, w.dir)
}

// makeParents makes the missing parents of the directory.
func (w *writer) makeParents(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	return w.makeDir(dir)
}

// makeDir makes a directory, which is removed again when a later step fails.
func (w *writer) makeDir(dir string) error {
	if err := w.disk.Mkdir(dir, dirMode); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error {
		// In the stage it goes with the stage, filled as it is by then.
		if w.stage != "" && strings.HasPrefix(dir, w.stage+"/") {
			return nil
		}
		return w.disk.Remove(dir)
	})
	// The bits that umask took; a failure leaves a directory that works.
	_ = w.disk.Chmod(dir, dirMode)
	return nil
}

// fill writes the new files to where place says.
func (w *writer) fill(place func(i int) string) error {
	return inParallel(len(w.changes), func(i int) error {
		ch := &w.changes[i]
		if ch.new == nil {
			return nil
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.disk.Create(place(i), ch.new.mode(), ch.new.render()); err != nil {
			return &stepError{ch.name, err}
		}
		return nil
	})
}

// update changes a directory that exists, file by file.
func (w *writer) update() error {
	if err := w.open(w.dir, stagePrefix); err != nil {
		return err
	}
	staged := func(i int) string { return filepath.Join(w.stage, strconv.Itoa(i)+".new") }
	if err := w.fill(staged); err != nil {
		return err
	}
	emptied := map[string]bool{}
	for i := range w.changes {
		ch := &w.changes[i]
		if err := w.ctx.Err(); err != nil {
			return err
		}
		target := filepath.Join(w.dir, ch.name)
		backup := filepath.Join(w.stage, strconv.Itoa(i)+".old")
		var err error
		switch {
		case ch.new == nil:
			err = w.moveAway(target, backup)
			emptied[filepath.Dir(target)] = true
		case ch.old == nil:
			err = w.putNew(staged(i), target)
		default:
			err = w.replace(staged(i), target, backup)
		}
		if err != nil {
			return &stepError{ch.name, err}
		}
	}
	// Directories of drop-ins that are empty now. Whatever keeps one there,
	// somebody else's file for instance, is no reason to fail.
	delete(emptied, w.dir)
	for dir := range emptied {
		_ = w.disk.Remove(dir)
	}
	w.removeStage()
	return nil
}

func (w *writer) moveAway(target, backup string) error {
	if err := w.disk.Rename(target, backup); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { return w.disk.Rename(backup, target) })
	return nil
}

func (w *writer) putNew(staged, target string) error {
	if dir := filepath.Dir(target); dir != w.dir {
		if err := w.makeDir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := w.disk.Rename(staged, target); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { return w.disk.Remove(target) })
	return nil
}

// replace renames over the target, so that a reader sees the old file or the
// new one. The backup is a second name of the old file; where there can be
// none (other owner, other file system), the old file is moved for a moment.
func (w *writer) replace(staged, target, backup string) error {
	if err := w.disk.Link(target, backup); err != nil {
		if err := w.moveAway(target, backup); err != nil {
			return err
		}
		return w.disk.Rename(staged, target)
	}
	if err := w.disk.Rename(staged, target); err != nil {
		return err
	}
	w.undo = append(w.undo, func() error { return w.disk.Rename(backup, target) })
	return nil
}
