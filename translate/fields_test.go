package translate

import (
	"slices"
	"strings"
	"testing"

	"gm/diag"
	"gm/units"
)

func TestFieldsAreSorted(t *testing.T) {
	rows := Fields()
	for i := 1; i < len(rows); i++ {
		if rows[i-1].Name >= rows[i].Name {
			t.Errorf("row %q stands before %q", rows[i-1].Name, rows[i].Name)
		}
	}
	if len(rows) > maxFields {
		t.Errorf("%d rows: an app has slots for %d", len(rows), maxFields)
	}
}

func TestFieldsSayOneThing(t *testing.T) {
	for _, f := range Fields() {
		says := 0
		for _, given := range []bool{f.Lower != nil, f.With != "", f.Drop != ""} {
			if given {
				says++
			}
		}
		if says != 1 {
			t.Errorf("%s: %d of Lower, With and Drop are given; exactly one must be", f.Name, says)
		}
		if leader, ok := LookupField(f.With); f.With != "" && (!ok || leader.Lower == nil) {
			t.Errorf("%s: With names %q, which is no row that lowers", f.Name, f.With)
		}
		if f.Doc == "" || f.Example == "" || f.Type.Label == "" {
			t.Errorf("%s: Doc, Example and Type must be given", f.Name)
		}
		for what, prose := range map[string]string{"Doc": f.Doc, "Differs": f.Differs} {
			if prose != "" && !strings.HasSuffix(strings.TrimSuffix(prose, ")"), ".") {
				t.Errorf("%s: %s is no sentence: %q", f.Name, what, prose)
			}
		}
		if strings.HasSuffix(f.Drop, ".") {
			t.Errorf("%s: Drop is a clause, without a full stop: %q", f.Name, f.Drop)
		}
	}
}

// Each spelling belongs to one row, or the order of rows would decide.
func TestSpellingsAreUnique(t *testing.T) {
	owner := map[string]string{}
	for _, f := range Fields() {
		for _, spelling := range f.spellings() {
			if other, taken := owner[spelling]; taken {
				t.Errorf("%q is a spelling of %s and of %s", spelling, other, f.Name)
			}
			owner[spelling] = f.Name
		}
	}
}

// exampleOf compiles a row's example on a host of that systemd.
func exampleOf(f *Field, example string, systemd int) (units.Set, diag.List) {
	topic := fieldTopic(f)
	return topic.compile(example, systemd)
}

// An example that changes nothing explains nothing: it wants a Beside.
func TestExamplesHaveTheirEffect(t *testing.T) {
	for _, f := range Fields() {
		for _, systemd := range []int{explainSystemdOld, explainSystemd} {
			set, list := exampleOf(&f, f.Example, systemd)
			for _, d := range list {
				if d.Severity != diag.Note {
					t.Errorf("%s on systemd %d: %v: %s [%s]", f.Name, systemd, d.Severity, d.Cause, d.Code)
				}
			}
			base, list := exampleOf(&f, "", systemd)
			if len(list) > 0 {
				t.Errorf("%s: without the key there are messages: %v", f.Name, list)
			}
			changes := diffSets(base, set)
			switch {
			case f.Drop != "" && len(changes) > 0:
				t.Errorf("%s is said to have no effect, and changes %v", f.Name, changes)
			case f.Drop == "" && len(changes) == 0:
				t.Errorf("%s: the example %s changes nothing", f.Name, f.Example)
			}
		}
	}
}

func TestSystemdKeysHaveTheirEffect(t *testing.T) {
	keys := SystemdKeys()
	if !slices.IsSortedFunc(keys, func(a, b SystemdKey) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the keys are not sorted")
	}
	for _, k := range keys {
		topic, ok := lookupTopic("systemd." + k.Name)
		if !ok {
			t.Fatalf("systemd.%s is not found", k.Name)
		}
		set, list := topic.compile(topic.example, explainSystemd)
		if len(list) > 0 {
			t.Errorf("systemd.%s: %v", k.Name, list)
		}
		base, _ := topic.compile("", explainSystemd)
		if len(diffSets(base, set)) == 0 {
			t.Errorf("systemd.%s: the example changes nothing", k.Name)
		}
	}
}

// The keys of PM2 7.0.4's own schema, lib/API/schema.json.
const pm2Schema = `script name name_prefix filter_env namespace install_url cwd args exec_interpreter
	node_args out_file error_file log_file disable_logs log_type log_date_format time env env_*
	max_memory_restart pid_file restart_delay exp_backoff_restart_delay source_map_support
	disable_source_map_support wait_ready instances kill_timeout shutdown_with_message
	listen_timeout cron_restart merge_logs vizion autostart autorestart stop_exit_codes watch_delay
	watch ignore_watch watch_options min_uptime max_restarts execute_command exec_mode force
	append_env_to_name post_update trace disable_trace v8 event_loop_inspector deep_monitoring
	increment_var instance_var pmx automation treekill port username uid gid windowsHide
	kill_retry_time write io`

// The keys of PM2's documentation that its schema lacks.
const pm2Documented = `next_gen_js`

func TestEveryKeyOfPM2HasARow(t *testing.T) {
	names := strings.Fields(pm2Schema + " " + pm2Documented)
	for _, name := range names {
		i := slices.IndexFunc(Fields(), func(f Field) bool { return f.Name == name })
		if i < 0 {
			t.Errorf("%s has no row", name)
		}
	}
	for _, f := range Fields() {
		if f.Name != "systemd" && !slices.Contains(names, f.Name) {
			t.Errorf("%s is no key of PM2", f.Name)
		}
	}
}

// Every spelling that PM2 takes: its aliases, the camelCase that lib/tools/
// Config.js derives, and cmd and command, which lib/Common.js reads itself.
func TestEverySpellingIsFound(t *testing.T) {
	for name, spellings := range map[string]string{
		"args":                       "args",
		"append_env_to_name":         "appendEnvToName",
		"cron_restart":               "cron cronRestart",
		"disable_logs":               "disableLogs",
		"disable_source_map_support": "disableSourceMapSupport",
		"error_file":                 "error err err_file err_log errorFile",
		"exec_interpreter":           "interpreter execInterpreter",
		"exec_mode":                  "execMode",
		"exp_backoff_restart_delay":  "expBackoffRestartDelay",
		"ignore_watch":               "ignoreWatch",
		"kill_timeout":               "killTimeout",
		"log_date_format":            "logDateFormat",
		"log_file":                   "log logFile",
		"max_memory_restart":         "maxMemoryRestart",
		"merge_logs":                 "combine_logs mergeLogs",
		"min_uptime":                 "minUptime",
		"node_args":                  "interpreter_args interpreterArgs nodeArgs",
		"out_file":                   "out output out_log outFile",
		"pid_file":                   "pid pidFile",
		"script":                     "exec cmd command",
		"uid":                        "user",
		"v8":                         "v8",
		"windowsHide":                "windowsHide",
		"env_*":                      "env_production env_ env_x-y env_*",
	} {
		for _, spelling := range append(strings.Fields(spellings), name) {
			if f, ok := LookupField(spelling); !ok || f.Name != name {
				t.Errorf("%q: got row %q, want %q", spelling, f.Name, name)
			}
		}
	}
	for _, unknown := range []string{"", "Script", "env*", "env_a b", "environment", "max_restart"} {
		if f, ok := LookupField(unknown); ok {
			t.Errorf("%q is taken for %s", unknown, f.Name)
		}
	}
}
