package translate

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
	"testing"
	"time"

	"gm/diag"
)

// jsonText is a value as JSON, for comparisons.
func jsonText(v *value) string {
	if v == nil {
		return "nil"
	}
	quote := func(s string) string {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s)
		return strings.TrimSpace(b.String())
	}
	var parts []string
	switch v.kind {
	case kindNull:
		return "null"
	case kindBool:
		return fmt.Sprint(v.flag)
	case kindNumber:
		return v.text
	case kindString:
		return quote(v.text)
	case kindArray:
		for _, item := range v.items {
			parts = append(parts, jsonText(item))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	for _, m := range v.members {
		parts = append(parts, quote(m.name)+":"+jsonText(m.value))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// documentText is a document in one line.
func documentText(d *document) string {
	if d == nil {
		return "none"
	}
	var b strings.Builder
	for i, app := range d.apps {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(jsonText(app))
	}
	if d.deploy != nil {
		b.WriteString(" deploy=" + jsonText(d.deploy))
	}
	if d.static != nil {
		b.WriteString(" static=" + jsonText(d.static))
	}
	for _, m := range d.rest {
		b.WriteString(" " + m.name + "=" + jsonText(m.value))
	}
	return b.String()
}

// messageText is the diagnostics, one a line: place, code and cause.
func messageText(m *messages) string {
	var b strings.Builder
	for _, d := range m.list {
		line, column := 0, 0
		if d.At.Src != nil {
			line, column = d.At.Src.Position(int(d.At.Start))
		}
		fmt.Fprintf(&b, "%d:%d %s: %s\n", line, column, d.Code, d.Cause)
	}
	return b.String()
}

// files is a directory /srv/app for declarations to read.
type files map[string]string

func (f files) outside() Outside {
	return Outside{
		Dir: "/srv/app", Home: "/home/deploy", Hostname: "web1", CPUs: 4,
		Environ: map[string]string{"HOME": "/home/deploy", "STAGE": "live"},
		ReadFile: func(name string) ([]byte, error) {
			if !strings.HasPrefix(name, "/srv/app/") || path.Clean(name) != name {
				panic("the reader asked for " + name)
			}
			text, ok := f[strings.TrimPrefix(name, "/srv/app/")]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	}
}

// readCase is one declaration and what becomes of it.
type readCase struct {
	name, file, text string
	files            files
	want             string // documentText
	messages         string // messageText
}

func runReadCases(t *testing.T, cases []readCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var m messages
			doc := parse(diag.NewSource(c.file, []byte(c.text)), c.files.outside(), &m)
			if got := documentText(doc); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := messageText(&m); got != c.messages {
				t.Errorf("messages:\n%swant:\n%s", got, c.messages)
			}
			checkLaws(t, c.file, c.text, c.files)
		})
	}
}

// checkLaws demands what holds for every text: places lie inside it, a value
// inside the one around it has its source, and the same text reads the same.
func checkLaws(t *testing.T, file, text string, dir files) {
	t.Helper()
	read := func() (*document, *messages) {
		var m messages
		return parse(diag.NewSource(file, []byte(text)), dir.outside(), &m), &m
	}
	doc, m := read()
	inside := func(what string, r diag.Range) {
		if r.Src == nil || r.Start < 0 || r.Start > r.End || int(r.End) > len(text) {
			t.Errorf("%s: the place %d-%d lies outside the text of %d bytes", what, r.Start, r.End, len(text))
		}
	}
	for _, d := range m.list {
		inside(d.Code, d.At)
		if d.Cause == "" {
			t.Errorf("%s has no cause", d.Code)
		}
	}
	var walk func(v *value)
	walk = func(v *value) {
		inside("value", v.at)
		for _, item := range v.items {
			walk(item)
		}
		seen := map[string]bool{}
		for _, mem := range v.members {
			inside(mem.name, mem.nameAt)
			if seen[mem.name] {
				t.Errorf("the name %q is there twice", mem.name)
			}
			seen[mem.name] = true
			walk(mem.value)
		}
		if v.kind == kindNumber && v.text != jsNumber(v.number) && !math.IsInf(v.number, 0) && len(v.text) < 16 {
			t.Errorf("the number %v has the text %s", v.number, v.text)
		}
	}
	if doc != nil {
		for _, app := range doc.apps {
			if app.kind != kindObject {
				t.Errorf("an app is %s", app.kind)
			}
			walk(app)
		}
	} else if !m.list.HasErrors() {
		t.Error("no document and no error")
	}
	again, m2 := read()
	if a, b := documentText(doc)+messageText(m), documentText(again)+messageText(m2); a != b {
		t.Errorf("read twice:\n%s\n%s", a, b)
	}
}

// watchdog makes a text that hangs the reader a failure of the fuzzer.
func watchdog(text string) (stop func() bool) {
	return time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("reading takes 20 s: %q", text)) }).Stop
}

func TestShapes(t *testing.T) {
	const shape = "not-a-declaration"
	runReadCases(t, []readCase{
		{name: "list", text: `[{"script": "a"}, {"script": "b"}]`, want: `{"script":"a"} {"script":"b"}`},
		{name: "apps", text: `{"apps": [{"script": "a"}]}`, want: `{"script":"a"}`},
		{name: "one app under apps", text: `{"apps": {"script": "a"}}`, want: `{"script":"a"}`},
		{name: "pm2", text: `{"name": "x", "pm2": [{"script": "a"}]}`, want: `{"script":"a"} name="x"`},
		{name: "pm2 where apps is null", text: `{"apps": null, "pm2": {"script": "a"}}`, want: `{"script":"a"} apps=null`},
		{name: "apps before pm2", text: `{"pm2": [], "apps": [{"script": "a"}]}`, want: `{"script":"a"} pm2=[]`},
		{name: "one app", text: `{"script": "a", "deploy": 1}`, want: `{"script":"a","deploy":1}`},
		{name: "one app by cmd", text: `{"cmd": "a"}`, want: `{"cmd":"a"}`},
		{name: "one app without script", text: `{"exec_mode": "fork"}`, want: `{"exec_mode":"fork"}`},
		{name: "other keys", text: `{"apps": [{"script": "a"}], "deploy": {}, "static": [], "x": 1}`, want: `{"script":"a"} deploy={} static=[] x=1`},
		{name: "no apps", text: `{"apps": []}`, want: "", messages: "1:10 no-apps: the declaration declares no app\n"},
		{name: "only deploy", text: `{"deploy": {"a": 1}}`, want: ` deploy={"a":1}`, messages: "1:1 no-apps: the declaration declares no app, only how to deploy\n"},
		{name: "only static", text: `{"static": []}`, want: ` static=[]`},
		{name: "empty list", text: `[]`, want: "none", messages: "1:1 " + shape + ": an empty list declares no app\n"},
		{name: "empty object", text: `{}`, want: "none", messages: "1:1 " + shape + ": an empty object declares no app\n"},
		{name: "string", text: `"web.js"`, want: "none", messages: "1:1 " + shape + ": found a string where an object or a list of apps was expected\n"},
		{name: "apps is a string", text: `{"apps": "web.js"}`, want: "none", messages: "1:10 " + shape + ": \"apps\" is a string; a list of apps was expected\n"},
		{name: "apps by name", text: `{"apps": {"web": {"script": "a"}}}`, want: "none",
			messages: "1:10 " + shape + ": \"apps\" is an object of apps by name; PM2 takes a list of apps or one app\n"},
		{name: "apps by name at the top", text: `{"web": {"script": "a"}}`, want: "none",
			messages: "1:1 " + shape + ": this is an object of apps by name; PM2 takes a list of apps\n"},
		{name: "package.json", text: `{"name": "x", "version": "1", "scripts": {}}`, want: "none",
			messages: "1:1 " + shape + ": this is a package.json without \"apps\" or \"pm2\"\n"},
		{name: "something else", text: `{"agents": [{"id": 1}]}`, want: "none",
			messages: "1:2 " + shape + ": found an object with the key \"agents\", and neither \"apps\" nor \"script\"\n"},
		{name: "entries that are none", text: `{"apps": [{"script": "a"}, "b", null, [{}], {"script": "c"}]}`, want: `{"script":"a"} {"script":"c"}`,
			messages: "1:28 not-an-app: found a string where an app was expected\n" +
				"1:33 not-an-app: found null where an app was expected\n" +
				"1:39 not-an-app: found a list where an app was expected\n"},
	})
}

func TestFormats(t *testing.T) {
	const app = `{"script":"a"}`
	runReadCases(t, []readCase{
		{name: "json", file: "a.json", text: `{script: 'a'}`, want: app},
		{name: "json5", file: "a.json5", text: `{script: 'a'}`, want: app},
		{name: "upper case", file: "A.JSON", text: `{script: 'a'}`, want: app},
		{name: "js", file: "a.js", text: `module.exports = {script: 'a'}`, want: app},
		{name: "cjs", file: "a.cjs", text: `module.exports = {script: 'a'}`, want: app},
		{name: "yaml", file: "a.yaml", text: `script: a`, want: app},
		{name: "ts", file: "a.config.ts", text: `export default {}`, want: "none",
			messages: "1:1 typescript-file: a TypeScript file cannot be a declaration; PM2 would start it as a script\n"},
		{name: "stdin JSON", file: "<stdin>", text: ` {"script": "a"}`, want: app},
		{name: "stdin list", file: "<stdin>", text: `[{script: "a"}]`, want: app},
		{name: "stdin in parentheses", file: "<stdin>", text: `({script: "a"})`, want: app},
		{name: "stdin JavaScript", file: "<stdin>", text: "// c\nmodule.exports = {script: 'a'}", want: app},
		{name: "stdin exports", file: "<stdin>", text: "exports.apps = [{script: 'a'}]", want: app},
		{name: "stdin const", file: "<stdin>", text: "const a = 'a'; module.exports = {script: a}", want: app},
		{name: "stdin use strict", file: "<stdin>", text: "'use strict'; module.exports = {script: 'a'}", want: app},
		{name: "stdin require", file: "<stdin>", text: "require('dotenv').config(); module.exports = {script: 'a'}", want: app},
		{name: "stdin export", file: "<stdin>", text: "export default {script: 'a'}", want: app},
		{name: "stdin YAML", file: "<stdin>", text: "# c\nscript: a\n", want: app},
		{name: "stdin YAML list", file: "<stdin>", text: "- script: a\n", want: app},
		{name: "stdin YAML document", file: "<stdin>", text: "---\nscript: a\n", want: app},
		{name: "stdin YAML key that is a word of JavaScript", file: "<stdin>", text: "module: x\nscript: a\n", want: `{"module":"x","script":"a"}`},
		{name: "another name", file: "Procfile", text: `{"script": "a"}`, want: app},
		{name: "empty", file: "<stdin>", text: "", want: "none", messages: "1:1 empty-file: the declaration is empty\n"},
		{name: "only comments", file: "a.json", text: "// a\n/* b */\n", want: "none", messages: "1:1 empty-file: the declaration is empty\n"},
		{name: "only comments in JavaScript", file: "a.js", text: "// a\n", want: "none", messages: "1:1 empty-file: the declaration is empty\n"},
		{name: "UTF-16", file: "a.json", text: "\xff\xfe{\x00}\x00", want: "none", messages: "1:1 bad-encoding: the text is UTF-16; PM2 and gm read UTF-8\n"},
	})
}

// Every code's example yields the code, with its severity.
func TestReadCodes(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range readCodes {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		file := c.File
		if file == "" {
			file = "processes.json"
		}
		out := files{}.outside()
		if c == codeUsedNode {
			out.Node = func(string) ([]byte, error) { return []byte(`{"script": "web.js"}`), nil }
		}
		var m messages
		parse(diag.NewSource(file, []byte(c.Example)), out, &m)
		found := false
		for _, d := range m.list {
			found = found || d.Code == c.Name && d.Severity == c.Severity
		}
		if !found {
			t.Errorf("%s: the example yields %s", c.Name, messageText(&m))
		}
		if c.Doc == "" {
			t.Errorf("%s has no doc", c.Name)
		}
	}
}

func TestNumberText(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", math.Copysign(0, -1): "0", 1: "1", -1.5: "-1.5", 1e3: "1000", 1e20: "100000000000000000000", 1e21: "1e+21", 1.5e300: "1.5e+300",
		1e-6: "0.000001", 1e-7: "1e-7", 1.25e-10: "1.25e-10", 0.1: "0.1", 1 / 3.0: "0.3333333333333333", 5e-324: "5e-324",
		math.Inf(1): "Infinity", math.Inf(-1): "-Infinity", 123456789.125: "123456789.125",
	} {
		if got := jsNumber(n); got != want {
			t.Errorf("jsNumber(%v) = %s, want %s", n, got, want)
		}
	}
}

func TestManyRepeats(t *testing.T) {
	var m messages
	parse(diag.NewSource("processes.json", []byte("{"+strings.Repeat(`"a": 1, `, 100_000)+`"script": "a"}`)), Outside{}, &m)
	if len(m.list) != maxRepeats {
		t.Errorf("got %d messages", len(m.list))
	}
}
