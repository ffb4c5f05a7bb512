package golden

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// bootDepends sees an app start after the one that it depends on is ready.
func bootDepends(b *booted) {
	p := b.newProject("depends")
	p.install(`[
		{"name": "front", "script": "app.sh", "args": ["front", "exec sleep infinity"], "systemd": {"depends_on": ["back", "pool"]}},
		{"name": "back", "script": "app.sh", "args": ["back", "sleep 0.3; echo $$ $EPOCHREALTIME >back-ready.starts; systemd-notify --ready; exec sleep infinity"],
			"wait_ready": true, "listen_timeout": 20000},
		{"name": "pool", "script": "app.sh", "args": ["pool", "exec sleep infinity"], "instances": 2},
	]`)
	p.checkLoaded()
	p.Must("systemctl", "start", "front.service")
	front, ready := p.awaitStarts("front", 1)[0], p.awaitStarts("back-ready", 1)[0]
	if front.at < ready.at {
		p.t.Errorf("front was started %.3f s before back was ready", ready.at-front.at)
	}
	p.awaitStarts("pool", 2)
	p.Must("systemctl", "stop", "back.service")
	if got := p.property("ActiveState", "front.service"); got != "active" {
		p.t.Errorf("front is %s after the stop of back", got)
	}
	p.stop()
	p.Must("systemctl", "start", p.target())
	for _, unit := range []string{"front.service", "back.service", "pool@0.service", "pool@1.service", "pool.target", p.target()} {
		if got := p.property("ActiveState", unit); got != "active" {
			p.t.Errorf("%s is %s after the start of the project", unit, got)
		}
	}
}

// bootAutostart sees an app that its project does not start.
func bootAutostart(b *booted) {
	p := b.newProject("autostart")
	p.install(`[
		{"name": "started", "script": "app.sh", "args": ["started", "exec sleep infinity"]},
		{"name": "by-hand", "script": "app.sh", "args": ["by-hand", "exec sleep infinity"], "autostart": false},
	]`)
	p.enable()
	p.awaitState("started.service", "active")
	if got := p.property("ActiveState", "by-hand.service"); got != "inactive" {
		p.t.Errorf("by-hand is %s after the start of the project", got)
	}
	p.Must("systemctl", "start", "by-hand.service")
	p.awaitStarts("by-hand", 1)
	p.stop()
	p.awaitState("by-hand.service", "inactive")
}

// bootInstances sees what tells the instances of an app apart.
func bootInstances(b *booted) {
	p := b.newProject("instances")
	p.install(`[
		{"name": "counting", "script": "/share/probe", "args": "counting", "instances": 3, "exec_mode": "fork", "autorestart": false,
			"env": {"PORT": 3000, "NAME": "%i"}, "increment_var": "PORT"},
		{"name": "named", "script": "app.sh", "args": ["named", "echo $INSTANCE_ID >named-$INSTANCE_ID; exec sleep infinity"],
			"instances": 2, "instance_var": "INSTANCE_ID"},
		{"name": "inheriting", "script": "/share/probe", "args": "inheriting", "instances": 2, "namespace": "billing-eu", "autorestart": false,
			"systemd": {"pm2_env": true}},
		{"name": "spaced", "script": "app.sh", "args": ["spaced", "exec sleep infinity"], "namespace": "billing-eu"},
	]`)
	p.enable()
	for i := range 3 {
		file := fmt.Sprintf("counting.%d.environ", i)
		p.Wait(file, func() bool { return p.has(file) })
		if env := splitEnviron(p.read(file)); env["PORT"] != fmt.Sprint(3000+i) || env["NAME"] != "%i" {
			p.t.Errorf("instance %d has PORT=%s, NAME=%s", i, env["PORT"], env["NAME"])
		}
	}
	p.awaitText("named-0", "0\n")
	p.awaitText("named-1", "1\n")
	p.Wait("the inherited variables", func() bool { return p.has("inheriting.1.environ") })
	got := map[string]string{}
	want := map[string]string{
		"name": "inheriting", "namespace": "billing-eu", "exec_mode": "fork_mode", "instances": "2",
		"pm_id": "1", "pm_exec_path": "/share/probe", "pm_cwd": "/share/instances",
	}
	for name, value := range splitEnviron(p.read("inheriting.1.environ")) {
		if _, ok := want[name]; ok {
			got[name] = value
		}
	}
	if diff := cmp.Diff(got, want); diff != "" {
		p.t.Errorf("inherited variables (-got +want):\n%s", diff)
	}
	p.awaitStarts("spaced", 1)
	cgroup := p.cgroup(p.pids("spaced.service")[0])
	if want := "/gm.slice/gm-instances.slice/gm-instances-billing_eu.slice/spaced.service"; cgroup != want {
		p.t.Errorf("the app of a namespace is in %s, not in %s", cgroup, want)
	}
}

// bootSecretCount sees that instances count as well when their first number is in
// an environment file, which is stronger than Environment=.
func bootSecretCount(b *booted) {
	p := b.newProject("secret-count")
	p.options.SecretFiles = true
	p.install(`[{"name": "secret", "script": "/share/probe", "args": "secret", "instances": 2, "exec_mode": "fork", "autorestart": false,
		"env": {"PORT": 3000, "SECRET": "%i"}, "increment_var": "PORT"}]`)
	p.enable()
	for i := range 2 {
		file := fmt.Sprintf("secret.%d.environ", i)
		p.Wait(file, func() bool { return p.has(file) })
		if env := splitEnviron(p.read(file)); env["PORT"] != fmt.Sprint(3000+i) || env["SECRET"] != "%i" {
			p.t.Errorf("instance %d has PORT=%s, SECRET=%s", i, env["PORT"], env["SECRET"])
		}
	}
}

// bootListeners sees that every instance gets the sockets that systemd opened.
func bootListeners(b *booted) {
	p := b.newProject("listeners")
	p.install(`[{"name": "listening", "script": "/share/probe", "args": "listening", "instances": 2, "autorestart": false,
		"systemd": {"listen": ["127.0.0.1:8123", "udp:8124", "/run/gm listeners/app%i.sock"]}}]`)
	p.enable()
	for i := range 2 {
		file := fmt.Sprintf("listening.%d.environ", i)
		p.Wait(file, func() bool { return p.has(file) })
		if env := splitEnviron(p.read(file)); env["LISTEN_FDS"] != "3" {
			p.t.Errorf("instance %d has LISTEN_FDS=%s, want 3", i, env["LISTEN_FDS"])
		}
	}
	p.Must("test", "-S", "/run/gm listeners/app%i.sock")
}

// bootSystemdKeys sees raw directives take the place of gm's.
func bootSystemdKeys(b *booted) {
	p := b.newProject("raw")
	p.install(`[{"name": "raw", "script": "/share/probe", "args": "raw", "env": {"A": "1"}, "systemd": {
		"unit": {"Documentation": "https://example.org/raw", "StartLimitBurst": 7},
		"service": {"Nice": 5, "RestartSec": "1min 30s", "Restart": "no", "Environment": ["\"B=two words\"", "C=3"], "LimitNOFILE": "1024:2048"}
	}}]`)
	p.enable()
	p.Wait("the app", func() bool { return p.has("raw.0.environ") })
	got := p.properties("Documentation,StartLimitBurst,Nice,RestartUSec,Restart,LimitNOFILE,LimitNOFILESoft", "raw.service")[0]
	want := map[string]string{
		"Documentation": "https://example.org/raw", "StartLimitBurst": "7", "Nice": "5", "RestartUSec": "1min 30s",
		"Restart": "no", "LimitNOFILE": "2048", "LimitNOFILESoft": "1024",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		p.t.Errorf("properties (-got +want):\n%s", diff)
	}
	env := splitEnviron(p.read("raw.0.environ"))
	if env["A"] != "1" || env["B"] != "two words" || env["C"] != "3" {
		p.t.Errorf("environment: %q", env)
	}
}

// bootHardening sees that a Node app works under each level, and what it cannot
// do there.
func bootHardening(b *booted) {
	p := b.newProject("hardening")
	levels := []struct{ level, etc, opt string }{
		{"off", "ok", "ok"},
		{"basic", "EROFS", "ok"},
		{"strict", "EROFS", "EROFS"},
	}
	var apps []string
	for _, c := range levels {
		p.write(c.level+" 100% \\x41/here", "")
		apps = append(apps, fmt.Sprintf(`{"name": "hard-%s", "cwd": "%[1]s 100%% \\x41", "script": "../write.js",
			"out_file": "/var/log/hard %[1]s/out.log", "systemd": {"hardening": "%[1]s"}}`, c.level))
	}
	p.install("[" + strings.Join(apps, ",") + "]")
	p.enable()
	for _, c := range levels {
		p.awaitText(c.level+" 100% \\x41/result", fmt.Sprintf(`{"cwd":"ok","etc":"%s","opt":"%s","tmp":"ok"}`, c.etc, c.opt))
		p.awaitState("hard-"+c.level+".service", "active")
	}
}
