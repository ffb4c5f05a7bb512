package golden

import (
	"fmt"
	"maps"
	"slices"
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
	p.Must("systemctl", "enable", "--quiet", p.target())
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

// auxiliaryMayMiss is a systemd whose enable goes on where a unit of Also= is not
// there; 247 refuses.
const auxiliaryMayMiss = 252

// bootMembership sees that a link alone decides whether a project starts an app,
// and that enable and disable of the project make and remove all links.
func bootMembership(b *booted) {
	p := b.newProject("members")
	const declaration = `[
		{"name": "single", "script": "app.sh", "args": ["single", "exec sleep infinity"]},
		{"name": "couple", "script": "app.sh", "args": ["couple", "exec sleep infinity"], "instances": 2},
		{"name": "asked", "script": "app.sh", "args": ["asked", "exec sleep infinity"], "instances": 2, "autostart": false, "cron_restart": "0 0 1 1 *"},
	]`
	p.install(declaration)
	p.enable()
	links := func() []string {
		out := p.Must("find", "/etc/systemd/system", "-type", "l", "-path", "*.wants/*", "-newer", "/etc/systemd/system/"+p.target(), "-printf", "%P\n")
		all := strings.Fields(out)
		slices.Sort(all)
		return all
	}
	states := func(want map[string]string) {
		p.t.Helper()
		for unit, state := range want {
			if got := p.property("ActiveState", unit); got != state {
				p.t.Errorf("%s is %s, want %s", unit, got, state)
			}
		}
	}
	wants := []string{
		"asked.target.wants/asked@0.service", "asked.target.wants/asked@1.service",
		"couple.target.wants/couple@0.service", "couple.target.wants/couple@1.service", "gm-members.target.wants/asked-restart.timer",
		"gm-members.target.wants/couple.target", "gm-members.target.wants/single.service", "multi-user.target.wants/gm-members.target",
	}
	if diff := cmp.Diff(links(), wants); diff != "" {
		p.t.Errorf("links after enable (-got +want):\n%s", diff)
	}
	all := map[string]string{"single.service": "active", "couple@0.service": "active", "couple@1.service": "active",
		"asked.target": "inactive", "asked@0.service": "inactive", "asked-restart.timer": "active"}
	states(all)
	for _, unit := range []string{p.target(), "couple.target"} {
		deps := p.properties("Wants,After", unit)[0]
		for want := range strings.FieldsSeq(deps["Wants"]) {
			if !strings.HasSuffix(want, ".timer") && !slices.Contains(strings.Fields(deps["After"]), want) {
				p.t.Errorf("%s wants %s and is not after it", unit, want)
			}
		}
	}

	p.Must("systemctl", "disable", "--quiet", "single.service")
	p.stop()
	p.Must("systemctl", "start", p.target())
	without := maps.Clone(all)
	without["single.service"] = "inactive"
	states(without)
	p.Must("systemctl", "enable", "--quiet", "single.service")
	p.stop()
	p.Must("systemctl", "start", p.target())
	states(all)

	// An app that does not start by itself has its instances when it is asked for.
	p.Must("systemctl", "start", "asked.target")
	p.awaitStarts("asked", 2)
	p.Must("systemctl", "disable", "--quiet", p.target())
	if left := links(); len(left) > 0 {
		p.t.Errorf("links after disable: %q", left)
	}
	p.remove()

	p.set, p.options.Only = nil, []string{"single"}
	p.install(declaration)
	_, err := p.Run(p.t.Context(), "systemctl", "enable", "--now", "--quiet", p.target())
	if p.Version() >= auxiliaryMayMiss {
		if err != nil {
			p.t.Errorf("enable of a project whose other apps are not installed: %v", err)
		}
		p.awaitState("single.service", "active")
	}
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
