package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

// bed is the manager under test, with the units that a test made.
type bed struct {
	*manager
	t testing.TB
}

var systemBus = "unix:path=/run/dbus/system_bus_socket"

func open(t testing.TB, o Options) *bed {
	t.Helper()
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &bed{e.(*manager), t}
}

// install writes unit files and reloads; the test's end removes them.
func (b *bed) install(files map[string]string) {
	b.t.Helper()
	for name, text := range files {
		path := filepath.Join(b.Dirs().Units, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if unit := name; !strings.Contains(unit, "/") && !strings.Contains(unit, "@.") {
				b.Kill(ctx, unit, 9, true)
				b.Do(ctx, engine.Job{Op: engine.Stop, Unit: unit})
				b.ResetFailed(ctx, unit)
			}
			os.Remove(path)
		})
	}
	if err := b.Reload(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) do(op engine.Op, unit string) {
	b.t.Helper()
	if err := b.Do(b.t.Context(), engine.Job{Op: op, Unit: unit}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) state(detail engine.Detail, unit string) engine.UnitState {
	b.t.Helper()
	states, err := b.Units(b.t.Context(), detail, []string{unit})
	if err != nil {
		b.t.Fatal(err)
	}
	return states[unit]
}

// await reads the state of a unit until it is as wanted.
func (b *bed) await(unit, what string, cond func(engine.UnitState) bool) engine.UnitState {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		u := b.state(engine.Full, unit)
		if cond(u) {
			return u
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s never had %s, but is %+v", unit, what, u)
		}
	}
}

// awaitJobs returns when so many jobs are queued.
func (b *bed) awaitJobs(n int) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		b.conn.mu.Lock()
		queued := len(b.conn.jobs)
		b.conn.mu.Unlock()
		if queued == n {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%d jobs are awaited, want %d", queued, n)
		}
	}
}

// gate is a FIFO on which a unit waits: `read x <PATH` ends when it is opened.
func gate(t testing.TB) (path string, open func()) {
	path = filepath.Join(t.TempDir(), "gate")
	if out, err := exec.Command("mkfifo", path).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	return path, func() {
		var err error
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			var f *os.File
			// Without a reader this would wait for one, for ever if there is none.
			if f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				_, err = f.WriteString("go\n")
				f.Close()
				break
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// transports runs a test over systemd's own socket and over the bus.
func transports(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Run("Private", func(t *testing.T) {
		b := open(t, Options{})
		if !b.conn.private {
			t.Fatal("not over the private socket")
		}
		test(t, b)
	})
	t.Run("Bus", func(t *testing.T) { test(t, open(t, Options{Bus: systemBus})) })
}

func TestInsideOpen(t *testing.T) {
	inside(t, "root")
	b := open(t, Options{})
	want, err := exec.Command("sh", "-c", "systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'").Output()
	if err != nil || strconv.Itoa(b.Version()) != strings.TrimSpace(string(want)) {
		t.Errorf("version %d, want %s (%v)", b.Version(), want, err)
	}
	d := b.Dirs()
	if d.Units != "/etc/systemd/system" || d.Env != "/etc/gm" || d.Run != "/run/gm" || d.User {
		t.Errorf("got %+v", d)
	}
	if !slices.Contains(d.Search, "/etc/systemd/system") || !slices.Contains(d.Search, "/usr/lib/systemd/system") {
		t.Errorf("search path %q", d.Search)
	}
	_, err = Open(t.Context(), Options{User: true})
	if !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), "loginctl enable-linger") {
		t.Errorf("without a user manager: %v", err)
	}
}

func TestInsideJobs(t *testing.T) {
	inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		b.install(map[string]string{
			"up.service":       "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n",
			"missing.service":  "[Service]\nType=exec\nExecStart=/no/such/program\n",
			"oneshot.service":  "[Service]\nType=oneshot\nExecStart=/bin/true\n",
			"failing.service":  "[Service]\nType=oneshot\nExecStart=/bin/false\n",
			"needy.service":    "[Unit]\nRequires=failing.service\nAfter=failing.service\n[Service]\nExecStart=/bin/sleep 1000\n",
			"slow.service":     "[Service]\nType=notify\nTimeoutStartSec=300ms\nExecStart=/bin/sleep 1000\n",
			"badly.service":    "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/false\n",
			"broken.service":   "[Service]\n",
			"group.target":     "[Unit]\nWants=member.service\n",
			"member.service":   "[Service]\nExecStart=/bin/sleep 1000\n",
			"noreload.service": "[Service]\nExecStart=/bin/sleep 1000\n",
		})
		for _, c := range []struct {
			name   string
			job    engine.Job
			result string // of the JobError; "" for success
			cause  string // part of it
		}{
			{"start", engine.Job{Op: engine.Start, Unit: "up.service"}, "", ""},
			{"start what runs", engine.Job{Op: engine.Start, Unit: "up.service"}, "", ""},
			{"restart", engine.Job{Op: engine.Restart, Unit: "up.service"}, "", ""},
			{"reload", engine.Job{Op: engine.Reload, Unit: "up.service"}, "", ""},
			{"stop", engine.Job{Op: engine.Stop, Unit: "up.service"}, "", ""},
			{"stop what is stopped", engine.Job{Op: engine.Stop, Unit: "up.service"}, "", ""},
			{"stop what is not there", engine.Job{Op: engine.Stop, Unit: "nothing.service"}, "", ""},
			{"start what is not there", engine.Job{Op: engine.Start, Unit: "nothing.service"}, "", "not found"},
			{"start what cannot be loaded", engine.Job{Op: engine.Start, Unit: "broken.service"}, "", "bad unit file setting"},
			{"missing program", engine.Job{Op: engine.Start, Unit: "missing.service"}, "failed", ""},
			{"oneshot", engine.Job{Op: engine.Start, Unit: "oneshot.service"}, "", ""},
			{"oneshot that fails", engine.Job{Op: engine.Start, Unit: "failing.service"}, "failed", ""},
			{"dependency that fails", engine.Job{Op: engine.Start, Unit: "needy.service"}, "dependency", ""},
			{"never ready", engine.Job{Op: engine.Start, Unit: "slow.service"}, "failed", ""},
			{"target alone", engine.Job{Op: engine.Start, Unit: "group.target", Alone: true}, "", ""},
			{"start for a reload", engine.Job{Op: engine.Start, Unit: "badly.service"}, "", ""},
			{"reload that fails", engine.Job{Op: engine.Reload, Unit: "badly.service"}, "failed", ""},
			{"start without a reload", engine.Job{Op: engine.Start, Unit: "noreload.service"}, "", ""},
			{"reload that does not exist", engine.Job{Op: engine.Reload, Unit: "noreload.service"}, "", "not applicable"},
			{"bad name", engine.Job{Op: engine.Start, Unit: "no name"}, "", "not valid"},
		} {
			err := b.Do(t.Context(), c.job)
			var failed *engine.JobError
			switch {
			case c.result == "" && c.cause == "":
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			case !errors.As(err, &failed) || failed.Result != c.result || failed.Job != c.job:
				t.Errorf("%s: got %v, want result %q", c.name, err, c.result)
			case c.cause != "" && (failed.Cause == nil || !strings.Contains(err.Error(), c.cause)):
				t.Errorf("%s: got %v, want %q in it", c.name, err, c.cause)
			}
		}
		if u := b.state(engine.Brief, "member.service"); u.Running() {
			t.Error("a target alone started its member")
		}
		if err := b.ResetFailed(t.Context(), "failing.service"); err != nil {
			t.Error(err)
		}
		if u := b.state(engine.Brief, "failing.service"); u.Active == "failed" {
			t.Error("still failed after a reset")
		}
		if err := b.ResetFailed(t.Context(), "nothing.service"); err != nil {
			t.Error(err)
		}
	})
}

func TestInsideHangingJob(t *testing.T) {
	inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		b.install(map[string]string{
			"hang.service":  "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n",
			"after.service": "[Unit]\nAfter=hang.service\n[Service]\nExecStart=/bin/sleep 1000\n",
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := b.Do(ctx, engine.Job{Op: engine.Start, Unit: "hang.service"})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "(start hang.service) is not finished") {
			t.Errorf("got %v", err)
		}
		if u := b.state(engine.Brief, "hang.service"); u.Active != "activating" {
			t.Errorf("the job was not left alone: %+v", u)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err = b.Do(ctx, engine.Job{Op: engine.Start, Unit: "after.service"})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waits for job") ||
			!strings.Contains(err.Error(), "start hang.service, running") {
			t.Errorf("got %v", err)
		}
		started := make(chan error, 1)
		go func() { started <- b.Do(t.Context(), engine.Job{Op: engine.Start, Unit: "hang.service"}) }()
		b.awaitJobs(1)
		b.do(engine.Stop, "after.service")
		b.do(engine.Stop, "hang.service")
		var failed *engine.JobError
		if err := <-started; !errors.As(err, &failed) || failed.Result != "canceled" {
			t.Errorf("a start that was overtaken by a stop: %v", err)
		}
	})
}

func TestInsideManyJobs(t *testing.T) {
	inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		b.install(map[string]string{"many@.service": "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\n"})
		const n = 200
		all := func(op engine.Op) time.Duration {
			var wg sync.WaitGroup
			began := time.Now()
			for i := range n {
				wg.Go(func() {
					if err := b.Do(t.Context(), engine.Job{Op: op, Unit: fmt.Sprintf("many@%d.service", i)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return time.Since(began)
		}
		start := all(engine.Start)
		units, err := b.Units(t.Context(), engine.List, []string{"many@.service", "many@7.service"})
		if err != nil || len(units) != n {
			t.Errorf("%d instances in memory, want %d (%v)", len(units), n, err)
		}
		for name, u := range units {
			if u.Active != "active" || u.MainPID == 0 || u.CPU < 0 || u.Memory < 0 || u.Since.IsZero() || u.Result != "success" {
				t.Fatalf("%s: %+v", name, u)
			}
		}
		usage, err := b.Units(t.Context(), engine.Usage, []string{"many@.service"})
		if u := usage["many@3.service"]; err != nil || len(usage) != n || u.CPU < 0 || !u.Measured.After(units["many@3.service"].Measured) {
			t.Errorf("usage of %d instances: %+v (%v)", len(usage), u, err)
		}
		t.Logf("%d jobs: start %v, restart %v, stop %v", n, start, all(engine.Restart), all(engine.Stop))
		if n := len(b.conn.jobs) + len(b.conn.ended); n != 0 {
			t.Errorf("%d jobs are still awaited", n)
		}
	})
}

func TestInsideUnits(t *testing.T) {
	ctx := inside(t, "root")
	b := open(t, Options{})
	b.install(map[string]string{
		"ok.service":               "[Service]\nUser=nobody\nExecStart=/bin/sh -c 'sleep 1000 & exec sleep 1000'\n",
		"ok.service.d/90-own.conf": "[Service]\nNice=1\n",
		"three.service":            "[Service]\nExecStart=/bin/sh -c 'exit 3'\n",
		"killed.service":           "[Service]\nExecStart=/bin/sleep 1000\n",
		"again.service":            "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=10ms\n",
		"limit.service":            "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=100\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=10ms\n",
		"waits.service":            "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1h\n",
		"cpu.service":              "[Service]\nExecStart=/bin/sleep 1000\n",
		"t.timer":                  "[Timer]\nOnCalendar=*-*-* 03:00:00\nUnit=three.service\n",
		"off.service":              "[Service]\nExecStart=/bin/sleep 1000\n",
	})
	began := time.Now().Truncate(time.Microsecond)

	b.do(engine.Start, "ok.service")
	u := b.await("ok.service", "two tasks", func(u engine.UnitState) bool { return u.Tasks == 2 && u.Memory > 0 })
	shown, err := exec.Command("systemctl", "show", "--value", "--property=MainPID", "ok.service").Output()
	if err != nil || strings.TrimSpace(string(shown)) != strconv.Itoa(u.MainPID) {
		t.Errorf("main process %d, systemctl shows %s (%v)", u.MainPID, shown, err)
	}
	if u.Load != "loaded" || u.Active != "active" || u.Sub != "running" || u.User != "nobody" || u.Result != "success" ||
		u.Restarts != 0 || u.Exit != (engine.Exit{}) || u.Stale ||
		u.Fragment != "/etc/systemd/system/ok.service" || !slices.Equal(u.DropIns, []string{"/etc/systemd/system/ok.service.d/90-own.conf"}) {
		t.Errorf("got %+v", u)
	}
	if u.CPU < 0 || u.Memory <= 0 || u.Measured.Before(began) {
		t.Errorf("uses cpu %v, memory %d at %v", u.CPU, u.Memory, u.Measured)
	}
	for what, at := range map[string]time.Time{"since": u.Since, "started": u.Started} {
		if at.Before(began) || at.After(time.Now()) {
			t.Errorf("%s %v is not between %v and now", what, at, began)
		}
	}

	// The kernel's name for a file of its own is escaped by systemd.
	b.do(engine.Start, "cpu.service")
	b.await("cpu.service", "a process", func(u engine.UnitState) bool { return u.Memory > 0 && u.Tasks == 1 })

	b.do(engine.Start, "three.service")
	u = b.await("three.service", "failed", func(u engine.UnitState) bool { return u.Active == "failed" })
	if u.Result != "exit-code" || u.Exit.Code != 3 || u.Exit.Signal != 0 || u.Exit.At.Before(began) || u.MainPID != 0 || u.Memory != -1 || u.CPU != -1 {
		t.Errorf("three.service: %+v", u)
	}
	if u := b.state(engine.List, "three.service"); u.Exit.Code != 3 || u.Result != "exit-code" || u.Since.Before(began) {
		t.Errorf("three.service in a list: %+v", u)
	}

	b.do(engine.Start, "killed.service")
	if err := b.Kill(ctx, "killed.service", 9, false); err != nil {
		t.Error(err)
	}
	u = b.await("killed.service", "failed", func(u engine.UnitState) bool { return u.Active == "failed" })
	if u.Result != "signal" || u.Exit.Signal != 9 || u.Exit.Code != 0 {
		t.Errorf("killed.service: %+v", u)
	}

	b.do(engine.Start, "again.service")
	first := b.state(engine.Full, "again.service").MainPID
	b.Kill(ctx, "again.service", 9, true)
	u = b.await("again.service", "a restart", func(u engine.UnitState) bool { return u.Restarts == 1 && u.MainPID != 0 && u.Active == "active" })
	if u.MainPID == first {
		t.Errorf("again.service: %+v", u)
	}

	b.Do(ctx, engine.Job{Op: engine.Start, Unit: "limit.service"})
	u = b.await("limit.service", "its limit", func(u engine.UnitState) bool { return u.Active == "failed" })
	if u.Restarts < 1 || u.Exit.Code != 1 || u.Result != "start-limit-hit" && u.Result != "exit-code" {
		t.Errorf("limit.service: %+v", u)
	}

	b.do(engine.Start, "waits.service")
	b.await("waits.service", "to wait", func(u engine.UnitState) bool {
		return u.Active == "activating" && u.Sub == "auto-restart" && u.Exit.Code == 1 && u.Running()
	})

	b.do(engine.Start, "t.timer")
	u = b.state(engine.List, "t.timer")
	if u.Next.Before(began) || u.Next.After(began.Add(25*time.Hour)) || u.Next.Local().Hour() != 3 {
		t.Errorf("next %v", u.Next)
	}

	text := "[Service]\nExecStart=/bin/sleep 999\n"
	if err := os.WriteFile("/etc/systemd/system/cpu.service", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes("/etc/systemd/system/cpu.service", time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	// systemd compares times to the second with what it cached for a moment.
	b.await("cpu.service", "a changed file", func(u engine.UnitState) bool { return u.Stale })

	states, err := b.Units(ctx, engine.Brief, []string{"off.service", "nothing.service", "ok.service"})
	if err != nil || len(states) > 2 || states["ok.service"].MainPID != 0 || states["ok.service"].Active != "active" {
		t.Errorf("brief: %v %+v", err, states)
	}
	if _, ok := states["nothing.service"]; ok {
		t.Error("a unit that does not exist is in memory")
	}
}

func TestInsideWatch(t *testing.T) {
	ctx := inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		b.install(map[string]string{
			"seen@.service":     "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=20ms\n[Unit]\nStartLimitIntervalSec=0\n",
			"se-en.service":     "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
			"not-asked.service": "[Service]\nExecStart=/bin/sleep 1000\n",
		})
		b.do(engine.Start, "se-en.service")
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		states, err := b.Watch(ctx, []string{"seen@.service", "se-en.service"})
		if err != nil {
			t.Fatal(err)
		}
		next := func(what string, cond func(engine.UnitState) bool) engine.UnitState {
			t.Helper()
			end := time.After(20 * time.Second)
			var last engine.UnitState
			for {
				select {
				case u, ok := <-states:
					if !ok {
						t.Fatalf("the watch ended before %s", what)
					}
					if u.Name == "not-asked.service" {
						t.Fatalf("told %+v", u)
					}
					if last = u; cond(u) {
						return u
					}
				case <-end:
					t.Fatalf("never told %s; last %+v", what, last)
				}
			}
		}
		b.do(engine.Start, "not-asked.service")
		b.do(engine.Start, "seen@a.service")
		up := next("active", func(u engine.UnitState) bool { return u.Active == "active" })
		if up.Name != "seen@a.service" || up.MainPID == 0 || up.Sub != "running" {
			t.Errorf("got %+v", up)
		}
		b.Kill(ctx, "seen@a.service", 9, false)
		again := next("a restart", func(u engine.UnitState) bool { return u.Active == "active" && u.Restarts == 1 })
		if again.MainPID == up.MainPID || again.MainPID == 0 {
			t.Errorf("got %+v after %+v", again, up)
		}
		b.do(engine.Stop, "se-en.service")
		if u := next("inactive", func(u engine.UnitState) bool { return u.Active == "inactive" }); u.Name != "se-en.service" {
			t.Errorf("got %+v", u)
		}

		// Nobody reads while much happens; jobs go on, and the last state is told.
		for range 30 {
			b.do(engine.Restart, "seen@a.service")
		}
		b.do(engine.Start, "seen@b.service")
		b.do(engine.Stop, "seen@a.service")
		next("the end of a", func(u engine.UnitState) bool { return u.Name == "seen@a.service" && u.Active == "inactive" })

		// It goes on over a reload, and over another systemd in the same place.
		if err := b.Reload(ctx); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemctl", "daemon-reexec").CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
		b.retry(func() error { return b.Do(ctx, engine.Job{Op: engine.Start, Unit: "seen@a.service"}) })
		next("active after a daemon-reexec", func(u engine.UnitState) bool { return u.Name == "seen@a.service" && u.Active == "active" })

		cancel()
		for range states {
		}
		b.do(engine.Stop, "seen@a.service")
		b.do(engine.Stop, "seen@b.service")
		if n := len(b.conn.watches); n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// retry repeats a call that a connection broke under.
func (b *bed) retry(call func() error) {
	b.t.Helper()
	err := call()
	for range 5 {
		if !errors.Is(err, engine.ErrUnreachable) {
			break
		}
		err = call()
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestInsideConnectionLoss(t *testing.T) {
	ctx := inside(t, "root")
	for _, c := range []struct {
		name, bus string
		argv      []string
	}{
		{"BusRestarts", systemBus, []string{"systemctl", "restart", "dbus.service"}},
		{"ReexecOnBus", systemBus, []string{"systemctl", "daemon-reexec"}},
		{"Reexec", "", []string{"systemctl", "daemon-reexec"}},
		{"ReloadOnBus", systemBus, []string{"systemctl", "daemon-reload"}},
		{"Reload", "", []string{"systemctl", "daemon-reload"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, Options{Bus: c.bus})
			path, pass := gate(t)
			failPath, fail := gate(t)
			b.install(map[string]string{
				"pass.service":   "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x <" + path + "'\n",
				"fail.service":   "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x <" + failPath + "; exit 1'\n",
				"follow.service": "[Unit]\nRequires=fail.service\nAfter=fail.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
			})
			results := map[string]chan error{}
			for _, unit := range []string{"pass.service", "fail.service", "follow.service"} {
				result := make(chan error, 1)
				results[unit] = result
				go func() { result <- b.Do(ctx, engine.Job{Op: engine.Start, Unit: unit}) }()
			}
			b.await("pass.service", "started", func(u engine.UnitState) bool { return u.Active == "activating" })
			b.await("fail.service", "started", func(u engine.UnitState) bool { return u.Active == "activating" })
			b.awaitJobs(3)
			if out, err := exec.Command(c.argv[0], c.argv[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			b.retry(func() error {
				_, err := b.Units(ctx, engine.Brief, []string{"pass.service"})
				return err
			})
			pass()
			fail()
			for unit, result := range results {
				select {
				case err := <-result:
					var failed *engine.JobError
					if ok := unit == "pass.service"; ok && err != nil || !ok && !errors.As(err, &failed) {
						t.Errorf("%s: %v", unit, err)
					}
				case <-time.After(20 * time.Second):
					t.Errorf("%s: nobody told that it ended", unit)
				}
			}
		})
	}
}

func TestInsideReload(t *testing.T) {
	ctx := inside(t, "root")
	transports(t, func(t *testing.T, b *bed) {
		others := make([]*bed, 4)
		for i := range others {
			others[i] = open(t, b.options)
		}
		var wg sync.WaitGroup
		for _, e := range append(others, b, b) {
			wg.Go(func() {
				if err := e.Reload(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("Limited", func(t *testing.T) {
		b := open(t, Options{})
		if b.Version() < 253 {
			t.Skip("systemd limits reloads since 253")
		}
		conf := "/etc/systemd/system.conf.d/limit.conf"
		reexec := func() error { return exec.Command("systemctl", "daemon-reexec").Run() }
		os.MkdirAll(filepath.Dir(conf), 0o755)
		os.WriteFile(conf, []byte("[Manager]\nReloadLimitIntervalSec=4s\nReloadLimitBurst=1\n"), 0o644)
		defer func() {
			// A daemon-reexec counts as well.
			os.WriteFile(conf, []byte("[Manager]\nReloadLimitIntervalSec=0\n"), 0o644)
			for end := time.Now().Add(20 * time.Second); reexec() != nil && time.Now().Before(end); {
				time.Sleep(100 * time.Millisecond)
			}
			os.Remove(conf)
		}()
		if err := reexec(); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 4 {
			if err = b.Reload(ctx); err != nil && !errors.Is(err, engine.ErrUnreachable) {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), "ReloadLimitIntervalSec=") {
			t.Errorf("got %v", err)
		}
	})
}

func TestInsideLogs(t *testing.T) {
	ctx := inside(t, "root")
	b := open(t, Options{})
	logUnits(t, ctx, b)
}

// logUnits tests Logs in either scope.
func logUnits(t *testing.T, ctx context.Context, b *bed) {
	path, pass := gate(t)
	b.install(map[string]string{
		// It stays: journald cannot tell any more to which unit of a user a process
		// belonged that has ended when its lines are read.
		"talk.service": "[Service]\nExecStart=/bin/sh -c 'for i in 1 2 3 4 5; do echo talk $i; done; " +
			"printf \"bin\\\\377\\\\001ary\\\\n\"; printf \"%%6000d\\\\n\" 7; exec sleep 1000'\n",
		"other.service": "[Service]\nExecStart=/bin/sh -c 'echo other 1; echo other 2; read x <" + path + "; echo other 3; exec sleep 1000'\n",
		"third.service": "[Service]\nType=oneshot\nExecStart=/bin/echo third\n",
	})
	began := time.Now().Truncate(time.Microsecond)
	b.do(engine.Start, "talk.service")
	b.do(engine.Start, "third.service")
	b.do(engine.Start, "other.service")
	read := func(q engine.LogQuery) (texts map[string][]string, all []engine.LogEntry) {
		t.Helper()
		texts = map[string][]string{}
		for entry, err := range b.Logs(ctx, q) {
			if err != nil {
				t.Fatal(err)
			}
			if !entry.Manager {
				texts[entry.Unit] = append(texts[entry.Unit], string(entry.Text))
			}
			all = append(all, entry)
		}
		return texts, all
	}
	both := []string{"talk.service", "other.service"}
	var texts map[string][]string
	var all []engine.LogEntry
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		texts, all = read(engine.LogQuery{Units: both, Since: began, Boot: true})
		if len(texts["talk.service"]) == 7 && len(texts["other.service"]) == 2 || time.Now().After(end) {
			break
		}
	}
	want := []string{"talk 1", "talk 2", "talk 3", "talk 4", "talk 5", "bin\377\001ary", strings.Repeat(" ", 5999) + "7"}
	if got := texts["talk.service"]; !slices.Equal(got, want) {
		t.Errorf("talk.service wrote %.200q", got)
	}
	if got := texts["other.service"]; !slices.Equal(got, []string{"other 1", "other 2"}) {
		t.Errorf("other.service wrote %q", got)
	}
	if len(texts) != 2 {
		t.Errorf("lines of %d units", len(texts))
	}
	byManager := false
	for i, entry := range all {
		if entry.Time.Before(began) || i > 0 && entry.Time.Before(all[i-1].Time) || entry.PID == 0 {
			t.Errorf("entry %d: %+v", i, entry)
		}
		if !slices.Contains(both, entry.Unit) {
			t.Errorf("entry of %q", entry.Unit)
		}
		byManager = byManager || entry.Manager && entry.Unit == "talk.service"
	}
	if !byManager {
		t.Error("no line of systemd's about talk.service")
	}
	if _, all := read(engine.LogQuery{Units: both, Until: began.Add(-time.Hour)}); len(all) != 0 {
		t.Errorf("%d entries before there were any", len(all))
	}
	_, all = read(engine.LogQuery{Units: both, Lines: 2})
	if got := fmt.Sprint(countUnits(all)); got != "map[other.service:2 talk.service:2]" {
		t.Errorf("the last two of each: %s", got)
	}
	if _, all := read(engine.LogQuery{Units: []string{"talk.service"}, Lines: 1}); len(all) != 1 {
		t.Errorf("the last of one: %d", len(all))
	}

	follow, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var followed []string
	var once sync.Once
	for entry, err := range b.Logs(follow, engine.LogQuery{Units: both, Lines: 1, Follow: true}) {
		if err != nil {
			t.Fatalf("%v; so far %q", err, followed)
		}
		followed = append(followed, string(entry.Text))
		once.Do(func() { go pass() })
		if string(entry.Text) == "other 3" {
			break
		}
	}
	if len(followed) != 3 {
		t.Errorf("followed %q", followed)
	}
	if children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid())); err == nil && len(strings.TrimSpace(string(children))) > 0 {
		t.Errorf("processes are left: %s", children)
	}
}

func countUnits(entries []engine.LogEntry) map[string]int {
	n := map[string]int{}
	for _, entry := range entries {
		n[entry.Unit]++
	}
	return n
}

// TestInsideDenied is an ordinary user's view of the system.
func TestInsideDenied(t *testing.T) {
	ctx := inside(t, "bob")
	b := open(t, Options{})
	units, err := b.Units(ctx, engine.Full, []string{"dbus.service", "systemd-journald.service"})
	u := units["dbus.service"]
	if err != nil || len(units) != 2 || u.MainPID == 0 || u.Memory <= 0 || u.CPU < 0 || u.Fragment == "" {
		t.Errorf("got %+v (%v)", u, err)
	}
	for what, err := range map[string]error{
		"start":  b.Do(ctx, engine.Job{Op: engine.Restart, Unit: "dbus.service"}),
		"stop":   b.Do(ctx, engine.Job{Op: engine.Stop, Unit: "dbus.service"}),
		"reload": b.Reload(ctx),
		"reset":  b.ResetFailed(ctx, "dbus.service"),
		"kill":   b.Kill(ctx, "dbus.service", 15, true),
	} {
		if !errors.Is(err, engine.ErrDenied) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if _, err := b.Watch(ctx, []string{"dbus.service"}); err != nil {
		t.Errorf("watch: %v", err)
	}
	var refused error
	for _, refused = range b.Logs(ctx, engine.LogQuery{Units: []string{"dbus.service"}}) {
	}
	if !errors.Is(refused, engine.ErrDenied) || !strings.Contains(refused.Error(), "systemd-journal") {
		t.Errorf("logs: got %v", refused)
	}
}

func TestInsideNoUserManager(t *testing.T) {
	ctx := inside(t, "bob")
	for what, dir := range map[string]string{"unset": "", "of root": "/run", "gone": "/run/user/1"} {
		_, err := Open(ctx, Options{User: true, RuntimeDir: dir})
		if !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), "loginctl enable-linger") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestInsideUserManager(t *testing.T) {
	ctx := inside(t, "ann")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, Options{User: true, Home: me.HomeDir}) // the runtime directory is found
	runtimeDir := "/run/user/" + me.Uid
	d := b.Dirs()
	if !d.User || d.Units != me.HomeDir+"/.config/systemd/user" || d.Env != me.HomeDir+"/.config/gm" || d.Run != runtimeDir+"/gm" {
		t.Errorf("got %+v", d)
	}
	b.install(map[string]string{
		"mine@.service": "[Service]\nExecStart=/bin/sleep 1000\n",
		"bad.service":   "[Service]\nType=exec\nExecStart=/no/such\n",
	})
	for what, b := range map[string]*bed{"private": b, "bus": open(t, Options{User: true, Bus: "unix:path=" + runtimeDir + "/bus", Home: me.HomeDir})} {
		states, err := b.Watch(ctx, []string{"mine@.service"})
		if err != nil {
			t.Fatal(err)
		}
		b.do(engine.Start, "mine@1.service")
		select {
		case u := <-states:
			if u.Name != "mine@1.service" {
				t.Errorf("%s: told %+v", what, u)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: nothing told", what)
		}
		b.await("mine@1.service", "a process", func(u engine.UnitState) bool {
			return u.Active == "active" && u.MainPID != 0 && u.Memory > 0 && u.CPU >= 0 && u.Tasks == 1
		})
		var failed *engine.JobError
		if err := b.Do(ctx, engine.Job{Op: engine.Start, Unit: "bad.service"}); !errors.As(err, &failed) {
			t.Errorf("%s: %v", what, err)
		}
		b.do(engine.Stop, "mine@1.service")
	}
	t.Run("Logs", func(t *testing.T) { logUnits(t, t.Context(), &bed{b.manager, t}) })
}

func BenchmarkInside(b *testing.B) {
	ctx := inside(b, "bench")
	names := []string{"bench@.service"}
	units := func(o Options, detail engine.Detail) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				// As a command does: a connection of its own.
				e, err := Open(ctx, o)
				if err != nil {
					b.Fatal(err)
				}
				states, err := e.Units(ctx, detail, names)
				if err != nil || len(states) != 500 {
					b.Fatal(len(states), err)
				}
				e.Close()
			}
		}
	}
	b.Run("Brief", units(Options{}, engine.Brief))
	b.Run("List", units(Options{}, engine.List))
	b.Run("Full", units(Options{}, engine.Full))
	b.Run("BusList", units(Options{Bus: systemBus}, engine.List))
	b.Run("BusFull", units(Options{Bus: systemBus}, engine.Full))
	all := []string{"show"}
	for i := range 500 {
		all = append(all, fmt.Sprintf("bench@%d.service", i+1))
	}
	b.Run("Usage", func(b *testing.B) {
		e := open(b, Options{})
		if _, err := e.Units(ctx, engine.List, names); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			e.Units(ctx, engine.Usage, names)
		}
	})
	b.Run("Systemctl", func(b *testing.B) {
		for b.Loop() {
			for _, argv := range [][]string{{"list-units"}, all} {
				if err := exec.Command("systemctl", argv...).Run(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
