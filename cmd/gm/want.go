package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/disk"
	"gm/engine"
	"gm/machine"
	"gm/translate"
	"gm/units"
)

// wanted is what an install installs, and where it is from.
type wanted struct {
	// from is what messages call it: "processes.json", "units/".
	from    string
	project string
	user    bool // the units are for a user's own systemd
	set     units.Set
	// only is the apps that the install is about; nil is all.
	only []string
	list diag.List // --strict is applied
	// systemd is the version that the units were written for, 0 if nobody knows.
	systemd int
	// rootApps are the apps that run as root because nothing says otherwise.
	rootApps []string
	// plan is a saved one, which needs none of the above but project and user.
	plan *engine.Plan
}

// compiling is the flags that only mean something while units are made.
var compiling = []string{"env", "project", "prefix", "run-as", "secrets", "host", "root", "cpus", "systemd", "gm"}

// want finds out what FILE is and reads it: a declaration, which it compiles; a
// stream or a directory of units that gm gen wrote; or a plan that gm plan saved.
func (c *caller) want(cmd *cobra.Command, o *inputOptions) (*wanted, error) {
	if flag := cmd.Flags().Lookup("engine"); flag != nil {
		name, err := c.engineName(flag.Value.String())
		if err != nil {
			return nil, err
		}
		if o.native = name == engineNative; o.native && o.envDir == "" {
			home, err := c.home(o.user || !o.system && os.Geteuid() != 0)
			if err != nil {
				return nil, err
			}
			o.envDir = home.Env()
		}
	}
	shown := ""
	if len(o.args) > 0 {
		shown = o.args[0]
	}
	if shown == "-" {
		return c.wantFrom(cmd, o, "<stdin>", c.in)
	}
	path := c.abs(shown)
	info, err := os.Stat(path)
	switch {
	case len(o.args) > 0 && shown == "" || err != nil:
		return c.wantCompiled(o, nil) // which says what is wrong with it
	case info.IsDir():
		return c.wantDir(cmd, o, shown, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(shown, err)
	}
	defer f.Close()
	if info.Mode().IsRegular() {
		head := make([]byte, 512)
		n, err := io.ReadFull(f, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, cannotRead(shown, err)
		}
		if !isStream(head[:n]) && !isPlan(head[:n]) {
			return c.wantCompiled(o, nil)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, cannotRead(shown, err)
		}
	}
	return c.wantFrom(cmd, o, shown, f)
}

// maxStream is the largest stream or plan that is read at all: one of 10,000
// services has 20 MB.
const maxStream = 512 << 20

// wantFrom reads what can be read only once.
func (c *caller) wantFrom(cmd *cobra.Command, o *inputOptions, name string, r io.Reader) (*wanted, error) {
	buffered := bufio.NewReader(r)
	// An error of Peek comes back from the read below.
	head, _ := buffered.Peek(512)
	if !isStream(head) && !isPlan(head) {
		d, err := c.machine().Read(name, buffered, c.dir, "")
		if err != nil {
			return nil, invalid(err)
		}
		return c.wantCompiled(o, d)
	}
	plan := isPlan(head)
	text, err := io.ReadAll(io.LimitReader(buffered, maxStream+1))
	switch {
	case err != nil:
		return nil, cannotRead(name, err)
	case len(text) > maxStream:
		return nil, &failure{statusInvalid, "cannot-read", fmt.Sprintf("%s has more than %d MB", name, maxStream>>20), "split the project"}
	case plan:
		return c.wantPlan(cmd, o, name, text)
	}
	if err := refuseFlags(cmd, name+" holds units that are compiled already", compiling...); err != nil {
		return nil, err
	}
	src := diag.NewSource(name, text)
	set, list := units.ReadStream(src)
	return wantUnits(cmd, o, name, set, list)
}

// isStream recognises what units.WriteStream wrote by its first line.
func isStream(head []byte) bool {
	line, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	return bytes.HasPrefix(line, []byte("-- ")) && bytes.HasSuffix(line, []byte(" --"))
}

var planHead = regexp.MustCompile(`^\s*\{\s*"format"\s*:`)

// isPlan recognises a saved plan by its first key, which no declaration has.
func isPlan(head []byte) bool { return planHead.Match(head) }

// refuseFlags refuses flags that were given and would do nothing.
func refuseFlags(cmd *cobra.Command, why string, names ...string) error {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return usage("leave it out, or name the declaration", "--%s has no effect here: %s", name, why)
		}
	}
	return nil
}

// wantCompiled compiles d, or the declaration that o names.
func (c *caller) wantCompiled(o *inputOptions, d *machine.Declaration) (*wanted, error) {
	if d == nil {
		var err error
		if d, err = c.declaration(o.args); err != nil {
			return nil, err
		}
	}
	compiled, err := c.compileDeclaration(o, d, nil)
	if err != nil {
		return nil, err
	}
	w := &wanted{
		from: compiled.Source.Name, set: compiled.set, project: projectOf(compiled.set),
		user: compiled.host.Scope == translate.ScopeUser, list: compiled.list,
		only: o.only, systemd: compiled.host.Systemd,
	}
	if !w.user && o.runAs == "" {
		w.rootApps = rootApps(w.set)
	}
	return w, nil
}

// rootApps returns the apps whose User= is from no place in the declaration.
func rootApps(set units.Set) []string {
	var apps []string
	for _, u := range set {
		mark, _ := u.Mark()
		for _, d := range u.Directives {
			// Only the app's own service has a User=.
			if d.Section == "Service" && d.Key == "User" && d.From.IsZero() && units.Encode(d.Value) == "root" {
				apps = append(apps, mark.App)
			}
		}
	}
	return apps
}

// wantDir takes a directory: its declaration, or else its units.
func (c *caller) wantDir(cmd *cobra.Command, o *inputOptions, shown, path string) (*wanted, error) {
	declared := machine.Discover(path)
	targets, _ := filepath.Glob(filepath.Join(escapeGlob(path), "gm-*.target")) // the pattern is a good one
	targets = slices.DeleteFunc(targets, func(target string) bool {
		text, err := os.ReadFile(target)
		_, _, marked := units.Sealed(text)
		return err != nil || !marked
	})
	if len(declared) > 0 || len(targets) == 0 {
		w, err := c.wantCompiled(o, nil)
		if err == nil && len(targets) > 0 {
			w.list = append(diag.List{{Severity: diag.Note, Code: machine.CodeSeveral,
				Cause:  fmt.Sprintf("%s is taken; units that gm wrote are there too, %s among them", w.from, filepath.Base(targets[0])),
				Remedy: "to install those, keep them in a directory without a declaration and name that"}}, w.list...)
		}
		return w, err
	}
	if shown == "" {
		shown = "."
	}
	if err := refuseFlags(cmd, filepath.Clean(shown)+"/ holds units that are compiled already", compiling...); err != nil {
		return nil, err
	}
	names, err := (&outdir{dir: path}).list()
	if err != nil {
		return nil, cannotRead(shown, err)
	}
	slices.Sort(names)
	set := make(units.Set, len(names))
	lists := make([]diag.List, len(names))
	err = disk.Parallel(len(names), func(i int) error {
		file := filepath.Join(shown, names[i])
		text, err := os.ReadFile(filepath.Join(path, names[i]))
		if err != nil {
			return cannotRead(file, err)
		}
		if _, _, marked := units.Sealed(text); !marked {
			lists[i] = diag.List{{Severity: diag.Warning, Code: "no-mark",
				Cause: file + " does not bear gm's mark; it is not installed", Remedy: "move it away"}}
			return nil
		}
		set[i], lists[i] = units.Parse(names[i], diag.NewSource(file, text))
		return nil
	})
	if err != nil {
		return nil, err
	}
	set = slices.DeleteFunc(set, func(u units.Unit) bool { return u.Name == "" })
	set.Sort()
	return wantUnits(cmd, o, filepath.Clean(shown)+"/", set, slices.Concat(lists...))
}

// wantUnits takes units that are compiled already.
func wantUnits(cmd *cobra.Command, o *inputOptions, from string, set units.Set, list diag.List) (*wanted, error) {
	w := &wanted{from: from, set: set, only: o.only, list: list}
	if o.strict {
		w.list = w.list.Strict()
	}
	if w.list.HasErrors() {
		return w, nil
	}
	force := cmd.Flags().Lookup("force")
	if err := w.adopt(force != nil && force.Value.String() == "true", o.strict); err != nil {
		return nil, err
	}
	target, ok := set.Find("gm-" + units.EscapeName(w.project) + ".target")
	if !ok {
		return nil, &failure{statusInvalid, "incomplete",
			fmt.Sprintf("%s has no gm-%s.target: it is not all that gm gen wrote", from, units.EscapeName(w.project)), "write the units anew: gm gen"}
	}
	for _, d := range target.Directives {
		if d.Section == "Install" && d.Key == "WantedBy" {
			w.user = units.Encode(d.Value) == "default.target"
		}
	}
	missing := func(unit string) bool { _, ok := set.Find(unit); return !ok }
	if len(o.only) == 0 && slices.ContainsFunc(engine.Also(target), missing) {
		// gm gen --only wrote it: what is not in it is not to go.
		w.only = appsOf(set)
		w.list = append(w.list, diag.Diagnostic{Severity: diag.Note, Code: "some-apps",
			Cause: fmt.Sprintf("%s holds a part of %s: %s; its other apps stay as they are", from, w.project, strings.Join(w.only, ", "))})
	}
	switch {
	case o.user && !w.user:
		return nil, usage("leave --user out, or compile with it", "the units in %s are for the system, not for a user", from)
	case o.system && w.user:
		return nil, usage("leave --system out, or compile with it", "the units in %s are for a user, not for the system", from)
	}
	return w, w.keepOnly(o.only)
}

// adopt checks the marks. Units that someone changed after gm wrote them are not
// those that gm stands for: with force they are sealed anew, as they are.
func (w *wanted) adopt(force, strict bool) error {
	for i, u := range w.set {
		mark, marked := u.Mark()
		if !marked {
			return &failure{statusInvalid, "no-mark", fmt.Sprintf("%s in %s does not bear gm's mark", u.Name, w.from),
				"install what gm gen wrote and nothing else"}
		}
		if w.project == "" {
			w.project = mark.Project
		}
		if mark.Project != w.project {
			return &failure{statusInvalid, "two-projects",
				fmt.Sprintf("%s holds units of two projects, %s and %s", w.from, w.project, mark.Project), "keep each in a directory or stream of its own"}
		}
		if _, pristine, _ := units.Sealed(units.Render(u)); pristine {
			continue
		}
		d := diag.Diagnostic{Severity: diag.Error, Code: "hand-edited",
			Cause:  fmt.Sprintf("%s in %s was edited since gm wrote it", u.Name, w.from),
			Remedy: "make the change in the declaration (gm explain systemd), or install it as it is with --force"}
		if force {
			w.set[i] = units.Seal(u, mark.Project, mark.App)
			d.Severity, d.Remedy = diag.Warning, ""
			d.Cause += "; it is installed as it is"
			if strict {
				d.Severity = diag.Error
			}
		}
		w.list = append(w.list, d)
	}
	return nil
}

// keepOnly drops the apps that --only does not name.
func (w *wanted) keepOnly(only []string) error {
	if len(only) == 0 {
		return nil
	}
	have := appsOf(w.set)
	for _, name := range only {
		if !slices.Contains(have, name) {
			return &failure{statusNoApp, "unknown-app", fmt.Sprintf("--only %s: no app has that name", name),
				fmt.Sprintf("name one that %s has: %s", w.from, strings.Join(have, ", "))}
		}
	}
	w.set = slices.DeleteFunc(w.set, func(u units.Unit) bool {
		mark, _ := u.Mark()
		return mark.App != "" && !slices.Contains(only, mark.App)
	})
	return nil
}

// appsOf lists the apps of a set.
func appsOf(set units.Set) []string {
	var apps []string
	for _, u := range set {
		if mark, _ := u.Mark(); mark.App != "" {
			apps = append(apps, mark.App)
		}
	}
	slices.Sort(apps)
	return slices.Compact(apps)
}
