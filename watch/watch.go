// Package watch turns changes of files into the moments at which an app is to be
// restarted, by the rules of PM2 and of chokidar, the library that PM2 watches with.
//
// Changes tells every change that counts; Bursts makes one of those that come
// together. It is told what to watch and what to leave out, and knows no engine.
package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Options is what to watch. The names in brackets are chokidar's.
type Options struct {
	// Dir is what relative paths start from, an absolute path.
	Dir string
	// Paths are files, directories with all that is in them, and globs.
	Paths []string
	// Ignore are paths, globs and regular expressions that do not count. nil is PM2's
	// default: names with a dot before them, and node_modules. (ignored)
	Ignore []string
	// Never are files that do not count whatever the rules say; a star in the name
	// stands for any text.
	Never []string

	// FollowSymlinks watches what symbolic links lead to. (followSymlinks)
	FollowSymlinks bool
	// Literal takes Paths for what they are and never for globs. (disableGlobbing)
	Literal bool
	// Depth is how many levels of directories are watched below each of Paths; -1 is
	// all. (depth)
	Depth int
	// Atomic is how long a file may be gone while an editor replaces it. Unless it is
	// 0, files that editors keep beside it do not count. (atomic)
	Atomic time.Duration
	// Stable is how long a file must have kept its size to count as written, and
	// StableEvery how often it is looked at; 0 does not wait. (awaitWriteFinish)
	Stable, StableEvery time.Duration
	// Poll is how often all files are looked at, in place of being told by the kernel.
	// (usePolling, interval)
	Poll time.Duration
	// Denied says nothing of directories that may not be read. (ignorePermissionErrors)
	Denied bool

	// Since has a file count as changed that is there at the start and was changed after
	// that time; zero is none.
	Since time.Time
	// Warn is told what does not work as asked.
	Warn func(string)
	// Armed is called once everything is watched, with the number of directories.
	Armed func(int)
}

func (o *Options) warn(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(fmt.Sprintf(format, args...))
	}
}

// Kind is what happened to a path.
type Kind string

const (
	Added   Kind = "added"
	Changed Kind = "changed"
	Removed Kind = "removed"
)

// Change is one path that changed.
type Change struct {
	Path string // absolute
	Kind Kind
	At   time.Time // when it was noticed; for one before the start, when it was
}

// fallbackPoll is how often files are looked at where the kernel's limits do not allow
// to watch them.
const fallbackPoll = time.Second

// Changes tells every change that counts until ctx ends, and then closes the channel.
func Changes(ctx context.Context, o Options) <-chan Change {
	out := make(chan Change)
	s := &source{Options: &o, rules: newRules(&o), ctx: ctx, out: out}
	go func() {
		defer close(out)
		s.run(s.notified)
	}()
	if o.Stable > 0 {
		return settled(ctx, out, o.Stable, o.StableEvery, fileSize)
	}
	return out
}

// run tells changes by being told, and where that cannot be by looking.
func (s *source) run(notified func() error) {
	if s.Poll > 0 {
		s.poll(s.Poll)
		return
	}
	began := time.Now().Add(-tick)
	err := notified()
	if err == nil || s.ctx.Err() != nil {
		return
	}
	s.warn("%s; looking at all files every %v instead", explain(err), fallbackPoll)
	// Nothing may be lost on the way from one to the other.
	if s.Since.IsZero() {
		s.Since = began
	}
	s.poll(fallbackPoll)
}

// source is what finds changes: notify.go asks the kernel, poll.go looks.
type source struct {
	*Options
	rules    *Rules
	ctx      context.Context
	out      chan<- Change
	followed []followed
	told     int // how many changes
}

func (s *source) emit(name string, kind Kind) { s.tell(Change{name, kind, time.Now()}) }

func (s *source) tell(c Change) {
	s.told++
	select {
	case s.out <- c:
	case <-s.ctx.Done():
	}
}

// tick is how much the times of files may be behind the clock: they are of the kernel's
// last tick.
const tick = 10 * time.Millisecond

// earlier tells of a file that is there at the start, if it was changed in the time
// that counts and not, by a clock that is ahead, in the future.
func (s *source) earlier(name string, changed time.Time) {
	if !s.Since.IsZero() && changed.After(s.Since) && !changed.After(time.Now()) {
		s.tell(Change{name, Changed, changed.Add(tick)})
	}
}

// explain says which limit of the kernel is reached; see inotify(7).
func explain(err error) string {
	const dir = "/proc/sys/fs/inotify/"
	name := ""
	switch {
	case errors.Is(err, syscall.ENOSPC):
		name = "max_user_watches"
	case errors.Is(err, syscall.EMFILE):
		name = "max_user_instances"
	default:
		return fmt.Sprintf("cannot watch files: %v", err)
	}
	text, err := os.ReadFile(dir + name)
	if err != nil {
		return fmt.Sprintf("cannot watch so many files: the system's limit is reached: %v", err)
	}
	return fmt.Sprintf("cannot watch files: the kernel's limit fs.inotify.%s = %s is reached: raise it with "+
		"`sysctl fs.inotify.%s=…`, and in /etc/sysctl.d to keep it", name, strings.TrimSpace(string(text)), name)
}
