package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// die is a supervisor that is killed after it has started a unit.
func die(args []string) {
	p, err := newProcesses(&Options{Home: Home(args[0])}, func(event) {})
	if err != nil {
		os.Exit(2)
	}
	if args[1] == "bare" {
		p.groups.close()
		p.groups.base = ""
	}
	q, err := p.spawn(effSpawn{
		token: 1, unit: "web.service", def: testDefinition(args[2:]...), command: testCommand(args[2:]...),
		invocation: testInvocation,
	}, spawnFiles{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	_ = json.NewEncoder(os.Stdout).Encode(q)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// inherited runs a supervisor that starts a unit and dies, and returns what it left. The
// unit's processes are then those of the machine's init.
func inherited(t *testing.T, d *desk, argv ...string) record {
	t.Helper()
	way := "grouped"
	if d.groups.base == "" {
		way = "bare"
	}
	program, _ := os.Executable()
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// In a process that ends before it, so that it is nobody's child here.
	pid, err := syscall.ForkExec(program, append([]string{"gm", "test-program", "supervisor", string(d.o.Home), way}, argv...),
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, f.Fd(), 2}})
	if err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Signaled() {
		t.Fatalf("the supervisor ended with %v, %v", status, err)
	}
	r := record{Unit: "web.service", Invocation: testInvocation, Active: "active", Sub: "running"}
	text, err := os.ReadFile(out)
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&r.Main)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// locateAndAdopt adopts a unit one of whose processes was being made.
func (d *desk) locateAndAdopt(r *record) (main, control bool) {
	left := []record{*r}
	d.locate(left)
	*r = left[0]
	return d.adopt(r, -1, -2)
}

func TestAdoption(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		abandonOrphans(t)
		t.Run("it runs", func(t *testing.T) {
			r := inherited(t, d, "/bin/sleep", "60")
			if main, control := d.adopt(&r, -1, -2); !main || control {
				t.Fatalf("adopted %v, %v", main, control)
			}
			d.signal(effSignal{unit: r.Unit, token: -1, signal: int(syscall.SIGTERM)})
			if got := d.exit(-1); !got.unknown {
				t.Errorf("the status is said to be known: %+v", got)
			}
			d.emptied(r.Unit)
		})
		t.Run("all of it", func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			r := inherited(t, d, "/bin/sh", "-c", "sleep 60 & setsid sh -c 'sleep 60 & echo $!' & sleep 0.2; echo $$ $! >>"+out+"; exec sleep 60")
			d.adopt(&r, -1, -2)
			all := pids(t, func() string { b, _ := os.ReadFile(out); return string(b) }, 2)
			d.signal(effSignal{unit: r.Unit, signal: int(syscall.SIGTERM)})
			d.exit(-1)
			d.emptied(r.Unit)
			for _, pid := range all {
				if alive(pid) {
					t.Errorf("process %d runs still", pid)
				}
			}
		})
		t.Run("it has ended and left others", func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			r := inherited(t, d, "/bin/sh", "-c", "setsid sleep 60 & echo $! >"+out+"; exit 0")
			left := pids(t, func() string { b, _ := os.ReadFile(out); return string(b) }, 1)[0]
			until(t, "the main process has ended", func() bool { return !alive(r.Main.PID) })
			if main, _ := d.adopt(&r, -1, -2); main {
				t.Error("it is said to run")
			}
			d.awaitEmpty(r.Unit)
			if slices.Contains(d.events, event(evEmptied{r.Unit})) {
				t.Error("the unit is said to be empty")
			}
			d.signal(effSignal{unit: r.Unit, signal: int(syscall.SIGTERM)})
			d.await("emptiness", func(ev event) bool { return ev == evEmptied{r.Unit} })
			if alive(left) {
				t.Error("what was left runs still")
			}
		})
		t.Run("another has its number", func(t *testing.T) {
			r := inherited(t, d, "/bin/sleep", "60")
			r.Main.Start--
			if main, _ := d.adopt(&r, -1, -2); main {
				t.Error("it was adopted")
			}
			d.endUnit(r.Unit)
		})
		t.Run("it is being made", func(t *testing.T) {
			r := inherited(t, d, "/bin/sleep", "60")
			made := r.Main
			r.Main, r.Spawning, r.Sub = proc{}, true, "start"
			if main, control := d.locateAndAdopt(&r); !main || control || r.Main != made {
				t.Errorf("adopted %v, %v, %+v, want %+v", main, control, r.Main, made)
			}
			d.endUnit(r.Unit)
		})
		t.Run("a control process is being made", func(t *testing.T) {
			r := inherited(t, d, "/bin/sleep", "60")
			made := r.Main
			r.Main, r.Spawning, r.Sub = proc{}, true, "start-pre"
			if main, control := d.locateAndAdopt(&r); main || !control || r.Control != made {
				t.Errorf("adopted %v, %v, %+v, want %+v", main, control, r.Control, made)
			}
			d.endUnit(r.Unit)
		})
	})
}

// abandonOrphans has orphans go to the machine's init, as they do after the death of the
// supervisor that made them.
func abandonOrphans(t *testing.T) {
	if os.Getpid() == 1 || runtime.GOOS != "linux" {
		t.Skip("orphans cannot be others' here")
	}
	setSubreaper(t, false)
	t.Cleanup(func() { setSubreaper(t, true) })
}

// A fork shows the supervisor's program and none of its variables until it is done.
func TestAdoptionOfAFork(t *testing.T) {
	d := newDesk(t, true)
	program, _ := os.Executable()
	pid, err := syscall.ForkExec(program, []string{"gm", "test-program", "late", "/bin/sleep", "60"},
		&syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	r := record{Unit: "web.service", Invocation: testInvocation, Sub: "start", Spawning: true}
	main, _ := d.locateAndAdopt(&r)
	if !main || r.Main.PID != pid {
		t.Errorf("adopted %v, %+v, want process %d", main, r.Main, pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	d.endUnit(r.Unit)
}

// After gm supervise --replace processes are children still.
func TestAdoptionOfChildren(t *testing.T) {
	d := newDesk(t, true)
	def := testDefinition("/bin/sh", "-c", "sleep 0.1; exit 5")
	_, q := d.mustLaunch(def)
	next, err := newProcesses(d.o, d.post)
	if err != nil {
		t.Fatal(err)
	}
	d.processes.close()
	d.processes = next
	d.groups.close()
	d.groups.base = ""
	r := record{Unit: def.name, Invocation: testInvocation, Main: q}
	if main, _ := d.adopt(&r, -1, -2); !main {
		t.Fatal("it was not adopted")
	}
	if got := d.exit(-1); got.unknown || got.code != 5 {
		t.Errorf("got %+v, want exit code 5", got)
	}
	d.emptied(def.name)

	// It has ended while one program was executed in the place of the other.
	_, q = d.mustLaunch(testDefinition("/bin/sh", "-c", "exit 6"))
	d.byPID, d.byToken, d.families = map[int]*tracked{}, map[token]*tracked{}, map[string]*family{}
	until(t, "it has ended", func() bool { return !alive(q.PID) })
	r.Main = q
	if main, _ := d.adopt(&r, -2, -3); !main {
		t.Fatal("it was not adopted")
	}
	select {
	case <-d.children: // of which the next program would not know
	default:
	}
	if got := d.exit(-2); got.unknown || got.code != 6 {
		t.Errorf("got %+v, want exit code 6", got)
	}
	d.emptied(def.name)
}

// MAINPID= of a program that forks: the last one is the supervisor's child by then, the first
// one is not.
func TestAnotherMainProcess(t *testing.T) {
	eachWay(t, func(t *testing.T, d *desk) {
		tests := []struct {
			name, script string
			want         exitStatus
		}{
			{"a child of the main process", "sh -c 'echo $$; exec sleep 60' & wait; wait; exec sleep 60", exitStatus{unknown: true}},
			{"an orphan", "setsid sh -c 'echo $$; exec sleep 60' & exit 0", exitStatus{signal: 9}},
			{"one that becomes an orphan", "setsid sh -c 'echo $$; exec sleep 60' & sleep 0.3", exitStatus{signal: 9}},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				def, output := d.shell(test.script)
				k, q := d.mustLaunch(def)
				other := pids(t, output, 1)[0]
				if _, err := d.follow(def.name, os.Getpid(), 999); err == nil {
					t.Error("a process of others was taken")
				}
				if _, err := d.follow(def.name, q.PID, 999); err == nil {
					t.Error("the main process was taken twice")
				}
				const next = 1000
				if p, err := d.follow(def.name, other, next); err != nil || p.PID != other {
					t.Fatalf("got %+v, %v", p, err)
				}
				if !test.want.unknown {
					d.exit(k)
				}
				d.signal(effSignal{unit: def.name, token: next, signal: int(syscall.SIGKILL)})
				got := d.exit(next)
				got.at = time.Time{}
				if got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
				d.endUnit(def.name)
			})
		}
	})
}
