package translate

import (
	"fmt"
	"slices"
	"strings"

	"gm/diag"
	"gm/units"
)

// change is what a key does to one unit.
type change struct {
	unit  string // its name with the key
	was   string // its name without; "" when the key brings it
	lines []changedLine
}

// changedLine is one directive that the key adds ('+') or takes away ('-').
type changedLine struct {
	op            byte
	section, text string
	order         int
}

// title names the unit, and says whether it is a new one.
func (c change) title() string {
	switch c.was {
	case c.unit:
		return c.unit
	case "":
		return c.unit + " (new)"
	}
	return c.was + " becomes " + c.unit
}

// effect is what a key does on one version of systemd.
type effect struct {
	title   string
	systemd int
	changes []change
}

// The versions that keys are explained for: one with every directive that gm
// writes, and the oldest that is common.
const (
	explainSystemd    = 257
	explainSystemdOld = DefaultSystemd
)

// exampleEnv is the NAME of env_NAME in examples.
const exampleEnv = "production"

// effects compiles the example and shows what it changes, on the newer systemd
// and, where that is not the same, on the older.
func (t *topic) effects() []effect {
	newer, older := t.effect(explainSystemd), t.effect(explainSystemdOld)
	if slices.EqualFunc(newer.changes, older.changes, change.equal) {
		newer.title = "Becomes"
		return []effect{newer}
	}
	newer.title = fmt.Sprintf("Becomes, on systemd %d", newer.systemd)
	older.title = fmt.Sprintf("Becomes, on systemd %d", older.systemd)
	return []effect{newer, older}
}

func (t *topic) effect(systemd int) effect {
	before, _ := t.compile("", systemd)
	after, _ := t.compile(t.example, systemd)
	return effect{systemd: systemd, changes: diffSets(before, after)}
}

// compile translates an app that has the key with that value; "" leaves the
// key out. A second app stands beside it, so that an example may name one.
func (t *topic) compile(example string, systemd int) (units.Set, diag.List) {
	o := Options{Host: exampleHost(systemd)}
	// Without an env_NAME in the app, --env would be refused.
	if strings.Contains(t.beside, "env_"+exampleEnv) || example != "" && t.env {
		o.Env = exampleEnv
	}
	text := `[{"name": "db", "script": "db.js"}, ` + t.app(example) + `]`
	return Compile(diag.NewSource("processes.json", []byte(text)), o)
}

// app is the JSON of the example's app.
func (t *topic) app(example string) string {
	members := make([]string, 0, 4)
	if example == "" || t.key != "name" {
		members = append(members, `"name": "app"`)
	}
	if example == "" || t.key != "script" {
		members = append(members, `"script": "app.js"`)
	}
	if t.beside != "" {
		members = append(members, t.beside)
	}
	if example != "" {
		members = append(members, `"`+t.key+`": `+example)
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// declaration is the part of the example's app that matters, for people.
func (t *topic) declaration() string {
	text := `"` + t.key + `": ` + t.example
	if t.beside != "" {
		text = t.beside + ", " + text
	}
	return text
}

// exampleHost is the machine of every example in the docs.
func exampleHost(systemd int) Host {
	return Host{
		CPUs: 4, Systemd: systemd, Scope: ScopeSystem,
		Root: "/srv/app", Home: "/root", Gm: "/usr/local/bin/gm",
		Programs: map[string]string{
			"node": "/usr/bin/node", "python3": "/usr/bin/python3", "python": "/usr/bin/python",
			"bash": "/usr/bin/bash", "npm": "/usr/bin/npm",
		},
	}
}

// diffSets returns the changed units: those that stay or get another name, then
// the new ones, each in the order of names.
func diffSets(before, after units.Set) []change {
	var changed, fresh []change
	taken := map[string]bool{}
	for _, u := range after {
		old, ok := before.Find(u.Name)
		if !ok {
			old, ok = renamed(before, after, u.Name, taken)
		}
		c := change{unit: u.Name, was: old.Name, lines: diffUnits(old, u)}
		switch {
		case !ok:
			fresh = append(fresh, c)
		case len(c.lines) > 0 || c.was != c.unit:
			changed = append(changed, c)
		}
	}
	return append(changed, fresh...)
}

// renamed finds the unit that the key gives another name: app.service is
// app@.service in cluster mode.
func renamed(before, after units.Set, name string, taken map[string]bool) (units.Unit, bool) {
	suffix := name[strings.LastIndexByte(name, '.'):]
	for _, u := range before {
		if _, kept := after.Find(u.Name); !kept && !taken[u.Name] && strings.HasSuffix(u.Name, suffix) {
			taken[u.Name] = true
			return u, true
		}
	}
	return units.Unit{}, false
}

// diffUnits returns the directives that only one of the units has, in the order
// of a unit file; what goes stands before what comes.
func diffUnits(before, after units.Unit) []changedLine {
	old, fresh := directiveLines(before, '-'), directiveLines(after, '+')
	same := func(a, b changedLine) bool { return a.section == b.section && a.text == b.text }
	lines := make([]changedLine, 0, len(fresh))
	for _, l := range fresh {
		if i := slices.IndexFunc(old, func(o changedLine) bool { return same(o, l) }); i >= 0 {
			old = slices.Delete(old, i, i+1)
			continue
		}
		lines = append(lines, l)
	}
	lines = append(old, lines...)
	slices.SortStableFunc(lines, func(a, b changedLine) int { return a.order - b.order })
	return lines
}

// directiveLines lists a unit's directives, but for those that only say whose
// file it is.
func directiveLines(u units.Unit, op byte) []changedLine {
	out := make([]changedLine, 0, len(u.Directives))
	for _, d := range u.Directives {
		if d.Key == "SourcePath" || d.Section == "X-Gm" && oneOf(d.Key, "Project", "App", "Hash") {
			continue
		}
		out = append(out, changedLine{op, d.Section, d.Key + "=" + units.Encode(d.Value), units.Order(d.Section, d.Key)})
	}
	return out
}

func (c change) equal(other change) bool {
	return c.unit == other.unit && c.was == other.was && slices.Equal(c.lines, other.lines)
}
