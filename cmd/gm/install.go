package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gm"
	"gm/diag"
	"gm/engine"
)

// lockOptions is how a command takes a project for itself.
type lockOptions struct {
	timeout time.Duration
	who     string // for those who wait: "gm install"
}

const defaultLockTimeout = 2 * time.Minute

func (o *lockOptions) addFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&o.timeout, "lock-timeout", defaultLockTimeout, "how long to wait while another gm changes the project, a `duration` such as 30s")
}

type installOptions struct {
	inputOptions
	diffOptions
	lockOptions
	engine     engineOptions
	noRollback bool
	quick      bool // do not wait for apps to stay up
	dryRun     bool
	linger     bool
}

func newInstallCmd(c *caller) *cobra.Command {
	o := &installOptions{}
	cmd := &cobra.Command{
		Use:   "install [FILE]",
		Short: "Install a declaration's units and start its apps",
		Long: `Install makes the machine what a declaration says: it compiles the units, writes
those that differ, removes those of apps that left the file, and restarts what
runs with other settings than before; instances restart one after the other.
Running it again changes nothing. It asks nothing: gm plan shows beforehand what
it would do.

An app must come up: stay up for its min_uptime, or say that it is ready. When
one does not, everything is put back as it was, and gm says what the app's last
words were.

Apps that were stopped with gm stop stay stopped. Units without gm's mark are
never touched, units that were edited by hand only with --force, and drop-ins
stay in effect.

FILE is a declaration, a directory that holds one, or - for standard input;
without it one is looked for here. It may also be what gm gen wrote, a directory
of units or a stream: then those very units are installed. And it may be a plan
that gm plan --out saved, which is carried out unless what is installed has
changed since.`,
		Example: "  gm install --env production\n  gm install ecosystem.config.js --only web,worker\n  gm install units/\n  ssh server gm install - < shop.units\n  gm plan --out shop.plan && gm install shop.plan",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			if err := o.validate(cmd); err != nil {
				return err
			}
			if o.dryRun {
				p := &planOptions{inputOptions: o.inputOptions, diffOptions: o.diffOptions, engine: o.engine}
				return c.plan(cmd, p)
			}
			o.quick = o.now
			return c.install(cmd, o)
		},
	}
	o.addFlags(cmd)
	o.diffOptions.addFlags(cmd)
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, as gm plan does, and do nothing")
	c.completeInput(cmd)
	return cmd
}

// addFlags declares the flags of an install, which some verbs do as well.
func (o *installOptions) addFlags(cmd *cobra.Command) {
	o.inputOptions.addFlags(cmd)
	o.engine.addEngineFlag(cmd)
	cmd.Flags().BoolVar(&o.noRollback, "no-rollback", false, "keep what was changed when an app does not come up")
	cmd.Flags().BoolVar(&o.linger, "linger", false, "let your apps run while you are not logged in (--user, systemd)")
	o.lockOptions.addFlag(cmd)
	o.who = "gm " + cmd.Name()
}

// install brings the machine to what FILE says.
func (c *caller) install(cmd *cobra.Command, o *installOptions) error {
	c.collectLittle()
	w, err := c.want(cmd, &o.inputOptions)
	if err != nil {
		return err
	}
	c.print(w.list)
	if status := status(w.list); status != statusDone {
		return exit(status)
	}
	switch {
	case o.linger && !w.user:
		return usage("leave it out", "--linger is for a user's own apps; those of the system run anyway")
	case o.linger && o.native:
		return usage("gm startup has the supervisor start at boot", "--linger is for systemd, and gm's own supervisor runs while nobody is logged in anyway")
	case o.wake && w.plan != nil:
		return usage("give it to gm install", "%s is a plan, which says itself what is started", w.from)
	}
	ctx, stop := untilSignal()
	defer stop()
	if err := mayChange(w.user); err != nil {
		return err
	}
	conn, err := c.openFor(ctx, w, o.engine, o.lockOptions)
	if err != nil {
		return err
	}
	defer conn.Close()
	var p *engine.Plan
	err = c.carryOut(ctx, conn, gm.Change{
		Project: w.project, Starts: true, ApplyOptions: engine.ApplyOptions{KeepFailed: o.noRollback, Now: o.quick},
		Plan: func(have *engine.State, _ []engine.Selection) (_ *engine.Plan, err error) {
			if p, err = c.planInstall(conn, w, have, &o.diffOptions); err != nil {
				return nil, err
			}
			return p, c.announce(ctx, conn, w, p, o)
		},
	}, func(a *engine.AppPlan) string { return installedLine(a, o.noStart) })
	switch {
	case err != nil:
		return err
	case p.Empty():
		return c.write([]byte("Nothing changes.\n"))
	}
	return c.sayInstalled(ctx, conn, w.project)
}

// announce says what an install is about to do, and what speaks against it.
func (c *caller) announce(ctx context.Context, conn *gm.Conn, w *wanted, p *engine.Plan, o *installOptions) error {
	warnings := append(c.rootWarning(w, p), planNotes(p)...)
	if conn.Name() == engineSystemd && (!p.Empty() || o.linger) {
		lingering, err := c.lingering(ctx, w.user, o.linger)
		if err != nil {
			return err
		}
		warnings = append(warnings, lingering...)
	}
	if o.strict {
		warnings = warnings.Strict()
	}
	c.print(warnings)
	if warnings.HasErrors() {
		return exit(statusFailed)
	}
	return c.write(planText(p, planStyle{color: c.style(c.out).Color}))
}

// mayChange refuses a caller without the rights before anything is begun.
func mayChange(user bool) error {
	if user || os.Geteuid() == 0 {
		return nil
	}
	return &failure{statusUnreachable, "denied", "only root may change the system's apps", "run it as root (sudo gm …), or give --user for apps of your own"}
}

// planInstall makes the plan of an install, or takes the saved one.
func (c *caller) planInstall(conn *gm.Conn, w *wanted, have *engine.State, o *diffOptions) (*engine.Plan, error) {
	if w.plan == nil {
		return c.compare(conn, w, have, o)
	}
	if w.plan.Engine != conn.Name() {
		return nil, &failure{statusFailed, "bad-plan", fmt.Sprintf("%s is a plan for the engine %s, and this is %s", w.from, w.plan.Engine, conn.Name()),
			"make it here: gm plan --out " + w.from}
	}
	if w.plan.Base != have.Base(w.project) {
		return nil, stalePlan(w.from)
	}
	return w.plan, conn.Free(w.set, w.project)
}

func stalePlan(name string) error {
	return &failure{statusFailed, "stale-plan", fmt.Sprintf("%s is out of date: what is installed has changed since", name), "make it anew: gm plan --out " + name}
}

// planNotes is what a plan says beside its changes, as messages.
func planNotes(p *engine.Plan) diag.List {
	var list diag.List
	for _, n := range p.Notes {
		d := diag.Diagnostic{Severity: diag.Note, Code: string(n.Kind), Cause: n.Text, Remedy: n.Remedy}
		switch n.Kind {
		case engine.NoteEdited, engine.NoteForced:
			d.Severity, d.Code = diag.Warning, "hand-edited"
		}
		list = append(list, d)
	}
	return list
}

// rootWarning names the apps that a plan starts as root though nobody said so.
func (c *caller) rootWarning(w *wanted, p *engine.Plan) diag.List {
	starts := map[string]bool{}
	for _, a := range p.Apps {
		starts[a.App] = len(a.Restart)+len(a.Start) > 0
	}
	var apps []string
	for _, app := range w.rootApps {
		if starts[app] {
			apps = append(apps, app)
		}
	}
	if apps == nil {
		return nil
	}
	cause := strings.Join(apps, ", ") + " run as root"
	if len(apps) == 1 {
		cause = apps[0] + " runs as root"
	}
	who := "USER"
	if caller := c.getenv("SUDO_USER"); caller != "" && caller != "root" {
		who = caller
	}
	return diag.List{{Severity: diag.Warning, Code: "runs-as-root", Cause: cause + ": no user is declared",
		Remedy: fmt.Sprintf(`declare "uid", or give --run-as %s`, who)}}
}

// lingerDir holds a file for each user whose systemd runs without a session
// (loginctl(1), enable-linger).
const lingerDir = "/var/lib/systemd/linger"

// lingering warns a user whose apps would stop at logout, or makes them stay.
func (c *caller) lingering(ctx context.Context, isUser, enable bool) (diag.List, error) {
	if !isUser {
		return nil, nil
	}
	me, err := user.Current()
	if err != nil {
		return nil, &failure{statusFailed, "failed", fmt.Sprintf("cannot tell who you are: %v", err), ""}
	}
	if _, err := os.Stat(filepath.Join(lingerDir, me.Username)); err == nil {
		return nil, nil
	}
	if !enable {
		return diag.List{{Severity: diag.Warning, Code: "no-linger",
			Cause:  fmt.Sprintf("lingering is off for %s: apps stop with the last session, and do not start at boot", me.Username),
			Remedy: "give --linger, or run loginctl enable-linger"}}, nil
	}
	if out, err := exec.CommandContext(ctx, "loginctl", "enable-linger", me.Username).CombinedOutput(); err != nil {
		return nil, &failure{statusFailed, "no-linger", fmt.Sprintf("cannot enable lingering for %s: %v: %s", me.Username, err, strings.TrimSpace(string(out))),
			"ask root: loginctl enable-linger " + me.Username}
	}
	return nil, nil
}

// carryOut makes a change, shows how it goes, and says what failed.
func (c *caller) carryOut(ctx context.Context, conn *gm.Conn, ch gm.Change, line func(*engine.AppPlan) string) error {
	var g *progress
	plan := ch.Plan
	ch.Plan = func(have *engine.State, selected []engine.Selection) (*engine.Plan, error) {
		p, err := plan(have, selected)
		if err == nil {
			g = c.newProgress(p, line)
		}
		return p, err
	}
	ch.Report = func(step engine.Progress) { g.report(step) }
	p, err := conn.Apply(ctx, ch)
	if g == nil {
		return c.changeFailure(err)
	}
	g.finish(err == nil)
	var failed *engine.ApplyError
	switch {
	case err == nil:
		return c.outError(g.lost)
	case errors.As(err, &failed):
		changes := slices.ContainsFunc(p.Apps, func(a engine.AppPlan) bool { return len(a.Files) > 0 })
		c.printFailed(failed, ch.KeepFailed, changes, ctx.Err() != nil)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if errors.Is(failed.Cause, engine.ErrUnreachable) || errors.Is(failed.Cause, engine.ErrDenied) {
			return exit(statusUnreachable)
		}
		return exit(statusFailed)
	}
	return machineFailure(err)
}

// changeFailure says what kept a change from being made.
func (c *caller) changeFailure(err error) error {
	var f *failure
	var done exit
	var none *gm.NoSuchApp
	var locked *gm.Locked
	var taken *gm.Taken
	var scale *gm.CannotScale
	switch {
	case err == nil, errors.As(err, &f), errors.As(err, &done):
		return err
	case errors.As(err, &none):
		return unknownApp(none, "")
	case errors.As(err, &locked):
		return &failure{statusFailed, "locked", err.Error(), "wait until it is done, or give --lock-timeout a longer time"}
	case errors.As(err, &taken):
		c.print(inTheWay(taken))
		return exit(statusFailed)
	case errors.As(err, &scale):
		return &failure{statusFailed, "cannot-scale", scale.Error(), scale.Remedy}
	}
	return machineFailure(err)
}

// inTheWay names the units whose names are somebody else's.
func inTheWay(taken *gm.Taken) diag.List {
	var list diag.List
	for _, conflict := range taken.Conflicts {
		remedy := "rename the app, or give the units other names with --prefix"
		if conflict.Why == engine.Masked {
			remedy = "unmask it, or " + remedy
		}
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "in-the-way",
			Cause: fmt.Sprintf("%s is taken by %s: %s", conflict.Unit, conflict.Path, conflict.Why), Remedy: remedy})
	}
	return list
}

// machineFailure is engineFailure, with a remedy for errors of the disk.
func machineFailure(err error) error {
	failed := engineFailure(err)
	var f *failure
	if errors.As(failed, &f) && f.remedy == "" {
		f.remedy = remedyFor(err)
	}
	return failed
}

// printFailed prints what failed, the last words of each, and what became of the
// rest: kept says that it was to stay as it is, changes that units were changed.
func (c *caller) printFailed(failed *engine.ApplyError, kept, changes, stopped bool) {
	style := c.style(c.err)
	for _, f := range failed.Failures {
		place := f.At
		if place == "" {
			place = "gm"
		}
		fmt.Fprintf(c.err, "%s %s %s: %v [start-failed]\n", paint(place+":", "\x1b[1m", style.Color), paint("error:", "\x1b[31m", style.Color), f.Unit, f.Err)
		for _, entry := range f.Log {
			fmt.Fprintf(c.err, "    | %s\n", printable(string(entry.Text)))
		}
	}
	if failed.Cause != nil && !stopped {
		c.report(machineFailure(failed.Cause))
	}
	say := diag.Diagnostic{Severity: diag.Note, Code: "rolled-back", Cause: "everything is as it was before"}
	switch {
	case failed.Undone != nil:
		say = diag.Diagnostic{Severity: diag.Error, Code: "not-rolled-back",
			Cause:  fmt.Sprintf("not everything could be put back: %v", failed.Undone),
			Remedy: "see what runs with gm list, then run gm install again: it takes up what is left"}
	case !failed.RolledBack && kept && !changes:
		if !stopped {
			return // a verb has said all
		}
		say.Code, say.Cause = "kept", "what is not done stays undone"
	case !failed.RolledBack && kept:
		say.Code, say.Cause = "kept", "what was changed stays as it is"
	case !failed.RolledBack:
		say = diag.Diagnostic{Severity: diag.Warning, Code: "not-rolled-back", Cause: "what was changed stays as it is",
			Remedy: "run gm install again: it takes up what is left"}
	}
	if stopped {
		say.Cause = "interrupted; " + say.Cause
	}
	c.print(diag.List{say})
}

// printable keeps what an app wrote from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '\ufffd'
		}
		return r
	}, strings.TrimRight(s, "\r\n"))
}

// installedLine says what was done with an app.
func installedLine(a *engine.AppPlan, noStart bool) string {
	why := ""
	if len(a.Why) > 0 {
		why = " (" + reasons(a.Why) + ")"
	}
	n := len(a.Restart) + len(a.Start)
	switch a.Effect {
	case engine.Keep:
		return ""
	case engine.Remove:
		return a.App + ": removed"
	case engine.Create:
		switch {
		case noStart || n == 0:
			return a.App + ": installed, not started"
		case a.After > 1:
			return fmt.Sprintf("%s: %d instances up", a.App, n)
		case a.Once:
			return a.App + ": started"
		}
		return a.App + ": up"
	case engine.Scale:
		return fmt.Sprintf("%s: scaled from %d to %d instances", a.App, a.Before, a.After)
	case engine.Update:
		return a.App + ": updated without a restart" + why
	case engine.Revive:
		return a.App + ": started" + why
	case engine.Roll:
		return a.App + ": reloaded" + instances(n) + why
	}
	return a.App + ": restarted" + instances(n) + why
}

// instances is ", 3 instances", or nothing for one.
func instances(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", %d instances", n)
}

// sayInstalled prints how the project is after an install.
func (c *caller) sayInstalled(ctx context.Context, conn *gm.Conn, project string) error {
	have, err := conn.Outline(ctx, project, engine.Brief)
	if err != nil {
		return engineFailure(err)
	}
	up, failed, other := 0, 0, 0
	for _, app := range have.Apps() {
		switch running, broken := health(have, app); {
		case broken > 0:
			failed++
		case running > 0:
			up++
		default:
			other++
		}
	}
	line := fmt.Sprintf("Installed %s: %s up, %d failed", project, counted(up, "app"), failed)
	if other > 0 {
		line += fmt.Sprintf(", %d not running", other)
	}
	return c.write([]byte(line + "; gm list shows them.\n"))
}

// health counts an app's instances that run and that have failed.
func health(have *engine.State, app engine.App) (running, failed int) {
	for _, unit := range app.Instances {
		switch state := have.Units[unit]; {
		case state.Running():
			running++
		case state.Active == "failed":
			failed++
		}
	}
	return running, failed
}
