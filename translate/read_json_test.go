package translate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gm/diag"
)

func TestReadJSON(t *testing.T) {
	app := func(members string) string { return "{" + members + "}" }
	runReadCases(t, []readCase{
		{name: "strict", text: `{"apps": [{"name": "web", "script": "web.js", "instances": 2, "watch": false, "uid": null}]}`,
			want: app(`"name":"web","script":"web.js","instances":2,"watch":false,"uid":null`)},
		{name: "comments and trailing commas", text: "// a\n{\"apps\": [ /* b */ {\"script\": \"a.js\",}, // c\n],}\n",
			want: app(`"script":"a.js"`)},
		{name: "comment without final newline", text: `[{"script": "a.js"}] // end`, want: app(`"script":"a.js"`)},
		{name: "bare keys and single quotes", text: `{apps: [{name: 'web', script: 'it\'s.js', 1: 2, $a: 3}]}`,
			want: app(`"name":"web","script":"it's.js","1":2,"$a":3`)},
		{name: "JavaScript numbers", text: `{script: "a", h: 0x10, o: 0o17, b: 0b11, p: +1, d: .5, e: 5., m: -1, x: 1e21, n: 1_000, z: -0, i: Infinity}`,
			want: app(`"script":"a","h":16,"o":15,"b":3,"p":1,"d":0.5,"e":5,"m":-1,"x":1e+21,"n":1000,"z":0,"i":Infinity`)},
		{name: "JSON numbers", text: `{"script": "a", "a": 1e3, "b": -0.0, "c": 1E400, "d": 123456789012345678901, "e": 1e-7, "f": 0.000001}`,
			want: app(`"script":"a","a":1000,"b":0,"c":Infinity,"d":123456789012345680000,"e":1e-7,"f":0.000001`)},
		{name: "escapes", text: `{"script": "\u0061\n\"\\\ud83d\ude00\u0000"}`, want: app(`"script":"a\n\"\\😀\u0000"`)},
		{name: "JavaScript escapes", text: `{script: '\x41\
B\v'}`, want: app(`"script":"AB\u000b"`)},
		{name: "template and concatenation", text: "{script: `a` + 'b' + 1, wait: 60 * 1000}", want: app(`"script":"ab1","wait":60000`)},
		{name: "undefined is absent", text: `{script: "a", cwd: undefined, args: [undefined]}`, want: app(`"script":"a","args":[null]`)},
		{name: "byte-order mark and CRLF", text: "\ufeff{\r\n\t\"script\": \"a\"\r\n}\r\n", want: app(`"script":"a"`)},
		{name: "no-break space", text: "{\u00a0\"script\":\u00a0\"a\"}", want: app(`"script":"a"`)},
		{name: "raw tab and NUL in a string", text: "{\"script\": \"a\tb\x00\"}", want: app(`"script":"a\tb\u0000"`)},
		{name: "duplicate key", text: "{\"script\": \"a\",\n \"script\": \"b\"}", want: app(`"script":"b"`),
			messages: "2:2 duplicate-key: the key \"script\" is here again; line 1 has it first, and this one counts\n"},
		{name: "duplicate bare key", text: "{script: 'a', script: 'b'}", want: app(`"script":"b"`),
			messages: "1:15 duplicate-key: the key \"script\" is here again; line 1 has it first, and this one counts\n"},
		{name: "invalid UTF-8", text: "{\"script\": \"caf\xe9\"}", want: app(`"script":"caf?"`),
			messages: "1:16 bad-utf8: the byte 0xE9 is no UTF-8; it is read as a question mark\n"},
		{name: "code", text: "{script: ['a', 'b'].join('-'), env: {S: process.env.STAGE}}", want: app(`"script":"a-b","env":{"S":"live"}`),
			messages: "1:10 json-is-code: this is an expression: PM2 evaluates it, no JSON reader takes it\n"},
		{name: "code has no require", text: "{script: require('fs')}", want: "none",
			messages: "1:10 javascript-failed: the declaration failed: ReferenceError: require is not defined\n"},
		{name: "bare word", text: `{"script": app}`, want: "none",
			messages: "1:12 javascript-failed: the declaration failed: ReferenceError: app is not defined\n"},
	})
}

func TestReadJSONErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"missing comma", `{"apps": [{"name": "web" "script": "a"}]}`, `1:26 found "script" after "web"; a comma was expected`},
		{"missing comma between apps", `[{"script": "a"} {"script": "b"}]`, `1:18 found { after }; a comma was expected`},
		{"missing colon", `{"script" "a"}`, `1:11 found "a" after the key "script"; a colon was expected`},
		{"equals sign", `{"script"= "a"}`, `1:10 found = where : was expected`},
		{"two commas", `{"script": "a",, "b": 1}`, `1:16 found a second comma where a key was expected`},
		{"no value", `{"script": , "b": 1}`, `1:12 found a comma where a value was expected`},
		{"smart quotes", `{“script”: "a"}`, `1:2 found the typographic quote “ where a plain quote was expected`},
		{"dash for minus", `{"instances": –1}`, `1:15 found –, which is a dash and no minus`},
		{"unclosed string", "{\"script\": \"a,\n\"b\": 1}", `1:12 the string that starts here is not closed on its line`},
		{"unclosed object", "{\"apps\": [\n{\"script\": \"a\"\n", `2:1 this { is never closed`},
		{"unclosed list", `{"apps": [{"script": "a"}`, `1:10 this [ is never closed`},
		{"unclosed comment", "/* a", `1:1 the comment that starts here is never closed`},
		{"wrong bracket", `{"apps": [{"script": "a"]}`, `1:25 found ] where } was expected, for the { of line 1, column 11`},
		{"semicolon", `{"script": "a"};`, `1:16 found ; after the value; PM2 refuses it in JSON`},
		{"second value", `{"script": "a"} {"script": "b"}`, `1:17 found { after the end of the value`},
		{"second value after a comma", `{"script": "a"}, {"script": "b"}`, `1:18 the text goes on after the end of the value`},
		{"stray bracket", `{"script": "a"}}`, `1:16 found } after the end of the value: it has no opening bracket`},
		{"JavaScript", `module.exports = {}`, `1:1 found module: this is JavaScript in a JSON file`},
		{"control character", "{\"script\": \x01}", "1:12 found the control character U+0001"},
		{"breaks out of the parentheses", `{}), (function () {}`, `1:7 the text goes on after the end of the value`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m messages
			if doc := parse(diag.NewSource("processes.json", []byte(c.text)), Outside{}, &m); doc != nil {
				t.Errorf("there is a document: %s", documentText(doc))
			}
			if len(m.list) != 1 {
				t.Fatalf("got %d messages, want 1: %s", len(m.list), messageText(&m))
			}
			d := m.list[0]
			line, column := d.At.Src.Position(int(d.At.Start))
			if got := fmt.Sprintf("%d:%d %s", line, column, d.Cause); got != c.want || d.Code != "bad-json" {
				t.Errorf("got  %s [%s]\nwant %s [bad-json]", got, d.Code, c.want)
			}
			checkLaws(t, "processes.json", c.text, nil)
		})
	}
}

// placesText lists the members below a value: path, place of the key, range of
// the value.
func placesText(v *value, path string) string {
	var b strings.Builder
	position := func(offset int32) string {
		line, column := v.at.Src.Position(int(offset))
		return fmt.Sprintf("%d:%d", line, column)
	}
	for i, item := range v.items {
		name := fmt.Sprintf("%s[%d]", path, i)
		fmt.Fprintf(&b, "%s %s-%s\n%s", name, position(item.at.Start), position(item.at.End), placesText(item, name))
	}
	for _, mem := range v.members {
		name := strings.TrimPrefix(path+"."+mem.name, ".")
		fmt.Fprintf(&b, "%s %s %s-%s\n%s", name, position(mem.nameAt.Start), position(mem.value.at.Start), position(mem.value.at.End), placesText(mem.value, name))
	}
	return b.String()
}

// checkPlaces compares the places of a declaration's first app.
func checkPlaces(t *testing.T, file, text, want string) {
	t.Helper()
	var m messages
	doc := parse(diag.NewSource(file, []byte(text)), files{}.outside(), &m)
	if doc == nil {
		t.Fatal(messageText(&m))
	}
	if got := placesText(doc.apps[0], ""); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestJSONPlaces(t *testing.T) {
	want := "name 2:3 2:11-2:18\n" +
		"args 3:3 3:11-3:19\n" +
		"args[0] 3:12-3:15\n" +
		"args[1] 3:17-3:18\n" +
		"env 4:3 4:10-4:20\n" +
		"env.A 4:12 4:17-4:18\n"
	checkPlaces(t, "processes.json", "{\"apps\": [{\n  \"name\": \"w\u00e9b/x\",\n  \"args\": [\"a\", 1],\n  \"env\": { \"A\": 2 },\n}]}", want)
	// The same places where goja reads what hujson refuses.
	checkPlaces(t, "processes.json", "{\"apps\": [{\n  \"name\": 'w\u00e9b/x',\n  \"args\": [\"a\", 1],\n  \"env\": { \"A\": 2 },\n}]}", want)
	checkPlaces(t, "processes.json", "\ufeff{\"apps\": [{\n  'name': \"w\u00e9b/x\",\n  \"args\": [\"a\", 1],\n  \"env\": { \"A\": 2 },\n}]}", want)
}

func TestReadFailsFast(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":      strings.Repeat("[", 30<<20),
		"objects":       strings.Repeat(`{"a":`, 4<<20),
		"bare objects":  strings.Repeat(`{a:`, 4<<20),
		"operators":     "{a: " + strings.Repeat("!", 4<<20),
		"arrows":        "{a: " + strings.Repeat("a=>", 1<<20),
		"templates":     "{a: " + strings.Repeat("`${", 1<<20),
		"too much text": strings.Repeat("[", 50<<20),
	} {
		for _, file := range []string{"processes.json", "ecosystem.config.js"} {
			start := time.Now()
			var m messages
			if doc := parse(diag.NewSource(file, []byte(text)), Outside{}, &m); doc != nil || !m.list.HasErrors() {
				t.Errorf("%s in %s: no error", name, file)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s in %s: it took %v", name, file, took)
			}
		}
	}
}

// manyApps is a declaration of n apps, 350 bytes each.
func manyApps(n int) []byte {
	var b strings.Builder
	b.WriteString("{\"apps\": [\n")
	for i := range n {
		fmt.Fprintf(&b, `  {"name": "app-%d", "script": "./dist/server-%d.js", "cwd": "/srv/app", "instances": 2, "exec_mode": "cluster", "max_memory_restart": "300M",
   "env": {"NODE_ENV": "production", "PORT": %d, "DATABASE_URL": "postgres://localhost:5432/app", "FLAG": true},
   "args": ["--port", "3000", "--verbose"], "watch": false, "kill_timeout": 5000},
`, i, i, 3000+i)
	}
	b.WriteString("]}\n")
	return []byte(b.String())
}

func benchmarkRead(b *testing.B, file string, text []byte, apps int) {
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		var m messages
		if doc := parse(diag.NewSource(file, text), Outside{}, &m); doc == nil || len(doc.apps) != apps {
			b.Fatal(messageText(&m))
		}
	}
}

func BenchmarkReadJSON(b *testing.B) {
	benchmarkRead(b, "processes.json", manyApps(10_000), 10_000)
}

func BenchmarkReadOneApp(b *testing.B) {
	benchmarkRead(b, "processes.json", manyApps(1), 1)
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		"", `{"apps": [{"script": "a.js"}]}`, `[{script: 'a'}]`, `{"apps": []};`, "\ufeff{}", `{"a": 1 "b": 2}`, "{“a”: 1}",
		`{a: ["a", "b"].join(" ")}`, "{a: `b${1}`}", `[{"pm_exec_path": "/a.js", "env": {"A": "1"}}]`, `{}), (function () {}`,
		"[1,,2]", `{"__proto__": {"script": "a"}}`, "{a: 1 /* ", "\xff\xfe{", `{"a": "\ud800"}`, `{pm2: {cmd: "a"}, deploy: {}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer watchdog(text)()
		checkLaws(t, "processes.json", text, nil)
	})
}
