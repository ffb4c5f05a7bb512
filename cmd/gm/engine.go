package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
	"gm/engine/native"
)

// The names of engines, as --engine and GM_ENGINE take them and Engine.Name says.
const (
	engineAuto    = gm.Auto
	engineSystemd = gm.Systemd
	engineNative  = gm.Native
)

// engineOptions says which engine a command works with. Commands that compile
// have the scope from inputOptions.
type engineOptions struct {
	engine string // auto, systemd, native
	system bool
	user   bool
}

func (o *engineOptions) addEngineFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.engine, "engine", engineAuto, "`auto|systemd|native`: what runs the units; auto is systemd where it runs the machine, else gm itself")
	must(cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{engineAuto, engineSystemd, engineNative}, cobra.ShellCompDirectiveNoFileComp)))
}

// addFlags declares the flags of commands that do not compile.
func (o *engineOptions) addFlags(cmd *cobra.Command) {
	o.addScopeFlags(cmd)
	o.addEngineFlag(cmd)
}

func (o *engineOptions) addScopeFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.system, "system", false, "the system's apps (default for root)")
	f.BoolVar(&o.user, "user", false, "your own apps (default for others)")
}

// scope says whether a user's own apps are meant.
func (o *engineOptions) scope() (userScope bool, err error) {
	if o.system && o.user {
		return false, usage("choose one", "--system and --user exclude each other")
	}
	return o.user || !o.system && os.Geteuid() != 0, nil
}

// engineName settles which engine is asked for.
func (c *caller) engineName(asked string) (string, error) {
	name, err := (&gm.Options{Engine: asked, Environ: c.environ}).EngineName()
	var unknown *gm.UnknownEngine
	if errors.As(err, &unknown) {
		flag := "--engine "
		if unknown.Variable {
			flag = "GM_ENGINE="
		}
		return "", usage("write auto, systemd or native", "%s%s: there is no such engine", flag, unknown.Name)
	}
	return name, err
}

// connOptions is how a connection of this caller's works.
func (c *caller) connOptions(l lockOptions) gm.Options {
	return gm.Options{
		Environ: c.environ, Dir: c.dir, Program: ownExecutable(),
		Who: l.who, LockTimeout: l.timeout, Waiting: func(project, holder string) {
			fmt.Fprintf(c.err, "gm: waiting for %s, which is changing %s\n", holder, project)
		},
	}
}

// connect connects to the engine that o asks for; l says how projects are taken, for
// commands that change something. The caller closes it.
func (c *caller) connect(ctx context.Context, o *engineOptions, l lockOptions) (*gm.Conn, error) {
	options := c.connOptions(l)
	if c.engine != nil {
		e, err := c.engine()
		if err != nil {
			return nil, err
		}
		return gm.New(e, options)
	}
	userScope, err := o.scope()
	if err != nil {
		return nil, err
	}
	if options.Engine, err = c.engineName(o.engine); err != nil {
		return nil, err
	}
	options.Scope = gm.ScopeSystem
	if userScope {
		options.Scope = gm.ScopeUser
	}
	conn, err := gm.Connect(ctx, options)
	var unreachable *gm.ConnectError
	switch {
	case errors.As(err, &unreachable):
		return nil, systemdFailure(err)
	case errors.Is(err, native.ErrHomeless):
		return nil, homeless(err)
	case err != nil:
		return nil, engineFailure(err)
	}
	return conn, nil
}

const codeInterrupted = "interrupted"

// errInterrupted is the error of a change that a signal ended, when what became of
// it has been said.
var errInterrupted = fmt.Errorf("interrupted: %w", exit(statusFailed))

// engineFailure says what an error of an engine means to the person who called.
func engineFailure(err error) error {
	f := &failure{statusFailed, "failed", err.Error(), ""}
	switch {
	case errors.Is(err, context.Canceled):
		f.code, f.cause = codeInterrupted, "interrupted"
	case errors.Is(err, engine.ErrDenied):
		f.status, f.code, f.remedy = statusUnreachable, "denied", "run it as root (sudo gm …), or give --user for apps of your own"
	case errors.Is(err, engine.ErrUnreachable):
		f.status, f.code = statusUnreachable, "unreachable"
	}
	return f
}

// systemdFailure is engineFailure for a systemd that does not answer, and names the
// other engine.
func systemdFailure(err error) error {
	failed := engineFailure(err)
	var f *failure
	if errors.As(failed, &f) && f.code == "unreachable" {
		f.remedy = "or have gm itself run the apps: --engine native, or GM_ENGINE=native for every command"
		if !gm.Booted() {
			f.remedy = "leave --engine systemd out: gm itself runs the apps here"
		}
	}
	return failed
}
