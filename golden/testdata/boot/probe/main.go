// Command probe is an app that notes what it was started with: it writes its
// environment and its command line, as the kernel has them, to the files whose
// common name is its first argument, and ends.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := note(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func note() error {
	if len(os.Args) < 2 {
		return fmt.Errorf("usage: probe FILE [ARGUMENT...]")
	}
	for _, part := range []string{"environ", "cmdline"} {
		raw, err := os.ReadFile("/proc/self/" + part)
		if err != nil {
			return err
		}
		// Renamed when complete: the test reads what it finds.
		name := os.Args[1] + "." + os.Getenv("NODE_APP_INSTANCE") + "." + part
		if err := os.WriteFile(name+".new", raw, 0o644); err != nil {
			return err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return err
		}
	}
	return nil
}
