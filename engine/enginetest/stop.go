package enginetest

import (
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

func stopLasts(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("install")
	one, two := p.PID("one"), p.PIDs("two")
	p.Do("stop", p.App("one"))
	if p.Alive(one) {
		p.t.Errorf("the process lives when gm stop has ended")
	}
	p.Expect(map[string]string{"one": "stopped", "two": "online"})
	p.Do("install")
	p.Expect(map[string]string{"one": "stopped", "two": "online"})
	// Nor does a change of the file wake it.
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}), app("two"))
	p.Do("install")
	p.Expect(map[string]string{"one": "stopped", "two": "online"})
	p.Same("two", two)
	p.Do("start", p.App("one"))
	if got := p.Environ(p.PID("one"))["NEW"]; got != "1" {
		p.t.Errorf("it starts with the old file: NEW is %q", got)
	}
	p.Do("stop", p.App("one")) // twice is once
	p.Do("stop", p.App("one"))
}

func stopInstance(p *Project) {
	p.Declare(app("many").With(App{"instances": 3}))
	p.Do("install")
	many := p.PIDs("many")
	p.Do("stop", p.App("many@1"))
	p.Expect(map[string]string{"many": "online stopped online"})
	p.Do("install")
	p.Expect(map[string]string{"many": "online stopped online"})
	// Starting the app as a whole means all of it; the others are left alone.
	p.Do("start", p.App("many"))
	p.Expect(map[string]string{"many": "online online online"})
	now := p.PIDs("many")
	if now[0] != many[0] || now[2] != many[2] {
		p.t.Errorf("the other instances were restarted: %v became %v", many, now)
	}
}

func stopCron(p *Project) {
	everySecond := App{"cron_restart": "* * * * * *"}
	p.Declare(app("one").With(everySecond), app("clock").With(everySecond))
	p.Do("install")
	p.Await("cron to restart the app", func() bool { return p.Starts("one") >= 3 })
	p.Do("stop", p.App("one"))
	n := p.Starts("one")
	clock := p.Starts("clock")
	p.Await("the clock to go on", func() bool { return p.Starts("clock") >= clock+3 })
	if now := p.Starts("one"); now != n {
		p.t.Errorf("cron started a stopped app %d times", now-n)
	}
	if got := p.Status("one"); got != "stopped" {
		p.t.Errorf("the app is %s", got)
	}
	p.Do("start", p.App("one"))
	p.Await("cron to work again", func() bool { return p.Starts("one") >= n+3 })
}

func stopAll(p *Project) {
	p.Declare(app("one"), app("many").With(App{"instances": 2}))
	p.Do("install")
	p.Do("stop", "all")
	p.Expect(map[string]string{"one": "stopped", "many": "stopped stopped"})
	p.Do("start", "all")
	p.Expect(map[string]string{"one": "online", "many": "online online"})
	pids := append(p.PIDs("one"), p.PIDs("many")...)
	p.Do("delete", "all")
	p.Expect(map[string]string{})
	for _, pid := range pids {
		if p.Alive(pid) {
			p.t.Errorf("process %d lives", pid)
		}
	}
}

// A save restarts what is watched, once, and wakes nothing that was stopped.
func saveRestarts(p *Project) {
	watched := App{"watch": true, "ignore_watch": []string{"*.log", declarationName}}
	p.Declare(app("one").With(watched), app("many").With(watched).With(App{"instances": 2}))
	p.Do("install")
	one, many := p.PIDs("one"), p.PIDs("many")
	p.Write("save.js", "1")
	p.Await("a restart of each", func() bool { return p.Starts("one") == 2 && p.Starts("many") == 4 })
	p.Other("one", one)
	p.Other("many", many)
	p.Do("stop", p.App("one"))
	p.Write("save.js", "2")
	p.Await("a restart of what was not stopped", func() bool { return p.Starts("many") == 6 })
	p.Expect(map[string]string{"one": "stopped", "many": "online online"})
	p.Do("start", p.App("one"))
	p.Write("save.js", "3")
	p.Await("a restart of what was started again", func() bool { return p.Starts("one") == 4 })
	if n := p.Starts("many"); n > 8 {
		p.t.Errorf("three saves restarted two instances %d times", n-2)
	}
}

func startRunning(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Do("start", p.App("one"))
	p.Same("one", one)
}

func startFile(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("start", declarationName)
	p.Expect(map[string]string{"one": "online", "two": "online"})
	one := p.PIDs("one")
	p.Do("stop", p.App("two"))
	p.Do("start", declarationName)
	p.Expect(map[string]string{"one": "online", "two": "online"})
	p.Same("one", one)
	p.Do("restart", declarationName)
	p.Other("one", one)
}

func stopFile(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("install")
	p.Do("stop", declarationName)
	p.Expect(map[string]string{"one": "stopped", "two": "stopped"})
	p.Do("delete", declarationName)
	p.Expect(map[string]string{})
}

func deleteApp(p *Project) {
	p.Declare(app("one"), app("two").With(App{"instances": 2}))
	p.Do("install")
	one := p.PIDs("one")
	p.Do("delete", p.App("two"))
	p.Expect(map[string]string{"one": "online"})
	p.Same("one", one)
	p.Do("install")
	p.Expect(map[string]string{"one": "online", "two": "online online"})
	p.Same("one", one)
}

func uninstall(p *Project) {
	p.Declare(app("one").With(App{"cron_restart": "0 5 * * *", "env": App{"A": "1"}}),
		app("many").With(App{"instances": 2, "namespace": "back"}),
		do("broken", "exit 3").With(App{"max_restarts": 2, "min_uptime": 5000}))
	if out := p.Gm("install", "--secrets=file", "--no-rollback"); out.Code != 1 {
		p.t.Fatalf("with a broken app: %v", out)
	}
	pids := append(p.PIDs("one"), p.PIDs("many")...)
	p.Do("uninstall")
	p.Expect(map[string]string{})
	for _, pid := range pids {
		if p.Alive(pid) {
			p.t.Errorf("process %d lives", pid)
		}
	}
	if left := traces(p); len(left) > 0 {
		p.t.Errorf("gm uninstall leaves\n%s", strings.Join(left, "\n"))
	}
	p.Fails(3, []string{"uninstall", p.name}, p.name)
}

// traces lists what there is of a project on the machine: files, links and units that
// are loaded.
func traces(p *Project) []string {
	p.t.Helper()
	dirs := p.Dirs()
	left := lines(p.Sh(`name=$1; shift; for d; do [ ! -d "$d" ] || find "$d" -name "*$name*"; done`, p.name, dirs.Units, dirs.Env, dirs.Run))
	if p.Engine() == "systemd" {
		user := ""
		if strings.TrimSpace(p.Sh("id -u")) != "0" {
			user = "--user"
		}
		for _, line := range lines(p.Sh(`systemctl $2 list-units --all --plain --no-legend "*$1*"; systemctl $2 list-unit-files --no-legend "*$1*" || true`, p.name, user)) {
			left = append(left, "unit: "+line)
		}
	}
	slices.Sort(left)
	return left
}

// An app that ignores its stop signal is killed when its time is over.
func stopDeaf(p *Project) {
	p.Declare(do("deaf", `trap "" INT TERM; while :; do sleep 1; done`).With(App{"kill_timeout": 400}))
	p.Do("install")
	deaf := p.PID("deaf")
	p.Do("stop", p.App("deaf"))
	if p.Alive(deaf) {
		p.t.Errorf("the process lives")
	}
	if got := p.Status("deaf"); got != "stopped" {
		p.t.Errorf("the app is %s", got)
	}
}
