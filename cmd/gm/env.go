package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm/diag"
	"gm/engine"
	"gm/units"
)

type envOptions struct {
	engineOptions
	json bool
}

func newEnvCmd(c *caller) *cobra.Command {
	o := &envOptions{}
	cmd := &cobra.Command{
		Use:   "env NAME",
		Short: "Print the environment that an app's units set",
		Long: `Env prints the variables that the units of an app set, as NAME=value lines like
env(1): those of Environment= and EnvironmentFile=, drop-ins included, with %i
and its like replaced. What systemd adds to every service (PATH, HOME, USER, …)
is not among them. Of an app with several instances it prints those of the
first; name another as web@2.

The values are shown as they are, secrets too.`,
		Example: "  gm env web\n  gm env --json web@1",
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.env(cmd.Context(), o, args) },
	}
	o.addFlags(cmd)
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object")
	return cmd
}

func (c *caller) env(ctx context.Context, o *envOptions, selectors []string) error {
	conn, err := c.connect(ctx, &o.engineOptions, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := c.observe(ctx, conn, selectors, engine.Brief)
	if err != nil {
		return err
	}
	if len(l.processes) == 0 {
		return unknownApp(&engine.NoSuchApp{Selector: selectors[0]}, "")
	}
	p := &l.processes[0]
	if n := len(l.processes); n > 1 {
		fmt.Fprintf(c.err, "gm: this is the environment of %s, one of %d; gm env %s has that of the next\n", p.Name, n, shellWord(l.processes[1].Name))
	}
	env, err := c.environment(l, p)
	if err != nil {
		return err
	}
	if o.json {
		text, err := json.MarshalIndent(env, "", "  ")
		if err != nil {
			return err
		}
		return c.write(append(text, '\n'))
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&out, "%s=%s\n", name, env[name])
	}
	return c.write([]byte(out.String()))
}

// environment returns the variables that the units set for a process. The error is
// of a file that cannot be read; the variables of the others are there all the same.
func (c *caller) environment(l *listing, p *engine.Process) (map[string]string, error) {
	specifier := c.specifier(l, p)
	env := map[string]string{}
	var files []string
	for _, d := range l.directives(p) {
		if d.Section != "Service" {
			continue
		}
		text := units.Encode(d.Value)
		switch d.Key {
		case "Environment":
			if a, ok := d.Value.(units.Assign); ok {
				env[a.Name] = a.Value.Expand(specifier)
			} else if text == "" {
				clear(env)
			}
		case "EnvironmentFile":
			if text == "" {
				files = nil
				continue
			}
			files = append(files, units.UnescapeGlob(units.Spec(text).Expand(specifier)))
		}
	}
	// Files win over Environment= wherever they stand: systemd.exec(5).
	var failed error
	for _, file := range files {
		if err := l.readEnvFile(env, file); err != nil && failed == nil {
			failed = err
		}
	}
	return env, failed
}

// readEnvFile adds the variables of an environment file. A "-" before the path
// says that it may be missing.
func (l *listing) readEnvFile(env map[string]string, file string) error {
	file, optional := strings.CutPrefix(file, "-")
	text, ok := l.installedText(file)
	if !ok {
		var err error
		text, err = os.ReadFile(file)
		if optional && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			remedy := "gm install writes those of gm; gm describe shows the drop-ins that may name others"
			if errors.Is(err, fs.ErrPermission) {
				remedy = "run it as root (sudo gm …), as only its owner may read it"
			}
			return &failure{statusFailed, "cannot-read", fmt.Sprintf("cannot read %s: %s", file, reason(err)), remedy}
		}
	}
	u, _ := units.Parse("file.env", diag.NewSource(file, text))
	for _, d := range u.Directives {
		if value, ok := d.Value.(units.FileAssign); ok && d.Section == "" {
			env[d.Key] = string(value)
		}
	}
	return nil
}

// installedText returns the text of a file of gm's at that path.
func (l *listing) installedText(file string) ([]byte, bool) {
	name := filepath.Base(file)
	i, _ := slices.BinarySearchFunc(l.state.Files, name, func(f engine.File, name string) int { return strings.Compare(f.Name, name) })
	// Two projects may have files of the same name.
	for ; i < len(l.state.Files) && l.state.Files[i].Name == name; i++ {
		if l.state.Files[i].Path == file {
			return l.state.Files[i].Text, true
		}
	}
	return nil, false
}

// directives returns what is in effect for a process: the lines of its service and
// then of its drop-ins, which are read in the order of their file names, those of a
// template and of its instance as one; of the same name the instance's is read
// (systemd.unit(5)).
func (l *listing) directives(p *engine.Process) []units.Directive {
	if l.dropIns == nil {
		l.readDropIns()
	}
	all := slices.Clip(p.App.Service.Directives)
	files := map[string]units.Unit{}
	for _, unit := range slices.Compact([]string{p.App.Unit, p.Unit}) {
		maps.Copy(files, l.dropIns[unit])
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = append(all, files[name].Directives...)
	}
	return all
}

// readDropIns reads gm's drop-ins and those of others. One that cannot be read is
// passed over: systemd does that too.
func (l *listing) readDropIns() {
	l.dropIns = map[string]map[string]units.Unit{}
	add := func(unit, name string, u units.Unit) {
		if l.dropIns[unit] == nil {
			l.dropIns[unit] = map[string]units.Unit{}
		}
		l.dropIns[unit][name] = u
	}
	for _, u := range l.state.Set() {
		if directory, name, ok := strings.Cut(u.Name, "/"); ok {
			add(strings.TrimSuffix(directory, ".d"), name, u)
		}
	}
	for unit, files := range l.state.DropIns {
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil {
				u, _ := units.Parse(unit, diag.NewSource(file, text))
				add(unit, filepath.Base(file), u)
			}
		}
	}
}

// specifier expands the specifiers of systemd.unit(5) that are known without
// asking systemd.
func (c *caller) specifier(l *listing, p *engine.Process) func(byte) (string, bool) {
	base := strings.TrimSuffix(p.Unit, path.Ext(p.Unit))
	prefix, instance, _ := strings.Cut(base, "@")
	userManager := l.conn.Engine().Dirs().User
	return func(letter byte) (string, bool) {
		switch letter {
		case 'i':
			return instance, true
		case 'I':
			return units.UnescapeName(instance), true
		case 'n':
			return p.Unit, true
		case 'N':
			return base, true
		case 'p':
			return prefix, true
		case 'P':
			return units.UnescapeName(prefix), true
		case 't':
			return path.Dir(l.conn.Engine().Dirs().Run), true
		case 'u':
			return l.user, true
		case 'h':
			if !userManager {
				return "/root", true
			}
			return c.getenv("HOME"), true
		}
		return "", false
	}
}
