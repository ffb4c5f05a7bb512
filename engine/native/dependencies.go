package native

import (
	"path"
	"slices"
	"strings"
)

// load takes over the unit files. Nothing is started or stopped.
func (c *core) load(lib *library) {
	c.lib = lib
	clear(c.linked)
	for _, by := range lib.wants {
		for _, name := range by {
			if t := templateOf(name); t != "" {
				c.linked[t] = append(c.linked[t], name)
			}
		}
	}
	earlier := c.units
	c.units = make(map[string]*unit, len(earlier))
	clear(c.made)
	var kept, changed []*unit
	for name, u := range earlier {
		if name != u.name || !u.linked {
			continue // an alias, or only named: made again when it is named again
		}
		u.unlink()
		before := u.def
		u.def = c.lookup(name)
		if u.def == nil && u.state == stateDead && u.job == nil {
			c.touch(u) // it leaves: whoever watches is told
			continue
		}
		c.keep(u)
		kept = append(kept, u)
		if u.timer != nil && u.def != nil && before != u.def {
			changed = append(changed, u)
		}
	}
	slices.SortFunc(kept, func(a, b *unit) int { return strings.Compare(a.name, b.name) })
	for _, u := range kept {
		c.link(u)
	}
	for _, u := range kept {
		if u.job != nil {
			u.job.scan = 0
		}
	}
	for _, u := range changed {
		c.rearm(u)
	}
}

// lookup returns the definition of a unit, nil if there is none.
func (c *core) lookup(name string) *definition {
	if d, ok := c.lib.find(name); ok && d.load != "not-found" {
		return d
	}
	return nil
}

// ref returns a unit by its name, which need not be that of any file.
func (c *core) ref(name string) *unit {
	if u := c.units[name]; u != nil {
		return u
	}
	d := c.lookup(name)
	if d != nil && d.name != name && !isTemplate(d.name) {
		u := c.ref(d.name)
		c.units[name] = u
		return u
	}
	u := &unit{name: name, kind: kindOf(name), def: d}
	switch u.kind {
	case kindTimer:
		u.timer = &timerRun{}
	case kindSocket:
		u.socket = &socketRun{}
	case kindService:
		u.service = &service{result: resultSuccess}
	}
	if u.builtin() {
		u.state, u.since = stateActive, c.began
	}
	c.keep(u)
	return u
}

func (c *core) keep(u *unit) {
	c.units[u.name] = u
	if t := templateOf(u.name); t != "" {
		c.made[t] = append(c.made[t], u)
	}
}

// find returns a unit by its name with its dependencies.
func (c *core) find(name string) *unit {
	u := c.ref(name)
	if !u.linked {
		c.link(u)
	}
	return u
}

// link enters a unit's dependencies into its lists and into those of the others.
func (c *core) link(u *unit) {
	u.linked = true
	d := u.def
	if d == nil || d.load != "loaded" && u.ran != nil {
		d = u.ran
	}
	if d == nil {
		return
	}
	each := func(names []string, f func(*unit)) {
		for _, name := range names {
			if o := c.ref(name); o != u {
				f(o)
			}
		}
	}
	each(d.wants, func(o *unit) { u.pulls = append(u.pulls, o) })
	each(d.requires, func(o *unit) { u.needs, o.neededBy = append(u.needs, o), append(o.neededBy, u) })
	each(d.bindsTo, func(o *unit) {
		u.needs, o.neededBy = append(u.needs, o), append(o.neededBy, u)
		u.bindsTo, o.boundBy = append(u.bindsTo, o), append(o.boundBy, u)
	})
	each(d.requisite, func(o *unit) { u.checks, o.neededBy = append(u.checks, o), append(o.neededBy, u) })
	each(d.partOf, func(o *unit) { o.parts = append(o.parts, u) })
	each(d.conflicts, func(o *unit) { u.conflicts, o.conflictedBy = append(u.conflicts, o), append(o.conflictedBy, u) })
	each(d.after, func(o *unit) { u.order(o) })
	each(d.before, func(o *unit) { o.order(u) })
	switch {
	case d.timer != nil:
		u.trigger(c.ref(triggeredName(u.name, d.timer.unit)))
	case d.socket != nil:
		u.trigger(c.ref(triggeredName(u.name, d.socket.service)))
	case d.service != nil:
		each(d.service.sockets, func(o *unit) { o.trigger(u) })
	}
}

// order notes that u comes after o.
func (u *unit) order(o *unit) { u.after, o.before = append(u.after, o), append(o.before, u) }

// trigger notes that a timer or a socket starts o.
func (u *unit) trigger(o *unit) {
	if !slices.Contains(u.triggers, o) {
		u.triggers, o.triggeredBy = append(u.triggers, o), append(o.triggeredBy, u)
	}
}

// unlink forgets what link made. That of the other units is forgotten with theirs.
func (u *unit) unlink() {
	u.pulls, u.needs, u.bindsTo, u.checks, u.conflicts = nil, nil, nil, nil, nil
	u.neededBy, u.boundBy, u.parts, u.conflictedBy = nil, nil, nil, nil
	u.after, u.before, u.triggers, u.triggeredBy = nil, nil, nil, nil
}

// triggeredName is the unit that a timer or socket starts: by default the service of its name.
func triggeredName(name, declared string) string {
	if declared != "" {
		return declared
	}
	return strings.TrimSuffix(name, path.Ext(name)) + ".service"
}

// isTemplate reports whether name is that of a template: "web@.service".
func isTemplate(name string) bool { return templateName(name) == name }

// templateOf returns the template of an instance: "web@.service" of "web@0.service"; "" of others.
func templateOf(name string) string {
	if isTemplate(name) {
		return ""
	}
	return templateName(name)
}
