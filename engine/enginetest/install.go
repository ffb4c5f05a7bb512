package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

func installRuns(p *Project) {
	p.Declare(app("one").With(App{"env": App{"WORD": "hello"}}), app("many").With(App{"instances": 3}))
	p.Do("install")
	p.Expect(map[string]string{"one": "online", "many": "online online online"})
	if got := p.Environ(p.PID("one"))["WORD"]; got != "hello" {
		p.t.Errorf("WORD is %q", got)
	}
	for i, pid := range p.PIDs("many") {
		if got := p.Environ(pid)["NODE_APP_INSTANCE"]; got != string(rune('0'+i)) {
			p.t.Errorf("instance %d has NODE_APP_INSTANCE=%s", i, got)
		}
	}
}

func installAgain(p *Project) {
	p.Declare(app("one"), app("many").With(App{"instances": 2}))
	p.Do("install")
	one, many := p.PIDs("one"), p.PIDs("many")
	out := p.Do("install")
	if text := out.Stdout + out.Stderr; !strings.Contains(text, "Nothing changes") {
		p.t.Errorf("a second install does not say that nothing changes: %v", out)
	}
	p.Same("one", one)
	p.Same("many", many)
}

func installFinds(p *Project) {
	p.Declare(app("one"))
	if err := os.Rename(p.host+"/"+declarationName, p.host+"/ecosystem.json"); err != nil {
		p.t.Fatal(err)
	}
	p.Do("install")
	p.Expect(map[string]string{"one": "online"})
}

// What was reviewed is what runs: the units of a directory, unchanged.
func installDirectory(p *Project) {
	p.Declare(app("one"))
	p.Do("gen", "-o", "units")
	p.Declare(app("other")) // not what was reviewed
	p.Do("install", "units")
	p.Expect(map[string]string{"one": "online"})
}

func installStream(p *Project) {
	p.Declare(app("one"))
	p.Write("units.txtar", p.Do("gen").Stdout)
	p.Sh("gm install - <units.txtar")
	p.Expect(map[string]string{"one": "online"})
	if out := p.Do("install", "units.txtar"); !strings.Contains(out.Stdout+out.Stderr, "Nothing changes") {
		p.t.Errorf("the same stream changes something: %v", out)
	}
}

func installOnly(p *Project) {
	p.Declare(app("one"), app("two"))
	p.Do("install", "--only", p.App("one"))
	p.Expect(map[string]string{"one": "online"})
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}), app("two"))
	p.Do("install", "--only", p.App("two"))
	p.Expect(map[string]string{"one": "online", "two": "online"})
	p.Same("one", one)
}

// Without a start the running process stays as it is; the next install knows that it
// is not what the files say.
func installNoStart(p *Project) {
	p.Declare(app("one"))
	p.Do("install")
	one := p.PIDs("one")
	p.Declare(app("one").With(App{"env": App{"NEW": "1"}}), app("two"))
	p.Do("install", "--no-start")
	p.Same("one", one)
	if got := p.Status("two"); got != "stopped" {
		p.t.Errorf("two is %s", got)
	}
	p.Do("install")
	p.Other("one", one)
	if got := p.Environ(p.PID("one"))["NEW"]; got != "1" {
		p.t.Errorf("the new environment did not arrive: NEW is %q", got)
	}
	p.PID("two")
}

// A job that has ended is up to date.
func installJob(p *Project) {
	p.Declare(do("job", "exit 0").With(App{"autorestart": false}))
	p.Do("install")
	p.Await("the job to run", func() bool { return p.Starts("job") == 1 })
	if out := p.Do("install"); !strings.Contains(out.Stdout+out.Stderr, "Nothing changes") {
		p.t.Errorf("a second install runs the job again: %v", out)
	}
	if n := p.Starts("job"); n != 1 {
		p.t.Errorf("the job ran %d times", n)
	}
}

// An app starts when what it depends on is up, which takes its time here. Which of two
// processes gets to its first line first is the machine's affair.
func installOrder(p *Project) {
	const slow = time.Second
	p.Declare(app("front").With(App{"systemd": App{"depends_on": []string{p.App("back")}}}),
		app("back").With(App{"systemd": App{"service": App{"ExecStartPre": fmt.Sprintf("/bin/sleep %g", slow.Seconds())}}}))
	p.Do("install")
	front, back := p.Events("front")[0], p.Events("back")[0]
	if front.At < back.At-slow/2 {
		p.t.Errorf("front started %v before back, which it depends on", back.At-front.At)
	}
}

func installTwice(p *Project) {
	p.Declare(app("one"), app("two").With(App{"instances": 2}))
	p.Sh(`gm install >first 2>&1 & one=$!; gm install >second 2>&1; two=$?; wait $one && [ $two = 0 ] || { cat first second; exit 1; }`)
	p.Expect(map[string]string{"one": "online", "two": "online online"})
	if n := p.Starts("one"); n != 1 {
		p.t.Errorf("one was started %d times", n)
	}
}

func installSecrets(p *Project) {
	env := func(secret string) App { return App{"env": App{"SECRET": secret}} }
	p.Declare(app("one").With(env("first")), app("two"))
	p.Do("install", "--secrets=file")
	one, two := p.PIDs("one"), p.PIDs("two")
	if got := p.Environ(one[0])["SECRET"]; got != "first" {
		p.t.Errorf("SECRET is %q", got)
	}
	p.Declare(app("one").With(env("second")), app("two"))
	plan := p.Do("plan", "--secrets=file", "--diff")
	if text := plan.Stdout + plan.Stderr; strings.Contains(text, "first") || strings.Contains(text, "second") {
		p.t.Errorf("the plan shows a secret: %v", plan)
	}
	p.Do("install", "--secrets=file")
	p.Other("one", one)
	p.Same("two", two)
	if got := p.Environ(p.PID("one"))["SECRET"]; got != "second" {
		p.t.Errorf("SECRET is %q", got)
	}
}

func planSays(p *Project) {
	p.Declare(app("one"), app("two"))
	if out := p.Gm("plan", "--exit-code"); out.Code != 1 || !strings.Contains(out.Stdout, "2 to create") {
		p.t.Errorf("the first plan: %v", out)
	}
	p.Expect(map[string]string{})
	p.Do("install")
	if out := p.Gm("plan", "--exit-code"); out.Code != 0 || !strings.Contains(out.Stdout, "No changes") {
		p.t.Errorf("the plan of what is installed: %v", out)
	}
	p.Declare(app("one").With(App{"env": App{"X": "1"}}), app("three"))
	out := p.Gm("plan", "--exit-code")
	for _, want := range []string{"~ " + p.App("one"), "- " + p.App("two"), "+ " + p.App("three"),
		"1 to create", "1 to change", "1 to remove"} {
		if !strings.Contains(out.Stdout, want) {
			p.t.Errorf("the plan does not say %q: %v", want, out)
		}
	}
	if out.Code != 1 {
		p.t.Errorf("plan --exit-code ends with %d", out.Code)
	}
	var data struct {
		Apps []struct{ App, Effect string }
	}
	if err := json.Unmarshal([]byte(p.Do("plan", "--json").Stdout), &data); err != nil || len(data.Apps) < 3 {
		p.t.Errorf("plan --json: %v, %v", data, err)
	}
	if out := p.Do("install", "--dry-run"); !strings.Contains(out.Stdout, "1 to create") {
		p.t.Errorf("install --dry-run is no plan: %v", out)
	}
	p.Expect(map[string]string{"one": "online", "two": "online"})
	p.Fails(2, []string{"plan", "nowhere.json"}, "nowhere.json")
}

func planSaved(p *Project) {
	p.Declare(app("one"))
	p.Do("plan", "-out", "first.plan")
	p.Declare(app("one"), app("two"))
	p.Do("plan", "--out", "second.plan")
	p.Do("install", "first.plan")
	p.Expect(map[string]string{"one": "online"})
	p.Fails(1, []string{"install", "second.plan"}, "plan")
	p.Expect(map[string]string{"one": "online"})
}
