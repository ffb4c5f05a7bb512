package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newPidCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	cmd := &cobra.Command{
		Use:   "pid [NAME…]",
		Short: "Print the process IDs of apps",
		Long: `Pid prints the ID of the main process of each instance, one a line, in the order
of names: of the apps that are named, or of all. Of an instance that does not
run it prints nothing, where PM2 prints 0.`,
		Example: "  gm pid web\n  kill -USR2 $(gm pid web@0)",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.pid(cmd.Context(), o, args) },
	}
	o.addFlags(cmd)
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

func (c *caller) pid(ctx context.Context, o *engineOptions, selectors []string) error {
	conn, err := c.connect(ctx, o, lockOptions{})
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := c.outline(ctx, conn, selectors)
	if err != nil {
		return err
	}
	var out strings.Builder
	for i := range l.processes {
		if pid := l.processes[i].State.MainPID; pid > 0 {
			fmt.Fprintln(&out, pid)
		}
	}
	return c.write([]byte(out.String()))
}
