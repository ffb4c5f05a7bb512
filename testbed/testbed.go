// Package testbed turns a Debian suite, or this machine's own files, into a
// running systemd for tests: a container whose PID 1 is that systemd, also where
// the machine itself runs none. It needs Linux and root; elsewhere tests skip.
//
// Everything it makes lies under one state directory ($GM_TESTBED_DIR, else
// gm-testbed in the temporary directory), in cgroups named gm-testbed-PID-N and
// in mounts inside that directory. It goes when the test ends; what a killed run
// left goes at the next boot.
//
// Environment: GM_SUITE is the suite that Boot takes by default, "host" if unset.
// GM_REQUIRE_SYSTEMD=1 makes a test fail that would skip. GM_TESTBED_MIRROR is
// the Debian mirror, by default the one this machine's apt uses.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	bootLimit    = 60 * time.Second       // a boot takes 0.5 to 2 s
	stopLimit    = 20 * time.Second       // stopping takes about as long
	mustLimit    = 2 * time.Minute        // one command of Must
	waitLimit    = 30 * time.Second       // one condition of Wait
	pollEvery    = 20 * time.Millisecond  // between two looks at a condition
	emulateLimit = 3 * time.Minute        // a whole run takes 5 to 30 s
	dumpLimit    = 10 * time.Second       // the journal of a failed test
	pipeDelay    = 500 * time.Millisecond // for output after a command was killed
)

// Options says what Boot boots.
type Options struct {
	// Suite is "host" (a throw-away overlay of this machine's root file system:
	// its programs and files are there, other file systems mounted in it are not),
	// a Debian suite ("bullseye", "bookworm", "trixie", "forky"), or the absolute
	// path of a root directory. Empty means $GM_SUITE, else "host".
	Suite string

	// Limits makes MemoryMax=, TasksMax= and CPUQuota= bite. On a host with cgroup
	// v1 controllers systemd then runs in hybrid mode, in which a memory kill shows
	// as Result=signal and MemoryHigh= and OOMPolicy= have no effect; systemd 258
	// and later cannot do that, and the test skips. Without Limits such a host
	// gives a pure cgroup v2 in which limits are accepted and do nothing.
	Limits bool

	// Binds are host directories to show inside, writable, as "SRC" or "SRC:DST".
	// What lies under /tmp and /run needs one: both are fresh in a machine.
	Binds []string
}

// Machine is a booted systemd.
type Machine struct {
	t testing.TB
	*machine
}

// machine is what copies of a Machine for different tests share.
type machine struct {
	inst    *instance
	suite   string
	leader  int // PID of the machine's PID 1 on the host
	version int
	hybrid  bool          // with the host's cgroup v1 controllers
	cgroups []string      // that it is started in
	argv    []string      // of systemd-nspawn
	nspawn  int           // PID of systemd-nspawn
	gone    chan struct{} // closed once that systemd-nspawn has ended
	stop    sync.Once
}

// Boot boots the systemd of a suite as PID 1 of a container and stops it when the
// test ends. Where that is impossible the test is skipped, or fails when
// GM_REQUIRE_SYSTEMD=1.
func Boot(t testing.TB, o Options) *Machine {
	t.Helper()
	if o.Suite == "" {
		o.Suite = defaultSuite()
	}
	shared, err := boot(o, t.Logf)
	if err != nil {
		giveUp(t, "boot "+o.Suite, err)
	}
	m := &Machine{t, shared}
	t.Cleanup(func() {
		if t.Failed() {
			m.dumpJournal()
		}
		if err := m.shutdown(); err != nil {
			t.Errorf("cannot remove the machine: %v", err)
		}
	})
	return m
}

// For returns the same machine for a subtest, which Must and Wait then fail in
// place of the test that booted it.
func (m *Machine) For(t testing.TB) *Machine { return &Machine{t, m.machine} }

// Must runs a command as Run does and fails the test unless it succeeds.
func (m *Machine) Must(argv ...string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), mustLimit)
	defer cancel()
	out, err := m.Run(ctx, argv...)
	if err != nil {
		m.t.Fatalf("%v\nstdout: %s", err, out)
	}
	return out
}

// Run runs a command as root, in a clean environment with / as its directory and
// in a scope of its own. It returns the standard output; a command that fails
// gives an *ExitError. Unlike a service the command has every capability and no
// system call filter: `systemd-run --wait --pipe` gives it theirs.
func (m *Machine) Run(ctx context.Context, argv ...string) (stdout string, err error) {
	stdout, _, err = m.run(ctx, "", argv)
	return stdout, err
}

// RunAs runs a command as Run does, but as a user, with the environment in which
// `systemctl --user` works once `loginctl enable-linger` started that user's manager.
func (m *Machine) RunAs(ctx context.Context, user string, argv ...string) (stdout string, err error) {
	stdout, _, err = m.run(ctx, user, argv)
	return stdout, err
}

// Capture runs a command as Run does ("" is root) or RunAs, and returns what it wrote
// to both streams, also when it succeeds.
func (m *Machine) Capture(ctx context.Context, user string, argv ...string) (stdout, stderr string, err error) {
	return m.run(ctx, user, argv)
}

// Wait polls a condition until it holds, and fails the test with what was awaited
// when it does not in time.
func (m *Machine) Wait(what string, cond func() bool) {
	m.t.Helper()
	if err := poll(waitLimit, cond); err != nil {
		m.t.Fatalf("waited in vain for %s: %v", what, err)
	}
}

// Reboot shuts the machine down as an administrator does and boots it again. Its
// files stay, /run and /tmp are fresh.
func (m *Machine) Reboot() {
	m.t.Helper()
	if err := m.reboot(m.t.Logf); err != nil {
		m.t.Fatalf("cannot reboot: %v", err)
	}
}

// Emulate boots the systemd of a suite ($GM_SUITE by default) on a kernel of its
// own, user-mode Linux, runs a script in it as root, in /share beside the given
// files, and returns what it printed and its exit status. It is for what a
// container shows only on some hosts: the controllers of cgroup v2, as with
// MemoryMax=. Starting a process takes 30 times as long as outside, on one CPU.
func Emulate(t testing.TB, suite, script string, files map[string]string) (out string, code int) {
	t.Helper()
	if suite == "" {
		suite = defaultSuite()
	}
	ctx, cancel := context.WithTimeout(context.Background(), emulateLimit)
	defer cancel()
	out, code, err := emulate(ctx, suite, script, files, t.Logf)
	if err != nil {
		giveUp(t, "emulate "+suite, fmt.Errorf("%w\n%s", err, out))
	}
	return out, code
}

// Share returns the host directory that is /share inside.
func (m *Machine) Share() string { return filepath.Join(m.inst.dir, "share") }

// Root returns the host path of the machine's root directory.
func (m *Machine) Root() string { return filepath.Join(m.inst.dir, "root") }

// Version returns the major version of the machine's systemd.
func (m *Machine) Version() int { return m.version }

// Bus returns the address of the machine's system bus for a client on the host.
// systemd's private socket cannot be used from there: it refuses peers of another
// PID namespace.
func (m *Machine) Bus() string {
	return fmt.Sprintf("unix:path=/proc/%d/root/run/dbus/system_bus_socket", m.leader)
}

// InstallNode makes /usr/bin/node available inside: the host's if that runs
// there, else one from npm.
func (m *Machine) InstallNode() {
	m.t.Helper()
	if err := m.installNode(m.t.Logf); err != nil {
		giveUp(m.t, "install node in "+m.suite, err)
	}
}

// ExitError is the error of a command that ran and failed.
type ExitError struct {
	Argv   []string
	Code   int // 128 and the signal's number for a command killed by one
	Stderr string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s: exit status %d: %s", strings.Join(e.Argv, " "), e.Code, strings.TrimSpace(e.Stderr))
}

// unavailable is the error of a machine on which the testbed cannot work, as
// opposed to one that should and did not.
type unavailable struct{ reason string }

func (e *unavailable) Error() string { return e.reason }

func unavailablef(format string, a ...any) error {
	return &unavailable{fmt.Sprintf(format, a...)}
}

// impossible is the error of a request that no set-up of this host can fulfil,
// so that GM_REQUIRE_SYSTEMD does not make it a failure.
type impossible struct{ reason string }

func (e *impossible) Error() string { return e.reason }

// giveUp ends a test for which the testbed could not do its part.
func giveUp(t testing.TB, what string, err error) {
	t.Helper()
	var no *unavailable
	var never *impossible
	switch {
	case errors.As(err, &never):
		t.Skipf("cannot %s here: %v", what, err)
	case errors.As(err, &no) && os.Getenv("GM_REQUIRE_SYSTEMD") != "1":
		t.Skipf("cannot %s here: %v (GM_REQUIRE_SYSTEMD=1 makes this a failure)", what, err)
	}
	t.Fatalf("cannot %s: %v", what, err)
}

func defaultSuite() string {
	if s := os.Getenv("GM_SUITE"); s != "" {
		return s
	}
	return "host"
}

// poll looks at a condition until it holds or the time is over.
func poll(limit time.Duration, cond func() bool) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		if cond() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not so after %v", limit)
		}
	}
}

// scopeMark begins the description of the scopes of Run.
const scopeMark = "testbed: "

// ownLine matches the journal's lines about commands of Run, of which a Wait can
// cause hundreds.
var ownLine = regexp.MustCompile(` run-\S+\.scope: | ` + scopeMark)

// dumpJournal logs what the machine did last.
func (m *Machine) dumpJournal() {
	ctx, cancel := context.WithTimeout(context.Background(), dumpLimit)
	defer cancel()
	out, err := m.Run(ctx, "journalctl", "--no-pager", "-q", "-o", "short-monotonic", "-n", "20000")
	if err != nil {
		m.t.Logf("no journal: %v", err)
		return
	}
	lines := slices.DeleteFunc(strings.SplitAfter(out, "\n"), ownLine.MatchString)
	m.t.Logf("the end of the machine's journal:\n%s", strings.Join(lines[max(0, len(lines)-60):], ""))
}
