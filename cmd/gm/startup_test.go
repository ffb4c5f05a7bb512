package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/diag"
	"gm/units"
)

func TestInitOf(t *testing.T) {
	for _, test := range []struct {
		name, file, text, asked, want string
	}{
		{name: "systemd", file: "run/systemd/system/x", want: "systemd"},
		{name: "openrc", file: "run/openrc/softlevel", text: "default", want: "openrc"},
		{name: "runit", file: "proc/1/comm", text: "runit\n", want: "runit"},
		{name: "a container", file: "proc/1/comm", text: "node\n"},
		{name: "another one", file: "proc/1/comm", text: "init\n"},
		{name: "by its name", file: "run/systemd/system/x", asked: "openrc", want: "openrc"},
		{name: "an unknown name", asked: "upstart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			if test.file != "" {
				mustWrite(t, filepath.Join(root, test.file), test.text)
			}
			var args []string
			if test.asked != "" {
				args = []string{test.asked}
			}
			got, err := initOf(root, args)
			switch {
			case test.want == "":
				if f := (*failure)(nil); !errors.As(err, &f) || !strings.Contains(f.remedy, "gm supervise") && !strings.Contains(f.remedy, "gm run") {
					t.Errorf("got %+v, %v", got, err)
				}
			case err != nil || got.name != test.want:
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// TestStartupScripts compares the scripts with those of testdata/startup, and has
// their languages' own readers look at them.
func TestStartupScripts(t *testing.T) {
	system := &boot{gm: "/usr/local/bin/gm", home: "/var/lib/gm", user: "root", dir: "/root", uid: "0", services: "/var/service"}
	own := &boot{
		gm: "/opt/my tools/gm", home: "/home/ann/it's 100% & <mine>", givenHome: true, userScope: true,
		user: "ann", dir: "/home/ann", uid: "1000", configHome: "/home/ann/.config", services: "/etc/service",
	}
	for i := range initSystems {
		s := &initSystems[i]
		for name, b := range map[string]*boot{"system": system, "user": own} {
			t.Run(s.name+"-"+name, func(t *testing.T) {
				script := s.script(b)
				golden := filepath.Join("testdata/startup", s.name+"-"+name+".sh")
				if *update {
					mustWrite(t, golden, string(script))
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(script), string(want)); diff != "" {
					t.Errorf("(-got +want):\n%s", diff)
				}
				_, text, _ := s.file(b)
				if !strings.Contains(text, writtenBy) {
					t.Error("gm unstartup will not know its file")
				}
				checkShell(t, string(script))
				switch s.name {
				case "openrc", "runit":
					checkShell(t, text)
				case "launchd":
					checkPlist(t, text)
				case "systemd":
					if _, list := units.Parse("gm-supervisor.service", diag.NewSource("x", []byte(text))); len(list) > 0 {
						t.Errorf("%v", list)
					}
				}
			})
		}
	}
}

func checkShell(t *testing.T, text string) {
	t.Helper()
	sh := exec.Command("sh", "-n")
	sh.Stdin = strings.NewReader(text)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Errorf("sh says %v: %s", err, out)
	}
}

func checkPlist(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	found := ""
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, ok := token.(xml.CharData); ok {
			found += string(data) + "\n"
		}
	}
	if strings.Contains(text, "GM_HOME") && !strings.Contains(found, "/home/ann/it's 100% & <mine>") {
		t.Errorf("the home is not in %q", found)
	}
}

// What is not from gm startup is neither overwritten nor removed.
func TestWriteBootFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sv/gm/run")
	for _, text := range []string{"# " + writtenBy + "\n1\n", "# " + writtenBy + "\n2\n"} {
		if err := writeBootFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	mustWrite(t, path, "mine\n")
	if err := writeBootFile(path, "# "+writtenBy+"\n", 0o755); err == nil || !strings.Contains(err.Error(), "not from gm startup") {
		t.Errorf("got %v", err)
	}
}
