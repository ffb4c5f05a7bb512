package translate

import (
	"path"
	"strconv"
	"strings"

	"gm/diag"
)

const dumpExample = `[{"name": "web", "pm_exec_path": "/srv/web.js", "pm_cwd": "/srv", "exec_mode": "fork_mode",
  "env": {"PORT": "3000", "SHLVL": "1", "SSH_TTY": "/dev/pts/0"}}]`

var (
	codeDumpEnv = &Code{
		Name: "dump-env", Severity: diag.Warning, File: "dump.pm2",
		Doc:     "an app of a PM2 dump has the whole environment of a shell; gm keeps what looks like the app's own",
		Example: dumpExample,
	}
	codeDumpModule = &Code{
		Name: "dump-module", Severity: diag.Note, File: "dump.pm2",
		Doc:     "an entry of a PM2 dump is a module of PM2, such as pm2-logrotate, which has no use without PM2",
		Example: `[{"name": "pm2-logrotate", "pm_exec_path": "/x.js", "pmx_module": true}, {"name": "web", "pm_exec_path": "/srv/web.js"}]`,
	}
)

// isDump reports whether a list is what pm2 save or pm2 jlist writes: PM2's own
// records of its processes instead of apps.
func isDump(items []*value) bool {
	for _, item := range items {
		if item.member("pm_exec_path") != nil || item.member("pm2_env") != nil {
			return true
		}
	}
	return false
}

// dumpKeys are the keys of a record that mean the same as in a declaration.
// Others have another name there, are counters of the running process, or
// repeat the environment: PM2 keeps each variable at the top level too.
var dumpKeys = [...]string{
	"args", "node_args", "namespace", "max_memory_restart", "autorestart", "watch", "ignore_watch", "watch_options",
	"watch_delay", "cron_restart", "kill_timeout", "restart_delay", "exp_backoff_restart_delay",
	"max_restarts", "min_uptime", "wait_ready", "listen_timeout", "shutdown_with_message", "stop_exit_codes", "uid",
	"gid", "instance_var", "increment_var", "merge_logs", "disable_logs", "log_type", "log_date_format", "time",
	"filter_env", "treekill", "post_update",
}

// dumpApp is the entries of one app: one for each instance.
type dumpApp struct {
	record *value // the first entry, without jlist's wrapping
	entry  *value
	count  int
}

// readDump makes declarations of PM2's records.
func (r *reader) readDump(items []*value) []*value {
	var order []*dumpApp
	index := map[string]*dumpApp{}
	var apps []*value
	for _, entry := range r.appList(items) {
		record := entry
		if env := entry.member("pm2_env"); env != nil && env.kind == kindObject {
			record = env
		}
		if record.member("pm_exec_path") == nil {
			apps = append(apps, entry) // an app after all
			continue
		}
		name := textOf(record.member("name"))
		if module := record.member("pmx_module"); module != nil && module.flag {
			r.m.add(codeDumpModule, entry.at, "", "%s is a module of PM2; it is left out", name)
			continue
		}
		// PM2 allows two apps of one name; instances also share their program.
		key := strings.Join([]string{name, textOf(record.member("namespace")), textOf(record.member("pm_exec_path")), textOf(record.member("pm_cwd"))}, "\x00")
		if app := index[key]; app != nil {
			app.count++
			continue
		}
		index[key] = &dumpApp{record: record, entry: entry, count: 1}
		order = append(order, index[key])
	}
	shared := sharedEnv(order)
	for _, app := range order {
		apps = append(apps, r.dumpApp(app, shared))
	}
	return apps
}

// textOf returns a string's or number's text, and "" of anything else.
func textOf(v *value) string {
	if v == nil || v.kind != kindString && v.kind != kindNumber {
		return ""
	}
	return v.text
}

// sharedEnv returns the variables that all apps have with one value: they come
// from the shell that started them. One app alone tells nothing. NODE_ENV is
// the exception, as many declarations give it to every app.
func sharedEnv(apps []*dumpApp) map[string]bool {
	if len(apps) < 2 {
		return nil
	}
	shared := map[string]bool{}
	first := apps[0].record.member("env")
	if first == nil {
		return nil
	}
	for _, mem := range first.members {
		same := mem.name != "NODE_ENV" && mem.value.kind != kindObject && mem.value.kind != kindArray
		for _, app := range apps[1:] {
			if !same {
				break
			}
			v := app.record.member("env").member(mem.name)
			same = v != nil && v.kind == mem.value.kind && v.text == mem.value.text && v.flag == mem.value.flag
		}
		if same {
			shared[mem.name] = true
		}
	}
	return shared
}

// dumpApp makes one app of its record.
func (r *reader) dumpApp(app *dumpApp, shared map[string]bool) *value {
	record := app.record
	out := &value{kind: kindObject, at: app.entry.at}
	places := map[string]diag.Range{}
	for _, mem := range record.members {
		places[mem.name] = mem.nameAt
	}
	add := func(name, from string, v *value) {
		out.members = append(out.members, member{name, places[from], v})
	}
	copied := func(name, from string) *value {
		v := record.member(from)
		if v != nil && v.kind != kindNull {
			add(name, from, v)
		}
		return v
	}

	copied("name", "name")
	script := copied("script", "pm_exec_path")
	copied("cwd", "pm_cwd")
	if v := record.member("exec_interpreter"); v != nil && !defaultInterpreter(textOf(v), textOf(script)) {
		add("interpreter", "exec_interpreter", v)
	}
	cluster := false
	if v := record.member("exec_mode"); v != nil && v.kind == kindString {
		mode := strings.TrimSuffix(v.text, "_mode")
		cluster = mode == "cluster"
		add("exec_mode", "exec_mode", stringValue(mode, v.at))
	}
	if cluster || app.count > 1 {
		at := app.entry.at
		if v := record.member("exec_mode"); v != nil {
			at = v.at
		}
		out.members = append(out.members, member{"instances", at, numberValue(float64(app.count), at)})
	}
	r.dumpFiles(record, add)
	if v := record.member("status"); v != nil && v.text == "stopped" {
		// pm2 resurrect leaves it down as well.
		add("autostart", "status", &value{kind: kindBool, at: v.at})
	}
	for _, name := range dumpKeys {
		v := record.member(name)
		switch {
		case v == nil || v.kind == kindNull || v.kind == kindArray && len(v.items) == 0:
		case name == "namespace" && v.text == "default":
		case name == "instance_var" && v.text == "NODE_APP_INSTANCE":
		case name == "treekill" && v.flag:
		default:
			add(name, name, v)
		}
	}
	for _, mem := range record.members {
		if strings.HasPrefix(mem.name, "env_") && mem.value.kind == kindObject {
			out.members = append(out.members, mem)
		}
	}
	if env := record.member("env"); env != nil && env.kind == kindObject {
		add("env", "env", r.dumpEnv(record, env, shared))
	}
	return out
}

// dumpFiles adds the log and pid files that were chosen, and not PM2's own.
func (r *reader) dumpFiles(record *value, add func(name, from string, v *value)) {
	home := textOf(record.member("PM2_HOME"))
	merged := record.member("merge_logs")
	for _, f := range [...]struct{ name, from, dir, suffix string }{
		{"out_file", "pm_out_log_path", "logs", ".log"},
		{"error_file", "pm_err_log_path", "logs", ".log"},
		{"log_file", "pm_log_path", "logs", ".log"},
		{"pid_file", "pm_pid_path", "pids", ".pid"},
	} {
		v := record.member(f.from)
		if v == nil || v.kind != kindString || strings.Contains(v.text, "/.pm2/"+f.dir+"/") || home != "" && strings.HasPrefix(v.text, home+"/"+f.dir+"/") {
			continue
		}
		// PM2 has put the process number before the suffix of each file that
		// instances do not share (Common.prepareAppConf and God.executeApp).
		if merged == nil || !merged.flag || f.suffix == ".pid" {
			v = stringValue(withoutNumber(v.text, f.suffix), v.at)
		}
		add(f.name, f.from, v)
	}
}

// withoutNumber turns web-3.log into web.log.
func withoutNumber(name, suffix string) string {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return name
	}
	i := strings.LastIndexByte(stem, '-')
	if i < 0 {
		return name
	}
	if _, err := strconv.ParseUint(stem[i+1:], 10, 32); err != nil {
		return name
	}
	return stem[:i] + suffix
}

// defaultInterpreter reports whether PM2 would choose the interpreter by
// itself (lib/API/interpreter.json): by the suffix, and the node that runs PM2,
// with its full path, for every other text.
func defaultInterpreter(interpreter, script string) bool {
	base := path.Base(interpreter)
	switch path.Ext(script) {
	case ".js":
		return interpreter == "node"
	case ".sh":
		return interpreter == "bash"
	case ".py":
		return interpreter == "python" || interpreter == "python3"
	case ".rb":
		return interpreter == "ruby"
	case ".php":
		return interpreter == "php"
	case ".pl":
		return interpreter == "perl"
	case ".ts", ".tsx":
		return interpreter == "bun"
	}
	return base == "node"
}

// dumpEnv returns what of a record's environment looks like the app's own.
func (r *reader) dumpEnv(record, env *value, shared map[string]bool) *value {
	out := &value{kind: kindObject, at: env.at}
	own := textOf(record.member("name"))
	instance := textOf(record.member("instance_var"))
	var kept []string
	for _, mem := range env.members {
		if shared[mem.name] || mem.name == own || mem.name == instance || shellVariable(mem.name) {
			continue
		}
		out.members = append(out.members, mem)
		kept = append(kept, mem.name)
	}
	dropped := len(env.members) - len(out.members)
	if len(env.members) > 0 {
		names := "none"
		if len(kept) > 0 {
			names = strings.Join(kept, ", ")
		}
		r.m.add(codeDumpEnv, env.at, "check that these are the app's own, and that no secret is among them",
			"variables of %s that are kept: %s; dropped, as of the shell or of PM2: %d", own, names, dropped)
	}
	return out
}

// shellVariable reports whether a variable is one of a login shell, of npm or
// of PM2 itself. PM2 saves them with every app.
func shellVariable(name string) bool {
	for _, prefix := range [...]string{
		"SSH_", "XDG_", "LC_", "PM2_", "npm_", "NVM_", "SUDO_", "DBUS_", "HIST", "BASH", "LESS", "TERM", "VSCODE_", "TMUX",
		"axm_", "pm_", "GNOME_", "KDE_", "SYSTEMD_", "WSL", "WT_", "FNM_", "VOLTA_", "PYENV_", "ZSH", "P9K_", "ITERM_", "CONDA_",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "PWD", "OLDPWD", "SHLVL", "SHELL", "USER", "LOGNAME", "USERNAME", "HOME", "PATH", "MAIL", "HOSTNAME", "LANG", "LANGUAGE",
		"DISPLAY", "COLORTERM", "LS_COLORS", "LSCOLORS", "CLICOLOR", "EDITOR", "VISUAL", "PAGER", "PS1", "PROMPT", "_", "STY",
		"WINDOW", "WINDOWID", "LINES", "COLUMNS", "MOTD_SHOWN", "S_COLORS", "which_declare", "INIT_CWD", "NODE", "COLOR",
		"INVOCATION_ID", "JOURNAL_STREAM", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "MANPATH", "INFOPATH",
		"NODE_APP_INSTANCE", "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "unique_id", "vizion_running", "km_link",
		"created_at", "restart_time", "unstable_restarts", "windowsHide", "username", "status", "treekill", "automation", "pmx",
		"instance_var", "exec_mode", "exec_interpreter", "autorestart", "autostart", "merge_logs", "vizion", "node_args",
		"kill_retry_time", "instances", "version", "node_version", "namespace", "name", "filter_env", "prev_restart_delay":
		return true
	}
	return false
}
