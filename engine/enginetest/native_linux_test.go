package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gm/engine"
	"gm/engine/native"
)

// nest is a machine for the native engine: the files of this one, with processes, mounts
// and a /run of its own, and without a systemd.
type nest struct{ *nestState }

// nestState is what copies of a nest for different tests share.
type nestState struct {
	dir   string // holds all that is the machine's own
	home  native.Home
	user  string   // "" is root
	extra []string // mounts to make
	// cgroup is the machine's own, "" if it has none.
	cgroup string
	init   *exec.Cmd
	alive  io.Closer // the standard input of PID 1, which ends with it
}

// nestInit makes the mounts and becomes PID 1: a program that lives as long as the test
// and, ignoring SIGCHLD, leaves no zombie. $1 is the machine's directory.
const nestInit = `set -e
mount --make-rprivate /
mount -t proc proc /proc
! mountpoint -q /sys/fs/cgroup || umount -R -l /sys/fs/cgroup
[ -z "$cgroup" ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
for f in passwd group; do mount --bind "$1/$f" /etc/$f; done
shift
for m; do (umask 077; mkdir -p "${m##* }"); mount $m; done
echo up
exec env --ignore-signal=CHLD cat >/dev/null`

// nestUser is the person of machines that are not root's.
const nestUser = "ann"

// nestOptions is what a nest is like; without, it is root's and has no cgroups.
type nestOptions struct {
	user string // nestUser
	// mounts to make: arguments of mount, the place last, which may name $GM_HOME.
	mounts []string
	// cgroups gives it a group of its own, as a container has, with whatever controllers
	// this machine has to give.
	cgroups bool
}

// newNest starts a machine with gm in it, and ends it with the test. Where that is
// impossible the test is skipped, or fails when GM_REQUIRE_SYSTEMD=1.
func newNest(t testing.TB, o nestOptions) nest {
	t.Helper()
	if os.Geteuid() != 0 {
		giveUp(t, errors.New("needs root, for mounts and namespaces"))
	}
	// Not t.TempDir, which other users cannot enter.
	dir, err := os.MkdirTemp("", "gm-nest-")
	if err != nil {
		t.Fatal(err)
	}
	n := nest{&nestState{dir: dir, home: native.Home(filepath.Join(dir, "gm")), user: o.user}}
	t.Cleanup(func() {
		if t.Failed() {
			n.logSupervisor(t)
		}
		n.halt()
		if err := n.removeCgroup(); err != nil {
			t.Errorf("cannot remove the machine's cgroup: %v", err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("cannot remove the machine: %v", err)
		}
	})
	if o.user != "" {
		n.home = native.Home(n.path("ann/.local/state/gm")) // where it is by itself
	}
	for _, name := range []string{"", "bin", "projects", "root", "ann"} {
		mode := os.FileMode(0o755)
		if name == "projects" {
			mode = 0o777
		}
		if err := errors.Join(os.MkdirAll(n.path(name), mode), os.Chmod(n.path(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range o.mounts {
		n.extra = append(n.extra, strings.ReplaceAll(m, "$GM_HOME", string(n.home)))
	}
	if err := errors.Join(os.Chown(n.path("ann"), nestUID, nestUID), n.addUser()); err != nil {
		t.Fatal(err)
	}
	if o.cgroups {
		if err := n.makeCgroup(); err != nil {
			giveUp(t, err)
		}
	}
	buildGm(t, n.path("bin/gm"))
	if err := n.start(); err != nil {
		giveUp(t, err)
	}
	return n
}

const nestUID = 54321

// addUser makes copies of the machine's list of users with nestUser in it.
func (n nest) addUser() error {
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s:/bin/bash\n", nestUser, nestUID, nestUID, n.path("ann")),
		"group":  fmt.Sprintf("%s:x:%d:\n", nestUser, nestUID),
	} {
		text, err := os.ReadFile("/etc/" + file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.path(file), append(text, line...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// giveUp ends a test that the machine does not allow.
func giveUp(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
		t.Fatalf("cannot make a machine: %v", err)
	}
	t.Skipf("cannot make a machine here: %v (GM_REQUIRE_SYSTEMD=1 makes this a failure)", err)
}

func (n nest) path(name string) string { return filepath.Join(n.dir, name) }

// start starts PID 1.
func (n nest) start() error {
	cmd := exec.Command("bash", append([]string{"-c", nestInit, "bash", n.dir}, n.extra...)...)
	if n.cgroup != "" {
		// A new cgroup namespace has the group as its root in which its maker is.
		cmd = exec.Command("unshare", append([]string{"--cgroup"}, cmd.Args...)...)
	}
	cmd.Env = append(os.Environ(), "cgroup="+n.cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Setsid: true}
	leave, err := n.joinCgroup(cmd)
	if err != nil {
		return err
	}
	defer leave()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return err
	}
	n.init, n.alive = cmd, stdin
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "up\n" {
		n.halt()
		return fmt.Errorf("its first process: %q, %v: %s", line, err, stderr.String())
	}
	return nil
}

// makeCgroup makes the machine's cgroup, in cgroup v2 wherever that is mounted.
func (n nest) makeCgroup() error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[2] == "cgroup2" {
			n.cgroup = filepath.Join(f[1], filepath.Base(n.dir))
			return os.Mkdir(n.cgroup, 0o755)
		}
	}
	return errors.New("cgroup v2 is not mounted")
}

// removeCgroup removes the machine's cgroup with what is left in it of groups.
func (n nest) removeCgroup() error {
	if n.cgroup == "" {
		return nil
	}
	var dirs []string
	filepath.WalkDir(n.cgroup, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	var errs []error
	for _, dir := range slices.Backward(dirs) {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}

// joinCgroup has a command start in the machine's cgroup; the caller calls leave when it
// was started.
func (n nest) joinCgroup(cmd *exec.Cmd) (leave func(), err error) {
	if n.cgroup == "" {
		return func() {}, nil
	}
	dir, err := os.Open(n.cgroup)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	return func() { dir.Close() }, nil
}

// halt ends PID 1, and so every process of the machine.
func (n nest) halt() {
	if n.init == nil {
		return
	}
	n.alive.Close()
	n.init.Wait() // it ends with any status
	n.init = nil
}

func (n nest) Engine() string { return "native" }

func (n nest) For(testing.TB) Machine { return n }

func (n nest) Projects() (inside, outside string) { return n.path("projects"), n.path("projects") }

func (n nest) Dirs() engine.Dirs { return n.home.Dirs(n.user != "") }

func (n nest) Reread(ctx context.Context) error {
	c := n.client()
	defer c.Close()
	return c.Reload(ctx)
}

// client talks to the supervisor from outside; it never starts one.
func (n nest) client() *native.Client {
	return native.Open(native.ClientOptions{Home: n.home, User: n.user != ""})
}

// Reboot ends everything at once and starts the machine anew, with a supervisor as what
// gm startup installs would start it.
func (n nest) Reboot(t testing.TB) {
	t.Helper()
	n.halt()
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	if out := n.Run(t.Context(), "/", "bash", "-c", "setsid gm supervise </dev/null >>"+n.path("projects/boot.log")+" 2>&1 &"); out.Code != 0 {
		t.Fatalf("cannot start a supervisor: %v", out)
	}
}

func (n nest) Run(ctx context.Context, dir string, argv ...string) Output {
	cmd := n.command(ctx, dir, argv...)
	leave, err := n.joinCgroup(cmd)
	if err != nil {
		return Output{Stderr: err.Error(), Code: -1}
	}
	defer leave()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return Output{Stderr: err.Error(), Code: -1}
	}
	out := Output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		out.Code = 128 + int(ws.Signal())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		// Also what has ended well and left a process behind that holds its output open.
		return Output{out.Stdout, out.Stderr + err.Error() + "\n", -1}
	}
	return out
}

// command prepares a command in the machine, in an environment that is not the test's.
func (n nest) command(ctx context.Context, dir string, argv ...string) *exec.Cmd {
	if n.init == nil {
		// The PID may be another's by now.
		return exec.CommandContext(ctx, "false", "the machine is down")
	}
	enter := []string{"--target", strconv.Itoa(n.init.Process.Pid), "--pid", "--mount"}
	if n.cgroup != "" {
		enter = append(enter, "--cgroup")
	}
	env := []string{"env", "-i", "-C", dir, "PATH=" + n.path("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/bash"}
	if n.user == "" {
		env = append(env, "HOME="+n.path("root"), "USER=root", "LOGNAME=root", "GM_HOME="+string(n.home))
	} else {
		enter = append(enter, "setpriv", "--reuid", n.user, "--regid", n.user, "--init-groups")
		env = append(env, "HOME="+n.path("ann"), "USER="+n.user, "LOGNAME="+n.user)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(append(enter, env...), argv...)...)
	// nsenter forks to enter a PID namespace: its child ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// logSupervisor logs what the supervisor said last.
func (n nest) logSupervisor(t testing.TB) {
	if n.init == nil {
		return
	}
	for _, name := range []string{n.home.Journal(), filepath.Join(n.home.Logs(), "manager.log"), n.path("projects/boot.log")} {
		text, err := os.ReadFile(n.inside(name))
		if err != nil {
			continue
		}
		last := lines(string(text))
		t.Logf("the end of %s:\n%s", name, strings.Join(last[max(0, len(last)-80):], "\n"))
	}
}

func TestNative(t *testing.T) { Run(t, newNest(t, nestOptions{})) }

// TestNativeUser runs the scenarios as an ordinary user.
func TestNativeUser(t *testing.T) { Run(t, newNest(t, nestOptions{user: nestUser})) }
