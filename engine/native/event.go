package native

import (
	"time"

	"gm/engine"
)

// callID is a call of a client that waits for an answer; 0 is nobody.
type callID int64

// token names one process that the core asked for, or one timer that it set. What is
// told of an old token means nothing.
type token int64

// event is what the core is told.
type event interface{ event() }

type (
	// evLoaded gives the core the unit files, at the start and after a Reload.
	evLoaded struct{ lib *library }
	// evJob asks for a job. It is answered when the job is finished.
	evJob struct {
		call callID
		job  engine.Job
	}
	// evPull asks for the start of a unit and all that it pulls in, as one transaction,
	// answered as soon as it is accepted. evJoin asks for the end of the start of a member:
	// of the job that is under way or has ended since the pull, else of a new one.
	evPull struct {
		call callID
		unit string
	}
	evJoin struct {
		call callID
		pull callID // of the evPull
		unit string
	}
	evReset struct {
		call callID
		unit string
	}
	// evSpawned is what came of effSpawn.
	evSpawned struct {
		token token
		proc  proc  // zero for a task in the supervisor
		err   error // a *spawnError: why there is no process
	}
	// evExited tells that a process or task has ended. Known is false for an adopted one, of
	// which only the end is known.
	evExited struct {
		token token
		exit  exitStatus
	}
	// evEmptied tells that no process of a unit is left, after effAwaitEmpty.
	evEmptied struct{ unit string }
	// evNotified is a message of sd_notify(3) from a process of a unit.
	evNotified struct {
		unit   string
		pid    int
		main   bool // the main process sent it
		fields map[string]string
	}
	evTimeout struct{ token token }
	// evIncoming tells that a socket of a socket unit has something to read.
	evIncoming struct{ unit string }
	// evOverMemory tells that a unit uses more than its MemoryMax=; killed says that the kernel
	// has killed it already.
	evOverMemory struct {
		unit   string
		killed bool
	}
	// evClockSet tells that the wall clock was set.
	evClockSet struct{}
	// evAdopted gives the core a unit as an earlier supervisor left it, before evBoot. Main and
	// Control are the tokens of the processes that still run, 0 for those that do not: a
	// main process that is gone ended with a status that nobody knows.
	evAdopted struct {
		record  record
		main    token
		control token
	}
	// evBoot starts what is enabled. evShutdown stops everything, in order; call is
	// answered when nothing runs any more.
	evBoot     struct{}
	evShutdown struct{ call callID }
)

func (evLoaded) event()     {}
func (evJob) event()        {}
func (evPull) event()       {}
func (evJoin) event()       {}
func (evReset) event()      {}
func (evSpawned) event()    {}
func (evExited) event()     {}
func (evEmptied) event()    {}
func (evNotified) event()   {}
func (evTimeout) event()    {}
func (evIncoming) event()   {}
func (evOverMemory) event() {}
func (evClockSet) event()   {}
func (evAdopted) event()    {}
func (evBoot) event()       {}
func (evShutdown) event()   {}

// effect is what the core asks for.
type effect interface{ effect() }

type (
	// effSpawn makes a process, or a task in the supervisor. The loop answers with
	// evSpawned before it takes another event.
	effSpawn struct {
		token      token
		unit       string
		role       role
		def        *definition
		command    command
		invocation string   // INVOCATION_ID, 32 hex digits, of this run of the unit
		env        []string // more of it: MAINPID, SERVICE_RESULT, EXIT_CODE, EXIT_STATUS
		notify     bool     // NOTIFY_SOCKET is to be set
		sockets    []string // socket units whose descriptors it gets (LISTEN_FDS)
	}
	// effSignal signals processes of a unit: the one of token, or with token 0 all of
	// them, but for that of except.
	effSignal struct {
		unit   string
		token  token
		except token
		signal int
	}
	// effAwaitEmpty asks to be told (evEmptied) when no process of a unit is left.
	effAwaitEmpty struct{ unit string }
	// effMain makes another process of a unit its main one (MAINPID=). It is answered by
	// evSpawned, with an error if that is none of the unit's, before another event.
	effMain struct {
		token token
		unit  string
		pid   int
	}
	// effArm sets a timer; a wall one goes by the clock on the wall.
	effArm struct {
		token token
		at    time.Time
		wall  bool
	}
	effDisarm struct{ token token }
	// effOpen and effClose make and remove the sockets of a socket unit; effOpen is answered
	// by evSpawned with its token before another event. effListen asks for evIncoming, once.
	effOpen struct {
		token token
		unit  string
		def   *definition
	}
	effClose struct {
		unit string
		def  *definition
	}
	effListen struct{ unit string }
	// effReply answers a call.
	effReply struct {
		call callID
		err  error
	}
	// effChanged tells that a unit's state is another: for those who watch, and to be saved.
	effChanged struct{ unit string }
	// effLog is a line of the supervisor's about a unit.
	effLog struct {
		unit string
		text string
	}
	// effDown tells that everything was stopped.
	effDown struct{}
)

func (effSpawn) effect()      {}
func (effSignal) effect()     {}
func (effAwaitEmpty) effect() {}
func (effMain) effect()       {}
func (effArm) effect()        {}
func (effDisarm) effect()     {}
func (effOpen) effect()       {}
func (effClose) effect()      {}
func (effListen) effect()     {}
func (effReply) effect()      {}
func (effChanged) effect()    {}
func (effLog) effect()        {}
func (effDown) effect()       {}

// role is what a process is to its unit.
type role uint8

const (
	roleMain    role = iota
	roleControl      // ExecStartPre=, ExecReload=, …
)

// proc is a process. Its number alone may be another's later.
type proc struct {
	PID int `json:"pid,omitempty"`
	// Start is when it was started, in whatever unit the system counts that in.
	Start uint64 `json:"start,omitempty"`
}

// exitStatus is how a process ended.
type exitStatus struct {
	code    int
	signal  int
	core    bool
	unknown bool // it was adopted, and nobody can tell
	at      time.Time
	// failed is the error of a task.
	failed error
}

// spawnError is a process that could not be made: the step it failed at, as in systemd's
// exit codes (systemd.exec(5), PROCESS EXIT CODES): EXEC, CHDIR, USER, STDOUT, …
type spawnError struct {
	step string
	code int // 203, 200, 217, 209, …
	err  error
}

func (e *spawnError) Error() string { return e.err.Error() }
func (e *spawnError) Unwrap() error { return e.err }

// record is what the next supervisor must know of a unit.
type record struct {
	Unit       string      `json:"unit"`
	Invocation string      `json:"invocation,omitempty"`
	Active     string      `json:"active,omitempty"`
	Sub        string      `json:"sub,omitempty"`
	Main       proc        `json:"main,omitzero"`
	Control    proc        `json:"control,omitzero"`
	Spawning   bool        `json:"spawning,omitempty"` // a process may be there that Main does not tell of
	Since      time.Time   `json:"since,omitzero"`
	Started    time.Time   `json:"started,omitzero"`
	Restarts   int         `json:"restarts,omitempty"`
	Starts     []time.Time `json:"starts,omitempty"` // for the start limit
	Result     string      `json:"result,omitempty"`
	Exit       engine.Exit `json:"exit,omitzero"`
	Digest     string      `json:"digest,omitempty"`
	Memory     string      `json:"memory,omitempty"` // how MemoryMax= is enforced
	Last       time.Time   `json:"last,omitzero"`    // of a timer: when it elapsed
	Task       bool        `json:"task,omitempty"`   // the main process is a task in the supervisor
	Job        string      `json:"job,omitempty"`    // what is being done with it: start, stop, restart
}
