package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/units"
)

type describeOptions struct {
	engineOptions
	json bool
}

func newDescribeCmd(c *caller) *cobra.Command {
	o := &describeOptions{}
	cmd := &cobra.Command{
		Use:     "describe NAME",
		Aliases: []string{"desc", "info", "show"},
		Short:   "Show everything about an app: units, limits, last end, last log lines",
		Long: `Describe prints where an app was declared, its units and whether they were
edited, its command, limits and next cron run, the state of each instance and
how its last process ended, and the last lines of its log.

Values of variables are not among it: gm env prints them.`,
		Example: "  gm describe web\n  gm describe --json web@1",
		Args:    arguments(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.describe(cmd.Context(), o, args) },
	}
	o.addFlags(cmd)
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON array, with an object for each app")
	return cmd
}

func (c *caller) describe(ctx context.Context, o *describeOptions, selectors []string) error {
	conn, err := c.connect(ctx, &o.engineOptions, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := c.observe(ctx, conn, selectors, engine.Full)
	if err != nil {
		return err
	}
	if len(l.processes) == 0 {
		return unknownApp(&engine.NoSuchApp{Selector: selectors[0]}, "")
	}
	if err := l.measure(ctx, nil); err != nil {
		return err
	}
	var all []description
	for _, g := range l.groups(false) {
		d, err := c.description(ctx, l, &g)
		if err != nil {
			return err
		}
		d.native = l.conn.Name() == engineNative
		all = append(all, *d)
	}
	if o.json {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(all); err != nil {
			return err
		}
		return c.write(out.Bytes())
	}
	var out bytes.Buffer
	for i := range all {
		if i > 0 {
			out.WriteByte('\n')
		}
		all[i].print(&out, c.style(c.out).Color)
	}
	return c.write(out.Bytes())
}

// description is the shape of gm describe --json.
type description struct {
	listedApp
	// Line is where the declaration has the app, 0 if that is not found.
	Line      int               `json:"line"`
	Units     []describedUnit   `json:"units"`
	DropIns   []string          `json:"drop_ins"` // of others
	Command   []string          `json:"command"`
	Directory string            `json:"cwd"`
	User      string            `json:"user"`
	Variables int               `json:"variables"` // how many gm env prints
	Logs      []describedLog    `json:"logs"`
	Timer     string            `json:"timer"` // OnCalendar=
	Limits    map[string]string `json:"limits"`
	MinUptime float64           `json:"min_uptime"` // seconds
	Pending   map[string]string `json:"pending"`    // what an interrupted install left to do
	LastLines []describedLine   `json:"last_lines"`

	giveUp   string // what Restart= ends with
	rotation string // of log files
	group    *group
	at       time.Time
	native   bool // gm's own supervisor runs it
}

// describedUnit is one of an app's files.
type describedUnit struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Edited  bool   `json:"edited"`
	Enabled bool   `json:"enabled"` // a link wants it
	Active  string `json:"active"`  // of what is no template
	Sub     string `json:"sub"`
	Stale   bool   `json:"stale"` // systemd has read an older one
}

type describedLog struct {
	Unit   string `json:"unit"`
	Stream string `json:"stream"` // out, err, or "" for both
	File   string `json:"file"`   // "" is the journal
}

type describedLine struct {
	Time   time.Time `json:"time"`
	Unit   string    `json:"unit"`
	Stream string    `json:"stream"`
	Text   string    `json:"text"`
}

// lastLines is how many lines of the log a description ends with.
const lastLines = 10

// limits are the directives that limit an app.
var limits = []string{
	"MemoryMax", "MemoryHigh", "CPUQuota", "TasksMax", "LimitNOFILE", "RuntimeMaxSec",
	"TimeoutStartSec", "TimeoutStopSec", "RestartSec", "Restart",
}

func (c *caller) description(ctx context.Context, l *listing, g *group) (*description, error) {
	p := &g.processes[0]
	directives := l.directives(p)
	d := &description{
		listedApp: l.listedApp(g), Line: declaredAt(g.app), DropIns: []string{},
		Command: c.argv(l, p, directives), Directory: expanded(directives, "WorkingDirectory", c.specifier(l, p)),
		User: l.userOf(p), Limits: map[string]string{}, MinUptime: g.app.MinUptime.Seconds(),
		Units: []describedUnit{}, Logs: []describedLog{}, LastLines: []describedLine{},
		Pending: map[string]string{}, group: g, at: l.at,
	}
	env, _ := c.environment(l, p) // without those that the caller may not read
	d.Variables = len(env)
	for _, key := range limits {
		if text := lastValue(directives, key); text != "" && text != "infinity" {
			d.Limits[key] = text
		}
	}
	for _, key := range []string{"StartLimitBurst", "StartLimitIntervalSec"} {
		if line := last(directives, "Unit", key); line != nil {
			d.Limits[key] = units.Encode(line.Value)
		}
	}
	if burst, window := d.Limits["StartLimitBurst"], d.Limits["StartLimitIntervalSec"]; burst != "" && window != "0" {
		d.giveUp = fmt.Sprintf("after %s starts in %s", burst, window)
	}
	if line := last(directives, "X-Gm", "LogMaxSize"); line != nil {
		d.rotation = "none by systemd; logrotate(8) does that for declared files"
		if l.conn.Engine().Dirs().Logs != "" {
			most, _ := line.Value.(units.Bytes)
			d.rotation = "at " + size(int64(most)) + ", keeps " + counted(rotated(directives), "file")
		}
	}
	d.addUnits(l, g)
	selected := l.selections()
	selected = slices.DeleteFunc(selected, func(s engine.Selection) bool { return s.App.Unit != g.app.Unit })
	sources := engine.Sources(l.state, l.conn.Engine().Dirs(), selected)
	for _, s := range sources {
		if !s.Manager {
			d.Logs = append(d.Logs, describedLog{s.Unit, string(s.Stream), s.File})
		}
	}
	for line, err := range engine.Logs(ctx, l.conn.Engine(), sources, engine.LogOptions{Lines: lastLines}) {
		var file *engine.LogFileError
		if errors.As(err, &file) {
			continue // the log files are listed; gm logs says what is wrong with them
		}
		if err != nil {
			return nil, engineFailure(err)
		}
		d.LastLines = append(d.LastLines, describedLine{line.Time, line.Unit, string(line.Stream), string(line.Text)})
	}
	return d, nil
}

// rotated is how many rotated files are kept of a log.
func rotated(directives []units.Directive) int {
	if line := last(directives, "X-Gm", "LogKeep"); line != nil {
		if n, ok := line.Value.(units.Count); ok {
			return max(int(n), 1)
		}
	}
	return 1
}

// addUnits lists the app's files, the drop-ins of others, and what is left to do.
func (d *description) addUnits(l *listing, g *group) {
	wanted := map[string]bool{}
	for _, link := range l.state.Links {
		wanted[link.Wanted] = true
	}
	ours := map[string]bool{g.app.Unit: true}
	for _, f := range l.state.Files {
		if f.Mark.App != g.app.Name || f.Mark.Project != g.app.Project {
			continue
		}
		state := l.state.Units[f.Name]
		d.Units = append(d.Units, describedUnit{
			Name: f.Name, Path: f.Path, Edited: f.Edited, Enabled: wanted[f.Name],
			Active: state.Active, Sub: state.Sub, Stale: state.Stale,
		})
		ours[f.Name] = true
		if set, ok := l.state.Set().Find(f.Name); ok && f.Name == g.processes[0].Timer {
			var times []string
			for _, line := range set.Directives {
				if line.Key == "OnCalendar" {
					times = append(times, units.Encode(line.Value))
				}
			}
			d.Timer = strings.Join(times, ", ")
		}
	}
	for _, p := range g.processes {
		ours[p.Unit] = true
	}
	for unit, files := range l.state.DropIns {
		if ours[unit] {
			d.DropIns = append(d.DropIns, files...)
		}
	}
	slices.Sort(d.DropIns)
	for unit, why := range l.state.Pending {
		if ours[unit] {
			d.Pending[unit] = why
		}
	}
}

// declaredAt finds the line of a declaration that names the app, 0 if there is none
// or more than one. It is looked for, not computed: the declaration may have changed
// since.
func declaredAt(a *engine.App) int {
	if a.Source == "" {
		return 0
	}
	text, err := os.ReadFile(a.Source)
	if err != nil {
		return 0
	}
	found := regexp.MustCompile(`\bname["']?\s*:\s*["'`+"`"+`]?`+regexp.QuoteMeta(a.Name)+`["'`+"`"+`]?\s*(,|\n|\}|//|#|$)`).FindAllIndex(text, 2)
	if len(found) != 1 {
		return 0
	}
	return 1 + bytes.Count(text[:found[0][0]], []byte("\n"))
}

// print writes a description for a person.
func (d *description) print(out *bytes.Buffer, color bool) {
	row := func(key, value string) {
		if value != "" {
			fmt.Fprintf(out, "  %-12s %s\n", key, value)
		}
	}
	fmt.Fprintf(out, "%s  %s\n", paint(shown(d.Name), toneBold, color), paint(d.group.status, d.group.color(), color))
	source := d.Source
	if d.Line > 0 {
		source = fmt.Sprintf("%s:%d", source, d.Line)
	}
	row("declared in", shown(source))
	row("project", shown(d.Project))
	row("namespace", shown(d.Namespace))
	row("mode", fmt.Sprintf("%s, %s", d.Mode, counted(d.Declared, "instance")))
	row("at boot", d.bootText())
	row("command", shown(quoted(d.Command)))
	row("cwd", shown(d.Directory))
	row("user", shown(d.User))
	row("environment", counted(d.Variables, "variable")+" (gm env "+shown(shellWord(d.Name))+")")
	row("restart", d.restartText())
	row("limits", d.limitText())
	row("cron", d.cronText())
	if d.hasWatch() {
		row("watch", map[bool]string{true: "enabled", false: "not running"}[d.Watching])
	}
	for i, log := range d.Logs {
		row(head("logs", i), d.logText(log))
	}
	row("rotation", d.rotation)
	for i, u := range d.Units {
		row(head("units", i), u.text())
	}
	for i, file := range d.DropIns {
		row(head("drop-ins", i), shown(file))
	}
	for i, unit := range slices.Sorted(maps.Keys(d.Pending)) {
		row(head("unfinished", i), unit+": "+d.Pending[unit])
	}
	out.WriteByte('\n')
	for i := range d.Instances {
		d.printInstance(out, i, color)
	}
	if len(d.LastLines) > 0 {
		fmt.Fprintf(out, "\n  %s\n", paint("last lines", toneBold, color))
		for _, line := range d.LastLines {
			number := ""
			if _, rest, ok := strings.Cut(line.Unit, "@"); ok && len(d.Instances) > 1 {
				number = strings.TrimSuffix(rest, ".service") + " "
			}
			fmt.Fprintf(out, "    %s %s%s\n", line.Time.Local().Format(time.DateTime), number, shown(line.Text))
		}
	}
}

// head is the name of the first of several rows.
func head(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

func (d *description) bootText() string {
	count := 0
	for _, p := range d.Instances {
		if p.Enabled {
			count++
		}
	}
	switch {
	case count == 0 && d.Next != nil:
		return "only its timer"
	case count == 0:
		return "no"
	case count < len(d.Instances):
		return fmt.Sprintf("%d of %d instances", count, len(d.Instances))
	}
	return "yes"
}

func (d *description) restartText() string {
	switch restart := d.Limits["Restart"]; restart {
	case "", "no":
		return "no: it is a job"
	default:
		text := restart
		if pause := d.Limits["RestartSec"]; pause != "" {
			text += ", after " + pause
		}
		if d.giveUp != "" {
			text += "; gives up " + d.giveUp
		}
		return text
	}
}

func (d *description) limitText() string {
	var parts []string
	for _, key := range limits {
		text := d.Limits[key]
		if text == "" || key == "Restart" || key == "RestartSec" {
			continue
		}
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && strings.HasPrefix(key, "Memory") {
			text = size(n)
		}
		if by := d.group.processes[0].State.MemoryBy; by != "" && key == "MemoryMax" {
			text += " (" + by + ")"
		}
		if d.native && slices.Contains([]string{"MemoryHigh", "CPUQuota", "TasksMax"}, key) {
			text += " (not in force)"
		}
		parts = append(parts, key+"="+text)
	}
	return strings.Join(parts, " ")
}

func (d *description) cronText() string {
	switch {
	case d.Timer == "":
		return ""
	case d.Next == nil:
		return d.Timer + "; its timer does not run"
	}
	return fmt.Sprintf("%s; next %s (in %s)", d.Timer, d.Next.Local().Format(time.DateTime), since(d.Next.Sub(d.at)))
}

func (d *description) hasWatch() bool { return d.group.processes[0].Watch != "" }

func (d *description) logText(log describedLog) string {
	text := cmp.Or(log.File, "journal")
	if log.File == "" {
		text += " (" + log.Unit + ")"
	}
	if log.Stream != "" {
		text = log.Stream + " " + text
	}
	return shown(text)
}

func (u *describedUnit) text() string {
	text := u.Path
	if u.Active != "" {
		text += "  " + u.Active
		if u.Sub != "" && u.Sub != u.Active {
			text += " (" + u.Sub + ")"
		}
	}
	if u.Enabled {
		text += ", enabled"
	}
	if u.Edited {
		text += ", edited by hand"
	}
	if u.Stale {
		text += ", changed since systemd read it"
	}
	return shown(text)
}

// printInstance writes what an instance does, and how its last process ended.
func (d *description) printInstance(out *bytes.Buffer, i int, color bool) {
	p, state := &d.Instances[i], &d.group.processes[i].State
	one := group{tone: engine.Status(p.Status)}
	fmt.Fprintf(out, "  %s  %s", shown(p.Name), paint(p.Status, one.color(), color))
	if p.PID != nil {
		fmt.Fprintf(out, ", pid %d", *p.PID)
		if p.Started != nil {
			fmt.Fprintf(out, ", up %s", since(d.at.Sub(*p.Started)))
		}
		cpu := float64(-1)
		if p.CPU != nil {
			cpu = *p.CPU
		}
		fmt.Fprintf(out, ", cpu %s, mem %s", percent(cpu), size(state.Memory))
	}
	fmt.Fprintf(out, ", restarts %d", p.Restarts)
	if p.Surplus {
		out.WriteString(", not declared")
	}
	out.WriteByte('\n')
	if text := p.Outcome; text != "" {
		if !state.Exit.At.IsZero() {
			text += ", " + state.Exit.At.Local().Format(time.DateTime)
		}
		if p.Status == string(engine.StatusErrored) && d.giveUp != "" && d.Limits["Restart"] == "always" {
			text += "; it ended too often (" + strings.TrimPrefix(d.giveUp, "after ") + ") and is not started again"
		}
		fmt.Fprintf(out, "    last end: %s\n", text)
	}
}

// quoted prints a command so that its arguments can be told apart.
func quoted(argv []string) string {
	var out []string
	for _, arg := range argv {
		out = append(out, shellWord(arg))
	}
	return strings.Join(out, " ")
}

// shellWord quotes a word as a shell wants it, where it has to.
func shellWord(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"'\\$`*?[]{}();&|<>#~") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
