package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rotate does to a log what an engine does: the first bytes of it go to PATH.1. That the
// file gets shorter in one step only the lock makes true here.
func rotate(t *testing.T, path string, head, keep int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := lockFile(f, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(fmt.Sprintf("%s.%d", path, keep))
	for k := keep; k > 1; k-- {
		os.Rename(fmt.Sprintf("%s.%d", path, k-1), fmt.Sprintf("%s.%d", path, k))
	}
	writeFile(t, path+".1", string(text[:head]))
	if _, err := f.WriteAt(text[head:], 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(text) - head)); err != nil {
		t.Fatal(err)
	}
}

func TestFollowRotated(t *testing.T) {
	const keep = 3
	for _, test := range []struct {
		name string
		run  func(t *testing.T, path string, start func(lines int) *following)
	}{
		{"what is there is one file", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path+".2", "1\n2")
			writeFile(t, path+".1", "2\n3\n4\n")
			writeFile(t, path, "5\n6\n")
			f := start(5)
			f.expect("22", "3", "4", "5", "6")
			f.expectEnd()
		}},
		{"nothing is told twice", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2\n3\n")
			f := start(9)
			f.expect("1", "2", "3")
			rotate(t, path, 2, keep)
			appendFile(t, path, "4\n")
			f.expect("4")
			rotate(t, path, 5, keep) // within a line
			appendFile(t, path, "5\n")
			f.expect("5")
			f.expectEnd()
		}},
		{"nothing is left out", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "same\nsame\n")
			f := start(1)
			f.expect("same")
			// Between two looks, and with a text that shows nothing of it.
			hold, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Close()
			for range keep {
				appendFile(t, path, "same\nsame\n")
				rotate(t, path, 10, keep)
			}
			appendFile(t, path, "end\n")
			f.expect("same", "same", "same", "same", "same", "same", "end")
			f.expectEnd()
		}},
		{"more was rotated than is kept", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n2\n3\n")
			f := start(1)
			f.expect("3")
			all, err := os.OpenFile(path, os.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Close()
			appendFile(t, path, "4\n5\n")
			f.expect("4", "5")
			f.end() // what follows is between two looks of another reader
			l := &logFile{source: LogSource{File: path, Keep: keep}, o: &LogOptions{Follow: true}}
			l.open()
			defer l.close()
			for n := 6; n < 12; n++ {
				appendFile(t, path, fmt.Sprintln(n, "a longer line"))
				text, _ := os.ReadFile(path)
				rotate(t, path, len(text), keep)
			}
			appendFile(t, path, "end\n")
			var got []string
			l.poll(func(line LogLine, err error) bool {
				if err != nil {
					t.Error(err)
				}
				got = append(got, string(line.Text))
				return true
			})
			if diff := cmp.Diff(got, []string{"9 a longer line", "10 a longer line", "11 a longer line", "end"}); diff != "" {
				t.Errorf("-got +want:\n%s", diff)
			}
		}},
		{"emptied", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path+".1", "0\n")
			writeFile(t, path, "1\n2\n")
			f := start(9)
			f.expect("0", "1", "2")
			rotate(t, path, 2, keep)
			appendFile(t, path, "3\n")
			f.expect("3")
			if n, err := EmptyLog(&LogSource{File: path, Keep: keep}); err != nil || n != 2+2+4 {
				t.Errorf("%d bytes were there, %v", n, err)
			}
			appendFile(t, path, "4\n")
			f.expect("4")
			appendFile(t, path, "5\n6\n")
			f.expect("5", "6")
			rotate(t, path, 4, keep)
			appendFile(t, path, "7\n")
			f.expect("7")
			f.expectEnd()
		}},
		{"renamed by others", func(t *testing.T, path string, start func(int) *following) {
			writeFile(t, path, "1\n")
			old, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			f := start(1)
			f.expect("1")
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, "3\n")
			f.expect("3")
			old.WriteString("2\n")
			f.expect("2")
			f.expectEnd()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			test.run(t, path, func(lines int) *following {
				return follow(t, &journal{}, []LogSource{{App: "a", File: path, Keep: keep}}, lines)
			})
		})
	}
}

func TestEmptyLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	for _, name := range []string{"x", "x.1", "x.2", "x.3"} {
		writeFile(t, filepath.Join(dir, name), "text\n")
	}
	writer, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if n, err := EmptyLog(&LogSource{File: path, Keep: 2}); err != nil || n != 15 {
		t.Errorf("%d bytes, %v", n, err)
	}
	writer.WriteString("on\n")
	got := map[string]string{}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		text, _ := os.ReadFile(filepath.Join(dir, f.Name()))
		got[f.Name()] = string(text)
	}
	// The third one is not the engine's.
	if diff := cmp.Diff(got, map[string]string{"x": "on\n", "x.3": "text\n"}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	if _, err := EmptyLog(&LogSource{File: filepath.Join(dir, "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	if _, err := EmptyLog(&LogSource{File: dir}); err == nil {
		t.Error("a directory was emptied")
	}
}

func TestLogFile(t *testing.T) {
	d := Dirs{Logs: "/l"}
	seen := map[string]string{}
	for _, test := range []struct{ unit, out, err string }{
		{"web-api.service", "/l/web-api-out.log", "/l/web-api-error.log"},
		{"web-api@1.service", "/l/web-api-out-1.log", "/l/web-api-error-1.log"},
		{"web-api-out-1.service", "/l/web-api-out-1-out.log", "/l/web-api-out-1-error.log"},
		{"web-api-out.service", "/l/web-api-out-out.log", "/l/web-api-out-error.log"},
		{"web-api@out.service", "/l/web-api@out-out.log", "/l/web-api@out-error.log"},
		{`web-api\x40out.service`, `/l/web-api\x40out-out.log`, `/l/web-api\x40out-error.log`},
		{`gr\xc3\xb6\xc3\x9fe.service`, "/l/größe-out.log", "/l/größe-error.log"},
		{`my\x20app.service`, `/l/my\x20app-out.log`, `/l/my\x20app-error.log`},
		{`a\x2fb.service`, `/l/a\x2fb-out.log`, `/l/a\x2fb-error.log`},
		{`a\x2db.service`, `/l/a\x2db-out.log`, `/l/a\x2db-error.log`},
		{"a-b.service", "/l/a-b-out.log", "/l/a-b-error.log"},
		{`\x2e.service`, `/l/\x2e-out.log`, `/l/\x2e-error.log`},
		{`\xff.service`, `/l/\xff-out.log`, `/l/\xff-error.log`},
	} {
		if got := d.LogFile(test.unit, Stdout); got != test.out {
			t.Errorf("%s: %s, want %s", test.unit, got, test.out)
		}
		if got := d.LogFile(test.unit, Stderr); got != test.err {
			t.Errorf("%s: %s, want %s", test.unit, got, test.err)
		}
		for _, file := range []string{test.out, test.err} {
			if other := seen[file]; other != "" {
				t.Errorf("%s is the file of %s and %s", file, other, test.unit)
			}
			seen[file] = test.unit
		}
	}
	if got := (Dirs{}).LogFile("a.service", Stdout); got != "" {
		t.Errorf("without a directory: %s", got)
	}
}
