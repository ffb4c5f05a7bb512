package machine

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

// Names is what a declaration may be called, in the order in which
// they are looked for when FILE is a directory or left out.
var Names = []string{
	"ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs",
	"ecosystem.json", "processes.json", "process.json", "pm2.json",
	"ecosystem.yml", "ecosystem.yaml", "processes.yml", "processes.yaml",
	"process.yml", "process.yaml", "pm2.yml", "pm2.yaml",
}

// maxDeclaration is the largest file that is read at all. The largest
// declarations seen have a few hundred kilobytes.
const maxDeclaration = 64 << 20

// Declaration is the text to compile and where it lies on this machine.
type Declaration struct {
	Source *diag.Source
	Path   string // absolute; "" for one that is in no file
	Dir    string // absolute: the base of its relative paths
	// Notes is what there is to say about the choice of the file.
	Notes diag.List
}

// Find reads the declaration that the arguments of a command name: a file, a
// directory to look into, "-" for standard input, or nothing for the caller's
// directory. An error is an *InvalidDeclaration.
func (c *Caller) Find(args []string) (*Declaration, error) {
	shown := ""
	if len(args) > 0 {
		shown = args[0]
	}
	if shown == "-" {
		return c.Read("<stdin>", c.In, c.Dir, "")
	}
	if len(args) > 0 && shown == "" {
		return nil, refused("usage", "leave FILE out to look for a declaration here", "FILE is empty")
	}

	path := c.Abs(shown)
	info, err := os.Stat(path)
	if err != nil {
		return nil, CannotRead(shown, err)
	}
	var notes diag.List
	if info.IsDir() {
		found := Discover(path)
		if len(found) == 0 {
			return nil, noDeclaration(shown)
		}
		shown, path = filepath.Join(shown, found[0]), filepath.Join(path, found[0])
		if len(found) > 1 {
			notes = diag.List{{Severity: diag.Note, Code: CodeSeveral,
				Cause:  fmt.Sprintf("%s is taken; %s is there too", shown, strings.Join(found[1:], ", ")),
				Remedy: "name the file to take another"}}
		}
		if info, err = os.Stat(path); err != nil {
			return nil, CannotRead(shown, err)
		}
	}
	if size := info.Size(); size > maxDeclaration {
		return nil, tooLarge(shown, fmt.Sprintf("has %d MB", size>>20))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, CannotRead(shown, err)
	}
	defer f.Close()
	dir := filepath.Dir(path)
	if !info.Mode().IsRegular() {
		// A pipe, as in `gm gen <(…)`: its directory, /dev/fd, is nobody's.
		dir, path = c.Dir, ""
	}
	d, err := c.Read(shown, f, dir, path)
	if err != nil {
		return nil, err
	}
	d.Notes = notes
	return d, nil
}

// Read reads a declaration of that name, which messages give, whose relative paths start
// from dir; path is where its file is, "" if there is none.
func (c *Caller) Read(name string, r io.Reader, dir, path string) (*Declaration, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxDeclaration+1))
	switch {
	case err != nil:
		return nil, CannotRead(name, err)
	case len(text) > maxDeclaration:
		return nil, tooLarge(name, fmt.Sprintf("has more than %d MB", maxDeclaration>>20))
	}
	return &Declaration{Source: diag.NewSource(name, text), Dir: dir, Path: path}, nil
}

// Discover returns the names of the declarations in a directory, best first.
func Discover(dir string) []string {
	var found []string
	for _, name := range Names {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
			found = append(found, name)
		}
	}
	return found
}

// Codes of messages that callers ask for: `gm host` goes on without a declaration.
const (
	CodeNoDeclaration = "no-declaration"
	CodeSeveral       = "several-declarations"
)

func noDeclaration(dir string) error {
	where := "here"
	if dir != "" {
		where = "in " + dir
	}
	return refused(CodeNoDeclaration, "name the file, or - for standard input",
		"there is no declaration %s; looked for %s", where, strings.Join(Names, ", "))
}

// CannotRead is the error of a file that cannot be read, an *InvalidDeclaration.
func CannotRead(name string, err error) error {
	remedy := "correct the path, or leave FILE out to look for a declaration here"
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = "give yourself the right to read it: chmod +r"
	case !errors.Is(err, fs.ErrNotExist):
		remedy = ""
	}
	return refused("cannot-read", remedy, "cannot read %s: %s", name, Reason(err))
}

func tooLarge(name, size string) error {
	return refused("cannot-read", "name the declaration; if it is one, split it",
		"%s %s; gm reads declarations of at most %d MB", name, size, maxDeclaration>>20)
}
