package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/engine/native"
)

// newKillCmd is PM2's kill.
func newKillCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "kill",
		Short: "End gm's own supervisor, with everything that it runs",
		Long: `Kill stops all apps in order and ends gm's own supervisor. What is installed stays:
gm start starts apps, and the supervisor, again. One that the machine starts at
boot (gm startup) starts all that was not stopped by gm stop.

Where systemd runs the apps there is nothing to end; gm stop all stops them.`,
		Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error { return c.kill(o) },
	}
	o.addFlags(cmd)
	return cmd
}

func (c *caller) kill(o *engineOptions) error {
	name, err := c.engineName(o.engine)
	if err != nil {
		return err
	}
	if name == engineSystemd {
		return usage("gm stop all", "there is no daemon to end: systemd runs the apps")
	}
	userScope, err := o.scope()
	if err != nil {
		return err
	}
	if err := mayChange(userScope); err != nil {
		return err
	}
	conn, err := c.connect(context.Background(), o, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	e, ok := conn.Engine().(*native.Client)
	if !ok {
		return usage("gm stop all", "there is no daemon to end")
	}
	ctx, stop := untilSignal()
	defer stop()
	info, none := e.Info(ctx)
	// Also where there is none: one that was killed may have left its apps.
	if err := e.End(ctx); err != nil {
		return engineFailure(err)
	}
	if none != nil {
		return c.write([]byte("No supervisor runs, nor any app of its.\n"))
	}
	return c.write(fmt.Appendf(nil, "The supervisor (pid %d) has ended, and all that it ran.\n", info.PID))
}

// newPingCmd is PM2's ping.
func newPingCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "ping",
		Short: "Tell whether what runs the apps answers",
		Long: `Ping asks gm's own supervisor, or systemd where that runs the apps, for an answer.
It starts nothing. Exit status 4: there is none.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.ping(cmd, o) },
	}
	o.addFlags(cmd)
	return cmd
}

func (c *caller) ping(cmd *cobra.Command, o *engineOptions) error {
	userScope, err := o.scope()
	if err != nil {
		return err
	}
	name, err := c.engineName(o.engine)
	if err != nil {
		return err
	}
	if name == engineSystemd {
		conn, err := c.connect(cmd.Context(), o, lockOptions{})
		if err != nil {
			return err
		}
		defer conn.Close()
		return c.write(fmt.Appendf(nil, "pong: systemd %d\n", conn.Engine().Version()))
	}
	home, err := c.home(userScope)
	if err != nil {
		return err
	}
	e := native.Open(native.ClientOptions{Home: home, User: userScope})
	defer e.Close()
	info, err := e.Info(cmd.Context())
	switch {
	case errors.Is(err, engine.ErrUnreachable):
		return &failure{statusUnreachable, "unreachable", fmt.Sprintf("no supervisor answers in %s", home),
			"gm start starts one with the apps; gm startup has it start at boot"}
	case err != nil:
		return engineFailure(err)
	}
	return c.write(fmt.Appendf(nil, "pong: gm %s, pid %d, %s, %s\n", info.Version, info.PID, home, runningUnits(info.Units)))
}
