package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/engine/native"
	"gm/engine/systemd"
)

// The names of engines, as --engine and GM_ENGINE take them and Engine.Name says.
const (
	engineAuto    = "auto"
	engineSystemd = "systemd"
	engineNative  = "native"
)

// engineOptions says which engine a command works with. Commands that compile
// have the scope from inputOptions.
type engineOptions struct {
	engine string // auto, systemd, native
	system bool
	user   bool
	// starts says that the command starts apps: gm's own supervisor is then to run before
	// anything is looked at, with all that is enabled.
	starts bool
	// started is set when that was done for this command.
	started bool
	// outline says that outlines of the unit files are enough.
	outline bool
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

// booted reports whether systemd runs the machine: sd_booted(3).
func booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// engineName settles which engine is asked for. Where systemd runs the machine it
// is systemd even while it does not answer: apps that were installed there would
// seem to be gone, and would run twice once they were started by another.
func (c *caller) engineName(asked string) (string, error) {
	flag := "--engine "
	if asked == "" || asked == engineAuto {
		if chosen := c.getenv("GM_ENGINE"); chosen != "" {
			flag, asked = "GM_ENGINE=", chosen
		}
	}
	switch asked {
	case engineSystemd, engineNative:
		return asked, nil
	case "", engineAuto:
		if booted() {
			return engineSystemd, nil
		}
		return engineNative, nil
	}
	return "", usage("write auto, systemd or native", "%s%s: there is no such engine", flag, asked)
}

// openEngine connects to the engine that o asks for. The caller closes it.
func (c *caller) openEngine(ctx context.Context, o *engineOptions) (engine.Engine, error) {
	if c.engine != nil {
		return c.engine()
	}
	userScope, err := o.scope()
	if err != nil {
		return nil, err
	}
	name, err := c.engineName(o.engine)
	if err != nil {
		return nil, err
	}
	if name == engineNative {
		e, err := c.openNative(userScope)
		if err != nil || !o.starts {
			return e, err
		}
		if err := e.Start(ctx); err != nil {
			e.Close()
			return nil, engineFailure(err)
		}
		return e, nil
	}
	e, err := systemd.Open(ctx, systemd.Options{
		User:       userScope,
		RuntimeDir: c.getenv("XDG_RUNTIME_DIR"),
		ConfigHome: c.getenv("XDG_CONFIG_HOME"),
		Home:       c.getenv("HOME"),
	})
	if err != nil {
		return nil, systemdFailure(err)
	}
	return e, nil
}

// openNative returns the engine of gm's own supervisor, which it starts when a call
// needs one.
func (c *caller) openNative(userScope bool) (*native.Client, error) {
	home, err := c.home(userScope)
	if err != nil {
		return nil, err
	}
	return native.Open(native.ClientOptions{Home: home, User: userScope, Start: func(context.Context) error {
		return c.startSupervisor(home, userScope)
	}}), nil
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
		if !booted() {
			f.remedy = "leave --engine systemd out: gm itself runs the apps here"
		}
	}
	return failed
}
