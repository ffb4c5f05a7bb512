package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// together returns the units that the project's target can start for this plan, with
// their apps: none, unless what it pulls in by now is what the plan starts, no less
// and no more.
func (a *apply) together() map[string]*AppPlan {
	if a.o.Jobs > 0 || len(a.unmoved) > 0 {
		return nil
	}
	starts := map[string]*AppPlan{}
	begins := map[string]bool{} // and quiet ones
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		if len(p.Restart) > 0 {
			return nil // they may need what is started, and must not start with it
		}
		for _, unit := range p.Start {
			starts[unit], begins[unit] = p, true
		}
		for _, unit := range p.Quiet {
			begins[unit] = true
		}
	}
	target := targetOf(a.plan.Project)
	if len(starts) < 2 || !begins[target] && !a.ran(target) {
		return nil
	}
	pulled, ok := a.pulls(target, begins)
	if !ok {
		return nil
	}
	members := map[string]*AppPlan{}
	var along []string
	for _, unit := range pulled {
		// What runs by now, a socket may have started.
		switch p := starts[unit]; {
		case p == nil:
			along = append(along, unit)
		case !a.ran(unit):
			members[unit] = p
		}
	}
	if len(members) > 0 {
		a.along = along
	}
	return members
}

// pulls lists what a target pulls in directly and by targets that it pulls in; these
// are started alone otherwise. What a service pulls in comes with it in any case. It
// is not ok when there is something that does not begin, or that cannot be told.
func (a *apply) pulls(target string, begins map[string]bool) (units []string, ok bool) {
	seen := map[string]bool{target: true}
	for todo := []string{target}; len(todo) > 0; todo = todo[1:] {
		wanted, ok := a.wantedOnDisk(todo[0])
		if !ok {
			return nil, false
		}
		for _, unit := range wanted {
			if !begins[unit] {
				return nil, false
			}
			units = append(units, unit)
			if isTarget(unit) && !seen[unit] {
				seen[unit] = true
				todo = append(todo, unit)
			}
		}
	}
	return units, true
}

// wantedOnDisk lists the units that a target wants, by its file and by links, also
// links that Observe leaves out because they are not gm's. It is not ok when somebody
// has it pull in more in another way.
func (a *apply) wantedOnDisk(target string) (wanted []string, ok bool) {
	path := filepath.Join(a.dirs.Units, target)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, false
	}
	u := parseFile(File{Name: target, Text: text})
	for _, key := range []string{"Requires", "Requisite", "BindsTo", "Upholds"} {
		if len(words(u, "Unit", key)) > 0 {
			return nil, false
		}
	}
	wanted = words(u, "Unit", "Wants")
	links, err := readDir(path + ".wants")
	if err != nil {
		return nil, false
	}
	for _, link := range links {
		wanted = append(wanted, link.Name())
	}
	for _, dir := range append(slices.Clone(a.dirs.Search), a.dirs.Units) {
		for _, kind := range []string{".wants", ".requires", ".upholds", ".d"} {
			if kind == ".wants" && dir == a.dirs.Units {
				continue
			}
			if _, err := os.Lstat(filepath.Join(dir, target+kind)); !errors.Is(err, fs.ErrNotExist) {
				return nil, false
			}
		}
	}
	return wanted, true
}

// pull has the project's target start units, which awaitPulled waits for. Timers and
// watches come with them, and not after them, as they do at boot.
func (a *apply) pull(ctx context.Context, units map[string]*AppPlan) {
	if ctx.Err() != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, a.o.Deadline)
	defer cancel()
	pulled := make(map[string]bool, len(units))
	var names []string
	for i := range a.plan.Apps {
		p := &a.plan.Apps[i]
		for _, unit := range p.Start {
			if units[unit] != p {
				continue
			}
			if a.counts(unit) && a.e.ResetFailed(limited, unit) != nil {
				return // who starts it by itself will tell
			}
			pulled[unit] = true
			names = append(names, unit)
		}
	}
	for _, unit := range names {
		a.report(Progress{App: units[unit].App, Unit: unit, Step: Starting})
		a.begins(Job{Op: Start, Unit: unit})
	}
	a.pulled, a.pulledAt = pulled, time.Now()
	var err error
	if a.pullEnded, err = a.e.Pull(limited, targetOf(a.plan.Project), names); err != nil && !isCancel(ctx, err) {
		a.breaks(err)
	}
}

// awaitPulled waits for a unit of pull, as do does.
func (a *apply) awaitPulled(ctx context.Context, unit string) (took time.Duration, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	limited, cancel := context.WithDeadline(ctx, a.pulledAt.Add(a.o.Deadline))
	defer cancel()
	err = a.pullEnded(limited, unit)
	took = time.Since(a.pulledAt)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &hangs{Job{Op: Start, Unit: unit}, a.o.Deadline}
	}
	return took, err
}
