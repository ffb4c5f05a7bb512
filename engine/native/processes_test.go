package native

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gm/engine/native/shim"
	"gm/units"
)

// The test program is the shim of the processes that it makes, and a few programs of its
// own.
func init() {
	if len(os.Args) == 3 && os.Args[1] == shim.Argument {
		os.Exit(shim.Run(os.Args[2]))
	}
	if len(os.Args) < 3 || os.Args[1] != "test-program" {
		return
	}
	switch args := os.Args[3:]; os.Args[2] {
	case "use-memory": // so many MiB
		n, _ := strconv.Atoi(args[0])
		b := make([]byte, n<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		time.Sleep(time.Minute)
		runtime.KeepAlive(b)
	case "late": // becomes another program after a while
		syscall.Setsid()
		time.Sleep(60 * time.Millisecond)
		_ = syscall.Exec(args[0], args, append(os.Environ(), "INVOCATION_ID="+testInvocation))
	case "supervisor": // makes a unit's process, tells of it, and dies
		die(args)
	}
	os.Exit(1)
}

// testInvocation is that of this test run alone: processes are searched for in the whole machine,
// where the same tests may be run by others.
var testInvocation = func() string {
	const name = "GM_TEST_INVOCATION"
	if os.Getenv(name) == "" {
		_ = os.Setenv(name, newInvocation())
	}
	return os.Getenv(name)
}()

func testCommand(argv ...string) command { return command{argv: argv} }

// testDefinition is a service with systemd's defaults.
func testDefinition(argv ...string) *definition {
	return &definition{name: "web.service", kind: kindService, load: "loaded", service: &serviceDef{
		typ: "exec", start: []command{testCommand(argv...)}, killMode: "control-group", memoryMax: -1, oomPolicy: "kill",
		slice: "gm-shop.slice",
		exec: execDef{
			umask: defaultUmask, ignoreSIGPIPE: true, directoryMode: 0o755,
			stdin: units.Stream{Kind: "null"}, stdout: units.Stream{Kind: "null"}, stderr: units.Stream{Kind: "inherit"},
		},
	}}
}

// desk has processes and what a loop does for them.
type desk struct {
	*processes
	t        testing.TB
	children chan os.Signal
	posted   chan struct{}
	last     token

	mu     sync.Mutex
	events []event
}

// newDesk makes a desk whose units have control groups, if they can be made, or with bare
// none.
func newDesk(t testing.TB, bare bool, change ...func(*Options)) *desk {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := &Options{Home: Home(home), Program: program}
	for _, f := range change {
		f(o)
	}
	for _, fd := range openDescriptors() { // as lock does
		syscall.CloseOnExec(fd)
	}
	d := &desk{t: t, children: make(chan os.Signal, 1), posted: make(chan struct{}, 1)}
	signal.Notify(d.children, syscall.SIGCHLD)
	umask := syscall.Umask(0)
	syscall.Umask(umask)
	d.processes, err = newProcesses(o, d.post)
	if err != nil {
		t.Fatal(err)
	}
	if bare {
		d.groups.close()
		d.groups.base = ""
	} else if d.groups.base == "" {
		d.close()
		t.Skip("no control groups can be made here")
	}
	t.Cleanup(func() {
		for len(d.families) > 0 {
			for unit := range d.families {
				d.endUnit(unit)
				break
			}
		}
		d.close()
		signal.Stop(d.children)
		syscall.Umask(umask)
		signal.Reset(syscall.SIGPIPE)
	})
	return d
}

// eachWay runs a test with control groups and without.
func eachWay(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Run("control groups", func(t *testing.T) { test(t, newDesk(t, false)) })
	t.Run("bare", func(t *testing.T) { test(t, newDesk(t, true)) })
}

func (d *desk) post(ev event) {
	d.mu.Lock()
	d.events = append(d.events, ev)
	d.mu.Unlock()
	select {
	case d.posted <- struct{}{}:
	default:
	}
}

// await returns the first event that is accepted, and forgets it and those before it.
func (d *desk) await(what string, accept func(event) bool) event {
	d.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		d.mu.Lock()
		at := slices.IndexFunc(d.events, accept)
		if at >= 0 {
			ev := d.events[at]
			d.events = d.events[at+1:]
			d.mu.Unlock()
			return ev
		}
		d.mu.Unlock()
		select {
		case <-d.children:
			d.reap()
		case <-d.posted:
		case <-deadline:
			d.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// exit waits for the end of a process.
func (d *desk) exit(k token) exitStatus {
	d.t.Helper()
	return d.await("the end of a process", func(ev event) bool {
		x, ok := ev.(evExited)
		return ok && x.token == k
	}).(evExited).exit
}

// emptied waits until nothing of a unit is left.
func (d *desk) emptied(unit string) {
	d.t.Helper()
	d.awaitEmpty(unit)
	d.await("the emptiness of "+unit, func(ev event) bool { return ev == evEmptied{unit} })
}

// endUnit kills all of a unit.
func (d *desk) endUnit(unit string) {
	d.t.Helper()
	d.signal(effSignal{unit: unit, signal: int(syscall.SIGKILL)})
	d.emptied(unit)
}

// launch spawns a program as a unit's main process.
func (d *desk) launch(def *definition, change ...func(*effSpawn)) (token, proc, error) {
	d.last++
	e := effSpawn{
		token: d.last, unit: def.name, def: def, command: def.service.start[0],
		invocation: fmt.Sprintf("%032x", d.last),
	}
	for _, f := range change {
		f(&e)
	}
	q, err := d.spawn(e, spawnFiles{})
	return e.token, q, err
}

func (d *desk) mustLaunch(def *definition, change ...func(*effSpawn)) (token, proc) {
	d.t.Helper()
	k, q, err := d.launch(def, change...)
	if err != nil {
		d.t.Fatal(err)
	}
	return k, q
}

// shell is a service that runs a script, whose output is in a file.
func (d *desk) shell(script string) (def *definition, output func() string) {
	file := filepath.Join(d.t.TempDir(), "output")
	def = testDefinition("/bin/sh", "-c", script)
	def.service.exec.stdout = units.Stream{Kind: "append", Path: units.Spec(file)}
	return def, func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			d.t.Fatal(err)
		}
		return strings.TrimSuffix(string(text), "\n")
	}
}

// until waits for a condition that no event tells of.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// pids waits for the output of a script: so many process numbers.
func pids(t testing.TB, output func() string, n int) []int {
	t.Helper()
	var all []int
	until(t, "the script has written its numbers", func() bool {
		all = all[:0]
		for word := range strings.FieldsSeq(output()) {
			if pid, err := strconv.Atoi(word); err == nil {
				all = append(all, pid)
			}
		}
		return len(all) >= n
	})
	return all
}

func alive(pid int) bool {
	s, ok := lookAt(pid)
	return ok && !s.zombie
}

func TestTheEndIsTold(t *testing.T) {
	tests := []struct {
		name, script string
		want         exitStatus
	}{
		{"exit 0", "exit 0", exitStatus{}},
		{"exit code", "exit 42", exitStatus{code: 42}},
		{"highest exit code", "exit 255", exitStatus{code: 255}},
		{"SIGKILL", "kill -9 $$", exitStatus{signal: 9}},
		{"SIGTERM", "kill -15 $$", exitStatus{signal: 15}},
		{"core dump", "ulimit -c unlimited; cd /; kill -SEGV $$", exitStatus{signal: 11}},
		{"SIGPIPE is ignored", "kill -13 $$; exit 7", exitStatus{code: 7}},
	}
	eachWay(t, func(t *testing.T, d *desk) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before := time.Now()
				k, _ := d.mustLaunch(testDefinition("/bin/sh", "-c", test.script))
				got := d.exit(k)
				if got.at.Before(before) || time.Since(got.at) > time.Minute {
					t.Errorf("at %v, which is not now", got.at)
				}
				got.at, got.core = time.Time{}, false
				if got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			})
		}
	})
}

// strays are scripts that start processes in every way in which they can get out of sight.
// Each writes the numbers of all its processes, and waits.
var strays = []struct {
	name, script string
	processes    int
}{
	{"alone", "echo $$; exec sleep 60", 1},
	{"child", "sleep 60 & echo $$ $!; wait", 2},
	{"grandchild", "sh -c 'sleep 60 & echo $$ $!; wait' & echo $$; wait", 3},
	{"process group of its own", `perl -e 'setpgrp(0,0); $|=1; print "$$\n"; exec "sleep", "60"' & echo $$; wait`, 2},
	{"session of its own", "setsid sh -c 'echo $$; exec sleep 60' & echo $$; wait", 2},
	{"double fork", "setsid sh -c 'sleep 60 & echo $!' ; echo $$; exec sleep 60", 2},
	{"session of its own without environment", "env -i setsid sh -c 'echo $$; exec sleep 60' & echo $$; wait", 2},
	{"grandchild of a daemon", "setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 60\" & echo $$; wait' & echo $$; exec sleep 60", 3},
}

func TestSignalsReachAll(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			for _, test := range strays {
				t.Run(signal.String()+" "+test.name, func(t *testing.T) {
					def, output := d.shell(test.script)
					k, _ := d.mustLaunch(def)
					all := pids(t, output, test.processes)
					d.signal(effSignal{unit: def.name, signal: int(signal)})
					if got := d.exit(k); got.signal != int(signal) {
						t.Errorf("the main process ended with %+v", got)
					}
					d.emptied(def.name)
					for _, pid := range all {
						if alive(pid) {
							t.Errorf("process %d of %d runs still", pid, all)
						}
					}
				})
			}
		}
	})
}

func TestSignalToOneProcess(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		def, output := d.shell("sleep 60 & echo $$ $!; wait")
		k, _ := d.mustLaunch(def)
		all := pids(t, output, 2)
		d.signal(effSignal{unit: def.name, token: k, signal: int(syscall.SIGTERM)})
		d.exit(k)
		if !alive(all[1]) {
			t.Error("the child got the signal too")
		}
		d.awaitEmpty(def.name)
		if slices.Contains(d.events, event(evEmptied{def.name})) {
			t.Error("the unit was said to be empty")
		}
		d.signal(effSignal{unit: def.name, signal: int(syscall.SIGKILL)})
		d.await("emptiness", func(ev event) bool { return ev == evEmptied{def.name} })
	})
}

func TestSignalToAllButOne(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		def, output := d.shell("sleep 60 & setsid sleep 60 & echo $$ $! ; wait; exec sleep 60")
		k, q := d.mustLaunch(def)
		all := pids(t, output, 2)
		d.signal(effSignal{unit: def.name, except: k, signal: int(syscall.SIGKILL)})
		until(t, "the child has ended", func() bool { return !alive(all[1]) })
		if !alive(q.PID) {
			t.Error("the main process got the signal")
		}
	})
}

func TestClientsSignal(t *testing.T) {
	d := newDesk(t, true)
	def, output := d.shell("trap 'echo 11111111' USR1; sleep 60 & echo $$ $!; wait; wait")
	if err := d.kill(def.name, int(syscall.SIGUSR1), true); err == nil {
		t.Error("no error for a unit that does not run")
	}
	d.mustLaunch(def)
	pids(t, output, 2)
	if err := d.kill(def.name, int(syscall.SIGUSR1), false); err != nil {
		t.Error(err)
	}
	pids(t, output, 3)
}

// A crash is told of as soon as the session is empty; what got out of it is ended behind
// that.
func TestLeftoversAreEnded(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		def, output := d.shell(`setsid sh -c "trap '' TERM; sleep 60 & echo \$! \$\$; wait" & sleep 0.1; exit 1`)
		grouped := d.groups.base != ""
		k, _ := d.mustLaunch(def)
		all := pids(t, output, 2)
		d.exit(k)
		d.awaitEmpty(def.name)
		d.mu.Lock()
		told := slices.Contains(d.events, event(evEmptied{def.name}))
		d.mu.Unlock()
		if grouped {
			if told {
				t.Error("the group is said to be empty")
			}
			return
		}
		if !told {
			t.Error("the crash was made to wait for a search")
		}
		until(t, "what was left behind has ended", func() bool {
			select {
			case <-d.children:
				d.reap()
			default:
			}
			return !alive(all[0]) && !alive(all[1])
		})
	})
}

// What takes its time to end belongs to the unit also after its parent has ended, by which alone
// it was found.
func TestSlowStrayIsAwaited(t *testing.T) {
	d := newDesk(t, true)
	def, output := d.shell("env -i setsid perl -e '$SIG{TERM} = sub { select(undef, undef, undef, 0.3); exit }; $| = 1; print \"$$\\n\"; sleep 60 while 1' & wait")
	k, _ := d.mustLaunch(def)
	stray := pids(t, output, 1)[0]
	d.signal(effSignal{unit: def.name, signal: int(syscall.SIGTERM)})
	d.exit(k)
	d.emptied(def.name)
	if alive(stray) {
		t.Error("the unit is said to be empty before it is")
	}
}

// With KillMode=process what is left behind is wanted.
func TestLeftoversAreKept(t *testing.T) {
	d := newDesk(t, true)
	def, output := d.shell("setsid sh -c 'echo $$; exec sleep 60' & sleep 0.1; exit 0")
	def.service.killMode = "process"
	k, _ := d.mustLaunch(def)
	all := pids(t, output, 1)
	d.exit(k)
	d.emptied(def.name)
	if len(d.processes.search.sweeps) > 0 {
		t.Error("it is to be searched for")
	}
	if !alive(all[0]) {
		t.Error("it has ended")
	}
	_ = syscall.Kill(all[0], syscall.SIGKILL)
	until(t, "it has ended", func() bool { d.reap(); return !alive(all[0]) })
}

// What was left behind and has ended since is forgotten with the next run.
func TestLeftoversAreForgotten(t *testing.T) {
	d := newDesk(t, true)
	def, output := d.shell("sh -c 'echo $$; exec sleep 60' & sleep 0.1; exit 0")
	def.service.killMode = "process"
	k, _ := d.mustLaunch(def)
	left := pids(t, output, 1)[0]
	d.exit(k)
	if f := d.families[def.name]; len(f.sessions) != 1 {
		t.Errorf("sessions %v", f.sessions)
	}
	_ = syscall.Kill(left, syscall.SIGKILL)
	until(t, "it has ended", func() bool { d.reap(); return !alive(left) })
	d.mustLaunch(testDefinition("/bin/sleep", "60"))
	if f := d.families[def.name]; len(f.sessions) != 0 {
		t.Errorf("sessions %v are remembered", f.sessions)
	}
}

// The processes of the next run are not those that the last one left behind.
func TestRestartKeepsTheNewDaemon(t *testing.T) {
	d := newDesk(t, true)
	def, output := d.shell("setsid sh -c 'echo $$; exec sleep 60' & sleep 0.05; exit 1")
	k, _ := d.mustLaunch(def)
	old := pids(t, output, 1)[0]
	d.exit(k)
	d.emptied(def.name)
	next, output := d.shell("setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 60\" &' ; exec sleep 60")
	d.mustLaunch(next)
	daemon := pids(t, output, 1)[0]
	until(t, "the old one has ended", func() bool { d.reap(); return !alive(old) })
	if !alive(daemon) {
		t.Error("the new one has ended too")
	}
}

func TestNothingLeaks(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		run := func() {
			def := testDefinition("/bin/sh", "-c", "sleep 60 & wait")
			k, _ := d.mustLaunch(def)
			d.signal(effSignal{unit: def.name, signal: int(syscall.SIGTERM)})
			d.exit(k)
			d.emptied(def.name)
			bad := testDefinition("/nonexistent")
			_, _, err := d.launch(bad)
			if err == nil {
				t.Fatal("a program that is not there was executed")
			}
			d.emptied(bad.name)
		}
		run()
		files, routines := descriptorCount(t), runtime.NumGoroutine()
		for range 10 {
			run()
		}
		// A search may be under way.
		until(t, "goroutines have ended", func() bool { return runtime.NumGoroutine() <= routines })
		until(t, "files are closed", func() bool { return descriptorCount(t) <= files })
		d.reap()
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("a process is left: %d, %v", pid, err)
		}
		if n := len(d.families) + len(d.byPID) + len(d.byToken) + len(d.awaited); n > 0 {
			t.Errorf("%d entries are left in tables", n)
		}
	})
}

func descriptorCount(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
