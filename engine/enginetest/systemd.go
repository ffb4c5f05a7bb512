package enginetest

import (
	"strings"
)

// byHand runs a shell command that changes unit files, which are in $u, and has the
// engine read them again.
func (p *Project) byHand(command string, args ...string) string {
	p.t.Helper()
	out := p.Sh("u="+p.Dirs().Units+"; "+command, args...)
	if err := p.Reread(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return out
}

func handEdit(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("install")
	one := p.PIDs("one")
	p.byHand(`sed -i 's/^RestartSec=.*/RestartSec=9/' $u/$1.service`, p.App("one"))
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}), app("two").With(App{"env": App{"NEW": "1"}}))
	out := p.Do("install")
	if text := out.Stdout + out.Stderr; !strings.Contains(text, p.App("one")+".service") || !strings.Contains(text, "edited") || !strings.Contains(text, "--force") {
		p.t.Errorf("the edit is not reported: %v", out)
	}
	p.Same("one", one)
	if got := p.Environ(p.PID("two"))["NEW"]; got != "1" {
		p.t.Errorf("two was not changed")
	}
	if got := p.Sh(`grep ^RestartSec $2/$1.service`, p.App("one"), p.Dirs().Units); got != "RestartSec=9\n" {
		p.t.Errorf("the edit is gone: %s", got)
	}
	p.Do("install", "--force")
	p.Other("one", one)
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 {
		p.t.Errorf("--force leaves a change: %v", out)
	}
}

func dropIn(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.byHand(`mkdir -p $u/$1.service.d && printf '[Service]\nEnvironment=FROM_ADMIN=yes\n' >$u/$1.service.d/admin.conf`, p.App("one"))
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}))
	out := p.Do("plan")
	if !strings.Contains(out.Stdout+out.Stderr, "admin.conf") {
		p.t.Errorf("the plan does not show the drop-in: %v", out)
	}
	p.Do("install")
	if env := p.Environ(p.PID("one")); env["FROM_ADMIN"] != "yes" || env["NEW"] != "1" {
		p.t.Errorf("FROM_ADMIN=%s NEW=%s", env["FROM_ADMIN"], env["NEW"])
	}
	if out := p.Do("describe", p.App("one")); !strings.Contains(out.Stdout, "admin.conf") {
		p.t.Errorf("gm describe does not show the drop-in: %v", out)
	}
	p.Do("uninstall")
	if got := p.byHand(`cat $u/$1.service.d/admin.conf; rm -r $u/$1.service.d`, p.App("one")); !strings.Contains(got, "FROM_ADMIN") {
		p.t.Errorf("the administrator's file is gone")
	}
}

func foreignUnit(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Sh(`mkdir -p $2; printf '[Service]\nExecStart=/bin/sleep infinity\n' >$2/$1.service`, p.App("two"), p.Dirs().Units)
	out := p.Fails(1, []string{"install"}, p.App("two")+".service", "--prefix")
	if !strings.Contains(out.Stderr, "/"+p.App("two")+".service") {
		p.t.Errorf("the path is missing: %v", out)
	}
	p.Expect(map[string]string{})
	if got := p.Sh(`cat $2/$1.service`, p.App("two"), p.Dirs().Units); !strings.Contains(got, "/bin/sleep infinity") {
		p.t.Errorf("the other's unit was touched: %s", got)
	}
	p.Do("install", "--prefix", "x-")
	p.Do("uninstall")
	// An alias of another unit, too, is a name that is taken.
	p.Sh(`mv $2/$1.service $2/$1-real.service; ln -s $1-real.service $2/$1.service`, p.App("two"), p.Dirs().Units)
	p.Fails(1, []string{"install"}, p.App("two")+".service", "--prefix")
	p.Sh(`rm $2/$1.service $2/$1-real.service`, p.App("two"), p.Dirs().Units)
}

// What gm makes is what systemctl enable makes.
func enablement(p *Project) {
	p.Declare(app("one"), app("many").With(App{"instances": 2}))
	p.Do("install")
	const scope = `s=; [ "$(id -u)" = 0 ] || s=--user; `
	is := func(unit string) string {
		return strings.TrimSpace(p.Sh(scope+`systemctl $s is-enabled "$1" || true`, unit))
	}
	units := []string{p.App("one") + ".service", p.App("many") + "@0.service", p.App("many") + "@1.service", p.App("many") + ".target", "gm-" + p.name + ".target"}
	for _, unit := range units {
		if got := is(unit); got != "enabled" {
			p.t.Errorf("%s is %s", unit, got)
		}
	}
	p.Do("stop", p.App("one"), p.App("many@1"))
	if one, many := is(units[0]), is(units[2]); one != "disabled" || many != "disabled" {
		p.t.Errorf("stopped, they are %s and %s", one, many)
	}
	// And the other way round.
	p.Sh(scope+`systemctl $s enable --now --quiet "$@"`, units...)
	p.Expect(map[string]string{"one": "online", "many": "online online"})
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 {
		p.t.Errorf("after systemctl enable something is left to do: %v", out)
	}
	for _, unit := range units {
		if state := strings.TrimSpace(p.Sh(scope+`systemctl $s is-active "$1" || true`, unit)); state != "active" {
			p.t.Errorf("%s is %s", unit, state)
		}
	}
}

// changed runs gm in a mount namespace of its own, in which a command has changed
// something before.
func (p *Project) changed(prepare string, args ...string) Output {
	p.t.Helper()
	if strings.TrimSpace(p.Sh("id -u")) != "0" {
		p.t.Skip("needs root to change the mounts")
	}
	return p.Machine.Run(p.t.Context(), p.dir, append([]string{"unshare", "-m", "bash", "-c", prepare + `; exec gm "$@"`, "gm"}, args...)...)
}

func readOnly(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}), app("two"))
	u := p.Dirs().Units
	out := p.changed("mount --bind "+u+" "+u+" && mount -o remount,bind,ro "+u, "install")
	if out.Code != 1 || !strings.Contains(out.Stderr, "read-only") || !strings.Contains(out.Stderr, u) {
		p.t.Errorf("with a read-only %s: %v", u, out)
	}
	p.Same("one", one)
	p.Expect(map[string]string{"one": "online"})
	p.Do("install")
	p.Expect(map[string]string{"one": "online", "two": "online"})
}

func fullDisk(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"env": App{"NEW": strings.Repeat("x", 100_000)}}), app("two"))
	out := p.changed(`u=`+p.Dirs().Units+`; mkdir -p /run/small && mount -t tmpfs -o size=20m tmpfs /run/small && { cp -a $u/. /run/small/ 2>/dev/null || true; } && mount --bind /run/small $u && { cat /dev/zero >/run/small/zero; truncate -s -40k /run/small/zero; } 2>/dev/null`, "install")
	if out.Code != 1 || !strings.Contains(out.Stderr, "no space left") {
		p.t.Errorf("with a full disk: %v", out)
	}
	p.Same("one", one)
	p.Do("install")
	p.Other("one", one)
	p.Expect(map[string]string{"one": "online", "two": "online"})
}

// Someone else has the engine read its files all the time.
func reloading(p *Project) {
	apps := []App{app("one"), app("two"), app("three")}
	over, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			default:
				p.Reread(p.t.Context()) // it may be refused when it is asked too often
			}
		}
	}()
	defer func() { close(over); <-ended }()
	for i := range 4 {
		for n := range apps {
			apps[n] = apps[n].With(App{"env": App{"ROUND": i}})
		}
		p.Declare(apps...)
		p.Do("install")
	}
	p.Expect(map[string]string{"one": "online", "two": "online", "three": "online"})
	for _, name := range []string{"one", "two", "three"} {
		if got := p.Environ(p.PID(name))["ROUND"]; got != "3" {
			p.t.Errorf("%s is of round %s", name, got)
		}
	}
}

// Who may not change the system's apps is told so, and nothing else.
func denied(p *Project) {
	if strings.TrimSpace(p.Sh("id -u")) != "0" {
		p.t.Skip("needs root to become someone else")
	}
	p.Declare(app("one").With(App{"uid": "nobody"}))
	p.Do("install")
	one := p.PIDs("one")
	for _, args := range []string{"install", "stop all", "uninstall", "scale x 2", "restart all", "signal TERM all"} {
		out := p.Machine.Run(p.t.Context(), p.dir, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
			"bash", "-c", "gm "+args+" --system")
		if out.Code != 4 || !strings.Contains(out.Stderr, "root") || len(lines(out.Stderr)) > 2 {
			p.t.Errorf("gm %s as nobody: %v", args, out)
		}
	}
	p.Same("one", one)
	// To look is for everyone.
	out := p.Machine.Run(p.t.Context(), p.dir, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "gm", "list", "--system")
	if out.Code != 0 || !strings.Contains(out.Stdout, p.App("one")) {
		p.t.Errorf("gm list as nobody: %v", out)
	}
}

// However many apps change, systemd reads its files once; and not at all when
// none does.
func oneReload(p *Project) {
	reloads := func() int {
		p.Sh("journalctl --sync")
		return len(lines(p.Sh(`journalctl -q -o cat _PID=1 --no-pager | grep -E '^Reloading( requested|[.]|…|$)' || true`)))
	}
	if strings.TrimSpace(p.Sh("id -u")) != "0" {
		p.t.Skip("the messages of a user's systemd are not told apart")
	}
	p.Declare(app("one"), app("two"), app("gone"), app("many").With(App{"instances": 2}))
	before := reloads()
	p.Do("install")
	first := reloads()
	env := App{"env": App{"X": "1"}}
	p.Declare(app("one").With(env), app("two").With(env), app("new"), app("many").With(env).With(App{"instances": 3}))
	p.Do("install")
	second := reloads()
	p.Do("install")
	p.Do("restart", p.App("one"))
	third := reloads()
	if first-before != 1 || second-first != 1 || third != second {
		p.t.Errorf("an install reloads %d times, a change %d times, and no change %d times\n%s", first-before, second-first, third-second,
			p.Sh("journalctl -q -o cat _PID=1 --no-pager | grep -i reload || true"))
	}
}

// A boot brings back what was enabled, and not what was stopped.
func reboot(p *Project) {
	p.Declare(app("one"), app("two"), app("many").With(App{"instances": 3}))
	p.Do("install")
	p.Do("stop", p.App("two"), p.App("many@1"))
	p.Reboot(p.t)
	p.Await("the apps to be back", func() bool { return p.Status("one") == "online" && p.Status("many") == "online stopped online" })
	p.Expect(map[string]string{"one": "online", "two": "stopped", "many": "online stopped online"})
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 {
		p.t.Errorf("after a reboot something is left to do: %v", out)
	}
}
