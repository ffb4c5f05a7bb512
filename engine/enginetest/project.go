package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Project is a directory with a declaration and its apps on a machine. The names of
// its apps begin with the project's, as units are shared by the whole machine; a
// scenario uses the short ones.
type Project struct {
	Machine
	t    *testing.T
	name string // "s07"
	dir  string // inside the machine
	host string // the same directory for the test
}

func newProject(t *testing.T, m Machine, number int) *Project {
	t.Helper()
	inside, outside := m.Projects()
	name := fmt.Sprintf("s%02d", number)
	p := &Project{m.For(t), t, name, join(inside, name), filepath.Join(outside, name)}
	if err := os.RemoveAll(p.host); err != nil {
		t.Fatal(err)
	}
	p.Write("app.sh", appScript)
	// Apps of other users write here, too.
	if err := os.Chmod(p.host, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gm := func(args ...string) Output {
			return p.Machine.Run(context.WithoutCancel(t.Context()), p.dir, append([]string{"gm"}, args...)...)
		}
		if t.Failed() {
			t.Logf("gm list:\n%s", gm("list", "--all").Stdout)
		}
		// The next scenarios need the machine's time.
		if out := gm("uninstall", p.name); out.Code != 0 && out.Code != 3 {
			t.Logf("gm uninstall: %v", out)
		}
	})
	return p
}

// appScript is the app of most scenarios: it notes each start (its pid and the
// time) and each end in a file, says what it was told to, and waits for the end.
// DO is what it does before it waits; it ends if that says so.
const appScript = `#!/bin/bash
me=$1 n=${NODE_APP_INSTANCE:-0}
echo "start $n $$ $EPOCHREALTIME" >>"$me.log"
trap 'trap "" INT TERM; echo "stop $n $$ $EPOCHREALTIME" >>"$me.log"; kill $(jobs -p) 2>/dev/null; exit 0' INT TERM
eval "$DO"
while :; do sleep 1000 & wait; done
`

// App is one app of a declaration, by PM2's keys.
type App map[string]any

// With returns a copy of a with further keys.
func (a App) With(keys App) App {
	b := maps.Clone(a)
	maps.Copy(b, keys)
	return b
}

// app is an app that runs app.sh.
func app(name string) App {
	return App{"name": name, "script": "app.sh", "min_uptime": 150, "env": App{}}
}

// do is app with commands to do at its start.
func do(name, commands string) App { return app(name).With(App{"env": App{"DO": commands}}) }

// Declare writes the declaration. The apps' names get the project's before them.
func (p *Project) Declare(apps ...App) {
	p.t.Helper()
	all := make([]App, len(apps))
	for i, a := range apps {
		a = maps.Clone(a)
		short := a["name"].(string)
		a["name"] = p.App(short)
		if a["script"] == "app.sh" && a["args"] == nil {
			a["args"] = []string{short}
		}
		all[i] = a
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		p.t.Fatal(err)
	}
	p.Write(declarationName, string(text)+"\n")
}

// App is the full name of an app.
func (p *Project) App(short string) string {
	if name, instance, ok := strings.Cut(short, "@"); ok {
		return p.name + "-" + name + "@" + instance
	}
	return p.name + "-" + short
}

// Gm runs gm in the project's directory.
func (p *Project) Gm(args ...string) Output {
	p.t.Helper()
	return p.Machine.Run(p.t.Context(), p.dir, append([]string{"gm"}, args...)...)
}

// Do runs gm and fails the test unless it succeeds.
func (p *Project) Do(args ...string) Output {
	p.t.Helper()
	out := p.Gm(args...)
	if out.Code != 0 {
		p.t.Fatalf("gm %s: %v", strings.Join(args, " "), out)
	}
	return out
}

// Fails runs gm, which must fail with that status and say each of the words.
func (p *Project) Fails(code int, args []string, words ...string) Output {
	p.t.Helper()
	out := p.Gm(args...)
	if out.Code != code {
		p.t.Fatalf("gm %s ends with status %d, not %d: %v", strings.Join(args, " "), out.Code, code, out)
	}
	for _, word := range words {
		if !strings.Contains(out.Stderr, word) {
			p.t.Errorf("gm %s does not say %q: %v", strings.Join(args, " "), word, out)
		}
	}
	return out
}

// Sh runs a shell command in the project's directory and returns its output.
func (p *Project) Sh(command string, args ...string) string {
	p.t.Helper()
	out := p.Machine.Run(p.t.Context(), p.dir, append([]string{"bash", "-c", command, "bash"}, args...)...)
	if out.Code != 0 {
		p.t.Fatalf("%s: %v", command, out)
	}
	return out.Stdout
}

// Proc is an instance of an app as gm lists it.
type Proc struct {
	Name     string // short: "web"
	PID      int
	Status   string // PM2's word
	Restarts int
}

// Procs returns what gm lists of the project, in its order.
func (p *Project) Procs() []Proc {
	p.t.Helper()
	out := p.Do("jlist")
	var all []struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
		Env  struct {
			Status   string `json:"status"`
			Restarts int    `json:"restart_time"`
		} `json:"pm2_env"`
	}
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		p.t.Fatalf("gm jlist prints no JSON: %v: %v", err, out)
	}
	procs := []Proc{}
	for _, one := range all {
		if short, ok := strings.CutPrefix(one.Name, p.name+"-"); ok {
			procs = append(procs, Proc{short, one.PID, one.Env.Status, one.Env.Restarts})
		}
	}
	return procs
}

// PIDs returns the processes of an app's instances that run, in order.
func (p *Project) PIDs(short string) []int {
	p.t.Helper()
	var pids []int
	for _, proc := range p.Procs() {
		if proc.Name == short && proc.PID != 0 {
			pids = append(pids, proc.PID)
		}
	}
	return pids
}

// PID returns the only process of an app.
func (p *Project) PID(short string) int {
	p.t.Helper()
	pids := p.PIDs(short)
	if len(pids) != 1 {
		p.t.Fatalf("%s has the processes %v; one is expected\n%s", short, pids, p.Gm("list", "--all").Stdout)
	}
	return pids[0]
}

// Status returns the states of an app's instances as gm lists them: "online", or
// "online online stopped".
func (p *Project) Status(short string) string {
	p.t.Helper()
	var words []string
	for _, proc := range p.Procs() {
		if proc.Name == short {
			words = append(words, proc.Status)
		}
	}
	return strings.Join(words, " ")
}

// Expect fails the test unless each app has that status; apps that are not named must
// not be there.
func (p *Project) Expect(want map[string]string) {
	p.t.Helper()
	got := map[string]string{}
	for _, proc := range p.Procs() {
		got[proc.Name] = strings.TrimSpace(got[proc.Name] + " " + proc.Status)
	}
	if !maps.Equal(got, want) {
		p.t.Errorf("gm lists %v; %v is expected\n%s", got, want, p.Gm("list", "--all").Stdout)
	}
}

// Environ returns the environment of a process.
func (p *Project) Environ(pid int) map[string]string {
	p.t.Helper()
	env := map[string]string{}
	for pair := range strings.SplitSeq(p.Sh("cat /proc/$1/environ", strconv.Itoa(pid)), "\x00") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			env[name] = value
		}
	}
	return env
}

// Alive reports whether a process is there.
func (p *Project) Alive(pid int) bool {
	p.t.Helper()
	return strings.TrimSpace(p.Sh(`[ -d "/proc/$1" ] && echo yes || true`, strconv.Itoa(pid))) == "yes"
}

// Kill sends a signal to a process.
func (p *Project) Kill(signal string, pid int) {
	p.t.Helper()
	p.Sh(`kill -s "$1" "$2"`, signal, strconv.Itoa(pid))
}

// Event is a line that app.sh noted.
type Event struct {
	What     string // start or stop
	Instance int
	PID      int
	At       time.Duration // since the epoch
}

// Events returns what an app noted, in order.
func (p *Project) Events(short string) []Event {
	p.t.Helper()
	var events []Event
	for _, line := range lines(p.Read(short + ".log")) {
		f := strings.Fields(line)
		if len(f) != 4 {
			p.t.Fatalf("%s.log has the line %q", short, line)
		}
		instance, err1 := strconv.Atoi(f[1])
		pid, err2 := strconv.Atoi(f[2])
		// Of two decimal separators the locale has chosen one.
		at, err3 := strconv.ParseFloat(strings.Replace(f[3], ",", ".", 1), 64)
		if err1 != nil || err2 != nil || err3 != nil {
			p.t.Fatalf("%s.log has the line %q", short, line)
		}
		events = append(events, Event{f[0], instance, pid, time.Duration(at * float64(time.Second))})
	}
	return events
}

// Starts counts how often an app was started.
func (p *Project) Starts(short string) int {
	p.t.Helper()
	return len(slices.DeleteFunc(p.Events(short), func(e Event) bool { return e.What != "start" }))
}

// Await polls a condition until it holds.
func (p *Project) Await(what string, holds func() bool) {
	p.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !holds(); <-tick.C {
		if time.Now().After(end) {
			p.t.Fatalf("waited %v in vain for %s", deadline, what)
		}
	}
}

// Write makes a file in the project's directory.
func (p *Project) Write(name, text string) {
	p.t.Helper()
	file := filepath.Join(p.host, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// Read returns the text of a file of the project, "" as long as there is none.
func (p *Project) Read(name string) string {
	text, _ := os.ReadFile(filepath.Join(p.host, name))
	return string(text)
}

// Same fails the test when an app's processes are not those of before.
func (p *Project) Same(short string, before []int) {
	p.t.Helper()
	if now := p.PIDs(short); !slices.Equal(now, before) {
		p.t.Errorf("%s was restarted: its processes were %v and are %v", short, before, now)
	}
}

// Other fails the test when any of an app's processes is still the same.
func (p *Project) Other(short string, before []int) {
	p.t.Helper()
	now := p.PIDs(short)
	for _, pid := range now {
		if slices.Contains(before, pid) {
			p.t.Errorf("%s was not restarted: its processes were %v and are %v", short, before, now)
		}
	}
	if len(now) == 0 {
		p.t.Errorf("%s does not run any more", short)
	}
}
