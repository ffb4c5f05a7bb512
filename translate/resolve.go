package translate

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"gm/diag"
	"gm/units"
)

// project is a declaration with every rule of PM2 applied that needs no unit:
// aliases, types, names, directories, instance counts, interpreters.
type project struct {
	name   string
	source string // SourcePath=: the declaration on the host; "" when it is no file
	o      *Options
	all    []*app          // every app of the declaration
	apps   []*app          // those that --only chooses
	byName map[string]*app // of all
	deploy *value

	envKnown bool            // some app has the env_NAME that --env chose
	missing  map[string]bool // commands reported as absent
}

// app is one resolved app. Its keys keep their places for messages.
type app struct {
	at   diag.Range // of its name, or of the whole object
	name string
	unit string // prefix of its unit names, escaped

	slots  [maxFields]uint8 // row of fields() -> 1 + index into args
	args   []arg
	blocks []envBlock // env_NAME, in order

	cwd      string
	program  program
	cluster  bool
	count    int
	template bool // instances of NAME@.service
}

// envBlock is one env_NAME.
type envBlock struct {
	name string
	arg  arg
}

// maxFields bounds the table; a test compares.
const maxFields = 96

var notGiven arg

// get returns the value of a key under its canonical name.
func (a *app) get(name string) *arg { return a.row(index()[name]) }

// row returns the value of the key in that row of the table.
func (a *app) row(i int) *arg {
	if slot := a.slots[i]; slot > 0 {
		return &a.args[slot-1]
	}
	return &notGiven
}

// main is the unit that stands for the app: its service, or the target of its
// instances.
func (a *app) main() string {
	if a.template {
		return a.unit + ".target"
	}
	return a.unit + ".service"
}

// instance names the service of instance i.
func (a *app) instance(i int) string {
	if a.template {
		return fmt.Sprintf("%s@%d.service", a.unit, i)
	}
	return a.unit + ".service"
}

// resolve applies PM2's rules to a document.
func resolve(doc *document, src *diag.Source, o *Options, m *messages) *project {
	p := &project{
		o: o, deploy: doc.deploy, name: o.Project,
		byName: make(map[string]*app, len(doc.apps)), envKnown: o.Env == "",
		missing: map[string]bool{},
	}
	if p.name == "" {
		p.name = path.Base(path.Clean("/" + o.Host.Root))
	}
	if p.name == "/" {
		p.name = "root"
	}
	if src.Name != "<stdin>" {
		source := path.Join("/", o.Host.Root, path.Base(src.Name))
		if _, err := units.NewPath(units.Escape(source)); err != nil {
			m.add(badText, diag.Range{}, "rename the file or its directory", "the declaration's path: %v", err)
		} else {
			p.source = source
		}
	}
	for _, member := range doc.rest {
		if member.name == schemaKey {
			continue
		}
		m.add(unknownTopKey, member.nameAt, "move it into an app, if it was meant for one",
			"%q stands beside apps, where nobody reads it", member.name)
	}
	if doc.deploy != nil {
		m.add(deployNotHandled, doc.deploy.at, "", "deploy is kept for `pm2 deploy`; it makes no unit")
	}
	if doc.static != nil {
		m.add(staticNotHandled, doc.static.at, "declare an app that serves the files, for example with `npx serve DIR`",
			"static asks for PM2's built-in file server, which gm does not have")
	}

	read := readApps(doc.apps)
	for i, decl := range doc.apps {
		a := read[i].app
		m.list = append(m.list, read[i].list...)
		if !p.identify(a, decl, m) {
			continue
		}
		p.checkEnv(a, m)
		a.resolvePlace(p, m)
		p.all = append(p.all, a)
		p.byName[a.name] = a
		if len(o.Only) == 0 || slices.Contains(o.Only, a.name) {
			p.apps = append(p.apps, a)
		}
	}
	if !p.envKnown && len(p.all) > 0 {
		// Where others are, this one is a slip; where none is, the last app that had one
		// may have left, and the same command goes on working.
		if names := p.envNames(); len(names) > 0 {
			m.add(unknownEnv, p.all[0].at, "use one of: "+strings.Join(names, ", "), "--env %s: no app has env_%s", o.Env, o.Env)
		} else {
			m.add(noEnvs, p.all[0].at, "", "--env %s chooses nothing: no app has an env_NAME", o.Env)
		}
	}
	for _, only := range o.Only {
		if p.byName[only] == nil {
			m.add(unknownApp, diag.Range{}, "name one that the declaration has", "--only %s: no app has that name", only)
		}
	}
	p.checkCycles(m)
	return p
}

// checkEnv notes whether --env chooses something in the app, and says so when
// an app would be left without its variables.
func (p *project) checkEnv(a *app, m *messages) {
	if p.o.Env != "" {
		p.envKnown = p.envKnown || p.deployEnv() != nil ||
			slices.ContainsFunc(a.blocks, func(b envBlock) bool { return b.name == p.o.Env })
		return
	}
	if !a.get("env").given() && len(a.blocks) > 0 {
		m.add(envNotChosen, a.blocks[0].arg.keyAt, "choose one with --env "+a.blocks[0].name,
			"%s has variables only for --env %s, and no --env was given", a.name, a.blocks[0].name)
	}
}

// envNames lists what --env can choose, for a message.
func (p *project) envNames() []string {
	var out []string
	for _, a := range p.all {
		for _, b := range a.blocks {
			if !slices.Contains(out, b.name) {
				out = append(out, b.name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// deployEnv is deploy.NAME.env of the chosen environment: PM2 lays it over env
// and under env_NAME (lib/Common.js, mergeEnvironmentVariables).
func (p *project) deployEnv() *value {
	if p.o.Env == "" {
		return nil
	}
	if env := p.deploy.member(p.o.Env).member("env"); env != nil && env.kind == kindObject {
		return env
	}
	return nil
}

// readApps reads every app's members; what is wrong with one is beside it.
func readApps(decls []*value) []readResult {
	out := make([]readResult, len(decls))
	sideBySide(len(decls), func(from, to int) {
		suggestions := map[string]string{} // unknown key -> the nearest known one
		for i := from; i < to; i++ {
			out[i].app = readApp(decls[i], suggestions, &out[i].messages)
		}
	})
	return out
}

type readResult struct {
	app *app
	messages
}

// readApp sorts an app's members into the rows of the table and checks types.
func readApp(decl *value, suggestions map[string]string, m *messages) *app {
	a := &app{at: decl.at, args: make([]arg, 0, len(decl.members))}
	rows := fields()
	for i := range decl.members {
		key := &decl.members[i]
		row, ok := fieldIndex(key.name)
		if key.name == schemaKey {
			continue // for the editor
		}
		if !ok {
			remedy := "PM2 drops it in silence; remove it"
			near, known := suggestions[key.name]
			if !known {
				near = nearest(key.name, fieldNames())
				suggestions[key.name] = near
			}
			if near != "" {
				remedy = fmt.Sprintf("did you mean %q?", near)
			}
			m.add(unknownKey, key.nameAt, remedy, "unknown key %q", key.name)
			continue
		}
		if key.value.kind == kindNull {
			continue
		}
		field := &rows[row]
		if key.name == "env_file" {
			m.add(envFile, key.nameAt, `write the variables under env, or "systemd": {"service": {"EnvironmentFile": "/path/.env"}}`,
				"env_file is no file to PM2: it holds the variables for --env file")
			if key.value.kind == kindString {
				continue // as in PM2, which drops it in silence
			}
		}
		read := arg{value: key.value, keyAt: key.nameAt, at: key.value.at, name: key.name}
		if f := field.Type.read(key.value, &read); f != nil {
			if key.value.isEmpty() {
				m.add(emptyValue, key.value.at, "remove the key", "%s: %s says nothing here; it is taken as absent", key.name, key.value.describe())
				continue
			}
			at := key.value.at
			if !f.at.IsZero() {
				at = f.at
			}
			m.add(badValue, at, f.remedy, "%s: %s expected, found %s", key.name, f.expected, key.value.describe())
			continue
		}
		if field.Name == envPattern {
			a.blocks = append(a.blocks, envBlock{strings.TrimPrefix(key.name, "env_"), read})
			continue
		}
		if slot := a.slots[row]; slot > 0 {
			first := &a.args[slot-1]
			winner, loser := first, &read
			if spellingRank(field, read.name) < spellingRank(field, first.name) {
				winner, loser = &read, first
			}
			m.add(twoSpellings, loser.keyAt, "keep one of them",
				"%q and %q are the same key; PM2 takes %q", winner.name, loser.name, winner.name)
			*first = *winner
			continue
		}
		a.args = append(a.args, read)
		a.slots[row] = uint8(len(a.args))
	}
	return a
}

func spellingRank(f *Field, name string) int { return slices.Index(f.spellings(), name) }

// identify settles the app's name and unit name; false drops the app.
func (p *project) identify(a *app, decl *value, m *messages) bool {
	script := a.get("script")
	if a.name = a.get("name").text; a.name != "" {
		a.at = a.get("name").at
	} else if script.given() && script.text != "" {
		a.name = defaultName(script.text)
		a.at = script.at
	}
	if !script.given() || strings.TrimSpace(script.text) == "" {
		for _, key := range decl.members {
			if row, ok := fieldIndex(key.name); ok && row == index()["script"] && !key.value.isEmpty() {
				return false // of the wrong type, which has been said
			}
		}
		m.add(noScript, decl.at, `add "script": the file or command to run`, "the app has no script")
		return false
	}
	if a.get("append_env_to_name").flag && p.o.Env != "" {
		a.name += "-" + p.o.Env
	}
	a.unit = units.EscapeName(p.o.Prefix + a.name)
	// The longest name that gm derives from an app's is a restart timer's.
	if err := units.CheckName(a.unit + "-restart@1000.service"); err != nil || a.name == "" {
		m.add(badName, a.at, "choose a shorter name of letters, digits, - and _", "%q cannot be the name of a unit: %v", clip(a.name), err)
		return false
	}
	return true
}

// defaultName is PM2's: the base of the script without its last extension.
func defaultName(script string) string {
	base := path.Base(script)
	if dot := strings.LastIndexByte(base, '.'); dot > 0 {
		base = base[:dot]
	}
	return base
}

// resolvePlace settles directory, mode, count and program.
func (a *app) resolvePlace(p *project, m *messages) {
	host := &p.o.Host
	a.cwd = path.Clean("/" + host.Root)
	if cwd := a.get("cwd"); cwd.text != "" {
		if a.checkPath(cwd, m) {
			a.cwd = host.resolve(host.Root, cwd.text)
		}
		a.noteCaller(p, cwd, m)
	}
	if script := a.get("script"); !a.get("cwd").given() && strings.Contains(script.text, "/") {
		a.noteCaller(p, script, m)
	}
	a.resolveProgram(p, m)
	a.resolveInstances(host, m)
	if host.Scope == ScopeSystem {
		checkAccount(host, "user", a.get("uid"), m)
		checkAccount(host, "group", a.get("gid"), m)
	}
}

// checkAccount reports a user or group that the host does not have. A number
// needs an entry as well: systemd looks up the user's home and groups.
func checkAccount(host *Host, kind string, a *arg, m *messages) {
	if !a.given() {
		return
	}
	if exists, known := host.account(kind, a.text); known && !exists {
		m.add(unknownAccount, a.at, "create it before the app starts", "%s: this host has no %s %q", a.name, kind, a.text)
	}
}

// noteCaller says once per run that PM2 would have started from elsewhere.
func (a *app) noteCaller(p *project, at *arg, m *messages) {
	if p.o.Caller == "" || path.Clean(p.o.Caller) == path.Clean(p.o.Host.Root) || path.IsAbs(at.text) || strings.HasPrefix(at.text, "~") {
		return
	}
	m.add(callerPath, at.at, "", "relative paths start at the declaration's directory, %s; PM2 would take the caller's, %s", p.o.Host.Root, p.o.Caller)
	p.o.Caller = ""
}

// resolveInstances is PM2's lib/Common.js determineExecMode and God.prepare.
func (a *app) resolveInstances(host *Host, m *messages) {
	mode, instances := a.get("exec_mode"), a.get("instances")
	n := int(instances.number)
	switch {
	case a.get("execute_command").flag:
	case mode.given():
		a.cluster = mode.text == "cluster"
	case instances.given() && n >= -1:
		// Without exec_mode a count makes a cluster of Node's and Bun's
		// scripts; -2 and below do not.
		a.cluster = a.program.runtime == runtimeNode || a.program.runtime == runtimeBun
	}
	switch {
	case !instances.given():
		a.count = 1
	case n > 0:
		a.count = n
	default:
		a.count = max(host.CPUs+n, 1)
	}
	if a.count > maxInstances {
		m.add(badValue, instances.at, "", "%s: at most %d instances, found %d", instances.name, maxInstances, a.count)
		a.count = 1
	}
	a.template = a.cluster || a.count > 1
}

// checkPath refuses a path that no Linux host can have.
func (a *app) checkPath(p *arg, m *messages) bool {
	return checkPath(p.text, p.name, p.at, m)
}

func checkPath(text, key string, at diag.Range, m *messages) bool {
	if len(text) >= 3 && text[1] == ':' && (text[2] == '\\' || text[2] == '/') ||
		len(text) >= 2 && text[1] == ':' && !strings.ContainsAny(text, "/") && strings.ContainsAny(text, "\\\n\t\b\f\r\v") {
		m.add(windowsPath, at, "write the path on the Linux host", "%s: %q is a Windows path", key, clip(text))
		return false
	}
	return true
}

// clip shortens text for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// isEmpty reports whether v is what PM2 drops wherever it cannot mean anything.
func (v *value) isEmpty() bool {
	switch v.kind {
	case kindString:
		return strings.TrimSpace(v.text) == ""
	case kindNumber:
		return v.number == 0
	case kindBool:
		return !v.flag
	}
	return v.kind == kindNull
}

// describe names a value in a message.
func (v *value) describe() string {
	switch v.kind {
	case kindString:
		return fmt.Sprintf("%q", clip(v.text))
	case kindNumber, kindBool:
		return v.String()
	}
	return v.kind.String()
}
