package testbed

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// packages are what a bootstrapped suite holds beyond the essential: systemd with
// user managers and, for node, the C++ library.
const packages = "systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,iproute2,procps,perl-base,libstdc++6"

const debianMirror = "http://deb.debian.org/debian"

var suiteName = regexp.MustCompile(`^[a-z]+$`)

// lower returns the directory that a machine sees below its own changes.
func (b *bed) lower(suite string) (string, error) {
	switch {
	case suite == "host":
		return "/", errors.Join(
			b.need("systemd", "/lib/systemd/systemd"),
			b.need("dbus", "dbus-daemon", "dbus-broker"),
			// It gives a user's manager its XDG_RUNTIME_DIR.
			b.need("libpam-systemd", "/lib*/security/pam_systemd.so", "/lib/*/security/pam_systemd.so"),
			b.need("dbus-user-session", "/usr/lib/systemd/user/dbus.socket"))
	case filepath.IsAbs(suite):
		if strings.ContainsAny(suite, `:,\`) {
			return "", fmt.Errorf("%s: an overlay's options cannot hold this path", suite)
		}
		return suite, nil
	case suiteName.MatchString(suite):
		return b.bootstrapped(suite)
	}
	return "", fmt.Errorf("suite %q is neither host, nor a Debian suite, nor an absolute path", suite)
}

// bootstrapped returns the root directory of a Debian suite, made at its first
// use and kept.
func (b *bed) bootstrapped(suite string) (string, error) {
	if err := os.MkdirAll(filepath.Join(b.dir, "suites"), 0o755); err != nil {
		return "", err
	}
	lock, err := b.lock("suites/" + suite + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	dir := filepath.Join(b.dir, "suites", suite)
	if made, _ := os.ReadFile(dir + ".ok"); string(made) == packages {
		return dir, nil
	}
	if err := errors.Join(b.need("mmdebstrap", "mmdebstrap"),
		b.need("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.*")); err != nil {
		return "", err
	}
	b.logf("bootstrapping %s in %s", suite, dir)
	var out []byte
	for range 2 { // once more, as mirrors fail now and then
		os.Remove(dir + ".ok")
		if err := removeDir(dir); err != nil {
			return "", err
		}
		cmd := exec.Command("mmdebstrap", "--variant=minbase", "--mode=root", "--include="+packages,
			// A suite that moves looks expired to a machine whose clock is ahead of
			// the mirror's last update.
			`--aptopt=Acquire::Check-Valid-Until "false"`,
			suite, dir, mirror())
		// It holds the lock too, in case this process is killed before it.
		cmd.ExtraFiles = []*os.File{lock}
		if out, err = cmd.CombinedOutput(); err == nil {
			return dir, os.WriteFile(dir+".ok", []byte(packages), 0o644)
		}
	}
	return "", unavailablef("cannot bootstrap %s: %v: %s", suite, err, out[max(0, len(out)-1000):])
}

// mirror returns the Debian mirror that this machine's apt uses.
func mirror() string {
	if m := os.Getenv("GM_TESTBED_MIRROR"); m != "" {
		return m
	}
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*")
	for _, file := range append(files, "/etc/apt/sources.list") {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "URIs:" && f[0] != "deb" {
				continue
			}
			for _, w := range f[1:] { // after options such as [signed-by=...]
				if strings.HasSuffix(strings.TrimSuffix(w, "/"), "/debian") {
					return w
				}
			}
		}
	}
	return debianMirror
}

const overlayMagic = 0x794c7630

// mountRoot mounts the machine's root over a lower directory and strips it to what
// a bare system has: no units that happen to be enabled, generators or fstab.
func (i *instance) mountRoot(lower string) error {
	if err := i.makeDirs("root", "share", "rw"); err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(i.dir, &fs); err != nil {
		return err
	}
	if fs.Type == overlayMagic {
		// An overlay cannot be the upper layer of another.
		if err := syscall.Mount("tmpfs", i.path("rw"), "tmpfs", 0, "mode=0755"); err != nil {
			return unavailablef("cannot mount a tmpfs: %v", err)
		}
	}
	if err := i.makeDirs("rw/upper", "rw/work"); err != nil {
		return err
	}
	options := "lowerdir=" + lower + ",upperdir=" + i.path("rw/upper") + ",workdir=" + i.path("rw/work")
	if err := syscall.Mount("overlay", i.path("root"), "overlay", 0, options); err != nil {
		return unavailablef("cannot mount an overlay: %v", err)
	}
	return stripRoot(i.path("root"))
}

// makeDirs makes directories that every user of the machine can read, whatever
// the umask: its / is one of them.
func (i *instance) makeDirs(names ...string) error {
	for _, name := range names {
		if err := os.Mkdir(i.path(name), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(i.path(name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// masked are vendor units that cost time or want what a container lacks.
var masked = []string{
	"getty.target", "console-getty.service", "systemd-ask-password-wall.path", "systemd-ask-password-console.path",
	"systemd-firstboot.service", "systemd-networkd.service", "systemd-timesyncd.service", "systemd-resolved.service",
}

// Persistent, as only then each user has a journal of its own to read; without
// the rate limit, no line of a test is dropped.
const journaldConf = "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n"

func stripRoot(dir string) error {
	// os.Root: a link in the tree must not lead these changes to the host.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	gone := []string{"etc/systemd/system", "etc/systemd/user", "etc/init.d", "etc/fstab",
		"etc/machine-id", "var/lib/dbus/machine-id", "var/log/journal"}
	for _, level := range "0123456S" {
		gone = append(gone, fmt.Sprintf("etc/rc%c.d", level))
	}
	for _, name := range gone {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc/systemd/system", "etc/systemd/user", "etc/systemd/system-generators",
		"etc/systemd/journald.conf.d", "var/log/journal", "share"} {
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		if err := root.Chmod(name, 0o755); err != nil { // the umask
			return err
		}
	}
	generators, err := os.ReadDir(filepath.Join(dir, "lib/systemd/system-generators"))
	if err != nil {
		return err
	}
	links := map[string]string{"etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target"}
	for _, g := range generators {
		links["etc/systemd/system-generators/"+g.Name()] = "/dev/null"
	}
	for _, unit := range masked {
		links["etc/systemd/system/"+unit] = "/dev/null"
	}
	for name, target := range links {
		root.Remove(name)
		if err := root.Symlink(target, name); err != nil {
			return err
		}
	}
	if err := root.WriteFile("etc/systemd/journald.conf.d/gm-testbed.conf", []byte(journaldConf), 0o644); err != nil {
		return err
	}
	// A fresh one: without, systemd takes it for a first boot and enables presets.
	id, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return err
	}
	return root.WriteFile("etc/machine-id", []byte(strings.ReplaceAll(string(id), "-", "")), 0o444)
}
