package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBootRunsUnits(t *testing.T) {
	m := Boot(t, Options{})
	if state := strings.TrimSpace(m.Must("systemctl", "is-system-running")); state != "running" {
		t.Errorf("system is %s:\n%s", state, m.Must("systemctl", "--no-pager", "list-units", "--failed"))
	}
	if m.Version() < 247 {
		t.Errorf("version %d", m.Version())
	}
	install(t, m, "hello.service", `[Service]
ExecStart=/bin/sh -c 'echo hello from $$(cat /proc/1/comm)'
StandardOutput=file:/share/out
`)
	m.Must("systemctl", "start", "hello")
	m.Wait("hello's output", func() bool {
		out, _ := os.ReadFile(filepath.Join(m.Share(), "out"))
		return string(out) == "hello from systemd\n"
	})
	if cgroup := m.Must("grep", "^0:", "/proc/self/cgroup"); !strings.HasSuffix(cgroup, ".scope\n") || strings.Contains(cgroup, "..") {
		t.Errorf("a command runs in the cgroup %s, not in a scope of the machine", cgroup)
	}
	if out := m.Must("findmnt", "-n", "-o", "FSTYPE", "/sys/fs/bpf"); out != "bpf\n" {
		t.Errorf("/sys/fs/bpf is %q", out)
	}
}

func TestRunReportsFailure(t *testing.T) {
	m := Boot(t, Options{})
	out, err := m.Run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 7")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "err\n" || out != "out\n" {
		t.Errorf("got %q, %#v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := m.Run(ctx, "sleep", "600"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command past its deadline: %v", err)
	}
	m.Wait("the end of the command past its deadline", func() bool {
		// It may be a zombie until the host's init reaps it.
		out, _ := m.Run(t.Context(), "ps", "-C", "sleep", "-o", "stat=")
		return out == "" || strings.HasPrefix(out, "Z")
	})
}

func TestRunAsUserReachesManager(t *testing.T) {
	m := Boot(t, Options{})
	m.Must("useradd", "--create-home", "ann")
	m.Must("loginctl", "enable-linger", "ann")
	m.Wait("ann's manager", func() bool {
		out, _ := m.RunAs(t.Context(), "ann", "systemctl", "--user", "is-system-running")
		return out == "running\n"
	})
	if _, err := m.RunAs(t.Context(), "nobody-such", "true"); err == nil {
		t.Error("an unknown user can run commands")
	}
}

func TestBusReachableFromHost(t *testing.T) {
	m := Boot(t, Options{})
	busctl, err := exec.LookPath("busctl")
	if err != nil {
		t.Skip("no busctl on the host")
	}
	out, err := exec.Command(busctl, "--address="+m.Bus(), "get-property", "org.freedesktop.systemd1",
		"/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "Version").CombinedOutput()
	if want := fmt.Sprintf(`s "%d`, m.Version()); err != nil || !strings.HasPrefix(string(out), want) {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}

func TestShutdownLeavesNothing(t *testing.T) {
	var m *Machine
	var pids []int
	var cgroups []string
	t.Run("boot", func(t *testing.T) {
		m = Boot(t, Options{Binds: []string{t.TempDir() + ":/bound"}})
		// Ignores its stop signal, and has a child outside its group and session.
		install(t, m, "stubborn.service", "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; setsid sleep 600 & while :; do sleep 1; done'\n")
		m.Must("systemctl", "start", "stubborn")
		m.Must("touch", "/bound/file")
		for _, tree := range cgroupTrees().dirs {
			cgroups = append(cgroups, filepath.Join(tree, m.inst.name))
			pids = append(pids, pidsBelow(filepath.Join(tree, m.inst.name))...)
		}
		pids = append(pids, m.nspawn, m.leader)
	})
	if m == nil {
		t.Skip("no machine")
	}
	checkGone(t, m.inst, pids, cgroups)
}

// checkGone fails the test for every trace of an instance.
func checkGone(t *testing.T, inst *instance, pids []int, cgroups []string) {
	t.Helper()
	if left := mountsBelow(inst.dir); len(left) > 0 {
		t.Errorf("mounts left: %v", left)
	}
	for _, path := range append(cgroups, inst.dir, propagateDir+inst.name) {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	for _, pid := range pids {
		// Killed processes may wait for the host's init to be reaped.
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("process %d is left: %s", pid, stat)
		}
	}
}

// TestBootReapsKilledRun kills a process of this test binary that has booted a
// machine, and sees that the next boot removes what is left, and only that.
func TestBootReapsKilledRun(t *testing.T) {
	if os.Getenv("GM_TESTBED_VICTIM") != "" {
		m := Boot(t, Options{})
		if err := os.WriteFile(os.Getenv("GM_TESTBED_VICTIM"), []byte(m.inst.dir), 0o644); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	alive := Boot(t, Options{})
	foreign := filepath.Join(filepath.Dir(alive.inst.dir), fmt.Sprintf("foreign-%d", os.Getpid()))
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(foreign)
	note := filepath.Join(t.TempDir(), "note")
	victim := exec.Command(os.Args[0], "-test.run=^TestBootReapsKilledRun$")
	victim.Env = append(os.Environ(), "GM_TESTBED_VICTIM="+note)
	var said strings.Builder
	victim.Stdout, victim.Stderr = &said, &said
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	var dir []byte
	poll(bootLimit, func() bool {
		dir, _ = os.ReadFile(note)
		return len(dir) > 0 || len(ended) > 0
	})
	victim.Process.Kill()
	if err := <-ended; len(dir) == 0 {
		t.Fatalf("the run to be killed did not boot: %v: %s", err, said.String())
	}
	left := &instance{name: filepath.Base(string(dir)), dir: string(dir)}
	if len(mountsBelow(left.dir)) == 0 {
		t.Fatal("the killed run left no mount, so there is nothing to see")
	}
	var pids []int
	var cgroups []string
	for _, tree := range cgroupTrees().dirs {
		cgroups = append(cgroups, filepath.Join(tree, left.name))
		pids = append(pids, pidsBelow(filepath.Join(tree, left.name))...)
	}
	lock := nspawnLock(filepath.Join(left.dir, "root"))
	m := Boot(t, Options{})
	checkGone(t, left, pids, cgroups)
	// The new root may have the number of the old one.
	if _, err := os.Lstat(lock); err == nil && lock != nspawnLock(m.Root()) {
		t.Errorf("%s is left", lock)
	}
	alive.Must("systemctl", "is-system-running")
	if _, err := os.Lstat(foreign); err != nil {
		t.Errorf("the boot removed what it had not made: %v", err)
	}
}

func TestBootInParallel(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]bool{}
	t.Run("machines", func(t *testing.T) {
		for _, name := range []string{"a", "b"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				m := Boot(t, Options{})
				m.Must("sh", "-c", "echo "+name+" >/etc/name; echo "+name+" >/share/name")
				if got := m.Must("cat", "/etc/name", "/share/name"); got != name+"\n"+name+"\n" {
					t.Errorf("machine %s reads %q", name, got)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[m.leader] = true
			})
		}
	})
	if _, err := os.Lstat("/etc/name"); err == nil {
		t.Error("a machine wrote to the host")
	}
	if !t.Failed() && len(seen) == 1 {
		t.Error("two machines were one")
	}
}

func TestLimitsBite(t *testing.T) {
	m := Boot(t, Options{Limits: true})
	install(t, m, "few.service", "[Service]\nExecStart=/bin/sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; wait'\nTasksMax=4\nStandardError=file:/share/err\n")
	m.Must("systemctl", "start", "few")
	m.Wait("a fork beyond TasksMax= to fail", func() bool {
		out, _ := os.ReadFile(filepath.Join(m.Share(), "err"))
		return strings.Contains(string(out), "fork")
	})
	install(t, m, "fat.service", "[Service]\nExecStart=/bin/dd if=/dev/zero of=/dev/null bs=200M count=1\nMemoryMax=40M\n")
	m.Must("systemctl", "start", "fat")
	m.Wait("the memory limit to end the unit", func() bool {
		return m.Must("systemctl", "show", "-p", "ActiveState", "--value", "fat") == "failed\n"
	})
}

func TestInstallNodeRuns(t *testing.T) {
	m := Boot(t, Options{})
	m.InstallNode()
	if out := m.Must("/usr/bin/node", "-e", "console.log(6*7)"); out != "42\n" {
		t.Errorf("node says %q", out)
	}
}

func install(t *testing.T, m *Machine, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.Root(), "etc/systemd/system", name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m.Must("systemctl", "daemon-reload")
}
