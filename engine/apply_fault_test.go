package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"gm/disk"
	"gm/units"
)

// TestApplySurvivesFailingCalls fails each call to the engine in turn.
func TestApplySurvivesFailingCalls(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	broken := errors.New("broken")
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more = false
				f := installed(t, before)
				was := f.picture(t)
				hit := ""
				f.fail = func(call int, what string) error {
					if call == n {
						hit = what
						return broken
					}
					return nil
				}
				err := f.install(t.Context(), t, memory{}, after, ApplyOptions{})
				more = hit != ""
				if err == nil {
					same(t, f.running(), newRunning)
				} else {
					var failed *ApplyError
					if errors.As(err, &failed) {
						applyError(t, err)
					}
					if !errors.Is(err, broken) {
						t.Errorf("the error is %v", err)
					}
					same(t, f.picture(t), was)
				}
				if t.Failed() {
					t.Logf("the call that failed: %s", hit)
				}
				nothingLeft(t, f)
			})
		})
	}
}

// TestApplyLosesEngine: from some call on the engine is gone. Files are all old or
// all new, and once it is back the next install does the rest.
func TestApplyLosesEngine(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more = false
				f := installed(t, before)
				old := filesOf(f.picture(t))
				hit := ""
				f.fail = func(call int, what string) error {
					if call < n {
						return nil
					}
					if hit == "" {
						hit = what
					}
					return fmt.Errorf("%w: it is gone", ErrUnreachable)
				}
				err := f.install(t.Context(), t, memory{}, after, ApplyOptions{})
				if more = hit != ""; more && err != nil && !errors.Is(err, ErrUnreachable) {
					t.Errorf("the error is %v", err)
				}
				if err != nil {
					same(t, filesOf(f.picture(t)), old)
				}
				f.fail = nil
				if err := f.install(t.Context(), t, memory{}, after, ApplyOptions{}); err != nil {
					t.Errorf("the next install: %v", err)
				}
				same(t, f.running(), newRunning)
				nothingLeft(t, f)
				if t.Failed() {
					t.Logf("the call from which on the engine is gone: %s", hit)
				}
			})
		})
	}
}

// TestApplyLosesEngineForAWhile: the connection breaks once, as at daemon-reexec.
func TestApplyLosesEngineForAWhile(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more = false
				f := installed(t, before)
				was := f.picture(t)
				f.fail = func(call int, what string) error {
					if call != n {
						return nil
					}
					more = true
					return fmt.Errorf("%w: it is gone", ErrUnreachable)
				}
				err := f.install(t.Context(), t, memory{}, after, ApplyOptions{})
				if err == nil {
					return
				}
				if failed := (*ApplyError)(nil); errors.As(err, &failed) && !failed.RolledBack {
					t.Errorf("not put back: %v", failed.Undone)
				}
				same(t, f.picture(t), was)
				nothingLeft(t, f)
			})
		})
	}
}

func filesOf(picture map[string]string) map[string]string {
	files := maps.Clone(picture)
	maps.DeleteFunc(files, func(name, _ string) bool { return !strings.Contains(name, "/") })
	return files
}

// TestApplyKilled: after some step on the disk the process does nothing more at
// all, as after kill -9. The next install finishes the work, with whatever
// declaration.
func TestApplyKilled(t *testing.T) {
	before, after := compileSet(t, oldApps), compileSet(t, newApps)
	var oldRunning map[string]string
	synctest.Test(t, func(t *testing.T) { oldRunning = installed(t, before).running() })
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more = false
				for i, next := range []units.Set{after, before} {
					f := installed(t, before)
					d := &dyingFS{FS: memory{}, left: n}
					f.fail = func(int, string) error {
						if d.dead() {
							return fmt.Errorf("%w: killed", ErrUnreachable)
						}
						return nil
					}
					_ = f.install(t.Context(), t, d, after, ApplyOptions{Now: true})
					more = d.dead()
					f.fail = nil
					f.reloads = 0
					if err := f.install(t.Context(), t, memory{}, next, ApplyOptions{}); err != nil {
						t.Errorf("the next install: %v", err)
					}
					same(t, f.running(), []map[string]string{newRunning, oldRunning}[i])
					if f.reloads > 1 {
						t.Errorf("%d reloads", f.reloads)
					}
					nothingLeft(t, f)
				}
			})
		})
	}
}

// memory is the disk without the wait for it.
type memory struct{ disk.Real }

func (memory) Sync(string) error    { return nil }
func (memory) SyncAll(string) error { return nil }

// dyingFS does so many steps and then nothing more.
type dyingFS struct {
	disk.FS
	mu   sync.Mutex
	left int
}

var errKilled = errors.New("killed")

func (d *dyingFS) dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.left <= 0
}

func (d *dyingFS) step(do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left--; d.left <= 0 {
		return errKilled
	}
	return do()
}

func (d *dyingFS) Mkdir(path string, mode fs.FileMode) error {
	return d.step(func() error { return d.FS.Mkdir(path, mode) })
}
func (d *dyingFS) Create(path string, mode fs.FileMode, text []byte) error {
	return d.step(func() error { return d.FS.Create(path, mode, text) })
}
func (d *dyingFS) Symlink(target, path string) error {
	return d.step(func() error { return d.FS.Symlink(target, path) })
}
func (d *dyingFS) Link(from, to string) error {
	return d.step(func() error { return d.FS.Link(from, to) })
}
func (d *dyingFS) Rename(from, to string) error {
	return d.step(func() error { return d.FS.Rename(from, to) })
}
func (d *dyingFS) Remove(path string) error {
	return d.step(func() error { return d.FS.Remove(path) })
}
func (d *dyingFS) RemoveAll(path string) error {
	return d.step(func() error { return d.FS.RemoveAll(path) })
}
func (d *dyingFS) Chmod(path string, mode fs.FileMode) error {
	return d.step(func() error { return d.FS.Chmod(path, mode) })
}
func (d *dyingFS) Sync(path string) error { return d.step(func() error { return nil }) }
func (d *dyingFS) SyncAll(path string) error {
	return d.step(func() error { return nil })
}

// TestRollBackSurvivesFailingCalls: an app fails, and besides that each call to
// the engine in turn. The files are the old ones in any case, and what could not
// be put back is said, noted, and made good by the next install.
func TestRollBackSurvivesFailingCalls(t *testing.T) {
	before := compileSet(t, oldApps)
	after := compileSet(t, `[
		{"name": "web", "script": "ok-2.js", "instances": 3},
		{"name": "api", "script": "ready-100.js"},
		{"name": "fresh", "script": "crash-1500.js", "min_uptime": 2000, "watch": true},
		{"name": "same", "script": "ok.js"}]`)
	broken := errors.New("broken")
	for n, more := 1, true; more; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more = false
				f := installed(t, before)
				was := f.picture(t)
				hit := ""
				f.fail = func(call int, what string) error {
					if call == n {
						hit = what
						return broken
					}
					return nil
				}
				err := f.install(t.Context(), t, memory{}, after, ApplyOptions{})
				more = hit != ""
				if err == nil {
					t.Fatal("it succeeds")
				}
				same(t, filesOf(f.picture(t)), filesOf(was))
				var failed *ApplyError
				if errors.As(err, &failed) && failed.Undone != nil {
					f.fail = nil
					if !errors.Is(failed.Undone, broken) || failed.RolledBack {
						t.Errorf("what could not be put back is %v, %v", failed.RolledBack, failed.Undone)
					}
					for unit, script := range was {
						if !strings.Contains(unit, "/") && f.running()[unit] != script {
							if n, err := readPending(f.dirs, "shop"); err != nil || n.Units[unit] == "" && !n.Reload {
								t.Errorf("%s does not run as before, and the note is %+v, %v", unit, n, err)
							}
						}
					}
					if err := f.install(t.Context(), t, memory{}, before, ApplyOptions{}); err != nil {
						t.Errorf("the next install: %v", err)
					}
				}
				got := f.picture(t)
				// What was not stopped again has no files any more, and is told of.
				if failed != nil && failed.Undone != nil && strings.Contains(failed.Undone.Error(), "cannot stop fresh") {
					delete(got, "fresh.service")
					delete(got, "fresh-watch.service")
				}
				same(t, got, was)
				nothingLeft(t, f)
				if t.Failed() {
					t.Logf("the call that failed: %s, the error: %+v", hit, failed)
				}
			})
		})
	}
}
