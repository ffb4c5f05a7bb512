package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// nodeVersion is the oldest node that is maintained; it needs no more than glibc
// 2.28, so it runs in every suite.
const nodeVersion = "20"

func (m *machine) installNode(logf func(string, ...any)) error {
	if _, err := m.inside("/usr/bin/node", "--version"); err == nil {
		return nil
	}
	if host, err := exec.LookPath("node"); err == nil {
		// A distribution's node wants its libraries beside it, and then another
		// suite cannot run it.
		if m.tryNode(host) == nil {
			return nil
		}
	}
	b, err := openBed(logf)
	if err != nil {
		return err
	}
	fetched, err := b.npmNode()
	if err != nil {
		return err
	}
	return m.tryNode(fetched)
}

// tryNode copies a node into the machine and runs it.
func (m *machine) tryNode(binary string) error {
	inner := filepath.Join(m.inst.path("root"), "usr/bin/node")
	os.Remove(inner)
	// cp, as a file that this process wrote may still be open for writing, and so
	// not executable, in a child that another test is starting.
	if out, err := exec.Command("cp", "--", binary, inner).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy node: %v: %s", err, out)
	}
	if out, err := m.inside("/usr/bin/node", "--version"); err != nil {
		os.Remove(inner)
		return fmt.Errorf("%s does not run in %s: %v: %s", binary, m.suite, err, out)
	}
	return nil
}

// npmNode returns node's own build, fetched at its first use and kept.
func (b *bed) npmNode() (string, error) {
	pkg := "node-linux-" + map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	lock, err := b.lock("node.lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	dir := filepath.Join(b.dir, "node-"+nodeVersion)
	binary := filepath.Join(dir, "node_modules", pkg, "bin/node")
	if exec.Command(binary, "--version").Run() == nil {
		return binary, nil
	}
	if err := b.need("npm", "npm"); err != nil {
		return "", err
	}
	b.logf("fetching %s@%s", pkg, nodeVersion)
	// --ignore-scripts: the package is the binary; its scripts add nothing.
	out, err := exec.Command("npm", "install", "--ignore-scripts", "--prefix", dir, pkg+"@"+nodeVersion).CombinedOutput()
	if err != nil {
		return "", unavailablef("cannot fetch node: %v: %s", err, out[max(0, len(out)-1000):])
	}
	return binary, nil
}
