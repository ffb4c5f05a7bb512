package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gm"
	"gm/engine"
	"gm/engine/native"
	"gm/units"
)

type runOptions struct {
	inputOptions
	lockOptions
	raw, json  bool
	endWithAll bool
}

func newRunCmd(c *caller) *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Run a declaration's apps in the foreground, as in a container",
		Long: `Run starts the apps of a declaration, prints what they write, and stops them when
it is told to end. It is what a container's command is to be, and does what is
expected of process 1 there; on a terminal it shows all apps at once.

Each line has its app before it, "web-api.0 | …"; with --raw lines are as they were
written, and with --json each is an object. What apps write to standard error goes
to standard error. The apps have gm's own environment, where the declaration does
not say otherwise.

A SIGTERM, SIGINT or SIGQUIT stops the apps in order, within the times that they
declare, and a second one at once. SIGHUP, SIGUSR1, SIGUSR2 and SIGWINCH are passed
on to the apps.

Exit status: 0 after a signal. When the declaration is one process that nothing
starts again ("autorestart": false), its own, or 128 and the number of the signal
that killed it. With --exit-when-all-stopped 1 if an app has failed, else 0.

gm list, gm logs and the like work beside it.`,
		Example: "  gm run\n  gm run ecosystem.config.js --env production --raw\n  gm run job.json; echo $?",
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			if err := o.validate(cmd); err != nil {
				return err
			}
			if o.raw && o.json {
				return usage("choose one", "--raw and --json exclude each other")
			}
			return c.runForeground(cmd, o)
		},
	}
	o.addFlags(cmd)
	c.completeInput(cmd)
	return cmd
}

func (o *runOptions) addFlags(cmd *cobra.Command) {
	o.inputOptions.addFlags(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.raw, "raw", false, "print what apps write and nothing before it")
	f.BoolVar(&o.json, "json", false, "print each line as a JSON object")
	f.BoolVar(&o.endWithAll, "exit-when-all-stopped", false, "end when no app runs any more, as pm2-runtime does")
	o.who, o.timeout = "gm run", defaultLockTimeout
}

func (c *caller) runForeground(cmd *cobra.Command, o *runOptions) error {
	userScope := o.user || !o.system && os.Geteuid() != 0
	usual, err := c.home(userScope)
	if err != nil {
		return err
	}
	o.native, o.envDir = true, usual.Env()
	w, err := c.want(cmd, &o.inputOptions)
	if err != nil {
		return err
	}
	c.print(w.list)
	if status := status(w.list); status != statusDone {
		return exit(status)
	}
	if w.plan != nil {
		return usage("name a declaration", "%s is a plan", w.from)
	}
	if err := mayChange(w.user); err != nil {
		return err
	}
	// A pipe whose reader is gone is an error to end on, and not the end.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, append(endings, forwarded...)...)
	defer signal.Stop(signals)

	home, tidy, err := c.foregroundHome(w.user)
	if err != nil {
		return err
	}
	defer tidy()
	if o.secrets == "file" && home.Env() != o.envDir {
		o.envDir = home.Env()
		if w, err = c.want(cmd, &o.inputOptions); err != nil {
			return err
		}
	}
	r := &foreground{
		c: c, o: o, w: w, home: home, states: map[string]engine.UnitState{}, ends: map[string]end{}, signals: signals,
		e: native.Open(native.ClientOptions{Home: home, User: w.user}),
	}
	defer r.e.Close()
	status, err := r.run()
	switch {
	case err != nil:
		return err
	case status != statusDone:
		return exit(status)
	}
	return nil
}

var (
	endings   = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT}
	forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH}
)

// foreground is one gm run.
type foreground struct {
	c       *caller
	o       *runOptions
	w       *wanted
	home    native.Home
	e       *native.Client
	out     *prefixer
	notices chan func() // what is yet to be said
	signals <-chan os.Signal

	apps []engine.App
	// names are the units of the apps; those of a template stand for its instances.
	names, companions []string

	started bool // all has been started that is to be
	states  map[string]engine.UnitState
	ends    map[string]end // that were said
}

// run installs the units, runs a supervisor, and returns the status to end with.
func (r *foreground) run() (status int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := r.install(ctx); err != nil {
		return 0, err
	}
	defer r.speak()()
	broken := make(chan error, 1)
	complaints := broken // of which one is enough
	r.out = newPrefixer(r.c, r.o, r.apps, func(err error) {
		select {
		case broken <- err:
		default:
		}
	})
	ready, done := make(chan struct{}), make(chan error, 1)
	options := r.c.supervisorOptions(r.home, r.w.user)
	options.Environ, options.Output = r.c.environ, r.out.line
	options.Ready = func() { close(ready) }
	go func() { done <- native.Run(ctx, options) }()
	select {
	case <-ready:
	case err := <-done:
		return 0, machineFailure(err)
	}
	// The watch goes on while the apps are being stopped.
	watching, stopWatching := context.WithCancel(context.Background())
	defer stopWatching()
	changes, err := r.e.Watch(watching, r.names)
	if err != nil {
		cancel()
		return 0, errors.Join(engineFailure(err), <-done)
	}
	start := make(chan error, 1)
	go func() {
		start <- r.e.Do(ctx, engine.Job{Op: engine.Start, Unit: "gm-" + units.EscapeName(r.w.project) + ".target"})
	}()

	ending := false
	stop := func(with int) {
		if !ending {
			ending, status = true, with
			cancel()
		}
	}
	for {
		select {
		case s := <-r.signals:
			switch {
			case !r.isEnd(s):
				r.forward(s.(syscall.Signal))
			case ending:
				status = 128 + int(syscall.SIGINT)
				r.killAll()
			default:
				r.tell(func() { r.out.say("stopping all apps") })
				stop(statusDone)
			}
		case u, ok := <-changes:
			if !ok {
				changes = nil
				continue
			}
			r.note(u, ending)
		case err := <-start:
			start = nil
			if job := (*engine.JobError)(nil); err != nil && !errors.As(err, &job) && !ending {
				stop(statusFailed)
				r.c.report(engineFailure(err))
			} else if err == nil || job != nil && job.Cause == nil {
				r.started = true
				r.lookAgain(ending)
			} else if !ending {
				stop(statusFailed)
				r.c.report(machineFailure(err))
			}
		case err := <-complaints:
			complaints = nil
			stop(statusFailed)
			r.c.report(r.c.outError(err))
		case err := <-done:
			if err != nil {
				return 0, machineFailure(err)
			}
			return status, nil
		}
		if with, over := r.over(); over {
			stop(with)
		}
	}
}

// isEnd reports whether a signal asks gm run to end. A terminal that goes away sends
// SIGHUP; from elsewhere it is for the apps.
func (r *foreground) isEnd(s os.Signal) bool {
	if s == syscall.SIGHUP && os.Getpid() != 1 {
		in, ok := r.c.in.(*os.File)
		return ok && term.IsTerminal(int(in.Fd()))
	}
	return slices.Contains(endings, s)
}

// install writes the units. Nothing runs yet: what the plan would start is started
// by the project's target, and what of it fails is not taken back.
func (r *foreground) install(ctx context.Context) error {
	conn, err := gm.New(r.e, r.c.connOptions(r.o.lockOptions))
	if err != nil {
		return machineFailure(err)
	}
	_, err = conn.Apply(ctx, gm.Change{
		Project: r.w.project,
		Plan: func(have *engine.State, _ []engine.Selection) (*engine.Plan, error) {
			p, err := r.c.compare(conn, r.w, have, &diffOptions{})
			if err != nil {
				return nil, err
			}
			for i := range p.Apps {
				a := &p.Apps[i]
				a.Stop, a.Restart, a.Start, a.Quiet = nil, nil, nil, nil
			}
			return p, nil
		},
	})
	if err != nil {
		return r.c.changeFailure(err)
	}
	r.apps = engine.Apps(r.w.set)
	for i := range r.apps {
		a := &r.apps[i]
		r.names = append(r.names, a.Unit)
		for _, unit := range a.Companions {
			if strings.HasSuffix(unit, ".service") {
				r.companions = append(r.companions, unit)
			}
		}
	}
	return nil
}

// note takes in a change, and says of a process that it has ended. What is asked for
// then may be of a moment later: each end is said once.
func (r *foreground) note(u engine.UnitState, ending bool) {
	if isOver(u) || restarts(u) {
		if states, err := r.e.Units(context.Background(), engine.Full, []string{u.Name}); err == nil && states[u.Name].Name != "" {
			full := states[u.Name]
			full.Active, full.Sub = u.Active, u.Sub
			u = full
		}
		r.sayEnded(u, ending)
	}
	r.states[u.Name] = u
}

// sayEnded says how a process has ended, unless that was said or was asked for.
func (r *foreground) sayEnded(u engine.UnitState, ending bool) {
	started := !u.Started.IsZero() || u.Active == "failed" || restarts(u)
	this := end{u.Exit, u.Result, u.Active == "failed"}
	if started && r.ends[u.Name] != this && !ending {
		r.tell(func() { r.out.about(u) })
	}
	r.ends[u.Name] = this
}

// lastWords is how long a reader that does not read can keep gm run from ending.
const lastWords = time.Second

// speak begins to say what tell is given, until the function that it returns is called. Whoever
// reads it may have stopped to: signals are to be obeyed all the same.
func (r *foreground) speak() (end func()) {
	r.notices = make(chan func(), 256)
	said := make(chan struct{})
	go func() {
		defer close(said)
		for say := range r.notices {
			say()
		}
	}()
	return func() {
		close(r.notices)
		select {
		case <-said:
		case <-time.After(lastWords):
		}
	}
}

// tell has something said. It is left out when nobody has read for long.
func (r *foreground) tell(say func()) {
	select {
	case r.notices <- say:
	default:
	}
}

// end is what tells one end of a process from another.
type end struct {
	exit   engine.Exit
	result string
	failed bool
}

func restarts(u engine.UnitState) bool { return strings.HasPrefix(u.Sub, "auto-restart") }

// lookAgain takes in the state of every unit.
func (r *foreground) lookAgain(ending bool) {
	states, err := r.e.Units(context.Background(), engine.Full, r.names)
	if err != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		u := states[name]
		if isOver(u) {
			r.sayEnded(u, ending)
		}
		r.states[name] = u
	}
}

// isOver reports whether nothing of a unit runs or is about to.
func isOver(u engine.UnitState) bool { return u.Active == "inactive" || u.Active == "failed" }

// over reports whether there is nothing left to wait for, and the status to end with.
func (r *foreground) over() (status int, over bool) {
	if !r.started {
		return 0, false
	}
	failed := false
	for i := range r.apps {
		a := &r.apps[i]
		if comesBack(a) {
			return 0, false
		}
		for _, unit := range a.Instances {
			u, known := r.states[unit]
			if known && !isOver(u) {
				return 0, false
			}
			failed = failed || u.Active == "failed"
		}
	}
	if len(r.apps) == 1 && r.apps[0].Once && len(r.apps[0].Instances) == 1 {
		if u := r.states[r.apps[0].Instances[0]]; !u.Started.IsZero() || u.Active == "failed" {
			return exitStatusOf(u), true
		}
	}
	if !r.o.endWithAll {
		return 0, false
	}
	if failed {
		return statusFailed, true
	}
	return statusDone, true
}

// comesBack reports whether an app that has ended may be started again: at its time,
// or because a file changed.
func comesBack(a *engine.App) bool {
	return slices.ContainsFunc(a.Companions, func(unit string) bool {
		return strings.HasSuffix(unit, ".timer") || strings.HasSuffix(unit, "-watch.service")
	})
}

// exitStatusOf is a shell's $? for the main process of a unit.
func exitStatusOf(u engine.UnitState) int {
	switch {
	case u.Exit.Signal != 0:
		return 128 + u.Exit.Signal
	case u.Exit.Code == 0 && u.Active == "failed":
		return statusFailed
	}
	return u.Exit.Code
}

// forward sends a signal to the main process of every instance.
func (r *foreground) forward(s syscall.Signal) {
	for name, u := range r.running(r.names) {
		if u.Active != "deactivating" {
			_ = r.e.Kill(context.Background(), name, int(s), false) // it has just ended
		}
	}
}

// killAll ends everything at once.
func (r *foreground) killAll() {
	for name := range r.running(slices.Concat(r.names, r.companions)) {
		_ = r.e.Kill(context.Background(), name, int(syscall.SIGKILL), true) // it has just ended
	}
}

func (r *foreground) running(names []string) map[string]engine.UnitState {
	states, err := r.e.Units(context.Background(), engine.Brief, names)
	if err != nil {
		return nil
	}
	for name, u := range states {
		if isOver(u) {
			delete(states, name)
		}
	}
	return states
}

// foregroundHome returns the home of a supervisor in the foreground: the ordinary one,
// so that gm list finds it, unless that has a supervisor or apps, which are not to be
// touched. What is put there is gone after the run, as nobody asked for it to be
// installed.
func (c *caller) foregroundHome(userScope bool) (home native.Home, tidy func(), err error) {
	home, err = c.home(userScope)
	if err != nil {
		return "", nil, err
	}
	c.clearApart(userScope)
	tidy, why, err := c.takeForeground(home, userScope)
	if err != nil || why == "" {
		return home, tidy, err
	}
	dir, err := os.MkdirTemp("", apart)
	release := func() {}
	if err == nil {
		release, err = claimForeground(native.Home(dir))
	}
	if err != nil {
		return "", nil, &failure{statusFailed, "cannot-write", fmt.Sprintf("%s; and a directory for this run cannot be made: %s", why, reason(err)),
			"set GM_HOME to a directory that can be written"}
	}
	fmt.Fprintf(c.err, "gm: %s; this run is apart: GM_HOME=%s gm list\n", why, dir)
	return native.Home(dir), func() {
		_ = os.RemoveAll(dir)
		release()
	}, nil
}

// apart begins the names of directories that a gm run has for itself.
const apart = "gm-run-"

// clearApart ends and removes what a gm run has left in a directory of its own that was killed.
// Nobody else looks there.
func (c *caller) clearApart(userScope bool) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), apart+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || info.Mode().Type() != fs.ModeDir || info.Mode().Perm() != 0o700 {
			continue
		}
		// What another user has put there is not to be run as this one.
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		home := native.Home(dir)
		if !exists(home.Run()) {
			continue // it begins
		}
		release, err := claimForeground(home)
		if err != nil {
			continue // it runs
		}
		if !supervised(home, userScope) && c.endLeft(context.Background(), home, userScope) == nil {
			_ = os.RemoveAll(dir)
		}
		release()
	}
}

// takeForeground makes a home that of this gm run, or says why it cannot be.
func (c *caller) takeForeground(home native.Home, userScope bool) (tidy func(), why string, err error) {
	release, err := claimForeground(home)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Sprintf("another gm run uses %s", home), nil
	}
	if err != nil {
		return nil, fmt.Sprintf("cannot use %s: %s", home, reason(err)), nil
	}
	defer func() {
		if tidy == nil {
			release()
		}
	}()
	if err := c.clearLeft(context.Background(), home, userScope); err != nil {
		return nil, "", err
	}
	entries, err := os.ReadDir(home.Units())
	switch {
	case supervised(home, userScope):
		return nil, fmt.Sprintf("%s has a supervisor", home), nil
	case len(entries) > 0:
		return nil, fmt.Sprintf("apps are installed in %s", home), nil
	case err == nil || isNotExist(err):
		err = os.WriteFile(foregroundNote(home), nil, 0o600)
	}
	if err != nil {
		return nil, fmt.Sprintf("cannot use %s: %s", home, reason(err)), nil
	}
	return func() {
		emptyForeground(home)
		release()
	}, "", nil
}

// claimForeground has no other gm run use a home, and no supervisor begin in it that would take
// what is there for what a gm run has left, until release is called. EWOULDBLOCK: another does.
func claimForeground(home native.Home) (release func(), err error) {
	if err := os.MkdirAll(home.Run(), 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(home.Run())
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		dir.Close()
		return nil, err
	}
	return func() { dir.Close() }, nil
}

// foregroundNote says that what is installed in a home is that of a gm run.
func foregroundNote(h native.Home) string { return filepath.Join(h.Run(), "foreground") }

// emptyForeground removes what a gm run has installed.
func emptyForeground(home native.Home) {
	_ = os.RemoveAll(home.Units())
	_ = os.RemoveAll(home.Env())
	_ = os.Remove(foregroundNote(home))
}

// supervised reports whether a home has a supervisor.
func supervised(home native.Home, userScope bool) bool {
	e := native.Open(native.ClientOptions{Home: home, User: userScope})
	defer e.Close()
	_, err := e.Info(context.Background())
	return err == nil
}

// clearForeground ends and removes what a gm run has left that was killed. While one begins, or
// ends, it waits.
func (c *caller) clearForeground(ctx context.Context, home native.Home, userScope bool) error {
	const pause = 10 * time.Millisecond
	for exists(foregroundNote(home)) && !supervised(home, userScope) {
		release, err := claimForeground(home)
		if err == nil {
			defer release()
			return c.clearLeft(ctx, home, userScope)
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return machineFailure(fmt.Errorf("cannot clear away what a gm run left in %s: %w", home, err))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return engineFailure(ctx.Err())
		}
	}
	return nil
}

// clearLeft does what clearForeground is for. The caller has the claim.
func (c *caller) clearLeft(ctx context.Context, home native.Home, userScope bool) error {
	if !exists(foregroundNote(home)) || supervised(home, userScope) {
		return nil
	}
	if err := c.endLeft(ctx, home, userScope); err != nil {
		return machineFailure(fmt.Errorf("cannot clear away what a gm run left in %s: %w", home, err))
	}
	emptyForeground(home)
	return nil
}

// endLeft stops what still runs: by a supervisor that is to end as soon as it has begun.
func (c *caller) endLeft(ctx context.Context, home native.Home, userScope bool) error {
	ended, end := context.WithCancel(ctx)
	end()
	return native.Run(ended, c.supervisorOptions(home, userScope))
}
