package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/engine/systemd"
)

// engineOptions says which engine a command works with. Commands that compile
// have the scope from inputOptions.
type engineOptions struct {
	engine string // auto, systemd, native
	system bool
	user   bool
}

func (o *engineOptions) addEngineFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.engine, "engine", "auto", "`auto|systemd|native`: what runs the units")
	must(cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions([]string{"auto", "systemd", "native"}, cobra.ShellCompDirectiveNoFileComp)))
}

// addFlags declares the flags of commands that do not compile.
func (o *engineOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.system, "system", false, "the system's apps (default for root)")
	f.BoolVar(&o.user, "user", false, "the apps of your own systemd (default for others)")
	o.addEngineFlag(cmd)
}

// openEngine connects to the engine that o asks for. The caller closes it.
func (c *caller) openEngine(ctx context.Context, o *engineOptions) (engine.Engine, error) {
	if o.system && o.user {
		return nil, usage("choose one", "--system and --user exclude each other")
	}
	switch o.engine {
	case "", "auto", "systemd":
	case "native":
		return nil, &failure{statusUnreachable, "no-engine", "this gm has no supervisor of its own yet", "use --engine systemd"}
	default:
		return nil, usage("write auto, systemd or native", "--engine %s: there is no such engine", o.engine)
	}
	e, err := systemd.Open(ctx, systemd.Options{
		User:       o.user || !o.system && os.Geteuid() != 0,
		RuntimeDir: c.getenv("XDG_RUNTIME_DIR"),
		ConfigHome: c.getenv("XDG_CONFIG_HOME"),
		Home:       c.getenv("HOME"),
	})
	if err != nil {
		return nil, engineFailure(err)
	}
	return e, nil
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
