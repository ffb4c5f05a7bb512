package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gm/diag"
	"gm/engine"
)

// caller is who called gm: its streams, environment and directory. Commands
// know no other, so that a test can be one.
type caller struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
	dir      string // absolute, symbolic links as the shell shows them
	// engine, if there is one, is what every command works with: that of the supervisor
	// in whose process this is.
	engine func() (engine.Engine, error)
}

// getenv returns a variable of the environment, or "".
func (c *caller) getenv(name string) string {
	for _, pair := range c.environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// abs makes a path of the command line absolute.
func (c *caller) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(c.dir, path)
}

// realpath makes a path of the command line absolute and, where it exists,
// follows its symbolic links.
func (c *caller) realpath(path string) string {
	path = c.abs(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// print shows diagnostics on standard error.
func (c *caller) print(l diag.List) { diag.Print(c.err, l, c.style(c.err)) }

// style says how to write to w: in colour on a terminal, unless NO_COLOR is set
// (no-color.org) or the terminal cannot.
func (c *caller) style(w io.Writer) diag.Style {
	f, ok := w.(*os.File)
	if !ok || c.getenv("NO_COLOR") != "" || c.getenv("TERM") == "dumb" {
		return diag.Style{}
	}
	// Other character devices than terminals, such as /dev/null, do not mind.
	info, err := f.Stat()
	return diag.Style{Color: err == nil && info.Mode()&fs.ModeCharDevice != 0}
}

// write prints a command's data on standard output.
func (c *caller) write(data []byte) error {
	_, err := io.Copy(c.out, bytes.NewReader(data))
	return c.outError(err)
}

// outError says what is wrong with standard output.
func (c *caller) outError(err error) error {
	if err == nil {
		return nil
	}
	return &failure{statusFailed, "cannot-write", "cannot write the standard output: " + reason(err), remedyFor(err)}
}

// reason is the innermost text of an error: without the name of the system
// call and the path, which the message around it gives in the user's words.
func reason(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	case errors.As(err, &call):
		err = call.Err
	}
	return err.Error()
}
