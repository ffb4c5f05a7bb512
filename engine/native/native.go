// Package native is gm's own supervisor: it runs units where there is no systemd,
// behind the same engine.Engine. It executes the files that the compiler wrote, as
// systemd reads them; rules.go says of each directive whether it is honoured, ignored
// with a note, or refused.
//
// Files become definitions (load.go), which the core works with: one value that only
// changes in step, a pure function from a time and an event to effects. One goroutine,
// the loop, carries the effects out and tells the core what came of them. Processes
// write their logs themselves. Everything that must outlive the supervisor is in files
// of its Home, so that one which was killed is followed by another that goes on.
package native

import (
	"context"
	"path/filepath"

	"gm/engine"
)

// Home is the directory that holds everything of one supervisor.
type Home string

// Units holds unit files, drop-ins and .wants directories, as /etc/systemd/system does.
func (h Home) Units() string { return filepath.Join(string(h), "units") }

// Env holds a directory of environment files for each project.
func (h Home) Env() string { return filepath.Join(string(h), "env") }

// Run holds locks and unfinished work. It may outlive a boot.
func (h Home) Run() string { return filepath.Join(string(h), "run") }

// Logs holds what apps write that declare no log files, and manager.log, in which the
// supervisor says what it does with units.
func (h Home) Logs() string { return filepath.Join(string(h), "logs") }

// Socket is where the supervisor listens, mode 0600.
func (h Home) Socket() string { return filepath.Join(string(h), "gm.sock") }

// State is what the next supervisor must know of the processes that run.
func (h Home) State() string { return filepath.Join(string(h), "state.jsonl") }

// Journal is the supervisor's own log about itself.
func (h Home) Journal() string { return filepath.Join(string(h), "supervisor.log") }

// Dirs says where an engine's files are in h.
func (h Home) Dirs(user bool) engine.Dirs {
	return engine.Dirs{
		User: user, Units: h.Units(), Env: h.Env(), Run: h.Run(), Logs: h.Logs(), Search: []string{h.Units()},
	}
}

// Task is what a command does when the supervisor runs it in its own process: until it
// is done or ctx ends. It writes its lines to out.
type Task func(ctx context.Context, out LineWriter) error

// LineWriter takes one line of text without its end.
type LineWriter func(line string)

// Options is how a supervisor runs.
type Options struct {
	Home Home
	// User says that the units are a user's own: no User= is expected in them.
	User bool
	// Environ is what every process inherits beside what its unit says. In the
	// foreground of a container it is the container's, in the background next to nothing.
	Environ []string
	// Program is gm itself, by a path that works even when the file was replaced or
	// removed; units name it by Installed, any path whose base is gm.
	Program string
	// InProcess returns the Task of a command that needs no process of its own (gm
	// watch), given its arguments and environment, or nil.
	InProcess func(argv, environ []string) Task
	// Output, if there is one, gets each line that units write to the engine's log, which
	// then are in no file: for the foreground.
	Output func(unit string, stream engine.Stream, line []byte)
	// Boot starts what is enabled, as at boot. Without it nothing but what is adopted runs.
	Boot bool
	// Version is the program's, as gm version prints it.
	Version string
	// Warn, if there is one, gets what the supervisor has to say about itself.
	Warn func(text string)
	// Again executes gm's supervisor of another program in the place of this process, and
	// returns only if that failed. Nil where that cannot be.
	Again func(program string) error
	// Ready, if there is one, is called when calls are served.
	Ready func()
	// Quiet, if there is one, is called when nothing has happened for some seconds after
	// something did, or when that goes on, at most once a minute: to give back what it
	// needed.
	Quiet func()
}
