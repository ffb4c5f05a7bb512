package golden

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"gm/units"
)

// signalled notes in NAME.signal which signal ended it.
const signalled = `{"name": "%s", "script": "app.sh", "args": ["%[1]s", "for s in INT USR1; do trap \"echo $s >%[1]s.signal; exit\" $s; done; while :; do sleep 0.1; done"]%s}`

// bootLive changes directives that the table calls live under running apps: after
// a daemon-reload they hold for the same processes.
func bootLive(b *booted) {
	p := b.newProject("live")
	app := func(members string) string { return "[" + fmt.Sprintf(signalled, "live", members) + "]" }
	p.install(app(`, "kill_timeout": 20000`))
	p.enable()
	p.awaitStarts("live", 1)
	before := p.set
	pid := p.property("MainPID", "live.service")
	p.install(app(`, "kill_timeout": 30000, "restart_delay": 4000, "stop_exit_codes": [7], "min_uptime": "5s",
		"systemd": {"service": {"KillSignal": "SIGUSR1", "RestartKillSignal": "SIGUSR1"}, "unit": {"Documentation": "https://example.org/live"}}`))
	keys := checkLive(p, before)
	for _, key := range []string{"KillSignal", "TimeoutStopSec", "RestartSec", "RestartPreventExitStatus", "StartLimitIntervalSec", "MinUptime"} {
		if !slices.Contains(keys, key) {
			p.t.Errorf("the declarations do not differ in %s=", key)
		}
	}
	got := p.properties("MainPID,KillSignal,TimeoutStopUSec,RestartUSec,Documentation,NeedDaemonReload", "live.service")[0]
	want := map[string]string{
		"MainPID": pid, "KillSignal": "10", "TimeoutStopUSec": "30s", "RestartUSec": "4s",
		"Documentation": "https://example.org/live", "NeedDaemonReload": "no",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		p.t.Errorf("after the reload (-got +want):\n%s", diff)
	}
	p.Must("systemctl", "stop", "live.service")
	p.awaitText("live.signal", "USR1\n")

	// Restart=: the app that runs is one to be started again, and then is not.
	p.Must("systemctl", "start", "live.service")
	p.awaitStarts("live", 2)
	before = p.set
	p.install(app(`, "autorestart": false`))
	if keys := checkLive(p, before); !slices.Contains(keys, "Restart") {
		p.t.Errorf("the declarations do not differ in Restart=")
	}
	p.Must("systemctl", "kill", "--kill-who=main", "--signal=KILL", "live.service")
	p.awaitState("live.service", "failed")
}

// checkLive demands that the project's units differ from those before in live
// directives alone, and returns which.
func checkLive(p *project, before units.Set) (keys []string) {
	p.t.Helper()
	for _, u := range p.set {
		old, ok := before.Find(u.Name)
		if !ok {
			p.t.Fatalf("%s is new", u.Name)
		}
		differ := func(list, other []units.Directive) {
			for _, d := range list {
				same := func(o units.Directive) bool {
					return o.Section == d.Section && o.Key == d.Key && units.Encode(o.Value) == units.Encode(d.Value)
				}
				if slices.ContainsFunc(other, same) {
					continue
				}
				keys = append(keys, d.Key)
				if rule, ok := units.Lookup(d.Section, d.Key); !ok || !rule.Live {
					p.t.Errorf("%s: %s= is not live", u.Name, d.Key)
				}
			}
		}
		differ(u.Directives, old.Directives)
		differ(old.Directives, u.Directives)
	}
	return keys
}

// bootLiveTimer changes the times of a timer that is active.
func bootLiveTimer(b *booted) {
	p := b.newProject("live-timer")
	install := func(at time.Time) {
		p.install(fmt.Sprintf(`[{"name": "job", "script": "app.sh", "args": ["job", "exec sleep infinity"], "cron_restart": "%d %d * * *"}]`,
			at.Minute(), at.Hour()))
	}
	first := p.now().Truncate(time.Minute).Add(6 * time.Hour)
	install(first)
	p.enable()
	p.awaitStarts("job", 1)
	pid, before := p.property("MainPID", "job.service"), p.set
	second := first.Add(time.Hour)
	install(second)
	if keys := checkLive(p, before); !slices.Contains(keys, "OnCalendar") {
		p.t.Errorf("the declarations do not differ in OnCalendar=")
	}
	if got := p.nextElapse("job-restart.timer"); !got.Equal(second) {
		p.t.Errorf("the timer elapses next at %v, want %v", got, second)
	}
	if got := p.property("MainPID", "job.service"); got != pid {
		p.t.Errorf("the app's process is %s, and was %s", got, pid)
	}
}
