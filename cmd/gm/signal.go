package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gm"
	"gm/engine"
)

func newSignalCmd(c *caller) *cobra.Command {
	o := &engineOptions{}
	all := false
	cmd := &cobra.Command{
		Use:     "signal SIGNAL NAME…",
		Aliases: []string{"sendSignal"},
		Short:   "Send a signal to apps",
		Long: `Signal sends a signal to the main process of each instance of an app, or to all
its processes. SIGNAL is a name, with SIG or without, or a number. What counts is
what becomes of the process: one that ends is started again as after a crash; gm
stop and gm restart are the way to end it.` + selectorHelp,
		Example: "  gm signal USR2 web-api\n  gm signal SIGHUP all --all-processes",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(seeHelp(cmd), "%s needs a signal and an app", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.signal(o, args[0], args[1:], all) },
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&all, "all-processes", false, "not only to the main process of each instance")
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// signalNumber reads "HUP", "SIGHUP", "sighup" or "1".
func signalNumber(text string) (int, bool) {
	if n, err := strconv.Atoi(text); err == nil {
		return n, n >= 1 && n <= 64
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	n := unix.SignalNum(name)
	return int(n), n != 0
}

func (c *caller) signal(o *engineOptions, name string, selectors []string, all bool) error {
	number, ok := signalNumber(name)
	if !ok {
		return usage("write a name such as HUP or USR2, or a number", "there is no signal %s", name)
	}
	ctx, stop := untilSignal()
	defer stop()
	return c.withSelected(ctx, o, lockOptions{}, (*gm.Conn).Observe, selecting(selectors...), func(conn *gm.Conn, have *engine.State, selected []engine.Selection) error {
		return c.eachUnit(selected, func(unit string) (bool, error) {
			if !have.Units[unit].Running() {
				return false, nil
			}
			return true, conn.Engine().Kill(ctx, unit, number, all)
		}, "got "+signalName(number), "does not run")
	})
}

// eachUnit does something with every chosen unit and prints a line for each app:
// done, and of how many instances, or none when do did it with no one.
func (c *caller) eachUnit(selected []engine.Selection, do func(unit string) (bool, error), done, none string) error {
	var out bytes.Buffer
	var failed []error
	for _, s := range selected {
		n, before := 0, len(failed)
		for _, unit := range s.Units {
			ok, err := do(unit)
			switch {
			case err != nil:
				failed = append(failed, err)
			case ok:
				n++
			}
		}
		switch {
		case n > 0:
			fmt.Fprintf(&out, "%s: %s%s\n", title(s), done, instances(n))
		case len(failed) == before:
			fmt.Fprintf(&out, "%s: %s\n", title(s), none)
			failed = append(failed, exit(statusFailed))
		}
	}
	if err := c.write(out.Bytes()); err != nil {
		return err
	}
	result := statusDone
	for _, err := range failed {
		if _, said := err.(exit); !said {
			err = engineFailure(err)
		}
		if status := c.report(err); result == statusDone {
			result = status
		}
	}
	if result != statusDone {
		return exit(result)
	}
	return nil
}

// signalName is "SIGKILL".
func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}
