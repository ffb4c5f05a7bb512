package native

import (
	"context"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"gm/engine"
)

// fakeLoop is a loop without units: what it answers, a test says.
type fakeLoop struct {
	mu       sync.Mutex
	last     callID
	states   map[string]engine.UnitState
	events   []event
	watchers map[*watcherFake]struct{}
	ending   chan struct{} // closed by end
	again    func(program string) error

	// decide answers an event. It runs in a goroutine of its own; nil answers nothing.
	decide func(event) func() error
}

func newFake() *fakeLoop {
	return &fakeLoop{
		states: map[string]engine.UnitState{}, watchers: map[*watcherFake]struct{}{}, ending: make(chan struct{}),
		decide: func(event) func() error { return func() error { return nil } },
	}
}

func (f *fakeLoop) call(ev func(id callID) event, answer func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e := ev(f.last)
	f.events = append(f.events, e)
	if decided := f.decide(e); decided != nil {
		go func() { answer(decided()) }()
	}
}

func (f *fakeLoop) seen() []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]event{}, f.events...)
}

func (f *fakeLoop) units(_ engine.Detail, names []string) (map[string]engine.UnitState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make(map[string]engine.UnitState, len(names))
	for _, name := range names {
		if s, ok := f.states[name]; ok {
			states[name] = s
		}
	}
	return states, nil
}

// set changes a state and tells it.
func (f *fakeLoop) set(s engine.UnitState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[s.Name] = s
	for w := range f.watchers {
		w.tell(s)
	}
}

// watcherFake has a queue without end, which whoever reads slowly makes long.
type watcherFake struct {
	mu    sync.Mutex
	queue []engine.UnitState
	wake  chan struct{}
	quit  chan struct{}
}

func (w *watcherFake) tell(s engine.UnitState) {
	w.mu.Lock()
	w.queue = append(w.queue, s)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (f *fakeLoop) watch([]string) (<-chan engine.UnitState, func()) {
	w := &watcherFake{wake: make(chan struct{}, 1), quit: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[w] = struct{}{}
	out := make(chan engine.UnitState)
	go func() {
		defer close(out)
		for {
			w.mu.Lock()
			queue := w.queue
			w.queue = nil
			w.mu.Unlock()
			for _, s := range queue {
				select {
				case out <- s:
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
			}
		}
	}()
	return out, func() {
		close(w.quit)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, w)
	}
}

func (f *fakeLoop) watching() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers)
}

func (f *fakeLoop) kill(unit string, _ int, _ bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.states[unit]; !ok {
		return errDown
	}
	return nil
}

func (f *fakeLoop) reload() error { return nil }

func (f *fakeLoop) info() (Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Info{PID: 4711, Version: "1.2.3", Program: "/usr/bin/gm", Units: len(f.states)}, nil
}

func (f *fakeLoop) end() { close(f.ending) }

func (f *fakeLoop) replace(program string) error { return f.again(program) }

// homeOf is a home for a supervisor of this test.
func homeOf(t testing.TB) Home {
	t.Helper()
	h := Home(t.TempDir())
	return h
}

// serving serves f in h as long as the test runs.
func serving(t testing.TB, h Home, f *fakeLoop) *server {
	t.Helper()
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(h, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-s.ended: // the test closed it
		default:
			s.close()
		}
		release()
	})
	return s
}

func client(t testing.TB, o ClientOptions) *Client {
	t.Helper()
	c := Open(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// limited ends a test that hangs.
func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// comesAbout waits for something that no event tells.
func comesAbout(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx := limited(t)
	for !is() {
		if sleep(ctx, time.Millisecond) != nil {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// aState is what a list asks for of a unit.
func aState(name string, pid int) engine.UnitState {
	now := time.Now()
	return engine.UnitState{
		Name: name, Load: "loaded", Active: "active", Sub: "running", MainPID: pid, Tasks: 11, Since: now, Started: now,
		Result: "success", CPU: 123456 * time.Microsecond, Memory: 50 << 20, Measured: now, User: "www-data",
		Fragment: "/var/lib/gm/units/" + strings.TrimSuffix(name, path.Ext(name)) + ".service",
	}
}

func namesOf(states map[string]engine.UnitState) []string {
	var list []string
	for name := range maps.Keys(states) {
		list = append(list, name)
	}
	return list
}
