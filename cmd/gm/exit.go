package main

import (
	"errors"
	"fmt"

	"gm/diag"
)

// The exit statuses of every command.
const (
	statusDone        = 0 // what was asked is done, or there was nothing to do
	statusFailed      = 1 // the machine said no: a disk, a file in the way
	statusDifferent   = 1 // --check found a difference
	statusInvalid     = 2 // wrong usage, or an invalid declaration
	statusNoApp       = 3 // no app of that name
	statusUnreachable = 4 // the engine cannot be reached
)

// exit is the error of a command that has said all there is to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// failure is an error with everything a person needs: what happened, what to
// do, and the status to leave with.
type failure struct {
	status int
	code   string // as in diag.Diagnostic
	cause  string
	remedy string
}

func (f *failure) Error() string { return f.cause }

func (f *failure) diagnostic() diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: f.code, Cause: f.cause, Remedy: f.remedy}
}

// usage is a mistake in the command line.
func usage(remedy, cause string, args ...any) error {
	return &failure{statusInvalid, "usage", fmt.Sprintf(cause, args...), remedy}
}

// report prints an error that is not printed yet and returns its exit status.
func (c *caller) report(err error) int {
	if err == nil {
		return statusDone
	}
	var done exit
	if errors.As(err, &done) {
		return int(done)
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{status: statusFailed, code: "failed", cause: err.Error()}
	}
	c.print(diag.List{f.diagnostic()})
	return f.status
}

// status is what a run with these diagnostics exits with.
func status(l diag.List) int {
	result := statusDone
	for _, d := range l {
		switch {
		case d.Severity != diag.Error:
		case d.Code == "unknown-app" && result == statusDone:
			result = statusNoApp
		case d.Code != "unknown-app":
			result = statusInvalid
		}
	}
	return result
}
