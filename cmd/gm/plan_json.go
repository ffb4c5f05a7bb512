package main

import (
	"slices"

	"gm/engine"
)

// planView is a plan as gm plan --json prints it: without the texts of units,
// which hold secrets, and so not one that can be applied.
type planView struct {
	Project string                `json:"project"`
	Engine  string                `json:"engine"`
	User    bool                  `json:"user"`
	Changes bool                  `json:"changes"`
	Counts  map[engine.Effect]int `json:"counts"`
	Apps    []appView             `json:"apps"`
	Notes   []engine.Note         `json:"notes"`
}

// appView is what a plan does to one app, or with app "" to the project's units.
type appView struct {
	App     string              `json:"app"`
	Effect  engine.Effect       `json:"effect"`
	Why     []string            `json:"why"`
	At      string              `json:"at,omitempty"`
	Before  int                 `json:"before"`
	After   int                 `json:"after"`
	Files   []fileView          `json:"files"`
	Links   []engine.LinkChange `json:"links"`
	Stop    []string            `json:"stop"`
	Restart []string            `json:"restart"`
	Start   []string            `json:"start"`
}

type fileView struct {
	Name   string `json:"name"`
	Change string `json:"change"` // create, change, remove
	Diff   string `json:"diff,omitempty"`
}

func newPlanView(p *engine.Plan, diffs, secrets bool) planView {
	v := planView{
		Project: p.Project, Engine: p.Engine, User: p.User, Changes: !p.Empty(),
		Counts: map[engine.Effect]int{}, Apps: []appView{}, Notes: filled(p.Notes),
	}
	for _, effect := range []engine.Effect{engine.Create, engine.RestartApp, engine.Roll, engine.Scale,
		engine.Revive, engine.Update, engine.Remove, engine.Keep} {
		v.Counts[effect] = p.Counts()[effect]
	}
	for i := range p.Apps {
		a := &p.Apps[i]
		view := appView{
			App: a.App, Effect: a.Effect, Why: filled(a.Why), At: a.At, Before: a.Before, After: a.After,
			Files: []fileView{}, Links: filled(a.Links), Stop: filled(slices.Concat(a.Stop...)),
			Restart: filled(a.Restart), Start: filled(append(slices.Clone(a.Start), a.Quiet...)),
		}
		for _, f := range a.Files {
			file := fileView{Name: f.Name, Change: "change"}
			switch {
			case f.Old == nil:
				file.Change = "create"
			case f.New == nil:
				file.Change = "remove"
			}
			if diffs {
				file.Diff = string(fileDiff(f, secrets))
			}
			view.Files = append(view.Files, file)
		}
		v.Apps = append(v.Apps, view)
	}
	return v
}

// filled is s, as a list that JSON has as [] and not as null.
func filled[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
