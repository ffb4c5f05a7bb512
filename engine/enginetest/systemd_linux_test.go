package enginetest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gm/engine"
	"gm/testbed"
)

// container is a booted systemd as a Machine.
type container struct {
	*testbed.Machine
	user string // "" is root
}

func (c *container) Engine() string { return "systemd" }

func (c *container) For(t testing.TB) Machine { return &container{c.Machine.For(t), c.user} }

func (c *container) Reboot(t testing.TB) {
	c.Machine.For(t).Reboot()
	if c.user != "" {
		c.awaitUser(t, c.user)
	}
}

func (c *container) Projects() (inside, outside string) { return "/share", c.Share() }

func (c *container) Dirs() engine.Dirs {
	if c.user == "" {
		return engine.Dirs{Units: "/etc/systemd/system", Env: "/etc/gm", Run: "/run/gm"}
	}
	config := "/home/" + c.user + "/.config"
	id, err := c.RunAs(context.Background(), c.user, "id", "-u")
	if err != nil {
		return engine.Dirs{}
	}
	return engine.Dirs{User: true, Units: config + "/systemd/user", Env: config + "/gm", Run: "/run/user/" + strings.TrimSpace(id) + "/gm"}
}

func (c *container) Reread(ctx context.Context) error {
	scope := "--system"
	if c.user != "" {
		scope = "--user"
	}
	_, _, err := c.Capture(ctx, c.user, "systemctl", scope, "daemon-reload")
	return err
}

func (c *container) Run(ctx context.Context, dir string, argv ...string) Output {
	argv = append([]string{"env", "-C", dir}, argv...)
	stdout, stderr, err := c.Capture(ctx, c.user, argv...)
	var exit *testbed.ExitError
	switch {
	case errors.As(err, &exit):
		return Output{stdout, stderr, exit.Code}
	case err != nil:
		return Output{stdout, stderr + err.Error(), -1}
	}
	return Output{stdout, stderr, 0}
}

// bootContainer boots a systemd with gm in it.
func bootContainer(t testing.TB) *container {
	m := testbed.Boot(t, testbed.Options{})
	buildGm(t, filepath.Join(m.Root(), "usr/local/bin/gm"))
	return &container{Machine: m}
}

// buildGm builds gm without C libraries, so that it runs in every suite.
func buildGm(t testing.TB, target string) { build(t, target, "./cmd/gm") }

// build builds a command of this module.
func build(t testing.TB, target, command string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", target, command)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", command, err, out)
	}
}

func TestBooted(t *testing.T) {
	c := bootContainer(t)
	c.InstallNode()
	// journald as it is everywhere, not as tests like it: it drops what comes too fast.
	c.Must("sh", "-c", `printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=30s\nRateLimitBurst=10000\n' >/etc/systemd/journald.conf.d/gm-testbed.conf
		systemctl restart systemd-journald`)
	Run(t, c)
}

// TestBootedUser runs the scenarios as an ordinary user, whose own systemd lingers.
func TestBootedUser(t *testing.T) {
	c := bootContainer(t)
	c.InstallNode()
	c.addUser(t, "ann")
	Run(t, c)
}

// addUser makes a user whose systemd lingers, and has the machine be theirs.
func (c *container) addUser(t *testing.T, name string) {
	t.Helper()
	c.Must("useradd", "--create-home", name)
	c.Must("loginctl", "enable-linger", name)
	c.user = name
	c.awaitUser(t, name)
}

// awaitUser waits for a user's systemd to be up.
func (c *container) awaitUser(t testing.TB, name string) {
	t.Helper()
	c.Wait("the user's systemd", func() bool {
		_, err := c.RunAs(t.Context(), name, "systemctl", "--user", "is-system-running")
		return err == nil
	})
}
