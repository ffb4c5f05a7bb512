// Package golden holds whole translations: each *.txtar file is one declaration,
// the options it is compiled with, and everything that comes out of it.
//
//	<area>-<case>.txtar
//	# The claim: one sentence that says what the case shows.
//	# systemd: 247             options, see (*golden).option
//	-- processes.json --       the declaration, and after it the files beside it
//	-- want/diagnostics --     what diag.Print says; absent when it says nothing
//	-- want/web.service --     each unit
//
// The runner compiles the inputs and builds the archive anew, so an output that
// is missing, extra or left over cannot pass. `go test ./golden -update` writes
// it instead; the difference is then for a person to read. A golden records:
// whether systemd agrees is for TestVerify and the booted tests to say.
package golden

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"gm/diag"
	"gm/translate"
	"gm/units"
)

var update = flag.Bool("update", false, "write the goldens' outputs instead of comparing them")

// fileName is the form of a case's name: the area comes first.
var fileName = regexp.MustCompile(`^(seed|exec|env|restart|logs|limits|cron|watch|instances|systemd|error|corpus)-[a-z0-9-]+\.txtar$`)

func TestGolden(t *testing.T) {
	for _, g := range loadAll(t) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			set, diagnostics := g.compile()
			got := txtar.Format(g.archive(set, diagnostics))
			if *update {
				if !bytes.Equal(got, g.text) {
					if err := os.WriteFile(g.name+".txtar", got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			} else if diff := cmp.Diff(string(got), string(g.text)); diff != "" {
				t.Errorf("the output is not the recorded one (-got +want); -update writes it:\n%s", diff)
			}
			if diagnostics.HasErrors() != strings.HasPrefix(g.name, "error-") {
				t.Errorf("errors belong to cases called error-…, and only there")
			}
			g.checkLaws(t, set, diagnostics)
		})
	}
}

// golden is one case without its outputs.
type golden struct {
	name    string // without .txtar
	text    []byte // of the whole file
	comment []byte
	inputs  []txtar.File
	options translate.Options
	// outside are units of other makers that the case refers to.
	outside []string
}

func loadAll(t *testing.T) []*golden {
	t.Helper()
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	all := make([]*golden, 0, len(files))
	for _, file := range files {
		g, err := load(file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, g)
	}
	return all
}

func load(file string) (*golden, error) {
	if !fileName.MatchString(file) {
		return nil, fmt.Errorf("the name does not match %s", fileName)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	archive := txtar.Parse(text)
	g := &golden{name: strings.TrimSuffix(file, ".txtar"), text: text, comment: archive.Comment, options: translate.Options{Host: pinnedHost()}}
	for _, f := range archive.Files {
		if !strings.HasPrefix(f.Name, "want/") {
			g.inputs = append(g.inputs, f)
		}
	}
	if len(g.inputs) == 0 {
		return nil, errors.New("there is no declaration")
	}
	lines := strings.Split(strings.TrimRight(string(archive.Comment), "\n"), "\n")
	if claim := lines[0]; !strings.HasPrefix(claim, "# ") || !strings.HasSuffix(claim, ".") {
		return nil, errors.New(`the first line is to be the claim, "# …."`)
	}
	for _, line := range lines[1:] {
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), ":")
		if !ok {
			return nil, fmt.Errorf("line %q is no option", line)
		}
		if err := g.option(key, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	g.finishHost()
	return g, nil
}

// pinnedHost is the machine of every case, where its options say nothing else.
func pinnedHost() translate.Host {
	return translate.Host{
		CPUs: 4, Systemd: 257, Scope: translate.ScopeSystem,
		Root: "/srv/shop", Home: "/home/me", Gm: "/usr/local/bin/gm",
		Programs: map[string]string{
			"bash": "/bin/bash", "sh": "/bin/sh", "node": "/usr/bin/node", "npm": "/usr/bin/npm", "npx": "/usr/bin/npx",
			"yarn": "/usr/local/bin/yarn", "python3": "/usr/bin/python3", "ruby": "/usr/bin/ruby", "perl": "/usr/bin/perl",
			"php": "/usr/bin/php", "java": "/usr/lib/jvm/java-21/bin/java", "tail": "/usr/bin/tail",
		},
		Versions: map[string]string{"/usr/bin/node": "20.20.2"},
		Accounts: map[string]bool{"user www-data": true, "group www-data": true, "user root": true, "group adm": true},
		Files:    map[string]translate.FileKind{},
		// A host that was looked at: what is not listed is not there.
		Probe: translate.Probe{
			Program: func(string) string { return "" },
			Account: func(string, string) bool { return false },
		},
	}
}

// option reads one line "# key: value".
func (g *golden) option(key, value string) (err error) {
	o, host := &g.options, &g.options.Host
	words := strings.Fields(value)
	switch key {
	case "systemd": // the version that the units are for
		host.Systemd, err = strconv.Atoi(value)
	case "cpus":
		host.CPUs, err = strconv.Atoi(value)
	case "scope":
		host.Scope = value
	case "root": // the declaration's directory
		host.Root = value
	case "node": // the version of /usr/bin/node
		host.Versions["/usr/bin/node"] = value
	case "program": // NAME PATH; without PATH the host lacks it
		host.Programs[words[0]] = strings.TrimSpace(strings.TrimPrefix(value, words[0]))
	case "missing", "directory", "binary": // paths on the host
		for _, p := range words {
			host.Files[g.path(p)] = translate.FileKind(key)
		}
	case "env":
		o.Env = value
	case "prefix":
		o.Prefix = value
	case "project":
		o.Project = value
	case "only":
		o.Only = strings.Split(value, ",")
	case "run-as":
		o.RunAs = value
	case "caller":
		o.Caller = value
	case "secrets":
		o.SecretFiles = value == "file"
	case "environ": // NAME=value, for process.env
		name, text, _ := strings.Cut(value, "=")
		if o.Outside.Environ == nil {
			o.Outside.Environ = map[string]string{}
		}
		o.Outside.Environ[name] = text
	case "outside":
		g.outside = words
	default:
		err = errors.New("there is no such option")
	}
	return err
}

// path is where a file of the case lies on the host.
func (g *golden) path(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(g.options.Host.Root, name)
}

// finishHost puts the case's own files on the host, and before the declaration.
func (g *golden) finishHost() {
	contents := map[string][]byte{}
	for _, f := range g.inputs {
		kind := translate.FileText
		if line, _, _ := strings.Cut(string(f.Data), "\n"); strings.HasPrefix(line, "#!") {
			kind = translate.FileKind(line)
		}
		g.options.Host.Files[g.path(f.Name)] = kind
		contents[g.path(f.Name)] = f.Data
	}
	out := &g.options.Outside
	out.Dir, out.Home, out.CPUs = g.options.Host.Root, g.options.Host.Home, g.options.Host.CPUs
	out.ReadFile = func(name string) ([]byte, error) {
		if text, ok := contents[name]; ok {
			return text, nil
		}
		return nil, os.ErrNotExist
	}
}

func (g *golden) compile() (units.Set, diag.List) { return g.compileText(g.inputs[0].Data) }

func (g *golden) compileText(text []byte) (units.Set, diag.List) {
	return translate.Compile(diag.NewSource(g.inputs[0].Name, text), g.options)
}

// archive is the whole case with the outputs it has now. With errors nothing
// is written, so there are no units.
func (g *golden) archive(set units.Set, diagnostics diag.List) *txtar.Archive {
	a := &txtar.Archive{Comment: g.comment, Files: slices.Clone(g.inputs)}
	if len(diagnostics) > 0 {
		var text bytes.Buffer
		diag.Print(&text, diagnostics, diag.Style{})
		a.Files = append(a.Files, txtar.File{Name: "want/diagnostics", Data: text.Bytes()})
	}
	if !diagnostics.HasErrors() {
		for _, u := range set {
			a.Files = append(a.Files, txtar.File{Name: "want/" + u.Name, Data: units.Render(u)})
		}
	}
	return a
}
