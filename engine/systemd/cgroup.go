package systemd

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/engine"
)

const (
	cgroupfs = "/sys/fs/cgroup"
	// userHz is the unit of the times in /proc; see proc_pid_stat(5). It is 100 on
	// every architecture that Go runs on.
	userHz = 100
)

// cgroup is where a unit's processes are accounted: a path in the unified
// hierarchy, and for version 1 one in those of the controllers.
type cgroup struct {
	unified string
	v1      map[string]string // by controller
}

// cgroupOf reads the control group of a unit from its main process; nil means that
// systemd is to be asked. Reading takes a quarter of the time of asking.
func (m *manager) cgroupOf(u *engine.UnitState) *cgroup {
	// The paths in a container's /proc are relative to the reader's own group.
	if u.MainPID == 0 || m.options.Root != "" {
		return nil
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(u.MainPID) + "/cgroup")
	if err != nil {
		return nil
	}
	return parseCgroup(string(b), u.Name)
}

// parseCgroup reads a /proc/PID/cgroup of a process of a unit; see cgroups(7). It is
// nil if the process is in no group of the unit.
func parseCgroup(text, unit string) *cgroup {
	g := &cgroup{v1: map[string]string{}}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		name := upToUnit(parts[2], unit)
		switch controllers := parts[1]; {
		case name == "":
			// This controller is not in use for the unit.
		case controllers == "":
			g.unified = name
		case controllers == "name=systemd":
			// The only one that has all units if nothing is unified.
			g.v1["systemd"] = name
		default:
			for c := range strings.SplitSeq(controllers, ",") {
				g.v1[c] = path.Join(controllers, name)
			}
		}
	}
	if g.unified == "" {
		g.unified = g.v1["systemd"]
	}
	if g.unified == "" {
		return nil
	}
	return g
}

// upToUnit cuts the groups that a service made below its own from a path, and is ""
// for one that is not the unit's.
func upToUnit(name, unit string) string {
	elements := strings.Split(name, "/")
	// systemd escapes what the kernel would take for a file of its own, "cpu.service",
	// and what begins with "_" or "." (cg_escape in cgroup-util.c).
	i := slices.IndexFunc(elements, func(e string) bool { return e == unit || e == "_"+unit })
	if i < 0 {
		return ""
	}
	return strings.Join(elements[:i+1], "/")
}

// measure fills in what a unit uses, from its control group where that counts it
// and otherwise from its processes.
func (m *manager) measure(u *engine.UnitState, g *cgroup, tasks bool) {
	u.Measured = time.Now()
	if g.unified == "" {
		return
	}
	file := func(elements ...string) string {
		return m.options.path(filepath.Join(append([]string{cgroupfs}, elements...)...))
	}
	if n, ok := readNumber(file(g.unified, "memory.current")); ok {
		u.Memory = n
	} else if g.v1["memory"] != "" {
		if n, ok := readNumber(file(g.v1["memory"], "memory.usage_in_bytes")); ok {
			u.Memory = n
		}
	}
	if usec, ok := readKey(file(g.unified, "cpu.stat"), "usage_usec"); ok {
		u.CPU = time.Duration(usec) * time.Microsecond
	} else if g.v1["cpuacct"] != "" {
		if nsec, ok := readNumber(file(g.v1["cpuacct"], "cpuacct.usage")); ok {
			u.CPU = time.Duration(nsec)
		}
	}
	if tasks {
		if n, ok := readNumber(file(g.unified, "pids.current")); ok {
			u.Tasks = int(n)
		} else if g.v1["pids"] != "" {
			if n, ok := readNumber(file(g.v1["pids"], "pids.current")); ok {
				u.Tasks = int(n)
			}
		}
	}
	if u.Memory >= 0 && u.CPU >= 0 && (u.Tasks > 0 || !tasks) {
		return
	}
	var sum usage
	for _, dir := range []string{file(g.unified), file("unified", g.unified), file("systemd", g.unified)} {
		if sum.addGroup(dir); sum.processes > 0 {
			break
		}
	}
	if sum.processes == 0 {
		return
	}
	if u.Memory < 0 {
		u.Memory = sum.memory
	}
	if u.CPU < 0 {
		u.CPU = sum.cpu
	}
	if u.Tasks == 0 && tasks {
		u.Tasks = sum.tasks
	}
}

// usage is what the processes that live use and used.
type usage struct {
	processes, tasks int
	memory           int64
	cpu              time.Duration
}

// addGroup adds the processes of a group and of those below. The kernel tells their
// numbers as the reader's own /proc has them, whatever container they are in.
func (sum *usage) addGroup(dir string) {
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		sum.add("/proc/" + pid + "/stat")
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			sum.addGroup(filepath.Join(dir, e.Name()))
		}
	}
}

// add reads a /proc/PID/stat; see proc_pid_stat(5).
func (sum *usage) add(name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return // it has ended
	}
	// The second field is a name in parentheses that may hold anything.
	text := string(b)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const first, utime, stime, threads, rss = 3, 14, 15, 20, 24
	if len(f) <= rss-first {
		return
	}
	n := func(field int) int64 {
		v, _ := strconv.ParseInt(f[field-first], 10, 64)
		return v
	}
	sum.processes++
	sum.tasks += int(n(threads))
	sum.memory += n(rss) * int64(os.Getpagesize())
	sum.cpu += time.Duration(n(utime)+n(stime)) * time.Second / userHz
}

// readNumber reads a file that holds one number.
func readNumber(name string) (int64, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// readKey reads a number from a file of lines "KEY NUMBER".
func readKey(name, key string) (int64, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			n, err := strconv.ParseInt(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
