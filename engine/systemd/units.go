package systemd

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// Units asks for all units at once, which for 600 of them takes 4 ms, and then for
// single properties of the named ones. GetAll would take three times as long for
// what is used of it: some of a service's 300 properties have systemd read files.
func (m *manager) Units(ctx context.Context, detail engine.Detail, names []string) (map[string]engine.UnitState, error) {
	if detail == engine.Usage {
		return m.usage(names), nil
	}
	c, err := m.connected(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the units: %w", err)
	}
	units, _, err := c.brief(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("cannot list the units: %w", err)
	}
	if detail != engine.Brief {
		if err := m.inspect(ctx, c, detail, units); err != nil {
			return nil, fmt.Errorf("cannot read the state of the units: %w", err)
		}
	}
	states := make(map[string]engine.UnitState, len(units))
	for name, u := range units {
		states[name] = *u
	}
	return states, nil
}

// usage measures the units whose control groups the last inspection found.
func (m *manager) usage(names []string) map[string]engine.UnitState {
	m.mu.Lock()
	groups := m.groups
	m.mu.Unlock()
	wanted := newSelection(names)
	states := make(map[string]engine.UnitState, len(names))
	for name, g := range groups {
		if wanted.has(name) {
			u := engine.UnitState{Name: name, CPU: -1, Memory: -1}
			m.measure(&u, g, false)
			states[name] = u
		}
	}
	return states
}

// selection is units by name; a template's is all its instances, and engine.Every all there are.
type selection map[string]bool

func newSelection(names []string) selection {
	s := make(selection, len(names))
	for _, name := range names {
		s[name] = true
	}
	return s
}

func (s selection) has(unit string) bool {
	if s[unit] || s[engine.Every] {
		return true
	}
	prefix, rest, isInstance := strings.Cut(unit, "@")
	return isInstance && s[prefix+"@"+path.Ext(rest)]
}

// brief returns the named units that are in memory, and when systemd said so.
func (c *conn) brief(ctx context.Context, names []string) (map[string]*engine.UnitState, dbus.Sequence, error) {
	units := make(map[string]*engine.UnitState, len(names))
	wanted := newSelection(names)
	var all []systemd.UnitStatus
	list := &call{path: object, method: managerIface + ".ListUnits", into: []any{&all}}
	if err := c.all(ctx, []*call{list}); err != nil {
		return nil, 0, err
	}
	for _, u := range all {
		if wanted.has(u.Name) {
			units[u.Name] = &engine.UnitState{
				Name: u.Name, Load: u.LoadState, Active: u.ActiveState, Sub: u.SubState, CPU: -1, Memory: -1,
			}
		}
	}
	return units, list.at, nil
}

// inspect fills in what the list of units does not tell.
func (m *manager) inspect(ctx context.Context, c *conn, detail engine.Detail, units map[string]*engine.UnitState) error {
	var gets []*call
	for _, u := range units {
		gets = append(gets, properties(u, detail)...)
	}
	if err := c.all(ctx, gets); err != nil {
		return err
	}
	if err := c.settle(ctx, detail, units); err != nil {
		return err
	}
	gets = gets[:0]
	groups := make(map[string]*cgroup, len(units))
	for _, u := range units {
		if !hasProcesses(u) {
			continue
		}
		g := m.cgroupOf(u)
		if g == nil {
			g = new(cgroup)
			gets = append(gets, get(u.Name, ifaceOf(u.Name), "ControlGroup", value(&g.unified)))
		}
		groups[u.Name] = g
	}
	for _, u := range units {
		// While the main process runs there is no exit of it.
		if strings.HasSuffix(u.Name, ".service") && u.MainPID == 0 {
			gets = append(gets, exit(u)...)
		}
	}
	if err := c.all(ctx, gets); err != nil {
		return err
	}
	m.mu.Lock()
	m.groups = groups
	m.mu.Unlock()
	for name, g := range groups {
		m.measure(units[name], g, detail == engine.Full)
	}
	return nil
}

// settle asks again about services that changed between the list and the
// properties, so that a running one has its process and a waiting one has none.
func (c *conn) settle(ctx context.Context, detail engine.Detail, units map[string]*engine.UnitState) error {
	const rounds = 3 // one may change all the time
	for range rounds {
		var torn []*engine.UnitState
		var gets []*call
		for _, u := range units {
			if strings.HasSuffix(u.Name, ".service") && (u.Sub == "running") != (u.MainPID != 0) && hasMain(u.Sub) {
				torn = append(torn, u)
				gets = append(gets, get(u.Name, unitIface, "ActiveState", value(&u.Active)), get(u.Name, unitIface, "SubState", value(&u.Sub)))
			}
		}
		if len(torn) == 0 {
			return nil
		}
		if err := c.all(ctx, gets); err != nil {
			return err
		}
		gets = gets[:0]
		for _, u := range torn {
			gets = append(gets, properties(u, detail)...)
		}
		if err := c.all(ctx, gets); err != nil {
			return err
		}
	}
	return nil
}

// hasMain reports the states in which it is certain whether there is a main process.
func hasMain(sub string) bool {
	switch sub {
	case "running", "dead", "failed", "auto-restart":
		return true
	}
	return false
}

// properties asks for what detail says of one unit.
func properties(u *engine.UnitState, detail engine.Detail) []*call {
	if u.Load == "not-found" {
		return nil
	}
	gets := []*call{get(u.Name, unitIface, sinceProperty(u.Active), stamp(&u.Since))}
	iface := ifaceOf(u.Name)
	switch path.Ext(u.Name) {
	case ".service":
		gets = append(gets,
			get(u.Name, iface, "MainPID", number[uint32](&u.MainPID)),
			get(u.Name, iface, "NRestarts", number[uint32](&u.Restarts)),
			get(u.Name, iface, "Result", value(&u.Result)),
			get(u.Name, iface, "User", value(&u.User)))
		if detail == engine.Full {
			gets = append(gets, get(u.Name, iface, "ExecMainStartTimestamp", stamp(&u.Started)))
		}
	case ".timer":
		gets = append(gets,
			get(u.Name, iface, "Result", value(&u.Result)),
			get(u.Name, iface, "NextElapseUSecRealtime", stamp(&u.Next)))
	case ".socket", ".path", ".mount", ".automount", ".swap", ".scope":
		gets = append(gets, get(u.Name, iface, "Result", value(&u.Result)))
	}
	if detail == engine.Full {
		gets = append(gets,
			get(u.Name, unitIface, "FragmentPath", value(&u.Fragment)),
			get(u.Name, unitIface, "DropInPaths", value(&u.DropIns)),
			get(u.Name, unitIface, "NeedDaemonReload", value(&u.Stale)))
	}
	return gets
}

// sinceProperty is the property that says when a unit came into a state.
// StateChangeTimestamp also moves with Sub.
func sinceProperty(active string) string {
	switch active {
	case "active", "reloading", "refreshing":
		return "ActiveEnterTimestamp"
	case "inactive", "failed":
		return "InactiveEnterTimestamp"
	case "deactivating":
		return "ActiveExitTimestamp"
	}
	return "StateChangeTimestamp"
}

// exit asks how the main process of a service ended.
func exit(u *engine.UnitState) []*call {
	var code int
	return []*call{
		get(u.Name, serviceIface, "ExecMainExitTimestamp", stamp(&u.Exit.At)),
		get(u.Name, serviceIface, "ExecMainCode", number[int32](&code)),
		get(u.Name, serviceIface, "ExecMainStatus", func(v dbus.Variant) {
			status, _ := v.Value().(int32)
			if code == cldExited {
				u.Exit.Code = int(status)
			} else {
				u.Exit.Signal = int(status)
			}
		}),
	}
}

// cldExited is the si_code of a child that ended by itself; see sigaction(2). The
// others are of signals.
const cldExited = 1

// ifaceOf is the interface of a unit's own type.
func ifaceOf(unit string) string {
	ext := strings.TrimPrefix(path.Ext(unit), ".")
	if ext == "" {
		return unitIface
	}
	return service + "." + strings.ToUpper(ext[:1]) + ext[1:]
}

// hasProcesses reports a unit that may have a control group with processes.
func hasProcesses(u *engine.UnitState) bool {
	switch path.Ext(u.Name) {
	case ".service", ".socket", ".scope":
		return u.Active != "inactive" && u.Active != "failed"
	}
	return false
}

// value stores what a property of the same type holds.
func value[T any](into *T) func(dbus.Variant) {
	return func(v dbus.Variant) { *into, _ = v.Value().(T) }
}

func number[T int32 | uint32](into *int) func(dbus.Variant) {
	return func(v dbus.Variant) {
		n, _ := v.Value().(T)
		*into = int(n)
	}
}

// stamp stores a time in microseconds since 1970, of which 0 and the largest mean
// never.
func stamp(into *time.Time) func(dbus.Variant) {
	return func(v dbus.Variant) {
		if usec, _ := v.Value().(uint64); usec != 0 && usec != 1<<64-1 {
			*into = time.UnixMicro(int64(usec))
		}
	}
}
