package native

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"gm/units"
)

// home writes the files of a txtar archive below a home's units/ and returns that. "link
// NAME TARGET" lines before the first file make links.
func home(t testing.TB, archive string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "units")
	a := txtar.Parse([]byte(archive))
	for _, f := range a.Files {
		file := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(a.Comment)) {
		words := strings.Fields(line)
		if len(words) != 3 || words[0] != "link" {
			continue
		}
		link := filepath.Join(dir, words[1])
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(words[2], link); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mustLoad(t testing.TB, dir string, user bool, earlier *library) *library {
	t.Helper()
	l, err := load(dir, user, earlier)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustFind(t testing.TB, l *library, unit string) *definition {
	t.Helper()
	d, ok := l.find(unit)
	if !ok {
		t.Fatalf("there is no %s", unit)
	}
	return d
}

func TestLoadNothing(t *testing.T) {
	l := mustLoad(t, filepath.Join(t.TempDir(), "units"), false, nil)
	if _, ok := l.find("web.service"); ok || len(l.units) > 0 {
		t.Errorf("there are units: %v", l.units)
	}
}

// The compiler's units can all be run.
func TestLoadGoldens(t *testing.T) {
	eachGolden(t, func(t *testing.T, set units.Set) {
		dir := filepath.Join(t.TempDir(), "units")
		for _, u := range set {
			file := filepath.Join(dir, u.Name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, units.Render(u), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l := mustLoad(t, dir, false, nil)
		for _, u := range set {
			name := u.Name
			if units.CheckName(name) != nil {
				continue // a drop-in
			}
			if templateName(name) == name {
				name = strings.Replace(name, "@", "@0", 1)
			}
			if d := mustFind(t, l, name); d.load != "loaded" {
				t.Errorf("%s is %s: %s", name, d.load, d.why)
			}
		}
	})
}

// What systemd fills in: systemd.service(5), systemd.exec(5), systemd.unit(5).
func TestDefaults(t *testing.T) {
	l := mustLoad(t, home(t, `
-- a.service --
[Service]
ExecStart=/bin/a
-- once.service --
[Service]
Type=oneshot
ExecStart=/bin/a
ExecStart=/bin/b
-- ready.service --
[Service]
Type=notify
ExecStart=/bin/a
KillSignal=SIGINT
TimeoutSec=infinity
-- a.timer --
[Timer]
OnCalendar=*-*-* 03:00:00
-- a.socket --
[Socket]
ListenStream=3000
`), false, nil)

	a := mustFind(t, l, "a.service")
	want := &definition{
		name: "a.service", kind: kindService, description: "a.service", fragment: a.fragment, digest: a.digest, load: "loaded",
		after: []string{"a.socket"},
		service: &serviceDef{
			typ: "simple", start: []command{{argv: []string{"/bin/a"}}},
			restart: "no", restartSec: 100 * time.Millisecond,
			timeoutStart: 90 * time.Second, timeoutStop: 90 * time.Second, notifyAccess: "none", killMode: "control-group",
			killSignal: 15, restartKillSignal: 15, finalSignal: 9, sendSIGKILL: true, oomPolicy: "stop", memoryMax: -1,
			sockets: []string{"a.socket"},
			exec: execDef{
				umask: 0o022, ignoreSIGPIPE: true, directoryMode: 0o755,
				stdin: units.Stream{Kind: "null"}, stdout: units.Stream{Kind: "journal"}, stderr: units.Stream{Kind: "inherit"},
			},
		},
	}
	want.limit.interval, want.limit.burst = 10*time.Second, 5
	if diff := cmp.Diff(a, want, compareAll); diff != "" {
		t.Errorf("a.service (-got +want):\n%s", diff)
	}
	if s := mustFind(t, l, "once.service").service; s.typ != "oneshot" || s.timeoutStart != 0 || len(s.start) != 2 {
		t.Errorf("a oneshot's start may take %v; it has %d commands", s.timeoutStart, len(s.start))
	}
	if s := mustFind(t, l, "ready.service").service; s.notifyAccess != "main" || s.restartKillSignal != 2 || s.timeoutStart != 0 || s.timeoutStop != 0 {
		t.Errorf("ready.service: %+v", s)
	}
	timer := mustFind(t, l, "a.timer")
	if timer.timer.accuracy != time.Minute || !timer.timer.remain || timer.timer.unit != "a.service" || !slices.Equal(timer.before, []string{"a.service"}) {
		t.Errorf("a.timer: %+v before %v", timer.timer, timer.before)
	}
	socket := mustFind(t, l, "a.socket")
	wantSocket := &socketDef{listen: []listenDef{{"stream", "3000"}}, service: "a.service", mode: 0o666, dirMode: 0o755, names: []string{"a.socket"}}
	if diff := cmp.Diff(socket.socket, wantSocket, compareAll); diff != "" {
		t.Errorf("a.socket (-got +want):\n%s", diff)
	}
}

var compareAll = cmp.AllowUnexported(definition{}, serviceDef{}, timerDef{}, socketDef{}, listenDef{}, command{}, execDef{},
	envFile{}, limit{}, condition{}, exitSet{}, struct {
		interval time.Duration
		burst    int
	}{})

// Directives that are read into fields, one by one.
func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name, lines string
		got         func(*serviceDef) any
		want        any
	}{
		{"lists add up and empty clears", "SuccessExitStatus=1\nSuccessExitStatus=\nSuccessExitStatus=130 143\nSuccessExitStatus=SIGUSR1 TEMPFAIL",
			func(s *serviceDef) any { return s.success },
			exitSet{codes: map[int]bool{130: true, 143: true, 75: true}, signals: map[int]bool{signalNumber("USR1"): true}}},
		{"the last single one wins", "KillMode=mixed\nKillMode=process", func(s *serviceDef) any { return s.killMode }, "process"},
		{"an unknown word is left out", "KillMode=mixed\nKillMode=some", func(s *serviceDef) any { return s.killMode }, "mixed"},
		{"signals", "KillSignal=RTMIN+3\nFinalKillSignal=3\nRestartKillSignal=USR1",
			func(s *serviceDef) any { return []int{s.killSignal, s.finalSignal, s.restartKillSignal} }, []int{37, 3, signalNumber("USR1")}},
		{"the last of a variable wins", `Environment=A=1 B=2` + "\n" + `Environment="A=three %%"`,
			func(s *serviceDef) any { return s.exec.env }, []string{"A=three %", "B=2"}},
		{"empty clears variables", "Environment=A=1\nEnvironment=\nEnvironment=B=2", func(s *serviceDef) any { return s.exec.env }, []string{"B=2"}},
		{"environment files", "EnvironmentFile=-/etc/a b\nEnvironmentFile=/etc/%p.env",
			func(s *serviceDef) any { return s.exec.envFiles }, []envFile{{"/etc/a b", true}, {"/etc/u.env", false}}},
		{"a directory that may be missing", "WorkingDirectory=-/srv/my app",
			func(s *serviceDef) any { return []any{s.exec.dir, s.exec.dirOptional} }, []any{"/srv/my app", true}},
		{"a search path", "ExecSearchPath=/a:/b\nExecSearchPath=/c",
			func(s *serviceDef) any { return s.exec.searchPath }, "/a:/b:/c"},
		{"limits", "LimitNOFILE=1024:infinity\nLimitFSIZE=2M\nLimitCPU=1min\nLimitNICE=-5\nLimitNPROC=7",
			func(s *serviceDef) any { return s.exec.limits },
			map[string]limit{"NOFILE": {1024, 1<<64 - 1}, "FSIZE": {2 << 20, 2 << 20}, "CPU": {60, 60}, "NICE": {25, 25}, "NPROC": {7, 7}}},
		{"directories", "RuntimeDirectory=a b/c\nLogsDirectory=d\nLogsDirectoryMode=0700",
			func(s *serviceDef) any { return []any{s.exec.runtimeDirs, s.exec.directoryMode, s.exec.env} },
			[]any{
				[]string{"/var/log/d", systemRun + "/a", systemRun + "/b/c"}, 0o700,
				[]string{"LOGS_DIRECTORY=/var/log/d", "RUNTIME_DIRECTORY=" + systemRun + "/a:" + systemRun + "/b/c"},
			}},
		{"a directory of a mode of its own", "StateDirectory=a\nStateDirectoryMode=0775", func(s *serviceDef) any { return s.exec.directoryMode }, 0o775},
		{"no directory above", "StateDirectory=../a", func(s *serviceDef) any { return s.exec.runtimeDirs }, []string(nil)},
		{"streams", "StandardOutput=append:/var/log/100%%/%p.log\nStandardError=tty", func(s *serviceDef) any { return []any{s.exec.stdout, s.exec.stderr} },
			[]any{units.Stream{Kind: "append", Path: "/var/log/100%/u.log"}, units.Stream{Kind: "journal"}}},
		{"output like an empty input", "StandardOutput=inherit", func(s *serviceDef) any { return s.exec.stdout.Kind }, "null"},
		{"prefixes of a command", "ExecStartPre=-+/bin/a $A ${B}\nExecStartPre=@:!/bin/b name $C",
			func(s *serviceDef) any { return s.pre }, []command{
				{Command: units.Command{Prefix: "-+", Vars: true}, argv: []string{"/bin/a", "$A", "${B}"}, ignoreFailure: true, privileged: true},
				{Command: units.Command{Prefix: "@:!"}, argv: []string{"/bin/b", "name", "$C"}, privileged: true, noVars: true, arg0: true},
			}},
		{"a prefix for old kernels", "ExecStartPre=!!/bin/a", func(s *serviceDef) any { return s.pre[0].privileged }, false},
		{"variables beside one that is none", "Environment=A=1 b-c=2 D=3",
			func(s *serviceDef) any { return s.exec.env }, []string{"A=1", "D=3"}},
		{"times", "RestartSec=infinity\nTimeoutStopSec=0\nRuntimeMaxSec=infinity\nTimeoutStartSec=1min 30s",
			func(s *serviceDef) any {
				return []time.Duration{s.restartSec, s.timeoutStop, s.runtimeMax, s.timeoutStart}
			},
			[]time.Duration{endless, 0, 0, 90 * time.Second}},
		{"memory", "MemoryMax=100M", func(s *serviceDef) any { return s.memoryMax }, int64(100 << 20)},
		{"no limit of memory", "MemoryMax=100M\nMemoryMax=infinity", func(s *serviceDef) any { return s.memoryMax }, int64(-1)},
		{"a share of memory", "MemoryMax=50%", func(s *serviceDef) any { return s.memoryMax }, int64(float64(machineMemory()) / 100 * 50)},
		{"a mode", "UMask=0077", func(s *serviceDef) any { return s.exec.umask }, 0o077},
		{"a user", "User=%p\nGroup=www\nSupplementaryGroups=a b\nSupplementaryGroups=c",
			func(s *serviceDef) any { return []any{s.exec.user, s.exec.group, s.exec.supplementary} }, []any{"u", "www", []string{"a", "b", "c"}}},
		{"rotation", "[X-Gm]\nLogMaxSize=10M\nLogKeep=3", func(s *serviceDef) any { return []int64{s.exec.maxLog, int64(s.exec.keepLogs)} }, []int64{10 << 20, 3}},
		{"no rotation", "[X-Gm]\nLogMaxSize=10M\nLogMaxSize=infinity", func(s *serviceDef) any { return s.exec.maxLog }, int64(0)},
		{"idle is simple", "Type=idle", func(s *serviceDef) any { return s.typ }, "simple"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := mustLoad(t, home(t, "-- u.service --\n[Service]\nExecStart=/bin/a\n"+test.lines+"\n"), false, nil)
			d := mustFind(t, l, "u.service")
			if d.load != "loaded" {
				t.Fatalf("it is %s: %s", d.load, d.why)
			}
			if diff := cmp.Diff(test.got(d.service), test.want, compareAll); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	for _, test := range []struct{ name, unit, lines, why string }{
		{"forking", "u.service", "[Service]\nType=forking\nExecStart=/bin/a", "in the foreground"},
		{"dbus", "u.service", "[Service]\nType=dbus\nBusName=a.b\nExecStart=/bin/a", "watch the bus"},
		{"notify-reload", "u.service", "[Service]\nType=notify-reload\nExecStart=/bin/a", "ExecReload="},
		{"a type that is none", "u.service", "[Service]\nType=some\nExecStart=/bin/a", "Type=some"},
		{"no command", "u.service", "[Service]\nRestart=no", "no ExecStart="},
		{"no program", "u.service", "[Service]\nType=exec", "Type=oneshot alone"},
		{"two programs", "u.service", "[Service]\nExecStart=/bin/a\nExecStart=/bin/b", "several ExecStart="},
		{"a oneshot for ever", "u.service", "[Service]\nType=oneshot\nRestart=always\nExecStart=/bin/a", "not possible with Type=oneshot"},
		{"a command that cannot be read", "u.service", "[Service]\nExecStart=/bin/a\nExecStartPre=bin/b", "ExecStartPre"},
		{"a user that cannot be read", "u.service", "[Service]\nExecStart=/bin/a\nUser=a b", "User"},
		{"a user that comes to nothing", "u.service", "[Service]\nExecStart=/bin/a\nUser=%i", "nobody"},
		{"a user of its own", "u.service", "[Service]\nExecStart=/bin/a\nDynamicUser=yes", "User="},
		{"a group of processes", "u.service", "[Service]\nExecStart=/bin/a\nExitType=cgroup", "foreground"},
		{"an image", "u.service", "[Service]\nExecStart=/bin/a\nRootImage=/a.img", "RootDirectory="},
		{"a connection each", "u.socket", "[Socket]\nListenStream=1\nAccept=yes", "no instance"},
		{"no address", "u.socket", "[Socket]\nBacklog=1", "ListenStream="},
		{"a queue", "u.socket", "[Socket]\nListenMessageQueue=/a", "sockets and FIFOs"},
		{"a socket's commands", "u.socket", "[Socket]\nListenStream=1\nExecStartPre=/bin/a", "its service"},
		{"a socket of no service", "u.socket", "[Socket]\nListenStream=1\nService=a.target", "no service"},
		{"no time", "u.timer", "[Timer]\nPersistent=yes", "OnCalendar="},
		{"a time that cannot be read", "u.timer", "[Timer]\nOnCalendar=* * * * *", "OnCalendar="},
		{"a path unit", "u.path", "[Path]\nPathExists=/a", "services, timers"},
		{"a mount", "srv.mount", "[Mount]\nWhat=/dev/sda", "services, timers"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := mustLoad(t, home(t, "-- "+test.unit+" --\n"+test.lines+"\n"), false, nil)
			d := mustFind(t, l, test.unit)
			if d.load != "bad-setting" || !strings.Contains(d.why, test.why) {
				t.Errorf("it is %s: %s", d.load, d.why)
			}
		})
	}
}

// A drop-in can mend what would be refused.
func TestRefuseTheLastValue(t *testing.T) {
	l := mustLoad(t, home(t, `
-- u.service --
[Service]
Type=forking
ExecStart=/bin/a
DynamicUser=yes
-- u.service.d/mend.conf --
[Service]
Type=exec
DynamicUser=no
`), false, nil)
	if d := mustFind(t, l, "u.service"); d.load != "loaded" || d.service.typ != "exec" {
		t.Errorf("it is %s: %s", d.load, d.why)
	}
}

// What is not done is said, once for each directive, and nothing is said of what is.
func TestNotes(t *testing.T) {
	l := mustLoad(t, home(t, `
-- quiet.service --
[Unit]
Documentation=https://example.org
[Service]
ExecStart=/bin/a
LogRateLimitIntervalSec=1s
PrivateTmp=no
ProtectSystem=full
ProtectSystem=
DynamicUser=no
X-Own=1
[Install]
WantedBy=multi-user.target
[X-Gm]
Project=shop
-- loud.service --
[Service]
ExecStart=/bin/a
ProtectSystem=strict
ReadOnlyPaths=/a
ReadOnlyPaths=/b
CPUQuota=20%
NoSuchThing=1
RestartSec=soon
UMask=9
[Timer]
OnBootSec=1
[Nothing]
A=1
`), false, nil)
	if d := mustFind(t, l, "quiet.service"); d.notes != nil || d.load != "loaded" {
		t.Errorf("quiet.service: %s %q", d.load, d.notes)
	}
	d := mustFind(t, l, "loud.service")
	dir := filepath.Dir(d.fragment)
	var got []string
	for _, note := range d.notes {
		got = append(got, strings.Replace(note, dir+"/", "", 1))
	}
	want := []string{
		`loud.service:8:12: RestartSec: "soon" is no length of time; seconds are expected, or something like 100ms or 1min 30s; that is ignored`,
		`loud.service:9:1: UMask=: "9" is no access mode in octal`,
		"ProtectSystem= is ignored: " + noMounts,
		"ReadOnlyPaths= is ignored: " + noMounts,
		"CPUQuota= is ignored: " + noLimit,
		"NoSuchThing= is ignored: systemd has no such directive in [Service]",
		"[Timer] is ignored: it has no place in loud.service",
		"[Nothing] is ignored: it has no place in loud.service",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// systemd.unit(5): drop-ins are read in the order of their names, whosever they are; of two
// of one name the more special one counts.
func TestDropIns(t *testing.T) {
	l := mustLoad(t, home(t, `
-- web-api@.service --
[Service]
ExecStart=/bin/a
Environment=FROM=unit
-- web-api@.service.d/50.conf --
[Service]
Environment=FROM=template-50 T50=1
-- web-api@.service.d/90.conf --
[Service]
Environment=FROM=template-90
-- web-api@1.service.d/50.conf --
[Service]
Environment=FROM=instance-50 I50=1
-- web-api@1.service.d/ignored.txt --
[Service]
Environment=FROM=text
-- web-@.service.d/10.conf --
[Service]
Environment=PREFIX=1
-- service.d/00.conf --
[Service]
Environment=TYPE=1
-- service.d/90.conf --
[Service]
Environment=FROM=type
-- other.service --
[Service]
ExecStart=/bin/a
`), false, nil)
	for unit, want := range map[string][]string{
		"web-api@1.service": {"FROM=template-90", "TYPE=1", "PREFIX=1", "I50=1"},
		"web-api@2.service": {"FROM=template-90", "TYPE=1", "PREFIX=1", "T50=1"},
		"other.service":     {"TYPE=1", "FROM=type"},
	} {
		if got := mustFind(t, l, unit).service.exec.env; !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", unit, got, want)
		}
	}
	var files []string
	for _, file := range mustFind(t, l, "web-api@1.service").dropIns {
		rel, _ := filepath.Rel(l.dir, file)
		files = append(files, rel)
	}
	want := []string{"service.d/00.conf", "web-@.service.d/10.conf", "web-api@1.service.d/50.conf", "web-api@.service.d/90.conf"}
	if !slices.Equal(files, want) {
		t.Errorf("drop-ins %q, want %q", files, want)
	}
	if mustFind(t, l, "web-api@1.service").digest == mustFind(t, l, "web-api@2.service").digest {
		t.Error("the digests of instances with other drop-ins are the same")
	}
}

func TestDependencies(t *testing.T) {
	l := mustLoad(t, home(t, `
link gm-shop.target.wants/web.target ../web.target
link gm-shop.target.wants/loner.service ../loner.service
link gm-shop.target.wants/behind.service ../behind.service
link web.target.wants/web@1.service ../web@.service
link web.target.wants/web@0.service ../web@.service
link web.target.requires/need.service ../need.service
link multi-user.target.wants/gm-shop.target ../gm-shop.target
link web@.service.wants/helper@.service ../helper@.service
link aka.service loner.service
link gone.service /dev/null
-- gm-shop.target --
[Unit]
Wants=also.service
Before=also.service
-- web.target --
[Unit]
PartOf=gm-shop.target
Before=gm-shop.target
-- web@.service --
[Unit]
Requires=web.socket no-unit
PartOf=web.target
After=web@.service helper@%i.service
[Service]
ExecStart=/bin/a
Slice=gm-shop.slice
Sockets=web.socket
-- helper@.service --
[Service]
ExecStart=/bin/a
-- web.socket --
[Socket]
ListenStream=1
Service=web@0.service
-- loner.service --
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/a
-- behind.service --
[Unit]
After=gm-shop.target
[Service]
ExecStart=/bin/a
-- empty.service --
`), false, nil)

	type deps struct{ Wants, Requires, PartOf, Before, After []string }
	for unit, want := range map[string]deps{
		"gm-shop.target": {
			Wants: []string{"also.service", "behind.service", "loner.service", "web.target"}, Before: []string{"also.service"},
			After: []string{"web.target"},
		},
		"web.target": {
			Wants: []string{"web@0.service", "web@1.service"}, Requires: []string{"need.service"}, PartOf: []string{"gm-shop.target"},
			Before: []string{"gm-shop.target"}, After: []string{"need.service", "web@0.service", "web@1.service"},
		},
		"web@0.service": {
			Wants: []string{"helper@0.service", "web.socket"}, Requires: []string{"web.socket", "gm-shop.slice"}, PartOf: []string{"web.target"},
			After: []string{"helper@0.service", "gm-shop.slice", "web.socket"},
		},
		"web@1.service": {
			Wants: []string{"helper@1.service", "web.socket"}, Requires: []string{"web.socket", "gm-shop.slice"}, PartOf: []string{"web.target"},
			After: []string{"helper@1.service", "gm-shop.slice", "web.socket"},
		},
		"web.socket":        {Before: []string{"web@0.service"}},
		"multi-user.target": {Wants: []string{"gm-shop.target"}, After: []string{"gm-shop.target"}},
		"gm-shop.slice":     {},
	} {
		d := mustFind(t, l, unit)
		if d.load != "loaded" {
			t.Errorf("%s is %s: %s", unit, d.load, d.why)
		}
		got := deps{d.wants, d.requires, d.partOf, d.before, d.after}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", unit, diff)
		}
	}
	if got := l.wants["multi-user.target"]; !slices.Equal(got, []string{"gm-shop.target"}) {
		t.Errorf("multi-user.target wants %q", got)
	}
	if aka := mustFind(t, l, "aka.service"); aka != l.units["loner.service"] {
		t.Errorf("aka.service is %s", aka.name)
	}
	for unit, load := range map[string]string{"gone.service": "masked", "empty.service": "masked"} {
		if d := mustFind(t, l, unit); d.load != load {
			t.Errorf("%s is %s, want %s", unit, d.load, load)
		}
	}
	for _, unit := range []string{"no.service", "poweroff.target", "no@1.service", "x", "../a.service", "@.service"} {
		if d, ok := l.find(unit); ok {
			t.Errorf("there is a %s: %+v", unit, d)
		}
	}
	if a, b := mustFind(t, l, "web@1.service"), mustFind(t, l, "web@1.service"); a != b {
		t.Error("an instance is made twice")
	}
}

func TestTakeOver(t *testing.T) {
	dir := home(t, `
-- a.service --
[Service]
ExecStart=/bin/a
-- b.service --
[Service]
ExecStart=/bin/b
-- w@.service --
[Service]
ExecStart=/bin/w %i
`)
	first := mustLoad(t, dir, false, nil)
	a, b, w := mustFind(t, first, "a.service"), mustFind(t, first, "b.service"), mustFind(t, first, "w@1.service")

	second := mustLoad(t, dir, false, first)
	if mustFind(t, second, "a.service") != a || mustFind(t, second, "w@1.service") != w {
		t.Error("what has not changed is made anew")
	}

	replace := func(name, text string) {
		t.Helper()
		next := filepath.Join(dir, "next")
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	replace("a.service", "[Service]\nExecStart=/bin/c\n")
	replace("w@1.service.d/x.conf", "[Service]\nNice=1\n")
	third := mustLoad(t, dir, false, second)
	changed := mustFind(t, third, "a.service")
	if changed.digest == a.digest || changed.service.start[0].argv[0] != "/bin/c" {
		t.Errorf("a.service starts %q", changed.service.start[0].argv)
	}
	if mustFind(t, third, "b.service") != b {
		t.Error("b.service is made anew")
	}
	if d := mustFind(t, third, "w@1.service"); d.service.exec.nice == nil {
		t.Error("the instance lacks its drop-in")
	}
	if mustFind(t, third, "w@2.service").service.exec.nice != nil {
		t.Error("another instance has it")
	}

	replace("b.service.wants/a.service", "")
	fourth := mustLoad(t, dir, false, third)
	linked := mustFind(t, fourth, "b.service")
	if !slices.Equal(linked.wants, []string{"a.service"}) || linked.digest != b.digest {
		t.Errorf("b.service wants %q; its digest is another one: %t", linked.wants, linked.digest != b.digest)
	}
	if err := os.Remove(filepath.Join(dir, "a.service")); err != nil {
		t.Fatal(err)
	}
	if _, ok := mustLoad(t, dir, false, fourth).find("a.service"); ok {
		t.Error("a.service is still there")
	}
}

// An instance is made of the files as they were when they were read.
func TestInstancesAreOfOneTime(t *testing.T) {
	dir := home(t, "-- w@.service --\n[Service]\nExecStart=/bin/w %i\n")
	l := mustLoad(t, dir, false, nil)
	if err := os.WriteFile(filepath.Join(dir, "w@.service"), []byte("[Service]\nExecStart=/bin/x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := mustFind(t, l, "w@7.service").service.start[0].argv; !slices.Equal(got, []string{"/bin/w", "7"}) {
		t.Errorf("it starts %q", got)
	}
}

// BenchmarkLoad reads 500 apps, as gm installs them, and tells the memory of a definition.
func BenchmarkLoad(b *testing.B) {
	dir := apps(b, 500)
	b.ReportAllocs()
	for b.Loop() {
		mustLoad(b, dir, false, nil)
	}
	b.ReportMetric(float64(bytesOf(func() *library { return mustLoad(b, dir, false, nil) }))/500, "held-B/unit")
}

// BenchmarkReload reads them when nothing has changed.
func BenchmarkReload(b *testing.B) {
	dir := apps(b, 500)
	earlier := mustLoad(b, dir, false, nil)
	for b.Loop() {
		earlier = mustLoad(b, dir, false, earlier)
	}
}

// BenchmarkInstances makes 500 instances of a template.
func BenchmarkInstances(b *testing.B) {
	dir := home(b, "-- web@.service --\n"+strings.ReplaceAll(appUnit, "NAME", "web"))
	made := func() *library {
		l := mustLoad(b, dir, false, nil)
		for i := range 500 {
			mustFind(b, l, fmt.Sprintf("web@%d.service", i))
		}
		return l
	}
	for b.Loop() {
		made()
	}
	b.ReportMetric(float64(bytesOf(made))/500, "held-B/unit")
}

// apps writes n services of one project.
func apps(t testing.TB, n int) string {
	dir := home(t, "-- gm-shop.target --\n[Unit]\nDescription=Apps of shop\n-- gm-shop.slice --\n[Unit]\nDescription=Apps of shop\n")
	wants := filepath.Join(dir, "gm-shop.target.wants")
	if err := os.Mkdir(wants, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := fmt.Sprintf("app-%d", i)
		if err := os.WriteFile(filepath.Join(dir, name+".service"), []byte(strings.ReplaceAll(appUnit, "NAME", name)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../"+name+".service", filepath.Join(wants, name+".service")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const appUnit = `[Unit]
Description=NAME (shop)
SourcePath=/srv/shop/processes.json
PartOf=gm-shop.target
After=network.target
StartLimitIntervalSec=17s 600ms
StartLimitBurst=16

[Service]
Type=exec
User=root
WorkingDirectory=/srv/shop
Environment=INTERVAL=1000
Environment=NODE_APP_INSTANCE=%i
ExecStart=/usr/bin/node /srv/shop/worker.js NAME
Restart=always
RestartSec=100ms
SuccessExitStatus=130 143
TimeoutStopSec=1s 600ms
KillMode=control-group
KillSignal=SIGINT
StandardOutput=journal
StandardError=journal
SyslogIdentifier=NAME
LogRateLimitIntervalSec=1s
LogRateLimitBurst=4294967295
Slice=gm-shop.slice

[Install]
WantedBy=gm-shop.target

[X-Gm]
Project=shop
App=NAME
MinUptime=1s
Hash=85bf677e59c5814d
`

// bytesOf measures what is held by what make returns.
func bytesOf(make func() *library) uint64 {
	make() // what is made once
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	l := make()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(l)
	return after.HeapAlloc - before.HeapAlloc
}

// FuzzLoad holds that no text of a unit, a drop-in or a template makes a panic, and that what
// is loaded can be used.
func FuzzLoad(f *testing.F) {
	f.Add(appUnit, "[Service]\nEnvironment=A=%i\n", "1")
	f.Add("[Socket]\nListenStream=%t/a\nService=a@%j.service", "[Unit]\nConditionPathExists=|!/a\n", "a-b")
	f.Add("[Timer]\nOnCalendar=daily\nOnBootSec=1\nUnit=%p.service", "[Timer]\nOnBootSec=\n", "x")
	f.Add("[Service]\nExecStart=@/bin/a %% $A ${B}\nLimitNICE=+1\nRuntimeDirectory=a:b\nKillSignal=RTMIN+40", "", "%i")
	f.Add("[Unit]\nWants=a@.service b@c.service %n\nAfter=%i.service", "[Service]\nType=\nExecStart=\n", "@")
	f.Fuzz(func(t *testing.T, unit, dropIn, instance string) {
		l := newLibrary("/home/units", true)
		for _, suffix := range []string{".service", ".socket", ".timer", ".target"} {
			for _, name := range []string{"u" + suffix, "u@" + suffix} {
				files := []unitFile{{l.dir + "/" + name, []byte(unit)}, {l.dir + "/" + name + ".d/x.conf", []byte(dropIn)}}
				l.dropIns[name] = []string{"x.conf"}
				for _, file := range files {
					l.texts[file.path] = keptText{stamp{path: file.path}, file.data}
				}
				l.units[name] = l.define(name, files, newInterner())
			}
		}
		for _, suffix := range []string{".service", ".socket", ".timer", ".target"} {
			for _, name := range []string{"u" + suffix, "u@" + instance + suffix} {
				d, ok := l.find(name)
				if !ok || d.load != "loaded" {
					continue
				}
				if s := d.service; s != nil {
					for _, c := range slices.Concat(s.start, s.pre, s.stop) {
						c.args(func(string) (string, bool) { return "a b", true })
					}
					if _, err := s.exec.environ(nil, func(string) ([]byte, error) { return []byte(unit), nil }); err != nil && len(s.exec.envFiles) == 0 {
						t.Error(err)
					}
				}
				for _, c := range d.conditions {
					if c.key == "PathExistsGlob" {
						continue // a glob of anything takes any time
					}
					holds(c)
				}
			}
		}
	})
}
