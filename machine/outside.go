package machine

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gm/translate"
)

// outside is what a JavaScript declaration may reach: the files beside it, and
// the caller's environment. It believes that it lies in the host's root, where
// its units will run, so that __dirname and the paths made of it are right
// there. Pinned facts also pin what would differ from machine to machine.
func (c *Caller) outside(d *Declaration, h *translate.Host, pinned bool) translate.Outside {
	out := translate.Outside{
		Dir:      h.Root,
		Environ:  c.declarationEnviron(h),
		Home:     h.Home,
		Platform: "linux",
		TempDir:  "/tmp",
		CPUs:     h.CPUs,
	}
	if !pinned {
		out.Now = time.Now
		out.Hostname, _ = os.Hostname() // without one, it is told as ""
		out.Memory = memory()
	}
	files := &siblings{root: h.Root, dir: d.Dir}
	out.ReadFile, out.ReadDir = files.read, files.list
	if node := c.LookPath("node"); node != "" && d.Path != "" {
		out.Node = func(string) ([]byte, error) {
			ctx, cancel := context.WithTimeout(context.Background(), nodeLimit)
			defer cancel()
			return evaluate(ctx, node, d.Path, h.Root, out.Environ)
		}
	}
	return out
}

// declarationEnviron is process.env of a declaration: the caller's, with the
// directories of the host.
func (c *Caller) declarationEnviron(h *translate.Host) map[string]string {
	env := make(map[string]string, len(c.Environ)+2)
	for _, pair := range c.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			env[name] = value
		}
	}
	maps.Copy(env, map[string]string{"HOME": h.Home, "PWD": h.Root})
	return env
}

// memory returns the bytes of memory of this machine, or 0 where /proc does
// not tell.
func memory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	// "MemTotal:        8129548 kB" is the first line.
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "MemTotal:" {
		return 0
	}
	kilobytes, _ := strconv.ParseUint(fields[1], 10, 54)
	return kilobytes << 10
}

// siblings reads files in the declaration's directory. os.Root keeps symbolic
// links from leading out of it.
type siblings struct {
	root, dir string // as the host and this machine call it
}

var (
	errTooLarge   = errors.New("file too large")
	errNotRegular = errors.New("not a regular file")
)

// maxSibling bounds what require and readFileSync load.
const maxSibling = 32 << 20

func (s *siblings) read(path string) ([]byte, error) {
	var text []byte
	err := s.open(path, func(f *os.File) (err error) {
		text, err = io.ReadAll(io.LimitReader(f, maxSibling+1))
		if len(text) > maxSibling {
			return &os.PathError{Op: "read", Path: path, Err: errTooLarge}
		}
		return err
	})
	return text, err
}

func (s *siblings) list(path string) ([]string, error) {
	var names []string
	err := s.open(path, func(f *os.File) error {
		entries, err := f.ReadDir(-1)
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return err
	})
	return names, err
}

func (s *siblings) open(path string, use func(*os.File) error) error {
	rel, err := filepath.Rel(s.root, path)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(rel)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		// A link that leads out; the package has no name for it.
		return &os.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	case err != nil:
		return err
	case !info.Mode().IsRegular() && !info.IsDir(): // a pipe would block for ever
		return &os.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	f, err := root.Open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	return use(f)
}
