package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/diag"
	"gm/engine"
	"gm/units"
)

// healthy is a machine with nothing to complain of.
func healthy() *facts {
	files := map[string]fileFacts{
		"/usr/bin/node": {mode: 0o755}, "/srv/shop/a.js": {mode: 0o644},
		"/srv/shop": {mode: fs.ModeDir | 0o755}, "/srv": {mode: fs.ModeDir | 0o755}, "/": {mode: fs.ModeDir | 0o755},
	}
	return &facts{
		root: true, account: "root", version: 257, self: "/usr/local/bin/gm", dirs: engine.Dirs{Units: "/etc/systemd/system"},
		state:     &engine.State{Units: map[string]engine.UnitState{}},
		journal:   journalFacts{persistent: true, conf: map[string]string{}},
		cgroup:    cgroupFacts{kind: "v2", memory: true},
		sysctl:    func(string) (string, error) { return "1", nil },
		sharePort: func() error { return nil },
		disks:     []diskFacts{{path: "/etc", free: 5 << 30, inodes: 1, hasInodes: true}},
		gms:       []gmFacts{{path: "/usr/local/bin/gm", exists: true, same: true, version: version()}},
		calledGm:  func(path string) gmFacts { return gmFacts{path: path, exists: true, same: true, version: version()} },
		stat: func(name string) fileFacts {
			if file, ok := files[name]; ok {
				return file
			}
			return fileFacts{err: fs.ErrNotExist}
		},
		siblings: func(string) []string { return nil },
		accounts: func(kind, name string) (accountFacts, bool) {
			return accountFacts{uid: 33, gid: 33}, name == "www"
		},
		ports: func() (portTable, error) { return portTable{}, nil },
	}
}

// with adds or replaces a file.
func (f *facts) with(name string, file fileFacts) {
	before := f.stat
	f.stat = func(asked string) fileFacts {
		if asked == name {
			return file
		}
		return before(asked)
	}
}

// install adds an app whose service has these lines.
func (f *facts) install(t *testing.T, name, lines string, others ...units.Unit) *appFacts {
	t.Helper()
	parse := func(name, text string) units.Unit {
		u, list := units.Parse(name, diag.NewSource(name, []byte(text)))
		if list.HasErrors() {
			t.Fatal(list)
		}
		return u
	}
	service := parse(name+".service", "[Service]\n"+lines+"\n[X-Gm]\nProject=shop\nApp="+name+"\nHash=0\n")
	set := append(units.Set{service}, others...)
	set.Sort()
	app := engine.App{Name: name, Unit: service.Name, Instances: []string{service.Name}, Service: service}
	if strings.HasSuffix(name, "@") {
		app.Name = strings.TrimSuffix(name, "@")
		app.Instances = []string{app.Name + "@0.service", app.Name + "@1.service"}
	}
	for _, u := range others {
		if !strings.Contains(u.Name, "/") {
			app.Companions = append(app.Companions, u.Name)
		}
	}
	a := appFacts{name: app.Name, installed: true, app: app, set: set, instances: app.Instances}
	a.read(nil, "/root")
	f.apps = append(f.apps, a)
	return &f.apps[len(f.apps)-1]
}

func other(t *testing.T, name, text string) units.Unit {
	t.Helper()
	u, list := units.Parse(name, diag.NewSource(name, []byte(text)))
	if list.HasErrors() {
		t.Fatal(list)
	}
	return u
}

const plainService = "ExecStart=/usr/bin/node /srv/shop/a.js\nWorkingDirectory=/srv/shop\nStandardOutput=journal\nLogRateLimitBurst=4294967295"

func TestDoctorHealthy(t *testing.T) {
	f := healthy()
	f.install(t, "web", plainService)
	for _, found := range examine(f) {
		if found.State != fine {
			t.Errorf("%+v", found)
		}
	}
}

// TestDoctorFinds breaks one thing at a time; the first finding that is not ok must
// be that one, and the only one.
func TestDoctorFinds(t *testing.T) {
	listening := func(at string, who owner, seen bool) func() (portTable, error) {
		return func() (portTable, error) {
			return portTable{
				listeners: []listener{{"tcp", netip.MustParseAddrPort(at), 7}},
				owner:     func(uint64) (owner, bool) { return who, seen },
			}, nil
		}
	}
	denied := fileFacts{err: &fs.PathError{Op: "stat", Path: "/x", Err: fs.ErrPermission}}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, f *facts)
		state severity
		check string
		text  string // that the finding has
		fix   string // that the remedy has
	}{
		{"no systemd", func(t *testing.T, f *facts) { f.openError = errors.New("this machine does not run systemd") },
			problem, "systemd", "does not run systemd", "container"},
		{"a supervisor of another version", func(t *testing.T, f *facts) {
			f.native, f.supervisor = true, &supervisorFacts{pid: 7, version: "0.0.1"}
		}, warning, "supervisor", "is version 0.0.1", "gm supervise --replace"},
		{"a supervisor of somebody else", func(t *testing.T, f *facts) { f.native, f.openError = true, errors.New("permission denied") },
			problem, "supervisor", "permission denied", "supervisor.log"},
		{"no user manager", func(t *testing.T, f *facts) {
			f.openError, f.user, f.account, f.lingers, f.runtimeDir = errors.New("no bus"), true, "ann", true, "/run/user/1"
		}, problem, "systemd", "no bus", "enable-linger ann"},
		{"old systemd", func(t *testing.T, f *facts) { f.version = 245 }, problem, "version", "systemd 245", "update"},
		{"directive too new", func(t *testing.T, f *facts) {
			f.version = 252
			f.install(t, "web", plainService+"\nRestartSteps=5")
		}, warning, "version", "systemd 252 ignores RestartSteps= of web", "install again"},
		{"no rights", func(t *testing.T, f *facts) { f.root, f.account = false, "ann" }, warning, "rights", "ann may look", "sudo"},
		{"no linger", func(t *testing.T, f *facts) { f.user, f.account, f.runtimeDir = true, "ann", "/run/user/1" },
			warning, "linger", "ann end with the last log-out", "enable-linger ann"},
		{"no runtime directory", func(t *testing.T, f *facts) { f.user, f.lingers, f.uid = true, true, 7 },
			warning, "linger", "XDG_RUNTIME_DIR", "/run/user/7"},
		{"unreadable journal", func(t *testing.T, f *facts) { f.journal.readable = errors.New("permission denied") },
			warning, "journal", "permission denied", "systemd-journal"},
		{"no journal yet", func(t *testing.T, f *facts) { f.journal.readable = errNoJournal }, warning, "journal", "there is no journal", "systemd-journald"},
		{"volatile journal", func(t *testing.T, f *facts) { f.journal.conf["Storage"] = "volatile" }, warning, "storage", "Storage=volatile", "persistent"},
		{"no journal directory", func(t *testing.T, f *facts) { f.journal.persistent = false }, warning, "storage", "lost at each boot", "mkdir"},
		{"no journal", func(t *testing.T, f *facts) { f.journal.conf["Storage"] = "none" }, problem, "storage", "throws all lines away", "out_file"},
		{"rate limit", func(t *testing.T, f *facts) {
			f.install(t, "web", "ExecStart=/usr/bin/node /srv/shop/a.js\nStandardOutput=journal")
		}, warning, "rate limit", "above 10000 in 30s of web", "gm install"},
		{"rate limit of users", func(t *testing.T, f *facts) {
			f.user, f.lingers, f.runtimeDir, f.account = true, true, "/run/user/0", "root"
			f.install(t, "web", plainService)
		}, warning, "rate limit", "web", "out_file"},
		{"no memory controller", func(t *testing.T, f *facts) {
			f.cgroup.memory = false
			f.install(t, "web", plainService+"\nMemoryMax=1G")
		}, problem, "memory", "of web does nothing", "boot with"},
		{"old memory controller", func(t *testing.T, f *facts) { f.cgroup = cgroupFacts{kind: "hybrid", legacy: true} },
			warning, "memory", "cgroup hybrid", "boot with"},
		{"no port sharing", func(t *testing.T, f *facts) {
			f.sharePort = func() error { return errors.New("operation not permitted") }
			f.install(t, "web@", plainService+"\nExecStartPre=+/usr/local/bin/gm share-port %i")
		}, problem, "ports", "web cannot share a port: operation not permitted", "listen"},
		{"port sharing not tried", func(t *testing.T, f *facts) {
			f.sharePort = func() error { return errNotRoot }
			f.install(t, "web@", plainService+"\nExecStartPre=+/usr/local/bin/gm share-port %i")
		}, unchecked, "ports", "root", ""},
		{"no migration", func(t *testing.T, f *facts) {
			f.sysctl = func(string) (string, error) { return "0", nil }
			f.install(t, "web@", plainService+"\nExecStartPre=+/usr/local/bin/gm share-port %i")
		}, warning, "reload", "tcp_migrate_req=0", "sysctl"},
		{"full disk", func(t *testing.T, f *facts) { f.disks[0].free = 4096 }, problem, "disk", "/etc has no room left", "make room"},
		{"full disk of inodes", func(t *testing.T, f *facts) { f.disks[0].inodes = 0 }, problem, "disk", "no inode left", "make room"},
		{"nearly full disk", func(t *testing.T, f *facts) { f.disks[0].free = 50 << 20 }, warning, "disk", "50 MB left", "make room"},
		{"read-only disk", func(t *testing.T, f *facts) { f.disks[0].readOnly = true }, problem, "disk", "read-only", "mount"},
		{"another gm first", func(t *testing.T, f *facts) {
			f.gms = slices.Insert(f.gms, 0, gmFacts{path: "/usr/bin/gm", exists: true, other: "GraphicsMagick"})
		}, warning, "gm", "the command gm is /usr/bin/gm, which is GraphicsMagick", "/usr/local/bin/gm"},
		{"gm of the units gone", func(t *testing.T, f *facts) {
			f.calledGm = func(path string) gmFacts { return gmFacts{path: path} }
			f.install(t, "web", plainService+"\nExecStartPre=+/opt/gm share-port 0")
		}, problem, "gm", "web call /opt/gm, which is not there", "gm install"},
		{"gm of the units is older", func(t *testing.T, f *facts) {
			f.calledGm = func(path string) gmFacts { return gmFacts{path: path, exists: true, version: "0.1"} }
			f.install(t, "web", plainService+"\nExecStartPre=+/opt/gm share-port 0")
		}, warning, "gm", "version 0.1", "install this version"},
		{"PM2 runs", func(t *testing.T, f *facts) { f.pm2 = []pm2Facts{{pid: 7, owner: "ann", names: []string{"x"}}} },
			warning, "pm2", "PM2 of ann runs (pid 7)", "pm2 kill"},
		{"PM2 runs the same", func(t *testing.T, f *facts) {
			f.pm2 = []pm2Facts{{pid: 7, owner: "ann", boot: "pm2-ann.service", names: []string{"x", "web", "web"}}}
			f.install(t, "web", plainService)
		}, problem, "pm2", "starts at boot (pm2-ann.service), with the same apps: web would", "pm2 delete web && pm2 save; or pm2 kill; systemctl disable pm2-ann.service"},
		{"a unit failed", func(t *testing.T, f *facts) {
			f.state.Files = []engine.File{{Name: "web.service"}}
			f.state.Units["web.service"] = engine.UnitState{Active: "failed", Result: "exit-code"}
			f.install(t, "web", plainService)
		}, problem, "units", "failed: web.service (exit-code)", "gm logs web shows why, gm restart web starts"},
		{"a companion failed", func(t *testing.T, f *facts) {
			f.state.Files = []engine.File{{Name: "web-watch.service", Mark: units.Mark{Project: "shop", App: "web"}}}
			f.state.Units["web-watch.service"] = engine.UnitState{Active: "failed"}
		}, problem, "units", "failed: web-watch.service", "journalctl -u web-watch.service shows why, gm restart web starts"},
		{"two units failed", func(t *testing.T, f *facts) {
			f.state.Files = []engine.File{{Name: "api.service"}, {Name: "web.service"}}
			f.state.Units["api.service"] = engine.UnitState{Active: "failed"}
			f.state.Units["web.service"] = engine.UnitState{Active: "failed"}
			f.install(t, "api", plainService)
			f.install(t, "web", plainService)
		}, problem, "units", "failed: api.service, web.service", "gm logs NAME shows why, gm restart NAME starts"},
		{"a unit is edited", func(t *testing.T, f *facts) { f.state.Files = []engine.File{{Name: "web.service", Edited: true}} },
			warning, "units", "edited by hand: web.service", "--force"},
		{"a unit is stale", func(t *testing.T, f *facts) {
			f.state.Files = []engine.File{{Name: "web.service"}}
			f.state.Units["web.service"] = engine.UnitState{Active: "active", Stale: true}
		}, warning, "units", "web.service", "daemon-reload"},
		{"the declaration is edited", func(t *testing.T, f *facts) {
			const unit, source = "/etc/systemd/system/web.service", "/srv/shop/processes.json"
			f.with(unit, fileFacts{modified: time.Unix(1, 0)})
			f.with(source, fileFacts{modified: time.Unix(2, 0)})
			f.state.Files = []engine.File{{Name: "web.service", Path: unit, Text: []byte("[Unit]\nSourcePath=" + source + "\n")}}
			f.state.Units["web.service"] = engine.UnitState{Active: "active", Stale: true, Fragment: unit}
		}, warning, "units", "edited since it was installed: /srv/shop/processes.json", "gm plan"},
		{"an install was killed", func(t *testing.T, f *facts) { f.leftovers = []string{"/etc/systemd/system/.gm-shop"} },
			warning, "unfinished", ".gm-shop in /etc/systemd/system", "gm install"},
		{"units are left to start", func(t *testing.T, f *facts) { f.state.Pending = map[string]string{"web.service": "new"} },
			warning, "unfinished", "web.service", "gm install"},

		{"no user", func(t *testing.T, f *facts) { f.install(t, "web", plainService+"\nUser=nobody1") }, problem, "user", "no user nobody1", "useradd"},
		{"no group", func(t *testing.T, f *facts) { f.install(t, "web", plainService+"\nGroup=crew") }, problem, "user", "no group crew", "groupadd"},
		{"program gone", func(t *testing.T, f *facts) {
			const dir = "/root/.nvm/versions/node"
			f.siblings = func(asked string) []string {
				if asked != dir {
					return nil
				}
				return []string{"v22.1.0", "v24.0.0", "lts", "v1"}
			}
			f.with(dir+"/v22.1.0/bin/node", fileFacts{mode: 0o755})
			f.with(dir+"/v24.0.0/bin/node", fileFacts{mode: 0o755})
			f.install(t, "web", strings.Replace(plainService, "/usr/bin/node", dir+"/v20.0.0/bin/node", 1))
		}, problem, "program", "v20.0.0/bin/node is not there", "there is v22.1.0, v24.0.0"},
		{"program out of reach", func(t *testing.T, f *facts) {
			f.with("/root/bin/node", fileFacts{mode: 0o755})
			f.with("/root", fileFacts{mode: fs.ModeDir | 0o700})
			f.install(t, "web", strings.Replace(plainService, "/usr/bin/node", "/root/bin/node", 1)+"\nUser=www")
		}, problem, "program", "www may not enter /root (mode 0700)", "/usr/local/bin"},
		{"program is none", func(t *testing.T, f *facts) {
			f.with("/srv/shop/run", fileFacts{mode: 0o644})
			f.install(t, "web", strings.Replace(plainService, "/usr/bin/node", "/srv/shop/run", 1))
		}, problem, "program", "/srv/shop/run is no program", "chmod +x"},
		{"no directory", func(t *testing.T, f *facts) {
			f.install(t, "web", strings.Replace(plainService, "=/srv/shop\n", "=/srv/other\n", 1))
		}, problem, "cwd", "/srv/other is not there", "make it"},
		{"directory out of reach", func(t *testing.T, f *facts) {
			f.with("/srv/shop", fileFacts{mode: fs.ModeDir | 0o750})
			f.with("/srv/shop/a.js", fileFacts{err: fs.ErrNotExist})
			f.install(t, "web", "StandardOutput=null\nExecStart=/usr/bin/node\nWorkingDirectory=/srv/shop\nUser=www")
		}, problem, "cwd", "www may not enter it (mode 0750)", "chmod"},
		{"directory unseen", func(t *testing.T, f *facts) {
			f.with("/srv/shop", denied)
			f.install(t, "web", "StandardOutput=null\nExecStart=/usr/bin/node\nWorkingDirectory=/srv/shop")
		}, unchecked, "cwd", "permission denied", ""},
		{"script gone", func(t *testing.T, f *facts) {
			f.install(t, "web", strings.Replace(plainService, "a.js", "b.js", 1))
		}, problem, "script", "/srv/shop/b.js is not there", "correct script"},
		{"script unreadable", func(t *testing.T, f *facts) {
			f.with("/srv/shop/a.js", fileFacts{mode: 0o640, gid: 5})
			f.install(t, "web", plainService+"\nUser=www")
		}, problem, "script", "www may not read it (mode 0640)", "right to read"},
		{"preload gone", func(t *testing.T, f *facts) {
			f.install(t, "web", plainService+"\nEnvironment=NODE_OPTIONS=--require=/var/lib/gm-node/preload-1.cjs")
		}, problem, "preload", "/var/lib/gm-node/preload-1.cjs", "gm install"},
		{"log directory gone", func(t *testing.T, f *facts) {
			f.install(t, "web", strings.Replace(plainService, "=journal", "=append:/srv/shop/logs/x.log", 1)+"\nStandardError=null")
		}, problem, "logs", "/srv/shop/logs/x.log is not there", "mkdir -p /srv/shop/logs"},
		{"environment file readable", func(t *testing.T, f *facts) {
			f.with("/etc/gm/shop/web.env", fileFacts{mode: 0o644})
			f.install(t, "web", plainService+"\nEnvironmentFile=/etc/gm/shop/web.env")
		}, warning, "env file", "mode 0644", "chmod 600"},
		{"environment file gone", func(t *testing.T, f *facts) {
			f.install(t, "web", plainService+"\nEnvironmentFile=/etc/gm/shop/web.env")
		}, problem, "env file", "is not there", "gm install"},
		{"port taken", func(t *testing.T, f *facts) {
			f.ports = listening("0.0.0.0:3000", owner{pid: 9, name: "nginx", unit: "nginx.service"}, true)
			f.install(t, "web", plainService+"\nEnvironment=PORT=3000")
		}, problem, "port", "port 3000 (PORT) is taken by nginx (pid 9, nginx.service)", "another port"},
		{"port taken from a running app", func(t *testing.T, f *facts) {
			f.ports = listening("[::]:3000", owner{pid: 9, name: "nginx", unit: ""}, true)
			f.state.Units["web.service"] = engine.UnitState{Active: "active"}
			f.install(t, "web", plainService+"\nEnvironment=PORT=3000")
		}, warning, "port", "taken by nginx (pid 9), and the app runs", "another port"},
		{"port taken by nobody knows whom", func(t *testing.T, f *facts) {
			f.ports = listening("127.0.0.1:3000", owner{}, false)
			f.install(t, "web", plainService+"\nEnvironment=PORT=3000")
		}, warning, "port", "port 3000 (PORT) is taken", "as root"},
		{"socket taken", func(t *testing.T, f *facts) {
			f.ports = listening("127.0.0.1:3000", owner{pid: 9, name: "nginx", unit: ""}, true)
			f.install(t, "web", plainService, other(t, "web.socket", "[Socket]\nListenStream=127.0.0.1:3000\n[X-Gm]\nApp=web\nHash=0\n"))
		}, problem, "port", "port 3000 (web.socket) is taken by nginx", ""},
		{"port of two apps", func(t *testing.T, f *facts) {
			f.install(t, "api", plainService+"\nEnvironment=PORT=3000")
			f.install(t, "web", plainService+"\nEnvironment=PORT=3000")
		}, warning, "port", "3000 is api's port too", "another port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := healthy()
			test.spoil(t, f)
			var found []finding
			for _, one := range examine(f) {
				if one.State != fine {
					found = append(found, one)
				}
			}
			if len(found) != 1 {
				t.Fatalf("%d findings: %+v", len(found), found)
			}
			got := found[0]
			if got.State != test.state || got.Check != test.check || !strings.Contains(got.Text, test.text) || !strings.Contains(got.Remedy, test.fix) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestLookAtGm: what a program called gm is. The name of GraphicsMagick is in this
// gm, too.
func TestLookAtGm(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	older := write("older", "#!/bin/sh\n# gm/cmd/gm GraphicsMagick\necho gm 0.9 '(go1.26)'\n")
	magick := write("magick", "#!/bin/sh\n# GraphicsMagick\nexit 1\n")
	another := write("another", "#!/bin/sh\nexit 1\n")
	for path, want := range map[string]gmFacts{
		self:          {exists: true, same: true, version: version()},
		older:         {exists: true, version: "0.9"},
		magick:        {exists: true, other: "GraphicsMagick"},
		another:       {exists: true},
		another + "s": {},
	} {
		want.path = path
		if got := (&caller{}).lookAtGm(self, path); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestDoctorAccepts has what looks like a fault and is none.
func TestDoctorAccepts(t *testing.T) {
	own := func(unit, name string) func() (portTable, error) {
		return func() (portTable, error) {
			return portTable{
				listeners: []listener{{"tcp", netip.MustParseAddrPort("[::]:3000"), 7}, {"udp", netip.MustParseAddrPort("[::]:3001"), 8}},
				owner:     func(uint64) (owner, bool) { return owner{pid: 9, name: name, unit: unit}, true },
			}, nil
		}
	}
	for _, test := range []struct {
		name string
		set  func(t *testing.T, f *facts)
	}{
		{"its own port", func(t *testing.T, f *facts) {
			f.ports = own("web.service", "node")
			f.install(t, "web", plainService+"\nEnvironment=PORT=3000")
		}},
		{"the port of a surplus instance", func(t *testing.T, f *facts) {
			f.ports = own("web@7.service", "node")
			f.install(t, "web@", plainService+"\nEnvironment=PORT=3000")
		}},
		{"its own socket", func(t *testing.T, f *facts) {
			f.ports = own("init.scope", "systemd")
			f.state.Units["web.socket"] = engine.UnitState{Active: "active"}
			f.install(t, "web", plainService, other(t, "web.socket", "[Socket]\nListenStream=3000\n[X-Gm]\nApp=web\nHash=0\n"))
		}},
		{"another protocol", func(t *testing.T, f *facts) {
			f.ports = own("other.service", "node")
			f.install(t, "web", plainService+"\nEnvironment=PORT=3001")
		}},
		{"a port for each instance", func(t *testing.T, f *facts) {
			f.ports = own("other.service", "node")
			f.install(t, "web@", plainService+"\nEnvironment=PORT=3000",
				other(t, "web@0.service.d/10-increment.conf", "[Service]\nEnvironment=PORT=3002\n[X-Gm]\nApp=web\nHash=0\n"),
				other(t, "web@1.service.d/10-increment.conf", "[Service]\nEnvironment=PORT=3003\n[X-Gm]\nApp=web\nHash=0\n"))
		}},
		{"a directory that is made", func(t *testing.T, f *facts) {
			f.install(t, "web", strings.Replace(plainService, "=journal", "=append:/srv/shop/logs/x.log", 1)+"\nStandardError=null",
				other(t, "web-mkdir.service", "[Service]\nExecStart=/bin/mkdir -p -- /srv/shop/logs\n[X-Gm]\nApp=web\nHash=0\n"))
		}},
		{"an access control list", func(t *testing.T, f *facts) {
			f.with("/srv/shop", fileFacts{mode: fs.ModeDir | 0o750, acl: true})
			f.install(t, "web", plainService+"\nUser=www")
		}},
		{"rights of the group", func(t *testing.T, f *facts) {
			f.with("/srv/shop", fileFacts{mode: fs.ModeDir | 0o750, gid: 33})
			f.install(t, "web", plainService+"\nUser=www")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := healthy()
			test.set(t, f)
			for _, found := range examine(f) {
				if found.State != fine {
					t.Errorf("%+v", found)
				}
			}
		})
	}
}

func TestReadJournaldConf(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/systemd/journald.conf":                 "[Journal]\n#Storage=none\nStorage = volatile\nSystemMaxUse=1G\n",
		"usr/lib/systemd/journald.conf":             "[Journal]\nStorage=none\n",
		"usr/lib/systemd/journald.conf.d/10-a.conf": "[Journal]\nRateLimitBurst=5\n",
		"etc/systemd/journald.conf.d/10-a.conf":     "[Journal]\nRateLimitBurst=6\n",
		"run/systemd/journald.conf.d/20-b.conf":     "[Journal]\nSystemMaxUse=2G\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"Storage": "volatile", "SystemMaxUse": "2G", "RateLimitBurst": "6"}
	if diff := cmp.Diff(readJournaldConf(root), want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func TestReadPM2(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write("a/dump.pm2", `[{"name":"web","pm_id":0},{"name":"web"}]`)
	write("b/dump.pm2", "{")
	write("proc/12/cmdline", "PM2 v7.0.4: God Daemon ("+a+")\x00\x00")
	write("proc/13/cmdline", "vim\x00PM2 v7.0.4: God Daemon (/x)\x00")
	write("proc/self/cmdline", "x")
	write("units/multi-user.target.wants/pm2-a.service", "[Service]\nEnvironment=PM2_HOME="+a+"\n")
	write("units/multi-user.target.wants/pm2-b.service", "[Service]\nEnvironment=PATH=/bin\nEnvironment=PM2_HOME="+b+"\n")
	var got []string
	for _, p := range readPM2(filepath.Join(dir, "proc"), filepath.Join(dir, "units")) {
		got = append(got, strings.Join([]string{filepath.Base(p.home), p.boot, strings.Join(p.names, "+")}, " "))
		if (p.pid == 12) != (p.home == a) || (p.err != nil) != (p.home == b) {
			t.Errorf("%+v", p)
		}
	}
	if diff := cmp.Diff(got, []string{"a pm2-a.service web+web", "b pm2-b.service "}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

// TestDoctorDocs has a row in the document for each check.
func TestDoctorDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var checks []string
	for _, check := range machineChecks {
		checks = append(checks, check.name)
	}
	for _, check := range appChecks {
		checks = append(checks, check.name)
	}
	for _, name := range checks {
		if !strings.Contains(string(text), "\n| "+name+" | ") {
			t.Errorf("docs/doctor.md has no row for %q", name)
		}
	}
}
