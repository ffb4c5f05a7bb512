package translate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gm/units"
)

// SystemdKey is one key of gm's own object "systemd".
type SystemdKey struct {
	Name    string
	Doc     string
	Example string // JSON
	Schema  string
}

// SystemdKeys returns the keys of "systemd", sorted.
func SystemdKeys() []SystemdKey {
	return []SystemdKey{
		{"depends_on", "Apps of this declaration, or units of the host, that are started before this one.",
			`["db", "postgresql.service"]`, schemaStrings},
		{"hardening", "\"off\" (default), \"basic\" (no new privileges, private /tmp, read-only system), or \"strict\" (basic, and the file system read-only but for cwd, logs and pid files, a system call filter, no devices).",
			`"basic"`, `{"enum": ["off", "basic", "strict"]}`},
		{"listen", "Addresses that systemd opens and all instances share: a port, HOST:PORT, a socket's path, udp:PORT.",
			`["127.0.0.1:3000"]`, `{"anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": ["string", "integer"]}}]}`},
		{"log_keep", "How many rotated files are kept of each log file, as NAME.1 (the newest), NAME.2 and so on: 5, and a log_max_size of 10M, if only one of the two is given.",
			`5`, `{"type": "integer", "minimum": 1, "maximum": 1000}`},
		{"log_max_size", "The size at which a log file is rotated: bytes, or a string with K, M or G. gm's own supervisor does it while the app runs and loses no line. Under systemd it has no effect: journald throws old lines away by itself, and files that are declared are for logrotate(8).",
			`"10M"`, typeSize.Schema},
		{"pm2_env", "true: the app also finds the variables that PM2's children inherit: name, namespace, exec_mode, instances, pm_id, pm_exec_path, pm_cwd.",
			`true`, schemaFlag},
		{"service", "Directives for [Service], as systemd spells them. They replace what gm would write, or add to it where a directive can be repeated.",
			`{"Nice": 5}`, `{"$ref": "#/$defs/directives"}`},
		{"unit", "Directives for [Unit], likewise.",
			`{"Documentation": "https://example.org"}`, `{"$ref": "#/$defs/directives"}`},
	}
}

// lowerSystemd: gm's own keys, but for the raw directives, which finish applies
// last.
func lowerSystemd(l *lowering, own *arg) {
	if !own.given() {
		return
	}
	var names []string
	for _, k := range SystemdKeys() {
		names = append(names, k.Name)
	}
	for i := range own.value.members {
		m := &own.value.members[i]
		if m.value.kind == kindNull {
			continue
		}
		switch m.name {
		case "depends_on":
			l.lowerDepends()
		case "hardening":
			l.lowerHardening(m.value)
		case "listen":
			l.lowerListen()
		case "log_keep", "log_max_size":
			l.lowerRotation(own.value)
		case "pm2_env":
			if m.value.kind != kindBool {
				l.add(badValue, m.value.at, "write true or false", "systemd.pm2_env: true or false expected, found %s", m.value.describe())
			} else if m.value.flag {
				l.inherited(m.value.at)
			}
		case "service", "unit":
			if m.value.kind != kindObject {
				l.add(badValue, m.value.at, `write {"Directive": "value"}`, "systemd.%s: an object expected, found %s", m.name, m.value.describe())
			}
		default:
			remedy := "use one of: " + strings.Join(names, ", ")
			if near := nearest(m.name, names); near != "" {
				remedy = fmt.Sprintf("did you mean %q?", near)
			}
			l.add(badValue, m.nameAt, remedy, "unknown key %q in systemd", m.name)
		}
	}
}

// lowerDepends: start order, and a start of what is missing. Wants= rather
// than Requires=, so that stopping the database does not stop its users.
func (l *lowering) lowerDepends() {
	for _, d := range l.p.dependencies(l.app) {
		if d.unit == "" {
			l.add(unknownDependency, d.value.at, "name an app of this declaration, or a unit such as postgresql.service",
				"systemd.depends_on: there is no app %s", d.value.describe())
			continue
		}
		l.service.add("Unit", "Wants", units.Words{d.unit}, d.value.at)
		l.service.add("Unit", "After", units.Words{d.unit}, d.value.at)
	}
}

// The rotation of log files where only one of its two keys is given. The size is
// that of pm2-logrotate.
const (
	rotatedSize = 10 << 20
	rotatedKeep = 5
)

// lowerRotation is called for each of its two keys, and does its work for the first.
func (l *lowering) lowerRotation(own *value) {
	if slices.ContainsFunc(l.service.list, func(d units.Directive) bool { return d.Key == "LogMaxSize" }) {
		return
	}
	size, keep := float64(rotatedSize), float64(rotatedKeep)
	at := own.at
	if v := own.member("log_max_size"); v != nil && v.kind != kindNull {
		var read arg
		if f := readSize(v, &read); f != nil {
			l.add(badValue, v.at, f.remedy, "systemd.log_max_size: %s expected, found %s", f.expected, v.describe())
		} else if size = read.number; size < 64<<10 {
			l.add(badValue, v.at, `write for example "10M"`, "systemd.log_max_size: at least 64K expected, found %s", v.describe())
		}
		at = v.at
	}
	if v := own.member("log_keep"); v != nil && v.kind != kindNull {
		n, ok := number(v)
		if !ok || n != math.Trunc(n) || n < 1 || n > 1000 {
			l.add(badValue, v.at, "write for example 5", "systemd.log_keep: a number from 1 to 1000 expected, found %s", v.describe())
			n = rotatedKeep
		}
		keep, at = n, v.at
	}
	if lg := l.app.readLogs(l.host); lg.companion() {
		l.add(notRotated, at, "remove it, or log_date_format, time, log_type and log_file",
			"systemd.log_max_size has no effect: the app's log files are written by its log companion, which rotates none")
	}
	l.service.add("X-Gm", "LogMaxSize", units.Bytes(size), at)
	l.service.add("X-Gm", "LogKeep", units.Count(keep), at)
}

// lowerHardening: levels that leave a Node app working (no
// MemoryDenyWriteExecute=, which ends its compiler).
func (l *lowering) lowerHardening(v *value) {
	level := v.text
	if v.kind != kindString || !oneOf(level, "off", "basic", "strict") {
		l.add(badValue, v.at, `write "off", "basic" or "strict"`, "systemd.hardening: a level expected, found %s", v.describe())
		return
	}
	if level == "off" {
		return
	}
	set := func(key string, value units.Value) {
		if l.supports("Service", key) {
			l.service.add("Service", key, value, v.at)
		}
	}
	set("NoNewPrivileges", units.Bool(true))
	if !strings.HasPrefix(l.app.cwd+"/", "/tmp/") && !strings.HasPrefix(l.app.cwd+"/", "/var/tmp/") {
		set("PrivateTmp", units.Bool(true)) // it would hide a cwd below it
	}
	set("ProtectControlGroups", units.Bool(true))
	set("ProtectKernelModules", units.Bool(true))
	set("ProtectKernelTunables", units.Bool(true))
	set("RestrictSUIDSGID", units.Bool(true))
	set("LockPersonality", units.Bool(true))
	set("RestrictRealtime", units.Bool(true))
	if level == "basic" {
		set("ProtectSystem", units.Word("full"))
		return
	}
	set("ProtectSystem", units.Word("strict"))
	writable := append([]units.Spec{units.Escape(l.app.cwd)}, l.dirs...)
	slices.Sort(writable)
	for _, dir := range slices.Compact(writable) {
		p, err := units.NewRaw(quotePath("-" + string(dir)))
		if err != nil {
			l.add(badText, v.at, "rename the directory, or leave hardening at basic", "systemd.hardening: %v", err)
			return
		}
		l.service.add("Service", "ReadWritePaths", p, v.at)
	}
	set("PrivateDevices", units.Bool(true))
	set("ProtectClock", units.Bool(true))
	set("ProtectHostname", units.Bool(true))
	set("ProtectKernelLogs", units.Bool(true))
	set("RestrictNamespaces", units.Raw("yes"))
	set("SystemCallArchitectures", units.Words{"native"})
	set("SystemCallFilter", units.Raw("@system-service"))
	// Programs try calls outside of it and go on without (Node: pkey_alloc); the
	// default action would kill them.
	set("SystemCallErrorNumber", units.Word("EPERM"))
}

// quotePath is a path as a word of a path list: in quotes when it holds what
// ends a word, and a backslash stands for itself only doubled.
func quotePath(s string) string {
	if !strings.ContainsAny(s, " \t\"'\\") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// finishSystemd applies the raw directives over everything that was lowered.
func (l *lowering) finishSystemd() {
	own := l.app.get("systemd").value
	for _, section := range []string{"Unit", "Service"} {
		raw := own.member(strings.ToLower(section))
		if raw == nil || raw.kind != kindObject {
			continue
		}
		for i := range raw.members {
			l.rawDirective(section, &raw.members[i])
		}
	}
	if own != nil {
		l.checkOneshot()
	}
}

// checkOneshot refuses what systemd would refuse to load (service_verify in its
// service.c): a oneshot that is restarted whenever it ends, and several commands
// in any other service.
func (l *lowering) checkOneshot() {
	var kind, restart, starts units.Directive
	n := 0
	for _, d := range l.service.list {
		switch d.Key {
		case "Type":
			kind = d
		case "Restart":
			restart = d
		case "ExecStart":
			starts = d
			n++
		}
	}
	oneshot := kind.Value == units.Word("oneshot")
	if oneshot && (restart.Value == units.Word("always") || restart.Value == units.Word("on-success")) {
		l.add(badDirective, kind.From, `add "autorestart": false to the app`, "Type=oneshot: systemd refuses it beside Restart=%s", units.Encode(restart.Value))
	}
	if n > 1 && !oneshot {
		l.add(badDirective, starts.From, "write one, and the others under ExecStartPre", "ExecStart: %d commands, which only Type=oneshot may have", n)
	}
}

func (l *lowering) rawDirective(section string, m *member) {
	if err := units.CheckKey(section, m.name); err != nil {
		l.add(badDirective, m.nameAt, "write the directive's name as systemd's manual does", "%v", err)
		return
	}
	rule, ok := units.Lookup(section, m.name)
	if !ok && !strings.HasPrefix(m.name, "X-") {
		remedy := "systemd.unit(5), systemd.exec(5) and systemd.service(5) list them"
		var keys []string
		for _, r := range units.Rules() {
			if r.Section == section {
				keys = append(keys, r.Key)
			}
		}
		if near := nearest(m.name, keys); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		l.add(badDirective, m.nameAt, remedy, "[%s] has no directive %q", section, m.name)
		return
	}
	rule.Section, rule.Key = section, m.name
	items := []*value{m.value}
	if m.value.kind == kindArray {
		items = m.value.items
	}
	for n, item := range items {
		if item.kind == kindObject || item.kind == kindArray || item.kind == kindNull {
			l.add(badDirective, item.at, "write a string, a number or a boolean", "%s: a value expected, found %s", m.name, item.describe())
			return
		}
		values, err := units.ParseValues(rule, item.String())
		if err != nil {
			l.add(badDirective, item.at, "write it as systemd's manual says", "%s: %v", m.name, err)
			return
		}
		if n == 0 && (!rule.Repeats || m.name == "ExecStart") { // a service has one
			l.service.drop(section, m.name)
		}
		for _, v := range values {
			l.service.add(section, m.name, v, item.at)
		}
	}
}
