package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const errNotDir = syscall.ENOTDIR

// isLimit reports that the kernel does not watch any more than it does: inotify's
// limits, and on systems without it that of open files.
func isLimit(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// tree is directories that the kernel tells of.
type tree struct {
	*source
	*fsnotify.Watcher
	dirs  map[string]bool
	links map[string][]string // to a file, by the file
}

// notified tells changes as the kernel does. It returns nil when the context ends, or
// the error that keeps it from watching everything.
func (s *source) notified() error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	t := &tree{s, watcher, map[string]bool{}, map[string][]string{}}
	for i := range s.rules.roots {
		if err := t.arm(&s.rules.roots[i], false); err != nil {
			return err
		}
	}
	if s.Armed != nil {
		s.Armed(len(t.dirs))
	}
	var again <-chan time.Time
	rested := time.Now()
	for {
		told := s.told
		select {
		case <-s.ctx.Done():
			return nil
		case event := <-watcher.Events:
			err = t.handle(event)
		case err = <-watcher.Errors:
			switch {
			case errors.Is(err, fsnotify.ErrEventOverflow):
				if again == nil {
					again = time.After(overflowPause)
				}
				err = nil
			case err != nil && !isLimit(err):
				s.warn("%v", err)
				err = nil
			}
		case <-again:
			again = nil
			err = t.rearm()
		}
		if err != nil {
			return err
		}
		if s.told == told && time.Since(rested) > restEvery {
			time.Sleep(rest)
			rested = time.Now()
		}
	}
}

const (
	// rest is a pause where there is much that does not count, such as an app that
	// writes its log: meanwhile the kernel makes one event of many.
	rest      = 10 * time.Millisecond
	restEvery = 2 * time.Millisecond
	// overflowPause is how long after events were lost everything is looked at. An app
	// that writes its log fast enough can make that happen all the time.
	overflowPause = time.Second
	// overflowReach is how long before that a file may have changed: reading what the
	// kernel did keep takes time.
	overflowReach = 10 * time.Second
)

// rearm looks at everything after the kernel had more events than it keeps: for
// directories that are not watched yet, and for files that changed since. That
// something was removed stays unknown.
func (t *tree) rearm() error {
	defer func(since time.Time) { t.Since = since }(t.Since)
	t.Since = time.Now().Add(-overflowReach)
	for i := range t.rules.roots {
		if err := t.arm(&t.rules.roots[i], false); err != nil {
			return err
		}
	}
	return nil
}

// arm watches one of the watched paths, or where it is to appear.
func (t *tree) arm(of *root, appeared bool) error {
	for {
		info, err := os.Lstat(of.path)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && t.FollowSymlinks {
			if target, err := os.Stat(of.path); err == nil {
				info = target
			}
		}
		if err == nil && info.IsDir() {
			if appeared && t.rules.counts(of.path, true) {
				t.emit(of.path, Added)
			}
			return t.walk(of.path, t.walker(appeared))
		}
		if err == nil {
			return t.armFile(of.path, info, appeared)
		}
		// Wait for it in the nearest directory that is there.
		above := filepath.Dir(of.path)
		for above != "/" {
			if info, err := os.Stat(above); err == nil && info.IsDir() {
				break
			}
			above = filepath.Dir(above)
		}
		if err := t.add(above); err != nil {
			return t.harmless(above, err)
		}
		next := stepTo(above, of.path)
		if info, err := os.Stat(next); err != nil || next != of.path && !info.IsDir() {
			return nil
		}
		appeared = true // it came meanwhile
	}
}

// armFile watches a single file, by its directory: editors put another file in its
// place.
func (t *tree) armFile(name string, info fs.FileInfo, appeared bool) error {
	if err := t.add(filepath.Dir(name)); err != nil {
		return t.harmless(filepath.Dir(name), err)
	}
	return t.visit(name, fs.FileInfoToDirEntry(info), t.walker(appeared))
}

// stepTo is the entry of a directory that leads to a path below it.
func stepTo(dir, name string) string {
	for filepath.Dir(name) != dir {
		name = filepath.Dir(name)
	}
	return name
}

func (t *tree) add(dir string) error {
	if t.dirs[dir] {
		return nil
	}
	if err := t.Add(dir); err != nil {
		return err
	}
	t.dirs[dir] = true
	return nil
}

// walker watches directories. What it finds in them is new, or was there before.
func (t *tree) walker(isNew bool) *walker {
	return &walker{
		dir: t.add,
		entry: func(name string, e fs.DirEntry, dir bool) {
			switch {
			case isNew:
				t.emit(name, Added)
			case !dir && !t.Since.IsZero():
				if info, err := e.Info(); err == nil {
					t.earlier(name, changedAt(info))
				}
			}
		},
		link: func(name, real string) {
			if !slices.Contains(t.links[real], name) {
				t.links[real] = append(t.links[real], name)
			}
			// Its changes are told by the directory that it is in.
			if err := t.add(filepath.Dir(real)); err != nil {
				_ = t.harmless(filepath.Dir(real), err)
			}
		},
	}
}

func (t *tree) handle(event fsnotify.Event) error {
	name := filepath.Clean(event.Name)
	switch {
	case event.Has(fsnotify.Create):
		return t.created(name)
	case event.Has(fsnotify.Remove), event.Has(fsnotify.Rename):
		return t.removed(name)
	case event.Has(fsnotify.Write):
		t.changed(name)
	case event.Has(fsnotify.Chmod):
		// touch(1) shows as a change of attributes, and so does chmod.
		const recently = 2 * time.Second
		if info, err := os.Lstat(name); err == nil && !info.IsDir() && time.Since(info.ModTime()).Abs() < recently {
			t.changed(name)
		}
	}
	return nil
}

func (t *tree) changed(name string) {
	for _, name := range append([]string{name}, t.links[name]...) {
		if t.rules.counts(name, false) {
			t.emit(name, Changed)
		}
	}
}

func (t *tree) created(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return nil // a temporary one that is gone again
	}
	for _, link := range t.links[name] {
		if t.rules.counts(link, false) {
			t.emit(link, Added)
		}
	}
	for i := range t.rules.roots {
		// One of the watched paths itself, or a directory above it.
		if of := &t.rules.roots[i]; isBelow(name, of.path) {
			if err := t.arm(of, true); err != nil {
				return err
			}
			if name == of.path {
				return nil
			}
		}
	}
	// What is in a new directory may have been there before the directory was watched.
	return t.visit(name, fs.FileInfoToDirEntry(info), t.walker(true))
}

func (t *tree) removed(name string) error {
	dir := t.dirs[name]
	if t.rules.counts(name, dir) {
		t.emit(name, Removed)
	}
	for _, link := range t.links[name] {
		if t.rules.counts(link, false) {
			t.emit(link, Removed)
		}
	}
	if dir {
		t.forget(name)
	}
	for i := range t.rules.roots {
		if of := &t.rules.roots[i]; isBelow(name, of.path) {
			if err := t.arm(of, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget stops watching a directory and all below it. The kernel goes on watching one
// that was moved, or that only a link led to, under the names of before.
func (t *tree) forget(dir string) {
	for name := range t.dirs {
		if isBelow(dir, name) {
			delete(t.dirs, name)
			_ = t.Remove(name)
		}
	}
	t.followed = slices.DeleteFunc(t.followed, func(f followed) bool { return isBelow(dir, f.link) })
}
