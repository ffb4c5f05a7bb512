package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gm/units"
)

// planFormat is Plan.Format.
const planFormat = 1

// Plan is what an install will do, as data: Apply does this and nothing else. It
// can be saved and applied later, as long as its base is still what is installed.
type Plan struct {
	// Format is the version of this structure, for saved plans.
	Format  int    `json:"format"`
	Project string `json:"project"`
	Engine  string `json:"engine"`
	User    bool   `json:"user"`
	// Base is a hash of the files and links that the plan starts from.
	Base string `json:"base"`
	// Apps are the changes, sorted by name; the project as a whole is first, with
	// the name "".
	Apps []AppPlan `json:"apps"`
	// Notes are what a person should know and what changes nothing.
	Notes []Note `json:"notes,omitempty"`
}

// AppPlan is what happens to one app.
type AppPlan struct {
	App    string `json:"app"`
	Effect Effect `json:"effect"`
	// Why says what led to the effect, in the words of units: "Environment=INTERVAL",
	// "ExecStart=", "new", "not in the declaration any more", "failed (exit-code)".
	Why []string `json:"why,omitempty"`
	// At is where the declaration has the app: "processes.json:3:5".
	At string `json:"at,omitempty"`

	Files []FileChange `json:"files,omitempty"`
	Links []LinkChange `json:"links,omitempty"`

	// What is done with units, in this order: Stop before the files change, wave
	// after wave (what could start the app again goes first); then, after them,
	// Restart, one unit after the other if Effect is Roll, all at once otherwise;
	// and Start. A Restart starts what does not run. Quiet units are started without
	// waiting for them to stay up, and alone: targets, changed timers.
	Stop    [][]string `json:"stop,omitempty"`
	Restart []string   `json:"restart,omitempty"`
	Start   []string   `json:"start,omitempty"`
	Quiet   []string   `json:"quiet,omitempty"`
	// Later is what runs on as it is, or is left stopped, although the change asks for
	// a restart or a start: Apply notes it as pending (DiffOptions.NoStart).
	Later []string `json:"later,omitempty"`

	// MinUptime is how long what is started must stay up, unless Notifies.
	MinUptime time.Duration `json:"min_uptime,omitempty"`
	Notifies  bool          `json:"notifies,omitempty"`
	// Once says that its process may end by itself: a job.
	Once bool `json:"once,omitempty"`
	// Before and After count declared instances.
	Before int `json:"before"`
	After  int `json:"after"`
}

// Effect is what a person notices of a change.
type Effect string

const (
	// Create installs and starts an app that was not there.
	Create Effect = "create"
	// RestartApp stops and starts the app's process.
	RestartApp Effect = "restart"
	// Roll restarts instance after instance, so that some always run.
	Roll Effect = "reload"
	// Scale only adds or removes instances.
	Scale Effect = "scale"
	// Revive starts an app that has failed or that an interrupted install left.
	Revive Effect = "start"
	// Update changes files and nothing that runs.
	Update Effect = "update"
	// Halt stops an app for good.
	Halt Effect = "stop"
	// Remove stops and removes an app.
	Remove Effect = "remove"
	// Keep changes nothing.
	Keep Effect = "keep"
)

// FileChange is one file: Old is nil when there is none yet, New when it goes.
type FileChange struct {
	Name string  `json:"name"`
	Old  *string `json:"old"`
	New  *string `json:"new"`
}

// LinkChange is a link that is made, or removed.
type LinkChange struct {
	Link
	Remove bool `json:"remove,omitempty"`
}

// Note is something that a plan says beside its changes.
type Note struct {
	App  string   `json:"app,omitempty"`
	Kind NoteKind `json:"kind"`
	Unit string   `json:"unit,omitempty"`
	Text string   `json:"text"` // a full sentence part: "worker.service was edited by hand; it is kept"
	// Remedy is what to do about it, if anything is.
	Remedy string `json:"remedy,omitempty"`
}

type NoteKind string

const (
	NoteEdited  NoteKind = "edited"  // a file was edited by hand and is kept
	NoteForced  NoteKind = "forced"  // … and is overwritten
	NoteDropIn  NoteKind = "drop-in" // the administrator's drop-ins are in effect
	NoteStopped NoteKind = "stopped" // stopped on purpose, stays so
	NoteFailed  NoteKind = "failed"
	// NoteNeeded is of an app that another one, which runs on, starts again with itself.
	NoteNeeded NoteKind = "needed"
)

// Counts is how many apps each effect has.
func (p *Plan) Counts() map[Effect]int {
	counts := map[Effect]int{}
	for i := range p.Apps {
		if p.Apps[i].App != "" {
			counts[p.Apps[i].Effect]++
		}
	}
	return counts
}

// Empty reports whether the plan changes nothing: what is only put off (Later) is
// no change.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Apps, func(a AppPlan) bool { return !a.Empty() })
}

// Empty reports whether nothing happens to the app now.
func (a *AppPlan) Empty() bool {
	return len(a.Files)+len(a.Links)+len(a.Stop)+len(a.Restart)+len(a.Start)+len(a.Quiet) == 0
}

// Set returns the units that are installed once the plan has been carried out.
func (p *Plan) Set(have *State) units.Set {
	planned := map[string]*string{}
	for i := range p.Apps {
		for _, f := range p.Apps[i].Files {
			planned[f.Name] = f.New
		}
	}
	set := make(units.Set, 0, len(have.Files)+len(planned))
	for _, u := range have.Set() {
		if _, changes := planned[u.Name]; !changes {
			set = append(set, u)
		}
	}
	for name, text := range planned {
		if text != nil {
			set = append(set, parseFile(File{Name: name, Text: []byte(*text)}))
		}
	}
	set.Sort()
	return set
}

// Encode returns the plan as a file that ReadPlan reads.
func (p *Plan) Encode() []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		panic(err) // strings and numbers always encode
	}
	return out.Bytes()
}

// ReadPlan reads what Encode wrote.
func ReadPlan(text []byte) (*Plan, error) {
	var head struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	switch {
	case head.Format == nil:
		return nil, errors.New("cannot read the plan: it is JSON, and no plan of gm's")
	case *head.Format != planFormat:
		return nil, fmt.Errorf("cannot read the plan: it has format %d, and this gm reads format %d", *head.Format, planFormat)
	}
	p := &Plan{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	return p, nil
}

// DiffOptions is what a person chose for an install.
type DiffOptions struct {
	Project string
	// Only limits the plan to these apps; nil is all.
	Only []string
	// Force overwrites what was edited by hand.
	Force bool
	// NoStart changes files and links and nothing that runs.
	NoStart bool
	// Now restarts all instances of an app at once.
	Now bool
	// Wake also starts what was stopped on purpose.
	Wake bool
	// Restart restarts (rolls) every app, changed or not.
	Restart bool
	// ByHand is where a person edits and links unit files without systemctl, "" where that
	// does it.
	ByHand string
}
