package golden

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bootRestart sees which ends of an app are followed by a start, and how many in
// a row.
func bootRestart(b *booted) {
	p := b.newProject("restart")
	p.install(`[
		{"name": "once", "script": "app.sh", "args": ["once", "exit 0"], "autorestart": false},
		{"name": "once-failing", "script": "app.sh", "args": ["once-failing", "exit 3"], "autorestart": false},
		{"name": "finished", "script": "app.sh", "args": ["finished", "exit 42"], "stop_exit_codes": [0, 42]},
		{"name": "finished-zero", "script": "app.sh", "args": ["finished-zero", "exit 0"], "stop_exit_codes": [0, 42]},
		// An exit code of 0 is no reason to stay down.
		{"name": "again", "script": "app.sh", "args": ["again", "[ $(wc -l <again.starts) -ge 3 ] && exec sleep infinity; exit 0"]},
		{"name": "loop", "script": "app.sh", "args": ["loop", "exit 1"], "max_restarts": 5, "restart_delay": 10, "min_uptime": 1000},
		{"name": "loop-default", "script": "app.sh", "args": ["loop-default", "echo x; exit 1"], "out_file": "logs/loop.log"},
		{"name": "loop-killed", "script": "app.sh", "args": ["loop-killed", "kill -SEGV $$"], "max_restarts": 3, "restart_delay": 0},
		{"name": "loop-zero", "script": "app.sh", "args": ["loop-zero", "exit 0"], "max_restarts": 2, "restart_delay": 10},
		{"name": "slow", "script": "app.sh", "args": ["slow", "sleep 0.4; exit 1"], "max_restarts": 3, "min_uptime": 100},
	]`)
	p.enable()
	for _, c := range []struct {
		unit, state, results string
		starts               int
	}{
		{"once", "inactive", "success", 1},
		{"once-failing", "failed", "exit-code", 1},
		{"finished", "inactive", "success", 1},
		{"finished-zero", "inactive", "success", 1},
		{"again", "active", "success", 3},
		// systemd before 262 keeps the result of the last run, if that failed.
		{"loop", "failed", "exit-code start-limit-hit", 5},
		{"loop-default", "failed", "exit-code start-limit-hit", 16},
		{"loop-killed", "failed", "signal start-limit-hit", 3},
		{"loop-zero", "failed", "start-limit-hit", 2},
	} {
		p.sub(c.unit, func(p *project) {
			var got map[string]string
			p.Wait(c.unit+" to be "+c.state, func() bool {
				got = p.properties("ActiveState,Result", c.unit+".service")[0]
				// A unit is inactive for a moment before its restart.
				return got["ActiveState"] == c.state && len(p.starts(c.unit)) >= c.starts
			})
			if !slices.Contains(strings.Fields(c.results), got["Result"]) {
				p.t.Errorf("Result=%s, want one of %s", got["Result"], c.results)
			}
			if n := len(p.starts(c.unit)); n != c.starts {
				p.t.Errorf("%d starts, want %d", n, c.starts)
			}
		})
	}
	p.sub("companions", func(p *project) {
		// What makes the folder of the log is started with every start of the app.
		if got := p.property("Result", "loop-default-mkdir.service"); got != "success" || p.read("logs/loop.log") != strings.Repeat("x\n", 16) {
			p.t.Errorf("loop-default-mkdir.service has Result=%s; the log is %q", got, p.read("logs/loop.log"))
		}
	})
	p.sub("slow", func(p *project) {
		if p.awaitStarts("slow", 7); p.property("ActiveState", "slow.service") == "failed" {
			p.t.Error("an app that lives longer than min_uptime was given up")
		}
	})
	for _, name := range []string{"once", "once-failing", "finished", "finished-zero"} {
		if n := len(p.starts(name)); n != 1 {
			p.t.Errorf("%s was started %d times in the end", name, n)
		}
	}
}

// bootBackoff sees the pauses before restarts: growing where systemd can do
// that (254), else the geometric mean of the first and the last.
func bootBackoff(b *booted) {
	p := b.newProject("backoff")
	p.install(`[{"name": "backoff", "script": "app.sh", "args": ["backoff", "exit 1"], "exp_backoff_restart_delay": 100}]`)
	p.enable()
	if p.Version() >= 254 {
		gaps := gapsOf(p.awaitStarts("backoff", 8))
		least := 0.1
		for i, gap := range gaps {
			if gap < least {
				p.t.Errorf("gaps of %.2f s, number %d is to be %.2f s at least", gaps, i+1, least)
			}
			least *= 1.45 // close to PM2's 1.5: the steps end at 15 s
		}
		// systemd may be a quarter of a second late.
		if gaps[0] > gaps[len(gaps)-1]/2 {
			p.t.Errorf("gaps of %.2f s do not grow", gaps)
		}
		return
	}
	for _, gap := range gapsOf(p.awaitStarts("backoff", 3)) {
		if gap < 1.22 || gap > 3 {
			p.t.Errorf("a gap of %.2f s, want 1.22 s", gap)
		}
	}
}

func gapsOf(starts []start) (gaps []float64) {
	for i := range starts[1:] {
		gaps = append(gaps, starts[i+1].at-starts[i].at)
	}
	return gaps
}

func seconds(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
