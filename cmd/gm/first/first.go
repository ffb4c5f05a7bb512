// Package first answers `gm version`, and makes a process of a supervisor into
// the program of a unit, before the rest of gm is initialised.
//
// The packages that evaluate JavaScript, read YAML and load BPF programs take
// longer to initialise than an empty Go program takes to run, and a program
// cannot link them without paying that at every start. Go initialises packages
// in the order of their import paths, each as soon as its own imports are ready
// (Go spec, Program initialization). This one imports next to nothing, so it
// comes before those; keep it that way. TestVersionStartsFast watches it.
package first

import (
	"os"
	"runtime"

	"gm/engine/native/shim"
)

// Version is set by the linker: -ldflags "-X gm/cmd/gm/first.Version=1.2.3".
// Without it the answer takes the ordinary way, through the command.
var Version string

func init() {
	if len(os.Args) == 3 && os.Args[1] == shim.Argument {
		os.Exit(shim.Run(os.Args[2]))
	}
	if Version == "" || len(os.Args) != 2 || os.Args[1] != "version" && os.Args[1] != "--version" {
		return
	}
	if _, err := os.Stdout.WriteString(Line(Version)); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// Line is what gm says of its version.
func Line(version string) string {
	return "gm " + version + " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n"
}
