// Package gm runs the apps of PM2 declarations from Go programs: what PM2's
// programmatic API does, and the command gm itself.
//
//	ctx := context.Background()
//	conn, err := gm.Connect(ctx, gm.Options{Environ: os.Environ()})
//	if err != nil {
//		return err // errors.Is(err, gm.ErrUnreachable): systemd does not answer
//	}
//	defer conn.Close()
//
//	events, err := conn.Watch(ctx) // started, ready, exited, …
//	…
//	if _, err := conn.Start(ctx, gm.Declaration{File: "ecosystem.config.js", Env: "production"}); err != nil {
//		return err // *gm.InvalidDeclaration, *gm.ApplyError: everything is as it was before
//	}
//	processes, err := conn.List(ctx)
//	for _, p := range processes {
//		fmt.Println(p.Name, p.Status, p.State.MainPID)
//	}
//	err = conn.Reload(ctx, "web") // instance after instance
//	err = conn.Stop(ctx, "all")
//
// A Conn works on what runs the apps of a machine, an engine: systemd, or gm's own
// supervisor where there is none. Apps outlive the program that started them. Whatever
// changes something is done once it returns, or put back as it was, and takes its
// project for itself meanwhile: several programs, and gm on the command line, can do so
// at the same time.
//
// Nothing is read from this process's environment, and nothing is printed. Every method
// may be called by several goroutines, and obeys its context.
package gm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gm/engine"
	"gm/engine/native"
	"gm/engine/systemd"
	"gm/machine"
)

// The engines, as Options.Engine and Conn.Name have them.
const (
	Auto    = "auto"
	Systemd = "systemd"
	Native  = "native"
)

// Scope says whose apps are meant.
type Scope string

const (
	// ScopeAuto is the system's apps for root, and for anyone else that user's own.
	ScopeAuto Scope = ""
	// ScopeSystem is the system's apps, which only root may change.
	ScopeSystem Scope = "system"
	// ScopeUser is the apps of the user whose process this is.
	ScopeUser Scope = "user"
)

// IsUser reports whether a scope is, for this process, a user's own.
func (s Scope) IsUser() bool { return s == ScopeUser || s != ScopeSystem && os.Geteuid() != 0 }

// Options says what a Conn connects to, and how it works. The zero value is good, but for
// Environ where declarations or programs are looked for.
type Options struct {
	// Engine is Systemd or Native. Auto, or "", is GM_ENGINE in Environ, else systemd where
	// that runs the machine, else native.
	Engine string
	Scope  Scope
	// Environ is the environment in which programs and directories are looked up (PATH,
	// HOME, XDG_…, GM_HOME) and which declarations in JavaScript see: os.Environ(), mostly.
	// Nil is an empty one.
	Environ []string
	// Dir is what relative paths start from; "" is the working directory.
	Dir string
	// Home is the directory of gm's own supervisor, for Native; "" is the one that gm has
	// with this Environ.
	Home string
	// Program is gm, by an absolute path: it is executed as a supervisor when one is
	// needed, and units call it for what systemd lacks. "" is the gm on the PATH of Environ,
	// or else /usr/local/bin/gm.
	Program string
	// Installed is the path by which units call gm, if Program will not stay where it is.
	Installed string

	// Who is what others are told who wait for a project: "deployer".
	Who string
	// LockTimeout is how long to wait for a project that another program is changing; 0 is
	// two minutes.
	LockTimeout time.Duration
	// Waiting, if there is one, is called when there is somebody to wait for.
	Waiting func(project, holder string)
	// Report, if there is one, is told of each step of the changes that Start and the verbs
	// make, by one goroutine at a time.
	Report func(engine.Progress)
	// Now has them not wait for apps to stay up.
	Now bool
}

// defaultLockTimeout is longer than most stops take.
const defaultLockTimeout = 2 * time.Minute

// EngineName settles which engine is meant. Where systemd runs the machine it
// is systemd even while it does not answer: apps that were installed there would
// seem to be gone, and would run twice once they were started by another.
func (o *Options) EngineName() (string, error) {
	asked, variable := o.Engine, false
	if asked == "" || asked == Auto {
		m := machine.Caller{Environ: o.Environ}
		if chosen := m.Getenv("GM_ENGINE"); chosen != "" {
			asked, variable = chosen, true
		}
	}
	switch asked {
	case Systemd, Native:
		return asked, nil
	case "", Auto:
		if Booted() {
			return Systemd, nil
		}
		return Native, nil
	}
	return "", &UnknownEngine{asked, variable}
}

// Booted reports whether systemd runs the machine: sd_booted(3).
func Booted() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// Conn is a connection to what runs the apps of one scope.
type Conn struct {
	o      Options
	engine engine.Engine
	home   native.Home // of the native engine
}

// Connect connects to the engine that o asks for. With Native it finds out where things
// are and no more: a supervisor is started when an app is, or when a Watch begins.
//
// When systemd cannot be reached the error wraps ErrUnreachable.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	name, err := o.EngineName()
	if err != nil {
		return nil, err
	}
	c, err := newConn(o)
	if err != nil {
		return nil, err
	}
	user, m := o.Scope.IsUser(), c.machine()
	if name == Native {
		if c.home = native.Home(c.o.Home); c.home == "" {
			if c.home, err = native.FindHome(o.Environ, c.o.Dir, user); err != nil {
				return nil, err
			}
		}
		c.engine = native.Open(native.ClientOptions{Home: c.home, User: user, Start: func(context.Context) error {
			return c.startSupervisor(user)
		}})
		return c, nil
	}
	c.engine, err = systemd.Open(ctx, systemd.Options{
		User:       user,
		RuntimeDir: m.Getenv("XDG_RUNTIME_DIR"),
		ConfigHome: m.Getenv("XDG_CONFIG_HOME"),
		Home:       m.Getenv("HOME"),
	})
	if err != nil {
		return nil, &ConnectError{Engine: name, Err: err}
	}
	return c, nil
}

// New returns a Conn of an engine that is connected already. It closes that with itself.
func New(e engine.Engine, o Options) (*Conn, error) {
	c, err := newConn(o)
	if err != nil {
		return nil, err
	}
	c.engine = e
	return c, nil
}

func newConn(o Options) (*Conn, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.Who == "" {
		o.Who = "a program that uses gm"
	}
	var err error
	for _, path := range []*string{&o.Dir, &o.Home} {
		if *path == "" && path == &o.Home {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	o.Environ = slices.Clone(o.Environ)
	return &Conn{o: o}, nil
}

// startSupervisor starts one in the background and returns when it is ready.
func (c *Conn) startSupervisor(user bool) error {
	program := c.o.Program
	if program == "" {
		program = c.machine().Installed("")
	}
	environ := slices.DeleteFunc(native.SupervisorEnviron(c.o.Environ, c.o.Dir), func(pair string) bool {
		return c.o.Home != "" && strings.HasPrefix(pair, "GM_HOME=")
	})
	if c.o.Home != "" {
		environ = append(environ, "GM_HOME="+c.o.Home)
	}
	return native.StartInBackground(c.home, native.SuperviseCommand(program, user), environ)
}

// Supervise has gm's own supervisor run, with all that is enabled, where that is the engine.
// It reports whether none did so before.
func (c *Conn) Supervise(ctx context.Context) (began bool, err error) {
	supervisor, ok := c.engine.(*native.Client)
	if !ok {
		return false, nil
	}
	if _, err := supervisor.Info(ctx); !errors.Is(err, ErrUnreachable) {
		return false, err
	}
	return true, supervisor.Start(ctx)
}

// machine is this machine, asked on behalf of who has the Conn.
func (c *Conn) machine() *machine.Caller {
	return &machine.Caller{Environ: c.o.Environ, Dir: c.o.Dir}
}

// Name is Systemd or Native.
func (c *Conn) Name() string { return c.engine.Name() }

// Engine is the engine itself, for what a Conn does not do: single jobs, logs.
func (c *Conn) Engine() engine.Engine { return c.engine }

// Close ends the connection. Apps run on, and so does a supervisor.
func (c *Conn) Close() error { return c.engine.Close() }
