package native

import (
	"errors"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
)

// SystemHome is the home of root's supervisor.
const SystemHome Home = "/var/lib/gm"

// FindHome returns the home that an environment means: $GM_HOME, taken from dir, or that
// of the scope. What belongs to a user is state, and not configuration, by the XDG base
// directory specification, which wants relative paths ignored.
func FindHome(environ []string, dir string, userScope bool) (Home, error) {
	if home := variable(environ, "GM_HOME"); home != "" {
		return Home(absolute(home, dir)), nil
	}
	if !userScope {
		return SystemHome, nil
	}
	if state := variable(environ, "XDG_STATE_HOME"); filepath.IsAbs(state) {
		return Home(filepath.Join(state, "gm")), nil
	}
	home := variable(environ, "HOME")
	if home == "" {
		if me, err := user.Current(); err == nil {
			home = me.HomeDir
		}
	}
	if !filepath.IsAbs(home) {
		return "", ErrHomeless
	}
	return Home(filepath.Join(home, ".local/state/gm")), nil
}

// ErrHomeless is the error of FindHome for a user who has no home directory.
var ErrHomeless = errors.New("there is no home directory for the supervisor's files")

// keptVariables are what a supervisor keeps of the environment of who started it,
// beside GM_HOME, LC_… and XDG_…. The rest of a shell's is nothing that apps should depend on:
// after a boot it would not be there.
var keptVariables = []string{"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL"}

// SupervisorEnviron is the environment of a supervisor in the background, whose directory is
// another than dir.
func SupervisorEnviron(environ []string, dir string) []string {
	var kept []string
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case name == "GM_HOME" && value != "":
			kept = append(kept, name+"="+absolute(value, dir))
		case slices.Contains(keptVariables, name), strings.HasPrefix(name, "LC_"), strings.HasPrefix(name, "XDG_"):
			kept = append(kept, pair)
		}
	}
	return kept
}

// SuperviseCommand is the command line of a supervisor.
func SuperviseCommand(program string, userScope bool) []string {
	scope := "--system"
	if userScope {
		scope = "--user"
	}
	return []string{program, "supervise", scope}
}

func variable(environ []string, name string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

func absolute(path, dir string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
