package native

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"gm/diag"
	"gm/units"
)

// environ returns the environment of a process of the unit: base, which is what the
// supervisor gives to everyone and systemd sets, then Environment=, then the files, the later
// one winning, without UnsetEnvironment= (systemd.exec(5), ENVIRONMENT). A file that is
// missing and not optional is an error.
func (e *execDef) environ(base []string, read func(path string) ([]byte, error)) ([]string, error) {
	files, err := e.fileEnviron(read)
	if err != nil {
		return nil, err
	}
	merged := make([]string, 0, len(base)+len(e.env)+len(files))
	at := make(map[string]int, cap(merged))
	for _, list := range [...][]string{base, e.env, files} {
		for _, pair := range list {
			name, _, ok := strings.Cut(pair, "=")
			if !ok {
				continue
			}
			if i, ok := at[name]; ok {
				merged[i] = pair
			} else {
				at[name] = len(merged)
				merged = append(merged, pair)
			}
		}
	}
	if len(e.unsetEnv) == 0 {
		return merged, nil
	}
	return slices.DeleteFunc(merged, func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains(e.unsetEnv, name) || slices.Contains(e.unsetEnv, pair)
	}), nil
}

// fileEnviron reads EnvironmentFile=.
func (e *execDef) fileEnviron(read func(path string) ([]byte, error)) ([]string, error) {
	var pairs []string
	for _, f := range e.envFiles {
		files := []string{f.pattern}
		if strings.ContainsAny(f.pattern, `*?[\`) {
			found, err := filepath.Glob(f.pattern)
			if err == nil && len(found) == 0 {
				err = fs.ErrNotExist
			}
			if err != nil && !f.optional {
				return nil, fmt.Errorf("cannot read the environment file %s: %w", f.pattern, err)
			}
			files = found
		}
		for _, file := range files {
			text, err := read(file)
			if err != nil {
				if f.optional {
					continue
				}
				// The path is in it already.
				if p := (*fs.PathError)(nil); errors.As(err, &p) {
					err = p.Err
				}
				return nil, fmt.Errorf("cannot read the environment file %s: %w", file, err)
			}
			if n := notUTF8(text); n > 0 && f.optional {
				continue
			} else if n > 0 {
				return nil, fmt.Errorf("cannot read the environment file %s: line %d is not UTF-8", file, n)
			}
			// A line that is wrong is left out, as systemd leaves it out.
			u, _ := units.Parse("of.env", diag.NewSource(file, text))
			for _, d := range u.Directives {
				if v, ok := d.Value.(units.FileAssign); ok {
					pairs = append(pairs, d.Key+"="+string(v))
				}
			}
		}
	}
	return pairs, nil
}

// notUTF8 returns the number of the first line that is not UTF-8, and no comment; 0 if
// there is none. systemd takes nothing from such a file.
func notUTF8(text []byte) int {
	if utf8.Valid(text) {
		return 0
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		start := bytes.TrimLeft(line, " \t")
		if !utf8.Valid(line) && (len(start) == 0 || start[0] != '#' && start[0] != ';') {
			return n
		}
	}
	return 0
}

// args returns what the program gets, variables resolved: with the prefix "@" its path
// before that.
func (c *command) args(env func(name string) (string, bool)) []string {
	if !c.Vars {
		return slices.Clone(c.argv)
	}
	escaped := units.Command{Prefix: c.Prefix, Vars: true, Argv: make([]units.Spec, len(c.argv))}
	for i, arg := range c.argv {
		escaped.Argv[i] = units.Escape(arg)
	}
	return escaped.Args(func(byte) (string, bool) { return "", false }, env)
}
