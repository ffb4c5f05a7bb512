package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"gm/engine"
	"gm/watch"
)

type watchOptions struct {
	restart       string
	cwd           string
	delay         time.Duration
	ignore        []string
	ignoreNothing bool
	options       string
	never         []string
	user          bool
}

// newWatchCmd is what the watch companions of apps run (ExecStart=gm watch …).
func newWatchCmd(c *caller) *cobra.Command {
	cmd, _ := watchCommand(c)
	return cmd
}

// watchCommand is newWatchCmd, and the options that its flags fill.
func watchCommand(c *caller) (*cobra.Command, *watchOptions) {
	o := &watchOptions{}
	cmd := &cobra.Command{
		Use:   "watch --restart UNIT [PATH…]",
		Short: "Restart a unit when files change (called by units)",
		Long: `watch is called by the units NAME-watch.service, which come from PM2's key watch.
It restarts a unit when a file changes, appears or goes, once for all changes
that come together. Paths are files, directories with all that is in them, or
globs, relative to --cwd; without one, all of --cwd is watched.

Names that begin with a dot and everything of node_modules do not count, nor do
the files of --never. --ignore takes the place of the first rule.`,
		Example: "  gm watch --restart worker.service --cwd /srv/shop --ignore dist -- src",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal()
			defer stop()
			return c.watch(ctx, o, args)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.restart, "restart", "", "the `unit` to restart: NAME.service, or NAME@*.service for all instances")
	f.StringVar(&o.cwd, "cwd", "", "the `directory` that paths are relative to (default the working directory)")
	f.DurationVar(&o.delay, "delay", 0, "`time` from the first change to the restart")
	f.StringArrayVar(&o.ignore, "ignore", nil, "a path, glob or regular `expression` that does not count; may be repeated")
	f.BoolVar(&o.ignoreNothing, "ignore-nothing", false, "let everything count")
	f.StringVar(&o.options, "options", "", "chokidar's options, a `JSON` object")
	f.StringArrayVar(&o.never, "never", nil, "a `file` that never counts; may be repeated")
	f.BoolVar(&o.user, "user", false, "the unit is one of your own")
	return cmd, o
}

// joined is how long before the start of gm watch a change may have been that it still
// takes for one. The watch of a single app is restarted with it, by the engine: what is
// written between the start of the app and that of the watch would be lost. An app that
// was started after the change is not restarted for it.
const joined = 2 * time.Second

func (c *caller) watch(ctx context.Context, o *watchOptions, paths []string) error {
	r, err := o.restarter(c)
	if err != nil {
		return err
	}
	w, warnings, err := o.watched(c, paths)
	if err != nil {
		return err
	}
	r.dir, r.say = w.Dir, &lines{c: c}
	for _, text := range warnings {
		r.say.warn(text)
	}
	w.Warn = r.say.warn
	w.Since = time.Now().Add(-joined)
	var restarts sync.WaitGroup
	defer restarts.Wait() // they end with ctx
	for burst := range watch.Bursts(ctx, watch.Changes(ctx, w), o.delay, w.Atomic) {
		// Not waited for here: the restart of an app ends this very command (PartOf=), and
		// that of another may hang for as long as the next save is to help.
		restarts.Go(func() { r.restart(ctx, burst) })
	}
	return nil
}

// lines writes to the log, one line at a time.
type lines struct {
	mu sync.Mutex
	c  *caller
}

func (l *lines) info(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.c.out, text)
}

func (l *lines) warn(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.c.err, "gm: %s\n", text)
}

// watched turns flags into what is watched.
func (o *watchOptions) watched(c *caller, paths []string) (w watch.Options, warnings []string, err error) {
	w = watch.Options{
		Dir: c.abs(o.cwd), Paths: paths, Ignore: o.ignore, Never: o.never,
		FollowSymlinks: true, Depth: -1, Atomic: 100 * time.Millisecond,
	}
	switch {
	case o.delay < 0:
		return w, nil, usage("write a time such as 500ms", "--delay %v is negative", o.delay)
	case o.ignoreNothing && len(o.ignore) > 0:
		return w, nil, usage("choose one", "--ignore and --ignore-nothing exclude each other")
	case o.ignoreNothing:
		w.Ignore = []string{}
	}
	if len(paths) == 0 {
		w.Paths = []string{"."}
	}
	if o.options != "" {
		if warnings, err = addChokidar(&w, o.options); err != nil {
			return w, nil, err
		}
	}
	return w, warnings, nil
}

// chokidarOptions is chokidar's options, each with what it does to w. One that returns
// false has a value that gm has no use for.
var chokidarOptions = map[string]func(w *watch.Options, v any) bool{
	"followSymlinks":         flagOption(func(w *watch.Options, on bool) { w.FollowSymlinks = on }),
	"disableGlobbing":        flagOption(func(w *watch.Options, on bool) { w.Literal = on }),
	"ignorePermissionErrors": flagOption(func(w *watch.Options, on bool) { w.Denied = on }),
	"usePolling": flagOption(func(w *watch.Options, on bool) {
		w.Poll = 0
		if on {
			w.Poll = 100 * time.Millisecond
		}
	}),
	"interval": func(w *watch.Options, v any) bool {
		every, ok := millis(v, 1)
		if ok && w.Poll > 0 {
			w.Poll = every
		}
		return ok
	},
	"depth": func(w *watch.Options, v any) bool {
		n, ok := v.(float64)
		if ok && n >= 0 {
			w.Depth = int(min(n, 1<<20))
		}
		return ok && n >= 0
	},
	"atomic": func(w *watch.Options, v any) bool {
		if on, ok := v.(bool); ok {
			if !on {
				w.Atomic = 0
			}
			return true
		}
		hold, ok := millis(v, 0)
		if ok {
			w.Atomic = hold
		}
		return ok
	},
	"awaitWriteFinish": func(w *watch.Options, v any) bool {
		on, isFlag := v.(bool)
		settings, isObject := v.(map[string]any)
		if !isFlag && !isObject {
			return false
		}
		if isFlag && !on {
			return true
		}
		w.Stable, w.StableEvery = 2*time.Second, 100*time.Millisecond
		ok := true
		for name, into := range map[string]*time.Duration{"stabilityThreshold": &w.Stable, "pollInterval": &w.StableEvery} {
			if v, given := settings[name]; given {
				value, good := millis(v, 1)
				if ok = ok && good; good {
					*into = value
				}
			}
		}
		return ok
	},
	"ignored": func(w *watch.Options, v any) bool {
		list, ok := v.([]any)
		if text, one := v.(string); one {
			list, ok = []any{text}, true
		}
		ignore := []string{}
		for _, v := range list {
			text, isText := v.(string)
			if !isText {
				return false
			}
			ignore = append(ignore, text)
		}
		if ok {
			w.Ignore = ignore
		}
		return ok
	},
	// What gm does anyway.
	"persistent":    only(true),
	"ignoreInitial": only(true),
	"alwaysStat":    func(*watch.Options, any) bool { return true }, // only callers of chokidar see it
}

func flagOption(set func(*watch.Options, bool)) func(*watch.Options, any) bool {
	return func(w *watch.Options, v any) bool {
		on, ok := v.(bool)
		if ok {
			set(w, on)
		}
		return ok
	}
}

func only(value bool) func(*watch.Options, any) bool {
	return func(_ *watch.Options, v any) bool { return v == value }
}

func millis(v any, least float64) (time.Duration, bool) {
	n, ok := v.(float64)
	const most = float64(1 << 40)
	return time.Duration(min(n, most) * float64(time.Millisecond)), ok && n >= least
}

// addChokidar reads PM2's watch_options and says which of them do nothing.
func addChokidar(w *watch.Options, text string) (warnings []string, err error) {
	var options map[string]any
	if err := json.Unmarshal([]byte(text), &options); err != nil {
		return nil, usage("write an object of chokidar's options", "--options %s: %v", text, err)
	}
	names := slices.Sorted(maps.Keys(options))
	// interval means something only after usePolling.
	if i := slices.Index(names, "interval"); i >= 0 {
		names = append(slices.Delete(names, i, i+1), "interval")
	}
	for _, name := range names {
		if set := chokidarOptions[name]; set == nil || !set(w, options[name]) {
			value, _ := json.Marshal(options[name])
			warnings = append(warnings, fmt.Sprintf("watch_options: %s: %s has no effect", name, value))
		}
	}
	return warnings, nil
}

// restarter restarts units because of changes.
type restarter struct {
	unit string // as given
	// names is what the engine is asked for: a template stands for its instances.
	names []string
	open  func(context.Context) (engine.Engine, error)
	dir   string // that paths are shown relative to
	say   *lines
}

func (o *watchOptions) restarter(c *caller) (*restarter, error) {
	r := &restarter{unit: o.restart, names: []string{o.restart}}
	switch name, ok := strings.CutSuffix(o.restart, "@*.service"); {
	case o.restart == "":
		return nil, usage("say which unit to restart: --restart NAME.service", "watch needs --restart")
	case ok && name != "" && !strings.Contains(name, "*"):
		r.names = []string{name + "@.service"}
	case !strings.HasSuffix(o.restart, ".service") || strings.ContainsAny(o.restart, "*/ "):
		return nil, usage("write NAME.service, or NAME@*.service", "--restart %s: the name of a service expected", o.restart)
	}
	r.open = func(ctx context.Context) (engine.Engine, error) {
		conn, err := c.connect(ctx, &engineOptions{user: o.user, system: !o.user}, lockOptions{})
		if err != nil {
			return nil, err
		}
		return conn.Engine(), nil
	}
	return r, nil
}

// goingDown is how often a unit is looked at that is about to be down.
const goingDown = 100 * time.Millisecond

// restart restarts what has not been started since the burst. The connection is not
// kept: over it the engine tells everything that happens to any unit.
func (r *restarter) restart(ctx context.Context, b watch.Burst) {
	e, err := r.open(ctx)
	if err == nil {
		defer e.Close()
		err = r.restartBy(ctx, e, b)
	}
	if err != nil && ctx.Err() == nil {
		r.say.warn(fmt.Sprintf("%s, and %s is not restarted: %v", r.about(b, time.Time{}), r.unit, err))
	}
}

func (r *restarter) restartBy(ctx context.Context, e engine.Engine, b watch.Burst) error {
	var due []engine.UnitState
	for {
		states, err := e.Units(ctx, engine.Full, r.names)
		if err != nil {
			return err
		}
		wait := false
		if due, wait = outdated(states, b.Last()); len(due) > 0 || !wait {
			break
		}
		select {
		case <-time.After(goingDown):
		case <-ctx.Done():
			return nil
		}
	}
	if len(due) == 0 {
		return nil
	}
	oldest := due[0].Started
	for _, u := range due {
		if u.Started.Before(oldest) {
			oldest = u.Started
		}
	}
	r.say.info(fmt.Sprintf("restarting %s: %s", r.unit, r.about(b, oldest)))
	failed := make([]error, len(due))
	var all sync.WaitGroup
	for i, u := range due {
		all.Go(func() {
			if failed[i] = e.ResetFailed(ctx, u.Name); failed[i] == nil {
				failed[i] = e.Do(ctx, engine.Job{Op: engine.Restart, Unit: u.Name, Yield: true})
			}
			var job *engine.JobError
			if errors.As(failed[i], &job) && job.Result == "canceled" {
				failed[i] = nil // by a later one, or a stop was first
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// about is "src/a.js changed, and 12 more", of the changes after a time.
func (r *restarter) about(b watch.Burst, after time.Time) string {
	first, more := b.After(after)
	name := first.Path
	if rel, err := filepath.Rel(r.dir, name); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		name = rel
	}
	text := fmt.Sprintf("%s %s", name, first.Kind)
	if more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// outdated returns the units that run, or were given up, with the files of before a
// change. A unit that is down was stopped, and stays so. Of one that is going down it
// is not yet known whether to stay down: wait.
func outdated(states map[string]engine.UnitState, change time.Time) (due []engine.UnitState, wait bool) {
	for _, name := range slices.Sorted(maps.Keys(states)) {
		switch u := states[name]; {
		case u.Started.After(change):
		case u.Active == "deactivating":
			wait = true
		case u.Running(), u.Active == "failed":
			due = append(due, u)
		}
	}
	return due, wait
}
