package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gm/engine"
	"gm/testbed"
)

// insideVar is set for the tests that run inside a machine, of which TestBooted
// starts all: systemd's private socket and a user's manager talk to no process
// outside.
const insideVar = "GM_INSIDE"

// inside skips a test that is not run inside, by whom it is for.
func inside(t testing.TB, who string) context.Context {
	t.Helper()
	if os.Getenv(insideVar) != who {
		t.Skip("runs inside a machine, see TestBooted")
	}
	return t.Context()
}

func TestBooted(t *testing.T) {
	m := testbed.Boot(t, testbed.Options{})
	binary := filepath.Join(m.Share(), "systemd.test")
	buildTests(t, binary)
	m.Must("useradd", "--create-home", "--uid=4100", "ann")
	m.Must("useradd", "--create-home", "--uid=4200", "bob")
	t.Run("FromOutside", func(t *testing.T) { outside(t, m.For(t)) })
	for _, run := range []struct{ name, who, user string }{
		{"AsUser", "bob", "bob"},
		{"WithUserManager", "ann", "ann"},
		{"AsRoot", "root", ""}, // last: logind does not survive its restarts of the bus
	} {
		t.Run(run.name, func(t *testing.T) {
			m := m.For(t)
			argv := []string{"env", insideVar + "=" + run.who, "/share/systemd.test", "-test.run=^TestInside", "-test.v", "-test.timeout=3m"}
			var out string
			var err error
			switch run.user {
			case "":
				out, err = m.Run(t.Context(), argv...)
			case "ann":
				m.Must("mkdir", "-p", "/var/log/journal")
				m.Must("systemd-tmpfiles", "--create", "--prefix=/var/log/journal")
				m.Must("sh", "-c", "sed -i '/^Storage=/d' /etc/systemd/journald.conf; systemctl restart systemd-journald; journalctl --flush")
				m.Must("loginctl", "enable-linger", "ann")
				m.Wait("ann's manager", func() bool {
					_, err := m.RunAs(t.Context(), "ann", "systemctl", "--user", "list-units")
					return err == nil
				})
				fallthrough
			default:
				out, err = m.RunAs(t.Context(), run.user, argv...)
			}
			t.Logf("inside:\n%s", out)
			if err != nil || !strings.Contains(out, "--- PASS") {
				t.Errorf("the tests inside: %v", err)
			}
		})
	}
}

// buildTests builds the tests of this package free of C libraries, so that they run
// in every suite.
func buildTests(t testing.TB, target string) {
	t.Helper()
	cmd := exec.Command("go", "test", "-buildvcs=false", "-c", "-o", target, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the tests: %v\n%s", err, out)
	}
}

// outside drives the machine from the host, as Options.Root and Bus allow.
func outside(t *testing.T, m *testbed.Machine) {
	bus := m.Bus()
	root := strings.TrimSuffix(strings.TrimPrefix(bus, "unix:path="), "/run/dbus/system_bus_socket")
	e, err := Open(t.Context(), Options{Bus: bus, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Version() != m.Version() {
		t.Errorf("version %d, want %d", e.Version(), m.Version())
	}
	const unit = "outside.service"
	text := "[Service]\nExecStart=/bin/sh -c 'echo hello from inside; exec sleep 1000'\n"
	if err := os.WriteFile(filepath.Join(e.Dirs().Units, unit), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Do(t.Context(), engine.Job{Op: engine.Start, Unit: unit}); err != nil {
		t.Fatal(err)
	}
	m.Wait("what the unit uses", func() bool {
		states, err := e.Units(t.Context(), engine.Full, []string{unit})
		u := states[unit]
		return err == nil && u.Active == "active" && u.MainPID != 0 && u.Memory > 0 && u.Tasks == 1
	})
	m.Wait("what the unit wrote", func() bool {
		var lines []string
		for entry, err := range e.Logs(t.Context(), engine.LogQuery{Units: []string{unit}}) {
			if err != nil {
				t.Fatal(err)
			}
			if !entry.Manager {
				lines = append(lines, string(entry.Text))
			}
		}
		return slices.Equal(lines, []string{"hello from inside"})
	})
	if err := e.Do(t.Context(), engine.Job{Op: engine.Stop, Unit: unit}); err != nil {
		t.Error(err)
	}
}

// BenchmarkBooted compares what Units takes for 500 running services with what
// systemctl does. It prints what the benchmark inside does.
func BenchmarkBooted(b *testing.B) {
	m := testbed.Boot(b, testbed.Options{})
	buildTests(b, filepath.Join(m.Share(), "systemd.test"))
	m.Must("sh", "-c", "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' >/etc/systemd/system/bench@.service")
	m.Must("systemctl", "daemon-reload")
	m.Must("sh", "-c", "seq -f bench@%g.service 500 | xargs systemctl start")
	out, err := m.Run(b.Context(), "env", insideVar+"=bench", "/share/systemd.test",
		"-test.run=^$", "-test.bench=^BenchmarkInside", "-test.benchtime=10x")
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.Logf("systemd %d:\n%s", m.Version(), out)
}
