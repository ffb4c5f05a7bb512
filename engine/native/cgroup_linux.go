package native

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// groups are the control groups of units, in the unified hierarchy (cgroups(7)), below the
// one that the supervisor was started in. The last part of their paths is the unit's name,
// as systemd has it.
type groups struct {
	own  string // the supervisor's group
	base string // its part for units, "" where none can be made
	// limits says that memory.max can be set in them.
	limits bool
	// moved says that the supervisor is in a group below base: one that gives a controller
	// to others may hold no processes itself.
	moved bool
	// refused says that the kernel does not fork into them, so that there will be none.
	refused bool
	left    map[string]string // groups of an earlier supervisor, by unit
}

// openGroups finds whether control groups can be made.
func openGroups(h Home) *groups {
	mount, own, ok := unifiedGroup("/proc/self/mountinfo", "/proc/self/cgroup")
	if !ok {
		return &groups{}
	}
	return openGroupsIn(mount, own, h, os.Getpid())
}

// openGroupsIn is openGroups below a mount, for the process of a number.
func openGroupsIn(mount, own string, h Home, self int) *groups {
	name := groupOfHome(h)
	g := &groups{own: filepath.Join(mount, own)}
	parts := strings.Split(own, "/")
	if at := slices.Index(parts, name); at >= 0 {
		// This supervisor was started by one of the same home, or in its place.
		g.own = filepath.Join(mount, filepath.Join(parts[:at]...))
		g.moved = slices.Equal(parts[at+1:], []string{supervisorGroup})
	}
	base := filepath.Join(g.own, name)
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return &groups{}
	}
	// A process is moved by who may write to the group above both places.
	for _, file := range []string{g.own + "/cgroup.procs", base + "/cgroup.procs"} {
		if unix.Access(file, unix.W_OK) != nil {
			_ = os.Remove(base)
			return &groups{}
		}
	}
	if kind := readWords(base + "/cgroup.type"); len(kind) > 0 && kind[0] != "domain" {
		_ = os.Remove(base)
		return &groups{}
	}
	g.base = base
	g.limits = g.enable(self)
	g.left = map[string]string{}
	g.sweep(base)
	return g
}

// groupOfHome names the group of a home, which is to be found again and no one else's.
func groupOfHome(h Home) string {
	home, err := filepath.Abs(string(h))
	if err != nil {
		home = string(h)
	}
	sum := sha256.Sum256([]byte(home))
	return "gm-" + hex.EncodeToString(sum[:4])
}

// supervisorGroup is the supervisor's group below base, if it had to move.
const supervisorGroup = "supervisor"

// unifiedGroup returns where the unified hierarchy is mounted, and the group of this process
// in it.
func unifiedGroup(mountinfo, cgroup string) (mount, own string, ok bool) {
	text, err := os.ReadFile(cgroup)
	if err != nil {
		return "", "", false
	}
	for line := range strings.Lines(string(text)) {
		if path, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); is {
			own = path
		}
	}
	f, err := os.Open(mountinfo)
	if err != nil || own == "" {
		return "", "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		if columns := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(columns) > 4 {
			// A mount may show a part of the hierarchy, and a group lie beside it.
			below, err := filepath.Rel(columns[3], own)
			if err == nil && below != ".." && !strings.HasPrefix(below, "../") {
				return columns[4], below, true
			}
		}
	}
	return "", "", false
}

const memoryController = "memory"

// enable has units get the memory controller, if that disturbs nobody: groups of others
// would get it too.
func (g *groups) enable(self int) bool {
	if !slices.Contains(readWords(g.own+"/cgroup.controllers"), memoryController) {
		return false
	}
	if !slices.Contains(readWords(g.own+"/cgroup.subtree_control"), memoryController) && !g.moveAside(self) {
		return false
	}
	return control(g.base, "+"+memoryController) == nil
}

// moveAside moves the supervisor below base and then enables the controller in its group,
// if nobody else is in it.
func (g *groups) moveAside(self int) bool {
	// The root of the hierarchy is the machine's. It has no type.
	if len(readWords(g.own+"/cgroup.type")) == 0 {
		return false
	}
	entries, err := os.ReadDir(g.own)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != filepath.Base(g.base) {
			return false
		}
	}
	if !slices.Equal(readWords(g.own+"/cgroup.procs"), []string{strconv.Itoa(self)}) {
		return false
	}
	aside := filepath.Join(g.base, supervisorGroup)
	if err := os.Mkdir(aside, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return false
	}
	if writeFile(aside+"/cgroup.procs", strconv.Itoa(self)) != nil {
		_ = os.Remove(aside)
		return false
	}
	g.moved = true
	if control(g.own, "+"+memoryController) != nil {
		g.moveBack(self)
		return false
	}
	return true
}

// moveBack undoes moveAside.
func (g *groups) moveBack(self int) {
	_ = control(g.base, "-"+memoryController)
	_ = control(g.own, "-"+memoryController)
	if writeFile(g.own+"/cgroup.procs", strconv.Itoa(self)) == nil {
		g.moved = false
		_ = os.Remove(filepath.Join(g.base, supervisorGroup))
	}
}

// sweep removes the groups below dir in which nothing is left, and notes those of units.
func (g *groups) sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || dir == g.base && e.Name() == supervisorGroup {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if g.left != nil && strings.HasSuffix(path, ".service") {
			if removeGroup(path) != nil {
				g.left[strings.TrimPrefix(e.Name(), "_")] = path
			}
			continue
		}
		g.sweep(path)
		_ = os.Remove(path)
	}
}

// close removes what is empty.
func (g *groups) close() {
	if g.base == "" {
		return
	}
	g.left = nil
	g.sweep(g.base)
	if entries, err := os.ReadDir(g.base); err == nil && g.moved {
		if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.IsDir() && e.Name() != supervisorGroup }) {
			g.moveBack(os.Getpid())
		}
	}
	_ = os.Remove(g.base)
}

// make makes the group of a unit. Limited says that the kernel holds the unit to max.
func (g *groups) make(d *definition) (dir string, limited bool, err error) {
	dir = g.base
	for _, slice := range slicePath(d.service.slice) {
		dir += "/" + groupName(slice)
	}
	dir += "/" + groupName(d.name)
	err = unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT {
		if err = g.makeParents(filepath.Dir(dir)); err == nil {
			err = unix.Mkdir(dir, 0o755)
		}
	}
	if err != nil && err != unix.EEXIST {
		return "", false, err
	}
	if !g.limits {
		return dir, false, nil
	}
	if d.service.memoryMax < 0 {
		if err == unix.EEXIST {
			_ = writeFile(dir+"/memory.max", "max")
		}
		return dir, false, nil
	}
	if d.service.oomPolicy == "kill" {
		_ = writeFile(dir+"/memory.oom.group", "1")
	}
	// Without this one the limit is where swapping begins. A kernel may have no swap.
	_ = writeFile(dir+"/memory.swap.max", "0")
	return dir, writeFile(dir+"/memory.max", strconv.FormatInt(d.service.memoryMax, 10)) == nil, nil
}

func (g *groups) makeParents(dir string) error {
	below, err := filepath.Rel(g.base, dir)
	if err != nil {
		return err
	}
	path := g.base
	if err := unix.Mkdir(path, 0o755); err == nil && g.limits {
		_ = control(path, "+"+memoryController)
	}
	for part := range strings.SplitSeq(below, "/") {
		path = filepath.Join(path, part)
		if err := unix.Mkdir(path, 0o755); err != nil && err != unix.EEXIST {
			return err
		}
		if g.limits {
			_ = control(path, "+"+memoryController)
		}
	}
	return nil
}

// slicePath returns the slices that a slice lies in, and itself: a-b.slice is in a.slice.
func slicePath(slice string) []string {
	name, ok := strings.CutSuffix(slice, ".slice")
	if !ok || name == "-" {
		return nil
	}
	var path []string
	for i := range name {
		if name[i] == '-' && i > 0 {
			path = append(path, name[:i]+".slice")
		}
	}
	return append(path, slice)
}

// groupName keeps a name apart from those of the kernel's own files, as systemd does.
func groupName(name string) string {
	first, _, _ := strings.Cut(name, ".")
	switch first {
	case "cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids", "hugetlb", "rdma", "misc",
		"freezer", "perf_event", "net_cls", "net_prio", "":
		return "_" + name
	}
	if name[0] == '_' {
		return "_" + name
	}
	return name
}

// of returns the group of a process that an earlier supervisor made, "" if that is none
// of a unit of this home.
func (g *groups) of(pid int, unit string) string {
	if g.base == "" {
		return ""
	}
	if dir, ok := g.left[unit]; ok {
		return dir
	}
	// The earlier one may have been started in another place.
	mount, path, ok := unifiedGroup("/proc/self/mountinfo", "/proc/"+strconv.Itoa(pid)+"/cgroup")
	if !ok {
		return ""
	}
	parts := strings.Split(path, "/")
	base, at := slices.Index(parts, filepath.Base(g.base)), slices.Index(parts, groupName(unit))
	if base < 0 || at < base {
		return ""
	}
	return filepath.Join(mount, filepath.Join(parts[:at+1]...))
}

// enforces reports whether a group that is there has a limit.
func enforces(group string) bool {
	words := readWords(group + "/memory.max")
	return len(words) == 1 && words[0] != "max"
}

// removeGroup removes a group in which no process is left; any other is an error.
func removeGroup(dir string) error {
	err := unix.Rmdir(dir)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if populated(dir) {
		return err
	}
	entries, _ := os.ReadDir(dir) // what the unit has made itself
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return unix.Rmdir(dir)
}

func populated(dir string) bool { return numberIn(dir+"/cgroup.events", "populated") != 0 }

// oomKills returns how many processes of a group the kernel has killed for its limit.
func oomKills(group string) int64 { return numberIn(group+"/memory.events", "oom_kill") }

// groupUsage reads what a group with the memory controller uses.
func groupUsage(dir string) (u usage, ok bool) {
	words := readWords(dir + "/memory.current")
	if len(words) != 1 {
		return usage{}, false
	}
	u.memory, _ = strconv.ParseInt(words[0], 10, 64)
	u.cpu = microseconds(numberIn(dir+"/cpu.stat", "usage_usec"))
	u.tasks = len(readWords(dir + "/cgroup.threads"))
	return u, true
}

// groupMembers returns the processes of a group and of those in it.
func groupMembers(dir string) (pids []int) {
	for _, word := range readWords(dir + "/cgroup.procs") {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	var info unix.Stat_t
	if unix.Stat(dir, &info) != nil || info.Nlink <= 2 {
		return pids
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			pids = append(pids, groupMembers(filepath.Join(dir, e.Name()))...)
		}
	}
	return pids
}

// killGroup has the kernel kill a whole group at once: 5.14 and later.
func killGroup(dir string) error { return writeFile(dir+"/cgroup.kill", "1") }

// openGroup opens a group for the fork(2) into it.
func openGroup(dir string) (int, error) {
	return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// control enables or disables a controller for the groups in dir.
func control(dir, what string) error { return writeFile(dir+"/cgroup.subtree_control", what) }

// writeFile writes to a file of the kernel's, which takes one write and is never made.
func writeFile(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = syscall.Write(fd, []byte(text))
	_ = unix.Close(fd)
	return err
}

// readText reads one of the kernel's files, which have no size to ask for.
func readText(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return text
		}
		text = text[:len(text)+n]
		if len(text) == cap(text) {
			text = slices.Grow(text, len(text))
		}
	}
}

func readWords(path string) []string { return strings.Fields(string(readText(path))) }

// numberIn reads a number from a file of lines "NAME NUMBER", 0 if it is not there.
func numberIn(path, name string) int64 {
	for line := range bytes.Lines(readText(path)) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			return n
		}
	}
	return 0
}
