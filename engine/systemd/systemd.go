// Package systemd is the engine that has systemd run the units, over D-Bus.
//
// A call goes to systemd's private socket where the caller may use it: it works
// without dbus-daemon, which would otherwise copy each message once more.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"gm/engine"
)

// Options says which systemd is meant.
type Options struct {
	// User is for the caller's own manager in place of the system's.
	User bool
	// RuntimeDir is $XDG_RUNTIME_DIR, ConfigHome $XDG_CONFIG_HOME, and Home $HOME: of
	// the user, for User.
	RuntimeDir, ConfigHome, Home string
	// Root is where the machine's files are, if not at "/": of a container whose Bus is
	// its own, "/proc/PID/root". Tests use it.
	Root string
	// Bus is the address of the D-Bus to talk over, if not the usual one.
	Bus string
}

// manager is a systemd, the system's or a user's.
type manager struct {
	options Options
	dirs    engine.Dirs
	version int

	dialing chan struct{} // held while conn is looked at and replaced
	conn    *conn
	closed  atomic.Bool

	mu     sync.Mutex         // guards groups
	groups map[string]*cgroup // by unit, of the last inspection
}

var _ engine.Engine = (*manager)(nil)

// Open connects to systemd.
func Open(ctx context.Context, o Options) (engine.Engine, error) {
	// As sd_booted(3) has it.
	if _, err := os.Stat(o.path("/run/systemd/system")); err != nil {
		return nil, fmt.Errorf("%w: this machine does not run systemd (there is no /run/systemd/system)", engine.ErrUnreachable)
	}
	if o.User && o.RuntimeDir == "" {
		o.RuntimeDir = fmt.Sprintf("/run/user/%d", os.Geteuid())
	}
	m := &manager{options: o, dialing: make(chan struct{}, 1)}
	c, err := m.connect(ctx)
	if err != nil {
		return nil, err
	}
	m.conn, m.version = c, major(c.version)
	m.dirs = engine.Dirs{Units: "/etc/systemd/system", Env: "/etc/gm", Run: "/run/gm"}
	if o.User {
		config := o.ConfigHome
		if config == "" {
			config = filepath.Join(o.Home, ".config")
		}
		m.dirs = engine.Dirs{
			User:  true,
			Units: filepath.Join(config, "systemd/user"),
			Env:   filepath.Join(config, "gm"),
			Run:   filepath.Join(o.RuntimeDir, "gm"),
		}
	}
	m.dirs.Units, m.dirs.Env, m.dirs.Run = o.path(m.dirs.Units), o.path(m.dirs.Env), o.path(m.dirs.Run)
	for _, dir := range c.unitPath {
		m.dirs.Search = append(m.dirs.Search, o.path(dir))
	}
	return m, nil
}

// path is where a file of the machine is to be found.
func (o Options) path(name string) string {
	if o.Root == "" {
		return name
	}
	return filepath.Join(o.Root, name)
}

// addresses returns where the manager may be listening, the best first.
func (o Options) addresses() []address {
	switch {
	case o.Bus != "":
		return []address{{name: o.Bus}}
	case o.User:
		return []address{
			{name: "unix:path=" + o.path(o.RuntimeDir+"/systemd/private"), private: true},
			{name: "unix:path=" + o.path(o.RuntimeDir+"/bus")},
		}
	}
	bus := address{name: "unix:path=" + o.path("/run/dbus/system_bus_socket")}
	if os.Geteuid() == 0 {
		return []address{{name: "unix:path=" + o.path("/run/systemd/private"), private: true}, bus}
	}
	return []address{bus}
}

// unreachable explains why none of the addresses answers.
func (o Options) unreachable(cause error) error {
	if !o.User || o.Bus != "" {
		return fmt.Errorf("%w: systemd does not answer: %w", engine.ErrUnreachable, cause)
	}
	uid := os.Geteuid()
	why := fmt.Sprintf("systemd --user of user %d does not answer: %v", uid, cause)
	if info, err := os.Stat(o.path(o.RuntimeDir)); errors.Is(err, fs.ErrNotExist) {
		why = fmt.Sprintf("user %d has no session and so no systemd --user: there is no %s", uid, o.RuntimeDir)
	} else if err != nil {
		why = err.Error()
	} else if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != uid {
		why = fmt.Sprintf("%s ($XDG_RUNTIME_DIR) belongs to user %d, not to user %d who runs this", o.RuntimeDir, st.Uid, uid)
	}
	return fmt.Errorf("%w: %s; keep the user's systemd running with `loginctl enable-linger USER`; under sudo or su call "+
		"`sudo -u USER XDG_RUNTIME_DIR=/run/user/UID …`, or get a session with `machinectl shell USER@`",
		engine.ErrUnreachable, why)
}

func (m *manager) Name() string { return "systemd" }

func (m *manager) Version() int { return m.version }

func (m *manager) Dirs() engine.Dirs { return m.dirs }

// Close ends the connection. What is still waiting for it returns an error.
func (m *manager) Close() error {
	m.closed.Store(true)
	m.dialing <- struct{}{}
	defer func() { <-m.dialing }()
	return m.conn.Close()
}

// major is 252 for "252.39-1~deb12u2", "v252" and "252~rc1".
func major(version string) int {
	digits := strings.TrimLeft(version, "v")
	end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(digits)
	}
	n, _ := strconv.Atoi(digits[:end])
	return n
}
