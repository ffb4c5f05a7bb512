package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// troubledFS calls step before each change, with its number from 1. What is below
// foreign is on another file system.
type troubledFS struct {
	Real
	foreign string
	mu      sync.Mutex // files are written by several goroutines
	count   int
	step    func(n int, what, path string) error
}

func (f *troubledFS) next(what, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.step == nil {
		return nil
	}
	return f.step(f.count, what, path)
}

func (f *troubledFS) across(what, from, to string) error {
	if err := f.next(what, to); err != nil {
		return err
	}
	if f.foreign != "" && within(from, f.foreign) != within(to, f.foreign) {
		return &os.LinkError{Op: what, Old: from, New: to, Err: syscall.EXDEV}
	}
	return nil
}

func (f *troubledFS) Mkdir(path string, mode fs.FileMode) error {
	if err := f.next("mkdir", path); err != nil {
		return err
	}
	return f.Real.Mkdir(path, mode)
}

// Create leaves half of the file when it fails, as a full disk does.
func (f *troubledFS) Create(path string, mode fs.FileMode, text []byte) error {
	if err := f.next("create", path); err != nil {
		return errors.Join(err, f.Real.Create(path, mode, text[:len(text)/2]))
	}
	return f.Real.Create(path, mode, text)
}

func (f *troubledFS) Symlink(target, path string) error {
	if err := f.next("symlink", path); err != nil {
		return err
	}
	return f.Real.Symlink(target, path)
}

func (f *troubledFS) Link(from, to string) error {
	if err := f.across("link", from, to); err != nil {
		return err
	}
	return f.Real.Link(from, to)
}

func (f *troubledFS) Rename(from, to string) error {
	if err := f.across("rename", from, to); err != nil {
		return err
	}
	return f.Real.Rename(from, to)
}

func (f *troubledFS) Remove(path string) error {
	if err := f.next("remove", path); err != nil {
		return err
	}
	return f.Real.Remove(path)
}

// RemoveAll leaves half of the files when it fails.
func (f *troubledFS) RemoveAll(path string) error {
	if err := f.next("removeall", path); err != nil {
		entries, _ := os.ReadDir(path)
		for _, entry := range entries[:len(entries)/2] {
			os.Remove(filepath.Join(path, entry.Name()))
		}
		return err
	}
	return f.Real.RemoveAll(path)
}

func (f *troubledFS) Chmod(path string, mode fs.FileMode) error {
	if err := f.next("chmod", path); err != nil {
		return err
	}
	return f.Real.Chmod(path, mode)
}

// The disk itself is left out: that would only be slow.
func (f *troubledFS) Sync(path string) error {
	if err := f.next("sync", path); err != nil {
		return err
	}
	_, err := os.Stat(path)
	return err
}

func (f *troubledFS) SyncAll(dir string) error {
	if err := f.next("syncall", dir); err != nil {
		return err
	}
	_, err := os.Stat(dir)
	return err
}

// files is a tree: contents by path; "-> TARGET" is a symbolic link, "dir" a
// directory, "secret …" a file for its owner alone.
type files map[string]string

// txCase is a tree before and after; stage and foreign are paths in it.
type txCase struct {
	name, stage, foreign string
	before, after        files
	sync                 bool
}

func txCases() []txCase {
	before := files{
		"units/foreign.service":                  "foreign",
		"units/same.service":                     "same",
		"units/web.service":                      "old",
		"units/gone.service":                     "gone",
		"units/gone.service.d/10-gm.conf":        "gone",
		"units/half.service.d/10-gm.conf":        "gone",
		"units/half.service.d/admin.conf":        "foreign",
		"units/multi-user.target.wants/a.target": "-> ../a.target",
		"units/shop.target.wants/gone.service":   "-> ../gone.service",
		"units/link.service":                     "-> web.service",
		"units/was-link.service":                 "-> web.service",
		"units/will-be-link.service":             "old",
		"etc/shop/web.env":                       "secret old",
		"etc/shop/gone.env":                      "secret gone",
		"etc/shop/link":                          "-> old",
		"etc/last/only.env":                      "secret gone",
	}
	after := files{
		"units/foreign.service":                  "foreign",
		"units/same.service":                     "same",
		"units/web.service":                      "new",
		"units/half.service.d/admin.conf":        "foreign",
		"units/multi-user.target.wants/a.target": "-> ../a.target",
		"units/new.target.wants/new.service":     "-> ../new.service",
		"units/new.service":                      "new",
		"units/new.service.d/10-gm.conf":         "new",
		"units/new.service.d/20-gm.conf":         "new",
		"units/new@0.service.d/10-gm.conf":       "new",
		"units/new@1.service.d/10-gm.conf":       "new",
		"units/link.service":                     "-> new.service",
		"units/was-link.service":                 "new",
		"units/will-be-link.service":             "-> new.service",
		"etc/shop/web.env":                       "secret new",
		"etc/shop/link":                          "-> new",
		"etc/first/a/first.env":                  "secret new",
		"etc/first/link":                         "-> new",
	}
	return []txCase{
		{"one file system", "units/.gm-shop", "", before, after, false},
		{"one file system, synced", "units/.gm-shop", "", before, after, true},
		{"two file systems", "units/.gm-shop", "etc", before, after, true},
		{"from nothing", "home/units/.gm-shop", "", files{}, files{"home/units/a.service": "new", "home/env/shop/a.env": "secret new"}, true},
		{"to nothing", "units/.gm-shop", "", files{"units/a.service": "old", "units/a.service.d/a.conf": "old"}, files{"units": "dir"}, true},
	}
}

const secret = "secret "

func (tc *txCase) setUp(t *testing.T) string {
	t.Helper()
	base := memory(t)
	for path, text := range tc.before {
		path = filepath.Join(base, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), fileMode(text))
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(text, secret) {
			if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	return base
}

// memory is a directory in memory, if there is one: ext4 takes its time to make
// files where many were just removed.
func memory(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "gm-disk-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	return base
}

func fileMode(text string) fs.FileMode {
	if strings.HasPrefix(text, secret) {
		return 0o600
	}
	return 0o644
}

// changes is what leads from before to after.
func (tc *txCase) changes(base string) []Change {
	var out []Change
	for _, path := range slices.Sorted(maps.Keys(tc.before)) {
		if _, ok := tc.after[path]; !ok {
			out = append(out, Change{Path: filepath.Join(base, path), Remove: true})
		}
	}
	for _, path := range slices.Sorted(maps.Keys(tc.after)) {
		text := tc.after[path]
		if text == tc.before[path] || text == "dir" {
			continue
		}
		ch := Change{Path: filepath.Join(base, path)}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			ch.Target = target
		} else {
			ch.Text, ch.Mode = []byte(text), fileMode(text)
		}
		out = append(out, ch)
	}
	return out
}

func (tc *txCase) fs(base string) *troubledFS {
	f := &troubledFS{}
	if tc.foreign != "" {
		f.foreign = filepath.Join(base, tc.foreign)
	}
	return f
}

// tree is all that is below base: modes and contents by path.
func tree(t *testing.T, base string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(data)
		case info.Mode()&fs.ModeSymlink != 0:
			if text, err = os.Readlink(path); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(base, path)
		out[rel] = info.Mode().String() + " " + text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutParents leaves out the directories that were made to hold the stage, if
// they are empty: nobody but Close knows whose they are.
func (tc *txCase) withoutParents(got map[string]string) map[string]string {
	for dir := filepath.Dir(tc.stage); dir != "."; dir = filepath.Dir(dir) {
		for path := range got {
			if strings.HasPrefix(path, dir+"/") {
				return got
			}
		}
		if len(tc.before) == 0 {
			delete(got, dir)
		}
	}
	return got
}

func (tc *txCase) stageIn(base string) string { return filepath.Join(base, tc.stage) }

// run goes through a whole transaction; close is Close's own error.
func (tc *txCase) run(ctx context.Context, base string, f FS, back bool) (err, closed error) {
	tx, err := Prepare(ctx, f, tc.stageIn(base), tc.changes(base), tc.sync)
	if err != nil {
		return err, nil
	}
	err = tx.Commit(ctx)
	if err == nil && back {
		err = tx.RollBack()
	}
	return err, tx.Close()
}

// try runs the transaction once without trouble.
func (tc *txCase) try(t *testing.T, back bool) (before, after map[string]string, steps int) {
	t.Helper()
	base := tc.setUp(t)
	before = tree(t, base)
	f := tc.fs(base)
	if err, closed := tc.run(t.Context(), base, f, back); err != nil || closed != nil {
		t.Fatalf("errors %v, %v", err, closed)
	}
	return before, tree(t, base), f.count
}

func TestCommitMakesAllChanges(t *testing.T) {
	for _, tc := range txCases() {
		t.Run(tc.name, func(t *testing.T) {
			_, got, _ := tc.try(t, false)
			for path, text := range tc.after {
				mode := fileMode(text).String()
				switch {
				case text == "dir":
					mode, text = "drwxr-xr-x", ""
				case strings.HasPrefix(text, "-> "):
					mode, text = "Lrwxrwxrwx", text[3:]
				}
				if want := mode + " " + text; got[path] != want {
					t.Errorf("%s is %q, want %q", path, got[path], want)
				}
				dir := filepath.Dir(path)
				want := "drwxr-xr-x "
				if slices.Contains([]string{"etc/shop", "etc/first/a", "home/env/shop"}, dir) {
					want = "drwx------ "
				}
				if dir != "." && got[dir] != want {
					t.Errorf("directory %s is %q, want %q", dir, got[dir], want)
				}
			}
			for path, text := range got {
				if _, ok := tc.after[path]; !ok && !strings.HasPrefix(text, "d") {
					t.Errorf("%s stayed", path)
				}
			}
			for _, dir := range []string{"units/gone.service.d", "units/shop.target.wants", "etc/last", "units/a.service.d", tc.stage} {
				if _, ok := got[dir]; ok {
					t.Errorf("directory %s stayed", dir)
				}
			}
		})
	}
}

// TestRealDisk goes without a wrapper, with real syncs, and, where a directory in
// memory is another file system, with real EXDEV.
func TestRealDisk(t *testing.T) {
	tc := txCases()[1]
	for _, back := range []bool{false, true} {
		_, want, _ := tc.try(t, back)
		for _, across := range []bool{false, true} {
			base := tc.setUp(t)
			tc := tc
			if across {
				stage, err := filepath.Rel(base, filepath.Join(t.TempDir(), ".gm-shop"))
				if err != nil {
					t.Fatal(err)
				}
				tc.stage = stage
			}
			if err, closed := tc.run(t.Context(), base, Real{}, back); err != nil || closed != nil {
				t.Fatalf("back %v, across %v: errors %v, %v", back, across, err, closed)
			}
			if diff := cmp.Diff(want, tree(t, base)); diff != "" {
				t.Errorf("back %v, across %v: the tree differs (-want +got):\n%s", back, across, diff)
			}
		}
	}
}

func TestRollBackRestoresAll(t *testing.T) {
	for _, tc := range txCases() {
		t.Run(tc.name, func(t *testing.T) {
			before, got, _ := tc.try(t, true)
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("the tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReplaceIsAtomic looks at replaced files between any two steps.
func TestReplaceIsAtomic(t *testing.T) {
	for _, tc := range txCases() {
		base := tc.setUp(t)
		f := tc.fs(base)
		f.step = func(_ int, what, at string) error {
			for path, old := range tc.before {
				text, ok := tc.after[path]
				if !ok {
					continue
				}
				got, err := os.Readlink(filepath.Join(base, path))
				if err == nil {
					got = "-> " + got
				} else {
					data, err := os.ReadFile(filepath.Join(base, path))
					if err != nil {
						t.Errorf("%s: before %s of %s: %v", tc.name, what, at, err)
					}
					got = string(data)
				}
				if got != old && got != text {
					t.Errorf("%s: before %s of %s: %s is %q", tc.name, what, at, path, got)
				}
			}
			return nil
		}
		if err, closed := tc.run(t.Context(), base, f, true); err != nil || closed != nil {
			t.Fatalf("%s: errors %v, %v", tc.name, err, closed)
		}
	}
}

// TestEachStepFails lets each step fail once: what was there is there again, or
// all is done.
func TestEachStepFails(t *testing.T) {
	for _, tc := range txCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, back := range []bool{false, true} {
				before, after, steps := tc.try(t, back)
				for n := 1; n <= steps; n++ {
					trouble := []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO, syscall.EACCES}[n%4]
					base := tc.setUp(t)
					f := tc.fs(base)
					failed := ""
					f.step = func(at int, what, path string) error {
						if at != n {
							return nil
						}
						failed = what + " " + path
						return &fs.PathError{Op: what, Path: path, Err: trouble}
					}
					err, closed := tc.run(t.Context(), base, f, back)
					name := fmt.Sprintf("%s: back %v: %v at step %d (%s)", tc.name, back, trouble, n, strings.TrimPrefix(failed, base))
					if closed != nil {
						if !errors.Is(closed, trouble) {
							t.Errorf("%s: Close says %v", name, closed)
						}
						f.step = nil
						if _, err := Recover(f, tc.stageIn(base)); err != nil {
							t.Errorf("%s: Recover after Close: %v", name, err)
						}
					}
					want := after
					if err != nil {
						want = before
						var e *Error
						if !errors.Is(err, trouble) || !errors.As(err, &e) || !filepath.IsAbs(e.Path) || e.Err != trouble {
							t.Errorf("%s: error %v", name, err)
						}
					}
					got := tc.withoutParents(tree(t, base))
					if trouble == syscall.EACCES && strings.HasPrefix(failed, "remove ") {
						// A directory that may not be removed, empty as it is, may stay.
						for path := range got {
							if want[path] == "" && strings.HasPrefix(got[path], "d") {
								delete(got, path)
							}
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: error %v; the tree differs (-want +got):\n%s", name, err, diff)
					}
				}
			}
		})
	}
}

// TestEachStepIsInterrupted ends ctx at each step.
func TestEachStepIsInterrupted(t *testing.T) {
	for _, tc := range txCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			before, after, steps := tc.try(t, false)
			for n := 1; n <= steps; n++ {
				base := tc.setUp(t)
				ctx, cancel := context.WithCancel(t.Context())
				f := tc.fs(base)
				f.step = func(at int, _, _ string) error {
					if at == n {
						cancel()
					}
					return nil
				}
				err, closed := tc.run(ctx, base, f, false)
				cancel()
				want := after
				if err != nil {
					want = before
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%s: step %d: error %v", tc.name, n, err)
					}
				}
				if closed != nil {
					t.Errorf("%s: step %d: Close: %v", tc.name, n, closed)
				}
				if diff := cmp.Diff(want, tree(t, base)); diff != "" {
					t.Errorf("%s: step %d: error %v; the tree differs (-want +got):\n%s", tc.name, n, err, diff)
				}
			}
		})
	}
}

// TestProcessDies lets nothing happen any more from each step on, and then kills
// some of those that recover as well.
func TestProcessDies(t *testing.T) {
	died := errors.New("killed")
	dieAt := func(n int) func(int, string, string) error {
		return func(at int, _, _ string) error {
			if at >= n {
				return died
			}
			return nil
		}
	}
	for _, tc := range txCases() {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, back := range []bool{false, true} {
				before, _, steps := tc.try(t, back)
				_, after, _ := tc.try(t, false)
				seen := map[string]int{}
				for n := 1; n <= steps; n++ {
					for _, again := range []int{0, 1 + n%23} {
						base := tc.setUp(t)
						f := tc.fs(base)
						f.step = dieAt(n)
						tc.run(t.Context(), base, f, back)
						if again > 0 {
							f := tc.fs(base)
							f.step = dieAt(again)
							Recover(f, tc.stageIn(base))
						}
						name := fmt.Sprintf("%s: back %v: killed at step %d, then %d", tc.name, back, n, again)
						if _, err := Recover(tc.fs(base), tc.stageIn(base)); err != nil {
							t.Errorf("%s: %v", name, err)
							continue
						}
						switch got := tc.withoutParents(tree(t, base)); {
						case maps.Equal(got, before):
							seen["before"]++
						case maps.Equal(got, after):
							seen["after"]++
						default:
							t.Errorf("%s: the tree is mixed (-before +got):\n%s\n(-after +got):\n%s", name, cmp.Diff(before, got), cmp.Diff(after, got))
						}
						if found, err := Recover(tc.fs(base), tc.stageIn(base)); found || err != nil {
							t.Errorf("%s: the second Recover: %v, %v", name, found, err)
						}
					}
				}
				if seen["before"] == 0 || seen["after"] == 0 {
					t.Errorf("%s: back %v: outcomes %v", tc.name, back, seen)
				}
			}
		})
	}
}

// TestDiskStaysBroken has everything fail from each step on, until Recover.
func TestDiskStaysBroken(t *testing.T) {
	tc := txCases()[2]
	before, _, steps := tc.try(t, true)
	_, after, _ := tc.try(t, false)
	stuck := 0
	for n := 1; n <= steps; n++ {
		base := tc.setUp(t)
		f := tc.fs(base)
		f.step = func(at int, what, path string) error {
			if at < n {
				return nil
			}
			return &fs.PathError{Op: what, Path: path, Err: syscall.EROFS}
		}
		tx, err := Prepare(t.Context(), f, tc.stageIn(base), tc.changes(base), true)
		if err == nil {
			if err = tx.Commit(t.Context()); err == nil {
				err = tx.RollBack()
			}
			var broken *NotRestored
			if errors.As(err, &broken) {
				stuck++
				if !errors.Is(err, syscall.EROFS) || broken.Stage != tc.stageIn(base) {
					t.Errorf("step %d: error %v, stage %s", n, err, broken.Stage)
				}
				f.step = nil
				if err := tx.Close(); err != nil || !exists(broken.Stage) {
					t.Errorf("step %d: Close: %v; the stage exists: %v", n, err, exists(broken.Stage))
				}
			}
		}
		if _, err := Recover(tc.fs(base), tc.stageIn(base)); err != nil {
			t.Fatal(err)
		}
		if got := tree(t, base); !maps.Equal(got, before) && !maps.Equal(got, after) {
			t.Errorf("step %d: error %v; the tree is mixed (-before +got):\n%s", n, err, cmp.Diff(before, got))
		}
	}
	if stuck == 0 {
		t.Error("nothing was ever not restored")
	}
}

// TestCommitWithoutLinks is about file systems that know no second name.
func TestCommitWithoutLinks(t *testing.T) {
	for _, tc := range txCases() {
		for _, back := range []bool{false, true} {
			_, want, _ := tc.try(t, back)
			base := tc.setUp(t)
			f := tc.fs(base)
			f.step = func(_ int, what, path string) error {
				if what == "link" {
					return &os.LinkError{Op: what, New: path, Err: syscall.EPERM}
				}
				return nil
			}
			if err, closed := tc.run(t.Context(), base, f, back); err != nil || closed != nil {
				t.Errorf("%s: errors %v, %v", tc.name, err, closed)
			}
			if diff := cmp.Diff(want, tree(t, base)); diff != "" {
				t.Errorf("%s: the tree differs (-want +got):\n%s", tc.name, diff)
			}
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	base := t.TempDir()
	stage := filepath.Join(base, ".gm-shop")
	if err := os.MkdirAll(filepath.Join(base, "taken/.gm-shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := filepath.Join(base, "a")
	for _, tc := range []struct {
		name, stage string
		changes     []Change
		want        string
	}{
		{"a relative path", stage, []Change{{Path: "a"}}, `"a" is not the absolute path of a file`},
		{"a path that goes up", stage, []Change{{Path: base + "/x/../a"}}, "is not the absolute path of a file"},
		{"a path in the stage", stage, []Change{{Path: stage + "/0.new"}}, "is in the staging directory"},
		{"a path twice", stage, []Change{{Path: a}, {Path: a, Remove: true}}, "is changed twice"},
		{"a stage that is there", filepath.Join(base, "taken/.gm-shop"), []Change{{Path: a}}, "file exists"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := tree(t, base)
			_, err := Prepare(t.Context(), Real{}, tc.stage, tc.changes, false)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if diff := cmp.Diff(before, tree(t, base)); diff != "" {
				t.Errorf("the tree differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCommitSparesDirectories has a directory where a file should go.
func TestCommitSparesDirectories(t *testing.T) {
	for _, remove := range []bool{false, true} {
		base := t.TempDir()
		path := filepath.Join(base, "web.service")
		if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
			t.Fatal(err)
		}
		before := tree(t, base)
		tx, err := Prepare(t.Context(), Real{}, filepath.Join(base, ".gm-shop"), []Change{{Path: path, Mode: 0o644, Remove: remove}}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(t.Context()); !errors.Is(err, syscall.EISDIR) || !strings.Contains(err.Error(), path) {
			t.Errorf("remove %v: error %v", remove, err)
		}
		if err := tx.Close(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, tree(t, base)); diff != "" {
			t.Errorf("remove %v: the tree differs (-want +got):\n%s", remove, diff)
		}
	}
}

func TestRecoverRefuses(t *testing.T) {
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	entry := func(format int, path, staged, old string) string {
		return fmt.Sprintf(`{"format":%d,"changes":[{"path":%q,"new":%q,"old":%q}]}`, format, path, staged, old)
	}
	removal := fmt.Sprintf(`{"format":1,"changes":[{"path":%q,"old":"0.old"}]}`, victim)
	for _, tc := range []struct {
		name, manifest, text string
		mode                 fs.FileMode
		want                 string
	}{
		{"half a manifest", phaseCommit, removal[:30], 0o700, "unexpected end of JSON input"},
		{"an empty manifest", phaseUndo, "", 0o700, "unexpected end of JSON input"},
		{"no manifest of ours", phaseDone, "[]", 0o700, "cannot unmarshal"},
		{"a later format", phaseCommit, entry(2, victim, "0.new", ""), 0o700, "it has format 2"},
		{"a staged file elsewhere", phaseCommit, entry(1, victim, "../../shadow", ""), 0o700, "names the files"},
		{"a backup elsewhere", phaseUndo, entry(1, victim, "", "/etc/shadow"), 0o700, "names the files"},
		{"a path that goes up", phaseCommit, entry(1, victim+"/../x", "0.new", ""), 0o700, "is not the absolute path"},
		{"a set-user-ID directory", phaseCommit, `{"format":1,"make":[{"path":"/x","mode":8388608}]}`, 0o700, "has mode"},
		{"a stage that others can write to", phaseCommit, removal, 0o770, "open to others (mode 0770)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stage := filepath.Join(t.TempDir(), ".gm-shop")
			if err := os.Mkdir(stage, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(stage, tc.mode); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(stage, tc.manifest)
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			before := tree(t, stage)
			found, err := Recover(Real{}, stage)
			var e *Error
			if !found || !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), tc.want) || !strings.Contains(e.Remedy, stage) {
				t.Errorf("found %v, error %v", found, err)
			}
			if diff := cmp.Diff(before, tree(t, stage)); diff != "" {
				t.Errorf("the stage differs (-want +got):\n%s", diff)
			}
			if text, err := os.ReadFile(victim); string(text) != "precious" {
				t.Errorf("the victim is %q, %v", text, err)
			}
		})
	}
}

// TestRecoverDrops finds a stage without manifest, with anything in it.
func TestRecoverDrops(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside/file")
	stage := filepath.Join(base, ".gm-shop")
	for _, dir := range []string{filepath.Dir(outside), filepath.Join(stage, "foreign/deep")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{outside, filepath.Join(stage, unfinished), filepath.Join(stage, "0.new")} {
		if err := os.WriteFile(path, []byte(`{"format":1`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(stage, "link")); err != nil {
		t.Fatal(err)
	}
	if found, err := Recover(Real{}, stage); !found || err != nil {
		t.Errorf("found %v, error %v", found, err)
	}
	if exists(stage) || !exists(outside) {
		t.Errorf("the stage exists: %v; what it links to: %v", exists(stage), exists(outside))
	}
	if found, err := Recover(Real{}, stage); found || err != nil {
		t.Errorf("without a stage: found %v, error %v", found, err)
	}
	if err := os.Symlink(filepath.Dir(outside), stage); err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(Real{}, stage); err == nil || !exists(outside) {
		t.Errorf("a link in place of the stage: error %v", err)
	}
}

// BenchmarkCommit writes 300 files of 1 kB anew over old ones.
func BenchmarkCommit(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%v", sync), func(b *testing.B) {
			base := b.TempDir()
			var changes []Change
			for i := range 300 {
				changes = append(changes, Change{Path: filepath.Join(base, fmt.Sprintf("app-%d.service", i)),
					Text: make([]byte, 1000), Mode: 0o644})
			}
			for b.Loop() {
				tx, err := Prepare(b.Context(), Real{}, filepath.Join(base, ".gm-bench"), changes, sync)
				if err == nil {
					err = tx.Commit(b.Context())
				}
				if err == nil {
					err = tx.Close()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// vanishing is a file system in which another process removes a directory just before
// the first rename into it.
type vanishing struct {
	FS
	dir  string
	done bool
}

func (v *vanishing) Rename(from, to string) error {
	if filepath.Dir(to) == v.dir && !v.done {
		v.done = true
		if err := os.Remove(v.dir); err != nil {
			return err
		}
	}
	return v.FS.Rename(from, to)
}

func TestCommitMakesDirectoryAgain(t *testing.T) {
	dir := t.TempDir()
	wants := filepath.Join(dir, "multi-user.target.wants")
	if err := os.Mkdir(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(wants, "gm-shop.target")
	tx, err := Prepare(t.Context(), &vanishing{FS: Real{}, dir: wants}, filepath.Join(dir, ".stage"), []Change{{Path: link, Target: "../gm-shop.target"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); target != "../gm-shop.target" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if err := tx.Close(); err != nil {
		t.Error(err)
	}
}
