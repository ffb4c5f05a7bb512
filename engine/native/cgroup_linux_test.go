package native

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSlicePath(t *testing.T) {
	for slice, want := range map[string][]string{
		"":                    nil,
		"-.slice":             nil,
		"gm.slice":            {"gm.slice"},
		"gm-shop-front.slice": {"gm.slice", "gm-shop.slice", "gm-shop-front.slice"},
		`gm-my\x20shop.slice`: {"gm.slice", `gm-my\x20shop.slice`},
		"gm-shop":             nil,
	} {
		if diff := cmp.Diff(want, slicePath(slice)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", slice, diff)
		}
	}
}

func TestGroupName(t *testing.T) {
	for name, want := range map[string]string{
		"web.service": "web.service", "cpu.service": "_cpu.service", "memory.service": "_memory.service", "cgroup.service": "_cgroup.service",
		"_x.service": "__x.service", ".x.service": "_.x.service", "cpus.service": "cpus.service",
	} {
		if got := groupName(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestUnifiedGroup(t *testing.T) {
	const hybrid = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
	tests := []struct {
		name, mountinfo, cgroup string
		mount, own              string
		ok                      bool
	}{
		{"hybrid", hybrid, "4:memory:/x\n0::/user.slice/a\n", "/sys/fs/cgroup/unified", "user.slice/a", true},
		{"root", "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n", "/sys/fs/cgroup", ".", true},
		{"a part is mounted", "1 2 0:3 /pod/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/pod/c1/sub\n", "/sys/fs/cgroup", "sub", true},
		{"another part is mounted", "1 2 0:3 /pod/c2 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/pod/c1\n", "", "", false},
		{"not mounted", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n", "0::/\n", "", "", false},
		{"version 1 only", hybrid, "4:memory:/x\n", "", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"mountinfo": test.mountinfo, "cgroup": test.cgroup} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			mount, own, ok := unifiedGroup(filepath.Join(dir, "mountinfo"), filepath.Join(dir, "cgroup"))
			if mount != test.mount || own != test.own || ok != test.ok {
				t.Errorf("got %q, %q, %v", mount, own, ok)
			}
		})
	}
}

// Whether the memory controller is enabled, in a picture of the kernel's files.
func TestControllersOfOthersAreLeftAlone(t *testing.T) {
	const self = 4711
	tests := []struct {
		name   string
		files  map[string]string
		dirs   []string
		limits bool
		moved  bool
	}{
		{"alone", map[string]string{"cgroup.controllers": "cpu memory", "cgroup.type": "domain", "cgroup.procs": "4711\n"}, nil, true, true},
		{"enabled already", map[string]string{"cgroup.controllers": "memory", "cgroup.subtree_control": "memory", "cgroup.procs": "1\n2\n"}, nil, true, false},
		{"no controller", map[string]string{"cgroup.controllers": "cpu", "cgroup.type": "domain", "cgroup.procs": "4711\n"}, nil, false, false},
		{"others are there", map[string]string{"cgroup.controllers": "memory", "cgroup.type": "domain", "cgroup.procs": "4711\n12\n"}, nil, false, false},
		{"groups of others are there", map[string]string{"cgroup.controllers": "memory", "cgroup.type": "domain", "cgroup.procs": "4711\n"}, []string{"other"}, false, false},
		{"the machine's root", map[string]string{"cgroup.controllers": "memory", "cgroup.procs": "4711\n"}, nil, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			home := Home(t.TempDir())
			name := groupOfHome(home)
			for _, dir := range append(test.dirs, name, name+"/supervisor") {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, file := range []string{"cgroup.procs", "cgroup.subtree_control"} {
					if err := os.WriteFile(filepath.Join(root, dir, file), nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, file := range []string{"cgroup.subtree_control", "cgroup.type"} {
				if err := os.WriteFile(filepath.Join(root, file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range test.files {
				if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
			g := openGroupsIn(root, ".", home, self)
			if g.limits != test.limits || g.moved != test.moved {
				t.Errorf("limits %v, moved %v", g.limits, g.moved)
			}
			after, _ := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
			if touched := string(before) != string(after); touched != test.moved {
				t.Errorf("the group's controllers are %q, were %q", after, before)
			}
			if moved, _ := os.ReadFile(filepath.Join(root, name, "supervisor/cgroup.procs")); (string(moved) == strconv.Itoa(self)) != test.moved {
				t.Errorf("in the group aside is %q", moved)
			}
		})
	}
}

func TestUnitsHaveGroups(t *testing.T) {
	d := newDesk(t, false)
	def, output := d.shell("cat /proc/self/cgroup; sed -n 's/^0:://p' /proc/self/cgroup; exec sleep 60")
	_, q := d.mustLaunch(def)
	until(t, "the group is told", func() bool { return strings.Count(output(), "\n/")+strings.Count(output(), "\n0::") > 0 })
	_, path, _ := strings.Cut(output(), "0::")
	path, _, _ = strings.Cut(path, "\n")
	if !strings.HasSuffix(path, "/gm.slice/gm-shop.slice/web.service") {
		t.Errorf("the group is %s", path)
	}
	dir := d.families[def.name].group
	if got := groupMembers(dir); !slices.Contains(got, q.PID) {
		t.Errorf("%v are in it", got)
	}
	// What the unit makes in it goes with it.
	if err := os.Mkdir(filepath.Join(dir, "own"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.endUnit(def.name)
	if _, err := os.Stat(dir); err == nil {
		t.Error("the group is still there")
	}
	base := d.groups.base
	d.groups.close()
	if _, err := os.Stat(base); err == nil {
		t.Error("the groups of this home are still there")
	}
}

// Programs that were attached to the group of one run are not those of the next.
func TestEachRunHasAGroupOfItsOwn(t *testing.T) {
	d := newDesk(t, false)
	def := testDefinition("/bin/sleep", "60")
	def.service.killMode = "process"
	number := func() uint64 {
		var info syscall.Stat_t
		if err := syscall.Stat(d.families[def.name].group, &info); err != nil {
			t.Fatal(err)
		}
		return info.Ino
	}
	k, _ := d.mustLaunch(def)
	first := number()
	d.signal(effSignal{unit: def.name, token: k, signal: int(syscall.SIGKILL)})
	d.exit(k)
	control, _ := d.mustLaunch(def, func(e *effSpawn) { e.role = roleControl })
	second := number()
	d.signal(effSignal{unit: def.name, token: control, signal: int(syscall.SIGKILL)})
	d.exit(control)
	d.mustLaunch(def, func(e *effSpawn) { e.invocation = d.families[def.name].invocation })
	if second == first {
		t.Error("the next run is in the group of the last")
	}
	if number() != second {
		t.Error("the main process is not in the group of what ran before it")
	}
}

// Where the kernel enforces the limit, it is known that it did.
func TestTheKernelHoldsToTheLimit(t *testing.T) {
	d := newDesk(t, false)
	if !d.groups.limits {
		t.Skip("the memory controller cannot be had here")
	}
	def := useMemory(t, "64")
	def.service.memoryMax = 48 << 20
	k, _ := d.mustLaunch(def)
	if got := d.memory(def.name); got != "cgroup" {
		t.Errorf("the limit is enforced by %q", got)
	}
	d.await("word of the limit", func(ev event) bool {
		if _, ok := ev.(evExited); ok {
			t.Error("the end was told before the reason")
		}
		return ev == evOverMemory{unit: def.name, killed: true}
	})
	if got := d.exit(k); got.signal != int(syscall.SIGKILL) {
		t.Errorf("it ended with %+v", got)
	}
	d.emptied(def.name)

	below := useMemory(t, "16")
	below.service.memoryMax = 128 << 20
	d.mustLaunch(below)
	until(t, "the memory is in use", func() bool { return d.usage([]string{below.name})[below.name].memory > 16<<20 })
	if u := d.usage([]string{below.name})[below.name]; u.tasks < 2 || u.cpu <= 0 || u.memory > 128<<20 {
		t.Errorf("it uses %+v", u)
	}
	if d.polling.timer != nil {
		t.Error("it is polled too")
	}
	r := record{Unit: below.name, Invocation: d.families[below.name].invocation, Main: d.families[below.name].roots[0].proc}
	d.processes.close()
	next, err := newProcesses(d.o, d.post)
	if err != nil {
		t.Fatal(err)
	}
	d.processes = next
	if main, _ := d.adopt(&r, -1, -2); !main || d.memory(below.name) != "cgroup" {
		t.Errorf("adopted %v, with its limit enforced by %q", main, d.memory(below.name))
	}
	d.endUnit(below.name)
}
