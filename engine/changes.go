package engine

import (
	"slices"
	"strings"

	"gm/units"
)

// changes compares two versions of a unit, a drop-in or an environment file, by
// directive: which changes need a restart of what runs, and which systemd applies
// with a daemon-reload. They are named ("ExecStart=", "Environment=INTERVAL",
// "INTERVAL") without their values, which may be secrets.
func changes(old, now units.Unit) (restart, live []string) {
	type line struct{ section, key, variable string }
	type values struct{ before, after []string }
	found := map[line]*values{}
	var order []line
	collect := func(u units.Unit, side func(v *values) *[]string) {
		for _, d := range u.Directives {
			l := line{d.Section, d.Key, ""}
			switch v := d.Value.(type) {
			case units.Assign:
				l.variable = v.Name
			case units.FileAssign:
				l.key, l.variable = "", d.Key
			}
			if l == (line{"X-Gm", "Hash", ""}) {
				continue
			}
			v := found[l]
			if v == nil {
				v = &values{}
				found[l] = v
				order = append(order, l)
			}
			list := side(v)
			if l.variable != "" {
				*list = (*list)[:0] // the last line of a variable counts
			}
			*list = append(*list, units.Encode(d.Value))
		}
	}
	collect(old, func(v *values) *[]string { return &v.before })
	collect(now, func(v *values) *[]string { return &v.after })
	for _, l := range order {
		if v := found[l]; slices.Equal(v.before, v.after) {
			continue
		}
		name := l.variable
		if l.key != "" {
			name = l.key + "=" + l.variable
		}
		if isLive(l.section, l.key) {
			live = append(live, name)
		} else {
			restart = append(restart, name)
		}
	}
	return restart, live
}

// isLive reports whether daemon-reload applies a change of a directive. systemd
// does not read what begins with X-.
func isLive(section, key string) bool {
	rule, ok := units.Lookup(section, key)
	return ok && rule.Live || !ok && (strings.HasPrefix(section, "X-") || strings.HasPrefix(key, "X-"))
}
