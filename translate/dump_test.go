package translate

import (
	"os"
	"testing"
)

// testdata/dump/dump.pm2 is what PM2 7.0.4 saved for three apps, two instances
// of the first, without its metrics and with other paths.
func TestReadDump(t *testing.T) {
	text, err := os.ReadFile("testdata/dump/dump.pm2")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"web","script":"/srv/shop/a.js","cwd":"/srv/shop","exec_mode":"cluster","instances":2,"args":["--x","y z"],` +
		`"node_args":["--max-old-space-size=100"],"max_memory_restart":209715200,"autorestart":true,"env_production":{"Z":1},` +
		`"env":{"PORT":3000,"NODE_ENV":"production","SECRET":"s"}} ` +
		`{"name":"job","script":"/srv/shop/b.sh","cwd":"/srv/shop","exec_mode":"fork","out_file":"/srv/shop/out.log","error_file":"/srv/shop/err.log",` +
		`"namespace":"jobs","autorestart":false,"watch":["src"],"ignore_watch":["node_modules"],"cron_restart":"0 3 * * *","kill_timeout":3000,` +
		`"restart_delay":100,"exp_backoff_restart_delay":50,"max_restarts":5,"min_uptime":5000,"stop_exit_codes":3,"merge_logs":true,` +
		`"log_date_format":"YYYY","env":{"TZ":"UTC"}} ` +
		`{"name":"plain","script":"/srv/shop/a.js","cwd":"/srv/shop","exec_mode":"fork","autorestart":true,"wait_ready":true,"listen_timeout":500,` +
		`"instance_var":"INST","increment_var":"PORT","merge_logs":true,"log_date_format":"YYYY-MM-DDTHH:mm:ss","time":true,"env":{"PORT":5000}}`
	messages := "308:3 dump-module: pm2-logrotate is a module of PM2; it is left out\n" +
		"11:12 dump-env: variables of web that are kept: PORT, NODE_ENV, SECRET; dropped, as of the shell or of PM2: 14\n" +
		"85:12 dump-env: variables of job that are kept: TZ; dropped, as of the shell or of PM2: 14\n" +
		"163:12 dump-env: variables of plain that are kept: PORT; dropped, as of the shell or of PM2: 14\n"
	runReadCases(t, []readCase{
		{name: "dump.pm2", file: "dump.pm2", text: string(text), want: want, messages: messages},
		{name: "whatever its name", file: "processes.json", text: string(text), want: want, messages: messages},
	})
}

func TestReadDumpForms(t *testing.T) {
	runReadCases(t, []readCase{
		{name: "jlist", file: "list.json", text: `[{"pid": 1, "name": "w", "pm_id": 3, "pm2_env": {"name": "w", "pm_exec_path": "/srv/w.js", "pm_out_log_path": "/var/log/w-3.log", "pm_pid_path": "/run/w-3.pid", "env": {}}, "monit": {}}]`,
			want: `{"name":"w","script":"/srv/w.js","out_file":"/var/log/w.log","pid_file":"/run/w.pid","env":{}}`},
		{name: "shared logs keep their name", file: "list.json", text: `[{"name": "w", "pm_exec_path": "/srv/w.js", "pm_out_log_path": "/var/log/w-3.log", "merge_logs": true}]`,
			want: `{"name":"w","script":"/srv/w.js","out_file":"/var/log/w-3.log","merge_logs":true}`},
		{name: "interpreters", file: "list.json", text: `[{"name": "a", "pm_exec_path": "/a", "exec_interpreter": "/opt/n/bin/node"}, {"name": "b", "pm_exec_path": "/b.js", "exec_interpreter": "/opt/n/bin/node"},
{"name": "c", "pm_exec_path": "/bin/bash", "exec_interpreter": "none", "args": ["-c", "x y"]}, {"name": "d", "pm_exec_path": "/d.py", "exec_interpreter": "python3"}]`,
			want: `{"name":"a","script":"/a"} {"name":"b","script":"/b.js","interpreter":"/opt/n/bin/node"} {"name":"c","script":"/bin/bash","interpreter":"none","args":["-c","x y"]} {"name":"d","script":"/d.py"}`},
		{name: "one name, two programs", file: "list.json", text: `[{"name": "w", "pm_exec_path": "/a.js"}, {"name": "w", "pm_exec_path": "/b.js"}, {"name": "w", "pm_exec_path": "/a.js"}]`,
			want: `{"name":"w","script":"/a.js","instances":2} {"name":"w","script":"/b.js"}`},
		{name: "one app keeps what another would share", file: "list.json", text: `[{"name": "w", "pm_exec_path": "/a.js", "env": {"A": "1", "SSH_TTY": "x", "npm_config_x": "y", "w": "{}"}}]`,
			want:     `{"name":"w","script":"/a.js","env":{"A":"1"}}`,
			messages: "1:48 dump-env: variables of w that are kept: A; dropped, as of the shell or of PM2: 3\n"},
	})
}

func TestDumpPlaces(t *testing.T) {
	checkPlaces(t, "dump.pm2", "[{\n \"name\": \"w\",\n \"exec_mode\": \"cluster_mode\",\n \"pm_exec_path\": \"/a.js\"\n}]",
		"name 2:2 2:10-2:13\n"+
			"script 4:2 4:18-4:25\n"+
			"exec_mode 3:2 3:15-3:29\n"+
			"instances 3:15 3:15-3:29\n")
}
