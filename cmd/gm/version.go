package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"

	"gm/cmd/gm/first"
)

func newVersionCmd(c *caller) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of gm",
		Args:  arguments(0, 0),
		RunE:  func(*cobra.Command, []string) error { return c.write([]byte(first.Line(version()))) },
	}
}

// version is what the linker was told, else what `go install` recorded.
func version() string {
	if first.Version != "" {
		return first.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
