package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gm/units"
)

// Conflict is a name that a set wants and that something else on the machine has.
type Conflict struct {
	Unit string
	Path string // of what has it
	Why  string // "a unit of the operating system", "an alias of nginx.service", "it does not bear gm's mark", …
}

// Masked is Conflict.Why of a name that systemctl mask has taken.
const Masked = "the unit is masked"

// Conflicts finds the names of a set that someone else's units have, sorted: gm
// replaces none of those, and puts none of its own in front of them. Drop-ins of
// others are no conflict, systemd reads them together with gm's unit.
func Conflicts(d Dirs, want units.Set, project string) ([]Conflict, error) {
	names := map[string]bool{}
	for _, u := range want {
		if !isUnitFile(u.Name) {
			continue
		}
		names[u.Name] = true
		if strings.HasSuffix(u.Name, ".target") {
			for _, also := range Also(u) {
				if template, ok := templateOf(also); ok {
					if _, ok := want.Find(template); ok {
						names[also] = true
					}
				}
			}
		}
	}
	list, err := conflictsIn(d.Units, names, func(name, path string) (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		switch mark, _, ok := units.Sealed(text); {
		case !ok:
			return "it does not bear gm's mark", nil
		case mark.Project != project:
			return "it belongs to project " + mark.Project, nil
		}
		return "", nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look for units of the same name: %w", err)
	}
	others, err := otherDirs(d)
	if err != nil {
		return nil, fmt.Errorf("cannot look for units of the same name: %w", err)
	}
	for _, dir := range others {
		found, err := conflictsIn(dir, names, func(string, string) (string, error) { return kindOf(dir), nil })
		if err != nil {
			return nil, fmt.Errorf("cannot look for units of the same name: %w", err)
		}
		list = append(list, found...)
	}
	slices.SortStableFunc(list, func(a, b Conflict) int { return cmp.Compare(a.Unit, b.Unit) })
	return list, nil
}

// conflictsIn looks at one directory; judge says what is wrong with a file that
// is neither a link nor a directory, if anything is.
func conflictsIn(dir string, names map[string]bool, judge func(name, path string) (string, error)) ([]Conflict, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !names[e.Name()] })
	found := make([]Conflict, len(entries))
	err = sideBySide(len(entries), func(i int) (err error) {
		name := entries[i].Name()
		path := filepath.Join(dir, name)
		why := ""
		switch kind := entries[i].Type(); {
		case kind&fs.ModeSymlink != 0:
			why, err = linkKind(name, path)
		case kind.IsDir():
			why = "a directory"
		case !kind.IsRegular():
			why = "neither a file nor a link"
		default:
			why, err = judge(name, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the directory was read
		}
		if why != "" {
			found[i] = Conflict{name, path, why}
		}
		return err
	})
	return slices.DeleteFunc(found, func(c Conflict) bool { return c.Why == "" }), err
}

// linkKind says what a link among the units makes of its name (systemd.unit(5)).
func linkKind(name, path string) (string, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return "", err
	}
	switch unit := filepath.Base(target); {
	case target == os.DevNull:
		return Masked, nil
	case unit == name:
		return "a link to " + target, nil
	default:
		return "an alias of " + unit, nil
	}
}

// kindOf says whose units are in a directory of the search path
// (systemd.unit(5), UNIT FILE LOAD PATH).
func kindOf(dir string) string {
	switch base := filepath.Base(dir); {
	case base == "transient":
		return "a transient unit"
	case base == "generator" || strings.HasPrefix(base, "generator."):
		return "a unit that a generator made"
	}
	slashed := filepath.ToSlash(dir)
	switch {
	case strings.Contains(slashed, "/usr/local/"):
		return "a unit of the machine's administrator"
	case strings.HasSuffix(slashed, "/lib/systemd/system"), strings.HasSuffix(slashed, "/lib/systemd/user"),
		strings.HasSuffix(slashed, "/usr/share/systemd/user"):
		return "a unit of the operating system"
	case strings.HasSuffix(slashed, "/run/systemd/system"), strings.HasSuffix(slashed, "/run/systemd/user"),
		strings.HasSuffix(slashed, "/systemd.control"):
		return "a unit that lasts until the next boot"
	}
	return "a unit in another directory that systemd loads units from"
}
