package native

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
	"gm/units"
)

// output runs a script as a service that was changed, and returns what it has written.
func (d *desk) output(script string, change func(*execDef), also ...func(*effSpawn)) (string, proc) {
	d.t.Helper()
	def, output := d.shell(script)
	if change != nil {
		change(&def.service.exec)
	}
	k, q := d.mustLaunch(def, also...)
	if got := d.exit(k); got.code != 0 || got.signal != 0 {
		d.t.Errorf("the script ended with %+v", got)
	}
	d.emptied(def.name)
	return output(), q
}

func pointer(n int) *int { return &n }

func onlyRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestEnvironment(t *testing.T) {
	own, _ := (&accounts{passwd: database{path: "/etc/passwd"}}).user(strconv.Itoa(os.Geteuid()))
	home := []string{"HOME=" + own.home, "LOGNAME=" + own.name, "SHELL=" + own.shell, "USER=" + own.name}
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	tests := []struct {
		name    string
		root    bool
		options []string // Options.Environ
		def     func(*definition)
		spawn   func(*effSpawn)
		files   spawnFiles
		want    []string
	}{
		{name: "nothing said", want: append([]string{path}, home...)},
		{
			name: "the supervisor's", options: []string{"PATH=/opt/bin:/usr/bin", "HOME=/app", "LANG=C.UTF-8"},
			want: append(slices.Clone(home[1:]), "PATH=/opt/bin:/usr/bin", "HOME=/app", "LANG=C.UTF-8"),
		},
		{
			name: "the unit's win", options: []string{"A=supervisor", "B=supervisor"},
			def:  func(d *definition) { d.service.exec.env = []string{"A=unit", "C=unit\n2", "A=last"} },
			want: append([]string{path, "A=last", "B=supervisor", "C=unit\n2"}, home...),
		},
		{
			name: "search path", options: []string{"PATH=/opt/bin"},
			def:  func(d *definition) { d.service.exec.searchPath = "/bin:/usr/bin" },
			want: append([]string{"PATH=/bin:/usr/bin"}, home...),
		},
		{
			name: "user", root: true, options: []string{"HOME=/app"},
			def:  func(d *definition) { d.service.exec.user = "root" },
			want: append([]string{path}, accountOf(t, "root")...),
		},
		{
			name: "user without a shell", root: true, options: []string{"HOME=/app", "SHELL=/bin/sh"},
			def:  func(d *definition) { d.service.exec.user = "daemon" },
			want: append([]string{path}, slices.Delete(accountOf(t, "daemon"), 2, 3)...),
		},
		{
			name: "nobody", root: true, options: []string{"HOME=/app"},
			def:  func(d *definition) { d.service.exec.user = "nobody" },
			want: []string{path, "USER=nobody", "LOGNAME=nobody"},
		},
		{
			name: "of this run", spawn: func(e *effSpawn) { e.env = []string{"MAINPID=12", "EXIT_STATUS=TERM"} },
			files: spawnFiles{notify: "/run/notify"},
			want:  append([]string{path, "NOTIFY_SOCKET=/run/notify", "MAINPID=12", "EXIT_STATUS=TERM"}, home...),
		},
		{
			name: "by a shim", def: func(d *definition) { d.service.exec.noNewPrivs = true },
			want: append([]string{path, "SYSTEMD_EXEC_PID=PID"}, home...),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.root {
				onlyRoot(t)
			}
			d := newDesk(t, true, func(o *Options) { o.Environ = test.options })
			out := filepath.Join(t.TempDir(), "out")
			def := testDefinition("/usr/bin/env", "-0")
			def.service.exec.stdout = units.Stream{Kind: "truncate", Path: units.Spec(out)}
			if test.def != nil {
				test.def(def)
			}
			e := effSpawn{token: 1, unit: def.name, def: def, command: def.service.start[0], invocation: testInvocation}
			if test.spawn != nil {
				test.spawn(&e)
			}
			q, err := d.spawn(e, test.files)
			if err != nil {
				t.Fatal(err)
			}
			d.exit(1)
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
			for i := range got {
				got[i] = strings.Replace(got[i], "="+strconv.Itoa(q.PID), "=PID", 1)
			}
			want := append(slices.Clone(test.want), "INVOCATION_ID="+testInvocation)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func accountOf(t testing.TB, name string) []string {
	a, ok := (&accounts{passwd: database{path: "/etc/passwd"}}).user(name)
	if !ok {
		t.Fatalf("there is no %s here", name)
	}
	return []string{"HOME=" + a.home, "LOGNAME=" + name, "SHELL=" + a.shell, "USER=" + name}
}

// What a process has, besides its environment, in the plain way and by a shim.
func TestAttributes(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name   string
		root   bool
		script string
		change func(*execDef)
		want   string
	}{
		{"directory", false, "pwd", func(x *execDef) {}, "/"},
		{"own directory", false, "pwd", func(x *execDef) { x.dir = dir }, dir},
		{"optional directory", false, "pwd", func(x *execDef) { x.dir, x.dirOptional = "/nonexistent", true }, "/"},
		{"home", true, "pwd", func(x *execDef) { x.user, x.dir = "daemon", "~" }, strings.TrimPrefix(accountHome(t, "daemon"), "HOME=")},
		{"umask", false, "umask", func(x *execDef) {}, "0022"},
		{"the supervisor's umask", false, "umask", func(x *execDef) { x.umask = -1 }, "0022"},
		{"own umask", false, "umask", func(x *execDef) { x.umask = 0o77 }, "0077"},
		// The last one is the directory that ls reads.
		{"standard input", false, "readlink /proc/self/fd/0", func(x *execDef) {}, "/dev/null"},
		{"standard input from a file", false, "cat", func(x *execDef) {
			x.stdin = units.Stream{Kind: "file", Path: "/proc/sys/kernel/ostype"}
		}, "Linux"},
		{"nothing else is open", false, "exec ls -C /proc/self/fd", func(x *execDef) {}, "0  1  2  3"},
		{"nothing else is open by a shim", false, "exec ls -C /proc/self/fd", func(x *execDef) { x.umask = 0o77 }, "0  1  2  3"},
		{"session", false, "awk '{print ($1==$5) ($1==$6)}' /proc/self/stat", func(x *execDef) {}, "00"},
		{"session leader", false, "read -r a b c d pgrp session rest </proc/$$/stat; echo $((pgrp==$$)) $((session==$$))", func(x *execDef) {}, "1 1"},
		{"no signal is blocked", false, "sed -n 's/^SigBlk:\t//p' /proc/self/status", func(x *execDef) {}, "0000000000000000"},
		{"only SIGPIPE is ignored", false, "sed -n 's/^SigIgn:\t//p' /proc/self/status", func(x *execDef) {}, "0000000000001000"},
		{"only SIGPIPE is ignored by a shim", false, "sed -n 's/^SigIgn:\t//p' /proc/self/status", func(x *execDef) { x.umask = 0o77 }, "0000000000001000"},
		{"SIGPIPE is not ignored", false, "sed -n 's/^SigIgn:\t//p' /proc/self/status", func(x *execDef) { x.ignoreSIGPIPE = false }, "0000000000000000"},
		{"nice", false, "nice", func(x *execDef) { x.nice = pointer(7) }, "7"},
		{"nice below 0", true, "nice", func(x *execDef) { x.nice = pointer(-3) }, "-3"},
		{"out of memory", false, "cat /proc/self/oom_score_adj", func(x *execDef) { x.oomScore = pointer(500) }, "500"},
		{"no new privileges", false, "sed -n 's/^NoNewPrivs:\t//p' /proc/self/status", func(x *execDef) { x.noNewPrivs = true }, "1"},
		{"privileges", false, "sed -n 's/^NoNewPrivs:\t//p' /proc/self/status", func(x *execDef) {}, "0"},
		{"idle disk", false, "ionice -p $$", func(x *execDef) { x.ioClass = "idle" }, "idle"},
		{"disk priority", false, "ionice -p $$", func(x *execDef) { x.ioPriority = pointer(6) }, "best-effort: prio 6"},
		{"open files", false, "ulimit -Sn; ulimit -Hn", func(x *execDef) {
			x.limits = map[string]limit{"NOFILE": {512, 1024}}
		}, "512\n1024"},
		{"core size and processes", false, "ulimit -Sc; awk '/^Max processes/ {print $3, $4}' /proc/self/limits", func(x *execDef) {
			x.limits = map[string]limit{"CORE": {0, 0}, "NPROC": {500, 600}}
		}, "0\n500 600"},
		{"user", true, "id -u; id -g; id -G", func(x *execDef) { x.user = "daemon" }, "1\n1\n1"},
		{"user by number", true, "id -u", func(x *execDef) { x.user = "1" }, "1"},
		{"user by a shim", true, "id -u; id -g; id -G; umask", func(x *execDef) { x.user, x.umask = "daemon", 0o27 }, "1\n1\n1\n0027"},
		{"group", true, "id -u; id -g", func(x *execDef) { x.group = "daemon" }, "0\n1"},
		{"user and group", true, "id -u; id -g; id -G", func(x *execDef) { x.user, x.group = "daemon", "bin" }, "1\n2\n2"},
		{"supplementary groups", true, "id -u; id -G", func(x *execDef) {
			x.user, x.supplementary = "daemon", []string{"adm", "12"}
		}, "1\n1 4 12"},
		{"no capabilities", true, "sed -n 's/^CapEff:\t//p' /proc/self/status", func(x *execDef) { x.user = "daemon" }, "0000000000000000"},
	}
	eachWay(t, func(t *testing.T, d *desk) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				if test.root {
					onlyRoot(t)
				}
				if strings.Contains(test.script, "/proc") || strings.Contains(test.script, "ionice") {
					if _, err := os.Stat("/proc/self/oom_score_adj"); err != nil {
						t.Skip("needs Linux")
					}
				}
				outer := d.t
				d.t = t
				defer func() { d.t = outer }()
				if got, _ := d.output(test.script, test.change); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
	})
}

func accountHome(t testing.TB, name string) string { return accountOf(t, name)[0] }

// What the supervisor inherited is what its processes get: Go raises the limit of open
// files for itself only.
func TestOpenFilesAreAsInherited(t *testing.T) {
	if os.Getenv("GM_TEST_LIMITED") == "" {
		program, _ := os.Executable()
		pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", `ulimit -Sn 1000; exec "$0" -test.run '^TestOpenFilesAreAsInherited$'`, program},
			&syscall.ProcAttr{Env: append(os.Environ(), "GM_TEST_LIMITED=1"), Files: []uintptr{0, 1, 2}})
		if err != nil {
			t.Fatal(err)
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
			t.Errorf("ended with %d, %v", status.ExitStatus(), err)
		}
		return
	}
	d := newDesk(t, true)
	for name, umask := range map[string]int{"plain": defaultUmask, "by a shim": 0o77} {
		if got, _ := d.output("ulimit -Sn", func(x *execDef) { x.umask = umask }); got != "1000" {
			t.Errorf("%s: got %s, want 1000", name, got)
		}
	}
}

// Nor is what the supervisor inherited: nohup, and a shell's &, ignore signals.
func TestSignalsAreNotAsInherited(t *testing.T) {
	if os.Getenv("GM_TEST_IGNORING") == "" {
		program, _ := os.Executable()
		cmd := exec.Command("/bin/sh", "-c", `trap '' HUP INT QUIT USR1 34; exec "$0" -test.run "^TestSignalsAreNotAsInherited$"`, program)
		cmd.Env = append(os.Environ(), "GM_TEST_IGNORING=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	d := newDesk(t, true)
	for name, umask := range map[string]int{"plain": defaultUmask, "by a shim": 0o77} {
		got, _ := d.output("trap 'echo HUP' HUP; trap 'echo INT' INT; kill -HUP $$; kill -INT $$", func(x *execDef) { x.umask = umask })
		if got != "HUP\nINT" {
			t.Errorf("%s: trapped are %q", name, got)
		}
	}
	syscall.Kill(os.Getpid(), syscall.SIGHUP) // is still ignored
}

func TestPrivilegedCommandsAreTheSupervisors(t *testing.T) {
	onlyRoot(t)
	d := newDesk(t, true)
	got, _ := d.output("id -u; echo $USER", func(x *execDef) { x.user = "daemon" }, func(e *effSpawn) { e.command.privileged = true })
	if want := "0\ndaemon"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamesOfPrograms(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own-program")
	if err := os.WriteFile(own, []byte("#!/bin/sh\necho own \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, true, func(o *Options) { o.Environ = []string{"PATH=/nonexistent:/usr/bin:/bin"} })
	tests := []struct {
		name   string
		argv   []string
		arg0   bool
		change func(*execDef)
		want   string
	}{
		{"searched for", []string{"echo", "hello"}, false, nil, "hello"},
		{"in a path of its own", []string{"own-program", "1"}, false, func(x *execDef) { x.searchPath = "/bin:" + dir }, "own 1"},
		{"another first argument", []string{"/bin/sh", "other", "-c", "echo $0"}, true, nil, "other"},
		{"arguments as they are", []string{"/usr/bin/printf", "%s,", "a b", "", "$HOME", "\n"}, false, nil, "a b,,$HOME,\n,"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			def, output := d.shell("")
			def.service.start[0] = command{argv: test.argv, arg0: test.arg0}
			if test.change != nil {
				test.change(&def.service.exec)
			}
			k, _ := d.mustLaunch(def)
			d.exit(k)
			d.emptied(def.name)
			if got := output(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatCannotBeSpawned(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	text := write("text", "#!/bin/sh\n", 0o644)
	orphan := write("orphan", "#!/nonexistent/interpreter\n", 0o755)
	noFormat := write("no-format", "\x01\x02\x03", 0o755)
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		root   bool
		change func(*definition)
		step   string
		code   int
		err    error
		text   string
	}{
		{"no program", false, withCommand("/nonexistent/app"), "EXEC", 203, syscall.ENOENT, "cannot execute /nonexistent/app"},
		{"no program by that name", false, withCommand("nonexistent-app"), "EXEC", 203, nil, "install it"},
		{"not executable", false, withCommand(text), "EXEC", 203, syscall.EACCES, text},
		{"directory", false, withCommand(dir), "EXEC", 203, syscall.EACCES, dir},
		{"no interpreter", false, withCommand(orphan), "EXEC", 203, syscall.ENOENT, "what its first line names"},
		{"no format", false, withCommand(noFormat), "EXEC", 203, syscall.ENOEXEC, noFormat},
		{"arguments too long", false, withCommand("/bin/echo", strings.Repeat("x", 200_000)), "EXEC", 203, syscall.E2BIG, "/bin/echo"},
		{"no directory", false, withExec(func(x *execDef) { x.dir = "/nonexistent" }), "CHDIR", 200, syscall.ENOENT, "/nonexistent"},
		{"file as a directory", false, withExec(func(x *execDef) { x.dir = text }), "CHDIR", 200, syscall.ENOTDIR, text},
		{"directory of others", true, withExec(func(x *execDef) { x.dir, x.user = private, "nobody" }), "CHDIR", 200, syscall.EACCES, private},
		{"no user", false, withExec(func(x *execDef) { x.user = "no-such-user" }), "USER", 217, nil, `"no-such-user"`},
		{"no group", false, withExec(func(x *execDef) { x.group = "no-such-group" }), "GROUP", 216, nil, `"no-such-group"`},
		{"no supplementary group", false, withExec(func(x *execDef) { x.supplementary = []string{"no-such-group"} }), "GROUP", 216, nil, `"no-such-group"`},
		{"soft limit above hard", false, withExec(func(x *execDef) { x.limits = map[string]limit{"NOFILE": {20, 10}} }), "LIMITS", 205, syscall.EINVAL, "limits"},
		{"unknown limit", false, withExec(func(x *execDef) { x.limits = map[string]limit{"HATS": {1, 1}} }), "LIMITS", 205, nil, "LimitHATS="},
		{"out of memory score", false, withExec(func(x *execDef) { x.oomScore = pointer(2000) }), "OOM_ADJUST", 206, syscall.EINVAL, "OOMScoreAdjust="},
		{"root directory", true, withExec(func(x *execDef) { x.root = "/nonexistent" }), "CHROOT", 210, syscall.ENOENT, "/nonexistent"},
		{"terminal", false, withExec(func(x *execDef) { x.stdin = units.Stream{Kind: "tty"} }), "STDIN", 208, nil, "StandardInput=tty"},
		{"input", false, withExec(func(x *execDef) { x.stdin = units.Stream{Kind: "file", Path: "/nonexistent"} }), "STDIN", 208, syscall.ENOENT, "/nonexistent"},
		{"output", false, withExec(func(x *execDef) {
			x.stdout = units.Stream{Kind: "append", Path: "/nonexistent/log"}
		}), "STDOUT", 209, syscall.ENOENT, "/nonexistent/log"},
		{"errors", false, withExec(func(x *execDef) {
			x.stderr = units.Stream{Kind: "append", Path: "/nonexistent/log"}
		}), "STDERR", 222, syscall.ENOENT, "/nonexistent/log"},
		{"environment file", false, withExec(func(x *execDef) { x.envFiles = []envFile{{pattern: "/nonexistent"}} }), "ENVIRONMENT", exitResources, syscall.ENOENT, "/nonexistent"},
	}
	eachWay(t, func(t *testing.T, d *desk) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				if test.root {
					onlyRoot(t)
				}
				def := testDefinition("/bin/true")
				test.change(def)
				k, q, err := d.launch(def)
				if err == nil {
					d.exit(k)
					t.Fatalf("no error, but process %+v", q)
				}
				var failed *spawnError
				if !errors.As(err, &failed) {
					t.Fatalf("%T, not a *spawnError", err)
				}
				if failed.step != test.step || failed.code != test.code {
					t.Errorf("got step %s, code %d, want %s, %d: %v", failed.step, failed.code, test.step, test.code, err)
				}
				if test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				if !strings.Contains(err.Error(), test.text) {
					t.Errorf("got %q, which does not say %q", err, test.text)
				}
				d.emptied(def.name)
				if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
					t.Error("a process is left")
				}
			})
		}
	})
}

func withCommand(argv ...string) func(*definition) {
	return func(d *definition) { d.service.start[0] = testCommand(argv...) }
}

func withExec(f func(*execDef)) func(*definition) { return func(d *definition) { f(&d.service.exec) } }

// A user of the machine has no say in who runs.
func TestOthersNeedRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may become anyone")
	}
	d := newDesk(t, true)
	def := testDefinition("/bin/true")
	def.service.exec.user = "daemon"
	_, _, err := d.launch(def)
	var failed *spawnError
	if !errors.As(err, &failed) || failed.step != "GROUP" || failed.code != 216 || !errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v, want EPERM in step GROUP", err)
	}
	own, ok := (&accounts{passwd: database{path: "/etc/passwd"}}).user(strconv.Itoa(os.Geteuid()))
	if !ok {
		t.Skip("this user has no entry")
	}
	got, _ := d.output("id -u", func(x *execDef) { x.user = own.name })
	if got != strconv.Itoa(own.uid) {
		t.Errorf("got user %s, want %d", got, own.uid)
	}
}

func TestSocketsArePassedOn(t *testing.T) {
	d := newDesk(t, true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	def, output := d.shell("echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID==$$)) $((SYSTEMD_EXEC_PID==$$)); readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5")
	e := effSpawn{token: 1, unit: def.name, def: def, command: def.service.start[0], invocation: testInvocation}
	if _, err := d.spawn(e, spawnFiles{sockets: []uintptr{file.Fd(), file.Fd()}, names: []string{"http", "admin"}}); err != nil {
		t.Fatal(err)
	}
	d.exit(1)
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		t.Skip("needs Linux")
	}
	if got, want := output(), "2 http:admin 1 1\n"+link+"\n"+link; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A request may be longer than a socket's buffer.
func TestLongEnvironment(t *testing.T) {
	d := newDesk(t, true)
	var env []string
	for i := range 20 {
		env = append(env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 50_000)))
	}
	got, _ := d.output("env | wc -c | awk '{print ($1 > 1000000)}'", func(x *execDef) { x.env, x.umask = env, 0o77 })
	if got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestDirectoriesAreMade(t *testing.T) {
	d := newDesk(t, true)
	dir := filepath.Join(t.TempDir(), "run", "web")
	user := ""
	if os.Geteuid() == 0 {
		user = "daemon"
	}
	got, _ := d.output("stat -c '%a %U' "+dir, func(x *execDef) {
		x.runtimeDirs, x.directoryMode, x.user = []string{dir}, 0o750, user
		if user != "" {
			x.dir = "/"
		}
	}, func(e *effSpawn) { e.command.privileged = true })
	if user != "" {
		if want := "750 daemon"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	} else if !strings.HasPrefix(got, "750 ") {
		t.Errorf("got %s, want mode 750", got)
	}
}

func TestOutputIsPassedOn(t *testing.T) {
	var mu sync.Mutex
	got := map[engine.Stream][]string{}
	d := newDesk(t, true, func(o *Options) {
		o.Output = func(unit string, stream engine.Stream, line []byte) {
			mu.Lock()
			defer mu.Unlock()
			got[stream] = append(got[stream], unit+": "+string(line))
		}
	})
	def := testDefinition("/bin/sh", "-c", "echo one; echo; echo two >&2; printf unfinished; sleep 60 & exit 0")
	def.service.exec.stdout = units.Stream{Kind: "journal"}
	k, _ := d.mustLaunch(def)
	d.exit(k)
	d.endUnit(def.name)
	d.pipes.close()
	want := map[engine.Stream][]string{
		engine.Stdout: {"web.service: one", "web.service: ", "web.service: unfinished"},
		engine.Stderr: {"web.service: two"},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if entries, _ := os.ReadDir(d.o.Home.Logs()); len(entries) > 0 {
		t.Errorf("there are log files: %v", entries)
	}
}

func TestLinesAreWhole(t *testing.T) {
	long := strings.Repeat("x", longestLine)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"lines", "a\nb\n", []string{"a", "b"}},
		{"empty lines", "\n\na\n", []string{"", "", "a"}},
		{"unfinished", "a\nb", []string{"a", "b"}},
		{"longest", long + "\n", []string{long}},
		{"longer", long + "yz\nb\n", []string{long, "yz", "b"}},
		{"much longer", long + long + "y", []string{long, long, "y"}},
		{"longer than the buffer", strings.Repeat("a", 5000) + "\nb\n", []string{strings.Repeat("a", 5000), "b"}},
		{"carriage return", "a\r\n", []string{"a\r"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			passOn(bytes.NewBufferString(test.text), func(line []byte) { got = append(got, string(line)) })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	a := accounts{passwd: database{path: filepath.Join(dir, "passwd")}, group: database{path: filepath.Join(dir, "group")}}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(a.passwd.path, "root:x:0:0:root:/root:/bin/bash\n1000:x:7:7::/odd:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/zsh\nshort:x:1\n\nbad:x:y:1::/:/x")
	write(a.group.path, "users:x:100:\nwheel:x:10:bob,ann\nmail:x:12:ann\nother:x:13:anna\n")
	ann := account{"ann", "/home/ann", "/bin/zsh", 1000, 100}
	for name, want := range map[string]account{"ann": ann, "1000": {"1000", "/odd", "/bin/sh", 7, 7}, "0": {"root", "/root", "/bin/bash", 0, 0}} {
		if got, ok := a.user(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"nobody-at-all", "4711", "short", "bad"} {
		if got, ok := a.user(name); ok {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if diff := cmp.Diff([]int{100, 10, 12}, a.groupsOf(ann, 100)); diff != "" {
		t.Errorf("groups of ann (-want +got)\n%s", diff)
	}
	if gid, ok := a.groupID("wheel"); !ok || gid != 10 {
		t.Errorf("wheel is %d, %v", gid, ok)
	}
	write(a.passwd.path, "ann:x:1001:100:Ann:/home/ann:/bin/zsh\n")
	if got, ok := a.user("ann"); !ok || got.uid != 1001 {
		t.Errorf("after a change: got %+v, %v", got, ok)
	}
}
