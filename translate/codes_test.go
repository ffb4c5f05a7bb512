package translate

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gm/diag"
	"gm/units"
)

func TestCodesAreSortedAndComplete(t *testing.T) {
	codes := Codes()
	var names []string
	for i, c := range codes {
		names = append(names, c.Name)
		if i > 0 && codes[i-1].Name >= c.Name {
			t.Errorf("%q stands before %q", codes[i-1].Name, c.Name)
		}
		if c.Doc == "" || c.Example == "" {
			t.Errorf("%s: Doc and Example must be given", c.Name)
		}
		if strings.HasSuffix(c.Doc, ".") {
			t.Errorf("%s: Doc completes a sentence, without a full stop: %q", c.Name, c.Doc)
		}
	}
	declared := declaredCodes(t)
	for _, name := range declared {
		if !slices.Contains(names, name) {
			t.Errorf("%s is declared and is missing in Codes()", name)
		}
	}
	if len(declared) != len(names) {
		t.Errorf("%d codes are declared, Codes() has %d", len(declared), len(names))
	}
}

// declaredCodes reads the names of all codes from the package's source.
func declaredCodes(t *testing.T) []string {
	t.Helper()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if kind, ok := literal.Type.(*ast.Ident); !ok || kind.Name != "Code" {
				return true
			}
			for _, element := range literal.Elts {
				pair, ok := element.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				if key, ok := pair.Key.(*ast.Ident); !ok || key.Name != "Name" {
					continue
				}
				text, ok := pair.Value.(*ast.BasicLit)
				if !ok {
					t.Fatalf("%s: a code's name is no literal", file)
				}
				name, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, name)
			}
			return true
		})
	}
	return names
}

// compileCode compiles a code's example, with the flags it names, on a machine
// that has node, a few scripts and little else.
func compileCode(t *testing.T, c *Code) (units.Set, diag.List) {
	t.Helper()
	o := Options{Host: exampleHost(explainSystemd)}
	o.Host.Probe = Probe{
		Program: func(string) string { return "" },
		Version: func(string) string { return "" },
		Account: func(_, name string) bool { return name == "www-data" },
		File: func(name string) FileKind {
			if strings.Contains(name, "missing") || strings.Contains(name, " ") || path.Ext(name) == "" {
				return FileMissing
			}
			return FileText
		},
	}
	o.Outside = Outside{
		Dir:      o.Host.Root,
		ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist },
	}
	if c == codeUsedNode {
		o.Outside.Node = func(string) ([]byte, error) { return []byte(`[{"script": "a.js"}]`), nil }
	}
	words := strings.Fields(c.Flags)
	for i := 0; i < len(words); i++ {
		value := func() string {
			if i++; i == len(words) {
				t.Fatalf("%s: flag %s has no value", c.Name, words[i-1])
			}
			return words[i]
		}
		switch words[i] {
		case "--env":
			o.Env = value()
		case "--only":
			o.Only = strings.Split(value(), ",")
		case "--user":
			o.Host.Scope = ScopeUser
		case "--systemd":
			o.Host.Systemd, _ = strconv.Atoi(value())
		case "--caller":
			o.Caller = value()
		default:
			t.Fatalf("%s: unknown flag %s", c.Name, words[i])
		}
	}
	name := c.File
	if name == "" {
		name = "processes.json"
	}
	return Compile(diag.NewSource(name, []byte(c.Example)), o)
}

func TestCodesHaveWorkingExamples(t *testing.T) {
	for _, c := range Codes() {
		_, list := compileCode(t, c)
		i := slices.IndexFunc(list, func(d diag.Diagnostic) bool { return d.Code == c.Name })
		if i < 0 {
			t.Errorf("%s: the example does not yield it: %v", c.Name, list)
			continue
		}
		d := list[i]
		if d.Severity != c.Severity {
			t.Errorf("%s: severity %v, want %v", c.Name, d.Severity, c.Severity)
		}
		// --only is about a flag, everything else about the text.
		if d.At.IsZero() != (c == unknownApp) {
			t.Errorf("%s: its place is %q", c.Name, d.At)
		}
		if d.Cause == "" || strings.HasSuffix(d.Cause, ".") {
			t.Errorf("%s: the cause is no clause: %q", c.Name, d.Cause)
		}
		// Some causes leave nothing to add but their opposite.
		plain := c == codeTooDeep || c == codeJSCycle
		if d.Severity != diag.Note && d.Remedy == "" && !plain {
			t.Errorf("%s: there is no remedy", c.Name)
		}
		for _, other := range list {
			if other.Code != c.Name && other.Severity <= c.Severity && other.Severity != diag.Note {
				t.Errorf("%s: the example yields %s as well: %s", c.Name, other.Code, other.Cause)
			}
		}
	}
}
