package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gm/disk"
)

// stagePrefix begins the name of the directory in which files are prepared. It
// is hidden, and systemd ignores hidden files.
const stagePrefix = ".gm-stage-"

// write carries the changes out: all of them, or none. Everything is prepared
// in a staging directory on the same file system, so that a full disk is met
// before anything changes. A signal, which ends ctx, is an error like any other.
//
// Files are not synced. What gm gen writes can be written again from its
// source, as a compiler's output can; after a power cut, gm gen --check tells.
// For the same reason disk.Recover has no part in it: a process that is killed
// with SIGKILL between two renames leaves some files new and some old, and its
// staging directory, which the next run removes. That directory may have come
// with the sources, from anyone, so what it says is not followed.
//
// The caller holds a lock that lockDir took before the survey.
func (o *outdir) write(ctx context.Context, f disk.FS, lock dirLock) error {
	if len(o.changes) == 0 && o.exists {
		return nil
	}
	w := &writer{outdir: o, ctx: ctx, disk: f, lock: lock}
	var err error
	if o.exists {
		err = w.update()
	} else {
		err = w.create()
	}
	var broken *disk.NotRestored
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broken):
		return &failure{statusFailed, "cannot-write",
			fmt.Sprintf("%s, and what was there cannot be restored: %s", w.describe(broken.Cause), reason(broken.Undo)),
			fmt.Sprintf("the old files are in %s; move them back by hand", broken.Stage)}
	case errors.Is(err, context.Canceled):
		return &failure{statusFailed, "interrupted", fmt.Sprintf("interrupted; %s is as it was", o.shown), ""}
	}
	return &failure{statusFailed, "cannot-write", fmt.Sprintf("%s; %s is as it was", w.describe(err), o.shown), remedyFor(err)}
}

// writer is one run of write.
type writer struct {
	*outdir
	ctx  context.Context
	disk disk.FS
	lock dirLock
	made []string // parents of the directory
}

// describe names the file that could not be written, if it was a file of the
// output.
func (w *writer) describe(err error) string {
	var failed *disk.Error
	if !errors.As(err, &failed) {
		return fmt.Sprintf("cannot write to %s: %s", w.shown, reason(err))
	}
	name, relative := filepath.Rel(w.dir, failed.Path)
	if relative != nil || !slices.ContainsFunc(w.changes, func(ch change) bool { return ch.name == name }) {
		return fmt.Sprintf("cannot write to %s: %s", w.shown, reason(failed.Err))
	}
	return fmt.Sprintf("cannot write %s: %s", w.path(name), reason(failed.Err))
}

// update changes a directory that exists, file by file.
func (w *writer) update() error {
	w.removeStages(w.dir, stagePrefix)
	changes := make([]disk.Change, len(w.changes))
	for i := range w.changes {
		ch := &w.changes[i]
		changes[i] = disk.Change{Path: filepath.Join(w.dir, ch.name), Remove: ch.new == nil}
		if ch.new != nil {
			changes[i].Text, changes[i].Mode = ch.new.render(), ch.new.mode()
		}
	}
	// Where there are no locks another run may be at work.
	stage := filepath.Join(w.dir, stagePrefix+strconv.FormatUint(rand.Uint64(), 36))
	tx, err := disk.Prepare(w.ctx, w.disk, stage, changes, false)
	if err != nil {
		return err
	}
	err = tx.Commit(w.ctx)
	// A stage that stays does no harm and goes with the next run: not worth failing
	// for.
	_ = tx.Close()
	return err
}

// removeStages removes what a killed run left in dir; the lock tells that no live
// run uses it.
func (w *writer) removeStages(dir, prefix string) {
	if !w.lock.holds(dir) {
		return
	}
	// The error is about the pattern, and it is a good one.
	left, _ := filepath.Glob(filepath.Join(escapeGlob(dir), escapeGlob(prefix)+"*"))
	for _, stage := range left {
		_ = w.disk.RemoveAll(stage) // as Close in update
	}
}

// escapeGlob quotes what filepath.Glob would take for a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// create makes a directory that does not exist: it is filled under another name
// beside, and appears as a whole, which takes one rename instead of one a file.
func (w *writer) create() (err error) {
	stage := ""
	defer func() {
		if err == nil {
			return
		}
		if stage != "" {
			_ = w.disk.RemoveAll(stage) // as Close in update
		}
		for _, dir := range slices.Backward(w.made) {
			_ = w.disk.Remove(dir)
		}
	}()
	parent, name := filepath.Dir(w.dir), filepath.Base(w.dir)
	if err := w.makeParents(parent); err != nil {
		return err
	}
	if !w.lock.holds(parent) { // it was not there to be locked
		w.lock = lockDir(parent)
		defer w.lock.unlock()
	}
	w.removeStages(parent, stagePrefix+name+"-")
	if stage, err = w.disk.MkdirTemp(parent, stagePrefix+name+"-"); err != nil {
		return err
	}
	if err := w.fill(stage); err != nil {
		return err
	}
	if err := w.disk.Chmod(stage, dirMode); err != nil {
		return err
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return w.disk.Rename(stage, w.dir)
}

// makeParents makes the missing parents of the directory.
func (w *writer) makeParents(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.makeParents(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := w.makeDir(dir); err != nil {
		return err
	}
	w.made = append(w.made, dir)
	return nil
}

func (w *writer) makeDir(dir string) error {
	if err := w.disk.Mkdir(dir, dirMode); err != nil {
		return err
	}
	// The bits that umask took; a failure leaves a directory that works.
	_ = w.disk.Chmod(dir, dirMode)
	return nil
}

// fill writes the new files, and the directories that they are in, to the stage.
func (w *writer) fill(stage string) error {
	made := map[string]bool{}
	for i := range w.changes {
		if dir, _ := filepath.Split(w.changes[i].name); dir != "" && !made[dir] {
			made[dir] = true
			if err := w.makeDir(filepath.Join(stage, dir)); err != nil {
				return w.failedAt(i, err)
			}
		}
	}
	return disk.Parallel(len(w.changes), func(i int) error {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		f := w.changes[i].new
		if err := w.disk.Create(filepath.Join(stage, f.name), f.mode(), f.render()); err != nil {
			return w.failedAt(i, err)
		}
		return nil
	})
}

func (w *writer) failedAt(i int, err error) error {
	return &disk.Error{Op: "write", Path: filepath.Join(w.dir, w.changes[i].name), Err: err}
}
