package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm"
	"gm/engine/native"
)

func TestHome(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		user    bool
		want    native.Home
	}{
		{"root's", []string{"HOME=/root"}, false, "/var/lib/gm"},
		{"a user's", []string{"HOME=/home/ann"}, true, "/home/ann/.local/state/gm"},
		{"a user's with a directory for state", []string{"HOME=/home/ann", "XDG_STATE_HOME=/state"}, true, "/state/gm"},
		{"a relative one is no directory", []string{"HOME=/home/ann", "XDG_STATE_HOME=state"}, true, "/home/ann/.local/state/gm"},
		{"GM_HOME", []string{"HOME=/home/ann", "XDG_STATE_HOME=/state", "GM_HOME=/srv/gm/"}, true, "/srv/gm"},
		{"GM_HOME of the system", []string{"GM_HOME=/srv/gm"}, false, "/srv/gm"},
		{"GM_HOME here", []string{"GM_HOME=gm"}, true, "/work/gm"},
		{"an empty GM_HOME", []string{"GM_HOME=", "HOME=/home/ann"}, true, "/home/ann/.local/state/gm"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&caller{environ: test.environ, dir: "/work"}).home(test.user)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// Nothing of the caller's shell reaches an app, or a restart after a boot would be
// another one.
func TestEnvironments(t *testing.T) {
	c := &caller{dir: "/work", environ: []string{
		"PATH=/home/ann/bin:/bin", "HOME=/home/ann", "USER=ann", "LANG=de_DE.UTF-8", "LC_TIME=C", "TZ=Europe/Berlin",
		"XDG_RUNTIME_DIR=/run/user/1000", "AWS_SECRET=x", "NODE_ENV=development", "GM_HOME=gm", "GM_ENGINE=native", "LD_PRELOAD=x.so",
	}}
	for _, test := range []struct {
		name string
		got  []string
		want []string
	}{
		{"of the supervisor", c.supervisorEnviron(), []string{
			"PATH=/home/ann/bin:/bin", "HOME=/home/ann", "USER=ann", "LANG=de_DE.UTF-8", "LC_TIME=C", "TZ=Europe/Berlin",
			"XDG_RUNTIME_DIR=/run/user/1000", "GM_HOME=/work/gm",
		}},
		{"of a user's apps", c.appEnviron(true), []string{
			"PATH=" + defaultPath, "HOME=/home/ann", "USER=ann", "LANG=de_DE.UTF-8", "LC_TIME=C", "TZ=Europe/Berlin",
			"XDG_RUNTIME_DIR=/run/user/1000", "GM_HOME=/work/gm",
		}},
		{"of the system's apps", c.appEnviron(false), []string{
			"PATH=" + defaultPath, "LANG=de_DE.UTF-8", "LC_TIME=C", "TZ=Europe/Berlin", "GM_HOME=/work/gm",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.got, test.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestEngineName(t *testing.T) {
	auto := engineNative
	if gm.Booted() {
		auto = engineSystemd
	}
	for _, test := range []struct {
		name, asked, variable, want string
	}{
		{"nothing is said", "", "", auto},
		{"auto", "auto", "", auto},
		{"the flag", "native", "", "native"},
		{"the variable", "auto", "systemd", "systemd"},
		{"the flag wins", "native", "systemd", "native"},
		{"an unknown one", "pm2", "", ""},
		{"an unknown variable", "auto", "pm2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &caller{environ: []string{"GM_ENGINE=" + test.variable}}
			got, err := c.engineName(test.asked)
			if got != test.want || (err != nil) != (test.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// The path by which the supervisor executes itself must outlive its file.
func TestLastingExecutable(t *testing.T) {
	self, err := os.Stat(lastingExecutable())
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.Stat(ownExecutable())
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(self, there) {
		t.Errorf("%s and %s are not the same program", lastingExecutable(), ownExecutable())
	}
}
