package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gm/testbed"
	"gm/translate"
)

// TestBooted has a real systemd run what gm makes of declarations. Its parts
// share one machine, booted from the suite $GM_SUITE; each has projects, and so
// directories and units, of its own.
func TestBooted(t *testing.T) {
	b := bootMachine(t)
	for _, part := range []struct {
		name string
		run  func(*booted)
	}{
		{"SeedRuns", bootSeed},
		{"RestartFollowsExit", bootRestart},
		{"BackoffGrows", bootBackoff},
		{"CronRestarts", bootCron},
		{"StopBeatsCron", bootCronStop},
		{"MemoryLimited", bootMemory},
		{"BytesArrive", bootBytes},
		{"SecretBytesArrive", bootSecretBytes},
		{"PlacesMayBeOdd", bootPlaces},
		{"LogsGoToFiles", bootLogs},
		{"PidFileLives", bootPidFile},
		{"UserSet", bootUser},
		{"StampedLogsHavePipes", bootStamps},
		{"StopEndsAll", bootStop},
		{"ReadyAwaited", bootReady},
		{"DependenciesOrdered", bootDepends},
		{"AutostartObeyed", bootAutostart},
		{"LinksAreMembership", bootMembership},
		{"LiveChangesApply", bootLive},
		{"LiveTimesApply", bootLiveTimer},
		{"InstancesDiffer", bootInstances},
		{"SecretInstancesDiffer", bootSecretCount},
		{"ListenersShared", bootListeners},
		{"SystemdKeysApply", bootSystemdKeys},
		{"HardenedAppsWork", bootHardening},
		{"UserManagerRuns", bootUserManager},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(b.in(t)) })
	}
	t.Run("NoComplaints", func(t *testing.T) { checkComplaints(b.in(t)) })
}

// booted is the machine of TestBooted, bound to the part of the test that uses
// it.
type booted struct {
	*testbed.Machine
	t    *testing.T
	host translate.Host
}

// in is b for a subtest.
func (b *booted) in(t *testing.T) *booted { return &booted{b.For(t), t, b.host} }

// gmPath is where gm lies inside.
const gmPath = "/usr/local/bin/gm"

func bootMachine(t *testing.T) *booted {
	m := testbed.Boot(t, testbed.Options{})
	m.InstallNode()
	b := &booted{Machine: m, t: t}
	goBuild(t, "./cmd/gm", b.hostPath(gmPath))
	goBuild(t, "./golden/testdata/boot/probe", b.hostPath("/share/probe"))
	b.host = translate.Host{
		CPUs: 4, Systemd: m.Version(), Scope: translate.ScopeSystem, Home: "/root", Gm: gmPath,
		Versions: map[string]string{"/usr/bin/node": strings.TrimSpace(m.Must("/usr/bin/node", "-p", "process.versions.node"))},
		Probe:    translate.Probe{Program: b.program, File: b.file},
	}
	return b
}

// goBuild builds a package of this module, free of C libraries, so that it runs
// in every suite.
func goBuild(t *testing.T, pkg, target string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", target, pkg)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot build %s: %v\n%s", pkg, err, out)
	}
}

// hostPath is where a path of the machine lies on the host.
func (b *booted) hostPath(name string) string {
	if rest, ok := strings.CutPrefix(name, "/share/"); ok {
		return filepath.Join(b.Share(), rest)
	}
	return filepath.Join(b.Root(), name)
}

// program looks a command up on the machine's PATH.
func (b *booted) program(name string) string {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
		if info, err := os.Stat(b.hostPath(filepath.Join(dir, name))); err == nil && info.Mode().IsRegular() {
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// file says what is at a path of the machine.
func (b *booted) file(name string) translate.FileKind {
	info, err := os.Stat(b.hostPath(name))
	switch {
	case err != nil:
		return translate.FileMissing
	case info.IsDir():
		return translate.FileDir
	}
	text, _ := os.ReadFile(b.hostPath(name))
	if strings.HasPrefix(string(text), "\x7fELF") {
		return translate.FileBinary
	}
	if line, _, _ := strings.Cut(string(text), "\n"); strings.HasPrefix(line, "#!") {
		return translate.FileKind(line)
	}
	return translate.FileText
}

// properties returns those properties of each unit, in the order of the units.
func (b *booted) properties(names string, units ...string) []map[string]string {
	b.t.Helper()
	out := b.Must(append([]string{"systemctl", "show", "--property=" + names, "--"}, units...)...)
	blocks := strings.Split(strings.TrimRight(out, "\n"), "\n\n")
	if len(blocks) != len(units) {
		b.t.Fatalf("systemctl shows %d units of %q:\n%s", len(blocks), units, out)
	}
	all := make([]map[string]string, len(blocks))
	for i, block := range blocks {
		all[i] = map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			all[i][key] = value
		}
	}
	return all
}

// property returns one property of one unit.
func (b *booted) property(name, unit string) string {
	b.t.Helper()
	return b.properties(name, unit)[0][name]
}

// awaitState waits until a unit is active, inactive, failed, ….
func (b *booted) awaitState(unit, state string) {
	b.t.Helper()
	b.Wait(unit+" to be "+state, func() bool { return b.property("ActiveState", unit) == state })
}

// alive reports whether a process is there and has not ended.
func (b *booted) alive(pid string) bool {
	out, err := b.Run(b.t.Context(), "ps", "-o", "stat=", "-p", pid)
	return err == nil && !strings.HasPrefix(out, "Z")
}

// environ returns the environment of a process.
func (b *booted) environ(pid string) map[string]string {
	b.t.Helper()
	return splitEnviron(b.Must("cat", "/proc/"+pid+"/environ"))
}

func splitEnviron(raw string) map[string]string {
	env := map[string]string{}
	for _, assignment := range strings.Split(strings.TrimSuffix(raw, "\x00"), "\x00") {
		name, value, _ := strings.Cut(assignment, "=")
		env[name] = value
	}
	return env
}

// cgroup returns the control group of a process, in the machine's own view.
func (b *booted) cgroup(pid string) string {
	b.t.Helper()
	return strings.TrimPrefix(strings.TrimSpace(b.Must("grep", "^0:", "/proc/"+pid+"/cgroup")), "0::")
}

// checkComplaints fails the test for what systemd had to say about unit files, but
// for a bad one that shows that it would have said it.
func checkComplaints(b *booted) {
	const bad = "/etc/systemd/system/bad.service"
	if err := os.WriteFile(b.hostPath(bad), []byte("[Service]\nExecStart=/bin/true\nNyce=5\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.Must("systemctl", "daemon-reload")
	b.Must("systemctl", "start", "bad.service")
	complained := false
	for _, text := range b.complaints() {
		if strings.HasPrefix(text, bad+":3: ") {
			complained = true
			continue
		}
		b.t.Errorf("systemd complains: %s", text)
	}
	if !complained {
		b.t.Error("systemd has nothing to say about a bad unit")
	}
}

// placeInUnit matches a line like "/etc/systemd/system/web.service:7: Unknown key".
var placeInUnit = regexp.MustCompile(`^/[^ ]*/systemd/(system|user)/`)

// complaints returns the lines in which PID 1 or a user's manager names a place in
// a unit file.
func (b *booted) complaints() (all []string) {
	b.t.Helper()
	b.Must("journalctl", "--sync")
	for line := range strings.Lines(b.Must("journalctl", "-q", "--all", "-o", "json", "--output-fields=MESSAGE,CONFIG_FILE", "_COMM=systemd")) {
		var entry struct {
			Message    any    `json:"MESSAGE"` // a list of numbers when it is not text
			ConfigFile string `json:"CONFIG_FILE"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			b.t.Fatalf("%v in %s", err, line)
		}
		text := fmt.Sprint(entry.Message)
		if entry.ConfigFile != "" || placeInUnit.MatchString(text) {
			all = append(all, text)
		}
	}
	return all
}
