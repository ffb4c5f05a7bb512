package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gm/diag"
	"gm/engine"
	"gm/machine"
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

// machine is this machine, asked on behalf of the caller.
func (c *caller) machine() *machine.Caller {
	return &machine.Caller{Environ: c.environ, Dir: c.dir, In: c.in}
}

// getenv returns a variable of the environment, or "".
func (c *caller) getenv(name string) string { return c.machine().Getenv(name) }

// abs makes a path of the command line absolute.
func (c *caller) abs(path string) string { return c.machine().Abs(path) }

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

// reason is the innermost text of an error.
func reason(err error) string { return machine.Reason(err) }
