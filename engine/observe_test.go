package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/translate"
	"gm/units"
)

// machine is a directory with what an engine would have, and an engine that only
// says where it is and what runs.
type machine struct {
	Engine
	dirs  Dirs
	units map[string]UnitState
	asked []string
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	root := t.TempDir()
	at := func(path string) string { return filepath.Join(root, path) }
	return &machine{dirs: Dirs{
		Units: at("etc/systemd/system"), Env: at("etc/gm"), Run: at("run/gm"),
		Search: []string{at("run/systemd/transient"), at("etc/systemd/system"), at("run/systemd/system"), at("run/systemd/generator"),
			at("usr/local/lib/systemd/system"), at("lib/systemd/system"), at("usr/lib/systemd/system")},
	}}
}

func (m *machine) Dirs() Dirs { return m.dirs }

func (m *machine) Units(_ context.Context, _ Detail, names []string) (map[string]UnitState, error) {
	m.asked = names
	return m.units, nil
}

// put writes a file below the machine's root: "etc/systemd/system/a.service".
func (m *machine) put(t testing.TB, path, text string) {
	t.Helper()
	path = m.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) link(t testing.TB, target, path string) {
	t.Helper()
	path = m.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) path(path string) string {
	return filepath.Join(strings.TrimSuffix(m.dirs.Units, "etc/systemd/system"), path)
}

// install puts a set and its links where Apply does.
func (m *machine) install(t testing.TB, project string, set units.Set) {
	t.Helper()
	for _, u := range set {
		path := "etc/systemd/system/" + u.Name
		if units.IsEnvFile(u.Name) {
			path = "etc/gm/" + units.EscapeName(project) + "/" + u.Name
		}
		m.put(t, path, string(units.Render(u)))
	}
	for _, l := range Links(set) {
		file := l.Wanted
		if template, ok := templateOf(file); ok {
			file = template
		}
		m.link(t, "../"+file, "etc/systemd/system/"+l.By+".wants/"+l.Wanted)
	}
}

func observed(t *testing.T, m *machine, project string) *State {
	t.Helper()
	s, err := Observe(context.Background(), m, project, Brief)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fileNames(s *State) []string {
	var names []string
	for _, f := range s.Files {
		names = append(names, f.Name)
	}
	return names
}

func setNames(set units.Set) []string {
	var names []string
	for _, u := range set {
		names = append(names, u.Name)
	}
	return names
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("%s: -got +want\n%s", what, diff)
	}
}

func blog(o *translate.Options) { o.Project = "my blog" }

// TestObserveReadsWhatInstallWrites: what is read is what was written, and a plan
// for the same has nothing to do.
func TestObserveReadsWhatInstallWrites(t *testing.T) {
	m := newMachine(t)
	counting := replaced(web, `"script"`, `"increment_var": "P", "env": {"P": 1}, "script"`)
	shop := compileSet(t, declared(worker, counting, watched), secretFiles)
	other := compileSet(t, declared(replaced(worker, `"worker"`, `"poster"`)), secretFiles, blog)
	m.install(t, "shop", shop)
	m.install(t, "my blog", other)
	m.put(t, "etc/systemd/system/foreign.service", "[Service]\nExecStart=/bin/true\n")
	m.put(t, "etc/gm/shop/notes.txt", "mine")
	m.put(t, "etc/systemd/system/.gm-x.d/half-written.conf", string(units.Render(shop[0])))
	m.link(t, "../foreign.service", "etc/systemd/system/multi-user.target.wants/foreign.service")
	m.put(t, "run/gm/shop/pending.json", `{"worker.service": "new"}`)
	m.put(t, "run/gm/my\\x20blog/pending.json", `{"poster.service": "ExecStart="}`)
	m.units = map[string]UnitState{"worker.service": {Name: "worker.service", Active: "active"}}

	s := observed(t, m, "shop")
	wantEqual(t, "files", fileNames(s), setNames(shop))
	wantEqual(t, "links", s.Links, Links(shop))
	wantEqual(t, "pending", s.Pending, map[string]string{"worker.service": "new"})
	wantEqual(t, "units", s.Units, m.units)
	for _, name := range []string{"worker.service", "web@.service", "web@2.service", "web.target", "api-watch.service", "gm-shop.target"} {
		if !slices.Contains(m.asked, name) {
			t.Errorf("the engine was not asked for %s", name)
		}
	}
	for _, f := range s.Files {
		if text, err := os.ReadFile(f.Path); err != nil || string(text) != string(f.Text) || f.Edited || f.Mark.Project != "shop" {
			t.Errorf("%s: path %s (%v), edited %v, mark %v", f.Name, f.Path, err, f.Edited, f.Mark)
		}
	}
	s.Pending, s.Units = nil, nil
	if p := Diff(shop, s, DiffOptions{Project: "shop"}); !p.Empty() {
		t.Errorf("a plan for the same:\n%s", shownPlan(p))
	}

	all := observed(t, m, "")
	names := append(setNames(shop), setNames(other)...)
	slices.Sort(names)
	wantEqual(t, "files of all projects", fileNames(all), names)
	wantEqual(t, "pending of all projects", all.Pending, map[string]string{"worker.service": "new", "poster.service": "ExecStart="})
	links := append(Links(shop), Links(other)...)
	slices.SortFunc(links, compareLinks)
	wantEqual(t, "links of all projects", all.Links, links)
	if all.Base("shop") != s.Base("shop") || all.Base("shop") == all.Base("my blog") {
		t.Error("the base of a project depends on how it was observed")
	}
}

func TestObserveNothing(t *testing.T) {
	m := newMachine(t)
	for _, project := range []string{"", "shop"} {
		s := observed(t, m, project)
		if len(s.Files)+len(s.Links)+len(s.Units)+len(s.Pending)+len(s.DropIns) > 0 || m.asked != nil {
			t.Errorf("an empty machine has %+v, and the engine was asked for %v", s, m.asked)
		}
	}
}

func TestObserveLinks(t *testing.T) {
	m := newMachine(t)
	set := compileSet(t, declared(web))
	m.install(t, "shop", set)
	m.put(t, "etc/systemd/system/nginx.service", "[Service]\nExecStart=/bin/true\n")
	wants := "etc/systemd/system/"
	for path, target := range map[string]string{
		"web.target.wants/web@7.service":             "../web@.service", // beyond the declared
		"web.target.wants/old@1.service":             "../old@.service", // its template is gone
		"gm-shop.target.wants/gone.service":          "../gone.service", // its unit is gone
		"gm-shop.target.wants/nginx.service":         "../nginx.service",
		"nginx.service.wants/web@0.service":          "../web@.service",
		"multi-user.target.wants/gone-too.service":   "../gone-too.service",
		"web.target.requires/web@1.service":          "../web@.service",
		"multi-user.target.wants/nginx.service":      "../nginx.service",
		"gm-other.target.wants/of-another.service":   "../of-another.service",
		"web.target.wants/deep@1.service/x@.service": "../web@.service",
	} {
		m.link(t, target, wants+path)
	}
	want := append(Links(set), Link{"web.target", "web@7.service"}, Link{"web.target", "old@1.service"},
		Link{"gm-shop.target", "gone.service"}, Link{"nginx.service", "web@0.service"})
	slices.SortFunc(want, compareLinks)
	s := observed(t, m, "shop")
	wantEqual(t, "links", s.Links, want)
	if !slices.Contains(m.asked, "web@7.service") {
		t.Errorf("the engine was not asked for a linked instance: %v", m.asked)
	}
	for _, f := range set {
		if err := os.Remove(m.path("etc/systemd/system/" + f.Name)); err != nil {
			t.Fatal(err)
		}
	}
	s = observed(t, m, "shop")
	if !slices.Contains(s.Links, Link{"gm-shop.target", "web.target"}) {
		t.Errorf("without any file, the links of the project's target are %v", s.Links)
	}
}

func TestObserveDropIns(t *testing.T) {
	m := newMachine(t)
	m.install(t, "shop", compileSet(t, declared(replaced(web, `"script"`, `"increment_var": "P", "env": {"P": 1}, "script"`))))
	for _, path := range []string{
		"etc/systemd/system/web@.service.d/mem.conf",
		"etc/systemd/system/web@1.service.d/nice.conf",
		"etc/systemd/system/web.target.d/note.conf",
		"etc/systemd/system/web@.service.d/README",
		"etc/systemd/system/nginx.service.d/x.conf",
		"run/systemd/system/web@.service.d/run.conf",
		"usr/lib/systemd/system/web@2.service.d/vendor.conf",
		"usr/lib/systemd/system/service.d/all.conf",
	} {
		m.put(t, path, "[Service]\nMemoryMax=1G\n")
	}
	m.link(t, "usr/lib", "lib")
	got := map[string][]string{}
	for unit, list := range observed(t, m, "shop").DropIns {
		for _, path := range list {
			got[unit] = append(got[unit], strings.TrimPrefix(path, m.path("")+"/"))
		}
	}
	wantEqual(t, "drop-ins", got, map[string][]string{
		"web@.service":  {"etc/systemd/system/web@.service.d/mem.conf", "run/systemd/system/web@.service.d/run.conf"},
		"web@1.service": {"etc/systemd/system/web@1.service.d/nice.conf"},
		"web@2.service": {"lib/systemd/system/web@2.service.d/vendor.conf"},
		"web.target":    {"etc/systemd/system/web.target.d/note.conf"},
	})
}

func TestObserveEdited(t *testing.T) {
	m := newMachine(t)
	m.install(t, "shop", compileSet(t, declared(worker), secretFiles))
	for _, path := range []string{"etc/systemd/system/worker.service", "etc/gm/shop/worker.env"} {
		text, err := os.ReadFile(m.path(path))
		if err != nil {
			t.Fatal(err)
		}
		m.put(t, path, string(text)+"\n# a note of mine\n")
	}
	edited := map[string]bool{}
	for _, f := range observed(t, m, "shop").Files {
		if f.Edited {
			edited[f.Name] = true
		}
	}
	wantEqual(t, "edited", edited, map[string]bool{"worker.service": true, "worker.env": true})
}

func TestObserveReportsWhatItCannotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may read everything: only broken files are tried")
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, m *machine) string
		root  bool
	}{
		{"a unit directory that is a file", func(t *testing.T, m *machine) string {
			m.put(t, "etc/systemd/system", "")
			return "etc/systemd/system"
		}, true},
		{"notes that are no JSON", func(t *testing.T, m *machine) string {
			m.put(t, "run/gm/shop/pending.json", "{")
			return "run/gm/shop/pending.json"
		}, true},
		{"a file without the right to read it", func(t *testing.T, m *machine) string {
			m.put(t, "etc/systemd/system/a.service", "")
			if err := os.Chmod(m.path("etc/systemd/system/a.service"), 0); err != nil {
				t.Fatal(err)
			}
			return "etc/systemd/system/a.service"
		}, false},
		{"a directory without the right to read it", func(t *testing.T, m *machine) string {
			m.put(t, "etc/gm/shop/a.env", "")
			if err := os.Chmod(m.path("etc/gm/shop"), 0); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(m.path("etc/gm/shop"), 0o700) })
			return "etc/gm/shop"
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !c.root && os.Geteuid() == 0 {
				t.Skip("root may read everything")
			}
			m := newMachine(t)
			path := m.path(c.spoil(t, m))
			_, err := Observe(context.Background(), m, "shop", Brief)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("the error is %v, want one about %s", err, path)
			}
			if errors.Is(err, fs.ErrPermission) != errors.Is(err, ErrDenied) {
				t.Errorf("the error %v does not say that it is about rights", err)
			}
		})
	}
}

func TestStateSet(t *testing.T) {
	set := compileSet(t, declared(worker, web, watched), secretFiles)
	s := installedState(t, set)
	for i, u := range s.Set() {
		if got, want := string(units.Render(u)), string(units.Render(set[i])); got != want {
			t.Errorf("%s is read as\n%s\nwant\n%s", set[i].Name, got, want)
		}
	}
	wantEqual(t, "links", Links(s.Set()), Links(set))
	if &s.Set()[0] != &s.Set()[0] {
		t.Error("the files are parsed each time")
	}
}

func TestStateBase(t *testing.T) {
	set := compileSet(t, declared(worker))
	base := installedState(t, set).Base("shop")
	for name, c := range map[string]struct {
		change func(s *State)
		same   bool
	}{
		"what runs":  {func(s *State) { clear(s.Units) }, true},
		"drop-ins":   {func(s *State) { s.DropIns["worker.service"] = []string{"/x"} }, true},
		"a text":     {func(s *State) { s.Files[0].Text = append(s.Files[0].Text, '#') }, false},
		"a file":     {func(s *State) { s.Files = s.Files[1:] }, false},
		"a link":     {func(s *State) { s.Links = s.Links[1:] }, false},
		"other ones": {func(s *State) { s.Links = append(s.Links, Link{"x.target", "x.service"}) }, true},
	} {
		s := installedState(t, set)
		c.change(s)
		if got := s.Base("shop") == base; got != c.same {
			t.Errorf("%s: the base is the same: %v, want %v", name, got, c.same)
		}
	}
}

func TestConflicts(t *testing.T) {
	m := newMachine(t)
	m.install(t, "shop", compileSet(t, declared(worker)))
	m.install(t, "my blog", compileSet(t, declared(`{"name": "blog", "script": "b.js"}`), blog))
	foreign := "[Service]\nExecStart=/bin/true\n"
	for path, text := range map[string]string{
		"etc/systemd/system/api.service":                     foreign,
		"run/systemd/transient/t.service":                    foreign,
		"run/systemd/generator/g.service":                    foreign,
		"run/systemd/system/r.service":                       foreign,
		"usr/local/lib/systemd/system/l.service":             foreign,
		"usr/lib/systemd/system/v.service":                   foreign,
		"usr/lib/systemd/system/web@1.service":               foreign,
		"usr/lib/systemd/system/web@9.service":               foreign,
		"usr/lib/systemd/system/worker.service.d/x.conf":     foreign,
		"usr/lib/systemd/system/not-ours.service":            foreign,
		"etc/systemd/system/multi-user.target.wants/d.timer": foreign,
	} {
		m.put(t, path, text)
	}
	m.link(t, "usr/lib", "lib")
	m.link(t, "/dev/null", "etc/systemd/system/masked.service")
	m.link(t, "/usr/lib/systemd/system/nginx.service", "etc/systemd/system/alias.service")
	m.link(t, "v.service", "usr/lib/systemd/system/aka.service")
	m.link(t, "/opt/linked.service", "etc/systemd/system/linked.service")
	if err := os.Mkdir(m.path("etc/systemd/system/dir.service"), 0o755); err != nil {
		t.Fatal(err)
	}
	var apps []string
	for _, name := range []string{"blog", "api", "t", "g", "r", "l", "v", "masked", "alias", "aka", "linked", "dir", "free"} {
		apps = append(apps, fmt.Sprintf(`{"name": %q, "script": "a.js"}`, name))
	}
	got, err := Conflicts(m.dirs, compileSet(t, declared(append(apps, web, worker)...)), "shop")
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].Path = strings.TrimPrefix(got[i].Path, m.path("")+"/")
	}
	wantEqual(t, "conflicts", got, []Conflict{
		{"aka.service", "lib/systemd/system/aka.service", "an alias of v.service"},
		{"alias.service", "etc/systemd/system/alias.service", "an alias of nginx.service"},
		{"api.service", "etc/systemd/system/api.service", "it does not bear gm's mark"},
		{"blog.service", "etc/systemd/system/blog.service", "it belongs to project my blog"},
		{"dir.service", "etc/systemd/system/dir.service", "a directory"},
		{"g.service", "run/systemd/generator/g.service", "a unit that a generator made"},
		{"l.service", "usr/local/lib/systemd/system/l.service", "a unit of the machine's administrator"},
		{"linked.service", "etc/systemd/system/linked.service", "a link to /opt/linked.service"},
		{"masked.service", "etc/systemd/system/masked.service", "the unit is masked"},
		{"r.service", "run/systemd/system/r.service", "a unit that lasts until the next boot"},
		{"t.service", "run/systemd/transient/t.service", "a transient unit"},
		{"v.service", "lib/systemd/system/v.service", "a unit of the operating system"},
		{"web@1.service", "lib/systemd/system/web@1.service", "a unit of the operating system"},
	})
	got, err = Conflicts(newMachine(t).dirs, compileSet(t, declared(worker)), "shop")
	if err != nil || len(got) > 0 {
		t.Errorf("on an empty machine: %v, %v", got, err)
	}
}

// BenchmarkObserve reads 500 apps with three files each.
func BenchmarkObserve(b *testing.B) {
	m := newMachine(b)
	var apps []string
	for i := range 250 {
		apps = append(apps, fmt.Sprintf(`{"name": "app-%03d", "script": "a.js", "env": {"PORT": %d}}`, i, i),
			fmt.Sprintf(`{"name": "web-%03d", "script": "a.js", "instances": 2, "env": {"PORT": %d}, "cron_restart": "0 3 * * *"}`, i, i))
	}
	set := compileSet(b, declared(strings.Join(apps, ",\n")), secretFiles)
	m.install(b, "shop", set)
	for b.Loop() {
		s, err := Observe(context.Background(), m, "shop", Brief)
		if err != nil || len(s.Files) != len(set) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(set)), "files")
}
