package gm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gm"
	"gm/engine/native"
)

// TestMain gives the tests and examples a machine: with GM_ENGINE=systemd the one that they
// run on, and else a supervisor with a home of its own, which is this very program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "supervise" {
		if err := supervise(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gm-api-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if os.Getenv("GM_ENGINE") == "" {
		os.Setenv("GM_ENGINE", "native")
	}
	os.Setenv("GM_HOME", filepath.Join(dir, "home"))
	self, err := os.Executable()
	for _, step := range []func() error{
		func() error { return err },
		func() error { return os.MkdirAll(filepath.Join(dir, "bin"), 0o755) },
		func() error { return os.Symlink(self, filepath.Join(dir, "bin/gm")) },
		func() error { return os.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH")) },
		func() error { return os.Mkdir(filepath.Join(dir, "shop"), 0o755) },
		func() error { return os.WriteFile(filepath.Join(dir, "shop/processes.json"), []byte(shop), 0o644) },
	} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// A package is tested in its own directory; its declarations are elsewhere.
	here, err := os.Getwd()
	if err == nil {
		sources = here
		err = os.Chdir(filepath.Join(dir, "shop"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer endSupervisor()
	return m.Run()
}

// sources is the directory of the package.
var sources string

// shop is what the examples find in their directory.
const shop = `{"apps": [
  {"name": "web", "script": "/bin/sleep", "args": "infinity", "instances": 2, "min_uptime": 100},
  {"name": "worker", "script": "/bin/sleep", "args": "infinity", "min_uptime": 100}
]}`

// endSupervisor ends the supervisor, if there is one.
func endSupervisor() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c := native.Open(native.ClientOptions{Home: native.Home(os.Getenv("GM_HOME")), User: gm.ScopeAuto.IsUser()})
	defer c.Close()
	if err := c.End(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// supervise is gm supervise, as far as a Conn needs it.
func supervise(args []string) error {
	ready := -1
	for _, arg := range args {
		if text, ok := strings.CutPrefix(arg, "--ready-fd="); ok {
			var err error
			if ready, err = strconv.Atoi(text); err != nil {
				return err
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := native.Run(ctx, native.Options{
		Home: native.Home(os.Getenv("GM_HOME")), User: slices.Contains(args, "--user"), Environ: []string{"PATH=/usr/bin:/bin"},
		Program: os.Args[0], Boot: true, Version: "test", Ready: func() { native.Ready(ready) },
	})
	if errors.Is(err, native.ErrRunning) {
		return nil
	}
	return err
}
