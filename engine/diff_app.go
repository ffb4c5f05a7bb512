package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gm/diag"
	"gm/units"
)

// The waves in which the units of an app are stopped.
const (
	starters  = iota // what would start the app again: timers, watches, its socket
	processes        // the app's own
	followers        // what sees the app's end: log writers; and targets
	waveCount
)

// steps is what is done with an app's units. What is stopped only to be started
// again is kept apart from what goes, for o.NoStart.
type steps struct {
	gone, pause [waveCount][]string
	restart     []string // instances
	companions  []string // restarted as well
	start       []string
	quiet       []string
}

func (s *steps) stops(pause bool) [][]string {
	var list [][]string
	for wave := range waveCount {
		units := s.gone[wave]
		if pause {
			units = slices.Concat(units, s.pause[wave])
		}
		if len(units) > 0 {
			list = append(list, units)
		}
	}
	return list
}

// planApp decides what happens to one app.
func (d *differ) planApp(a *appDiff) {
	p := &a.plan
	shown := cmp.Or(a.now, a.old)
	p.MinUptime, p.Notifies, p.Once = shown.MinUptime, shown.Notifies, shown.Once
	var s steps
	switch {
	case a.now == nil:
		p.Before = len(a.old.Instances)
		p.Effect, p.Why = Remove, []string{"not in the declaration any more"}
		d.remove(a, &s)
	case a.old == nil:
		p.After = len(a.now.Instances)
		p.Effect, p.Why = Create, []string{"new"}
		d.create(a, &s)
	default:
		p.Before, p.After = len(a.old.Instances), len(a.now.Instances)
		d.change(a, &s)
	}
	if p.Effect != Keep {
		p.At = placeOf(shown.Service) // counts lines and columns
	}
	p.Stop = s.stops(!d.o.NoStart)
	restart := slices.Concat(s.restart, s.companions)
	if !d.o.NoStart {
		p.Restart, p.Start, p.Quiet = restart, s.start, s.quiet
		return
	}
	p.Later = slices.Concat(restart, s.start, s.quiet)
	slices.Sort(p.Later)
	switch p.Effect {
	case RestartApp, Roll, Revive, Update:
		p.Effect = Update
		if p.Empty() {
			p.Effect = Keep
		}
	}
}

// placeOf returns the place in the declaration that a service is made from: of
// the app, which SourcePath= has, if it is known.
func placeOf(service units.Unit) string {
	var at diag.Range
	for _, d := range service.Directives {
		if at.IsZero() || d.Key == "SourcePath" && d.Section == "Unit" && !d.From.IsZero() {
			at = d.From
		}
	}
	return at.String()
}

func (d *differ) runs(unit string) bool { return d.have.Units[unit].Running() }

func (d *differ) anyRuns(list []string) bool { return slices.ContainsFunc(list, d.runs) }

// remove stops all that an app may have in memory.
func (d *differ) remove(a *appDiff, s *steps) {
	for _, c := range a.old.Companions {
		if _, moved := d.wanted[c]; !moved && (d.runs(c) || !isOneshot(d.old, c)) {
			wave := waveOf(a.old, c)
			s.gone[wave] = append(s.gone[wave], c)
		}
	}
	s.gone[processes] = d.instancesOf(a.old)
	if a.old.Group != "" {
		s.gone[followers] = append(s.gone[followers], a.old.Group)
	}
}

// instancesOf returns the instances of an app that are declared, linked or in
// memory.
func (d *differ) instancesOf(app *App) []string {
	if app.Group == "" {
		return []string{app.Unit}
	}
	list := slices.Concat(app.Instances, d.linkedTo[app.Group], d.running[app.Unit])
	list = slices.DeleteFunc(list, func(unit string) bool { return !isInstance(unit, app.Unit) })
	slices.SortFunc(list, compareInstances)
	return slices.Compact(list)
}

// waveOf says when a companion is stopped. A socket that starts another service
// than the app's is that of its log writer.
func waveOf(app *App, companion string) int {
	for suffix, other := range map[string]string{".socket": ".service", ".service": ".socket"} {
		if stem, ok := strings.CutSuffix(companion, suffix); ok && slices.Contains(app.Companions, stem+other) {
			return followers
		}
	}
	return starters
}

func isOneshot(set units.Set, name string) bool {
	u, _ := set.Find(name)
	return slices.ContainsFunc(u.Directives, func(d units.Directive) bool {
		return d.Section == "Service" && d.Key == "Type" && units.Encode(d.Value) == "oneshot"
	})
}

// create starts a new app. What runs already is of an app that had its name.
func (d *differ) create(a *appDiff, s *steps) {
	if a.now.Boots {
		for _, unit := range a.now.Instances {
			if d.runs(unit) {
				s.restart = append(s.restart, unit)
			} else {
				s.start = append(s.start, unit)
			}
		}
	}
	d.accompany(a, s, a.now.Boots, func(string) bool { return true })
}

// accompany starts what works for an app that is up: its group, and the timers
// and watches that come with it, if they are wanted. A target that is started
// alone brings nothing along.
func (d *differ) accompany(a *appDiff, s *steps, up bool, wanted func(companion string) bool) {
	add := func(unit string) {
		due := !d.runs(unit) || d.pending(unit) != ""
		if due && !slices.Contains(s.quiet, unit) && !slices.Contains(s.companions, unit) {
			s.quiet = append(s.quiet, unit)
		}
	}
	if up {
		main := a.now.Service
		if a.now.Group != "" {
			add(a.now.Group)
			main, _ = d.now.Find(a.now.Group)
		}
		for _, unit := range words(main, "Unit", "Wants") {
			if slices.Contains(a.now.Companions, unit) && !isOneshot(d.now, unit) && wanted(unit) {
				add(unit)
			}
		}
	}
	for _, unit := range a.now.Companions {
		if a.made[unit] {
			add(unit)
		}
	}
}

// change brings an app that is there to what is wanted.
func (d *differ) change(a *appDiff, s *steps) {
	old, now, p := a.old, a.now, &a.plan
	wasUp := d.anyRuns(d.instancesOf(old))
	declared := setOf(old.Instances)
	// Without autostart, what is up is as someone wants it, and grows with the app.
	should := func(unit string) bool {
		return !a.stopped && !a.held[unit] && (now.Boots || wasUp && !declared[unit])
	}
	reshaped := old.Unit != now.Unit

	why := a.all
	sockets := d.changeCompanions(a, s, wasUp || slices.ContainsFunc(now.Instances, should))
	why = append(why, sockets...)
	if d.o.Restart {
		why = append(why, "a restart was asked for")
	}
	if reshaped {
		why = append(why, now.Unit+" instead of "+old.Unit)
		for _, unit := range d.instancesOf(old) {
			if !isDown(d.have.Units[unit]) {
				s.gone[processes] = append(s.gone[processes], unit)
			}
		}
		if old.Group != "" && !isDown(d.have.Units[old.Group]) {
			s.gone[followers] = append(s.gone[followers], old.Group)
		}
	}

	var others, revived []string // why some instances restart, and why some start
	for _, unit := range now.Instances {
		up, pending := d.runs(unit), d.pending(unit)
		switch own := a.instance[unit]; {
		case reshaped:
			if should(unit) || wasUp {
				s.start = append(s.start, unit)
			}
		case !up && !should(unit):
		case len(sockets) > 0:
			if up {
				s.pause[processes] = append(s.pause[processes], unit)
			}
			s.start = append(s.start, unit)
		case !declared[unit] && !up:
			s.start = append(s.start, unit)
		case len(why)+len(own) > 0:
			others = append(others, own...)
			s.restart = append(s.restart, unit)
		case up && pending != "":
			others = append(others, named(now, unit)+pending)
			s.restart = append(s.restart, unit)
		case up:
		case pending != "":
			revived = append(revived, named(now, unit)+pending)
			s.start = append(s.start, unit)
		case d.have.Units[unit].Active == "failed":
			if result := failure(d.have.Units[unit]); now.Once && hasTimer(now) {
				d.note(Note{App: a.name, Kind: NoteFailed, Unit: unit, Text: unit + " has " + result + "; its timer starts it again"})
			} else {
				revived = append(revived, named(now, unit)+result)
				s.start = append(s.start, unit)
			}
		case a.made[unit] || a.made[now.Main]:
			why := "starts with the project"
			if old.Boots {
				why = "was stopped by hand"
			}
			revived = append(revived, named(now, unit)+why)
			s.start = append(s.start, unit)
		}
	}
	if !reshaped {
		d.dropSurplus(a, s)
	}
	begins := len(s.start)+len(s.restart) > 0
	had := setOf(old.Companions)
	afresh := begins && !wasUp || now.Group != "" && !d.runs(now.Group)
	d.accompany(a, s, begins || wasUp && !a.stopped, func(companion string) bool {
		return afresh || !had[companion] || d.pending(companion) != ""
	})
	for _, c := range now.Companions {
		if state := d.have.Units[c]; state.Active == "failed" && !slices.Contains(s.quiet, c) {
			d.note(Note{App: a.name, Kind: NoteFailed, Unit: c, Text: c + " has " + failure(state), Remedy: "gm restart " + a.name})
		}
	}

	scaled := ""
	if !slices.Equal(old.Instances, now.Instances) && !reshaped {
		scaled = fmt.Sprintf("instances: %d instead of %d", len(now.Instances), len(old.Instances))
	}
	switch {
	case len(s.restart) > 0, len(s.pause[processes]) > 0, reshaped && len(s.start)+len(s.gone[processes]) > 0:
		p.Effect, p.Why = RestartApp, slices.Concat(why, others, revived)
		running := 0
		for _, unit := range now.Instances {
			if d.runs(unit) {
				running++
			}
		}
		if !d.o.Now && !reshaped && len(sockets) == 0 && running > 1 {
			p.Effect = Roll
		}
		if scaled != "" {
			p.Why = append(p.Why, scaled)
		}
	case scaled != "":
		p.Effect, p.Why = Scale, append([]string{scaled}, revived...)
	case len(s.start) > 0:
		p.Effect, p.Why = Revive, append(revived, sockets...)
	default:
		p.Effect = Keep
		if p.Empty() && len(s.companions)+len(s.quiet)+len(s.stops(true)) == 0 {
			return
		}
		p.Effect = Update
		if p.Why = why; !reshaped {
			p.Why = slices.Concat(why, d.companionWhy(a), a.live, a.leftOver())
		}
		for _, unit := range s.quiet {
			if len(p.Files)+len(p.Links) == 0 && d.pending(unit) == "" {
				p.Why = append(p.Why, unit+" is not active")
			}
		}
	}
}

// changeCompanions sees to an app's other units. It returns what has changed
// about its sockets: systemd starts none whose service runs, and stops what
// requires one that is stopped, so such a change takes the whole app down.
func (d *differ) changeCompanions(a *appDiff, s *steps, up bool) (sockets []string) {
	was, is := setOf(a.old.Companions), setOf(a.now.Companions)
	all := slices.Concat(a.old.Companions, a.now.Companions)
	slices.Sort(all)
	all = slices.Compact(all)
	for _, c := range all {
		if !strings.HasSuffix(c, ".socket") {
			continue
		}
		switch {
		case !is[c]:
			sockets = append(sockets, c+" is removed")
		case !was[c]:
			sockets = append(sockets, c+" is new")
		case len(a.companion[c]) > 0:
			sockets = append(sockets, a.companion[c]...)
		case d.pending(c) != "":
			sockets = append(sockets, c+" "+d.pending(c))
		}
	}
	for _, c := range all {
		state, pending := d.have.Units[c], d.pending(c) != ""
		wave := waveOf(a.now, c)
		if !is[c] {
			wave = waveOf(a.old, c)
		}
		_, wanted := d.wanted[c]
		switch isSocket := strings.HasSuffix(c, ".socket"); {
		case !is[c]:
			if !wanted && !isDown(state) {
				s.gone[wave] = append(s.gone[wave], c)
			}
		case !was[c]:
		case len(sockets) > 0 && (isSocket || wave == followers):
			if !isDown(state) {
				s.pause[wave] = append(s.pause[wave], c)
			}
			if isSocket && state.Running() {
				s.quiet = append(s.quiet, c)
			}
		case len(a.companion[c]) == 0 && !pending:
		case !isOneshot(d.now, c):
			switch isTimer := strings.HasSuffix(c, ".timer"); {
			case state.Running() && !isTimer:
				s.companions = append(s.companions, c)
			case pending && up:
				s.quiet = append(s.quiet, c)
			}
		}
	}
	return sockets
}

// companionWhy says what is done with companions, and the group, alone.
func (d *differ) companionWhy(a *appDiff) []string {
	var why []string
	for _, c := range a.now.Companions {
		why = append(why, a.companion[c]...)
	}
	for _, unit := range append(slices.Clone(a.now.Companions), a.now.Group) {
		if text := d.pending(unit); text != "" {
			why = append(why, unit+" "+text)
		}
	}
	return why
}

// leftOver names the links that go although no file says so.
func (a *appDiff) leftOver() []string {
	var why []string
	for _, l := range a.plan.Links {
		if l.Remove && len(a.plan.Files) == 0 {
			why = append(why, l.By+".wants/"+l.Wanted+" is left over")
		}
	}
	return why
}

// dropSurplus stops the instances that were declared or linked and are not any
// more, the last one first. One that someone started beyond those stays.
func (d *differ) dropSurplus(a *appDiff, s *steps) {
	stays := setOf(a.now.Instances)
	list := slices.Concat(a.old.Instances, d.linkedTo[a.now.Group])
	list = slices.DeleteFunc(list, func(unit string) bool {
		return stays[unit] || !isInstance(unit, a.now.Unit) || isDown(d.have.Units[unit])
	})
	slices.SortFunc(list, func(a, b string) int { return compareInstances(b, a) })
	s.gone[processes] = append(s.gone[processes], slices.Compact(list)...)
}

// planProject decides what happens to the units of the project as a whole, once
// the apps' plans are known.
func (d *differ) planProject(a *appDiff) {
	p := &a.plan
	target := targetOf(d.o.Project)
	was, is := d.ownUnits(d.old), d.ownUnits(d.now)
	_, hasTarget := d.wanted[target]
	if hasTarget && !d.runs(target) {
		up := d.pending(target) != ""
		for _, app := range d.apps {
			q := &app.plan
			up = up || len(q.Restart)+len(q.Start)+len(q.Quiet)+len(q.Later) > 0 ||
				app.now != nil && app.now.Boots && d.anyRuns(app.now.Instances)
		}
		if up && d.o.NoStart {
			p.Later = []string{target}
		} else if up {
			p.Quiet = []string{target}
		}
	}
	switch {
	case len(was) == 0 && len(is) > 0:
		p.Effect, p.Why = Create, []string{"new"}
	case len(was) > 0 && len(is) == 0:
		p.Effect, p.Why = Remove, []string{"not in the declaration any more"}
		var s steps
		for _, unit := range was {
			wave := starters
			if strings.HasSuffix(unit, ".slice") {
				wave = followers
			}
			s.gone[wave] = append(s.gone[wave], unit)
		}
		p.Stop = s.stops(true)
	case p.Empty():
		p.Effect = Keep
	default:
		p.Effect, p.Why = Update, append(a.live, a.leftOver()...)
		if len(p.Files)+len(p.Links) == 0 {
			p.Why = []string{target + " is not active"}
		}
	}
}

// ownUnits are the units of a set that belong to no app.
func (d *differ) ownUnits(set units.Set) []string {
	var list []string
	for _, u := range set {
		if isUnitFile(u.Name) && d.owner[u.Name] == "" {
			list = append(list, u.Name)
		}
	}
	return list
}

// pending says that an earlier run did not get to a unit, "" if it did.
func (d *differ) pending(unit string) string {
	why, ok := d.have.Pending[unit]
	switch {
	case !ok:
		return ""
	case why == "":
		return "left undone by an earlier run"
	}
	return "left undone by an earlier run (" + why + ")"
}

// named puts the name of an instance before what is said of it.
func named(app *App, unit string) string {
	if app.Group == "" {
		return ""
	}
	return unit + " "
}

// failure says how a unit failed, as far as that is known.
func failure(s UnitState) string {
	if s.Result == "" || s.Result == "success" {
		return "failed"
	}
	return "failed (" + s.Result + ")"
}

func hasTimer(app *App) bool {
	return slices.ContainsFunc(app.Companions, func(c string) bool { return strings.HasSuffix(c, ".timer") })
}

func (d *differ) note(n Note) { d.plan.Notes = append(d.plan.Notes, n) }

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}
