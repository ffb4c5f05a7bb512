package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// trees are the cgroup hierarchies in which a machine gets a cgroup of its own.
type trees struct {
	dirs []string
	v1   bool // the controllers are on v1
}

func cgroupTrees() (t trees) {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		options := strings.Split(f[3], ",")
		has := func(names ...string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(options, n) })
		}
		switch {
		case has("ro"):
			continue
		case t.holds(f[1]): // mounted at a second place, for a chroot say
		case f[2] == "cgroup2", f[2] == "cgroup" && has("name=systemd"):
			t.dirs = append(t.dirs, f[1])
		case f[2] == "cgroup" && has("memory", "pids", "cpu", "cpuacct") && !has("cpuset"):
			// A new cgroup of cpuset takes no process before its CPUs are set.
			t.dirs = append(t.dirs, f[1])
			t.v1 = true
		}
	}
	return t
}

// holds reports whether a hierarchy is among the trees already.
func (t *trees) holds(dir string) bool {
	this, err := os.Stat(dir)
	return err == nil && slices.ContainsFunc(t.dirs, func(other string) bool {
		have, err := os.Stat(other)
		return err == nil && os.SameFile(this, have)
	})
}

func (i *instance) makeCgroups(t trees) (made []string, err error) {
	for _, tree := range t.dirs {
		dir := filepath.Join(tree, i.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, unavailablef("cannot make a cgroup: %v", err)
		}
		made = append(made, dir)
	}
	if len(made) == 0 {
		return nil, unavailablef("no writable cgroup hierarchy is mounted")
	}
	return made, nil
}

// killTree kills every process below a cgroup, looking again until there is none:
// a process may fork meanwhile.
func killTree(dir string) error {
	var pids []int
	err := poll(stopLimit, func() bool {
		pids = pidsBelow(dir)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
	if err != nil {
		return fmt.Errorf("processes %v of %s cannot be killed", pids, dir)
	}
	return nil
}

func pidsBelow(dir string) (pids []int) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil // a cgroup may go while this looks
		}
		procs, _ := os.ReadFile(path)
		for _, f := range strings.Fields(string(procs)) {
			// 0 stands for a process this PID namespace does not see, and kill(0)
			// would end the caller's own group.
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) error {
	err := poll(stopLimit, func() bool {
		var dirs []string
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) {
			syscall.Rmdir(d)
		}
		_, err := os.Lstat(dir)
		return errors.Is(err, fs.ErrNotExist) // busy for a moment after the last process ended
	})
	if err != nil {
		return fmt.Errorf("cannot remove cgroup %s", dir)
	}
	return nil
}
