package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestVersionStartsFast builds gm as the Makefile does and demands that
// `gm version` answers before the packages are initialised that take long; see
// package first.
func TestVersionStartsFast(t *testing.T) {
	gm := filepath.Join(t.TempDir(), "gm")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X gm/cmd/gm/first.Version=1.2.3", "-o", gm, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	version := exec.Command(gm, "version")
	var stderr strings.Builder
	version.Env = []string{"GODEBUG=inittrace=1"}
	version.Stderr = &stderr
	out, err := version.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out); !strings.HasPrefix(got, "gm 1.2.3 (go1.") {
		t.Errorf("gm version says %q", got)
	}
	var initialised []string
	for _, match := range regexp.MustCompile(`(?m)^init (\S+) `).FindAllStringSubmatch(stderr.String(), -1) {
		initialised = append(initialised, match[1])
	}
	if !slices.Contains(initialised, "os") {
		t.Fatalf("no trace of initialisation: %s", stderr.String())
	}
	for _, slow := range []string{"github.com/google/pprof/profile", "github.com/dop251/goja/parser", "github.com/dop251/goja", "go.yaml.in/yaml/v3", "github.com/spf13/cobra"} {
		if slices.Contains(initialised, slow) {
			t.Errorf("%s is initialised before gm/cmd/gm/first; what does that import now?", slow)
		}
	}
}
