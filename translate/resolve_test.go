package translate

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"gm/diag"
	"gm/units"
)

func TestDefaultName(t *testing.T) {
	for script, want := range map[string]string{
		"app.js":                  "app",
		"src/server.min.js":       "server.min",
		"/srv/api":                "api",
		".hidden":                 ".hidden",
		"dir/.hidden.js":          ".hidden",
		"python3 -u x.py --ok":    "python3 -u x",
		"./run.sh":                "run",
		"node_modules/.bin/serve": "serve",
		"日本.js":                   "日本",
	} {
		if got := defaultName(script); got != want {
			t.Errorf("defaultName(%q) = %q, want %q", script, got, want)
		}
	}
}

// instancesOf compiles one app on a host of that many CPUs and describes its
// units: "fork 1", "cluster 3".
func instancesOf(t *testing.T, cpus int, members string) string {
	t.Helper()
	o := Options{Host: exampleHost(explainSystemd)}
	o.Host.CPUs = cpus
	o.Host.Files = map[string]FileKind{"/srv/app/binary": FileBinary}
	set, list := Compile(diag.NewSource("processes.json", []byte(`[{"name": "a", `+members+`}]`)), o)
	if list.HasErrors() {
		t.Errorf("%s: %v", members, list)
		return ""
	}
	mode, count := "fork", 0
	if target, ok := set.Find("a.target"); ok {
		for _, d := range target.Directives {
			if d.Key == "Also" {
				if got, want := units.Encode(d.Value), fmt.Sprintf("a@%d.service", count); got != want {
					t.Errorf("%s: Also=%s, want %s", members, got, want)
				}
				count++
			}
		}
	} else {
		count = 1
	}
	for _, name := range []string{"a.service", "a@.service"} {
		service, _ := set.Find(name)
		for _, d := range service.Directives {
			if d.Key == "ExecStartPre" && strings.Contains(units.Encode(d.Value), "share-port") {
				mode = "cluster"
			}
		}
	}
	return fmt.Sprintf("%s %d", mode, count)
}

// What lib/Common.js determineExecMode and God.prepare make of exec_mode,
// instances and the interpreter, on two CPUs.
func TestInstances(t *testing.T) {
	for _, test := range []struct{ members, want string }{
		{`"script": "a.js"`, "fork 1"},
		{`"script": "a.js", "instances": 1`, "cluster 1"},
		{`"script": "a.js", "instances": 0`, "cluster 2"},
		{`"script": "a.js", "instances": "max"`, "cluster 2"},
		{`"script": "a.js", "instances": -1`, "cluster 1"},
		{`"script": "a.js", "instances": -2`, "fork 1"},
		{`"script": "a.js", "instances": -9`, "fork 1"},
		{`"script": "a.js", "instances": 4`, "cluster 4"},
		{`"script": "a.js", "instances": "4"`, "cluster 4"},
		{`"script": "a.js", "instances": 1.5`, "cluster 1"},
		{`"script": "a.js", "instances": 3, "exec_mode": "fork"`, "fork 3"},
		{`"script": "a.js", "instances": 3, "exec_mode": "fork_mode"`, "fork 3"},
		{`"script": "a.js", "exec_mode": "cluster"`, "cluster 1"},
		{`"script": "a.js", "exec_mode": "cluster_mode", "instances": "max"`, "cluster 2"},
		{`"script": "a.js", "exec_mode": "cluster", "instances": 2, "execute_command": true`, "fork 2"},
		{`"script": "a.py", "instances": 4`, "fork 4"},
		{`"script": "a.ts", "interpreter": "bun", "instances": 2`, "cluster 2"},
		{`"script": "a.js", "interpreter": "/opt/node/bin/node", "instances": 2`, "cluster 2"},
		{`"script": "binary", "instances": 2`, "fork 2"},
		{`"script": "npm run start", "instances": 2`, "fork 2"},
	} {
		if got := instancesOf(t, 2, test.members); got != test.want {
			t.Errorf("%s: got %s, want %s", test.members, got, test.want)
		}
	}
	if got := instancesOf(t, 4, `"script": "a.js", "exec_mode": "cluster", "instances": -1`); got != "cluster 3" {
		t.Errorf("the seed on 4 CPUs: got %s, want cluster 3", got)
	}
}

// execStart compiles one app and returns its command line.
func execStart(t *testing.T, members string, change func(*Host)) (string, diag.List) {
	t.Helper()
	o := Options{Host: exampleHost(explainSystemd)}
	o.Host.Home = "/home/me"
	o.Host.Programs = map[string]string{}
	for _, name := range strings.Fields("bash bun coffee lsc node npm perl php python python3 ruby sh ts-node") {
		o.Host.Programs[name] = "/usr/bin/" + name
	}
	if change != nil {
		change(&o.Host)
	}
	set, list := Compile(diag.NewSource("processes.json", []byte(`[{"name": "a", `+members+`}]`)), o)
	service, _ := set.Find("a.service")
	for _, d := range service.Directives {
		if d.Key == "ExecStart" {
			return units.Encode(d.Value), list
		}
	}
	return "", list
}

// The interpreter follows from the extension (lib/API/interpreter.json), then
// from what the file holds.
func TestInterpreters(t *testing.T) {
	files := func(kinds map[string]FileKind) func(*Host) {
		return func(h *Host) { h.Files = kinds }
	}
	without := func(names string, version string) func(*Host) {
		return func(h *Host) {
			for _, name := range strings.Fields(names) {
				h.Programs[name] = ""
			}
			h.Versions = map[string]string{"/usr/bin/node": version}
		}
	}
	for _, test := range []struct {
		members string
		host    func(*Host)
		want    string
	}{
		{`"script": "a.js"`, nil, "/usr/bin/node /srv/app/a.js"},
		{`"script": "a.mjs"`, nil, "/usr/bin/node /srv/app/a.mjs"},
		{`"script": "a.cjs"`, nil, "/usr/bin/node /srv/app/a.cjs"},
		{`"script": "a.sh"`, nil, "/usr/bin/bash /srv/app/a.sh"},
		{`"script": "a.py"`, nil, "/usr/bin/python /srv/app/a.py"},
		{`"script": "a.py"`, without("python", ""), "/usr/bin/python3 /srv/app/a.py"},
		{`"script": "a.rb"`, nil, "/usr/bin/ruby /srv/app/a.rb"},
		{`"script": "a.php"`, nil, "/usr/bin/php /srv/app/a.php"},
		{`"script": "a.pl"`, nil, "/usr/bin/perl /srv/app/a.pl"},
		{`"script": "a.coffee"`, nil, "/usr/bin/coffee /srv/app/a.coffee"},
		{`"script": "a.ls"`, nil, "/usr/bin/lsc /srv/app/a.ls"},
		{`"script": "a.ts"`, nil, "/usr/bin/bun /srv/app/a.ts"},
		{`"script": "a.tsx"`, nil, "/usr/bin/bun /srv/app/a.tsx"},
		{`"script": "a.ts"`, without("bun", "22.18.0"), "/usr/bin/node /srv/app/a.ts"},
		{`"script": "a.ts"`, without("bun", "23.6.0"), "/usr/bin/node /srv/app/a.ts"},
		{`"script": "a.ts"`, without("bun", "22.6.0"), "/usr/bin/node --experimental-strip-types /srv/app/a.ts"},
		{`"script": "a.ts"`, without("bun", "23.5.0"), "/usr/bin/node --experimental-strip-types /srv/app/a.ts"},
		{`"script": "a.ts"`, without("bun", "24.1.0"), "/usr/bin/node /srv/app/a.ts"},
		{`"script": "a.ts", "interpreter": "ts-node"`, nil, "/usr/bin/ts-node /srv/app/a.ts"},

		{`"script": "run"`, files(map[string]FileKind{"/srv/app/run": "#!/bin/bash"}), "/bin/bash /srv/app/run"},
		{`"script": "run"`, files(map[string]FileKind{"/srv/app/run": "#!/usr/bin/env -S python3 -u"}), "/usr/bin/python3 -u /srv/app/run"},
		{`"script": "run"`, files(map[string]FileKind{"/srv/app/run": FileText}), "/usr/bin/node /srv/app/run"},
		{`"script": "run"`, files(map[string]FileKind{"/srv/app/run": FileBinary}), "/srv/app/run"},
		{`"script": "run.jar"`, files(map[string]FileKind{"/srv/app/run.jar": FileText}), "/usr/bin/node /srv/app/run.jar"},
		{`"script": "."`, files(map[string]FileKind{"/srv/app": FileDir}), "/usr/bin/node /srv/app"},
		{`"script": "bin/run"`, nil, "/usr/bin/node /srv/app/bin/run"},

		{`"script": "a.js", "interpreter": "none"`, nil, "/srv/app/a.js"},
		{`"script": "a.js", "interpreter": "/opt/node/bin/node"`, nil, "/opt/node/bin/node /srv/app/a.js"},
		{`"script": "a.js", "interpreter": "~/bin/node"`, nil, "/home/me/bin/node /srv/app/a.js"},
		{`"script": "a.js", "interpreter": "./node"`, nil, "/srv/app/node /srv/app/a.js"},
		{`"script": "a.js", "interpreter": "node@20.1.0"`, nil, "/home/me/.nvm/versions/node/v20.1.0/bin/node /srv/app/a.js"},
		{`"script": "npm", "args": "run start"`, files(map[string]FileKind{"/srv/app/npm": FileMissing, "/usr/bin/npm": "#!/usr/bin/env node"}),
			"/usr/bin/node /usr/bin/npm run start"},
		{`"script": "npm run start"`, nil, `/usr/bin/bash -c "npm run start"`},
		{`"script": "my app.js"`, files(map[string]FileKind{"/srv/app/my app.js": FileText}), `/usr/bin/node "/srv/app/my app.js"`},

		{`"script": "a.js", "args": "--a 'b c'"`, nil, `/usr/bin/node /srv/app/a.js --a "b c"`},
		{`"script": "a.js", "args": ["--a", "b c"]`, nil, `/usr/bin/node /srv/app/a.js --a "b c"`},
		{`"script": "a.js", "node_args": "--inspect=0 -r x"`, nil, `/usr/bin/node --inspect=0 -r x /srv/app/a.js`},
		{`"script": "a.js", "cwd": "sub"`, nil, `/usr/bin/node /srv/app/sub/a.js`},
		{`"script": "../a.js", "cwd": "/opt/x"`, nil, `/usr/bin/node /opt/a.js`},
		{`"script": "~/a.js"`, nil, `/usr/bin/node /home/me/a.js`},
	} {
		got, list := execStart(t, test.members, test.host)
		if got != test.want {
			t.Errorf("%s: got %s, want %s (%v)", test.members, got, test.want, list)
		}
	}
}

// An interpreter outside of systemd's PATH brings its folder along: npm and
// `env node` must find the same one.
func TestInterpreterOutsideThePath(t *testing.T) {
	o := Options{Host: exampleHost(explainSystemd)}
	o.Host.Programs["node"] = "/home/me/.nvm/versions/node/v20.1.0/bin/node"
	set, list := Compile(diag.NewSource("processes.json", []byte(`[{"name": "a", "script": "a.js"}]`)), o)
	if len(list) > 0 {
		t.Error(list)
	}
	want := "PATH=" + path.Dir(o.Host.Programs["node"]) + ":" + systemPath
	service, _ := set.Find("a.service")
	if text := string(units.Render(service)); !strings.Contains(text, want) {
		t.Errorf("%s is missing in\n%s", want, text)
	}
}
