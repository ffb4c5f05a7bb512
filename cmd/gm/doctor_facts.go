package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gm"
	"gm/diag"
	"gm/engine"
	"gm/engine/native"
	"gm/machine"
	"gm/units"
)

var (
	errNotRoot   = errors.New("that takes root")
	errNoJournal = errors.New("there is no journal")
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// doctorLimit is how long the engine may take to answer.
const doctorLimit = 5 * time.Second

func (c *caller) doctor(ctx context.Context, o *doctorOptions, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	userScope, err := o.scope()
	if err != nil {
		return err
	}
	f := c.machineFacts(userScope)
	conn, err := c.connect(ctx, &o.engineOptions, lockOptions{})
	var wrong *failure
	switch {
	case err == nil:
		defer conn.Close()
		f.version, f.dirs = conn.Engine().Version(), conn.Engine().Dirs()
		if client, ok := conn.Engine().(*native.Client); ok {
			f.askSupervisor(ctx, client)
		}
	case errors.As(err, &wrong) && wrong.status != statusUnreachable:
		return err
	default:
		f.openError = err
		f.version = machine.SystemdVersion("/")
		if conn, err = gm.New(unreachable{dirs: f.dirs}, gm.Options{Dir: c.dir}); err != nil {
			return err
		}
	}
	home := "/root"
	if f.user {
		home = c.getenv("HOME")
	}
	if state, err := conn.Observe(ctx, "", engine.Full); err == nil {
		f.state = state
		f.apps = readApps(state.Set(), state.Apps(), readDropIns(state.DropIns), true, home)
	}
	if err := c.declaredApps(o, args, f, home); err != nil {
		return err
	}
	f.leftovers, _ = filepath.Glob(filepath.Join(f.dirs.Units, ".gm-*")) // the pattern is a good one
	return c.printFindings(examine(f), o.json)
}

// askSupervisor takes in what gm's own supervisor is, and where it keeps files.
func (f *facts) askSupervisor(ctx context.Context, client *native.Client) {
	f.native = true
	info, err := client.Info(ctx)
	switch {
	case err == nil:
		f.supervisor = &supervisorFacts{info.PID, info.Version}
	case !errors.Is(err, engine.ErrUnreachable):
		f.openError = err
	}
	f.disks = []diskFacts{diskOf(nearest(filepath.Dir(f.dirs.Units))), diskOf("/tmp")}
}

// nearest returns a directory, or the next one above it that is there.
func nearest(dir string) string {
	for !exists(dir) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
	}
	return dir
}

// unreachable is an engine of which only the files are known.
type unreachable struct {
	engine.Engine
	dirs engine.Dirs
}

func (u unreachable) Dirs() engine.Dirs { return u.dirs }

func (unreachable) Units(context.Context, engine.Detail, []string) (map[string]engine.UnitState, error) {
	return map[string]engine.UnitState{}, nil
}

// declaredApps adds the apps of a declaration, if there is one; those that are
// installed just so are not looked at twice.
func (c *caller) declaredApps(o *doctorOptions, args []string, f *facts, home string) error {
	d, err := c.declaration(args)
	var none *failure
	if err != nil {
		if errors.As(err, &none) && none.code == machine.CodeNoDeclaration && len(args) == 0 {
			return nil
		}
		return err
	}
	in := &inputOptions{args: args, secrets: "inline", system: !f.user, user: f.user, native: f.native}
	compiled, err := c.compileDeclaration(in, d, nil)
	if err != nil {
		return err
	}
	if compiled.list.HasErrors() {
		c.print(compiled.list)
		if len(args) > 0 {
			return exit(status(compiled.list))
		}
		return nil
	}
	for _, app := range readApps(compiled.set, engine.Apps(compiled.set), nil, false, home) {
		same := slices.ContainsFunc(f.apps, func(have appFacts) bool {
			return have.name == app.name && bytes.Equal(units.Render(have.app.Service), units.Render(app.app.Service))
		})
		if !same {
			f.apps = append(f.apps, app)
		}
	}
	return nil
}

// readDropIns reads what others added to units.
func readDropIns(files map[string][]string) map[string][]units.Directive {
	all := map[string][]units.Directive{}
	for unit, paths := range files {
		for _, path := range paths {
			// systemd passes over one that it cannot read, too.
			if text, err := os.ReadFile(path); err == nil {
				u, _ := units.Parse(unit, diag.NewSource(path, text))
				all[unit] = append(all[unit], u.Directives...)
			}
		}
	}
	return all
}

// machineFacts asks this machine what does not need systemd.
func (c *caller) machineFacts(userScope bool) *facts {
	f := &facts{
		user: userScope, uid: os.Geteuid(), root: os.Geteuid() == 0, account: strconv.Itoa(os.Geteuid()),
		runtimeDir: c.getenv("XDG_RUNTIME_DIR"),
		dirs:       engine.Dirs{Units: "/etc/systemd/system", Env: "/etc/gm", Run: "/run/gm"},
		stat:       newStatCache(),
		siblings:   siblingNames,
		accounts:   c.accountFacts(),
		ports:      sync.OnceValues(readPorts),
		sharePort:  probeSharePort,
		sysctl:     readSysctl,
		cgroup:     readCgroup(userScope),
		journal:    readJournalFacts(userScope),
		pm2:        readPM2("/proc", "/etc/systemd/system"),
	}
	if u, err := user.Current(); err == nil {
		f.account = u.Username
	}
	if userScope {
		config := c.getenv("XDG_CONFIG_HOME")
		if config == "" {
			config = filepath.Join(c.getenv("HOME"), ".config")
		}
		run := f.runtimeDir
		if run == "" {
			run = "/run/user/" + strconv.Itoa(f.uid)
		}
		f.dirs = engine.Dirs{User: true, Units: filepath.Join(config, "systemd/user"), Env: filepath.Join(config, "gm"), Run: filepath.Join(run, "gm")}
		_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", f.account))
		f.lingers = err == nil
	}
	for _, path := range []string{"/etc", "/run", "/var/log"} {
		f.disks = append(f.disks, diskOf(path))
	}
	f.self, _ = os.Executable() // "": no gm is it
	for _, dir := range c.machine().Path() {
		if path := filepath.Join(dir, "gm"); machine.Executable(path) && !slices.ContainsFunc(f.gms, func(g gmFacts) bool { return sameFile(g.path, path) }) {
			f.gms = append(f.gms, c.lookAtGm(f.self, path))
		}
	}
	f.calledGm = func(path string) gmFacts { return c.lookAtGm(f.self, path) }
	return f
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// lookAtGm says what a program called gm is.
func (c *caller) lookAtGm(self, path string) gmFacts {
	g := gmFacts{path: path, exists: machine.Executable(path)}
	switch {
	case !g.exists:
		return g
	case sameFile(self, path):
		g.same, g.version = true, version()
		return g
	case holds(path, "gm/cmd/gm"): // GraphicsMagick's name is in this gm as well
	case holds(path, "GraphicsMagick"):
		g.other = "GraphicsMagick"
		return g
	default:
		return g // not to be run for an answer
	}
	ctx, cancel := context.WithTimeout(context.Background(), machine.VersionLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if fields := strings.Fields(string(out)); err == nil && len(fields) > 1 && fields[0] == "gm" {
		g.version = fields[1]
	}
	return g
}

// holds reports whether a program has a text in it.
func holds(path, text string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	buffer := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(f, buffer[kept:])
		if bytes.Contains(buffer[:kept+n], []byte(text)) {
			return true
		}
		if err != nil {
			return false
		}
		kept = copy(buffer, buffer[len(buffer)-len(text):])
	}
}

func siblingNames(dir string) []string {
	entries, _ := os.ReadDir(dir) // none, none
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names
}

// accountFacts looks accounts up, each once.
func (c *caller) accountFacts() func(kind, name string) (accountFacts, bool) {
	type answer struct {
		account accountFacts
		there   bool
	}
	known := map[string]answer{}
	m := c.machine()
	return func(kind, name string) (accountFacts, bool) {
		a, seen := known[kind+" "+name]
		if !seen {
			a.there = m.Account(kind, name)
			if a.there && kind == "user" {
				a.account, a.there = lookUpUser(name)
			}
			known[kind+" "+name] = a
		}
		return a.account, a.there
	}
}

// lookUpUser reads /etc/passwd and /etc/group. An account that only getent knows is
// not judged: it counts as root.
func lookUpUser(name string) (accountFacts, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return accountFacts{}, true
		}
	}
	var a accountFacts
	a.uid, _ = strconv.Atoi(u.Uid)
	a.gid, _ = strconv.Atoi(u.Gid)
	groups, _ := u.GroupIds()
	for _, group := range groups {
		if gid, err := strconv.Atoi(group); err == nil {
			a.groups = append(a.groups, gid)
		}
	}
	return a, true
}

// newStatCache looks at each path once.
func newStatCache() func(path string) fileFacts {
	known := map[string]fileFacts{}
	return func(path string) fileFacts {
		file, seen := known[path]
		if !seen {
			file = statFile(path)
			known[path] = file
		}
		return file
	}
}

func readSysctl(name string) (string, error) {
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return "", errors.New("this kernel does not have it")
	}
	return strings.TrimSpace(string(text)), nil
}

func readJournalFacts(userScope bool) journalFacts {
	_, err := os.Stat("/var/log/journal")
	return journalFacts{conf: readJournaldConf("/"), persistent: err == nil, readable: journalReadable(userScope)}
}

// journalReadable says why the caller cannot read the journal of the system's
// units, or of their own.
func journalReadable(userScope bool) error {
	names := []string{"system.journal"}
	if userScope {
		// Where users have no file of their own their lines are in the system's.
		names = []string{"user-" + strconv.Itoa(os.Geteuid()) + ".journal", "system.journal"}
	}
	result := errNoJournal
	for _, dir := range []string{"/var/log/journal", "/run/log/journal"} {
		for _, name := range names {
			files, _ := filepath.Glob(filepath.Join(dir, "*", name)) // the pattern is a good one
			for _, file := range files {
				f, err := os.Open(file)
				if err == nil {
					f.Close()
					return nil
				}
				result = errors.New(file + ": " + reason(err))
			}
		}
	}
	return result
}

// confDirs are where journald.conf and its drop-ins are, the first one winning:
// journald.conf(5).
var confDirs = []string{"etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd"}

// readJournaldConf returns the effective settings of journald.
func readJournaldConf(root string) map[string]string {
	conf := map[string]string{}
	for _, dir := range confDirs {
		if text, err := os.ReadFile(filepath.Join(root, dir, "journald.conf")); err == nil {
			readConf(conf, text)
			break
		}
	}
	dropIns := map[string]string{}
	for _, dir := range slices.Backward(confDirs) {
		files, _ := filepath.Glob(filepath.Join(root, dir, "journald.conf.d", "*.conf"))
		for _, file := range files {
			dropIns[filepath.Base(file)] = file
		}
	}
	for _, name := range sortedKeys(dropIns) {
		if text, err := os.ReadFile(dropIns[name]); err == nil {
			readConf(conf, text)
		}
	}
	return conf
}

func readConf(conf map[string]string, text []byte) {
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && key != "" && key[0] != '#' && key[0] != ';' {
			conf[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
}

var (
	// "PM2 v7.0.4: God Daemon (/root/.pm2)"
	pm2Title = regexp.MustCompile(`^PM2 v\S+: God Daemon \((.*)\)`)
	pm2Home  = regexp.MustCompile(`(?m)^Environment="?PM2_HOME=([^"\n]*)`)
)

// readPM2 finds daemons of PM2 and the units that start them, which `pm2 startup`
// writes as pm2-USER.service.
func readPM2(proc, unitDir string) []pm2Facts {
	var all []pm2Facts
	at := func(home string) *pm2Facts {
		for i := range all {
			if all[i].home == home {
				return &all[i]
			}
		}
		all = append(all, pm2Facts{home: home, owner: ownerOf(home)})
		p := &all[len(all)-1]
		p.names, p.err = readDump(home)
		return p
	}
	entries, _ := os.ReadDir(proc)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// What a user's process calls itself is read, and nothing more of it.
		title, err := os.ReadFile(filepath.Join(proc, entry.Name(), "cmdline"))
		if err != nil || !bytes.HasPrefix(title, []byte("PM2 v")) {
			continue
		}
		if found := pm2Title.FindSubmatch(bytes.TrimRight(title, "\x00 ")); found != nil {
			at(string(found[1])).pid = pid
		}
	}
	links, _ := filepath.Glob(filepath.Join(unitDir, "*.wants", "pm2-*.service"))
	for _, link := range links {
		text, err := os.ReadFile(link)
		if found := pm2Home.FindSubmatch(text); err == nil && found != nil {
			at(string(found[1])).boot = filepath.Base(link)
		}
	}
	return all
}

// readDump returns the names of the apps that PM2 saved.
func readDump(home string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(home, "dump.pm2"))
	switch {
	case isNotExist(err):
		return nil, nil // nothing was saved
	case err != nil:
		return nil, errors.New(home + "/dump.pm2: " + reason(err))
	}
	var dump []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return nil, errors.New(home + "/dump.pm2 is no JSON")
	}
	names := make([]string, len(dump))
	for i, app := range dump {
		names[i] = app.Name
	}
	return names, nil
}

// ownerOf names the owner of a directory.
func ownerOf(dir string) string {
	file := statFile(dir)
	if file.err != nil {
		return dir
	}
	if u, err := user.LookupId(strconv.Itoa(file.uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(file.uid)
}
