package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// few is up to how many new files are synced one by one. Beyond it SyncAll is
// faster: 300 files of 1 kB on ext4 take 5 ms by it, 33 ms by 16 fsyncs at a
// time, and 68 ms one after the other. For a few, it could have to wait for what
// other programs wrote.
const few = 8

const stageMode fs.FileMode = 0o700

// check reports changes that no transaction can make.
func check(stage string, changes []Change) error {
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		path := changes[i].Path
		if err := checkPath(stage, path); err != nil {
			return err
		}
		if seen[path] {
			return fmt.Errorf("%s is changed twice", path)
		}
		seen[path] = true
	}
	return nil
}

// missing lists the directories that the new files need, parents first.
func missing(changes []Change) []directory {
	var out []directory
	at := map[string]int{} // in out, or -1 for a directory that is there
	var need func(dir string, mode fs.FileMode)
	need = func(dir string, mode fs.FileMode) {
		i, known := at[dir]
		if !known {
			i = -1
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				need(filepath.Dir(dir), 0o755)
				i = len(out)
				out = append(out, directory{dir, mode})
			}
			at[dir] = i
		}
		if i >= 0 {
			out[i].Mode |= mode
		}
	}
	for i := range changes {
		if ch := &changes[i]; !ch.Remove {
			mode := fs.FileMode(0o755)
			if ch.Target == "" && ch.Mode&0o077 == 0 {
				mode = 0o700
			}
			need(filepath.Dir(ch.Path), mode)
		}
	}
	return out
}

// makeStage makes the staging directory and its parents, or nothing.
func (t *Tx) makeStage() error {
	var parents []string
	for dir := filepath.Dir(t.stage); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break // what is wrong with it Mkdir tells
		}
		parents = append(parents, dir)
	}
	for _, dir := range slices.Backward(parents) {
		err := t.fs.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue // another process was faster
		}
		if err == nil {
			t.parents = append(t.parents, dir)
			err = t.fs.Chmod(dir, 0o755) // umask
		}
		if err != nil {
			t.removeParents()
			return &Error{"prepare", dir, bare(err), ""}
		}
	}
	if err := t.fs.Mkdir(t.stage, stageMode); err != nil {
		t.removeParents()
		return &Error{"prepare", t.stage, bare(err), ""}
	}
	return nil
}

// removeStage removes the staging directory, and its parents if they were made
// for it and hold nothing else.
func (t *Tx) removeStage() error {
	if err := t.fs.RemoveAll(t.stage); err != nil {
		return &Error{"remove", t.stage, bare(err), ""}
	}
	t.removeParents()
	return nil
}

func (t *Tx) removeParents() {
	for _, dir := range slices.Backward(t.parents) {
		if t.fs.Remove(dir) != nil {
			return
		}
	}
}

// fill writes the new files to the stage.
func (t *Tx) fill(ctx context.Context, changes []Change) error {
	var staged []string
	for i := range changes {
		if t.Changes[i].New != "" && changes[i].Target == "" {
			staged = append(staged, t.staged(i))
		}
	}
	// One after the other: a second writer would mostly wait for the directory.
	for i := range changes {
		ch := &changes[i]
		if ch.Remove {
			continue
		}
		err := ctx.Err()
		switch {
		case err != nil:
			return err
		case ch.Target != "":
			err = t.fs.Symlink(ch.Target, t.staged(i))
		default:
			err = t.fs.Create(t.staged(i), ch.Mode, ch.Text)
		}
		if err != nil {
			return &Error{"write", ch.Path, bare(err), ""}
		}
	}
	if !t.Sync {
		return nil
	}
	if len(staged) > few {
		if err := t.fs.SyncAll(t.stage); err != nil {
			return &Error{"write", t.stage, bare(err), ""}
		}
	} else if err := t.syncEach(staged); err != nil {
		return err
	}
	dirs := []string{t.stage, filepath.Dir(t.stage)}
	for _, dir := range t.parents {
		dirs = append(dirs, filepath.Dir(dir))
	}
	return t.syncEach(dirs)
}

// syncEach syncs several files or directories.
func (t *Tx) syncEach(paths []string) error {
	return parallel(len(paths), syncers, func(i int) error {
		if err := t.fs.Sync(paths[i]); err != nil {
			return &Error{"write", paths[i], bare(err), ""}
		}
		return nil
	})
}

// begin looks at what is there and writes the manifest: from then on the changes
// are going to be made.
func (t *Tx) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range t.Changes {
		e := &t.Changes[i]
		info, err := os.Lstat(e.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return &Error{t.op(i), e.Path, bare(err), ""}
		case info.IsDir():
			return &Error{t.op(i), e.Path, syscall.EISDIR, "move it away"}
		default:
			e.Old = oldName(i)
		}
	}
	text, err := json.Marshal(t.record)
	if err != nil {
		return err
	}
	path := filepath.Join(t.stage, unfinished)
	if err := t.fs.Create(path, 0o600, append(text, '\n')); err != nil {
		return &Error{"write", path, bare(err), ""}
	}
	if t.Sync {
		if err := t.fs.Sync(path); err != nil {
			return &Error{"write", path, bare(err), ""}
		}
	}
	if err := t.mark(phaseCommit); err != nil {
		return err
	}
	if t.Sync {
		return t.syncEach([]string{t.stage})
	}
	return nil
}

// mark gives the manifest another name.
func (t *Tx) mark(phase string) error {
	from := t.phase
	if from == "" {
		from = unfinished
	}
	if err := t.fs.Rename(filepath.Join(t.stage, from), filepath.Join(t.stage, phase)); err != nil {
		return &Error{"write", filepath.Join(t.stage, phase), bare(err), ""}
	}
	t.phase = phase
	return nil
}

// carryOut makes the changes, or those that an earlier process did not get to.
func (t *Tx) carryOut(ctx context.Context) error {
	for _, dir := range t.Make {
		if err := t.fs.Mkdir(dir.Path, dir.Mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return &Error{"write", dir.Path, bare(err), ""}
		}
		if err := t.fs.Chmod(dir.Path, dir.Mode); err != nil { // umask
			return &Error{"write", dir.Path, bare(err), ""}
		}
	}
	for i := range t.Changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.change(i); err != nil {
			return &Error{t.op(i), t.Changes[i].Path, bare(err), ""}
		}
	}
	if err := t.syncTouched(); err != nil {
		return err
	}
	return ctx.Err()
}

// change makes one change. It can be cut short anywhere and made again.
func (t *Tx) change(i int) error {
	e := &t.Changes[i]
	switch {
	case t.resumed && e.New != "" && !exists(t.staged(i)):
		// It is at its place, or was copied to beside it.
		if beside := t.beside(i, e.New); exists(beside) {
			return t.place(beside, e.Path)
		}
		return nil
	case e.Old != "" && !(t.resumed && t.backup(i) != ""):
		if err := t.keep(i); err != nil {
			return err
		}
	}
	if e.New == "" {
		return nil
	}
	err := t.place(t.staged(i), e.Path)
	if errors.Is(err, syscall.EXDEV) {
		err = t.putAcross(i)
	}
	return err
}

// place renames a file to where it belongs. The directory may go at any moment:
// several projects have links in multi-user.target.wants, and whoever removes the
// last one removes the directory.
func (t *Tx) place(from, path string) error {
	err := t.fs.Rename(from, path)
	for range placeTries {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if made := t.fs.Mkdir(filepath.Dir(path), 0o755); made != nil && !errors.Is(made, fs.ErrExist) {
			break
		}
		err = t.fs.Rename(from, path)
	}
	return err
}

const placeTries = 10

// keep makes the backup of a path: a second name, so that a reader sees the old
// file until it sees the new one. What is removed is moved, and so is what can
// have no second name: another user's file, or any where links are unknown.
func (t *Tx) keep(i int) error {
	if t.Changes[i].New != "" && t.keepBy(t.fs.Link, i) == nil {
		return nil
	}
	info, err := os.Lstat(t.Changes[i].Path)
	if err == nil && info.IsDir() {
		return syscall.EISDIR // which a rename would move with all that is in it
	}
	if err == nil {
		err = t.keepBy(t.fs.Rename, i)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else removed it
	}
	return err
}

func (t *Tx) keepBy(put func(from, to string) error, i int) error {
	e := &t.Changes[i]
	err := put(e.Path, filepath.Join(t.stage, e.Old))
	if errors.Is(err, syscall.EXDEV) {
		t.across = true
		err = put(e.Path, t.beside(i, e.Old))
	}
	return err
}

// putAcross puts the new file at its place on another file system: by a copy
// beside it. The staged file goes before the last rename, which tells a copy that
// is whole from one that is not.
func (t *Tx) putAcross(i int) error {
	from, path, beside := t.staged(i), t.Changes[i].Path, t.beside(i, t.Changes[i].New)
	if exists(beside) {
		if err := t.fs.Remove(beside); err != nil {
			return err
		}
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		var target string
		if target, err = os.Readlink(from); err == nil {
			err = t.fs.Symlink(target, beside)
		}
	} else {
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = t.fs.Create(beside, info.Mode().Perm(), text)
		}
		if err == nil && t.Sync {
			err = t.fs.Sync(beside)
		}
	}
	if err == nil {
		err = t.fs.Remove(from)
	}
	if err == nil {
		err = t.place(beside, path)
	}
	return err
}

// undoFor puts back what was there before, and returns the cause of that. A step
// that failed is tried once more: what is back already may have made room.
func (t *Tx) undoFor(cause error) error {
	err := t.takeBack()
	if err != nil {
		err = t.takeBack()
	}
	t.stuck, t.undone = err != nil, err == nil
	if err != nil {
		return &NotRestored{Cause: cause, Undo: err, Stage: t.stage}
	}
	return cause
}

func (t *Tx) takeBack() error {
	if t.phase != phaseUndo {
		if err := t.mark(phaseUndo); err != nil {
			return err
		}
		if t.Sync {
			// Only a power cut would tell the difference: no reason to stop here.
			_ = t.fs.Sync(t.stage)
		}
	}
	return t.undo()
}

// undo takes the changes back, or those that are left of them.
func (t *Tx) undo() error {
	for i := range slices.Backward(t.Changes) {
		if err := t.restore(i); err != nil {
			return &Error{"restore", t.Changes[i].Path, bare(err), ""}
		}
	}
	for _, dir := range slices.Backward(t.Make) {
		if err := t.fs.Remove(dir.Path); err != nil && !stays(err) {
			return &Error{"remove", dir.Path, bare(err), ""}
		}
	}
	if err := t.syncTouched(); err != nil {
		return err
	}
	return t.mark(phaseDone)
}

// restore takes one change back. It can be cut short anywhere and called again.
func (t *Tx) restore(i int) error {
	e := &t.Changes[i]
	copied := e.New != "" && exists(t.beside(i, e.New))
	switch {
	case e.Old != "":
		if backup := t.backup(i); backup != "" {
			if err := t.place(backup, e.Path); err != nil {
				return err
			}
		}
	case e.New != "" && !copied && !exists(t.staged(i)):
		if err := t.fs.Remove(e.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if copied {
		return t.fs.Remove(t.beside(i, e.New))
	}
	return nil
}

// syncTouched puts the entries of all directories on the disk in which something
// changed.
func (t *Tx) syncTouched() error {
	if !t.Sync {
		return nil
	}
	var dirs []string
	for i := range t.Changes {
		if e := &t.Changes[i]; e.New != "" || e.Old != "" {
			dirs = append(dirs, filepath.Dir(e.Path))
		}
	}
	for _, dir := range t.Make {
		dirs = append(dirs, filepath.Dir(dir.Path))
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	// After an undo, those that were made are gone.
	return t.syncEach(slices.DeleteFunc(dirs, func(dir string) bool { return !exists(dir) }))
}

// clean removes what a finished transaction has left: backups, directories that
// are empty now, and the stage. What is done is done when this fails.
func (t *Tx) clean() error {
	if t.across || t.resumed {
		for i := range t.Changes {
			if e := &t.Changes[i]; e.Old != "" && exists(t.beside(i, e.Old)) {
				if err := t.fs.Remove(t.beside(i, e.Old)); err != nil {
					return &Error{"remove", t.beside(i, e.Old), bare(err), ""}
				}
			}
		}
	}
	if t.phase != "" {
		for _, dir := range t.emptied() {
			if err := t.fs.Remove(dir); err != nil && !stays(err) {
				return &Error{"remove", dir, bare(err), ""}
			}
		}
	}
	return t.removeStage()
}

// emptied lists the directories that something was removed from, but for those
// that the stage is in. They go last of all, so that taking the changes back
// finds them as they were.
func (t *Tx) emptied() []string {
	var dirs []string
	for i := range t.Changes {
		e := &t.Changes[i]
		if dir := filepath.Dir(e.Path); e.New == "" && e.Old != "" && !within(t.stage, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// stays reports an error that says that a directory is in use, gone, or not ours
// to remove: no reason to fail.
func stays(err error) bool {
	for _, harmless := range []error{syscall.ENOTEMPTY, fs.ErrExist, fs.ErrNotExist, syscall.EBUSY, syscall.ENOTDIR, fs.ErrPermission} {
		if errors.Is(err, harmless) {
			return true
		}
	}
	return false
}

func (t *Tx) staged(i int) string { return filepath.Join(t.stage, t.Changes[i].New) }

// backup finds the backup of a path: in the stage, or beside the path where that
// is on another file system.
func (t *Tx) backup(i int) string {
	e := &t.Changes[i]
	for _, path := range []string{filepath.Join(t.stage, e.Old), t.beside(i, e.Old)} {
		if exists(path) {
			return path
		}
	}
	return ""
}

// beside is the path of a staged file or backup on the file system of its
// target. It is hidden, and systemd ignores hidden files.
func (t *Tx) beside(i int, name string) string {
	return filepath.Join(filepath.Dir(t.Changes[i].Path), ".gm-"+strings.Trim(filepath.Base(t.stage), ".")+"."+name)
}

// op says in messages what is done with a path.
func (t *Tx) op(i int) string {
	if t.Changes[i].New == "" {
		return "remove"
	}
	return "write"
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// bare takes the path and the system call off an error: they are often those of
// the stage. What a message names is the path that was to change.
func bare(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
