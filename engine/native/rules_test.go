package native

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"gm/diag"
	"gm/units"
)

//go:generate go test -run ^TestEnginesPageIsCurrent$ -update .

var update = flag.Bool("update", false, "write the generated part of docs/engines.md instead of comparing it")

// sectionsInOneRow are those whose directives the supervisor does not tell apart.
var sectionsInOneRow = []string{"Path", "Install"}

func TestRowsAreWellFormed(t *testing.T) {
	seen := map[directiveName]bool{}
	for _, r := range rules() {
		if (r.policy == honoured) != (r.set != nil) && r.policy != refused {
			t.Errorf("[%s] %s: honoured is what has a setter", r.section, r.keys)
		}
		if r.policy != honoured && r.why == "" {
			t.Errorf("[%s] %s: it says not why", r.section, r.keys)
		}
		if strings.ContainsAny(r.why, "|\n") || strings.HasSuffix(r.why, ".") {
			t.Errorf("[%s] %s: %q is no half of a sentence", r.section, r.keys, r.why)
		}
		for key := range strings.FieldsSeq(r.keys) {
			name := directiveName{r.section, key}
			if seen[name] {
				t.Errorf("[%s] %s= has two rows", r.section, key)
			}
			seen[name] = true
			if _, ok := units.Lookup(r.section, key); !ok && key != "*" && r.section != "X-Gm" {
				t.Errorf("[%s] %s= is no directive of systemd's", r.section, key)
			}
		}
	}
}

func TestEveryDirectiveHasAPolicy(t *testing.T) {
	for _, r := range units.Rules() {
		row, own := ruleOf(r.Section, r.Key)
		if row == nil {
			t.Errorf("[%s] %s= has no row in rules.go, nor its section", r.Section, r.Key)
		}
		if !own && (r.Section == "Unit" || r.Section == "Service" || r.Section == "Timer") {
			t.Errorf("[%s] %s= has no row of its own in rules.go", r.Section, r.Key)
		}
	}
}

// What the compiler writes is known one by one.
func TestEveryDirectiveOfTheCompilerHasARow(t *testing.T) {
	eachGolden(t, func(t *testing.T, set units.Set) {
		for _, u := range set {
			for _, d := range u.Directives {
				if strings.HasPrefix(d.Key, "X-") || strings.HasPrefix(d.Section, "X-") || d.Section == "Install" {
					continue
				}
				if _, known := units.Lookup(d.Section, d.Key); !known {
					continue // a case of what people write
				}
				if _, own := ruleOf(d.Section, d.Key); !own {
					t.Errorf("%s: [%s] %s= has no row of its own in rules.go", u.Name, d.Section, d.Key)
				}
			}
		}
	})
}

// eachGolden calls f with the units of each case in golden/.
func eachGolden(t *testing.T, f func(t *testing.T, set units.Set)) {
	files, err := filepath.Glob("../../golden/*.txtar")
	if err != nil || len(files) < 50 {
		t.Fatalf("there are %d files in golden/ (%v)", len(files), err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var set units.Set
		for _, f := range archive.Files {
			name, ok := strings.CutPrefix(f.Name, "want/")
			if !ok || units.CheckFileName(name) != nil || units.IsEnvFile(name) {
				continue
			}
			u, _ := units.Parse(name, diag.NewSource(name, f.Data))
			set = append(set, u)
		}
		if len(set) > 0 {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { f(t, set) })
		}
	}
}

// docs/engines.md is prose around the rows.
func TestEnginesPageIsCurrent(t *testing.T) {
	const page = "../../docs/engines.md"
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin := []byte("<!-- generated: directives; go test ./engine/native -run TestEnginesPageIsCurrent -update -->\n")
	end := []byte("<!-- end of directives -->\n")
	from, to := bytes.Index(have, begin), bytes.Index(have, end)
	if from < 0 || to < from {
		t.Fatalf("%s has no part between %s and %s", page, begin, end)
	}
	want := slices.Concat(have[:from+len(begin)], directivesDoc(), have[to:])
	if bytes.Equal(have, want) {
		return
	}
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is stale; run: go test ./engine/native -run TestEnginesPageIsCurrent -update (-have +want)\n%s",
		page, cmp.Diff(string(have), string(want)))
}

// directivesDoc is a table for each policy.
func directivesDoc() []byte {
	var out bytes.Buffer
	for _, part := range []struct {
		policy policy
		title  string
	}{
		{refused, "Refused: such a unit does not start"},
		{ignored, "Ignored, with a note"},
		{honoured, "Honoured"},
		{needless, "Not needed: nothing is lost without"},
	} {
		fmt.Fprintf(&out, "\n### %s\n\n| section | directives | |\n|---|---|---|\n", part.title)
		plain := map[string][]string{}
		var sections []string
		for _, r := range rules() {
			if r.policy != part.policy {
				continue
			}
			if r.why == "" {
				if plain[r.section] == nil {
					sections = append(sections, r.section)
				}
				plain[r.section] = append(plain[r.section], strings.Fields(r.keys)...)
				continue
			}
			keys := keysDoc(strings.Fields(r.keys))
			if r.keys == "*" && slices.Contains(sectionsInOneRow, r.section) {
				keys = "all"
			}
			fmt.Fprintf(&out, "| [%s] | %s | %s |\n", r.section, keys, r.why)
		}
		for _, s := range sections {
			fmt.Fprintf(&out, "| [%s] | %s | as systemd does |\n", s, keysDoc(plain[s]))
		}
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func keysDoc(keys []string) string {
	if slices.Equal(keys, []string{"*"}) {
		return "all others"
	}
	return strings.Join(keys, "=, ") + "="
}
