package enginetest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBootedSeed walks the way of a PM2 user with the README's declaration: install,
// reboot, install again, a change, an app that goes, and all gone.
func TestBootedSeed(t *testing.T) {
	c := bootContainer(t)
	c.InstallNode()
	walkSeed(t, c)
}

// TestBootedSeedUser is the same in a user's own systemd.
func TestBootedSeedUser(t *testing.T) {
	c := bootContainer(t)
	c.InstallNode()
	c.addUser(t, "ann")
	walkSeed(t, c)
}

// TestNativeSeed and TestNativeSeedUser are the same without systemd.
func TestNativeSeed(t *testing.T)     { walkSeed(t, newNest(t, nestOptions{cgroups: true})) }
func TestNativeSeedUser(t *testing.T) { walkSeed(t, newNest(t, nestOptions{user: nestUser})) }

func walkSeed(t *testing.T, c Machine) {
	inside, outside := c.Projects()
	seed := filepath.Join(outside, "seed")
	copySeed(t, seed)
	p := &Project{c, t, "seed", join(inside, "seed"), seed}
	status := func(name string) string {
		out := p.Sh(`gm list --json "$1" | grep -o '"status": *"[a-z]*"' | sort -u | cut -d'"' -f4`, name)
		return strings.Join(strings.Fields(out), " ")
	}
	pids := func(name string) []int {
		var all []int
		for _, line := range lines(p.Do("pid", name).Stdout) {
			pid, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pid)
		}
		return all
	}
	same := func(what string, before, now []int) {
		t.Helper()
		if len(before) == 0 || !slices.Equal(before, now) {
			t.Errorf("%s: the processes were %v and are %v", what, before, now)
		}
	}
	// Several instances share a port by what only root may do; a user's own need a
	// preload for that, so there the machine is one of two CPUs.
	cpus := 4
	if c.Dirs().User {
		cpus = 2
	}
	instances := cpus - 1
	install := []string{"install", "--env", "production", "--cpus", strconv.Itoa(cpus)}

	p.Do(install...)
	if got := pids("web-api"); len(got) != instances || status("web-api") != "online" || status("worker") != "online" {
		t.Fatalf("of %d CPUs, %d instances run\n%s", cpus, len(got), p.Gm("list", "--all").Stdout)
	}
	if got := p.Environ(pids("worker")[0])["INTERVAL"]; got != "60000" {
		t.Errorf("INTERVAL is %s", got)
	}
	fetch := `const http = require('http'); http.get('http://127.0.0.1:3000', r => r.on('data', d => process.stdout.write(d)))`
	p.Await("web-api to answer", func() bool {
		return strings.Contains(c.Run(t.Context(), p.dir, "node", "-e", fetch).Stdout, "instance ")
	})

	p.Reboot(t)
	p.Await("both apps to be back after a reboot", func() bool {
		return len(pids("web-api")) == instances && len(pids("worker")) == 1
	})

	web, worker := pids("web-api"), pids("worker")
	if out := p.Do(install...); !strings.Contains(out.Stdout+out.Stderr, "Nothing changes") {
		t.Errorf("a second install: %v", out)
	}
	same("web-api after a second install", web, pids("web-api"))
	same("worker after a second install", worker, pids("worker"))

	text := p.Read(declarationName)
	p.Write(declarationName, strings.Replace(text, "60000", "30000", 1))
	p.Do(install...)
	same("web-api after a change of worker", web, pids("web-api"))
	if now := pids("worker"); len(now) != 1 || now[0] == worker[0] || p.Environ(now[0])["INTERVAL"] != "30000" {
		t.Errorf("worker was not restarted with the new INTERVAL: %v became %v", worker, now)
	}

	end := strings.LastIndex(text[:strings.Index(text, `"worker.js"`)], "{")
	p.Write(declarationName, strings.TrimRight(text[:end], " \n\t,")+"\n]\n")
	p.Do(install...)
	same("web-api after worker has left", web, pids("web-api"))
	for _, line := range traces(&Project{c, t, "worker", p.dir, p.host}) {
		t.Errorf("of worker there is still %s", line)
	}

	p.Do("uninstall")
	for _, name := range []string{"web-api", "worker", "gm-seed"} {
		for _, line := range traces(&Project{c, t, name, p.dir, p.host}) {
			t.Errorf("gm uninstall leaves %s", line)
		}
	}
	if out := c.Run(t.Context(), p.dir, "sh", "-c", `ls -d "$1"/* "$2"/* 2>/dev/null`, "sh", c.Dirs().Env, c.Dirs().Run); out.Stdout != "" {
		t.Errorf("gm uninstall leaves %s", out.Stdout)
	}
}

// copySeed copies the README's declaration and its two scripts.
func copySeed(t *testing.T, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS("../../examples/seed")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o777); err != nil { // another user's apps run here, too
		t.Fatal(err)
	}
}
