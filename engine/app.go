package engine

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"gm/units"
)

// App is one app of a project as its units tell: what a person starts, stops
// and lists.
type App struct {
	Name, Project, Namespace string
	// Target is the project's: "gm-shop.target".
	Target string
	// Cluster is PM2's exec_mode cluster.
	Cluster bool
	// Unit is "web.service", or the template "web@.service".
	Unit string
	// Group is the target of a template's instances, "" for a single service.
	Group string
	// Instances are the declared instances, in order: "web@0.service", …; or Unit
	// alone.
	Instances []string
	// Companions are the app's other units: timers, watches, sockets, logs.
	Companions []string
	// Main is the unit whose link says whether the app runs at boot: Group or Unit.
	Main string
	// Boots says that the declaration wants it started with the project.
	Boots bool
	// MinUptime is how long a process must live to count as up.
	MinUptime time.Duration
	// Notifies says that the app tells when it is ready.
	Notifies bool
	// Once says that nothing restarts its process when it ends (Restart=no): a job.
	Once bool
	// Source is the declaration's path on the machine, as SourcePath= has it.
	Source  string
	Service units.Unit
}

// defaultMinUptime is PM2's, for units that do not say it.
const defaultMinUptime = time.Second

// Apps groups the units of a set by app, sorted by name. The units of the project
// as a whole belong to none.
func Apps(set units.Set) []App {
	type key struct{ project, name string }
	own := map[key][]units.Unit{}
	for _, u := range set {
		if m, ok := u.Mark(); ok && m.App != "" {
			k := key{m.Project, m.App}
			own[k] = append(own[k], u)
		}
	}
	apps := make([]App, 0, len(own))
	for k, list := range own {
		apps = append(apps, newApp(k.project, k.name, list))
	}
	slices.SortFunc(apps, func(a, b App) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Project, b.Project))
	})
	return apps
}

// newApp reads an app's facts from its units, sorted by name. It makes do with
// what there is: someone may have deleted a file.
func newApp(project, name string, own []units.Unit) App {
	a := App{Name: name, Project: project, Target: targetOf(project), MinUptime: defaultMinUptime}
	a.Service = serviceOf(name, own)
	a.Unit = a.Service.Name
	var group units.Unit
	if a.Unit == "" {
		a.Unit = units.EscapeName(name) + ".service"
		for _, u := range own {
			if stem, ok := strings.CutSuffix(u.Name, ".target"); ok {
				a.Unit = stem + "@.service"
			}
		}
	}
	a.Main = a.Unit
	if stem, ok := strings.CutSuffix(a.Unit, "@.service"); ok {
		a.Group = stem + ".target"
		a.Main = a.Group
		group, _ = units.Set(own).Find(a.Group)
		for _, also := range Also(group) {
			if template, ok := templateOf(also); ok && template == a.Unit {
				a.Instances = append(a.Instances, also)
			}
		}
	} else {
		a.Instances = []string{a.Unit}
	}
	for _, u := range own {
		if isUnitFile(u.Name) && u.Name != a.Unit && u.Name != a.Group {
			a.Companions = append(a.Companions, u.Name)
		}
	}
	main := a.Service
	if a.Group != "" {
		main = group
	}
	a.Boots = len(words(main, "Install", "WantedBy")) > 0
	a.Once = true // systemd.service(5), Restart=
	for _, d := range a.Service.Directives {
		switch (directive{d.Section, d.Key}) {
		case directive{"X-Gm", "Mode"}:
			a.Cluster = units.Encode(d.Value) == "cluster"
		case directive{"X-Gm", "Namespace"}:
			a.Namespace, _ = units.Spec(units.Encode(d.Value)).Literal()
		case directive{"X-Gm", "MinUptime"}:
			if span, ok := d.Value.(units.Span); ok {
				a.MinUptime = time.Duration(span)
			}
		case directive{"Unit", "SourcePath"}:
			a.Source, _ = units.Spec(units.Encode(d.Value)).Literal()
		case directive{"Service", "Type"}:
			kind := units.Encode(d.Value)
			a.Notifies = kind == "notify" || kind == "notify-reload"
		case directive{"Service", "Restart"}:
			a.Once = units.Encode(d.Value) == "no"
		}
	}
	return a
}

type directive struct{ section, key string }

// serviceOf finds the service of an app among its units: the others that bear
// its name have a word behind it (web-watch.service). The prefix that --prefix
// puts before all of them is not known here.
func serviceOf(app string, own []units.Unit) units.Unit {
	var best units.Unit
	for _, u := range own {
		stem, ok := strings.CutSuffix(u.Name, ".service")
		if !ok || !strings.HasSuffix(strings.TrimSuffix(stem, "@"), units.EscapeName(app)) {
			continue
		}
		if best.Name == "" || len(u.Name) < len(best.Name) {
			best = u
		}
	}
	return best
}

// Links returns the links that enable a set, sorted: those of its project target
// and, through Also=, of everything that it names; and those of units that want a
// link and that nothing names, such as the instances of an app without
// autostart.
func Links(set units.Set) []Link {
	var links []Link
	seen := make(map[string]bool, len(set))
	var enable func(name string)
	enable = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		u, ok := set.Find(name)
		if template, instance := templateOf(name); !ok && instance {
			u, ok = set.Find(template)
		}
		if !ok {
			return // of an app that --only left out
		}
		for _, d := range u.Directives {
			if d.Section != "Install" {
				continue
			}
			list, _ := d.Value.(units.Words)
			for _, word := range list {
				switch d.Key {
				case "WantedBy":
					links = append(links, Link{word, name})
				case "Also":
					enable(unescapeAlso(word))
				}
			}
		}
	}
	for _, u := range set {
		if isUnitFile(u.Name) && !isTemplate(u.Name) {
			enable(u.Name)
		}
	}
	slices.SortFunc(links, compareLinks)
	return slices.Compact(links)
}

func compareLinks(a, b Link) int {
	return cmp.Or(strings.Compare(a.By, b.By), strings.Compare(a.Wanted, b.Wanted))
}

// words returns the words of all directives of that key.
func words(u units.Unit, section, key string) []string {
	var list []string
	for _, d := range u.Directives {
		if d.Key == key && d.Section == section {
			w, _ := d.Value.(units.Words)
			list = append(list, w...)
		}
	}
	return list
}

// Also returns the units that are enabled and disabled together with u.
func Also(u units.Unit) []string {
	list := words(u, "Install", "Also")
	for i := range list {
		list[i] = unescapeAlso(list[i])
	}
	return list
}

// Also= is the one list of units in which systemd takes a backslash for an escape
// (config_parse_also of its install.c).
func escapeAlso(unit string) string { return strings.ReplaceAll(unit, `\`, `\\`) }

func unescapeAlso(word string) string { return strings.ReplaceAll(word, `\\`, `\`) }

// targetOf is the target that the apps of a project hang on.
func targetOf(project string) string { return "gm-" + units.EscapeName(project) + ".target" }

// templateOf returns the template of an instance.
func templateOf(unit string) (template string, ok bool) {
	at := strings.IndexByte(unit, '@')
	dot := strings.LastIndexByte(unit, '.')
	if at < 0 || dot <= at+1 {
		return "", false
	}
	return unit[:at+1] + unit[dot:], true
}

// isTemplate reports whether a unit needs an instance's name to be started.
func isTemplate(unit string) bool {
	at := strings.IndexByte(unit, '@')
	return at >= 0 && strings.LastIndexByte(unit, '.') == at+1
}

// isUnitFile reports whether a file of a set is a unit rather than a drop-in or
// an environment file.
func isUnitFile(name string) bool { return !strings.Contains(name, "/") && !units.IsEnvFile(name) }
