package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/units"
)

func newJlistCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "jlist",
		Short: "List all processes as JSON, in the shape of PM2's jlist",
		Long: `Jlist prints what pm2 jlist prints, so that scripts that read it live on: an
array with an object for each process. docs/list.md says which keys differ. New
scripts do better with gm list --json.

The environments are in it, as in PM2's, and so are secrets.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.jlist(cmd.Context(), o) },
	}
	o.addFlags(cmd)
	return cmd
}

func (c *caller) jlist(ctx context.Context, o *engineOptions) error {
	conn, err := c.connect(ctx, o, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	c.collectLittle()
	l, err := c.observe(ctx, conn, nil, engine.List)
	if err != nil {
		return err
	}
	l.average = true // as PM2's
	if err := l.measure(ctx, nil); err != nil {
		return err
	}
	list := c.pm2List(l)
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(list); err != nil {
		return err
	}
	return c.write(out.Bytes())
}

// pm2Process is a process in pm2 jlist.
type pm2Process struct {
	PID   int            `json:"pid"`
	Name  string         `json:"name"`
	Env   map[string]any `json:"pm2_env"`
	ID    int            `json:"pm_id"`
	Monit pm2Monit       `json:"monit"`
}

type pm2Monit struct {
	Memory int64   `json:"memory"`
	CPU    float64 `json:"cpu"`
}

// pm2List returns all processes in PM2's shape. The number of a process is its
// place in the list, which stays the same as long as the apps do.
func (c *caller) pm2List(l *listing) []pm2Process {
	list := []pm2Process{}
	files := l.logFiles()
	for i := range l.processes {
		p := &l.processes[i]
		// What one app's secrets are, and whether they are there yet, is no reason not to
		// list the others.
		env, _ := c.environment(l, p)
		out := pm2Process{
			PID: p.State.MainPID, Name: p.App.Name, ID: i,
			Monit: pm2Monit{Memory: max(p.State.Memory, 0), CPU: math.Round(10*max(l.cpu[p.Unit], 0)) / 10},
		}
		out.Env = c.pm2Env(l, p, env, files[p.Unit])
		out.Env["pm_id"] = i
		list = append(list, out)
	}
	return list
}

// pm2Env is the pm2_env of a process: its environment, flattened, and over it
// PM2's own keys, which win there too.
func (c *caller) pm2Env(l *listing, p *engine.Process, env map[string]string, logs logFiles) map[string]any {
	out := make(map[string]any, len(env)+48)
	for name, value := range env {
		out[name] = value
	}
	directives := l.directives(p)
	line := commandLine(c.argv(l, p, directives))
	started := milliseconds(p.State.Started)
	for key, value := range map[string]any{
		"name":              p.App.Name,
		"namespace":         namespaceOf(p.App),
		"version":           "N/A",
		"node_version":      "N/A",
		"exec_mode":         modeOf(p.App) + "_mode",
		"instances":         len(p.App.Instances),
		"instance_var":      "NODE_APP_INSTANCE",
		"exec_interpreter":  line.interpreter,
		"node_args":         line.options,
		"pm_exec_path":      line.script,
		"args":              line.args,
		"pm_cwd":            expanded(directives, "WorkingDirectory", c.specifier(l, p)),
		"pm_out_log_path":   logs.out,
		"pm_err_log_path":   logs.err,
		"pm_pid_path":       c.pidFile(l, p, directives),
		"env":               env,
		"username":          l.userOf(p),
		"status":            pm2Status(p.Status),
		"pm_uptime":         started,
		"created_at":        started,
		"restart_time":      p.State.Restarts,
		"unstable_restarts": 0,
		"exit_code":         p.State.Exit.Code,
		"autorestart":       !p.App.Once,
		"autostart":         p.App.Boots,
		"watch":             p.Watching,
		"treekill":          lastValue(directives, "KillMode") == "control-group",
		"merge_logs":        len(p.App.Instances) > 1 && logs.shared,
		"kill_retry_time":   100,
		"vizion":            false,
		"vizion_running":    false,
		"pmx":               false,
		"automation":        false,
		"km_link":           false,
		"windowsHide":       true,
		"axm_actions":       []any{},
		"axm_monitor":       map[string]any{},
		"axm_options":       map[string]any{},
		"axm_dynamic":       map[string]any{},
		"gm_unit":           p.Unit,
		"gm_project":        p.App.Project,
	} {
		out[key] = value
	}
	for _, limit := range []struct {
		key, directive string
		value          func(units.Value) (any, bool)
	}{
		{"max_memory_restart", "MemoryMax", func(v units.Value) (any, bool) {
			n, ok := v.(units.Bytes)
			return uint64(n), ok && n != units.InfiniteBytes
		}},
		{"kill_timeout", "TimeoutStopSec", func(v units.Value) (any, bool) {
			n, ok := v.(units.Span)
			return time.Duration(n).Milliseconds(), ok && n != units.InfiniteSpan
		}},
	} {
		if d := last(directives, "Service", limit.directive); d != nil {
			if value, ok := limit.value(d.Value); ok {
				out[limit.key] = value
			}
		}
	}
	out["min_uptime"] = p.App.MinUptime.Milliseconds()
	return out
}

// pm2Status is PM2's word for a status.
func pm2Status(s engine.Status) string {
	switch s {
	case engine.StatusWaiting, engine.StatusEnded:
		return string(engine.StatusStopped)
	}
	return string(s)
}

// milliseconds since 1970, 0 for never.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// last returns the directive that is in effect, nil if there is none.
func last(directives []units.Directive, section, key string) *units.Directive {
	for i := len(directives) - 1; i >= 0; i-- {
		if d := &directives[i]; d.Key == key && d.Section == section {
			return d
		}
	}
	return nil
}

// lastValue returns the text of a directive of [Service], "" if there is none.
func lastValue(directives []units.Directive, key string) string {
	if d := last(directives, "Service", key); d != nil {
		return units.Encode(d.Value)
	}
	return ""
}

func expanded(directives []units.Directive, key string, specifier func(byte) (string, bool)) string {
	return units.Spec(lastValue(directives, key)).Expand(specifier)
}

// argv returns the command of a process.
func (c *caller) argv(l *listing, p *engine.Process, directives []units.Directive) []string {
	if d := last(directives, "Service", "ExecStart"); d != nil {
		if command, ok := d.Value.(units.Command); ok {
			return command.Args(c.specifier(l, p), func(name string) (string, bool) { return "${" + name + "}", true })
		}
	}
	return nil
}

// pidFile is the file that pid_file asked for, "" if none: a unit removes it when
// its process has ended.
func (c *caller) pidFile(l *listing, p *engine.Process, directives []units.Directive) string {
	for _, d := range directives {
		command, ok := d.Value.(units.Command)
		if !ok || d.Key != "ExecStopPost" {
			continue
		}
		args := command.Args(c.specifier(l, p), func(string) (string, bool) { return "", false })
		if len(args) == 4 && filepath.Base(args[0]) == "rm" && args[1] == "-f" && args[2] == "--" {
			return args[3]
		}
	}
	return ""
}

// pm2Command is a command line as PM2 divides it.
type pm2Command struct {
	interpreter string // "none" for a program
	options     []string
	script      string
	args        []string
}

// commandLine divides a command: what stands behind an interpreter and its options
// is the script. Declarations are gone by now; the names of interpreters are those
// that PM2 knows (lib/API/interpreter.json) and some more.
func commandLine(argv []string) pm2Command {
	line := pm2Command{interpreter: "none", options: []string{}, args: []string{}}
	if len(argv) == 0 {
		return line
	}
	line.script, line.args = argv[0], append(line.args, argv[1:]...)
	name := strings.TrimRight(filepath.Base(argv[0]), "0123456789.")
	if !slices.Contains(interpreterNames, name) {
		return line
	}
	for i := 1; i < len(argv); i++ {
		switch arg := argv[i]; {
		case !strings.HasPrefix(arg, "-"):
			return pm2Command{argv[0], append([]string{}, argv[1:i]...), arg, append([]string{}, argv[i+1:]...)}
		case slices.Contains(withoutScript, arg):
			return line
		case slices.Contains(withArgument, arg):
			i++
		}
	}
	return line
}

var (
	interpreterNames = []string{"node", "nodejs", "bun", "deno", "bash", "sh", "zsh", "python", "ruby", "php", "perl", "coffee", "lsc", "ts-node", "tsx"}
	// withArgument are options whose argument is no script, withoutScript those that
	// say what to run.
	withArgument  = []string{"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "-W", "-X"}
	withoutScript = []string{"-c", "-e", "--eval", "-p", "--print", "-m"}
)

// logFiles are the files that a process writes to, "" for the journal or none.
type logFiles struct {
	out, err string
	shared   bool // instances write to the same file
}

// logFiles returns the files of each unit.
func (l *listing) logFiles() map[string]logFiles {
	byUnit := map[string][]engine.LogSource{}
	for _, s := range engine.Sources(l.state, l.conn.Engine().Dirs(), l.selections()) {
		if s.File != "" {
			byUnit[s.Unit] = append(byUnit[s.Unit], s)
		}
	}
	all := map[string]logFiles{}
	for _, p := range l.processes {
		var files logFiles
		// A file that the instances share is the template's.
		for _, unit := range slices.Compact([]string{p.App.Unit, p.Unit}) {
			for _, s := range byUnit[unit] {
				files.shared = files.shared || unit != p.Unit
				if s.Stream != engine.Stderr {
					files.out = s.File
				}
				if s.Stream != engine.Stdout {
					files.err = s.File
				}
			}
		}
		all[p.Unit] = files
	}
	return all
}

// selections returns the processes of the listing as a selection of apps.
func (l *listing) selections() []engine.Selection {
	var all []engine.Selection
	for _, p := range l.processes {
		n := len(all)
		if n == 0 || all[n-1].App.Unit != p.App.Unit {
			all = append(all, engine.Selection{App: *p.App})
			n++
		}
		all[n-1].Units = append(all[n-1].Units, p.Unit)
	}
	return all
}
