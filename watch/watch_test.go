package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadline is how long a test waits for what must come.
const deadline = 10 * time.Second

// files is a directory that is watched.
type files struct {
	t       *testing.T
	dir     string
	changes <-chan Change
	warned  chan string
	dirs    int
}

// watched makes files, "d/" is a directory and "l>d" a link, and watches them.
func watched(t *testing.T, o Options, names ...string) *files {
	t.Helper()
	f := &files{t: t, dir: t.TempDir(), warned: make(chan string, 100)}
	for _, name := range append(names, "zz/") {
		f.make(name)
	}
	o.Dir = filepath.Join(f.dir, o.Dir)
	if o.Paths == nil {
		o.Paths = []string{"."}
	}
	if o.Depth == 0 {
		o.Depth = -1
	}
	o.Atomic = 100 * ms
	o.Warn = func(text string) { f.warned <- text }
	armed := make(chan int)
	o.Armed = func(n int) { armed <- n }
	f.changes = Changes(t.Context(), o)
	select {
	case f.dirs = <-armed:
	case <-time.After(deadline):
		t.Fatal("nothing is watched")
	}
	return f
}

func (f *files) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

func (f *files) make(name string) {
	f.t.Helper()
	link, target, isLink := strings.Cut(name, ">")
	switch {
	case isLink:
		f.check(os.Symlink(target, f.path(link)))
	case strings.HasSuffix(name, "/"):
		f.check(os.MkdirAll(f.path(name), 0o755))
	default:
		f.check(os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
		f.check(os.WriteFile(f.path(name), []byte(name), 0o644))
	}
}

func (f *files) move(from, to string) {
	f.t.Helper()
	f.check(os.Rename(f.path(from), f.path(to)))
}

// last is the name of the file by which expect sees that all changes are told.
const last = "zz/last"

// expect waits for changes of each of these "kind path", and that there are no others:
// none that was told before that of a file which is written last.
func (f *files) expect(want ...string) {
	f.t.Helper()
	f.check(os.WriteFile(f.path(last), []byte(time.Now().String()), 0o644))
	got := map[string]bool{}
	late := time.After(deadline)
	for {
		select {
		case c := <-f.changes:
			rel, err := filepath.Rel(f.dir, c.Path)
			f.check(err)
			if rel != last {
				got[string(c.Kind)+" "+rel] = true
				if c.Kind == Changed && got["added "+rel] {
					// Of a new file it depends on the moment whether its write is told, too.
					delete(got, "changed "+rel)
				}
				continue
			}
		case <-late:
			f.t.Fatalf("the last change is not told; told are %v", got)
		}
		break
	}
	// The last file was added and written, which is two.
	f.check(os.Remove(f.path(last)))
	for removed := false; !removed; {
		select {
		case c := <-f.changes:
			removed = c.Kind == Removed && c.Path == f.path(last)
		case <-late:
			f.t.Fatal("the end of the last file is not told")
		}
	}
	all := make([]string, 0, len(got))
	for text := range got {
		all = append(all, text)
	}
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		f.t.Errorf("got  %q\nwant %q", all, want)
	}
}

// added is what is told of new files and their directories in a new directory.
func added(dir string, names []string) []string {
	all := []string{"added " + dir}
	for _, name := range names {
		all = append(all, "added "+name)
		if sub := "added " + filepath.Dir(name); !slices.Contains(all, sub) {
			all = append(all, sub)
		}
	}
	return all
}

func TestChanges(t *testing.T) {
	var checkout []string
	for i := range 500 {
		checkout = append(checkout, fmt.Sprintf("gen/%02d/%d.js", i%50, i))
	}
	follow := Options{FollowSymlinks: true}
	src := Options{Paths: []string{"src", "zz"}}
	for _, test := range []struct {
		name    string
		options Options
		files   string
		do      func(f *files)
		want    []string
	}{
		{name: "create", do: func(f *files) { f.make("a.js") }, want: []string{"added a.js"}},
		{name: "write", files: "a.js", do: func(f *files) { f.make("a.js") }, want: []string{"changed a.js"}},
		{name: "touch", files: "a.js", do: func(f *files) { f.check(os.Chtimes(f.path("a.js"), time.Now(), time.Now())) }, want: []string{"changed a.js"}},
		{name: "chmod of an old file", files: "a.js", do: func(f *files) {
			old := time.Now().Add(-time.Hour)
			f.check(os.Chtimes(f.path("a.js"), old, old))
			f.check(os.Chmod(f.path("a.js"), 0o600))
		}},
		{name: "remove", files: "a.js", do: func(f *files) { f.check(os.Remove(f.path("a.js"))) }, want: []string{"removed a.js"}},
		{name: "replace", files: "a.js .tmp/new", do: func(f *files) { f.move(".tmp/new", "a.js") }, want: []string{"added a.js"}},
		{name: "save as vim does", files: "a.js", do: func(f *files) {
			f.make("a.js.swp~")
			f.move("a.js", "a.js~")
			f.make("a.js")
			f.check(os.Remove(f.path("a.js~")))
		}, want: []string{"removed a.js", "added a.js"}},
		{name: "make deep", do: func(f *files) { f.make("a/b/c/d/e.js") },
			want: []string{"added a", "added a/b", "added a/b/c", "added a/b/c/d", "added a/b/c/d/e.js"}},
		{name: "write in new directory", do: func(f *files) {
			f.make("a/b/x.js")
			f.expect("added a", "added a/b", "added a/b/x.js")
			f.make("a/b/x.js")
		}, want: []string{"changed a/b/x.js"}},
		{name: "remove tree", files: "a/b/c.js a/d.js", do: func(f *files) { f.check(os.RemoveAll(f.path("a"))) },
			want: []string{"removed a", "removed a/b", "removed a/b/c.js", "removed a/d.js"}},
		{name: "tree comes back", files: "a/b/c.js", do: func(f *files) {
			f.check(os.RemoveAll(f.path("a")))
			f.make("a/b/c.js")
			f.expect("removed a", "removed a/b", "removed a/b/c.js", "added a", "added a/b", "added a/b/c.js")
			f.make("a/b/c.js")
		}, want: []string{"changed a/b/c.js"}},
		{name: "move directory", files: "a/b/c.js", do: func(f *files) {
			f.move("a", "x")
			f.expect("removed a", "added x", "added x/b", "added x/b/c.js")
			f.make("x/b/c.js")
		}, want: []string{"changed x/b/c.js"}},
		{name: "move directory where it does not count", files: "a/b/c.js", do: func(f *files) {
			f.move("a", "node_modules")
			f.make("node_modules/b/c.js")
		}, want: []string{"removed a"}},
		{name: "ignored", files: "node_modules/x.js .git/config", do: func(f *files) {
			f.make("node_modules/x.js")
			f.make(".git/index")
			f.make("src.env/.x")
		}, want: []string{"added src.env"}},
		{name: "checkout", files: "a/1 a/2 b/3", do: func(f *files) {
			f.make("a/1")
			for _, name := range checkout {
				f.make(name)
			}
			f.check(os.Remove(f.path("b/3")))
		}, want: append(added("gen", checkout), "changed a/1", "removed b/3")},
		{name: "path that comes later", options: src, do: func(f *files) {
			f.make("src/a/b.js")
			f.make("other.js")
		}, want: []string{"added src", "added src/a", "added src/a/b.js"}},
		{name: "path that goes and comes", options: src, files: "src/a.js", do: func(f *files) {
			f.check(os.RemoveAll(f.path("src")))
			f.expect("removed src", "removed src/a.js")
			f.make("src/b.js")
			f.expect("added src", "added src/b.js")
			f.make("src/b.js")
		}, want: []string{"changed src/b.js"}},
		{name: "path that is replaced", options: src, files: "src/a.js new/a.js", do: func(f *files) {
			f.move("src", "old")
			f.move("new", "src")
			f.expect("removed src", "added src", "added src/a.js")
			f.make("old/a.js")
			f.make("src/a.js")
		}, want: []string{"changed src/a.js"}},
		{name: "path deep below what is not there", options: Options{Paths: []string{"x/y/z", "zz"}}, do: func(f *files) {
			f.make("x/other")
			f.make("x/y/z/a.js")
			f.make("x/y/b.js")
		}, want: []string{"added x/y/z", "added x/y/z/a.js"}},
		{name: "single file", options: Options{Paths: []string{"a.js", "zz"}}, files: "a.js b.js", do: func(f *files) {
			f.make("b.js")
			f.check(os.Remove(f.path("a.js")))
			f.make("a.js")
			f.expect("removed a.js", "added a.js")
			f.make("a.js")
		}, want: []string{"changed a.js"}},
		{name: "glob", options: Options{Paths: []string{"views/**/*.pug", "zz"}}, files: "views/a.pug", do: func(f *files) {
			f.make("views/b.js")
			f.make("views/a.pug")
			f.make("views/x/c.pug")
		}, want: []string{"changed views/a.pug", "added views/x/c.pug"}},
		{name: "depth", options: Options{Depth: 1}, files: "a/b/", do: func(f *files) {
			f.make("a/x.js")
			f.make("a/b/y.js")
		}, want: []string{"added a/x.js"}},
		{name: "linked directory", options: Options{Dir: "app", FollowSymlinks: true, Paths: []string{".", "../zz"}}, files: "lib/a.js app/ app/lib>../lib",
			do: func(f *files) { f.make("lib/a.js") }, want: []string{"changed app/lib/a.js"}},
		{name: "linked directory not followed", options: Options{Dir: "app", Paths: []string{".", "../zz"}}, files: "lib/a.js app/ app/lib>../lib",
			do: func(f *files) { f.make("lib/a.js") }},
		{name: "link that goes", options: Options{Dir: "app", FollowSymlinks: true, Paths: []string{".", "../zz"}}, files: "lib/x/a.js app/ app/lib>../lib",
			do: func(f *files) {
				f.check(os.Remove(f.path("app/lib")))
				f.expect("removed app/lib")
				f.make("lib/x/a.js")
			}},
		{name: "linked file", options: Options{Dir: "app", FollowSymlinks: true, Paths: []string{".", "../zz"}}, files: "etc/conf etc/new app/ app/conf>../etc/conf",
			do: func(f *files) {
				f.make("etc/other")
				f.make("etc/conf")
				f.expect("changed app/conf")
				f.move("etc/new", "etc/conf")
			}, want: []string{"added app/conf"}},
		{name: "link to above", options: follow, files: "a/b/c.js a/b/up>../..", do: func(f *files) { f.make("a/b/c.js") }, want: []string{"changed a/b/c.js"}},
		{name: "link within", options: follow, files: "a/x.js b>a", do: func(f *files) { f.make("a/x.js") }, want: []string{"changed a/x.js"}},
		{name: "own log", options: Options{Never: []string{"logs/out-*.log"}}, files: "logs/out-0.log", do: func(f *files) {
			f.make("logs/out-0.log")
			f.make("logs/out-1.log")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := watched(t, test.options, strings.Fields(test.files)...)
			test.do(f)
			f.expect(test.want...)
		})
	}
}

func TestChangesPolled(t *testing.T) {
	f := watched(t, Options{Poll: 5 * ms, FollowSymlinks: true}, "a.js", "b/c.js", "node_modules/x.js", "app/", "app/up>..")
	f.make("node_modules/y.js")
	f.make("b/new/d.js")
	f.expect("added b/new", "added b/new/d.js")
	f.check(os.WriteFile(f.path("a.js"), []byte("another size"), 0o644))
	f.expect("changed a.js")
	f.check(os.RemoveAll(f.path("b")))
	f.expect("removed b", "removed b/c.js", "removed b/new", "removed b/new/d.js")
}

// Where the kernel's limits are reached files are looked at, and what changed meanwhile
// is told.
func TestLimitFallsBack(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{{syscall.ENOSPC, "fs.inotify.max_user_watches = "}, {syscall.EMFILE, "fs.inotify.max_user_instances = "}, {errors.New("broken"), "broken"}} {
		t.Run(test.want, func(t *testing.T) {
			dir := t.TempDir()
			out := make(chan Change)
			warned := make(chan string, 1)
			s := &source{
				Options: &Options{Dir: dir, Paths: []string{"."}, Depth: -1, Warn: func(text string) { warned <- text }},
				ctx:     t.Context(), out: out,
			}
			s.rules = newRules(s.Options)
			go s.run(func() error {
				if err := os.WriteFile(filepath.Join(dir, "a.js"), nil, 0o644); err != nil {
					t.Error(err)
				}
				return test.err
			})
			select {
			case text := <-warned:
				if !strings.Contains(text, test.want) || !strings.Contains(text, "looking at all files") {
					t.Errorf("the warning is %q", text)
				}
			case <-time.After(deadline):
				t.Fatal("there is no warning")
			}
			select {
			case c := <-out:
				if filepath.Base(c.Path) != "a.js" {
					t.Errorf("%s is told", c.Path)
				}
			case <-time.After(deadline):
				t.Error("the change is not told")
			}
		})
	}
}

// Where the kernel had more events than it keeps, everything is looked at: what changed
// is told, and new directories are watched. Logs alone make no change.
func TestOverflow(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || limit > 100_000 {
		t.Skipf("the kernel keeps %s events", text)
	}
	f := watched(t, Options{Never: []string{"*.log"}}, "a.js", "b.js")
	f.make("a.js") // nobody takes it, so that nothing else is read
	logs := [2]*os.File{}
	for i := range logs {
		logs[i], err = os.Create(f.path(fmt.Sprintf("%d.log", i)))
		f.check(err)
		defer logs[i].Close()
	}
	for i := range limit + 10_000 { // fsnotify has read some
		_, err := logs[i%2].Write([]byte("x"))
		f.check(err)
	}
	f.make("b.js")
	f.make("new/c.js")
	late := time.After(deadline)
	await := func(name string) {
		t.Helper()
		for {
			select {
			case c := <-f.changes:
				if base := filepath.Base(c.Path); base == name {
					return
				} else if strings.HasSuffix(base, ".log") || c.Path == f.dir {
					t.Errorf("%s is told", base)
				}
			case <-late:
				t.Fatalf("%s is not told", name)
			}
		}
	}
	await("b.js")
	await("c.js")
	f.make("new/d.js")
	await("d.js")
}

// What changed just before the start counts, what was there does not.
func TestChangesSince(t *testing.T) {
	for _, poll := range []time.Duration{0, 5 * ms} {
		t.Run(poll.String(), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"old.js", "node_modules.js", "new.js"} {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			info, err := os.Stat(filepath.Join(dir, "old.js"))
			if err != nil {
				t.Fatal(err)
			}
			since := changedAt(info)
			for !changedAt(info).After(since) { // the clock of files is coarse
				if err := os.WriteFile(filepath.Join(dir, "new.js"), []byte("new"), 0o644); err != nil {
					t.Fatal(err)
				}
				if info, err = os.Stat(filepath.Join(dir, "new.js")); err != nil {
					t.Fatal(err)
				}
			}
			changes := Changes(t.Context(), Options{Dir: dir, Paths: []string{"."}, Depth: -1, Since: since, Poll: poll})
			select {
			case c := <-changes:
				if filepath.Base(c.Path) != "new.js" || c.Kind != Changed || !c.At.Equal(changedAt(info).Add(tick)) {
					t.Errorf("%s is told as %s at %v, and changed at %v", c.Path, c.Kind, c.At, changedAt(info))
				}
			case <-time.After(deadline):
				t.Error("the change is not told")
			}
		})
	}
}

// Directories that are ignored take no watch of the kernel's.
func TestWatchesAreSpared(t *testing.T) {
	f := watched(t, Options{}, "node_modules/a/b/c.js", ".git/objects/00/", "src/lib/a.js")
	if f.dirs != 4 {
		t.Errorf("%d directories are watched, not ., src, src/lib and zz", f.dirs)
	}
	f = watched(t, Options{Paths: []string{"src/*.js", "zz"}}, "src/lib/x/a.js")
	if f.dirs != 2 {
		t.Errorf("%d directories are watched, not src and zz", f.dirs)
	}
}

func BenchmarkArm(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		sub := filepath.Join(dir, fmt.Sprintf("%02d/%02d", i/100, i%100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 10 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("%d.js", j)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		armed := make(chan int)
		changes := Changes(b.Context(), Options{
			Dir: dir, Paths: []string{"."}, Depth: -1, FollowSymlinks: true, Atomic: 100 * ms,
			Since: time.Now(), Armed: func(n int) { armed <- n },
		})
		<-armed
		_ = changes
	}
}

// BenchmarkSave measures from a write to the end of its burst.
func BenchmarkSave(b *testing.B) {
	dir := b.TempDir()
	armed := make(chan int)
	bursts := Bursts(b.Context(), Changes(b.Context(), Options{Dir: dir, Paths: []string{"."}, Depth: -1, Armed: func(n int) { armed <- n }}), 0, 0)
	<-armed
	for b.Loop() {
		if err := os.WriteFile(filepath.Join(dir, "a.js"), []byte("x"), 0o644); err != nil {
			b.Fatal(err)
		}
		<-bursts
	}
}
