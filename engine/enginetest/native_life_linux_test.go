package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestNativeLife is about the supervisor itself: that its death is no app's, and that
// the next one goes on where it was.
func TestNativeLife(t *testing.T) { lives(t, newNest(t, nestOptions{})) }

// TestNativeLifeUser is the same as an ordinary user.
func TestNativeLifeUser(t *testing.T) { lives(t, newNest(t, nestOptions{user: nestUser})) }

// TestNativeLifeCgroups is the same where there are cgroups, as in a container.
func TestNativeLifeCgroups(t *testing.T) { lives(t, newNest(t, nestOptions{cgroups: true})) }

func lives(t *testing.T, n nest) {
	for i, life := range []struct {
		name string
		run  func(*Project, nest)
	}{
		{"DeathIsNoAppsDeath", deathIsNoAppsDeath},
		{"WhatDiedMeanwhileIsStarted", diedMeanwhile},
		{"StraysOfACrash", straysOfCrash},
		{"StopLastsOverDeath", stopLastsOverDeath},
		{"DeathInTheMiddleOfAStop", deathInStop},
		{"KillEndsAll", killEndsAll},
		{"ReplacedLive", replacedLive},
		{"StartedByTwoAtOnce", startedByTwo},
		{"NothingOfTheShell", nothingOfTheShell},
		{"MemoryIsWatched", memoryIsWatched},
		{"StrangersAreRefused", strangersRefused},
		{"StoppedInOrder", stoppedInOrder},
	} {
		t.Run(life.name, func(t *testing.T) { life.run(newProject(t, n, 40+i), n) })
	}
}

// depose kills the supervisor.
func (n nest) depose(p *Project) task {
	p.t.Helper()
	k, ok := n.supervisor(p.t)
	if !ok {
		p.t.Fatal("there is no supervisor")
	}
	k.signal(syscall.SIGKILL)
	p.Await("the supervisor's death", func() bool { now, ok := n.task(k.pid); return !ok || now.start != k.start })
	return k
}

// awaitRestart waits for an app to be back after its nth automatic restart.
func (p *Project) awaitRestart(short string, n int) {
	p.t.Helper()
	p.Await(fmt.Sprintf("restart %d of %s", n, short), func() bool {
		return slices.ContainsFunc(p.Procs(), func(one Proc) bool {
			return one.Name == short && one.Restarts == n && one.Status == "online"
		})
	})
}

func deathIsNoAppsDeath(p *Project, n nest) {
	p.Declare(app("one"), app("many").With(App{"instances": 2}), app("cron").With(App{"cron_restart": "* * * * * *"}))
	p.Do("install")
	p.Kill("KILL", p.PID("one"))
	p.awaitRestart("one", 1)
	one, many := p.PIDs("one"), p.PIDs("many")
	first := n.depose(p)
	p.Same("one", one)
	p.Same("many", many)
	p.awaitRestart("one", 1) // it is still counted
	second, ok := n.supervisor(p.t)
	if !ok || second.pid == first.pid {
		p.t.Errorf("there is no new supervisor: %v", second)
	}
	// It is a supervisor as the first one was.
	p.Kill("KILL", one[0])
	p.awaitRestart("one", 2)
	cron := p.Starts("cron")
	p.Await("the timer to go on", func() bool { return p.Starts("cron") >= cron+2 })
	p.Do("stop", p.App("many"))
	p.Do("restart", p.App("one"))
	p.Expect(map[string]string{"one": "online", "many": "stopped stopped", "cron": "online"})
	for _, pid := range many {
		if p.Alive(pid) {
			p.t.Errorf("process %d of a stopped app lives", pid)
		}
	}
}

func diedMeanwhile(p *Project, n nest) {
	p.Declare(do("one", "setsid sleep 1234 &"), app("job").With(App{"autorestart": false}), app("two"))
	p.Do("install")
	one, job, two := p.PID("one"), p.PID("job"), p.PIDs("two")
	stray := func() []task { return n.find(p.t, "sleep", "1234") }
	p.Await("its child", func() bool { return len(stray()) == 1 })
	first := stray()[0]
	n.depose(p)
	p.Kill("KILL", one)
	p.Kill("KILL", job)
	p.Await("the app to be started again", func() bool { return p.Status("one") == "online" })
	p.Other("one", []int{one})
	p.Same("two", two)
	p.Await("the end of what the dead app left, in another session", func() bool {
		found := stray()
		return len(found) == 1 && found[0].pid != first.pid
	})
	if got := p.Status("job"); got == "online" {
		p.t.Errorf("an app without autorestart was started again")
	}
	if n := p.Starts("job"); n != 1 {
		p.t.Errorf("an app without autorestart was started %d times", n)
	}
}

// What an app that crashed left in another session ends, though the supervisor dies when
// it has just started the app again, with nothing of the app in its own session.
func straysOfCrash(p *Project, n nest) {
	chaos := n.path("bin/chaos")
	build(p.t, chaos, "./engine/enginetest/testdata/chaos")
	p.Declare(App{"name": "one", "script": chaos, "args": []string{"one", "1s", "session"}, "interpreter": "none", "min_uptime": 150})
	p.Do("install")
	find := func(name string) (found []task) {
		for _, k := range n.tasks(p.t) {
			if len(k.argv) > 1 && k.argv[0] == name {
				found = append(found, k)
			}
		}
		return found
	}
	apps, children := func() []task { return find(chaos) }, func() []task { return find("/proc/self/exe") }
	for range 3 {
		for range 2 { // a supervisor may put off to look for them when it has just done so
			p.Await("the app and its child", func() bool { return len(apps()) == 1 && len(children()) > 0 })
			one := apps()[0]
			one.signal(syscall.SIGKILL)
			p.Await("the app to be back", func() bool { now := apps(); return len(now) == 1 && now[0].pid != one.pid })
		}
		n.depose(p)
		p.Do("list")
		p.Await("the end of the children that were left", func() bool { return len(children()) == 1 })
	}
}

func stopLastsOverDeath(p *Project, n nest) {
	p.Declare(app("one"), app("two"), app("many").With(App{"instances": 3}))
	p.Do("install")
	p.Do("stop", p.App("one"), p.App("many@1"))
	two := p.PIDs("two")
	n.depose(p)
	p.Expect(map[string]string{"one": "stopped", "two": "online", "many": "online stopped online"})
	p.Same("two", two)
}

// The next supervisor brings to its end what the dead one had begun.
func deathInStop(p *Project, n nest) {
	p.Declare(do("deaf", `trap "" INT TERM; while :; do sleep 1; done`).With(App{"kill_timeout": 3000}))
	p.Do("install")
	deaf := p.PID("deaf")
	var wait sync.WaitGroup
	wait.Go(func() { p.Gm("stop", p.App("deaf")) }) // whatever it makes of the death
	p.Await("the stop to be under way", func() bool { return p.Status("deaf") == "stopping" || !p.Alive(deaf) })
	n.depose(p)
	p.Gm("list")
	p.Await("the app to be down", func() bool { return !p.Alive(deaf) && p.Status("deaf") == "stopped" })
	wait.Wait()
	if got := p.Status("deaf"); got != "stopped" {
		p.t.Errorf("the app is %s", got)
	}
}

// gm kill ends the supervisor with its apps, in peace. They come back with the next one.
func killEndsAll(p *Project, n nest) {
	p.Declare(app("one"), app("two"), app("many").With(App{"instances": 2}))
	p.Do("install")
	p.Do("stop", p.App("two"))
	p.Do("kill")
	for _, k := range n.tasks(p.t) {
		// The supervisor itself may have ended, and not be waited for yet.
		if !k.supervises() && k.state != 'Z' {
			p.t.Errorf("after gm kill there is still %v", k)
		}
	}
	p.Await("the supervisor's end", func() bool { return len(n.tasks(p.t)) == 0 })
	if e := p.Events("one"); len(e) != 2 || e[1].What != "stop" {
		p.t.Errorf("one was not stopped in peace: %v", e)
	}
	p.Expect(map[string]string{"one": "stopped", "two": "stopped", "many": "stopped stopped"})
	if k, ok := n.supervisor(p.t); ok {
		p.t.Errorf("to look started %v", k)
	}
	p.Do("kill") // twice is once
	p.Do("start", p.App("two"))
	p.Await("what is enabled to be back", func() bool {
		return p.Status("one") == "online" && p.Status("two") == "online" && p.Status("many") == "online online"
	})
}

// The supervisor executes another program in its place; exits are still its own to see.
func replacedLive(p *Project, n nest) {
	p.Declare(app("one"), do("job", "sleep 2; exit 7").With(App{"autorestart": false, "min_uptime": 100}))
	p.Do("install")
	one := p.PIDs("one")
	before, _ := n.supervisor(p.t)
	p.Do("supervise", "--replace")
	after, ok := n.supervisor(p.t)
	if !ok || after.pid != before.pid {
		p.t.Errorf("the supervisor was %v and is %v", before, after)
	}
	p.Same("one", one)
	p.Await("the job to end", func() bool { return p.Status("job") != "online" })
	if out := p.Do("describe", p.App("job")); !strings.Contains(out.Stdout, "7") {
		p.t.Errorf("gm describe does not tell the exit status: %v", out)
	}
	p.Kill("KILL", one[0])
	p.awaitRestart("one", 1)
}

func startedByTwo(p *Project, n nest) {
	p.Gm("kill")
	other := newProject(p.t, n, 60)
	p.Declare(app("one"))
	other.Declare(app("one"))
	var wait sync.WaitGroup
	wait.Go(func() { p.Do("install") })
	wait.Go(func() { other.Do("install") })
	wait.Wait()
	p.Expect(map[string]string{"one": "online"})
	other.Expect(map[string]string{"one": "online"})
	p.Await("one supervisor to be left", func() bool {
		count := 0
		for _, k := range n.tasks(p.t) {
			if k.supervises() {
				count++
			}
		}
		return count == 1
	})
}

// What the shell of the first command has in its environment is not the apps'.
func nothingOfTheShell(p *Project, n nest) {
	p.Gm("kill")
	p.Declare(app("one").With(App{"filter_env": true}), app("two"))
	p.Sh("SECRET_OF_SHELL=1 gm install; umask 077; exec 9<app.sh; SECRET_OF_SHELL=1 gm restart all")
	env := p.Environ(p.PID("two"))
	if env["SECRET_OF_SHELL"] != "" || env["PATH"] == "" || env["HOME"] == "" {
		p.t.Errorf("the app's environment is %v", env)
	}
	if got := p.Sh("grep ^Umask /proc/$1/status", itoa(p.PID("two"))); !strings.HasSuffix(got, "0022\n") {
		p.t.Errorf("the app's umask: %s", got)
	}
	k, _ := n.supervisor(p.t)
	if k.environ("SECRET_OF_SHELL") != "" {
		p.t.Errorf("the supervisor's environment holds what the shell's does")
	}
	if wd, _ := os.Readlink(k.file("cwd")); wd != "/" {
		p.t.Errorf("the supervisor's directory is %s", wd)
	}
}

func memoryIsWatched(p *Project, n nest) {
	p.Declare(do("hog", `sleep 0.5; x=$(head -c 60000000 /dev/zero | tr "\0" x)`).With(App{"max_memory_restart": "40M"}),
		app("calm").With(App{"max_memory_restart": "40M"}))
	p.Do("install")
	calm := p.PIDs("calm")
	p.Await("the app to be restarted", func() bool { return p.Starts("hog") >= 2 })
	p.Same("calm", calm)
	if out := p.Do("describe", p.App("calm")); !strings.Contains(out.Stdout, "polling") && !strings.Contains(out.Stdout, "every second") {
		p.t.Errorf("gm describe does not say how memory is watched: %v", out)
	}
}

// Another user cannot even look.
func strangersRefused(p *Project, n nest) {
	if n.user != "" {
		p.t.Skip("needs root to become someone else")
	}
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	for _, args := range []string{"install", "stop all", "list", "kill", "restart all", "signal TERM all"} {
		out := n.Run(p.t.Context(), p.dir, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
			"bash", "-c", "gm "+args+" --system")
		if out.Code != 4 || !strings.Contains(out.Stderr, "root") && !strings.Contains(out.Stderr, string(n.home)) || len(lines(out.Stderr)) > 2 {
			p.t.Errorf("gm %s as nobody: %v", args, out)
		}
	}
	p.Same("one", one)
}

// What depends on another app is stopped before it.
func stoppedInOrder(p *Project, n nest) {
	p.Declare(app("front").With(App{"systemd": App{"depends_on": []string{p.App("back")}}}), app("back"))
	p.Do("install")
	p.Do("kill")
	front, back := p.Events("front"), p.Events("back")
	if len(front) != 2 || len(back) != 2 || front[1].At > back[1].At {
		p.t.Errorf("front %v, back %v", front, back)
	}
}

// TestSupervisorKilled kills the supervisor twenty times while its apps work and gm's
// verbs are called: none of the other apps notices.
func TestSupervisorKilled(t *testing.T) {
	c := newChaos(t)
	dir := c.path("projects/steady")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	const apps = 60
	var all []App
	for i := range apps {
		all = append(all, App{"name": fmt.Sprintf("steady-%02d", i), "script": c.path("bin/chaos"), "interpreter": "none",
			"args": []string{fmt.Sprintf("steady-%02d", i), "5ms", []string{"child", "session"}[i%2]}, "min_uptime": 100})
	}
	all = append(all, App{"name": "other", "script": c.path("bin/chaos"), "args": []string{"other", "5ms"}, "interpreter": "none", "min_uptime": 100})
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, declarationName), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := c.gm(dir, "gm", "install"); out.Code != 0 {
		t.Fatalf("gm install: %v", out)
	}
	steady := func() map[string]int {
		listed, err := c.listed()
		if err != nil {
			t.Fatal(err)
		}
		delete(listed, "other.0")
		return listed
	}
	before := steady()
	if len(before) != apps {
		t.Fatalf("%d of %d apps run", len(before), apps)
	}

	over := make(chan bool)
	var wait sync.WaitGroup
	wait.Go(func() { // someone who works with gm all the time
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				c.gm(dir, "gm", []string{"restart", "stop", "start"}[i%3], "other")
			}
		}
	})
	for i := range 20 {
		time.Sleep(100 * time.Millisecond)
		k, ok := c.supervisor(t)
		if !ok {
			c.gm("/", "gm", "list")
			if k, ok = c.supervisor(t); !ok {
				t.Fatalf("death %d: there is no supervisor", i)
			}
		}
		k.signal(syscall.SIGKILL)
	}
	close(over)
	wait.Wait()
	after := steady()
	for name, pid := range before {
		if after[name] != pid {
			t.Errorf("%s ran as process %d, and runs as %d", name, pid, after[name])
		}
		if k, ok := c.task(pid); !ok || k.state == 'Z' {
			t.Errorf("process %d of %s is gone: %v", pid, name, k)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if out := c.Run(ctx, dir, "gm", "stop", "/^steady-/"); out.Code != 0 {
		t.Errorf("gm stop: %v", out)
	}
	for i := range apps {
		name := fmt.Sprintf("steady-%02d.0.ledger", i)
		text, err := os.ReadFile(filepath.Join(dir, name))
		if n := strings.Count(string(text), "start "); err != nil || n != 1 {
			t.Errorf("%s: started %d times: %v", name, n, err)
		}
	}
	c.checkLogs(t)
	c.checkRaces(t)
}
