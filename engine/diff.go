package engine

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"gm/units"
)

// Diff compares what is wanted with what there is, by app. It is pure: same input,
// same plan. Plan.Engine and Plan.User are the caller's to fill in.
//
// What runs is restarted only for a directive that systemd does not apply by
// itself (units.Rule), and only where it changes: all instances for their template,
// one for its drop-in, a companion for its own file. What ended in peace, and what
// was stopped on purpose (the installed units declare a link that is not there),
// stays down. What someone edited by hand stays as it is.
func Diff(want units.Set, have *State, o DiffOptions) *Plan {
	d := &differ{
		o: o, have: have, plan: &Plan{Format: planFormat, Project: o.Project, Base: have.Base(o.Project)},
		files: map[string]*File{}, wanted: map[string]wanted{}, owner: map[string]string{},
		apps: map[string]*appDiff{}, running: map[string][]string{}, linkedTo: map[string][]string{},
	}
	d.read(want)
	d.keepEdited()
	d.group()
	d.link()
	for _, name := range slices.Sorted(maps.Keys(d.apps)) {
		if name != "" {
			d.planApp(d.apps[name])
		}
	}
	d.planProject(d.app(""))
	for _, name := range slices.Sorted(maps.Keys(d.apps)) {
		if p := d.apps[name].plan; p.App != "" || p.Effect != Keep {
			d.plan.Apps = append(d.plan.Apps, p)
		}
	}
	d.noteDropIns()
	slices.SortStableFunc(d.plan.Notes, func(a, b Note) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Unit, b.Unit))
	})
	return d.plan
}

// differ is the work of one Diff.
type differ struct {
	o    DiffOptions
	have *State
	plan *Plan

	// files and wanted are what is compared, by name: of the apps of o.Only.
	files  map[string]*File
	wanted map[string]wanted
	// owner is the app of each unit of the project, "" for the project's own.
	owner map[string]string
	apps  map[string]*appDiff

	// Links that the wanted units declare and that the installed ones do.
	wantLinks, oldLinks []Link
	linkedTo            map[string][]string // instances that are linked, by target
	// old and now are the units of both sides.
	old, now units.Set
	// running are the instances in memory that are not down, by template.
	running map[string][]string
}

// wanted is a file as it shall be.
type wanted struct {
	unit units.Unit
	text string
	mark units.Mark
}

// appDiff is what is found out about one app before its effect is known.
type appDiff struct {
	name     string
	old, now *App // nil: not there
	plan     AppPlan

	// What of the change needs a restart: of all instances, of one, of a companion;
	// and what none needs.
	all       []string
	instance  map[string][]string
	companion map[string][]string
	live      []string

	made    map[string]bool // units that get a link
	held    map[string]bool // units whose link was removed on purpose
	stopped bool            // on purpose, and it stays so
}

// read takes in both sides, as far as o.Only goes.
func (d *differ) read(want units.Set) {
	inScope := func(app string) bool { return app == "" || d.o.Only == nil || slices.Contains(d.o.Only, app) }
	for i := range d.have.Files {
		f := &d.have.Files[i]
		if f.Mark.Project != d.o.Project {
			continue
		}
		d.owner[f.Name] = f.Mark.App
		if inScope(f.Mark.App) {
			d.files[f.Name] = f
		}
	}
	for _, u := range want {
		m, _ := u.Mark()
		d.owner[u.Name] = m.App
		if inScope(m.App) {
			d.wanted[u.Name] = wanted{u, string(units.Render(u)), m}
		}
	}
	for unit, s := range d.have.Units {
		if template, ok := templateOf(unit); ok && !isDown(s) {
			d.running[template] = append(d.running[template], unit)
		}
	}
	for _, list := range d.running {
		slices.SortFunc(list, compareInstances)
	}
}

// keepEdited puts what someone edited in the place of what is wanted, unless it
// is to be overwritten.
func (d *differ) keepEdited() {
	stays := map[string]bool{} // apps of which something wanted is there
	for _, w := range d.wanted {
		stays[w.mark.App] = true
	}
	keep := func(f *File) {
		d.wanted[f.Name] = wanted{parseFile(*f), string(f.Text), f.Mark}
		d.owner[f.Name] = f.Mark.App
	}
	kept := map[string]bool{}  // apps that should go, with an edited file
	stems := map[string]bool{} // of edited files that should go: a timer needs its service
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		w, isWanted := d.wanted[name]
		if !isWanted && f.Mark.App == "" && d.o.Only != nil {
			keep(f) // --only compiles no slice of the other apps
			continue
		}
		if !f.Edited {
			continue
		}
		note := Note{App: f.Mark.App, Kind: NoteEdited, Unit: name, Text: name + " was edited by hand; "}
		switch {
		case d.o.Force:
			note.Kind = NoteForced
			note.Text += "the edit is overwritten"
			if !isWanted {
				note.Text = name + " was edited by hand; it is removed all the same"
			}
		case isWanted:
			keep(f)
			note.Text += "it is kept"
			if w.mark.Hash != f.Mark.Hash {
				note.Text += ", and what the declaration changes in it does not arrive"
			}
			note.Remedy = "--force overwrites it; put the change into the declaration"
			if isUnitFile(name) {
				note.Remedy += ", or into a drop-in (" + d.dropIn(name) + ")"
			}
		default:
			app := f.Mark.App
			note.Text += "it is not removed"
			note.Remedy = "--force removes it"
			stems[stemOf(name)] = true
			switch {
			case !stays[app]:
				kept[app] = true
				if app != "" {
					note.Text += ", and neither is " + app
				}
			case d.isMain(f):
				kept[app] = true
				note.Text = name + " was edited by hand; it is kept, and what the declaration changes in " + app + " does not arrive"
				note.Remedy = "--force replaces it"
				for other, w := range d.wanted {
					if w.mark.App == app {
						delete(d.wanted, other)
					}
				}
			}
		}
		d.plan.Notes = append(d.plan.Notes, note)
	}
	for name, f := range d.files {
		_, isWanted := d.wanted[name]
		// What is kept of the project's apps needs the project.
		if !isWanted && (kept[f.Mark.App] || len(kept) > 0 && f.Mark.App == "" || stems[stemOf(name)]) {
			keep(f)
		}
	}
}

// isMain reports whether a file is what an app is about: its service or its group.
func (d *differ) isMain(f *File) bool {
	var own []units.Unit
	for _, other := range d.have.Files {
		if other.Mark.Project == f.Mark.Project && other.Mark.App == f.Mark.App && isUnitFile(other.Name) {
			own = append(own, parseFile(other))
		}
	}
	app := newApp(f.Mark.Project, f.Mark.App, own)
	return f.Mark.App != "" && (f.Name == app.Unit || f.Name == app.Group)
}

// stemOf is a unit's name without its type.
func stemOf(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// app returns the work on an app.
func (d *differ) app(name string) *appDiff {
	a := d.apps[name]
	if a == nil {
		a = &appDiff{name: name, plan: AppPlan{App: name},
			instance: map[string][]string{}, companion: map[string][]string{}, made: map[string]bool{}, held: map[string]bool{}}
		d.apps[name] = a
	}
	return a
}

// group sorts files by app and finds the apps of both sides.
func (d *differ) group() {
	d.now = make(units.Set, 0, len(d.wanted))
	d.old = make(units.Set, 0, len(d.files))
	names := slices.Collect(maps.Keys(d.wanted))
	for name := range d.files {
		if _, ok := d.wanted[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	type pair struct{ old, now units.Unit }
	changed := map[string]pair{}
	for _, name := range names {
		w, isWanted := d.wanted[name]
		f, isThere := d.files[name]
		if isWanted {
			d.now = append(d.now, w.unit)
			d.app(w.mark.App)
		}
		installed := w.unit
		if isThere {
			d.app(f.Mark.App)
			if !isWanted || w.text != string(f.Text) {
				installed = parseFile(*f)
			}
			d.old = append(d.old, installed)
		}
		if isWanted && isThere && w.text == string(f.Text) {
			continue
		}
		change := FileChange{Name: name}
		p := pair{units.Unit{Name: name}, units.Unit{Name: name}}
		app := ""
		if isThere {
			text := string(f.Text)
			change.Old, p.old, app = &text, installed, f.Mark.App
		}
		if isWanted {
			change.New, p.now, app = &w.text, w.unit, w.mark.App
		}
		a := d.app(app)
		a.plan.Files = append(a.plan.Files, change)
		changed[name] = p
	}
	for _, app := range Apps(d.now) {
		d.app(app.Name).now = &app
	}
	for _, app := range Apps(d.old) {
		d.app(app.Name).old = &app
	}
	for _, a := range d.apps {
		for _, f := range a.plan.Files {
			p := changed[f.Name]
			a.weigh(p.old, p.now)
		}
	}
	d.wantLinks, d.oldLinks = Links(d.now), Links(d.old)
}

// weigh sorts what has changed in one file by what it takes to get it into
// effect.
func (a *appDiff) weigh(old, now units.Unit) {
	file := now.Name
	restart, live := changes(old, now)
	own := restart
	for _, list := range []*[]string{&restart, &live} {
		prefixed := make([]string, len(*list))
		for i, name := range *list {
			prefixed[i] = file + ": " + name
		}
		*list = prefixed
	}
	switch {
	case len(old.Directives) == 0 && isUnitFile(file):
		restart, live, own = nil, []string{file + " is new"}, []string{file + " was missing"}
	case len(now.Directives) == 0 && isUnitFile(file):
		restart, live, own = nil, []string{file + " is removed"}, nil
	}
	unit, _, isDropIn := strings.Cut(file, ".d/")
	switch {
	case a.old == nil || a.now == nil:
		a.live = append(a.live, restart...)
	case isDropIn && unit == a.now.Unit:
		a.all = append(a.all, restart...)
	case isDropIn && a.now.Group != "" && isInstance(unit, a.now.Unit):
		a.instance[unit] = append(a.instance[unit], restart...)
	case isDropIn:
		a.companion[unit] = append(a.companion[unit], restart...)
	case units.IsEnvFile(file) && (readsEnvFile(a.old.Service, file) || readsEnvFile(a.now.Service, file)):
		a.all = append(a.all, restart...)
	case file == a.now.Unit && a.old.Unit == a.now.Unit:
		a.all = append(a.all, own...)
		if len(own) > 0 && len(old.Directives) == 0 {
			return
		}
		for i := range live {
			live[i] = strings.TrimPrefix(live[i], file+": ")
		}
	case slices.Contains(a.now.Companions, file):
		a.companion[file] = append(a.companion[file], restart...)
	default:
		a.live = append(a.live, restart...)
	}
	a.live = append(a.live, live...)
}

func readsEnvFile(service units.Unit, file string) bool {
	return slices.ContainsFunc(service.Directives, func(d units.Directive) bool {
		return d.Key == "EnvironmentFile" && path.Base(units.Encode(d.Value)) == string(units.Escape(units.EscapeGlob(file)))
	})
}

// link finds the links that are made and removed. One that the installed units
// declare and that is not there was removed on purpose: its unit stays stopped.
func (d *differ) link() {
	target := targetOf(d.o.Project)
	linked, isLinked := map[Link]bool{}, map[string]bool{}
	for _, l := range d.have.Links {
		_, wantedOurs := d.ownerOf(l.Wanted)
		if _, byOurs := d.owner[l.By]; wantedOurs || byOurs || l.By == target || l.Wanted == target {
			linked[l], isLinked[l.Wanted] = true, true
			d.linkedTo[l.By] = append(d.linkedTo[l.By], l.Wanted)
		}
	}
	declared := map[Link]bool{}
	for _, l := range d.oldLinks {
		declared[l] = true
		a := d.appOf(l)
		if a != nil && a.old != nil && a.old.Main == l.Wanted && !isLinked[l.Wanted] && !d.o.Wake {
			a.stopped = true
		}
	}
	wanted := map[Link]bool{}
	for _, l := range d.wantLinks {
		wanted[l] = true
		a := d.appOf(l)
		switch main := a != nil && a.now != nil && a.now.Main == l.Wanted; {
		case linked[l] || a == nil:
		case main && a.stopped, declared[l] && !d.o.Wake:
			a.held[l.Wanted] = true
			if main || !a.stopped {
				d.noteStopped(a, l)
			}
		default:
			a.plan.Links = append(a.plan.Links, LinkChange{Link: l})
			a.made[l.Wanted] = true
		}
	}
	for _, l := range d.have.Links {
		a := d.appOf(l)
		if !linked[l] || wanted[l] || a == nil {
			continue
		}
		// What an administrator links from a unit of his own stays as long as there is
		// something to link to.
		if _, byOurs := d.owner[l.By]; byOurs || declared[l] || !d.stays(l.Wanted) {
			a.plan.Links = append(a.plan.Links, LinkChange{Link: l, Remove: true})
		}
	}
	for _, a := range d.apps {
		slices.SortFunc(a.plan.Links, func(a, b LinkChange) int { return compareLinks(a.Link, b.Link) })
	}
}

// appOf returns the app that a link is about, nil if o.Only leaves it out.
func (d *differ) appOf(l Link) *appDiff {
	name, ok := d.ownerOf(l.Wanted)
	if !ok {
		name = d.owner[l.By]
	}
	return d.apps[name]
}

// ownerOf returns the app of a unit or an instance.
func (d *differ) ownerOf(unit string) (app string, ok bool) {
	app, ok = d.owner[unit]
	if template, instance := templateOf(unit); !ok && instance {
		app, ok = d.owner[template]
	}
	return app, ok
}

// stays reports whether a unit, or the template of an instance, is there when all
// is done.
func (d *differ) stays(unit string) bool {
	_, ok := d.wanted[unit]
	if template, instance := templateOf(unit); !ok && instance {
		_, ok = d.wanted[template]
	}
	return ok
}

func (d *differ) noteStopped(a *appDiff, l Link) {
	note := Note{App: a.name, Kind: NoteStopped, Unit: l.Wanted}
	switch {
	case a.name == "":
		note.Text = l.Wanted + " is disabled: nothing of the project starts at boot"
		note.Remedy = d.systemctl() + " enable " + l.Wanted
		if d.o.ByHand != "" {
			note.Remedy = "ln -s ../" + l.Wanted + " " + path.Join(d.o.ByHand, l.By+".wants") + "/"
		}
	case a.now != nil && l.Wanted == a.now.Main:
		note.Text = a.name + " was stopped and stays so"
		note.Remedy = "gm start " + a.name
	case slices.Contains(a.now.Instances, l.Wanted):
		instance := a.name + "@" + instanceName(l.Wanted)
		note.Text = instance + " was stopped and stays so"
		note.Remedy = "gm start " + instance
	default:
		note.Text = l.Wanted + " was disabled and stays so"
		note.Remedy = "gm start " + a.name
	}
	d.plan.Notes = append(d.plan.Notes, note)
}

// dropIn is how a person makes a drop-in.
func (d *differ) dropIn(unit string) string {
	if d.o.ByHand != "" {
		return path.Join(d.o.ByHand, unit+".d", "override.conf")
	}
	return d.systemctl() + " edit " + unit
}

// systemctl is how a person calls it in the project's scope.
func (d *differ) systemctl() string {
	target := d.wanted[targetOf(d.o.Project)].unit
	if slices.Contains(words(target, "Install", "WantedBy"), "default.target") {
		return "systemctl --user"
	}
	return "systemctl"
}

func (d *differ) noteDropIns() {
	for _, unit := range slices.Sorted(maps.Keys(d.have.DropIns)) {
		app, ok := d.ownerOf(unit)
		a := d.apps[app]
		if !ok || a == nil {
			continue
		}
		list := strings.Join(d.have.DropIns[unit], ", ")
		note := Note{App: app, Kind: NoteDropIn, Unit: unit, Text: unit + " has drop-ins that are not gm's, and they stay in effect: " + list}
		if a.plan.Effect == Remove {
			note.Text = unit + " has drop-ins that are not gm's, and they are not removed: " + list
		}
		d.plan.Notes = append(d.plan.Notes, note)
	}
}

// isDown reports whether there is nothing of a unit to stop.
func isDown(s UnitState) bool { return s.Active == "" || s.Active == "inactive" }

func isInstance(unit, template string) bool {
	t, ok := templateOf(unit)
	return ok && t == template
}

// instanceName is what stands between "@" and the suffix.
func instanceName(unit string) string {
	at := strings.IndexByte(unit, '@')
	return unit[at+1 : strings.LastIndexByte(unit, '.')]
}

// compareInstances orders instances by number.
func compareInstances(a, b string) int {
	x, errX := strconv.Atoi(instanceName(a))
	y, errY := strconv.Atoi(instanceName(b))
	if errX == nil && errY == nil && x != y {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}
