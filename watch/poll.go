package watch

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// stamp is what tells two states of a file apart.
type stamp struct {
	changed  time.Time
	modified time.Time
	size     int64
	dir      bool
}

// busyShare limits how much of the time goes into looking: a fifth.
const busyShare = 4

// poll tells changes by looking at everything again and again.
func (s *source) poll(every time.Duration) {
	before, dirs := s.look()
	for _, name := range sorted(before) {
		if is := before[name]; !is.dir {
			s.earlier(name, is.changed)
		}
	}
	if s.Armed != nil {
		s.Armed(dirs)
	}
	pause := time.NewTimer(every)
	defer pause.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-pause.C:
		}
		began := time.Now()
		now, _ := s.look()
		if s.ctx.Err() != nil {
			return
		}
		s.compare(before, now)
		before = now
		pause.Reset(max(every, busyShare*time.Since(began)))
	}
}

func (s *source) compare(before, now map[string]stamp) {
	for _, name := range sorted(before, now) {
		was, known := before[name]
		is, there := now[name]
		switch {
		case !there:
			s.emit(name, Removed)
		case !known:
			s.emit(name, Added)
		case is.dir != was.dir, !is.dir && (!is.modified.Equal(was.modified) || is.size != was.size):
			s.emit(name, Changed)
		}
	}
}

// sorted returns the names of all states in order.
func sorted(states ...map[string]stamp) []string {
	all := map[string]stamp{}
	for _, state := range states {
		maps.Copy(all, state)
	}
	return slices.Sorted(maps.Keys(all))
}

// look returns everything that counts, and the number of directories.
func (s *source) look() (map[string]stamp, int) {
	all, dirs := map[string]stamp{}, 0
	s.followed = nil
	note := func(name string, info fs.FileInfo, dir bool) {
		all[name] = stamp{changedAt(info), info.ModTime(), info.Size(), dir}
	}
	stat := os.Lstat
	if s.FollowSymlinks {
		stat = os.Stat
	}
	w := &walker{
		dir: func(string) error { dirs++; return nil },
		entry: func(name string, e fs.DirEntry, dir bool) {
			info, err := stat(name)
			if err != nil {
				info, err = os.Lstat(name) // a link that leads nowhere
			}
			if err == nil {
				note(name, info, dir)
			}
		},
	}
	for _, of := range s.rules.roots {
		info, err := stat(of.path)
		if err != nil {
			continue
		}
		if s.rules.counts(of.path, info.IsDir()) {
			note(of.path, info, info.IsDir())
		}
		if info.IsDir() {
			_ = s.walk(filepath.Clean(of.path), w)
		}
	}
	return all, dirs
}
