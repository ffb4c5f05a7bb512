package main

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
)

func newCompletionCmd(c *caller) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print a script that completes gm's commands and flags in a shell",
		Long: `Completion prints a script for a shell. Load it in each session, or save it
where the shell looks:

  bash        source <(gm completion bash)
              gm completion bash > /etc/bash_completion.d/gm
  zsh         gm completion zsh > "${fpath[1]}/_gm"
  fish        gm completion fish > ~/.config/fish/completions/gm.fish
  powershell  gm completion powershell | Out-String | Invoke-Expression`,
		Args:      arguments(1, 1),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return c.outError(root.GenBashCompletionV2(c.out, true))
			case "zsh":
				return c.outError(root.GenZshCompletion(c.out))
			case "fish":
				return c.outError(root.GenFishCompletion(c.out, true))
			case "powershell":
				return c.outError(root.GenPowerShellCompletionWithDesc(c.out))
			}
			return usage("choose one of "+strings.Join(shells, ", "), "there is no completion for %q", args[0])
		},
	}
}

// envKey finds the environments of a declaration without evaluating it: a shell
// waits for the answer, and a text that is wrong has environments too.
var envKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\benv_([A-Za-z0-9_-]+)`) })

// completeInput completes the arguments that compiling commands share.
func (c *caller) completeInput(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	must(cmd.RegisterFlagCompletionFunc("env", func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		d, err := c.declaration(args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, match := range envKey().FindAllSubmatch(d.Source.Text, -1) {
			names = append(names, string(match[1]))
		}
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}))
}
