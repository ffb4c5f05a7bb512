package native

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// systemd.exec(5): what everyone has, Environment=, the files in their order, without what
// is to be unset.
func TestEnviron(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.env": "A=file-a\nB=\"two\nlines\"\n# C=1\nbad line\n", "b.env": "export X=1\nA=file-b\n", "[x].env": "GLOB=1\n",
		"comment.latin": "# caf\xe9\nA=file\n", "open.env": "A=open\nB=\"rest\nC=3\n", "value.latin": "A=1\nB=caf\xe9\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	base := []string{"A=base", "PATH=/bin", "KEEP=1"}
	for _, test := range []struct {
		name string
		e    execDef
		want []string
		err  string
	}{
		{"nothing", execDef{}, base, ""},
		{"the unit wins", execDef{env: []string{"A=unit", "N=1"}}, []string{"A=unit", "PATH=/bin", "KEEP=1", "N=1"}, ""},
		{"files win", execDef{env: []string{"A=unit"}, envFiles: []envFile{{dir + "/a.env", false}}},
			[]string{"A=file-a", "PATH=/bin", "KEEP=1", "B=two\nlines"}, ""},
		{"the last file wins", execDef{envFiles: []envFile{{dir + "/a.env", false}, {dir + "/b.env", false}}},
			[]string{"A=file-b", "PATH=/bin", "KEEP=1", "B=two\nlines"}, ""},
		{"files by a pattern", execDef{envFiles: []envFile{{dir + "/?.env", false}}}, []string{"A=file-b", "PATH=/bin", "KEEP=1", "B=two\nlines"}, ""},
		{"an escaped pattern", execDef{envFiles: []envFile{{dir + `/\[x].env`, false}}}, append(slices.Clone(base), "GLOB=1"), ""},
		{"a missing file", execDef{envFiles: []envFile{{dir + "/none", false}}}, nil, "cannot read the environment file " + dir + "/none: no such file or directory"},
		{"a missing pattern", execDef{envFiles: []envFile{{dir + "/none*", false}}}, nil, "cannot read the environment file " + dir + "/none*: file does not exist"},
		{"a file that is not UTF-8", execDef{envFiles: []envFile{{dir + "/value.latin", false}}}, nil, "cannot read the environment file " + dir + "/value.latin: line 2 is not UTF-8"},
		{"an optional one that is not UTF-8", execDef{envFiles: []envFile{{dir + "/value.latin", true}}}, base, ""},
		{"a comment that is not UTF-8", execDef{envFiles: []envFile{{dir + "/comment.latin", false}}}, []string{"A=file", "PATH=/bin", "KEEP=1"}, ""},
		{"a quote that is not closed", execDef{envFiles: []envFile{{dir + "/open.env", false}}}, []string{"A=open", "PATH=/bin", "KEEP=1", "B=rest\nC=3\n"}, ""},
		{"optional ones", execDef{envFiles: []envFile{{dir + "/none", true}, {dir + "/none*", true}}}, base, ""},
		{"unset by name and by value", execDef{env: []string{"N=1", "M=2"}, unsetEnv: []string{"A", "N=1", "M=3"}}, []string{"PATH=/bin", "KEEP=1", "M=2"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.e.environ(base, os.ReadFile)
			if test.err != "" {
				if err == nil || err.Error() != test.err || errors.Is(err, fs.ErrNotExist) == strings.HasSuffix(test.err, "UTF-8") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q (%v)", got, test.want, err)
			}
		})
	}
	if strings.Join(base, " ") != "A=base PATH=/bin KEEP=1" {
		t.Errorf("it has changed what everyone has: %q", base)
	}
}

// systemd.service(5), COMMAND LINES: specifiers are resolved first, then variables.
func TestArgs(t *testing.T) {
	l := mustLoad(t, home(t, `
-- a@.service --
[Service]
Type=oneshot
ExecStart=/bin/a %i 100%% $ONE ${TWO}x $$HOME "a $TWO" $NONE ${NONE} ${ONE:-x}
ExecStart=/bin/b 100%% $$HOME
ExecStart=:/bin/c $ONE
ExecStart=@/bin/d name ${ONE}
`), false, nil)
	env := map[string]string{"ONE": "1 'a b'", "TWO": "2 %i"}
	want := [][]string{
		{"/bin/a", "7", "100%", "1", "a b", "2 %ix", "$HOME", "a $TWO", "", "${ONE:-x}"},
		{"/bin/b", "100%", "$HOME"},
		{"/bin/c", "$ONE"},
		{"/bin/d", "name", "1 'a b'"},
	}
	for i, c := range mustFind(t, l, "a@7.service").service.start {
		got := c.args(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
		if !slices.Equal(got, want[i]) {
			t.Errorf("got %q, want %q", got, want[i])
		}
	}
}

// An app of which the unit names a gm that is no more is told of one that is there.
func TestNameGm(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for named, want := range map[string]string{"/nowhere/gm": own, "/bin/sh": "/bin/sh"} {
		env := []string{"A=/nowhere/gm", "GM_PROGRAM=" + named, "B=1"}
		nameGm(env)
		if !slices.Equal(env, []string{"A=/nowhere/gm", "GM_PROGRAM=" + want, "B=1"}) {
			t.Errorf("%s: %q", named, env)
		}
	}
}
