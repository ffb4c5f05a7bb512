//go:build linux

// Command bench measures gm's supervisor beside PM2, supervisord, runit and s6: all in
// one run, the same work, in turn, on the same machine.
//
//	go run ./bench [-apps 500] [-rounds 3] [-only gm,runit] [-gm PROGRAM]
//
// It needs root, and what it compares with: PM2 by npm below $GM_PM2 (or where make
// test puts it), the Debian packages supervisor, runit and s6. What is missing is left
// out, which is said.
//
// Each round of each supervisor is in a PID and mount namespace of its own, without
// cgroups. The apps are copies of sleep, which cost as little as a process can. When one
// is started the kernel tells (fanotify, FAN_OPEN_EXEC), so that nothing is polled while
// a time is taken. The table has the medians of all rounds, how many times gm's each is,
// and the smallest and the largest value.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	switch {
	case filepath.Base(os.Args[0]) == writerWord:
		writeLines(os.Args[1:])
	case len(os.Args) > 1 && os.Args[1] == initWord:
		os.Exit(beInit(os.Args[2:]))
	case len(os.Args) > 1 && os.Args[1] == bareWord:
		superviseBare(os.Args[2:])
	}
	apps := flag.Int("apps", 500, "how many apps, at least 300")
	rounds := flag.Int("rounds", 3, "how many rounds")
	only := flag.String("only", "", "names, with commas: take part")
	gm := flag.String("gm", "", "the gm to measure; without, it is built")
	round := flag.String("round", "", "for its own use: measure one supervisor in this directory")
	flag.Parse()
	var err error
	if *round != "" {
		err = runRound(*round, flag.Arg(0), *apps)
	} else {
		err = compare(*apps, *rounds, *only, *gm)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare runs all rounds and prints the table.
func compare(apps, rounds int, only, gm string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("it needs root, for namespaces and fanotify")
	}
	if apps < 3*group {
		return fmt.Errorf("-apps %d: it takes at least %d", apps, 3*group)
	}
	dir, err := os.MkdirTemp("", "gm-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if gm == "" {
		gm = filepath.Join(dir, "gm")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-buildvcs=false", "-o", gm, "./cmd/gm")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build gm (run it in the repository, or give -gm): %w\n%s", err, out)
		}
	}
	if gm, err = filepath.Abs(gm); err != nil {
		return err
	}
	os.Setenv("GM_BENCH_GM", gm)

	var names []string
	for _, c := range contestants {
		if only != "" && !slices.Contains(strings.Split(only, ","), c.name) {
			continue
		}
		version, err := c.version()
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: without %s: %v\n", c.name, err)
			continue
		}
		names = append(names, c.name)
		fmt.Fprintf(os.Stderr, "bench: %s %s\n", c.name, version)
	}
	results := results{}
	for r := range rounds {
		for _, name := range names {
			fmt.Fprintf(os.Stderr, "bench: round %d of %d: %s\n", r+1, rounds, name)
			one, err := inNamespace(filepath.Join(dir, fmt.Sprint(name, r)), name, apps)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			results.add(name, one)
		}
	}
	fmt.Printf("%d apps, %d rounds, %d CPUs, %s: medians, how many times gm's they are, and (smallest–largest).\n\n",
		apps, rounds, runtime.NumCPU(), kernel())
	fmt.Print(results.table(names))
	return nil
}

const initWord = "init"

// inNamespace measures one round in namespaces of its own, which end whatever it left.
func inNamespace(dir, name string, apps int) (measured, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", initWord, "/proc/self/exe", "-apps", fmt.Sprint(apps), "-round", dir, name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	runtime.LockOSThread() // the death signal comes when the thread that forked ends
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	one := measured{}
	return one, json.Unmarshal(out, &one)
}

// beInit is PID 1: it makes the mounts, runs a command and reaps whatever is left to it.
func beInit(argv []string) int {
	for _, mount := range [][]string{
		{"mount", "--make-rprivate", "/"},
		{"mount", "-t", "proc", "proc", "/proc"},
		{"sh", "-c", "! mountpoint -q /sys/fs/cgroup || umount -R -l /sys/fs/cgroup"},
		{"mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"},
	} {
		if out, err := exec.Command(mount[0], mount[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v: %v: %s\n", mount, err, out)
			return 1
		}
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		if ended, err := syscall.Wait4(-1, &status, 0, nil); err == nil && ended == pid {
			return status.ExitStatus()
		}
	}
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(text))
}
