package native

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// adopt takes over the processes of a unit that an earlier supervisor made: it returns for each
// whether it still runs, and watches it by that token. Of what was being made locate has found
// out first which process that is.
func (p *processes) adopt(r *record, main, control token) (mainRuns, controlRuns bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.familyOf(r.Unit)
	f.invocation = r.Invocation
	f.unsure = true
	p.adoptions++
	mainRuns = p.take(f, r.Main, main, roleMain)
	controlRuns = p.take(f, r.Control, control, roleControl)
	for _, q := range []proc{r.Main, r.Control} {
		if dir := p.groups.of(q.PID, r.Unit); q.PID != 0 && dir != "" {
			f.group = dir
			f.enforced = enforces(dir)
			f.oomKills = oomKills(dir)
		}
	}
	return mainRuns, controlRuns
}

// hold has the MemoryMax= of an adopted unit obeyed.
func (p *processes) hold(unit string, d *definition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.families[unit]; f != nil && d.service != nil {
		f.swept = sweeps(d)
		f.limit = d.service.memoryMax
		for _, t := range f.roots {
			if t.role == roleMain {
				p.polling.add(p, f)
			}
		}
	}
}

// take begins to watch a process that an earlier supervisor made.
func (p *processes) take(f *family, q proc, k token, role role) bool {
	if q.PID == 0 {
		return false
	}
	s, ok := lookAt(q.PID)
	if !ok || s.Start != q.Start {
		p.orphans = true
		if !ok {
			f.sessions = append(f.sessions, q.PID) // which may have outlived it
		}
		return false
	}
	t := &tracked{proc: q, token: k, role: role, family: f, child: s.ppid == os.Getpid()}
	if !t.child {
		p.orphans = true
		if s.zombie || !p.ends.watch(p, t) {
			f.sessions = append(f.sessions, q.PID)
			return false
		}
	}
	p.register(t)
	if t.child && s.zombie {
		// Nothing tells of it again: the signal was that of the program before this one.
		if exit, ok := collect(t.PID); ok {
			p.ended(t, exit)
		}
	}
	return true
}

// collect waits for a child that has ended.
func collect(pid int) (exitStatus, bool) {
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if err != nil || got != pid {
		return exitStatus{}, false
	}
	return newExit(status), true
}

// follow watches another process of a unit as its main one (MAINPID= of sd_notify(3)).
func (p *processes) follow(unit string, pid int, k token) (proc, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.families[unit]
	if f == nil || p.byPID[pid] != nil || !p.owns(f, pid) {
		return proc{}, fmt.Errorf("process %d is not one that %s has made", pid, unit)
	}
	s, ok := lookAt(pid)
	if !ok || s.zombie {
		return proc{}, fmt.Errorf("process %d has ended", pid)
	}
	t := &tracked{proc: s.proc, token: k, role: roleMain, family: f, child: s.ppid == os.Getpid()}
	if !t.child && !p.ends.watch(p, t) {
		return proc{}, fmt.Errorf("process %d has ended", pid)
	}
	p.register(t)
	p.polling.add(p, f)
	return s.proc, nil
}

// owns reports whether a process is one of a family's.
func (p *processes) owns(f *family, pid int) bool {
	whose := p.owners(&p.measure.foreign, nil)
	for _, q := range whose.search(p.measure.snapshot(), p.measure.environOf) {
		if q.PID == pid {
			return whose.families[q.family] == f
		}
	}
	return false
}

// gone tells of the end of a process that was no child when it was last looked at.
func (p *processes) gone(t *tracked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.byToken[t.token] != t {
		return
	}
	// Its parent may have ended before it, and left it to the supervisor.
	exit, ok := exitStatus{}, false
	if s, there := lookAt(t.PID); there && s.Start == t.Start && s.ppid == os.Getpid() {
		exit, ok = collect(t.PID)
	}
	if !ok {
		exit = exitStatus{unknown: true, at: time.Now()}
	}
	p.ended(t, exit)
	p.settle(t.family)
}

// An earlier supervisor may have been killed between fork(2) and the note of what that
// returned. What it has made is on its way to execve(2) for a moment more.
const (
	unfinished      = 200 * time.Millisecond
	unfinishedPause = 5 * time.Millisecond
)

// locate finds the processes that were being made, and fills in those records.
func (p *processes) locate(left []record) {
	sought := map[string]*record{}
	for i := range left {
		if r := &left[i]; r.Spawning && r.Invocation != "" {
			sought[r.Invocation] = r
		}
	}
	for until := time.Now().Add(unfinished); len(sought) > 0; {
		s := &p.measure
		waiting := false
		first := map[string]proc{}
		for _, q := range s.snapshot() {
			if q.zombie || q.PID == os.Getpid() {
				continue
			}
			if q.session == q.PID {
				id := invocationOf(s.environOf(q.PID))
				if r := sought[id]; r != nil && q.proc != r.Main && q.proc != r.Control {
					// Later ones are what it has made.
					if was, ok := first[id]; !ok || q.Start < was.Start {
						first[id] = q.proc
					}
					continue
				}
			}
			waiting = waiting || sameProgram(q.PID)
		}
		for id, q := range first {
			if r := sought[id]; makesMain(r.Sub) {
				r.Main = q
			} else {
				r.Control = q
			}
			delete(sought, id)
		}
		if !waiting || time.Now().After(until) {
			return
		}
		time.Sleep(unfinishedPause)
	}
}

// makesMain reports whether a unit makes its main process in a state.
func makesMain(sub string) bool {
	switch sub {
	case "condition", "start-pre", "start-post", "reload", "stop", "stop-post":
		return false
	}
	return true
}

// sweeps reports whether what a unit's processes leave behind is to be ended.
func sweeps(d *definition) bool {
	return d.service.killMode == "control-group" || d.service.killMode == "mixed"
}

// endsByAsking looks at processes once a second, where nothing tells of their ends.
type endsByAsking struct {
	watched []*tracked
	timer   *time.Timer
}

const askAgain = time.Second

func (e *endsByAsking) watch(p *processes, t *tracked) bool {
	if !runs(t.proc) {
		return false
	}
	e.watched = append(e.watched, t)
	if len(e.watched) == 1 {
		e.timer = time.AfterFunc(askAgain, func() { e.ask(p) })
	}
	return true
}

func (e *endsByAsking) ask(p *processes) {
	var gone []*tracked
	p.mu.Lock()
	still := e.watched[:0]
	for _, t := range e.watched {
		if runs(t.proc) {
			still = append(still, t)
		} else {
			gone = append(gone, t)
		}
	}
	e.watched = still
	if len(still) > 0 && !p.closed {
		e.timer.Reset(askAgain)
	}
	p.mu.Unlock()
	for _, t := range gone {
		p.gone(t)
	}
}

func (e *endsByAsking) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// signalIfSame signals a process if its number still is its. Between the two it may end.
func signalIfSame(q proc, signal syscall.Signal) error {
	if !runs(q) {
		return syscall.ESRCH
	}
	return syscall.Kill(q.PID, signal)
}
