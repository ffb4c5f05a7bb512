package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gm/translate"
)

func newExplainCmd(c *caller) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Say what a key of a declaration becomes, and why",
		Long: `Explain prints what a key of a declaration means: its type and default, what
it becomes in the units, an example, and where gm and PM2 part. Without KEY it
lists all keys.`,
		Example: "  gm explain restart_delay",
		Args:    arguments(0, 1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeKeys(toComplete), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return c.explain(args) },
	}
}

func (c *caller) explain(args []string) error {
	if len(args) == 0 {
		return c.write([]byte(translate.ExplainAll()))
	}
	text, ok := translate.Explain(args[0])
	if !ok {
		remedy := "gm explain lists the keys"
		if near := translate.Suggest(args[0]); near != "" {
			remedy = fmt.Sprintf("did you mean %q? gm explain lists all keys", near)
		}
		return &failure{statusInvalid, "unknown-key", fmt.Sprintf("there is no key %q in a declaration", args[0]), remedy}
	}
	return c.write([]byte(text))
}

// completeKeys lists the keys that start with text, with what they mean.
func completeKeys(text string) []string {
	var out []string
	for _, f := range translate.Fields() {
		if name := strings.TrimSuffix(f.Name, "*"); strings.HasPrefix(name, text) {
			meaning, _, _ := strings.Cut(f.Doc, ". ")
			out = append(out, cobra.CompletionWithDesc(name, meaning))
		}
	}
	return out
}
