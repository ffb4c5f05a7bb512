package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// quietBoot is what is left of a boot that starts next to nothing: in user-mode
// Linux a process takes 30 times as long to start.
var quietBoot = []string{"dbus.service", "dbus.socket", "systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"}

// firstProgram is what the emulated machine runs once it is up.
const firstProgram = `#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
ip link set lo up 2>/dev/null; mount -t tmpfs tmpfs /tmp
mkdir -p /run/gm-testbed; mount -t hostfs none /run/gm-testbed -o %[1]s; mount -t hostfs none /share -o %[1]s/share
i=0
while [ "$(systemctl is-system-running)" = starting ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
cd /share
/share/script >/run/gm-testbed/out 2>&1
echo $? >/run/gm-testbed/rc.new; sync; mv /run/gm-testbed/rc.new /run/gm-testbed/rc
systemctl poweroff -ff
`

const firstUnit = `[Unit]
After=basic.target dbus.service
[Service]
ExecStart=/usr/local/sbin/gm-testbed-script
StandardInput=null
StandardOutput=null
StandardError=null
`

func emulate(ctx context.Context, suite, script string, files map[string]string, logf func(string, ...any)) (out string, code int, err error) {
	b, err := openBed(logf)
	if err != nil {
		return "", 0, err
	}
	if err := b.need("user-mode-linux", "linux.uml"); err != nil {
		return "", 0, err
	}
	lower, err := b.lower(suite)
	if err != nil {
		return "", 0, err
	}
	inst, err := b.newInstance("emulated")
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, inst.remove()) }()
	if err := inst.mountRoot(lower); err != nil {
		return "", 0, err
	}
	if err := inst.prepareEmulation(script, files); err != nil {
		return "", 0, err
	}
	console, err := os.Create(inst.path("console.log"))
	if err != nil {
		return "", 0, err
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, "linux.uml", "mem=1G", "umid=gm", "uml_dir="+inst.path("uml")+"/",
		"root=/dev/root", "rootfstype=hostfs", "rootflags="+inst.path("root"), "rw", "init=/lib/systemd/systemd",
		"systemd.unified_cgroup_hierarchy=1", "quiet", "loglevel=3", "con=null", "con0=null,fd:1", "ssl=null")
	cmd.Stdout, cmd.Stderr = console, console
	// A tree of host processes in a session of its own: the group goes together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	runtime.LockOSThread() // the death signal comes with the end of the thread
	defer runtime.UnlockOSThread()
	end := cmd.Run()
	text, _ := os.ReadFile(inst.path("out"))
	status, readErr := os.ReadFile(inst.path("rc"))
	if readErr != nil {
		said, _ := os.ReadFile(inst.path("console.log"))
		return string(text), 0, fmt.Errorf("the machine stopped before its script had ended: %v; the console's end:\n%s",
			errors.Join(ctx.Err(), end), said[max(0, len(said)-2000):])
	}
	code, err = strconv.Atoi(strings.TrimSpace(string(status)))
	return string(text), code, err
}

// prepareEmulation strips the boot to journald and D-Bus, and has it run the script.
func (i *instance) prepareEmulation(script string, files map[string]string) error {
	if err := i.makeDirs("uml"); err != nil {
		return err
	}
	root, err := os.OpenRoot(i.path("root"))
	if err != nil {
		return err
	}
	defer root.Close()
	links := map[string]string{"etc/systemd/system/multi-user.target.wants/gm-testbed-script.service": "../gm-testbed-script.service"}
	for _, unit := range []string{"systemd-udevd.service", "systemd-udev-trigger.service", "systemd-remount-fs.service", "tmp.mount"} {
		links["etc/systemd/system/"+unit] = "/dev/null"
	}
	for _, target := range []string{"sysinit", "local-fs", "timers", "sockets", "multi-user"} {
		wanted, _ := filepath.Glob(i.path("root/lib/systemd/system/" + target + ".target.wants/*"))
		for _, unit := range wanted {
			if name := filepath.Base(unit); !slices.Contains(quietBoot, name) {
				links["etc/systemd/system/"+name] = "/dev/null"
			}
		}
	}
	if err := root.MkdirAll("etc/systemd/system/multi-user.target.wants", 0o755); err != nil {
		return err
	}
	for name, target := range links {
		root.Remove(name)
		if err := root.Symlink(target, name); err != nil {
			return err
		}
	}
	journald := strings.Replace(journaldConf, "persistent", "volatile", 1)
	if err := errors.Join(
		root.WriteFile("etc/systemd/journald.conf.d/gm-testbed.conf", []byte(journald), 0o644),
		root.WriteFile("etc/systemd/system/gm-testbed-script.service", []byte(firstUnit), 0o644),
		root.MkdirAll("usr/local/sbin", 0o755),
		root.WriteFile("usr/local/sbin/gm-testbed-script", fmt.Appendf(nil, firstProgram, i.dir), 0o755),
	); err != nil {
		return err
	}
	for name, text := range files {
		path := i.path("share/" + name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			return err
		}
	}
	return os.WriteFile(i.path("share/script"), []byte(script), 0o755)
}
