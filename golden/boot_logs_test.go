package golden

import (
	"fmt"
	"slices"
	"strings"
)

// bootLogs sees where output goes.
func bootLogs(b *booted) {
	p := b.newProject("logs")
	p.write("100% my app/here", "")
	p.install(`[
		{"name": "apart", "cwd": "100% my app", "script": "../app.sh", "args": ["apart", "echo out; echo err >&2; exec sleep infinity"],
			"out_file": "50%i of logs/o u t.log", "error_file": "50%i of logs/err.log"},
		{"name": "many", "script": "app.sh", "args": ["many", "echo $NODE_APP_INSTANCE; exec sleep infinity"], "instances": 3,
			"out_file": "many/out.log"},
		{"name": "merged", "script": "app.sh", "args": ["merged", "echo $NODE_APP_INSTANCE; exec sleep infinity"], "instances": 3,
			"out_file": "merged/out.log", "error_file": "/dev/null", "merge_logs": true},
		{"name": "half", "script": "app.sh", "args": ["half", "echo out; echo err >&2; exec sleep infinity"], "error_file": "NULL"},
		{"name": "silent", "script": "app.sh", "args": ["silent", "echo out; echo err >&2; exec sleep infinity"], "disable_logs": true},
		{"name": "joint", "script": "app.sh", "args": ["joint", "for i in {1..100}; do echo out $i; echo err $i >&2; done; exec sleep infinity"],
			"log_file": "joint.log"},
	]`)
	p.enable()
	p.awaitText("100% my app/50%i of logs/o u t.log", "out\n")
	p.awaitText("100% my app/50%i of logs/err.log", "err\n")
	for i := range 3 {
		p.awaitText(fmt.Sprintf("many/out-%d.log", i), fmt.Sprintln(i))
	}
	p.Wait("three instances to write to one file", func() bool {
		lines := strings.Fields(p.read("merged/out.log"))
		slices.Sort(lines)
		return slices.Equal(lines, []string{"0", "1", "2"})
	})
	var joint strings.Builder
	for i := range 100 {
		fmt.Fprintf(&joint, "out %d\nerr %[1]d\n", i+1)
	}
	p.awaitText("joint.log", joint.String())

	p.Wait("the journal's line", func() bool { return slices.Equal(p.journal("half"), []string{"out"}) })
	p.awaitStarts("silent", 1)
	p.Must("journalctl", "--sync")
	for _, identifier := range []string{"apart", "many-0", "merged-0", "silent", "joint"} {
		if lines := p.journal(identifier); len(lines) > 0 {
			p.t.Errorf("the journal holds lines of %s: %q", identifier, lines)
		}
	}

	p.Must("systemctl", "restart", "apart.service")
	p.awaitText("100% my app/50%i of logs/o u t.log", "out\nout\n")
}

// bootPidFile sees a file that lives as long as its process.
func bootPidFile(b *booted) {
	p := b.newProject("pidfile")
	p.install(`[
		{"name": "pidfile", "script": "app.sh", "args": ["pidfile", "exec sleep infinity"], "pid_file": "run 100%i/app's $HOME.pid"},
		{"name": "pidfiles", "script": "app.sh", "args": ["pidfiles", "exec sleep infinity"], "pid_file": "run/app.pid", "instances": 2},
	]`)
	p.enable()
	files := map[string]string{
		"pidfile.service": "run 100%i/app's $HOME.pid", "pidfiles@0.service": "run/app-0.pid", "pidfiles@1.service": "run/app-1.pid",
	}
	for unit, file := range files {
		p.awaitText(file, p.pids(unit)[0])
	}
	before := p.read("run/app-0.pid")
	p.Must("kill", "-9", before)
	p.Wait("the file of a restarted process", func() bool {
		now := p.read("run/app-0.pid")
		return now != "" && now != before && now == p.pids("pidfiles@0.service")[0]
	})
	p.stop()
	for unit, file := range files {
		if p.has(file) {
			p.t.Errorf("%s is there after the stop of %s", file, unit)
		}
	}
}

// bootUser sees an app run as the declared user, with that user's environment.
func bootUser(b *booted) {
	b.Must("groupadd", "crew")
	b.Must("useradd", "--create-home", "--groups", "crew", "ann")
	p := b.newProject("users")
	const say = "echo $(id -un) $(id -gn) $HOME $USER $LOGNAME; exec sleep infinity"
	p.write("ann/app.sh", p.read("app.sh"))
	p.Must("chown", "-R", "ann:", "/share/users/ann")
	p.install(strings.ReplaceAll(`[
		{"name": "as-ann", "cwd": "ann", "script": "app.sh", "args": ["as-ann", "SAY"], "uid": "ann", "out_file": "logs/out.log", "pid_file": "run/ann.pid"},
		{"name": "as-crew", "cwd": "ann", "script": "app.sh", "args": ["as-crew", "SAY"], "uid": "ann", "gid": "crew", "out_file": "crew.log"},
		{"name": "as-root", "script": "app.sh", "args": ["as-root", "SAY"], "out_file": "root.log"},
	]`, "SAY", say))
	p.enable()
	p.awaitText("ann/logs/out.log", "ann ann /home/ann ann ann\n")
	p.awaitText("ann/crew.log", "ann crew /home/ann ann ann\n")
	p.awaitText("root.log", "root root /root root root\n")
	p.awaitText("ann/run/ann.pid", p.pids("as-ann.service")[0])
}

// bootStamps sees the pipes through which lines go to be stamped. Who reads them
// is not looked at here.
func bootStamps(b *booted) {
	p := b.newProject("stamps")
	p.install(`[
		{"name": "stamped", "script": "app.sh", "args": ["stamped", "echo line; exec sleep infinity"], "instances": 2,
			"out_file": "out.log", "error_file": "err.log", "log_date_format": "YYYY-MM-DD HH:mm:ss"},
		{"name": "twice", "script": "app.sh", "args": ["twice", "echo line; exec sleep infinity"], "out_file": "twice.log", "log_file": "all.log"},
	]`)
	p.checkLoaded()
	p.Must("systemctl", "start", "stamped-log.socket", "twice-log.socket")
	for _, pipe := range []string{"stamped-0.out", "stamped-0.err", "stamped-1.out", "stamped-1.err", "twice-0.out", "twice-0.err"} {
		if got := p.Must("stat", "--format=%F %a", "/run/gm/stamps/"+pipe); got != "fifo 600\n" {
			p.t.Errorf("%s is a %s", pipe, got)
		}
	}
}
