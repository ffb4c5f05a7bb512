package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"gm/disk"
	"gm/units"
)

// pending is the note of what an Apply is about to do: it is on the disk before
// anything changes and gone when all is done, so that whoever finds one knows
// what a killed run has left.
type pending struct {
	// Units says why something is to be done with a unit: State.Pending.
	Units map[string]string
	// Reload says that the engine may not have read the unit files since they
	// changed. It is a file of its own, reloadFile.
	Reload bool
}

// reloadFile is in a project's directory of Dirs.Run while a Reload is due.
const reloadFile = "reload"

// runDir holds what a project has only until the next boot.
func runDir(d Dirs, project string) string { return filepath.Join(d.Run, units.EscapeName(project)) }

// readPending reads the note of a project; where there is none it is empty.
func readPending(d Dirs, project string) (pending, error) {
	n := pending{Units: map[string]string{}, Reload: reloadDue(d, project)}
	path := filepath.Join(runDir(d, project), pendingFile)
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &n.Units)
	}
	if n.Units == nil {
		n.Units = map[string]string{} // "null"
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, fmt.Errorf("cannot read what an earlier run has left: %s: %w", path, err)
	}
	return n, nil
}

// reloadDue reports whether unit files of a project changed and the engine may
// not have read them since.
func reloadDue(d Dirs, project string) bool {
	_, err := os.Lstat(filepath.Join(runDir(d, project), reloadFile))
	return err == nil
}

// replace puts n on the disk where old was.
func (n pending) replace(f disk.FS, d Dirs, project string, old pending) error {
	dir := runDir(d, project)
	if err := n.put(f, d.Run, dir, old); err != nil {
		return fmt.Errorf("cannot note in %s what is to be done: %w", dir, err)
	}
	return nil
}

func (n pending) put(f disk.FS, run, dir string, old pending) error {
	if n.Reload == old.Reload && maps.Equal(n.Units, old.Units) {
		return nil
	}
	if n.Reload || len(n.Units) > 0 {
		for _, dir := range []string{run, dir} {
			if err := f.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	// The mark that a reload is due comes first and goes last: one too many is
	// harmless.
	marker := filepath.Join(dir, reloadFile)
	if n.Reload && !old.Reload {
		if err := f.Create(marker, 0o644, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := n.putUnits(f, filepath.Join(dir, pendingFile)); err != nil {
		return err
	}
	if !n.Reload {
		if err := f.Remove(marker); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if n.Reload || len(n.Units) > 0 {
		return f.Sync(dir)
	}
	return nil
}

// putUnits replaces the file of n.Units as a whole.
func (n pending) putUnits(f disk.FS, path string) error {
	if len(n.Units) == 0 {
		if err := f.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.MarshalIndent(n.Units, "", "  ")
	if err != nil {
		return err
	}
	fresh := path + ".new"
	if err := f.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of a run that was killed
	}
	if err := f.Create(fresh, 0o644, append(text, '\n')); err != nil {
		return err
	}
	if err := f.Sync(fresh); err != nil {
		return err
	}
	return f.Rename(fresh, path)
}
