package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"gm/diag"
	"gm/units"
)

// State is what is installed on a machine, of one project or of all.
type State struct {
	// Files are the files that bear gm's mark, sorted by name. Names are those of
	// units.Unit: "web.service", "web@0.service.d/10-increment.conf", "web.env".
	Files []File
	// Links are the links to these units in .wants directories of Dirs.Units,
	// sorted.
	Links []Link
	// DropIns are the drop-ins that others made for these units: paths, sorted, by
	// the name of the unit (a template's under the template).
	DropIns map[string][]string
	// Units is the state of what runs or failed, by unit; with Brief fields unless
	// asked for more.
	Units map[string]UnitState
	// Pending is what an earlier run wanted to do with units and did not get to,
	// by unit.
	Pending map[string]string

	units    units.Set // of Files, once Set has been called
	parsed   bool
	outlined bool // Set holds what Outline says
	apps     []App
}

// File is an installed file.
type File struct {
	Name string
	Path string
	Text []byte
	Mark units.Mark
	// Edited says that someone changed it since gm wrote it.
	Edited bool
}

// Link is a unit in the .wants directory of another: Wanted runs when By does.
type Link struct {
	By, Wanted string
}

// Set returns the installed files as units. It parses them when it is first
// called, and must not be called by two goroutines at once.
func (s *State) Set() units.Set {
	if !s.parsed {
		parse := parseFile
		if s.outlined {
			parse = outlineOf
		}
		s.units = parseFiles(s.Files, parse)
		s.parsed = true
	}
	return s.units
}

// Apps returns the installed apps.
func (s *State) Apps() []App {
	if s.apps == nil {
		s.apps = Apps(s.Set())
	}
	return slices.Clone(s.apps)
}

// Base returns a hash of a project's files and links: what a plan starts from.
func (s *State) Base(project string) string {
	h := sha256.New()
	for _, f := range s.Files {
		if f.Mark.Project == project {
			fmt.Fprintf(h, "file %q %d\n", f.Name, len(f.Text))
			h.Write(f.Text)
		}
	}
	ours := s.names(project)
	for _, l := range s.Links {
		if ours.has(l.Wanted) || ours.has(l.By) {
			fmt.Fprintf(h, "link %q %q\n", l.By, l.Wanted)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// nameSet is a set of units, and through their templates of instances.
type nameSet map[string]bool

func (n nameSet) has(unit string) bool {
	if n[unit] {
		return true
	}
	template, ok := templateOf(unit)
	return ok && n[template]
}

// names returns the names of a project's units; its target is one in any case.
func (s *State) names(project string) nameSet {
	names := make(nameSet, len(s.Files))
	for _, f := range s.Files {
		if f.Mark.Project == project && isUnitFile(f.Name) {
			names[f.Name] = true
		}
	}
	names[targetOf(project)] = true
	return names
}

// parseFiles parses installed files. What systemd would drop is left out, as
// systemd does.
func parseFiles(files []File, parse func(File) units.Unit) units.Set {
	set := make(units.Set, len(files))
	_ = sideBySide(len(files), func(i int) error {
		set[i] = parse(files[i])
		return nil
	})
	return set
}

func outlineOf(f File) units.Unit {
	return units.ParseOnly(f.Name, diag.NewSource(f.Path, f.Text), func(section, key string) bool {
		switch section {
		case "X-Gm", "Install":
			return true
		case "Unit":
			return key == "SourcePath" || key == "Wants" || key == "Requires"
		case "Service":
			switch key {
			case "Type", "Restart", "RestartPreventExitStatus", "User":
				return true
			}
		}
		return false
	})
}

func parseFile(f File) units.Unit {
	u, _ := units.Parse(f.Name, diag.NewSource(f.Path, f.Text))
	return u
}
