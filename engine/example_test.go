package engine_test

import (
	"fmt"

	"gm/diag"
	"gm/engine"
	"gm/translate"
)

// A program does what gm plan does: it compiles a declaration and compares it with
// what is installed. Apply carries the plan out; an Engine such as that of
// gm/engine/systemd observes the state that here is written by hand.
func Example() {
	declaration := `[{"name": "worker", "script": "worker.js", "env": {"INTERVAL": 1000}}]`
	want, problems := translate.Compile(diag.NewSource("processes.json", []byte(declaration)), translate.Options{
		Project: "shop",
		Host:    translate.Host{CPUs: 4, Systemd: 252, Scope: translate.ScopeSystem, Root: "/srv/shop", Gm: "/usr/local/bin/gm"},
	})
	if problems.HasErrors() {
		fmt.Println(problems)
		return
	}
	nothing := &engine.State{}
	plan := engine.Diff(want, nothing, engine.DiffOptions{Project: "shop"})
	for _, app := range plan.Apps {
		fmt.Printf("%q: %s, start %v\n", app.App, app.Effect, app.Start)
	}
	// Output:
	// "": create, start []
	// "worker": create, start [worker.service]
}
