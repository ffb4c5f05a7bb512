package translate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gm/diag"
)

func TestReadYAML(t *testing.T) {
	const yml = "process.yml"
	runReadCases(t, []readCase{
		{name: "block", file: yml, text: "# c\napps:\n  - name: web\n    script: a.js # d\n    args: [--x, 'y z', \"q\\n\"]\n    instances: 2\n    watch: no\n    autorestart: false\ndeploy: {}\n",
			want: `{"name":"web","script":"a.js","args":["--x","y z","q\n"],"instances":2,"watch":"no","autorestart":false} deploy={}`},
		{name: "scalars", file: yml, text: "script: a\na: 0755\nb: 0o17\nc: 0x1F\nd: 1e3\ne: .5\nf: 1_000\ng: 12:30\nh: ~\ni:\nj: -.5\nk: 0b11\nl: +12\nm: 1.\nn: .inf\no: -.INF\np: .NaN\nq: 1e400\nr: 08\ns: 1e21\nt: 0.1e-7\nu: TRUE\nv: Yes\nw: '012'\nx: \"5\"\ny: 0o8\nz: -0\n",
			want: `{"script":"a","a":755,"b":15,"c":31,"d":1000,"e":0.5,"f":"1_000","g":"12:30","h":null,"i":null,"j":"-.5","k":3,"l":12,"m":1,"n":Infinity,"o":-Infinity,"p":NaN,"q":"1e400","r":8,"s":1e+21,"t":1e-8,"u":true,"v":"Yes","w":"012","x":"5","y":"0o8","z":0}`},
		{name: "tags", file: yml, text: "script: !!str 12\nn: !!int 12\nf: !!float 12\nb: !!bool true\nl: !!seq [1]\nz: !!null ''\n", want: `{"script":"12","n":12,"f":12,"b":true,"l":[1],"z":null}`},
		{name: "date", file: yml, text: "script: a\nenv:\n  D: 2001-01-01\n  T: 2001-12-14t21:59:43.1-05:00\n  Q: '2001-01-01'\n",
			want: `{"script":"a","env":{"D":"\"2001-01-01T00:00:00.000Z\"","T":"\"2001-12-15T02:59:43.100Z\"","Q":"2001-01-01"}}`,
			messages: "3:6 yaml-date: 2001-01-01 is a date to PM2's YAML reader; the value becomes \"2001-01-01T00:00:00.000Z\", quotes included\n" +
				"4:6 yaml-date: 2001-12-14t21:59:43.1-05:00 is a date to PM2's YAML reader; the value becomes \"2001-12-15T02:59:43.100Z\", quotes included\n"},
		{name: "anchors and merge keys", file: yml, text: "apps:\n- &base\n  script: a\n  env: &e {A: 1, B: 2}\n- <<: *base\n  script: b\n- script: c\n  <<: [{script: z, cwd: /x}, *base]\n  env: {B: 3, <<: *e}\n",
			want: `{"script":"a","env":{"A":1,"B":2}} {"script":"b","env":{"A":1,"B":2}} {"script":"c","cwd":"/x","env":{"B":3,"A":1}}`},
		{name: "block scalars", file: yml, text: "script: >-\n  a\n  b\nargs: |\n  x\n  y\n", want: `{"script":"a b","args":"x\ny\n"}`},
		{name: "keys", file: yml, text: "script: a\n1: x\ntrue: y\n~: z\n0x10: h\n\"1e3\": s\n", want: `{"script":"a","1":"x","true":"y","null":"z","16":"h","1e3":"s"}`},
		{name: "JSON is YAML", file: yml, text: "{\"apps\": [{\"script\": \"a\"}]}", want: `{"script":"a"}`},
		{name: "byte-order mark and CRLF", file: yml, text: "\ufeffapps:\r\n  - script: a\r\n", want: `{"script":"a"}`},
		{name: "document markers", file: yml, text: "---\nscript: a\n...\n", want: `{"script":"a"}`},
		{name: "list", file: "x.yaml", text: "- script: a\n- script: b\n", want: `{"script":"a"} {"script":"b"}`},
		{name: "version directive", file: yml, text: "%YAML 1.2\n---\nscript: a\n", want: `{"script":"a"}`},
	})
}

func TestReadYAMLErrors(t *testing.T) {
	const yml = "process.yml"
	runReadCases(t, []readCase{
		{name: "indentation", file: yml, text: "apps:\n  - name: a\n   script: b\n", want: "none",
			messages: "3:4 bad-yaml: found a line that is indented unlike the lines around it\n"},
		{name: "tab", file: yml, text: "apps:\n  - name: a\n\tscript: b\n", want: "none",
			messages: "3:1 bad-yaml: found a tab in the indentation, where YAML takes only spaces\n"},
		{name: "tab after the dash", file: yml, text: "apps:\n  -\tscript: a\n", want: "none",
			messages: "2:4 bad-yaml: found a tab in the indentation, where YAML takes only spaces\n"},
		{name: "no colon", file: yml, text: "apps:\n  - name: a\n    script b\n    cwd: x\n", want: "none",
			messages: "3:5 bad-yaml: found a line without a colon where a key was expected\n"},
		{name: "quote", file: yml, text: "apps:\n  - name: \"a\n    script: b\n", want: "none", messages: "2:3 bad-yaml: found a quote that is never closed\n"},
		{name: "bracket", file: yml, text: "script: a\nargs: [a, b\ncwd: x\n", want: "none",
			messages: "2:1 bad-yaml: found a list or mapping in brackets that is not closed, or lacks a comma\n"},
		{name: "reserved character", file: yml, text: "script: a\nname: @b\n", want: "none", messages: "2:1 bad-yaml: found a character that no value can start with\n"},
		{name: "template", file: yml, text: "script: {{ path }}\n", want: "none", messages: "1:10 bad-yaml: found a list or mapping where a key was expected\n"},
		{name: "unknown tag", file: yml, text: "script: !Ref x\n", want: "none", messages: "1:9 bad-yaml: found the tag !Ref, which PM2's YAML reader does not know here\n"},
		{name: "unknown anchor", file: yml, text: "script: a\ncwd: *b\n", want: "none", messages: "2:1 bad-yaml: unknown anchor 'b' referenced\n"},
		{name: "duplicate key", file: yml, text: "script: a\nname: b\nscript: c\n", want: "none",
			messages: "3:1 yaml-duplicate-key: the key \"script\" is here again, after line 1; PM2's YAML reader refuses it\n"},
		{name: "documents", file: yml, text: "script: a\n---\nscript: b\n", want: "none",
			messages: "2:1 yaml-documents: a second document starts before this line; PM2 reads one\n"},
		{name: "cycle", file: yml, text: "script: a\nenv: &e\n  A: {B: *e}\n", want: "none",
			messages: "3:10 yaml-cycle: *e stands inside &e itself, so the value has no end\n"},
		{name: "merge of a string", file: yml, text: "script: a\n<<: b\n", want: "none", messages: "2:5 bad-yaml: << merges mappings, and this is a string\n"},
		{name: "empty", file: yml, text: "", want: "none", messages: "1:1 empty-file: the declaration is empty\n"},
		{name: "comments", file: yml, text: "# a\n---\n# b\n", want: "none", messages: "1:1 empty-file: the declaration is empty\n"},
		{name: "a word", file: yml, text: "hello\n", want: "none", messages: "1:1 not-a-declaration: found a string where an object or a list of apps was expected\n"},
	})
}

func TestYAMLBomb(t *testing.T) {
	text := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := byte('b'); c < 'i'; c++ {
		text += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 10), ", ") + "]\n"
	}
	var m messages
	if doc := parse(diag.NewSource("process.yml", []byte(text)), Outside{}, &m); doc != nil || len(m.list) != 1 || m.list[0].Code != "too-large" {
		t.Errorf("got %s", messageText(&m))
	}
	for _, deep := range []string{strings.Repeat("[", 20_000), strings.Repeat("- ", 20_000), strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
		m = messages{}
		if doc := parse(diag.NewSource("process.yml", []byte(deep)), Outside{}, &m); doc != nil || !m.list.HasErrors() {
			t.Errorf("deep text: got %s", messageText(&m))
		}
	}
}

func TestYAMLPlaces(t *testing.T) {
	checkPlaces(t, "process.yml", "apps:\n  - name: w\u00e9b \n    args: [a, \"b c\"] # x\n    env: &e\n      A: &n 2\n      B: !!str 3\n    text: |\n      x\n    empty:\n    more: *e\n    same: *n\n    long: a\n      b\n    flow: {x: [ 1, ], }\n",
		"name 2:5 2:11-2:14\n"+
			"args 3:5 3:11-3:21\n"+
			"args[0] 3:12-3:13\n"+
			"args[1] 3:15-3:20\n"+
			"env 4:5 5:7-6:17\n"+
			"env.A 5:7 5:13-5:14\n"+
			"env.B 6:7 6:16-6:17\n"+
			"text 7:5 7:11-7:12\n"+
			"empty 9:5 9:11-9:11\n"+
			"more 10:5 5:7-6:17\n"+
			"more.A 5:7 5:13-5:14\n"+
			"more.B 6:7 6:16-6:17\n"+
			"same 11:5 11:11-11:13\n"+
			"long 12:5 12:11-12:12\n"+
			"flow 14:5 14:11-14:24\n"+
			"flow.x 14:12 14:15-14:21\n"+
			"flow.x[0] 14:17-14:18\n")
}

// yamlScalars are plain scalars near every border of js-yaml's rules.
const yamlScalars = `~ null Null NULL nULL true True TRUE tRUE false False FALSE yes no on off y n
0 00 -0 +0 1 01 0755 08 09 -012 +5 1_000 0o17 0o8 0O17 0x1F 0X1F 0xg -0x1F 0b11 0b12 0B1 +0b1 0b 0x 0o 12345678901234567890 9007199254740993
1.5 1. .5 -.5 +.5 -1.5 1e3 1E3 1e+3 1e-3 1.e3 .5e1 e3 1e 1e+ 1.5.2 1e400 -1e400 1e21 1e-7 123e-20 5e-324 . -. +. .e3
.inf .Inf .INF -.inf +.inf --.inf .iNF .nan .NaN .NAN .Nan -.nan inf nan
12:30 1:30 190:20:30 2001-01-01 2001-1-1 2001-13-45 0001-01-01 9999-12-31 2001-01-01T 2001-12-14t21:59:43.10-05:00 2001-12-15T02:59:43Z
2001-12-14T21:59:43.1234567+1 2001-12-14T21:59:43-05:3 2001-12-14T1:02:03 2001-12-14T1:2:3 2001-12-14T21:59:43.Z 20010101 2001-01-01T00:00:00z
<<x a-b 1a 0x1g +a - -a = 1,2 1__0 _1 1_ 0_7`

// TestYAMLOracle compares scalars and documents with the reader that PM2 uses.
// GM_JSYAML names its directory: PM2's own node_modules/js-yaml.
func TestYAMLOracle(t *testing.T) {
	dir := os.Getenv("GM_JSYAML")
	node, err := exec.LookPath("node")
	if dir == "" || err != nil {
		t.Skip("needs node, and GM_JSYAML=DIR of js-yaml 4")
	}
	texts := []string{
		"a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: {b: 3, <<: *x}\n", "a: [1, [2, {b: c}]]\n", "a: b: c\n", "a: 1\na: 2\n", "a: 'it''s'\n", "a: \"\\x41\\u00e9\\t\"\n",
		"a: |\n  x\n   y\n\nb: >\n  x\n  y\n\n  z\n", "- a\n-\n  - b\n", "? a\n: b\n", "%YAML 1.2\n---\na: 1\n", "a: *x\n", "a:\n\tb: c\n", "a: @b\n",
		"a: `b`\n", "{a: 1, b}\n", "[a: 1]\n", "a: \"b\nc\"\n", "a: b # c\n", "a: b#c\n", "a: [b, c]d\n", "a:b\n", "a: 'b'c\n", "a:  - b\n", "a: {b:c}\n", "a: {\"b\":c}\n", "1: a\n01: b\n",
		"true: a\nnull: b\n", "a: !!str 5\nb: !!int 5\n", "a: !!int x\n", "a: !x y\n", "<<: {a: 1}\nb: 2\n", "a: <<\n", "'<<': {a: 1}\n",
	}
	for _, s := range strings.Fields(yamlScalars) {
		texts = append(texts, "a: "+s+"\n", "["+s+"]\n")
	}
	texts = append(texts, "a: 2001-12-14 21:59:43.10 -5\n", "a: 2001-12-14  21:59:43\n", "a: 2001-12-14 21:59:43.10 Z\n")
	input := filepath.Join(t.TempDir(), "texts.json")
	data, _ := json.Marshal(texts)
	if err := os.WriteFile(input, data, 0o600); err != nil {
		t.Fatal(err)
	}
	const script = `
const yaml = require(process.argv[1]), texts = JSON.parse(require("fs").readFileSync(process.argv[2]));
const clean = (v) => v instanceof Date ? JSON.stringify(v) : Array.isArray(v) ? v.map(clean)
	: v && typeof v === "object" ? Object.fromEntries(Object.entries(v).map(([k, x]) => [k, clean(x)]))
	: typeof v === "number" ? "number " + v : v;
console.log(JSON.stringify(texts.map((t) => { try { return JSON.stringify(clean(yaml.load(t))) } catch (e) { return "refused" } })));`
	out, err := exec.Command(node, "-e", script, dir, input).Output()
	if err != nil {
		t.Fatal(err)
	}
	var wants []string
	if err := json.Unmarshal(out, &wants); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		r := &reader{src: diag.NewSource("a.yml", []byte(text)), text: []byte(text), m: &messages{}}
		v := r.readYAML()
		if v == nil {
			if wants[i] != "refused" {
				t.Errorf("%q is refused; js-yaml reads %s: %s", text, wants[i], messageText(r.m))
			}
			continue
		}
		if wants[i] == "refused" {
			t.Logf("%q: js-yaml refuses what is read as %s", text, jsonText(v))
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(wants[i]), &want); err != nil {
			t.Fatal(err)
		}
		if got := oraclePlain(v); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// oraclePlain is a value as the oracle's script writes it.
func oraclePlain(v *value) any {
	switch v.kind {
	case kindBool:
		return v.flag
	case kindNumber:
		return "number " + v.text
	case kindString:
		return v.text
	case kindArray:
		out := []any{}
		for _, item := range v.items {
			out = append(out, oraclePlain(item))
		}
		return out
	case kindObject:
		out := map[string]any{}
		for _, mem := range v.members {
			out[mem.name] = oraclePlain(mem.value)
		}
		return out
	}
	return nil
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{
		"", "apps:\n  - script: a\n", "- script: a\n- &x {b: *x}\n", "a: &a [1]\nb: [*a, *a]\n<<: {c: d}\n", "a: 2001-01-01\nb: !!int 3\n", "%YAML 1.2\n---\n{a: [b, 'c', \"d\"]}\n...\n",
		"\ufeffa:\r\n  b: |\r\n    c\r\n", "? [a]\n: b\n", "a: \"\\u00e9\n b\"\n", "a\u2028b: c\u0085d: e\n", "\ta: b\n", "{{ a }}: b\n", "!!set {a, b}", "a: &\u00e9 1\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer watchdog(text)()
		checkLaws(t, "process.yml", text, nil)
	})
}
