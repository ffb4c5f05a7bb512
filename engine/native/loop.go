package native

import (
	"container/heap"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"gm/engine"
)

// loop owns the core and all that it works on: one goroutine, which takes events, steps,
// and carries the effects out.
type loop struct {
	o         *Options
	core      *core
	lib       *library
	processes *processes
	tasks     tasks
	sockets   *sockets
	notify    *notifier
	store     *store
	log       *managerLog
	rotate    *rotator
	timers    timers
	alarm     *time.Timer
	rest      rest
	clock     *clock

	calls    map[callID]func(error)
	lastCall callID
	lastOwn  token // of tokens for adopted processes, which are below 0
	down     bool
	cancel   context.CancelFunc // begins the end
	ended    chan struct{}      // closed when the loop has ended
	working  sync.WaitGroup     // tasks

	mailbox mailbox

	// watchers is changed by the loop's goroutine alone.
	watchers map[*watcher]struct{}
}

// mailbox takes what other goroutines have for the loop. It never makes them wait.
type mailbox struct {
	mu    sync.Mutex
	items []func(*loop)
	wake  chan struct{}
}

func (m *mailbox) put(f func(*loop)) {
	m.mu.Lock()
	m.items = append(m.items, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func(*loop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	items := m.items
	m.items = nil
	return items
}

// post tells the core of an event, soon. Any goroutine may call it.
func (l *loop) post(ev event) { l.mailbox.put(func(l *loop) { l.feed(ev) }) }

// run goes on until everything is down. Children tells of SIGCHLD.
func (l *loop) run(ctx context.Context, children <-chan os.Signal) {
	ended := ctx.Done()
	l.stir() // the start was work
	for !l.down {
		select {
		case <-l.mailbox.wake:
			for _, f := range l.mailbox.take() {
				f(l)
			}
		case <-children:
			l.processes.reap()
		case <-l.alarm.C:
			l.ring()
		case <-ended:
			ended = nil
			l.boots(true)
			l.feed(evShutdown{})
		case <-l.rest.timer.C:
			if l.rest.rung(time.Now()) {
				go l.o.Quiet()
			}
			continue
		}
		l.stir()
	}
	l.rest.timer.Stop()
}

func (l *loop) stir() {
	if l.o.Quiet != nil {
		l.rest.stir(time.Now())
	}
}

// feed gives the core an event and carries out what it asks for, and what it asks for
// upon that.
func (l *loop) feed(ev event) {
	for queue := []event{ev}; len(queue) > 0; queue = queue[1:] {
		for _, e := range l.core.step(time.Now(), queue[0]) {
			if answer := l.carryOut(e); answer != nil {
				queue = append(queue, answer)
			}
		}
	}
}

// carryOut carries an effect out. Some have an answer.
func (l *loop) carryOut(e effect) event {
	switch e := e.(type) {
	case effSpawn:
		return l.spawn(e)
	case effSignal:
		if !l.tasks.end(e) {
			l.processes.signal(e)
		}
	case effMain:
		p, err := l.processes.follow(e.unit, e.pid, e.token)
		return evSpawned{token: e.token, proc: p, err: err}
	case effAwaitEmpty:
		l.processes.awaitEmpty(e.unit)
	case effArm:
		l.timers.arm(e)
		if e.wall {
			l.clock.start()
		}
		l.setAlarm()
	case effDisarm:
		l.timers.disarm(e.token)
		l.setAlarm()
	case effOpen:
		return evSpawned{token: e.token, err: l.sockets.open(e.unit, e.def)}
	case effClose:
		l.sockets.close(e.unit)
	case effListen:
		l.sockets.listen(e.unit)
	case effReply:
		l.reply(e.call, e.err)
	case effChanged:
		l.changed(e.unit)
	case effLog:
		l.log.write(e.unit, e.text)
	case effDown:
		l.down = true
	}
	return nil
}

// spawn makes a process or a task. Before it does so it notes that there may be one: a
// supervisor that is killed before it knows the process leaves one that can be found.
func (l *loop) spawn(e effSpawn) event {
	if def := e.def.service; e.role == roleMain && l.rotate.wants(&def.exec) {
		l.rotate.add(e.unit, e.def)
	}
	if work := l.taskOf(&e); work != nil {
		l.tasks.start(l, e, work)
		return evSpawned{token: e.token}
	}
	if r, ok := l.core.record(e.unit); ok {
		r.Spawning, r.Invocation = true, e.invocation
		l.save(e.unit, &r)
	}
	var files spawnFiles
	files.sockets, files.names = l.sockets.files(e.sockets)
	if e.notify {
		var err error
		if files.notify, err = l.notify.listen(e.unit); err != nil {
			return evSpawned{token: e.token, err: &spawnError{step: "NOTIFY_SOCKET", code: exitResources, err: err}}
		}
	}
	p, err := l.processes.spawn(e, files)
	return evSpawned{token: e.token, proc: p, err: err}
}

// exitResources is not among systemd's codes: there a unit whose notify socket cannot be
// made does not exist.
const exitResources = 255

// reply answers a call.
func (l *loop) reply(call callID, err error) {
	if answer, waits := l.calls[call]; waits {
		delete(l.calls, call)
		answer(err)
	}
}

// changed saves a unit's state and tells it to those who watch.
func (l *loop) changed(unit string) {
	state, ok := l.core.state(unit)
	if !ok || !hasProcesses(state) {
		l.rotate.remove(unit)
		l.notify.forget(unit)
	}
	if r, ok := l.core.record(unit); ok {
		l.save(unit, &r)
	} else {
		l.save(unit, nil)
	}
	if !ok {
		state = engine.UnitState{Name: unit, Load: "not-found", Active: "inactive", Sub: "dead"}
	}
	for w := range l.watchers {
		w.tell(state)
	}
}

// hasProcesses reports whether a unit may have processes, or is about to have them again.
func hasProcesses(s engine.UnitState) bool { return s.Active != "inactive" && s.Active != "failed" }

// save notes a unit's record. What cannot be written now is written with the next change.
func (l *loop) save(unit string, r *record) {
	if err := l.store.save(unit, r); err != nil {
		l.unsaved(err)
	}
}

func (l *loop) unsaved(err error) {
	l.warn(fmt.Sprintf("cannot save the state: %v: if the supervisor is killed now, the next one may miss what runs", err))
}

// warn tells the person who looks after the supervisor.
func (l *loop) warn(text string) {
	if l.o.Warn != nil {
		l.o.Warn(text)
	}
}

// timers are what the core has armed, the next one first.
type timers struct {
	list    []*armed
	byToken map[token]*armed
}

type armed struct {
	effArm
	index int
}

func (t *timers) arm(e effArm) {
	t.disarm(e.token)
	if e.wall {
		e.at = e.at.Round(0) // compared by the clock on the wall
	}
	a := &armed{effArm: e}
	t.byToken[e.token] = a
	heap.Push(t, a)
}

func (t *timers) disarm(k token) {
	if a, ok := t.byToken[k]; ok {
		delete(t.byToken, k)
		heap.Remove(t, a.index)
	}
}

func (t *timers) Len() int           { return len(t.list) }
func (t *timers) Less(i, j int) bool { return t.list[i].at.Before(t.list[j].at) }
func (t *timers) Swap(i, j int) {
	t.list[i], t.list[j] = t.list[j], t.list[i]
	t.list[i].index, t.list[j].index = i, j
}

func (t *timers) Push(x any) {
	a := x.(*armed)
	a.index = len(t.list)
	t.list = append(t.list, a)
}

func (t *timers) Pop() any {
	last := len(t.list) - 1
	a := t.list[last]
	t.list[last], t.list = nil, t.list[:last]
	return a
}

// setAlarm has the loop wake up for the next timer.
func (l *loop) setAlarm() {
	if l.timers.Len() == 0 {
		l.alarm.Stop()
		return
	}
	next := l.timers.list[0]
	wait := time.Until(next.at)
	if next.wall {
		wait = min(wait, l.clock.longest())
	}
	l.alarm.Reset(max(wait, 0))
}

// ring feeds the timers that are due.
func (l *loop) ring() {
	for l.timers.Len() > 0 {
		next := l.timers.list[0]
		if time.Now().Before(next.at) {
			break
		}
		l.timers.disarm(next.token)
		l.feed(evTimeout{next.token})
	}
	l.setAlarm()
}
