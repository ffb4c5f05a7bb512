package gm

import (
	"fmt"
	"strings"
	"time"

	"gm/engine"
	"gm/machine"
)

// What errors of a Conn wrap.
var (
	// ErrUnreachable says that the engine cannot be reached, or not any more.
	ErrUnreachable = engine.ErrUnreachable
	// ErrDenied says that the caller may not.
	ErrDenied = engine.ErrDenied
)

// The errors of packages below that a Conn returns.
type (
	// InvalidDeclaration is a declaration that cannot be read, or that says what cannot be.
	InvalidDeclaration = machine.InvalidDeclaration
	// NoSuchApp is a selector that finds nothing.
	NoSuchApp = engine.NoSuchApp
	// BadSelector is a selector that is no regular expression and looks like one.
	BadSelector = engine.BadSelector
	// CannotScale is an app whose number of instances cannot change like that.
	CannotScale = engine.CannotScale
	// ApplyError is a change that did not succeed: which units failed, with their last
	// words, and whether everything is as it was before.
	ApplyError = engine.ApplyError
)

// UnknownEngine is an engine that there is not.
type UnknownEngine struct {
	Name string
	// Variable says that GM_ENGINE names it.
	Variable bool
}

func (e *UnknownEngine) Error() string { return e.Name + ": there is no such engine" }

// ConnectError is an engine that Connect cannot reach.
type ConnectError struct {
	Engine string
	Err    error
}

func (e *ConnectError) Error() string { return e.Err.Error() }
func (e *ConnectError) Unwrap() error { return e.Err }

// NoSuchProject is a project that is not installed.
type NoSuchProject struct {
	Project   string
	Installed []string // those that are
}

func (e *NoSuchProject) Error() string { return "there is no project " + e.Project }

// Locked is a project that somebody else has been changing for longer than LockTimeout.
type Locked struct {
	Project string
	Holder  string // "process 123 (gm install)"
	After   time.Duration
}

func (e *Locked) Error() string {
	return fmt.Sprintf("%s has been changing %s for more than %s", e.Holder, e.Project, e.After)
}

// Taken is names of units that are somebody else's.
type Taken struct{ Conflicts []engine.Conflict }

func (e *Taken) Error() string {
	texts := make([]string, len(e.Conflicts))
	for i, c := range e.Conflicts {
		texts[i] = fmt.Sprintf("%s is taken by %s: %s", c.Unit, c.Path, c.Why)
	}
	return strings.Join(texts, "; ")
}

// errNotRoot is a change of the system's apps by somebody else.
var errNotRoot = fmt.Errorf("only root may change the system's apps: %w", ErrDenied)
