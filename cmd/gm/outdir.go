package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gm/diag"
	"gm/disk"
	"gm/units"
)

// outdir is what is between a directory of units and the units it should hold.
// survey makes it without touching anything; diff prints it and write carries
// it out.
type outdir struct {
	shown  string // as the user wrote it
	dir    string // absolute, symbolic links resolved
	exists bool

	changes   []change // sorted by name
	unchanged int
	// blocked says which files are in the way: they are not gm's to replace.
	blocked diag.List
	// edited says which files of gm's were changed by hand since.
	edited diag.List
}

// change is what happens to one file: old is nil when there is none yet, new is
// nil when it is stale.
type change struct {
	name string
	old  []byte
	new  *file
}

// The modes of what is written; umask does not apply. Environment files hold
// secrets.
const (
	unitMode fs.FileMode = 0o644
	envMode  fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o755
)

// file is one file of the output. Its text is rendered when it is first asked
// for: in the goroutine that compares or writes it, while another one waits for
// the disk.
type file struct {
	name string
	unit units.Unit
	text []byte
}

func (f *file) render() []byte {
	if f.text == nil {
		f.text = units.Render(f.unit)
	}
	return f.text
}

func (f *file) mode() fs.FileMode {
	if units.IsEnvFile(f.name) {
		return envMode
	}
	return unitMode
}

// files lists the files of a set.
func files(set units.Set) []file {
	out := make([]file, len(set))
	for i, u := range set {
		out[i] = file{name: u.Name, unit: u}
	}
	return out
}

// survey compares the directory with the files of a project that it should
// hold. Of what else is there, only files that bear the project's mark are
// stale; with apps given, only those of these apps.
func (c *caller) survey(shown, project string, want []file, apps []string) (*outdir, error) {
	o := &outdir{shown: filepath.Clean(shown), dir: c.realpath(shown)}
	info, err := os.Stat(o.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A dangling link would be written through to who knows where.
		if _, err := os.Lstat(o.dir); err == nil {
			return nil, &failure{statusFailed, "in-the-way", fmt.Sprintf("%s is a symbolic link to nothing", o.shown),
				"remove it, or make what it points to"}
		}
		for i := range want {
			o.changes = append(o.changes, change{name: want[i].name, new: &want[i]})
		}
		return o, nil
	case err != nil:
		return nil, o.failed(err)
	case !info.IsDir():
		return nil, &failure{statusFailed, "in-the-way", fmt.Sprintf("%s is a file; a directory is expected", o.shown),
			"move it away, or choose another directory"}
	}
	o.exists = true
	have, err := o.list()
	if err != nil {
		return nil, o.failed(err)
	}
	return o, o.compare(project, want, have, apps)
}

// failed wraps an error about the directory as a whole.
func (o *outdir) failed(err error) error {
	return &failure{statusFailed, "cannot-write", fmt.Sprintf("cannot use %s: %s", o.shown, reason(err)), remedyFor(err)}
}

// list returns the names in the directory that a file of gm's could have:
// units, environment files and drop-ins.
func (o *outdir) list() ([]string, error) {
	entries, err := os.ReadDir(o.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		switch name := entry.Name(); {
		case entry.IsDir() && strings.HasSuffix(name, ".d"):
			inside, err := os.ReadDir(filepath.Join(o.dir, name))
			if err != nil {
				return nil, err
			}
			for _, drop := range inside {
				if dropName := name + "/" + drop.Name(); !drop.IsDir() && units.CheckFileName(dropName) == nil {
					names = append(names, dropName)
				}
			}
		case !entry.IsDir() && units.CheckFileName(name) == nil:
			names = append(names, name)
		}
	}
	return names, nil
}

// compare fills in the changes.
func (o *outdir) compare(project string, want []file, have []string, apps []string) error {
	wanted := make(map[string]*file, len(want))
	names := slices.Clone(have)
	for i := range want {
		wanted[want[i].name] = &want[i]
		names = append(names, want[i].name)
	}
	slices.Sort(names)
	names = slices.Compact(names)

	found := make([]existing, len(names))
	err := disk.Parallel(len(names), func(i int) error {
		if want := wanted[names[i]]; want != nil {
			want.render()
		}
		var err error
		if found[i], err = look(filepath.Join(o.dir, names[i])); err != nil {
			return &failure{statusFailed, "cannot-read",
				fmt.Sprintf("cannot read %s: %s", o.path(names[i]), reason(err)), "give yourself the right to read it, or move it away"}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, name := range names {
		o.decide(name, wanted[name], &found[i], project, apps)
	}
	return nil
}

// decide settles what happens to one name.
func (o *outdir) decide(name string, want *file, have *existing, project string, apps []string) {
	ours := have.marked && have.mark.Project == project
	switch {
	case want == nil && (!ours || apps != nil && !slices.Contains(apps, have.mark.App)):
		return // not ours, or not of the apps in question
	case want == nil:
		o.changes = append(o.changes, change{name: name, old: have.text})
	case !have.exists:
		o.changes = append(o.changes, change{name: name, new: want})
		return
	case have.regular && bytes.Equal(have.text, want.render()) && (want.mode() == unitMode || have.mode.Perm()&^envMode == 0):
		o.unchanged++
		return
	case !ours:
		whose := "it does not bear gm's mark"
		switch {
		case !have.regular:
			whose = "it is no regular file"
		case have.marked:
			whose = fmt.Sprintf("it belongs to project %q", have.mark.Project)
		}
		o.blocked = append(o.blocked, diag.Diagnostic{Severity: diag.Error, Code: "in-the-way",
			Cause:  fmt.Sprintf("%s is in the way: %s", o.path(name), whose),
			Remedy: "move it away, or give the units other names with --prefix"})
		// It still differs, which is what --check asks.
		o.changes = append(o.changes, change{name: name, old: have.text, new: want})
		return
	default:
		o.changes = append(o.changes, change{name: name, old: have.text, new: want})
	}
	if !have.pristine {
		fate := "the edit is overwritten"
		if want == nil {
			fate = "it is removed"
		}
		o.edited = append(o.edited, diag.Diagnostic{Severity: diag.Warning, Code: "hand-edited",
			Cause:  fmt.Sprintf("%s was edited since gm wrote it; %s", o.path(name), fate),
			Remedy: "make the change in the declaration: gm explain systemd"})
	}
}

// existing is a file that is there, or the lack of one.
type existing struct {
	exists, regular  bool
	mode             fs.FileMode
	text             []byte
	mark             units.Mark
	marked, pristine bool
}

func look(path string) (existing, error) {
	// A link in place of a drop-in's directory would be followed out of here.
	if parent := filepath.Dir(path); strings.HasSuffix(parent, ".d") {
		if info, err := os.Lstat(parent); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return existing{exists: true, mode: info.Mode(), text: []byte{}}, nil
		}
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return existing{}, nil
	case errors.Is(err, syscall.ENOTDIR):
		// A file stands where the directory of a drop-in should be.
		return existing{exists: true, text: []byte{}}, nil
	case err != nil:
		return existing{}, err
	}
	e := existing{exists: true, regular: info.Mode().IsRegular(), mode: info.Mode(), text: []byte{}}
	if !e.regular {
		return e, nil
	}
	if e.text, err = os.ReadFile(path); err != nil {
		return existing{}, err
	}
	if e.text == nil {
		e.text = []byte{}
	}
	e.mark, e.pristine, e.marked = units.Sealed(e.text)
	return e, nil
}

// path is the name of a file in the directory, as messages call it.
func (o *outdir) path(name string) string { return filepath.Join(o.shown, name) }

// diff returns the unified difference between the directory and what it should
// hold; it is empty when they agree.
func (o *outdir) diff() []byte {
	var out bytes.Buffer
	for _, ch := range o.changes {
		oldName, newName := o.path(ch.name), o.path(ch.name)
		var text []byte
		if ch.new == nil {
			newName = ""
		} else {
			text = ch.new.render()
		}
		if ch.old == nil {
			oldName = ""
		}
		difference := unified(oldName, newName, ch.old, text)
		if len(difference) == 0 { // only the mode
			fmt.Fprintf(&out, "--- %s\n+++ %s\nmode of a file of secrets: %s is expected\n", oldName, newName, ch.new.mode())
		}
		out.Write(difference)
	}
	return out.Bytes()
}

// summary counts what write did: "3 written, 1 removed, 5 unchanged".
func (o *outdir) summary() string {
	written := 0
	for _, ch := range o.changes {
		if ch.new != nil {
			written++
		}
	}
	return fmt.Sprintf("%d written, %d removed, %d unchanged", written, len(o.changes)-written, o.unchanged)
}
