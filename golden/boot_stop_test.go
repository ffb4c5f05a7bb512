package golden

import (
	"errors"
	"strings"
	"time"

	"gm/testbed"
)

// bootStop sees how apps end.
func bootStop(b *booted) {
	p := b.newProject("stop")
	p.install(`[
		{"name": "deaf", "script": "deaf.js", "kill_timeout": 300},
		{"name": "polite", "script": "polite.js", "kill_timeout": 20000},
		{"name": "family", "script": "family.js", "args": "family.pids", "kill_timeout": 20000},
		{"name": "family-alone", "script": "family.js", "args": "family-alone.pids", "kill_timeout": 20000, "treekill": false},
	]`)
	p.enable()
	for _, file := range []string{"deaf.pid", "polite.pid", "family.pids", "family-alone.pids"} {
		p.Wait(file, func() bool { return strings.TrimSpace(p.read(file)) != "" })
	}
	stop := func(p *project, unit string) time.Duration {
		begin := time.Now()
		p.Must("systemctl", "stop", unit)
		return time.Since(begin)
	}
	p.sub("DeafIsKilled", func(p *project) {
		if took := stop(p, "deaf.service"); took < 300*time.Millisecond {
			p.t.Errorf("it was given %v of its kill_timeout of 300 ms", took)
		}
		if pid := p.read("deaf.pid"); p.alive(pid) {
			p.t.Errorf("pid %s is alive", pid)
		}
	})
	p.sub("Exit130IsClean", func(p *project) {
		stop(p, "polite.service")
		got := p.properties("ActiveState,Result,ExecMainStatus", "polite.service")[0]
		if got["ActiveState"] != "inactive" || got["Result"] != "success" || got["ExecMainStatus"] != "130" {
			p.t.Errorf("after its stop: %v", got)
		}
	})
	for _, name := range []string{"family", "family-alone"} {
		p.sub("ChildrenEnd/"+name, func(p *project) {
			if took := stop(p, name+".service"); took > 15*time.Second {
				p.t.Errorf("it took %v: the children had to be killed", took)
			}
			for pid := range strings.FieldsSeq(p.read(name + ".pids")) {
				if p.alive(pid) {
					p.t.Errorf("pid %s is alive", pid)
				}
			}
			if got := p.property("ActiveState", name+".service"); got != "inactive" {
				p.t.Errorf("it is %s after its stop", got)
			}
		})
	}
}

// bootReady sees a start last until the app says that it is ready.
func bootReady(b *booted) {
	p := b.newProject("ready")
	p.install(`[
		{"name": "ready", "script": "app.sh", "args": ["ready", "until [ -e go ]; do sleep 0.05; done; systemd-notify --ready; exec sleep infinity"],
			"wait_ready": true, "listen_timeout": 20000, "autorestart": false},
		{"name": "never-ready", "script": "app.sh", "args": ["never-ready", "exec sleep infinity"],
			"wait_ready": true, "listen_timeout": 300, "autorestart": false},
	]`)
	p.checkLoaded()
	p.Must("systemctl", "start", "--no-block", "ready.service")
	p.awaitStarts("ready", 1)
	if got := p.property("ActiveState", "ready.service"); got != "activating" {
		p.t.Errorf("it is %s before it said that it is ready", got)
	}
	p.write("go", "")
	p.Must("systemctl", "start", "ready.service") // joins the start that is under way
	if got := p.property("ActiveState", "ready.service"); got != "active" {
		p.t.Errorf("it is %s after its start", got)
	}

	_, err := p.Run(p.t.Context(), "systemctl", "start", "never-ready.service")
	var exit *testbed.ExitError
	if !errors.As(err, &exit) || exit.Code != 1 {
		p.t.Errorf("the start of an app that is never ready: %v", err)
	}
	got := p.properties("ActiveState,Result", "never-ready.service")[0]
	if got["ActiveState"] != "failed" || got["Result"] != "timeout" {
		p.t.Errorf("an app that is never ready: %v", got)
	}
}
