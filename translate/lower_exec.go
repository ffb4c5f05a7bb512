package translate

import (
	"gm/diag"
	"gm/units"
)

// lowerExec: script, args, exec_interpreter, node_args.
func lowerExec(l *lowering, script *arg) {
	argv := make([]units.Spec, len(l.app.program.argv))
	for i, word := range l.app.program.argv {
		argv[i] = units.Escape(word.text)
	}
	if c, err := units.NewCommand("", argv); err != nil {
		l.addCommandFault(argv, err)
	} else {
		l.service.add("Service", "ExecStart", c, script.at)
	}
	if l.app.program.runtime == runtimePython {
		// lib/Common.js resolveInterpreter: log lines must not wait in a buffer.
		l.setenv(variable{name: "PYTHONUNBUFFERED", value: "1", from: script.at})
	}
}

// addCommandFault reports why the app's command cannot be written, at the word
// that is to blame when it is a single one.
func (l *lowering) addCommandFault(argv []units.Spec, err error) {
	at := l.app.get("script").at
	for i, word := range l.app.program.argv {
		alone := []units.Spec{argv[i]}
		if i > 0 {
			alone = []units.Spec{"/", argv[i]}
		}
		if _, fault := units.NewCommand("", alone); fault != nil {
			at, err = word.at, fault
			break
		}
	}
	l.add(badText, at, "change the value", "the command cannot be written: %v", err)
}

// lowerCwd: the working directory, which every app has.
func lowerCwd(l *lowering, cwd *arg) {
	from := cwd
	if !cwd.given() {
		from = l.app.get("script")
	}
	if dir, ok := l.path(units.Escape(l.app.cwd), from); ok {
		l.service.add("Service", "WorkingDirectory", dir, from.at)
	}
}

// lowerName: what says whose unit this is.
func lowerName(l *lowering, _ *arg) {
	a := l.app
	what := units.Escape(a.name)
	if a.template {
		what += "/%i"
	}
	l.service.add("Unit", "Description", l.text(what+" ("+units.Escape(l.p.name)+")"), a.at)
	if l.host.Scope == ScopeSystem {
		l.service.add("Unit", "After", units.Words{"network.target"}, diag.Range{})
	}
	id := a.unit
	if a.template {
		id += "-%i"
	}
	l.service.add("Service", "SyslogIdentifier", units.Text(id), a.at)
}

// lowerNamespace: the slice.
func lowerNamespace(l *lowering, namespace *arg) {
	l.service.add("Service", "Slice", units.Word(l.p.slice(namespace.text)), namespace.at)
	if inNamespace(namespace.text) {
		l.service.add("X-Gm", "Namespace", units.MarkText(namespace.text), namespace.at)
	}
	if err := units.CheckName(l.p.slice(namespace.text)); err != nil {
		l.add(badName, namespace.at, "choose a shorter name", "namespace %q: %v", clip(namespace.text), err)
	}
}

// lowerUser: uid and gid. In system scope the user is always written, so that
// HOME is set as a login would and a drop-in can change it.
func lowerUser(l *lowering, uid *arg) {
	gid := l.app.get("gid")
	if l.host.Scope == ScopeUser {
		for _, who := range []*arg{uid, gid} {
			if who.given() {
				l.add(userScope, who.at, "install into the system scope, as root", "%s has no effect on a user's own apps, which run as that user", who.name)
			}
		}
		return
	}
	user, at := l.o.RunAs, diag.Range{}
	if user == "" {
		user = "root"
	}
	if uid.given() {
		user, at = uid.text, uid.at
	}
	l.addAccount("User", user, uid, at)
	if gid.given() {
		l.addAccount("Group", gid.text, gid, gid.at)
	}
}

func (l *lowering) addAccount(key, name string, a *arg, at diag.Range) {
	word, err := units.NewWord(string(units.Escape(name)))
	if err != nil {
		l.add(badText, at, "name a user or group that the host has", "%s: %v", a.name, err)
		return
	}
	l.service.add("Service", key, word, at)
}

// lowerPostUpdate: what `gm pull` runs, kept where it finds it.
func lowerPostUpdate(l *lowering, update *arg) {
	for _, w := range update.list {
		raw, err := units.NewRaw(w.text)
		if err != nil {
			l.add(badText, w.at, "write one command on one line", "post_update: %v", err)
			continue
		}
		l.service.add("X-Gm", "PostUpdate", raw, w.at)
	}
}
