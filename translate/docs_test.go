package translate

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gm/diag"
)

//go:generate go test -run ^TestDocs$ -update .

var update = flag.Bool("update", false, "write the generated parts of docs/ instead of comparing them")

// The documents that are made from the table and the codes: each is prose
// around a generated part.
func TestDocs(t *testing.T) {
	for _, doc := range []struct {
		file, part string
		text       string
	}{
		{"fields.md", "keys", fieldsDoc()},
		{"diagnostics.md", "codes", diagnosticsDoc(t)},
		{"differences.md", "keys that differ", differencesDoc()},
		{"differences.md", "keys without effect", withoutEffectDoc()},
	} {
		name := "../docs/" + doc.file
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		begin := []byte("<!-- generated: " + doc.part + "; go test ./translate -run TestDocs -update -->\n")
		end := []byte("<!-- end of " + doc.part + " -->\n")
		from, to := bytes.Index(old, begin), bytes.Index(old, end)
		if from < 0 || to < from {
			t.Fatalf("%s has no part between %s and %s", doc.file, begin, end)
		}
		want := slices.Concat(old[:from+len(begin)], []byte(doc.text), old[to:])
		if bytes.Equal(old, want) {
			continue
		}
		if *update {
			if err := os.WriteFile(name, want, 0o666); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("docs/%s is stale; go test ./translate -run TestDocs -update (-have +want)\n%s",
			doc.file, cmp.Diff(string(old), string(want)))
	}
}

// fieldsDoc is a table of all keys and a section for each.
func fieldsDoc() string {
	var out strings.Builder
	groups := []struct {
		title string
		topic func(topic) bool
	}{
		{"Keys of an app", func(t topic) bool { return t.example != "" && t.name != "systemd" && !strings.Contains(t.name, ".") }},
		{"gm's own keys", func(t topic) bool { return t.name == "systemd" || strings.HasPrefix(t.name, "systemd.") }},
		{"Keys of the file", func(t topic) bool { return t.example == "" }},
	}
	for _, group := range groups {
		fmt.Fprintf(&out, "\n## %s\n\n| key | type | default | becomes |\n|---|---|---|---|\n", group.title)
		for _, topic := range topics() {
			if group.topic(topic) {
				fmt.Fprintf(&out, "| [`%s`](#%s) | %s | %s | %s |\n", topic.name, anchor(topic.name),
					cell(topic.label), code(topic.fallback), cell(condensed(&topic)))
			}
		}
		for _, topic := range topics() {
			if group.topic(topic) {
				topicDoc(&out, &topic)
			}
		}
	}
	return out.String()
}

func topicDoc(out *strings.Builder, t *topic) {
	fmt.Fprintf(out, "\n### %s\n\n", t.name)
	var facts []string
	if len(t.aliases) > 0 {
		facts = append(facts, "Also `"+strings.Join(t.aliases, "`, `")+"`.")
	}
	facts = append(facts, "Type: "+t.label+".")
	if t.fallback != "" {
		facts = append(facts, "Default: "+code(t.fallback)+".")
	}
	if t.with != "" {
		facts = append(facts, fmt.Sprintf("Decided with [`%s`](#%s).", t.with, anchor(t.with)))
	}
	fmt.Fprintf(out, "%s\n\n%s\n", strings.Join(facts, " "), t.doc)
	if t.example != "" {
		fmt.Fprintf(out, "\n```json\n%s\n```\n", t.app(t.example))
	}
	if t.drop != "" {
		fmt.Fprintf(out, "\nNo effect: %s.\n", t.drop)
	} else if t.example != "" {
		for _, e := range t.effects() {
			title := e.title
			if t.env {
				title += ", with `--env " + exampleEnv + "`"
			}
			fmt.Fprintf(out, "\n%s:\n\n```diff\n", title)
			effectDoc(out, e.changes)
			out.WriteString("```\n")
		}
	}
	if t.differs != "" {
		fmt.Fprintf(out, "\n**PM2 differs.** %s\n", t.differs)
	}
}

func effectDoc(out *strings.Builder, changes []change) {
	for _, c := range changes {
		fmt.Fprintf(out, "# %s\n", c.title())
		section := ""
		for _, l := range c.lines {
			if l.section != section {
				section = l.section
				fmt.Fprintf(out, " [%s]\n", section)
			}
			fmt.Fprintf(out, "%c%s\n", l.op, l.text)
		}
	}
}

// condensed is what a key becomes, in a word each: directives that change, and
// units that it brings.
func condensed(t *topic) string {
	switch {
	case t.drop != "":
		return "no effect"
	case t.example == "":
		return ""
	}
	var words []string
	add := func(word string) {
		if word = "`" + word + "`"; !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	for _, c := range t.effect(explainSystemd).changes {
		if c.was != c.unit {
			add(regexp.MustCompile(`^app|^api`).ReplaceAllString(c.unit, "NAME"))
		}
		if c.was == "" {
			continue
		}
		for _, l := range c.lines {
			key, _, _ := strings.Cut(l.text, "=")
			add(key + "=")
		}
	}
	return strings.Join(words, " ")
}

// diagnosticsDoc is a table of all codes and a section for each, with what gm
// prints for its example.
func diagnosticsDoc(t *testing.T) string {
	var out strings.Builder
	out.WriteString("\n| code | severity | reported when |\n|---|---|---|\n")
	for _, c := range Codes() {
		fmt.Fprintf(&out, "| [`%s`](#%s) | %v | %s |\n", c.Name, anchor(c.Name), c.Severity, cell(c.Doc))
	}
	for _, c := range Codes() {
		fmt.Fprintf(&out, "\n### %s\n\n%s: %s.\n\n", c.Name, sentenceCase(c.Severity.String()), c.Doc)
		name := c.File
		if name == "" {
			name = "processes.json"
		}
		if c.Flags != "" {
			name += "`, with `" + c.Flags
		}
		fmt.Fprintf(&out, "`%s`:\n\n```%s\n%s\n```\n", name, language(c.File), showText(c.Example))
		_, list := compileCode(t, c)
		var printed bytes.Buffer
		diag.Print(&printed, list, diag.Style{})
		fmt.Fprintf(&out, "\n```\n%s```\n", printed.String())
	}
	return out.String()
}

func language(file string) string {
	switch {
	case strings.HasSuffix(file, ".yml"):
		return "yaml"
	case strings.HasSuffix(file, "js"), strings.HasSuffix(file, ".ts"):
		return "js"
	}
	return "json"
}

// differencesDoc is a table of the rows that say where PM2 differs.
func differencesDoc() string {
	var out strings.Builder
	out.WriteString("\n| key | how gm and PM2 differ |\n|---|---|\n")
	for _, t := range topics() {
		if t.differs != "" {
			fmt.Fprintf(&out, "| [`%s`](fields.md#%s) | %s |\n", t.name, anchor(t.name), cell(t.differs))
		}
	}
	out.WriteString("\n")
	return out.String()
}

func withoutEffectDoc() string {
	var out strings.Builder
	out.WriteString("\n| key | why it has no effect |\n|---|---|\n")
	for _, t := range topics() {
		if t.drop != "" {
			fmt.Fprintf(&out, "| [`%s`](fields.md#%s) | %s |\n", t.name, anchor(t.name), cell(t.drop))
		}
	}
	out.WriteString("\n")
	return out.String()
}

// anchor is the fragment that GitHub gives a heading.
func anchor(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_', c == '-':
			return c
		case c >= 'A' && c <= 'Z':
			return c - 'A' + 'a'
		}
		return -1
	}, heading)
}

// cell is text in a table.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

func sentenceCase(text string) string {
	_, size := utf8.DecodeRuneInString(text)
	return strings.ToUpper(text[:size]) + text[size:]
}

// The codes of the other packages are described by hand.
func TestDocsNameEveryCode(t *testing.T) {
	doc, err := os.ReadFile("../docs/diagnostics.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:\bCode: |\b[cC]ode\w* += |failure\{status\w+, |\bcode: )"([a-z-]+)"`)
	for _, pattern := range []string{"../units/*.go", "../engine/*.go", "../engine/*/*.go", "../cmd/gm/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range code.FindAllStringSubmatch(string(text), -1) {
				if !strings.HasSuffix(file, "_test.go") && !bytes.Contains(doc, []byte("`"+match[1]+"`")) {
					t.Errorf("docs/diagnostics.md does not describe %s, of %s", match[1], file)
				}
			}
		}
	}
}

// Links from one document to another, and within one, lead somewhere.
func TestDocsLinksWork(t *testing.T) {
	anchors := map[string][]string{}
	texts := map[string]string{}
	for _, file := range []string{"fields.md", "diagnostics.md", "differences.md"} {
		text, err := os.ReadFile("../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		texts[file] = string(text)
		for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(texts[file], -1) {
			anchors[file] = append(anchors[file], anchor(strings.ReplaceAll(heading[1], " ", "-")))
		}
	}
	for file, text := range texts {
		for _, link := range regexp.MustCompile(`\]\(([a-z]*(?:\.md)?)#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
			target := link[1]
			if target == "" {
				target = file
			}
			if !slices.Contains(anchors[target], link[2]) {
				t.Errorf("%s: the link to %s#%s leads nowhere", file, target, link[2])
			}
		}
	}
}
