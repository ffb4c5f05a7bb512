package gm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"gm/disk"
	"gm/engine"
	"gm/units"
)

// The verbs work on apps that are installed. Selectors choose them: a name, an instance
// ("web@2"), "all", a "/regular expression/", a namespace. Each project is changed by
// itself; when one fails the others are changed all the same, and errors are joined.

// StartApps starts apps that are installed and do not run, for good: at boot as well.
func (c *Conn) StartApps(ctx context.Context, selectors ...string) error {
	return c.verb(ctx, engine.PlanStart, Change{Starts: true, ApplyOptions: keepFailed}, selectors)
}

// Stop stops apps for good: over boots and installs, until they are started again.
func (c *Conn) Stop(ctx context.Context, selectors ...string) error {
	return c.verb(ctx, engine.PlanStop, Change{ApplyOptions: keepFailed}, selectors)
}

// Restart restarts all instances of apps at once, and starts those that do not run.
func (c *Conn) Restart(ctx context.Context, selectors ...string) error {
	return c.verb(ctx, engine.PlanRestart, Change{Starts: true, ApplyOptions: keepFailed}, selectors)
}

// Reload restarts the instances of apps one after the other, each when the one before is
// up. When one does not come up it stops there, and the others run on as they were.
func (c *Conn) Reload(ctx context.Context, selectors ...string) error {
	return c.verb(ctx, engine.PlanReload, Change{Starts: true, ApplyOptions: keepFailed}, selectors)
}

// Delete stops apps and removes their units, and the project with its last app.
func (c *Conn) Delete(ctx context.Context, selectors ...string) error {
	return c.verb(ctx, engine.PlanDelete, Change{}, selectors)
}

// What fails of a verb is left as the app left it: there is no other version of its units
// to go back to.
var keepFailed = engine.ApplyOptions{KeepFailed: true}

func (c *Conn) verb(ctx context.Context, plan func(*engine.State, []engine.Selection) *engine.Plan, ch Change, selectors []string) error {
	have, err := c.Outline(ctx, "", engine.Brief)
	if err != nil {
		return err
	}
	selected, err := engine.Select(have.Apps(), selectors)
	if err != nil {
		return err
	}
	ch.Outline = true
	ch.Plan = func(have *engine.State, selected []engine.Selection) (*engine.Plan, error) {
		return plan(have, selected), nil
	}
	ch.Report, ch.Now = c.o.Report, c.o.Now
	var failed []error
	for _, group := range engine.SplitProjects(selected) {
		ch.Project, ch.Selected = group[0].App.Project, group
		if _, err := c.Apply(ctx, ch); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return errors.Join(failed...)
}

// Scale changes the number of an app's instances; those that stay are not restarted. An
// app that has no instances is a *CannotScale.
func (c *Conn) Scale(ctx context.Context, name string, count int) error {
	have, err := c.Observe(ctx, "", engine.Brief)
	if err != nil {
		return err
	}
	selected, err := engine.Select(have.Apps(), []string{name})
	if err != nil {
		return err
	}
	if len(selected) != 1 || !selected[0].Whole {
		return &NoSuchApp{Selector: name}
	}
	_, err = c.Apply(ctx, Change{
		Project: selected[0].App.Project, Selected: selected, Starts: true,
		ApplyOptions: engine.ApplyOptions{Report: c.o.Report, Now: c.o.Now},
		Plan: func(have *engine.State, selected []engine.Selection) (*engine.Plan, error) {
			return c.PlanScale(have, selected[0].App, count)
		},
	})
	return err
}

// PlanScale is engine.PlanScale, and a *Taken if a new instance has a name that is
// somebody else's.
func (c *Conn) PlanScale(have *engine.State, app engine.App, count int) (*engine.Plan, error) {
	p, err := engine.PlanScale(have, app, count)
	if err != nil {
		return nil, err
	}
	return p, c.Free(p.Set(have), app.Project)
}

// Uninstall stops all apps of a project and removes its units, links and environment
// files. Logs stay.
func (c *Conn) Uninstall(ctx context.Context, project string) error {
	_, err := c.Apply(ctx, Change{
		Project: project, Outline: true, ApplyOptions: engine.ApplyOptions{Report: c.o.Report, Now: c.o.Now},
		Plan: func(have *engine.State, _ []engine.Selection) (*engine.Plan, error) {
			if len(have.Files) == 0 {
				all, err := c.Outline(ctx, "", engine.Brief)
				if err != nil {
					return nil, err
				}
				return nil, &NoSuchProject{project, Projects(all)}
			}
			return engine.PlanUninstall(have, project), nil
		},
	})
	return err
}

// Projects lists the projects that have files, by name.
func Projects(have *engine.State) []string {
	var projects []string
	for _, f := range have.Files {
		projects = append(projects, f.Mark.Project)
	}
	slices.Sort(projects)
	return slices.Compact(projects)
}

// Change is any change of one project. Start and the verbs are some.
type Change struct {
	Project string
	// Selected, if it is not nil, is what of the project is changed, as it was when it was
	// selected.
	Selected []engine.Selection
	// Plan says what is to be done, given what is installed and what was selected as it is
	// now. It is called while nobody else may change the project; its error calls the
	// change off.
	Plan func(have *engine.State, selected []engine.Selection) (*engine.Plan, error)
	// Starts says that apps may be started: gm's own supervisor is then to run before
	// anything is looked at, with all that is enabled.
	Starts bool
	// Outline says that Plan needs no more of what is installed than Conn.Outline returns.
	Outline bool
	engine.ApplyOptions
}

// Apply makes a change: it takes the project for itself, finishes what somebody who was
// killed has left, has the plan made, and carries it out. An *ApplyError says what failed,
// and what became of the rest; after any other error nothing was changed.
func (c *Conn) Apply(ctx context.Context, ch Change) (*engine.Plan, error) {
	if !c.engine.Dirs().User && os.Geteuid() != 0 {
		return nil, errNotRoot
	}
	if ch.Starts {
		if _, err := c.Supervise(ctx); err != nil {
			return nil, err
		}
	}
	unlock, err := c.hold(ctx, ch.Project)
	if err != nil {
		return nil, err
	}
	defer unlock()
	look := c.Observe
	if ch.Outline {
		look = c.Outline
	}
	have, err := look(ctx, ch.Project, engine.Brief)
	if err != nil {
		return nil, err
	}
	selected := current(have, ch.Selected)
	if len(selected) == 0 && ch.Selected != nil {
		// Somebody else had the project until now.
		return nil, &NoSuchApp{Selector: ch.Selected[0].App.Name}
	}
	p, err := ch.Plan(have, selected)
	if err != nil {
		return nil, err
	}
	if ch.Starts {
		if err := c.installPreload(have, p); err != nil {
			return p, err
		}
	}
	ch.Have = have
	// Also an empty plan: somebody who was killed may have left the engine to read its units.
	return p, engine.Apply(ctx, c.engine, disk.Real{}, p, ch.ApplyOptions)
}

// hold takes a project until unlock, and finishes what a killed gm left of it.
func (c *Conn) hold(ctx context.Context, project string) (unlock func(), err error) {
	limited, cancel := context.WithTimeout(ctx, c.o.LockTimeout)
	defer cancel()
	dirs := c.engine.Dirs()
	if c.engine.Name() == Native {
		// Whatever makes the first file of it: nobody else is to look into it.
		if err := os.MkdirAll(filepath.Dir(dirs.Units), 0o700); err != nil {
			return nil, err
		}
	}
	holder := ""
	unlock, err = engine.Lock(limited, dirs, project, c.o.Who, func(who string) {
		holder = "another gm"
		if pid, command, ok := strings.Cut(who, " "); ok {
			holder = fmt.Sprintf("process %s (%s)", pid, command)
		}
		if c.o.Waiting != nil {
			c.o.Waiting(project, holder)
		}
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case holder != "" && errors.Is(err, context.DeadlineExceeded):
		return nil, &Locked{project, holder, c.o.LockTimeout}
	default:
		return nil, err
	}
	if _, err := engine.Recover(ctx, c.engine, disk.Real{}, project); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// current is a selection as it is now that the project is held.
func current(have *engine.State, selected []engine.Selection) []engine.Selection {
	if selected == nil {
		return nil
	}
	apps := map[string]engine.App{}
	for _, app := range have.Apps() {
		apps[app.Name] = app
	}
	var out []engine.Selection
	for _, s := range selected {
		app, ok := apps[s.App.Name]
		if !ok {
			continue // someone has removed it meanwhile
		}
		s.App = app
		if s.Whole {
			s.Units = app.Instances
		}
		out = append(out, s)
	}
	return out
}

// Free reports, as a *Taken, units of a set whose names are somebody else's.
func (c *Conn) Free(set units.Set, project string) error {
	conflicts, err := engine.Conflicts(c.engine.Dirs(), set, project)
	if err == nil && len(conflicts) > 0 {
		err = &Taken{conflicts}
	}
	return err
}

// Diff makes the plan that brings a project to a set of units; o.Project names it. When
// units have names that are somebody else's the error is a *Taken.
func (c *Conn) Diff(set units.Set, have *engine.State, o engine.DiffOptions) (*engine.Plan, error) {
	if err := c.Free(set, o.Project); err != nil {
		return nil, err
	}
	if c.engine.Name() == Native {
		o.ByHand = c.engine.Dirs().Units
	}
	p := engine.Diff(set, have, o)
	p.Engine, p.User = c.engine.Name(), c.engine.Dirs().User
	return p, nil
}

// Signal sends a signal to the main process of each instance that runs. One that ends of it
// is started again as after a crash: Stop and Restart are the way to end it.
func (c *Conn) Signal(ctx context.Context, signal syscall.Signal, selectors ...string) error {
	processes, err := c.List(ctx, selectors...)
	if err != nil || len(selectors) == 0 {
		return err
	}
	var failed []error
	for _, p := range processes {
		if p.State.MainPID > 0 {
			if err := c.engine.Kill(ctx, p.Unit, int(signal), false); err != nil {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}
