package golden

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"gm/engine"
	"gm/engine/systemd"
)

// TestBootedWatch has gm watch restart apps under a real systemd.
func TestBootedWatch(t *testing.T) {
	b := bootMachine(t)
	for _, part := range []struct {
		name string
		run  func(*booted)
	}{
		{"SeedRestartsOncePerSave", bootWatchSeed},
		{"OwnLogsDoNotCount", bootWatchLogs},
		{"GivenUpAppComesBack", bootWatchFailed},
		{"StoppedAppIsNotWoken", bootWatchStopped},
		{"SaveBesideRestartIsSeen", bootWatchGap},
		{"InstancesRestartTogether", bootWatchInstances},
		{"StopBeatsSave", bootWatchStop},
		{"UserScope", bootWatchUser},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(b.in(t)) })
	}
}

// restarted returns what the watch of an app has said.
func (p *project) restarted(unit string) []string {
	p.t.Helper()
	p.Must("journalctl", "--sync")
	// By the identifier: of a process that is gone the journal may not know the unit.
	out := p.Must("journalctl", "-q", "-o", "cat", "SYSLOG_IDENTIFIER=gm")
	var lines []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, unit) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// bootWatchSeed saves files beside the README's worker.
func bootWatchSeed(b *booted) {
	seed, err := os.ReadFile("../examples/seed/processes.json")
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.newProject("watched")
	p.copyFiles("../examples/seed")
	p.write("node_modules/x/index.js", "1")
	p.write(".git/HEAD", "1")
	p.install(string(seed))
	p.enable()
	p.awaitState("worker-watch.service", "active")
	first := p.pids("worker.service")[0]

	// None of these counts, or the next save would tell of more than itself.
	p.write("node_modules/x/index.js", "2")
	p.write("node_modules/y/index.js", "2")
	p.write(".git/HEAD", "2")
	p.write(".env", "2")
	p.write("worker.js", p.read("worker.js")+"\n")
	next := func(old string) (pid string) {
		p.Wait("another process of worker", func() bool {
			pid = p.pids("worker.service")[0]
			return pid != old && pid != "0"
		})
		return pid
	}
	second := next(first)
	p.write("lib/new.js", "1")
	next(second)
	lines := p.restarted("worker.service")
	if len(lines) != 2 || lines[0] != "restarting worker.service: worker.js changed" || !strings.HasPrefix(lines[1], "restarting worker.service: lib") {
		p.t.Errorf("two saves, and the journal has\n%s", strings.Join(lines, "\n"))
	}
	if got := p.property("NRestarts", "worker-watch.service"); got != "0" {
		p.t.Errorf("the watch failed %s times", got)
	}
}

// watchedApp declares an app that is watched, but for what app.sh notes.
func watchedApp(name, commands, more string) string {
	return fmt.Sprintf(`{"name": %q, "script": "app.sh", "args": [%q, %q], "watch": true, "ignore_watch": ["*.starts", "processes.json"]%s}`, name, name, commands, more)
}

// bootWatchLogs has an app write to its logs in the watched directory all the time.
func bootWatchLogs(b *booted) {
	p := b.newProject("watchlogs")
	p.install("[" + watchedApp("talker", "while :; do echo out; echo err >&2; sleep 0.01; done",
		`, "out_file": "logs/out.log", "error_file": "logs/err.log", "pid_file": "logs/talker.pid"`) + "]")
	p.enable()
	p.awaitStarts("talker", 1)
	p.Wait("a hundred lines", func() bool { return strings.Count(p.read("logs/out.log"), "out\n") > 100 })
	p.write("save.js", "")
	p.awaitStarts("talker", 2)
	lines := p.restarted("talker.service")
	if len(lines) != 1 || lines[0] != "restarting talker.service: save.js added" {
		p.t.Errorf("one save, and the journal has\n%s", strings.Join(lines, "\n"))
	}
}

// bootWatchFailed saves what an app that was given up lacked.
func bootWatchFailed(b *booted) {
	p := b.newProject("watchfailed")
	p.install("[" + watchedApp("broken", "[ -e fixed ] || exit 1; exec sleep infinity", `, "max_restarts": 2`) + "]")
	p.enable()
	p.awaitState("broken.service", "failed")
	p.awaitState("broken-watch.service", "active")
	p.write("fixed", "")
	p.awaitState("broken.service", "active")
	if lines := p.restarted("broken.service"); len(lines) != 1 {
		p.t.Errorf("one save, and the journal has\n%s", strings.Join(lines, "\n"))
	}
}

// bootWatchStopped stops an app, which ends its watch; a watch that runs all the same
// leaves it alone, too.
func bootWatchStopped(b *booted) {
	p := b.newProject("watchstopped")
	p.install("[" + watchedApp("idle", "exec sleep infinity", "") + "," + watchedApp("witness", "exec sleep infinity", "") + "]")
	p.enable()
	p.awaitStarts("idle", 1)
	p.awaitStarts("witness", 1)
	p.Must("systemctl", "stop", "idle.service")
	p.awaitState("idle-watch.service", "inactive")
	p.Must("systemctl", "start", "idle-watch.service")
	p.write("save.js", "1")
	p.awaitStarts("witness", 2)
	// The second save is seen by a watch that has dealt with the first.
	p.write("save.js", "2")
	p.awaitStarts("witness", 3)
	if got := p.property("ActiveState", "idle.service"); got != "inactive" || len(p.restarted("idle.service")) > 0 {
		p.t.Errorf("a stopped app is %s after a save: %v", got, p.restarted("idle.service"))
	}
}

// bootWatchGap saves a file right after the start of an app, when its watch has been
// ended with the old one and may not be back.
func bootWatchGap(b *booted) {
	p := b.newProject("watchgap")
	p.install("[" + watchedApp("gap", "exec sleep infinity", "") + "]")
	p.enable()
	p.awaitStarts("gap", 1)
	started := func() string { // in microseconds
		out := p.Must("busctl", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1/unit/gap_2eservice",
			"org.freedesktop.systemd1.Service", "ExecMainStartTimestamp")
		return strings.TrimPrefix(strings.TrimSpace(out), "t ")
	}
	for range 10 {
		saved := strings.TrimSpace(p.Must("bash", "-c", "systemctl restart gap.service; echo ${EPOCHREALTIME/./}; echo >>/share/watchgap/save.js"))
		p.Wait("the app to be started after the save", func() bool { return started() > saved })
		p.awaitState("gap.service", "active")
	}
}

// bootWatchInstances stops one of three instances and saves.
func bootWatchInstances(b *booted) {
	p := b.newProject("watchmany")
	p.install("[" + watchedApp("many", "exec sleep infinity", `, "instances": 3`) + "]")
	p.enable()
	p.awaitStarts("many", 3)
	units := []string{"many@0.service", "many@1.service", "many@2.service"}
	p.Must("systemctl", "stop", units[1])
	watch := p.pids("many-watch.service")[0]
	before := p.pids(units...)
	p.write("save.js", "1")
	p.awaitStarts("many", 5)
	p.Wait("both instances to run", func() bool { now := p.pids(units...); return now[0] != "0" && now[2] != "0" })
	now := p.pids(units...)
	if now[0] == before[0] || now[2] == before[2] || now[1] != "0" {
		p.t.Errorf("the instances %v became %v", before, now)
	}
	if lines := p.restarted("many@"); len(lines) != 1 || lines[0] != "restarting many@*.service: save.js added" {
		p.t.Errorf("one save, and the journal has\n%s", strings.Join(lines, "\n"))
	}
	if got := p.pids("many-watch.service")[0]; got != watch {
		p.t.Errorf("the watch of a template was restarted: %s became %s", watch, got)
	}
}

// bootWatchStop has the restart that a save asks for come while a stop is under way.
func bootWatchStop(b *booted) {
	p := b.newProject("watchstop")
	p.install(`[{"name": "slow", "script": "app.sh", "args": ["slow", "trap '' INT; while :; do sleep 0.1; done"], "kill_timeout": 3000}]`)
	p.enable()
	p.awaitStarts("slow", 1)
	root, _ := strings.CutSuffix(strings.TrimPrefix(p.Bus(), "unix:path="), "/run/dbus/system_bus_socket")
	e, err := systemd.Open(p.t.Context(), systemd.Options{Root: root, Bus: p.Bus()})
	if err != nil {
		p.t.Fatal(err)
	}
	defer e.Close()
	p.Must("systemctl", "stop", "--no-block", "slow.service")
	p.awaitState("slow.service", "deactivating")
	err = e.Do(p.t.Context(), engine.Job{Op: engine.Restart, Unit: "slow.service", Yield: true})
	var job *engine.JobError
	if !errors.As(err, &job) || job.Result != "canceled" {
		p.t.Errorf("a restart that is to yield to a stop: %v", err)
	}
	p.Wait("the end of slow", func() bool {
		state := p.property("ActiveState", "slow.service")
		return state == "inactive" || state == "failed"
	})
	if n := len(p.starts("slow")); n != 1 {
		p.t.Errorf("slow was started %d times", n)
	}
}

// bootWatchUser saves beside an app of a user's own systemd.
func bootWatchUser(b *booted) {
	const user = "eve"
	p := b.newProject("watchuser")
	p.Must("useradd", "--create-home", user)
	p.write("processes.json", "["+watchedApp("mine", "exec sleep infinity", "")+"]")
	p.Must("chown", "-R", user+":", "/share/watchuser")
	p.Must("loginctl", "enable-linger", user)
	as := func(argv ...string) (string, error) { return p.RunAs(p.t.Context(), user, argv...) }
	p.Wait("the user's manager", func() bool {
		_, err := as("systemctl", "--user", "is-system-running")
		return err == nil
	})
	if out, err := as("sh", "-c", "cd /share/watchuser && exec gm install"); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	p.awaitStarts("mine", 1)
	p.write("save.js", "1")
	p.awaitStarts("mine", 2)
	if out, err := as("sh", "-c", "cd /share/watchuser && exec gm uninstall"); err != nil {
		p.t.Errorf("%v\n%s", err, out)
	}
}
