package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gm/cmd/gm/first"
)

// commands makes gm's commands, in the order of `gm help`. A new command is a
// file with its constructor, and a line here.
var commands = []func(*caller) *cobra.Command{
	newGenCmd,
	newCheckCmd,
	newPlanCmd,
	newInstallCmd,
	newUninstallCmd,
	newRunCmd,
	newVerbCmd("start"),
	newVerbCmd("stop"),
	newVerbCmd("restart"),
	newVerbCmd("reload"),
	newVerbCmd("delete"),
	newScaleCmd,
	newSignalCmd,
	newResetCmd,
	newListCmd,
	newJlistCmd,
	newDescribeCmd,
	newEnvCmd,
	newPidCmd,
	newLogsCmd,
	newFlushCmd,
	newDoctorCmd,
	newSuperviseCmd,
	newKillCmd,
	newPingCmd,
	newStartupCmd,
	newUnstartupCmd,
	newExplainCmd,
	newSchemaCmd,
	newHostCmd,
	newCompletionCmd,
	newVersionCmd,
	newNotifyCmd,
	newSharePortCmd,
	newWatchCmd,
}

// run executes gm and returns its exit status.
func run(c *caller, args []string) int {
	root := newRootCmd(c)
	root.SetArgs(spelled(args))
	return c.report(root.Execute())
}

func newRootCmd(c *caller) *cobra.Command {
	root := &cobra.Command{
		Use:   "gm",
		Short: "Run the apps of PM2 declarations as systemd units",
		Long: `gm compiles PM2 declarations (processes.json, ecosystem.config.js, YAML) to
systemd units, installs them and drives them: by systemd, or, where that does not
run the machine, by a supervisor of its own. As root it works on the system's
apps, as anyone else on that user's own: --system and --user choose.

Exit status: 0 done; 1 failed, or --check or --exit-code found a difference; 2
wrong usage or an invalid declaration; 3 no such app or project; 4 the engine
cannot be reached, or the caller may not.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true, // report prints one line and a hint
		SilenceErrors: true,
	}
	root.Version = version()
	root.SetVersionTemplate(first.Line(root.Version))
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// Of a command that does not exist the flags are not known either.
		if name := cmd.Flags().Arg(0); cmd == root && name != "" {
			return unknownCommand(root, name)
		}
		return usage(seeHelp(cmd), "%v", err)
	})
	root.SuggestionsMinimumDistance = 2
	root.SetHelpCommand(newHelpCmd())
	for _, command := range commands {
		root.AddCommand(command(c))
	}
	return root
}

// insteadOf says what takes the place of those of PM2's commands that gm lacks.
var insteadOf = map[string]string{
	"save":       "not needed: what gm installs starts at boot, until gm stop (without systemd, after gm startup)",
	"dump":       "not needed: what gm installs starts at boot, until gm stop (without systemd, after gm startup)",
	"resurrect":  "not needed: what gm installs starts at boot (without systemd, after gm startup); gm start all starts what was stopped",
	"cleardump":  "not needed: there is no dump; gm uninstall takes everything away",
	"update":     "under systemd not needed; gm supervise --replace puts a new gm in the place of a supervisor of its own",
	"reloadLogs": "no log file is opened again: give logrotate copytruncate, or without systemd declare systemd.log_max_size",
	"monit":      "gm list --watch",
	"prettylist": "gm list --json",
	"id":         "apps have names and no numbers; gm list shows them",
	"init":       "write processes.json: [{\"name\": \"app\", \"script\": \"app.js\"}]; gm schema helps an editor",
	"ecosystem":  "write processes.json: [{\"name\": \"app\", \"script\": \"app.js\"}]; gm schema helps an editor",
}

func unknownCommand(root *cobra.Command, name string) error {
	remedy := "gm help lists the commands"
	if instead, known := insteadOf[name]; known {
		remedy = instead
	} else if near := root.SuggestionsFor(name); len(near) > 0 {
		remedy = "did you mean gm " + strings.Join(near, ", gm ") + "?"
	}
	return usage(remedy, "there is no command %q", name)
}

// newHelpCmd is cobra's, but for the exit status of an unknown command.
func newHelpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command and its flags",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 && about == cmd.Root() {
				return unknownCommand(cmd.Root(), args[0])
			}
			about.InitDefaultHelpFlag() // so that its list of flags has --help
			return about.Help()
		},
	}
}

// arguments limits how many arguments a command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(seeHelp(cmd), "%s needs %s", cmd.CommandPath(), strings.TrimPrefix(cmd.Use, cmd.Name()+" "))
		case len(args) > most && most == 0:
			return usage(seeHelp(cmd), "%s takes no argument, and %q is one", cmd.CommandPath(), args[0])
		case len(args) > most:
			return usage(seeHelp(cmd), "%s takes one argument, and %q is too many", cmd.CommandPath(), args[most])
		}
		return nil
	}
}

func seeHelp(cmd *cobra.Command) string { return fmt.Sprintf("see %s --help", cmd.CommandPath()) }
