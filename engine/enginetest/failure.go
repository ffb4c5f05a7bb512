package enginetest

import (
	"fmt"
	"strings"
)

func killed(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("install")
	one, two := p.PID("one"), p.PIDs("two")
	p.Kill("KILL", one)
	p.Await("the app to be back", func() bool { pids := p.PIDs("one"); return len(pids) == 1 && pids[0] != one })
	p.Same("two", two)
	if got := p.Procs()[0]; got.Restarts != 1 || got.Status != "online" {
		p.t.Errorf("after one kill gm lists %+v", got)
	}
}

func crashLoop(p *Project) {
	p.Declare(do("bad", `[ -e ok ] || exit 3`).With(App{"max_restarts": 4, "min_uptime": 1000}))
	p.Write("ok", "")
	p.Do("install")
	p.Sh("rm ok")
	p.Kill("KILL", p.PID("bad"))
	p.Await("the app to be given up", func() bool { return p.Status("bad") == "errored" })
	if n := p.Starts("bad"); n < 4 || n > 6 {
		p.t.Errorf("given up after %d starts", n)
	}
}

// An app that never worked leaves nothing behind.
func firstFails(p *Project) {
	// It lives for a moment: what a process of a user's own systemd writes is only
	// attributed to its unit as long as journald can look at the process.
	p.Declare(app("good"), do("bad", `echo "no such database"; sleep 0.2; exit 3`).With(App{"min_uptime": 2000}))
	out := p.Fails(1, []string{"install"}, p.App("bad"), "code 3", "no such database", declarationName+":")
	if strings.Count(out.Stderr, "no such database") < 1 {
		p.t.Errorf("the log's end is missing: %v", out)
	}
	p.Expect(map[string]string{})
	if left := traces(p); len(left) > 0 {
		p.t.Errorf("a failed first install leaves\n%s", strings.Join(left, "\n"))
	}
	p.Declare(app("good"), app("bad"))
	p.Do("install")
	p.Expect(map[string]string{"good": "online", "bad": "online"})
}

func newVersionFails(p *Project) {
	p.Declare(app("one").With(App{"env": App{"VERSION": "1"}}), app("two"))
	p.Do("install")
	two := p.PIDs("two")
	p.Declare(do("one", `echo "version 2 cannot start" >&2; exit 7`).With(App{"out_file": "NULL"}), app("two"), app("three"))
	p.Fails(1, []string{"install"}, p.App("one"), "code 7")
	p.Expect(map[string]string{"one": "online", "two": "online"})
	p.Same("two", two)
	if got := p.Environ(p.PID("one"))["VERSION"]; got != "1" {
		p.t.Errorf("the version that runs is %q", got)
	}
	// The machine is as before: the old declaration changes nothing.
	p.Declare(app("one").With(App{"env": App{"VERSION": "1"}}), app("two"))
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 {
		p.t.Errorf("something was left: %v", out)
	}
}

// A version that dies within min_uptime has failed, though it is started again.
func newVersionFailsLate(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.Declare(do("one", "sleep 0.3; kill -KILL $$").With(App{"min_uptime": 2000}))
	p.Fails(1, []string{"install"}, "SIGKILL")
	p.Expect(map[string]string{"one": "online"})
	if n := p.Environ(p.PID("one"))["DO"]; n != "" {
		p.t.Errorf("the bad version runs: DO=%s", n)
	}
}

func newVersionKept(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.Declare(do("one", "exit 7").With(App{"max_restarts": 2}), app("two"))
	p.Fails(1, []string{"install", "--no-rollback"}, "code 7")
	p.Await("the new version to be given up", func() bool { return p.Status("one") == "errored" })
	p.Declare(app("one"), app("two"))
	p.Do("install")
	p.Expect(map[string]string{"one": "online", "two": "online"})
}

// A broken version takes down one instance of a cluster, and that one comes back.
func newClusterFails(p *Project) {
	p.Declare(app("many").With(App{"instances": 3}))
	p.Do("install")
	many := p.PIDs("many")
	p.Declare(do("many", "exit 7").With(App{"instances": 3}))
	p.Fails(1, []string{"install"}, "code 7", p.App("many"))
	p.Expect(map[string]string{"many": "online online online"})
	same := 0
	for i, pid := range p.PIDs("many") {
		if pid == many[i] {
			same++
		}
	}
	if same != 2 {
		p.t.Errorf("%d of 3 instances were left alone: %v became %v", same, many, p.PIDs("many"))
	}
}

func oneOfTwoFails(p *Project) {
	version := func(n int, extra string) []App {
		env := App{"VERSION": n}
		if extra != "" {
			env = App{"VERSION": n, "DO": extra}
		}
		return []App{app("good").With(App{"env": App{"VERSION": n}}), app("bad").With(App{"env": env})}
	}
	p.Declare(version(1, "")...)
	p.Do("install")
	p.Declare(version(2, "exit 7")...)
	p.Fails(1, []string{"install"}, "code 7")
	for _, name := range []string{"good", "bad"} {
		if got := p.Environ(p.PID(name))["VERSION"]; got != "1" {
			p.t.Errorf("%s runs version %s", name, got)
		}
	}
}

// readyApp tells that it is ready as any program may.
func readyApp(name, do string) App {
	return app(name).With(App{"wait_ready": true, "env": App{"DO": do}})
}

// say is what tells READY=1 without a program of systemd's: one datagram.
const say = `python3 -c 'import os,socket
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); a=os.environ["NOTIFY_SOCKET"]
s.sendto(b"READY=1", "\0"+a[1:] if a[0]=="@" else a)'`

func ready(p *Project) {
	p.Declare(readyApp("one", `sleep 0.5; echo "ready 0 $$ $EPOCHREALTIME" >>one.log; `+p.sayReady()).With(App{"listen_timeout": 20000}))
	p.Do("install")
	if e := p.Events("one"); len(e) != 2 || e[1].What != "ready" {
		p.t.Errorf("gm install ended before the app was ready: %v", e)
	}
}

func notReady(p *Project) {
	p.Declare(readyApp("one", p.sayReady()).With(App{"listen_timeout": 20000}))
	p.Do("install")
	p.Declare(readyApp("one", "").With(App{"listen_timeout": 700, "env": App{"DO": "", "V": "2"}}))
	p.Fails(1, []string{"install"}, p.App("one"), "ready")
	if got := p.Environ(p.PID("one"))["V"]; got != "" {
		p.t.Errorf("the version that is never ready runs")
	}
}

// sayReady is a command that tells the engine that the app is ready.
func (p *Project) sayReady() string {
	if strings.TrimSpace(p.Sh("command -v systemd-notify || true")) != "" {
		return "systemd-notify --ready"
	}
	return say
}

func revived(p *Project) {
	p.Declare(do("bad", `[ -e ok ] || exit 3`).With(App{"max_restarts": 2, "min_uptime": 300}), app("good"))
	p.Write("ok", "")
	p.Do("install")
	good := p.PIDs("good")
	p.Sh("rm ok")
	p.Kill("KILL", p.PID("bad"))
	p.Await("the app to be given up", func() bool { return p.Status("bad") == "errored" })
	if out := p.Gm("plan", "--exit-code"); out.Code != 1 || !strings.Contains(out.Stdout, p.App("bad")) {
		p.t.Errorf("the plan does not start what has failed: %v", out)
	}
	p.Write("ok", "")
	p.Do("install")
	p.Expect(map[string]string{"bad": "online", "good": "online"})
	p.Same("good", good)
}

func restartAll(p *Project) {
	p.Declare(app("many").With(App{"instances": 3}), app("one"))
	p.Do("install")
	many, one := p.PIDs("many"), p.PIDs("one")
	p.Do("restart", p.App("many"))
	p.Other("many", many)
	p.Same("one", one)
}

func restartStopped(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.Do("stop", p.App("one"))
	p.Do("restart", p.App("one"))
	p.Expect(map[string]string{"one": "online"})
}

// Any number of restarts by hand is no crash loop.
func restartGivenUp(p *Project) {
	p.Declare(do("bad", `[ -e ok ] || exit 3`).With(App{"max_restarts": 2, "min_uptime": 300}))
	p.Write("ok", "")
	p.Do("install")
	for range 6 {
		p.Do("restart", p.App("bad"))
	}
	p.Sh("rm ok")
	p.Kill("KILL", p.PID("bad"))
	p.Await("the app to be given up", func() bool { return p.Status("bad") == "errored" })
	p.Write("ok", "")
	p.Do("restart", p.App("bad"))
	p.Expect(map[string]string{"bad": "online"})
}

func reloadRolls(p *Project) {
	p.Declare(app("many").With(App{"instances": 3}))
	p.Do("install")
	many := p.PIDs("many")
	p.Do("reload", p.App("many"))
	p.Other("many", many)
	rolled(p, "many", 3)
}

func reloadFails(p *Project) {
	p.Declare(do("many", `[ -e ok ] || exit 7`).With(App{"instances": 3}))
	p.Write("ok", "")
	p.Do("install")
	many := p.PIDs("many")
	p.Sh("rm ok")
	p.Fails(1, []string{"reload", p.App("many")}, "code 7")
	left := 0
	now := fmt.Sprint(p.PIDs("many"))
	for _, pid := range many {
		if strings.Contains(now, itoa(pid)) {
			left++
		}
	}
	if left != 2 {
		p.t.Errorf("after a reload that failed %d of 3 instances are the old ones: %v became %v", left, many, now)
	}
}
