package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin"

func (m *machine) run(ctx context.Context, user string, argv []string) (string, string, error) {
	// A PID is used again: entering that of a machine that is gone could mean
	// running on the host.
	if !m.up() {
		return "", "", fmt.Errorf("%s: the machine is down", strings.Join(argv, " "))
	}
	// --root: nspawn in a chroot leaves its mount namespace's root as it was.
	// --wd: the directory of PID 1, which is /; without, getcwd fails.
	// The scope gives the command a cgroup of the machine; with the caller's
	// ("0::/../..") logind 257 refuses with "Protocol driver not attached".
	enter := []string{"--target", strconv.Itoa(m.leader), "--all", "--root", "--wd",
		"systemd-run", "--scope", "--quiet", "--collect", "--description=" + scopeMark + strings.Join(argv, " "), "--"}
	as, err := m.environment(user)
	if err != nil {
		return "", "", err
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, as...), argv...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// nsenter forks to enter a PID namespace: end its child as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeDelay
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), ctx.Err(), stderr.String())
	case errors.As(err, &exit):
		code := exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
		err = &ExitError{Argv: argv, Code: code, Stderr: stderr.String()}
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it succeeded; something it left running holds its output open
	}
	return stdout.String(), stderr.String(), err
}

// environment returns the command prefix that sets the user and a clean environment.
func (m *machine) environment(user string) ([]string, error) {
	env := []string{"env", "-i", searchPath, "LANG=C.UTF-8", "TERM=dumb", "SYSTEMD_PAGER=cat"}
	if user == "" {
		return append(env, "HOME=/root", "USER=root", "LOGNAME=root"), nil
	}
	passwd, err := os.ReadFile(filepath.Join(m.inst.path("root"), "etc/passwd"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 7 || f[0] != user {
			continue
		}
		run := "/run/user/" + f[2]
		become := []string{"setpriv", "--reuid", f[2], "--regid", f[3], "--init-groups", "--reset-env"}
		env = append(env, "HOME="+f[5], "USER="+user, "LOGNAME="+user,
			"XDG_RUNTIME_DIR="+run, "DBUS_SESSION_BUS_ADDRESS=unix:path="+run+"/bus")
		return append(become, env...), nil
	}
	return nil, fmt.Errorf("the machine has no user %s", user)
}
