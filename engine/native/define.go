package native

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"gm/diag"
	"gm/units"
)

// builder makes one definition of the text of its files.
type builder struct {
	*interner
	lib *library
	d   *definition
	key string // of the directive that is set

	// What is put into the definition when all files are read.
	timedStart              bool
	success, prevent, force []string
	directories             map[string][]string
	modes                   map[string]int
	refused                 []string
	// asked is what the last value of each directive asks for that is not done.
	asked []asked
}

type asked struct {
	section, key string
	policy       policy
	on           bool
	text         string
}

// kinds are the types of units that the supervisor runs.
var kinds = map[string]kind{
	".service": kindService, ".target": kindTarget, ".timer": kindTimer, ".socket": kindSocket, ".slice": kindSlice,
}

// sectionsOf are the sections of a kind of unit, beside [Unit], [Install] and [X-…].
var sectionsOf = [kindOther]string{kindService: "Service", kindTimer: "Timer", kindSocket: "Socket", kindSlice: "Slice"}

func kindOf(name string) kind {
	if k, ok := kinds[path.Ext(name)]; ok {
		return k
	}
	return kindOther
}

// unitFile is one file that a unit is made of.
type unitFile struct {
	path string
	data []byte
}

// define makes the definition of a unit of its unit file and drop-ins, in the order in
// which they count.
func (l *library) define(name string, files []unitFile, in *interner) *definition {
	b := &builder{interner: in, lib: l, d: &definition{name: in.intern(name), kind: kindOf(name), load: "loaded"}}
	b.start()
	hash := sha256.New()
	for i, file := range files {
		fmt.Fprintf(hash, "%d\n", len(file.data))
		hash.Write(file.data)
		if i == 0 {
			b.d.fragment = file.path
		} else {
			b.d.dropIns = append(b.d.dropIns, file.path)
		}
	}
	b.d.digest = hex.EncodeToString(hash.Sum(nil)[:8])
	for _, file := range files {
		b.read(file)
	}
	b.finish()
	return b.d
}

// broken is the definition of a unit that cannot be loaded.
func broken(name, file, load, why string) *definition {
	return &definition{name: name, kind: kindOf(name), description: name, fragment: file, load: load, why: why}
}

// start fills in what holds where the unit says nothing: systemd-system.conf(5) and the
// man pages of the directives.
func (b *builder) start() {
	d := b.d
	d.limit.interval, d.limit.burst = 10*time.Second, 5
	switch d.kind {
	case kindService:
		d.service = &serviceDef{
			restart: "no", restartSec: 100 * time.Millisecond,
			timeoutStart: 90 * time.Second, timeoutStop: 90 * time.Second,
			notifyAccess: "none", killMode: "control-group",
			killSignal: signalNumber("TERM"), finalSignal: signalNumber("KILL"), sendSIGKILL: true,
			oomPolicy: "stop", memoryMax: -1,
			exec: execDef{
				umask: 0o022, ignoreSIGPIPE: true, directoryMode: 0o755,
				stdin: units.Stream{Kind: "null"}, stdout: units.Stream{Kind: "journal"}, stderr: units.Stream{Kind: "inherit"},
			},
		}
	case kindTimer:
		d.timer = &timerDef{accuracy: time.Minute, remain: true}
	case kindSocket:
		d.socket = &socketDef{mode: 0o666, dirMode: 0o755}
	}
}

// read takes the directives of one file.
func (b *builder) read(file unitFile) {
	src := diag.NewSource(file.path, file.data)
	u, list := units.Parse(b.d.name, src)
	for _, m := range list {
		if m.Severity == diag.Error {
			b.misread(m)
		}
	}
	for i := range u.Directives {
		b.set(&u.Directives[i])
	}
}

// misread notes a line that systemd leaves out too. Without some of them the unit would run
// as someone else or elsewhere: it is refused, as systemd refuses most of those.
func (b *builder) misread(m diag.Diagnostic) {
	key, _, _ := strings.Cut(m.Cause, ":")
	line := fmt.Sprintf("%s: %s", m.At, m.Cause)
	switch key {
	case "User", "Group", "SupplementaryGroups", "WorkingDirectory", "RootDirectory", "NoNewPrivileges", "DynamicUser", "Accept":
		b.refused = append(b.refused, line)
	default:
		if strings.HasPrefix(key, "Exec") {
			b.refused = append(b.refused, line)
			return
		}
		b.d.notes = append(b.d.notes, line+"; that is ignored")
	}
}

// set applies one directive by its row.
func (b *builder) set(u *units.Directive) {
	r, _ := ruleOf(u.Section, u.Key)
	if strings.HasPrefix(u.Section, "X-") || strings.HasPrefix(u.Key, "X-") {
		if r != nil && r.set != nil && b.d.service != nil {
			b.try(r, u)
		}
		return
	}
	if b.d.kind == kindOther {
		return // it is refused as it is
	}
	own := u.Section == sectionsOf[b.d.kind]
	switch {
	case !own && u.Section != "Unit" && u.Section != "Install":
		b.ask(u.Section, "", ignored, true, fmt.Sprintf("[%s] is ignored: it has no place in %s", u.Section, b.d.name))
		return
	case !known(u.Section, u.Key):
		b.ask(u.Section, u.Key, ignored, true, u.Key+"= is ignored: systemd has no such directive in ["+u.Section+"]")
		return
	case r == nil:
		b.ask(u.Section, u.Key, ignored, true, u.Key+"= is ignored: the supervisor does not know it")
		return
	}
	switch r.policy {
	case honoured:
		b.try(r, u)
	case ignored:
		on := !isEmpty(u.Value) && u.Value != units.Bool(false)
		b.ask(u.Section, u.Key, ignored, on, u.Key+"= is ignored: "+r.why)
	case refused:
		on := !isEmpty(u.Value) && u.Value != units.Bool(false)
		if on && r.set != nil {
			on = r.set(b, u.Value) != nil
		}
		b.ask(u.Section, u.Key, refused, on, u.Key+"=: "+r.why)
	}
}

// try sets what a directive says, and notes what cannot be set.
func (b *builder) try(r *rule, u *units.Directive) {
	b.key = u.Key
	if err := r.set(b, u.Value); err != nil {
		b.d.notes = append(b.d.notes, fmt.Sprintf("%s: %s=: %s", u.From, u.Key, err))
	}
}

// known reports whether systemd has a directive.
func known(section, key string) bool {
	if _, own := ruleOf(section, key); own {
		return true
	}
	_, ok := units.Lookup(section, key)
	return ok
}

// ask keeps what a directive asks for that is not done. A later assignment of it that asks
// for nothing, as an empty one, takes that back.
func (b *builder) ask(section, key string, p policy, on bool, text string) {
	i := slices.IndexFunc(b.asked, func(a asked) bool { return a.section == section && a.key == key })
	switch {
	case i >= 0:
		b.asked[i].on, b.asked[i].policy = on, p
		if on {
			b.asked[i].text = text
		}
	case on:
		b.asked = append(b.asked, asked{section, key, p, on, text})
	}
}

func (b *builder) refuse(why string) { b.refused = append(b.refused, why) }

// finish fills in what follows from what is set.
func (b *builder) finish() {
	d := b.d
	for _, a := range b.asked {
		switch {
		case !a.on:
		case a.policy == refused:
			b.refused = append(b.refused, a.text)
		default:
			d.notes = append(d.notes, b.intern(a.text))
		}
	}
	if d.limit.burst == 0 || d.limit.interval <= 0 {
		d.limit.interval = 0
	}
	b.link()
	switch d.kind {
	case kindService:
		b.finishService()
	case kindTimer:
		b.finishTimer()
	case kindSocket:
		b.finishSocket()
	case kindOther:
		b.refuse("a unit of type " + strings.TrimPrefix(path.Ext(d.name), ".") + " is not run here; " + notHere)
	}
	if len(b.refused) > 0 {
		d.load, d.why = "bad-setting", strings.Join(b.refused, "; ")
	}
	if d.description == "" {
		d.description = d.name
	}
	for _, list := range d.lists() {
		*list = b.list(*list)
	}
	d.notes = b.list(d.notes)
}

// lists are the unit's dependencies.
func (d *definition) lists() []*[]string {
	return []*[]string{&d.wants, &d.requires, &d.requisite, &d.bindsTo, &d.partOf, &d.conflicts, &d.before, &d.after}
}

// link adds what the .wants and .requires directories of the unit hold.
func (b *builder) link() {
	for _, name := range linkOwners(b.d.name) {
		merge(&b.d.wants, b.instances(b.lib.wants[name]))
		merge(&b.d.requires, b.instances(b.lib.requires[name]))
	}
}

// instances takes links to templates as links to the instance of this unit's name.
func (b *builder) instances(links []string) []string {
	isTemplate := func(name string) bool { return templateName(name) == name }
	if !slices.ContainsFunc(links, isTemplate) {
		return links
	}
	made := slices.Clone(links)
	for i, name := range made {
		if isTemplate(name) {
			made[i] = b.instanceOf(name)
		}
	}
	return made
}

func (b *builder) finishService() {
	d, s := b.d, b.d.service
	e := &s.exec
	b.finishType()
	if s.typ == "oneshot" && !b.timedStart {
		s.timeoutStart = 0
	}
	if s.typ == "oneshot" {
		s.runtimeMax = 0
	}
	for _, at := range []*time.Duration{&s.timeoutStart, &s.timeoutStop, &s.restartMaxDelay, &s.runtimeMax, &s.watchdog} {
		if *at >= endless {
			*at = 0
		}
	}
	if s.notifyAccess == "none" && (s.typ == "notify" || s.watchdog > 0) {
		s.notifyAccess = "main"
	}
	if s.restartKillSignal == 0 {
		s.restartKillSignal = s.killSignal
	}
	b.exits(&s.success, b.success, "SuccessExitStatus")
	b.exits(&s.restartPrevent, b.prevent, "RestartPreventExitStatus")
	b.exits(&s.restartForce, b.force, "RestartForceExitStatus")
	if s.slice != "" {
		b.add(&d.requires, s.slice)
		b.add(&d.after, s.slice)
	}
	for _, socket := range s.sockets {
		b.add(&d.wants, socket)
		b.add(&d.after, socket)
	}
	for _, socket := range b.lib.triggered[d.name] {
		b.add(&s.sockets, socket)
		b.add(&d.after, socket)
	}
	s.sockets = b.list(s.sockets)
	b.finishDirectories(e)
	e.env = slices.Clip(e.env)
	if e.stdout.Kind == "inherit" && e.stdin.Kind == "null" {
		e.stdout.Kind = "null"
	}
	b.verify()
}

// finishType decides the type, and refuses those that the supervisor does not have.
func (b *builder) finishType() {
	s := b.d.service
	switch s.typ {
	case "":
		s.typ = "simple"
		if len(s.start) == 0 {
			s.typ = "oneshot"
		}
	case "simple", "exec", "oneshot", "notify":
	case "idle": // simple, but that it waits for the start of a machine to calm down
		s.typ = "simple"
	case "forking":
		b.refuse("Type=forking leaves no way to find the main process; run the program in the foreground, with Type=exec")
	case "dbus":
		b.refuse("Type=dbus needs systemd to watch the bus; write Type=exec or Type=notify")
	case "notify-reload":
		b.refuse("Type=notify-reload needs systemd; write Type=notify and ExecReload=/bin/kill -HUP $MAINPID")
	default:
		b.refuse(fmt.Sprintf("Type=%s is none of simple, exec, oneshot, notify", s.typ))
	}
}

// verify refuses what systemd refuses (service_verify in its service.c). Whatever else is
// wrong comes first.
func (b *builder) verify() {
	s := b.d.service
	switch {
	case len(b.refused) > 0:
	case len(s.start) == 0 && s.typ != "oneshot":
		b.refuse("there is no ExecStart=, which Type=oneshot alone allows")
	case len(s.start) == 0 && len(s.stop) == 0:
		b.refuse("there is no ExecStart=")
	case len(s.start) == 0 && !s.remainAfterExit:
		b.refuse("there is no ExecStart=, which RemainAfterExit=yes alone allows")
	case len(s.start) > 1 && s.typ != "oneshot":
		b.refuse("there are several ExecStart=, which Type=oneshot alone allows")
	case s.typ == "oneshot" && (s.restart == "always" || s.restart == "on-success"):
		b.refuse("Restart=" + s.restart + " is not possible with Type=oneshot")
	}
}

// finishDirectories puts the directories in order, and tells the processes of them.
func (b *builder) finishDirectories(e *execDef) {
	var pairs []string
	mode := 0o7777
	for _, key := range slices.Sorted(maps.Keys(b.directories)) {
		e.runtimeDirs = append(e.runtimeDirs, b.directories[key]...)
		pairs = append(pairs, directories[key].variable+"="+strings.Join(b.directories[key], ":"))
		if m, ok := b.modes[key]; ok {
			mode &= m
		} else {
			mode &= e.directoryMode
		}
	}
	if len(pairs) == 0 {
		return
	}
	e.directoryMode = mode
	e.env = append(pairs, e.env...)
}

func (b *builder) finishTimer() {
	d, t := b.d, b.d.timer
	if t.unit == "" {
		t.unit = sibling(d.name, ".service")
	}
	if units.CheckName(t.unit) != nil || path.Ext(t.unit) == ".timer" {
		b.refuse(fmt.Sprintf("Unit=%s is no unit that a timer starts", t.unit))
	}
	b.add(&d.before, t.unit)
	if len(t.calendar)+len(t.onActive)+len(t.onBoot)+len(t.onStartup)+len(t.onUnit)+len(t.onInact) == 0 {
		b.refuse("there is no time at which it elapses: OnCalendar= and the like")
	}
	t.calendar = slices.Clip(t.calendar)
}

func (b *builder) finishSocket() {
	d, s := b.d, b.d.socket
	if s.service == "" {
		s.service = sibling(d.name, ".service")
	}
	if units.CheckName(s.service) != nil || path.Ext(s.service) != ".service" {
		b.refuse(fmt.Sprintf("Service=%s is no service", s.service))
	}
	b.add(&d.before, s.service)
	if len(s.names) == 0 {
		s.names = []string{d.name}
	}
	if len(s.listen) == 0 && len(b.refused) == 0 {
		b.refuse("there is no address on which it listens: ListenStream= and the like")
	}
}

// add appends a name that is not in the list.
func (b *builder) add(list *[]string, name string) {
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// merge appends names that are not in the list, which may be those of hundreds of units.
func merge(list *[]string, names []string) {
	if len(*list) == 0 {
		*list = slices.Clip(names)
		return
	}
	seen := map[string]bool{}
	for _, name := range *list {
		seen[name] = true
	}
	for _, name := range names {
		if !seen[name] {
			*list = append(*list, name)
		}
	}
}
