package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The phases of a transaction are the names of its manifest.
const (
	phaseCommit = "manifest.commit"
	phaseUndo   = "manifest.undo"
	phaseDone   = "manifest.done"
	unfinished  = "manifest.new"
)

// format is the version of record.
const format = 1

// record is what the manifest says.
type record struct {
	Format  int     `json:"format"`
	Sync    bool    `json:"sync,omitempty"`
	Changes []entry `json:"changes"`
	// Make are the directories that were missing, parents first.
	Make []directory `json:"make,omitempty"`
}

// entry is one change. Modes and link targets are those of the staged file.
type entry struct {
	Path string `json:"path"`
	New  string `json:"new,omitempty"` // the staged file; "": the path is removed
	Old  string `json:"old,omitempty"` // the backup; "": there was nothing
}

type directory struct {
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
}

func newName(i int) string { return strconv.Itoa(i) + ".new" }
func oldName(i int) string { return strconv.Itoa(i) + ".old" }

// read finds the manifest of the stage, if there is one.
func (t *Tx) read(info fs.FileInfo) error {
	for _, phase := range []string{phaseUndo, phaseCommit, phaseDone} {
		path := filepath.Join(t.stage, phase)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = trusted(info)
		}
		if err == nil {
			err = json.Unmarshal(text, &t.record)
		}
		if err == nil {
			err = t.valid()
		}
		if err != nil {
			return &Error{"recover", path, bare(err), "compare the files that it names with those in " + t.stage +
				" (N.old: before, N.new: after), then remove that directory"}
		}
		t.phase = phase
		return nil
	}
	return nil
}

// trusted reports a directory that others than this user could have filled.
func trusted(info fs.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("its directory belongs to user %d", stat.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("its directory is open to others (mode %04o)", mode)
	}
	return nil
}

// valid reports a manifest that Commit would not write.
func (t *Tx) valid() error {
	if t.Format != format {
		return fmt.Errorf("it has format %d, and this gm knows %d", t.Format, format)
	}
	for i, e := range t.Changes {
		if (e.New != "" && e.New != newName(i)) || (e.Old != "" && e.Old != oldName(i)) {
			return fmt.Errorf("change %d names the files %q and %q", i, e.New, e.Old)
		}
		if err := checkPath(t.stage, e.Path); err != nil {
			return err
		}
	}
	for _, d := range t.Make {
		if err := checkPath(t.stage, d.Path); err != nil {
			return err
		}
		if d.Mode&^fs.ModePerm != 0 {
			return fmt.Errorf("%s has mode %v", d.Path, d.Mode)
		}
	}
	return nil
}

// checkPath reports a path that no change can have.
func checkPath(stage, path string) error {
	switch {
	case !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/":
		return fmt.Errorf("%q is not the absolute path of a file", path)
	case within(path, stage):
		return fmt.Errorf("%s is in the staging directory", path)
	}
	return nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
