package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gm/disk"
	"gm/units"
)

// The modes of what is written. Environment files hold secrets.
const (
	unitMode fs.FileMode = 0o644
	envMode  fs.FileMode = 0o600
)

// stageDir is where the files of a project are prepared: in the file system of
// the units, since renames work only within one. systemd reads no hidden
// directory.
func stageDir(d Dirs, project string) string {
	return filepath.Join(d.Units, ".gm-"+units.EscapeName(project))
}

// filePath is where the file of that name of a set is.
func filePath(d Dirs, project, name string) string {
	if units.IsEnvFile(name) {
		return filepath.Join(d.Env, units.EscapeName(project), name)
	}
	return filepath.Join(d.Units, filepath.FromSlash(name))
}

// linkPath is where a link is.
func linkPath(d Dirs, l Link) string { return filepath.Join(d.Units, l.By+".wants", l.Wanted) }

// fileOf is the file that a unit is loaded from: an instance's is its template.
func fileOf(unit string) string {
	if template, ok := templateOf(unit); ok {
		return template
	}
	return unit
}

// fileChanges returns the changes of files and links that a plan makes, without
// those of the apps in skip.
func fileChanges(d Dirs, p *Plan, skip map[string]bool) []disk.Change {
	var changes []disk.Change
	for i := range p.Apps {
		a := &p.Apps[i]
		if skip[a.App] {
			continue
		}
		for _, f := range a.Files {
			c := disk.Change{Path: filePath(d, p.Project, f.Name), Remove: f.New == nil}
			if f.New != nil {
				c.Text, c.Mode = []byte(*f.New), unitMode
				if units.IsEnvFile(f.Name) {
					c.Mode = envMode
				}
			}
			changes = append(changes, c)
		}
		for _, l := range a.Links {
			c := disk.Change{Path: linkPath(d, l.Link), Remove: l.Remove}
			if !l.Remove {
				c.Target = "../" + fileOf(l.Wanted)
			}
			changes = append(changes, c)
		}
	}
	return changes
}

// check refuses a plan that no Diff and no verb makes: one that was saved may
// have been changed by anyone.
func (p *Plan) check(e Engine, have *State) error {
	d := e.Dirs()
	if p.Engine != "" && (p.Engine != e.Name() || p.User != d.User) {
		scope := map[bool]string{true: "a user's own apps", false: "the system's apps"}
		return fmt.Errorf("the plan is for %s and %s, and this is %s and %s",
			p.Engine, scope[p.User], e.Name(), scope[d.User])
	}
	if p.Project == "" {
		return errors.New("the plan is for no project")
	}
	o := p.own(have)
	for i := range p.Apps {
		if err := p.Apps[i].check(d, p.Project, o); err != nil {
			return fmt.Errorf("the plan for %q cannot be carried out: %w", p.Apps[i].App, err)
		}
	}
	return nil
}

// own is what a plan may touch: what the project has, or gets.
type own struct {
	files map[string]string // installed ones
	units map[string]bool   // files of units, new ones too
	links map[Link]bool
}

func (p *Plan) own(have *State) own {
	o := own{make(map[string]string, len(have.Files)), make(map[string]bool, len(have.Files)), make(map[Link]bool, len(have.Links))}
	for i := range have.Files {
		if f := &have.Files[i]; f.Mark.Project == p.Project {
			o.files[f.Name] = string(f.Text)
			o.units[f.Name] = isUnitFile(f.Name)
		}
	}
	for i := range p.Apps {
		for _, f := range p.Apps[i].Files {
			if f.New != nil {
				o.units[f.Name] = isUnitFile(f.Name)
			}
		}
	}
	target := targetOf(p.Project)
	for _, l := range have.Links {
		o.links[l] = true
		if l.By == target || o.units[l.By] {
			o.units[fileOf(l.Wanted)] = true // though someone removed its file
		}
	}
	return o
}

// has reports whether a unit is the project's. Someone may have removed a
// template, of which the target of its instances tells.
func (o own) has(unit string) bool {
	file := fileOf(unit)
	stem, isTemplate := strings.CutSuffix(file, "@.service")
	return o.units[file] || isTemplate && o.units[stem+".target"]
}

func (a *AppPlan) check(d Dirs, project string, o own) error {
	for _, f := range a.Files {
		if err := units.CheckFileName(f.Name); err != nil {
			return err
		}
		if f.New != nil {
			switch m, pristine, ok := units.Sealed([]byte(*f.New)); {
			case !ok || m.Project != project:
				return fmt.Errorf("the new %s does not bear the mark of the project %s", f.Name, project)
			case !pristine:
				return fmt.Errorf("the new %s was edited since the plan was made", f.Name)
			}
			if unit, _, isDropIn := strings.Cut(f.Name, ".d/"); isDropIn && !o.has(unit) {
				return fmt.Errorf("%s is for a unit that is not one of %s", f.Name, project)
			}
		}
		if f.Old != nil {
			if text, ok := o.files[f.Name]; !ok || text != *f.Old {
				return fmt.Errorf("the %s that it is made from is not what %s has installed", f.Name, project)
			}
			continue
		}
		// What is not gm's is not replaced, even if it came after Conflicts looked.
		path := filePath(d, project, f.Name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already", path)
		}
	}
	for _, l := range a.Links {
		for _, name := range []string{l.By, l.Wanted} {
			if err := units.CheckName(name); err != nil {
				return err
			}
		}
		if l.Remove && !o.links[l.Link] || !l.Remove && !o.has(l.Wanted) {
			return fmt.Errorf("the link %s.wants/%s is not one of %s", l.By, l.Wanted, project)
		}
	}
	for _, list := range append([][]string{a.Restart, a.Start, a.Quiet, a.Later}, a.Stop...) {
		for _, name := range list {
			if err := units.CheckName(name); err != nil {
				return err
			}
			if isTemplate(name) {
				return fmt.Errorf("%s is a template; an instance of it is expected", name)
			}
			if !o.has(name) {
				return fmt.Errorf("%s is not a unit of %s: its file is gone, or never was there", name, project)
			}
		}
	}
	return nil
}

// stopOrder sorts units into the order in which they are stopped: what could start an
// app again, the app, what it writes to and what holds them together, and slices,
// the inner ones first.
func stopOrder(names []string) [][]string {
	var sorted [5][]string
	for _, name := range names {
		at := 1
		switch {
		case strings.HasSuffix(name, "-log.service"), strings.HasSuffix(name, "-log.socket"),
			strings.HasSuffix(name, "-mkdir.service"), strings.HasSuffix(name, ".target"):
			at = 2
		case strings.HasSuffix(name, "-restart.service"), strings.HasSuffix(name, "-watch.service"):
			at = 0
		case strings.HasSuffix(name, ".slice"):
			at = 4
			if strings.Count(name, "-") > 1 {
				at = 3
			}
		case !strings.HasSuffix(name, ".service"):
			at = 0 // timers and sockets
		}
		sorted[at] = append(sorted[at], name)
	}
	var out [][]string
	for _, wave := range sorted {
		if len(wave) > 0 {
			out = append(out, wave)
		}
	}
	return out
}
