// Package disk changes files all together or not at all: of units, drop-ins and
// the links that enable them, a reader that comes later sees the old ones or the
// new ones, whenever the process is killed.
//
// A transaction goes through a staging directory. It holds the new files as
// N.new, the old ones as N.old, N counting the changes from 0, and, once the
// changes have begun, a manifest, whose name says what is being done:
//
//	(none)           nothing has changed
//	manifest.commit  the changes are being made
//	manifest.undo    they are being taken back
//	manifest.done    they are all made, or all taken back
//
// Each step can be done twice, so a later process finishes what it finds begun.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// FS is the file system as this package changes it. Tests make each step fail
// in turn.
type FS interface {
	Mkdir(path string, mode fs.FileMode) error
	// MkdirTemp makes a new directory in dir, with a name of that pattern.
	MkdirTemp(dir, pattern string) (string, error)
	// Create writes a file that must not exist; mode is not subject to umask.
	Create(path string, mode fs.FileMode, text []byte) error
	Symlink(target, path string) error
	// Link gives a file a second name. A symbolic link is not followed.
	Link(from, to string) error
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	Chmod(path string, mode fs.FileMode) error
	// Sync puts a file, or the entries of a directory, on the disk.
	Sync(path string) error
	// SyncAll puts a directory and the files in it on the disk.
	SyncAll(dir string) error
}

// Change is one path that becomes something else: a file, a symbolic link, or
// nothing.
type Change struct {
	Path   string // absolute
	Text   []byte // of a file
	Mode   fs.FileMode
	Target string // of a symbolic link
	Remove bool
}

// Tx is a number of changes that happen together. It is for one goroutine.
type Tx struct {
	fs    FS
	stage string
	// parents are the directories that were made to hold the stage.
	parents []string
	record
	phase  string // the manifest's name, "" before there is one
	stuck  bool   // neither made nor taken back; the stage must stay
	undone bool
	// resumed says that another process began, so that each step has to look
	// whether it was made; across, that there are backups beside their paths.
	resumed, across bool
}

// Prepare writes everything that is new to a staging directory, which it makes
// and which must not exist, so that a full disk is met before anything changes.
// With sync, what Commit made is on the disk when it returns. The caller closes
// the Tx, whatever becomes of it.
//
// Commit makes missing directories: 0755, or 0700 if all files that they are made
// for are for their owner alone. The directory of a removed path goes with it
// once it is empty, one level and no more, unless it holds the stage. That is
// what systemctl disable does, and right for NAME.service.d and X.wants; the
// stage stands in the directory that must stay.
func Prepare(ctx context.Context, f FS, stage string, changes []Change, sync bool) (*Tx, error) {
	if err := check(stage, changes); err != nil {
		return nil, err
	}
	t := &Tx{fs: f, stage: stage, record: record{Format: format, Sync: sync, Changes: make([]entry, len(changes))}}
	for i := range changes {
		t.Changes[i].Path = changes[i].Path
		if !changes[i].Remove {
			t.Changes[i].New = newName(i)
		}
	}
	if err := t.makeStage(); err != nil {
		return nil, err
	}
	t.Make = missing(changes)
	if err := t.fill(ctx, changes); err != nil {
		_ = t.removeStage() // what it leaves, Recover drops
		return nil, err
	}
	return t, nil
}

// Commit makes the changes. When one fails, or ctx ends, everything is as it was;
// should that fail as well, the error is a *NotRestored.
func (t *Tx) Commit(ctx context.Context) error {
	if t.phase != "" || t.stuck {
		return errors.New("the changes were made before")
	}
	if err := t.begin(ctx); err != nil {
		if t.phase == "" {
			return err
		}
		return t.undoFor(err)
	}
	if err := t.carryOut(ctx); err != nil {
		return t.undoFor(err)
	}
	if err := t.mark(phaseDone); err != nil {
		return t.undoFor(err)
	}
	return nil
}

// RollBack puts back what was there before Commit. When it fails, the error is a
// *NotRestored; another RollBack, or Recover, goes on from there.
func (t *Tx) RollBack() error {
	if t.phase == "" || t.undone {
		return nil
	}
	return t.undoFor(nil)
}

// Close removes the staging directory, and with it the way back. Where the
// changes are neither made nor taken back it does nothing: the stage is for
// Recover.
func (t *Tx) Close() error {
	if t.stuck {
		return nil
	}
	return t.clean()
}

// Recover finishes what a killed process left in a staging directory: the changes
// are all made if Commit had begun, none if not or if they were being taken back.
// It reports whether there was anything. The caller has made sure, by a lock,
// that no live process uses the directory.
//
// The manifest is followed only in a directory that belongs to this user alone: in
// another it could have been written by anyone, and it names any path.
func Recover(f FS, stage string) (bool, error) {
	info, err := os.Lstat(stage)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return true, &Error{"recover", stage, bare(err), ""}
	case !info.IsDir():
		return true, &Error{"recover", stage, errors.New("it is no directory"), "move it away"}
	}
	t := &Tx{fs: f, stage: stage, resumed: true}
	if err := t.read(info); err != nil {
		return true, err
	}
	switch t.phase {
	case phaseCommit:
		if err := t.carryOut(context.Background()); err != nil {
			return true, err
		}
		if err := t.mark(phaseDone); err != nil {
			return true, err
		}
	case phaseUndo:
		if err := t.undo(); err != nil {
			return true, err
		}
	}
	return true, t.clean()
}

// Error is what failed with a path.
type Error struct {
	Op   string // prepare, write, remove, restore, recover
	Path string
	Err  error // the bare reason, such as syscall.ENOSPC
	// Remedy is what to do, where the reason alone does not tell.
	Remedy string
}

func (e *Error) Error() string { return fmt.Sprintf("cannot %s %s: %v", e.Op, e.Path, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// NotRestored is the error of changes that could neither be made nor taken back.
// Recover takes it up from the stage, which holds the old files.
type NotRestored struct {
	Cause error // of taking them back; nil if RollBack was asked for
	Undo  error
	Stage string
}

func (e *NotRestored) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("what was there before cannot be restored: %v", e.Undo)
	}
	return fmt.Sprintf("%v, and what was there before cannot be restored: %v", e.Cause, e.Undo)
}

func (e *NotRestored) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Undo}
	}
	return []error{e.Cause, e.Undo}
}
