package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUnified(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"equal", "a\n", "a\n", ""},
		{"one line", "a\nb\nc\n", "a\nB\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"},
		{"added at the end", "a\n", "a\nb\n", "@@ -1 +1,2 @@\n a\n+b\n"},
		{"all gone", "a\nb\n", "", "@@ -1,2 +0,0 @@\n-a\n-b\n"},
		{"all new", "", "a\n", "@@ -0,0 +1 @@\n+a\n"},
		{"no end of line", "a\nb", "a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"},
		{"context of three", "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
			"@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n"},
		{"two hunks", "a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
			"@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n"},
		{"near changes are one hunk", "a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
			"@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n"},
		{"moved", "a\nb\nc\nd\n", "b\nc\nd\na\n", "@@ -1,4 +1,4 @@\n-a\n b\n c\n d\n+a\n"},
		{"repeated lines", "x\nx\nx\n", "x\nx\n", "@@ -1,3 +1,2 @@\n x\n x\n-x\n"},
	}
	for _, test := range tests {
		want := test.want
		if want != "" {
			want = "--- o\n+++ n\n" + want
		}
		got := string(unified("o", "n", []byte(test.old), []byte(test.new)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if got := string(unified("", "n", nil, nil)); got != "--- /dev/null\n+++ n\n" {
		t.Errorf("a new empty file: %q", got)
	}
}

// TestUnifiedApplies demands that every difference, applied to the old text,
// gives the new one.
func TestUnifiedApplies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"a\n", "b\n", "c\n", "Restart=always\n", "\n", "[Service]\n"}
	text := func() string {
		var out strings.Builder
		for range rng.IntN(30) {
			if rng.IntN(3) == 0 {
				fmt.Fprintf(&out, "%d\n", rng.IntN(20))
			} else {
				out.WriteString(words[rng.IntN(len(words))])
			}
		}
		if rng.IntN(4) == 0 {
			out.WriteString("no end")
		}
		return out.String()
	}
	for range 20000 {
		old, new := text(), text()
		difference := string(unified("o", "n", []byte(old), []byte(new)))
		if got, err := apply(old, difference); err != nil || got != new {
			t.Fatalf("%v: applying\n%s\nto %q gives %q, want %q", err, difference, old, got, new)
		}
	}
}

// apply is a strict patch(1).
func apply(old, difference string) (string, error) {
	if difference == "" {
		return old, nil
	}
	lines := splitLines([]byte(old))
	var out strings.Builder
	at, last := 0, byte(0)
	for line := range strings.Lines(difference) {
		body := line[1:]
		switch {
		case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		case line[0] == '@':
			start, count := 0, 1
			head, _, _ := strings.Cut(line, " +")
			if n, _ := fmt.Sscanf(head, "@@ -%d,%d", &start, &count); n == 0 {
				return "", fmt.Errorf("bad head %q", line)
			}
			if count > 0 {
				start--
			}
			for ; at < start; at++ {
				out.WriteString(lines[at])
			}
		case line[0] == '\\':
			if last != '-' { // in the new text
				text := strings.TrimSuffix(out.String(), "\n")
				out.Reset()
				out.WriteString(text)
			}
		case at >= len(lines) && line[0] != '+', line[0] != '+' && strings.TrimSuffix(lines[at], "\n") != strings.TrimSuffix(body, "\n"):
			return "", fmt.Errorf("line %d is not %q", at+1, body)
		case line[0] == ' ':
			out.WriteString(body)
			at++
		case line[0] == '-':
			at++
		case line[0] == '+':
			out.WriteString(body)
		}
		last = line[0]
	}
	for ; at < len(lines); at++ {
		out.WriteString(lines[at])
	}
	return out.String(), nil
}

// TestUnifiedIsFast compares texts that share nothing, and texts that share all
// but the order: neither may take time that grows with the square.
func TestUnifiedIsFast(t *testing.T) {
	var forward, backward, other strings.Builder
	const n = 50_000
	for i := range n {
		fmt.Fprintf(&forward, "Wants=web@%d.service\n", i)
		fmt.Fprintf(&backward, "Wants=web@%d.service\n", n-i)
		fmt.Fprintf(&other, "Requires=web@%d.service\n", i)
	}
	start := time.Now()
	for _, new := range []string{other.String(), backward.String(), strings.Repeat("same\n", n)} {
		unified("o", "n", []byte(forward.String()), []byte(new))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("three differences of %d lines took %v", n, took)
	}
}
