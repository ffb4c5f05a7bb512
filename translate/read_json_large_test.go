package translate

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tailscale/hujson"

	"gm/diag"
)

// TestLargeListsReadTheSame reads lists in pieces and in one go: values, places
// and diagnostics are the same.
func TestLargeListsReadTheSame(t *testing.T) {
	apps := func(n int, change func(i int, app string) string) string {
		var b strings.Builder
		for i := range n {
			app := fmt.Sprintf("\n  {\"name\": \"a,%d ]\", \"script\": \"a.js\", /* [ , */ \"args\": [\"x\", \"\\\"[\"], \"env\": {\"N\": %d}}", i, i)
			if change != nil {
				app = change(i, app)
			}
			b.WriteString(app)
			if i < n-1 {
				b.WriteString(", // next,\n")
			}
		}
		return b.String()
	}
	const many = 6000
	at := func(n int, replacement string) func(int, string) string {
		return func(i int, app string) string {
			if i == n {
				return replacement
			}
			return app
		}
	}
	for _, c := range []struct {
		what, text string
	}{
		{"a list", "// first\n[" + apps(many, nil) + "\n]\n"},
		{"a list with a comma at its end", "[" + apps(many, nil) + ",\n // done\n]"},
		{"under apps, with a neighbour behind it", `{"deploy": {"a": {}}, "apps": [` + apps(many, nil) + `], "version": 1}`},
		{"keys given twice", "[" + apps(many, func(i int, app string) string {
			return strings.Replace(app, `"args"`, `"script": "b.js", "args"`, 1)
		}) + "]"},
		{"many values that are no apps", "[" + strings.Repeat("1, ", 200_000) + "1]"},
	} {
		src := diag.NewSource("processes.json", []byte(c.text))
		var large, whole messages
		inPieces := &reader{src: src, text: src.Text, m: &large}
		inOne := &reader{src: src, text: src.Text, m: &whole}
		got := inPieces.readLarge()
		if got == nil {
			t.Errorf("%s is not read in pieces", c.what)
			continue
		}
		want := readWhole(inOne)
		if diff := cmp.Diff(describe(got), describe(want)); diff != "" {
			t.Errorf("%s (-in pieces +in one):\n%.2000s", c.what, diff)
		}
		if diff := cmp.Diff(printed(large.list), printed(whole.list)); diff != "" {
			t.Errorf("%s: diagnostics (-in pieces +in one):\n%.2000s", c.what, diff)
		}
		if inPieces.values != inOne.values {
			t.Errorf("%s: %d values in pieces, %d in one", c.what, inPieces.values, inOne.values)
		}
	}
	for _, c := range []struct{ what, text string }{
		{"two commas in a row", "[" + apps(many, at(3000, "")) + "]"},
		{"a comma at the front", "[," + apps(many, nil) + "]"},
		{"an app that is no JSON", "[" + apps(many, at(5000, "{name: 'x'}")) + "]"},
		{"a list that has no end", "[" + apps(many, nil)},
		{"text behind the list", "[" + apps(many, nil) + "] x"},
	} {
		src := diag.NewSource("processes.json", []byte(c.text))
		r := &reader{src: src, text: src.Text, m: &messages{}}
		if r.readLarge() != nil || len(r.m.list) > 0 || r.values > 0 {
			t.Errorf("%s: it is for readJSON to say what is wrong", c.what)
		}
	}
}

// readWhole is what readJSON does with a text that is no large list.
func readWhole(r *reader) *value {
	tree, err := hujson.Parse(r.text)
	if err != nil {
		return nil
	}
	b := jsonBuilder{reader: r, cut: math.MaxInt}
	return b.value(&tree)
}

// describe writes a value with every place in it.
func describe(v *value) string {
	var out bytes.Buffer
	var walk func(v *value)
	walk = func(v *value) {
		fmt.Fprintf(&out, "%d-%d %s %q\n", v.at.Start, v.at.End, v.kind, v.text)
		for _, item := range v.items {
			walk(item)
		}
		for _, m := range v.members {
			fmt.Fprintf(&out, "%d-%d %s:\n", m.nameAt.Start, m.nameAt.End, m.name)
			walk(m.value)
		}
	}
	walk(v)
	return out.String()
}

func printed(l diag.List) string {
	var out bytes.Buffer
	diag.Print(&out, l, diag.Style{})
	return out.String()
}
