package golden

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gm/diag"
	"gm/translate"
	"gm/units"
)

// TestVerify has systemd itself read every golden: systemd-analyze verify may
// not say a word, as it exits 0 on keys that it does not know or cannot read.
func TestVerify(t *testing.T) {
	version := analyzer(t)
	for _, g := range loadAll(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if g.options.Host.Systemd > version {
				g.options.Host.Systemd = version // the host cannot judge newer units
			}
			set, diagnostics := g.compile()
			for _, d := range diagnostics {
				if d.Severity == diag.Error || d.Code == units.CodeTooNew {
					t.Skip("the case is about what systemd does not take")
				}
			}
			if out := verify(t, set, g.options.Host.Scope); out != "" {
				t.Errorf("systemd-analyze verify:\n%s", out)
			}
		})
	}
}

// oldestAnalyzer is the first systemd whose verify has --recursive-errors=.
const oldestAnalyzer = 250

// analyzer returns the version of systemd-analyze, and skips without it unless
// GM_REQUIRE_SYSTEMD=1.
func analyzer(t *testing.T) int {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("GM_REQUIRE_SYSTEMD") == "1" {
		missing = t.Fatalf
	}
	out, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil {
		missing("cannot run systemd-analyze: %v", err)
	}
	found := regexp.MustCompile(`^systemd (\d+)`).FindSubmatch(out)
	if found == nil {
		missing("systemd-analyze --version says %q", out)
	}
	version, _ := strconv.Atoi(string(found[1]))
	if version < oldestAnalyzer {
		missing("systemd-analyze %d is older than %d", version, oldestAnalyzer)
	}
	return version
}

// verify returns what systemd has to say about the units. They are put into a
// directory of their own, and where they name a program there is another one in
// its place: systemd wants programs to exist.
func verify(t *testing.T, set units.Set, scope string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"verify", "--recursive-errors=no", "--man=no", "--" + scope}
	for _, u := range set {
		file := filepath.Join(dir, u.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, units.Render(relocate(u)), 0o644); err != nil {
			t.Fatal(err)
		}
		if instance, _, dropIn := strings.Cut(file, ".d/"); dropIn {
			args = append(args, instance)
		} else if !units.IsEnvFile(u.Name) {
			args = append(args, file)
		}
	}
	cmd := exec.Command("systemd-analyze", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "SYSTEMD_LOG_COLOR=0", "SYSTEMD_UNIT_PATH=" + dir, "XDG_RUNTIME_DIR=" + dir}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		return err.Error()
	}
	return strings.ReplaceAll(string(out), dir+"/", "")
}

// relocate returns u with /bin/true for each absolute program.
func relocate(u units.Unit) units.Unit {
	u.Directives = slices.Clone(u.Directives)
	for i := range u.Directives {
		if c, ok := u.Directives[i].Value.(units.Command); ok {
			c.Argv = slices.Clone(c.Argv)
			c.Argv[0] = "/bin/true"
			u.Directives[i].Value = c
		}
	}
	return u
}

// TestCalendar has systemd read every OnCalendar= line, and find nothing in it
// to normalize.
func TestCalendar(t *testing.T) {
	analyzer(t)
	var lines []string
	for _, g := range loadAll(t) {
		set, _ := g.compile()
		for _, u := range set {
			for _, d := range u.Directives {
				if c, ok := d.Value.(units.Calendar); ok && !slices.Contains(lines, c.String()) {
					lines = append(lines, c.String())
				}
			}
		}
	}
	out, err := exec.Command("systemd-analyze", append([]string{"calendar", "--"}, lines...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze calendar: %v\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "Original form:") {
			t.Errorf("systemd would write it otherwise: %s", strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 {
		t.Error("no golden has a timer")
	}
}

// TestVerifySpeaks shows that its silence means something.
func TestVerifySpeaks(t *testing.T) {
	analyzer(t)
	command := units.Directive{Section: "Service", Key: "ExecStart", Value: units.Command{Argv: []units.Spec{"/usr/bin/true"}}}
	for _, bad := range []units.Directive{
		{Section: "Service", Key: "Nyce", Value: units.Raw("5")},
		{Section: "Service", Key: "Restart", Value: units.Raw("sometimes")},
		{Section: "Service", Key: "Environment", Value: units.Raw(`A=\q`)},
		{Section: "Service", Key: "WorkingDirectory", Value: units.Raw(`"/srv/my shop"`)},
	} {
		for _, set := range []units.Set{
			{{Name: "web.service", Directives: []units.Directive{command, bad}}},
			{{Name: "web@.service", Directives: []units.Directive{command, bad}}},
			{{Name: "web@.service", Directives: []units.Directive{command}}, {Name: "web@0.service.d/10.conf", Directives: []units.Directive{bad}}},
		} {
			if verify(t, set, translate.ScopeSystem) == "" {
				t.Errorf("verify takes %s=%s in %s", bad.Key, units.Encode(bad.Value), set[len(set)-1].Name)
			}
		}
	}
	absent := units.Directive{Section: "Service", Key: "ExecStartPre", Value: units.Raw("/usr/bin/absent")}
	if verify(t, units.Set{{Name: "web.service", Directives: []units.Directive{command, absent}}}, translate.ScopeSystem) == "" {
		t.Error("verify takes a program that is not there")
	}
}
