package translate

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"path"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// object is a JavaScript object under construction.
type object map[string]any

// native is a Go function that JavaScript calls.
type native = func(goja.FunctionCall) goja.Value

// install makes the globals that a declaration finds in node.
func (s *sandbox) install() {
	rt := s.rt
	rt.SetMaxCallStackSize(jsCalls)
	// goja would look for source maps on disk otherwise.
	rt.SetParserOptions(parser.WithDisableSourceMaps)
	// The same text must give the same units.
	random := rand.New(rand.NewSource(1))
	rt.SetRandSource(func() float64 {
		s.pinned("a random number")
		return random.Float64()
	})
	rt.SetTimeSource(s.now)

	global := rt.GlobalObject()
	set := func(name string, v any) { _ = global.Set(name, v) }
	set("global", global)
	set("process", s.process())
	silent := native(func(goja.FunctionCall) goja.Value { return goja.Undefined() })
	console := rt.NewObject()
	for _, name := range []string{"log", "info", "warn", "error", "debug", "trace", "dir", "table", "time", "timeEnd", "timeLog", "group", "groupEnd", "assert", "count"} {
		_ = console.Set(name, silent)
	}
	set("console", console)
	timer := native(func(goja.FunctionCall) goja.Value {
		return s.object(object{"unref": silent, "ref": silent})
	})
	for _, name := range []string{"setTimeout", "setInterval", "setImmediate"} {
		set(name, timer)
	}
	for _, name := range []string{"clearTimeout", "clearInterval", "clearImmediate"} {
		set(name, silent)
	}
	s.bound()
}

func (s *sandbox) now() time.Time {
	if s.out.Now == nil {
		s.pinned("the clock")
		return time.Unix(0, 0)
	}
	return s.out.Now()
}

// pinned warns, once for each, of what is not what it is in PM2.
func (s *sandbox) pinned(what string) {
	if s.warned[what] {
		return
	}
	s.warned[what] = true
	s.m.add(codePinnedValue, s.stackPlace(s.rt.CaptureCallStack(32, nil)), "write the value out, or pass it in by a variable of the environment",
		"the declaration asks for %s, which is fixed here: the same text gives the same units", what)
}

// bound takes away what would let a few bytes of text exhaust the memory or
// the stack in one step, where neither the clock nor the meter can stop it:
// goja's built-ins are not interrupted, and its parser recurses.
func (s *sandbox) bound() {
	_, err := s.rt.RunScript("<gm>", `(function () {
	const limit = 1 << 24;
	const guard = (owner, name, size) => {
		const original = owner[name];
		const value = function (...args) {
			if (!(size.call(this, args) <= limit)) throw new RangeError(name + ": the result is too large");
			return original.apply(this, args);
		};
		Object.defineProperty(owner, name, { value, writable: true, configurable: true, enumerable: false });
	};
	const number = (n) => +n || 0;
	guard(String.prototype, "repeat", function (a) { return this.length * number(a[0]); });
	guard(String.prototype, "padStart", function (a) { return number(a[0]); });
	guard(String.prototype, "padEnd", function (a) { return number(a[0]); });
	// Each match may be replaced, each item is followed by the separator.
	const many = function (text) { return number(this.length) * (typeof text === "string" ? text.length : 1) / 16; };
	guard(String.prototype, "replace", function (a) { return many.call(this, a[1]); });
	guard(String.prototype, "replaceAll", function (a) { return many.call(this, a[1]); });
	guard(Array.prototype, "join", function (a) { return many.call(this, a[0]); });
	for (const name of ["fill", "concat", "map", "forEach", "filter", "keys", "entries", "values", "toString", "reverse", "sort", "indexOf", "includes"])
		guard(Array.prototype, name, function () { return number(this.length); });
	guard(Array, "from", (a) => a[0] == null ? 0 : number(a[0].length));
	for (const f of [function () {}, async function () {}, function* () {}])
		Object.getPrototypeOf(f).constructor = undefined;
	for (const name of ["eval", "Function", "ArrayBuffer", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array",
		"Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "DataView"])
		delete globalThis[name];
})()`)
	if err != nil {
		panic(err)
	}
}

// object makes an object with members in the order of their names.
func (s *sandbox) object(members object) *goja.Object {
	o := s.rt.NewObject()
	for _, name := range sortedKeys(members) {
		_ = o.Set(name, members[name])
	}
	return o
}

func (s *sandbox) throw(code *Code, remedy, cause string, args ...any) goja.Value {
	s.refused = s.refused || code == codeOutsideAccess
	panic(s.rt.NewGoError(&refusal{code: code, cause: fmt.Sprintf(cause, args...), remedy: remedy}))
}

// dir is __dirname of the declaration.
func (s *sandbox) dir() string {
	if s.out.Dir == "" {
		return "/"
	}
	return s.out.Dir
}

// filename is __filename of the declaration.
func (r *reader) filename() string {
	name := path.Base(strings.ReplaceAll(r.src.Name, `\`, "/"))
	dir := r.out.Dir
	if dir == "" {
		dir = "/"
	}
	return path.Join(dir, name)
}

// below returns the clean absolute path of a file, and refuses what is not
// below the declaration's directory.
func (s *sandbox) below(base, name, verb string) string {
	full := name
	if !path.IsAbs(name) {
		full = path.Join(base, name)
	}
	full = path.Clean(full)
	dir := path.Clean(s.dir())
	inside := full == dir || strings.HasPrefix(full, strings.TrimSuffix(dir, "/")+"/")
	if s.out.Dir == "" || s.out.ReadFile == nil {
		s.throw(codeOutsideAccess, "put the declaration into a file", "the declaration may not %s %s: it has no directory of its own", verb, full)
	}
	if !inside || strings.ContainsRune(full, 0) {
		s.throw(codeOutsideAccess, "copy what it needs into its directory, or write the values out",
			"the declaration may not %s %s: it is outside %s", verb, full, dir)
	}
	return full
}

// read reads a file below the declaration's directory.
func (s *sandbox) read(full string) ([]byte, error) {
	data, err := s.out.ReadFile(full)
	if err == nil && len(data) > maxText {
		return nil, fmt.Errorf("%s has more than %d bytes", full, maxText)
	}
	return data, err
}

// process is node's process object.
func (s *sandbox) process() *goja.Object {
	rt := s.rt
	env := rt.NewObject()
	for _, name := range sortedKeys(s.out.Environ) {
		_ = env.Set(name, s.out.Environ[name])
	}
	silent := native(func(goja.FunctionCall) goja.Value { return goja.Undefined() })
	returns := func(v any) native {
		return func(goja.FunctionCall) goja.Value { return rt.ToValue(v) }
	}
	stream := object{"write": returns(true), "isTTY": false}
	return s.object(object{
		"env": env, "cwd": returns(s.dir()), "platform": s.platform(), "arch": "x64", "pid": 1, "ppid": 0, "title": "pm2",
		"argv": rt.NewArray("/usr/bin/node", "/usr/bin/pm2"), "argv0": "node", "execArgv": rt.NewArray(), "execPath": "/usr/bin/node",
		"version": "v22.0.0", "versions": s.object(object{"node": "22.0.0", "v8": "12.4.254.14-node.0"}),
		"release": s.object(object{"name": "node"}),
		"on":      silent, "once": silent, "off": silent, "emitWarning": silent, "nextTick": silent, "chdir": silent,
		"uptime": returns(0), "hrtime": native(func(goja.FunctionCall) goja.Value { return rt.NewArray(0, 0) }),
		"stdout": s.object(stream), "stderr": s.object(stream),
		"exit": native(func(call goja.FunctionCall) goja.Value {
			return s.throw(codeJSFailed, "", "the declaration calls process.exit(%s)", call.Argument(0))
		}),
	})
}

func (s *sandbox) platform() string {
	if s.out.Platform == "" {
		return "linux"
	}
	return s.out.Platform
}

// requireIn returns the require function of the modules in a directory.
func (s *sandbox) requireIn(dir string) *goja.Object {
	f := s.rt.ToValue(func(call goja.FunctionCall) goja.Value {
		return s.require(dir, call.Argument(0).String())
	}).(*goja.Object)
	_ = f.Set("resolve", func(call goja.FunctionCall) goja.Value {
		name := call.Argument(0).String()
		if s.builtin(name) != nil {
			return s.rt.ToValue(name)
		}
		full, _ := s.find(dir, name)
		return s.rt.ToValue(full)
	})
	_ = f.Set("cache", s.rt.NewObject())
	return f
}

// require loads a module of node, or a file below the declaration's directory.
func (s *sandbox) require(dir, name string) goja.Value {
	if make := s.builtin(name); make != nil {
		key := "node:" + strings.TrimPrefix(name, "node:")
		if mod := s.modules[key]; mod != nil {
			return mod
		}
		s.modules[key] = make()
		return s.modules[key]
	}
	full, data := s.find(dir, name)
	if mod := s.modules[full]; mod != nil {
		return mod.Get("exports")
	}
	return s.load(full, data).Get("exports")
}

// find returns the file that require(name) means, by node's rules.
func (s *sandbox) find(dir, name string) (full string, data []byte) {
	missing := func() {
		s.throw(codeNeedsNode, needsNodeRemedy, "require(%q) finds no file below %s", name, s.dir())
	}
	if strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") || name == "." || name == ".." || path.IsAbs(name) {
		full, data, ok := s.findFile(s.below(dir, name, "require"))
		if !ok {
			missing()
		}
		return full, data
	}
	if s.out.Dir == "" || s.out.ReadFile == nil || name == "" {
		missing()
	}
	// A package: node_modules here, and in the directories above.
	for d := dir; ; d = path.Dir(d) {
		if full, data, ok := s.findFile(path.Join(d, "node_modules", name)); ok {
			return full, data
		}
		if d == path.Clean(s.dir()) || d == "/" || d == "." {
			break
		}
	}
	missing()
	return "", nil
}

// findFile tries the names that a path without extension may mean.
func (s *sandbox) findFile(full string) (string, []byte, bool) {
	for _, suffix := range []string{"", ".js", ".cjs", ".json", ".mjs"} {
		if data, err := s.read(full + suffix); err == nil {
			return full + suffix, data, true
		}
	}
	if data, err := s.read(path.Join(full, "package.json")); err == nil {
		var manifest struct{ Main string }
		if unmarshal(data, &manifest) == nil && manifest.Main != "" {
			main := s.below(full, manifest.Main, "require")
			if main != full {
				if full, data, ok := s.findFile(main); ok {
					return full, data, true
				}
			}
		}
	}
	for _, index := range []string{"index.js", "index.cjs", "index.json"} {
		if data, err := s.read(path.Join(full, index)); err == nil {
			return path.Join(full, index), data, true
		}
	}
	return "", nil, false
}

// load runs a file as a module and returns its module object. The object is
// known before it runs, for modules that require each other.
func (s *sandbox) load(full string, data []byte) *goja.Object {
	if s.limit--; s.limit < 0 {
		s.throw(codeTooLarge, "", "the declaration requires more than 200 files")
	}
	text := []byte(strings.ToValidUTF8(strings.TrimPrefix(string(data), "\ufeff"), "?"))
	if strings.HasSuffix(full, ".json") {
		mod := s.moduleObject(full)
		parse, _ := goja.AssertFunction(s.rt.GlobalObject().Get("JSON").ToObject(s.rt).Get("parse"))
		if jsonDepth(text) >= 0 {
			s.throw(codeTooDeep, "", "%s is nested more than %d deep", full, maxDepth)
		}
		v, err := parse(goja.Undefined(), s.rt.ToValue(string(text)))
		if err != nil {
			s.throw(codeJSFailed, "", "%s is not JSON", full)
		}
		_ = mod.Set("exports", v)
		return mod
	}
	if jsDepth(text) >= 0 {
		s.throw(codeTooDeep, "", "%s is nested more than %d deep", full, maxDepth)
	}
	mod := newModule(text, strings.HasSuffix(full, ".mjs"))
	if mod.unsupported >= 0 {
		s.throw(codeNeedsNode, needsNodeRemedy, "%s has an import or export that gm cannot evaluate", full)
	}
	program, _, err := parseModule(full, mod)
	if err != nil {
		var syntax *jsSyntaxError
		if errors.As(err, &syntax) {
			line := 1 + strings.Count(string(text[:min(syntax.offset, len(text))]), "\n")
			s.throw(codeJSFailed, "", "%s:%d: %s", full, line, syntax.message)
		}
	}
	compiled, err := goja.CompileAST(program, false)
	if err != nil {
		s.throw(codeJSFailed, "", "%s: %v", full, err)
	}
	return s.call(full, mod, compiled)
}

// moduleObject makes the module object of a file.
func (s *sandbox) moduleObject(full string) *goja.Object {
	mod := s.object(object{
		"exports": s.rt.NewObject(), "id": full, "filename": full, "loaded": true, "children": s.rt.NewArray(),
		"paths": s.rt.NewArray(), "require": s.requireIn(path.Dir(full)),
	})
	s.modules[full] = mod
	return mod
}

// call runs a module's function and returns its module object.
func (s *sandbox) call(full string, m *jsModule, compiled *goja.Program) *goja.Object {
	fn, err := s.rt.RunProgram(compiled)
	if err != nil {
		panic(err)
	}
	call, ok := goja.AssertFunction(fn)
	if !ok {
		s.throw(codeJSFailed, "", "%s is no module", full)
	}
	mod := s.moduleObject(full)
	exports := mod.Get("exports")
	dir := path.Dir(full)
	meta := s.object(object{"url": "file://" + full, "filename": full, "dirname": dir})
	names := s.rt.NewObject()
	imports := s.rt.ToValue(func(call goja.FunctionCall) goja.Value {
		return s.namespace(s.require(dir, call.Argument(0).String()))
	})
	if _, err := call(exports, exports, s.requireIn(dir), mod, s.rt.ToValue(full), s.rt.ToValue(dir), meta, imports, names); err != nil {
		panic(err)
	}
	if m.esm && len(names.Keys()) > 0 {
		_ = names.DefineDataProperty("__esModule", s.rt.ToValue(true), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
		_ = mod.Set("exports", names)
	}
	return mod
}

// namespace is what import sees of a module: its names, and the module itself
// as "default" unless it is an ES module.
func (s *sandbox) namespace(exports goja.Value) goja.Value {
	obj, ok := exports.(*goja.Object)
	if ok && obj.Get("__esModule") != nil {
		return obj
	}
	ns := s.rt.NewObject()
	if ok {
		for _, name := range obj.Keys() {
			_ = ns.Set(name, obj.Get(name))
		}
	}
	_ = ns.Set("default", exports)
	return ns
}

// notExist reports whether a file was missing, rather than unreadable.
func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
