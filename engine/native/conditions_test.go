package native

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConditions(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"empty": "", "full": "x", "sub/file": "x"} {
		if err := os.MkdirAll(filepath.Dir(in(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(in("full"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": in("sub"), "broken": in("none")} {
		if err := os.Symlink(target, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(in("bare"), 0o755); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", in("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	host, _ := os.Hostname()

	for _, test := range []struct {
		key, value string
		want       bool
	}{
		{"PathExists", in("full"), true},
		{"PathExists", in("none"), false},
		{"PathExists", in("broken"), false},
		{"PathExistsGlob", in("f*l"), true},
		{"PathExistsGlob", in("g*"), false},
		{"PathIsDirectory", in("link"), true},
		{"PathIsDirectory", in("full"), false},
		{"PathIsSymbolicLink", in("link"), true},
		{"PathIsSymbolicLink", in("sub"), false},
		{"PathIsSocket", in("s"), true},
		{"PathIsSocket", in("full"), false},
		{"PathIsMountPoint", "/", true},
		{"PathIsMountPoint", in("sub"), false},
		{"PathIsMountPoint", in("none"), false},
		{"PathIsReadWrite", in("sub"), true},
		{"PathIsReadWrite", in("none"), false},
		{"DirectoryNotEmpty", in("sub"), true},
		{"DirectoryNotEmpty", in("bare"), false},
		{"FileNotEmpty", in("full"), true},
		{"FileNotEmpty", in("empty"), false},
		{"FileNotEmpty", in("sub"), false},
		{"FileIsExecutable", in("full"), true},
		{"FileIsExecutable", in("empty"), false},
		{"FileIsExecutable", in("sub"), false},
		{"User", strconv.Itoa(os.Getuid()), true},
		{"User", "no-such-user", false},
		{"User", "@system", os.Getuid() < 1000},
		{"Group", strconv.Itoa(os.Getgid()), true},
		{"Group", "no-such-group", false},
		{"Host", host, true},
		{"Host", host[:1] + "*", true},
		{"Host", "no-such-host", false},
		{"Architecture", "native", true},
		{"Architecture", architecture(), true},
		{"Architecture", "cris", false},
		{"CPUs", "1", true},
		{"CPUs", "= " + strconv.Itoa(runtime.NumCPU()), true},
		{"CPUs", ">1000", false},
		{"CPUs", "many", false},
		{"Memory", ">= 1M", true},
		{"Memory", "<1M", false},
		{"KernelVersion", ">=1.0 <1000", true},
		{"KernelVersion", "< 2.0", false},
		{"KernelVersion", kernelRelease()[:1] + "*", true},
		{"KernelVersion", "!$=" + kernelRelease(), false},
		{"OSRelease", "NO_SUCH_FIELD=x", false},
		{"KernelCommandLine", "no-such-option", false},
		{"FirstBoot", "no", true},
		{"FirstBoot", "yes", false},
		{"ACPower", "yes", onMains()},
		{"Virtualization", "container", container() != ""},
		{"Virtualization", "no-such-one", false},
	} {
		if got := holds(condition{key: test.key, value: test.value}); got != test.want {
			t.Errorf("Condition%s=%s is %t", test.key, test.value, got)
		}
		if got := holds(condition{key: test.key, value: test.value, negate: true}); got == test.want {
			t.Errorf("Condition%s=!%s is %t", test.key, test.value, got)
		}
	}
}

// rules.go says which conditions are evaluated.
func TestConditionsAreThoseOfTheRules(t *testing.T) {
	for key := range strings.FieldsSeq(testedConditions) {
		if conditionTests[key] == nil {
			t.Errorf("Condition%s= is not evaluated", key)
		}
	}
	if got, want := len(conditionTests), len(strings.Fields(testedConditions)); got != want {
		t.Errorf("%d conditions are evaluated and %d are in the rules", got, want)
	}
}

func TestConditionLines(t *testing.T) {
	l := mustLoad(t, home(t, `
-- a.service --
[Unit]
ConditionPathExists=/gone
ConditionHost=
ConditionPathExists=!/a %%
ConditionUser=| root
AssertPathIsDirectory=|!/%p
ConditionFileNotEmpty=relative
ConditionSecurity=selinux
[Service]
ExecStart=/bin/a
`), false, nil)
	d := mustFind(t, l, "a.service")
	want := []condition{
		{key: "PathExists", value: "/a %", negate: true}, {key: "User", value: "root", trigger: true},
		{key: "PathIsDirectory", value: "/a", trigger: true, negate: true},
	}
	if diff := cmp.Diff(d.conditions, want, compareAll); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if len(d.notes) != 2 {
		t.Errorf("notes: %q", d.notes)
	}
}

// systemd.unit(5): all that have no "|" must hold, and of the others one.
func TestAllHold(t *testing.T) {
	for _, test := range []struct {
		lines string // "1" holds, "0" does not
		want  bool
	}{
		{"", true}, {"1", true}, {"0", false}, {"1 0", false}, {"|0", false}, {"|0 |1", true}, {"|1 |0", true}, {"1 |0", false},
		{"0 |1", false}, {"|1 0", false}, {"1 |0 |1", true},
	} {
		var list []condition
		for word := range strings.FieldsSeq(test.lines) {
			value, trigger := strings.CutPrefix(word, "|")
			list = append(list, condition{value: value, trigger: trigger})
		}
		if got := allHold(list, func(c condition) bool { return c.value == "1" }); got != test.want {
			t.Errorf("%q: %t", test.lines, got)
		}
	}
}

// The order is the one of the UAPI group's version format.
func TestCompareVersions(t *testing.T) {
	ordered := []string{"~1", "", "ab", "abb", "abc", "0001", "002", "12", "122", "122.9", "123~rc1", "123", "123-a", "123-a.1", "123^patch1", "123^1",
		"123.a-1", "123.1-1", "123a-1", "124-1"}
	for i := range ordered {
		for j := range ordered {
			got := compareVersions(ordered[i], ordered[j])
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s against %s: %d", ordered[i], ordered[j], got)
			}
		}
	}
	sorted := slices.Clone(ordered)
	slices.Reverse(sorted)
	slices.SortFunc(sorted, compareVersions)
	if !slices.Equal(sorted, ordered) {
		t.Error(fmt.Sprintf("sorted: %q", sorted))
	}
}
