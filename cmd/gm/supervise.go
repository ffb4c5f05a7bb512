package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/engine/native"
)

type superviseOptions struct {
	engineOptions // without --engine
	replace       bool
	wait          bool
	readyFD       int // -1: nobody waits
}

func newSuperviseCmd(c *caller) *cobra.Command {
	o := &superviseOptions{}
	cmd := &cobra.Command{
		Use:   "supervise",
		Short: "Run gm's own supervisor, for machines without systemd",
		Long: `Supervise starts the apps that are installed and keeps them running, until a
SIGTERM or a SIGINT: then they are stopped in order. It stays in the foreground,
for an init system to start it (gm startup). Nobody else needs to: without it, gm
starts one in the background when an app is to be started.

When it is killed the apps go on, and the next supervisor takes them over. SIGHUP
has it read the units again, which gm does itself after every change.

--replace has the supervisor that runs execute this gm in its place, after an
update: no app notices. Nothing is done if none runs.`,
		Example: "  gm supervise\n  gm supervise --replace",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.replace && o.wait {
				return usage("choose one", "--replace and --wait exclude each other")
			}
			return c.supervise(o)
		},
	}
	o.addScopeFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.replace, "replace", false, "have the supervisor that runs execute this gm in its place")
	f.BoolVar(&o.wait, "wait", false, "if one runs already, wait until it has ended")
	f.IntVar(&o.readyFD, "ready-fd", -1, "tell on this `descriptor` when it is ready")
	must(f.MarkHidden("ready-fd"))
	return cmd
}

func (c *caller) supervise(o *superviseOptions) error {
	userScope, err := o.scope()
	if err != nil {
		return err
	}
	if err := mayChange(userScope); err != nil {
		return err
	}
	home, err := c.home(userScope)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if o.replace {
		return c.replaceSupervisor(ctx, home, userScope)
	}
	if err := c.clearForeground(ctx, home, userScope); err != nil {
		return err
	}
	options := c.supervisorOptions(home, userScope)
	options.Boot = true
	options.Warn = func(text string) { c.journal("%s", text) }
	options.Again = func(program string) error {
		return syscall.Exec(program, native.SuperviseCommand(program, userScope), c.supervisorEnviron())
	}
	options.Ready = func() {
		c.journal("supervises %s", home)
		native.Ready(o.readyFD)
	}
	stopReloads := c.reloadOnHangup(home, userScope)
	defer stopReloads()
	for {
		err = native.Run(ctx, options)
		if !o.wait || !errors.Is(err, native.ErrRunning) {
			break
		}
		if err := c.untilGone(ctx, home, userScope); err != nil || ctx.Err() != nil {
			return err
		}
	}
	switch {
	case errors.Is(err, native.ErrRunning):
		return &failure{statusFailed, "running", fmt.Sprintf("%s has a supervisor already", home),
			"gm ping shows it; gm supervise --replace puts this gm in its place, and --wait waits for its end"}
	case err != nil:
		return &failure{statusFailed, "failed", err.Error(), ""}
	}
	c.journal("has ended")
	return nil
}

// supervisorOptions is what any supervisor of this caller's runs with.
func (c *caller) supervisorOptions(home native.Home, userScope bool) native.Options {
	debug.SetGCPercent(collectAt)
	return native.Options{
		Home: home, User: userScope, Quiet: settleDown, Environ: c.appEnviron(userScope), Program: lastingExecutable(), Version: version(),
		InProcess: inProcess(func() (engine.Engine, error) {
			return native.Open(native.ClientOptions{Home: home, User: userScope}), nil
		}),
	}
}

// journal writes a line about the supervisor itself, which in the background goes
// to its log.
func (c *caller) journal(text string, args ...any) {
	fmt.Fprintf(c.err, "%s gm %s, pid %d, %s\n", time.Now().Format(time.RFC3339), version(), os.Getpid(), fmt.Sprintf(text, args...))
}

// collectAt has the garbage collector run early: a supervisor makes little garbage, so
// that this costs next to no time.
const collectAt = 25

// reloadOnHangup has the supervisor of this process read its units at each SIGHUP.
func (c *caller) reloadOnHangup(home native.Home, userScope bool) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			e := native.Open(native.ClientOptions{Home: home, User: userScope})
			if err := e.Reload(context.Background()); err != nil {
				c.journal("cannot read the units again: %v", err)
			}
			e.Close()
		}
	}()
	return func() { signal.Stop(hangups); close(hangups) }
}

// untilGone waits for the end of the supervisor that runs.
func (c *caller) untilGone(ctx context.Context, home native.Home, userScope bool) error {
	c.journal("waits for the supervisor that %s has", home)
	e := native.Open(native.ClientOptions{Home: home, User: userScope})
	defer e.Close()
	changes, err := e.Watch(ctx, nil)
	if errors.Is(err, engine.ErrUnreachable) {
		// It has the home and does not answer yet, or not any more.
		select {
		case <-time.After(goingDown):
		case <-ctx.Done():
		}
		return nil
	}
	if err != nil {
		return engineFailure(err)
	}
	for range changes { // closed when it is gone
	}
	return nil
}

// replaceSupervisor puts this program in the place of the supervisor that runs.
func (c *caller) replaceSupervisor(ctx context.Context, home native.Home, userScope bool) error {
	e := native.Open(native.ClientOptions{Home: home, User: userScope})
	defer e.Close()
	before, err := e.Info(ctx)
	if errors.Is(err, engine.ErrUnreachable) {
		return c.write(fmt.Appendf(nil, "No supervisor runs in %s; the next one is this gm.\n", home))
	}
	if err == nil {
		err = e.Replace(ctx, ownExecutable())
	}
	if err != nil {
		return engineFailure(err)
	}
	after, err := e.Info(ctx)
	if err != nil {
		return engineFailure(err)
	}
	return c.write(fmt.Appendf(nil, "The supervisor (pid %d) was gm %s and is gm %s; %s.\n",
		after.PID, before.Version, after.Version, runningUnits(after.Units)))
}

// runningUnits is "3 units run".
func runningUnits(n int) string {
	if n == 1 {
		return "1 unit runs"
	}
	return strconv.Itoa(n) + " units run"
}
