package gm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gm"
	"gm/engine"
	"gm/engine/native"
)

// conn connects to a supervisor of the test's own, which ends with it.
func conn(t *testing.T, change func(*gm.Options)) *gm.Conn {
	t.Helper()
	o := gm.Options{Environ: os.Environ(), Engine: gm.Native, Home: filepath.Join(t.TempDir(), "home"), Dir: t.TempDir()}
	if change != nil {
		change(&o)
	}
	c, err := gm.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if client, ok := c.Engine().(*native.Client); ok {
			if err := client.End(ctx); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	})
	return c
}

// declare is a declaration of apps that sleep.
func declare(project string, names ...string) gm.Declaration {
	apps := make([]string, len(names))
	for i, name := range names {
		apps[i] = `{"name": "` + name + `", "script": "/bin/sleep", "args": "infinity", "min_uptime": 100}`
	}
	return gm.Declaration{Project: project, Name: "apps.json", Text: []byte("[" + strings.Join(apps, ", ") + "]")}
}

// TestConnectErrors: what is wrong with the options is told apart.
func TestConnectErrors(t *testing.T) {
	var unknown *gm.UnknownEngine
	if _, err := gm.Connect(t.Context(), gm.Options{Engine: "pm2"}); !errors.As(err, &unknown) || unknown.Variable {
		t.Errorf("an unknown engine: %v", err)
	}
	if _, err := gm.Connect(t.Context(), gm.Options{Environ: []string{"GM_ENGINE=pm2"}}); !errors.As(err, &unknown) || !unknown.Variable {
		t.Errorf("GM_ENGINE: %v", err)
	}
	if gm.Booted() {
		return
	}
	var unreachable *gm.ConnectError
	if _, err := gm.Connect(t.Context(), gm.Options{Engine: gm.Systemd}); !errors.As(err, &unreachable) || !errors.Is(err, gm.ErrUnreachable) {
		t.Errorf("systemd where there is none: %v", err)
	}
}

// TestNothingRuns: to look needs no supervisor, and starts none.
func TestNothingRuns(t *testing.T) {
	c := conn(t, func(o *gm.Options) { o.Program = "/nonexistent/gm" })
	if list, err := c.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v", list, err)
	}
	if err := c.Stop(t.Context(), "all"); err != nil {
		t.Errorf("Stop of all: %v", err)
	}
	var none *gm.NoSuchApp
	for name, err := range map[string]error{
		"Stop": c.Stop(t.Context(), "web"), "Restart": c.Restart(t.Context(), "web"), "Scale": c.Scale(t.Context(), "web", 2),
		"Signal": c.Signal(t.Context(), syscall.SIGHUP, "web"),
	} {
		if !errors.As(err, &none) {
			t.Errorf("%s of an app that is not installed: %v", name, err)
		}
	}
	if _, err := c.Watch(t.Context(), "web"); !errors.As(err, &none) {
		t.Errorf("Watch of it: %v", err)
	}
	var project *gm.NoSuchProject
	if err := c.Uninstall(t.Context(), "shop"); !errors.As(err, &project) || len(project.Installed) != 0 {
		t.Errorf("Uninstall: %v", err)
	}
	var bad *gm.BadSelector
	if err := c.Stop(t.Context(), "/(/"); !errors.As(err, &bad) {
		t.Errorf("a bad selector: %v", err)
	}
	if _, err := c.Start(t.Context(), declare("shop", "web")); !errors.Is(err, gm.ErrUnreachable) {
		t.Errorf("Start where gm is missing: %v", err)
	}
}

// TestInvalidDeclarations: every way in which a declaration cannot be is one error.
func TestInvalidDeclarations(t *testing.T) {
	c := conn(t, nil)
	for name, d := range map[string]gm.Declaration{
		"no such file":          {File: "none.json"},
		"nothing here":          {},
		"a file called -":       {File: "-"},
		"no JSON":               {Name: "a.json", Text: []byte("[")},
		"no apps":               {Name: "a.json", Text: []byte("[]")},
		"an app that is not it": {Name: "a.json", Text: []byte(`[{"name": "a", "script": "/bin/true"}]`), Only: []string{"b"}},
		"warnings, strictly":    {Name: "a.json", Text: []byte(`[{"name": "a", "script": "/bin/true", "scrpit": 1}]`), Strict: true},
	} {
		_, err := c.Start(t.Context(), d)
		var invalid *gm.InvalidDeclaration
		if !errors.As(err, &invalid) || !invalid.List.HasErrors() || err.Error() == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLocked: who changes a project keeps others from it, who are told whom they wait for.
func TestLocked(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	first := conn(t, func(o *gm.Options) { o.Home, o.Who = home, "the first" })
	var waited []string
	second := conn(t, func(o *gm.Options) {
		o.Home, o.LockTimeout = home, time.Millisecond
		o.Waiting = func(project, holder string) { waited = append(waited, project+" "+holder) }
	})
	if _, err := first.Start(t.Context(), declare("shop", "web")); err != nil {
		t.Fatal(err)
	}
	_, err := first.Apply(t.Context(), gm.Change{Project: "shop", Plan: func(have *engine.State, _ []engine.Selection) (*engine.Plan, error) {
		err := second.Stop(t.Context(), "web")
		var locked *gm.Locked
		if !errors.As(err, &locked) || locked.Project != "shop" || !strings.Contains(locked.Holder, "the first") {
			t.Errorf("the second one gets %v", err)
		}
		return nil, errors.ErrUnsupported
	}})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a plan that is called off: %v", err)
	}
	if len(waited) != 1 || !strings.HasPrefix(waited[0], "shop process") {
		t.Errorf("told of %q", waited)
	}
	if list, err := first.List(t.Context()); err != nil || len(list) != 1 || list[0].Status != engine.StatusOnline {
		t.Errorf("%v, %v", list, err)
	}
}

// TestTaken: names of units that are somebody else's are left alone.
func TestTaken(t *testing.T) {
	c := conn(t, nil)
	if _, err := c.Start(t.Context(), declare("shop", "web")); err != nil {
		t.Fatal(err)
	}
	_, err := c.Start(t.Context(), declare("other", "web"))
	var taken *gm.Taken
	if !errors.As(err, &taken) || len(taken.Conflicts) != 1 || taken.Conflicts[0].Unit != "web.service" {
		t.Errorf("got %v", err)
	}
}

// TestStartSeveral: what was done before a declaration that cannot be is told.
func TestStartSeveral(t *testing.T) {
	var steps []engine.Progress
	var mu sync.Mutex
	c := conn(t, func(o *gm.Options) {
		o.Report = func(p engine.Progress) { mu.Lock(); steps = append(steps, p); mu.Unlock() }
	})
	done, err := c.Start(t.Context(), declare("one", "a"), gm.Declaration{File: "none"}, declare("three", "c"))
	if len(done) != 1 || done[0].Plan.Project != "one" || err == nil {
		t.Errorf("got %+v, %v", done, err)
	}
	if last := steps[len(steps)-1]; last.Unit != "a.service" || last.Step != engine.Up {
		t.Errorf("the last step is %+v", last)
	}
	// A Conn is for any number of goroutines, and so are projects.
	var wait sync.WaitGroup
	for _, name := range []string{"x", "y", "z"} {
		wait.Go(func() {
			if _, err := c.Start(t.Context(), declare(name, name)); err != nil {
				t.Error(err)
			}
			if err := c.Uninstall(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if err := c.Delete(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	if list, err := c.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestWatchSome: only what was chosen is told of, and an end in peace and a failure are
// told apart; the channel ends with the context.
func TestWatchSome(t *testing.T) {
	c := conn(t, nil)
	text := `[{"name": "job", "script": "/bin/sh", "args": ["-c", "read x <ends; exit $x"], "autorestart": false, "min_uptime": 100},
		{"name": "other", "script": "/bin/sleep", "args": "infinity", "min_uptime": 100}]`
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "ends"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "apps.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), gm.Declaration{File: dir + "/apps.json"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	events, err := c.Watch(ctx, "job")
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want ...string) {
		t.Helper()
		for _, text := range want {
			select {
			case e, ok := <-events:
				if !ok || !strings.HasPrefix(e.String(), text) {
					t.Fatalf("got %q, want %q", e, text)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("waited in vain for %q", text)
			}
		}
	}
	end := func(code string) {
		if err := os.WriteFile(filepath.Join(dir, "ends"), []byte(code+"\n"), 0o600); err != nil {
			t.Error(err)
		}
	}
	end("0")
	expect("job: exited with code 0", "job: stopped")
	if err := c.Restart(t.Context(), "other", "job"); err != nil {
		t.Fatal(err)
	}
	expect("job: started", "job: ready")
	end("7")
	expect("job: exited with code 7", "job: gave up: exited with code 7")
	cancel()
	for range events { // ends
	}
}

// TestWatchLost: when the supervisor ends for good, that is the last event.
func TestWatchLost(t *testing.T) {
	c := conn(t, nil)
	if _, err := c.Start(t.Context(), declare("shop", "web")); err != nil {
		t.Fatal(err)
	}
	events, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Engine().(*native.Client).End(t.Context()); err != nil {
		t.Fatal(err)
	}
	var last gm.Event
	for e := range events {
		last = e
	}
	if last.Kind != gm.Lost || !errors.Is(last.Err, gm.ErrUnreachable) {
		t.Errorf("the last event is %q", last)
	}
}
