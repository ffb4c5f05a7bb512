package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// firstWithoutV1 is the first systemd that refuses to boot on cgroup v1.
const firstWithoutV1 = 258

// bpffs mounts what every machine has and a container, whose /sys is a read-only
// tmpfs, lacks.
const bpffs = `mount -o remount,rw /sys && mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf
mount -o remount,ro /sys`

// join moves itself into the cgroups before "--" and becomes the command after.
// Only a shell can: Go joins a cgroup of v2 at fork, none of v1.
const join = `while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"`

func boot(o Options, logf func(string, ...any)) (_ *machine, err error) {
	b, err := openBed(logf)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(b.need("systemd-container", "systemd-nspawn"), b.need("util-linux", "nsenter")); err != nil {
		return nil, err
	}
	lower, err := b.lower(o.Suite)
	if err != nil {
		return nil, err
	}
	version, err := systemdVersion(lower)
	if err != nil {
		return nil, err
	}
	trees := cgroupTrees()
	hybrid := o.Limits && trees.v1
	if hybrid && version >= firstWithoutV1 {
		return nil, &impossible{fmt.Sprintf("limits: this host's controllers are cgroup v1, which systemd %d refuses", version)}
	}

	inst, err := b.newInstance("machines")
	if err != nil {
		return nil, err
	}
	m := &machine{inst: inst, suite: o.Suite, version: version, hybrid: hybrid}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.shutdown())
		}
	}()
	if err := inst.mountRoot(lower); err != nil {
		return nil, err
	}
	if m.cgroups, err = inst.makeCgroups(trees); err != nil {
		return nil, err
	}
	m.argv = nspawnArgs(inst, o.Binds, hybrid)
	if err := m.start(); err != nil {
		return nil, err
	}
	return m, m.settle(logf)
}

// settle waits for the end of a boot and adds what nspawn leaves out.
func (m *machine) settle(logf func(string, ...any)) error {
	if err := m.awaitBoot(); err != nil {
		return err
	}
	if out, err := m.inside("sh", "-c", bpffs); err != nil {
		logf("no bpffs in the machine: %v: %s", err, out)
	}
	if m.hybrid {
		return m.openControllers()
	}
	return nil
}

// reboot has systemd shut the machine down and starts it again: nspawn, told to
// keep its cgroup, ends at a reboot and leaves the rest to whoever started it.
func (m *machine) reboot(logf func(string, ...any)) error {
	// The call may be cut short by what it asks for.
	out, err := m.inside("systemctl", "reboot")
	if late := poll(bootLimit, func() bool { return !m.up() }); late != nil {
		return fmt.Errorf("the end of systemd: %w; systemctl reboot: %v: %s", late, err, out)
	}
	// What the old boot left below its cgroups would be in the way of the new one.
	for _, dir := range m.cgroups {
		if err := errors.Join(removeTree(dir), os.Mkdir(dir, 0o755)); err != nil {
			return err
		}
	}
	if err := m.start(); err != nil {
		return err
	}
	return m.settle(logf)
}

func nspawnArgs(inst *instance, binds []string, hybrid bool) []string {
	args := []string{
		"systemd-nspawn", "--quiet", "--directory=" + inst.path("root"), "--machine=" + inst.name,
		"--register=no", "--keep-unit", "--private-network",
		"--link-journal=no", "--resolv-conf=off", "--timezone=off",
		// bpf(2) is the one call a service under test may need that nspawn refuses.
		"--system-call-filter=bpf",
		"--bind=" + inst.path("share") + ":/share",
	}
	for _, b := range binds {
		args = append(args, "--bind="+b)
	}
	if hybrid {
		return append(args, "--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "--boot",
			"systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
	}
	return append(args, "--boot", "systemd.unified_cgroup_hierarchy=1")
}

// start starts nspawn in the cgroups. In the host's own it would leave "payload"
// and "supervisor" behind, and two machines would share them.
func (m *machine) start() error {
	console, err := os.OpenFile(m.inst.path("console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	argv := append([]string{"-c", join, "sh"}, m.cgroups...)
	cmd := exec.Command("sh", append(append(argv, "--"), m.argv...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="+map[bool]string{false: "1", true: "0"}[m.hybrid])
	cmd.Stdout, cmd.Stderr = console, console
	// When the test binary is killed, nspawn halts the machine; mounts and cgroups
	// stay until the next boot.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}

	started, gone := make(chan error), make(chan struct{})
	m.gone = gone
	go func() {
		// The death signal comes when the thread that forked ends, not the process:
		// keep it until nspawn has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(gone)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	m.nspawn = cmd.Process.Pid
	return nil
}

func (m *machine) awaitBoot() error {
	state := ""
	err := poll(bootLimit, func() bool {
		if !m.up() {
			return true
		}
		// nspawn's only child is the machine's PID 1, and nspawn's own code until
		// it has made its mounts and executed systemd.
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.nspawn))
		first, _, _ := strings.Cut(string(children), " ")
		pid, err := strconv.Atoi(first)
		if err != nil || comm(pid) != "systemd" {
			return false
		}
		m.leader = pid
		out, _ := m.inside("systemctl", "is-system-running")
		state = strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
	if !m.up() {
		return fmt.Errorf("systemd-nspawn ended; the console:\n%s", m.console())
	}
	if err != nil {
		return fmt.Errorf("boot: %v, state %q; the console:\n%s", err, state, m.console())
	}
	return nil
}

// openControllers makes the v1 controllers, which nspawn mounts read-only,
// writable, and has PID 1 look again.
func (m *machine) openControllers() error {
	for _, c := range []string{"memory", "cpu", "cpuacct", "cpu,cpuacct", "pids"} {
		// Which of them are there, and joined how, is the host's business.
		exec.Command("nsenter", "--target", strconv.Itoa(m.leader), "--mount", "--root",
			"mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/"+c).Run()
	}
	if out, err := m.inside("systemctl", "daemon-reexec"); err != nil {
		return fmt.Errorf("cannot take the controllers: %v: %s", err, out)
	}
	return nil
}

// inside runs a command in the machine's namespaces but outside its cgroups.
func (m *machine) inside(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(m.leader), "--all", "--root"}, argv...)...)
	cmd.WaitDelay = pipeDelay
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) up() bool {
	select {
	case <-m.gone:
		return false
	default:
		return m.nspawn != 0
	}
}

// console returns the end of what the machine wrote to its console.
func (m *machine) console() []byte {
	b, _ := os.ReadFile(m.inst.path("console.log"))
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-15):], []byte("\n"))
}

// shutdown ends the machine and removes every trace of it. It kills: a clean halt
// takes as long, and minutes with a unit that ignores its stop signal.
func (m *machine) shutdown() (err error) {
	m.stop.Do(func() {
		if m.up() && m.leader != 0 {
			// The kernel ends all of a PID namespace with its PID 1. nspawn, which
			// then ends by itself, is not to be killed first: systemd would live on.
			syscall.Kill(m.leader, syscall.SIGKILL)
			poll(stopLimit, func() bool { return !m.up() })
		}
		err = m.inst.remove()
		if m.nspawn != 0 {
			<-m.gone // at the latest with the cgroups; reaped when this returns
		}
	})
	return err
}

var versionLine = regexp.MustCompile(`(?m)^systemd (\d+)`)

// systemdVersion asks the systemd of a root directory for its major version.
func systemdVersion(root string) (int, error) {
	cmd := exec.Command("/lib/systemd/systemd", "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if _, err := os.Stat(filepath.Join(root, cmd.Path)); err != nil {
		return 0, fmt.Errorf("%s holds no systemd", root)
	}
	out, err := cmd.CombinedOutput()
	found := versionLine.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("cannot tell the systemd version of %s: %v: %s", root, err, out)
	}
	return strconv.Atoi(string(found[1]))
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}
