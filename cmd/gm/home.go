package main

import (
	"errors"
	"os"
	"runtime"
	"strings"

	"gm/engine/native"
)

// home returns the directory of gm's own supervisor.
func (c *caller) home(userScope bool) (native.Home, error) {
	home, err := native.FindHome(c.environ, c.dir, userScope)
	if errors.Is(err, native.ErrHomeless) {
		return "", homeless(err)
	}
	return home, err
}

func homeless(err error) error {
	return usage("set GM_HOME to the directory that is to hold it", "%v", err)
}

// supervisorEnviron is the environment of a supervisor in the background.
func (c *caller) supervisorEnviron() []string { return native.SupervisorEnviron(c.environ, c.dir) }

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
