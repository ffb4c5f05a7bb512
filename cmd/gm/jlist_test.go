package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/engine"
)

// pm2Keys are the keys of pm2_env in PM2 7.0.4's jlist that are no variables, of a
// clustered app and of one with watch, cron_restart and max_memory_restart.
const pm2Keys = `NODE_APP_INSTANCE _pm2_version _tree_pids args automation autorestart autostart axm_actions
	axm_dynamic axm_monitor axm_options created_at cron_restart env env_production exec_interpreter exec_mode
	exit_code instance_var instances kill_retry_time km_link max_memory_restart merge_logs name namespace node_args
	node_version pm_cwd pm_err_log_path pm_exec_path pm_id pm_out_log_path pm_pid_path pm_uptime pmx
	prev_restart_delay restart_time status treekill unstable_restarts username version vizion
	vizion_running watch windowsHide`

// notInGm are those that gm has nothing for.
const notInGm = `_pm2_version _tree_pids cron_restart env_production prev_restart_delay`

// ofGm are those that PM2 has not, or only if the declaration has them.
const ofGm = `gm_project gm_unit kill_timeout min_uptime`

func TestJlistKeys(t *testing.T) {
	c := &caller{}
	have := map[string]bool{}
	for _, golden := range []string{"seed-production", "limits-memory"} {
		list := c.pm2List(installed(t, nil, golden))
		for _, p := range list {
			env := p.Env["env"].(map[string]string)
			for key := range p.Env {
				if _, variable := env[key]; !variable || key == "NODE_APP_INSTANCE" {
					have[key] = true
				}
			}
		}
	}
	want := map[string]bool{}
	for key := range strings.FieldsSeq(pm2Keys + " " + ofGm) {
		want[key] = true
	}
	for key := range strings.FieldsSeq(notInGm) {
		delete(want, key)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(have))); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestJlist(t *testing.T) {
	l := shop(t)
	list := (&caller{}).pm2List(l)
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, string(text)+"\n")
}

func TestJlistLogs(t *testing.T) {
	for _, test := range []struct {
		golden, app string
		out, err    string
		merged      bool
	}{
		{"seed-production", "worker", "", "", false},
		{"logs-files", "both", "/var/log/shop/out.log", "/var/log/shop/err.log", false},
		{"logs-files", "same", "/var/log/same.log", "/var/log/same.log", false},
		{"logs-files", "blank", "/var/log/my shop/100%.log", "", false},
		{"logs-stamps-instances", "web@1", "/srv/shop/logs/out-1.log", "/srv/shop/logs/err-1.log", false},
	} {
		l := installed(t, nil, test.golden)
		list := (&caller{}).pm2List(l)
		i := slices.IndexFunc(l.processes, func(p engine.Process) bool { return p.Name == test.app })
		env := list[i].Env
		if env["pm_out_log_path"] != test.out || env["pm_err_log_path"] != test.err || env["merge_logs"] != test.merged {
			t.Errorf("%s of %s: %q, %q, merged %v", test.app, test.golden, env["pm_out_log_path"], env["pm_err_log_path"], env["merge_logs"])
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		argv string
		want pm2Command
	}{
		{"", pm2Command{"none", []string{}, "", []string{}}},
		{"/usr/bin/node /srv/a.js", pm2Command{"/usr/bin/node", []string{}, "/srv/a.js", []string{}}},
		{"/usr/bin/node --inspect -r /srv/x.js /srv/a.js -r b", pm2Command{"/usr/bin/node", []string{"--inspect", "-r", "/srv/x.js"}, "/srv/a.js", []string{"-r", "b"}}},
		{"/usr/bin/python3.11 -u /srv/a.py", pm2Command{"/usr/bin/python3.11", []string{"-u"}, "/srv/a.py", []string{}}},
		{"/usr/bin/python3 -m http.server", pm2Command{"none", []string{}, "/usr/bin/python3", []string{"-m", "http.server"}}},
		{"/bin/bash -c x", pm2Command{"none", []string{}, "/bin/bash", []string{"-c", "x"}}},
		{"/srv/app --port 3000", pm2Command{"none", []string{}, "/srv/app", []string{"--port", "3000"}}},
		{"/usr/bin/node --version", pm2Command{"none", []string{}, "/usr/bin/node", []string{"--version"}}},
		{"/usr/bin/node -r", pm2Command{"none", []string{}, "/usr/bin/node", []string{"-r"}}},
	} {
		if diff := cmp.Diff(test.want, commandLine(strings.Fields(test.argv)), cmp.AllowUnexported(pm2Command{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.argv, diff)
		}
	}
}

func TestPm2Status(t *testing.T) {
	for s, want := range map[engine.Status]string{
		engine.StatusOnline: "online", engine.StatusWaiting: "stopped", engine.StatusEnded: "stopped",
		engine.StatusRetrying: "waiting restart", engine.StatusErrored: "errored",
	} {
		if got := pm2Status(s); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
	if got := milliseconds(time.Time{}); got != 0 {
		t.Errorf("never is %d", got)
	}
}
