package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
	"gm/units"
)

func TestOutputs(t *testing.T) {
	stream := func(kind, path string) units.Stream { return units.Stream{Kind: kind, Path: units.Spec(path)} }
	for _, test := range []struct {
		name     string
		unit     string
		out, err units.Stream
		// want is the files that have a line afterwards: what the app wrote to it.
		want map[string]string
	}{
		{"the journal", "web-api.service", stream("journal", ""), stream("journal", ""),
			map[string]string{"logs/web-api-out.log": "out\n", "logs/web-api-error.log": "err\n"}},
		{"nothing declared", "web-api@1.service", units.Stream{}, units.Stream{},
			map[string]string{"logs/web-api-out-1.log": "out\n", "logs/web-api-error-1.log": "err\n"}},
		{"errors inherit the journal", "a.service", stream("journal", ""), stream("inherit", ""),
			map[string]string{"logs/a-out.log": "out\n", "logs/a-error.log": "err\n"}},
		{"one file", "a.service", stream("append", "DIR/x"), stream("append", "DIR/x"), map[string]string{"x": "there\nout\nerr\n"}},
		{"errors inherit a file", "a.service", stream("append", "DIR/x"), stream("inherit", ""), map[string]string{"x": "there\nout\nerr\n"}},
		{"truncated", "a.service", stream("truncate", "DIR/x"), stream("null", ""), map[string]string{"x": "out\n"}},
		{"from the start", "a.service", stream("file", "DIR/x"), stream("null", ""), map[string]string{"x": "out\ne\n"}},
		{"errors alone", "a.service", stream("null", ""), stream("append", "DIR/y"), map[string]string{"x": "there\n", "y": "err\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x"), []byte("there\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*units.Stream{&test.out, &test.err} {
				s.Path = units.Spec(strings.Replace(string(s.Path), "DIR", dir, 1))
			}
			d := &definition{name: test.unit, service: &serviceDef{exec: execDef{umask: 0o022, stdout: test.out, stderr: test.err}}}
			out, errs, err := Home(dir).outputs(d)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			defer errs.Close()
			fmt.Fprintln(out, "out")
			fmt.Fprintln(errs, "err")
			got := map[string]string{}
			_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
				if text, readErr := os.ReadFile(path); readErr == nil {
					name, _ := filepath.Rel(dir, path)
					got[name] = string(text)
				}
				return err
			})
			if test.want["x"] == "" {
				delete(got, "x")
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		})
	}
}

func TestOutputsMode(t *testing.T) {
	dir := t.TempDir()
	for umask, want := range map[int]os.FileMode{-1: 0o644, 0o022: 0o644, 0: 0o666, 0o077: 0o600} {
		path := filepath.Join(dir, fmt.Sprint(umask))
		d := definitionOf("a.service", path, 0, 0)
		d.service.exec.umask = umask
		out, _, err := Home(dir).outputs(d)
		if err != nil {
			t.Fatal(err)
		}
		out.Close()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("UMask=%o: %v, want %v: %v", umask, info.Mode(), want, err)
		}
	}
}

// TestOutputsFail names the step that systemd would have failed at.
func TestOutputsFail(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	null := units.Stream{Kind: "null"}
	for _, test := range []struct {
		name     string
		out, err units.Stream
		step     string
		code     int
		text     string
	}{
		{"no directory", units.Stream{Kind: "append", Path: "/nowhere/x"}, null, "STDOUT", 209, "cannot open /nowhere/x: no such file or directory"},
		{"a directory", null, units.Stream{Kind: "append", Path: units.Spec(dir)}, "STDERR", 222, "is a directory"},
		{"a pipe that nobody reads", units.Stream{Kind: "file", Path: units.Spec(pipe)}, null, "STDOUT", 209, "nobody reads this pipe"},
		{"a socket", units.Stream{Kind: "socket"}, null, "STDOUT", 209, "StandardOutput=socket is not possible"},
		{"a terminal", null, units.Stream{Kind: "tty"}, "STDERR", 222, "StandardError=tty is not possible"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := &definition{name: "a.service", service: &serviceDef{exec: execDef{umask: -1, stdout: test.out, stderr: test.err}}}
			_, _, err := Home(dir).outputs(d)
			var failed *spawnError
			if !errors.As(err, &failed) || failed.step != test.step || failed.code != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %+v", err)
			}
		})
	}
}

// TestOutputsOfBrokenLog starts an app whose log cannot be opened, and says so.
func TestOutputsOfBrokenLog(t *testing.T) {
	home := Home(t.TempDir())
	d := &definition{name: "a.service", service: &serviceDef{exec: execDef{umask: -1}}}
	if err := os.MkdirAll(filepath.Join(home.Logs(), "a-out.log"), 0o755); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 2; want++ {
		out, errs, err := home.outputs(d)
		if err != nil {
			t.Fatal(err)
		}
		if out.Name() != os.DevNull || errs.Name() != filepath.Join(home.Logs(), "a-error.log") {
			t.Errorf("%s and %s", out.Name(), errs.Name())
		}
		out.Close()
		errs.Close()
		var got []string
		for e, err := range home.readLogs(t.Context(), engine.LogQuery{Units: []string{"a.service"}}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(e.Text))
		}
		if len(got) != want || !strings.Contains(got[0], "a-out.log: is a directory; what it writes there is lost until its next start") {
			t.Errorf("it says %q", got)
		}
	}
	if err := os.Remove(filepath.Join(home.Logs(), "a-out.log")); err != nil {
		t.Fatal(err)
	}
	out, errs, err := home.outputs(d)
	if err != nil || out.Name() == os.DevNull {
		t.Fatal(out.Name(), err)
	}
	out.Close()
	errs.Close()
}

func TestManagerLog(t *testing.T) {
	home := Home(t.TempDir())
	m, err := openManagerLog(home)
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	read := func(q engine.LogQuery) (got []string) {
		t.Helper()
		for e, err := range home.readLogs(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			if !e.Manager || e.Time.IsZero() {
				t.Errorf("%+v", e)
			}
			got = append(got, e.Unit+": "+string(e.Text))
		}
		return got
	}
	m.write("a.service", "one")
	m.write("b.service", "two\nlines")
	m.write("a.service", "three")
	middle := time.Now().Truncate(time.Microsecond).Add(time.Microsecond)
	for !time.Now().After(middle) { // the times in the log are no finer
	}
	m.write("a.service", "")
	m.write("a.service", "four")
	m.write("b.service", "five")
	both := []string{"a.service", "b.service"}
	for _, test := range []struct {
		name string
		q    engine.LogQuery
		want []string
	}{
		{"all", engine.LogQuery{Units: both},
			[]string{"a.service: one", "b.service: two lines", "a.service: three", "a.service: ", "a.service: four", "b.service: five"}},
		{"one unit", engine.LogQuery{Units: both[1:]}, []string{"b.service: two lines", "b.service: five"}},
		{"the last", engine.LogQuery{Units: both, Lines: 1}, []string{"a.service: four", "b.service: five"}},
		{"since", engine.LogQuery{Units: both, Since: middle}, []string{"a.service: ", "a.service: four", "b.service: five"}},
		{"until", engine.LogQuery{Units: both[1:], Until: middle}, []string{"b.service: two lines"}},
		{"of this boot", engine.LogQuery{Units: both[1:], Boot: true}, []string{"b.service: two lines", "b.service: five"}},
		{"no unit", engine.LogQuery{}, nil},
	} {
		if diff := cmp.Diff(read(test.q), test.want); diff != "" {
			t.Errorf("%s: -got +want:\n%s", test.name, diff)
		}
	}
}

// TestManagerLogRotates follows what two write, each of which rotates the file.
func TestManagerLogRotates(t *testing.T) {
	home := Home(t.TempDir())
	var logs [2]*managerLog
	for i := range logs {
		m, err := openManagerLog(home)
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		m.most = 2000
		logs[i] = m
	}
	logs[0].write("a.service", "0")
	logs[0].write("a.service", "1")
	logs[0].write("a.service", "2")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const last = 300
	want := 1 // of three lines the last two were asked for
	for e, err := range home.readLogs(ctx, engine.LogQuery{Units: []string{"a.service"}, Lines: 2, Follow: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Text) != fmt.Sprint(want) {
			t.Fatalf("%q, want %d", e.Text, want)
		}
		if want == last {
			break
		}
		if want++; want > 2 {
			logs[want%2].write("a.service", fmt.Sprint(want))
		}
	}
	if want != last {
		t.Errorf("the last one is %d", want)
	}
	if info, err := os.Stat(filepath.Join(home.Logs(), managerFile+".1")); err != nil || info.Size() > 2000 {
		t.Error("the old file: ", err)
	}
	if _, err := os.Stat(filepath.Join(home.Logs(), managerFile+".2")); err == nil {
		t.Error("there are two old files")
	}
	if err := os.RemoveAll(home.Logs()); err != nil {
		t.Fatal(err)
	}
	logs[0].write("a.service", "again")
	if text, err := os.ReadFile(filepath.Join(home.Logs(), managerFile)); err != nil || !strings.HasSuffix(string(text), " a.service again\n") {
		t.Errorf("after it was removed: %q, %v", text, err)
	}
}

func BenchmarkManagerLog(b *testing.B) {
	m, err := openManagerLog(Home(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	for b.Loop() {
		m.write("web-api@1.service", "Main process exited, code=exited, status=1/FAILURE")
	}
}

func BenchmarkOutputs(b *testing.B) {
	home := Home(b.TempDir())
	d := &definition{name: "a.service", service: &serviceDef{exec: execDef{umask: -1}}}
	for b.Loop() {
		out, errs, err := home.outputs(d)
		if err != nil {
			b.Fatal(err)
		}
		out.Close()
		errs.Close()
	}
}
