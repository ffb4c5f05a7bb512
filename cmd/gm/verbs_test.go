package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

func TestSortArguments(t *testing.T) {
	c := &caller{dir: t.TempDir()}
	for _, name := range []string{"processes.json", "ecosystem.config.js", "server.js", "worker", "web/processes.json", "api.py"} {
		mustWrite(t, c.dir+"/"+name, "[]")
	}
	for _, test := range []struct{ name, args, files, selectors, fails string }{
		{name: "apps", args: "worker all web@2 /^api/ web", selectors: "worker all web@2 /^api/ web"},
		{name: "a declaration", args: "processes.json", files: "processes.json"},
		{name: "both", args: "web processes.json - ecosystem.config.js", files: "processes.json - ecosystem.config.js", selectors: "web"},
		{name: "a directory by its path", args: "./web", files: "./web"},
		{name: "here", args: ".", files: "."},
		{name: "an app called like a file that is not there", args: "api.js", selectors: "api.js"},
		{name: "a path that is not there", args: "./processes.yml", fails: "cannot read ./processes.yml"},
		{name: "a program", args: "server.js", fails: "server.js is a program"},
		{name: "a program in python", args: "api.py", fails: "api.py is a program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files, selectors, err := c.sortArguments(strings.Fields(test.args))
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("got %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(files, " "); got != test.files {
				t.Errorf("files %q, want %q", got, test.files)
			}
			if got := strings.Join(selectors, " "); got != test.selectors {
				t.Errorf("selectors %q, want %q", got, test.selectors)
			}
		})
	}
}

func TestIsCount(t *testing.T) {
	for text, want := range map[string]bool{
		"4": true, "+2": true, "-1": true, "0": true, "": false, "+": false, "--1": false, "+-1": false, "two": false, "1.5": false, "99999": true, "9999999999": false,
	} {
		if got := isCount(text, "+-"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if isCount("4", "-") || !isCount("-4", "-") {
		t.Error("only what looks like a flag is in doubt")
	}
}

func TestSignalNumber(t *testing.T) {
	for text, want := range map[string]int{"HUP": 1, "SIGHUP": 1, "sigusr2": 12, "9": 9, "TERM": 15, "0": 0, "65": 0, "NONE": 0, "": 0, "-1": 0} {
		got, ok := signalNumber(text)
		if ok != (want > 0) || ok && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, ok, want)
		}
	}
}

// TestEachUnit: one line an app, whatever its instances do, and the worst of them
// gives the status.
func TestEachUnit(t *testing.T) {
	selected := []engine.Selection{
		{App: engine.App{Name: "web"}, Units: []string{"web@0.service", "web@1.service"}, Whole: true},
		{App: engine.App{Name: "api"}, Units: []string{"api@3.service"}},
		{App: engine.App{Name: "off"}, Units: []string{"off.service"}, Whole: true},
		{App: engine.App{Name: "bad"}, Units: []string{"bad.service"}, Whole: true},
	}
	var out, errs bytes.Buffer
	c := &caller{out: &out, err: &errs}
	err := c.eachUnit(selected, func(unit string) (bool, error) {
		if unit == "bad.service" {
			return false, errors.New("no such process")
		}
		return unit != "off.service", nil
	}, "got SIGHUP", "does not run")
	if diff := cmp.Diff(out.String(), "web: got SIGHUP, 2 instances\napi@3: got SIGHUP\noff: does not run\n"); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if err != exit(statusFailed) || !strings.Contains(errs.String(), "no such process") {
		t.Errorf("error %v, and %q was printed", err, errs.String())
	}
}

// TestEach: a failure keeps nothing else from being done, an interruption does.
func TestEach(t *testing.T) {
	for _, test := range []struct {
		name   string
		first  error
		done   int
		status int
	}{
		{"well", nil, 2, 0},
		{"failed", exit(statusNoApp), 2, statusNoApp},
		{"interrupted", errInterrupted, 1, statusFailed},
		{"interrupted while waiting", engineFailure(context.Canceled), 1, statusFailed},
	} {
		done := 0
		c := &caller{err: &bytes.Buffer{}}
		err := c.each([]func() error{
			func() error { done++; return test.first },
			func() error { done++; return nil },
		})
		if status := c.report(err); done != test.done || status != test.status {
			t.Errorf("%s: %d done, status %d; want %d and %d", test.name, done, status, test.done, test.status)
		}
	}
}

// TestSelectFailure: an unknown app is exit status 3, with names like it, or where
// the app is.
func TestSelectFailure(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		remedy string
	}{
		{&engine.NoSuchApp{Selector: "wroker", Near: []string{"worker"}}, statusNoApp, "did you mean worker?"},
		{&engine.NoSuchApp{Selector: "x"}, statusNoApp, "gm list"},
		{&engine.NoSuchApp{Selector: "0"}, statusNoApp, "no numbers"},
		{&engine.BadSelector{Selector: "/(/", Cause: errors.New("x")}, statusInvalid, "correct it"},
	} {
		var f *failure
		if !errors.As((&caller{}).selectFailure(test.err, false), &f) || f.status != test.status || !strings.Contains(f.remedy, test.remedy) {
			t.Errorf("%v becomes %+v", test.err, f)
		}
	}
	var f *failure
	if !errors.As(unknownApp(&engine.NoSuchApp{Selector: "x", Near: []string{"y"}}, "it is elsewhere"), &f) || f.remedy != "it is elsewhere" {
		t.Errorf("an app of the other scope: %+v", f)
	}
}

// TestCompleteApps completes from the unit files, and asks no engine.
func TestCompleteApps(t *testing.T) {
	home := t.TempDir()
	_, stream := wantShop(t, "--prefix", "x-")
	unpack(t, stream, home+"/.config/systemd/user")
	mustWrite(t, home+"/.config/systemd/user/mine.service", "[Service]\n")
	unpack(t, stream, home+"/.local/state/gm/units")
	mustWrite(t, home+"/.local/state/gm/units/gone.service", "[Service]\n")
	c := &caller{environ: []string{"HOME=" + home}}
	for _, engine := range []string{engineSystemd, engineNative} {
		if diff := cmp.Diff(c.installedNames(engine, true), []string{"web", "worker"}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", engine, diff)
		}
	}
	for command, want := range map[string]int{"stop": 1, "list": 1, "describe": 0, "env": 0, "scale": 0} {
		cmd, _, err := newRootCmd(c).Find([]string{command})
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Flags().Set("user", "true"); err != nil {
			t.Fatal(err)
		}
		if names, _ := cmd.ValidArgsFunction(cmd, []string{"web"}, ""); len(names) != want {
			t.Errorf("behind gm %s web come %v", command, names)
		}
	}
}
