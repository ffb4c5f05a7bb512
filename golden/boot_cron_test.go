package golden

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gm/units"
)

// bootCron sees when timers fire and what they do.
func bootCron(b *booted) {
	p := b.newProject("cron")
	p.install(`[
		{"name": "nightly", "script": "app.sh", "args": ["nightly", "exec sleep infinity"], "cron_restart": "30 4 * * *"},
		{"name": "weekday", "script": "app.sh", "args": ["weekday", "exec sleep infinity"], "cron_restart": "15 14 * * 1-5"},
		{"name": "yearly", "script": "app.sh", "args": ["yearly", "exec sleep infinity"], "cron_restart": "0 0 29 2 *"},
		{"name": "both", "script": "app.sh", "args": ["both", "exec sleep infinity"], "cron_restart": "0 12 13 * 5"},
		{"name": "tick", "script": "app.sh", "args": ["tick", "exec sleep infinity"], "cron_restart": "*/2 * * * * *"},
		{"name": "ticks", "script": "app.sh", "args": ["ticks", "exec sleep infinity"], "instances": 2, "cron_restart": "*/2 * * * * *"},
		{"name": "revived", "script": "app.sh", "args": ["revived", "[ -e revive ] && exec sleep infinity; exit 1"],
			"max_restarts": 2, "restart_delay": 10, "cron_restart": "*/2 * * * * *"},
		{"name": "idle", "script": "app.sh", "args": ["idle", "exec sleep infinity"], "autostart": false, "cron_restart": "* * * * * *"},
	]`)
	p.enable()
	p.sub("NextElapse", checkNextElapse)
	p.sub("TickRestarts", func(p *project) {
		// The first start is the project's, the second a tick's, and the third
		// comes only when the timer outlives its own restart.
		p.awaitStarts("tick", 3)
		p.awaitStarts("ticks", 2*3)
		for _, timer := range []string{"tick-restart.timer", "ticks-restart.timer"} {
			if got := p.property("ActiveState", timer); got != "active" {
				p.t.Errorf("%s is %s after a tick", timer, got)
			}
		}
	})
	p.sub("TickRevives", func(p *project) {
		p.awaitState("revived.service", "failed")
		p.write("revive", "")
		p.awaitState("revived.service", "active")
	})
	// More often than systemd's default limit of 5 starts in 10 s would let it.
	p.sub("TickStartsIdle", func(p *project) { p.awaitStarts("idle", 8) })
	p.sub("TimerFollowsApp", checkTimerFollows)
}

// bootCronStop stops a project while ticks are about to restart its apps.
func bootCronStop(b *booted) {
	p := b.newProject("ticking")
	for _, app := range []string{"late", "lates"} {
		dropIn := p.unitFile(app + "-restart.service.d/slow.conf")
		if err := os.MkdirAll(filepath.Dir(dropIn), 0o755); err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(dropIn, []byte("[Service]\nExecStartPre=/bin/sleep 0.7\n"), 0o644); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { os.RemoveAll(filepath.Dir(dropIn)) })
	}
	p.install(`[
		{"name": "late", "script": "app.sh", "args": ["late", "exec sleep infinity"], "cron_restart": "*/3 * * * * *"},
		{"name": "lates", "script": "app.sh", "args": ["lates", "exec sleep infinity"], "cron_restart": "*/3 * * * * *", "instances": 2},
	]`)
	p.enable()
	p.Wait("the ticks", func() bool {
		got := p.properties("ActiveState", "late-restart.service", "lates-restart.service")
		return got[0]["ActiveState"] == "activating" && got[1]["ActiveState"] == "activating"
	})
	p.stop()
	for _, app := range []string{"late.service", "lates@0.service", "lates@1.service"} {
		if got := p.property("ActiveState", app); got != "inactive" {
			p.t.Errorf("%s is %s after the stop of the project", app, got)
		}
	}
}

// checkTimerFollows stops and starts apps, and then all.
func checkTimerFollows(p *project) {
	for _, c := range []struct{ app, timer string }{
		{"tick.service", "tick-restart.timer"},
		{"ticks.target", "ticks-restart.timer"},
	} {
		p.Must("systemctl", "stop", c.app)
		if got := p.property("ActiveState", c.timer); got != "inactive" {
			p.t.Errorf("%s is %s after the stop of its app", c.timer, got)
		}
		p.Must("systemctl", "start", c.app)
		if got := p.property("ActiveState", c.timer); got != "active" {
			p.t.Errorf("%s is %s after the start of its app", c.timer, got)
		}
	}
	p.stop()
	for _, u := range p.set {
		if strings.HasSuffix(u.Name, ".timer") {
			if got := p.property("ActiveState", u.Name); got != "inactive" {
				p.t.Errorf("%s is %s after the stop of the project", u.Name, got)
			}
		}
	}
}

// checkNextElapse compares the timers with the first minute, from now on, that
// the expression's meaning holds for.
func checkNextElapse(p *project) {
	for _, c := range []struct {
		app  string
		hour int
		min  int
		day  func(time.Time) bool
	}{
		{"nightly", 4, 30, func(time.Time) bool { return true }},
		{"weekday", 14, 15, func(d time.Time) bool { return d.Weekday() >= time.Monday && d.Weekday() <= time.Friday }},
		{"yearly", 0, 0, func(d time.Time) bool { return d.Month() == time.February && d.Day() == 29 }},
		// A day of the month and a weekday: both must hold, as in PM2.
		{"both", 12, 0, func(d time.Time) bool { return d.Day() == 13 && d.Weekday() == time.Friday }},
	} {
		want := func() time.Time {
			now := p.now()
			at := time.Date(now.Year(), now.Month(), now.Day(), c.hour, c.min, 0, 0, now.Location())
			for !at.After(now) || !c.day(at) {
				at = at.AddDate(0, 0, 1)
			}
			return at
		}
		// The minute may pass between the two questions.
		before, got, after := want(), p.nextElapse(c.app+"-restart.timer"), want()
		if !got.Equal(before) && !got.Equal(after) {
			p.t.Errorf("%s elapses next at %v, want %v", c.app, got, before)
		}
	}
}

// now is the machine's wall clock, with its offset from UTC.
func (p *project) now() time.Time {
	p.t.Helper()
	now, err := time.Parse("2006-01-02T15:04:05-07:00", strings.TrimSpace(p.Must("date", "--iso-8601=seconds")))
	if err != nil {
		p.t.Fatal(err)
	}
	return now
}

// nextElapse asks D-Bus, since systemctl shows a time without its fraction and,
// before systemd 251, in words only.
func (p *project) nextElapse(timer string) time.Time {
	p.t.Helper()
	out := p.Must("busctl", "get-property", "org.freedesktop.systemd1", objectPath(timer),
		"org.freedesktop.systemd1.Timer", "NextElapseUSecRealtime")
	micros, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimSpace(out), "t "), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return time.UnixMicro(micros)
}

// objectPath is a unit's D-Bus path: what is no letter or digit becomes _HEX.
func objectPath(unit string) string {
	var path strings.Builder
	path.WriteString("/org/freedesktop/systemd1/unit/")
	for i := range len(unit) {
		if c := unit[i]; strings.ContainsRune("-.@_\\", rune(c)) {
			path.WriteString("_" + strconv.FormatInt(int64(c), 16))
		} else {
			path.WriteByte(c)
		}
	}
	return path.String()
}

// bootMemory sees that the limit is the declared one. That it bites is systemd's
// business, and a container of a host with cgroup v1 cannot show it.
func bootMemory(b *booted) {
	p := b.newProject("memory")
	p.install(`[
		{"name": "small", "script": "app.sh", "args": ["small", "exec sleep infinity"], "max_memory_restart": "150M"},
		{"name": "large", "script": "app.sh", "args": ["large", "exec sleep infinity"], "max_memory_restart": "1.5G", "instances": 2},
		{"name": "exact", "script": "app.sh", "args": ["exact", "exec sleep infinity"], "max_memory_restart": 123456789},
	]`)
	p.enable()
	for _, c := range []struct {
		unit string
		max  units.Bytes
	}{
		{"small.service", 150 << 20},
		{"large@1.service", 3 << 29},
		{"exact.service", 123456789},
	} {
		got := p.properties("ActiveState,MemoryMax,MemorySwapMax,OOMPolicy", c.unit)[0]
		if got["MemoryMax"] != strconv.FormatUint(uint64(c.max), 10) || got["MemorySwapMax"] != "0" || got["OOMPolicy"] != "kill" || got["ActiveState"] != "active" {
			p.t.Errorf("%s has %v, want MemoryMax=%d", c.unit, got, c.max)
		}
	}
}
