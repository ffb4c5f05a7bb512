package gm

import (
	"strings"
	"testing"

	"gm/engine"
)

// TestKeep: what was selected of each app is kept, and in order.
func TestKeep(t *testing.T) {
	web := engine.App{Name: "web", Unit: "web@.service", Group: "web.target", Instances: []string{"web@0.service", "web@1.service", "web@2.service"}}
	worker := engine.App{Name: "worker", Unit: "worker.service", Instances: []string{"worker.service"}}
	for _, test := range []struct{ selectors, want string }{
		{"worker", "worker"},
		{"web", "web@0 web@1 web@2 web@7"},
		{"web@1", "web@1"},
		{"web@2 worker web@0", "web@0 web@2 worker"},
		{"/o/", "worker"},
		{"all", "web@0 web@1 web@2 web@7 worker"},
	} {
		var processes []engine.Process
		for _, unit := range append(web.Instances[:3:3], "web@7.service") { // nobody declares that one
			processes = append(processes, engine.Process{App: &web, Name: strings.TrimSuffix(unit, ".service"), Unit: unit})
		}
		processes = append(processes, engine.Process{App: &worker, Name: "worker", Unit: "worker.service"})
		selected, err := engine.Select([]engine.App{web, worker}, strings.Fields(test.selectors))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range keep(processes, selected) {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.selectors, got, test.want)
		}
	}
}
