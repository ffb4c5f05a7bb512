package machine

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEvaluate runs declarations with the machine's node.
func TestEvaluate(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	tests := []struct{ name, file, text, want, fails string }{
		{"CommonJS", "a.config.js", `module.exports = {apps: [{script: "a.js"}]}`, `{"apps":[{"script":"a.js"}]}`, ""},
		{"ES module", "a.config.mjs", `export default [{script: "a.js"}]`, `[{"script":"a.js"}]`, ""},
		{"named export", "b.config.mjs", `export const apps = [{script: "a.js"}]`, `{"apps":[{"script":"a.js"}]}`, ""},
		{"compiled ES module", "b.config.cjs", `exports.__esModule = true; exports.default = {apps: []}`, `{"apps":[]}`, ""},
		{"promise", "c.config.mjs", `export default Promise.resolve([1])`, `[1]`, ""},
		{"output is no answer", "c.config.js",
			`console.log("{}"); process.stdout.write("[]"); require("child_process").execSync("echo noise", {stdio: "inherit"}); module.exports = {apps: []}`,
			`{"apps":[]}`, ""},
		{"functions and undefined", "d.config.js", `module.exports = {a: undefined, b: () => 1, c: [undefined]}`, `{"c":[null]}`, ""},
		{"numbers", "e.config.js", `module.exports = {a: NaN, b: 10n, c: 1/0}`, `{"a":"NaN","b":"10","c":"Infinity"}`, ""},
		{"paths", "f.config.js", `module.exports = {a: __dirname, b: __dirname + "/x", c: "x" + __dirname, d: process.cwd() + "y"}`,
			`{"a":"/srv/shop","b":"/srv/shop/x","c":"x` + dir + `","d":"` + dir + `y"}`, ""},
		{"environment", "g.config.js", `module.exports = {a: process.env.GIVEN, b: process.env.HOME}`, `{"a":"yes"}`, ""},
		{"open handles", "h.config.js", `setInterval(() => {}, 1000); module.exports = {apps: []}`, `{"apps":[]}`, ""},

		{"function", "i.config.js", `module.exports = () => ({apps: []})`, "", "exports a function"},
		{"nothing", "j.config.js", `module.exports = undefined`, "", "exports nothing"},
		{"error", "k.config.js", `throw new TypeError("no good")`, "", "TypeError: no good"},
		{"syntax", "l.config.js", `module.exports = {`, "", "SyntaxError"},
		{"cycle", "m.config.js", `const a = {}; a.a = a; module.exports = a`, "", "circular"},
		{"exit", "n.config.js", `process.exit(0)`, "", "ended node"},
		{"exit with an error", "o.config.js", `console.error("\nbad day"); process.exit(3)`, "", "exit status 3: bad day"},
	}
	for _, test := range tests {
		path := filepath.Join(dir, test.file)
		if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := evaluate(t.Context(), node, path, "/srv/shop", map[string]string{"GIVEN": "yes"})
		switch {
		case test.fails != "":
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %s, error %v, want one with %q", test.name, got, err, test.fails)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case string(got) != test.want:
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestEvaluateEnds demands that a declaration that never ends is left.
func TestEvaluateEnds(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	path := filepath.Join(t.TempDir(), "a.config.js")
	if err := os.WriteFile(path, []byte("for (;;);"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := evaluate(ctx, node, path, "/srv", nil); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("error %v", err)
	}
}
