package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"gm/engine"
	"gm/units"
)

// facts is what the checks look at. Functions ask the machine when a check needs
// the answer.
type facts struct {
	native    bool // gm's own supervisor is the engine
	user      bool // of the user scope
	root      bool // the caller is root
	account   string
	openError error
	version   int // of systemd, 0 if unknown
	dirs      engine.Dirs
	state     *engine.State
	apps      []appFacts

	// supervisor is gm's own, nil if none runs.
	supervisor *supervisorFacts

	runtimeDir string // $XDG_RUNTIME_DIR
	uid        int
	lingers    bool
	journal    journalFacts
	cgroup     cgroupFacts
	sysctl     func(name string) (string, error)
	// sharePort says why the kernel refuses the program of gm share-port; errNotRoot
	// where it cannot be tried.
	sharePort func() error
	disks     []diskFacts
	self      string // path of the gm that runs
	gms       []gmFacts
	calledGm  func(path string) gmFacts
	pm2       []pm2Facts
	leftovers []string // staging directories in Dirs.Units

	stat     func(path string) fileFacts
	siblings func(dir string) []string
	accounts func(kind, name string) (accountFacts, bool)
	ports    func() (portTable, error)
}

type supervisorFacts struct {
	pid     int
	version string
}

type journalFacts struct {
	// readable says why the journal cannot be read, nil if it can.
	readable error
	// conf is the effective journald.conf, keys as written.
	conf map[string]string
	// persistent says that /var/log/journal is there.
	persistent bool
}

type cgroupFacts struct {
	kind   string // "v2", "hybrid", "v1", ""
	memory bool   // the memory controller is in the unified hierarchy
	legacy bool   // it is in one of v1
}

type diskFacts struct {
	path      string
	free      uint64
	readOnly  bool
	inodes    uint64 // free ones
	hasInodes bool
	err       error
}

type gmFacts struct {
	path    string
	exists  bool
	same    bool   // it is the gm that runs
	version string // "" for a program that is no gm of this kind
	other   string // what it is then, if known
}

type pm2Facts struct {
	pid   int // of a daemon, 0: none runs
	owner string
	home  string
	boot  string   // the unit that starts it at boot
	names []string // of its dump
	err   error    // why the dump cannot be read
}

var machineChecks = []check{
	{"systemd", underSystemd(checkBus)},
	{"supervisor", checkSupervisor},
	{"version", underSystemd(checkVersion)},
	{"rights", checkRights},
	{"linger", underSystemd(checkLinger)},
	{"journal", underSystemd(checkJournal)},
	{"storage", underSystemd(checkStorage)},
	{"rate limit", underSystemd(checkRateLimit)},
	{"memory", underSystemd(checkCgroup)},
	{"ports", checkSharing},
	{"reload", checkMigration},
	{"disk", checkDisks},
	{"gm", checkGm},
	{"pm2", checkPM2},
	{"units", checkUnits},
	{"unfinished", checkUnfinished},
}

// underSystemd is a check that says nothing of a machine where gm runs the apps.
func underSystemd(check func(*facts) []finding) func(*facts) []finding {
	return func(f *facts) []finding {
		if f.native {
			return nil
		}
		return check(f)
	}
}

func checkSupervisor(f *facts) []finding {
	switch {
	case !f.native:
		return nil
	case f.openError != nil:
		return []finding{bad("see what "+filepath.Join(filepath.Dir(f.dirs.Units), "supervisor.log")+" says", "%v", f.openError)}
	case f.supervisor == nil:
		return []finding{passed("gm's own supervisor does not run; gm start starts it with the apps")}
	case f.supervisor.version != version():
		return []finding{warn("gm supervise --replace", "gm's own supervisor (pid %d) is version %s, and this is %s",
			f.supervisor.pid, f.supervisor.version, version())}
	}
	return []finding{passed("gm's own supervisor runs (pid %d)", f.supervisor.pid)}
}

func checkBus(f *facts) []finding {
	if f.openError != nil {
		remedy := "run gm on a machine that systemd booted; a container needs systemd as its first process"
		if f.user {
			remedy = "log in as this user (not by su or sudo -u), or run: loginctl enable-linger " + f.account
		}
		return []finding{bad(remedy, "%v", f.openError)}
	}
	bus := "the system bus"
	if f.user {
		bus = "the bus of " + f.account
	}
	return []finding{passed("systemd answers on %s", bus)}
}

// supported is the oldest systemd that gm is tried on.
const supported = 247

func checkVersion(f *facts) []finding {
	if f.version == 0 {
		return []finding{notChecked("the version of systemd is unknown")}
	}
	if f.version < supported {
		return []finding{bad("update the operating system", "systemd %d; gm is tried on %d and later", f.version, supported)}
	}
	lacks := map[string][]string{} // apps by what they lack
	for i := range f.apps {
		for _, d := range f.apps[i].set.Check(f.version) {
			if d.Code == "directive-too-new" {
				// The text of the cause begins with the unit and the directive.
				_, what, _ := strings.Cut(d.Cause, ": ")
				what, _, _ = strings.Cut(what, " needs ")
				lacks[what] = append(lacks[what], f.apps[i].name)
			}
		}
	}
	if len(lacks) == 0 {
		return []finding{passed("systemd %d", f.version)}
	}
	var all []finding
	for _, what := range sortedKeys(lacks) {
		all = append(all, warn(fmt.Sprintf("install again: gm then writes for systemd %d", f.version),
			"systemd %d ignores %s of %s", f.version, what, names(lacks[what])))
	}
	return all
}

func checkRights(f *facts) []finding {
	switch {
	case f.user:
		return []finding{passed("%s may change apps of their own", f.account)}
	case f.root:
		return []finding{passed("root may change everything")}
	}
	return []finding{warn("sudo gm …, or gm … --user for apps of your own", "%s may look at the system's apps and not change them", f.account)}
}

func checkLinger(f *facts) []finding {
	if !f.user {
		return nil
	}
	var all []finding
	if f.runtimeDir == "" {
		all = append(all, warn(fmt.Sprintf("export XDG_RUNTIME_DIR=/run/user/%d", f.uid),
			"XDG_RUNTIME_DIR is not set, as after su or sudo; systemctl --user does not work so, gm does"))
	}
	if !f.lingers {
		return append(all, warn("loginctl enable-linger "+f.account, "the apps of %s end with the last log-out and do not start at boot", f.account))
	}
	return append(all, passed("%s lingers: apps start at boot and outlive the log-out", f.account))
}

func checkJournal(f *facts) []finding {
	switch f.journal.readable {
	case nil:
		return []finding{passed("the journal can be read")}
	case errNoJournal:
		return []finding{warn("systemctl status systemd-journald", "there is no journal in /var/log/journal and /run/log/journal")}
	}
	return []finding{warn("sudo usermod -aG systemd-journal "+f.account+", and log in again",
		"gm logs cannot read the journal: %v", f.journal.readable)}
}

func checkStorage(f *facts) []finding {
	const file = "/etc/systemd/journald.conf.d/storage.conf"
	switch storage := strings.ToLower(f.journal.conf["Storage"]); {
	case storage == "none":
		return []finding{bad("remove Storage=none from journald.conf, or declare out_file", "journald throws all lines away (Storage=none)")}
	case storage == "volatile":
		return []finding{warn("put Storage=persistent under [Journal] of "+file, "the journal is lost at each boot (Storage=volatile)")}
	case storage != "persistent" && !f.journal.persistent:
		return []finding{warn("mkdir -p /var/log/journal && systemctl restart systemd-journald", "the journal is lost at each boot: there is no /var/log/journal")}
	}
	keep := "a tenth of its disk, 4 GB at most"
	if limit := f.journal.conf["SystemMaxUse"]; limit != "" {
		keep = limit
	}
	return []finding{passed("the journal outlives boots; it keeps %s", keep)}
}

// checkRateLimit: journald-context.c reads a unit's limit for units of the system
// manager only.
func checkRateLimit(f *facts) []finding {
	interval, burst := f.journal.conf["RateLimitIntervalSec"], f.journal.conf["RateLimitBurst"]
	off := isZero(interval) || isZero(burst)
	if interval == "" {
		interval = "30s"
	}
	if burst == "" {
		burst = "10000"
	}
	var limited, lifted []string
	for i := range f.apps {
		switch a := &f.apps[i]; {
		case !a.toJournal:
		case f.user || !a.liftsRate:
			limited = append(limited, a.name)
		default:
			lifted = append(lifted, a.name)
		}
	}
	switch {
	case len(limited) == 0 && len(lifted) == 0:
		return nil
	case off:
		return []finding{passed("no lines are dropped: journald's limit is off")}
	case len(limited) == 0:
		return []finding{passed("no lines are dropped: the units lift journald's limit")}
	case f.user:
		return []finding{warn("declare out_file for apps that write much, or set RateLimitBurst=0 in journald.conf",
			"journald drops lines of an app above %s in %s: %s; a unit can lift that in the system's scope only", burst, interval, names(limited))}
	}
	return []finding{warn("gm install", "journald drops lines above %s in %s of %s: LogRateLimitBurst= is not in the units", burst, interval, names(limited))}
}

func isZero(text string) bool { return text != "" && strings.Trim(text, "0") == "" }

func checkCgroup(f *facts) []finding {
	var limited []string
	for i := range f.apps {
		if f.apps[i].memoryMax {
			limited = append(limited, f.apps[i].name)
		}
	}
	apps := "max_memory_restart"
	if len(limited) > 0 {
		apps += " of " + names(limited)
	}
	switch {
	case f.cgroup.kind == "":
		return []finding{notChecked("cgroups are not mounted at /sys/fs/cgroup")}
	case f.cgroup.kind == "v2" && f.cgroup.memory:
		return []finding{passed("cgroup v2 with the memory controller")}
	case f.cgroup.legacy && !f.user:
		return []finding{warn("boot with systemd.unified_cgroup_hierarchy=1", "cgroup %s: %s is enforced by the old controller, and a kill shows as signal, not as oom-kill", f.cgroup.kind, apps)}
	case len(limited) > 0:
		return []finding{bad("boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory", "there is no memory controller: %s does nothing", apps)}
	}
	return []finding{warn("boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory", "there is no memory controller (cgroup %s): %s would do nothing", f.cgroup.kind, apps)}
}

func checkSharing(f *facts) []finding {
	var sharing []string
	for i := range f.apps {
		if f.apps[i].sharesPort && len(f.apps[i].instances) > 1 {
			sharing = append(sharing, f.apps[i].name)
		}
	}
	if len(sharing) == 0 {
		return nil
	}
	switch err := f.sharePort(); {
	case err == errNotRoot:
		return []finding{notChecked("whether the kernel lets instances share a port: that takes root")}
	case err != nil:
		return []finding{bad(`declare the port, "systemd": {"listen": [3000]}, or run one instance`,
			"instances of %s cannot share a port: %v", names(sharing), err)}
	}
	return []finding{passed("the kernel lets instances share a port")}
}

func checkMigration(f *facts) []finding {
	var sharing []string
	for i := range f.apps {
		if f.apps[i].sharesPort && len(f.apps[i].instances) > 1 {
			sharing = append(sharing, f.apps[i].name)
		}
	}
	if len(sharing) == 0 {
		return nil
	}
	const name = "net.ipv4.tcp_migrate_req"
	switch value, err := f.sysctl(name); {
	case err != nil:
		return []finding{notChecked("%s: %v", name, err)}
	case value == "0":
		return []finding{warn(fmt.Sprintf("echo %s=1 | sudo tee /etc/sysctl.d/90-gm.conf && sudo sysctl --system", name),
			"%s=0: gm reload of %s resets connections that wait at an instance that ends", name, names(sharing))}
	}
	return []finding{passed("%s=1: connections that wait go to another instance", name)}
}

// What is left of a disk below which systemd and apps soon fail.
const (
	almostFull = 100 << 20
	full       = 1 << 20
)

func checkDisks(f *facts) []finding {
	var all []finding
	var free []string
	for _, d := range f.disks {
		switch {
		case d.err != nil:
			all = append(all, notChecked("%s: %v", d.path, d.err))
		case d.readOnly:
			all = append(all, bad("mount it writable", "%s is on a file system that is mounted read-only", d.path))
		case d.free < full, d.hasInodes && d.inodes == 0:
			what := "room"
			if d.free >= full {
				what = "inode"
			}
			all = append(all, bad("make room on the disk", "%s has no %s left", d.path, what))
		case d.free < almostFull:
			all = append(all, warn("make room on the disk", "%s has %d MB left", d.path, d.free>>20))
		default:
			free = append(free, fmt.Sprintf("%s %s", d.path, gigabytes(d.free)))
		}
	}
	if len(free) > 0 {
		all = append(all, passed("free: %s", strings.Join(free, ", ")))
	}
	return all
}

func gigabytes(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}

// checkGm: Debian's graphicsmagick has a /usr/bin/gm.
func checkGm(f *facts) []finding {
	var all []finding
	name := func(g gmFacts) string {
		switch {
		case g.other != "":
			return "which is " + g.other
		case g.version != "":
			return "version " + g.version
		}
		return "another program"
	}
	first := true
	for _, g := range f.gms {
		switch {
		case g.same:
			all = append(all, passed("%s is version %s", g.path, version()))
		case first:
			all = append(all, warn("call "+f.self+", or put its directory first on the PATH",
				"the command gm is %s, %s", g.path, name(g)))
		default:
			all = append(all, passed("%s, %s, is behind it on the PATH", g.path, name(g)))
		}
		first = false
	}
	if len(f.gms) == 0 {
		all = append(all, passed("%s is version %s; no gm is on the PATH", f.self, version()))
	}
	callers := map[string][]string{}
	for i := range f.apps {
		if f.apps[i].installed && !f.native { // the supervisor itself does what they call gm for
			for _, path := range f.apps[i].gms {
				callers[path] = append(callers[path], f.apps[i].name)
			}
		}
	}
	for _, path := range sortedKeys(callers) {
		g := f.calledGm(path)
		const again = "install gm there, or let gm install write the units anew"
		switch {
		case !g.exists:
			all = append(all, bad(again, "the units of %s call %s, which is not there", names(callers[path]), path))
		case g.same:
		case g.version == "":
			all = append(all, bad(again, "the units of %s call %s, %s", names(callers[path]), path, name(g)))
		case g.version != version():
			all = append(all, warn("install this version there", "the units of %s call %s, %s; this is version %s", names(callers[path]), path, name(g), version()))
		}
	}
	return all
}

func checkPM2(f *facts) []finding {
	var all []finding
	ours := map[string]bool{}
	for i := range f.apps {
		ours[f.apps[i].name] = true
	}
	for _, p := range f.pm2 {
		what := fmt.Sprintf("PM2 of %s runs (pid %d)", p.owner, p.pid)
		remedy := "pm2 kill, once its apps are gm's"
		if p.boot != "" {
			remedy = "pm2 kill; systemctl disable " + p.boot
			what += " and starts at boot (" + p.boot + ")"
		}
		if p.pid == 0 {
			what = fmt.Sprintf("PM2 of %s starts at boot (%s)", p.owner, p.boot)
			remedy = "systemctl disable " + p.boot
		}
		var twice []string
		for _, name := range p.names {
			if ours[name] {
				twice = append(twice, name)
			}
		}
		switch {
		case len(twice) > 0:
			if p.pid != 0 {
				remedy = strings.Replace(remedy, "pm2 kill", "pm2 delete "+strings.Join(slices.Compact(slices.Sorted(slices.Values(twice))), " ")+" && pm2 save; or pm2 kill", 1)
			}
			all = append(all, bad(remedy, "%s, with the same apps: %s would run twice", what, names(twice)))
		case p.err != nil:
			all = append(all, warn(remedy, "%s; whether it has the same apps was not checked: %v", what, p.err))
		default:
			all = append(all, warn(remedy, "%s", what))
		}
	}
	if all == nil {
		return []finding{passed("no PM2 runs or starts at boot")}
	}
	return all
}

func checkUnits(f *facts) []finding {
	if f.state == nil {
		return []finding{notChecked("what is installed could not be read")}
	}
	if len(f.state.Files) == 0 {
		return []finding{passed("nothing is installed")}
	}
	var all []finding
	var edited, stale, declared, failed, down []string
	apps := map[string]string{} // by unit
	why := "gm logs %[2]s"
	for _, file := range f.state.Files {
		apps[file.Name] = file.Mark.App
		if file.Edited {
			edited = append(edited, file.Name)
		}
	}
	instances := map[string]bool{}
	for i := range f.apps {
		for _, unit := range f.apps[i].instances {
			apps[unit], instances[unit] = f.apps[i].name, true
		}
	}
	for name, u := range f.state.Units {
		if source := f.newerSource(u); u.Stale && source != "" {
			declared = append(declared, source)
		} else if u.Stale {
			stale = append(stale, name)
		}
		if u.Active == "failed" {
			result := ""
			if u.Result != "" && u.Result != "success" {
				result = " (" + u.Result + ")"
			}
			failed = append(failed, name+result)
			down = append(down, name)
			switch { // gm logs has what apps write, not what their companions do
			case instances[name]:
			case f.native:
				why = "grep %[1]s " + filepath.Join(filepath.Dir(f.dirs.Units), "logs/manager.log")
			case f.user:
				why = "journalctl --user -u %[1]s"
			default:
				why = "journalctl -u %[1]s"
			}
		}
	}
	if len(failed) > 0 {
		unit, app := "UNIT", "NAME"
		if len(down) == 1 && apps[down[0]] != "" {
			unit, app = shellWord(down[0]), shellWord(apps[down[0]])
		}
		all = append(all, bad(fmt.Sprintf(why+" shows why, gm restart %[2]s starts it again", unit, app), "failed: %s", names(failed)))
	}
	if len(stale) > 0 {
		if f.native {
			all = append(all, warn("gm restart of their apps", "changed since what runs was started: %s", names(stale)))
		} else {
			all = append(all, warn("systemctl daemon-reload", "changed since systemd read them: %s", names(stale)))
		}
	}
	if len(declared) > 0 {
		all = append(all, warn("gm plan shows what that changes, gm install does it", "edited since it was installed: %s", names(declared)))
	}
	if len(edited) > 0 {
		all = append(all, warn("gm install keeps them; gm install --force writes them anew", "edited by hand: %s", names(edited)))
	}
	for _, name := range sortedKeys(f.state.DropIns) {
		all = append(all, passed("%s is changed by %s", name, strings.Join(f.state.DropIns[name], ", ")))
	}
	if f.openError != nil {
		return append(all, notChecked("which units run"))
	}
	if len(failed)+len(stale)+len(declared)+len(edited) == 0 {
		all = append(all, passed("%d files installed, none failed, none edited", len(f.state.Files)))
	}
	return all
}

// newerSource returns the declaration of a unit if it changed since the unit was
// written: systemd then calls the unit changed (unit_need_daemon_reload), which to
// read again has no effect.
func (f *facts) newerSource(u engine.UnitState) string {
	i := slices.IndexFunc(f.state.Files, func(file engine.File) bool { return file.Path == u.Fragment })
	if i < 0 || !u.Stale {
		return ""
	}
	for line := range bytes.Lines(f.state.Files[i].Text) {
		text, found := bytes.CutPrefix(line, []byte("SourcePath="))
		source, plain := units.Spec(bytes.TrimSpace(text)).Literal()
		if found && plain && f.stat(source).modified.After(f.stat(u.Fragment).modified) {
			return source
		}
	}
	return ""
}

func checkUnfinished(f *facts) []finding {
	var what []string
	if f.state != nil && len(f.state.Pending) > 0 {
		what = append(what, fmt.Sprintf("units that were to be started: %s", names(sortedKeys(f.state.Pending))))
	}
	if len(f.leftovers) > 0 {
		staged := make([]string, len(f.leftovers))
		for i, path := range f.leftovers {
			staged[i] = filepath.Base(path)
		}
		what = append(what, fmt.Sprintf("%s in %s", names(staged), f.dirs.Units))
	}
	if what == nil {
		return nil
	}
	return []finding{warn("gm install again: it takes up what is left to do", "an install did not end, or runs just now: %s", strings.Join(what, "; "))}
}
