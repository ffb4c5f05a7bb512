//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// app is one app of a round.
type app struct {
	name string
	argv []string
	// logs says that what it writes is to be kept.
	logs bool
}

// group is how many apps are killed or stopped at once. Their names begin with "g0-",
// "g1-", …
const group = 100

// contestant is a supervisor and how it is used by who knows it.
type contestant struct {
	name    string
	version func() (string, error)
	// prepare writes into dir what describes the apps, and does what is done once.
	prepare func(dir string, apps []app) error
	// start is what starts everything; it may stay in the foreground.
	start func(dir string) *exec.Cmd
	// stop stops the apps of a group, and list lists all; nil: it cannot.
	stop func(dir, group string) *exec.Cmd
	list func(dir string) *exec.Cmd
}

var contestants = []contestant{
	{"gm", output("gm version", gmProgram, "version"), prepareGm,
		func(dir string) *exec.Cmd { return gm(dir, "supervise") },
		func(dir, group string) *exec.Cmd { return gm(dir, "stop", "/^"+group+"/") },
		func(dir string) *exec.Cmd { return gm(dir, "list", "--json") }},
	{"PM2", output("pm2", func() string { return "node" }, pm2Program(), "--version"), preparePM2,
		func(dir string) *exec.Cmd { return pm2(dir, "start", filepath.Join(dir, "ecosystem.json")) },
		func(dir, group string) *exec.Cmd { return pm2(dir, "stop", "/^"+group+"/") },
		func(dir string) *exec.Cmd { return pm2(dir, "jlist") }},
	{"supervisord", output("supervisord", found("supervisord"), "--version"), prepareSupervisord,
		func(dir string) *exec.Cmd { return exec.Command("supervisord", "-c", dir+"/supervisord.conf") },
		func(dir, group string) *exec.Cmd {
			return exec.Command("supervisorctl", "-c", dir+"/supervisord.conf", "stop", group+":*")
		},
		func(dir string) *exec.Cmd {
			return exec.Command("supervisorctl", "-c", dir+"/supervisord.conf", "status")
		}},
	{"runit", debian("runit", "runsvdir"), prepareRunit,
		func(dir string) *exec.Cmd { return exec.Command("runsvdir", "-P", dir+"/sv") },
		func(dir, group string) *exec.Cmd { return shell(`exec sv stop "$0"/sv/"$1"-*`, dir, group) },
		func(dir string) *exec.Cmd { return shell(`exec sv status "$0"/sv/*`, dir) }},
	{"s6", debian("s6", "s6-svscan"), prepareS6,
		func(dir string) *exec.Cmd { return exec.Command("s6-svscan", "-c", "2000", dir+"/sv") },
		func(dir, group string) *exec.Cmd {
			return shell(`for d in "$0"/sv/"$1"-*; do s6-svc -d "$d"; done`, dir, group)
		},
		func(dir string) *exec.Cmd { return shell(`for d in "$0"/sv/*; do s6-svstat "$d"; done`, dir) }},
	{"bare", func() (string, error) { return "a loop of fork and wait in Go", nil }, prepareBare,
		func(dir string) *exec.Cmd { return exec.Command("/proc/self/exe", bareWord, dir+"/apps.json") },
		nil, nil},
}

func shell(script string, args ...string) *exec.Cmd {
	return exec.Command("sh", append([]string{"-c", script}, args...)...)
}

// found returns a program by its name on PATH.
func found(name string) func() string { return func() string { return name } }

// output is the version that a program prints, in its last line.
func output(what string, program func() string, args ...string) func() (string, error) {
	return func() (string, error) {
		cmd := exec.Command(program(), args...)
		cmd.Env = append(os.Environ(), "PM2_HOME="+os.TempDir())
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return lines[len(lines)-1], nil
	}
}

// debian is the version of a package that brings a program.
func debian(name, program string) func() (string, error) {
	return func() (string, error) {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w; apt-get install %s", err, name)
		}
		return output(name, found("dpkg-query"), "-W", "-f", "${Version}", name)()
	}
}

func gmProgram() string { return os.Getenv("GM_BENCH_GM") }

func gm(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(gmProgram(), append(args, "--engine", "native")...)
	if args[0] == "supervise" {
		cmd.Args = cmd.Args[:2]
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GM_HOME="+dir+"/home")
	return cmd
}

// pm2Apps is a declaration for PM2 and gm.
func pm2Apps(file string, apps []app) error {
	all := []map[string]any{}
	for _, a := range apps {
		one := map[string]any{"name": a.name, "script": a.argv[0], "args": a.argv[1:], "interpreter": "none", "restart_delay": 0}
		if !a.logs {
			one["out_file"], one["error_file"] = "/dev/null", "/dev/null"
		}
		all = append(all, one)
	}
	return writeJSON(file, all)
}

func writeJSON(file string, data any) error {
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// prepareGm installs everything, so that the supervisor finds it as after a boot.
func prepareGm(dir string, apps []app) error {
	file := filepath.Join(dir, "processes.json")
	if err := pm2Apps(file, apps); err != nil {
		return err
	}
	for _, cmd := range []*exec.Cmd{gm(dir, "install", file), gm(dir, "kill")} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
		}
	}
	return nil
}

func pm2Program() string {
	dir := os.Getenv("GM_PM2")
	if dir == "" {
		home, _ := os.UserHomeDir()
		dir = filepath.Join(home, ".cache/gm-test/npm")
	}
	return filepath.Join(dir, "node_modules/pm2/bin/pm2")
}

func pm2(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("node", append([]string{pm2Program()}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PM2_HOME="+dir+"/pm2", "PM2_DISABLE_VERSION_CHECK=true")
	return cmd
}

func preparePM2(dir string, apps []app) error {
	return pm2Apps(filepath.Join(dir, "ecosystem.json"), apps)
}

func prepareSupervisord(dir string, apps []app) error {
	var b strings.Builder
	fmt.Fprintf(&b, `[unix_http_server]
file=%[1]s/sock
[supervisord]
logfile=%[1]s/supervisord.log
pidfile=%[1]s/pid
childlogdir=%[1]s
minfds=8192
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%[1]s/sock
`, dir)
	groups := map[string][]string{}
	for _, a := range apps {
		log := "NONE"
		if a.logs {
			log = "AUTO"
		}
		fmt.Fprintf(&b, "[program:%s]\ncommand=%s\nautorestart=true\nstdout_logfile=%s\nstderr_logfile=%[3]s\n", a.name, strings.Join(a.argv, " "), log)
		name, _, _ := strings.Cut(a.name, "-")
		groups[name] = append(groups[name], a.name)
	}
	for name, members := range groups {
		fmt.Fprintf(&b, "[group:%s]\nprograms=%s\n", name, strings.Join(members, ","))
	}
	return os.WriteFile(dir+"/supervisord.conf", []byte(b.String()), 0o644)
}

// script writes an executable shell script.
func script(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755)
}

// prepareRunit and prepareS6 give an app a logger of its own only if it logs: with one
// for each, both have twice the processes.
func prepareRunit(dir string, apps []app) error {
	return prepareDirs(dir, apps, "exec svlogd .")
}

func prepareS6(dir string, apps []app) error {
	return prepareDirs(dir, apps, "exec s6-log n3 s1000000 .")
}

func prepareDirs(dir string, apps []app, logger string) error {
	var errs []error
	for _, a := range apps {
		service := filepath.Join(dir, "sv", a.name)
		errs = append(errs, script(service+"/run", "exec "+strings.Join(a.argv, " ")))
		if a.logs {
			errs = append(errs, script(service+"/log/run", logger))
		}
	}
	return errors.Join(errs...)
}

const bareWord = "bare"

func prepareBare(dir string, apps []app) error {
	var all [][]string
	for _, a := range apps {
		all = append(all, a.argv)
	}
	return writeJSON(dir+"/apps.json", all)
}

// superviseBare is the yardstick: it starts the apps of a file and starts again what
// ends, and does nothing else.
func superviseBare(args []string) {
	text, err := os.ReadFile(args[0])
	var apps [][]string
	if err == nil {
		err = json.Unmarshal(text, &apps)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGPIPE)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	running := map[int][]string{}
	start := func(argv []string) {
		fd := null.Fd()
		pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Files: []uintptr{fd, fd, fd}, Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: "+strconv.Quote(argv[0]), err)
			os.Exit(1)
		}
		running[pid] = argv
	}
	for _, argv := range apps {
		start(argv)
	}
	for err == nil {
		var pid int
		if pid, err = syscall.Wait4(-1, nil, 0, nil); err == nil {
			argv := running[pid]
			delete(running, pid)
			start(argv)
		}
	}
	os.Exit(1)
}
