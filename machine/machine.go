// Package machine turns a declaration on this machine into units: it finds and reads
// the declaration, and answers what its translation asks (how many CPUs, which
// programs, accounts and files there are).
//
// Translations know no machine, and nothing here changes one.
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
	"gm/translate"
	"gm/units"
)

// Caller is on whose behalf the machine is asked.
type Caller struct {
	// Environ is the environment: PATH and HOME, and process.env of declarations.
	Environ []string
	// Dir is what relative paths start from: absolute, symbolic links as the shell shows
	// them.
	Dir string
	// In is what "-" reads.
	In io.Reader
}

// Getenv returns a variable of the environment, or "".
func (c *Caller) Getenv(name string) string {
	for _, pair := range c.Environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// Abs makes a path of the caller's absolute.
func (c *Caller) Abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(c.Dir, path)
}

// Compile translates a declaration for a host, by the options that are about the text.
// Pinned says that the host's facts are not this machine's own. Relative paths of the
// declaration start from the host's root.
func (c *Caller) Compile(d *Declaration, host translate.Host, pinned bool, o translate.Options) (units.Set, diag.List) {
	o.Host, o.Outside = host, c.outside(d, &host, pinned)
	if c.Dir != d.Dir {
		o.Caller = c.Dir
	}
	set, list := translate.Compile(d.Source, o)
	return set, append(d.Notes, list...)
}

// InvalidDeclaration is the error of a declaration that cannot be read, or that says what
// cannot be.
type InvalidDeclaration struct {
	// List says what is wrong, where, and what to do; warnings may be among it.
	List diag.List
}

func (e *InvalidDeclaration) Error() string {
	var first string
	n := 0
	for _, d := range e.List {
		if d.Severity != diag.Error {
			continue
		}
		if n++; n == 1 {
			first = d.Cause
			if place := d.At.String(); place != "" {
				first = place + ": " + first
			}
		}
	}
	if n > 1 {
		return fmt.Sprintf("%s, and %d more", first, n-1)
	}
	return first
}

// refused is an *InvalidDeclaration about no place in a text.
func refused(code, remedy, cause string, args ...any) error {
	return &InvalidDeclaration{diag.List{{Severity: diag.Error, Code: code, Cause: fmt.Sprintf(cause, args...), Remedy: remedy}}}
}

// Reason is the innermost text of an error: without the name of the system
// call and the path, which the message around it gives in the user's words.
func Reason(err error) string {
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
