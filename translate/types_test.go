package translate

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gm/diag"
)

func TestSplitArgs(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  \t ", nil},
		{"a", []string{"a"}},
		{" a  b\tc\n", []string{"a", "b", "c"}},
		{`a 'b c' "d e"`, []string{"a", "b c", "d e"}},
		{`--k="v w"`, []string{`--k="v w"`}},
		{`--k='v w' x`, []string{`--k='v w'`, "x"}},
		{`pre"mid dle"post`, []string{`pre"mid`, `dle"post`}},
		{`a\ b`, []string{`a\`, "b"}},
		{`['--toto=heya coco', '-d', '1']`, []string{"['--toto=heya", "coco',", "-d", ",", "1", "]"}},
		{`""`, nil},
		{`" "`, nil},
		{`'' a`, []string{"a"}},
		{`"`, nil},
		{`a "`, []string{"a"}},
		{`"a`, []string{`"a`}},
		{`a="b`, []string{`a="b`}},
		{`a=""b`, []string{`a=""`, "b"}},
		{`="b c"`, []string{`="b`, `c"`}},
		{`a="b
c"`, []string{"a=\"b\nc\""}},
		{`"it's"`, []string{"it's"}},
		{`$HOME ~/x *.js`, []string{"$HOME", "~/x", "*.js"}},
		{"a\u00a0b\u3000c\ufeffd", []string{"a", "b", "c", "d"}}, // JavaScript's blanks
		{"a\u0085b", []string{"a\u0085b"}},                       // and Go's, which is none of them
		{"日本 'x y'", []string{"日本", "x y"}},
	} {
		if diff := cmp.Diff(test.want, splitArgs(test.text)); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", test.text, diff)
		}
	}
}

// askPM2 runs a script with PM2's own lib/tools/Config.js as config and the
// JSON of in as input; the script's output is read into out. GM_PM2 names the
// directory that has node_modules/pm2.
func askPM2(t *testing.T, script string, in, out any) {
	t.Helper()
	dir := os.Getenv("GM_PM2")
	if dir == "" {
		t.Skip("GM_PM2 names no directory with node_modules/pm2")
	}
	config, err := filepath.Abs(filepath.Join(dir, "node_modules/pm2/lib/tools/Config.js"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "-e", `const config = require(process.argv[1]);
		const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
		console.log(JSON.stringify(`+script+`))`, config)
	cmd.Stdin = bytes.NewReader(text)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(output, out); err != nil {
		t.Fatal(err)
	}
}

func TestSplitArgsAsPM2(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "--k", "=", "=", `"`, `"`, `'`, `'`, " ", " ", "\t", "\n", `\`, "$", ",", "é", "日", "\u00a0", "\ufeff", "\u0085", "0"}
	var texts []string
	for range 200 {
		var text strings.Builder
		for range 1 + random.IntN(24) {
			text.WriteString(pieces[random.IntN(len(pieces))])
		}
		texts = append(texts, text.String())
	}
	var want [][]string
	askPM2(t, `input.map(args => config.validateJSON({script: "a.js", args}).config.args || [])`, texts, &want)
	for i, text := range texts {
		if got := splitArgs(text); !slices.Equal(got, want[i]) {
			t.Errorf("%q: got %q, PM2 gets %q", text, got, want[i])
		}
	}
}

// The values of each key that PM2's own check takes are those that gm takes,
// but for the differences that milder and stricterThanPM2 list.
func TestTypesAsPM2(t *testing.T) {
	type question struct{ Key, Text string }
	var questions []question
	for _, name := range strings.Fields(pm2Schema) {
		for _, text := range elements(t, typeCorpus) {
			if name != envPattern && text != "null" {
				questions = append(questions, question{name, text})
			}
		}
	}
	var want []bool
	askPM2(t, `input.map(q => config.validateJSON({script: "a.js", [q.Key]: JSON.parse(q.Text)}).errors.length == 0)`, questions, &want)
	for i, q := range questions {
		f, _ := LookupField(q.Key)
		got := f.Type.read(parseValue(t, q.Text), &arg{}) == nil
		switch {
		case got == want[i], got && milder(q.Key, q.Text), !got && stricterThanPM2(q.Key, q.Text):
		default:
			t.Errorf("%s: %s: gm takes it: %v, PM2: %v", q.Key, q.Text, got, want[i])
		}
	}
}

// milder says where gm takes what PM2 refuses.
func milder(key, text string) bool {
	switch key {
	case "instances": // lib/Common.js turns "max" into 0 before the check
		return strings.Contains(strings.ToLower(text), "max")
	case "max_memory_restart": // 1.5G, 500mb
		return strings.ContainsAny(text, "0123456789")
	case "post_update": // one command without a list
		return strings.HasPrefix(text, `"`)
	}
	return false
}

// stricterThanPM2 says where gm refuses what passes PM2's check, and is dropped
// or breaks later.
func stricterThanPM2(key, text string) bool {
	_, numeric := number(&value{kind: kindString, text: strings.Trim(text, `[]" `)})
	switch {
	case slices.Contains([]string{"0", "false", `""`, `" "`}, text):
		return true // dropped by ||, or NaN
	case strings.HasPrefix(text, "["):
		return true // [5] is 5 and [] is 0 to isNaN; elements are not looked at
	case numeric, text == `"0x10"`, text == `"1e400"`:
		return true // a number out of range, a fraction of a port
	case key == "env":
		return strings.HasPrefix(text, `"`) // crashes PM2's command line
	case key == "log_type":
		return strings.HasPrefix(text, `"`) // any other word means plain lines
	case key == "watch":
		return text == `"true"` || text == `"false"` // a path of that name
	case key == "max_memory_restart":
		return text == `"0M"`
	}
	return false
}

// parseValue reads one JSON value as a declaration's.
func parseValue(t *testing.T, text string) *value {
	t.Helper()
	var m messages
	doc := parse(diag.NewSource("processes.json", []byte(`[{"script": "a.js", "key": `+text+`}]`)), Outside{}, &m)
	if doc == nil || len(m.list) > 0 {
		t.Fatalf("%s: %v", text, m.list)
	}
	return doc.apps[0].member("key")
}

func TestReadTypes(t *testing.T) {
	list := func(a *arg) string {
		var out []string
		for _, w := range a.list {
			out = append(out, w.text)
		}
		return strings.Join(out, "|")
	}
	for _, test := range []struct {
		key, text string
		number    float64
		list      string
		flag      bool
	}{
		{key: "restart_delay", text: `4000`, number: 4000},
		{key: "restart_delay", text: `"4000"`, number: 4000},
		{key: "restart_delay", text: `"1e3"`, number: 1000},
		{key: "restart_delay", text: `"2.7"`, number: 2.7},
		{key: "restart_delay", text: `[5]`, number: 5},
		{key: "max_restarts", text: `"0"`, number: 0},
		{key: "max_restarts", text: `2.7`, number: 2},
		{key: "max_memory_restart", text: `"150M"`, number: 157286400},
		{key: "max_memory_restart", text: `"10K"`, number: 10240},
		{key: "max_memory_restart", text: `"1G"`, number: 1 << 30},
		{key: "max_memory_restart", text: `"1.5G"`, number: 3 << 29},
		{key: "max_memory_restart", text: `"500mb"`, number: 500 << 20},
		{key: "max_memory_restart", text: `"512MiB"`, number: 512 << 20},
		{key: "max_memory_restart", text: `"1e3"`, number: 1000},
		{key: "min_uptime", text: `"2m"`, number: 120_000},
		{key: "min_uptime", text: `"1h"`, number: 3_600_000},
		{key: "min_uptime", text: `"0s"`, number: 0},
		{key: "min_uptime", text: `"5000"`, number: 5000},
		{key: "instances", text: `"max"`, number: 0},
		{key: "instances", text: `"4"`, number: 4},
		{key: "instances", text: `1.5`, number: 1},
		{key: "instances", text: `-9`, number: -9},
		{key: "stop_exit_codes", text: `0`, list: "0"},
		{key: "stop_exit_codes", text: `[12, "42"]`, list: "12|42"},
		{key: "args", text: `"a 'b c'"`, list: "a|b c"},
		{key: "args", text: `["a b", 3, true]`, list: "a b|3|true"},
		{key: "watch", text: `true`, flag: true},
		{key: "watch", text: `"src"`, flag: true, list: "src"},
		{key: "watch", text: `[]`, flag: true},
		{key: "watch", text: `""`},
		{key: "ignore_watch", text: `"node_modules logs"`, list: "node_modules|logs"},
	} {
		f, _ := LookupField(test.key)
		var a arg
		if fault := f.Type.read(parseValue(t, test.text), &a); fault != nil {
			t.Errorf("%s: %s is refused: %s expected", test.key, test.text, fault.expected)
			continue
		}
		if a.number != test.number || list(&a) != test.list || a.flag != test.flag {
			t.Errorf("%s: %s: got %v %q %v, want %v %q %v",
				test.key, test.text, a.number, list(&a), a.flag, test.number, test.list, test.flag)
		}
	}
}

func TestNearest(t *testing.T) {
	for text, want := range map[string]string{
		"max_restart":    "max_restarts",
		"restart_dealy":  "restart_delay",
		"Script":         "script",
		"exec-mode":      "exec_mode",
		" name":          "name",
		"instance":       "instances",
		"autoRestart":    "autorestart",
		"enviroment":     "",
		"x":              "",
		"":               "",
		"description":    "",
		"max_memory":     "",
		"instances_list": "",
	} {
		if got := nearest(text, fieldNames()); got != want {
			t.Errorf("nearest(%q) = %q, want %q", text, got, want)
		}
	}
}
