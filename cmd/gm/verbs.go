package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
	"gm/machine"
	"gm/units"
)

// verb is what one of PM2's verbs does with apps.
type verb struct {
	name    string
	aliases []string
	short   string
	long    string
	example string

	plan func(*engine.State, []engine.Selection) *engine.Plan
	done string // "stopped"
	idle string // of an app with which nothing is to be done
	// installs says that a FILE is installed, with these options; otherwise its apps
	// are acted upon by name.
	installs bool
	with     diffOptions
	// here says that no argument means the declaration here.
	here bool
	// starts says that it starts apps, and does not only stop them.
	starts bool
}

const selectorHelp = `

An app is chosen by its name, an instance of it as NAME@0, several by "all", a
/regular expression/, or a namespace.`

var verbs = []*verb{
	{
		name: "start", short: "Start apps, or install a declaration and start its apps",
		long: `Start starts apps that do not run, and has them started at boot again: it undoes
stop. Apps that run already are left alone.` + selectorHelp + `

FILE is a declaration, or what gm gen wrote of one: it is installed, and those of
its apps that were stopped are started. Without an argument the declaration here
is taken.`,
		example: "  gm start\n  gm start worker\n  gm start ecosystem.config.js --env production",
		plan:    engine.PlanStart, done: "started", idle: "runs already",
		installs: true, with: diffOptions{wake: true}, here: true, starts: true,
	},
	{
		name: "stop", short: "Stop apps for good: over boots and installs",
		long: `Stop stops apps, with their timers and watches, and keeps them from being started
at boot or by an install, until gm start. Their units stay installed.` + selectorHelp + `

FILE is a declaration: its apps are stopped.`,
		example: "  gm stop worker\n  gm stop web-api@2\n  gm stop all",
		plan:    engine.PlanStop, done: "stopped", idle: "is stopped already",
	},
	{
		name: "restart", aliases: []string{"startOrRestart"}, short: "Restart apps at once",
		long: `Restart stops and starts apps, all instances of one at the same time, and starts
those that do not run. What they had failed with is forgotten.` + selectorHelp + `

FILE is a declaration, or what gm gen wrote of one: it is installed, and all of
its apps are restarted, changed or not.`,
		example: "  gm restart worker\n  gm restart /^api-/\n  gm restart processes.json --env production",
		plan:    engine.PlanRestart, done: "restarted", idle: "has nothing to restart",
		installs: true, with: diffOptions{wake: true, restart: true, now: true}, starts: true,
	},
	{
		name: "reload", aliases: []string{"startOrReload", "startOrGracefulReload"}, short: "Restart the instances of apps one after the other",
		long: `Reload restarts the instances of an app one after the other, each when the one
before it is up, so that some always run. When one does not come up it stops
there, and the others run on as they were.` + selectorHelp + `

FILE is a declaration, or what gm gen wrote of one: it is installed, and all of
its apps are reloaded, changed or not.`,
		example: "  gm reload web-api\n  gm reload all\n  gm reload ecosystem.config.js --env production",
		plan:    engine.PlanReload, done: "reloaded", idle: "has nothing to reload",
		installs: true, with: diffOptions{wake: true, restart: true}, starts: true,
	},
	{
		name: "delete", aliases: []string{"del"}, short: "Stop apps and remove their units",
		long: `Delete stops apps and removes their units. The next install of the declaration
brings them back. With its last app the project goes as a whole.` + selectorHelp + `

FILE is a declaration: its apps are removed.`,
		example: "  gm delete worker\n  gm delete all",
		plan:    engine.PlanDelete, done: "removed", idle: "is not installed",
	},
}

type verbOptions struct {
	installOptions
	engine engineOptions
}

// newVerbCmd makes the command of a verb.
func newVerbCmd(name string) func(*caller) *cobra.Command {
	v := verbs[slices.IndexFunc(verbs, func(v *verb) bool { return v.name == name })]
	return func(c *caller) *cobra.Command {
		o := &verbOptions{}
		use := v.name + " NAME|FILE…"
		if v.here {
			use = v.name + " [NAME|FILE…]"
		}
		cmd := &cobra.Command{
			Use: use, Aliases: v.aliases, Short: v.short, Long: v.long, Example: v.example,
			Args: func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 && !v.here {
					return usage("name an app, or all", "%s needs an app", cmd.CommandPath())
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				if v.installs {
					if err := o.validate(cmd); err != nil {
						return err
					}
					o.engine = engineOptions{engine: o.installOptions.engine.engine, system: o.system, user: o.user}
				} else {
					o.system, o.user, o.secrets = o.engine.system, o.engine.user, "inline"
				}
				return c.verb(cmd, v, o, args)
			},
		}
		if v.installs {
			o.addFlags(cmd)
			o.addForce(cmd)
			cmd.Flags().BoolVar(&o.quick, "now", false, "do not wait for apps to stay up")
		} else {
			o.engine.addFlags(cmd)
			o.lockOptions.addFlag(cmd)
		}
		o.who = "gm " + v.name
		c.completeApps(cmd, cobra.ShellCompDirectiveDefault)
		return cmd
	}
}

// verb carries out a verb: files first, then the apps that were named.
func (c *caller) verb(cmd *cobra.Command, v *verb, o *verbOptions, args []string) error {
	files, selectors, err := c.sortArguments(args)
	if err != nil {
		return err
	}
	var todo []func() error
	if len(args) == 0 {
		todo = append(todo, func() error { return c.verbFile(cmd, v, o, nil) })
	}
	for _, file := range files {
		todo = append(todo, func() error { return c.verbFile(cmd, v, o, []string{file}) })
	}
	if len(selectors) > 0 {
		if v.installs && len(files) == 0 {
			names := append([]string{"only", "force", "no-rollback", "linger"}, compiling...)
			if err := refuseFlags(cmd, "it is about a declaration, and none is named", names...); err != nil {
				return err
			}
		}
		todo = append(todo, func() error {
			return c.act(v, o, selecting(selectors...))
		})
	}
	return c.each(todo)
}

// each does one thing after the other. When one fails the rest is done all the
// same, unless it was interrupted, and the first failure gives the status.
func (c *caller) each(todo []func() error) error {
	if len(todo) == 1 {
		return todo[0]()
	}
	result := statusDone
	for _, do := range todo {
		if err := do(); err != nil {
			status := c.report(err)
			if result == statusDone {
				result = status
			}
			var f *failure
			if errors.Is(err, errInterrupted) || errors.As(err, &f) && f.code == codeInterrupted {
				break
			}
		}
	}
	if result != statusDone {
		return exit(result)
	}
	return nil
}

// sortArguments tells files from selectors.
func (c *caller) sortArguments(args []string) (files, selectors []string, err error) {
	for _, arg := range args {
		switch isFile, err := c.isFile(arg); {
		case err != nil:
			return nil, nil, err
		case isFile:
			files = append(files, arg)
		default:
			selectors = append(selectors, arg)
		}
	}
	return files, selectors, nil
}

// declarationSuffixes are how the name of a declaration ends.
var declarationSuffixes = []string{".json", ".js", ".cjs", ".mjs", ".yml", ".yaml"}

// scriptSuffixes are how the name of a program ends that PM2 would start itself.
var scriptSuffixes = []string{".js", ".cjs", ".mjs", ".ts", ".py", ".sh", ".rb", ".php", ".pl"}

// isFile reports whether an argument of a verb names a file and not apps: it has
// the form of one, and there is one. An app may be called like a directory here.
func (c *caller) isFile(arg string) (bool, error) {
	if arg == "-" {
		return true, nil
	}
	hasSuffix := func(suffixes []string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(arg, s) })
	}
	isRegexp := len(arg) > 1 && arg[0] == '/' && arg[len(arg)-1] == '/'
	if arg == "" || isRegexp || !hasSuffix(declarationSuffixes) && !hasSuffix(scriptSuffixes) && !strings.Contains(arg, "/") && arg != "." && arg != ".." {
		return false, nil
	}
	base := filepath.Base(arg)
	declares := slices.Contains(machine.Names, base) || strings.Contains(base, ".config.")
	info, err := os.Stat(c.abs(arg))
	if err != nil {
		if declares || strings.Contains(arg, "/") {
			return false, cannotRead(arg, err)
		}
		return false, nil
	}
	if !info.IsDir() && hasSuffix(scriptSuffixes) && !declares {
		app := strings.TrimSuffix(base, filepath.Ext(base))
		return false, usage(fmt.Sprintf(`write processes.json: [{"name": %q, "script": %q}]`, app, arg),
			"%s is a program; gm starts what a declaration declares", arg)
	}
	return true, nil
}

// verbFile carries out a verb for a declaration.
func (c *caller) verbFile(cmd *cobra.Command, v *verb, o *verbOptions, args []string) error {
	o.args = args
	if v.installs {
		to := o.installOptions
		to.diffOptions = v.with
		to.force = o.force
		return c.install(cmd, &to)
	}
	w, err := c.want(cmd, &o.inputOptions)
	if err != nil {
		return err
	}
	if w.plan != nil {
		return usage("name a declaration", "%s is a plan", w.from)
	}
	if status := status(w.list); status != statusDone {
		c.print(w.list)
		return exit(status)
	}
	wanted := appsOf(w.set)
	return c.act(v, o, func(have *engine.State) ([]engine.Selection, error) {
		var chosen []engine.Selection
		for _, app := range have.Apps() {
			if _, found := slices.BinarySearch(wanted, app.Name); found && app.Project == w.project {
				chosen = append(chosen, engine.Selection{App: app, Units: app.Instances, Whole: true})
			}
		}
		if chosen == nil {
			return nil, &failure{statusNoApp, "unknown-app", fmt.Sprintf("no app of %s is installed", w.from), "gm list shows what is"}
		}
		return chosen, nil
	})
}

// act carries out a verb for the apps that choose finds, project after project.
func (c *caller) act(v *verb, o *verbOptions, choose func(*engine.State) ([]engine.Selection, error)) error {
	ctx, stop := untilSignal()
	defer stop()
	return c.withSelected(ctx, &o.engine, o.lockOptions, (*gm.Conn).Outline, choose, func(conn *gm.Conn, _ *engine.State, selected []engine.Selection) error {
		if len(selected) == 0 { // of "all"
			return c.write([]byte("Nothing is installed.\n"))
		}
		idle := v.idle
		if v.starts {
			began, err := conn.Supervise(ctx)
			if err != nil {
				return engineFailure(err)
			}
			if began && v.name == "start" {
				idle = "started with the supervisor"
			}
		}
		var todo []func() error
		for _, group := range engine.SplitProjects(selected) {
			todo = append(todo, func() error { return c.actOn(ctx, conn, v, o, idle, group) })
		}
		return c.each(todo)
	})
}

// withSelected opens the engine, finds apps and hands them on. Look is (*gm.Conn).Observe or
// Outline.
func (c *caller) withSelected(ctx context.Context, o *engineOptions, l lockOptions,
	look func(*gm.Conn, context.Context, string, engine.Detail) (*engine.State, error), choose func(*engine.State) ([]engine.Selection, error),
	use func(*gm.Conn, *engine.State, []engine.Selection) error) error {
	if o.system && o.user {
		return usage("choose one", "--system and --user exclude each other")
	}
	if err := mayChange(o.user || !o.system && os.Geteuid() != 0); err != nil {
		return err
	}
	conn, err := c.connect(ctx, o, l)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.collectLittle()
	have, err := look(conn, ctx, "", engine.Brief)
	if err != nil {
		return engineFailure(err)
	}
	selected, err := choose(have)
	if err != nil {
		return c.selectFailure(err, conn.Engine().Dirs().User)
	}
	return use(conn, have, selected)
}

// selectFailure says what is wrong with a selector, and where the app is that the
// caller may have meant: under sudo, or without, one looks at the other scope.
func (c *caller) selectFailure(err error, userScope bool) error {
	var none *engine.NoSuchApp
	if !errors.As(err, &none) {
		return badSelector(err)
	}
	name, _, _ := strings.Cut(none.Selector, "@")
	elsewhere := ""
	if userScope && slices.Contains(c.installedNames(engineAuto, false), name) {
		elsewhere = "it is one of the system's apps: give --system, and to change it be root (sudo gm …)"
	} else if owner := c.getenv("SUDO_USER"); !userScope && owner != "" {
		u, err := user.Lookup(owner)
		if err == nil && slices.Contains(slices.Concat(namesIn(filepath.Join(u.HomeDir, ".config/systemd/user")),
			namesIn(filepath.Join(u.HomeDir, ".local/state/gm/units"))), name) {
			elsewhere = fmt.Sprintf("it is one of %s's own apps: run it as %[1]s, without sudo", owner)
		}
	}
	return unknownApp(none, elsewhere)
}

func unknownApp(none *engine.NoSuchApp, elsewhere string) error {
	remedy := "gm list shows the apps"
	switch {
	case elsewhere != "":
		remedy = elsewhere
	case len(none.Near) > 0:
		remedy = "did you mean " + strings.Join(none.Near, ", ") + "?"
	case slices.Contains(declarationSuffixes, filepath.Ext(none.Selector)), slices.Contains(scriptSuffixes, filepath.Ext(none.Selector)):
		remedy = "nor is there a file of that name here; gm list shows the apps"
	case none.Selector != "" && strings.Trim(none.Selector, "0123456789") == "":
		remedy = "apps have names and no numbers; gm list shows them"
	}
	return &failure{statusNoApp, "unknown-app", none.Error(), remedy}
}

func badSelector(err error) error {
	var bad *engine.BadSelector
	var f *failure
	switch {
	case errors.As(err, &bad):
		return usage("correct it, or name the apps", "%v", bad)
	case errors.As(err, &f):
		return err
	}
	return engineFailure(err)
}

// actOn carries out a verb for apps of one project.
func (c *caller) actOn(ctx context.Context, conn *gm.Conn, v *verb, o *verbOptions, idle string, selected []engine.Selection) error {
	names := map[string]string{}
	return c.carryOut(ctx, conn, gm.Change{
		Project: selected[0].App.Project, Selected: selected, Starts: v.starts, Outline: true,
		// A stop, a restart or a start that fails leaves things as the app left them:
		// there is no other version of its units to go back to.
		ApplyOptions: engine.ApplyOptions{KeepFailed: v.name != "delete", Now: o.quick},
		Plan: func(have *engine.State, selected []engine.Selection) (*engine.Plan, error) {
			p := v.plan(have, selected)
			for _, s := range selected {
				names[s.App.Name] = title(s)
			}
			if err := c.sayIdle(p, selected, idle); err != nil {
				return nil, err
			}
			c.print(planNotes(p))
			return p, nil
		},
	}, func(a *engine.AppPlan) string {
		if a.Empty() || names[a.App] == "" {
			return ""
		}
		return names[a.App] + ": " + v.done + instances(len(a.Restart)+len(a.Start))
	})
}

// title is what a selection is called: the app, or the instances that were named.
func title(s engine.Selection) string {
	if s.Whole {
		return printable(s.App.Name)
	}
	names := make([]string, len(s.Units))
	for i, unit := range s.Units {
		names[i] = strings.TrimSuffix(unit, ".service")
	}
	return strings.Join(names, ", ")
}

// sayIdle names the apps with which a plan does nothing.
func (c *caller) sayIdle(p *engine.Plan, selected []engine.Selection, idle string) error {
	busy := map[string]bool{}
	for i := range p.Apps {
		busy[p.Apps[i].App] = !p.Apps[i].Empty()
	}
	var out bytes.Buffer
	for _, s := range selected {
		if !busy[s.App.Name] {
			fmt.Fprintf(&out, "%s: %s\n", title(s), idle)
		}
	}
	return c.write(out.Bytes())
}

// selecting chooses by selectors.
func selecting(selectors ...string) func(*engine.State) ([]engine.Selection, error) {
	return func(have *engine.State) ([]engine.Selection, error) { return engine.Select(have.Apps(), selectors) }
}

// completeApps completes names of installed apps. It reads the unit files and
// asks no engine: a shell waits for the answer.
func (c *caller) completeApps(cmd *cobra.Command, otherwise cobra.ShellCompDirective) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		switch {
		case cmd.Name() == "signal" && len(args) == 0:
			return []string{"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP"}, cobra.ShellCompDirectiveNoFileComp
		case len(args) > 0 && slices.Contains([]string{"scale", "describe", "env"}, cmd.Name()): // they take one
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		is := func(name string) bool { on, _ := cmd.Flags().GetBool(name); return on }
		asked, _ := cmd.Flags().GetString("engine")
		names := c.installedNames(asked, is("user") || !is("system") && os.Geteuid() != 0)
		return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) }), otherwise
	}
}

// installedNames lists the apps that are installed for an engine, by their unit
// files.
func (c *caller) installedNames(asked string, user bool) []string {
	if name, err := c.engineName(asked); err == nil && name == engineNative {
		home, err := c.home(user)
		if err != nil {
			return nil
		}
		return namesIn(home.Units())
	}
	dir := "/etc/systemd/system"
	if user {
		config := c.getenv("XDG_CONFIG_HOME")
		if config == "" {
			config = filepath.Join(c.getenv("HOME"), ".config")
		}
		dir = filepath.Join(config, "systemd/user")
	}
	return namesIn(dir)
}

// namesIn lists the apps that have unit files in a directory.
func namesIn(dir string) []string {
	entries, _ := os.ReadDir(dir) // none, none
	var names []string
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !strings.HasSuffix(entry.Name(), ".service") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if mark, _, ok := units.Sealed(text); err == nil && ok && mark.App != "" {
			names = append(names, mark.App)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
