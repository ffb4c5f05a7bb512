package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

func processNamed(t *testing.T, l *listing, name string) *engine.Process {
	t.Helper()
	i := slices.IndexFunc(l.processes, func(p engine.Process) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("there is no process %s", name)
	}
	return &l.processes[i]
}

func TestEnvironment(t *testing.T) {
	for _, test := range []struct {
		golden, process string
		want            map[string]string
	}{
		{"seed-production", "worker", map[string]string{"INTERVAL": "60000", "NODE_APP_INSTANCE": "0"}},
		{"seed-production", "web-api@2", map[string]string{"NODE_APP_INSTANCE": "2"}},
		{"env-secrets", "web@1", map[string]string{
			"TOKEN": "s3cr3t", "QUOTES": `say "hi" and 'bye'`, "DOLLAR": "$HOME `id` \\", "PERCENT": "100% %i", "BLANKS": " a ",
			"EMPTY": "", "PEM": "-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n", "HASH": "#x", "TAB": "a\tb",
			"MARKER": "a\n-- web.service --\nb", "EMOJI": "🚀", "PORT": "3000", "NODE_APP_INSTANCE": "1",
		}},
	} {
		l := installed(t, nil, test.golden)
		got, err := (&caller{}).environment(l, processNamed(t, l, test.process))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", test.process, test.golden, diff)
		}
	}
}

// TestEnvironmentOfInstances reads the drop-ins that count a variable up.
func TestEnvironmentOfInstances(t *testing.T) {
	l := installed(t, nil, "instances-increment")
	values := map[string]string{}
	for i := range l.processes {
		if l.processes[i].App.Name != "web" {
			continue
		}
		env, err := (&caller{}).environment(l, &l.processes[i])
		if err != nil {
			t.Fatal(err)
		}
		values[l.processes[i].Name] = env["PORT"]
	}
	want := map[string]string{"web@0": "3000", "web@1": "3001", "web@2": "3002"}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("PORT (-want +got):\n%s", diff)
	}
}

// TestEnvironmentOverridden reads the drop-ins and files of an administrator.
func TestEnvironmentOverridden(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("extra.env", "FROM_FILE=file\nINTERVAL=3\n")
	l := installed(t, nil, "seed-production")
	l.state.DropIns["worker.service"] = []string{
		write("50-more.conf", "[Service]\nEnvironment=INTERVAL=1 \"WHO=%n in %t, 100%%\"\nEnvironmentFile=-/nowhere.env\nEnvironmentFile="+file+"\n"),
		write("10-less.conf", "[Service]\nEnvironment=\nEnvironment=FIRST=1\n"),
		filepath.Join(dir, "missing.conf"),
	}
	got, err := (&caller{}).environment(l, processNamed(t, l, "worker"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"FIRST": "1", "INTERVAL": "3", "WHO": "worker.service in /run, 100%", "FROM_FILE": "file"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}

	l.dropIns = nil
	l.state.DropIns["worker.service"] = []string{write("99.conf", "[Service]\nEnvironmentFile=/nowhere.env\n")}
	env, err := (&caller{}).environment(l, processNamed(t, l, "worker"))
	var f *failure
	if !errors.As(err, &f) || f.status != statusFailed || strings.Contains(f.remedy, "choose a directory") {
		t.Errorf("a missing file is the error %+v: %v", f, env)
	}
}
