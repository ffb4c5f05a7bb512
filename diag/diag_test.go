package diag

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPositionCountsCharacters(t *testing.T) {
	src := NewSource("a.json", []byte("\ufeff{\"é\": 1}\r\n\t\"x\": 2\n"))
	for _, c := range []struct {
		what string
		at   int
		want string
	}{
		{"the byte order mark is no column", 3, "a.json:1:1"},
		{"é is one column", len("\ufeff{\"é\": "), "a.json:1:7"},
		{"a tab is one column", strings.Index(string(src.Text), "\"x\""), "a.json:2:2"},
		{"the end of the text", len(src.Text), "a.json:3:1"},
	} {
		if got := src.Range(c.at, c.at).String(); got != c.want {
			t.Errorf("%s: offset %d is %s, want %s", c.what, c.at, got, c.want)
		}
	}
}

func TestRangeIsClippedToTheText(t *testing.T) {
	src := NewSource("a", []byte("abc"))
	if r := src.Range(-5, 99); r.Start != 0 || r.End != 3 {
		t.Errorf("got [%d, %d), want [0, 3)", r.Start, r.End)
	}
	if r := src.Range(2, 1); r.Start != 2 || r.End != 2 {
		t.Errorf("got [%d, %d), want [2, 2)", r.Start, r.End)
	}
}

func TestPrint(t *testing.T) {
	at := func(text, word string) Range {
		i := strings.Index(text, word)
		return NewSource("eco.json", []byte(text)).Range(i, i+len(word))
	}
	for _, c := range []struct {
		what string
		d    Diagnostic
		want string
	}{
		{"a place, a caret, a remedy",
			Diagnostic{Error, "bad-cron", at("{\n\t\"cron\": \"x\"\n}", `"x"`), "minute x", "use 0-59"},
			"eco.json:2:10: error: minute x [bad-cron]\n    \t\"cron\": \"x\"\n    \t        ^~~\n    fix: use 0-59\n"},
		{"no place",
			Diagnostic{Warning, "no-node", Range{}, "node is missing", ""},
			"gm: warning: node is missing [no-node]\n"},
		{"an empty text has no line to show",
			Diagnostic{Error, "empty-file", NewSource("e.json", nil).Range(0, 0), "nothing there", ""},
			"e.json:1:1: error: nothing there [empty-file]\n"},
		{"control characters cannot reach the terminal",
			Diagnostic{Note, "n", Range{}, "a\x1b[31m\nb", ""},
			"gm: note: a\ufffd[31m\ufffdb [n]\n"},
		{"a value of several lines is marked on its first",
			Diagnostic{Note, "n", at("[\n1\n]", "[\n1\n]"), "list", ""},
			"eco.json:1:1: note: list [n]\n    [\n    ^\n"},
		{"invalid UTF-8 does not break the caret",
			Diagnostic{Note, "n", NewSource("b", []byte("\xff\xff\"x\"")).Range(2, 5), "x", ""},
			"b:1:3: note: x [n]\n    \ufffd\ufffd\"x\"\n      ^~~\n"},
	} {
		var out bytes.Buffer
		Print(&out, List{c.d}, Style{})
		if diff := cmp.Diff(out.String(), c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", c.what, diff)
		}
	}
}

func TestPrintCutsLongLinesAroundThePlace(t *testing.T) {
	text := strings.Repeat("x", 5000) + "HERE" + strings.Repeat("y", 5000)
	var out bytes.Buffer
	Print(&out, List{{Note, "n", NewSource("l", []byte(text)).Range(5000, 5004), "c", ""}}, Style{})
	lines := strings.Split(out.String(), "\n")
	if from := strings.Index(lines[2], "^~~~"); from < 0 || !strings.HasPrefix(lines[1][from:], "HERE") || len(lines[1]) > 200 {
		t.Errorf("the caret is not under the place:\n%s", out.String())
	}
}

func TestSortKeepsTheOrderOfOnePlace(t *testing.T) {
	src := NewSource("a", []byte("0123456789"))
	l := List{
		{Code: "late", At: src.Range(5, 6)},
		{Code: "first", At: src.Range(1, 2)},
		{Code: "second", At: src.Range(1, 2)},
		{Code: "nowhere"},
	}
	l.Sort()
	var got []string
	for _, d := range l {
		got = append(got, d.Code)
	}
	if diff := cmp.Diff(got, []string{"nowhere", "first", "second", "late"}); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
}

func TestStrictMakesErrorsOfWarningsOnly(t *testing.T) {
	l := List{{Severity: Warning}, {Severity: Note}}
	if strict := l.Strict(); strict[0].Severity != Error || strict[1].Severity != Note || l[0].Severity != Warning {
		t.Errorf("got %v from %v", strict, l)
	}
}

func TestPrintJSON(t *testing.T) {
	src := NewSource("a.json", []byte("{\n <x>}"))
	var out bytes.Buffer
	if err := PrintJSON(&out, List{{Error, "bad", src.Range(3, 6), "<x>", "fix it"}}); err != nil {
		t.Fatal(err)
	}
	const want = `[
  {
    "file": "a.json",
    "line": 2,
    "column": 2,
    "endLine": 2,
    "endColumn": 5,
    "severity": "error",
    "code": "bad",
    "message": "<x>",
    "fix": "fix it"
  }
]
`
	if diff := cmp.Diff(out.String(), want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	out.Reset()
	if err := PrintJSON(&out, nil); err != nil || out.String() != "[]\n" {
		t.Errorf("an empty list is %q, %v", out.String(), err)
	}
}
