package machine

import (
	"context"
	"fmt"
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

// Host settles the facts of the machine that will run the units: those that are known,
// and what this machine says of the others. Native says that gm's own supervisor is to
// run them, which lacks nothing that is new in systemd; dir is the declaration's
// directory here.
func (c *Caller) Host(known translate.Host, native bool, dir string) (translate.Host, error) {
	h := known
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
	if h.Home = c.Getenv("HOME"); h.Home == "" {
		h.Home = "/root"
	}
	if h.Gm == "" {
		h.Gm = c.Installed("")
	}
	if h.Systemd == 0 && native {
		h.Systemd = newestSystemd()
	}
	if h.Systemd == 0 {
		if h.Systemd = SystemdVersion("/"); h.Systemd == 0 {
			h.Systemd = translate.DefaultSystemd
		} else if h.Systemd < translate.MinSystemd {
			return h, refused("usage", fmt.Sprintf("update the machine, or write for %d", translate.MinSystemd),
				"this machine's systemd %d: gm writes for systemd %d and later", h.Systemd, translate.MinSystemd)
		}
	}
	h.Probe = (&prober{Caller: c, root: h.Root, dir: dir, home: h.Home, found: map[string]bool{}}).probe()
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

// SystemdVersion returns the version of the systemd installed under root, or 0.
// The name of its library tells it without starting a process; only systems
// that link systemd in another way need systemctl.
func SystemdVersion(root string) int {
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
	ctx, cancel := context.WithTimeout(context.Background(), VersionLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, systemctl, "--version").Output()
	if err != nil {
		return 0
	}
	// "systemd 252 (252.39-1~deb12u1)"
	return leadingNumber(strings.TrimPrefix(string(out), "systemd "))
}

// VersionLimit is how long a program may take to say its version.
const VersionLimit = 5 * time.Second

// leadingNumber returns the digits that text starts with: 257 of
// "257.4-1.fc42.so".
func leadingNumber(text string) int {
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	n, _ := strconv.Atoi(digits) // no digits: 0
	return n
}

// installedGm is where gm belongs, when the one that runs will not stay.
const installedGm = "/usr/local/bin/gm"

// Installed returns the path by which units call gm, given a program that is gm; "" is
// the gm that is installed. A link on the PATH, such as
// /usr/local/bin/gm -> /opt/gm-1.2/gm, is better than what it points to, which
// goes with the next update; a build of `go run` or `go test` goes at once.
func (c *Caller) Installed(program string) string {
	if program == "" {
		if found := c.LookPath("gm"); found != "" {
			return found
		}
		return installedGm
	}
	for _, temporary := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if _, inside := relocate(program, temporary, ""); inside {
			return installedGm
		}
	}
	if here, err := os.Stat(program); err == nil {
		for _, dir := range c.Path() {
			link := filepath.Join(dir, "gm")
			if there, err := os.Stat(link); err == nil && os.SameFile(here, there) {
				return link
			}
		}
	}
	return program
}
