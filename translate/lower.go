package translate

import (
	"cmp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"gm/diag"
	"gm/units"
)

// lowering turns one app into units. The functions of the table read the app
// through it and add directives to its builders.
type lowering struct {
	*messages
	p    *project
	o    *Options
	host *Host
	app  *app

	// service is NAME.service or the template NAME@.service.
	service *builder
	// target groups the instances of a template; nil for a single service.
	target *builder
	extra  []*builder

	env  []variable // of the service, sorted by name in the end
	dirs []units.Spec
}

// variable is one environment variable of the service.
type variable struct {
	name     string
	value    units.Spec
	from     diag.Range
	declared bool // from env, so it may be a secret
}

// builder collects the directives of one unit in any order.
type builder struct {
	name string
	list []units.Directive
}

func (b *builder) add(section, key string, v units.Value, from diag.Range) {
	b.list = append(b.list, units.Directive{Section: section, Key: key, Value: v, From: from})
}

// set replaces the directives of that key by one.
func (b *builder) set(section, key string, v units.Value, from diag.Range) {
	b.list = slices.DeleteFunc(b.list, func(d units.Directive) bool { return d.Section == section && d.Key == key })
	b.add(section, key, v, from)
}

// lower turns a project into its units. Apps do not depend on each other here
// and nothing asks the host any more, so they are lowered side by side.
func lower(p *project, m *messages) units.Set {
	lowered := make([]loweredApp, len(p.apps))
	sideBySide(len(p.apps), func(from, to int) {
		for i := from; i < to; i++ {
			lowered[i] = lowerApp(p, p.apps[i])
		}
	})

	set := make(units.Set, 0, 2*len(p.apps)+4)
	owners := make(map[string]*app, cap(set))
	for i, a := range p.apps {
		m.list = append(m.list, lowered[i].list...)
		for _, u := range lowered[i].units {
			if other, taken := owners[u.Name]; taken {
				m.add(nameCollision, a.at, "rename one of them", "%q and %q both become %s", clip(other.name), clip(a.name), u.Name)
				continue
			}
			if err := units.CheckVendor(u.Name); err != nil {
				m.add(badName, a.at, "rename the app, or give its units other names with --prefix", "%q: %v", clip(a.name), err)
			}
			owners[u.Name] = a
			set = append(set, u)
		}
	}
	for _, b := range p.shared() {
		if a, taken := owners[b.name]; taken {
			m.add(nameCollision, a.at, "rename the app, or use --project or --prefix", "%q becomes %s, which is the project's own", clip(a.name), b.name)
			continue
		}
		set = append(set, b.seal(p, ""))
	}
	slices.SortFunc(set, func(a, b units.Unit) int { return cmp.Compare(a.Name, b.Name) })
	return set
}

// sideBySide calls work with ranges that cover 0 to n, on as many CPUs as there
// are and as n apps are worth.
func sideBySide(n int, work func(from, to int)) {
	const appsAWorker = 64
	workers := min(runtime.GOMAXPROCS(0), (n+appsAWorker-1)/appsAWorker)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() { work(w*n/workers, (w+1)*n/workers) })
	}
	wait.Wait()
}

// loweredApp is what one app became.
type loweredApp struct {
	units []units.Unit
	list  diag.List
}

func lowerApp(p *project, a *app) loweredApp {
	if len(a.program.argv) == 0 {
		return loweredApp{} // its script was refused
	}
	l := &lowering{messages: &messages{}, p: p, o: p.o, host: &p.o.Host, app: a}
	l.begin()
	rows := fields()
	for i := range rows {
		if lower := rows[i].Lower; lower != nil {
			lower(l, a.row(i))
		}
	}
	l.finish()
	out := loweredApp{units: make([]units.Unit, 0, 2+len(l.extra)), list: l.list}
	out.units = append(out.units, l.service.seal(p, a.name))
	if l.target != nil {
		out.units = append(out.units, l.target.seal(p, a.name))
	}
	for _, b := range l.extra {
		out.units = append(out.units, b.seal(p, a.name))
	}
	return out
}

// begin opens the app's units with what every app has.
func (l *lowering) begin() {
	a := l.app
	if !a.template {
		l.service = l.unit(a.unit + ".service")
		l.service.add("Unit", "PartOf", units.Words{l.p.target()}, a.at)
		l.joinProject(l.service)
		return
	}
	l.service = l.unit(a.unit + "@.service")
	l.service.add("Unit", "PartOf", units.Words{a.main()}, a.at)
	l.service.add("Install", "WantedBy", units.Words{a.main()}, a.at)
	l.target = l.unit(a.main())
	l.joinProject(l.target)
	l.target.add("Unit", "Description", l.text(units.Escape(a.name)+" ("+units.Escape(l.p.name)+")"), a.at)
	l.target.add("Unit", "PartOf", units.Words{l.p.target()}, a.at)
	// Without it systemd orders the two targets by which it loads first, Wants=
	// one way and PartOf= the other, and depends_on can close a cycle.
	l.target.add("Unit", "Before", units.Words{l.p.target()}, a.at)
	for i := range a.count {
		l.target.add("Install", "Also", also(a.instance(i)), a.get("instances").at)
	}
}

// joinProject has enable link the app into its project's target. A link rather
// than Wants= in the target, so that one app can be kept from the next boot.
func (l *lowering) joinProject(main *builder) {
	if l.app.autostarts() {
		main.add("Install", "WantedBy", units.Words{l.p.target()}, l.app.at)
	}
}

// also names a unit for Also=, the one list of units in which systemd takes a
// backslash for an escape (config_parse_also of its install.c).
func also(unit string) units.Words { return units.Words{strings.ReplaceAll(unit, `\`, `\\`)} }

// unit starts a unit that belongs to the app.
func (l *lowering) unit(name string) *builder {
	b := &builder{name: name, list: builderLists.Get().([]units.Directive)}
	if l.p.source != "" {
		b.add("Unit", "SourcePath", units.Path(units.Escape(l.p.source)), l.app.at)
	}
	return b
}

// companion starts a unit of gm's own that works for the app. It has no start
// limit: it is started with the app, so a crash loop, a frequent timer or a user
// would reach the default of 5 in 10 s, and what systemd then gives up is silent.
func (l *lowering) companion(suffix, what string, from diag.Range) *builder {
	b := l.unit(l.app.unit + suffix)
	b.add("Unit", "Description", l.text(units.Escape(what+" "+l.app.name)+" ("+units.Escape(l.p.name)+")"), from)
	b.add("Unit", "StartLimitIntervalSec", units.Span(0), from)
	l.extra = append(l.extra, b)
	return b
}

// alwaysUp has a companion that calls gm restarted whenever it ends, but for
// gm's exit status of a wrong call, which another try would not change.
func (b *builder) alwaysUp(from diag.Range) {
	b.add("Service", "Restart", units.Word("always"), from)
	b.add("Service", "RestartPreventExitStatus", units.Words{"2"}, from)
}

// follow starts b with the app and stops it when the app or the project is
// stopped; PartOf= does not pass a stop on through an app that has ended.
// StopPropagatedFrom= will not do: it takes an app that ends by itself for a
// stop, and a cron job's timer would go with its first run.
func (l *lowering) follow(b *builder, from diag.Range) {
	b.add("Unit", "PartOf", units.Words{l.app.main()}, from)
	b.add("Unit", "PartOf", units.Words{l.p.target()}, from)
	main := l.service
	if l.target != nil {
		main = l.target
	}
	main.add("Unit", "Wants", units.Words{b.name}, from)
}

// supports reports whether the target systemd knows a directive.
func (l *lowering) supports(section, key string) bool {
	rule, ok := units.Lookup(section, key)
	return ok && rule.Since <= l.host.Systemd
}

// instanced is spec with the instance's number where the app has several.
func (l *lowering) instanced(spec units.Spec) units.Spec {
	if l.app.template {
		return spec + "%i"
	}
	return spec + "0"
}

// setenv gives the service a variable, over an earlier one of that name.
func (l *lowering) setenv(v variable) {
	if i := slices.IndexFunc(l.env, func(have variable) bool { return have.name == v.name }); i >= 0 {
		l.env[i] = v
		return
	}
	l.env = append(l.env, v)
}

// getenv returns the value of a variable that is set already.
func (l *lowering) getenv(name string) (units.Spec, bool) {
	for i := range l.env {
		if l.env[i].name == name {
			return l.env[i].value, true
		}
	}
	return "", false
}

// finish writes what several keys together decide: the environment, the folders
// of log and pid files, and last the raw directives, which win.
func (l *lowering) finish() {
	l.finishEnv()
	l.finishDirs()
	l.finishSystemd()
}

// text is one line of free text; a character that cannot stand there becomes
// a blank.
func (l *lowering) text(s units.Spec) units.Text {
	clean := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(string(s), "\ufffd"))
	text, err := units.NewText(units.Spec(clean))
	if err != nil {
		return units.Text(units.Escape(l.app.unit))
	}
	return text
}

// path returns a path value, or reports why it cannot be written.
func (l *lowering) path(s units.Spec, from *arg) (units.Path, bool) {
	p, err := units.NewPath(s)
	if err != nil {
		l.add(badText, from.at, "rename the file or directory", "%s: %v", from.name, err)
		return "", false
	}
	return p, true
}

// command returns an Exec line, or reports why it cannot be written.
func (l *lowering) command(prefix string, at diag.Range, key string, argv ...units.Spec) (units.Command, bool) {
	c, err := units.NewCommand(prefix, argv)
	if err != nil {
		l.add(badText, at, "change the value", "%s: %v", key, err)
		return units.Command{}, false
	}
	return c, true
}

// gm is the command line of one of gm's own verbs.
func (l *lowering) gm(words ...units.Spec) []units.Spec {
	return append([]units.Spec{units.Escape(l.host.Gm)}, words...)
}

// seal orders a unit's directives as the rules list them and adds gm's mark.
func (b *builder) seal(p *project, app string) units.Unit {
	u := units.Unit{Name: b.name, Directives: b.list}
	u.Sort()
	sealed := units.Seal(u, p.name, app) // a copy of its own
	clear(b.list)
	builderLists.Put(b.list[:0])
	b.list = nil
	return sealed
}

// builderLists are the lists that builders collect in, used again and again.
var builderLists = sync.Pool{New: func() any { return make([]units.Directive, 0, 40) }}

// target and slice name the units that a project's apps hang on and run in.
func (p *project) target() string { return "gm-" + units.EscapeName(p.name) + ".target" }

func (p *project) slice(namespace string) string {
	name := "gm-" + sliceWord(p.name)
	if inNamespace(namespace) {
		name += "-" + sliceWord(namespace)
	}
	return name + ".slice"
}

// inNamespace reports whether a namespace is another than the one in which PM2
// puts every app.
func inNamespace(namespace string) bool { return namespace != "" && namespace != "default" }

// sliceWord is one level of a slice's name: dashes nest slices, so they
// become underscores (systemd.slice(5)).
func sliceWord(name string) string {
	return strings.ReplaceAll(units.EscapeName(strings.ReplaceAll(name, "-", "_")), "-", "_")
}

// shared returns the units of the project as a whole: its target and slices.
func (p *project) shared() []*builder {
	target := &builder{name: p.target()}
	described := func(b *builder, what string) *builder {
		text, err := units.NewText(units.Escape(what))
		if err != nil {
			text = units.Text(units.Escape(b.name))
		}
		b.add("Unit", "Description", text, diag.Range{})
		if p.source != "" {
			b.add("Unit", "SourcePath", units.Path(units.Escape(p.source)), diag.Range{})
		}
		return b
	}
	described(target, "Apps of "+p.name)
	// Apps that --only leaves out stay named: they may be installed already. One that
	// does not start by itself has no WantedBy=, and its instances only their group's.
	for _, a := range p.all {
		target.add("Install", "Also", also(a.main()), a.at)
		if cron := a.get("cron_restart"); !a.autostarts() && cron.given() && !cronDisabled(cron.text) {
			target.add("Install", "Also", also(a.unit+"-restart.timer"), cron.at)
		}
	}
	boot := "multi-user.target"
	if p.o.Host.Scope == ScopeUser {
		boot = "default.target"
	}
	target.add("Install", "WantedBy", units.Words{boot}, diag.Range{})

	out := []*builder{target, described(&builder{name: p.slice("")}, "Apps of "+p.name)}
	seen := map[string]bool{p.slice(""): true}
	for _, a := range p.apps {
		if name := p.slice(a.get("namespace").text); !seen[name] {
			seen[name] = true
			out = append(out, described(&builder{name: name}, "Apps of "+p.name+", namespace "+a.get("namespace").text))
		}
	}
	return out
}

func (a *app) autostarts() bool {
	autostart := a.get("autostart")
	return !autostart.given() || autostart.flag
}
