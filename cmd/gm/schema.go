package main

import (
	"github.com/spf13/cobra"

	"gm/translate"
)

func newSchemaCmd(c *caller) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of declarations, for editors",
		Long: `Schema prints a JSON Schema (draft 2020-12) of declarations. Editors complete
and check with it: save it beside the declaration and name it in the editor's
settings (VS Code: json.schemas).`,
		Example: "  gm schema > processes.schema.json",
		Args:    arguments(0, 0),
		RunE:    func(*cobra.Command, []string) error { return c.write(translate.Schema()) },
	}
}
