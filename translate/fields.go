package translate

import (
	"strings"
	"sync"
)

// Field is one key of a PM2 declaration: the one place where gm says what the
// key is. docs/fields.md, the JSON Schema, `gm explain` and the unknown-key
// suggestions are derived from it.
type Field struct {
	Name    string
	Aliases []string // other spellings, besides the camelCase one
	Type    Type
	Default string // as JSON; "" where the key has none
	Doc     string // what it means, one or two sentences
	Example string // as JSON: the value in docs, run by a test
	// Beside is members of the app, as JSON without braces, that the example
	// needs to have an effect.
	Beside string
	// Differs says where gm and PM2 part; "" where they agree.
	Differs string

	// Exactly one of the three: how it becomes directives, the row that reads
	// it along with its own key, or why it has no effect.
	Lower func(*lowering, *arg)
	With  string
	Drop  string
}

const (
	noProbe  = "it switches PM2's own monitoring inside a Node process, which gm does not inject"
	noDaemon = "it configures the PM2 daemon or its command line, which gm does not have"
)

// Fields returns the table, sorted by name.
func Fields() []Field { return fields() }

// table is built on first use: commands that do not translate never pay for
// it. (The rows name functions that read the table, so it cannot be a variable
// with an initializer.)
var table struct {
	once  sync.Once
	rows  []Field
	index map[string]int // every spelling of a key -> its row
}

func buildTable() {
	table.rows = rows()
	table.index = make(map[string]int, 3*len(table.rows))
	for i := range table.rows {
		for _, spelling := range table.rows[i].spellings() {
			table.index[spelling] = i
		}
	}
}

func fields() []Field {
	table.once.Do(buildTable)
	return table.rows
}

func index() map[string]int {
	table.once.Do(buildTable)
	return table.index
}

func rows() []Field {
	return []Field{
		{Name: "append_env_to_name", Type: typeFlag, Default: `false`, Example: `true`, Beside: `"env_production": {"LEVEL": "warn"}`,
			Doc:     "With `--env NAME`, the app is called NAME-ENV: `api-production`.",
			Differs: "PM2 forgets the suffix on stop and delete; in gm the suffixed name is the app's name everywhere.",
			With:    "name"},
		{Name: "args", Type: typeWords, Default: `[]`, Example: `["--port", "3000"]`,
			Doc:     "Arguments of the script. A string is split by PM2's own rule, which is no shell: `--a=\"b c\"` keeps its quotes.",
			Differs: "PM2 drops args in silence when the script holds a blank; gm says so.",
			With:    "script"},
		{Name: "automation", Type: typeFlag, Default: `true`, Example: `false`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "autorestart", Type: typeFlag, Default: `true`, Example: `false`,
			Doc:   "Restart the app whenever it ends, whatever its exit code; false leaves it stopped.",
			Lower: lowerRestart},
		{Name: "autostart", Type: typeFlag, Default: `true`, Example: `false`,
			Doc:  "false: the app is installed but not started with its project; a cron_restart timer runs all the same.",
			With: "name"},
		{Name: "cron_restart", Aliases: []string{"cron"}, Type: typeCron, Example: `"0 3 * * *"`,
			Doc:     "Restart (or start) the app at these times: five fields, or six with seconds first, in the host's time zone.",
			Differs: "The timer belongs to the app: stopping the app disarms it, and a stopped app is not woken. Waits of more than 24.8 days, which PM2 never ends, work. Expressions that PM2 reads by accident (`?`, empty sets) are refused.",
			Lower:   lowerCron},
		{Name: "cwd", Type: typeText, Example: `"/srv/app/current"`,
			Doc:     "Working directory, and the base of the script, the logs and the watched paths.",
			Differs: "A relative path starts at the declaration's directory, PM2's at the caller's; `~/` is expanded.",
			Lower:   lowerCwd},
		{Name: "deep_monitoring", Type: typeFlag, Example: `true`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "disable_logs", Type: typeFlag, Default: `false`, Example: `true`,
			Doc: "Throw both output streams away.", With: "out_file"},
		{Name: "disable_source_map_support", Type: typeFlag, Default: `false`, Example: `true`,
			Doc:  "PM2 turns source maps on in the Node processes it wraps; this stops it.",
			Drop: "gm starts node itself, without a wrapper that would turn source maps on; for mapped traces write `\"node_args\": \"--enable-source-maps\"`"},
		{Name: "disable_trace", Type: typeFlag, Default: `true`, Example: `true`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "env", Type: typeEnv, Default: `{}`, Example: `{"INTERVAL": 1000}`,
			Doc:     "Environment variables. Numbers and booleans become text as JavaScript prints them, lists and objects JSON.",
			Differs: "The app sees these variables and systemd's, never the shell of whoever installed it, and not PM2's internal ones (`\"systemd\": {\"pm2_env\": true}` brings the inherited names back).",
			Lower:   lowerEnv},
		{Name: "env_*", Type: typeEnv, Example: `{"INTERVAL": 60000}`,
			Doc:     "Variables on top of `env` when `--env NAME` is given: `env_production` with `--env production`.",
			Differs: "Lists and objects become JSON, as in `env`; PM2 loses them here. null removes the variable. An `--env` that no app has is an error; PM2 goes on with `env`.",
			With:    "env"},
		{Name: "error_file", Aliases: []string{"err_log", "err_file", "err", "error"}, Type: typeText, Example: `"/var/log/app/err.log"`,
			Doc:  "File for stderr, appended; \"NULL\" or \"/dev/null\" throws it away. Without one, stderr goes to the journal.",
			With: "out_file"},
		{Name: "event_loop_inspector", Type: typeFlag, Example: `true`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "exec_interpreter", Aliases: []string{"interpreter"}, Type: typeText, Example: `"python3"`,
			Doc:     "Program that runs the script: a name on the PATH, a path, \"none\" to execute the script itself, or node@X for nvm's version X. Without one it follows from the script's extension.",
			Differs: "A script with no known extension runs by its own #! line; PM2 hands it to node. `node@X` works in cluster mode too.",
			With:    "script"},
		{Name: "exec_mode", Type: typeMode, Example: `"cluster"`,
			Doc:     "\"fork\": one service. \"cluster\": a template, one instance a process, all of which may listen on the same port.",
			Differs: "In cluster mode any program may share its port, not only Node; instances are services of their own.",
			Lower:   lowerInstances},
		{Name: "execute_command", Type: typeFlag, Example: `true`, Beside: `"exec_mode": "cluster"`,
			Doc: "true forces fork mode (PM2's -x).", With: "exec_mode"},
		{Name: "exp_backoff_restart_delay", Type: typeMillis, Example: `100`,
			Doc:     "First delay before a restart; each further one is half as long again, up to 15 s.",
			Differs: "Approximate: systemd 254 and later space the steps evenly on a logarithmic scale (RestartSteps=); older ones have one fixed delay, the geometric mean of the first and 15 s.",
			With:    "autorestart"},
		{Name: "filter_env", Type: typeFilter, Default: `false`, Example: `["SECRET"]`,
			Doc:  "Which variables of the shell not to pass on.",
			Drop: "no variable of the shell is passed on in the first place"},
		{Name: "force", Type: typeFlag, Default: `false`, Example: `true`,
			Doc:  "Start a script although it runs already.",
			Drop: "each app is one unit; PM2 ignores the key in a file as well"},
		{Name: "gid", Type: typeUser, Example: `"www-data"`,
			Doc:     "Group of the process: a name or a number.",
			Differs: "Works without uid, where PM2 fails; supplementary groups of the user are kept.",
			With:    "uid"},
		{Name: "ignore_watch", Type: typeWords, Example: `["node_modules", "logs"]`, Beside: `"watch": true`,
			Doc:  "Paths and globs that do not count as changes, relative to cwd. Without it: dotfiles and node_modules.",
			With: "watch"},
		{Name: "increment_var", Type: typeText, Example: `"PORT"`, Beside: `"instances": 2, "env": {"PORT": 3000}`,
			Doc:   "Name of a variable that grows by one from instance to instance, from its number in env or 0.",
			Lower: lowerIncrementVar},
		{Name: "install_url", Type: typeText, Example: `"https://example.org/app.tgz"`,
			Doc: "Where a PM2 module came from.", Drop: noDaemon},
		{Name: "instance_var", Type: typeText, Default: `"NODE_APP_INSTANCE"`, Example: `"INSTANCE_ID"`,
			Doc:   "Name of the variable that holds the instance's number, 0 for single apps.",
			Lower: lowerInstanceVar},
		{Name: "instances", Type: typeInstance, Default: `1`, Example: `2`,
			Doc:     "How many processes: \"max\" or 0 is one a CPU, a negative number leaves that many CPUs free, never fewer than one.",
			Differs: "Text that is no number is refused; PM2 takes it for \"max\".",
			With:    "exec_mode"},
		{Name: "io", Type: typeObject, Example: `{"apm": true}`,
			Doc: "PM2's APM settings.", Drop: noProbe},
		{Name: "kill_retry_time", Type: typeMillis, Default: `100`, Example: `100`,
			Doc:  "How often PM2 looks whether a process has ended.",
			Drop: "systemd is told by the kernel when a process ends and does not poll"},
		{Name: "kill_timeout", Type: typeMillis, Default: `1600`, Example: `5000`,
			Doc:   "How long after SIGINT the processes get SIGKILL.",
			Lower: lowerStop},
		{Name: "listen_timeout", Type: typeMillis, Default: `3000`, Example: `10000`, Beside: `"wait_ready": true`,
			Doc:     "With wait_ready: how long the app may take to say that it is ready.",
			Differs: "PM2 calls the app online when the time is over; here the start fails and is tried again.",
			With:    "wait_ready"},
		{Name: "log_date_format", Type: typeText, Example: `"YYYY-MM-DD HH:mm:ss Z"`,
			Doc:     "Stamp before each line, in dayjs's tokens. With log files a companion writes the stamps; in the journal, which has its own times, the format is applied by `gm logs`.",
			Differs: "Every line gets one stamp; PM2 stamps chunks in cluster mode and drops an unfinished line in fork mode.",
			With:    "out_file"},
		{Name: "log_file", Aliases: []string{"log"}, Type: typeLogFile, Default: `false`, Example: `"/var/log/app/all.log"`,
			Doc:  "File for stdout and stderr together. true: the journal, which holds both anyway.",
			With: "out_file"},
		{Name: "log_type", Type: typeLogType, Example: `"json"`,
			Doc:     "\"json\": one object a line, with message, timestamp, type, process_id and app_name.",
			Differs: "One object a line; PM2 writes one a chunk.",
			With:    "out_file"},
		{Name: "max_memory_restart", Type: typeSize, Example: `"150M"`,
			Doc:     "Memory at which the app is ended and started again.",
			Differs: "The kernel enforces it at once, for the app and its children together, page cache included; PM2 looks every 30 s at the main process alone. Lower case, fractions and a B (`1.5G`, `500mb`) are understood.",
			Lower:   lowerMemory},
		{Name: "max_restarts", Type: typeCount, Default: `16`, Example: `5`,
			Doc:     "An app that ends this many times in a row before min_uptime is given up.",
			Differs: "Counts over a sliding window, for as long as the app lives; PM2 stops counting min_uptime × max_restarts after the first start.",
			With:    "autorestart"},
		{Name: "merge_logs", Aliases: []string{"combine_logs"}, Type: typeFlag, Default: `false`, Example: `true`, Beside: `"instances": 2, "out_file": "/var/log/app/out.log"`,
			Doc:  "All instances write to the same file, whose name gets no -N.",
			With: "out_file"},
		{Name: "min_uptime", Type: typeUptime, Default: `1000`, Example: `"10s"`,
			Doc: "An app that ends sooner counts towards max_restarts.", With: "autorestart"},
		{Name: "name", Type: typeText, Example: `"api"`,
			Doc:     "Name of the app, and of its units. Without one: the script's name without its extension.",
			Differs: "Names are unique within a declaration; PM2 starts both.",
			Lower:   lowerName},
		{Name: "name_prefix", Type: typeText, Example: `"shop"`,
			Doc: "Prefix of a PM2 module's name.", Drop: "PM2 ignores it in a file; --prefix prepends to every unit's name"},
		{Name: "namespace", Type: typeText, Default: `"default"`, Example: `"billing"`,
			Doc:   "Group of apps: a slice below the project's.",
			Lower: lowerNamespace},
		{Name: "next_gen_js", Type: typeFlag, Example: `true`,
			Doc: "Ran the script through Babel.", Drop: "PM2 itself dropped it; Node runs today's JavaScript unaided"},
		{Name: "node_args", Aliases: []string{"interpreter_args", "interpreterArgs"}, Type: typeWords, Default: `[]`, Example: `"--max-old-space-size=200"`,
			Doc: "Arguments of the interpreter, before the script. Ignored with interpreter \"none\".", With: "script"},
		{Name: "out_file", Aliases: []string{"out_log", "output", "out"}, Type: typeText, Example: `"/var/log/app/out.log"`,
			Doc:     "File for stdout, appended; \"NULL\" or \"/dev/null\" throws it away. Without one, stdout goes to the journal. Instances write to NAME-0.log, NAME-1.log, ….",
			Differs: "The default is the journal, not ~/.pm2/logs. Instances are counted from 0 within the app; PM2 puts the process id into the name, into that of a single app with `\"instances\": 1` as well, and none where instances is \"max\" or the name does not end in .log.",
			Lower:   lowerLogs},
		{Name: "pid_file", Aliases: []string{"pid"}, Type: typeText, Example: `"/run/app.pid"`,
			Doc:     "File that holds the main process's id while it runs.",
			Differs: "None is written unless asked for; a single app's file keeps its name.",
			Lower:   lowerPidFile},
		{Name: "pmx", Type: typeSwitch, Default: `true`, Example: `false`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "port", Type: typePort, Example: `3000`,
			Doc:  "Sets the variable PORT, over the one in env. No socket is opened for it.",
			With: "env"},
		{Name: "post_update", Type: typeCommands, Example: `["npm ci"]`,
			Doc:   "Commands that `gm pull` runs after it has fetched a new revision.",
			Lower: lowerPostUpdate},
		{Name: "restart_delay", Type: typeMillis, Example: `4000`,
			Doc:     "Pause before an automatic restart.",
			Differs: "Without it there is a pause of 100 ms, so that a crash loop does not take a CPU; 0 means none.",
			With:    "autorestart"},
		{Name: "script", Aliases: []string{"cmd", "command", "exec"}, Type: typeText, Example: `"server.js"`,
			Doc:     "What to run: a file relative to cwd, a command on the PATH, or, when it holds a blank, a command line for bash.",
			Differs: "A file whose name holds a blank is run as a file when it exists.",
			Lower:   lowerExec},
		{Name: "shutdown_with_message", Type: typeFlag, Default: `false`, Example: `true`,
			Doc: "Tell a Node app to stop by the message \"shutdown\" instead of SIGINT.", With: "wait_ready"},
		{Name: "source_map_support", Type: typeFlag, Default: `true`, Example: `true`,
			Doc: "See disable_source_map_support.", Drop: "PM2 ignores it in a file; for mapped traces write `\"node_args\": \"--enable-source-maps\"`"},
		{Name: "stop_exit_codes", Type: typeCodes, Default: `[]`, Example: `[0, 42]`,
			Doc:     "Exit codes after which the app stays stopped.",
			Differs: "Death by a signal is not exit code 0; PM2 takes it for one.",
			With:    "autorestart"},
		{Name: "systemd", Type: typeSystemd, Example: `{"service": {"Nice": 5}}`,
			Doc:   "gm's own keys, for what PM2 cannot say: depends_on, listen, hardening, log_max_size, log_keep, pm2_env, unit, service. See below.",
			Lower: lowerSystemd},
		{Name: "time", Type: typeFlag, Default: `false`, Example: `true`,
			Doc: "true is log_date_format \"YYYY-MM-DDTHH:mm:ss\".", With: "out_file"},
		{Name: "trace", Type: typeFlag, Default: `false`, Example: `false`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "treekill", Type: typeFlag, Default: `true`, Example: `false`,
			Doc:     "true: every process of the app gets the stop signal. false: the main process alone.",
			Differs: "With false PM2 leaves the children running; here they get SIGKILL once the main process has ended.",
			With:    "kill_timeout"},
		{Name: "uid", Aliases: []string{"user"}, Type: typeUser, Example: `"www-data"`,
			Doc:     "User of the process: a name or a number.",
			Differs: "HOME, USER, LOGNAME and the supplementary groups are the user's; PM2 sets HOME alone. Log files are opened by systemd, before it becomes the user.",
			Lower:   lowerUser},
		{Name: "username", Type: typeText, Example: `"me"`,
			Doc: "Who started the app.", Drop: "PM2 overwrites it with the caller's name"},
		{Name: "v8", Type: typeFlag, Example: `true`,
			Doc: "PM2's APM switch.", Drop: noProbe},
		{Name: "vizion", Type: typeFlag, Default: `true`, Example: `false`,
			Doc:  "Read the git revision of the app's directory.",
			Drop: "nothing of it is kept; `gm pull` asks git when it needs to"},
		{Name: "wait_ready", Type: typeFlag, Default: `false`, Example: `true`,
			Doc:     "The app counts as started when it has said `process.send('ready')`.",
			Differs: "A preload turns that message into systemd's READY=1. An app that does not say it within listen_timeout has failed to start; PM2 calls it online.",
			Lower:   lowerReady},
		{Name: "watch", Type: typeWatch, Default: `false`, Example: `true`,
			Doc:     "Restart the app when files change: true for cwd, or paths and globs relative to it.",
			Differs: "A companion service watches while the app runs. The app's own log and pid files never count.",
			Lower:   lowerWatch},
		{Name: "watch_delay", Type: typeMillis, Default: `0`, Example: `500`, Beside: `"watch": true`,
			Doc: "Pause between a change and the restart.", With: "watch"},
		{Name: "watch_options", Type: typeObject, Example: `{"usePolling": true}`, Beside: `"watch": true`,
			Doc: "chokidar's options: followSymlinks, usePolling, interval, depth, awaitWriteFinish, ….", With: "watch"},
		{Name: "windowsHide", Type: typeFlag, Default: `true`, Example: `true`,
			Doc: "Hide the console window on Windows.", Drop: "units run on Linux"},
		{Name: "write", Type: typeFlag, Example: `true`,
			Doc: "Write the command line's options to a file.", Drop: noDaemon},
	}
}

// spellings lists the names a key answers to, in PM2's order of preference:
// its own, the aliases, the camelCase form.
func (f *Field) spellings() []string {
	out := append([]string{f.Name}, f.Aliases...)
	if camel := camelCase(f.Name); camel != f.Name && f.Name != envPattern {
		out = append(out, camel)
	}
	return out
}

func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i, part := range parts {
		if i > 0 && len(part) > 1 {
			parts[i] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "")
}

// LookupField returns the row of a key under any of its spellings.
func LookupField(name string) (Field, bool) {
	if i, ok := fieldIndex(name); ok {
		return fields()[i], true
	}
	return Field{}, false
}

// fieldIndex returns the number of the row that a key belongs to.
func fieldIndex(name string) (int, bool) {
	if i, ok := index()[name]; ok && name != envPattern {
		return i, true
	}
	// lib/API/schema.json: ^env_\S*$
	if strings.HasPrefix(name, "env_") && strings.IndexFunc(name, isJSSpace) < 0 {
		return index()[envPattern], true
	}
	return 0, false
}

const envPattern = "env_*"
