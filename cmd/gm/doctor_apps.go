package main

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/engine"
	"gm/units"
)

// appFacts is what the units of one app say.
type appFacts struct {
	name      string
	installed bool
	app       engine.App
	set       units.Set // its units, drop-ins and environment files
	instances []string

	user, group string
	argv        []string // of ExecStart=, as the first instance gets it
	cwd         string
	logFiles    []string
	mkdirs      []string // what is made before it starts
	envFiles    []string
	requires    []string // what NODE_OPTIONS has node load
	ports       []appPort
	gms         []string // paths of gm in its units

	sharesPort, toJournal, liftsRate, memoryMax bool
}

// appPort is an address that an app means to listen on.
type appPort struct {
	network string // "tcp" or "udp"
	at      netip.AddrPort
	from    string // "PORT", or the socket unit that holds it
}

// fileFacts is what is at a path.
type fileFacts struct {
	err      error // fs.ErrNotExist: nothing
	mode     fs.FileMode
	uid, gid int
	acl      bool // mode does not say everything
	modified time.Time
}

type accountFacts struct {
	uid, gid int
	groups   []int
}

var appChecks = []appCheck{
	{"user", checkAccount},
	{"program", checkProgram},
	{"cwd", checkCwd},
	{"script", checkScript},
	{"preload", checkPreload},
	{"logs", checkLogs},
	{"env file", checkEnvFiles},
	{"port", checkPorts},
}

// readApps reads the facts of all apps of a set. Home is what %h stands for.
func readApps(set units.Set, apps []engine.App, dropIns map[string][]units.Directive, installed bool, home string) []appFacts {
	own := map[string]units.Set{}
	for _, u := range set {
		if m, ok := u.Mark(); ok && m.App != "" {
			own[m.App] = append(own[m.App], u)
		}
	}
	all := make([]appFacts, 0, len(apps))
	for _, app := range apps {
		a := appFacts{name: app.Name, installed: installed, app: app, set: own[app.Name], instances: app.Instances}
		a.read(dropIns[app.Unit], home)
		all = append(all, a)
	}
	return all
}

func (a *appFacts) read(dropIn []units.Directive, home string) {
	unit := a.app.Unit
	if len(a.instances) > 0 {
		unit = a.instances[0]
	}
	expand := func(unit string) func(byte) (string, bool) {
		base := strings.TrimSuffix(unit, path.Ext(unit))
		prefix, instance, _ := strings.Cut(base, "@")
		return func(c byte) (string, bool) {
			switch c {
			case 'i':
				return instance, true
			case 'n':
				return unit, true
			case 'N':
				return base, true
			case 'p':
				return prefix, true
			case 'h':
				return home, true
			}
			return "", false
		}
	}
	specifier := expand(unit)
	out, err := "journal", "inherit"
	for _, d := range slices.Concat(a.app.Service.Directives, dropIn) {
		text := units.Encode(d.Value)
		switch d.Section + " " + d.Key {
		case "Service User":
			a.user = units.Spec(text).Expand(specifier)
		case "Service Group":
			a.group = units.Spec(text).Expand(specifier)
		case "Service WorkingDirectory":
			a.cwd = strings.TrimPrefix(units.Spec(text).Expand(specifier), "-")
			if a.cwd == "~" {
				a.cwd = ""
			}
		case "Service ExecStart":
			a.argv = nil
			if command, ok := d.Value.(units.Command); ok {
				a.argv = command.Args(specifier, func(string) (string, bool) { return "", false })
			}
		case "Service ExecStartPre":
			command, _ := d.Value.(units.Command)
			a.sharesPort = a.sharesPort || len(command.Argv) > 1 && command.Argv[1] == "share-port"
		case "Service StandardOutput":
			out = text
		case "Service StandardError":
			err = text
		case "Service LogRateLimitBurst":
			a.liftsRate = text != ""
		case "Service MemoryMax":
			a.memoryMax = text != "" && text != "infinity"
		case "Service EnvironmentFile":
			if text == "" {
				a.envFiles = nil
			} else {
				a.envFiles = append(a.envFiles, units.UnescapeGlob(units.Spec(text).Expand(specifier)))
			}
		}
	}
	if err == "inherit" {
		err = out
	}
	a.toJournal = strings.HasPrefix(out, "journal") || strings.HasPrefix(err, "journal")
	a.readCompanions(specifier)
	for _, to := range slices.Compact([]string{out, err}) {
		if _, file, ok := strings.Cut(to, ":/"); ok && !slices.Contains(a.app.Companions, a.stem()+"-log.socket") {
			a.logFiles = append(a.logFiles, "/"+units.Spec(file).Expand(specifier))
		}
	}
	a.readEnv(dropIn, expand)
}

// stem is what the names of the app's units begin with.
func (a *appFacts) stem() string {
	return strings.TrimSuffix(strings.TrimSuffix(a.app.Unit, ".service"), "@")
}

// readCompanions reads what the other units say.
func (a *appFacts) readCompanions(specifier func(byte) (string, bool)) {
	for _, u := range a.set {
		for _, d := range u.Directives {
			if command, ok := d.Value.(units.Command); ok {
				args := command.Args(specifier, func(string) (string, bool) { return "", false })
				if len(args) > 1 && path.IsAbs(args[0]) && slices.Contains([]string{"share-port", "log", "watch", "pull", "memory"}, args[1]) &&
					!slices.Contains(a.gms, args[0]) {
					a.gms = append(a.gms, args[0])
				}
				if u.Name == a.stem()+"-mkdir.service" {
					for _, arg := range args {
						if path.IsAbs(arg) {
							a.mkdirs = append(a.mkdirs, arg)
						}
					}
				}
			}
			network := map[string]string{"ListenStream": "tcp", "ListenDatagram": "udp"}[d.Key]
			if at, ok := address(units.Encode(d.Value)); ok && network != "" && u.Name == a.stem()+".socket" {
				a.ports = append(a.ports, appPort{network, at, u.Name})
			}
		}
	}
}

// address reads what ListenStream= has: a port, or an address with one.
func address(text string) (netip.AddrPort, bool) {
	if port, err := strconv.ParseUint(text, 10, 16); err == nil && port > 0 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), true
	}
	at, err := netip.ParseAddrPort(text)
	return at, err == nil
}

// readEnv reads PORT and NODE_OPTIONS as each instance gets them.
func (a *appFacts) readEnv(dropIn []units.Directive, expand func(unit string) func(byte) (string, bool)) {
	var before []units.Directive
	for _, u := range a.set {
		if units.IsEnvFile(u.Name) {
			before = append(before, u.Directives...)
		}
	}
	for _, unit := range a.instances {
		env := map[string]string{}
		directives := slices.Concat(a.app.Service.Directives, dropIn)
		for _, u := range a.set {
			if strings.HasPrefix(u.Name, unit+".d/") {
				directives = append(directives, u.Directives...)
			}
		}
		for _, d := range directives {
			if v, ok := d.Value.(units.Assign); ok && d.Key == "Environment" {
				env[v.Name] = v.Value.Expand(expand(unit))
			}
		}
		for _, d := range before { // files win: systemd.exec(5)
			if v, ok := d.Value.(units.FileAssign); ok {
				env[d.Key] = string(v)
			}
		}
		port, err := strconv.ParseUint(env["PORT"], 10, 16)
		declared := slices.ContainsFunc(a.ports, func(p appPort) bool { return uint64(p.at.Port()) == port })
		if err == nil && port > 0 && !declared {
			a.ports = append(a.ports, appPort{"tcp", netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), "PORT"})
		}
		for option := range strings.FieldsSeq(env["NODE_OPTIONS"]) {
			if file, ok := strings.CutPrefix(option, "--require="); ok && path.IsAbs(file) && !slices.Contains(a.requires, file) {
				a.requires = append(a.requires, file)
			}
		}
	}
}

func checkAccount(f *facts, a *appFacts) []finding {
	var all []finding
	if a.user != "" {
		if _, there := f.accounts("user", a.user); !there {
			all = append(all, bad("sudo useradd --system "+a.user+", or correct uid", "there is no user %s", a.user))
		}
	}
	if a.group != "" {
		if _, there := f.accounts("group", a.group); !there {
			all = append(all, bad("sudo groupadd --system "+a.group+", or correct gid", "there is no group %s", a.group))
		}
	}
	if all == nil {
		return []finding{passed("")}
	}
	return all
}

// who is the account that the app runs as, if it is not root.
func (a *appFacts) who(f *facts) (accountFacts, string, bool) {
	name := a.user
	if f.user && name == "" {
		name = f.account
	}
	if name == "" || name == "root" {
		return accountFacts{}, "", false
	}
	account, there := f.accounts("user", name)
	return account, name, there && account.uid != 0
}

// The rights that a file is looked at for.
const (
	mayRead  fs.FileMode = 4
	mayWrite fs.FileMode = 2
	mayEnter fs.FileMode = 1 // or execute
)

// allowed reports whether an account has a right to a file.
func (w accountFacts) allowed(file fileFacts, right fs.FileMode) bool {
	mode := file.mode.Perm()
	switch {
	case w.uid == file.uid:
		mode >>= 6
	case w.gid == file.gid || slices.Contains(w.groups, file.gid):
		mode >>= 3
	}
	return mode&right == right || file.acl
}

// barrier finds what keeps the app's user from a path: a directory on the way, or
// the path itself. It is "" when nothing does.
func (a *appFacts) barrier(f *facts, name string, right fs.FileMode) string {
	account, user, limited := a.who(f)
	if !limited {
		return ""
	}
	var way []string
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		way = append(way, dir)
		if dir == "/" {
			break
		}
	}
	for _, dir := range slices.Backward(way) {
		if file := f.stat(dir); file.err == nil && !account.allowed(file, mayEnter) {
			return fmt.Sprintf("%s may not enter %s (mode %04o)", user, dir, file.mode.Perm())
		}
	}
	if file := f.stat(name); file.err == nil && !account.allowed(file, right) {
		return fmt.Sprintf("%s may not %s it (mode %04o)", user,
			map[fs.FileMode]string{mayRead: "read", mayWrite: "write", mayEnter: "execute"}[right], file.mode.Perm())
	}
	return ""
}

func checkProgram(f *facts, a *appFacts) []finding {
	if len(a.argv) == 0 {
		return []finding{bad("gm install", "there is no ExecStart=")}
	}
	program := a.argv[0]
	if !path.IsAbs(program) {
		return []finding{notChecked("the program %s is looked up when the app starts", program)}
	}
	file := f.stat(program)
	switch {
	case missing(file.err):
		remedy := "install it, or correct interpreter; then gm install"
		if others := f.otherVersions(program); len(others) > 0 {
			remedy = "correct interpreter, or gm install, which takes that of your PATH if none is declared; there is " + strings.Join(others, ", ")
		}
		return []finding{bad(remedy, "%s is not there", program)}
	case file.err != nil:
		return []finding{notChecked("%s: %s", program, reason(file.err))}
	case file.mode.IsDir(), file.mode&0o111 == 0:
		return []finding{bad("chmod +x "+program+", or correct interpreter", "%s is no program", program)}
	}
	if barrier := a.barrier(f, program, mayEnter); barrier != "" {
		return []finding{bad("install it where "+a.user+" may use it, such as /usr/local/bin", "%s: %s", program, barrier)}
	}
	return []finding{passed("")}
}

func missing(err error) bool {
	return err != nil && (isNotExist(err) || reason(err) == "not a directory")
}

var versionName = regexp.MustCompile(`^v?\d+(\.\d+)*$`)

// otherVersions lists the versions of a program that a version manager has, when
// the one of this path is gone: the directories beside the one in its path that is
// called like a version.
func (f *facts) otherVersions(program string) []string {
	parts := strings.Split(program, "/")
	for i, part := range parts {
		if !versionName.MatchString(part) {
			continue
		}
		var found []string
		for _, sibling := range f.siblings(strings.Join(parts[:i], "/")) {
			other := slices.Clone(parts)
			if other[i] = sibling; versionName.MatchString(sibling) && f.stat(strings.Join(other, "/")).err == nil {
				found = append(found, sibling)
			}
		}
		return found
	}
	return nil
}

func checkCwd(f *facts, a *appFacts) []finding {
	if a.cwd == "" {
		return nil
	}
	file := f.stat(a.cwd)
	switch {
	case missing(file.err):
		return []finding{bad("make it, or correct cwd", "the directory %s is not there", a.cwd)}
	case file.err != nil:
		return []finding{notChecked("%s: %s", a.cwd, reason(file.err))}
	case !file.mode.IsDir():
		return []finding{bad("correct cwd", "%s is no directory", a.cwd)}
	}
	if barrier := a.barrier(f, a.cwd, mayEnter); barrier != "" {
		barrier = strings.Replace(barrier, "execute it", "enter it", 1)
		return []finding{bad("chmod it, or put the app elsewhere, such as below /srv", "the directory %s: %s", a.cwd, barrier)}
	}
	return []finding{passed("")}
}

// interpreter matches programs that are given a script.
var interpreter = regexp.MustCompile(`^(node|bun|deno|python[\d.]*|ruby|perl|php|lua|bash|dash|sh|zsh|ts-node|tsx|coffee)[\d.]*$`)

// checkScript looks at the first path that an interpreter is given.
func checkScript(f *facts, a *appFacts) []finding {
	if len(a.argv) < 2 || !interpreter.MatchString(path.Base(a.argv[0])) || slices.Contains(a.argv[1:], "-c") {
		return nil
	}
	i := slices.IndexFunc(a.argv[1:], path.IsAbs)
	if i < 0 {
		return nil
	}
	script := a.argv[1+i]
	file := f.stat(script)
	switch {
	case missing(file.err):
		return []finding{bad("put it there, or correct script", "the script %s is not there", script)}
	case file.err != nil:
		return []finding{notChecked("%s: %s", script, reason(file.err))}
	}
	if barrier := a.barrier(f, script, mayRead); barrier != "" {
		return []finding{bad("give "+a.user+" the right to read it", "the script %s: %s", script, barrier)}
	}
	return []finding{passed("")}
}

func checkPreload(f *facts, a *appFacts) []finding {
	var all []finding
	for _, name := range a.requires {
		// What gm brings itself is put there by the install.
		if missing(f.stat(name).err) && (a.installed || !strings.Contains(name, "/gm/preload-")) {
			all = append(all, bad("gm install puts gm's own there; else correct NODE_OPTIONS", "node is to load %s, which is not there", name))
		}
	}
	if all == nil && len(a.requires) > 0 {
		return []finding{passed("")}
	}
	return all
}

func checkLogs(f *facts, a *appFacts) []finding {
	if len(a.logFiles) == 0 {
		return nil
	}
	var all []finding
	for _, name := range a.logFiles {
		dir := path.Dir(name)
		switch file := f.stat(dir); {
		case missing(file.err) && !slices.Contains(a.mkdirs, dir):
			all = append(all, bad("mkdir -p "+dir+", or gm install, which has it made", "the directory of %s is not there", name))
		case missing(file.err):
		case file.err != nil:
			all = append(all, notChecked("%s: %s", dir, reason(file.err)))
		case !file.mode.IsDir():
			all = append(all, bad("correct out_file", "%s is no directory", dir))
		case f.user:
			// Elsewhere systemd opens the files as root.
			if barrier := a.barrier(f, dir, mayWrite); barrier != "" {
				all = append(all, bad("declare a file below your home", "%s: %s", name, barrier))
			}
		}
	}
	if all == nil {
		return []finding{passed("")}
	}
	return all
}

func checkEnvFiles(f *facts, a *appFacts) []finding {
	if !a.installed || len(a.envFiles) == 0 {
		return nil
	}
	var all []finding
	for _, name := range a.envFiles {
		name, optional := strings.CutPrefix(name, "-")
		switch file := f.stat(name); {
		case missing(file.err) && !optional:
			all = append(all, bad("gm install", "the environment file %s is not there", name))
		case file.err != nil && !missing(file.err):
			all = append(all, notChecked("%s: %s", name, reason(file.err)))
		case file.err == nil && file.mode.Perm()&0o077 != 0:
			all = append(all, warn("chmod 600 "+name, "others may read the environment file %s (mode %04o)", name, file.mode.Perm()))
		}
	}
	if all == nil {
		return []finding{passed("")}
	}
	return all
}

// listener is a socket that a process listens on.
type listener struct {
	network string
	at      netip.AddrPort
	inode   uint64
}

// owner is the process that has a socket.
type owner struct {
	pid  int
	name string
	unit string // whose control group it is in, "" if unknown
	// session is the process that made its session (setsid(2)): gm's own supervisor
	// gives each process that it starts one.
	session int
}

// portTable is who listens where.
type portTable struct {
	listeners []listener
	// owner finds a socket's process; false if it cannot be seen.
	owner func(inode uint64) (owner, bool)
}

// conflicts reports whether two sockets cannot be there at once. An IPv6 socket of
// no address takes IPv4 as well, unless told otherwise (ipv6(7), IPV6_V6ONLY).
func (p *appPort) conflicts(l listener) bool {
	if p.network != l.network || p.at.Port() != l.at.Port() {
		return false
	}
	have, want := l.at.Addr().Unmap(), p.at.Addr().Unmap()
	return have == want || have.IsUnspecified() || want.IsUnspecified()
}

func checkPorts(f *facts, a *appFacts) []finding {
	if len(a.ports) == 0 {
		return nil
	}
	var all []finding
	for i := range a.ports {
		p := &a.ports[i]
		if other := f.sharing(a, p); other != "" {
			all = append(all, warn("give one of them another port", "%d is %s's port too", p.at.Port(), other))
		}
		table, err := f.ports()
		if err != nil {
			return append(all, notChecked("which ports are taken: %v", err))
		}
		for _, l := range table.listeners {
			if !p.conflicts(l) {
				continue
			}
			if found, taken := f.judgePort(a, p, l, table); taken {
				all = append(all, found)
				break
			}
		}
	}
	if all == nil {
		return []finding{passed("")}
	}
	return all
}

// sharing finds an earlier app that has the same port.
func (f *facts) sharing(a *appFacts, p *appPort) string {
	for i := range f.apps {
		other := &f.apps[i]
		if other == a {
			return ""
		}
		if other.name != a.name && slices.ContainsFunc(other.ports, func(o appPort) bool {
			return p.conflicts(listener{network: o.network, at: o.at})
		}) {
			return other.name
		}
	}
	return ""
}

// judgePort says whether it is someone else who listens there.
func (f *facts) judgePort(a *appFacts, p *appPort, l listener, table portTable) (finding, bool) {
	running := false // what a declaration asks for does not run yet
	var sessions []int
	if f.state != nil && a.installed {
		for _, unit := range append([]string{p.from}, a.instances...) {
			running = running || f.state.Units[unit].Running()
			if pid := f.state.Units[unit].MainPID; f.native && pid != 0 {
				sessions = append(sessions, pid)
			}
		}
	}
	const remedy = "stop it, or give the app another port"
	who, seen := table.owner(l.inode)
	switch {
	case seen && (slices.Contains(a.instances, who.unit) || strings.HasSuffix(a.app.Unit, "@.service") && strings.HasPrefix(who.unit, a.stem()+"@")):
		return finding{}, false
	case seen && slices.Contains(sessions, who.session):
		return finding{}, false
	case seen && p.from != "PORT" && running && (who.name == "systemd" || f.supervisor != nil && who.pid == f.supervisor.pid):
		return finding{}, false // it holds the app's own socket
	case !seen && running:
		return finding{}, false // surely its own, whose descriptors only root sees
	case !seen:
		return warn("as root, gm doctor says whose it is", "port %d (%s) is taken", p.at.Port(), p.from), true
	}
	by := fmt.Sprintf("%s (pid %d)", who.name, who.pid)
	if who.unit != "" {
		by = fmt.Sprintf("%s (pid %d, %s)", who.name, who.pid, who.unit)
	}
	if running {
		return warn(remedy, "port %d (%s) is taken by %s, and the app runs without it", p.at.Port(), p.from, by), true
	}
	return bad(remedy, "port %d (%s) is taken by %s", p.at.Port(), p.from, by), true
}
