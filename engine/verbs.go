package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gm/units"
)

// The verbs are plans: Apply carries them out, with KeepFailed. They need no
// declaration, what is installed is enough. The apps of one selection are of one
// project (SplitProjects), and have is what is installed of it.

// PlanStart starts what does not run, for good: with its timers and watches, and
// over boots unless it is declared not to start by itself. Starting one instance of an app that was stopped as a whole leaves
// the others stopped.
func PlanStart(have *State, sel []Selection) *Plan {
	v := newVerb(have, projectOf(sel))
	for i := range sel {
		s := &sel[i]
		p := v.app(s, Revive, "started by hand")
		v.enable(p, s)
		p.Start = v.down(s.Units)
		v.companions(p, s)
		v.add(p)
	}
	return v.finish()
}

// PlanStop stops apps for good: over boots, and with what could start them again.
func PlanStop(have *State, sel []Selection) *Plan {
	v := newVerb(have, projectOf(sel))
	for i := range sel {
		s := &sel[i]
		p := v.app(s, Halt, "stopped by hand")
		if s.Whole {
			// The links of the instances stay: which of them had been stopped before
			// the app was is known when it starts again.
			own := append([]string{s.App.Main}, s.App.Companions...)
			v.unlink(p, func(l Link) bool {
				return slices.Contains(own, l.Wanted) && slices.Contains(v.wantedBy(l.Wanted), l.By)
			})
			p.Stop = stopOrder(v.loaded(v.allUnits(&s.App)))
		} else {
			v.unlink(p, func(l Link) bool { return slices.Contains(s.Units, l.Wanted) && l.By == s.App.Group })
			p.Stop = stopOrder(v.loaded(s.Units))
		}
		v.add(p)
	}
	v.noteNeeded(sel)
	return v.finish()
}

// noteNeeded names the apps that stay and depend on one that is stopped: each of
// their starts, at boot as well, starts that one too.
func (v *verb) noteNeeded(sel []Selection) {
	stopped := map[string]string{} // units, by app
	chosen := map[string]bool{}
	for i := range sel {
		chosen[sel[i].App.Name] = true
		if sel[i].Whole {
			stopped[sel[i].App.Main] = sel[i].App.Name
		}
	}
	for _, other := range v.have.Apps() {
		if chosen[other.Name] || other.Project != v.plan.Project || !v.links[Link{other.Target, other.Main}] {
			continue
		}
		for _, key := range []string{"Wants", "Requires"} {
			for _, unit := range words(other.Service, "Unit", key) {
				if name := stopped[unit]; name != "" {
					v.plan.Notes = append(v.plan.Notes, Note{App: name, Kind: NoteNeeded, Unit: unit,
						Text:   other.Name + " depends on " + name + ", and starts it whenever it starts itself, at boot as well",
						Remedy: "gm stop " + other.Name + ", or take " + name + " out of its depends_on"})
				}
			}
		}
	}
}

// PlanRestart restarts apps at once, and starts those that do not run: for good,
// as PlanStart does.
func PlanRestart(have *State, sel []Selection) *Plan {
	v := newVerb(have, projectOf(sel))
	for i := range sel {
		s := &sel[i]
		p := v.app(s, RestartApp, "restarted by hand")
		v.enable(p, s)
		p.Restart = slices.Clone(s.Units)
		v.companions(p, s)
		v.add(p)
	}
	return v.finish()
}

// PlanReload restarts the instances of apps one after the other, and starts apps
// that do not run. An app's ExecReload= has no part in it: PM2's reload replaces the
// process. Instances that were stopped one by one stay so.
func PlanReload(have *State, sel []Selection) *Plan {
	v := newVerb(have, projectOf(sel))
	for i := range sel {
		s := &sel[i]
		p := v.app(s, Roll, "reloaded by hand")
		chosen := *s
		if s.Whole && len(v.down(s.Units)) < len(s.Units) {
			// Some run: those that do not and have no link were stopped.
			chosen.Units = slices.DeleteFunc(slices.Clone(s.Units), func(unit string) bool {
				return s.App.Group != "" && !v.running(unit) && !v.links[Link{s.App.Group, unit}]
			})
		}
		v.enable(p, &chosen)
		for _, unit := range chosen.Units {
			if v.running(unit) {
				p.Restart = append(p.Restart, unit)
			}
		}
		p.Start = v.down(chosen.Units)
		v.companions(p, s)
		if len(p.Restart) == 0 {
			p.Effect = Revive
		}
		v.add(p)
	}
	return v.finish()
}

// PlanDelete stops and removes apps, and the project with its last one. An
// instance of an app is removed as PlanScale does it, the last one with the app.
func PlanDelete(have *State, sel []Selection) *Plan {
	v := newVerb(have, projectOf(sel))
	for i := range sel {
		s := &sel[i]
		if !s.Whole && s.App.Group != "" {
			left := slices.DeleteFunc(slices.Clone(s.App.Instances), func(unit string) bool { return slices.Contains(s.Units, unit) })
			if len(left) > 0 {
				p := v.app(s, Scale, "removed by hand")
				p.After = len(left)
				// An edited target is left, and names an instance that is not started.
				_ = v.instances(p, &s.App, left)
				v.add(p)
				continue
			}
		}
		v.remove(&s.App)
	}
	return v.finish()
}

// PlanScale changes the number of an app's instances; those that stay are not
// restarted.
func PlanScale(have *State, app App, count int) (*Plan, error) {
	switch {
	case count < 1:
		return nil, &CannotScale{app.Name, fmt.Sprintf("%d instances are none", count), "gm stop or gm delete it instead"}
	case app.Group == "":
		return nil, &CannotScale{app.Name, "it is one service, not a template", `declare "instances" for it, and gm install`}
	}
	s := Selection{App: app, Units: app.Instances, Whole: true}
	v := newVerb(have, app.Project)
	list := slices.Clone(app.Instances)
	slices.SortFunc(list, compareInstances)
	stem := strings.TrimSuffix(app.Unit, ".service")
	for number := 0; len(list) < count; number++ {
		if unit := stem + strconv.Itoa(number) + ".service"; !slices.Contains(app.Instances, unit) {
			list = append(list, unit)
		}
	}
	list = list[:count]
	slices.SortFunc(list, compareInstances)
	p := v.app(&s, Scale, fmt.Sprintf("%d to %d instances", len(app.Instances), count))
	p.After = count
	if err := v.instances(p, &app, list); err != nil {
		return nil, err
	}
	v.add(p)
	return v.finish(), nil
}

// CannotScale is the error of an app whose number of instances cannot change like
// that.
type CannotScale struct{ App, Why, Remedy string }

func (e *CannotScale) Error() string { return "cannot scale " + e.App + ": " + e.Why }

// PlanUninstall removes a project with everything that it left on the machine.
func PlanUninstall(have *State, project string) *Plan {
	v := newVerb(have, project)
	for _, app := range have.Apps() {
		if app.Project == project {
			v.remove(&app)
		}
	}
	v.whole = true
	return v.finish()
}

// SplitProjects sorts selections by project, in order of names: each is locked and
// changed by itself.
func SplitProjects(sel []Selection) [][]Selection {
	byProject := map[string][]Selection{}
	for _, s := range sel {
		byProject[s.App.Project] = append(byProject[s.App.Project], s)
	}
	var out [][]Selection
	for _, project := range slices.Sorted(maps.Keys(byProject)) {
		out = append(out, byProject[project])
	}
	return out
}

// verb is a plan in the making.
type verb struct {
	have  *State
	plan  *Plan
	links map[Link]bool    // those that there are, and will be
	files map[string]*File // of the project
	// What each app has.
	filesOf map[string][]*File
	linksOf map[string][]Link
	// byTemplate are the instances in memory or linked.
	byTemplate map[string][]string
	removed    map[string]bool // files that go
	whole      bool            // the project goes, even one without apps
	shared     AppPlan         // of the project as a whole
}

func projectOf(sel []Selection) string {
	if len(sel) == 0 {
		return ""
	}
	return sel[0].App.Project
}

func newVerb(have *State, project string) *verb {
	v := &verb{
		have: have, plan: &Plan{Format: planFormat, Project: project, Base: have.Base(project)}, links: make(map[Link]bool, len(have.Links)),
		files: map[string]*File{}, filesOf: map[string][]*File{}, linksOf: map[string][]Link{}, byTemplate: map[string][]string{}, removed: map[string]bool{},
		shared: AppPlan{Effect: Update},
	}
	for i := range have.Files {
		if f := &have.Files[i]; f.Mark.Project == project {
			v.files[f.Name] = f
			v.filesOf[f.Mark.App] = append(v.filesOf[f.Mark.App], f)
		}
	}
	instances := map[string]bool{}
	for unit := range have.Units {
		instances[unit] = true
	}
	for _, l := range have.Links {
		v.links[l] = true
		instances[l.Wanted] = true
		for _, unit := range []string{l.Wanted, l.By} {
			if f := v.files[fileOf(unit)]; f != nil {
				v.linksOf[f.Mark.App] = append(v.linksOf[f.Mark.App], l)
				break
			}
		}
	}
	for unit := range instances {
		if template, ok := templateOf(unit); ok {
			v.byTemplate[template] = append(v.byTemplate[template], unit)
		}
	}
	return v
}

func (v *verb) app(s *Selection, effect Effect, why string) *AppPlan {
	n := len(s.App.Instances)
	return &AppPlan{
		App: s.App.Name, Effect: effect, Why: []string{why}, At: s.App.Source,
		MinUptime: s.App.MinUptime, Notifies: s.App.Notifies, Once: s.App.Once, Before: n, After: n,
	}
}

func (v *verb) add(p *AppPlan) {
	if p.Empty() {
		p.Effect, p.Why = Keep, nil
	}
	slices.SortFunc(p.Links, func(x, y LinkChange) int { return compareLinks(x.Link, y.Link) })
	v.plan.Apps = append(v.plan.Apps, *p)
}

func (v *verb) finish() *Plan {
	if len(v.removed) > 0 || v.whole {
		v.leave()
	}
	if !v.shared.Empty() {
		v.plan.Apps = append(v.plan.Apps, v.shared)
	}
	slices.SortStableFunc(v.plan.Apps, func(a, b AppPlan) int { return strings.Compare(a.App, b.App) })
	return v.plan
}

func (v *verb) running(unit string) bool { return v.have.Units[unit].Running() }

// down lists the units that do not run.
func (v *verb) down(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), v.running)
}

// loaded lists the units of which there is something to stop, or to forget.
func (v *verb) loaded(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(unit string) bool { return isDown(v.have.Units[unit]) })
}

// allUnits lists the units of an app, with all instances that are known, the
// highest number first.
func (v *verb) allUnits(app *App) []string {
	list := slices.Clone(app.Instances)
	if app.Group != "" {
		list = append(list, v.byTemplate[app.Unit]...)
		slices.SortFunc(list, func(a, b string) int { return compareInstances(b, a) })
		list = append(slices.Compact(list), app.Group)
	}
	return append(list, app.Companions...)
}

// wantedBy lists the units that the installed file of a unit has it linked to.
func (v *verb) wantedBy(unit string) []string {
	if f := v.files[fileOf(unit)]; f != nil && bytes.Contains(f.Text, []byte("\nWantedBy=")) {
		return words(parseFile(*f), "Install", "WantedBy")
	}
	return nil
}

// link makes the links of a unit that are missing.
func (v *verb) link(p *AppPlan, unit string) {
	for _, by := range v.wantedBy(unit) {
		if l := (Link{by, unit}); !v.links[l] {
			v.links[l] = true
			p.Links = append(p.Links, LinkChange{Link: l})
		}
	}
}

// unlink removes those links of an app that which chooses.
func (v *verb) unlink(p *AppPlan, which func(Link) bool) {
	for _, l := range v.linksOf[p.App] {
		if v.links[l] && which(l) {
			delete(v.links, l)
			p.Links = append(p.Links, LinkChange{Link: l, Remove: true})
		}
	}
}

// enable makes the links by which what was chosen runs at boot.
func (v *verb) enable(p *AppPlan, s *Selection) {
	stopped := false // as a whole
	for _, by := range v.wantedBy(s.App.Main) {
		stopped = stopped || !v.links[Link{by, s.App.Main}]
	}
	if stopped && !s.Whole {
		v.unlink(p, func(l Link) bool {
			return l.By == s.App.Group && fileOf(l.Wanted) == s.App.Unit && !slices.Contains(s.Units, l.Wanted) && !v.running(l.Wanted)
		})
	}
	v.link(p, s.App.Main)
	if s.App.Group != "" {
		for _, unit := range s.Units {
			v.link(p, unit)
		}
	}
	for _, c := range s.App.Companions {
		v.link(p, c)
	}
	v.link(&v.shared, s.App.Target)
}

// companions starts again what belongs to an app and does not run: the group of
// its instances, which is started without what hangs on it, its timers and its
// watch.
func (v *verb) companions(p *AppPlan, s *Selection) {
	for _, c := range s.App.Companions {
		if strings.HasSuffix(c, ".timer") || strings.HasSuffix(c, "-watch.service") {
			p.Quiet = append(p.Quiet, c)
		}
	}
	if s.App.Group != "" {
		p.Quiet = append(p.Quiet, s.App.Group)
	}
	p.Quiet = v.down(p.Quiet)
	target := s.App.Target
	if v.files[target] != nil && !v.running(target) && !slices.Contains(v.shared.Quiet, target) {
		v.shared.Quiet = append(v.shared.Quiet, target)
	}
}

// remove stops and removes an app.
func (v *verb) remove(app *App) {
	s := Selection{App: *app, Whole: true}
	p := v.app(&s, Remove, "removed by hand")
	p.After = 0
	p.Stop = stopOrder(v.loaded(v.allUnits(app)))
	for _, f := range v.filesOf[app.Name] {
		v.drop(p, f)
	}
	v.unlink(p, func(Link) bool { return true })
	v.add(p)
}

func (v *verb) drop(p *AppPlan, f *File) {
	text := string(f.Text)
	p.Files = append(p.Files, FileChange{Name: f.Name, Old: &text})
	v.removed[f.Name] = true
}

// leave takes the removed apps out of the project: out of its target, and with
// the last one the project goes itself.
func (v *verb) leave() {
	slicesInUse := map[string]bool{}
	left := false
	for app, files := range v.filesOf {
		for _, f := range files {
			if app == "" || v.removed[f.Name] {
				continue
			}
			left = true
			if _, after, ok := bytes.Cut(f.Text, []byte("\nSlice=")); ok {
				name, _, _ := bytes.Cut(after, []byte("\n"))
				slicesInUse[string(name)] = true
			}
		}
	}
	v.shared.Why = []string{"apps were removed by hand"}
	var stop []string
	for _, f := range v.filesOf[""] {
		isSlice := strings.HasSuffix(f.Name, ".slice")
		switch {
		case !left:
			v.shared.Effect = Remove
			v.drop(&v.shared, f)
			stop = append(stop, f.Name)
		case isSlice && strings.Count(f.Name, "-") > 1 && !slicesInUse[f.Name]:
			v.drop(&v.shared, f)
			stop = append(stop, f.Name)
		case f.Name == targetOf(v.plan.Project):
			v.rewrite(&v.shared, f, func(also string) bool { return v.removed[fileOf(also)] }, nil)
		}
	}
	if !left {
		// The files of these were removed by hand, and the units run on.
		for _, l := range v.have.Links {
			if v.files[l.By] != nil && v.files[fileOf(l.Wanted)] == nil && v.have.Units[l.Wanted].Load == "not-found" {
				stop = append(stop, l.Wanted)
			}
		}
		v.unlink(&v.shared, func(Link) bool { return true })
	}
	v.shared.Stop = stopOrder(v.loaded(stop))
}

// rewrite changes what the Also= lines of a target name. One that was edited by
// hand is left, and false is returned.
func (v *verb) rewrite(p *AppPlan, f *File, drop func(also string) bool, add []string) bool {
	if f.Edited {
		v.plan.Notes = append(v.plan.Notes, Note{
			App: f.Mark.App, Kind: NoteEdited, Unit: f.Name,
			Text:   f.Name + " was edited by hand; it is kept",
			Remedy: "take what is not there any more out of its Also=",
		})
		return false
	}
	u := parseFile(*f)
	var lines []units.Directive
	for _, also := range add {
		lines = append(lines, units.Directive{Section: "Install", Key: "Also", Value: units.Words{escapeAlso(also)}})
	}
	kept := make([]units.Directive, 0, len(u.Directives)+len(lines))
	at := -1 // behind the last line of [Install]
	for _, d := range u.Directives {
		if d.Section == "Install" && d.Key == "Also" {
			list, _ := d.Value.(units.Words)
			list = slices.DeleteFunc(slices.Clone(list), func(word string) bool { return drop(unescapeAlso(word)) })
			if len(list) == 0 {
				continue
			}
			d.Value = list
		}
		kept = append(kept, d)
		if d.Section == "Install" {
			at = len(kept)
		}
	}
	if at < 0 {
		at = len(kept)
	}
	u.Directives = slices.Insert(kept, at, lines...)
	old, now := string(f.Text), string(units.Render(units.Seal(u, f.Mark.Project, f.Mark.App)))
	if old != now {
		p.Files = append(p.Files, FileChange{Name: f.Name, Old: &old, New: &now})
	}
	return true
}

// instances makes the declared instances of an app those of list: what is new is
// started if the app runs, what is not in it is stopped and removed.
func (v *verb) instances(p *AppPlan, app *App, list []string) error {
	group := v.files[app.Group]
	if group == nil {
		return &CannotScale{app.Name, app.Group + " is gone", "gm install its declaration again"}
	}
	var added, gone []string
	for _, unit := range list {
		if !slices.Contains(app.Instances, unit) {
			added = append(added, unit)
		}
	}
	for _, unit := range v.allUnits(app) {
		if template, ok := templateOf(unit); ok && template == app.Unit && !slices.Contains(list, unit) {
			gone = append(gone, unit)
		}
	}
	if len(added)+len(gone) == 0 {
		return nil
	}
	if len(added) > 0 && slices.ContainsFunc(app.Companions, func(c string) bool { return strings.HasSuffix(c, "-log.service") }) {
		return &CannotScale{app.Name, "its log writer has a pipe for each instance", `change "instances" in the declaration, and gm install`}
	}
	dropIns, err := v.dropIns(app, added)
	if err != nil {
		return err
	}
	if !v.rewrite(p, group, func(also string) bool { return fileOf(also) == app.Unit }, list) {
		return &CannotScale{app.Name, app.Group + " was edited by hand", "change its Also= lines there, or gm install --force"}
	}
	p.Files = append(p.Files, dropIns...)
	for _, unit := range gone {
		for _, f := range v.filesOf[app.Name] {
			if strings.HasPrefix(f.Name, unit+".d/") {
				text := string(f.Text)
				p.Files = append(p.Files, FileChange{Name: f.Name, Old: &text})
			}
		}
	}
	slices.SortFunc(p.Files, func(x, y FileChange) int { return strings.Compare(x.Name, y.Name) })
	v.unlink(p, func(l Link) bool { return slices.Contains(gone, l.Wanted) })
	if stop := v.loaded(gone); len(stop) > 0 {
		p.Stop = [][]string{stop}
	}
	for _, unit := range added {
		v.link(p, unit)
	}
	if slices.ContainsFunc(app.Instances, v.running) {
		p.Start = v.down(added)
	} else if len(added) > 0 {
		v.plan.Notes = append(v.plan.Notes, Note{
			App: app.Name, Kind: NoteStopped, Unit: app.Main,
			Text: app.Name + " is stopped, and so are its new instances", Remedy: "gm start " + app.Name,
		})
	}
	return nil
}

// dropIns makes the drop-ins of new instances by continuing the numbers of the
// others: PM2's increment_var.
func (v *verb) dropIns(app *App, added []string) ([]FileChange, error) {
	var like *units.Unit // the drop-in of an instance
	var name string      // its file in the directory
	var variable string
	var first int // the number for instance 0
	cannot := func(why string) error {
		return &CannotScale{app.Name, why, `change "instances" in the declaration, and gm install`}
	}
	for _, unit := range app.Instances {
		for _, f := range v.filesOf[app.Name] {
			file, ok := strings.CutPrefix(f.Name, unit+".d/")
			if !ok || len(added) == 0 {
				continue
			}
			u := parseFile(*f)
			number, err := strconv.Atoi(instanceName(unit))
			counted, value, ok := counter(u)
			if err != nil || !ok || like != nil && (name != file || variable != counted || first != value-number) {
				return nil, cannot("how " + f.Name + " is continued for further instances is not clear")
			}
			like, name, variable, first = &u, file, counted, value-number
		}
	}
	if like == nil {
		return nil, nil
	}
	var out []FileChange
	for _, unit := range added {
		number, err := strconv.Atoi(instanceName(unit))
		if err != nil {
			return nil, cannot(unit + " has no number")
		}
		assign, err := units.NewAssign(variable, units.Spec(strconv.Itoa(first+number)))
		if err != nil {
			return nil, cannot(err.Error())
		}
		u := units.Unit{Name: unit + ".d/" + name, Directives: slices.Clone(like.Directives)}
		for i := range u.Directives {
			if u.Directives[i].Key == "Environment" {
				u.Directives[i].Value = assign
			}
		}
		text := string(units.Render(units.Seal(u, app.Project, app.Name)))
		change := FileChange{Name: u.Name, New: &text}
		if f := v.files[u.Name]; f != nil {
			old := string(f.Text)
			change.Old = &old
		}
		out = append(out, change)
	}
	return out, nil
}

// counter returns the one variable that a drop-in sets, and its number.
func counter(u units.Unit) (name string, value int, ok bool) {
	err := errors.New("no variable")
	for _, d := range u.Directives {
		if d.Section == "X-Gm" {
			continue
		}
		assign, isAssign := d.Value.(units.Assign)
		if !isAssign || name != "" {
			return "", 0, false
		}
		name = assign.Name
		value, err = strconv.Atoi(string(assign.Value))
	}
	return name, value, err == nil
}
