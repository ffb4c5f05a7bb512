package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// watch follows the units that an Apply starts, all over one channel.
type watch struct {
	e    Engine
	gone chan struct{} // closed with the channel

	mu    sync.Mutex
	units map[string]*settling
}

// settling is what is known of one unit.
type settling struct {
	last UnitState
	exit Exit // of the last process that ended
	// again says that it came down and went up without a job of ours, since suspicion
	// was last looked into.
	again bool
	wake  chan struct{} // a change, for the one who waits
}

// openWatch begins to follow units. It ends with ctx.
func openWatch(ctx context.Context, e Engine, names []string) (*watch, error) {
	changes, err := e.Watch(ctx, names)
	if err != nil {
		return nil, err
	}
	w := &watch{e: e, gone: make(chan struct{}), units: make(map[string]*settling, len(names))}
	for _, name := range names {
		w.units[name] = &settling{wake: make(chan struct{}, 1)}
	}
	go func() {
		defer close(w.gone)
		for state := range changes {
			w.note(state)
		}
	}()
	return w, nil
}

func (w *watch) note(state UnitState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.units[state.Name]
	if u == nil {
		return
	}
	if restarting(state) || state.Active == "activating" && u.last.Active == "active" {
		u.again = true
	}
	u.last = state
	if !state.Exit.At.IsZero() {
		u.exit = state.Exit
	}
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// forget drops what came before a job of ours.
func (w *watch) forget(unit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.units[unit].again = false
	w.units[unit].last, w.units[unit].exit = UnitState{}, Exit{}
}

// suspect reports whether what is known of a unit is no sign of its health; late
// says that it should have settled by now. Changes are told late, so those before
// the end of a restart's job may still be under way: what is suspected is looked at.
func (w *watch) suspect(unit string, late bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.units[unit]
	if u.again {
		u.again = false
		return true
	}
	switch u.last.Active {
	case "failed", "inactive":
		return true
	case "", "active", "reloading", "refreshing":
		return false
	}
	return late
}

// exitOf returns how the process of a unit ended, zero if none did since then.
func (w *watch) exitOf(unit string, since time.Time) Exit {
	w.mu.Lock()
	defer w.mu.Unlock()
	if exit := w.units[unit].exit; exit.At.After(since) {
		return exit
	}
	return Exit{}
}

// stay waits until a unit whose job is done has been up for that long, or has
// ended in peace: at once if it may (once), and else after that time, since another
// job may be about to start it again, such as the restart of what it needs. Fresh says
// that the job started a process, so that every automatic restart is one of the new
// process, and since which time that has been the one that ends.
func (w *watch) stay(ctx context.Context, unit string, uptime time.Duration, once, fresh bool, since time.Time) (Step, error) {
	timer := time.NewTimer(uptime)
	defer timer.Stop()
	late := false
	for {
		if w.suspect(unit, late) {
			states, err := w.e.Units(ctx, Full, []string{unit})
			if err != nil {
				return "", err
			}
			switch state, loaded := states[unit]; judge(state, loaded, fresh) {
			case bad:
				if state.Exit.At.IsZero() {
					state.Exit = w.exitOf(unit, since) // another process runs by now
				}
				return "", &notUp{state}
			case ended:
				if once || late {
					return Ended, nil
				}
			case good:
				if late {
					return Up, nil
				}
			}
		} else if late {
			return Up, nil
		}
		select {
		case <-timer.C:
			late = true
		case <-w.units[unit].wake:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-w.gone:
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			return "", fmt.Errorf("%w: it does not tell of changes any more", ErrUnreachable)
		}
	}
}

// verdict is what a state says of a unit that was started.
type verdict int

const (
	good    verdict = iota
	ended           // in peace
	bad             // it failed, or came down and was started again
	between         // on its way from one of these to another
)

// judge says what became of a unit whose job is done.
func judge(s UnitState, loaded, fresh bool) verdict {
	switch {
	case !loaded:
		return ended // what failed stays in memory
	case restarting(s), s.Active == "failed", fresh && s.Restarts > 0:
		return bad
	case s.Active == "inactive" && (s.Result == "" || s.Result == "success"):
		return ended
	case s.Active == "inactive":
		return bad
	case s.Active == "active", s.Active == "reloading", s.Active == "refreshing":
		return good
	}
	return between
}

// restarting reports whether a unit is between its end and an automatic restart.
// systemd 254 and later pass through failed-before-auto-restart and
// dead-before-auto-restart on the way (systemctl --state=help).
func restarting(s UnitState) bool {
	return strings.HasPrefix(s.Sub, "auto-restart") || strings.HasSuffix(s.Sub, "-before-auto-restart")
}

// notUp is a unit that did not stay up.
type notUp struct{ state UnitState }

func (e *notUp) Error() string { return "it did not stay up" }
