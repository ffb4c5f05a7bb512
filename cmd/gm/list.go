package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
	"gm/units"
)

type listOptions struct {
	engineOptions
	all   bool
	mini  bool
	json  bool
	sort  string
	watch string
}

func newListCmd(c *caller) *cobra.Command {
	o := &listOptions{}
	cmd := &cobra.Command{
		Use:     "list [NAME…]",
		Aliases: []string{"ls", "l", "ps", "status"},
		Short:   "List the installed apps and what runs of them",
		Long: `List prints a line for each installed app, in PM2's layout, or for each of its
instances with --all: of all projects, or of the apps that are named.` + selectorHelp + `

The columns and the words for the status are explained in docs/list.md. On a
terminal that is too narrow for all columns some are left out.`,
		Example: "  gm list\n  gm list --all web\n  gm list --sort memory:desc\n  gm list --watch=5\n  gm list --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.list(cmd.Context(), o, args)
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "a line for each instance")
	f.BoolVarP(&o.mini, "mini-list", "m", false, "a block of lines for each instance")
	f.StringVar(&o.sort, "sort", "name", "`field[:asc|desc]`: "+strings.Join(sortFields(), ", "))
	f.BoolVar(&o.json, "json", false, "print what is known of each app and instance as JSON")
	f.StringVarP(&o.watch, "watch", "w", "", "print it again on every change, and every so many `seconds`")
	f.Lookup("watch").NoOptDefVal = "2"
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	must(cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(sortFields(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (c *caller) list(ctx context.Context, o *listOptions, selectors []string) error {
	order, err := sorting(o.sort)
	if err != nil {
		return err
	}
	if o.json && o.mini {
		return usage("choose one", "--json and --mini-list exclude each other")
	}
	interval, err := seconds("watch", o.watch)
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, &o.engineOptions, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	show := func(l *listing) ([]byte, error) { return c.render(l, o, order) }
	if interval > 0 {
		err := c.watchList(ctx, conn, o, selectors, interval, show)
		var f *failure
		if n := len(selectors); n > 0 && errors.As(err, &f) && f.code == "unknown-app" {
			if d, err := seconds("watch", selectors[n-1]); err == nil && d > 0 {
				f.remedy = "write --watch=" + selectors[n-1]
			}
		}
		return err
	}
	c.collectLittle()
	l, err := c.outline(ctx, conn, selectors)
	if err != nil {
		return err
	}
	l.average = o.json
	if !o.mini {
		if err := l.measure(ctx, nil); err != nil {
			return err
		}
	}
	text, err := show(l)
	if err != nil {
		return err
	}
	if len(l.processes) == 0 && !o.json {
		fmt.Fprintln(c.err, c.noApps(conn.Engine().Dirs().User))
	}
	return c.write(text)
}

// noApps says that there are none, and where there are some.
func (c *caller) noApps(userScope bool) string {
	if !userScope {
		return "No apps are installed. gm install installs the declaration here."
	}
	if n := len(c.installedNames(engineAuto, false)); n > 0 {
		return fmt.Sprintf("No apps of your own are installed. gm list --system shows the system's (%d).", n)
	}
	return "No apps of your own are installed. gm install installs the declaration here."
}

// seconds reads the value of a flag that is a number of seconds, or a time span as
// 500ms; 0 if it is not given.
func seconds(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if n, bad := strconv.ParseFloat(text, 64); bad == nil {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	const least = 100 * time.Millisecond
	if err != nil || d < least || d > 24*time.Hour {
		return 0, usage("write --"+flag+"=5", "--%s %s: a number of seconds expected, from 0.1", flag, text)
	}
	return d, nil
}

// render prints a listing in the form that was asked for.
func (c *caller) render(l *listing, o *listOptions, order order) ([]byte, error) {
	groups := l.groups(false)
	switch {
	case o.json:
		order.sort(groups)
		if o.watch == "" {
			return l.pages(groups)
		}
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(l.document(groups, true))
		return out.Bytes(), err
	case len(groups) == 0:
		return nil, nil
	case o.mini:
		groups = l.groups(true)
		order.sort(groups)
		return l.miniList(groups), nil
	}
	if o.all {
		groups = l.groups(true)
	}
	order.sort(groups)
	return l.table(groups, c.width(), c.style(c.out).Color), nil
}

// listing is what is known of the chosen apps at one time.
type listing struct {
	conn      *gm.Conn
	state     *engine.State
	processes []engine.Process
	// cpu is how much of one CPU each unit uses, in percent; a unit that is missing
	// is not known.
	cpu map[string]float64
	// average says that the use of CPUs since processes were started is as good as that of
	// the last minute: a script does not wait for what a person wants to see.
	average bool
	// user is whom an app without a user of its own runs as.
	user string
	at   time.Time
	// dropIns are the drop-ins by unit and file name; nil until readDropIns.
	dropIns map[string]map[string]units.Unit
}

// observe reads what is installed, and of it what selectors choose; without any,
// all.
func (c *caller) observe(ctx context.Context, conn *gm.Conn, selectors []string, detail engine.Detail) (*listing, error) {
	state, processes, err := conn.Inspect(ctx, detail, selectors...)
	if err != nil {
		return nil, c.selectFailure(err, conn.Engine().Dirs().User)
	}
	return c.newListing(conn, state, processes), nil
}

// outline is observe for who needs no more than a list tells.
func (c *caller) outline(ctx context.Context, conn *gm.Conn, selectors []string) (*listing, error) {
	state, processes, err := conn.Overview(ctx, engine.List, selectors...)
	if err != nil {
		return nil, c.selectFailure(err, conn.Engine().Dirs().User)
	}
	return c.newListing(conn, state, processes), nil
}

func (c *caller) newListing(conn *gm.Conn, state *engine.State, processes []engine.Process) *listing {
	l := &listing{conn: conn, state: state, processes: processes, user: "root", at: time.Now()}
	if conn.Engine().Dirs().User {
		if u, err := user.Current(); err == nil {
			l.user = u.Username
		}
	}
	return l
}

// recent is how long ago an earlier reading of the engine's may be that says what a unit
// does now.
const recent = 65 * time.Second

// measure computes the use of CPUs since an earlier listing, or since an earlier time that the
// engine tells, or else reads twice. It does not count from when this listing was read: gm has
// kept the CPUs busy since.
func (l *listing) measure(ctx context.Context, before *listing) (err error) {
	if before == nil {
		since := recent
		if l.average {
			since = math.MaxInt64
		}
		if l.cpu, err = l.conn.CPU(ctx, l.processes, since); err != nil && ctx.Err() == nil {
			err = engineFailure(err)
		}
		return err
	}
	l.cpu = map[string]float64{}
	for _, p := range l.processes {
		share := engine.CPUShare(before.state.Units[p.Unit], l.state.Units[p.Unit])
		if p.State.MainPID > 0 && share >= 0 {
			l.cpu[p.Unit] = share
		}
	}
	return nil
}

// group is one line of the list: an app, or one of its instances.
type group struct {
	name      string
	app       *engine.App
	processes []engine.Process
	// folded says that the line stands for the whole app.
	folded bool

	status   string
	tone     engine.Status // what the status is coloured as
	online   int
	declared int // instances
	restarts int
	started  time.Time // of the instance that was started last; zero if none runs
	cpu      float64   // -1 if not known
	memory   int64     // -1 if not known
}

// groups returns the lines of the list, by name.
func (l *listing) groups(all bool) []group {
	var groups []group
	for _, p := range l.processes {
		n := len(groups)
		if all {
			groups = append(groups, group{name: p.Name, app: p.App, processes: []engine.Process{p}})
		} else if n > 0 && groups[n-1].app == p.App {
			groups[n-1].processes = append(groups[n-1].processes, p)
		} else {
			groups = append(groups, group{name: p.App.Name, app: p.App, processes: []engine.Process{p}, folded: true})
		}
	}
	for i := range groups {
		groups[i].sum(l.cpu)
	}
	return groups
}

// loudest is the order in which the instances' states speak for an app that has
// none online.
var loudest = []engine.Status{
	engine.StatusErrored, engine.StatusRetrying, engine.StatusLaunching, engine.StatusStopping,
	engine.StatusStopped, engine.StatusEnded, engine.StatusWaiting,
}

// sum adds up what the processes of a group have.
func (g *group) sum(cpu map[string]float64) {
	g.cpu, g.memory = -1, -1
	count := map[engine.Status]int{}
	for _, p := range g.processes {
		count[p.Status]++
		if !p.Surplus {
			g.declared++
		}
		g.restarts += p.State.Restarts
		if share, ok := cpu[p.Unit]; ok {
			g.cpu = max(g.cpu, 0) + share
		}
		if p.State.Memory >= 0 {
			g.memory = max(g.memory, 0) + p.State.Memory
		}
		if p.Status == engine.StatusOnline && p.State.Started.After(g.started) {
			g.started = p.State.Started
		}
	}
	g.online = count[engine.StatusOnline]
	g.tone = engine.StatusOnline
	if g.online == 0 {
		for _, s := range loudest {
			if count[s] > 0 {
				g.tone = s
				break
			}
		}
	}
	g.status = string(g.tone)
	if n := len(g.processes); count[g.tone] < n {
		g.status = fmt.Sprintf("%s %d/%d", g.tone, count[g.tone], n)
	}
	if g.declared == 0 && g.folded {
		g.declared = len(g.app.Instances)
	}
}

// partial says that some instances are online and some are not.
func (g *group) partial() bool { return g.online > 0 && g.online < len(g.processes) }

// pid is the process of a group that has one, else 0.
func (g *group) pid() int {
	if len(g.processes) != 1 {
		return 0
	}
	return g.processes[0].State.MainPID
}

// order is a way to sort the list.
type order struct {
	by   func(a, b *group) int
	desc bool
}

var orders = map[string]func(a, b *group) int{
	"name":      func(a, b *group) int { return strings.Compare(a.name, b.name) },
	"namespace": func(a, b *group) int { return strings.Compare(namespaceOf(a.app), namespaceOf(b.app)) },
	"pid":       func(a, b *group) int { return cmp.Compare(a.pid(), b.pid()) },
	"cpu":       func(a, b *group) int { return cmp.Compare(a.cpu, b.cpu) },
	"memory":    func(a, b *group) int { return cmp.Compare(a.memory, b.memory) },
	"uptime":    func(a, b *group) int { return compareUptime(a.started, b.started) },
	"status":    func(a, b *group) int { return strings.Compare(a.status, b.status) },
	"restarts":  func(a, b *group) int { return cmp.Compare(a.restarts, b.restarts) },
}

// compareUptime puts what does not run first, and then what was started last.
func compareUptime(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return a.Compare(b)
	}
	return b.Compare(a)
}

func sortFields() []string {
	return []string{"name", "namespace", "pid", "cpu", "memory", "uptime", "status", "restarts"}
}

// sorting reads --sort.
func sorting(text string) (order, error) {
	field, direction, found := strings.Cut(text, ":")
	by := orders[strings.ToLower(field)]
	if by == nil {
		return order{}, usage("write one of "+strings.Join(sortFields(), ", "), "--sort %s: there is no field %q", text, field)
	}
	if found && direction != "asc" && direction != "desc" {
		return order{}, usage("write asc or desc behind the colon", "--sort %s: there is no order %q", text, direction)
	}
	return order{by, direction == "desc"}, nil
}

// sort keeps the order of names where the field is equal.
func (o order) sort(groups []group) {
	slices.SortStableFunc(groups, func(a, b group) int {
		if o.desc {
			return o.by(&b, &a)
		}
		return o.by(&a, &b)
	})
}

// namespaceOf is PM2's, which every app has.
func namespaceOf(a *engine.App) string { return cmp.Or(a.Namespace, "default") }

func modeOf(a *engine.App) string {
	if a.Cluster {
		return "cluster"
	}
	return "fork"
}
