package gm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs keeps docs/api.md true: its program is one of the examples, and it names what
// there is.
func TestDocs(t *testing.T) {
	page := read(t, "docs/api.md")
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindStringSubmatch(page)
	if block == nil {
		t.Fatal("docs/api.md has no program")
	}
	program := "\t" + strings.ReplaceAll(strings.TrimSpace(block[1]), "\n", "\n\t")
	if !strings.Contains(read(t, "example_test.go"), strings.ReplaceAll(program, "\n\t\n", "\n\n")) {
		t.Errorf("the program of docs/api.md is not in example_test.go:\n%s", program)
	}
	source := ""
	for _, name := range []string{"gm.go", "errors.go", "list.go", "change.go", "start.go", "watch.go", "machine/machine.go", "engine/apply.go", "engine/select.go"} {
		source += read(t, name)
	}
	for _, kind := range regexp.MustCompile(`(?m)^\t(\w+) EventKind = `).FindAllStringSubmatch(source, -1) {
		if !strings.Contains(page, "| `"+kind[1]+"` |") {
			t.Errorf("docs/api.md does not have the event %s", kind[1])
		}
	}
	for _, name := range regexp.MustCompile("`\\*?([A-Z]\\w+)`").FindAllStringSubmatch(page, -1) {
		if !regexp.MustCompile(`\b` + name[1] + `\b`).MatchString(source) {
			t.Errorf("docs/api.md has %s, which there is not", name[1])
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(sources, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
