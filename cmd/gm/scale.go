package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gm"
	"gm/engine"
)

// manageOptions is what the verbs take that know no declaration.
type manageOptions struct {
	engineOptions
	lockOptions
}

func newScaleCmd(c *caller) *cobra.Command {
	o := &manageOptions{}
	cmd := &cobra.Command{
		Use:   "scale NAME N|+N|-N",
		Short: "Change the number of an app's instances",
		Long: `Scale starts further instances of an app, or stops and removes the last ones; the
others run on. The app must have instances: exec_mode "cluster", or more than
one declared.

The declaration does not change: the next gm install goes back to its number.`,
		Example: "  gm scale web-api 4\n  gm scale web-api +2\n  gm scale web-api -1",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(seeHelp(cmd), "%s needs a name and a number", cmd.CommandPath())
			}
			if !isCount(args[1], "+-") {
				return usage("write as many as there are to be, or how many more (+2) or less (-1)", "%q is no number of instances", args[1])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.scale(o, args[0], args[1]) },
	}
	o.addFlags(cmd)
	o.addFlag(cmd)
	o.who = "gm scale"
	c.completeApps(cmd, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}

// isCount reports whether text is a number, with one of these signs or, where
// there are two, none.
func isCount(text, signs string) bool {
	digits := strings.TrimLeft(text, signs)
	_, err := strconv.ParseUint(digits, 10, 31)
	return err == nil && len(text)-len(digits) <= 1 && (len(signs) > 1 || digits != text)
}

func (c *caller) scale(o *manageOptions, name, count string) error {
	ctx, stop := untilSignal()
	defer stop()
	return c.withSelected(ctx, &o.engineOptions, o.lockOptions, (*gm.Conn).Observe, selecting(name), func(conn *gm.Conn, _ *engine.State, selected []engine.Selection) error {
		if len(selected) != 1 || !selected[0].Whole {
			return usage("name one app", "%s is not one app as a whole", name)
		}
		var app engine.App
		number, _ := strconv.Atoi(count) // isCount has looked at it
		return c.carryOut(ctx, conn, gm.Change{
			Project: selected[0].App.Project, Selected: selected, Starts: true,
			Plan: func(have *engine.State, selected []engine.Selection) (*engine.Plan, error) {
				app = selected[0].App
				if count[0] == '+' || count[0] == '-' {
					number += len(app.Instances)
				}
				if number < 1 {
					return nil, usage(fmt.Sprintf("gm stop %s keeps it, gm delete %s removes it", name, name),
						"%s has %s; at least one must stay", app.Name, counted(len(app.Instances), "instance"))
				}
				if number > maxInstances {
					return nil, usage("", "%s would have %d instances; at most %d can be", app.Name, number, maxInstances)
				}
				p, err := conn.PlanScale(have, app, number)
				if err != nil {
					return nil, err
				}
				return p, c.sayIdle(p, selected, "has "+counted(number, "instance")+" already")
			},
		}, func(a *engine.AppPlan) string {
			if a.Empty() {
				return ""
			}
			return fmt.Sprintf("%s: scaled from %d to %d instances", a.App, len(app.Instances), number)
		})
	})
}

// maxInstances bounds a slip of the finger.
const maxInstances = 1000
