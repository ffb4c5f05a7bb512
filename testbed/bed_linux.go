package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
)

// bed is the state directory.
type bed struct {
	dir  string
	logf func(string, ...any)
}

// openBed opens the state directory. As root writes there, and its default lies in
// a directory anyone may write to, it must be root's own.
func openBed(logf func(string, ...any)) (*bed, error) {
	if os.Geteuid() != 0 {
		return nil, unavailablef("needs root, for mounts and namespaces")
	}
	dir := os.Getenv("GM_TESTBED_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "gm-testbed")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	// The kernel lists mounts by their real paths. A link in place of the directory
	// itself is refused below: it could lead to any directory of root's.
	parent, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(parent, filepath.Base(dir))
	if strings.ContainsAny(dir, `:,\`) {
		return nil, fmt.Errorf("%s: an overlay's options cannot hold this path; set GM_TESTBED_DIR", dir)
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if st := info.Sys().(*syscall.Stat_t); !info.IsDir() || st.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s is not a directory that only root can write to; remove it or set GM_TESTBED_DIR", dir)
	}
	return &bed{dir, logf}, nil
}

// lock takes a lock of the state directory and returns the file that holds it
// until it is closed, or until its process ends in whatever way.
func (b *bed) lock(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", f.Name(), err)
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// instance is the directory, cgroups and mounts of one machine.
type instance struct {
	name  string
	dir   string
	owner *os.File // locked as long as the process that made the instance lives
}

var (
	instances    atomic.Int32
	instanceName = regexp.MustCompile(`^gm-testbed-\d+-\d+$`)
)

// newInstance makes the directory of a new machine, after removing those of
// processes that ended without doing so.
func (b *bed) newInstance(kind string) (*instance, error) {
	parent := filepath.Join(b.dir, kind)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	// Between making a directory and locking its owner file it looks abandoned.
	all, err := b.lock("lock")
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if err := b.reap(parent); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("gm-testbed-%d-%d", os.Getpid(), instances.Add(1))
	i := &instance{name: name, dir: filepath.Join(parent, name)}
	if err := os.Mkdir(i.dir, 0o755); err != nil {
		return nil, err
	}
	if i.owner, err = os.Create(i.path("owner")); err != nil {
		return nil, err
	}
	return i, flock(i.owner, syscall.LOCK_EX|syscall.LOCK_NB)
}

// reap removes the instances whose owner is gone.
func (b *bed) reap(parent string) error {
	dirs, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		if !instanceName.MatchString(d.Name()) {
			continue // someone else's
		}
		i := &instance{name: d.Name(), dir: filepath.Join(parent, d.Name())}
		i.owner, err = os.Open(i.path("owner"))
		if err == nil && flock(i.owner, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			i.owner.Close()
			continue
		}
		b.logf("removing %s, left by a run that was killed", i.name)
		if err := i.remove(); err != nil {
			return fmt.Errorf("cannot remove what a killed run left: %w", err)
		}
	}
	return nil
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }

// remove ends every process of the instance and removes its mounts, cgroups and
// files. It works from what is there, so it also removes half an instance.
func (i *instance) remove() error {
	var errs []error
	for _, tree := range cgroupTrees().dirs {
		errs = append(errs, killTree(filepath.Join(tree, i.name)))
	}
	for _, tree := range cgroupTrees().dirs {
		errs = append(errs, removeTree(filepath.Join(tree, i.name)))
	}
	// nspawn's own, which it leaves when killed.
	os.Remove(propagateDir + i.name)
	os.Remove(nspawnLock(i.path("root")))
	errs = append(errs, removeDir(i.dir))
	if i.owner != nil {
		i.owner.Close()
	}
	return errors.Join(errs...)
}

const propagateDir = "/run/systemd/nspawn/propagate/"

// nspawnLock returns the file by which nspawn marks a mounted root as in use.
func nspawnLock(root string) string {
	var st syscall.Stat_t
	if syscall.Stat(root, &st) != nil {
		return ""
	}
	return fmt.Sprintf("/run/systemd/nspawn/locks/inode-%d:%d", st.Dev, st.Ino)
}

// removeDir removes a directory and the mounts in it, and no file that a mount
// which stays would show there.
func removeDir(dir string) error {
	var left []string
	err := poll(stopLimit, func() bool {
		for _, m := range mountsBelow(dir) {
			syscall.Unmount(m, 0)
		}
		left = mountsBelow(dir)
		return len(left) == 0
	})
	if err != nil {
		for _, m := range left {
			syscall.Unmount(m, syscall.MNT_DETACH)
		}
		if left = mountsBelow(dir); len(left) > 0 {
			return fmt.Errorf("still mounted: %v", left)
		}
	}
	return os.RemoveAll(dir)
}

var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountsBelow returns the mount points at or below a directory, the innermost and
// latest first.
func mountsBelow(dir string) (points []string) {
	info, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if p := mountEscapes.Replace(f[4]); p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	slices.Reverse(points)
	return points
}
