package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestChaos has 200 processes of apps run while children and the supervisor are killed
// and stopped, the disk of the logs is full at times, and gm's verbs are called. At the
// end each app that should run runs once, nothing else does, and no line lacks.
//
// The wall clock stays as it is: it belongs to the whole host.
//
// GM_CHAOS=60s sets how long, GM_CHAOS_SEED=… what happens.
func TestChaos(t *testing.T) {
	duration := 15 * time.Second
	if text := os.Getenv("GM_CHAOS"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GM_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("GM_CHAOS=%v GM_CHAOS_SEED=%d", duration, seed)
	c := newChaos(t)
	before := c.rest(t)

	for i := range chaosProjects {
		c.projects = append(c.projects, c.newProject(t, fmt.Sprintf("c%d", i), rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	var wait sync.WaitGroup
	for _, p := range c.projects {
		wait.Go(func() { p.try("install", "gm", "install") })
	}
	wait.Wait()
	c.settle(t)

	over := time.Now().Add(duration)
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 100+n)) }
	for _, p := range c.projects {
		wait.Go(func() { p.live(over) })
	}
	wait.Go(func() { c.troubleChildren(random(0), over) })
	wait.Go(func() { c.troubleSupervisor(random(1), over) })
	wait.Go(func() { c.troubleDisk(random(2), over) })
	wait.Wait()
	for _, k := range c.tasks(t) {
		k.signal(syscall.SIGCONT)
	}
	t.Logf("killed %d processes of apps, stopped %d for a while; killed the supervisor %d times, stopped it %d times; %d calls of gm, %d of which were called again",
		c.killed.Load(), c.paused.Load(), c.deposed.Load(), c.frozen.Load(), c.calls.Load(), c.failures.Load())
	c.settle(t)

	// They end as they wish to, and say how many lines they wrote.
	for _, p := range c.projects {
		p.try("stop", "gm", "stop", "/^"+p.name+"-/")
	}
	c.checkLogs(t)
	for _, p := range c.projects {
		p.try("uninstall", "gm", "uninstall", p.name)
	}
	c.checkRest(t, before)
	c.must(t, "gm", "kill")
	c.await(t, "nothing is left after gm kill", func() (left []string) {
		for _, k := range c.tasks(t) {
			left = append(left, k.String())
		}
		return left
	})
	c.checkRaces(t)
}

const (
	chaosProjects = 4
	chaosSingles  = 44 // apps of a project
	chaosClusters = 3  // of two instances at first
	chaosDeposed  = 20 // how often the supervisor is killed
)

// chaos is a nest in which all goes wrong.
type chaos struct {
	nest
	t        *testing.T
	projects []*chaosProject

	killed, paused, deposed, frozen, calls, failures atomic.Int32
	// races are the reports of the race detector.
	races struct {
		sync.Mutex
		text []string
	}
}

// newChaos makes a machine with gm and the app in it, and a disk of its own for logs.
func newChaos(t *testing.T) *chaos {
	n := newNest(t, nestOptions{mounts: []string{"-t tmpfs -o size=48m,mode=700 tmpfs $GM_HOME/logs"}})
	build(t, n.path("bin/chaos"), "./engine/enginetest/testdata/chaos")
	if raceDetector {
		cmd := exec.Command("go", "build", "-race", "-buildvcs=false", "-o", n.path("bin/gm"), "./cmd/gm")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cannot build gm with the race detector: %v\n%s", err, out)
		}
	}
	return &chaos{nest: n, t: t}
}

// gm runs a command that may fail.
func (c *chaos) gm(dir string, argv ...string) Output {
	ctx, cancel := context.WithTimeout(c.t.Context(), deadline)
	defer cancel()
	c.calls.Add(1)
	out := c.Run(ctx, dir, argv...)
	if strings.Contains(out.Stderr, "DATA RACE") {
		c.races.Lock()
		defer c.races.Unlock()
		c.races.text = append(c.races.text, fmt.Sprintf("%v: %s", argv, out.Stderr))
	}
	return out
}

func (c *chaos) must(t *testing.T, argv ...string) string {
	t.Helper()
	out := c.gm("/", argv...)
	if out.Code != 0 {
		t.Fatalf("%v: %v", argv, out)
	}
	return out.Stdout
}

// await polls until there are no problems left, and fails the test with those that are.
func (c *chaos) await(t *testing.T, what string, problems func() []string) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		left := problems()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d problems after %v:\n%s", what, len(left), deadline, strings.Join(left[:min(len(left), 40)], "\n"))
		}
	}
}

// rest is what a supervisor holds that runs nothing.
type rest struct {
	descriptors, goroutines, threads int
	memory                           int64
}

// rest has something run for a moment, so that all is there that is made at need, and
// measures the supervisor.
func (c *chaos) rest(t *testing.T) rest {
	t.Helper()
	p := c.newProject(t, "warm", rand.New(rand.NewPCG(1, 1)))
	p.singles, p.clusters = p.singles[:8], p.clusters[:1]
	p.try("install", "gm", "install")
	p.try("uninstall", "gm", "uninstall", p.name)
	var r rest
	c.await(t, "the supervisor is measured", func() []string {
		var err error
		if r, err = c.measure(t); err != nil {
			return []string{err.Error()}
		}
		return nil
	})
	t.Logf("at rest at the start: %+v", r)
	return r
}

func (c *chaos) measure(t *testing.T) (rest, error) {
	k, ok := c.supervisor(t)
	if !ok {
		return rest{}, fmt.Errorf("there is no supervisor")
	}
	client := c.client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	info, err := client.Info(ctx)
	if err != nil {
		return rest{}, err
	}
	threads, err := os.ReadDir(k.file("task"))
	return rest{k.descriptors(), info.Goroutines, len(threads), k.memory()}, err
}

// checkRest looks whether the supervisor holds more than at the start. Connections of
// clients that have just gone, and what is made at need, may be more or less by a few.
func (c *chaos) checkRest(t *testing.T, before rest) {
	t.Helper()
	const few = 3
	var now rest
	c.await(t, "the supervisor is at rest again", func() (problems []string) {
		var err error
		if now, err = c.measure(t); err != nil {
			return []string{err.Error()}
		}
		if now.descriptors > before.descriptors+few {
			problems = append(problems, fmt.Sprintf("%d descriptors; at the start there were %d", now.descriptors, before.descriptors))
		}
		if now.goroutines > before.goroutines+few {
			problems = append(problems, fmt.Sprintf("%d goroutines; at the start there were %d", now.goroutines, before.goroutines))
		}
		return problems
	})
	t.Logf("at rest at the end: %+v", now)
	if now.threads > 12+few {
		t.Errorf("the supervisor has %d threads", now.threads)
	}
	if most := before.memory + 16<<20; now.memory > most && !raceDetector {
		t.Errorf("the supervisor uses %d KiB of memory; at the start it was %d KiB", now.memory>>10, before.memory>>10)
	}
	if state, err := os.Stat(c.home.State()); err == nil && state.Size() > 1<<20 {
		t.Errorf("the state of no units takes %d bytes", state.Size())
	}
	for _, k := range c.tasks(t) {
		if !k.supervises() {
			t.Errorf("with all projects gone there is still %v", k)
		}
	}
}

func (c *chaos) checkRaces(t *testing.T) {
	t.Helper()
	journal, _ := os.ReadFile(c.home.Journal())
	if text := string(journal); strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
		t.Errorf("the supervisor says:\n%s", text[:min(len(text), 20_000)])
	}
	for _, text := range c.races.text {
		t.Errorf("%s", text)
	}
}

// chaosApp is an app as it should be.
type chaosApp struct {
	name      string
	instances int // 0: it is no cluster
	every     string
	helper    string
	file      bool // it declares a log file
	version   int
	runs      bool
}

// keys are the processes that should run.
func (a *chaosApp) keys() []string {
	if !a.runs {
		return nil
	}
	var keys []string
	for i := range max(1, a.instances) {
		keys = append(keys, a.name+"."+strconv.Itoa(i))
	}
	return keys
}

// chaosProject is a project of the chaos run and whoever works with it.
type chaosProject struct {
	*chaos
	name     string
	dir      string
	random   *rand.Rand
	singles  []*chaosApp
	clusters []*chaosApp
}

func (c *chaos) newProject(t *testing.T, name string, random *rand.Rand) *chaosProject {
	t.Helper()
	inside, _ := c.Projects()
	p := &chaosProject{chaos: c, name: name, dir: join(inside, name), random: random}
	if err := os.Mkdir(p.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range chaosSingles {
		p.singles = append(p.singles, &chaosApp{name: fmt.Sprintf("%s-%02d", name, i), runs: true,
			every: fmt.Sprintf("%dms", 100+10*i), helper: []string{"child", "", "session", ""}[i%4], file: i%3 == 0})
	}
	for i := range chaosClusters {
		p.clusters = append(p.clusters, &chaosApp{name: fmt.Sprintf("%s-many-%d", name, i), instances: 2, runs: true, every: "200ms"})
	}
	return p
}

func (p *chaosProject) apps() []*chaosApp { return slices.Concat(p.singles, p.clusters) }

// declare writes the declaration.
func (p *chaosProject) declare() {
	var all []App
	for _, a := range p.apps() {
		args := []string{a.name, a.every}
		if a.helper != "" {
			args = append(args, a.helper)
		}
		one := App{"name": a.name, "script": p.path("bin/chaos"), "args": args, "interpreter": "none",
			"min_uptime": 100, "max_restarts": 1000, "env": App{"VERSION": a.version}}
		if a.instances > 0 {
			one["instances"] = a.instances
		}
		if a.file {
			one["out_file"], one["error_file"] = "logs/"+a.name+".log", "logs/"+a.name+".log"
		}
		all = append(all, one)
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, declarationName), text, 0o644)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// try calls gm until it succeeds: a supervisor that is killed, or an app, in the middle
// of it makes it fail.
func (p *chaosProject) try(what string, argv ...string) {
	p.declare()
	var out Output
	for range 30 {
		if out = p.gm(p.dir, argv...); out.Code == 0 {
			return
		}
		p.failures.Add(1)
		if p.t.Context().Err() != nil {
			return
		}
	}
	p.t.Errorf("%s: it never succeeds: %v", what, out)
}

// live works with the project until it is over.
func (p *chaosProject) live(over time.Time) {
	for time.Now().Before(over) && !p.t.Failed() {
		a := p.singles[p.random.IntN(len(p.singles))]
		if p.random.IntN(4) == 0 {
			a = p.clusters[p.random.IntN(len(p.clusters))]
		}
		switch p.random.IntN(7) {
		case 0:
			p.try("restart", "gm", "restart", a.name)
			a.runs = true
		case 1:
			p.try("stop", "gm", "stop", a.name)
			a.runs = false
		case 2, 3:
			p.try("start", "gm", "start", a.name)
			a.runs = true
		case 4:
			if a.instances > 0 && a.runs {
				a.instances = 2 + p.random.IntN(3) // declared, one is no cluster
				p.try("scale", "gm", "scale", a.name, strconv.Itoa(a.instances))
			}
		case 5:
			for range 5 {
				p.singles[p.random.IntN(len(p.singles))].version++
			}
			p.try("install", "gm", "install")
		case 6:
			p.try("list", "gm", "jlist")
		}
	}
}

// children returns the processes of apps and of their helpers.
func (c *chaos) children() []task {
	return slices.DeleteFunc(c.tasks(c.t), func(k task) bool { return filepath.Base(k.argv[0]) != "chaos" && k.argv[0] != "/proc/self/exe" })
}

// pause waits for a random time of less than most; false when it is over.
func pause(random *rand.Rand, most time.Duration, over time.Time) bool {
	time.Sleep(time.Duration(random.Int64N(int64(most))))
	return time.Now().Before(over)
}

// troubleChildren kills processes of apps, and stops some for a while.
func (c *chaos) troubleChildren(random *rand.Rand, over time.Time) {
	var wait sync.WaitGroup
	defer wait.Wait()
	for pause(random, 80*time.Millisecond, over) {
		all := c.children()
		if len(all) == 0 {
			continue
		}
		k := all[random.IntN(len(all))]
		if random.IntN(5) > 0 {
			k.signal(syscall.SIGKILL)
			c.killed.Add(1)
			continue
		}
		k.signal(syscall.SIGSTOP)
		c.paused.Add(1)
		d := time.Duration(random.Int64N(int64(2 * time.Second)))
		wait.Go(func() {
			time.Sleep(d)
			k.signal(syscall.SIGCONT)
		})
	}
}

// troubleSupervisor kills the supervisor, or stops it for a while. The next one is
// started by whoever calls gm first. The last one lives for a third of the time.
func (c *chaos) troubleSupervisor(random *rand.Rand, over time.Time) {
	every := time.Until(over) * 2 / 3 / chaosDeposed
	for int(c.deposed.Load()) < chaosDeposed && !c.t.Failed() {
		time.Sleep(every/2 + time.Duration(random.Int64N(int64(every))))
		k, ok := c.supervisor(c.t)
		if !ok {
			c.gm("/", "gm", "list")
			continue
		}
		if random.IntN(4) == 0 {
			k.signal(syscall.SIGSTOP)
			c.frozen.Add(1)
			time.Sleep(time.Duration(random.Int64N(int64(500 * time.Millisecond))))
		}
		if random.IntN(4) > 0 {
			k.signal(syscall.SIGKILL)
			c.deposed.Add(1)
		} else {
			k.signal(syscall.SIGCONT)
		}
	}
	c.gm("/", "gm", "list")
}

// troubleDisk fills the disk of the logs, and frees it again.
func (c *chaos) troubleDisk(random *rand.Rand, over time.Time) {
	filler := c.inside(filepath.Join(c.home.Logs(), "filler"))
	defer os.Remove(filler)
	for pause(random, 4*time.Second, over) {
		f, err := os.Create(filler)
		if err != nil {
			c.t.Error(err)
			return
		}
		block := make([]byte, 1<<16)
		for err == nil {
			_, err = f.Write(block)
		}
		for err = nil; err == nil; {
			_, err = f.Write(block[:64])
		}
		f.Close()
		more := pause(random, time.Second, over)
		if os.Remove(filler); !more {
			return
		}
	}
}

// settle waits until what runs is what should run, each once, and nothing else.
func (c *chaos) settle(t *testing.T) {
	t.Helper()
	c.await(t, "what should run does, and nothing else", func() []string { return c.problems(t) })
}

// problems compares what runs with what should, as the kernel and as gm see it.
func (c *chaos) problems(t *testing.T) []string {
	var problems []string
	problem := func(format string, a ...any) { problems = append(problems, fmt.Sprintf(format, a...)) }
	want, versions, helpers := map[string]bool{}, map[string]string{}, map[string]bool{}
	for _, p := range c.projects {
		for _, a := range p.apps() {
			for _, key := range a.keys() {
				want[key], versions[key], helpers[key] = true, strconv.Itoa(a.version), a.helper != ""
			}
		}
	}
	listed, err := c.listed()
	if err != nil {
		return []string{err.Error()}
	}

	main, helped, supervisors := map[string]task{}, map[int][]task{}, 0
	all := c.tasks(t)
	for _, k := range all {
		switch {
		case k.state == 'Z':
			problem("a zombie: %v", k)
		case k.supervises():
			supervisors++
		case filepath.Base(k.argv[0]) == "chaos":
			key := k.argv[1] + "." + k.environ("NODE_APP_INSTANCE")
			if other, ok := main[key]; ok {
				problem("%s runs twice: %v and %v", key, other, k)
			}
			if main[key] = k; !want[key] {
				problem("%s should not run: %v", key, k)
			}
			if got := k.environ("VERSION"); got != versions[key] {
				problem("%s runs as version %s, not %s", key, got, versions[key])
			}
		case k.argv[0] == "/proc/self/exe":
			helped[k.parent] = append(helped[k.parent], k)
		default:
			problem("a stranger: %v", k)
		}
	}
	if supervisors != 1 {
		problem("there are %d supervisors", supervisors)
	}
	for key := range want {
		k, ok := main[key]
		if !ok {
			problem("%s does not run", key)
			continue
		}
		if listed[key] != k.pid {
			problem("%s runs as %v, and gm lists %d", key, k, listed[key])
		}
		// A helper may have been killed; none may be there twice.
		if n := len(helped[k.pid]); n > 1 || n == 1 && !helpers[key] {
			problem("%s has the helpers %v: %v", key, helped[k.pid], k)
		}
		delete(helped, k.pid)
		delete(listed, key)
	}
	for _, orphans := range helped {
		for _, k := range orphans {
			problem("an orphan, of run %s of %s: %v", k.environ("INVOCATION_ID"), k.argv[2], k)
		}
	}
	for key, pid := range listed {
		problem("%s should not run, and gm lists process %d", key, pid)
	}
	slices.Sort(problems)
	return problems
}

// listed returns the process of each instance that gm lists as online.
func (c *chaos) listed() (map[string]int, error) {
	out := c.gm("/", "gm", "jlist")
	var all []struct {
		Name string
		PID  int
		Env  struct {
			Status   string
			Instance string `json:"NODE_APP_INSTANCE"`
		} `json:"pm2_env"`
	}
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		return nil, fmt.Errorf("gm jlist: %w: %v", err, out)
	}
	listed := map[string]int{}
	for _, one := range all {
		if one.Env.Status == "online" {
			listed[fmt.Sprintf("%s.%s", one.Name, one.Env.Instance)] = one.PID
		}
	}
	return listed, nil
}

var (
	chaosLine = regexp.MustCompile(`@(\d+-\d+) (\d+) (line|end)\n`)
	chaosNote = regexp.MustCompile(`(?m)^(start|end|double) (\d+-\d+)(?: (\d+))?$`)
)

// checkLogs looks whether the lines of each run of each app are all there, in order,
// and in one file; and whether two runs of an app were ever at once.
func (c *chaos) checkLogs(t *testing.T) {
	t.Helper()
	last := map[string]int{} // of each run
	var files []string
	for _, pattern := range []string{c.inside(c.home.Logs()) + "/*", c.path("projects/*/logs/*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range chaosLine.FindAllStringSubmatch(string(text), -1) {
			n, _ := strconv.Atoi(m[2])
			if n != last[m[1]]+1 {
				t.Errorf("%s: line %d of run %s follows line %d", filepath.Base(name), n, m[1], last[m[1]])
			}
			last[m[1]] = n
		}
	}
	ledgers, err := filepath.Glob(c.path("projects/*/*.ledger"))
	if err != nil || len(ledgers) == 0 {
		t.Fatalf("no ledgers: %v", err)
	}
	starts, ends := 0, 0
	for _, name := range ledgers {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range chaosNote.FindAllStringSubmatch(string(text), -1) {
			switch m[1] {
			case "start":
				starts++
			case "double":
				t.Errorf("%s: run %s began when another was there", filepath.Base(name), m[2])
			case "end":
				ends++
				if n, _ := strconv.Atoi(m[3]); n != last[m[2]] {
					t.Errorf("%s: run %s wrote %d lines, and %d are there", filepath.Base(name), m[2], n, last[m[2]])
				}
			}
		}
	}
	total := 0
	for n := range maps.Values(last) {
		total += n
	}
	t.Logf("%d runs, %d of which ended in peace; %d lines", starts, ends, total)
}
