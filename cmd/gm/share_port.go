package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newSharePortCmd is what the services of cluster mode call before they start
// (ExecStartPre=+gm share-port %i).
func newSharePortCmd(c *caller) *cobra.Command {
	return &cobra.Command{
		Use:   "share-port INSTANCE",
		Short: "Let the calling service's processes share their ports (called by units)",
		Long: `share-port is called by the units of cluster mode, as root, before an instance
starts. It attaches a BPF program to the service's own cgroup that sets
SO_REUSEPORT on every socket before it is bound, so that all instances of an
app can listen on one port, whatever language they are written in. Nothing
outside that cgroup changes.

Where the kernel refuses, instance 0 starts all the same, as it shares with
nobody; the others do not, and the journal says why.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.Trim(args[0], "0123456789") != "" || args[0] == "" {
				return usage("units call it with %i", "share-port %q: the number of an instance expected", args[0])
			}
			err := sharePort()
			if err == nil {
				return nil
			}
			cause := fmt.Sprintf("instance %s cannot share its port: %v", args[0], err)
			if args[0] == "0" {
				fmt.Fprintf(c.err, "gm: %s; it starts alone\n", cause)
				return nil
			}
			return &failure{statusFailed, "no-port-sharing", cause,
				`declare the port, "systemd": {"listen": [3000]}, or run one instance`}
		},
	}
}
