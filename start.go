package gm

import (
	"bytes"
	"context"
	"errors"

	"gm/diag"
	"gm/engine"
	"gm/machine"
	"gm/translate"
	"gm/units"
)

// Declaration is a PM2 declaration, and how it is to be read.
type Declaration struct {
	// File is a file, or a directory in which one is looked for; "" is Options.Dir.
	File string
	// Text, if it is not nil, is the declaration itself, which messages call Name. Its
	// paths start from Options.Dir, after which the project is called.
	Text []byte
	Name string

	// Env chooses the env_… blocks: "production".
	Env string
	// Only limits everything to these apps.
	Only []string
	// Project is what the apps are called together, if not after the directory.
	Project string
	// Prefix is put before the name of every app's units.
	Prefix string
	// RunAs is the user of apps that name none, in ScopeSystem.
	RunAs string
	// SecretFiles puts the values of env into files that others cannot read.
	SecretFiles bool
	// Strict has warnings be errors.
	Strict bool

	// Force overwrites units that were edited by hand.
	Force bool
	// KeepFailed leaves what was changed when an app does not come up.
	KeepFailed bool
	// KeepStopped leaves apps stopped that were stopped for good.
	KeepStopped bool
}

// Done is what a Start did.
type Done struct {
	// Plan is the changes, by app: what was created, restarted, reloaded, removed, kept.
	Plan *engine.Plan
	// Warnings are about the declaration.
	Warnings diag.List
}

// Start makes the machine what declarations say: it writes the units that differ, removes
// those of apps that left, starts what does not run and restarts what runs with other
// settings, instance after instance. It returns when all apps are up. Starting again
// changes nothing.
//
// A declaration that cannot be read is an *InvalidDeclaration. When an app does not come up,
// everything of its project is put back as it was, and the error is an *ApplyError. Either
// way, what the declarations before it did is returned, and those after it are not begun.
func (c *Conn) Start(ctx context.Context, declarations ...Declaration) ([]Done, error) {
	var done []Done
	for _, d := range declarations {
		this, err := c.start(ctx, d)
		if err != nil {
			return done, err
		}
		done = append(done, *this)
	}
	return done, nil
}

func (c *Conn) start(ctx context.Context, d Declaration) (*Done, error) {
	set, list, err := c.compile(d)
	if err != nil {
		return nil, err
	}
	project := ""
	for _, u := range set {
		if mark, ok := u.Mark(); ok {
			project = mark.Project
			break
		}
	}
	o := engine.DiffOptions{Project: project, Only: d.Only, Force: d.Force, Wake: !d.KeepStopped, Now: c.o.Now}
	p, err := c.Apply(ctx, Change{
		Project: project, Starts: true,
		ApplyOptions: engine.ApplyOptions{KeepFailed: d.KeepFailed, Now: c.o.Now, Report: c.o.Report},
		Plan: func(have *engine.State, _ []engine.Selection) (*engine.Plan, error) {
			return c.Diff(set, have, o)
		},
	})
	if err != nil {
		return nil, err
	}
	return &Done{p, list}, nil
}

// compile reads and translates a declaration.
func (c *Conn) compile(d Declaration) (units.Set, diag.List, error) {
	m := c.machine()
	var found *machine.Declaration
	var err error
	switch {
	case d.Text != nil && d.Name == "":
		return nil, nil, errors.New("a declaration in memory needs a name: its ending tells what it is written in")
	case d.Text != nil:
		found, err = m.Read(d.Name, bytes.NewReader(d.Text), c.o.Dir, "")
	case d.File == "-":
		found, err = m.Find([]string{"./-"}) // a file of that name: there is no standard input
	case d.File != "":
		found, err = m.Find([]string{d.File})
	default:
		found, err = m.Find(nil)
	}
	if err != nil {
		return nil, nil, err
	}
	known := translate.Host{Scope: translate.ScopeSystem, Systemd: c.engine.Version(), Gm: c.o.Installed}
	if c.engine.Dirs().User {
		known.Scope = translate.ScopeUser
	}
	if known.Gm == "" {
		known.Gm = m.Installed(c.o.Program)
	}
	isNative := c.engine.Name() == Native
	host, err := m.Host(known, isNative, found.Dir)
	if err != nil {
		return nil, nil, err
	}
	to := translate.Options{
		Env: d.Env, Only: d.Only, Project: d.Project, Prefix: d.Prefix, RunAs: d.RunAs, SecretFiles: d.SecretFiles,
	}
	if isNative {
		to.EnvDir = c.engine.Dirs().Env
	}
	set, list := m.Compile(found, host, false, to)
	if d.Strict {
		list = list.Strict()
	}
	if list.HasErrors() {
		return nil, nil, &InvalidDeclaration{List: list}
	}
	return set, list, nil
}
