package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"gm/translate"
	"gm/units"
)

// host settles the facts of the machine that will run the units: from --host or
// from this machine, with single flags on top. dir is the declaration's
// directory here.
func (c *caller) host(o *inputOptions, dir string) (translate.Host, error) {
	var h translate.Host
	if o.hostFile != "" {
		var err error
		if h, err = c.readHost(o); err != nil {
			return h, err
		}
	}
	override := func(have *string, flag string) {
		if flag != "" {
			*have = flag
		}
	}
	override(&h.Root, o.root)
	override(&h.Gm, o.gm)
	if o.cpus != 0 {
		h.CPUs = o.cpus
	}
	if o.systemd != 0 {
		h.Systemd = o.systemd
	}
	switch {
	case o.system:
		h.Scope = translate.ScopeSystem
	case o.user:
		h.Scope = translate.ScopeUser
	}
	if o.hostFile != "" {
		return h, nil
	}

	// What no flag said, this machine says.
	if h.CPUs == 0 {
		h.CPUs = runtime.NumCPU()
	}
	if h.Scope == "" {
		h.Scope = translate.ScopeUser
		if os.Geteuid() == 0 {
			h.Scope = translate.ScopeSystem
		}
	}
	if h.Root == "" {
		h.Root = dir
	}
	if h.Home = c.getenv("HOME"); h.Home == "" {
		h.Home = "/root"
	}
	if h.Gm == "" {
		h.Gm = c.ownPath()
	}
	if h.Systemd == 0 && o.native {
		h.Systemd = newestSystemd()
	}
	if h.Systemd == 0 {
		if h.Systemd = systemdVersion("/"); h.Systemd == 0 {
			h.Systemd = translate.DefaultSystemd
		} else if h.Systemd < translate.MinSystemd {
			return h, tooOld("this machine's systemd", h.Systemd)
		}
	}
	h.Probe = (&prober{caller: c, root: h.Root, dir: dir, home: h.Home, found: map[string]bool{}}).probe()
	return h, nil
}

// newestSystemd is the version that brought the newest directive there is.
func newestSystemd() int {
	newest := translate.DefaultSystemd
	for _, rule := range units.Rules() {
		newest = max(newest, rule.Since)
	}
	return newest
}

// systemdVersion returns the version of the systemd installed under root, or 0.
// The name of its library tells it without starting a process; only systems
// that link systemd in another way need systemctl.
func systemdVersion(root string) int {
	newest := 0
	for _, pattern := range []string{"usr/lib/systemd", "usr/lib64/systemd", "usr/lib/*/systemd", "lib/systemd"} {
		// The error is about the pattern, and it is a good one.
		names, _ := filepath.Glob(filepath.Join(root, pattern, "libsystemd-shared-*.so"))
		for _, name := range names {
			newest = max(newest, leadingNumber(strings.TrimPrefix(filepath.Base(name), "libsystemd-shared-")))
		}
	}
	if newest > 0 || root != "/" {
		return newest
	}
	systemctl, err := exec.LookPath("systemctl")
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), versionLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, systemctl, "--version").Output()
	if err != nil {
		return 0
	}
	// "systemd 252 (252.39-1~deb12u1)"
	return leadingNumber(strings.TrimPrefix(string(out), "systemd "))
}

// versionLimit is how long a program may take to say its version.
const versionLimit = 5 * time.Second

// leadingNumber returns the digits that text starts with: 257 of
// "257.4-1.fc42.so".
func leadingNumber(text string) int {
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	n, _ := strconv.Atoi(digits) // no digits: 0
	return n
}

// installedGm is where gm belongs, when the one that runs will not stay.
const installedGm = "/usr/local/bin/gm"

// ownPath returns the path by which units call gm. A link on the PATH, such as
// /usr/local/bin/gm -> /opt/gm-1.2/gm, is better than what it points to, which
// goes with the next update; a build of `go run` or `go test` goes at once.
func (c *caller) ownPath() string {
	self, err := os.Executable()
	if err != nil {
		return installedGm
	}
	for _, temporary := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if _, inside := relocate(self, temporary, ""); inside {
			return installedGm
		}
	}
	if here, err := os.Stat(self); err == nil {
		for _, dir := range c.path() {
			link := filepath.Join(dir, "gm")
			if there, err := os.Stat(link); err == nil && os.SameFile(here, there) {
				return link
			}
		}
	}
	return self
}
