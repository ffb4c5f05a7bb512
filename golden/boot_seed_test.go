package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// bootSeed runs the README's declaration.
func bootSeed(b *booted) {
	seed, err := os.ReadFile("../examples/seed/processes.json")
	if err != nil {
		b.t.Fatal(err)
	}
	p := b.newProject("seed")
	p.copyFiles("../examples/seed")
	p.install(string(seed))
	if out := p.verify(); out != "" {
		p.t.Errorf("systemd-analyze verify:\n%s", out)
	}
	p.enable()

	p.sub("InstancesKnowTheirNumber", checkSeedInstances)
	p.sub("InstancesShareThePort", checkSeedPort)
	p.sub("KilledInstanceComesBack", checkSeedKill)
	p.sub("WorkerSaysItsInterval", checkSeedWorker)
	p.sub("StopEndsAll", func(p *project) {
		p.stop()
		for _, service := range append(seedInstances(), "worker.service") {
			p.awaitState(service, "inactive")
		}
	})
}

func seedInstances() []string {
	return []string{"web-api@0.service", "web-api@1.service", "web-api@2.service"}
}

// pids returns the main processes of units.
func (p *project) pids(units ...string) []string {
	p.t.Helper()
	var pids []string
	for _, got := range p.properties("MainPID", units...) {
		pids = append(pids, got["MainPID"])
	}
	return pids
}

func checkSeedInstances(p *project) {
	for i, pid := range p.pids(seedInstances()...) {
		if pid == "0" {
			p.t.Errorf("instance %d does not run", i)
			continue
		}
		if got := p.environ(pid)["NODE_APP_INSTANCE"]; got != fmt.Sprint(i) {
			p.t.Errorf("instance %d has NODE_APP_INSTANCE=%s", i, got)
		}
		if got, want := p.cgroup(pid), fmt.Sprintf("/gm.slice/gm-seed.slice/web-api@%d.service", i); got != want {
			p.t.Errorf("instance %d is in %s, not in %s", i, got, want)
		}
	}
	if out := p.Must("systemctl", "list-units", "--all", "--plain", "--no-legend", "web-api@*"); strings.Count(out, "\n") != 3 {
		p.t.Errorf("instances:\n%s", out)
	}
}

var answer = regexp.MustCompile(`instance (\d), pid (\d+)\n`)

// checkSeedPort asks port 3000 until each instance has answered.
func checkSeedPort(p *project) {
	want := p.pids(seedInstances()...)
	answered := map[string]string{}
	p.Wait("each of the three instances to answer on port 3000", func() bool {
		out, _ := p.Run(p.t.Context(), "/usr/bin/node", "/share/seed/fetch.js", "3000", "60")
		for _, m := range answer.FindAllStringSubmatch(out, -1) {
			answered[m[1]] = m[2]
		}
		return len(answered) == len(want)
	})
	for i, pid := range want {
		if answered[fmt.Sprint(i)] != pid {
			p.t.Errorf("instance %d answers as pid %s; its main process is %s", i, answered[fmt.Sprint(i)], pid)
		}
	}
}

func checkSeedKill(p *project) {
	before := p.pids(seedInstances()...)
	if slices.Contains(before, "0") {
		p.t.Fatalf("not every instance runs: %v", before)
	}
	p.Must("kill", "-9", before[1])
	var after []string
	p.Wait("the killed instance to be back", func() bool {
		after = p.pids(seedInstances()...)
		return after[1] != before[1] && after[1] != "0"
	})
	if after[0] != before[0] || after[2] != before[2] {
		p.t.Errorf("the others were touched: pids %v became %v", before, after)
	}
	if got := p.environ(after[1])["NODE_APP_INSTANCE"]; got != "1" {
		p.t.Errorf("the new process has NODE_APP_INSTANCE=%s", got)
	}
}

func checkSeedWorker(p *project) {
	awaitLine := func(line string) {
		p.t.Helper()
		p.Wait("the worker to print "+line, func() bool { return slices.Contains(p.journal("worker"), line) })
	}
	awaitLine("INTERVAL=1000")
	if got, want := p.cgroup(p.pids("worker.service")[0]), "/gm.slice/gm-seed.slice/worker.service"; got != want {
		p.t.Errorf("the worker is in %s, not in %s", got, want)
	}
	p.options.Env = "production"
	p.install(p.read("processes.json"))
	p.Must("systemctl", "restart", "worker.service")
	awaitLine("INTERVAL=60000")
}

// verify returns what systemd-analyze verify has to say about the project inside
// the machine.
func (p *project) verify() string {
	p.t.Helper()
	argv := []string{"systemd-analyze", "verify", "--man=no"}
	if p.Version() >= 250 {
		argv = append(argv, "--recursive-errors=no")
	}
	for _, unit := range p.loadable() {
		file := filepath.Join("/etc/systemd/system", strings.Replace(unit, "@0.", "@.", 1))
		argv = append(argv, file)
	}
	return p.Must(append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)...)
}
