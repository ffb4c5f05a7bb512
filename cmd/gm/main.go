// Command gm compiles PM2 declarations to systemd units.
//
// It is the only package that prints, exits and looks at flags, terminal and
// environment; each command is one file of its own: an options struct, the
// flags that fill it, and a function that does the work. run.go lists them.
package main

import (
	"fmt"
	"os"
)

func main() {
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "gm: error: cannot tell the working directory: %v\n", err)
		os.Exit(statusFailed)
	}
	os.Exit(run(&caller{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		environ: os.Environ(), dir: dir,
	}, os.Args[1:]))
}
