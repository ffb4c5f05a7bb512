package enginetest

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// task is a process of a nest, in the nest's numbers.
type task struct {
	nest   nest
	pid    int
	parent int
	state  byte   // Z is a zombie
	start  uint64 // since the boot, in the kernel's ticks
	argv   []string
}

func (k task) String() string {
	return fmt.Sprintf("%d (of %d, %c) %q", k.pid, k.parent, k.state, k.argv)
}

// inside is a path of the nest as the test can open it, its mounts included.
func (n nest) inside(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", n.init.Process.Pid), path)
}

// tasks returns the processes of a nest, PID 1 not among them.
func (n nest) tasks(t testing.TB) []task {
	t.Helper()
	dirs, err := os.ReadDir(n.inside("/proc"))
	if err != nil {
		t.Fatal(err)
	}
	var all []task
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == 1 {
			continue
		}
		if k, ok := n.task(pid); ok {
			all = append(all, k)
		}
	}
	return all
}

// find returns the processes with these arguments.
func (n nest) find(t testing.TB, argv ...string) []task {
	t.Helper()
	return slices.DeleteFunc(n.tasks(t), func(k task) bool { return !slices.Equal(k.argv, argv) })
}

// task looks at a process; false if there is none.
func (n nest) task(pid int) (task, bool) {
	dir := n.inside("/proc/" + strconv.Itoa(pid))
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return task{}, false
	}
	// What is behind the name begins with the third field; a name may hold anything.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	k := task{nest: n, pid: pid, state: f[0][0]}
	k.parent, _ = strconv.Atoi(string(f[1]))
	k.start, _ = strconv.ParseUint(string(f[19]), 10, 64)
	cmdline, _ := os.ReadFile(dir + "/cmdline")
	k.argv = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	return k, true
}

// file is a file of the process in /proc.
func (k task) file(name string) string {
	return k.nest.inside(fmt.Sprintf("/proc/%d/%s", k.pid, name))
}

// signal signals this very process; it does nothing when that is gone. The number may be
// another's by now, which a file descriptor of its directory in /proc tells.
func (k task) signal(signal syscall.Signal) {
	dir, err := os.Open(k.file(""))
	if err != nil {
		return
	}
	defer dir.Close()
	if now, ok := k.nest.task(k.pid); ok && now.start == k.start {
		unix.PidfdSendSignal(int(dir.Fd()), signal, nil, 0) // gone just now
	}
}

// environ returns a variable of the process's environment.
func (k task) environ(name string) string {
	text, _ := os.ReadFile(k.file("environ"))
	for pair := range strings.SplitSeq(string(text), "\x00") {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// supervises reports whether the process is a supervisor.
func (k task) supervises() bool {
	return k.state != 'Z' && len(k.argv) > 1 && slices.Contains(k.argv[1:], "supervise") && !strings.HasSuffix(k.argv[0], "bash")
}

// supervisor returns the only supervisor; false if there is none.
func (n nest) supervisor(t testing.TB) (task, bool) {
	t.Helper()
	var found []task
	for _, k := range n.tasks(t) {
		if k.supervises() {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return task{}, false
	}
	// A younger one is about to find that its place is taken.
	return slices.MinFunc(found, func(a, b task) int { return cmp.Compare(a.start, b.start) }), true
}

// descriptors counts the open files of a process.
func (k task) descriptors() int {
	all, _ := os.ReadDir(k.file("fd"))
	return len(all)
}

// memory is what a process has for itself, its share of what it shares included.
func (k task) memory() (bytes int64) {
	text, _ := os.ReadFile(k.file("smaps_rollup"))
	for _, line := range lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
