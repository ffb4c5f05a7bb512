package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gm/translate"
	"gm/units"
)

func TestApps(t *testing.T) {
	set := compileSet(t, declared(
		`{"name": "web", "script": "web.js", "exec_mode": "cluster", "instances": 2, "namespace": "front", "min_uptime": "5s", "wait_ready": true,
			"watch": true, "cron_restart": "0 3 * * *", "out_file": "/var/log/web/web.log", "time": true}`,
		`{"name": "web-watch2", "script": "b.js", "autostart": false}`,
		`{"name": "my job", "script": "j.js", "autorestart": false, "cron_restart": "0 3 * * *", "env": {"A": 1}}`,
	), secretFiles, func(o *translate.Options) { o.Prefix = "acme-" })
	want := []App{
		{
			Name: "my job", Project: "shop", Target: "gm-shop.target", Unit: `acme-my\x20job.service`, Main: `acme-my\x20job.service`,
			Instances:  []string{`acme-my\x20job.service`},
			Companions: []string{`acme-my\x20job-restart.service`, `acme-my\x20job-restart.timer`},
			Boots:      true, Once: true, MinUptime: time.Second, Source: "/srv/shop/processes.json",
		},
		{
			Name: "web", Project: "shop", Namespace: "front", Target: "gm-shop.target", Cluster: true,
			Unit: "acme-web@.service", Group: "acme-web.target", Main: "acme-web.target",
			Instances: []string{"acme-web@0.service", "acme-web@1.service"},
			Companions: []string{"acme-web-log.service", "acme-web-log.socket", "acme-web-mkdir.service", "acme-web-restart.service",
				"acme-web-restart.timer", "acme-web-watch.service"},
			Boots: true, Notifies: true, MinUptime: 5 * time.Second, Source: "/srv/shop/processes.json",
		},
		{
			Name: "web-watch2", Project: "shop", Target: "gm-shop.target", Unit: "acme-web-watch2.service", Main: "acme-web-watch2.service",
			Instances: []string{"acme-web-watch2.service"}, MinUptime: time.Second, Source: "/srv/shop/processes.json",
		},
	}
	got := Apps(set)
	for _, a := range got {
		if a.Service.Name != a.Unit || len(a.Service.Directives) == 0 {
			t.Errorf("the service of %s is %q", a.Name, a.Service.Name)
		}
	}
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(App{}, "Service")); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
	// Installed, it is the same app.
	installed := installedState(t, set).Apps()
	if diff := cmp.Diff(installed, want, cmpopts.IgnoreFields(App{}, "Service")); diff != "" {
		t.Errorf("installed: -got +want\n%s", diff)
	}
}

// TestAppsWithoutFiles: an app of which someone deleted files is still one.
func TestAppsWithoutFiles(t *testing.T) {
	set := compileSet(t, declared(replaced(web, `"script"`, `"watch": true, "script"`), watched))
	for _, c := range []struct{ app, without, unit, group, instances string }{
		{"web", "web@.service", "web@.service", "web.target", "web@0.service web@1.service web@2.service"},
		{"web", "web.target", "web@.service", "web.target", ""},
		{"api", "api.service", "api.service", "", "api.service"},
		{"api", "api-watch.service", "api.service", "", "api.service"},
	} {
		left := slices.DeleteFunc(slices.Clone(set), func(u units.Unit) bool { return u.Name == c.without })
		apps := Apps(left)
		i := slices.IndexFunc(apps, func(a App) bool { return a.Name == c.app })
		if len(apps) != 2 || i < 0 {
			t.Errorf("without %s: %d apps", c.without, len(apps))
			continue
		}
		if a := apps[i]; a.Unit != c.unit || a.Group != c.group || strings.Join(a.Instances, " ") != c.instances {
			t.Errorf("without %s: unit %s, group %s, instances %v; want %s, %s, %s", c.without, a.Unit, a.Group, a.Instances, c.unit, c.group, c.instances)
		}
	}
}

func TestLinks(t *testing.T) {
	for _, c := range []struct {
		name    string
		apps    []string
		compile func(*translate.Options)
		want    string
	}{
		{"a service", []string{worker}, nil, "gm-shop.target/worker.service multi-user.target/gm-shop.target"},
		{"a template", []string{web}, nil,
			"gm-shop.target/web.target multi-user.target/gm-shop.target web.target/web@0.service web.target/web@1.service web.target/web@2.service"},
		{"a template with a blank in its name", []string{`{"name": "my web", "script": "web.js", "instances": 2}`}, nil,
			`gm-shop.target/my\x20web.target multi-user.target/gm-shop.target my\x20web.target/my\x20web@0.service my\x20web.target/my\x20web@1.service`},
		{"companions hang on the app", []string{watched}, nil, "gm-shop.target/api.service multi-user.target/gm-shop.target"},
		{"without autostart", []string{sleeper}, nil, "multi-user.target/gm-shop.target"},
		{"a template without autostart", []string{replaced(sleeper, `"script"`, `"instances": 2, "script"`)}, nil,
			"api.target/api@0.service api.target/api@1.service multi-user.target/gm-shop.target"},
		{"a cron job without autostart", []string{replaced(cronApp, `"script"`, `"autostart": false, "script"`)}, nil,
			"gm-shop.target/job-restart.timer multi-user.target/gm-shop.target"},
		{"a user's own", []string{worker}, userScope, "default.target/gm-shop.target gm-shop.target/worker.service"},
		{"what --only leaves out", []string{worker, web}, onlyApps("worker"), "gm-shop.target/worker.service multi-user.target/gm-shop.target"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var change []func(*translate.Options)
			if c.compile != nil {
				change = append(change, c.compile)
			}
			var got []string
			for _, l := range Links(compileSet(t, declared(c.apps...), change...)) {
				got = append(got, l.By+"/"+l.Wanted)
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("the links are\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}
