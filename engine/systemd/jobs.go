package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// Do queues a job and waits until it is finished.
func (m *manager) Do(ctx context.Context, job engine.Job) error {
	method, ok := map[engine.Op]string{
		engine.Start: "StartUnit", engine.Stop: "StopUnit", engine.Restart: "RestartUnit", engine.Reload: "ReloadUnit",
	}[job.Op]
	if !ok {
		return fmt.Errorf("cannot %s %s: there is no such job", job.Op, job.Unit)
	}
	mode := "replace"
	switch {
	case job.Alone:
		mode = "ignore-dependencies"
	case job.Yield:
		mode = "fail"
	}
	c, err := m.connected(ctx)
	if err != nil {
		return fmt.Errorf("cannot %s %s: %w", job.Op, job.Unit, err)
	}
	w := &wait{Job: job, queued: time.Now(), disturbed: c.disturbance()}
	err = c.queue(func() error {
		return c.do(ctx, object, managerIface+"."+method, []any{job.Unit, mode}, &w.path)
	}, w)
	switch {
	case err == nil:
		return m.await(ctx, c, w)
	case job.Op == engine.Stop && isError(err, errNoSuchUnit):
		return nil // not in memory, so it does not run
	case job.Yield && isError(err, errDestructive):
		return &engine.JobError{Job: job, Result: "canceled", Cause: err}
	case isReply(err):
		return &engine.JobError{Job: job, Cause: err}
	}
	return fmt.Errorf("cannot %s %s: %w", job.Op, job.Unit, err)
}

// isReply reports an error by which the manager itself refused.
func isReply(err error) bool {
	var reply dbus.Error
	return errors.As(err, &reply) && !errors.Is(err, engine.ErrUnreachable) && !errors.Is(err, engine.ErrDenied)
}

// wait is a job whose end is awaited.
type wait struct {
	engine.Job
	path      dbus.ObjectPath
	queued    time.Time
	began     bool        // it was seen running, and not only waiting for others
	result    chan string // takes one, so that who tells it never waits
	disturbed <-chan struct{}
}

// ended is how a job ended.
type ended struct {
	id           uint32
	unit, result string
}

// queue makes a call that queues a job, and registers for its end, which may come
// before the reader of the reply gets to run.
func (c *conn) queue(call func() error, w *wait) error {
	defer c.remember()()
	err := call()
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.register(w)
	}
	return err
}

// remember has all ends of jobs noted until the function that it returns is called.
func (c *conn) remember() (forget func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queuing++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.queuing--; c.queuing == 0 {
			clear(c.ended)
		}
	}
}

// register has the end of a job told to w.result. The caller holds mu.
func (c *conn) register(w *wait) {
	w.result = make(chan string, 1)
	if job, ok := c.ended[w.path]; ok {
		w.result <- job.result
		return
	}
	c.jobs[w.path] = append(c.jobs[w.path], w.result)
}

func (c *conn) forget(w *wait) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[w.path] = slices.DeleteFunc(c.jobs[w.path], func(ch chan string) bool { return ch == w.result })
	if len(c.jobs[w.path]) == 0 {
		delete(c.jobs, w.path)
	}
}

func (c *conn) jobEnded(path dbus.ObjectPath, job ended) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queuing > 0 {
		c.ended[path] = job
	}
	for _, ch := range c.jobs[path] {
		ch <- job.result
	}
	delete(c.jobs, path)
}

// await waits for the end of a job: for the signal that tells it, and after a
// reload, a daemon-reexec or a broken connection, over which that signal may be
// lost, by also asking for the job.
func (m *manager) await(ctx context.Context, c *conn, w *wait) error {
	defer func() { c.forget(w) }()
	const slowest = 2 * time.Second
	pause := 50 * time.Millisecond
	var look <-chan time.Time // nil as long as signals can be relied on
	for {
		if len(w.result) > 0 {
			return w.outcome(<-w.result) // the job may have no path any more to ask for
		}
		select {
		case result := <-w.result:
			return w.outcome(result)
		case <-ctx.Done():
			return m.hangs(ctx, c, w)
		case <-w.disturbed:
			w.disturbed = nil
		case <-look:
		case <-c.Context().Done():
			if len(w.result) > 0 {
				continue
			}
			c.forget(w)
			next, err := m.connected(ctx)
			if ctx.Err() != nil {
				return m.hangs(ctx, nil, w)
			}
			if err != nil {
				return fmt.Errorf("cannot tell whether %s of %s is done: %w", w.Op, w.Unit, err)
			}
			c = next
			c.mu.Lock()
			c.register(w)
			c.mu.Unlock()
		}
		var state string
		err := c.do(ctx, w.path, propsIface+".Get", []any{jobIface, "State"}, &state)
		w.began = w.began || state == "running"
		switch {
		case err == nil, errors.Is(err, engine.ErrUnreachable), ctx.Err() != nil:
			// Not finished, or to be seen in the next round.
		case len(w.result) > 0:
			// The signal is not lost.
		case isError(err, errUnknownObject, service+".NoSuchJob"):
			return m.settled(ctx, c, w)
		default:
			return fmt.Errorf("cannot tell whether %s of %s is done: %w", w.Op, w.Unit, err)
		}
		look = time.After(pause)
		pause = min(2*pause, slowest)
	}
}

// outcome is what a job's result means; see JobRemoved in
// org.freedesktop.systemd1(5).
func (w *wait) outcome(result string) error {
	if result == "done" {
		return nil
	}
	return &engine.JobError{Job: w.Job, Result: result}
}

// settled tells from the unit how a job ended whose result was lost.
func (m *manager) settled(ctx context.Context, c *conn, w *wait) error {
	var active, result string
	var left time.Time
	err := c.all(ctx, []*call{
		get(w.Unit, unitIface, "ActiveState", value(&active)),
		get(w.Unit, unitIface, "InactiveExitTimestamp", stamp(&left)),
		get(w.Unit, ifaceOf(w.Unit), "Result", value(&result)),
	})
	if err != nil {
		return fmt.Errorf("cannot tell how %s of %s ended: %w", w.Op, w.Unit, err)
	}
	ok := false
	switch w.Op {
	case engine.Stop:
		ok = active == "inactive" || active == "failed" || active == ""
	case engine.Reload:
		ok = active == "active"
	default:
		// A unit that is done and inactive may have left the memory, and all that it
		// did with it. A failed one stays.
		ran := w.began || !left.Before(w.queued.Truncate(time.Microsecond))
		ok = active == "active" || active == "reloading" || active == "refreshing" ||
			active == "inactive" && ran && (result == "success" || result == "")
	}
	if ok {
		return nil
	}
	return w.outcome("failed")
}

// hangs is the error of a job that is not finished in time. The job stays.
func (m *manager) hangs(ctx context.Context, c *conn, w *wait) error {
	id := path.Base(string(w.path))
	what := fmt.Sprintf("job %s (%s %s) is not finished", id, w.Op, w.Unit)
	if c != nil {
		ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if on := c.waitsFor(ask, w.path); on != "" {
			what += ", it waits for " + on
		}
	}
	return fmt.Errorf("cannot %s %s: %s: %w", w.Op, w.Unit, what, ctx.Err())
}

// waitsFor names the jobs that have to be finished before this one begins.
func (c *conn) waitsFor(ctx context.Context, job dbus.ObjectPath) string {
	var others []struct {
		ID              uint32
		Unit, Op, State string
		Path, UnitPath  dbus.ObjectPath
	}
	if c.do(ctx, job, jobIface+".GetBefore", nil, &others) != nil {
		return ""
	}
	var names []string
	for _, o := range others {
		names = append(names, fmt.Sprintf("job %d (%s %s, %s)", o.ID, o.Op, o.Unit, o.State))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Reload has systemd read the unit files again. systemd serves no call before it is
// done, so that one at the same time just takes longer.
func (m *manager) Reload(ctx context.Context) error {
	err := m.call(ctx, "Reload")
	if isError(err, errLimitsExceeded) {
		return fmt.Errorf("cannot reload the unit files: systemd refuses so many reloads (ReloadLimitBurst= in "+
			"systemd-system.conf(5)): wait for ReloadLimitIntervalSec= and try again: %w", err)
	}
	if err != nil {
		return fmt.Errorf("cannot reload the unit files: %w", err)
	}
	return nil
}

// ResetFailed clears the failed state and the start counter of a unit.
func (m *manager) ResetFailed(ctx context.Context, unit string) error {
	err := m.call(ctx, "ResetFailedUnit", unit)
	if err != nil && !isError(err, errNoSuchUnit) {
		return fmt.Errorf("cannot reset %s: %w", unit, err)
	}
	return nil
}

// Kill sends a signal to a unit's main process, or to all its processes.
func (m *manager) Kill(ctx context.Context, unit string, signal int, all bool) error {
	whom := "main"
	if all {
		whom = "all"
	}
	if err := m.call(ctx, "KillUnit", unit, whom, int32(signal)); err != nil {
		return fmt.Errorf("cannot send signal %d to %s: %w", signal, unit, err)
	}
	return nil
}

// call calls a method of the manager that answers nothing.
func (m *manager) call(ctx context.Context, method string, args ...any) error {
	c, err := m.connected(ctx)
	if err != nil {
		return err
	}
	return c.do(ctx, object, managerIface+"."+method, args)
}
