package enginetest

import (
	"slices"
	"strings"
)

func changeEnv(p *Project) {
	p.Declare(app("one").With(App{"env": App{"INTERVAL": 1000}}), app("two"), app("many").With(App{"instances": 2}))
	p.Do("install")
	one, two, many := p.PIDs("one"), p.PIDs("two"), p.PIDs("many")
	p.Declare(app("one").With(App{"env": App{"INTERVAL": 2000}}), app("two"), app("many").With(App{"instances": 2}))
	if out := p.Do("plan"); !strings.Contains(out.Stdout, "INTERVAL") {
		p.t.Errorf("the plan does not name INTERVAL: %v", out)
	}
	p.Do("install")
	p.Other("one", one)
	p.Same("two", two)
	p.Same("many", many)
	if got := p.Environ(p.PID("one"))["INTERVAL"]; got != "2000" {
		p.t.Errorf("INTERVAL is %s", got)
	}
}

// How an app is stopped, or when it is given up, is no reason to restart it.
func changeLive(p *Project) {
	p.Declare(app("one").With(App{"kill_timeout": 5000}))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"kill_timeout": 7000, "max_restarts": 99}))
	if out := p.Gm("plan", "--exit-code"); out.Code != 1 {
		p.t.Errorf("the plan sees no change: %v", out)
	}
	p.Do("install")
	p.Same("one", one)
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 {
		p.t.Errorf("the change did not arrive: %v", out)
	}
}

func changeArgs(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"args": []string{"one", "a b", "$HOME %i"}}))
	p.Do("install")
	p.Other("one", one)
	if got := p.Sh("cat /proc/$1/cmdline", itoa(p.PID("one"))); !strings.HasSuffix(got, "\x00one\x00a b\x00$HOME %i\x00") {
		p.t.Errorf("the command line is %q", got)
	}
}

// Of several instances one is replaced at a time.
func changeRolls(p *Project) {
	p.Declare(app("many").With(App{"instances": 3}))
	p.Do("install")
	many := p.PIDs("many")
	p.Declare(app("many").With(App{"instances": 3, "env": App{"X": "1"}}))
	p.Do("install")
	p.Other("many", many)
	p.Expect(map[string]string{"many": "online online online"})
	rolled(p, "many", 3)
}

// rolled fails the test when, after the first n starts of an app, two of its instances
// were ever down at once.
func rolled(p *Project, short string, n int) {
	p.t.Helper()
	up := 0
	for i, e := range p.Events(short) {
		if e.What == "start" {
			up++
		} else {
			up--
		}
		if i >= n && up < n-1 {
			p.t.Errorf("only %d of %d instances were up after event %d: %v", up, n, i, p.Events(short))
			return
		}
	}
	if up != n {
		p.t.Errorf("%d instances are up in the end, not %d: %v", up, n, p.Events(short))
	}
}

func changeCron(p *Project) {
	p.Declare(app("one").With(App{"cron_restart": "0 5 1 1 *"}))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"cron_restart": "0 6 1 1 *"}))
	p.Do("install")
	p.Same("one", one)
	p.Declare(app("one").With(App{"cron_restart": "* * * * * *"}))
	p.Do("install")
	p.Await("the new timer to restart the app", func() bool { return p.Starts("one") >= 2 })
}

func addApp(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one"), app("two"))
	p.Do("install")
	p.Same("one", one)
	p.Expect(map[string]string{"one": "online", "two": "online"})
}

func removeApp(p *Project) {
	p.Declare(app("one"), app("two").With(App{"cron_restart": "0 5 * * *"}), app("many").With(App{"instances": 2}))
	p.Do("install")
	one, two, many := p.PIDs("one"), p.PID("two"), p.PIDs("many")
	p.Declare(app("one"))
	p.Do("install")
	p.Same("one", one)
	p.Expect(map[string]string{"one": "online"})
	for _, pid := range append(many, two) {
		if p.Alive(pid) {
			p.t.Errorf("process %d of an app that was removed lives", pid)
		}
	}
	// They were stopped as they wish to be.
	if e := p.Events("two"); e[len(e)-1].What != "stop" {
		p.t.Errorf("two was not stopped in peace: %v", e)
	}
}

func renameApp(p *Project) {
	p.Declare(app("old").With(App{"args": []string{"both"}}))
	p.Do("install")
	p.Declare(app("new").With(App{"args": []string{"both"}}))
	p.Do("install")
	p.Expect(map[string]string{"new": "online"})
	// The old one ends before the new one starts: they may want the same port.
	events := p.Events("both")
	if len(events) != 3 || events[1].What != "stop" || events[2].What != "start" {
		p.t.Errorf("the new app started beside the old one: %v", events)
	}
}

// One instance is NAME.service, several are a template: other units.
func becomesSeveral(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	p.Declare(app("one").With(App{"instances": 2}))
	p.Do("install")
	p.Expect(map[string]string{"one": "online online"})
	p.Declare(app("one"))
	p.Do("install")
	p.Expect(map[string]string{"one": "online"})
	up := 0
	for _, e := range p.Events("one") {
		up += map[string]int{"start": 1, "stop": -1}[e.What]
	}
	if up != 1 {
		p.t.Errorf("%d processes are up: %v", up, p.Events("one"))
	}
}

func declareMore(p *Project) {
	p.Declare(app("many").With(App{"instances": 2}))
	p.Do("install")
	many := p.PIDs("many")
	p.Declare(app("many").With(App{"instances": 4}))
	p.Do("install")
	if now := p.PIDs("many"); len(now) != 4 || !slices.Equal(now[:2], many) {
		p.t.Errorf("the processes %v became %v", many, now)
	}
}

func declareFewer(p *Project) {
	p.Declare(app("many").With(App{"instances": 4}))
	p.Do("install")
	many := p.PIDs("many")
	p.Declare(app("many").With(App{"instances": 2}))
	p.Do("install")
	p.Same("many", many[:2])
	if p.Alive(many[2]) || p.Alive(many[3]) {
		p.t.Errorf("a surplus instance lives")
	}
}

func scaleByHand(p *Project) {
	p.Declare(app("many").With(App{"instances": 2}), app("single"))
	p.Do("install")
	many := p.PIDs("many")
	p.Do("scale", p.App("many"), "4")
	four := p.PIDs("many")
	if len(four) != 4 || !slices.Equal(four[:2], many) {
		p.t.Errorf("scale 4: the processes %v became %v", many, four)
	}
	p.Do("scale", p.App("many"), "-1")
	p.Same("many", four[:3])
	p.Do("scale", p.App("many"), "+1")
	if now := p.PIDs("many"); len(now) != 4 || !slices.Equal(now[:3], four[:3]) {
		p.t.Errorf("scale +1: the processes %v became %v", four, now)
	}
	p.Fails(2, []string{"scale", p.App("many"), "0"}, "at least one")
	if out := p.Gm("scale", p.App("single"), "3"); out.Code == 0 || !strings.Contains(out.Stderr, "instances") {
		p.t.Errorf("a single app is scaled: %v", out)
	}
}

// The declaration has the last word.
func scaleThenInstall(p *Project) {
	p.Declare(app("many").With(App{"instances": 2}))
	p.Do("install")
	p.Do("scale", p.App("many"), "3")
	three := p.PIDs("many")
	if out := p.Gm("plan", "--exit-code"); out.Code != 1 || !strings.Contains(out.Stdout, p.App("many")) {
		p.t.Errorf("the plan does not see the third instance: %v", out)
	}
	p.Do("install")
	p.Same("many", three[:2])
}
