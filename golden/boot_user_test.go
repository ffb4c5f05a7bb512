package golden

import (
	"path/filepath"
	"strings"

	"gm/diag"
	"gm/translate"
	"gm/units"
)

// bootUserManager runs a project in the systemd of a user.
func bootUserManager(b *booted) {
	const user, home = "bob", "/home/bob"
	b.Must("useradd", "--create-home", user)
	p := b.newProject("own")
	p.options.Host.Scope, p.options.Host.Home, p.options.SecretFiles = translate.ScopeUser, home, true
	p.write("processes.json", `[
		{"name": "mine", "script": "app.sh", "args": ["mine", "echo $HOME $A $NODE_APP_INSTANCE; exec sleep infinity"], "env": {"A": "50%i"},
			"out_file": "~/my logs/out.log", "pid_file": "run/mine.pid", "max_memory_restart": "100M"},
		{"name": "pair", "script": "app.sh", "args": ["pair", "exec sleep infinity"], "instances": 2, "namespace": "two", "cron_restart": "*/2 * * * * *"},
	]`)
	set, diagnostics := translate.Compile(diag.NewSource("processes.json", []byte(p.read("processes.json"))), p.options)
	if diagnostics.HasErrors() {
		p.t.Fatal(diagnostics)
	}
	for _, u := range set {
		dir := ".config/systemd/user"
		if units.IsEnvFile(u.Name) {
			dir = ".config/gm/own"
		}
		file := filepath.Join("own-home", dir, u.Name)
		p.write(file, string(units.Render(u)))
	}
	p.Must("sh", "-c", "cp -r /share/own/own-home/. "+home+" && chown -R bob: /share/own "+home)
	p.Must("loginctl", "enable-linger", user)
	systemctl := func(args ...string) string {
		out, err := p.RunAs(p.t.Context(), user, append([]string{"systemctl", "--user"}, args...)...)
		if err != nil {
			p.t.Fatal(err)
		}
		return out
	}
	p.Wait("the user's manager", func() bool {
		_, err := p.RunAs(p.t.Context(), user, "systemctl", "--user", "is-system-running")
		return err == nil
	})
	systemctl("daemon-reload")
	systemctl("enable", "--now", "--quiet", p.target())
	p.Wait("the app's output", func() bool {
		return p.Must("sh", "-c", "cat '"+home+"/my logs/out.log' || true") == home+" 50%i 0\n"
	})
	pid := strings.TrimSpace(systemctl("show", "--property=MainPID", "--value", "mine.service"))
	p.awaitText("run/mine.pid", pid)
	if got, want := p.cgroup(pid), "/gm.slice/gm-own.slice/mine.service"; !strings.HasSuffix(got, want) {
		p.t.Errorf("the app is in %s, not in …%s", got, want)
	}
	// Both instances, once by the project and once by the timer.
	p.awaitStarts("pair", 2*2)
	systemctl("stop", p.target())
	p.Wait("the end of the app", func() bool { return !p.alive(pid) && !p.has("run/mine.pid") })
	p.Must("loginctl", "disable-linger", user)
}
