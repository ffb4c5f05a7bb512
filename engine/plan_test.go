package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlanCounts(t *testing.T) {
	have := installedState(t, compileSet(t, declared(worker, web, api)))
	want := compileSet(t, declared(replaced(worker, "5", "6"), web, `{"name": "new", "script": "n.js"}`))
	p := Diff(want, have, DiffOptions{Project: "shop"})
	if diff := cmp.Diff(p.Counts(), map[Effect]int{RestartApp: 1, Keep: 1, Remove: 1, Create: 1}); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
	if p.Empty() {
		t.Error("the plan is empty")
	}
}

func TestPlanEmpty(t *testing.T) {
	text := "x"
	for name, c := range map[string]struct {
		app  AppPlan
		want bool
	}{
		"nothing":   {AppPlan{App: "a", Effect: Keep, Why: []string{"x"}, Before: 1, After: 1}, true},
		"put off":   {AppPlan{App: "a", Later: []string{"a.service"}}, true},
		"a file":    {AppPlan{Files: []FileChange{{Name: "a.service", New: &text}}}, false},
		"a link":    {AppPlan{Links: []LinkChange{{Link: Link{"a.target", "a.service"}}}}, false},
		"a stop":    {AppPlan{Stop: [][]string{{"a.service"}}}, false},
		"a restart": {AppPlan{Restart: []string{"a.service"}}, false},
		"a start":   {AppPlan{Start: []string{"a.service"}}, false},
		"a target":  {AppPlan{Quiet: []string{"a.target"}}, false},
	} {
		p := Plan{Apps: []AppPlan{{App: ""}, c.app}, Notes: []Note{{Text: "x"}}}
		if got := p.Empty(); got != c.want {
			t.Errorf("%s: empty is %v, want %v", name, got, c.want)
		}
	}
}

func TestReadPlanRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no JSON", "apps:\n", "invalid character"},
		{"nothing", "", "unexpected end"},
		{"a declaration", `{"apps": [{"name": "web"}]}`, "no plan of gm's"},
		{"a list", `[1]`, "cannot unmarshal"},
		{"a later format", `{"format": 99, "apps": {}}`, "format 99, and this gm reads format 1"},
		{"what this gm does not know", `{"format": 1, "reboot": true}`, "reboot"},
		{"text behind it", `{"format": 1} {"format": 1}`, "after top-level value"},
	} {
		p, err := ReadPlan([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "cannot read the plan: ") {
			t.Errorf("%s: plan %v, error %v, want one with %q", c.name, p, err, c.want)
		}
	}
}
