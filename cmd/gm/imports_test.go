package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lattice is who may import whom: each line is a package and what it may
// import of gm. A new package is a new line; a forbidden import is not mended
// here.
//
//	diag < units < translate < machine
//	diag, units < engine < engine/systemd, engine/native
//	disk < engine
//	preload < translate
//	engine/native/shim < engine/native, cmd/gm/first
//	all of these < . (package gm) < cmd/gm
const lattice = `
	diag:
	units:         diag
	preload:
	translate:     diag units preload
	cmd/gm/first:  engine/native/shim
	disk:
	engine:         disk diag units
	engine/systemd: engine diag units
	engine/native/shim:
	engine/native:  engine diag units engine/native/shim
	watch:
	bench:
	machine:        diag units translate
	.:              disk diag units preload translate machine engine engine/systemd engine/native
	cmd/gm:         . machine disk diag units translate engine engine/native watch cmd/gm/first
`

// libraries is which packages may import a module that is not of the standard
// library. Prefixes count.
const libraries = `
	github.com/tailscale/hujson:  translate
	github.com/dop251/goja:       translate
	go.yaml.in/yaml/v3:           translate
	github.com/robfig/cron/v3:    translate
	github.com/spf13/cobra:       cmd/gm
	github.com/cilium/ebpf:       cmd/gm
	github.com/coreos/go-systemd: engine/systemd
	github.com/godbus/dbus:       engine/systemd
	github.com/fsnotify/fsnotify: watch
	github.com/jedib0t/go-pretty: cmd/gm
	golang.org/x/sys:             cmd/gm engine/systemd engine/native engine/native/shim disk testbed bench .
	golang.org/x/term:            cmd/gm
`

// Packages that only tests may import; they may import what they like.
var testOnly = []string{"golden", "testbed", "engine/enginetest"}

// programs are where main is: they print and exit.
var programs = []string{"cmd/gm", "cmd/gm/first", "bench"}

// impure is what no translation may import: what it depends on comes in as an
// argument. net/netip and net/url are only about text.
var impure = []string{"os", "os/exec", "os/signal", "os/user", "net", "net/http", "syscall", "path/filepath", "log"}

// outward is what only a program may do: look at its environment, print, exit.
var outward = map[string][]string{
	"os":  {"Exit", "Getenv", "LookupEnv", "Environ", "Args", "Stdin", "Stdout", "Stderr"},
	"fmt": {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// changing is what package gm does, once for all programs; the command goes through it.
var changing = map[string][]string{"engine": {"Apply", "Conflicts", "Diff", "Lock", "Observe", "Outline", "Recover"}}

// TestImports holds the lattice. It parses the sources itself: a test that asked
// `go list` would be cached over a change of imports.
func TestImports(t *testing.T) {
	mayImport, mayUse := readTable(lattice), readTable(libraries)
	for _, file := range goFiles(t) {
		dir := path.Dir(file)
		allowed, known := mayImport[dir]
		isTest := strings.HasSuffix(file, "_test.go")
		free := isTest || isIn(testOnly, dir)
		if !known && !free {
			t.Errorf("%s: package %s is not in the lattice", file, dir)
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			continue
		}
		if ignored(parsed) {
			continue // a program that `go run` starts
		}
		for _, spec := range parsed.Imports {
			name, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
			own, isOwn := strings.CutPrefix(name, "gm/")
			if name == "gm" {
				own, isOwn = ".", true // the package that programs import
			}
			switch {
			case isOwn && own == "cmd/gm":
				t.Errorf("%s: nobody imports cmd/gm", file)
			case free:
			case isOwn && isIn(testOnly, own):
				t.Errorf("%s: only tests import %s", file, own)
			case isOwn && !slices.Contains(allowed, own):
				t.Errorf("%s: %s must not import %s", file, dir, own)
			case !isOwn && strings.Contains(strings.Split(name, "/")[0], ".") && !mayUseLibrary(mayUse, name, dir):
				t.Errorf("%s: %s must not import %s", file, dir, name)
			case dir == "translate" && slices.Contains(impure, name):
				t.Errorf("%s: a translation must not depend on %s", file, name)
			}
		}
		if !free && !slices.Contains(programs, dir) {
			checkUses(t, file, parsed, outward, "belongs into cmd/gm")
		}
		if !free && dir == "cmd/gm" {
			checkUses(t, file, parsed, changing, "belongs into package gm")
		}
	}
}

// checkUses reports uses of functions, by package, that are for others.
func checkUses(t *testing.T, file string, parsed *ast.File, functions map[string][]string, whose string) {
	ast.Inspect(parsed, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := selector.X.(*ast.Ident); ok && slices.Contains(functions[pkg.Name], selector.Sel.Name) {
			t.Errorf("%s: %s.%s %s", file, pkg.Name, selector.Sel.Name, whose)
		}
		return true
	})
}

// goFiles lists the module's Go files, as slash-separated paths from its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	const root = "../.."
	var files []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := entry.Name(); entry.IsDir() && name != root && (base == "testdata" || base[0] == '.' || base[0] == '_') {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			files = append(files, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d Go files found below %s", len(files), root)
	}
	return files
}

// readTable reads lines "NAME: WORD WORD".
func readTable(text string) map[string][]string {
	table := map[string][]string{}
	for line := range strings.Lines(text) {
		if name, words, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			table[name] = strings.Fields(words)
		}
	}
	return table
}

func isIn(roots []string, dir string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") })
}

func mayUseLibrary(mayUse map[string][]string, name, dir string) bool {
	for library, users := range mayUse {
		if name == library || strings.HasPrefix(name, library+"/") {
			return slices.Contains(users, dir)
		}
	}
	return false
}

// ignored reports a file that belongs to no package: //go:build ignore.
func ignored(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "//go:build ignore") && comment.Pos() < file.Package {
				return true
			}
		}
	}
	return false
}
