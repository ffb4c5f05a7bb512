package enginetest

import (
	"encoding/json"
	"fmt"
	"strings"
)

func selectors(p *Project) {
	p.Declare(app("api"), app("api2").With(App{"namespace": p.name + "back"}), app("job").With(App{"namespace": p.name + "back"}))
	p.Do("install")
	p.Do("stop", "/^"+p.name+"-api/")
	p.Expect(map[string]string{"api": "stopped", "api2": "stopped", "job": "online"})
	p.Do("start", p.App("api"))
	p.Expect(map[string]string{"api": "online", "api2": "stopped", "job": "online"})
	p.Do("stop", p.name+"back")
	p.Expect(map[string]string{"api": "online", "api2": "stopped", "job": "stopped"})
	p.Do("start", p.App("api2"), p.App("job"))
	p.Expect(map[string]string{"api": "online", "api2": "online", "job": "online"})
}

func selectNothing(p *Project) {
	p.Declare(app("worker"))
	p.Do("install")
	for _, verb := range []string{"start", "stop", "restart", "reload", "delete", "describe", "logs", "env", "pid", "reset"} {
		p.Fails(3, []string{verb, p.App("worke")}, p.App("worke"), p.App("worker"))
	}
	p.Fails(2, []string{"stop", "/(/"}, "/(/")
	p.Fails(3, []string{"signal", "USR1", p.App("nobody")}, p.App("nobody"))
	p.Fails(2, []string{"signal", "NOSUCH", p.App("worker")}, "NOSUCH")
	p.Expect(map[string]string{"worker": "online"})
}

func signalArrives(p *Project) {
	p.Declare(do("one", `trap 'echo "usr1 $n $$ $EPOCHREALTIME" >>one.log' USR1`))
	p.Do("install")
	one := p.PIDs("one")
	p.Do("signal", "SIGUSR1", p.App("one"))
	p.Await("the signal", func() bool { return strings.Contains(p.Read("one.log"), "usr1") })
	p.Same("one", one)
}

func reset(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PID("one")
	p.Kill("KILL", one)
	p.Await("the app to be back", func() bool { return p.Procs()[0].Restarts == 1 && p.Status("one") == "online" })
	one = p.PID("one")
	p.Do("reset", p.App("one"))
	if got := p.Procs()[0]; got.Restarts != 0 || got.PID != one {
		p.t.Errorf("after gm reset gm lists %+v", got)
	}
}

func envAndPid(p *Project) {
	p.Declare(app("one").With(App{"env": App{"GREETING": "good day; $HOME %i"}}))
	p.Do("install")
	if out := p.Do("env", p.App("one")); !strings.Contains(out.Stdout, "good day; $HOME %i") || !strings.Contains(out.Stdout, "GREETING") {
		p.t.Errorf("gm env: %v", out)
	}
	if out := p.Do("pid", p.App("one")); strings.TrimSpace(out.Stdout) != fmt.Sprint(p.PID("one")) {
		p.t.Errorf("gm pid: %v", out)
	}
	p.Do("stop", p.App("one"))
	if out := p.Do("pid", p.App("one")); strings.TrimSpace(out.Stdout) != "" {
		p.t.Errorf("gm pid of a stopped app: %v", out)
	}
}

func describe(p *Project) {
	p.Declare(app("one").With(App{"cron_restart": "0 5 * * *", "max_memory_restart": "300M"}), do("ended", "exit 0").With(App{"autorestart": false}))
	p.Do("install")
	out := p.Do("describe", p.App("one"))
	for _, want := range []string{p.App("one"), declarationName, "online", "05:00", "300", "app.sh"} {
		if !strings.Contains(out.Stdout, want) {
			p.t.Errorf("gm describe does not say %q: %v", want, out)
		}
	}
	var data any
	if err := json.Unmarshal([]byte(p.Do("describe", p.App("ended"), "--json").Stdout), &data); err != nil {
		p.t.Errorf("gm describe --json: %v", err)
	}
}

func userObeyed(p *Project) {
	if strings.TrimSpace(p.Sh("id -u")) != "0" {
		p.t.Skip("only root runs apps as others")
	}
	p.Declare(app("root"), app("other").With(App{"uid": "nobody"}))
	out := p.Do("install")
	if !strings.Contains(out.Stderr, p.App("root")) || strings.Contains(out.Stderr, p.App("other")) || !strings.Contains(out.Stderr, "--run-as") {
		p.t.Errorf("one app runs as root, and the warning is: %v", out)
	}
	for name, want := range map[string]string{"root": "root", "other": "nobody"} {
		if got := strings.TrimSpace(p.Sh("stat -c %U /proc/$1", itoa(p.PID(name)))); got != want {
			p.t.Errorf("%s runs as %s", name, got)
		}
	}
}

func usageListed(p *Project) {
	p.Declare(do("busy", "while :; do :; done & x=$(head -c 20000000 /dev/zero | tr '\\0' x)"), app("idle"))
	p.Do("install")
	type usage struct {
		Name string
		Mon  struct{ CPU, Memory float64 } `json:"monit"`
	}
	p.Await("the use of CPU and memory to be listed", func() bool {
		var all []usage
		if err := json.Unmarshal([]byte(p.Do("jlist").Stdout), &all); err != nil {
			p.t.Fatal(err)
		}
		by := map[string]usage{}
		for _, u := range all {
			by[u.Name] = u
		}
		busy, idle := by[p.App("busy")].Mon, by[p.App("idle")].Mon
		return busy.CPU > 5 && idle.CPU < 5 && busy.Memory > 20e6 && idle.Memory > 100e3 && idle.Memory < 20e6
	})
}
