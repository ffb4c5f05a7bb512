package translate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/diag"
	"gm/preload"
	"gm/units"
)

// What PM2 has no key for: its growing delay (constants.js), and the pause that
// gm puts before a restart when none is declared.
const (
	pauseBeforeRestart = 100 // ms
	backoffCeiling     = 15_000
	backoffGrowth      = 1.5
)

// number is the value of a key, or the default that the table gives it.
func (a *app) number(key string) float64 {
	if given := a.get(key); given.given() {
		return given.number
	}
	return defaultNumber(key)
}

func defaultNumber(key string) float64 {
	n, err := strconv.ParseFloat(fields()[index()[key]].Default, 64)
	if err != nil {
		panic("the table has no number as default of " + key)
	}
	return n
}

// listenTimeout is how long the app may take to get ready, in milliseconds;
// none is ready in 0.
func (a *app) listenTimeout() float64 {
	if timeout := a.get("listen_timeout"); timeout.given() && timeout.number == 0 {
		return defaultNumber("listen_timeout")
	}
	return a.number("listen_timeout")
}

func span(ms float64) units.Span {
	return units.Span(math.Round(ms*1000)) * units.Span(time.Microsecond)
}

// warnSeconds points at a number of milliseconds that is surely one of
// seconds: nobody means to give an app 5 ms to end.
func (l *lowering) warnSeconds(a *arg) {
	if a.given() && a.number > 0 && a.number < 100 {
		l.add(suspiciousValue, a.at, fmt.Sprintf("write %g if seconds were meant", a.number*1000),
			"%s: %g is in milliseconds", a.name, a.number)
	}
}

// lowerRestart: autorestart, stop_exit_codes, restart_delay,
// exp_backoff_restart_delay, min_uptime, max_restarts.
//
// PM2 gives an app up when max_restarts starts in a row each ended before
// min_uptime. systemd gives a unit up when it is started more than Burst times
// within Interval (systemd.unit(5), StartLimitIntervalSec=). One round of a
// failing app lasts at most min_uptime + restart_delay, so
//
//	Burst = max_restarts    Interval = max_restarts × (min_uptime + restart_delay)
//
// gives up exactly the app whose rounds are that short on average: one that
// exits at once after max_restarts starts, one that crashes once a minute never.
// With wait_ready a round can last until listen_timeout has passed and the app
// has been stopped.
func lowerRestart(l *lowering, autorestart *arg) {
	a := l.app
	minUptime, maxRestarts := a.get("min_uptime"), a.get("max_restarts")
	l.service.add("X-Gm", "MinUptime", span(a.number("min_uptime")), minUptime.at)
	codes := a.get("stop_exit_codes")
	clean := units.Words{"130", "143"} // handlers that exit by the stop signal's number
	if len(codes.list) > 0 {
		var prevent units.Words
		for _, w := range codes.list {
			if !slices.Contains(prevent, w.text) {
				prevent = append(prevent, w.text)
			}
			if !slices.Contains(clean, w.text) && w.text != "0" {
				clean = append(clean, w.text) // stopped, as PM2 calls it, not failed
			}
		}
		l.service.add("Service", "RestartPreventExitStatus", prevent, codes.at)
	}
	l.service.add("Service", "SuccessExitStatus", clean, codes.at)

	if autorestart.given() && !autorestart.flag {
		l.service.add("Service", "Restart", units.Word("no"), autorestart.at)
		l.service.add("Unit", "StartLimitIntervalSec", units.Span(0), autorestart.at)
		return
	}
	l.service.add("Service", "Restart", units.Word("always"), autorestart.at)

	restartDelay, backoff := a.get("restart_delay"), a.get("exp_backoff_restart_delay")
	l.warnSeconds(restartDelay)
	burst := max(1, a.number("max_restarts")) // Burst=0 would lift the limit
	round := a.number("min_uptime")
	if a.get("wait_ready").flag {
		// One that never gets ready ends only now.
		round = max(round, a.listenTimeout()+a.number("kill_timeout"))
	}
	if backoff.given() && backoff.number > 0 {
		waits := l.lowerBackoff(backoff, int(burst))
		if !maxRestarts.given() {
			// With growing pauses PM2's window of 16 s is over before the
			// sixteenth restart: the app is never given up.
			l.service.add("Unit", "StartLimitIntervalSec", units.Span(0), backoff.at)
			return
		}
		l.limit(burst*round+waits, burst, maxRestarts)
		return
	}
	delay := float64(pauseBeforeRestart)
	if restartDelay.given() {
		delay = restartDelay.number
	}
	l.service.add("Service", "RestartSec", span(delay), restartDelay.at)
	from := maxRestarts
	if !from.given() {
		from = minUptime
	}
	l.limit(burst*(round+delay), burst, from)
}

func (l *lowering) limit(intervalMs, burst float64, from *arg) {
	l.service.add("Unit", "StartLimitIntervalSec", span(math.Ceil(intervalMs)), from.at)
	l.service.add("Unit", "StartLimitBurst", units.Count(burst), from.at)
}

// lowerBackoff writes PM2's growing delay and returns the sum of the first n
// waits in milliseconds.
func (l *lowering) lowerBackoff(backoff *arg, n int) float64 {
	first := min(backoff.number, backoffCeiling)
	if !l.supports("Service", "RestartSteps") {
		// Neither end of the scale serves: the middle, on its own scale.
		fixed := math.Round(math.Sqrt(first * backoffCeiling))
		l.service.add("Service", "RestartSec", span(fixed), backoff.at)
		l.add(backoffApproximate, backoff.at, "use systemd 254 or later, or restart_delay",
			"systemd %d has no growing delay: restarts wait %s each", l.host.Systemd, units.Encode(span(fixed)))
		return fixed * float64(n)
	}
	l.service.add("Service", "RestartSec", span(first), backoff.at)
	if first < backoffCeiling {
		steps := int(math.Ceil(math.Log(backoffCeiling/first) / math.Log(backoffGrowth)))
		l.service.add("Service", "RestartSteps", units.Count(steps), backoff.at)
		l.service.add("Service", "RestartMaxDelaySec", span(backoffCeiling), backoff.at)
	}
	sum, wait := 0.0, first
	for range min(n, 10_000) {
		sum += wait
		wait = min(wait*backoffGrowth, backoffCeiling)
	}
	return sum
}

// lowerStop: kill_timeout, treekill. PM2 sends SIGINT, then SIGKILL.
func lowerStop(l *lowering, timeout *arg) {
	l.warnSeconds(timeout)
	l.service.add("Service", "KillSignal", units.Word("SIGINT"), timeout.at)
	// 0 would mean "wait for ever" (systemd.service(5), TimeoutStopSec=).
	l.service.add("Service", "TimeoutStopSec", span(max(l.app.number("kill_timeout"), 1)), timeout.at)
	mode, treekill := units.Word("control-group"), l.app.get("treekill")
	if treekill.given() && !treekill.flag {
		mode = "mixed" // process and none would leave children that nobody ends
	}
	l.service.add("Service", "KillMode", mode, treekill.at)
}

// lowerReady: wait_ready, listen_timeout, shutdown_with_message.
func lowerReady(l *lowering, wait *arg) {
	message := l.app.get("shutdown_with_message")
	if message.flag {
		l.preload("shutdown", message)
	}
	if !wait.flag {
		// exec: a missing program fails the start instead of passing for online.
		l.service.add("Service", "Type", units.Word("exec"), wait.at)
		return
	}
	timeout := l.app.get("listen_timeout")
	if timeout.given() && timeout.number == 0 {
		l.add(emptyValue, timeout.at, "remove the key", "listen_timeout: no app is ready in 0 ms; it is taken as absent")
	}
	l.warnSeconds(timeout)
	l.service.add("Service", "Type", units.Word("notify"), wait.at)
	l.service.add("Service", "NotifyAccess", units.Word("all"), wait.at)
	l.service.add("Service", "TimeoutStartSec", span(l.app.listenTimeout()), timeout.at)
	if l.preload("ready", wait) {
		l.setenv(variable{name: "GM_PROGRAM", value: units.Escape(l.host.Gm), from: wait.at})
	}
}

// preload has Node load gm's script and switches one of its features on. A
// shell's children may be Node; what surely is not must speak systemd's
// protocol itself.
func (l *lowering) preload(feature units.Spec, from *arg) bool {
	if kind := l.app.program.runtime; kind != runtimeNode && kind != runtimeShell {
		l.add(notNode, from.keyAt, "have the program call sd_notify(3), or remove the key",
			"%s: gm gives PM2's messages to Node apps only, and %s is not run by node", from.name, clip(l.app.name))
		return false
	}
	if features, ok := l.getenv("GM_PRELOAD"); ok {
		l.setenv(variable{name: "GM_PRELOAD", value: features + "," + feature, from: from.at})
		return true
	}
	l.setenv(variable{name: "GM_PRELOAD", value: feature, from: from.at})
	file := units.Spec(preload.System)
	if l.host.Scope == ScopeUser {
		file = "%h/" + preload.User
	}
	options := "--require=" + file
	if declared, ok := l.getenv("NODE_OPTIONS"); ok {
		options += " " + declared
	}
	l.setenv(variable{name: "NODE_OPTIONS", value: options, from: from.at})
	return true
}

// lowerMemory: max_memory_restart is a wall that the kernel holds; the restart
// is Restart=always.
func lowerMemory(l *lowering, size *arg) {
	if !size.given() {
		return
	}
	if size.number < 1<<20 {
		l.add(suspiciousValue, size.at, fmt.Sprintf("write \"%gM\" if megabytes were meant", size.number),
			"%s: %s is in bytes, less than any program needs", size.name, strconv.FormatFloat(size.number, 'f', -1, 64))
	}
	l.service.add("Service", "MemoryMax", units.Bytes(size.number), size.at)
	l.service.add("Service", "MemorySwapMax", units.Bytes(0), size.at)
	l.service.add("Service", "OOMPolicy", units.Word("kill"), size.at)
}

// systemctl is where every systemd keeps it, merged /usr or not.
const systemctl = "/bin/systemctl"

// lowerCron: a timer, and a oneshot that restarts the app: starting a running
// unit would do nothing.
func lowerCron(l *lowering, pattern *arg) {
	if !pattern.given() || cronDisabled(pattern.text) {
		return
	}
	spec, bad := parseCron(pattern.text)
	if bad != nil {
		l.add(badCron, textRange(pattern.value, bad.start, bad.end), bad.remedy, "%s %q: %s", pattern.name, clip(pattern.text), bad.cause)
		return
	}
	for _, note := range spec.notes {
		l.add(cronDiffers, pattern.at, "", "%s %q: %s", pattern.name, clip(pattern.text), note)
	}
	name := l.app.unit + "-restart"

	timer := l.companion("-restart.timer", "Restart times of", pattern.at)
	timer.add("Timer", "OnCalendar", spec.calendar, pattern.at)
	accuracy := units.Span(time.Second) // the default, 1min, would drop and shift runs
	if spec.calendar.Seconds.Len() > 1 {
		accuracy = units.Span(100 * time.Millisecond)
	}
	timer.add("Timer", "AccuracySec", accuracy, pattern.at)
	timer.add("Timer", "Unit", units.Word(name+".service"), pattern.at)
	l.follow(timer, pattern.at)
	if !l.app.autostarts() {
		timer.add("Install", "WantedBy", units.Words{l.p.target()}, pattern.at)
	}

	restart := l.companion("-restart.service", "Restart of", pattern.at)
	restart.add("Service", "Type", units.Word("oneshot"), pattern.at)
	ctl := []units.Spec{systemctl}
	if l.host.Scope == ScopeUser {
		ctl = append(ctl, "--user")
	}
	var all []units.Spec
	for i := range l.app.count {
		all = append(all, units.Escape(l.app.instance(i)))
	}
	// A stop at the moment of a tick must win: it ends this service first (After=),
	// and as long as the app is going down the restart is refused (fail). PartOf=
	// the app itself would have the restart end its own systemctl.
	stopper := l.p.target()
	if l.app.template {
		stopper = l.app.main()
	}
	restart.add("Unit", "PartOf", units.Words{stopper}, pattern.at)
	restart.add("Unit", "After", units.Words{l.app.main()}, pattern.at)
	// A tick gives a failed app a fresh start, counters included.
	if c, ok := l.command("-", pattern.at, pattern.name, slices.Concat(ctl, []units.Spec{"reset-failed"}, all)...); ok {
		restart.add("Service", "ExecStartPre", c, pattern.at)
	}
	if c, ok := l.command("", pattern.at, pattern.name, slices.Concat(ctl, []units.Spec{"--job-mode=fail", "restart"}, all)...); ok {
		restart.add("Service", "ExecStart", c, pattern.at)
	}
	restart.add("Service", "Slice", units.Word(l.p.slice(l.app.get("namespace").text)), pattern.at)
}

// lowerWatch: a companion that restarts the app when files change.
func lowerWatch(l *lowering, watch *arg) {
	ignore, delay, options := l.app.get("ignore_watch"), l.app.get("watch_delay"), l.app.get("watch_options")
	if !watch.flag {
		return
	}
	argv := l.gm("watch")
	flag := func(name string, value units.Spec) { argv = append(argv, units.Spec("--"+name), value) }
	if l.host.Scope == ScopeUser {
		argv = append(argv, "--user")
	}
	if l.app.template {
		flag("restart", units.Escape(l.app.unit+"@*.service"))
	} else {
		flag("restart", units.Escape(l.app.main()))
	}
	flag("cwd", units.Escape(l.app.cwd))
	if delay.number > 0 {
		flag("delay", units.Spec(time.Duration(span(delay.number)).String()))
	}
	for _, w := range ignore.list {
		flag("ignore", units.Escape(w.text))
	}
	if ignore.given() && len(ignore.list) == 0 {
		argv = append(argv, "--ignore-nothing") // an empty list replaces PM2's default
	}
	if options.given() {
		flag("options", units.Escape(options.value.String()))
	}
	for _, own := range l.app.ownFiles(l.host) {
		flag("never", units.Escape(own))
	}
	argv = append(argv, "--")
	for _, w := range watch.list {
		argv = append(argv, units.Escape(w.text))
	}
	if len(watch.list) == 0 {
		argv = append(argv, ".")
	}

	companion := l.companion("-watch.service", "File watch of", watch.at)
	companion.add("Service", "Type", units.Word("exec"), watch.at)
	if c, ok := l.command("", watch.at, watch.name, argv...); ok {
		companion.add("Service", "ExecStart", c, watch.at)
	}
	if dir, ok := l.path(units.Escape(l.app.cwd), watch); ok {
		companion.add("Service", "WorkingDirectory", dir, watch.at)
	}
	companion.alwaysUp(watch.at)
	companion.add("Service", "RestartSec", units.Span(time.Second), watch.at)
	companion.add("Service", "Slice", units.Word(l.p.slice(l.app.get("namespace").text)), watch.at)
	l.follow(companion, watch.at)
}

// cronDisabled reports whether a cron_restart is one of PM2's ways to say none.
func cronDisabled(text string) bool {
	spec, bad := parseCron(text)
	return bad == nil && spec.disabled
}

// textRange is the place of bytes [start, end) of a string's content, when the
// declaration holds the content as it is; else the whole value's.
func textRange(v *value, start, end int) diag.Range {
	r := v.at
	if r.Src == nil || end < start {
		return r
	}
	source := string(r.Src.Text[r.Start:r.End])
	at := strings.Index(source, v.text)
	if at < 0 || at > 1 || v.text == "" {
		return r
	}
	return r.Src.Range(int(r.Start)+at+start, int(r.Start)+at+max(end, start+1))
}
