package golden

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gm/diag"
	"gm/translate"
	"gm/units"
)

// project is a declaration that was compiled and installed on the machine. Its
// directory is /share/NAME, which the test sees as dir.
type project struct {
	*booted
	name    string
	dir     string
	options translate.Options
	set     units.Set
}

// newProject makes a project's directory, with the apps of testdata/boot in it.
func (b *booted) newProject(name string) *project {
	b.t.Helper()
	p := &project{booted: b, name: name, dir: filepath.Join(b.Share(), name), options: translate.Options{Host: b.host}}
	p.options.Host.Root = "/share/" + name
	p.copyFiles("testdata/boot")
	b.t.Cleanup(p.remove)
	return p
}

// in is p for a subtest.
func (p *project) in(t *testing.T) *project {
	q := *p
	q.booted = p.booted.in(t)
	return &q
}

// sub runs a part of the test as a subtest.
func (p *project) sub(name string, part func(*project)) {
	p.t.Run(name, func(t *testing.T) { part(p.in(t)) })
}

// install compiles a declaration and installs its units as an administrator
// would.
func (p *project) install(declaration string) {
	p.t.Helper()
	p.write("processes.json", declaration)
	set, diagnostics := translate.Compile(diag.NewSource("processes.json", []byte(declaration)), p.options)
	if diagnostics.HasErrors() {
		var text bytes.Buffer
		diag.Print(&text, diagnostics, diag.Style{})
		p.t.Fatalf("gm refuses the declaration of %s:\n%s", p.name, text.String())
	}
	p.set = set
	for _, u := range set {
		file, mode := p.unitFile(u.Name), os.FileMode(0o644)
		if units.IsEnvFile(u.Name) {
			mode = 0o600
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(file, units.Render(u), mode); err != nil {
			p.t.Fatal(err)
		}
	}
	p.Must("systemctl", "daemon-reload")
}

// unitFile is the host's path of a file of the project's units.
func (p *project) unitFile(name string) string {
	if units.IsEnvFile(name) {
		return p.hostPath("/etc/gm/" + p.name + "/" + name)
	}
	return p.hostPath("/etc/systemd/system/" + name)
}

// remove stops the project and removes its units, which would cost the parts of
// the test after it time.
func (p *project) remove() {
	if len(p.set) == 0 {
		return
	}
	p.stop()
	p.Must("systemctl", "disable", "--quiet", p.target())
	for _, u := range p.set {
		if err := os.Remove(p.unitFile(u.Name)); err != nil {
			p.t.Error(err)
		}
	}
}

// checkLoaded asks systemd how it loaded the units. Of units that are not
// started it loads the whole project anew for each.
func (p *project) checkLoaded() {
	p.t.Helper()
	names := p.loadable()
	for i, got := range p.properties("LoadState,LoadError,NeedDaemonReload", names...) {
		// An error is two strings, the first its name.
		if message := strings.Trim(got["LoadError"], `" `); got["LoadState"] != "loaded" || message != "" || got["NeedDaemonReload"] != "no" {
			p.t.Errorf("%s is not loaded well: %v", names[i], got)
		}
	}
}

// loadable lists the project's units as systemd knows them: a template by its
// first instance.
func (p *project) loadable() []string {
	var names []string
	for _, u := range p.set {
		if !units.IsEnvFile(u.Name) && !strings.Contains(u.Name, "/") {
			names = append(names, strings.Replace(u.Name, "@.", "@0.", 1))
		}
	}
	return names
}

// target is the unit that all apps of the project hang on.
func (p *project) target() string { return "gm-" + p.name + ".target" }

// enable starts the project, now and at every boot, and sees that every unit was
// loaded well.
func (p *project) enable() {
	p.t.Helper()
	p.Must("systemctl", "enable", "--now", "--quiet", p.target())
	p.checkLoaded()
}

// stop stops the project's target and waits for the end of every process. The
// target itself is down before the apps that it stops.
func (p *project) stop() {
	p.t.Helper()
	p.Must("systemctl", "stop", p.target())
	p.Wait("every process of "+p.name+" to end", func() bool {
		// There are no events of a group that is gone.
		events, _ := p.Run(p.t.Context(), "cat", p.slice()+"/cgroup.events")
		return !strings.Contains(events, "populated 1")
	})
}

// slice is the directory of the control group of all apps of the project.
func (p *project) slice() string {
	return "/sys/fs/cgroup/gm.slice/gm-" + strings.ReplaceAll(p.name, "-", "_") + ".slice"
}

// copyFiles copies the files of a host directory beside the declaration.
func (p *project) copyFiles(from string) {
	p.t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			text, err := os.ReadFile(filepath.Join(from, e.Name()))
			if err != nil {
				p.t.Fatal(err)
			}
			p.write(e.Name(), string(text))
		}
	}
}

// write makes a file in the project's directory.
func (p *project) write(name, text string) {
	p.t.Helper()
	file := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

// read returns the content of a file in the project's directory, "" as long as
// there is none.
func (p *project) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(p.dir, name))
	return string(text)
}

// has reports whether there is a file in the project's directory.
func (p *project) has(name string) bool {
	_, err := os.Lstat(filepath.Join(p.dir, name))
	return err == nil
}

// awaitText waits for a file of the project to hold a text.
func (p *project) awaitText(name, want string) {
	p.t.Helper()
	p.Wait(path.Join(p.name, name)+" to hold "+want, func() bool { return p.read(name) == want })
}

// start is one start of an app as app.sh noted it.
type start struct {
	pid string
	at  float64 // seconds
}

// starts returns the starts that app.sh noted under a name.
func (p *project) starts(name string) (all []start) {
	p.t.Helper()
	for line := range strings.Lines(p.read(name + ".starts")) {
		pid, at, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			p.t.Fatalf("%s.starts has the line %q", name, line)
		}
		all = append(all, start{pid, seconds(p.t, at)})
	}
	return all
}

// awaitStarts waits until an app has been started that many times.
func (p *project) awaitStarts(name string, least int) []start {
	p.t.Helper()
	var all []start
	p.Wait(name+" to be started often enough", func() bool { all = p.starts(name); return len(all) >= least })
	return all
}

// journal returns the lines that a syslog identifier wrote.
func (p *project) journal(identifier string) []string {
	p.t.Helper()
	out := p.Must("journalctl", "-q", "-o", "cat", "SYSLOG_IDENTIFIER="+identifier)
	return slices.DeleteFunc(strings.Split(out, "\n"), func(line string) bool { return line == "" })
}
