package systemd

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// watch is a Watch. The reader of the connection only notes what changed; who
// delivers it takes the latest state of each unit, so that a slow consumer misses
// states in between and never the last one.
type watch struct {
	wanted selection
	wake   chan struct{} // has an element when something is noted

	mu      sync.Mutex
	units   map[dbus.ObjectPath]*watched
	changed []*watched // in the order of their changes
}

type watched struct {
	now, told engine.UnitState
	// coming is what the signal of the type's own interface has brought: it comes just
	// before that of the unit, and only both together are a state.
	coming engine.UnitState
	at     dbus.Sequence // of the last signal
	noted  bool          // it is in changed
}

// Watch tells of changes of units. The connection breaking does not end it if there
// is a systemd to connect to again: what changed meanwhile is then told.
func (m *manager) Watch(ctx context.Context, names []string) (<-chan engine.UnitState, error) {
	w := &watch{wanted: newSelection(names), wake: make(chan struct{}, 1), units: map[dbus.ObjectPath]*watched{}}
	c, err := m.watch(ctx, w, names)
	if err != nil {
		return nil, fmt.Errorf("cannot watch units: %w", err)
	}
	w.mu.Lock()
	for _, u := range w.units {
		if u != nil {
			u.told = u.now
		}
	}
	w.mu.Unlock()
	out := make(chan engine.UnitState)
	go func() {
		defer close(out)
		defer func() { c.unwatch(w) }()
		disturbed := c.disturbance()
		for {
			for u := range w.next {
				select {
				case out <- u:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-w.wake:
				continue
			case <-ctx.Done():
				return
			case <-disturbed:
				disturbed = c.disturbance()
				if err := w.read(ctx, c, names); err == nil || !errors.Is(err, engine.ErrUnreachable) {
					continue
				}
			case <-c.Context().Done():
			}
			c.unwatch(w)
			next, err := m.watch(ctx, w, names)
			if err != nil {
				return
			}
			c, disturbed = next, next.disturbance()
		}
	}()
	return out, nil
}

// watch has changes noted in w, and reads what the units are now.
func (m *manager) watch(ctx context.Context, w *watch, names []string) (*conn, error) {
	c, err := m.connected(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	for _, u := range w.units {
		if u != nil {
			u.at = 0 // each connection counts anew
		}
	}
	w.mu.Unlock()
	c.mu.Lock()
	c.watches[w] = true
	c.mu.Unlock()
	if err = c.subscribe(ctx); err == nil {
		err = w.read(ctx, c, names)
	}
	if err != nil {
		c.unwatch(w)
		return nil, err
	}
	return c, nil
}

// subscribe asks for the signals of units, which a private connection gets anyway.
// It is asked for once and as long as the connection lasts.
func (c *conn) subscribe(ctx context.Context) error {
	if c.private {
		return nil
	}
	c.mu.Lock()
	done := c.subscribed
	c.subscribed = true
	c.mu.Unlock()
	if done {
		return nil
	}
	err := c.do(ctx, object, managerIface+".Subscribe", nil)
	if err == nil || isError(err, service+".AlreadySubscribed") {
		err = c.all(ctx, []*call{
			match("type='signal',sender='" + service + "',interface='" + propsIface + "',member='PropertiesChanged'," +
				"path_namespace='" + strings.TrimSuffix(string(unitsPath), "/") + "'"),
		})
	}
	if err != nil {
		c.mu.Lock()
		c.subscribed = false
		c.mu.Unlock()
	}
	return err
}

func (c *conn) unwatch(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
}

// read notes the state of all units, but of those that told a later one while the
// answer was on its way to here.
func (w *watch) read(ctx context.Context, c *conn, names []string) error {
	units, at, err := c.brief(ctx, names)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, u := range units {
		known := w.unit(unitPath(name))
		if known.at < at {
			known.now.Load, known.now.Active, known.now.Sub = u.Load, u.Active, u.Sub
			known.coming = known.now
			w.note(known)
		}
	}
	for _, known := range w.units {
		if known != nil && known.at < at && units[known.now.Name] == nil {
			// systemd would have it in memory if it ran.
			known.now.Active, known.now.Sub, known.now.MainPID = "inactive", "dead", 0
			known.coming = known.now
			w.note(known)
		}
	}
	return nil
}

// unit returns what is known of a unit, nil if it is not to be watched. The caller
// holds mu.
func (w *watch) unit(path dbus.ObjectPath) *watched {
	u, ok := w.units[path]
	if !ok {
		if name := unitName(path); w.wanted.has(name) {
			u = &watched{now: engine.UnitState{Name: name, Load: "loaded", CPU: -1, Memory: -1}}
			u.coming = u.now
		}
		w.units[path] = u
	}
	return u
}

// note has a unit told if it changed. The caller holds mu.
func (w *watch) note(u *watched) {
	if !u.noted {
		u.noted = true
		w.changed = append(w.changed, u)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next yields the state of each unit that changed since it was told last.
func (w *watch) next(yield func(engine.UnitState) bool) {
	for {
		w.mu.Lock()
		if len(w.changed) == 0 {
			w.mu.Unlock()
			return
		}
		u := w.changed[0]
		w.changed = w.changed[1:]
		u.noted = false
		now, tell := u.now, !reflect.DeepEqual(u.now, u.told)
		u.told = now
		w.mu.Unlock()
		if tell && !yield(now) {
			return
		}
	}
}

// changed hands a PropertiesChanged signal to the watches of its unit.
func (c *conn) changed(s *dbus.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.watches) == 0 || len(s.Body) < 2 {
		return
	}
	iface, _ := s.Body[0].(string)
	properties, _ := s.Body[1].(map[string]dbus.Variant)
	for w := range c.watches {
		w.take(s.Path, s.Sequence, iface, properties)
	}
}

func (w *watch) take(path dbus.ObjectPath, at dbus.Sequence, iface string, properties map[string]dbus.Variant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := w.unit(path)
	if u == nil {
		return
	}
	u.at = at
	next := &u.coming
	for name, v := range properties {
		switch name {
		case "ActiveState":
			value(&next.Active)(v)
		case "SubState":
			value(&next.Sub)(v)
		case "MainPID":
			number[uint32](&next.MainPID)(v)
		case "NRestarts":
			number[uint32](&next.Restarts)(v)
		case "Result":
			value(&next.Result)(v)
		case "ExecMainStartTimestamp":
			stamp(&next.Started)(v)
		}
	}
	next.Exit = lastExit(next.Exit, properties)
	if iface == unitIface {
		u.now = *next
		w.note(u)
	}
}

// lastExit is how a main process ended, by what a signal says; before is the one before
// it, which stays while another process runs: the signal of an end and that of the start
// after it may be told as one.
func lastExit(before engine.Exit, properties map[string]dbus.Variant) engine.Exit {
	var exit engine.Exit
	var code int
	stamp(&exit.At)(properties["ExecMainExitTimestamp"])
	if exit.At.IsZero() {
		return before
	}
	number[int32](&code)(properties["ExecMainCode"])
	status, _ := properties["ExecMainStatus"].Value().(int32)
	if code == cldExited {
		exit.Code = int(status)
	} else {
		exit.Signal = int(status)
	}
	return exit
}

// unitName undoes unitPath.
func unitName(path dbus.ObjectPath) string {
	escaped, ok := strings.CutPrefix(string(path), string(unitsPath))
	if !ok {
		return ""
	}
	var name strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '_' && i+2 < len(escaped) {
			if b, err := strconv.ParseUint(escaped[i+1:i+3], 16, 8); err == nil {
				name.WriteByte(byte(b))
				i += 2
				continue
			}
		}
		name.WriteByte(escaped[i])
	}
	return name.String()
}
