package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	type o = Options
	for _, test := range []struct {
		name    string
		options Options
		counts  string // a directory ends with a slash
		not     string
	}{
		{name: "default", options: o{},
			counts: "a.js src/a.js src/deep/er/ a.b/c node/modules",
			not:    ".env .git/config src/.cache/x node_modules/x/y src/node_modules/ my_node_modules_2/x ../other/a.js"},
		{name: "a dot above the directory is no reason", options: o{Dir: "/home/.u/shop"}, counts: "/home/.u/shop/a.js", not: "/home/.u/shop/.x"},
		{name: "editors", options: o{Ignore: []string{}}, counts: "a.js .env", not: ".a.js.swp .a.js.swx a.js~ src/x.js~"},
		{name: "editors without atomic", options: o{Ignore: []string{}, Atomic: -1}, counts: ".a.js.swp a.js~"},
		{name: "nothing ignored", options: o{Ignore: []string{}}, counts: ".env node_modules/x .git/config"},
		{name: "ignore replaces the default", options: o{Ignore: []string{"node_modules"}},
			counts: ".env src/node_modules/x node_modules2/x", not: "node_modules/ node_modules/x/y"},
		{name: "path with subtree", options: o{Ignore: []string{"./public/", "a.js", "/srv/shop/abs"}},
			counts: "src/public/x b.js publicity", not: "public/ public/x/y a.js abs/x"},
		{name: "path above", options: o{Paths: []string{".", "../lib"}, Ignore: []string{"../lib/tmp"}}, counts: "../lib/a.js a.js", not: "../lib/tmp/x"},
		{name: "globs start at the directory", options: o{Ignore: []string{"*.log", "**/*.tmp", "dist*"}},
			counts: "x/a.log a.tmpx", not: "a.log a.tmp x/y/a.tmp dist2/"},
		{name: "PM2's documented expression", options: o{Ignore: []string{`[\/\\]\./`, "node_modules"}},
			counts: "a.js src/a.js", not: ".env src/.x/ src/.x/y node_modules/x"},
		{name: "expressions", options: o{Ignore: []string{`^.*.log$`, `\.tmp`, `/cache/i`, `(?i)readme`}},
			counts: "a.js logs/x", not: "a.log x/y.log a.tmp.js x/Cache/y README"},
		{name: "anchored expression", options: o{Ignore: []string{`^logs/`, `^/srv/shop/tmp`}}, counts: "x/logs/a logs2", not: "logs/ logs/a tmp/a"},
		{name: "expression in the common part", options: o{Dir: "/srv/build/shop", Ignore: []string{`^.*build`, `build$`}},
			counts: "/srv/build/shop/a.js", not: "/srv/build/shop/build /srv/build/shop/x/build"},
		{name: "bad expression is a path", options: o{Ignore: []string{`(?=x)`}}, counts: "a.js x", not: "(?=x)"},
		{name: "absolute directory with a slash", options: o{Ignore: []string{`/srv/shop/logs/`}}, counts: "a.js srv/shop/logs", not: "logs/x"},
		{name: "paths", options: o{Paths: []string{"src", "conf/a.json"}}, counts: "src/ src/x conf/a.json", not: "a.js conf/b.json srcs"},
		{name: "named paths count", options: o{Paths: []string{".env", "node_modules/mine"}}, counts: ".env node_modules/mine/a.js",
			not: ".env2 node_modules/x node_modules/mine/.git"},
		{name: "named and ignored", options: o{Paths: []string{"a", "b"}, Ignore: []string{"b"}}, counts: "a/x", not: "b b/x"},
		{name: "left out by !", options: o{Paths: []string{".", "!gen"}}, counts: "a.js", not: "gen/ gen/a.js .x"},
		{name: "globs", options: o{Paths: []string{"views/**/*.pug", "*.json"}}, counts: "views/a.pug views/x/a.pug p.json",
			not: "views/a.js views/x/ x/p.json views/.x.pug"},
		{name: "glob with alternatives", options: o{Paths: []string{"{a,b/c}/*.js"}}, counts: "a/x.js b/c/x.js", not: "a/x b/x.js"},
		{name: "literal", options: o{Paths: []string{"[id]"}, Literal: true}, counts: "[id]/x", not: "i d"},
		{name: "odd names", options: o{Paths: []string{"it's $x 100%"}}, counts: "it's%20$x%20100%/a"},
		{name: "never", options: o{Ignore: []string{}, Never: []string{"/srv/shop/logs/out.log", "logs/err-*.log", "a[b].pid"}},
			counts: "logs/ logs/other.log out.log logs/err.log ab.pid", not: "logs/out.log logs/err-0.log logs/err-12.log a[b].pid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.options.Dir == "" {
				test.options.Dir = "/srv/shop"
			}
			if test.options.Paths == nil {
				test.options.Paths = []string{"."}
			}
			if test.options.Atomic++; test.options.Atomic < 0 {
				test.options.Atomic = 0
			}
			r := newRules(&test.options)
			for want, names := range map[bool]string{true: test.counts, false: test.not} {
				for _, name := range strings.Fields(names) {
					dir := strings.HasSuffix(name, "/")
					if got := r.counts(absolute(r.dir, strings.ReplaceAll(name, "%20", " ")), dir); got != want {
						t.Errorf("%s counts: %v", name, got)
					}
				}
			}
		})
	}
}

func TestRulesDescend(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		into    string
		not     string
	}{
		{name: "default", options: Options{Depth: -1}, into: ". src src/a", not: "node_modules .git src/.x ../lib"},
		{name: "ignored", options: Options{Depth: -1, Ignore: []string{"dist", "*.d", `^tmp/`}}, into: "src .git", not: "dist dist/x a.d tmp"},
		{name: "depth", options: Options{Depth: 1}, into: ". src", not: "src/a"},
		{name: "flat glob", options: Options{Depth: -1, Paths: []string{"src/*.js"}}, into: "src", not: ". src/a"},
		{name: "deep glob", options: Options{Depth: -1, Paths: []string{"src/**/*.js"}}, into: "src src/a src/a/b", not: ". lib src/.git"},
		{name: "file", options: Options{Depth: -1, Paths: []string{"conf/a.json"}}, into: "", not: ". conf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.options.Dir = "/srv/shop"
			if test.options.Paths == nil {
				test.options.Paths = []string{"."}
			}
			r := newRules(&test.options)
			for want, names := range map[bool]string{true: test.into, false: test.not} {
				for _, name := range strings.Fields(names) {
					if got := r.descends(absolute(r.dir, name)); got != want {
						t.Errorf("descends into %s: %v", name, got)
					}
				}
			}
		})
	}
}

// A path that is there is no glob.
func TestRulesLiteralPath(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "[id]"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newRules(&Options{Dir: dir, Paths: []string{"[id]"}, Depth: -1})
	if !r.counts(filepath.Join(dir, "[id]/page.js"), false) || r.counts(filepath.Join(dir, "i"), false) {
		t.Errorf("[id] is taken for a glob: %+v", r.roots)
	}
}

// A log that is declared through a link is the same file.
func TestNeverThroughLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("var/log", filepath.Join(dir, "logs")); err != nil {
		t.Fatal(err)
	}
	r := newRules(&Options{Dir: dir, Paths: []string{"."}, Depth: -1, Never: []string{filepath.Join(dir, "var/log/out.log")}})
	if r.counts(filepath.Join(dir, "logs/out.log"), false) || !r.counts(filepath.Join(dir, "logs/x.log"), false) {
		t.Error("the log counts by its other name")
	}
}
