package main

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

	"gm/disk"
	"gm/units"
)

// unit renders a unit of project shop that bears gm's mark.
func unit(name, app, text string) file {
	u := units.Unit{Name: name}
	if !units.IsEnvFile(name) {
		u.Directives = []units.Directive{{Section: "Unit", Key: "Description", Value: units.Text(text)}}
	}
	return file{name: name, text: units.Render(units.Seal(u, "shop", app))}
}

// write puts files into a directory without the code under test.
func writeFiles(t *testing.T, dir string, files ...file) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.text, f.mode()); err != nil {
			t.Fatal(err)
		}
	}
}

// tree returns all that is below a directory: paths, modes, contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := ""
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text = string(data)
		}
		rel, err := filepath.Rel(dir, path)
		out[rel] = info.Mode().String() + "\n" + text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutStages leaves the staging directories out, which do no harm.
func withoutStages(files map[string]string) map[string]string {
	out := maps.Clone(files)
	maps.DeleteFunc(out, func(path, _ string) bool { return strings.Contains(path, stagePrefix) })
	return out
}

// troubledDisk calls step before each change with its number, from 1.
type troubledDisk struct {
	disk.Real
	mu    sync.Mutex // files are written by several goroutines
	count int
	step  func(n int, what, path string) error
}

func (d *troubledDisk) next(what, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	return d.step(d.count, what, path)
}

func (d *troubledDisk) MkdirTemp(dir, pattern string) (string, error) {
	if err := d.next("mkdirtemp", dir); err != nil {
		return "", err
	}
	return d.Real.MkdirTemp(dir, pattern)
}
func (d *troubledDisk) Mkdir(path string, mode fs.FileMode) error {
	if err := d.next("mkdir", path); err != nil {
		return err
	}
	return d.Real.Mkdir(path, mode)
}

// Create leaves half of the file when it fails, as a full disk does.
func (d *troubledDisk) Create(path string, mode fs.FileMode, text []byte) error {
	if err := d.next("create", path); err != nil {
		return errors.Join(err, d.Real.Create(path, mode, text[:len(text)/2]))
	}
	return d.Real.Create(path, mode, text)
}
func (d *troubledDisk) Link(from, to string) error {
	if err := d.next("link", to); err != nil {
		return err
	}
	return d.Real.Link(from, to)
}
func (d *troubledDisk) Rename(from, to string) error {
	if err := d.next("rename", to); err != nil {
		return err
	}
	return d.Real.Rename(from, to)
}
func (d *troubledDisk) Remove(path string) error {
	if err := d.next("remove", path); err != nil {
		return err
	}
	return d.Real.Remove(path)
}
func (d *troubledDisk) RemoveAll(path string) error {
	if err := d.next("removeall", path); err != nil {
		return err
	}
	return d.Real.RemoveAll(path)
}
func (d *troubledDisk) Chmod(path string, mode fs.FileMode) error {
	if err := d.next("chmod", path); err != nil {
		return err
	}
	return d.Real.Chmod(path, mode)
}

// writeCase is a directory before and the files that it should hold after.
type writeCase struct {
	name   string
	out    string // below the test's directory
	before []file
	want   []file
}

func writeCases() []writeCase {
	foreign := file{name: "foreign.service", text: []byte("[Service]\nExecStart=/bin/true\n")}
	want := []file{
		unit("gm-shop.target", "", "new"),
		unit("web.env", "web", ""),
		unit("web.service", "web", "new"),
		unit("web@0.service.d/10-increment.conf", "web", "new"),
		unit("web@1.service.d/10-increment.conf", "web", "same"),
	}
	return []writeCase{
		{"new directory", "units", nil, want},
		{"new directory and parents", "a/b/units", nil, want},
		{"changes in a directory", "units", []file{
			foreign,
			unit("gm-shop.target", "", "old"),
			unit("old.service", "old", "old"),
			unit("old.service.d/10-increment.conf", "old", "old"),
			unit("web.service", "web", "old"),
			unit("web@1.service.d/10-increment.conf", "web", "same"),
		}, want},
	}
}

// run surveys and writes once.
func (wc *writeCase) run(t *testing.T, base string, ctx context.Context, d disk.FS) error {
	t.Helper()
	c := &caller{dir: base}
	lock := lockDir(c.realpath(wc.out))
	defer lock.unlock()
	o, err := c.survey(wc.out, "shop", wc.want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.blocked) > 0 {
		t.Fatal(o.blocked)
	}
	return o.write(ctx, d, lock)
}

func (wc *writeCase) prepare(t *testing.T) (base string, before map[string]string) {
	t.Helper()
	base = t.TempDir()
	if wc.before != nil {
		writeFiles(t, filepath.Join(base, wc.out), wc.before...)
	}
	return base, tree(t, base)
}

// TestWriteIsAllOrNothing lets each step of a write fail in turn: what was
// there is there again, or all is done, and nothing half-written stays.
func TestWriteIsAllOrNothing(t *testing.T) {
	interrupted := errors.New("a signal came")
	for _, wc := range writeCases() {
		base, _ := wc.prepare(t)
		counting := &troubledDisk{step: func(int, string, string) error { return nil }}
		if err := wc.run(t, base, context.Background(), counting); err != nil {
			t.Fatalf("%s: %v", wc.name, err)
		}
		after := tree(t, base)
		for _, f := range wc.want {
			if got := after[filepath.Join(wc.out, f.name)]; got != f.mode().String()+"\n"+string(f.text) {
				t.Errorf("%s: %s is %q", wc.name, f.name, got)
			}
		}
		for path := range after {
			if strings.Contains(path, stagePrefix) || strings.Contains(path, "old.service") {
				t.Errorf("%s: %s stayed", wc.name, path)
			}
		}

		for _, trouble := range []error{syscall.ENOSPC, interrupted} {
			for n := 1; n <= counting.count; n++ {
				base, before := wc.prepare(t)
				ctx, cancel := context.WithCancel(context.Background())
				failed := ""
				d := &troubledDisk{step: func(at int, what, path string) error {
					if at != n {
						return nil
					}
					failed = what
					if trouble == interrupted {
						cancel()
						return nil
					}
					return &fs.PathError{Op: what, Path: path, Err: trouble}
				}}
				err := wc.run(t, base, ctx, d)
				cancel()
				name := fmt.Sprintf("%s: %v at step %d (%s)", wc.name, trouble, n, failed)
				got, want := tree(t, base), before
				if err == nil {
					want = after
					// These may fail without harm: a backup can be made in
					// another way, and what is left over waits for the next run.
					tolerated := []string{"link", "chmod", "remove", "removeall"}
					if trouble != interrupted && !slices.Contains(tolerated, failed) {
						t.Errorf("%s: no error", name)
					}
					if failed == "removeall" || failed == "remove" {
						got = withoutStages(got)
					}
					if failed == "remove" { // the empty directory of a stale drop-in
						delete(got, filepath.Join(wc.out, "old.service.d"))
					}
				} else if message := err.Error(); !strings.Contains(message, "is as it was") {
					t.Errorf("%s: %s", name, message)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: error %v; the tree differs (-want +got):\n%s", name, err, diff)
				}
			}
		}
	}
}

// TestWriteSaysWhereBackupsAre lets everything fail from a step on, so that
// nothing can be restored: then the message must lead to what was there.
func TestWriteSaysWhereBackupsAre(t *testing.T) {
	wc := writeCases()[2]
	base, before := wc.prepare(t)
	dead := false
	d := &troubledDisk{}
	d.step = func(_ int, what, path string) error {
		dead = dead || what == "rename" && strings.HasSuffix(path, "/units/web.service")
		if dead {
			return &fs.PathError{Op: what, Path: path, Err: syscall.EIO}
		}
		return nil
	}
	err := wc.run(t, base, context.Background(), d)
	var f *failure
	if !errors.As(err, &f) || !strings.Contains(f.cause, "cannot be restored") {
		t.Fatalf("error %v", err)
	}
	stage := strings.TrimSuffix(strings.TrimPrefix(f.remedy, "the old files are in "), "; move them back by hand")
	found := tree(t, stage)
	old := before["units/old.service"]
	if !slices.Contains(slices.Collect(maps.Values(found)), old) {
		t.Errorf("%s does not hold the old files: %v", stage, found)
	}
}

// TestWriteTogether writes to one directory from many sides: the runs take
// turns, and the last one wins as a whole.
func TestWriteTogether(t *testing.T) {
	base := t.TempDir()
	errs := make(chan error)
	const runs = 8
	for i := range runs {
		go func() {
			want := []file{unit("a.service", "a", fmt.Sprint(i)), unit("b.service", "b", fmt.Sprint(i))}
			c := &caller{dir: base}
			lock := lockDir(c.realpath("units"))
			defer lock.unlock()
			o, err := c.survey("units", "shop", want, nil)
			if err == nil {
				err = o.write(context.Background(), disk.Real{}, lock)
			}
			errs <- err
		}()
	}
	for range runs {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	a, err := os.ReadFile(filepath.Join(base, "units/a.service"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(base, "units/b.service"))
	if err != nil {
		t.Fatal(err)
	}
	number := func(text []byte) string {
		_, rest, _ := strings.Cut(string(text), "Description=")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	if number(a) != number(b) {
		t.Errorf("a.service is of run %s, b.service of run %s", number(a), number(b))
	}
	if left := tree(t, base); len(left) != 4 {
		t.Errorf("the tree holds %v", slices.Sorted(maps.Keys(left)))
	}
}
