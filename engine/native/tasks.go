package native

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gm/engine"
)

// tasks are the commands that run in the supervisor.
type tasks struct {
	running map[token]*task
}

type task struct {
	unit string
	end  context.CancelFunc
}

// gmName is the name of the program that units know gm by.
const gmName = "gm"

// taskOf returns the work of a command that needs no process, or nil. Another command of
// gm's is then to be executed as the program that this supervisor is: the path in the
// unit may be that of a file that is no more.
func (l *loop) taskOf(e *effSpawn) Task {
	if filepath.Base(e.command.argv[0]) != gmName {
		return nil
	}
	if e.role == roleMain && l.o.InProcess != nil {
		environ, err := e.def.service.exec.environ(l.o.Environ, os.ReadFile)
		if err != nil {
			return nil // the process will say so
		}
		if work := l.o.InProcess(e.command.args(lookUp(environ)), environ); work != nil {
			return work
		}
	}
	if l.o.Program != "" {
		e.command.argv = slices.Clone(e.command.argv)
		e.command.argv[0] = l.o.Program
	}
	return nil
}

// lookUp finds variables in an environment, the last of a name.
func lookUp(environ []string) func(name string) (string, bool) {
	return func(name string) (string, bool) {
		for _, pair := range slices.Backward(environ) {
			if n, value, ok := strings.Cut(pair, "="); ok && n == name {
				return value, true
			}
		}
		return "", false
	}
}

// start runs a task until it is done, or is told to end by a signal.
func (t *tasks) start(l *loop, e effSpawn, work Task) {
	ctx, end := context.WithCancel(context.Background())
	t.running[e.token] = &task{e.unit, end}
	line, closeOutput := l.taskOutput(e)
	l.working.Go(func() {
		defer closeOutput()
		err := work(ctx, line)
		if ctx.Err() != nil {
			err = nil
		}
		l.mailbox.put(func(l *loop) {
			end()
			delete(l.tasks.running, e.token)
			x := exitStatus{at: time.Now(), failed: err}
			if err != nil {
				x.code = 1
			}
			l.feed(evExited{e.token, x})
		})
	})
}

// taskOutput returns what a task writes its lines to: the log of its unit.
func (l *loop) taskOutput(e effSpawn) (line LineWriter, closeOutput func()) {
	if l.o.Output != nil {
		return func(text string) { l.o.Output(e.unit, engine.Stdout, []byte(text)) }, func() {}
	}
	out, errs, err := l.o.Home.outputs(e.def)
	if err != nil {
		l.log.write(e.unit, "its lines cannot be written: "+err.Error())
		return func(string) {}, func() {}
	}
	var mu sync.Mutex
	return func(text string) {
			mu.Lock()
			defer mu.Unlock()
			// One write is one line, whoever else writes to the file.
			_, _ = out.WriteString(text + "\n")
		}, func() {
			_ = out.Close()
			if errs != out {
				_ = errs.Close()
			}
		}
}

// end ends tasks as a signal would end processes. It reports whether the signal was for
// a task.
func (t *tasks) end(e effSignal) bool {
	if e.token != 0 {
		task, ok := t.running[e.token]
		if ok && isEnd(e.signal) {
			task.end()
		}
		return ok
	}
	found := false
	for k, task := range t.running {
		if task.unit == e.unit && k != e.except {
			found = true
			if isEnd(e.signal) {
				task.end()
			}
		}
	}
	return found
}

// isEnd reports whether a signal asks a process to end.
func isEnd(signal int) bool {
	switch syscall.Signal(signal) {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGKILL, syscall.SIGHUP:
		return true
	}
	return false
}

// endAll ends every task.
func (t *tasks) endAll() {
	for _, task := range t.running {
		task.end()
	}
}
