package native

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// processes makes the processes of units, tells what becomes of them, and knows which
// process belongs to which unit. Its methods are called by the loop's goroutine alone.
//
// A process belongs to a unit whose main or control process it is, or that is in the
// session of one, descends from one, or bears the INVOCATION_ID of the unit's run. Where
// control groups can be made the unit's group says it instead.
type processes struct {
	o        *Options
	post     func(event)
	accounts accounts
	null     *os.File
	groups   *groups
	pipes    pipes
	measure  scanner // of usage

	// mu guards what follows: goroutines that look for processes, or wait for adopted ones,
	// work on it too.
	mu       sync.Mutex
	byPID    map[int]*tracked
	byToken  map[token]*tracked
	families map[string]*family
	awaited  map[*family]bool // evEmptied is to be told of them
	// orphans says that processes may be there whose parents were lost to others.
	orphans   bool
	adoptions int
	ends      ends // of adopted processes
	search    search
	polling   polling
	closed    bool
}

// tracked is a main or control process that runs.
type tracked struct {
	proc
	token  token
	role   role
	family *family
	child  bool // wait4(2) tells of its end
}

// family is what is known of the processes of one unit.
type family struct {
	unit       string
	invocation string
	roots      []*tracked
	// sessions are those of roots that have ended, in which others may be left.
	sessions []int
	group    string // its control group, "" without one
	swept    bool   // what is left behind is to be ended: KillMode=

	unsure bool // a search must come before evEmptied
	// outside are those that the last search found outside of the sessions: when their parents
	// have ended, nothing may tell any more whose they are.
	outside []proc
	next    time.Time
	pause   time.Duration // before the next search
	wishes  []signalWish  // signals for what a search finds
	kills   bool          // SIGKILL was sent to all

	limit    int64 // MemoryMax=, -1 without
	enforced bool  // by the group
	over     bool  // it was told that the limit is exceeded
	oomKills int64

	// used are the last two readings of the time on CPUs, the later one last.
	used [2]spent
}

// defaultUmask is systemd's default of UMask=.
const defaultUmask = 0o022

// newProcesses makes the one of this supervisor. It tells of ends by post, which may be called
// by any goroutine and never waits.
func newProcesses(o *Options, post func(event)) (*processes, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	p := &processes{
		o: o, post: post, accounts: newAccounts(), null: null, groups: openGroups(o.Home),
		byPID: map[int]*tracked{}, byToken: map[token]*tracked{}, families: map[string]*family{},
		awaited: map[*family]bool{},
	}
	p.orphans = becomeSubreaper() != nil
	// What a process begins with is what the supervisor has: the defaults of UMask= and
	// IgnoreSIGPIPE=, systemd.exec(5).
	syscall.Umask(defaultUmask)
	resetIgnored()
	signal.Ignore(syscall.SIGPIPE)
	return p, nil
}

// familyOf returns the family of a unit, made if need be.
func (p *processes) familyOf(unit string) *family {
	f := p.families[unit]
	if f == nil {
		f = &family{unit: unit, limit: -1}
		p.families[unit] = f
	}
	return f
}

// register begins to watch a process.
func (p *processes) register(t *tracked) {
	p.byPID[t.PID] = t
	p.byToken[t.token] = t
	t.family.roots = append(t.family.roots, t)
}

// ended forgets a process that has ended, and tells of it.
func (p *processes) ended(t *tracked, exit exitStatus) {
	f := t.family
	delete(p.byPID, t.PID)
	delete(p.byToken, t.token)
	f.roots = slices.DeleteFunc(f.roots, func(o *tracked) bool { return o == t })
	// The number is not used again as long as somebody is in its process group.
	if f.group == "" && syscall.Kill(-t.PID, 0) != syscall.ESRCH {
		f.sessions = append(f.sessions, t.PID)
	}
	if t.role == roleMain {
		if f.enforced && (exit.unknown || exit.signal == int(syscall.SIGKILL)) {
			if n := oomKills(f.group); n > f.oomKills {
				f.oomKills = n
				p.post(evOverMemory{unit: f.unit, killed: true})
			}
		}
		if !slices.ContainsFunc(f.roots, func(o *tracked) bool { return o.role == roleMain }) {
			p.polling.remove(f)
		}
	}
	p.post(evExited{t.token, exit})
}

// reap collects what has ended; the loop calls it at each SIGCHLD.
func (p *processes) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			break
		}
		if t := p.byPID[pid]; t != nil {
			p.ended(t, newExit(status))
		}
	}
	p.settleAll()
}

func newExit(status syscall.WaitStatus) exitStatus {
	x := exitStatus{at: time.Now()}
	if status.Signaled() {
		x.signal, x.core = int(status.Signal()), status.CoreDump()
	} else {
		x.code = status.ExitStatus()
	}
	return x
}

// awaitEmpty posts evEmptied once nothing of a unit is left. Without a control group "nothing"
// is, for a unit that no signal was sent to, that the sessions of its processes are empty:
// what has left them is looked for after that, and ended.
func (p *processes) awaitEmpty(unit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.families[unit]
	if f == nil {
		p.post(evEmptied{unit})
		return
	}
	f.pause = 0
	p.awaited[f] = true
	p.settle(f)
}

func (p *processes) settleAll() {
	for f := range p.awaited {
		p.settle(f)
	}
}

// settle tells that a family is empty, if it is, and else sees to it that this is asked again.
func (p *processes) settle(f *family) {
	if !p.awaited[f] || len(f.roots) > 0 {
		return
	}
	switch {
	case f.group != "":
		// To remove it is the test: nobody can enter it after that.
		if removeGroup(f.group) != nil {
			p.searchLater(f)
			return
		}
		f.group = ""
	case f.unsure || len(f.outside) > 0 || len(f.wishes) > 0:
		p.searchLater(f)
		return
	default:
		f.sessions = slices.DeleteFunc(f.sessions, func(id int) bool { return syscall.Kill(-id, 0) == syscall.ESRCH })
		if len(f.sessions) > 0 {
			p.searchLater(f)
			return
		}
		if f.swept {
			p.sweepLater(f)
		}
	}
	p.emptied(f)
}

func (p *processes) emptied(f *family) {
	delete(p.awaited, f)
	if p.families[f.unit] == f {
		delete(p.families, f.unit)
	}
	p.post(evEmptied{f.unit})
}

// spawnFiles is what a process gets of the supervisor.
type spawnFiles struct {
	notify string // NOTIFY_SOCKET
	// sockets are its descriptors 3, 4, …, with their names.
	sockets []uintptr
	names   []string
}

// signal sends a signal to one process, or to all of a unit.
func (p *processes) signal(e effSignal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	signal := syscall.Signal(e.signal)
	if e.token != 0 {
		if t := p.byToken[e.token]; t != nil {
			_ = p.send(t, signal)
		}
		return
	}
	if f := p.families[e.unit]; f != nil {
		p.signalAll(f, signal, p.byToken[e.except])
	}
}

// kill sends a signal that a client asks for: to the main process of a unit, or to all.
func (p *processes) kill(unit string, signal int, all bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.families[unit]
	if f == nil {
		return fmt.Errorf("cannot send signal %d to %s: it has no processes", signal, unit)
	}
	if all {
		p.signalAll(f, syscall.Signal(signal), nil)
		return nil
	}
	for _, t := range f.roots {
		if t.role == roleMain {
			if err := p.send(t, syscall.Signal(signal)); err != nil {
				return fmt.Errorf("cannot send signal %d to process %d of %s: %w", signal, t.PID, unit, err)
			}
			return nil
		}
	}
	return fmt.Errorf("cannot send signal %d to %s: it has no main process", signal, unit)
}

// send signals a root. The number of a child that was not waited for cannot be another's.
func (p *processes) send(t *tracked, signal syscall.Signal) error {
	if t.child {
		return syscall.Kill(t.PID, signal)
	}
	return signalExactly(t.proc, signal)
}

// signalAll signals all of a family but one of its roots.
func (p *processes) signalAll(f *family, signal syscall.Signal, except *tracked) {
	f.kills = f.kills || signal == syscall.SIGKILL && except == nil
	if f.group != "" {
		if signal == syscall.SIGKILL && except == nil && killGroup(f.group) == nil {
			return
		}
		f.signalGroup(signal, except)
		return
	}
	// Those first of which nothing but their parents tells whose they are. What is left of
	// the run of an ordinary app that crashed is nothing, and costs no search.
	if len(f.roots) > 0 || len(f.sessions) > 0 || len(f.outside) > 0 || f.unsure {
		f.wishes = append(f.wishes, signalWish{signal, except})
		p.searchSoon()
	}
}

// signalGroup signals what is in a control group, and what those have made before the
// signal came to them: to a process group it comes at once.
func (f *family) signalGroup(signal syscall.Signal, except *tracked) {
	sent := make(map[int]bool, len(f.roots))
	for _, t := range f.roots {
		if t != except && (t.child || runs(t.proc)) {
			if syscall.Kill(-t.PID, signal) == nil {
				sent[t.PID] = true
			}
		}
	}
	whole := maps.Clone(sent) // process groups
	if except != nil {
		sent[except.PID] = true
	}
	for again := true; again; {
		again = false
		for _, pid := range groupMembers(f.group) {
			if sent[pid] {
				continue
			}
			sent[pid] = true
			if group, err := syscall.Getpgid(pid); err == nil && !whole[group] {
				again = syscall.Kill(pid, signal) == nil || again
			}
		}
	}
}

// runs reports whether a process is there and is the one that is meant.
func runs(q proc) bool {
	s, ok := lookAt(q.PID)
	return ok && s.Start == q.Start && !s.zombie
}

// close gives up what the supervisor holds; processes go on.
func (p *processes) close() {
	p.mu.Lock()
	p.closed = true
	p.search.stop()
	p.polling.stop()
	p.mu.Unlock()
	p.ends.close(p)
	p.pipes.close()
	p.groups.close()
	_ = p.null.Close()
}
