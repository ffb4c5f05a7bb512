// Package enginetest holds what gm must do on every engine, as scenarios: a
// project's declaration is written, gm is run as a person runs it, and what runs
// afterwards is looked at.
//
// A scenario knows no engine. Where engines must differ, the Scenario says so.
package enginetest

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strings"
	"testing"
	"time"

	"gm/engine"
)

// Machine is a place where gm is installed and runs apps on one engine.
type Machine interface {
	// Engine is "systemd" or "native".
	Engine() string
	// Run runs a command in a directory of the machine, as the machine's person: root,
	// or an ordinary user.
	Run(ctx context.Context, dir string, argv ...string) Output
	// Projects is the directory that projects are made in: as the machine sees it and
	// as the test does.
	Projects() (inside, outside string)
	// Dirs is where the engine's files are, as the machine sees it.
	Dirs() engine.Dirs
	// Reread has the engine read unit files that someone changed by hand.
	Reread(ctx context.Context) error
	// Reboot ends everything and starts the machine again.
	Reboot(t testing.TB)
	// For returns the machine for a subtest.
	For(t testing.TB) Machine
}

// Output is what a command gave.
type Output struct {
	Stdout, Stderr string
	Code           int
}

func (o Output) String() string {
	return fmt.Sprintf("exit status %d\nstdout:\n%sstderr:\n%s", o.Code, o.Stdout, o.Stderr)
}

// Scenario is one thing that holds on every engine.
type Scenario struct {
	// Name says it in a few words; its test is called so.
	Name string
	Run  func(*Project)
	// Systemd says why it is only for systemd; "" is for every engine.
	Systemd string
	// Alone is for scenarios that stop or change the whole machine: they run after
	// the others, one at a time.
	Alone bool
}

// deadline is for one thing that a scenario waits for. It is no measure of speed: many
// scenarios share the machine.
const deadline = 60 * time.Second

// Run runs every scenario on a machine, several at a time.
func Run(t *testing.T, m Machine) {
	t.Run("group", func(t *testing.T) {
		gate := make(chan bool, together(m))
		for i, s := range scenarios {
			if s.Alone || s.Systemd != "" && m.Engine() != "systemd" {
				continue
			}
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				gate <- true
				defer func() { <-gate }()
				s.Run(newProject(t, m, i))
			})
		}
	})
	for i, s := range scenarios {
		if s.Alone && (s.Systemd == "" || m.Engine() == "systemd") {
			t.Run(s.Name, func(t *testing.T) { s.Run(newProject(t, m, i)) })
		}
	}
}

// most is how many scenarios run at once at most: they mostly wait.
const most = 6

// together is how many run at once on a machine. A systemd of its own takes its time, too.
func together(m Machine) int {
	if m.Engine() == "systemd" {
		return min(most, runtime.GOMAXPROCS(0))
	}
	return most
}

// names that many scenarios use.
const declarationName = "processes.json"

// join is a path inside the machine.
func join(elem ...string) string { return path.Join(elem...) }

// lines splits text into its lines, without an empty last one.
func lines(text string) []string {
	text = strings.TrimSuffix(text, "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
