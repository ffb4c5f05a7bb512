package main

import (
	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
)

func newResetCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "reset NAME…",
		Short: "Forget that apps failed, and how often they were restarted",
		Long: `Reset clears the failed state of apps, the count of their restarts, and the
count that keeps one which crashes again and again from being started. It
restarts nothing.` + selectorHelp,
		Example: "  gm reset worker\n  gm reset all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("name an app, or all", "%s needs an app", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.reset(o, args) },
	}
	o.addFlags(cmd)
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func (c *caller) reset(o *engineOptions, selectors []string) error {
	ctx, stop := untilSignal()
	defer stop()
	return c.withSelected(ctx, o, lockOptions{}, (*gm.Conn).Observe, selecting(selectors...), func(conn *gm.Conn, _ *engine.State, selected []engine.Selection) error {
		return c.eachUnit(selected, func(unit string) (bool, error) {
			return true, conn.Engine().ResetFailed(ctx, unit)
		}, "reset", "")
	})
}
