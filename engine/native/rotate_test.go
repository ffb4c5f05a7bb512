package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gm/engine"
	"gm/units"
)

// TestLineWriter is no test: it is the app of others. It writes numbered lines to its
// standard output as fast as it can, until its standard input ends, and then the number
// of the last one to its standard error.
func TestLineWriter(t *testing.T) {
	if os.Getenv("GM_LINE_WRITER") == "" {
		t.Skip("the app of other tests")
	}
	ended := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(ended)
	}()
	most, _ := strconv.Atoi(os.Getenv("GM_LINE_WRITER"))
	padding := strings.Repeat("x", 150)
	for n := 1; ; n++ {
		select {
		case <-ended:
			n = most + 1
		default:
		}
		if n > most {
			os.Exit(0)
		}
		// Lines of different lengths, so that few end at the end of a block.
		fmt.Fprintf(os.Stdout, "%d %s\n", n, padding[:n%140])
	}
}

// lineWriter starts an app that writes to files, and returns how to wait for its end.
func lineWriter(t *testing.T, lines int, files ...*os.File) (wait func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestLineWriter$")
	cmd.Env = append(os.Environ(), "GM_LINE_WRITER="+strconv.Itoa(lines))
	cmd.Stdout, cmd.Stderr = files[0], os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return func() {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// numbered reports where numbered lines are not those from first to last.
func numbered(t *testing.T, text []byte, first, last int) {
	t.Helper()
	want := first
	for line := range bytes.Lines(text) {
		number, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
		if n, err := strconv.Atoi(string(number)); err != nil || n != want || len(rest) != n%140 {
			t.Fatalf("%.60q in the place of line %d", line, want)
		}
		want++
	}
	if want != last+1 {
		t.Fatalf("the last line is %d, want %d", want-1, last)
	}
}

// logged returns all that is in a log file and in those that it was rotated to.
func logged(t *testing.T, path string) []byte {
	t.Helper()
	var all []byte
	last := 1
	for ; ; last++ {
		if _, err := os.Stat(fmt.Sprintf("%s.%d", path, last)); err != nil {
			break
		}
	}
	for k := last - 1; k >= 0; k-- {
		name := path
		if k > 0 {
			name = fmt.Sprintf("%s.%d", path, k)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// cuttable skips a test where the head of a file cannot be cut off.
func cuttable(t *testing.T, dir string) {
	t.Helper()
	f, err := os.CreateTemp(dir, "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := cutUnit(f, 0); err != nil {
		t.Skip("the file system of ", dir, ": ", err)
	}
}

func definitionOf(unit, path string, most int64, keep int) *definition {
	return &definition{name: unit, service: &serviceDef{exec: execDef{
		umask: 0o022, stdout: units.Stream{Kind: "append", Path: units.Spec(path)}, maxLog: most, keepLogs: keep,
	}}}
}

// following collects the lines that gm logs -f shows.
type following struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
	end   func()
}

func followFile(t *testing.T, source engine.LogSource) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{grown: make(chan struct{}, 1)}
	ended, ready := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(ended)
		o := engine.LogOptions{Lines: -1, Follow: true, Idle: func() { once.Do(func() { close(ready) }) }}
		for line, err := range engine.Logs(ctx, nil, []engine.LogSource{source}, o) {
			if err != nil {
				t.Error(err)
				return
			}
			f.mu.Lock()
			f.text.Write(line.Text)
			f.text.WriteByte('\n')
			f.mu.Unlock()
			select {
			case f.grown <- struct{}{}:
			default:
			}
		}
	}()
	f.end = func() { cancel(); <-ended }
	t.Cleanup(f.end)
	<-ready
	return f
}

// until waits for a line with this text.
func (f *following) until(t *testing.T, text string) []byte {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		f.mu.Lock()
		got := bytes.Clone(f.text.Bytes())
		f.mu.Unlock()
		if bytes.Contains(got, []byte("\n"+text)) {
			return got
		}
		select {
		case <-f.grown:
		case <-deadline:
			t.Fatalf("no %q; the end is %.100q", text, got[max(0, len(got)-100):])
		}
	}
}

// TestRotateWhileWriting has an app write as fast as it can while its file is rotated
// again and again, and is followed: every line is there once, in order.
func TestRotateWhileWriting(t *testing.T) {
	dir := t.TempDir()
	cuttable(t, dir)
	path := filepath.Join(dir, "web-out.log")
	d := definitionOf("web.service", path, 256<<10, 1000)
	out, errs, err := Home(dir).outputs(d)
	if err != nil {
		t.Fatal(err)
	}
	if errs != out {
		t.Error("two descriptors of one file")
	}
	const lines = 100_000
	seen := followFile(t, engine.LogSource{App: "web", File: path, Keep: 1000})
	wait := lineWriter(t, lines, out)
	out.Close()
	log := logFile{path: path, most: 256 << 10, keep: 1000}
	ended := make(chan struct{})
	go func() { wait(); close(ended) }()
	cuts, whole := 0, 0
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
		}
		if info, err := os.Stat(path); err != nil || info.Size() < log.most {
			continue
		}
		switch n, err := log.rotate(); {
		case err != nil:
			t.Fatal(err)
		case n > 0:
			cuts++
			if text, err := os.ReadFile(path + ".1"); err != nil {
				t.Fatal(err)
			} else if bytes.HasSuffix(text, []byte{'\n'}) {
				whole++
			}
		}
	}
	if cuts < 3 {
		t.Errorf("rotated only %d times", cuts)
	}
	t.Logf("%d rotations, %d of them between two lines", cuts, whole)
	numbered(t, logged(t, path), 1, lines)
	numbered(t, seen.until(t, strconv.Itoa(lines)+" "), 1, lines)
	var read bytes.Buffer
	for line, err := range engine.Logs(t.Context(), nil, []engine.LogSource{{App: "web", File: path, Keep: 1000}}, engine.LogOptions{Lines: 50_000}) {
		if err != nil {
			t.Fatal(err)
		}
		read.Write(line.Text)
		read.WriteByte('\n')
	}
	numbered(t, read.Bytes(), lines-50_000+1, lines)
}

// TestEmptyWhileWriting empties the file again and again while an app writes to it and it
// is followed: what is seen is in order, and what comes after the last time is complete.
func TestEmptyWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web-out.log")
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 50_000
	source := engine.LogSource{App: "web", File: path, Keep: 3}
	seen := followFile(t, source)
	wait := lineWriter(t, lines, out)
	out.Close()
	for range 20 {
		// Some of it at least is to be seen.
		await(t, "lines", func() bool {
			info, err := os.Stat(path)
			return err != nil || info.Size() > 50_000 || bytes.Contains(logged(t, path), []byte(fmt.Sprintf("\n%d ", lines)))
		})
		if text := logged(t, path); bytes.Contains(text, []byte(fmt.Sprintf("\n%d ", lines))) {
			break
		}
		if _, err := engine.EmptyLog(&source); err != nil {
			t.Fatal(err)
		}
	}
	wait()
	left := logged(t, path)
	number, _, _ := bytes.Cut(left, []byte{' '})
	first, err := strconv.Atoi(string(number))
	if err != nil || first == 1 {
		t.Fatalf("the file begins with %.30q", left)
	}
	numbered(t, left, first, lines)
	got := seen.until(t, strconv.Itoa(lines)+" ")
	before := 0
	for line := range bytes.Lines(got) {
		number, _, _ := bytes.Cut(line, []byte{' '})
		n, err := strconv.Atoi(strings.TrimSpace(string(number)))
		// Of a line that was being read when it went, only the first digits may be there.
		if err != nil || n <= before && n > before/10 {
			t.Fatalf("%.40q follows line %d", line, before)
		}
		before = max(n, before)
	}
	if !bytes.HasSuffix(got, left) {
		t.Error("what was written after the last time was not seen as a whole")
	}
}

// TestRotator rotates what grows, by itself, and ends with what it looks at.
func TestRotator(t *testing.T) {
	dir := t.TempDir()
	cuttable(t, dir)
	before := runtime.NumGoroutine()
	r := newRotator(Home(dir))
	r.often, r.seldom = time.Millisecond, 20*time.Millisecond
	path := filepath.Join(dir, "web-out.log")
	d := definitionOf("web.service", path, 64<<10, 2)
	if !r.wants(&d.service.exec) || r.wants(&execDef{}) {
		t.Error("it wants what declares no size, or not what does")
	}
	r.add("web.service", d)
	out, _, err := Home(dir).outputs(d)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	seen := followFile(t, engine.LogSource{App: "web", File: path, Keep: 2})
	n := 0
	for k := 1; k <= 3; k++ {
		var newest os.FileInfo
		newest, _ = os.Stat(path + ".1")
		for wrote := 0; wrote < 65<<10; {
			n++
			got, err := fmt.Fprintf(out, "%d %s\n", n, strings.Repeat("y", n%140))
			if err != nil {
				t.Fatal(err)
			}
			wrote += got
		}
		await(t, "a rotation", func() bool {
			info, err := os.Stat(path + ".1")
			return err == nil && (newest == nil || !os.SameFile(info, newest))
		})
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("three are kept of two")
	}
	numbered(t, seen.until(t, strconv.Itoa(n)+" "), 1, n)
	seen.end()

	r.remove("other.service")
	r.remove("web.service")
	if len(r.files)+len(r.units) != 0 {
		t.Errorf("%d files and %d units are left", len(r.files), len(r.units))
	}
	r.close()
	await(t, "its goroutine to end", func() bool { return runtime.NumGoroutine() <= before })
}

// await looks until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestRotateUnfinished brings to its end what a supervisor left that was killed.
func TestRotateUnfinished(t *testing.T) {
	head, tail := strings.Repeat("head\n", 4000), strings.Repeat("tail\n", 100)
	for _, test := range []struct {
		name string
		have map[string]string
		want map[string]string
	}{
		{"nothing", map[string]string{"x": tail}, map[string]string{"x": tail}},
		{"half a copy", map[string]string{"x": head + tail, "x.rotating": head[:999], "x.1": "1"},
			map[string]string{"x": head + tail, "x.1": "1"}},
		{"a copy", map[string]string{"x": head + tail, "x.rotating": head, "x.2": "1"},
			map[string]string{"x": head + tail, "x.2": "1"}},
		{"cut", map[string]string{"x": tail, "x.rotating": head, "x.2": "1"},
			map[string]string{"x": tail, "x.1": head, "x.2": "1"}},
		{"cut, and others are there", map[string]string{"x": tail, "x.rotating": head, "x.1": "1", "x.2": "2", "x.3": "3", "x.4": "4"},
			map[string]string{"x": tail, "x.1": head, "x.2": "1", "x.3": "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.have {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := (&logFile{path: filepath.Join(dir, "x"), keep: 3}).settle(); err != nil {
				t.Fatal(err)
			}
			files, _ := os.ReadDir(dir)
			for _, f := range files {
				text, _ := os.ReadFile(filepath.Join(dir, f.Name()))
				if want, ok := test.want[f.Name()]; !ok || want != string(text) {
					t.Errorf("%s holds %d bytes, want %d", f.Name(), len(text), len(want))
				}
				delete(test.want, f.Name())
			}
			for name := range test.want {
				t.Errorf("there is no %s", name)
			}
		})
	}
}

// TestRotateRefuses does not touch what is no log file of its own.
func TestRotateRefuses(t *testing.T) {
	long := strings.Repeat("a line\n", 100_000)
	for _, test := range []struct {
		name string
		make func(dir, path string) error
	}{
		{"a symbolic link", func(dir, path string) error { return os.Symlink(filepath.Join(dir, "other"), path) }},
		{"a hard link", func(dir, path string) error { return os.Link(filepath.Join(dir, "other"), path) }},
		{"a directory", func(_, path string) error { return os.Mkdir(path, 0o755) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path, other := filepath.Join(dir, "log"), filepath.Join(dir, "other")
			if err := os.WriteFile(other, []byte(long), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := test.make(dir, path); err != nil {
				t.Fatal(err)
			}
			l := logFile{path: path, most: 1 << 16, keep: 2}
			if _, err := l.rotate(); err == nil {
				t.Error("it was rotated")
			}
			if text, _ := os.ReadFile(other); string(text) != long {
				t.Error("the other file is not what it was")
			}
			if _, err := os.Stat(path + ".1"); err == nil {
				t.Error("there is a copy")
			}
		})
	}
}

// TestRotateKeepsAccess makes files that are as accessible as the one they are from.
func TestRotateKeepsAccess(t *testing.T) {
	dir := t.TempDir()
	cuttable(t, dir)
	path := filepath.Join(dir, "log")
	if err := os.WriteFile(path, bytes.Repeat([]byte("a line\n"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4321
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	l := logFile{path: path, most: 1 << 16, keep: 2}
	if n, err := l.rotate(); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	info, err := os.Stat(path + ".1")
	if err != nil || info.Mode().Perm() != 0o640 || uidOf(info) != owner {
		t.Errorf("%v of %d: %v", info.Mode(), uidOf(info), err)
	}
}

func TestHeadOf(t *testing.T) {
	const block = 4096
	for _, test := range []struct {
		name string
		size int64
		ends []int64 // of lines
		want int64
	}{
		{"smaller than a block", 4000, []int64{100}, 0},
		{"a block", 4096, []int64{4096}, 0},
		{"a block and a byte", 4097, []int64{4096}, 4096},
		{"no line ends at a block", 40_000, []int64{100, 5000}, 36_864},
		{"one does", 40_000, []int64{100, 28_672}, 28_672},
		{"one does, far away", 40_000, []int64{8192}, 36_864},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := bytes.Repeat([]byte{'x'}, int(test.size))
			for _, end := range test.ends {
				text[end-1] = '\n'
			}
			if got := headOf(bytes.NewReader(text), test.size, block); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// TestRotateReplaces renames the file where its head cannot be cut off, when its only
// app starts, and says so.
func TestRotateReplaces(t *testing.T) {
	dir := fixedDir(t)
	home := Home(t.TempDir())
	path := filepath.Join(dir, "web.log")
	d := definitionOf("web@0.service", path, 64<<10, 2)
	long := strings.Repeat("old line\n", 10_000)
	if err := os.WriteFile(path, []byte(long), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRotator(home)
	defer r.close()
	d.service.exec.maxLog = 1 << 20 // it is not full yet
	r.add("web@0.service", d)
	d.service.exec.maxLog = 64 << 10
	r.add("web@1.service", d)
	says := func() string {
		text, _ := os.ReadFile(filepath.Join(home.Logs(), managerFile))
		return string(text)
	}
	await(t, "the note", func() bool { return strings.Contains(says(), "is rotated when its app is started next") })
	if _, err := os.Stat(path + ".1"); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was renamed while another instance writes to it")
	}
	r.remove("web@1.service")
	r.add("web@0.service", d)
	if text, err := os.ReadFile(path + ".1"); err != nil || string(text) != long {
		t.Errorf("%d bytes in .1: %v", len(text), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o644 {
		t.Errorf("the new file: %v, %v", info, err)
	}
	if strings.Count(says(), "\n") != 1 {
		t.Errorf("it says: %s", says())
	}
}

// BenchmarkRotate is what moving 10 MiB away costs.
func BenchmarkRotate(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	text := bytes.Repeat([]byte("a line of a log, about as long as many of them are\n"), 10<<20/51)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		b.StopTimer()
		if err := os.WriteFile(path, slices.Concat(text, []byte("tail\n")), 0o644); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := (&logFile{path: path, most: 1 << 20, keep: 2}).rotate(); err != nil {
			b.Skip(err)
		}
	}
}

func uidOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// fixedDir is a directory on a file system that cannot cut off the head of a file.
func fixedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "gm"); err == nil {
		t.Cleanup(func() { os.RemoveAll(shm) })
		dir = shm
	}
	f, err := os.Create(filepath.Join(dir, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := cutUnit(f, 0); err == nil {
		t.Skip("no tmpfs here")
	}
	return dir
}
