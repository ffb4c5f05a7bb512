package native

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Run runs a supervisor until ctx ends or a client asks it to: then everything is stopped, in
// order. It returns at once with ErrRunning when there is one already.
func Run(ctx context.Context, o Options) error {
	release, err := o.Home.lock()
	if err != nil {
		return err
	}
	defer release()
	// Before the first process: none may end unnoticed.
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, left, err := newLoop(&o)
	if err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	l.cancel = cancel
	defer l.close()
	if l.store.behind {
		l.unsaved(fmt.Errorf("cannot write %s", o.Home.State()))
	}
	if err := l.reload(); err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	l.adopt(left)
	s, err := serve(o.Home, l)
	if err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	defer s.close()
	if l.store.bootDue && o.Boot {
		l.feed(evBoot{})
	}
	l.boots(false) // by now each start that waits has its record
	if o.Ready != nil {
		o.Ready()
	}
	l.run(ctx, children)
	if l.down {
		return l.store.finish()
	}
	return nil
}

// newLoop makes what the loop works with, and returns what an earlier supervisor left.
func newLoop(o *Options) (l *loop, left []record, err error) {
	l = &loop{
		o: o, mailbox: mailbox{wake: make(chan struct{}, 1)},
		calls: map[callID]func(error){}, watchers: map[*watcher]struct{}{},
		tasks: tasks{map[token]*task{}}, timers: timers{byToken: map[token]*armed{}},
		alarm: time.NewTimer(time.Hour), rest: newRest(), ended: make(chan struct{}),
	}
	l.alarm.Stop()
	if l.store, left, err = openStore(o.Home); err != nil {
		return nil, nil, err
	}
	if l.log, err = openManagerLog(o.Home); err != nil {
		return nil, nil, err
	}
	if l.processes, err = newProcesses(o, l.post); err != nil {
		return nil, nil, err
	}
	l.core = newCore(holds, newInvocation)
	l.sockets = newSockets(l.post)
	l.clock = &clock{post: l.post}
	l.rotate = newRotator(o.Home)
	l.notify = &notifier{home: o.Home, mailbox: &l.mailbox, conns: map[string]*net.UnixConn{}, main: func(unit string) int {
		s, _ := l.core.state(unit)
		return s.MainPID
	}}
	inherited := takeOver(o.Home)
	l.sockets.inherit(inherited)
	return l, left, nil
}

// newInvocation names one run of a unit (INVOCATION_ID).
func newInvocation() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// adopt gives the core what an earlier supervisor left, finds its processes, and has the core
// go on with them.
func (l *loop) adopt(left []record) {
	l.processes.locate(left)
	l.sockets.regain(l.lib, left)
	for _, r := range left {
		ev := evAdopted{record: r}
		main, control := l.ownToken(), l.ownToken()
		if !r.Task {
			mainRuns, controlRuns := l.processes.adopt(&r, main, control)
			ev.record = r
			if mainRuns {
				ev.main = main
			}
			if controlRuns {
				ev.control = control
			}
		}
		if def, ok := l.lib.find(r.Unit); ok && ev.main != 0 && def.service != nil {
			l.processes.hold(r.Unit, def)
			l.limitLogs(r.Unit, def)
			if def.service.notifyAccess != "" && def.service.notifyAccess != "none" {
				_, _ = l.notify.listen(r.Unit)
			}
		}
		l.feed(ev)
	}
	for _, r := range l.store.over {
		if def, ok := l.lib.find(r.unit); ok && def.service != nil && sweeps(def) {
			l.processes.sweep(r.invocation)
		}
	}
	l.store.over = nil
	l.ring()
	// The signals that told of these ends were another program's.
	l.processes.reap()
}

// boots notes whether what is enabled has yet to be started.
func (l *loop) boots(due bool) {
	if err := l.store.boots(due); err != nil {
		l.unsaved(err)
	}
}

// ownToken makes a token that is none of the core's.
func (l *loop) ownToken() token {
	l.lastOwn--
	return l.lastOwn
}

// close gives up what the supervisor holds. Processes go on.
func (l *loop) close() {
	close(l.ended)
	l.tasks.endAll()
	l.working.Wait()
	l.clock.close()
	l.notify.close()
	l.sockets.closeAll()
	l.rotate.close()
	l.processes.close()
	_ = l.log.close()
}

// end has everything stopped, and then the supervisor end.
func (l *loop) end() { l.cancel() }

// replace executes another program in the place of this one. It keeps the process, so
// that what runs stays its children, and sockets stay open.
func (l *loop) replace(program string) error {
	if l.o.Again == nil {
		return errors.New("this supervisor runs in the foreground and cannot be replaced")
	}
	var failed error
	ok := l.do(func(l *loop) {
		var keep []int
		if keep, failed = l.sockets.handOver(l.o.Home); failed != nil {
			return
		}
		keep = append(keep, l.o.Home.descriptors()...)
		for _, fd := range keep {
			setInherited(fd, true)
		}
		failed = l.o.Again(program) // returns only if it failed
		for _, fd := range keep {
			setInherited(fd, false)
		}
		takeOver(l.o.Home)
	})
	if !ok {
		return errEnded
	}
	return failed
}

var errEnded = errors.New("the supervisor has ended")
