package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gm/engine"
)

func TestLineWriter(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"a line", []string{"a\n"}, []string{"a"}},
		{"lines at once", []string{"a\nb\n\n"}, []string{"a", "b", ""}},
		{"a line in pieces", []string{"a", "b", "c\nd"}, []string{"abc"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			w := &lineWriter{line: func(line string) { got = append(got, line) }}
			for _, text := range test.writes {
				if n, err := fmt.Fprint(w, text); n != len(text) || err != nil {
					t.Errorf("wrote %d, %v", n, err)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestInProcess: only the watch is done by the supervisor; it says what is wrong with
// its command line.
func TestInProcess(t *testing.T) {
	inProcess := inProcess(nil)
	for _, argv := range [][]string{{"gm"}, {"/usr/bin/gm", "share-port", "0"}, {"gm", "list"}} {
		if inProcess(argv, nil) != nil {
			t.Errorf("%q is a task", argv)
		}
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--nonsense"}, "nonsense"},
		{nil, "needs --restart"},
	} {
		err := inProcess(append([]string{"gm", "watch"}, test.args...), nil)(t.Context(), func(string) {})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}

// TestInProcessWatch: it asks for restarts as the command does, and is over with all
// that it began when its context ends.
func TestInProcessWatch(t *testing.T) {
	const unit = "web.service"
	e := &hangingEngine{fakeUnits{
		states: []map[string]engine.UnitState{{unit: {Name: unit, Active: "active"}}}, done: make(chan string, 10),
	}}
	watched := t.TempDir()
	task := inProcess(func() (engine.Engine, error) { return e, nil })(
		[]string{"/opt/gm", "watch", "--user", "--restart", unit, "--cwd", watched, "--", "."}, []string{"HOME=/x"})
	before := runtime.NumGoroutine()
	ctx, end := context.WithCancel(t.Context())
	said, ended := make(chan string, 100), make(chan error)
	go func() { ended <- task(ctx, func(line string) { said <- line }) }()
	limit := time.After(20 * time.Second)
	next := func(c <-chan string, what string) string {
		t.Helper()
		for i := 0; ; i++ {
			// Written again and again: the watch may not have begun.
			mustWrite(t, filepath.Join(watched, "a.js"), fmt.Sprint(i))
			select {
			case text := <-c:
				return text
			case <-time.After(50 * time.Millisecond):
			case <-limit:
				t.Fatal("no " + what)
			}
		}
	}
	if got := next(said, "line"); !strings.HasPrefix(got, "restarting "+unit+": a.js ") {
		t.Errorf("it said %q", got)
	}
	for _, want := range []string{"reset " + unit, "restart " + unit} {
		if got := next(e.done, want); got != want {
			t.Errorf("it did %q, want %q", got, want)
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, and before %d", runtime.NumGoroutine(), before)
		}
	}
}

// hangingEngine is one whose jobs end with their context.
type hangingEngine struct{ fakeUnits }

func (e *hangingEngine) Do(ctx context.Context, job engine.Job) error {
	_ = e.fakeUnits.Do(ctx, job)
	<-ctx.Done()
	return ctx.Err()
}

func (*hangingEngine) Close() error { return nil }
