package translate

import (
	"fmt"
	"slices"
	"strings"

	"gm/diag"
)

// Code is one kind of diagnostic. Codes are never renamed or reused.
type Code struct {
	Name     string
	Severity diag.Severity
	// Doc completes "It is reported when …".
	Doc string
	// Example is a declaration that yields the code; a test compiles it.
	Example string
	// File is the example's name where it is not processes.json.
	File string
	// Flags are what gm is called with, for the example.
	Flags string
}

// messages collects the diagnostics of a stage.
type messages struct {
	list diag.List
}

// add reports one diagnostic; cause is a format for args.
func (m *messages) add(c *Code, at diag.Range, remedy, cause string, args ...any) {
	m.list = append(m.list, diag.Diagnostic{
		Severity: c.Severity, Code: c.Name, At: at,
		Cause: fmt.Sprintf(cause, args...), Remedy: remedy,
	})
}

// Codes returns every code of a translation, sorted by name.
func Codes() []*Code {
	all := slices.Concat(readCodes, []*Code{
		argsIgnored, backoffApproximate, badCron, badDirective, badEnvName, badListen, badName, badText, badValue,
		cronDiffers, dependencyCycle, deployNotHandled, emptyValue, envFile, envNotChosen, envNotInApp, limitLifted, nameCollision, noEnvs, noPortSharing,
		noScript, notNode, notRotated, pm2Serve, programNotFound, callerPath, scriptNotFound, staticNotHandled, suspiciousValue,
		twoSpellings, unknownAccount, unknownApp, unknownDependency, unknownEnv, unknownKey, unknownTopKey, userScope,
		windowsPath,
	})
	slices.SortFunc(all, func(a, b *Code) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// What resolving and lowering report; the reader's codes stand with it.
var (
	argsIgnored = &Code{Name: "args-ignored", Severity: diag.Warning,
		Doc:     "arguments have nothing to go to: args beside a script that is a command line for bash, node_args without an interpreter",
		Example: `[{"name": "a", "script": "npm run start", "args": "--port 3000"}]`}
	backoffApproximate = &Code{Name: "backoff-approximate", Severity: diag.Note,
		Doc:     "exp_backoff_restart_delay is written for a systemd older than 254, which knows one fixed delay only",
		Example: `[{"script": "a.js", "exp_backoff_restart_delay": 100}]`, Flags: "--systemd 252"}
	badCron = &Code{Name: "bad-cron", Severity: diag.Error,
		Doc:     "PM2 would refuse a cron expression, or it can never fire, or no unit can say what it means",
		Example: `[{"script": "a.js", "cron_restart": "61 * * * *"}]`}
	badDirective = &Code{Name: "bad-directive", Severity: diag.Error,
		Doc:     "a directive under systemd.unit or systemd.service does not exist or has a value that systemd would ignore",
		Example: `[{"script": "a.js", "systemd": {"service": {"Nyce": 5}}}]`}
	badEnvName = &Code{Name: "bad-env-name", Severity: diag.Error,
		Doc:     "a variable has a name that systemd drops: other than letters, digits and _, or starting with a digit",
		Example: `[{"script": "a.js", "env": {"MY-VAR": 1}}]`}
	badListen = &Code{Name: "bad-listen", Severity: diag.Error,
		Doc:     "an element of systemd.listen is no address",
		Example: `[{"script": "a.js", "systemd": {"listen": ["somewhere"]}}]`}
	badName = &Code{Name: "bad-name", Severity: diag.Error,
		Doc:     "an app's name makes no unit name that systemd takes: empty, or longer than 255 bytes with its suffixes",
		Example: `[{"script": "a.js", "name": "` + strings.Repeat("long", 64) + `"}]`}
	badText = &Code{Name: "bad-text", Severity: diag.Error,
		Doc:     "a value holds what cannot arrive in the process byte for byte: a NUL, a control character in a path, more than the kernel takes",
		Example: `[{"script": "a.js", "env": {"A": "nul \u0000"}}]`}
	badValue = &Code{Name: "bad-value", Severity: diag.Error,
		Doc:     "a key has a value of the wrong type or form",
		Example: `[{"script": "a.js", "max_memory_restart": "1.5X"}]`}
	cronDiffers = &Code{Name: "cron-differs", Severity: diag.Note,
		Doc:     "a cron expression is translated as PM2 reads it, which is not what most people expect, or PM2 itself would get it wrong",
		Example: `[{"script": "a.js", "cron_restart": "0 0 13 * FRI"}]`}
	dependencyCycle = &Code{Name: "dependency-cycle", Severity: diag.Error,
		Doc:     "apps depend on each other in a circle, which systemd would break by not starting one of them",
		Example: `[{"script": "a.js", "systemd": {"depends_on": "b"}}, {"script": "b.js", "systemd": {"depends_on": "a"}}]`}
	deployNotHandled = &Code{Name: "deploy-not-handled", Severity: diag.Note,
		Doc:     "the file has a deploy section",
		Example: `{"apps": [{"script": "a.js"}], "deploy": {"production": {"host": "example.org"}}}`}
	emptyValue = &Code{Name: "empty-value", Severity: diag.Warning,
		Doc:     "a key has an empty value, false or 0 where that can mean nothing; PM2 drops it",
		Example: `[{"script": "a.js", "max_memory_restart": ""}]`}
	envFile = &Code{Name: "env-file", Severity: diag.Warning,
		Doc:     "an app has env_file, which many take for the path of a .env file",
		Example: `[{"script": "a.js", "env_file": {"A": 1}}]`}
	envNotChosen = &Code{Name: "env-not-chosen", Severity: diag.Note,
		Doc:     "an app has env_NAME and no env, and no --env was given",
		Example: `[{"script": "a.js", "env_production": {"A": 1}}]`}
	envNotInApp = &Code{Name: "env-not-in-app", Severity: diag.Note,
		Doc:     "an app has env_NAME of other names than the one chosen with --env",
		Example: `[{"script": "a.js", "env_production": {"A": 1}}, {"script": "b.js", "env_test": {"A": 1}}]`, Flags: "--env test"}
	limitLifted = &Code{Name: "limit-lifted", Severity: diag.Note,
		Doc:     "max_restarts stands beside systemd.listen, where a unit that is given up would close the socket of all instances",
		Example: `[{"script": "a.js", "max_restarts": 3, "systemd": {"listen": 3000}}]`}
	notRotated = &Code{Name: "logs-not-rotated", Severity: diag.Warning,
		Doc:     "systemd.log_max_size or log_keep stands beside log files that the log companion writes: those with stamps, or a log_file beside another one",
		Example: `[{"script": "a.js", "out_file": "out.log", "time": true, "systemd": {"log_max_size": "10M"}}]`}
	nameCollision = &Code{Name: "name-collision", Severity: diag.Error,
		Doc:     "two apps become the same unit",
		Example: `[{"script": "a.js", "name": "a/b"}, {"script": "b.js", "name": "a-b"}]`}
	noEnvs = &Code{Name: "no-envs", Severity: diag.Note,
		Doc:     "--env names an environment, and no app has any",
		Example: `[{"script": "a.js", "env": {"A": 1}}]`, Flags: "--env production"}
	noPortSharing = &Code{Name: "no-port-sharing", Severity: diag.Error,
		Doc:     "several instances in cluster mode would have to share a port where nothing lets them: in the user scope a program other than node, or a node before 22.12",
		Example: `[{"script": "a.py", "exec_mode": "cluster", "instances": 2}]`, Flags: "--user"}
	noScript = &Code{Name: "no-script", Severity: diag.Error,
		Doc:     "an app does not say what to run",
		Example: `[{"name": "a"}]`}
	notNode = &Code{Name: "not-node", Severity: diag.Warning,
		Doc:     "wait_ready or shutdown_with_message is asked of a program that node does not run: it gets no messages, and must tell systemd itself that it is ready",
		Example: `[{"script": "a.py", "wait_ready": true}]`}
	pm2Serve = &Code{Name: "pm2-serve", Severity: diag.Error,
		Doc:     "script is \"serve\", PM2's built-in file server",
		Example: `[{"script": "serve"}]`}
	programNotFound = &Code{Name: "program-not-found", Severity: diag.Warning,
		Doc:     "the host does not have an interpreter or command, so its path is a guess",
		Example: `[{"script": "a.js", "interpreter": "no-such-program"}]`}
	callerPath = &Code{Name: "relative-path", Severity: diag.Note,
		Doc:     "gm runs in another directory than the declaration's, and PM2 would take relative paths from there",
		Example: `[{"script": "a.js", "cwd": "app"}]`, Flags: "--caller /elsewhere"}
	scriptNotFound = &Code{Name: "script-not-found", Severity: diag.Warning,
		Doc:     "the script does not exist on the host",
		Example: `[{"script": "missing.js"}]`}
	staticNotHandled = &Code{Name: "static-not-handled", Severity: diag.Warning,
		Doc:     "the file has a static section, for PM2's built-in file server",
		Example: `{"apps": [{"script": "a.js"}], "static": [{"port": 8080}]}`}
	suspiciousValue = &Code{Name: "suspicious-value", Severity: diag.Warning,
		Doc:     "a number is surely in another unit than was meant: a few milliseconds, a few bytes",
		Example: `[{"script": "a.js", "kill_timeout": 5}]`}
	twoSpellings = &Code{Name: "two-spellings", Severity: diag.Warning,
		Doc:     "an app gives one key under two of its names",
		Example: `[{"script": "a.js", "out_file": "/a.log", "output": "/b.log"}]`}
	unknownAccount = &Code{Name: "unknown-account", Severity: diag.Warning,
		Doc:     "the host does not have the user or group",
		Example: `[{"script": "a.js", "uid": "nobody-here"}]`}
	unknownApp = &Code{Name: "unknown-app", Severity: diag.Error,
		Doc:     "--only names an app that the declaration does not have",
		Example: `[{"script": "a.js"}]`, Flags: "--only b"}
	unknownDependency = &Code{Name: "unknown-dependency", Severity: diag.Error,
		Doc:     "systemd.depends_on names neither an app of the declaration nor a unit",
		Example: `[{"script": "a.js", "systemd": {"depends_on": "db"}}]`}
	unknownEnv = &Code{Name: "unknown-env", Severity: diag.Error,
		Doc:     "--env names an environment that no app has, and there are others",
		Example: `[{"script": "a.js", "env_production": {"A": 1}}]`, Flags: "--env staging"}
	unknownKey = &Code{Name: "unknown-key", Severity: diag.Warning,
		Doc:     "an app has a key that PM2 does not know, and drops",
		Example: `[{"script": "a.js", "max_restart": 3}]`}
	unknownTopKey = &Code{Name: "unknown-top-key", Severity: diag.Note,
		Doc:     "the file has a key beside apps that nobody reads",
		Example: `{"apps": [{"script": "a.js"}], "version": 2}`}
	userScope = &Code{Name: "user-scope", Severity: diag.Warning,
		Doc:     "uid or gid is given in the user scope, where systemd cannot change users",
		Example: `[{"script": "a.js", "uid": "www-data"}]`, Flags: "--user"}
	windowsPath = &Code{Name: "windows-path", Severity: diag.Error,
		Doc:     "a path is one of Windows",
		Example: `[{"script": "a.js", "cwd": "E:\\nodejs\\blog"}]`}
)
