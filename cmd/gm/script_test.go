package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gm/engine/native"
)

var update = flag.Bool("update", false, "rewrite the expected outputs of scripts and docs")

// noExitPause is $GORACE for a gm built with -race, which sleeps a second
// before it exits otherwise.
const noExitPause = "atexit_sleep_ms=0"

// TestMain makes the test binary gm itself when it is called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gm": main})
}

// TestScripts runs gm as a shell would: testdata/script/AREA_WHAT.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			bin, err := exec.LookPath("gm") // testscript.Main put it on the PATH
			if err != nil {
				return err
			}
			env.Setenv("GMBIN", filepath.Dir(bin))
			env.Setenv("GORACE", noExitPause)
			home := filepath.Join(env.WorkDir, "gm")
			env.Setenv("GM_HOME", home) // also for root
			env.Defer(func() { endSupervisor(home) })
			env.Setenv("LC_ALL", "C") // the order of *
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755)
		},
		Condition: func(cond string) (bool, error) {
			name, ok := strings.CutPrefix(cond, "has:")
			if !ok {
				return false, errors.New("unknown condition " + cond)
			}
			_, err := exec.LookPath(name)
			return err == nil, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": runWithStatus,
			"mtime":  keepTime,
			"mode":   checkMode,
			"fill":   fill,
		},
	})
}

// endSupervisor ends what a script that failed has left.
func endSupervisor(home string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e := native.Open(native.ClientOptions{Home: native.Home(home)})
	defer e.Close()
	_ = e.End(ctx) // it is gone, mostly
}

// runWithStatus is "status N COMMAND…": COMMAND must exit with N.
func runWithStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exited with status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// keepTime is "mtime FILE": the first call of a script notes the file's
// identity and time, a later one demands that both are the same.
func keepTime(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mtime FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	key := "MTIME_" + args[0]
	now := info.ModTime().String()
	if before := ts.Getenv(key); before != "" && before != now {
		ts.Fatalf("%s was written: %s, and before %s", args[0], now, before)
	}
	ts.Setenv(key, now)
}

// checkMode is "mode PERM FILE…".
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode PERM FILE...")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// fill is "fill FILE MB TEXT": a file of that size made of TEXT; "sparse" for
// TEXT makes one without content.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill FILE MB TEXT")
	}
	megabytes, err := strconv.Atoi(args[1])
	ts.Check(err)
	name, size := ts.MkAbs(args[0]), megabytes<<20
	if args[2] == "sparse" {
		ts.Check(os.WriteFile(name, nil, 0o644))
		ts.Check(os.Truncate(name, int64(size)))
		return
	}
	text := strings.Repeat(args[2], size/len(args[2]))
	ts.Check(os.WriteFile(name, []byte(text), 0o644))
}
