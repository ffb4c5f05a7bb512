package testbed

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// need installs a Debian package unless one of the things it brings is there:
// commands, or file patterns with a slash.
func (b *bed) need(pkg string, brings ...string) error {
	if slices.ContainsFunc(brings, have) {
		return nil
	}
	if !have("apt-get") {
		return unavailablef("%s is missing and there is no apt-get to install the package %s with", brings[0], pkg)
	}
	lock, err := b.lock("apt.lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if slices.ContainsFunc(brings, have) {
		return nil // another test installed it meanwhile
	}
	b.logf("installing the package %s", pkg)
	out, err := apt("install", pkg)
	if err != nil {
		// The package lists may be absent or old.
		if out, err = apt("update"); err == nil {
			out, err = apt("install", pkg)
		}
	}
	if err != nil {
		return unavailablef("cannot install the package %s: %v: %s", pkg, err, out)
	}
	if !slices.ContainsFunc(brings, have) {
		return unavailablef("the package %s did not bring %s", pkg, brings[0])
	}
	return nil
}

func have(what string) bool {
	if strings.Contains(what, "/") {
		found, _ := filepath.Glob(what)
		return len(found) > 0
	}
	_, err := exec.LookPath(what)
	return err == nil
}

func apt(args ...string) ([]byte, error) {
	cmd := exec.Command("apt-get", append([]string{"-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a daemon the package started holds the output open
	}
	return bytes.TrimSpace(out[max(0, len(out)-1000):]), err
}
