package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gm/diag"
	"gm/translate"
	"gm/units"
)

// compileSet compiles a declaration for project shop.
func compileSet(t testing.TB, text string, change ...func(o *translate.Options)) units.Set {
	t.Helper()
	o := translate.Options{Host: translate.Host{
		CPUs: 4, Systemd: 257, Scope: translate.ScopeSystem, Root: "/srv/shop", Home: "/root", Gm: "/usr/local/bin/gm",
		Programs: map[string]string{"node": "/usr/bin/node"},
	}}
	for _, c := range change {
		c(&o)
	}
	set, list := translate.Compile(diag.NewSource("processes.json", []byte(text)), o)
	if list.HasErrors() {
		t.Fatalf("the declaration does not compile: %v\n%s", list, text)
	}
	return set
}

func secretFiles(o *translate.Options) { o.SecretFiles = true }

func userScope(o *translate.Options) { o.Host.Scope = translate.ScopeUser }

func onlyApps(names ...string) func(*translate.Options) {
	return func(o *translate.Options) { o.Only = names }
}

// installedState is the state after a successful install of a set: all links are
// there, and all that should run does.
func installedState(t testing.TB, set units.Set) *State {
	t.Helper()
	s := &State{DropIns: map[string][]string{}, Units: map[string]UnitState{}, Pending: map[string]string{}, Links: Links(set)}
	for _, u := range set {
		text := units.Render(u)
		m, pristine, ok := units.Sealed(text)
		if !ok || !pristine {
			t.Fatalf("%s bears no mark", u.Name)
		}
		s.Files = append(s.Files, File{Name: u.Name, Path: "/etc/systemd/system/" + u.Name, Text: text, Mark: m})
	}
	for _, app := range Apps(set) {
		if !app.Boots {
			continue
		}
		up := slices.Concat(app.Instances, []string{app.Main, app.Target})
		for _, c := range app.Companions {
			if !isOneshot(set, c) {
				up = append(up, c)
			}
		}
		for _, unit := range up {
			setUnit(s, unit, "active")
		}
	}
	return s
}

func setUnit(s *State, unit, active string) { s.Units[unit] = UnitState{Name: unit, Active: active} }

func unlink(s *State, by, wanted string) {
	s.Links = slices.DeleteFunc(s.Links, func(l Link) bool { return l == Link{by, wanted} })
}

// editFile changes an installed file as a person would, behind gm's back.
func editFile(t testing.TB, s *State, name, old, now string) {
	t.Helper()
	for i := range s.Files {
		if f := &s.Files[i]; f.Name == name {
			text := strings.Replace(string(f.Text), old, now, 1)
			if text == string(f.Text) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			f.Text, f.Edited = []byte(text), true
			return
		}
	}
	t.Fatalf("there is no file %s", name)
}

// shownPlan is a plan without the texts, one line each app and note.
func shownPlan(p *Plan) string {
	var out strings.Builder
	for _, a := range p.Apps {
		fmt.Fprintf(&out, "%s: %s", a.App, a.Effect)
		list := func(name string, items []string) {
			if len(items) > 0 {
				fmt.Fprintf(&out, " | %s %s", name, strings.Join(items, " "))
			}
		}
		if a.Effect != Keep && len(a.Why) > 0 {
			fmt.Fprintf(&out, " (%s)", strings.Join(a.Why, "; "))
		}
		var files, links []string
		for _, f := range a.Files {
			sign := "~"
			if f.Old == nil {
				sign = "+"
			} else if f.New == nil {
				sign = "-"
			}
			files = append(files, sign+f.Name)
		}
		for _, l := range a.Links {
			sign := "+"
			if l.Remove {
				sign = "-"
			}
			links = append(links, sign+l.By+"/"+l.Wanted)
		}
		list("files", files)
		list("links", links)
		for _, wave := range a.Stop {
			list("stop", wave)
		}
		list("restart", a.Restart)
		list("start", a.Start)
		list("quiet", a.Quiet)
		list("later", a.Later)
		out.WriteByte('\n')
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&out, "note %s %s %s: %s", n.Kind, n.App, n.Unit, n.Text)
		if n.Remedy != "" {
			fmt.Fprintf(&out, " [%s]", n.Remedy)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

const (
	worker = `{"name": "worker", "script": "w.js", "env": {"INTERVAL": 5}}`
	api    = `{"name": "api", "script": "a.js"}`
	web    = `{"name": "web", "script": "web.js", "instances": 3}`
)

func declared(apps ...string) string { return `{"apps": [` + strings.Join(apps, ", ") + `]}` }

func replaced(app, old, now string) string { return strings.Replace(app, old, now, 1) }

// diffCase is one rule: from an installed declaration, and what happened to it
// since, to a new one.
type diffCase struct {
	name     string
	old, now []string // apps
	happened func(t *testing.T, s *State)
	options  DiffOptions
	compile  func(*translate.Options) // for both
	compiled func(*translate.Options) // for the new one
	want     string
}

const (
	socketApp = `{"name": "web", "script": "web.js", "instances": 2, "systemd": {"listen": [3000]}}`
	cronApp   = `{"name": "job", "script": "j.js", "autorestart": false, "cron_restart": "0 3 * * *"}`
	watched   = `{"name": "api", "script": "a.js", "watch": true, "cron_restart": "0 3 * * *"}`
	stamped   = `{"name": "web", "script": "web.js", "instances": 2, "out_file": "/var/log/web.log", "time": true}`
	sleeper   = `{"name": "api", "script": "a.js", "autostart": false}`
)

func diffCases() []diffCase {
	apps := func(list ...string) []string { return list }
	stopApp := func(_ *testing.T, s *State) {
		unlink(s, "gm-shop.target", "worker.service")
		setUnit(s, "worker.service", "inactive")
	}
	changedWorker := replaced(worker, "5", "6")
	return []diffCase{
		{name: "nothing is there", now: apps(worker, web),
			want: `
: create (new) | files +gm-shop.slice +gm-shop.target | links +multi-user.target/gm-shop.target | quiet gm-shop.target
web: create (new) | files +web.target +web@.service | links +gm-shop.target/web.target +web.target/web@0.service +web.target/web@1.service +web.target/web@2.service | start web@0.service web@1.service web@2.service | quiet web.target
worker: create (new) | files +worker.service | links +gm-shop.target/worker.service | start worker.service
`},
		{name: "companions are there from the start", now: apps(watched, replaced(watched, `"api", "script"`, `"web", "instances": 2, "script"`)),
			want: `
: create (new) | files +gm-shop.slice +gm-shop.target | links +multi-user.target/gm-shop.target | quiet gm-shop.target
api: create (new) | files +api-restart.service +api-restart.timer +api-watch.service +api.service | links +gm-shop.target/api.service | start api.service | quiet api-restart.timer api-watch.service
web: create (new) | files +web-restart.service +web-restart.timer +web-watch.service +web.target +web@.service | links +gm-shop.target/web.target +web.target/web@0.service +web.target/web@1.service | start web@0.service web@1.service | quiet web.target web-restart.timer web-watch.service
`},
		{name: "nothing changes", old: apps(worker, web), now: apps(worker, web),
			want: `
web: keep
worker: keep
`},
		{name: "one variable of one app", old: apps(worker, api), now: apps(changedWorker, api),
			want: `
api: keep
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},
		{name: "what systemd applies by itself", old: apps(worker), now: apps(replaced(worker, `"script"`, `"kill_timeout": 9000, "script"`)),
			want: `
worker: update (TimeoutStopSec=) | files ~worker.service
`},
		{name: "both kinds of changes", old: apps(worker), now: apps(replaced(changedWorker, `"script"`, `"kill_timeout": 9000, "script"`)),
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},
		{name: "a template rolls", old: apps(web), now: apps(replaced(web, `"web.js"`, `"main.js"`)),
			want: `
web: reload (ExecStart=) | files ~web@.service | restart web@0.service web@1.service web@2.service
`},
		{name: "a template at once", old: apps(web), now: apps(replaced(web, `"web.js"`, `"main.js"`)), options: DiffOptions{Now: true},
			want: `
web: restart (ExecStart=) | files ~web@.service | restart web@0.service web@1.service web@2.service
`},
		{name: "a template of which one instance runs", old: apps(web), now: apps(replaced(web, `"web.js"`, `"main.js"`)),
			happened: func(_ *testing.T, s *State) {
				setUnit(s, "web@0.service", "failed")
				setUnit(s, "web@2.service", "inactive")
			},
			want: `
web: restart (ExecStart=) | files ~web@.service | restart web@0.service web@1.service web@2.service
`},
		{name: "more instances", old: apps(web), now: apps(replaced(web, "3", "5")),
			want: `
web: scale (instances: 5 instead of 3) | files ~web.target | links +web.target/web@3.service +web.target/web@4.service | start web@3.service web@4.service
`},
		{name: "fewer instances", old: apps(web), now: apps(replaced(web, "3", "1")),
			want: `
web: scale (instances: 1 instead of 3) | files ~web.target | links -web.target/web@1.service -web.target/web@2.service | stop web@2.service web@1.service
`},
		{name: "more instances of a changed app", old: apps(web), now: apps(replaced(replaced(web, "3", "4"), "web.js", "main.js")),
			want: `
web: reload (ExecStart=; instances: 4 instead of 3) | files ~web.target ~web@.service | links +web.target/web@3.service | restart web@0.service web@1.service web@2.service | start web@3.service
`},
		{name: "more instances where the cron job names them", old: apps(replaced(web, `"script"`, `"cron_restart": "0 3 * * *", "script"`)),
			now: apps(replaced(replaced(web, `"script"`, `"cron_restart": "0 3 * * *", "script"`), `"instances": 3`, `"instances": 4`)),
			want: `
web: scale (instances: 4 instead of 3) | files ~web-restart.service ~web.target | links +web.target/web@3.service | start web@3.service
`},
		{name: "more instances with stamped logs", old: apps(stamped), now: apps(replaced(stamped, `"instances": 2`, `"instances": 3`)),
			want: `
web: restart (web-log.socket: ListenFIFO=; instances: 3 instead of 2) | files ~web-log.service ~web-log.socket ~web.target | links +web.target/web@2.service | stop web@0.service web@1.service | stop web-log.service web-log.socket | start web@0.service web@1.service web@2.service | quiet web-log.socket
`},
		{name: "a service becomes a template", old: apps(api), now: apps(replaced(api, `"script"`, `"instances": 2, "script"`)),
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: restart (api@.service instead of api.service) | files -api.service +api.target +api@.service | links +api.target/api@0.service +api.target/api@1.service -gm-shop.target/api.service +gm-shop.target/api.target | stop api.service | start api@0.service api@1.service | quiet api.target
`},
		{name: "a template becomes a service", old: apps(web), now: apps(replaced(web, `, "instances": 3`, "")),
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
web: restart (web.service instead of web@.service) | files +web.service -web.target -web@.service | links +gm-shop.target/web.service -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service -web.target/web@2.service | stop web@0.service web@1.service web@2.service | stop web.target | start web.service
`},
		{name: "an app is removed", old: apps(watched, web, worker), now: apps(worker),
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: remove (not in the declaration any more) | files -api-restart.service -api-restart.timer -api-watch.service -api.service | links -gm-shop.target/api.service | stop api-restart.timer api-watch.service | stop api.service
web: remove (not in the declaration any more) | files -web.target -web@.service | links -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service -web.target/web@2.service | stop web@0.service web@1.service web@2.service | stop web.target
worker: keep
`},
		{name: "an app with sockets is removed", old: apps(socketApp, replaced(stamped, `"web"`, `"log"`), api), now: apps(api),
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: keep
log: remove (not in the declaration any more) | files -log-log.service -log-log.socket -log.target -log@.service | links -gm-shop.target/log.target -log.target/log@0.service -log.target/log@1.service | stop log@0.service log@1.service | stop log-log.service log-log.socket log.target
web: remove (not in the declaration any more) | files -web.socket -web.target -web@.service | links -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service | stop web.socket | stop web@0.service web@1.service | stop web.target
`},
		{name: "the project is removed", old: apps(worker, replaced(api, `"script"`, `"namespace": "back", "script"`)),
			want: `
: remove (not in the declaration any more) | files -gm-shop-back.slice -gm-shop.slice -gm-shop.target | links -multi-user.target/gm-shop.target | stop gm-shop.target | stop gm-shop-back.slice gm-shop.slice
api: remove (not in the declaration any more) | files -api.service | links -gm-shop.target/api.service | stop api.service
worker: remove (not in the declaration any more) | files -worker.service | links -gm-shop.target/worker.service | stop worker.service
`},
		{name: "companions come", old: apps(api), now: apps(watched),
			want: `
api: update (api-restart.service is new; api-restart.timer is new; api-watch.service is new; Wants=) | files +api-restart.service +api-restart.timer +api-watch.service ~api.service | quiet api-restart.timer api-watch.service
`},
		{name: "companions of a template come", old: apps(web), now: apps(replaced(web, `"script"`, `"watch": true, "cron_restart": "0 3 * * *", "script"`)),
			want: `
web: update (web-restart.service is new; web-restart.timer is new; web-watch.service is new; web.target: Wants=) | files +web-restart.service +web-restart.timer +web-watch.service ~web.target | quiet web-restart.timer web-watch.service
`},
		{name: "companions go", old: apps(watched), now: apps(api),
			want: `
api: update (api-restart.service is removed; api-restart.timer is removed; api-watch.service is removed; Wants=) | files -api-restart.service -api-restart.timer -api-watch.service ~api.service | stop api-restart.timer api-watch.service
`},
		{name: "a watch changes", old: apps(watched), now: apps(replaced(watched, `true`, `["src"]`)),
			want: `
api: update (api-watch.service: ExecStart=) | files ~api-watch.service | restart api-watch.service
`},
		{name: "a timer changes", old: apps(watched), now: apps(replaced(watched, `0 3`, `0 4`)),
			want: `
api: update (api-restart.timer: OnCalendar=) | files ~api-restart.timer
`},
		{name: "a timer changes of an app that is stopped", old: apps(watched), now: apps(replaced(watched, `0 3`, `0 4`)),
			happened: func(_ *testing.T, s *State) {
				unlink(s, "gm-shop.target", "api.service")
				for _, unit := range []string{"api.service", "api-watch.service", "api-restart.timer"} {
					setUnit(s, unit, "inactive")
				}
			},
			want: `
api: update (api-restart.timer: OnCalendar=) | files ~api-restart.timer
note stopped api api.service: api was stopped and stays so [gm start api]
`},
		{name: "the format of stamped logs", old: apps(stamped), now: apps(replaced(stamped, `"time": true`, `"log_date_format": "HH:mm"`)),
			want: `
web: update (web-log.service: ExecStart=; LogDateFormat=) | files ~web-log.service ~web@.service | restart web-log.service
`},
		{name: "an address changes", old: apps(socketApp), now: apps(replaced(socketApp, "3000", "4000")),
			want: `
web: restart (Environment=GM_LISTEN; web.socket: ListenStream=) | files ~web.socket ~web@.service | stop web.socket | stop web@0.service web@1.service | start web@0.service web@1.service | quiet web.socket
`},
		{name: "a socket comes", old: apps(replaced(socketApp, `, "systemd": {"listen": [3000]}`, "")), now: apps(socketApp),
			want: `
web: restart (ExecStartPre=; Environment=GM_LISTEN; Environment=GM_PRELOAD; Environment=NODE_OPTIONS; Sockets=; web.socket is new) | files +web.socket ~web@.service | stop web@0.service web@1.service | start web@0.service web@1.service
`},
		{name: "a variable in an environment file", old: apps(worker, api), now: apps(changedWorker, api), compile: secretFiles,
			want: `
api: keep
worker: restart (worker.env: INTERVAL) | files ~worker.env | restart worker.service
`},
		{name: "variables move to an environment file", old: apps(worker), now: apps(worker), compiled: secretFiles,
			want: `
worker: restart (worker.env: INTERVAL; Environment=INTERVAL; EnvironmentFile=) | files +worker.env ~worker.service | restart worker.service
`},
		{name: "the drop-in of one instance", old: apps(replaced(web, `"script"`, `"increment_var": "P", "env": {"P": 1}, "script"`)),
			now: apps(replaced(web, `"script"`, `"increment_var": "P", "env": {"P": 1}, "script"`)),
			happened: func(t *testing.T, s *State) {
				reseal(t, s, "web@1.service.d/10-increment.conf", "P=2", "P=7")
			},
			want: `
web: reload (web@1.service.d/10-increment.conf: Environment=P) | files ~web@1.service.d/10-increment.conf | restart web@1.service
`},
		{name: "a deleted file", old: apps(worker), now: apps(worker), happened: func(_ *testing.T, s *State) {
			s.Files = slices.DeleteFunc(s.Files, func(f File) bool { return f.Name == "worker.service" })
		},
			want: `
worker: create (new) | files +worker.service | restart worker.service
`},
		{name: "a deleted file of a template", old: apps(web), now: apps(web), happened: func(_ *testing.T, s *State) {
			s.Files = slices.DeleteFunc(s.Files, func(f File) bool { return f.Name == "web@.service" })
		},
			want: `
web: reload (web@.service was missing) | files +web@.service | restart web@0.service web@1.service web@2.service
`},
		{name: "another namespace", old: apps(worker, api), now: apps(worker, replaced(api, `"script"`, `"namespace": "back", "script"`)),
			want: `
: update (gm-shop-back.slice is new) | files +gm-shop-back.slice
api: restart (Slice=) | files ~api.service | restart api.service
worker: keep
`},
		{name: "a name goes to another app", old: apps(replaced(watched, `, "cron_restart": "0 3 * * *"`, "")),
			now: apps(api, `{"name": "api-watch", "script": "b.js"}`),
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: update (Wants=) | files ~api.service
api-watch: create (new) | files ~api-watch.service | links +gm-shop.target/api-watch.service | restart api-watch.service
`},

		{name: "a failed app", old: apps(worker, api), now: apps(worker, api), happened: func(_ *testing.T, s *State) {
			s.Units["worker.service"] = UnitState{Active: "failed", Result: "exit-code"}
		},
			want: `
api: keep
worker: start (failed (exit-code)) | start worker.service
`},
		{name: "a failed instance", old: apps(web), now: apps(web), happened: func(_ *testing.T, s *State) { setUnit(s, "web@1.service", "failed") },
			want: `
web: start (web@1.service failed) | start web@1.service
`},
		{name: "a failed app that changes", old: apps(worker), now: apps(changedWorker), happened: func(_ *testing.T, s *State) { setUnit(s, "worker.service", "failed") },
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},
		{name: "a failed watch", old: apps(watched), now: apps(watched), happened: func(_ *testing.T, s *State) {
			s.Units["api-watch.service"] = UnitState{Active: "failed", Result: "exit-code"}
		},
			want: `
api: keep
note failed api api-watch.service: api-watch.service has failed (exit-code) [gm restart api]
`},
		{name: "a companion that someone stopped", old: apps(replaced(web, `"script"`, `"watch": true, "script"`)), now: apps(replaced(web, `"script"`, `"watch": true, "script"`)),
			happened: func(_ *testing.T, s *State) { setUnit(s, "web-watch.service", "inactive") },
			want: `
web: keep
`},
		{name: "a failed job", old: apps(cronApp), now: apps(cronApp), happened: func(_ *testing.T, s *State) {
			s.Units["job.service"] = UnitState{Active: "failed", Result: "exit-code"}
		},
			want: `
job: keep
note failed job job.service: job.service has failed (exit-code); its timer starts it again
`},
		{name: "a job that has ended", old: apps(cronApp), now: apps(cronApp), happened: func(_ *testing.T, s *State) { setUnit(s, "job.service", "inactive") },
			want: `
job: keep
`},
		{name: "an app that ended in peace", old: apps(worker), now: apps(worker), happened: func(_ *testing.T, s *State) { setUnit(s, "worker.service", "inactive") },
			want: `
worker: keep
`},
		{name: "an app that ended in peace and changes", old: apps(worker), now: apps(changedWorker), happened: func(_ *testing.T, s *State) { setUnit(s, "worker.service", "inactive") },
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},

		{name: "stopped on purpose", old: apps(worker), now: apps(worker), happened: stopApp,
			want: `
worker: keep
note stopped worker worker.service: worker was stopped and stays so [gm start worker]
`},
		{name: "stopped on purpose, killed", old: apps(worker), now: apps(worker), happened: func(t *testing.T, s *State) {
			stopApp(t, s)
			setUnit(s, "worker.service", "failed")
		},
			want: `
worker: keep
note stopped worker worker.service: worker was stopped and stays so [gm start worker]
`},
		{name: "stopped on purpose and changed", old: apps(worker), now: apps(changedWorker), happened: stopApp,
			want: `
worker: update (Environment=INTERVAL) | files ~worker.service
note stopped worker worker.service: worker was stopped and stays so [gm start worker]
`},
		{name: "stopped on purpose and woken", old: apps(worker), now: apps(worker), happened: stopApp, options: DiffOptions{Wake: true},
			want: `
worker: start (was stopped by hand) | links +gm-shop.target/worker.service | start worker.service
`},
		{name: "stopped on purpose and woken and changed", old: apps(worker), now: apps(changedWorker), happened: stopApp, options: DiffOptions{Wake: true},
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | links +gm-shop.target/worker.service | restart worker.service
`},
		{name: "stopped on purpose, now a template", old: apps(worker), now: apps(replaced(worker, `"script"`, `"instances": 2, "script"`)), happened: stopApp,
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
worker: update (worker@.service instead of worker.service) | files -worker.service +worker.target +worker@.service | links +worker.target/worker@0.service +worker.target/worker@1.service
note stopped worker worker.target: worker was stopped and stays so [gm start worker]
`},
		{name: "a template stopped on purpose grows", old: apps(web), now: apps(replaced(web, "3", "4")), happened: func(_ *testing.T, s *State) {
			unlink(s, "gm-shop.target", "web.target")
			for _, unit := range []string{"web.target", "web@0.service", "web@1.service", "web@2.service"} {
				setUnit(s, unit, "inactive")
			}
		},
			want: `
web: scale (instances: 4 instead of 3) | files ~web.target | links +web.target/web@3.service
note stopped web web.target: web was stopped and stays so [gm start web]
`},
		{name: "an instance stopped on purpose", old: apps(web), now: apps(replaced(web, "web.js", "main.js")), happened: func(_ *testing.T, s *State) {
			unlink(s, "web.target", "web@1.service")
			setUnit(s, "web@1.service", "inactive")
		},
			want: `
web: reload (ExecStart=) | files ~web@.service | restart web@0.service web@2.service
note stopped web web@1.service: web@1 was stopped and stays so [gm start web@1]
`},
		{name: "no link and running", old: apps(worker), now: apps(changedWorker), happened: func(_ *testing.T, s *State) {
			unlink(s, "gm-shop.target", "worker.service")
		},
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
note stopped worker worker.service: worker was stopped and stays so [gm start worker]
`},
		{name: "the project is disabled", old: apps(worker), now: apps(worker), happened: func(_ *testing.T, s *State) {
			unlink(s, "multi-user.target", "gm-shop.target")
		},
			want: `
worker: keep
note stopped  gm-shop.target: gm-shop.target is disabled: nothing of the project starts at boot [systemctl enable gm-shop.target]
`},
		{name: "the project is disabled, where there is no systemctl", old: apps(worker), now: apps(worker), options: DiffOptions{ByHand: "/home/units"},
			happened: func(_ *testing.T, s *State) { unlink(s, "multi-user.target", "gm-shop.target") },
			want: `
worker: keep
note stopped  gm-shop.target: gm-shop.target is disabled: nothing of the project starts at boot [ln -s ../gm-shop.target /home/units/multi-user.target.wants/]
`},
		{name: "edited, where there is no systemctl", old: apps(worker), now: apps(worker), options: DiffOptions{ByHand: "/home/units"},
			happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
worker: keep
note edited worker worker.service: worker.service was edited by hand; it is kept [--force overwrites it; put the change into the declaration, or into a drop-in (/home/units/worker.service.d/override.conf)]
`},
		{name: "the targets are not active", old: apps(web), now: apps(web), happened: func(_ *testing.T, s *State) {
			setUnit(s, "web.target", "inactive")
			delete(s.Units, "gm-shop.target")
		},
			want: `
: update (gm-shop.target is not active) | quiet gm-shop.target
web: update (web.target is not active) | quiet web.target
`},
		{name: "the whole project was stopped by systemctl", old: apps(web, worker), now: apps(web, worker), happened: func(_ *testing.T, s *State) { clear(s.Units) },
			want: `
web: keep
worker: keep
`},

		{name: "without autostart", now: apps(sleeper, replaced(sleeper, `"api", "script"`, `"pool", "instances": 2, "script"`)),
			want: `
: create (new) | files +gm-shop.slice +gm-shop.target | links +multi-user.target/gm-shop.target
api: create (new) | files +api.service
pool: create (new) | files +pool.target +pool@.service | links +pool.target/pool@0.service +pool.target/pool@1.service
`},
		{name: "without autostart, changed", old: apps(sleeper), now: apps(replaced(sleeper, "a.js", "b.js")),
			want: `
api: update (ExecStart=) | files ~api.service
`},
		{name: "without autostart, running, changed", old: apps(sleeper), now: apps(replaced(sleeper, "a.js", "b.js")), happened: func(_ *testing.T, s *State) { setUnit(s, "api.service", "active") },
			want: `
: update (gm-shop.target is not active) | quiet gm-shop.target
api: restart (ExecStart=) | files ~api.service | restart api.service
`},
		{name: "without autostart, running, grows", old: apps(replaced(sleeper, `"script"`, `"instances": 2, "script"`)), now: apps(replaced(sleeper, `"script"`, `"instances": 3, "script"`)),
			happened: func(_ *testing.T, s *State) {
				for _, unit := range []string{"api@0.service", "api@1.service", "api.target", "gm-shop.target"} {
					setUnit(s, unit, "active")
				}
			},
			want: `
api: scale (instances: 3 instead of 2) | files ~api.target | links +api.target/api@2.service | start api@2.service
`},
		{name: "without autostart, running, gets a watch", old: apps(sleeper), now: apps(replaced(sleeper, `"script"`, `"watch": true, "script"`)),
			happened: func(_ *testing.T, s *State) {
				setUnit(s, "api.service", "active")
				setUnit(s, "gm-shop.target", "active")
			},
			want: `
api: update (api-watch.service is new; Wants=) | files +api-watch.service ~api.service | quiet api-watch.service
`},
		{name: "autostart comes", old: apps(sleeper), now: apps(api),
			want: `
: update (gm-shop.target is not active) | quiet gm-shop.target
api: start (starts with the project) | files ~api.service | links +gm-shop.target/api.service | start api.service
`},
		{name: "autostart goes", old: apps(api), now: apps(sleeper),
			want: `
api: update (WantedBy=) | files ~api.service | links -gm-shop.target/api.service
`},
		{name: "a timer without autostart", now: apps(replaced(cronApp, `"script"`, `"autostart": false, "script"`)),
			want: `
: create (new) | files +gm-shop.slice +gm-shop.target | links +multi-user.target/gm-shop.target | quiet gm-shop.target
job: create (new) | files +job-restart.service +job-restart.timer +job.service | links +gm-shop.target/job-restart.timer | quiet job-restart.timer
`},

		{name: "links that are left over", old: apps(web), now: apps(web), happened: func(_ *testing.T, s *State) {
			s.Links = append(s.Links, Link{"web.target", "web@7.service"}, Link{"gm-shop.target", "gone.service"}, Link{"nginx.service", "web@0.service"})
			slices.SortFunc(s.Links, compareLinks)
			setUnit(s, "web@7.service", "active")
		},
			want: `
: update (gm-shop.target.wants/gone.service is left over) | links -gm-shop.target/gone.service
web: update (web.target.wants/web@7.service is left over) | links -web.target/web@7.service | stop web@7.service
`},
		{name: "an administrator's link to an app that goes", old: apps(worker, api), now: apps(api), happened: func(_ *testing.T, s *State) {
			s.Links = append(s.Links, Link{"nginx.service", "worker.service"})
		},
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: keep
worker: remove (not in the declaration any more) | files -worker.service | links -gm-shop.target/worker.service -nginx.service/worker.service | stop worker.service
`},
		{name: "an instance beyond the declared", old: apps(web), now: apps(web), happened: func(_ *testing.T, s *State) { setUnit(s, "web@7.service", "active") },
			want: `
web: keep
`},
		{name: "an instance beyond the declared of an app that goes", old: apps(web, api), now: apps(api), happened: func(_ *testing.T, s *State) { setUnit(s, "web@7.service", "active") },
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: keep
web: remove (not in the declaration any more) | files -web.target -web@.service | links -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service -web.target/web@2.service | stop web@0.service web@1.service web@2.service web@7.service | stop web.target
`},

		{name: "edited", old: apps(worker), now: apps(worker), happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
worker: keep
note edited worker worker.service: worker.service was edited by hand; it is kept [--force overwrites it; put the change into the declaration, or into a drop-in (systemctl edit worker.service)]
`},
		{name: "edited and changed", old: apps(worker), now: apps(changedWorker), happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
worker: keep
note edited worker worker.service: worker.service was edited by hand; it is kept, and what the declaration changes in it does not arrive [--force overwrites it; put the change into the declaration, or into a drop-in (systemctl edit worker.service)]
`},
		{name: "edited and forced", old: apps(worker), now: apps(changedWorker), options: DiffOptions{Force: true},
			happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
note forced worker worker.service: worker.service was edited by hand; the edit is overwritten
`},
		{name: "edited and removed", old: apps(watched, worker), now: apps(worker), happened: func(t *testing.T, s *State) { editFile(t, s, "api.service", "a.js", "b.js") },
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: keep
worker: keep
note edited api api.service: api.service was edited by hand; it is not removed, and neither is api [--force removes it]
`},
		{name: "edited and removed and forced", old: apps(watched, worker), now: apps(worker), options: DiffOptions{Force: true},
			happened: func(t *testing.T, s *State) { editFile(t, s, "api.service", "a.js", "b.js") },
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: remove (not in the declaration any more) | files -api-restart.service -api-restart.timer -api-watch.service -api.service | links -gm-shop.target/api.service | stop api-restart.timer api-watch.service | stop api.service
worker: keep
note forced api api.service: api.service was edited by hand; it is removed all the same
`},
		{name: "an edited companion goes", old: apps(watched), now: apps(api), happened: func(t *testing.T, s *State) { editFile(t, s, "api-restart.timer", "03:00", "05:00") },
			want: `
api: update (api-watch.service is removed; Wants=) | files -api-watch.service ~api.service | stop api-watch.service
note edited api api-restart.timer: api-restart.timer was edited by hand; it is not removed [--force removes it]
`},
		{name: "an edited service of an app that becomes a template", old: apps(worker), now: apps(replaced(changedWorker, `"script"`, `"instances": 2, "script"`)),
			happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
worker: keep
note edited worker worker.service: worker.service was edited by hand; it is kept, and what the declaration changes in worker does not arrive [--force replaces it]
`},
		{name: "an edited unit of the project", old: apps(worker), now: apps(worker, api), compile: userScope,
			happened: func(t *testing.T, s *State) { editFile(t, s, "gm-shop.target", "Apps of", "The apps of") },
			want: `
api: create (new) | files +api.service | links +gm-shop.target/api.service | start api.service
worker: keep
note edited  gm-shop.target: gm-shop.target was edited by hand; it is kept, and what the declaration changes in it does not arrive [--force overwrites it; put the change into the declaration, or into a drop-in (systemctl --user edit gm-shop.target)]
`},
		{name: "an edited environment file", old: apps(worker), now: apps(changedWorker), compile: secretFiles,
			happened: func(t *testing.T, s *State) { editFile(t, s, "worker.env", "INTERVAL=5", "INTERVAL=9") },
			want: `
worker: keep
note edited worker worker.env: worker.env was edited by hand; it is kept, and what the declaration changes in it does not arrive [--force overwrites it; put the change into the declaration]
`},
		{name: "an edited number of instances", old: apps(web), now: apps(web), happened: func(t *testing.T, s *State) { editFile(t, s, "web.target", "Also=web@2.service\n", "") },
			want: `
web: update (web.target.wants/web@2.service is left over) | links -web.target/web@2.service | stop web@2.service
note edited web web.target: web.target was edited by hand; it is kept [--force overwrites it; put the change into the declaration, or into a drop-in (systemctl edit web.target)]
`},
		{name: "an edited app of a project that goes", old: apps(worker, api), happened: func(t *testing.T, s *State) { editFile(t, s, "worker.service", "INTERVAL=5", "INTERVAL=9") },
			want: `
api: remove (not in the declaration any more) | files -api.service | links -gm-shop.target/api.service | stop api.service
worker: keep
note edited worker worker.service: worker.service was edited by hand; it is not removed, and neither is worker [--force removes it]
`},
		{name: "drop-ins of others", old: apps(web, api), now: apps(web), happened: func(_ *testing.T, s *State) {
			s.DropIns["web@1.service"] = []string{"/etc/systemd/system/web@1.service.d/mem.conf"}
			s.DropIns["api.service"] = []string{"/etc/systemd/system/api.service.d/a.conf", "/run/systemd/system/api.service.d/b.conf"}
		},
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: remove (not in the declaration any more) | files -api.service | links -gm-shop.target/api.service | stop api.service
web: keep
note drop-in api api.service: api.service has drop-ins that are not gm's, and they are not removed: /etc/systemd/system/api.service.d/a.conf, /run/systemd/system/api.service.d/b.conf
note drop-in web web@1.service: web@1.service has drop-ins that are not gm's, and they stay in effect: /etc/systemd/system/web@1.service.d/mem.conf
`},

		{name: "not started", now: apps(worker, web), options: DiffOptions{NoStart: true},
			want: `
: create (new) | files +gm-shop.slice +gm-shop.target | links +multi-user.target/gm-shop.target | later gm-shop.target
web: create (new) | files +web.target +web@.service | links +gm-shop.target/web.target +web.target/web@0.service +web.target/web@1.service +web.target/web@2.service | later web.target web@0.service web@1.service web@2.service
worker: create (new) | files +worker.service | links +gm-shop.target/worker.service | later worker.service
`},
		{name: "not restarted", old: apps(worker, web, api, replaced(watched, `"api"`, `"other"`)),
			now:     apps(changedWorker, replaced(web, "3", "2"), replaced(replaced(watched, `"api"`, `"other"`), `true`, `["src"]`)),
			options: DiffOptions{NoStart: true},
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: remove (not in the declaration any more) | files -api.service | links -gm-shop.target/api.service | stop api.service
other: update (other-watch.service: ExecStart=) | files ~other-watch.service | later other-watch.service
web: scale (instances: 2 instead of 3) | files ~web.target | links -web.target/web@2.service | stop web@2.service
worker: update (Environment=INTERVAL) | files ~worker.service | later worker.service
`},
		{name: "a socket is not restarted", old: apps(socketApp), now: apps(replaced(socketApp, "3000", "4000")), options: DiffOptions{NoStart: true},
			want: `
web: update (Environment=GM_LISTEN; web.socket: ListenStream=) | files ~web.socket ~web@.service | later web.socket web@0.service web@1.service
`},
		{name: "a failed app is not started", old: apps(worker), now: apps(worker), options: DiffOptions{NoStart: true}, happened: func(_ *testing.T, s *State) { setUnit(s, "worker.service", "failed") },
			want: `
worker: keep | later worker.service
`},
		{name: "an earlier run did not restart", old: apps(worker, web), now: apps(worker, web), happened: func(_ *testing.T, s *State) {
			s.Pending = map[string]string{"worker.service": "Environment=INTERVAL", "web@1.service": "", "web@2.service": ""}
		},
			want: `
web: reload (web@1.service left undone by an earlier run; web@2.service left undone by an earlier run) | restart web@1.service web@2.service
worker: restart (left undone by an earlier run (Environment=INTERVAL)) | restart worker.service
`},
		{name: "an earlier run did not start", old: apps(worker, api), now: apps(worker, api), happened: func(t *testing.T, s *State) {
			s.Pending = map[string]string{"worker.service": "new", "api.service": "new"}
			setUnit(s, "worker.service", "inactive")
			delete(s.Units, "api.service")
			unlink(s, "gm-shop.target", "api.service")
		},
			want: `
api: keep
worker: start (left undone by an earlier run (new)) | start worker.service
note stopped api api.service: api was stopped and stays so [gm start api]
`},
		{name: "an earlier run did not get to companions", old: apps(watched), now: apps(watched), happened: func(_ *testing.T, s *State) {
			s.Pending = map[string]string{"api-watch.service": "x", "api-restart.timer": "x"}
			delete(s.Units, "api-restart.timer")
		},
			want: `
api: update (api-restart.timer left undone by an earlier run (x); api-watch.service left undone by an earlier run (x)) | restart api-watch.service | quiet api-restart.timer
`},
		{name: "an earlier run did not get to a socket", old: apps(socketApp), now: apps(socketApp), happened: func(_ *testing.T, s *State) {
			s.Pending = map[string]string{"web.socket": "x"}
		},
			want: `
web: restart (web.socket left undone by an earlier run (x)) | stop web.socket | stop web@0.service web@1.service | start web@0.service web@1.service | quiet web.socket
`},

		{name: "only one app", old: apps(worker, api), now: apps(changedWorker, replaced(api, "a.js", "b.js")), options: DiffOptions{Only: []string{"worker"}},
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},
		{name: "only one app, compiled so", old: apps(worker, replaced(api, `"script"`, `"namespace": "back", "script"`)),
			now: apps(changedWorker, replaced(api, `"script"`, `"namespace": "back", "script"`)), options: DiffOptions{Only: []string{"worker"}}, compiled: onlyApps("worker"),
			want: `
worker: restart (Environment=INTERVAL) | files ~worker.service | restart worker.service
`},
		{name: "only an app that is gone", old: apps(worker, api, web), now: apps(worker), options: DiffOptions{Only: []string{"api"}},
			want: `
: update (gm-shop.target: Also=) | files ~gm-shop.target
api: remove (not in the declaration any more) | files -api.service | links -gm-shop.target/api.service | stop api.service
`},
		{name: "a restart is asked for", old: apps(worker, web, cronApp), now: apps(worker, web, cronApp), options: DiffOptions{Restart: true}, happened: func(t *testing.T, s *State) {
			stopApp(t, s)
		},
			want: `
job: restart (a restart was asked for) | restart job.service
web: reload (a restart was asked for) | restart web@0.service web@1.service web@2.service
worker: keep
note stopped worker worker.service: worker was stopped and stays so [gm start worker]
`},
	}
}

// reseal changes an installed file as an earlier version of its declaration would
// have it.
func reseal(t testing.TB, s *State, name, old, now string) {
	t.Helper()
	editFile(t, s, name, old, now)
	for i := range s.Files {
		if f := &s.Files[i]; f.Name == name {
			f.Text = units.Render(units.Seal(parseFile(*f), f.Mark.Project, f.Mark.App))
			f.Mark, _, _ = units.Sealed(f.Text)
			f.Edited = false
		}
	}
}

func (c *diffCase) sides(t *testing.T) (units.Set, *State) {
	t.Helper()
	compile := func(apps []string, change ...func(*translate.Options)) units.Set {
		if len(apps) == 0 {
			return nil
		}
		return compileSet(t, declared(apps...), slices.DeleteFunc(change, func(f func(*translate.Options)) bool { return f == nil })...)
	}
	have := installedState(t, compile(c.old, c.compile))
	if c.happened != nil {
		c.happened(t, have)
	}
	return compile(c.now, c.compile, c.compiled), have
}

func TestDiff(t *testing.T) {
	for _, c := range diffCases() {
		t.Run(c.name, func(t *testing.T) {
			want, have := c.sides(t)
			c.options.Project = "shop"
			p := Diff(want, have, c.options)
			if diff := cmp.Diff(shownPlan(p), strings.TrimPrefix(c.want, "\n")); diff != "" {
				t.Errorf("-got +want\n%s\n%s", diff, shownPlan(p))
			}
		})
	}
}

// carriedOut is the state after a plan was carried out without a failure.
func carriedOut(t *testing.T, s *State, p *Plan) *State {
	t.Helper()
	after := &State{DropIns: s.DropIns, Units: maps.Clone(s.Units), Pending: map[string]string{}}
	files := map[string]File{}
	for _, f := range s.Files {
		files[f.Name] = f
	}
	links := map[Link]bool{}
	for _, l := range s.Links {
		links[l] = true
	}
	for _, a := range p.Apps {
		for _, f := range a.Files {
			have, isThere := files[f.Name]
			if isThere != (f.Old != nil) || isThere && string(have.Text) != *f.Old {
				t.Errorf("the plan takes %s for another file than it is", f.Name)
			}
			if f.New == nil {
				delete(files, f.Name)
				continue
			}
			m, pristine, _ := units.Sealed([]byte(*f.New))
			files[f.Name] = File{Name: f.Name, Text: []byte(*f.New), Mark: m, Edited: !pristine}
		}
		for _, l := range a.Links {
			if links[l.Link] == !l.Remove {
				t.Errorf("the plan changes the link %v to what it is", l)
			}
			if links[l.Link] = true; l.Remove {
				delete(links, l.Link)
			}
		}
		for _, unit := range slices.Concat(a.Stop...) {
			delete(after.Units, unit)
		}
		for _, unit := range slices.Concat(a.Restart, a.Start, a.Quiet) {
			setUnit(after, unit, "active")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		after.Files = append(after.Files, files[name])
	}
	after.Links = slices.SortedFunc(maps.Keys(links), compareLinks)
	return after
}

// TestDiffConverges: what a plan leads to is what was wanted. A second one has
// nothing to do, and neither has one over the links that systemd would make.
func TestDiffConverges(t *testing.T) {
	for _, c := range diffCases() {
		t.Run(c.name, func(t *testing.T) {
			want, have := c.sides(t)
			c.options.Project = "shop"
			p := Diff(want, have, c.options)
			after := carriedOut(t, have, p)
			o := c.options
			o.Restart = false
			if again := Diff(want, after, o); !again.Empty() {
				t.Errorf("the first plan:\n%sa second one:\n%s", shownPlan(p), shownPlan(again))
			}
			for _, l := range after.Links {
				if _, ok := after.Set().Find(l.Wanted); !ok {
					if template, _ := templateOf(l.Wanted); !slices.ContainsFunc(after.Files, func(f File) bool { return f.Name == template }) {
						t.Errorf("the link %v leads nowhere", l)
					}
				}
			}
		})
	}
}

// TestDiffIsPure: the same input gives the same plan, which a file holds as it is,
// and the input is left alone.
func TestDiffIsPure(t *testing.T) {
	for _, c := range diffCases() {
		want, have := c.sides(t)
		c.options.Project = "shop"
		p := Diff(want, have, c.options)
		wantAgain, haveAgain := c.sides(t)
		if diff := cmp.Diff(have, haveAgain, cmpopts.IgnoreUnexported(State{}, units.Unit{})); diff != "" {
			t.Errorf("%s: the state was changed: %s", c.name, diff)
		}
		for range 5 {
			if diff := cmp.Diff(Diff(wantAgain, haveAgain, c.options), p); diff != "" {
				t.Fatalf("%s: another plan the second time: %s", c.name, diff)
			}
		}
		read, err := ReadPlan(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(read, p, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: read back, the plan is another: %s", c.name, diff)
		}
	}
}

func TestDiffSaysWhereTheDeclarationHasAnApp(t *testing.T) {
	want := compileSet(t, "{\"apps\": [\n  "+worker+",\n  "+web+"\n]}")
	p := Diff(want, &State{}, DiffOptions{Project: "shop"})
	for app, at := range map[string]string{"worker": "processes.json:2:12", "web": "processes.json:3:12", "": ""} {
		i := slices.IndexFunc(p.Apps, func(a AppPlan) bool { return a.App == app })
		if p.Apps[i].At != at {
			t.Errorf("%q is at %q, want %q", app, p.Apps[i].At, at)
		}
	}
}

func TestDiffKnowsTheApp(t *testing.T) {
	old := compileSet(t, declared(web))
	now := compileSet(t, declared(replaced(web, `"instances": 3`, `"instances": 5, "min_uptime": "9s", "wait_ready": true, "autorestart": false`)))
	got := Diff(now, installedState(t, old), DiffOptions{Project: "shop"}).Apps[0]
	if got.Before != 3 || got.After != 5 || got.MinUptime != 9*time.Second || !got.Notifies || !got.Once {
		t.Errorf("before %d, after %d, min uptime %s, notifies %v, once %v; want 3, 5, 9s, true, true",
			got.Before, got.After, got.MinUptime, got.Notifies, got.Once)
	}
}

// TestDiffTellsNoSecrets: values do not show in what is printed of a plan.
func TestDiffTellsNoSecrets(t *testing.T) {
	for _, compile := range []func(*translate.Options){func(*translate.Options) {}, secretFiles} {
		secret := replaced(worker, `"INTERVAL": 5`, `"TOKEN": "hunter2"`)
		have := installedState(t, compileSet(t, declared(secret), compile))
		p := Diff(compileSet(t, declared(replaced(secret, "hunter2", "hunter3")), compile), have, DiffOptions{Project: "shop"})
		if shown := shownPlan(p); strings.Contains(shown, "hunter") || !strings.Contains(shown, "TOKEN") {
			t.Errorf("the plan is\n%s", shown)
		}
	}
}

func TestDiffOfAnotherProjectIsLeftAlone(t *testing.T) {
	have := installedState(t, compileSet(t, declared(worker)))
	other := installedState(t, compileSet(t, declared(api), func(o *translate.Options) { o.Project = "blog" }))
	have.Files = append(have.Files, other.Files...)
	slices.SortFunc(have.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	have.Links = append(have.Links, other.Links...)
	p := Diff(compileSet(t, declared(worker)), have, DiffOptions{Project: "shop"})
	if !p.Empty() || len(p.Apps) != 1 {
		t.Errorf("the plan is\n%s", shownPlan(p))
	}
	if p.Base == have.Base("blog") || p.Base != installedState(t, compileSet(t, declared(worker))).Base("shop") {
		t.Error("the base depends on another project")
	}
}

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{500, 5000} {
		var apps []string
		for i := range n {
			apps = append(apps, fmt.Sprintf(`{"name": "app-%05d", "script": "a.js", "env": {"NODE_ENV": "production", "PORT": %d}, "max_memory_restart": "300M"}`, i, i))
		}
		declared := func(apps ...string) string { return declared(strings.Join(apps, ",\n")) }
		have := installedState(b, compileSet(b, declared(apps...)))
		same := compileSet(b, declared(apps...))
		for i := range apps {
			apps[i] = replaced(apps[i], "a.js", "b.js")
		}
		other := compileSet(b, declared(apps...))
		for name, want := range map[string]units.Set{"same": same, "other": other} {
			b.Run(fmt.Sprintf("apps=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p := Diff(want, have, DiffOptions{Project: "shop"})
					if p.Empty() != (name == "same") || len(p.Apps) != n {
						b.Fatal(p.Counts())
					}
				}
			})
		}
	}
}

// TestDiffConvergesFromAnything: whatever happened to the files, links and units of
// an install, one plan is enough.
func TestDiffConvergesFromAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	odds := func(n int) bool { return random.IntN(n) == 0 }
	declarations := [][]string{
		{worker, web, watched}, {cronApp, socketApp}, {stamped, sleeper, worker}, {replaced(worker, "5", "6"), replaced(web, "3", "2"), api},
		{replaced(web, `, "instances": 3`, ""), replaced(sleeper, `"script"`, `"instances": 2, "script"`)},
		{`{"name": "api-watch", "script": "b.js"}`, api}, {replaced(watched, `true`, `["src"]`)}, {},
	}
	var sets []units.Set
	for _, apps := range declarations {
		if len(apps) == 0 {
			sets = append(sets, nil)
			continue
		}
		sets = append(sets, compileSet(t, declared(apps...)), compileSet(t, declared(apps...), secretFiles))
	}
	for round := range 2000 {
		have := installedState(t, sets[random.IntN(len(sets))])
		have.Files = slices.DeleteFunc(have.Files, func(File) bool { return odds(12) })
		have.Links = slices.DeleteFunc(have.Links, func(Link) bool { return odds(6) })
		for i := range have.Files {
			if f := &have.Files[i]; odds(10) {
				f.Text, f.Edited = append(f.Text, "# mine\n"...), true
			}
		}
		for _, unit := range slices.Sorted(maps.Keys(have.Units)) {
			if odds(5) {
				setUnit(have, unit, []string{"inactive", "failed", "activating", "deactivating"}[random.IntN(4)])
			}
			if odds(10) {
				have.Pending[unit] = "new"
			}
		}
		want := sets[random.IntN(len(sets))]
		o := DiffOptions{Project: "shop", Force: odds(2), Now: odds(2), Wake: odds(3), NoStart: odds(5)}
		p := Diff(want, have, o)
		after := carriedOut(t, have, p)
		if again := Diff(want, after, o); !again.Empty() {
			t.Fatalf("round %d, %+v: the first plan:\n%sa second one:\n%s", round, o, shownPlan(p), shownPlan(again))
		}
		if o.NoStart {
			for _, a := range p.Apps {
				if len(a.Restart)+len(a.Start)+len(a.Quiet) > 0 {
					t.Fatalf("round %d: something is started:\n%s", round, shownPlan(p))
				}
			}
		}
	}
}
