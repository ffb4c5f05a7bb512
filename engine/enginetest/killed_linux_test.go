package enginetest

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestBootedKilled kills gm install at every system call by which it changes
// something, and looks at what is left: whole files, of one version or the other, apps
// that run, and an install that repairs the rest.
func TestBootedKilled(t *testing.T) {
	c := bootContainer(t)
	build(t, filepath.Join(c.Root(), "usr/local/bin/killer"), "./engine/enginetest/testdata/killer")
	killInstalls(t, c)
}

// TestNativeKilled is the same without systemd.
func TestNativeKilled(t *testing.T) {
	n := newNest(t, nestOptions{})
	build(t, n.path("bin/killer"), "./engine/enginetest/testdata/killer")
	killInstalls(t, n)
}

func killInstalls(t *testing.T, m Machine) {
	// Several projects at once, each with a share of the calls: most of the time goes
	// into waiting for apps to stay up.
	const projects = 4
	var survived, killed atomic.Int32
	var wait sync.WaitGroup
	for k := range projects {
		wait.Go(func() {
			t.Run(fmt.Sprint("project", k), func(t *testing.T) {
				v := &victim{Project: newProject(t, m, 80+k)}
				v.prepare()
				for n := 1 + k; ; n += projects {
					if !v.kill(n) {
						survived.Add(1)
						return
					}
					if killed.Add(1); t.Failed() {
						return
					}
				}
			})
		})
	}
	wait.Wait()
	t.Logf("killed at %d system calls", killed.Load())
	if killed.Load() < 50 {
		t.Errorf("an install makes more changes than %d", killed.Load())
	}
}

// victim is a project whose installs are killed on their way from one version to
// another.
type victim struct {
	*Project
	version map[int]map[string]string // the files of each version
	calm    []int
}

// declare writes version 1 or 2 of the declaration. Between them an app is changed,
// one with instances is changed and grows, one goes, one comes, and one stays.
func (v *victim) declare(n int) {
	env := App{"env": App{"VERSION": n}}
	apps := []App{app("calm"), app("one").With(env).With(App{"cron_restart": "0 5 1 1 *"}), app("many").With(env).With(App{"instances": 1 + n})}
	if n == 1 {
		apps = append(apps, app("old"))
	} else {
		apps = append(apps, app("new").With(env))
	}
	v.Declare(apps...)
}

func (v *victim) prepare() {
	v.t.Helper()
	v.version = map[int]map[string]string{}
	for _, n := range []int{2, 1} {
		v.declare(n)
		v.Do("install", "--secrets=file")
		v.version[n] = v.files()
	}
	v.calm = v.PIDs("calm")
}

// files returns the texts of the project's files, and the targets of its links.
func (v *victim) files() map[string]string {
	v.t.Helper()
	dirs := v.Dirs()
	out := v.Sh(`for f in $(find $2 $3 -name "*$1*" ! -name ".gm-*" ! -type d; find $3/$1 -type f; find "$2/.gm-$1" -maxdepth 0 2>/dev/null); do
		if [ -h $f ]; then echo "$f -> $(readlink $f)"; elif [ -d $f ]; then echo "$f stage"; else echo "$f $(sha256sum <$f)"; fi; done | sort -u`, v.name, dirs.Units, dirs.Env)
	files := map[string]string{}
	for _, line := range lines(out) {
		name, text, _ := strings.Cut(line, " ")
		files[name] = text
	}
	return files
}

// kill installs version 2 over version 1 and kills that at the nth call. It reports
// false when the install was over before.
func (v *victim) kill(n int) bool {
	v.t.Helper()
	v.declare(2)
	out := v.Machine.Run(v.t.Context(), v.dir, "killer", fmt.Sprint(n), "gm", "install", "--secrets=file")
	if out.Code == 0 {
		v.check(n, 2)
		return false
	}
	if out.Code != 137 {
		v.t.Errorf("killed at call %d: %v", n, out)
		return true
	}
	v.checkFiles(n)
	// On to the new version, or back to the old one.
	if n/4%2 == 0 {
		v.install(n, 2)
	}
	v.install(n, 1)
	return true
}

// checkFiles looks at what a kill left: each file is whole, and of one of the versions.
func (v *victim) checkFiles(n int) {
	v.t.Helper()
	left := v.files()
	stage := join(v.Dirs().Units, ".gm-"+v.name)
	unfinished := left[stage] != ""
	delete(left, stage)
	for name, text := range left {
		if text != v.version[1][name] && text != v.version[2][name] {
			v.t.Errorf("killed at call %d: %s is of neither version: %s", n, name, text)
		}
	}
	// Between the two they may only be while the way on is written down.
	if !unfinished && !maps.Equal(left, v.version[1]) && !maps.Equal(left, v.version[2]) {
		v.t.Errorf("killed at call %d: the files are a mixture:\n%s", n, strings.Join(slices.Sorted(maps.Keys(left)), "\n"))
	}
}

// install installs a version over whatever is there, and looks whether it is all there.
func (v *victim) install(n, version int) {
	v.t.Helper()
	v.declare(version)
	if out := v.Gm("install", "--secrets=file"); out.Code != 0 {
		v.t.Errorf("killed at call %d: the next install: %v", n, out)
	}
	v.check(n, version)
}

func (v *victim) check(n, version int) {
	v.t.Helper()
	if now := v.files(); !maps.Equal(now, v.version[version]) {
		v.t.Errorf("killed at call %d: the files of version %d are not all there, or not alone:\n%v\n%v", n, version, now, v.version[version])
	}
	want := map[string]string{"calm": "online", "one": "online", "many": "online online", "old": "online"}
	if version == 2 {
		want = map[string]string{"calm": "online", "one": "online", "many": "online online online", "new": "online"}
	}
	v.Expect(want)
	v.Same("calm", v.calm)
	for _, pid := range append(v.PIDs("many"), v.PIDs("one")...) {
		if got := v.Environ(pid)["VERSION"]; got != fmt.Sprint(version) {
			v.t.Errorf("killed at call %d: a process of version %s runs, not of %d", n, got, version)
		}
	}
	if out := v.Gm("plan", "--exit-code", "--secrets=file"); out.Code != 0 {
		v.t.Errorf("killed at call %d: the next install leaves something to do: %v", n, out)
	}
}
