package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"gm/machine"
	"gm/units"
)

// installFlags parses the flags of gm install.
func installFlags(t *testing.T, args ...string) (*cobra.Command, *inputOptions) {
	t.Helper()
	o := &installOptions{}
	cmd := &cobra.Command{}
	o.addFlags(cmd)
	o.diffOptions.addFlags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	o.args = cmd.Flags().Args()
	return cmd, &o.inputOptions
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func mustStat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const twoApps = `[{"name": "web", "script": "/bin/true", "uid": "www-data"}, {"name": "worker", "script": "/bin/true", "env": {"A": 1}}]`

// wantShop is a directory "shop" with a declaration, and its units as a stream.
func wantShop(t *testing.T, flags ...string) (c *caller, stream string) {
	t.Helper()
	c = &caller{dir: filepath.Join(t.TempDir(), "shop"), err: &bytes.Buffer{}}
	mustWrite(t, c.dir+"/processes.json", twoApps)
	if !slices.Contains(flags, "--user") {
		flags = append(flags, "--system")
	}
	_, o := installFlags(t, append(flags, "--systemd", "252", "--gm", "/usr/local/bin/gm")...)
	compiled, err := c.compile(o)
	if err != nil || compiled.list.HasErrors() {
		t.Fatal(err, compiled.list)
	}
	var out bytes.Buffer
	if err := units.WriteStream(&out, compiled.set); err != nil {
		t.Fatal(err)
	}
	return c, out.String()
}

// unpack writes the files of a stream into a directory.
func unpack(t *testing.T, stream, dir string) {
	t.Helper()
	name, text := "", ""
	flush := func() {
		if name != "" {
			mustWrite(t, filepath.Join(dir, name), text)
		}
	}
	for line := range strings.Lines(stream) {
		if isStream([]byte(line)) {
			flush()
			name, text = strings.TrimSuffix(strings.TrimPrefix(line, "-- "), " --\n"), ""
			continue
		}
		text += line
	}
	flush()
}

func TestWant(t *testing.T) {
	type result struct {
		from, project string
		user          bool
		units         string
		only          string
		codes         string // of what there is to say
	}
	all := "gm-shop.slice gm-shop.target web.service worker.service"
	tests := []struct {
		name    string
		prepare func(t *testing.T, c *caller, stream string)
		args    string
		gen     string // flags of the gm gen that wrote the stream
		want    result
		fails   string
	}{
		{name: "the declaration here", args: "--system",
			want: result{from: "processes.json", project: "shop", units: all}},
		{name: "for a user", args: "--user",
			want: result{from: "processes.json", project: "shop", user: true, units: all, codes: "user-scope"}},
		{name: "a declaration on standard input", args: "--system -",
			prepare: func(_ *testing.T, c *caller, _ string) { c.in = strings.NewReader(twoApps) },
			want:    result{from: "<stdin>", project: "shop", units: all}},
		{name: "a stream on standard input", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			want:    result{from: "<stdin>", project: "shop", units: all}},
		{name: "a stream for a user", args: "-", gen: "--user",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			want:    result{from: "<stdin>", project: "shop", user: true, units: all}},
		{name: "a stream in a file", args: "shop.units",
			prepare: func(t *testing.T, c *caller, stream string) { mustWrite(t, c.dir+"/shop.units", stream) },
			want:    result{from: "shop.units", project: "shop", units: all}},
		{name: "a directory of units", args: "units/",
			prepare: func(t *testing.T, c *caller, stream string) { unpack(t, stream, c.dir+"/units") },
			want:    result{from: "units/", project: "shop", units: all}},
		{name: "the units here",
			prepare: func(t *testing.T, c *caller, stream string) {
				c.dir = filepath.Join(c.dir, "units")
				unpack(t, stream, c.dir)
			},
			want: result{from: "./", project: "shop", units: all}},
		{name: "a declaration and units", args: "--system",
			prepare: func(t *testing.T, c *caller, stream string) { unpack(t, stream, c.dir) },
			want:    result{from: "processes.json", project: "shop", units: all, codes: machine.CodeSeveral}},
		{name: "one app of a stream", args: "--only worker -",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			want:    result{from: "<stdin>", project: "shop", units: "gm-shop.slice gm-shop.target worker.service", only: "worker"}},
		{name: "a stream of one app", args: "-", gen: "--only worker",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			want:    result{from: "<stdin>", project: "shop", units: "gm-shop.slice gm-shop.target worker.service", only: "worker", codes: "some-apps"}},
		{name: "a file without the mark is left alone", args: "units",
			prepare: func(t *testing.T, c *caller, stream string) {
				unpack(t, stream, c.dir+"/units")
				mustWrite(t, c.dir+"/units/mine.service", "[Service]\nExecStart=/bin/true\n")
			},
			want: result{from: "units/", project: "shop", units: all, codes: "no-mark"}},
		{name: "an edited unit", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) {
				c.in = strings.NewReader(strings.ReplaceAll(stream, "RestartSec=100ms", "RestartSec=5s"))
			},
			want: result{from: "<stdin>", project: "shop", units: all, codes: "hand-edited! hand-edited!"}},
		{name: "an edited unit by force", args: "--force -",
			prepare: func(_ *testing.T, c *caller, stream string) {
				c.in = strings.NewReader(strings.ReplaceAll(stream, "RestartSec=100ms", "RestartSec=5s"))
			},
			want: result{from: "<stdin>", project: "shop", units: all, codes: "hand-edited hand-edited"}},
		{name: "a comment is no edit that counts", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) {
				c.in = strings.NewReader(strings.ReplaceAll(stream, "[Service]\n", "[Service]\n# reviewed\n"))
			},
			want: result{from: "<stdin>", project: "shop", units: all}},

		{name: "a unit without the mark in a stream", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) {
				c.in = strings.NewReader(stream + "-- mine.service --\n[Service]\nExecStart=/bin/true\n")
			}, fails: "mine.service in <stdin> does not bear gm's mark"},
		{name: "two projects", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) {
				c.in = strings.NewReader(strings.Replace(stream, "Project=shop", "Project=other", 1))
			}, fails: "units of two projects"},
		{name: "no target", args: "-",
			prepare: func(_ *testing.T, c *caller, stream string) {
				_, worker, _ := strings.Cut(stream, "-- worker.service --\n")
				c.in = strings.NewReader("-- worker.service --\n" + worker)
			}, fails: "has no gm-shop.target"},
		{name: "an app that is not in it", args: "--only nobody -",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			fails:   "--only nobody"},
		{name: "compiled already", args: "--env production -",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			fails:   "--env has no effect here"},
		{name: "of the other scope", args: "--user -",
			prepare: func(_ *testing.T, c *caller, stream string) { c.in = strings.NewReader(stream) },
			fails:   "for the system, not for a user"},
		{name: "nothing there", args: "nowhere.json", fails: "cannot read nowhere.json"},
		{name: "an empty name", args: "", prepare: func(t *testing.T, c *caller, _ string) {
			if err := os.Remove(c.dir + "/processes.json"); err != nil {
				t.Fatal(err)
			}
		}, fails: "there is no declaration here"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, stream := wantShop(t, strings.Fields(test.gen)...)
			if test.prepare != nil {
				test.prepare(t, c, stream)
			}
			cmd, o := installFlags(t, strings.Fields(test.args)...)
			w, err := c.want(cmd, o)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("got error %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := result{from: w.from, project: w.project, user: w.user, only: strings.Join(w.only, " ")}
			var names, codes []string
			for _, u := range w.set {
				names = append(names, u.Name)
				if _, pristine, ok := units.Sealed(units.Render(u)); !w.list.HasErrors() && (!pristine || !ok) {
					t.Errorf("%s is not sealed", u.Name)
				}
			}
			for _, d := range w.list {
				code := d.Code
				if d.Severity == 0 {
					code += "!"
				}
				codes = append(codes, code)
			}
			got.units, got.codes = strings.Join(names, " "), strings.Join(codes, " ")
			if diff := cmp.Diff(got, test.want, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

// TestWantNamesRootApps: those whose user nobody declared.
func TestWantNamesRootApps(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--system", "worker"},
		{"--system --run-as nobody", ""},
		{"--system --run-as root", ""},
		{"--user", ""},
	} {
		c, _ := wantShop(t)
		cmd, o := installFlags(t, strings.Fields(test.args)...)
		w, err := c.want(cmd, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.rootApps, " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.args, got, test.want)
		}
	}
}
