package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGenOnFullDisk fills a real file system while gm writes to it.
func TestGenOnFullDisk(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("gm-test", small, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("CI") != "" && os.Geteuid() == 0 {
			t.Logf("CI as root cannot mount: %v", err)
		}
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	})
	source := t.TempDir()
	host := `{"cpus": 4, "systemd": 252, "scope": "system", "root": "/srv/shop", "home": "/root", "gm": "/usr/local/bin/gm"}`
	app := `{"name": "NAME", "script": "/srv/shop/NAME.js", "env": {"PADDING": "` + strings.Repeat("x", 6000) + `"}}`
	few := "[" + strings.ReplaceAll(app, "NAME", "a") + "]"
	var many []string
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		many = append(many, strings.ReplaceAll(app, "NAME", name))
	}
	for name, text := range map[string]string{"host.json": host, "few.json": few, "many.json": "[" + strings.Join(many, ",") + "]"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gen := func(declaration, out string) (int, string) {
		var stderr bytes.Buffer
		c := &caller{in: strings.NewReader(""), out: &stderr, err: &stderr, dir: source}
		status := run(c, []string{"gen", declaration, "--host", "host.json", "-o", filepath.Join(small, out)})
		return status, stderr.String()
	}

	if status, said := gen("few.json", "units"); status != statusDone {
		t.Fatalf("exit status %d: %s", status, said)
	}
	before := tree(t, small)
	for _, out := range []string{"units", "other", "deep/other"} {
		status, said := gen("many.json", out)
		if status != statusFailed || !strings.Contains(said, "no space left on device; ") ||
			!strings.Contains(said, "fix: make room on the disk") {
			t.Errorf("%s: exit status %d, message %s", out, status, said)
		}
		if diff := cmp.Diff(before, tree(t, small)); diff != "" {
			t.Errorf("%s: the tree differs (-want +got):\n%s", out, diff)
		}
	}
}
