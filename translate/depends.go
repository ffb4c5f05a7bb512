package translate

import (
	"slices"
	"strings"

	"gm/units"
)

// dependency is one element of "systemd": {"depends_on": …}.
type dependency struct {
	value *value
	app   *app   // of this declaration, or nil
	unit  string // what is started first; "" when there is no such thing
}

// dependencies resolves an app's depends_on. Apps that --only leaves out count:
// they may be installed already.
func (p *project) dependencies(a *app) []dependency {
	items := listOf(a.get("systemd").value.member("depends_on"))
	out := make([]dependency, len(items))
	for i, item := range items {
		out[i].value = item
		if item.kind != kindString {
			continue
		}
		if other := p.byName[item.text]; other != nil && other != a {
			out[i].app, out[i].unit = other, other.main()
		} else if strings.Contains(item.text, ".") && units.CheckName(item.text) == nil {
			out[i].unit = item.text
		}
	}
	return out
}

// listOf returns the elements of a list, a lone value as a list of one, and
// nothing for a key that is absent.
func listOf(v *value) []*value {
	switch {
	case v == nil || v.kind == kindNull:
		return nil
	case v.kind == kindArray:
		return v.items
	}
	return []*value{v}
}

// checkCycles refuses apps that wait for each other: systemd would break the
// circle by not starting one of them.
func (p *project) checkCycles(m *messages) {
	const (
		unseen = iota
		open
		done
	)
	state := make(map[*app]int, len(p.all))
	var path []string
	var visit func(a *app)
	visit = func(a *app) {
		state[a] = open
		path = append(path, a.name)
		for _, d := range p.dependencies(a) {
			switch {
			case d.app == nil:
			case state[d.app] == open:
				circle := append(path[slices.Index(path, d.app.name):], d.app.name)
				m.add(dependencyCycle, d.value.at, "remove one of the dependencies", "systemd.depends_on: a circle: %s", strings.Join(circle, " -> "))
			case state[d.app] == unseen:
				visit(d.app)
			}
		}
		path = path[:len(path)-1]
		state[a] = done
	}
	for _, a := range p.all {
		if state[a] == unseen && a.get("systemd").given() {
			visit(a)
		}
	}
}
