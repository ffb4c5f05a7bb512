package units

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
)

// nobody is who systemd --test runs as: it refuses to run as root.
const nobody = 65534

// arrives are the texts that must reach a program byte for byte.
var arrives = append([]string{"'single'", `"double"`, "`x`", "a;b", "; ls", "&& ls", "|", ">", "$(id)", "!x", "a\\\nb", `\x41`, `\u00e9`, "%%i", "%h%",
	"日本語", "x\ty", "\v\f\a\b\x1b", strings.Repeat("long ", 20000)}, nasty...)

// TestSystemdReadsWhatWasMeant proves the quoting of commands, environments and
// raw lines: systemd --test loads a unit without running it and prints what it
// understood.
func TestSystemdReadsWhatWasMeant(t *testing.T) {
	binary := requireTool(t, systemdBinary())
	argv := []Spec{"/usr/bin/my program", "instance-%i"}
	wantArgv := []string{"/usr/bin/my program", "instance-7"}
	u := Unit{Name: "gm-test@.service"}
	add := func(section, key string, v Value, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		u.Directives = append(u.Directives, Directive{Section: section, Key: key, Value: v})
	}
	text, err := NewText("100%% of " + Escape(`"it's" \ %i $x; # é`) + " %i")
	add("Unit", "Description", text, err)
	path, err := NewPath(Escape(`/srv/my "app" %i $x; \ # é`))
	add("Service", "WorkingDirectory", path, err)
	var wantEnv strings.Builder
	for i, s := range arrives {
		name := "V" + strconv.Itoa(i)
		assign, err := NewAssign(name, Escape(s))
		add("Service", "Environment", assign, err)
		wantEnv.WriteString("\t\tEnvironment: " + name + "=" + s + "\n")
		argv = append(argv, Escape(s))
		wantArgv = append(wantArgv, strings.ReplaceAll(s, "$", "$$")) // halved when the program starts
	}
	command, err := NewCommand("-", argv)
	add("Service", "ExecStart", command, err)
	add("Service", "RestartSec", Span(90e9), nil)
	add("Service", "MemoryMax", Bytes(300<<20), nil)

	dump := systemdDump(t, binary, u, "gm-test@7.service")
	for _, want := range []string{
		`Description: 100% of "it's" \ %i $x; # é 7` + "\n",
		`WorkingDirectory: /srv/my "app" %i $x; \ # é` + "\n",
		wantEnv.String(),
		"RestartSec: 1min 30s\n",
		"MemoryMax: 314572800\n",
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("systemd did not read %q", want)
		}
	}
	_, line, _ := strings.Cut(dump, "Command Line: ")
	line, _, _ = strings.Cut(line, "\n")
	if diff := cmp.Diff(wantArgv, unquoteDump(t, line)); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if t.Failed() {
		t.Logf("systemd said:\n%s", dump)
	}
}

// systemdDump returns what systemd prints of the unit that it loads from u's
// file.
func systemdDump(t *testing.T, binary string, u Unit, instance string) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := filepath.Join(dir, "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, u.Name), Render(u), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "--test", "--user", "--unit="+instance)
	command.Env = []string{"SYSTEMD_UNIT_PATH=" + dir + ":", "XDG_RUNTIME_DIR=" + run, "HOME=" + dir, "PATH=/usr/bin:/bin", "SYSTEMD_UTF8=0"}
	if os.Getuid() == 0 {
		if err := os.Chown(run, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, &out)
	}
	_, dump, found := strings.Cut(out.String(), "-> Unit "+instance+":\n")
	if !found {
		t.Fatalf("systemd did not load %s:\n%s", instance, &out)
	}
	if end := strings.Index(dump, "\n\t-> Unit "); end >= 0 {
		dump = dump[:end+1]
	}
	return dump
}

// unquoteDump splits a line as systemd prints commands and variables:
// shell_maybe_quote of its escape.c.
func unquoteDump(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	for line != "" {
		var word []byte
		i, quoted := 0, line[0] == '"'
		if quoted {
			i++
		}
		for ; i < len(line); i++ {
			c := line[i]
			if quoted && c == '"' || !quoted && c == ' ' {
				break
			}
			if quoted && c == '\\' && i+1 < len(line) {
				i++
				if strings.IndexByte("`$!", line[i]) >= 0 {
					c = line[i]
				} else {
					out, n, err := unescape(nil, line[i:])
					if err != nil {
						t.Fatalf("systemd wrote %q: %v", line[i-1:min(len(line), i+9)], err)
					}
					c, i = out[0], i+n-1
				}
			}
			word = append(word, c)
		}
		if quoted {
			i = min(i+1, len(line))
		}
		words = append(words, string(word))
		line = strings.TrimPrefix(line[i:], " ")
	}
	return words
}

// TestSystemdReadsEnvironmentFiles proves the quoting of environment files with
// the generator that reads environment.d(5): systemd's one reader for such
// files that can be run without a service. It expands variables in addition,
// so that a dollar sign is doubled here.
func TestSystemdReadsEnvironmentFiles(t *testing.T) {
	generator := requireTool(t, "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "environment.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := Unit{Name: "gm-test.env"}
	want := map[string]string{}
	for i, s := range arrives {
		if s == "" {
			continue // the generator drops it, a service gets it
		}
		name := "V" + strconv.Itoa(i)
		v, err := NewFileAssign(name, strings.ReplaceAll(s, "$", "$$"))
		if err != nil {
			t.Fatal(err)
		}
		want[name] = s
		env.Directives = append(env.Directives, Directive{Key: name, Value: v})
	}
	if err := os.WriteFile(filepath.Join(dir, "environment.d", "gm.conf"), Render(Seal(env, "shop", "web")), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(generator)
	command.Env = []string{"XDG_CONFIG_HOME=" + dir, "HOME=" + dir}
	got := map[string]string{}
	for line := range strings.Lines(output(t, command)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, ours := want[name]; ours {
			got[name] = strings.Join(unquoteDump(t, value), "<two words>")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

// TestSystemdReadsSpans compares with systemd-analyze timespan, which prints
// microseconds.
func TestSystemdReadsSpans(t *testing.T) {
	analyze := requireTool(t, "systemd-analyze")
	for _, text := range []string{"0", "100ms", "1s 600ms", "1min 30s", "1.6", "1.0000019s", "2h3us", "1d 1w 1M 1y", "0.5m .5s", "3 weeks 2 days"} {
		span, err := parseSpan(text)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, text := range []string{text, Encode(span)} {
			want := strconv.FormatInt(int64(span)/1000, 10)
			if got := output(t, exec.Command(analyze, "timespan", text)); !strings.Contains(got, "s: "+want+"\n") {
				t.Errorf("%q is %s microseconds for gm; systemd says:\n%s", text, want, got)
			}
		}
	}
}

// TestVerifyHasNothingToSay runs systemd-analyze verify on a unit with one
// directive of every kind: it exits with 0 whatever it ignores, but not
// silently.
func TestVerifyHasNothingToSay(t *testing.T) {
	analyze := requireTool(t, "systemd-analyze")
	u := Seal(testUnit(t), "shop", "web")
	for i, d := range u.Directives {
		switch d.Key {
		case "ExecStart": // verify looks for the program
			d.Value = Command{Argv: append([]Spec{"/bin/true"}, d.Value.(Command).Argv[1:]...)}
			u.Directives[i] = d
		case "User":
			u.Directives[i].Value = Word("root")
		}
	}
	file := filepath.Join(t.TempDir(), u.Name)
	if err := os.WriteFile(file, Render(u), 0o644); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(filepath.Dir(file), "web.target")
	if err := os.WriteFile(target, []byte("[Unit]\nDescription=web\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--recursive-errors=no", file).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s\nof:\n%s", err, out, Render(u))
	}
}

// TestAnotherReaderAgrees reads a unit with go-systemd, which knows nothing of
// quoting: sections, keys and texts are the same.
func TestAnotherReaderAgrees(t *testing.T) {
	u := Seal(testUnit(t), "shop", "web")
	got, err := unit.DeserializeOptions(bytes.NewReader(Render(u)))
	if err != nil {
		t.Fatal(err)
	}
	var want []*unit.UnitOption
	for _, d := range u.Directives {
		want = append(want, unit.NewUnitOption(d.Section, d.Key, Encode(d.Value)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}
