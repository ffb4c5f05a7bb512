package native

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"sync"

	"gm/engine"
)

// What the server asks of the loop, on behalf of clients.

// do runs f on the loop's goroutine and waits for it. It returns false when the loop has
// ended.
func (l *loop) do(f func(*loop)) bool {
	done := make(chan struct{})
	l.mailbox.put(func(l *loop) {
		defer close(done)
		f(l)
	})
	select {
	case <-done:
		return true
	case <-l.ended:
		return false
	}
}

// call feeds an event that is answered. The answer comes on the loop's goroutine, and not
// at all when the loop has ended.
func (l *loop) call(ev func(id callID) event, answer func(error)) {
	l.mailbox.put(func(l *loop) {
		l.lastCall++
		id := l.lastCall
		l.calls[id] = answer
		l.feed(ev(id))
	})
}

// units returns the states of units, measured if that is asked for.
func (l *loop) units(detail engine.Detail, names []string) map[string]engine.UnitState {
	states := make(map[string]engine.UnitState, len(names))
	var measure []string
	for _, name := range names {
		for _, unit := range l.core.expand(name) {
			s, ok := l.core.state(unit)
			if !ok {
				continue
			}
			states[unit] = s
			if detail != engine.Brief && hasProcesses(s) {
				measure = append(measure, unit)
			}
		}
	}
	if detail == engine.Brief {
		return states
	}
	used := l.processes.usage(measure)
	for unit, s := range states {
		s.CPU, s.Memory = -1, -1
		if u, ok := used[unit]; ok {
			s.CPU, s.Memory, s.Tasks, s.Measured = u.cpu, u.memory, u.tasks, u.measured
			s.CPUBefore, s.MeasuredBefore = u.before.cpu, u.before.at
			if s.MeasuredBefore.IsZero() && s.MainPID > 0 {
				s.MeasuredBefore = s.Started
			}
		}
		s.MemoryBy = l.processes.memory(unit)
		states[unit] = s
	}
	return states
}

// reload reads the unit files again.
func (l *loop) reload() error {
	lib, err := load(l.o.Home.Units(), l.o.User, l.lib)
	if err != nil {
		return fmt.Errorf("cannot read the units: %w", err)
	}
	l.lib = lib
	l.feed(evLoaded{lib})
	for _, unit := range l.core.running() {
		if def, ok := lib.find(unit); ok && def.service != nil {
			l.limitLogs(unit, def)
		}
	}
	return nil
}

// limitLogs has the log files of a unit rotated, if it says so.
func (l *loop) limitLogs(unit string, def *definition) {
	if l.rotate.wants(&def.service.exec) {
		l.rotate.add(unit, def)
	} else {
		l.rotate.remove(unit)
	}
}

// kill signals a unit's main process, or all of its processes.
func (l *loop) kill(unit string, signal int, all bool) error {
	s, ok := l.core.state(unit)
	if !ok || !hasProcesses(s) || !all && s.MainPID == 0 {
		return fmt.Errorf("cannot send signal %d to %s: it does not run", signal, unit)
	}
	return l.processes.kill(unit, signal, all)
}

// info is what the supervisor says of itself.
func (l *loop) info() Info {
	return Info{
		PID: os.Getpid(), Version: l.o.Version, Program: l.o.Program, Units: len(l.core.running()),
		Goroutines: runtime.NumGoroutine(),
	}
}

// watch tells of changes of units until cancel is called. It is told in order, and by a
// goroutine of its own, so that a slow reader does not stop the loop.
func (l *loop) watch(names []string) (states <-chan engine.UnitState, cancel func()) {
	w := &watcher{names: make(map[string]bool, len(names)), wake: make(chan struct{}, 1), out: make(chan engine.UnitState), quit: make(chan struct{})}
	for _, name := range names {
		w.names[name] = true
	}
	if !l.do(func(l *loop) { l.watchers[w] = struct{}{} }) {
		close(w.out)
		return w.out, func() {}
	}
	go w.pump(l.ended)
	return w.out, sync.OnceFunc(func() {
		close(w.quit)
		l.do(func(l *loop) { delete(l.watchers, w) })
	})
}

// watcher is one who watches units.
type watcher struct {
	names map[string]bool
	out   chan engine.UnitState
	wake  chan struct{}
	quit  chan struct{}

	mu    sync.Mutex
	queue []engine.UnitState
}

// longQueue is from how many states on only the last one of each unit is kept.
const longQueue = 1 << 16

func (w *watcher) tell(s engine.UnitState) {
	if !w.names[s.Name] && !w.names[templateOf(s.Name)] && !w.names[engine.Every] {
		return
	}
	w.mu.Lock()
	w.queue = append(w.queue, s)
	if len(w.queue) > longQueue {
		last := map[string]engine.UnitState{}
		for _, s := range w.queue {
			last[s.Name] = s
		}
		w.queue = w.queue[:0]
		for s := range maps.Values(last) {
			w.queue = append(w.queue, s)
		}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watcher) pump(ended <-chan struct{}) {
	defer close(w.out)
	for {
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, s := range queue {
			select {
			case w.out <- s:
			case <-w.quit:
				return
			}
		}
		if len(queue) > 0 {
			continue
		}
		select {
		case <-w.wake:
		case <-w.quit:
			return
		case <-ended:
			return
		}
	}
}
