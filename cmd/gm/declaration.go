package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gm/diag"
)

// declarationNames is what a declaration may be called, in the order in which
// they are looked for when FILE is a directory or left out.
var declarationNames = []string{
	"ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs",
	"ecosystem.json", "processes.json", "process.json", "pm2.json",
	"ecosystem.yml", "ecosystem.yaml", "processes.yml", "processes.yaml",
	"process.yml", "process.yaml", "pm2.yml", "pm2.yaml",
}

// maxDeclaration is the largest file that is read at all. The largest
// declarations seen have a few hundred kilobytes.
const maxDeclaration = 64 << 20

// declaration is the text to compile and where it lies on this machine.
type declaration struct {
	src  *diag.Source
	path string // absolute; "" for standard input
	dir  string // absolute: the base of its relative paths
	// notes is what there is to say about the choice of the file.
	notes diag.List
}

// declaration reads the declaration that the arguments of a command name: a
// file, a directory to look into, "-" for standard input, or nothing for the
// caller's directory.
func (c *caller) declaration(args []string) (*declaration, error) {
	shown := ""
	if len(args) > 0 {
		shown = args[0]
	}
	if shown == "-" {
		return c.readDeclaration("<stdin>", c.in, c.dir, "")
	}
	if len(args) > 0 && shown == "" {
		return nil, usage("leave FILE out to look for a declaration here", "FILE is empty")
	}

	path := c.abs(shown)
	info, err := os.Stat(path)
	if err != nil {
		return nil, cannotRead(shown, err)
	}
	var notes diag.List
	if info.IsDir() {
		found := discover(path)
		if len(found) == 0 {
			return nil, noDeclaration(shown)
		}
		shown, path = filepath.Join(shown, found[0]), filepath.Join(path, found[0])
		if len(found) > 1 {
			notes = diag.List{{Severity: diag.Note, Code: codeSeveral,
				Cause:  fmt.Sprintf("%s is taken; %s is there too", shown, strings.Join(found[1:], ", ")),
				Remedy: "name the file to take another"}}
		}
		if info, err = os.Stat(path); err != nil {
			return nil, cannotRead(shown, err)
		}
	}
	if size := info.Size(); size > maxDeclaration {
		return nil, tooLarge(shown, fmt.Sprintf("has %d MB", size>>20))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(shown, err)
	}
	defer f.Close()
	dir := filepath.Dir(path)
	if !info.Mode().IsRegular() {
		// A pipe, as in `gm gen <(…)`: its directory, /dev/fd, is nobody's.
		dir, path = c.dir, ""
	}
	d, err := c.readDeclaration(shown, f, dir, path)
	if err != nil {
		return nil, err
	}
	d.notes = notes
	return d, nil
}

func (c *caller) readDeclaration(name string, r io.Reader, dir, path string) (*declaration, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDeclaration+1))
	switch {
	case err != nil:
		return nil, cannotRead(name, err)
	case len(text) > maxDeclaration:
		return nil, tooLarge(name, fmt.Sprintf("has more than %d MB", maxDeclaration>>20))
	}
	return &declaration{src: diag.NewSource(name, text), dir: dir, path: path}, nil
}

// discover returns the names of the declarations in a directory, best first.
func discover(dir string) []string {
	var found []string
	for _, name := range declarationNames {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			found = append(found, name)
		}
	}
	return found
}

// Codes that other files ask for: `gm host` goes on without a declaration.
const (
	codeNoDeclaration = "no-declaration"
	codeSeveral       = "several-declarations"
)

func noDeclaration(dir string) error {
	where := "here"
	if dir != "" {
		where = "in " + dir
	}
	return &failure{statusInvalid, codeNoDeclaration,
		fmt.Sprintf("there is no declaration %s; looked for %s", where, strings.Join(declarationNames, ", ")),
		"name the file, or - for standard input"}
}

func cannotRead(name string, err error) error {
	remedy := "correct the path, or leave FILE out to look for a declaration here"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "give yourself the right to read it: chmod +r"
	case !errors.Is(err, fs.ErrNotExist):
		remedy = ""
	}
	return &failure{statusInvalid, "cannot-read", fmt.Sprintf("cannot read %s: %s", name, reason(err)), remedy}
}

func tooLarge(name, size string) error {
	return &failure{statusInvalid, "cannot-read",
		fmt.Sprintf("%s %s; gm reads declarations of at most %d MB", name, size, maxDeclaration>>20),
		"name the declaration; if it is one, split it"}
}
