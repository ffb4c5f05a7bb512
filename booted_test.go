package gm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gm/testbed"
)

// TestBooted runs the examples on a booted systemd: as root, and as a user whose own
// systemd lingers.
func TestBooted(t *testing.T) {
	m := testbed.Boot(t, testbed.Options{})
	const program = "/usr/local/bin/gm-api.test"
	build := exec.Command("go", "test", "-buildvcs=false", "-c", "-o", filepath.Join(m.Root(), program), ".")
	build.Dir, build.Env = sources, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the examples: %v\n%s", err, out)
	}
	argv := []string{"env", "GM_ENGINE=systemd", program, "-test.run", "^Example", "-test.v"}
	m.Must("useradd", "--create-home", "ann")
	m.Must("loginctl", "enable-linger", "ann")
	m.Wait("the user's systemd", func() bool {
		_, err := m.RunAs(t.Context(), "ann", "systemctl", "--user", "is-system-running")
		return err == nil
	})
	for _, user := range []string{"", "ann"} {
		name := user
		if user == "" {
			name = "root"
		}
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := m.For(t).Capture(t.Context(), user, argv...)
			if err != nil {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
}
