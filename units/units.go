// Package units is systemd's language: unit files as typed values, rendered by
// one encoder per kind of directive and read back by one parser, the table of
// the directives gm knows, unit names, and calendar expressions.
//
// A value of a user's text is made by a constructor (NewCommand, NewAssign,
// NewPath, …), which says why the text cannot be carried, or by Escape and a
// literal where it can hold nothing wrong. Rules has one row for each
// directive; its Kind is the grammar, which ParseValue decodes. Seal puts gm's
// mark on a file, WriteStream puts files together.
//
// The package knows nothing of PM2 and nothing of the machine.
// Parse(Render(u)) is u.
package units

import (
	"gm/diag"
)

// Directive is one line of a unit: Key=Value in [Section].
type Directive struct {
	Section, Key string
	Value        Value
	// From is the place in the declaration that asked for it, or the place in
	// the unit file that Parse read it from. It is not part of the unit.
	From diag.Range
}

// Unit is one file of the output. Name is its file name: "web.service",
// "web@.service", a drop-in ("web@0.service.d/10-gm.conf"), or an environment
// file ("web.env"), whose directives have no section.
type Unit struct {
	Name       string
	Directives []Directive
}

// Set is the units of one declaration: sorted by name, names unique.
type Set []Unit
