package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

func ptr(s string) *string { return &s }

// somePlan has every effect once.
func somePlan() *engine.Plan {
	unit := func(interval string) *string {
		return ptr("[Service]\nEnvironment=INTERVAL=" + interval + "\nEnvironment=NODE_ENV=production\nExecStart=/usr/bin/node worker.js\n")
	}
	return &engine.Plan{
		Format: 1, Project: "shop", Engine: "systemd", Base: "b",
		Apps: []engine.AppPlan{
			{App: "", Effect: engine.Update, Why: []string{"Description="}, Files: []engine.FileChange{{Name: "gm-shop.target", Old: ptr("a\n"), New: ptr("b\n")}}},
			{App: "api", Effect: engine.Roll, Why: []string{"ExecStart="}, Restart: []string{"api@0.service", "api@1.service"}, Before: 2, After: 2},
			{App: "gone", Effect: engine.Remove, Why: []string{"not in the declaration any more"}, Stop: [][]string{{"gone.service"}}, Before: 1},
			{App: "idle", Effect: engine.Keep, Before: 1, After: 1},
			{App: "jobs", Effect: engine.Revive, Why: []string{"failed (exit-code)"}, Start: []string{"jobs.service"}, Before: 1, After: 1},
			{App: "many", Effect: engine.Scale, Start: []string{"many@2.service"}, Before: 2, After: 3},
			{App: "new", Effect: engine.Create, Why: []string{"new"}, Start: []string{"new@0.service", "new@1.service", "new@2.service"}, After: 3,
				Files: []engine.FileChange{{Name: "new.env", New: ptr("# gm: App=new\nTOKEN=hush\n")}}},
			{App: "quiet", Effect: engine.Update, Why: []string{"Description="}, Files: []engine.FileChange{{Name: "quiet.service", Old: ptr("a\n"), New: ptr("b\n")}}, Before: 1, After: 1},
			{App: "worker", Effect: engine.RestartApp, Why: []string{"Environment=INTERVAL"}, At: "processes.json:3:5", Restart: []string{"worker.service"}, Before: 1, After: 1,
				Files: []engine.FileChange{
					{Name: "worker.service", Old: unit("1000"), New: unit("60000")},
					{Name: "worker.env", Old: ptr("TOKEN=hush\nKEEP=same\n"), New: ptr("TOKEN=psst\nKEEP=same\nMORE=\"x=y\"\n")},
				}},
		},
		Notes: []engine.Note{{App: "worker", Kind: engine.NoteDropIn, Unit: "worker.service", Text: "worker.service has a drop-in: 50-memory.conf", Remedy: "systemctl cat worker"}},
	}
}

func TestPrintPlan(t *testing.T) {
	none := &engine.Plan{Project: "shop", Apps: []engine.AppPlan{{App: ""}, {App: "a", Effect: engine.Keep}, {App: "b", Effect: engine.Keep}}}
	follows := &engine.Plan{Project: "shop", Apps: []engine.AppPlan{
		{App: "", Effect: engine.Update, Why: []string{"Also="}, Files: []engine.FileChange{{Name: "gm-shop.target", Old: ptr("a"), New: ptr("b")}}},
		{App: "a", Effect: engine.Create, Start: []string{"a.service"}, After: 1},
	}}
	ownOnly := &engine.Plan{Project: "shop", Apps: append(slices.Clone(follows.Apps[:1]), engine.AppPlan{App: "a", Effect: engine.Keep})}
	single := &engine.Plan{Project: "shop", Apps: []engine.AppPlan{
		{App: ""},
		{App: "a", Effect: engine.RestartApp, Restart: []string{"a.service"}, Before: 1, After: 1},
	}}
	tests := []struct {
		name  string
		plan  *engine.Plan
		style planStyle
		want  string
	}{
		{"all effects", somePlan(), planStyle{all: true, notes: true, from: "processes.json"}, `
~ api     reload one instance after the other: ExecStart=
- gone    remove: not in the declaration any more
= idle    unchanged
~ jobs    start: failed (exit-code)
~ many    scale from 2 to 3 instances
+ new     create 3 instances
~ quiet   no restart: Description=
~ worker  restart: Environment=INTERVAL
note: worker.service has a drop-in: 50-memory.conf
    fix: systemctl cat worker

Plan: 1 to create, 5 to change (1 restarts, 1 reloads, 1 scales, 1 starts, 1 without a restart), 1 to remove.
`},
		{"nothing", none, planStyle{from: "processes.json"}, `
No changes. 2 apps are as processes.json says.
`},
		{"one restart, in short", single, planStyle{}, `
~ a  restart
`},
		{"one restart", single, planStyle{from: "units"}, `
~ a  restart

Plan: 0 to create, 1 to change (1 restarts), 0 to remove.
`},
		{"the project follows", follows, planStyle{from: "units/"}, `
+ a  create

Plan: 1 to create, 0 to change, 0 to remove.
`},
		{"only the project", ownOnly, planStyle{from: "units/"}, `
~ shop (project)  no restart: Also=

Plan: no app changes; the project's own units do.
`},
		{"in colour", single, planStyle{color: true}, "\n\x1b[33m~ a  restart\x1b[0m\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff("\n"+string(planText(test.plan, test.style)), test.want); diff != "" {
				t.Errorf("printed differently (-got +want):\n%s", diff)
			}
		})
	}
}

// TestPlanHidesSecrets demands that no output has a value that it must not show.
func TestPlanHidesSecrets(t *testing.T) {
	p := somePlan()
	view := func(secrets bool) string {
		text, err := json.Marshal(newPlanView(p, true, secrets))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, test := range []struct {
		name, text   string
		shows, hides []string
	}{
		{"diff", string(planText(p, planStyle{diff: true})),
			[]string{"-Environment=INTERVAL=***\n+Environment=INTERVAL=*** (changed)\n", " Environment=NODE_ENV=***\n",
				"-TOKEN=***\n", "+TOKEN=*** (changed)\n", " KEEP=***\n", "+MORE=***\n", "--- /dev/null\n+++ new.env\n", "+# gm: App=new\n"},
			[]string{"1000", "60000", "production", "hush", "psst", "same", "x=y"}},
		{"diff with secrets", string(planText(p, planStyle{diff: true, secrets: true})),
			[]string{"-Environment=INTERVAL=1000\n+Environment=INTERVAL=60000\n", "+TOKEN=*** (changed)\n"},
			[]string{"hush", "psst"}},
		{"json", view(false), []string{`"name":"worker.env","change":"change"`, "INTERVAL=***"}, []string{"60000", "hush", "psst", "production"}},
		{"json with secrets", view(true), []string{"60000"}, []string{"hush", "psst"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, s := range test.shows {
				if !strings.Contains(test.text, s) {
					t.Errorf("%q is not in:\n%s", s, test.text)
				}
			}
			for _, s := range test.hides {
				if strings.Contains(test.text, s) {
					t.Errorf("%q is in:\n%s", s, test.text)
				}
			}
		})
	}
}

func TestPlanJSON(t *testing.T) {
	var out bytes.Buffer
	c := &caller{out: &out}
	if err := c.writeJSON(newPlanView(somePlan(), false, false)); err != nil {
		t.Fatal(err)
	}
	if isPlan(out.Bytes()) {
		t.Error("the output of --json passes for a saved plan, and it has no units")
	}
	var got struct {
		Changes bool
		Counts  map[string]int
		Apps    []struct {
			App, Effect, At string
			Restart         []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"create": 1, "restart": 1, "reload": 1, "scale": 1, "start": 1, "update": 1, "remove": 1, "keep": 1}
	if diff := cmp.Diff(got.Counts, want); diff != "" || !got.Changes {
		t.Errorf("changes %v, counts (-got +want):\n%s", got.Changes, diff)
	}
	worker := got.Apps[len(got.Apps)-1]
	if worker.App != "worker" || worker.Effect != "restart" || worker.At != "processes.json:3:5" || len(worker.Restart) != 1 {
		t.Errorf("worker is %+v", worker)
	}
}

// TestSavePlan demands that a saved plan is taken back as it was, and that nobody
// else may read it.
func TestSavePlan(t *testing.T) {
	c := &caller{dir: t.TempDir()}
	p := somePlan()
	if err := c.savePlan("shop.plan", p); err != nil {
		t.Fatal(err)
	}
	text := mustRead(t, c.dir+"/shop.plan")
	if !isPlan(text) {
		t.Errorf("not recognised as a plan:\n%.100s", text)
	}
	cmd, o := installFlags(t)
	w, err := c.wantPlan(cmd, o, "shop.plan", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.plan, p); diff != "" {
		t.Errorf("read back differently (-got +want):\n%s", diff)
	}
	if w.project != "shop" || w.user {
		t.Errorf("project %q, user %v", w.project, w.user)
	}
	if perm := mustStat(t, c.dir+"/shop.plan").Mode().Perm(); perm != 0o600 {
		t.Errorf("mode %o", perm)
	}

	p.Apps[0].Files[0].New = ptr("\xff")
	if err := c.savePlan("bad.plan", p); err == nil {
		t.Error("a text that JSON cannot carry is saved")
	}
}

func TestRefusePlan(t *testing.T) {
	c := &caller{dir: t.TempDir()}
	for _, test := range []struct{ name, text, want string }{
		{"other format", `{"format": 99}`, "format 99"},
		{"no plan", `{"format": 1}`, "no project"},
		{"unknown key", `{"format": 1, "project": "a", "base": "b", "apps": [], "more": 1}`, "more"},
		{"cut off", `{"format": 1, "project"`, "unexpected end"},
		{"path", `{"format": 1, "project": "a", "base": "b", "apps": [{"app": "a", "effect": "create", "files": [{"name": "../evil.service", "new": ""}]}]}`, "evil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd, o := installFlags(t)
			_, err := c.wantPlan(cmd, o, "x.plan", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
		})
	}
	cmd, o := installFlags(t, "--only", "a")
	if _, err := c.wantPlan(cmd, o, "x.plan", []byte(`{"format": 1}`)); err == nil || !strings.Contains(err.Error(), "--only") {
		t.Errorf("--only with a plan: %v", err)
	}
}

func TestSpellArguments(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{"plan -out shop.plan", "plan --out shop.plan"},
		{"plan -out=shop.plan --diff", "plan --out=shop.plan --diff"},
		{"plan -o shop.plan", "plan -o shop.plan"},
		{"gen -out x", "gen -out x"},
		{"scale web -1", "scale web -- -1"},
		{"scale web -1 --user", "scale web --user -- -1"},
		{"scale -- web -1", "scale -- web -1"},
		{"scale web +1", "scale web +1"},
		{"scale web --user", "scale web --user"},
		{"stop web -1", "stop web -1"},
	} {
		if got := strings.Join(spelled(strings.Fields(test.got)), " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.got, got, test.want)
		}
	}
}

// TestPlanExitCode: with --exit-code, 1 means changes and nothing else.
func TestPlanExitCode(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"changes", changed, 1},
		{"a conflict", exit(statusFailed), 2},
		{"a full disk", &failure{status: statusFailed}, 2},
		{"no engine", &failure{status: statusUnreachable}, 4},
		{"invalid", exit(statusInvalid), 2},
	} {
		c := &caller{err: &bytes.Buffer{}}
		if got := c.report(aboveChanged(test.err)); got != test.want {
			t.Errorf("%s: exit status %d, want %d", test.name, got, test.want)
		}
	}
}
