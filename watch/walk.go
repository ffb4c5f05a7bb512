package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// walker says what to do with what is found below a watched path.
type walker struct {
	// dir is called for each directory before it is read.
	dir func(name string) error
	// entry is called for each path that counts.
	entry func(name string, e fs.DirEntry, dir bool)
	// link is called for each link to a file that counts.
	link func(name, real string)
}

// walk goes through a directory as far as the rules let it.
func (s *source) walk(dir string, w *walker) error {
	if s.ctx.Err() != nil || !s.rules.descends(dir) {
		return nil
	}
	if err := w.dir(dir); err != nil {
		return s.harmless(dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if err := s.harmless(dir, err); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := s.visit(filepath.Join(dir, e.Name()), e, w); err != nil {
			return err
		}
	}
	return nil
}

// visit does with one entry of a directory what is to be done.
func (s *source) visit(name string, e fs.DirEntry, w *walker) error {
	isDir := e.IsDir()
	descend := isDir
	if e.Type()&fs.ModeSymlink != 0 && s.FollowSymlinks {
		info, err := os.Stat(name)
		if err == nil && info.IsDir() {
			isDir, descend = true, s.follows(name)
		} else if err == nil && w.link != nil && s.rules.counts(name, false) {
			if real, err := filepath.EvalSymlinks(name); err == nil {
				w.link(name, real)
			}
		}
	}
	if s.rules.counts(name, isDir) {
		w.entry(name, e, isDir)
	}
	if descend {
		return s.walk(name, w)
	}
	return nil
}

// followed is a symbolic link to a directory, which is watched by the link's name.
type followed struct{ link, real string }

// follows reports whether the directory that a link leads to is watched by that link:
// not when it is watched anyway, as with a link to a directory above.
func (s *source) follows(link string) bool {
	real, err := filepath.EvalSymlinks(link)
	if err != nil || !s.rules.descends(link) {
		return false
	}
	if slices.Contains(s.followed, followed{link, real}) {
		return true // the same link once more
	}
	for _, of := range s.rules.roots {
		base, err := filepath.EvalSymlinks(of.path)
		if err != nil {
			continue
		}
		if isBelow(real, base) {
			return false
		}
		if rel, ok := relative(base, real); ok && s.rules.descends(filepath.Join(of.path, rel)) {
			return false
		}
	}
	for _, other := range s.followed {
		if isBelow(other.real, real) || isBelow(real, other.real) {
			return false
		}
	}
	s.followed = append(s.followed, followed{link, real})
	return true
}

// harmless returns the error of a directory only if it ends the watch. That one is
// gone, or may not be read, is none.
func (s *source) harmless(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotDir):
		return nil
	case errors.Is(err, fs.ErrPermission):
		if !s.Denied {
			s.warn("cannot watch %s: permission denied", dir)
		}
		return nil
	case isLimit(err):
		return err
	}
	s.warn("cannot watch %s: %v", dir, err)
	return nil
}
