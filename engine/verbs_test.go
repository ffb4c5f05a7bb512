package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"gm/units"
)

// verbApps have all that an app can have.
const verbApps = `[
	{"name": "web", "script": "ok.js", "instances": 3, "watch": true},
	{"name": "api", "script": "ok.js", "cron_restart": "0 5 * * *", "namespace": "back", "env": {"A": "1"}},
	{"name": "lazy", "script": "ok.js", "autostart": false, "cron_restart": "0 6 * * *"}]`

// stopApp makes a state one in which an app was stopped.
func stopApp(s *State, name string) {
	for _, app := range s.Apps() {
		if app.Name == name {
			unlink(s, app.Target, app.Main)
			for _, unit := range append(slices.Concat(app.Instances, app.Companions), app.Main) {
				delete(s.Units, unit)
			}
		}
	}
}

func TestVerbs(t *testing.T) {
	set := compileSet(t, verbApps, secretFiles)
	for _, c := range []struct {
		name     string
		happened func(s *State)
		verb     func(*State, []Selection) *Plan
		choose   string
		want     string
	}{
		{name: "start of what runs", verb: PlanStart, choose: "web api", want: `
			api: keep
			web: keep`},
		{name: "start of what was stopped", happened: func(s *State) { stopApp(s, "web") }, verb: PlanStart, choose: "web", want: `
			web: start (started by hand) | links +gm-shop.target/web.target | start web@0.service web@1.service web@2.service | quiet web-watch.service web.target`},
		{name: "start of what failed, its timer too", happened: func(s *State) { setUnit(s, "api.service", "failed"); setUnit(s, "api-restart.timer", "failed") },
			verb: PlanStart, choose: "api", want: `
			api: start (started by hand) | start api.service | quiet api-restart.timer`},
		{name: "start of an instance", happened: func(s *State) { unlink(s, "web.target", "web@1.service"); delete(s.Units, "web@1.service") },
			verb: PlanStart, choose: "web@1", want: `
			web: start (started by hand) | links +web.target/web@1.service | start web@1.service`},
		{name: "start of an instance of a stopped app", happened: func(s *State) { stopApp(s, "web") }, verb: PlanStart, choose: "web@1", want: `
			web: start (started by hand) | links +gm-shop.target/web.target -web.target/web@0.service -web.target/web@2.service | start web@1.service | quiet web-watch.service web.target`},
		{name: "start without autostart", verb: PlanStart, choose: "lazy", want: `
			lazy: start (started by hand) | start lazy.service`},
		{name: "start in a disabled project that does not run", happened: func(s *State) {
			unlink(s, "multi-user.target", "gm-shop.target")
			delete(s.Units, "gm-shop.target")
		}, verb: PlanStart, choose: "web", want: `
			: update | links +multi-user.target/gm-shop.target | quiet gm-shop.target
			web: keep`},

		{name: "stop", verb: PlanStop, choose: "web api", want: `
			api: stop (stopped by hand) | links -gm-shop.target/api.service | stop api-restart.timer | stop api.service
			web: stop (stopped by hand) | links -gm-shop.target/web.target | stop web-watch.service | stop web@2.service web@1.service web@0.service | stop web.target`},
		{name: "stop of an instance", verb: PlanStop, choose: "web@1", want: `
			web: stop (stopped by hand) | links -web.target/web@1.service | stop web@1.service`},
		{name: "stop of what was stopped", happened: func(s *State) { stopApp(s, "web") }, verb: PlanStop, choose: "web", want: `
			web: keep`},
		{name: "stop of what failed", happened: func(s *State) { setUnit(s, "api.service", "failed") }, verb: PlanStop, choose: "api", want: `
			api: stop (stopped by hand) | links -gm-shop.target/api.service | stop api-restart.timer | stop api.service`},
		{name: "stop of what was started by hand", happened: func(s *State) { setUnit(s, "web@7.service", "active"); setUnit(s, "webby@0.service", "active") },
			verb: PlanStop, choose: "web", want: `
			web: stop (stopped by hand) | links -gm-shop.target/web.target | stop web-watch.service | stop web@7.service web@2.service web@1.service web@0.service | stop web.target`},
		{name: "stop leaves links of the administrator", happened: func(s *State) { s.Links = append(s.Links, Link{"mine.target", "api.service"}) },
			verb: PlanStop, choose: "api", want: `
			api: stop (stopped by hand) | links -gm-shop.target/api.service | stop api-restart.timer | stop api.service`},

		{name: "restart", happened: func(s *State) { stopApp(s, "api") }, verb: PlanRestart, choose: "web api", want: `
			api: restart (restarted by hand) | links +gm-shop.target/api.service | restart api.service | quiet api-restart.timer
			web: restart (restarted by hand) | restart web@0.service web@1.service web@2.service`},
		{name: "reload", verb: PlanReload, choose: "web", want: `
			web: reload (reloaded by hand) | restart web@0.service web@1.service web@2.service`},
		{name: "reload leaves a stopped instance", happened: func(s *State) { unlink(s, "web.target", "web@1.service"); delete(s.Units, "web@1.service") },
			verb: PlanReload, choose: "web", want: `
			web: reload (reloaded by hand) | restart web@0.service web@2.service`},
		{name: "reload starts a failed instance", happened: func(s *State) { setUnit(s, "web@1.service", "failed") }, verb: PlanReload, choose: "web", want: `
			web: reload (reloaded by hand) | restart web@0.service web@2.service | start web@1.service`},
		{name: "reload of what was stopped", happened: func(s *State) { stopApp(s, "web") }, verb: PlanReload, choose: "web", want: `
			web: start (reloaded by hand) | links +gm-shop.target/web.target | start web@0.service web@1.service web@2.service | quiet web-watch.service web.target`},

		{name: "delete", verb: PlanDelete, choose: "api", want: `
			: update (apps were removed by hand) | files -gm-shop-back.slice ~gm-shop.target
			api: remove (removed by hand) | files -api-restart.service -api-restart.timer -api.env -api.service | links -gm-shop.target/api.service | stop api-restart.timer | stop api.service`},
		{name: "delete of an instance", verb: PlanDelete, choose: "web@1", want: `
			web: scale (removed by hand) | files ~web.target | links -web.target/web@1.service | stop web@1.service`},
		{name: "delete of all instances", verb: PlanDelete, choose: "web@0 web@1 web@2", want: `
			: update (apps were removed by hand) | files ~gm-shop.target
			web: remove (removed by hand) | files -web-watch.service -web.target -web@.service | links -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service -web.target/web@2.service | stop web-watch.service | stop web@2.service web@1.service web@0.service | stop web.target`},
		{name: "delete with an edited target", happened: func(s *State) { editFile(t, s, "gm-shop.target", "Apps of shop", "My apps") }, verb: PlanDelete, choose: "lazy", want: `
			lazy: remove (removed by hand) | files -lazy-restart.service -lazy-restart.timer -lazy.service | links -gm-shop.target/lazy-restart.timer | stop lazy-restart.timer
			note edited  gm-shop.target: gm-shop.target was edited by hand; it is kept [take what is not there any more out of its Also=]`},
		{name: "delete of all", verb: PlanDelete, choose: "all", want: `
			: remove (apps were removed by hand) | files -gm-shop-back.slice -gm-shop.slice -gm-shop.target | links -multi-user.target/gm-shop.target | stop gm-shop.target
			api: remove (removed by hand) | files -api-restart.service -api-restart.timer -api.env -api.service | links -gm-shop.target/api.service | stop api-restart.timer | stop api.service
			lazy: remove (removed by hand) | files -lazy-restart.service -lazy-restart.timer -lazy.service | links -gm-shop.target/lazy-restart.timer | stop lazy-restart.timer
			web: remove (removed by hand) | files -web-watch.service -web.target -web@.service | links -gm-shop.target/web.target -web.target/web@0.service -web.target/web@1.service -web.target/web@2.service | stop web-watch.service | stop web@2.service web@1.service web@0.service | stop web.target`},
	} {
		t.Run(c.name, func(t *testing.T) {
			have := installedState(t, set)
			setUnit(have, "lazy-restart.timer", "active")
			if c.happened != nil {
				c.happened(have)
			}
			sel, err := Select(have.Apps(), strings.Fields(c.choose))
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(strings.TrimPrefix(c.want, "\n"), "\t", "") + "\n"
			if diff := cmp.Diff(want, shownPlan(c.verb(have, sel))); diff != "" {
				t.Errorf("the plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanScale(t *testing.T) {
	const counted = `[{"name": "web", "script": "ok.js", "instances": 2, "increment_var": "PORT", "env": {"PORT": 3000, "T": "x"}}, {"name": "one", "script": "ok.js"}]`
	const logged = `[{"name": "web", "script": "ok.js", "instances": 2, "time": true, "out_file": "o.log"}]`
	for _, c := range []struct {
		name, apps, app string
		count           int
		happened        func(s *State)
		want            string // of a plan
		err             string
	}{
		{name: "up", apps: counted, app: "web", count: 4, want: `
			web: scale (2 to 4 instances) | files ~web.target +web@2.service.d/10-increment.conf +web@3.service.d/10-increment.conf | links +web.target/web@2.service +web.target/web@3.service | start web@2.service web@3.service`},
		{name: "down", apps: counted, app: "web", count: 1, want: `
			web: scale (2 to 1 instances) | files ~web.target -web@1.service.d/10-increment.conf | links -web.target/web@1.service | stop web@1.service`},
		{name: "the same", apps: counted, app: "web", count: 2, want: `
			web: keep`},
		{name: "of a stopped app", apps: counted, app: "web", count: 3, happened: func(s *State) { stopApp(s, "web") }, want: `
			web: scale (2 to 3 instances) | files ~web.target +web@2.service.d/10-increment.conf | links +web.target/web@2.service
			note stopped web web.target: web is stopped, and so are its new instances [gm start web]`},
		{name: "to none", apps: counted, app: "web", count: 0, err: "cannot scale web: 0 instances are none"},
		{name: "a single service", apps: counted, app: "one", count: 2, err: "cannot scale one: it is one service, not a template"},
		{name: "an edited target", apps: counted, app: "web", count: 3, happened: func(s *State) { editFile(t, s, "web.target", "web (shop)", "My web") },
			err: "cannot scale web: web.target was edited by hand"},
		{name: "numbers that make no row", apps: counted, app: "web", count: 3, happened: func(s *State) { editFile(t, s, "web@1.service.d/10-increment.conf", "3001", "3100") },
			err: "cannot scale web: how web@1.service.d/10-increment.conf is continued for further instances is not clear"},
		{name: "a pipe for each instance", apps: logged, app: "web", count: 3, err: "cannot scale web: its log writer has a pipe for each instance"},
		{name: "fewer pipes", apps: logged, app: "web", count: 1, want: `
			web: scale (2 to 1 instances) | files ~web.target | links -web.target/web@1.service | stop web@1.service`},
	} {
		t.Run(c.name, func(t *testing.T) {
			have := installedState(t, compileSet(t, c.apps, secretFiles))
			if c.happened != nil {
				c.happened(have)
			}
			sel, err := Select(have.Apps(), []string{c.app})
			if err != nil {
				t.Fatal(err)
			}
			p, err := PlanScale(have, sel[0].App, c.count)
			if err != nil {
				var cannot *CannotScale
				if err.Error() != c.err || !errors.As(err, &cannot) || cannot.Remedy == "" {
					t.Errorf("the error is %v; %s and a remedy are expected", err, c.err)
				}
				return
			}
			want := strings.ReplaceAll(strings.TrimPrefix(c.want, "\n"), "\t", "") + "\n"
			if diff := cmp.Diff(want, shownPlan(p)); diff != "" {
				t.Errorf("the plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestScaleIsDeclaration: what is scaled by hand has the very files of a
// declaration with that number.
func TestScaleIsDeclaration(t *testing.T) {
	apps := func(n string) string {
		return `[{"name": "my web", "script": "ok.js", "instances": ` + n + `, "increment_var": "PORT", "env": {"PORT": 3000}}, {"name": "one", "script": "ok.js"}]`
	}
	for _, numbers := range [][2]string{{"2", "5"}, {"5", "2"}} {
		from, to := compileSet(t, apps(numbers[0])), compileSet(t, apps(numbers[1]))
		synctest.Test(t, func(t *testing.T) {
			f := installed(t, from)
			have := carry(t, f, func(have *State, sel []Selection) *Plan {
				p, err := PlanScale(have, sel[0].App, len(mustApp(t, installedState(t, to), "my web").Instances))
				if err != nil {
					t.Fatal(err)
				}
				return p
			}, "my web")
			if d := Diff(to, have, DiffOptions{Project: "shop"}); !d.Empty() {
				t.Errorf("from %s to %s by hand is not the declaration:\n%s", numbers[0], numbers[1], shownPlan(d))
			}
		})
	}
}

func mustApp(t *testing.T, s *State, name string) App {
	t.Helper()
	sel, err := Select(s.Apps(), []string{name})
	if err != nil {
		t.Fatal(err)
	}
	return sel[0].App
}

// carry carries out a verb and returns what is there then.
func carry(t *testing.T, f *fake, plan func(*State, []Selection) *Plan, choose ...string) *State {
	t.Helper()
	look := func() *State {
		have, err := Observe(t.Context(), f, "shop", Brief)
		if err != nil {
			t.Fatal(err)
		}
		return have
	}
	have := look()
	sel, err := Select(have.Apps(), choose)
	if err != nil {
		t.Fatal(err)
	}
	if err := Apply(t.Context(), f, memory{}, plan(have, sel), ApplyOptions{Have: have, KeepFailed: true}); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, f)
	return look()
}

// TestVerbsOnMachine: stopped apps stay so over an install, and what starts them
// again brings everything back.
func TestVerbsOnMachine(t *testing.T) {
	set := compileSet(t, verbApps, secretFiles)
	synctest.Test(t, func(t *testing.T) {
		f := installed(t, set)
		was := f.picture(t)
		carry(t, f, PlanStop, "web@1", "api")
		stopped := f.picture(t)
		for _, unit := range []string{"web@1.service", "api.service", "api-restart.timer"} {
			if _, runs := stopped[unit]; runs {
				t.Errorf("%s runs", unit)
			}
		}
		if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		same(t, f.picture(t), stopped)
		carry(t, f, PlanStart, "web", "api")
		same(t, f.picture(t), was)

		f.calls = nil
		carry(t, f, PlanReload, "web")
		carry(t, f, PlanRestart, "api")
		same(t, f.picture(t), was)
		if f.reloads > 2 || len(f.called("reload")) > 0 {
			t.Errorf("the engine is to read files that did not change: %v", f.calls)
		}

		carry(t, f, PlanDelete, "api")
		if d := Diff(set, carry(t, f, PlanStart, "web"), DiffOptions{Project: "shop"}); d.Counts()[Create] != 1 {
			t.Errorf("after a delete the declaration brings\n%s", shownPlan(d))
		}
		if err := f.install(t.Context(), t, memory{}, set, ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
		same(t, f.picture(t), was)

		carry(t, f, func(have *State, _ []Selection) *Plan { return PlanUninstall(have, "shop") })
		same(t, f.picture(t), map[string]string{})
		for unit, u := range f.units {
			if u.state.Active != "inactive" {
				t.Errorf("%s is %s", unit, u.state.Active)
			}
		}
	})
}

// TestUninstallWithoutApps: the last app may have left the declaration.
func TestUninstallWithoutApps(t *testing.T) {
	set := compileSet(t, `{"apps": []}`)
	want := ": remove (apps were removed by hand) | files -gm-shop.slice -gm-shop.target | links -multi-user.target/gm-shop.target\n"
	if diff := cmp.Diff(want, shownPlan(PlanUninstall(installedState(t, set), "shop"))); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
}

// TestUninstallWithoutFiles: units of which someone deleted the files run on until
// they are stopped.
func TestUninstallWithoutFiles(t *testing.T) {
	set := compileSet(t, verbApps, secretFiles)
	left := slices.DeleteFunc(slices.Clone(set), func(u units.Unit) bool { m, _ := u.Mark(); return m.App == "api" })
	have := installedState(t, left)
	have.Links = append(have.Links, Link{"gm-shop.target", "api.service"}, Link{"gm-shop.target", "theirs.service"})
	have.Units["api.service"] = UnitState{Name: "api.service", Load: "not-found", Active: "active"}
	have.Units["theirs.service"] = UnitState{Name: "theirs.service", Load: "loaded", Active: "active"}
	p := PlanUninstall(have, "shop")
	if p.Apps[0].App != "" || !slices.Contains(slices.Concat(p.Apps[0].Stop...), "api.service") {
		t.Errorf("api.service runs on:\n%s", shownPlan(p))
	}
	if slices.Contains(slices.Concat(p.Apps[0].Stop...), "theirs.service") {
		t.Errorf("theirs.service is stopped:\n%s", shownPlan(p))
	}
	if err := p.check(newFake(t), have); err != nil {
		t.Error(err)
	}
}

// TestVerbsOnAnything: what someone left of a project is no reason to panic.
func TestVerbsOnAnything(t *testing.T) {
	set := compileSet(t, verbApps, secretFiles)
	for i := range set {
		have := installedState(t, slices.Delete(slices.Clone(set), i, i+1))
		sel, err := Select(have.Apps(), []string{"all"})
		if err != nil {
			t.Fatal(err)
		}
		for _, plan := range []func(*State, []Selection) *Plan{PlanStart, PlanStop, PlanRestart, PlanReload, PlanDelete} {
			plan(have, sel)
			plan(&State{}, sel)
		}
		for _, s := range sel {
			_, _ = PlanScale(have, s.App, 5)
			_, _ = PlanScale(&State{}, s.App, 5)
		}
		PlanUninstall(have, "shop")
		PlanUninstall(have, "nothing")
	}
	if p := PlanStart(&State{}, nil); !p.Empty() {
		t.Error("nothing chosen changes something")
	}
}

// TestStopOfNeededApp: who stops what another app starts with itself is told so.
func TestStopOfNeededApp(t *testing.T) {
	set := compileSet(t, `[
		{"name": "db", "script": "ok.js"},
		{"name": "cache", "script": "ok.js", "instances": 2},
		{"name": "web", "script": "ok.js", "instances": 2, "systemd": {"depends_on": ["db", "cache"]}},
		{"name": "off", "script": "ok.js", "autostart": false, "systemd": {"depends_on": "db"}}]`)
	for _, c := range []struct{ choose, want string }{
		{"db", "db: web depends on db, and starts it whenever it starts itself, at boot as well"},
		{"cache", "cache: web depends on cache, and starts it whenever it starts itself, at boot as well"},
		{"cache@1", ""},
		{"db web", ""},
		{"web", ""},
	} {
		have := installedState(t, set)
		sel, err := Select(have.Apps(), strings.Fields(c.choose))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range PlanStop(have, sel).Notes {
			got = append(got, n.App+": "+n.Text)
		}
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("stop %s: %s, want %s", c.choose, text, c.want)
		}
	}
}
