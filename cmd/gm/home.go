package main

import (
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"gm/engine/native"
)

// systemHome is the home of root's supervisor.
const systemHome = "/var/lib/gm"

// home returns the directory of gm's own supervisor: $GM_HOME, or that of the
// scope. What belongs to a user is state, and not configuration, by the XDG base
// directory specification, which wants relative paths ignored.
func (c *caller) home(userScope bool) (native.Home, error) {
	if dir := c.getenv("GM_HOME"); dir != "" {
		return native.Home(c.abs(dir)), nil
	}
	if !userScope {
		return systemHome, nil
	}
	if state := c.getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return native.Home(filepath.Join(state, "gm")), nil
	}
	home := c.getenv("HOME")
	if home == "" {
		if me, err := user.Current(); err == nil {
			home = me.HomeDir
		}
	}
	if !filepath.IsAbs(home) {
		return "", usage("set GM_HOME to the directory that is to hold it", "there is no home directory for the supervisor's files")
	}
	return native.Home(filepath.Join(home, ".local/state/gm")), nil
}

// keptVariables are what a supervisor keeps of the environment of who started it,
// beside GM_HOME, LC_… and XDG_…. The rest of a shell's is nothing that apps should depend on:
// after a boot it would not be there.
var keptVariables = []string{"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "SHELL"}

// supervisorEnviron is the environment of a supervisor in the background, whose
// directory is another.
func (c *caller) supervisorEnviron() []string {
	var kept []string
	for _, pair := range c.environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case name == "GM_HOME" && value != "":
			kept = append(kept, name+"="+c.abs(value))
		case slices.Contains(keptVariables, name), strings.HasPrefix(name, "LC_"), strings.HasPrefix(name, "XDG_"):
			kept = append(kept, pair)
		}
	}
	return kept
}

// appEnviron is what apps inherit of the supervisor, however that was started: what
// systemd's managers hand on. PATH is systemd's own (systemd.exec(5)) and not the
// caller's, and of the system's apps each has the variables of its user.
func (c *caller) appEnviron(userScope bool) []string {
	apps := []string{"PATH=" + defaultPath}
	for _, pair := range c.supervisorEnviron() {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "PATH":
		case "LANG", "LANGUAGE", "TZ", "GM_HOME":
			apps = append(apps, pair)
		default:
			if userScope || strings.HasPrefix(name, "LC_") {
				apps = append(apps, pair)
			}
		}
	}
	return apps
}

// defaultPath is where programs are on any machine. Homebrew's are on a Mac.
var defaultPath = func() string {
	if runtime.GOOS == "darwin" {
		return "/opt/homebrew/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/bin:/usr/sbin:/sbin"
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}()

// ownExecutable returns a path by which this very program can be executed, now.
func ownExecutable() string {
	self, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(self); err == nil {
			return self
		}
	}
	return lastingExecutable()
}

// lastingExecutable returns a path by which this process, and the children that it
// forks, execute this very program even after its file was replaced or removed, as
// go run does.
func lastingExecutable() string {
	const link = "/proc/self/exe"
	if _, err := os.Stat(link); err == nil {
		return link
	}
	self, _ := os.Executable() // "": units then name their own
	return self
}
