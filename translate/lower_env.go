package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gm/diag"
	"gm/units"
)

// lowerEnv: env, deploy.NAME.env, env_NAME and port, in PM2's order of
// precedence (lib/Common.js mergeEnvironmentVariables).
func lowerEnv(l *lowering, env *arg) {
	if env.given() {
		l.declare(env.value)
	}
	if deploy := l.p.deployEnv(); deploy != nil {
		l.declare(deploy)
	}
	found := false
	for i := range l.app.blocks {
		block := &l.app.blocks[i]
		if l.o.Env != "" && block.name == l.o.Env {
			l.declare(block.arg.value)
			found = true
		}
	}
	if l.p.envKnown && l.o.Env != "" && !found && len(l.app.blocks) > 0 {
		l.add(envNotInApp, l.app.at, "", "%s has no env_%s: env alone is used, as in PM2", l.app.name, l.o.Env)
	}
	if port := l.app.get("port"); port.given() {
		l.setenv(variable{"PORT", units.Spec(strconv.Itoa(int(port.number))), port.at, true})
	}
}

// declare sets the variables of an object; null in a block other than env
// removes one.
func (l *lowering) declare(object *value) {
	inEnv := object == l.app.get("env").value
	for i := range object.members {
		m := &object.members[i]
		if m.value.kind == kindNull && !inEnv {
			l.env = slices.DeleteFunc(l.env, func(v variable) bool { return v.name == m.name })
			continue
		}
		l.setenv(variable{m.name, units.Escape(m.value.String()), m.value.at, true})
	}
}

// lowerInstanceVar: the instance's number, over anything of that name in env
// (lib/God.js injectVariables).
func lowerInstanceVar(l *lowering, name *arg) {
	v := variable{name: name.text, value: l.instanced(""), from: name.at}
	if v.name == "" {
		v.name = strings.Trim(fields()[index()["instance_var"]].Default, `"`)
	}
	if !name.given() {
		v.from = l.app.at
	}
	l.setenv(v)
}

// lowerIncrementVar: one drop-in an instance, since a template cannot count.
func lowerIncrementVar(l *lowering, name *arg) {
	if !name.given() || name.text == "" {
		return
	}
	first := 0
	if i := slices.IndexFunc(l.env, func(v variable) bool { return v.name == name.text }); i >= 0 {
		if n, ok := number(stringValue(unescape(l.env[i].value), name.at)); ok {
			first = int(n)
		}
		// An environment file would win over the drop-ins.
		l.env[i].declared = false
	}
	if !l.app.template {
		l.setenv(variable{name.text, units.Spec(strconv.Itoa(first)), name.at, false})
		return
	}
	for i := range l.app.count {
		assign, err := units.NewAssign(name.text, units.Spec(strconv.Itoa(first+i)))
		if err != nil {
			l.add(badEnvName, name.at, "use letters, digits and _", "increment_var: %v", err)
			return
		}
		b := &builder{name: l.app.instance(i) + ".d/10-increment.conf"}
		b.add("Service", "Environment", assign, name.at)
		l.extra = append(l.extra, b)
	}
}

// envDir is where the target keeps environment files.
func (l *lowering) envDir() units.Spec {
	switch {
	case l.o.EnvDir != "":
		return units.Escape(units.EscapeGlob(l.o.EnvDir))
	case l.host.Scope == ScopeUser:
		return "%h/.config/gm"
	}
	return "/etc/gm"
}

// finishEnv writes the collected variables, sorted, as Environment= lines, or
// the declared ones into an environment file.
func (l *lowering) finishEnv() {
	if dir := l.app.program.dir; dir != "" {
		if _, declared := l.getenv("PATH"); !declared {
			// npm, npx and `env node` must find the same interpreter.
			l.setenv(variable{"PATH", units.Escape(dir + ":" + systemPath), l.app.get("script").at, false})
		}
	}
	slices.SortStableFunc(l.env, func(a, b variable) int { return cmp.Compare(a.name, b.name) })
	var file *builder
	for _, v := range l.env {
		if l.o.SecretFiles && v.declared {
			if file == nil {
				file = &builder{name: l.app.unit + ".env"}
				l.extra = append(l.extra, file)
				path := l.envDir() + units.Escape(units.EscapeGlob("/"+units.EscapeName(l.p.name)+"/"+file.name))
				if p, ok := l.path(path, l.app.get("env")); ok {
					l.service.add("Service", "EnvironmentFile", p, v.from)
				}
			}
			value, err := units.NewFileAssign(v.name, unescape(v.value))
			if err != nil {
				l.addEnvFault(v, err)
				continue
			}
			file.add("", v.name, value, v.from)
			continue
		}
		assign, err := units.NewAssign(v.name, v.value)
		if err != nil {
			l.addEnvFault(v, err)
			continue
		}
		l.service.add("Service", "Environment", assign, v.from)
	}
}

func (l *lowering) addEnvFault(v variable, err error) {
	if units.CheckEnvName(v.name) != nil {
		l.add(badEnvName, l.nameOf(v), "use letters, digits and _, not starting with a digit", "%v", err)
		return
	}
	l.add(badText, v.from, "change the value", "variable %s: %v", v.name, err)
}

// nameOf finds the place of a variable's name, beside its value.
func (l *lowering) nameOf(v variable) diag.Range {
	objects := []*value{l.app.get("env").value, l.p.deployEnv()}
	for i := range l.app.blocks {
		objects = append(objects, l.app.blocks[i].arg.value)
	}
	for _, o := range objects {
		if o == nil {
			continue
		}
		for i := range o.members {
			if m := &o.members[i]; m.name == v.name && m.value.at == v.from {
				return m.nameAt
			}
		}
	}
	return v.from
}

// unescape undoes units.Escape for text that holds no specifier.
func unescape(s units.Spec) string { return strings.ReplaceAll(string(s), "%%", "%") }

// inherited sets the variables that PM2's children find in their environment
// beside their own ("systemd": {"pm2_env": true}).
func (l *lowering) inherited(from diag.Range) {
	a := l.app
	mode := "fork_mode"
	if a.cluster {
		mode = "cluster_mode"
	}
	namespace := a.get("namespace").text
	if namespace == "" {
		namespace = "default"
	}
	for _, v := range []variable{
		{name: "name", value: units.Escape(a.name)},
		{name: "namespace", value: units.Escape(namespace)},
		{name: "exec_mode", value: units.Spec(mode)},
		{name: "instances", value: units.Spec(fmt.Sprint(a.count))},
		{name: "pm_id", value: l.instanced("")},
		{name: "pm_exec_path", value: units.Escape(a.program.script)},
		{name: "pm_cwd", value: units.Escape(a.cwd)},
	} {
		if _, declared := l.getenv(v.name); !declared {
			v.from = from
			l.setenv(v)
		}
	}
}
