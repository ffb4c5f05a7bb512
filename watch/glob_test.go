package watch

import (
	"strings"
	"testing"
)

// TestGlob has what picomatch 2.3 answers with dot: true, but for [!a], where a shell's
// meaning is taken.
func TestGlob(t *testing.T) {
	for _, test := range []struct{ glob, match, not string }{
		{"foo/**", "foo foo/a foo/a/b", "fo food"},
		{"**/foo", "foo a/foo a/b/foo", "foo/b"},
		{"*.log", "a.log .log a.b.log", "x/a.log a.logs"},
		{"a**b", "ab axxb", "a/b"},
		{"src/**/*.js", "src/a.js src/x/y/a.js src/.x/a.js", "a.js src/a.ts"},
		{"a/**/b", "a/b a/x/b", "a/x a"},
		{"*", ".x a", "a/b"},
		{"**", "a a/b .x/y", ""},
		{"?", "a é", "ab"},
		{"[a-c]*", "b bxx", "d"},
		{"[^a]x", "bx", "ax"},
		{"[!a]x", "bx", "ax"},
		{"[]a]", "] a", "b"},
		{"[id].js", "i.js d.js", "[id].js id.js"},
		{"[a", "[a", "a"},
		{`a\*b`, "a*b", "axb"},
		{"{a,b/c}/*.js", "a/x.js b/c/x.js", "b/x.js"},
		{"a{1..3}", "a1 a2 a3", "a4 a{1..3}"},
		{"a.{js,ts}", "a.js a.ts", "a.md"},
		{"a{b", "a{b", "ab"},
		{"{x}", "{x}", "x"},
		{"@(a|b)c", "ac bc", "c abc"},
		{"(a|b).js", "a.js b.js", "ab.js"},
		{"+(a|b)", "a ab bab", "c"},
		{"*(a)b", "b ab aab", "a"},
		{"?(a)b", "b ab", "aab"},
		{"!(a|b).js", "c.js", "a.js b.js x/c.js"},
		{"*.!(js)", "a.ts a.jsx", "a.js"},
	} {
		g := parseGlob(test.glob)
		for want, names := range map[bool]string{true: test.match, false: test.not} {
			for _, name := range strings.Fields(names) {
				if got := g.match(strings.Split(name, "/")); got != want {
					t.Errorf("%s matches %s: %v", test.glob, name, got)
				}
			}
		}
	}
}

func TestGlobReaches(t *testing.T) {
	for _, test := range []struct{ glob, reached, not string }{
		{"src/*.js", "src", "src/a lib"},
		{"src/**/*.js", "src src/a src/a/b", "lib"},
		{"*/a/*.js", "x x/a", "x/b x/a/c"},
		{"{a,b/c}/*", "a b b/c", "c b/d"},
	} {
		g := parseGlob(test.glob)
		for want, names := range map[bool]string{true: test.reached, false: test.not} {
			for _, name := range strings.Fields(names) {
				if got := g.reaches(strings.Split(name, "/")); got != want {
					t.Errorf("%s reaches below %s: %v", test.glob, name, got)
				}
			}
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, seed := range []string{"a/**/b", "!(a|b)*.js", "[a-", "{a,{b,c}}", "+(+(", `\`, "{1..99999}", "@(|a)"} {
		f.Add(seed, "a/x.js")
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if strings.Count(glob, "{") > 4 || strings.Count(glob, "**/") > 4 || len(name) > 200 {
			return
		}
		parseGlob(glob).match(strings.Split(name, "/"))
	})
}
