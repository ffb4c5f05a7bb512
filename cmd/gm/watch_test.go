package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gm/engine"
	"gm/watch"
)

func TestWatchOptions(t *testing.T) {
	base := watch.Options{Dir: "/srv/shop", Paths: []string{"."}, FollowSymlinks: true, Depth: -1, Atomic: 100 * time.Millisecond}
	with := func(change func(*watch.Options)) watch.Options {
		o := base
		change(&o)
		return o
	}
	for _, test := range []struct {
		name     string
		flags    watchOptions
		paths    []string
		want     watch.Options
		warnings []string
	}{
		{name: "nothing", want: base},
		{name: "paths", paths: []string{"src"}, want: with(func(o *watch.Options) { o.Paths = []string{"src"} })},
		{name: "ignore", flags: watchOptions{ignore: []string{"x"}, never: []string{"y"}},
			want: with(func(o *watch.Options) { o.Ignore, o.Never = []string{"x"}, []string{"y"} })},
		{name: "ignore nothing", flags: watchOptions{ignoreNothing: true}, want: with(func(o *watch.Options) { o.Ignore = []string{} })},
		{name: "what gm does anyway", flags: watchOptions{options: `{"persistent": true, "ignoreInitial": true, "followSymlinks": true, "usePolling": false, "atomic": true, "alwaysStat": true, "awaitWriteFinish": false}`},
			want: base},
		{name: "polling", flags: watchOptions{options: `{"interval": 300, "usePolling": true}`}, want: with(func(o *watch.Options) { o.Poll = 300 * time.Millisecond })},
		{name: "interval alone", flags: watchOptions{options: `{"interval": 300}`}, want: base},
		{name: "polling by default", flags: watchOptions{options: `{"usePolling": true}`}, want: with(func(o *watch.Options) { o.Poll = 100 * time.Millisecond })},
		{name: "others", flags: watchOptions{options: `{"followSymlinks": false, "disableGlobbing": true, "ignorePermissionErrors": true, "depth": 2, "atomic": 50, "ignored": ["a", "b"]}`},
			want: with(func(o *watch.Options) {
				o.FollowSymlinks, o.Literal, o.Denied, o.Depth, o.Atomic, o.Ignore = false, true, true, 2, 50*time.Millisecond, []string{"a", "b"}
			})},
		{name: "write finish", flags: watchOptions{options: `{"awaitWriteFinish": true}`},
			want: with(func(o *watch.Options) { o.Stable, o.StableEvery = 2*time.Second, 100*time.Millisecond })},
		{name: "write finish in time", flags: watchOptions{options: `{"awaitWriteFinish": {"stabilityThreshold": 500}}`},
			want: with(func(o *watch.Options) { o.Stable, o.StableEvery = 500*time.Millisecond, 100*time.Millisecond })},
		{name: "no effect", flags: watchOptions{options: `{"useFsEvents": false, "ignoreInitial": false, "cwd": "/x", "usePolling": "true", "depth": -1, "awaitWriteFinish": 3, "ignored": [{}]}`},
			want:     base,
			warnings: []string{`awaitWriteFinish: 3`, `cwd: "/x"`, `depth: -1`, `ignoreInitial: false`, `ignored: [{}]`, `useFsEvents: false`, `usePolling: "true"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.flags.cwd = "/srv/shop"
			got, warnings, err := test.flags.watched(&caller{dir: "/"}, test.paths)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
			var want []string
			for _, text := range test.warnings {
				want = append(want, "watch_options: "+text+" has no effect")
			}
			if diff := cmp.Diff(warnings, want, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings -got +want:\n%s", diff)
			}
		})
	}
}

// Wrong usage ends with status 2, after which systemd does not start it again.
func TestWatchUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "needs --restart"},
		{"--restart shop", "the name of a service expected"},
		{"--restart *.service", "the name of a service expected"},
		{"--restart @*.service", "the name of a service expected"},
		{"--restart a.service --delay -1s", "negative"},
		{"--restart a.service --delay x", "invalid"},
		{"--restart a.service --options [1]", "--options [1]"},
		{"--restart a.service --options {", "--options {"},
		{"--restart a.service --ignore x --ignore-nothing", "exclude each other"},
		{"--restart a.service --nosuch", "nosuch"},
	} {
		var out, errs bytes.Buffer
		status := run(&caller{out: &out, err: &errs, dir: t.TempDir()}, append([]string{"watch"}, strings.Fields(test.args)...))
		if status != statusInvalid || !strings.Contains(errs.String(), test.want) {
			t.Errorf("gm watch %s: status %d\n%s", test.args, status, errs.String())
		}
	}
}

// fakeUnits is an engine that has units and notes what is done with them.
type fakeUnits struct {
	engine.Engine
	asked  []string
	states []map[string]engine.UnitState // one look after the other, the last one again and again
	done   chan string
	err    error
}

func (u *fakeUnits) Units(_ context.Context, _ engine.Detail, names []string) (map[string]engine.UnitState, error) {
	u.asked = names
	states := u.states[0]
	if len(u.states) > 1 {
		u.states = u.states[1:]
	}
	return states, nil
}

func (u *fakeUnits) ResetFailed(_ context.Context, unit string) error {
	u.done <- "reset " + unit
	return nil
}

func (u *fakeUnits) Do(_ context.Context, job engine.Job) error {
	u.done <- fmt.Sprintf("%s %s", job.Op, job.Unit)
	return u.err
}

func TestWatchRestarts(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	type states = map[string]engine.UnitState
	unit := func(active string, started int) engine.UnitState {
		return engine.UnitState{Active: active, Started: at(started)}
	}
	burst := watch.Burst{Changes: []watch.Change{
		{Path: "/srv/shop/old.js", Kind: watch.Changed, At: at(3)},
		{Path: "/srv/shop/src/a.js", Kind: watch.Changed, At: at(10)},
		{Path: "/srv/lib/b.js", Kind: watch.Added, At: at(11)},
	}}
	const said = "restarting a.service: src/a.js changed, and 1 more\n"
	for _, test := range []struct {
		name   string
		looks  []states
		do     []string
		say    string
		err    error
		failed bool
	}{
		{name: "runs", looks: []states{{"a.service": unit("active", 5)}}, do: []string{"reset a.service", "restart a.service"}, say: said},
		{name: "waits for its next start", looks: []states{{"a.service": unit("activating", 5)}}, do: []string{"reset a.service", "restart a.service"}, say: said},
		{name: "given up", looks: []states{{"a.service": unit("failed", 5)}}, do: []string{"reset a.service", "restart a.service"}, say: said},
		{name: "stopped", looks: []states{{"a.service": unit("inactive", 5)}}},
		{name: "not in memory", looks: []states{{}}},
		{name: "started since", looks: []states{{"a.service": unit("active", 12)}}},
		{name: "started between the changes", looks: []states{{"a.service": unit("active", 10)}}, do: []string{"reset a.service", "restart a.service"},
			say: "restarting a.service: /srv/lib/b.js added\n"},
		{name: "about to be stopped", looks: []states{{"a.service": unit("deactivating", 5)}, {"a.service": unit("deactivating", 5)}, {"a.service": unit("inactive", 5)}}},
		{name: "about to be restarted", looks: []states{{"a.service": unit("deactivating", 5)}, {"a.service": unit("active", 12)}}},
		{name: "about to be given up", looks: []states{{"a.service": unit("deactivating", 5)}, {"a.service": unit("failed", 5)}},
			do: []string{"reset a.service", "restart a.service"}, say: said},
		{name: "replaced by a later job", looks: []states{{"a.service": unit("active", 5)}}, do: []string{"reset a.service", "restart a.service"}, say: said,
			err: &engine.JobError{Result: "canceled"}},
		{name: "fails", looks: []states{{"a.service": unit("active", 5)}}, do: []string{"reset a.service", "restart a.service"}, say: said,
			err: &engine.JobError{Result: "failed"}, failed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			r, err := (&watchOptions{restart: "a.service"}).restarter(&caller{out: &out, err: &out})
			if err != nil {
				t.Fatal(err)
			}
			r.dir, r.say = "/srv/shop", &lines{c: &caller{out: &out, err: &out}}
			for _, look := range test.looks {
				for name, u := range look {
					u.Name = name
					look[name] = u
				}
			}
			e := &fakeUnits{states: test.looks, done: make(chan string, 10), err: test.err}
			if err := r.restartBy(t.Context(), e, burst); (err != nil) != test.failed || err != nil && !errors.Is(err, test.err) {
				t.Error(err)
			}
			close(e.done)
			var done []string
			for text := range e.done {
				done = append(done, text)
			}
			if diff := cmp.Diff(done, test.do); diff != "" {
				t.Errorf("done -got +want:\n%s", diff)
			}
			if out.String() != test.say {
				t.Errorf("it says %q, want %q", out.String(), test.say)
			}
		})
	}
}

func TestWatchAsksForInstances(t *testing.T) {
	r, err := (&watchOptions{restart: `a\x2db@*.service`}).restarter(&caller{})
	if err != nil || !cmp.Equal(r.names, []string{`a\x2db@.service`}) {
		t.Errorf("%v %v", r, err)
	}
}
