package translate

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"gm/diag"
)

func TestReadJavaScript(t *testing.T) {
	const js = "ecosystem.config.js"
	runReadCases(t, []readCase{
		{name: "literal", file: js, text: "// c\n'use strict'\nmodule.exports = {\n  apps: [{ name: 'web', script: \"a.js\", }],\n  deploy: {},\n}\n",
			want: `{"name":"web","script":"a.js"} deploy={}`},
		{name: "exports.apps", file: js, text: `exports.apps = [{script: "a"}]; exports.deploy = {}`, want: `{"script":"a"} deploy={}`},
		{name: "module.exports.apps", file: js, text: `module.exports.apps = [{script: "a"}]`, want: `{"script":"a"}`},
		{name: "both exports", file: js, text: `exports = module.exports = {script: "a"}`, want: `{"script":"a"}`},
		{name: "constants", file: js, text: "const N = 'web', env = {A: 1};\nconst cfg = {apps: [{name: N, script: `${N}.js`, env: {...env, B: -1}, args: [...['x'], N]}]};\nmodule.exports = cfg",
			want: `{"name":"web","script":"web.js","env":{"A":1,"B":-1},"args":["x","web"]}`},
		{name: "dirname", file: js, text: "module.exports = {script: __dirname + '/a.js', file: __filename}",
			want: `{"script":"/srv/app/a.js","file":"/srv/app/ecosystem.config.js"}`},
		{name: "path", file: js, text: `const path = require('node:path'), {join} = path
module.exports = {script: join(__dirname, '..', 'b/'), a: path.resolve('x', '../y'), b: path.basename('/q/w.js', '.js'), c: path.extname('.rc'),
  d: path.relative('/a/b', '/a/c/d'), e: path.dirname('/a/b/'), f: path.join(), g: path.isAbsolute('x'), h: path.parse('/x/y.tar.gz').name, i: path.sep}`,
			want: `{"script":"/srv/b/","a":"/srv/app/y","b":"w","c":"","d":"../c/d","e":"/a","f":".","g":false,"h":"y.tar","i":"/"}`},
		{name: "os and process", file: js, text: `const os = require('os')
module.exports = {script: os.homedir() + '/a.js', instances: os.cpus().length, host: os.hostname(), p: process.platform, c: process.cwd(), s: process.env.STAGE, none: process.env.NONE, d: process.env.PORT || 3000}`,
			want: `{"script":"/home/deploy/a.js","instances":4,"host":"web1","p":"linux","c":"/srv/app","s":"live","d":3000}`},
		{name: "dotenv", file: js, text: `require('dotenv').config(); const more = require('dotenv').config({path: './conf/more.env'}).parsed
module.exports = {script: 'a', env: {A: process.env.A, B: process.env.B, C: process.env.C, STAGE: process.env.STAGE, ...more}}`,
			files: files{".env": "A=1 # one\nexport B = \"two\\nlines\"\nSTAGE=dev\nC='it # stays'\n", "conf/more.env": "D=`x`\n"},
			want:  `{"script":"a","env":{"A":"1","B":"two\nlines","C":"it # stays","STAGE":"live","D":"x"}}`},
		{name: "dotenv without file", file: js, text: `require('dotenv').config(); module.exports = {script: 'a'}`, want: `{"script":"a"}`},
		{name: "siblings", file: js, text: `const {version} = require('./package.json'); const lib = require('./lib'); module.exports = lib.apps(version)`,
			files: files{"package.json": `{"version": "1.2.3"}`, "lib/index.js": `exports.apps = (v) => [{script: require('../name').name, v}]`, "name.cjs": `exports.name = __filename`},
			want:  `{"script":"/srv/app/name.cjs","v":"1.2.3"}`},
		{name: "package beside it", file: js, text: `module.exports = {script: 'a', kill_timeout: require('ms')('2s')}`,
			files: files{"node_modules/ms/package.json": `{"main": "./lib.js"}`, "node_modules/ms/lib.js": `module.exports = (s) => parseInt(s) * 1000`},
			want:  `{"script":"a","kill_timeout":2000}`},
		{name: "fs", file: js, text: `const fs = require('fs')
module.exports = {script: fs.readFileSync(__dirname + '/name.txt', 'utf8').trim(), ...JSON.parse(fs.readFileSync('x.json')), yes: fs.existsSync('./x.json'), no: fs.existsSync('no')}`,
			files: files{"name.txt": "a.js\n", "x.json": `{"n": 1}`},
			want:  `{"script":"a.js","n":1,"yes":true,"no":false}`},
		{name: "functions and loops", file: js, text: `const apps = []; for (const n of ['a', 'b']) apps.push({name: n, script: n + '.js'}); module.exports = {apps: apps.map((a) => ({...a, x: 1}))}`,
			want: `{"name":"a","script":"a.js","x":1} {"name":"b","script":"b.js","x":1}`},
		{name: "hashbang and top-level return", file: js, text: "#!/usr/bin/env node\nmodule.exports = {script: 'a'}\nif (true) return\nmodule.exports = {}", want: `{"script":"a"}`},
		{name: "same every time", file: js, text: `module.exports = {script: 'a', r: Math.random(), t: Date.now(), d: new Date().toISOString()}`,
			want:     `{"script":"a","r":0.6046602879796196,"t":1767323045000,"d":"2026-01-02T03:04:05.000Z"}`,
			messages: "1:35 pinned-value: the declaration asks for a random number, which is fixed here: the same text gives the same units\n"},
		{name: "values", file: js, text: `module.exports = {script: new String('a'), d: new Date(0), b: 10n, n: null, u: undefined, i: Infinity, nan: NaN, s: 1 / 3, get g() { return 2 }}`,
			want: `{"script":"a","d":"\"1970-01-01T00:00:00.000Z\"","b":10,"n":null,"i":Infinity,"nan":NaN,"s":0.3333333333333333,"g":2}`},
		{name: "dropped values", file: js, text: "module.exports = {script: 'a', ignore_watch: ['x', /y/],\n f() {}, p: Promise.resolve(1), s: Symbol('s')}",
			want: `{"script":"a","ignore_watch":["x"]}`,
			messages: "1:52 js-value: the value is left out: it is a regular expression, which PM2 turns into {}\n" +
				"2:2 js-value: the value is left out: it is a function\n" +
				"2:13 js-value: the value is left out: it is a promise\n" +
				"2:36 js-value: the value is left out: it is a symbol\n"},
		{name: "names that seem to need each other", file: js, text: "var a = ['x'], b = [...a]; var a = [...b]; var o = {}, p = {...o}; var o = {...p, script: process.cwd(), args: a}; module.exports = o",
			want: `{"script":"/srv/app","args":["x"]}`},
		{name: "duplicate key, read", file: js, text: "module.exports = {script: 'a',\nscript: 'b'}", want: `{"script":"b"}`,
			messages: "2:1 duplicate-key: the key \"script\" is here again; line 1 has it first, and this one counts\n"},
		{name: "duplicate key, run", file: js, text: "module.exports = {script: 'a',\nscript: 'b', c: process.cwd()}", want: `{"script":"b","c":"/srv/app"}`,
			messages: "2:1 duplicate-key: the key \"script\" is here again; line 1 has it first, and this one counts\n"},
	})
}

func TestReadESModule(t *testing.T) {
	const js = "ecosystem.config.mjs"
	runReadCases(t, []readCase{
		{name: "default", file: js, text: "export default {script: 'a'}", want: `{"script":"a"}`},
		{name: "default without a blank", file: js, text: "export default{script: 'a'};", want: `{"script":"a"}`},
		{name: "in a .js file", file: "ecosystem.config.js", text: "export const apps = [{script: 'a'}]\nexport const deploy = {}", want: `{"script":"a"} deploy={}`},
		{name: "list of exports", file: js, text: "const a = [{script: 'a'}];\nexport { a as apps };", want: `{"script":"a"}`},
		{name: "export as default", file: js, text: "const a = {script: 'a'};\nexport { a as default };", want: `{"script":"a"}`},
		{name: "exported function", file: js, text: "export function f() { return 1 }\nexport default {script: 'a', n: f()}", want: `{"script":"a","n":1}`},
		{name: "imports", file: js, text: `import path, { join as j } from 'path'
import * as os from "node:os";
import pkg from './package.json' with { type: 'json' };
import { name,
  other } from './lib.mjs'
import './effect.js'
import { fileURLToPath } from 'url';
const __dirname = path.dirname(fileURLToPath(import.meta.url));
// import x from 'y' in a comment
export default {script: j(__dirname, pkg.main), instances: os.cpus().length, name, other, text: "export default from 'x'", dir: import.meta.dirname, e: globalThis.effect}`,
			files: files{"package.json": `{"main": "m.js"}`, "lib.mjs": "export const name = 'n'; export default 1; export let other = 2", "effect.js": "globalThis.effect = 3"},
			want:  `{"script":"/srv/app/m.js","instances":4,"name":"n","other":2,"text":"export default from 'x'","dir":"/srv/app","e":3}`},
		{name: "createRequire", file: js, text: "import { createRequire } from 'module'\nconst require = createRequire(import.meta.url)\nexport default {script: require('./a.json').s}",
			files: files{"a.json": `{"s": "a"}`}, want: `{"script":"a"}`},
		{name: "re-export", file: js, text: "export { apps } from './lib.js'", files: files{"lib.js": "exports.apps = [{script: 'a'}]"}, want: `{"script":"a"}`},
		{name: "top-level await", file: js, text: "export default {script: await 'a'}", want: "none", messages: "1:25 needs-node: found await outside an async function\n"},
		{name: "export all", file: js, text: "export * from './lib.js'", want: "none",
			messages: "1:1 needs-node: this form of import or export is not one that gm evaluates\n"},
	})
}

func TestReadJavaScriptErrors(t *testing.T) {
	const js = "ecosystem.config.js"
	runReadCases(t, []readCase{
		{name: "missing comma", file: js, text: "module.exports = {\n  apps: [{\n    name: 'web'\n    script: 'a.js',\n  }]\n}\n", want: "none",
			messages: "4:5 bad-javascript: found script after 'web'; a comma was expected\n"},
		{name: "unclosed", file: js, text: "module.exports = {\n  apps: [{\n    name: 'web',\n  }\n}\n", want: "none",
			messages: "5:1 bad-javascript: found } where ] was expected, for the [ of line 2, column 9\n"},
		{name: "leaves the wrapper", file: js, text: "}); (function () {", want: "none", messages: "1:1 bad-javascript: found }, and no bracket is open\n"},
		{name: "function", file: js, text: "module.exports = () => ({apps: []})", want: "none",
			messages: "1:18 function-export: the declaration exports a function, which PM2 does not call\n"},
		{name: "promise", file: js, text: "module.exports = (async () => ({apps: []}))()", want: "none",
			messages: "1:19 async-export: the declaration exports a promise, for which PM2 does not wait\n"},
		{name: "throws", file: js, text: "const a = 1\nif (a) throw new Error('set\u00a0X')", want: "none",
			messages: "2:14 javascript-failed: the declaration failed: Error: set\u00a0X\n"},
		{name: "throws in a sibling", file: js, text: "\n require('./lib')", files: files{"lib.js": "\n\nthrow new TypeError('no')"}, want: "none",
			messages: "2:2 javascript-failed: the declaration failed: TypeError: no (in /srv/app/lib.js:3)\n"},
		{name: "syntax error in a sibling", file: js, text: "require('./lib')", files: files{"lib.js": "\nlet a = ;"}, want: "none",
			messages: "1:1 javascript-failed: /srv/app/lib.js:2: Unexpected token ;\n"},
		{name: "getter that throws", file: js, text: "module.exports = {script: 'a', get b() { throw new Error('x') }}", want: "none",
			messages: "1:48 javascript-failed: the declaration failed: Error: x\n"},
		{name: "endless recursion", file: js, text: "const f = (n) => f(n + 1) + 1;\nmodule.exports = f(0)", want: "none",
			messages: "1:18 javascript-failed: the declaration calls itself without end: more than 1000 calls deep\n"},
		{name: "recursion through a built-in", file: js, text: "const f = () => [1].map(f);\nf()", want: "none",
			messages: "1:20 javascript-failed: the declaration calls itself without end: more than 1000 calls deep\n"},
		{name: "cycle", file: js, text: "const a = {script: 'a'}; a.env = {a}; module.exports = a", want: "none",
			messages: "1:11 js-cycle: the value contains itself, and so has no end\n"},
		{name: "outside", file: js, text: "const fs = require('fs')\nfs.readFileSync('/etc/passwd')", want: "none",
			messages: "2:1 outside-access: the declaration may not read /etc/passwd: it is outside /srv/app\n"},
		{name: "outside by dots", file: js, text: "require('../other/x.js')", want: "none",
			messages: "1:1 outside-access: the declaration may not require /srv/other/x.js: it is outside /srv/app\n"},
		{name: "a neighbour with the same beginning", file: js, text: "require('/srv/application/x.js')", want: "none",
			messages: "1:1 outside-access: the declaration may not require /srv/application/x.js: it is outside /srv/app\n"},
		{name: "writes", file: js, text: "require('fs').writeFileSync('x', 'y')", want: "none",
			messages: "1:14 outside-access: the declaration may not change files: it calls fs.writeFileSync\n"},
		{name: "missing module", file: js, text: "const x = require('nope')", want: "none",
			messages: "1:11 needs-node: require(\"nope\") finds no file below /srv/app\n"},
		{name: "missing global", file: js, text: "module.exports = {script: Buffer.from('a')}", want: "none",
			messages: "1:27 needs-node: the declaration uses Buffer, which gm's own JavaScript has not\n"},
		{name: "too large a string", file: js, text: "module.exports = 'x'.repeat(1e9)", want: "none",
			messages: "1:21 javascript-failed: the declaration failed: RangeError: repeat: the result is too large\n"},
		{name: "process.exit", file: js, text: "process.exit(1)", want: "none", messages: "1:1 javascript-failed: the declaration calls process.exit(1)\n"},
		{name: "no value", file: js, text: "module.exports = undefined", want: "none",
			messages: "1:18 not-a-declaration: found null where an object or a list of apps was expected\n"},
		{name: "nothing exported", file: js, text: "const apps = []", want: "none",
			messages: "1:1 not-a-declaration: an empty object declares no app\n"},
	})
}

func TestJavaScriptStops(t *testing.T) {
	for name, text := range map[string]string{
		"loop":   "for (;;) {}",
		"string": "let s = 'x'; for (;;) s += s",
		"list":   "const a = []; for (;;) a.push({})",
	} {
		var m messages
		doc := parse(diag.NewSource("ecosystem.config.js", []byte(text)), Outside{}, &m)
		if doc != nil || len(m.list) != 1 || m.list[0].Code != "js-timeout" {
			t.Errorf("%s: got %s", name, messageText(&m))
		}
	}
}

func TestJavaScriptPlaces(t *testing.T) {
	want := "name 3:3 3:9-3:14\n" +
		"args 4:3 4:9-4:17\n" +
		"args[0] 4:10-4:13\n" +
		"args[1] 4:15-4:16\n" +
		"env 5:3 5:8-5:16\n" +
		"env.A 5:10 5:13-5:14\n"
	app := "{\n  name: 'w\u00e9b',\n  args: ['a', 1],\n  env: { A: 2 },\n}"
	for name, text := range map[string]string{
		"literal":         "\nmodule.exports = { apps: [" + app + "] }",
		"run":             "\nmodule.exports = { apps: [" + app + "], x: process.cwd() }",
		"exports.apps":    "\nexports.apps = [" + app + "]; process.cwd()",
		"constant":        "\nconst apps = [" + app + "]; module.exports = { apps }",
		"constant, run":   "\nconst apps = [" + app + "]; process.cwd(); module.exports = { apps }",
		"spread":          "\nconst a = " + app + "; const b = { ...a }; module.exports = { apps: [...[b]] }",
		"spread, run":     "\nconst a = " + app + "; const b = { ...a }; module.exports = { apps: [...[b]], x: process.cwd() }",
		"ES module":       "\nexport default { apps: [" + app + "] }",
		"ES module, run":  "import path from 'path'\nexport default { apps: [" + app + "], x: path.sep }",
		"named":           "\nexport const apps = [" + app + "]",
		"CRLF, run":       "\r\nprocess.cwd(); module.exports = { apps: [" + strings.ReplaceAll(app, "\n", "\r\n") + "] }",
		"byte-order mark": "\ufeff\nmodule.exports = { apps: [" + app + "] }",
	} {
		t.Run(name, func(t *testing.T) { checkPlaces(t, "ecosystem.config.js", text, want) })
	}

	// A constant is shown where it is used; what a call made, at the call.
	checkPlaces(t, "ecosystem.config.js", "const N = 'web'\nmodule.exports = {\n  name: N, ...make(),\n  n: 1 + 2,\n  list: [1].map(String),\n}\nfunction make() { return {script: 'a'} }",
		"name 3:3 3:9-3:10\n"+
			"script 3:15 3:15-3:21\n"+
			"n 4:3 4:6-4:11\n"+
			"list 5:3 5:9-5:24\n"+
			"list[0] 5:9-5:24\n")
}

func TestFallBackToNode(t *testing.T) {
	read := func(text string, node func(string) ([]byte, error)) (*document, string) {
		var m messages
		out := files{}.outside()
		out.Node = node
		return parse(diag.NewSource("conf/ecosystem.config.js", []byte(text)), out, &m), messageText(&m)
	}
	const text = "\nmodule.exports = require('nope')"
	doc, got := read(text, func(path string) ([]byte, error) {
		if path != "/srv/app/ecosystem.config.js" {
			t.Errorf("node was asked for %s", path)
		}
		return []byte(`{"apps": [{"script": "a"}]}`), nil
	})
	if want := "2:18 used-node: node evaluated the declaration: require(\"nope\") finds no file below /srv/app\n"; got != want || documentText(doc) != `{"script":"a"}` {
		t.Errorf("got %s %s", documentText(doc), got)
	}
	if at := doc.apps[0].member("script").at.String(); at != "conf/ecosystem.config.js:2:18" {
		t.Errorf("the value stands at %s", at)
	}
	doc, got = read(text, func(string) ([]byte, error) { return nil, errors.New("no nope either") })
	if want := "2:18 needs-node: require(\"nope\") finds no file below /srv/app; and node says: no nope either\n"; doc != nil || got != want {
		t.Errorf("got %s", got)
	}
	// What is refused for safety is not handed on.
	doc, got = read("require('/etc/passwd')", func(string) ([]byte, error) { t.Error("node was asked"); return nil, nil })
	if doc != nil || !strings.Contains(got, "outside-access") {
		t.Errorf("got %s", got)
	}
}

// The zero Outside reaches nothing, and does not fail either.
func TestReadWithoutOutside(t *testing.T) {
	for _, text := range []string{"module.exports = {script: __dirname}", "require('./x')", "require('fs').existsSync('/')", "module.exports = {script: process.cwd(), t: new Date()}"} {
		var m messages
		parse(diag.NewSource("ecosystem.config.js", []byte(text)), Outside{}, &m)
		if strings.Contains(messageText(&m), "engine") {
			t.Errorf("%s: %s", text, messageText(&m))
		}
	}
}

func FuzzParseJS(f *testing.F) {
	for _, seed := range []string{
		"", "module.exports = {script: 'a'}", "exports.apps = [{script: `a${1}`}]", "export default {script: 'a'}", "export const apps = []",
		"import a, {b as c} from './x'\nexport {c as apps}", "const a = {b: 1}; module.exports = {...a, script: process.env.X || 'y'}",
		"module.exports = require('path').join('a', 'b')", "}); (function () {", "#!/x\nreturn", "let a = /[/]\\//.test('x') / 2", "a = `${`${1}`}`",
		"module.exports = new Proxy({}, {})", "const a = [...a]; module.exports = a", "const a = b, b = [a]; module.exports = {apps: a}",
		"module.exports = {get script() { return 'a' }, [Symbol.iterator]: 1, ['x' + 1]: 2}", "import.meta.url; export * as x from 'y'", "class A { static { } #x = 1 }",
		"module.exports = {a: 1n, b: 0777, c: 1_0, d: -0, e: .1e-9}", "\u2028module\u2029.exports = {\u00e9: '\\u{1F600}'}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "for") || strings.Contains(text, "while") {
			t.Skip("loops only cost time")
		}
		defer watchdog(text)()
		checkLaws(t, "ecosystem.config.js", text, files{"x.js": "exports.b = 1"})
	})
}

// A file that may not be read, such as the target of a link that leads out of
// the declaration's directory, is refused for good: node would read it.
func TestForbiddenFileIsNotLeftToNode(t *testing.T) {
	var m messages
	text := `module.exports = {script: require("fs").readFileSync("link", "utf8")}`
	parse(diag.NewSource("ecosystem.config.js", []byte(text)), Outside{
		Dir:      "/srv/shop",
		ReadFile: func(string) ([]byte, error) { return nil, fs.ErrPermission },
		Node: func(string) ([]byte, error) {
			t.Error("node was asked")
			return []byte(`{"script": "a.js"}`), nil
		},
	}, &m)
	if len(m.list) != 1 || m.list[0].Code != codeOutsideAccess.Name {
		t.Errorf("got %v, want %s", m.list, codeOutsideAccess.Name)
	}
}
