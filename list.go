package gm

import (
	"context"
	"slices"
	"time"

	"gm/engine"
)

// Observe returns what is installed of a project, or with "" of all, and what of it runs.
// Detail says how much is read of what runs.
func (c *Conn) Observe(ctx context.Context, project string, detail engine.Detail) (*engine.State, error) {
	return engine.Observe(ctx, c.engine, project, detail)
}

// Outline is Observe for who needs no more of what is installed than List tells and the verbs
// look at: of the units most directives are left out.
func (c *Conn) Outline(ctx context.Context, project string, detail engine.Detail) (*engine.State, error) {
	return engine.Outline(ctx, c.engine, project, detail)
}

// Inspect is Observe of all projects, with the processes that selectors choose; without
// any, all.
func (c *Conn) Inspect(ctx context.Context, detail engine.Detail, selectors ...string) (*engine.State, []engine.Process, error) {
	have, err := c.Observe(ctx, "", detail)
	return choose(have, err, selectors)
}

// Overview is Inspect by Outline in place of Observe.
func (c *Conn) Overview(ctx context.Context, detail engine.Detail, selectors ...string) (*engine.State, []engine.Process, error) {
	have, err := c.Outline(ctx, "", detail)
	return choose(have, err, selectors)
}

func choose(have *engine.State, err error, selectors []string) (*engine.State, []engine.Process, error) {
	if err != nil {
		return nil, nil, err
	}
	processes := engine.Processes(have)
	if len(selectors) > 0 {
		selected, err := engine.Select(have.Apps(), selectors)
		if err != nil {
			return nil, nil, err
		}
		processes = keep(processes, selected)
	}
	return have, processes, nil
}

// keep leaves only the processes that were selected.
func keep(processes []engine.Process, selected []engine.Selection) []engine.Process {
	whole, unit := map[string]bool{}, map[string]bool{}
	for _, s := range selected {
		whole[s.App.Unit] = s.Whole
		for _, u := range s.Units {
			unit[u] = true
		}
	}
	return slices.DeleteFunc(processes, func(p engine.Process) bool {
		return !whole[p.App.Unit] && !unit[p.Unit]
	})
}

// List returns the processes of the apps that are installed, whether they run or not,
// in order of names: a process for each instance. Selectors choose as for Stop; without
// any it lists all. App.Service lacks most directives; Describe has them.
func (c *Conn) List(ctx context.Context, selectors ...string) ([]engine.Process, error) {
	_, processes, err := c.Overview(ctx, engine.List, selectors...)
	return processes, err
}

// App is all that there is to know of one app.
type App struct {
	engine.App
	Processes []engine.Process
	// Files are its units, drop-ins of gm's and environment files.
	Files []engine.File
	// DropIns are the drop-ins that others made, by unit.
	DropIns map[string][]string
	// Logs is where its lines are: files, or the engine's own log.
	Logs []engine.LogSource
	// Pending is what an interrupted change has left to do, by unit.
	Pending map[string]string
}

// Describe returns what a selector chooses, by name: mostly one app.
func (c *Conn) Describe(ctx context.Context, selector string) ([]App, error) {
	have, processes, err := c.Inspect(ctx, engine.Full, selector)
	if err != nil {
		return nil, err
	}
	selected, err := engine.Select(have.Apps(), []string{selector})
	if err != nil {
		return nil, err
	}
	apps := make([]App, 0, len(selected))
	for _, s := range selected {
		a := App{App: s.App, DropIns: map[string][]string{}, Pending: map[string]string{}}
		for _, p := range processes {
			if p.App.Unit == s.App.Unit {
				a.Processes = append(a.Processes, p)
			}
		}
		for _, f := range have.Files {
			if f.Mark.App == s.App.Name && f.Mark.Project == s.App.Project {
				a.Files = append(a.Files, f)
				if others := have.DropIns[f.Name]; others != nil {
					a.DropIns[f.Name] = others
				}
			}
		}
		for _, unit := range slices.Concat(s.App.Instances, s.App.Companions, []string{s.App.Main}) {
			if why, ok := have.Pending[unit]; ok {
				a.Pending[unit] = why
			}
		}
		a.Logs = engine.Sources(have, c.engine.Dirs(), []engine.Selection{s})
		apps = append(apps, a)
	}
	return apps, nil
}

// cpuWindow is how long the use of CPUs is measured. The kernel counts the time of a
// process that does not let go of its CPU once a tick, which is up to 10 ms.
const cpuWindow = 60 * time.Millisecond

// CPU returns how much of one CPU processes use, in percent, by unit. One that is missing does
// not run, or cannot be measured. Gm's own supervisor knows what they had used at an earlier
// time: CPU counts from that if it is at most since ago, and else measures for a moment.
func (c *Conn) CPU(ctx context.Context, processes []engine.Process, since time.Duration) (map[string]float64, error) {
	shares := map[string]float64{}
	var running []string
	told := true
	for _, p := range processes {
		if p.State.MainPID > 0 {
			running = append(running, p.Unit)
			shares[p.Unit] = engine.CPUShareSince(p.State)
			told = told && shares[p.Unit] >= 0 && p.State.Measured.Sub(p.State.MeasuredBefore) <= since
		}
	}
	if told {
		return shares, nil
	}
	clear(shares)
	first, err := c.engine.Units(ctx, engine.Usage, running)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(cpuWindow):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	last, err := c.engine.Units(ctx, engine.Usage, running)
	if err != nil {
		return nil, err
	}
	for _, unit := range running {
		if share := engine.CPUShare(first[unit], last[unit]); share >= 0 {
			shares[unit] = share
		}
	}
	return shares, nil
}
