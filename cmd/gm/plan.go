package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gm"
	"gm/diag"
	"gm/engine"
	"gm/units"
)

// diffOptions is what a person chooses of a plan.
type diffOptions struct {
	force   bool
	noStart bool
	now     bool
	wake    bool // gm start FILE
	restart bool // gm restart FILE, gm reload FILE
}

func (o *diffOptions) addFlags(cmd *cobra.Command) {
	o.addForce(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.noStart, "no-start", false, "change files and what runs at boot, and nothing that runs now")
	f.BoolVar(&o.now, "now", false, "restart all instances of an app at once, and do not wait for them to stay up")
}

func (o *diffOptions) addForce(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite units that were edited by hand")
}

// planFlags is the flags that a saved plan has already been made with.
var planFlags = append([]string{"only", "force", "no-start", "now"}, compiling...)

type planOptions struct {
	inputOptions
	diffOptions
	engine   engineOptions
	all      bool
	diff     bool
	secrets  bool
	json     bool
	exitCode bool
	out      string
}

func newPlanCmd(c *caller) *cobra.Command {
	o := &planOptions{}
	cmd := &cobra.Command{
		Use:   "plan [FILE]",
		Short: "Show what install would do",
		Long: `Plan compiles a declaration, compares the units with those that are installed,
and prints by app what gm install would do. It changes nothing and needs no
rights beyond reading the installed units.

  +  create      ~  change      -  remove      =  unchanged, with --all

Behind each name stands the effect (restart, reload of one instance after the
other, no restart) and what in the units leads to it. --diff shows the units'
lines. Values of variables are not shown: those of Environment= with
--show-secrets, those in environment files never.

--out saves the plan, secrets included, with mode 0600; gm install FILE carries
it out as long as what is installed is still what the plan was made from.

FILE is a declaration, a directory that holds one, or - for standard input;
without it one is looked for here. It may also be what gm gen wrote, a directory
of units or a stream: then those very units are compared.

Exit status: 0 also when there are changes; with --exit-code 0 no changes, 1
changes, 2 or more trouble.`,
		Example: "  gm plan --env production\n  gm plan --diff ecosystem.config.js\n  gm plan --out shop.plan && gm install shop.plan\n  gm plan --exit-code --json units/",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			err := o.validate(cmd)
			if err == nil && cmd.Flags().Changed("out") && o.out == "" {
				err = usage("name a file", "--out is empty")
			}
			if err == nil {
				err = c.plan(cmd, o)
			}
			if o.exitCode {
				return aboveChanged(err)
			}
			return err
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "show the apps that do not change, too")
	f.BoolVar(&o.diff, "diff", false, "show the difference of the units, line by line")
	f.BoolVar(&o.secrets, "show-secrets", false, "show the values of Environment= in it")
	f.BoolVar(&o.json, "json", false, "print the plan as JSON")
	f.BoolVar(&o.exitCode, "exit-code", false, "exit 1 when there are changes, 2 or more when something is wrong")
	f.StringVarP(&o.out, "out", "o", "", "save the plan in this `file` (-out too)")
	c.completeInput(cmd)
	return cmd
}

func (o *planOptions) addFlags(cmd *cobra.Command) {
	o.inputOptions.addFlags(cmd)
	o.diffOptions.addFlags(cmd)
	o.engine.addEngineFlag(cmd)
}

// changed is what a plan --exit-code that has changes ends with.
var changed = fmt.Errorf("the plan has changes: %w", exit(statusDifferent))

// aboveChanged gives failures another status than changes have.
func aboveChanged(err error) error {
	var f *failure
	switch {
	case err == changed:
	case errors.As(err, &f) && f.status == statusFailed:
		f.status = statusInvalid
	case err == exit(statusFailed):
		return exit(statusInvalid)
	}
	return err
}

// spelled makes of a command line what pflag can read: "plan -out FILE", as
// people know it from other tools, and "scale NAME -1", whose count is no flag.
func spelled(args []string) []string {
	if len(args) == 0 || slices.Contains(args, "--") {
		return args
	}
	out := []string{args[0]}
	var counts []string
	for _, arg := range args[1:] {
		switch {
		case args[0] == "plan" && (arg == "-out" || strings.HasPrefix(arg, "-out=")):
			out = append(out, "-"+arg)
		case args[0] == "scale" && isCount(arg, "-"):
			counts = append(counts, arg)
		default:
			out = append(out, arg)
		}
	}
	if counts != nil {
		out = append(append(out, "--"), counts...)
	}
	return out
}

func (c *caller) plan(cmd *cobra.Command, o *planOptions) error {
	w, err := c.want(cmd, &o.inputOptions)
	if err != nil {
		return err
	}
	if w.plan != nil {
		return usage("give it to gm install, or name a declaration", "%s is a plan already", w.from)
	}
	c.print(w.list)
	if status := status(w.list); status != statusDone {
		return exit(status)
	}
	ctx, stop := untilSignal()
	defer stop()
	conn, err := c.openFor(ctx, w, o.engine, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	have, err := conn.Observe(ctx, w.project, engine.Brief)
	if err != nil {
		return engineFailure(err)
	}
	p, err := c.compare(conn, w, have, &o.diffOptions)
	if err != nil {
		return c.changeFailure(err)
	}
	c.print(c.rootWarning(w, p))
	if o.out != "" {
		if err := c.savePlan(o.out, p); err != nil {
			return err
		}
	}
	if o.json {
		err = c.writeJSON(newPlanView(p, o.diff, o.secrets))
	} else {
		err = c.write(planText(p, planStyle{
			color: c.style(c.out).Color, all: o.all, diff: o.diff, secrets: o.secrets, notes: true, from: w.from,
		}))
	}
	if err == nil && o.exitCode && !p.Empty() {
		return changed
	}
	return err
}

func (c *caller) writeJSON(value any) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return err
	}
	return c.write(out.Bytes())
}

// openFor connects to the engine that w's units are for.
func (c *caller) openFor(ctx context.Context, w *wanted, o engineOptions, l lockOptions) (*gm.Conn, error) {
	o.user, o.system = w.user, !w.user
	conn, err := c.connect(ctx, &o, l)
	if err != nil {
		return nil, err
	}
	if have := conn.Engine().Version(); have > 0 && have != w.systemd {
		list := w.set.Check(have)
		c.print(list)
		if status := status(list); status != statusDone {
			conn.Close()
			return nil, exit(status)
		}
	}
	return conn, nil
}

// compare makes the plan of an install, unless a name is someone else's.
func (c *caller) compare(conn *gm.Conn, w *wanted, have *engine.State, o *diffOptions) (*engine.Plan, error) {
	return conn.Diff(w.set, have, engine.DiffOptions{
		Project: w.project, Only: w.only, Force: o.force, NoStart: o.noStart, Now: o.now, Wake: o.wake, Restart: o.restart,
	})
}

// savePlan writes a plan for gm install. Its units hold the values of env, so
// nobody else may read it.
func (c *caller) savePlan(name string, p *engine.Plan) error {
	for _, a := range p.Apps {
		for _, f := range a.Files {
			if f.New != nil && !utf8.ValidString(*f.New) || f.Old != nil && !utf8.ValidString(*f.Old) {
				return &failure{statusFailed, "not-utf8", fmt.Sprintf("cannot save the plan: %s is not UTF-8 text", f.Name), "install without a saved plan"}
			}
		}
	}
	path := c.abs(name)
	f, err := os.CreateTemp(filepath.Dir(path), ".gm-plan-*") // with mode 0600
	if err == nil {
		_, err = f.Write(p.Encode())
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}
	if err != nil {
		return &failure{statusFailed, "cannot-write", fmt.Sprintf("cannot write %s: %s", name, reason(err)), remedyFor(err)}
	}
	return nil
}

// wantPlan takes a plan that savePlan wrote.
func (c *caller) wantPlan(cmd *cobra.Command, o *inputOptions, name string, text []byte) (*wanted, error) {
	if err := refuseFlags(cmd, name+" is a saved plan", planFlags...); err != nil {
		return nil, err
	}
	bad := func(why string) error {
		return &failure{statusInvalid, "bad-plan", fmt.Sprintf("%s cannot be applied: %s", name, why), "make it anew: gm plan --out " + name}
	}
	p, err := engine.ReadPlan(text)
	if err != nil {
		return nil, bad(err.Error())
	}
	if p.Project == "" || p.Base == "" {
		return nil, bad("it has no project")
	}
	w := &wanted{from: name, project: p.Project, user: p.User, plan: p}
	for _, a := range p.Apps {
		for _, f := range a.Files {
			if err := units.CheckFileName(f.Name); err != nil {
				return nil, bad(err.Error())
			}
			if f.New != nil {
				// What is wrong with a unit was said when the plan was made.
				u, _ := units.Parse(f.Name, diag.NewSource(f.Name, []byte(*f.New)))
				w.set = append(w.set, u)
			}
		}
	}
	w.set.Sort()
	if o.user && !w.user || o.system && w.user {
		return nil, usage("leave the flag out", "the plan is for the other scope")
	}
	return w, nil
}
