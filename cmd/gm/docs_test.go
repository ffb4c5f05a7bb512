package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// TestDocs keeps the documents true: it runs the commands of their console
// blocks, in order, and compares what they print. -update writes it anew.
//
// The commands run in a directory with the files of testdata/docs.txtar, which
// the documents call /srv/shop. Where gm host stands for the facts of a server,
// a comment before the block says which ones it prints:
//
//	<!-- gm host with: --host ../facts.json -->
//
//go:generate go test -run ^TestDocs$ -update .
func TestDocs(t *testing.T) {
	for _, name := range []string{"README.md", "docs/commands.md", "docs/ci.md"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			path := filepath.Join("../..", name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := newDocs(t).run(string(text))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(unversioned(string(text)), unversioned(got)); diff != "" {
				t.Errorf("%s is not what gm prints; read the difference, then go test ./cmd/gm -run Docs -update (-written +printed):\n%s", path, diff)
			}
		})
	}
}

// unversioned makes the answer of gm version the same for every build.
func unversioned(text string) string {
	return regexp.MustCompile(`(?m)^gm \S+ \(go\S+, \S+\)$`).ReplaceAllString(text, "gm VERSION")
}

// docs is a machine for the commands of one document.
type docs struct {
	t    *testing.T
	base string
}

func newDocs(t *testing.T) *docs {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := txtar.ParseFile("testdata/docs.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		path := filepath.Join(base, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &docs{t, base}
}

// run returns a document with the output of each command as it is now.
func (d *docs) run(text string) string {
	var out strings.Builder
	inBlock, skip, hostFlags := false, false, ""
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock, skip = !inBlock && line == "```console\n", false
			if !inBlock {
				hostFlags = ""
			}
			out.WriteString(line)
		case strings.HasPrefix(line, "<!-- gm host with:"):
			hostFlags = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- gm host with:"), " -->\n")
			out.WriteString(line)
		case inBlock && strings.HasPrefix(line, "$ "):
			command := strings.TrimPrefix(line, "$ ")
			out.WriteString(line)
			for strings.HasSuffix(command, "\\\n") && i+1 < len(lines) {
				i++
				command += lines[i]
				out.WriteString(lines[i])
			}
			out.WriteString(d.command(command, hostFlags))
			skip = true
		case skip: // the output as it was
		default:
			out.WriteString(line)
		}
	}
	return out.String()
}

// command runs one line of a shell and returns what it prints on both streams.
func (d *docs) command(line, hostFlags string) string {
	d.t.Helper()
	line = strings.Replace(line, "gm host", "gm host"+hostFlags, 1)
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir = filepath.Join(d.base, "shop")
	cmd.Env = []string{"HOME=/root", "GM_HOME=" + filepath.Join(d.base, "gm"), "LC_ALL=C", "GORACE=" + noExitPause, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		d.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(out), cmd.Dir, "/srv/shop")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}
