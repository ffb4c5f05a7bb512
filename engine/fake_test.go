package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gm/disk"
	"gm/units"
)

// fake is an engine in memory. What a service does is in the name of its script
// (ExecStart=/usr/bin/node /srv/shop/NAME.js): see behaviour. It knows unit files as
// of the last Reload.
type fake struct {
	dirs Dirs

	mu      sync.Mutex
	files   map[string]string // unit files, as of the last Reload
	links   map[string][]string
	units   map[string]*fakeUnit
	watches []*fakeWatch
	calls   []string
	reloads int
	// fail, if there is one, decides over each call.
	fail func(n int, call string) error
	busy int // jobs under way
	most int // of them at once
}

type fakeUnit struct {
	state UnitState
	// version is the text that it was started with.
	version string
	start   int // counts starts, so that what an earlier process had in mind is void
	starts  int // by hand since ResetFailed
	// stopped is closed when a stop calls its start off.
	stopped chan struct{}
	// starting is there during a start, and closed when it ends.
	starting chan struct{}
}

type fakeWatch struct {
	names []string
	ch    chan UnitState
	gone  bool
}

func newFake(t testing.TB) *fake {
	root := t.TempDir()
	f := &fake{dirs: Dirs{
		Units: root + "/etc/systemd/system", Env: root + "/etc/gm", Run: root + "/run/gm",
		Search: []string{root + "/etc/systemd/system"},
	}, units: map[string]*fakeUnit{}}
	for _, dir := range []string{f.dirs.Units, root + "/run"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.read()
	return f
}

func (f *fake) Name() string { return "fake" }
func (f *fake) Version() int { return 257 }
func (f *fake) Dirs() Dirs   { return f.dirs }
func (f *fake) Close() error { return nil }

// call notes a call and fails it if that is due.
func (f *fake) call(ctx context.Context, format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	if f.fail != nil {
		if err := f.fail(len(f.calls), call); err != nil {
			if errors.Is(err, ErrUnreachable) {
				for _, w := range f.watches {
					w.close()
				}
			}
			return err
		}
	}
	return ctx.Err()
}

func (w *fakeWatch) close() {
	if !w.gone {
		w.gone = true
		close(w.ch)
	}
}

// called lists the calls that begin with one of the words.
func (f *fake) called(words ...string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, call := range f.calls {
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(call, w) }) {
			list = append(list, call)
		}
	}
	return list
}

func (f *fake) Units(ctx context.Context, detail Detail, names []string) (map[string]UnitState, error) {
	if err := f.call(ctx, "units %s", strings.Join(names, " ")); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[string]UnitState{}
	for name, u := range f.units {
		template, _ := templateOf(name)
		if !slices.Contains(names, name) && !slices.Contains(names, template) {
			continue
		}
		s := u.state
		if detail == Brief {
			s = UnitState{Name: s.Name, Load: s.Load, Active: s.Active, Sub: s.Sub}
		}
		found[name] = s
	}
	return found, nil
}

func (f *fake) Reload(ctx context.Context) error {
	if err := f.call(ctx, "reload"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reloads++
	f.read()
	return nil
}

func (f *fake) read() {
	f.files, f.links = map[string]string{}, map[string][]string{}
	entries, _ := os.ReadDir(f.dirs.Units)
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(f.dirs.Units, e.Name())); err == nil {
			f.files[e.Name()] = string(text)
		}
		if by, ok := strings.CutSuffix(e.Name(), ".wants"); ok {
			list, _ := os.ReadDir(filepath.Join(f.dirs.Units, e.Name()))
			for _, link := range list {
				f.links[by] = append(f.links[by], link.Name())
			}
		}
	}
}

var (
	scriptName = regexp.MustCompile(`(?m)^ExecStart=.*/([a-z0-9-]+)\.js`)
	wants      = regexp.MustCompile(`(?m)^(?:Wants|Requires)=(.*)`)
)

// behaviour is what the unit's script does: "ok", "fails" in its start, "hangs" in it,
// "crash-300" after so many milliseconds, to be restarted if Restart= says so,
// "exit-300" with code 0, "ready-300" (a slow start), "deaf" to the stop signal,
// "unloadable" as a unit.
func behaviour(text string) (what string, after time.Duration) {
	m := scriptName.FindStringSubmatch(text)
	if m == nil {
		return "ok", 0
	}
	what, number, _ := strings.Cut(m[1], "-")
	after, _ = time.ParseDuration(number + "ms")
	return what, after
}

// set changes a state and tells of it. f.mu is held.
func (f *fake) set(name, active, sub string) {
	u := f.units[name]
	u.state.Active, u.state.Sub, u.state.Load = active, sub, "loaded"
	for _, w := range f.watches {
		if !w.gone && slices.Contains(w.names, name) {
			w.ch <- UnitState{Name: name, Load: "loaded", Active: active, Sub: sub}
		}
	}
}

func (f *fake) unit(name string) *fakeUnit {
	u := f.units[name]
	if u == nil {
		u = &fakeUnit{state: UnitState{Name: name, Load: "loaded", Active: "inactive", Sub: "dead"}}
		f.units[name] = u
	}
	return u
}

func (f *fake) Do(ctx context.Context, job Job) error {
	alone := map[bool]string{true: " alone"}[job.Alone]
	if err := f.call(ctx, "%s %s%s", job.Op, job.Unit, alone); err != nil {
		return err
	}
	f.mu.Lock()
	f.busy++
	f.most = max(f.most, f.busy)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy--
		f.mu.Unlock()
	}()
	if job.Op == Stop {
		f.mu.Lock()
		_, loaded := f.units[job.Unit]
		f.mu.Unlock()
		if !loaded {
			return &JobError{Job: job, Cause: fmt.Errorf("unit %s not loaded", job.Unit)}
		}
		return f.stopUnit(ctx, job.Unit)
	}
	if job.Op == Restart {
		if err := f.stopUnit(ctx, job.Unit); err != nil {
			return err
		}
	}
	return f.startUnit(ctx, job)
}

// Pull starts what links and units say, whatever members are asked about.
func (f *fake) Pull(ctx context.Context, unit string, members []string) (func(context.Context, string) error, error) {
	if err := f.call(ctx, "pull %s", unit); err != nil {
		return nil, err
	}
	results := map[string]chan error{}
	var reach func(unit string)
	reach = func(unit string) {
		wanted := slices.Clone(f.links[unit])
		for _, m := range wants.FindAllStringSubmatch(f.files[fileOf(unit)], -1) {
			wanted = append(wanted, strings.Fields(m[1])...)
		}
		for _, other := range wanted {
			text := f.files[fileOf(other)]
			if what, _ := behaviour(text); results[other] != nil || text == "" || what == "unloadable" {
				continue
			}
			result := make(chan error, 1)
			results[other] = result
			go func() { result <- f.startUnit(context.WithoutCancel(ctx), Job{Op: Start, Unit: other}) }()
			reach(other)
		}
	}
	f.mu.Lock()
	reach(unit)
	f.mu.Unlock()
	return func(ctx context.Context, member string) error {
		if results[member] == nil {
			return f.Do(ctx, Job{Op: Start, Unit: member})
		}
		select {
		case err := <-results[member]:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

func (f *fake) stopUnit(ctx context.Context, name string) error {
	f.mu.Lock()
	u := f.unit(name)
	what, _ := behaviour(u.version)
	u.start++
	if u.stopped != nil {
		close(u.stopped)
		u.stopped = nil
	}
	if !u.state.Running() {
		f.mu.Unlock()
		return nil
	}
	f.set(name, "deactivating", "stop-sigterm")
	f.mu.Unlock()
	took := 10 * time.Millisecond
	if what == "deaf" {
		took = 1600 * time.Millisecond
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u.version = ""
	if what == "deaf" {
		u.state.Result = "timeout"
		f.set(name, "failed", "failed")
		return nil
	}
	u.state.Result = "success"
	f.set(name, "inactive", "dead")
	if _, known := f.files[fileOf(name)]; !known {
		delete(f.units, name)
	}
	return nil
}

func (f *fake) startUnit(ctx context.Context, job Job) error {
	f.mu.Lock()
	u := f.units[job.Unit]
	if u == nil || u.starting == nil {
		return f.startNow(ctx, job)
	}
	starting := u.starting
	f.mu.Unlock()
	// There is such a job, and no second one.
	select {
	case <-starting:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.units[job.Unit]; u == nil || !u.state.Running() {
		return &JobError{Job: job, Result: "failed"}
	}
	return nil
}

// startNow is called with mu held, and lets go of it.
func (f *fake) startNow(ctx context.Context, job Job) error {
	text, known := f.files[fileOf(job.Unit)]
	if !known {
		f.mu.Unlock()
		return &JobError{Job: job, Cause: fmt.Errorf("unit %s not found", job.Unit)}
	}
	if what, _ := behaviour(text); what == "unloadable" {
		f.mu.Unlock()
		return &JobError{Job: job, Cause: fmt.Errorf("unit %s has a bad unit file setting", job.Unit)}
	}
	u := f.unit(job.Unit)
	if u.state.Active == "active" {
		f.mu.Unlock()
		return nil
	}
	u.start++
	u.starts++
	stopped, starting := make(chan struct{}), make(chan struct{})
	u.stopped, u.starting = stopped, starting
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if u.starting == starting {
			u.starting = nil
		}
		close(starting)
	}()
	if u.starts > 5 {
		u.state.Result = "start-limit-hit"
		f.set(job.Unit, "failed", "failed")
		f.mu.Unlock()
		return &JobError{Job: job, Result: "failed"}
	}
	if !job.Alone {
		for _, m := range wants.FindAllStringSubmatch(text, -1) {
			for _, other := range strings.Fields(m[1]) {
				if f.files[other] != "" && !f.unit(other).state.Running() {
					f.unit(other).version = f.files[other]
					f.set(other, "active", "running")
				}
			}
		}
	}
	this := u.start
	u.version = text
	u.state.Result, u.state.Restarts, u.state.Exit = "success", 0, Exit{}
	u.state.Started = time.Now()
	f.set(job.Unit, "activating", "start")
	what, after := behaviour(text)
	took := time.Millisecond
	switch what {
	case "ready":
		took = after
	case "hangs":
		took = time.Hour * 1000
	}
	f.mu.Unlock()
	select {
	case <-time.After(took):
	case <-stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if u.start != this {
		return &JobError{Job: job, Result: "canceled"}
	}
	switch what {
	case "fails":
		u.state.Result, u.state.Exit = "exit-code", Exit{Code: 203, At: time.Now()}
		u.version = ""
		f.set(job.Unit, "failed", "failed")
		return &JobError{Job: job, Result: "failed"}
	case "crash", "exit":
		time.AfterFunc(after, func() { f.end(job.Unit, this, what) })
	}
	f.set(job.Unit, "active", "running")
	return nil
}

// end ends the process of that start, and restarts it as the unit says.
func (f *fake) end(name string, start int, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.units[name]
	if u == nil || u.start != start {
		return
	}
	u.state.Exit = Exit{At: time.Now()}
	if what == "crash" {
		u.state.Result, u.state.Exit.Code = "exit-code", 1
	}
	if strings.Contains(u.version, "\nRestart=always") {
		f.set(name, "activating", "auto-restart")
		time.AfterFunc(100*time.Millisecond, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if u.start == start {
				u.state.Restarts++
				u.state.Started, u.state.Exit = time.Now(), Exit{}
				f.set(name, "active", "running")
			}
		})
		return
	}
	u.version = ""
	if what == "crash" {
		f.set(name, "failed", "failed")
	} else {
		f.set(name, "inactive", "dead")
	}
}

func (f *fake) ResetFailed(ctx context.Context, unit string) error {
	if err := f.call(ctx, "reset %s", unit); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.units[unit]; u != nil {
		u.starts = 0
		if u.state.Active == "failed" {
			u.state.Result = "success"
			f.set(unit, "inactive", "dead")
		}
	}
	return nil
}

func (f *fake) Kill(ctx context.Context, unit string, signal int, all bool) error {
	return f.call(ctx, "kill %s", unit)
}

func (f *fake) Watch(ctx context.Context, names []string) (<-chan UnitState, error) {
	if err := f.call(ctx, "watch %s", strings.Join(names, " ")); err != nil {
		return nil, err
	}
	w := &fakeWatch{names: names, ch: make(chan UnitState, 10000)}
	f.mu.Lock()
	f.watches = append(f.watches, w)
	f.mu.Unlock()
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		w.close()
	})
	return w.ch, nil
}

func (f *fake) Logs(ctx context.Context, q LogQuery) iter.Seq2[LogEntry, error] {
	return func(yield func(LogEntry, error) bool) {
		if err := f.call(ctx, "logs %s", strings.Join(q.Units, " ")); err != nil {
			yield(LogEntry{}, err)
			return
		}
		for _, unit := range q.Units {
			if !yield(LogEntry{Time: time.Now(), Unit: unit, Text: []byte(unit + " says its last")}, nil) {
				return
			}
		}
	}
}

// picture is what there is on the machine: files with their text, links with where
// they lead, and what runs, with the script that it was started with.
func (f *fake) picture(t testing.TB) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, dir := range []string{f.dirs.Units, f.dirs.Env} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			if d.Type()&fs.ModeSymlink != 0 {
				to, err := os.Readlink(path)
				seen["link "+path] = to
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			seen["file "+path] = info.Mode().String() + "\n" + string(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	maps.Copy(seen, f.running())
	return seen
}

// running says with which script each service runs.
func (f *fake) running() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]string{}
	for name, u := range f.units {
		if u.state.Running() {
			seen[name] = ""
			if m := scriptName.FindStringSubmatch(u.version); m != nil {
				seen[name] = m[1]
			}
		}
	}
	return seen
}

// install brings the machine to a declaration, as the command does.
func (f *fake) install(ctx context.Context, t testing.TB, disk disk.FS, set units.Set, o ApplyOptions) error {
	t.Helper()
	if _, err := Recover(ctx, f, disk, "shop"); err != nil {
		return err
	}
	have, err := Observe(ctx, f, "shop", Brief)
	if err != nil {
		return err
	}
	p := Diff(set, have, DiffOptions{Project: "shop"})
	o.Have = have
	return Apply(ctx, f, disk, p, o)
}
