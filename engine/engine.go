// Package engine brings a machine to what a set of units says, and keeps it
// there: Observe reads what is installed, Diff compares it with what is wanted,
// Apply carries the difference out, and the verbs (start, stop, reload, …) work
// on the apps that are there.
//
// It knows units, not PM2, and no init system: what runs the units is behind
// Engine, which gm/engine/systemd implements over D-Bus.
package engine

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Engine runs units. Its files are the engine package's to write (Dirs says
// where); an Engine is told to read them again with Reload.
//
// Every method obeys its context, and an error of it says what the machine
// said. An error that wraps ErrUnreachable means that the engine itself cannot
// be reached (any more), one that wraps ErrDenied that the caller may not.
type Engine interface {
	// Name is "systemd" or "native".
	Name() string
	// Version is the major version of the systemd that runs the units, 0 if none.
	Version() int
	// Dirs says where the files are.
	Dirs() Dirs

	// Units returns the state of the units of these names as far as the engine has
	// them in memory; one that is missing does not run. With Brief only the fields
	// that say so are filled in, at the cost of one call for all units. The name of a
	// template stands for all its instances that are in memory.
	Units(ctx context.Context, detail Detail, names []string) (map[string]UnitState, error)
	// Reload has the engine read the unit files again. Nothing is restarted.
	Reload(ctx context.Context) error
	// Do runs a job and returns when it is finished: nil when it is done, a
	// *JobError when the engine tried and failed.
	Do(ctx context.Context, job Job) error
	// Pull starts a unit and all that it pulls in, by one request, and returns when
	// that was accepted or refused. ended then waits for one of members and returns what
	// Do returns of its start; a member that the request did not reach it starts by Do.
	// It is to be called once at most for each, and for any number at a time.
	Pull(ctx context.Context, unit string, members []string) (ended func(ctx context.Context, member string) error, err error)
	// ResetFailed clears the failed state and the start counter of a unit. A unit
	// that is not in memory is no error.
	ResetFailed(ctx context.Context, unit string) error
	// Kill sends a signal to a unit's main process, or to all its processes.
	Kill(ctx context.Context, unit string, signal int, all bool) error
	// Watch tells of changes of these units (Brief fields), or with Every of all, until ctx ends; the
	// channel is then closed. It is closed early when the engine is gone. The state at
	// the time of the call is not told. Of a service it also tells MainPID, Started,
	// Restarts, Result and Exit, which may be that of the process before the one that
	// runs, as far as they came with a change.
	Watch(ctx context.Context, names []string) (<-chan UnitState, error)
	// Logs returns what units wrote to the engine's own log (the journal), oldest
	// first; with Dirs.Logs only what the engine itself wrote about them.
	Logs(ctx context.Context, q LogQuery) iter.Seq2[LogEntry, error]

	Close() error
}

// The errors of every Engine.
var (
	ErrUnreachable = fmt.Errorf("the engine cannot be reached")
	ErrDenied      = fmt.Errorf("permission denied")
)

// Dirs is where an engine's files are.
type Dirs struct {
	// User says that the units are a user's own.
	User bool
	// Units holds unit files, drop-ins and the links that enable units:
	// "/etc/systemd/system".
	Units string
	// Env holds a directory of environment files for each project: "/etc/gm".
	Env string
	// Run holds what does not outlive a boot, locks and unfinished work: "/run/gm".
	Run string
	// Logs holds a file for each output that goes to the engine's own log, which then
	// has the engine's lines alone; "" where both are in a journal.
	Logs string
	// Search is every directory that units are loaded from, Units among them, the
	// first one winning.
	Search []string
}

// Every is the name that stands for all units in Watch, and in Units for those that are in
// memory.
const Every = "*"

// Detail says how much of a UnitState is asked for.
type Detail int

const (
	Brief Detail = iota
	// Full is everything.
	Full
	// List is Brief and what a list of apps shows: MainPID, Since, Restarts, Result,
	// Exit, CPU, Memory, Measured and what they were before, User and Next, for half of
	// what Full takes.
	List
	// Usage is CPU, Memory and Measured alone, which cost no call to the manager: the
	// second of two readings, from which a share of a CPU is computed.
	Usage
)

// UnitState is a unit as the engine has it in memory. The names are systemd's.
type UnitState struct {
	Name string
	// Brief fields.
	Load   string // loaded, not-found, bad-setting, error, masked
	Active string // active, reloading, inactive, failed, activating, deactivating
	Sub    string // running, exited, dead, auto-restart, waiting, …

	// Services and what else runs processes.
	MainPID  int           // 0 when there is none
	Tasks    int           // how many processes and threads, 0 if unknown
	Since    time.Time     // when Active became what it is
	Started  time.Time     // of the main process
	Restarts int           // automatic ones since the last start by hand
	Result   string        // success, exit-code, signal, core-dump, oom-kill, timeout, start-limit-hit, …
	Exit     Exit          // of the main process, when it has ended
	CPU      time.Duration // used since the unit started, -1 if unknown
	Memory   int64         // bytes in use, -1 if unknown
	Measured time.Time     // when CPU was read
	// CPUBefore is what CPU was at an earlier time, which an engine that knows one tells
	// with List: when it was last asked, if that was less than a minute ago, or the start of
	// the process.
	CPUBefore      time.Duration
	MeasuredBefore time.Time
	// MemoryBy is how MemoryMax= is enforced: "cgroup" by the kernel, at once, or
	// "polling"; "" if there is no limit, or the engine does not say.
	MemoryBy string
	User     string

	// Next is when a timer elapses next; zero for never and for other units.
	Next time.Time

	// Fragment and DropIns are the files that the state was loaded from.
	Fragment string
	DropIns  []string
	// Stale says that these files changed since.
	Stale bool
}

// Running reports whether the unit is up or coming up.
func (s UnitState) Running() bool {
	switch s.Active {
	case "active", "activating", "reloading", "refreshing":
		return true
	}
	return false
}

// Exit is how a process ended: by an exit code or by a signal.
type Exit struct {
	Code   int
	Signal int
	At     time.Time // zero: it has not ended
}

// Job is one thing to do with one unit.
type Job struct {
	Op   Op
	Unit string
	// Alone leaves the unit's dependencies out.
	Alone bool
	// Yield has the job give way, as canceled, where one that it contradicts is under
	// way: a restart to a stop.
	Yield bool
}

// Op is what a job does.
type Op string

const (
	Start   Op = "start"
	Stop    Op = "stop"
	Restart Op = "restart"
	// Reload runs the unit's ExecReload=.
	Reload Op = "reload"
)

// JobError is a job that the engine tried and could not do.
type JobError struct {
	Job
	// Result is systemd's: failed, timeout, dependency, canceled, skipped, …
	Result string
	Cause  error // what the engine said, if it refused the job
}

func (e *JobError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("cannot %s %s: %v", e.Op, e.Unit, e.Cause)
	}
	return fmt.Sprintf("cannot %s %s: %s", e.Op, e.Unit, e.Result)
}

func (e *JobError) Unwrap() error { return e.Cause }

// LogQuery says which log entries are asked for.
type LogQuery struct {
	Units  []string
	Since  time.Time // zero: any time
	Until  time.Time
	Lines  int // the last so many of each unit; 0: all
	Follow bool
	Boot   bool // of this boot only
}

// LogEntry is one line of a log.
type LogEntry struct {
	Time   time.Time
	Unit   string
	PID    int
	Stream Stream
	// Manager says that the engine wrote the line about the unit.
	Manager bool
	Text    []byte // without the line end
	File    string // the file it is from, "" for the engine's own log
}

// Stream is which of its outputs an app wrote a line to.
type Stream string

const (
	Stdout Stream = "out"
	Stderr Stream = "err"
	// Either is what the engine's log says: it does not tell them apart.
	Either Stream = ""
)
