package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"gm/units"
)

// pendingFile holds State.Pending in a project's directory of Dirs.Run.
const pendingFile = "pending.json"

// Observe reads what is installed of a project, or of all with project "", and
// what runs of it: the units that its files declare or its links name, and all
// instances of its templates that the engine has in memory, those that someone
// started beyond the declared number among them.
func Observe(ctx context.Context, e Engine, project string, detail Detail) (*State, error) {
	return observe(ctx, e, project, detail, func(*State) {})
}

// Outline is Observe for who asks no more of what is installed than Apps, Processes and
// the verbs do: Set lacks the rest of the units, which is most of it.
func Outline(ctx context.Context, e Engine, project string, detail Detail) (*State, error) {
	return observe(ctx, e, project, detail, func(s *State) {
		s.outlined = true
		s.Apps()
	})
}

// observe has work done with what the files say while the engine is asked.
func observe(ctx context.Context, e Engine, project string, detail Detail, work func(*State)) (*State, error) {
	s, err := observeFiles(e.Dirs(), project)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w: %w", ErrDenied, err)
		}
		return nil, fmt.Errorf("cannot read what is installed: %w", err)
	}
	names := s.unitNames()
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { work(s) })
	if len(names) > 0 {
		if s.Units, err = e.Units(ctx, detail, names); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// observeFiles is Observe without the engine.
func observeFiles(d Dirs, project string) (*State, error) {
	entries, err := readDir(d.Units)
	if err != nil {
		return nil, err
	}
	var files []string               // of Dirs.Units and below
	var dropIns, wants []fs.DirEntry // directories
	for _, entry := range entries {
		switch name := entry.Name(); {
		case name[0] == '.': // hidden from systemd: where files are prepared
		case entry.Type().IsRegular():
			if units.CheckName(name) == nil {
				files = append(files, filepath.Join(d.Units, name))
			}
		case strings.HasSuffix(name, ".d"):
			dropIns = append(dropIns, entry)
		case strings.HasSuffix(name, ".wants"):
			wants = append(wants, entry)
		}
	}
	inUnits := len(d.Units) + 1
	for _, entry := range dropIns {
		list, err := readDir(filepath.Join(d.Units, entry.Name()))
		if err != nil {
			return nil, err
		}
		for _, conf := range list {
			if strings.HasSuffix(conf.Name(), ".conf") && !conf.IsDir() {
				files = append(files, filepath.Join(d.Units, entry.Name(), conf.Name()))
			}
		}
	}
	envFiles, err := listEnvFiles(d, project)
	if err != nil {
		return nil, err
	}
	files = append(files, envFiles...)

	read := make([]File, len(files))
	err = sideBySide(len(files), func(i int) (err error) {
		f := &read[i]
		f.Path = files[i]
		if f.Text, err = readFile(f.Path); errors.Is(err, fs.ErrNotExist) {
			return nil // a link to nothing, or gone since
		} else if err != nil {
			return err
		}
		var pristine, sealed bool
		if f.Mark, pristine, sealed = units.Sealed(f.Text); sealed {
			f.Edited = !pristine
			f.Name = filepath.Base(f.Path)
			if strings.HasPrefix(f.Path, d.Units+string(filepath.Separator)) {
				f.Name = filepath.ToSlash(f.Path[inUnits:])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}

	s := &State{DropIns: map[string][]string{}, Units: map[string]UnitState{}, Pending: map[string]string{}}
	var others []string // drop-ins without the mark
	for i, f := range read {
		switch {
		case f.Name != "" && (project == "" || f.Mark.Project == project):
			s.Files = append(s.Files, f)
		case f.Name == "" && strings.HasSuffix(files[i], ".conf"):
			others = append(others, files[i])
		}
	}
	slices.SortFunc(s.Files, func(a, b File) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	ours := make(nameSet, len(s.Files))
	for _, f := range s.Files {
		if isUnitFile(f.Name) {
			ours[f.Name] = true
		}
	}
	if project != "" {
		ours[targetOf(project)] = true
	}
	if len(s.Files) > 0 {
		if err := s.observeDropIns(d, ours, others); err != nil {
			return nil, err
		}
	}
	for _, entry := range wants {
		if err := s.observeLinks(d, ours, entry.Name()); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.Links, compareLinks)
	return s, s.observePending(d, project)
}

// listEnvFiles lists the environment files of a project, or of all that the
// caller may see: a list of everything is for anyone to look at, secrets are not.
func listEnvFiles(d Dirs, project string) ([]string, error) {
	dirs := []string{filepath.Join(d.Env, units.EscapeName(project))}
	if project == "" {
		var err error
		if dirs, err = subdirectories(d.Env); err != nil {
			return nil, err
		}
	}
	var files []string
	for _, dir := range dirs {
		list, err := readDir(dir)
		if project == "" && errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range list {
			if entry.Type().IsRegular() && units.IsEnvFile(entry.Name()) {
				files = append(files, filepath.Join(dir, entry.Name()))
			}
		}
	}
	return files, nil
}

// observeDropIns finds the drop-ins that others made for our units: unmarked are
// those of Dirs.Units, the rest is in the other directories of the search path.
func (s *State) observeDropIns(d Dirs, ours nameSet, unmarked []string) error {
	add := func(file string) {
		unit := strings.TrimSuffix(filepath.Base(filepath.Dir(file)), ".d")
		s.DropIns[unit] = append(s.DropIns[unit], file)
	}
	for _, file := range unmarked {
		if ours.has(strings.TrimSuffix(filepath.Base(filepath.Dir(file)), ".d")) {
			add(file)
		}
	}
	others, err := otherDirs(d)
	if err != nil {
		return err
	}
	for _, dir := range others {
		entries, err := readDir(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			unit, ok := strings.CutSuffix(entry.Name(), ".d")
			if !ok || !ours.has(unit) {
				continue
			}
			list, err := readDir(filepath.Join(dir, entry.Name()))
			if err != nil {
				return err
			}
			for _, conf := range list {
				if strings.HasSuffix(conf.Name(), ".conf") {
					add(filepath.Join(dir, entry.Name(), conf.Name()))
				}
			}
		}
	}
	for _, list := range s.DropIns {
		slices.Sort(list)
	}
	return nil
}

// observeLinks finds the links of one .wants directory that are about our units.
// What others link into a directory of ours is theirs as long as it leads
// somewhere.
func (s *State) observeLinks(d Dirs, ours nameSet, wants string) error {
	dir := filepath.Join(d.Units, wants)
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	by := strings.TrimSuffix(wants, ".wants")
	for _, entry := range entries {
		if entry.Type()&fs.ModeSymlink == 0 {
			continue
		}
		name := entry.Name()
		include := ours.has(name)
		if !include && ours[by] {
			_, err := os.Stat(filepath.Join(dir, name))
			include = errors.Is(err, fs.ErrNotExist)
		}
		if include {
			s.Links = append(s.Links, Link{by, name})
		}
	}
	return nil
}

// observePending reads the notes of unfinished work.
func (s *State) observePending(d Dirs, project string) error {
	projects := []string{project}
	if project == "" {
		dirs, err := subdirectories(d.Run)
		if err != nil {
			return err
		}
		projects = projects[:0]
		for _, dir := range dirs {
			projects = append(projects, units.UnescapeName(filepath.Base(dir)))
		}
	}
	for _, p := range projects {
		n, err := readPending(d, p)
		if err != nil {
			return err
		}
		maps.Copy(s.Pending, n.Units)
	}
	return nil
}

// unitNames are the units to ask the engine for.
func (s *State) unitNames() []string {
	seen := make(map[string]bool, len(s.Files))
	var names []string
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, f := range s.Files {
		if !isUnitFile(f.Name) {
			continue
		}
		add(f.Name)
		if strings.HasSuffix(f.Name, ".target") {
			for _, also := range Also(parseFile(f)) {
				if _, ok := templateOf(also); ok {
					add(also)
				}
			}
		}
	}
	for _, l := range s.Links {
		add(l.Wanted)
	}
	for unit := range s.Pending {
		add(unit)
	}
	slices.Sort(names)
	return names
}

// otherDirs returns the directories of the search path beside Dirs.Units, each
// once: /lib is a link to /usr/lib on most machines.
func otherDirs(d Dirs) ([]string, error) {
	var seen []os.FileInfo
	var dirs []string
	for _, dir := range append([]string{d.Units}, d.Search...) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
			continue
		}
		seen = append(seen, info)
		if dir != d.Units {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// readDir lists a directory; one that is not there is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// readFile is os.ReadFile for a thousand small files: that asks for their sizes and
// whether they can be polled, which takes longer than reading them does.
func readFile(path string) ([]byte, error) {
	fd, err := open(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for text := (*buf)[:0]; ; {
		text = slices.Grow(text, 1)
		*buf = text
		n, err := syscall.Read(fd, text[len(text):cap(text)])
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return append(make([]byte, 0, len(text)), text...), nil
		default:
			text = text[:len(text)+n]
		}
	}
}

var buffers = sync.Pool{New: func() any {
	const usual = 16 << 10
	buf := make([]byte, usual)
	return &buf
}}

func open(path string) (fd int, err error) {
	for {
		if fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != syscall.EINTR {
			return fd, err
		}
	}
}

func subdirectories(dir string) ([]string, error) {
	entries, err := readDir(dir)
	var dirs []string
	for _, entry := range entries {
		if entry.IsDir() {
			dirs = append(dirs, filepath.Join(dir, entry.Name()))
		}
	}
	return dirs, err
}

// sideBySide calls work for 0 to n-1 on all CPUs and returns the first error in
// that order.
func sideBySide(n int, work func(i int) error) error {
	const chunk = 16 // so that few files start no goroutines
	errs := make([]error, n)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk) {
		wait.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					return
				}
				for i := from; i < min(from+chunk, n); i++ {
					errs[i] = work(i)
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
