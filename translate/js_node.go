package translate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/dop251/goja"
)

// builtin returns the maker of a module that needs no file, or nil. These are
// the modules that real declarations require; the rest is for node.
func (s *sandbox) builtin(name string) func() *goja.Object {
	switch strings.TrimPrefix(name, "node:") {
	case "path", "path/posix":
		return s.nodePath
	case "os":
		return s.nodeOS
	case "fs":
		return s.nodeFS
	case "url":
		return s.nodeURL
	case "util":
		return s.nodeUtil
	case "process":
		return func() *goja.Object { return s.rt.GlobalObject().Get("process").ToObject(s.rt) }
	case "module":
		return s.nodeModule
	case "dotenv":
		return s.dotenv
	case "dotenv/config":
		return s.dotenvConfig
	}
	return nil
}

// argument returns an argument that must be a string, as node's own functions do.
func (s *sandbox) argument(call goja.FunctionCall, i int, what string) string {
	v := call.Argument(i)
	if v.ExportType() == nil || v.ExportType().Kind().String() != "string" {
		panic(s.rt.NewTypeError("%s must be a string; it is %s", what, v.String()))
	}
	return v.String()
}

func (s *sandbox) nodePath() *goja.Object {
	rt := s.rt
	texts := func(call goja.FunctionCall) []string {
		out := make([]string, len(call.Arguments))
		for i := range out {
			out[i] = s.argument(call, i, "the path")
		}
		return out
	}
	one := func(f func(string) string) native {
		return func(call goja.FunctionCall) goja.Value { return rt.ToValue(f(s.argument(call, 0, "the path"))) }
	}
	mod := s.object(object{
		"sep": "/", "delimiter": ":",
		"join": native(func(call goja.FunctionCall) goja.Value {
			parts := slices.DeleteFunc(texts(call), func(p string) bool { return p == "" })
			return rt.ToValue(normalizePath(strings.Join(parts, "/")))
		}),
		"resolve": native(func(call goja.FunctionCall) goja.Value {
			full := s.dir()
			for _, p := range texts(call) {
				if path.IsAbs(p) {
					full = p
				} else {
					full += "/" + p
				}
			}
			return rt.ToValue(path.Clean(full))
		}),
		"normalize": one(normalizePath),
		"dirname":   one(func(p string) string { return path.Dir(strings.TrimRight(p, "/")) }),
		"extname":   one(func(p string) string { return extname(path.Base(p)) }),
		"isAbsolute": native(func(call goja.FunctionCall) goja.Value {
			return rt.ToValue(path.IsAbs(s.argument(call, 0, "the path")))
		}),
		"basename": native(func(call goja.FunctionCall) goja.Value {
			base := path.Base(s.argument(call, 0, "the path"))
			if len(call.Arguments) > 1 {
				if short := strings.TrimSuffix(base, s.argument(call, 1, "the suffix")); short != "" {
					base = short
				}
			}
			return rt.ToValue(base)
		}),
		"relative": native(func(call goja.FunctionCall) goja.Value {
			from, to := s.argument(call, 0, "the path"), s.argument(call, 1, "the path")
			return rt.ToValue(pathRelative(s.absolute(from), s.absolute(to)))
		}),
		"parse": native(func(call goja.FunctionCall) goja.Value {
			p := s.argument(call, 0, "the path")
			base := path.Base(p)
			ext := extname(base)
			root := ""
			if path.IsAbs(p) {
				root = "/"
			}
			return s.object(object{"root": root, "dir": path.Dir(p), "base": base, "ext": ext, "name": strings.TrimSuffix(base, ext)})
		}),
	})
	_ = mod.Set("posix", mod)
	return mod
}

func (s *sandbox) absolute(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(s.dir(), p)
}

// normalizePath is path.normalize of node, which keeps a final slash.
func normalizePath(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && !strings.HasSuffix(clean, "/") {
		clean += "/"
	}
	return clean
}

// extname is path.extname of node: ".bashrc" has none.
func extname(base string) string {
	if i := strings.LastIndexByte(base, '.'); i > 0 {
		return base[i:]
	}
	return ""
}

func pathRelative(from, to string) string {
	a := strings.FieldsFunc(from, func(c rune) bool { return c == '/' })
	b := strings.FieldsFunc(to, func(c rune) bool { return c == '/' })
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return strings.Join(append(slices.Repeat([]string{".."}, len(a)), b...), "/")
}

func (s *sandbox) nodeOS() *goja.Object {
	rt := s.rt
	returns := func(v any) native {
		return func(goja.FunctionCall) goja.Value { return rt.ToValue(v) }
	}
	cpus := max(s.out.CPUs, 1)
	tmp := s.out.TempDir
	if tmp == "" {
		tmp = "/tmp"
	}
	memory := float64(s.out.Memory)
	return s.object(object{
		"EOL": "\n", "hostname": native(func(goja.FunctionCall) goja.Value {
			if s.out.Hostname == "" {
				s.pinned("the host's name")
			}
			return rt.ToValue(s.out.Hostname)
		}), "homedir": returns(s.out.Home), "platform": returns(s.platform()),
		"tmpdir": returns(tmp), "totalmem": returns(memory), "freemem": returns(memory), "type": returns("Linux"),
		"arch": returns("x64"), "release": returns(""), "uptime": returns(0), "endianness": returns("LE"),
		"availableParallelism": returns(cpus),
		"loadavg":              native(func(goja.FunctionCall) goja.Value { return rt.NewArray(0, 0, 0) }),
		"networkInterfaces":    native(func(goja.FunctionCall) goja.Value { return rt.NewObject() }),
		"cpus": native(func(goja.FunctionCall) goja.Value {
			list := make([]any, min(cpus, 4096))
			for i := range list {
				list[i] = s.object(object{"model": "", "speed": 0, "times": rt.NewObject()})
			}
			return rt.NewArray(list...)
		}),
		"userInfo": native(func(goja.FunctionCall) goja.Value {
			return s.object(object{"username": path.Base(s.out.Home), "homedir": s.out.Home, "shell": "/bin/sh"})
		}),
	})
}

// nodeFS reads below the declaration's directory, and refuses the rest.
func (s *sandbox) nodeFS() *goja.Object {
	rt := s.rt
	file := func(call goja.FunctionCall, verb string) string {
		name := s.argument(call, 0, "the path")
		return s.below(s.dir(), strings.TrimPrefix(name, "file://"), verb)
	}
	members := object{
		"readFileSync": native(func(call goja.FunctionCall) goja.Value {
			full := file(call, "read")
			data, err := s.read(full)
			if errors.Is(err, fs.ErrPermission) {
				// Also a link that leads out; node would follow it.
				return s.throw(codeOutsideAccess, "copy what it needs into its directory, or write the values out",
					"the declaration may not read %s: %v", full, fs.ErrPermission)
			}
			if err != nil {
				e := rt.NewGoError(&refusal{code: codeJSFailed, cause: "the declaration failed: ENOENT: no such file or directory, open '" + full + "'"})
				if notExist(err) {
					_ = e.Set("code", "ENOENT")
				}
				panic(e)
			}
			text := rt.ToValue(strings.ToValidUTF8(string(data), "\ufffd"))
			if encoding := call.Argument(1); !goja.IsUndefined(encoding) && !goja.IsNull(encoding) {
				return text
			}
			// Without an encoding it is a Buffer, which all there use as text.
			returns := native(func(goja.FunctionCall) goja.Value { return text })
			return s.object(object{"toString": returns, "toJSON": returns, "length": len(data)})
		}),
		"existsSync": native(func(call goja.FunctionCall) goja.Value {
			full := file(call, "look at")
			if _, err := s.read(full); err == nil {
				return rt.ToValue(true)
			}
			if s.out.ReadDir == nil {
				return rt.ToValue(full == path.Clean(s.dir()))
			}
			_, err := s.out.ReadDir(full)
			return rt.ToValue(err == nil)
		}),
		"readdirSync": native(func(call goja.FunctionCall) goja.Value {
			full := file(call, "list")
			if s.out.ReadDir == nil {
				return s.throw(codeNeedsNode, needsNodeRemedy, "the declaration lists a directory, which gm's own JavaScript does not")
			}
			names, err := s.out.ReadDir(full)
			if err != nil {
				return s.throw(codeJSFailed, "", "the declaration failed: ENOENT: no such directory, scandir '%s'", full)
			}
			names = slices.Sorted(slices.Values(names))
			list := make([]any, len(names))
			for i := range list {
				list[i] = names[i]
			}
			return rt.NewArray(list...)
		}),
	}
	for _, name := range []string{
		"writeFileSync", "appendFileSync", "mkdirSync", "rmSync", "unlinkSync", "renameSync", "copyFileSync", "chmodSync",
		"writeFile", "appendFile", "mkdir", "rm", "unlink", "createWriteStream", "symlinkSync", "openSync",
	} {
		members[name] = native(func(goja.FunctionCall) goja.Value {
			return s.throw(codeOutsideAccess, "make the file beforehand", "the declaration may not change files: it calls fs.%s", name)
		})
	}
	return s.object(members)
}

func (s *sandbox) nodeURL() *goja.Object {
	return s.object(object{
		"fileURLToPath": native(func(call goja.FunctionCall) goja.Value {
			u, err := url.Parse(s.argument(call, 0, "the URL"))
			if err != nil || u.Scheme != "file" {
				panic(s.rt.NewTypeError("the URL must have the scheme file:"))
			}
			return s.rt.ToValue(u.Path)
		}),
		"pathToFileURL": native(func(call goja.FunctionCall) goja.Value {
			href := (&url.URL{Scheme: "file", Path: s.absolute(s.argument(call, 0, "the path"))}).String()
			text := s.rt.ToValue(href)
			returns := native(func(goja.FunctionCall) goja.Value { return text })
			return s.object(object{"href": text, "toString": returns, "toJSON": returns})
		}),
	})
}

func (s *sandbox) nodeModule() *goja.Object {
	return s.object(object{"createRequire": native(func(call goja.FunctionCall) goja.Value {
		name := strings.TrimPrefix(call.Argument(0).String(), "file://")
		return s.requireIn(path.Dir(s.absolute(name)))
	})})
}

// script runs a piece of JavaScript of gm's own and returns its value.
func (s *sandbox) script(text string) *goja.Object {
	v, err := s.rt.RunScript("<gm>", text)
	if err != nil {
		panic(err)
	}
	return v.ToObject(s.rt)
}

func (s *sandbox) nodeUtil() *goja.Object {
	return s.script(`({
	format: (first, ...rest) => {
		let i = 0;
		const text = String(first).replace(/%[sdijoO%]/g, (m) => m === "%%" ? "%" : i < rest.length ? String(rest[i++]) : m);
		return [text, ...rest.slice(i).map(String)].join(" ");
	},
	inspect: (v) => JSON.stringify(v),
	inherits: (a, b) => { Object.setPrototypeOf(a.prototype, b.prototype); },
	deprecate: (f) => f,
	isArray: Array.isArray,
	types: {},
})`)
}

// dotenv is the package of that name, so far as declarations use it. The
// pattern is that of dotenv 16 (lib/main.js), so that the same lines count.
func (s *sandbox) dotenv() *goja.Object {
	makeModule, _ := goja.AssertFunction(s.script(`((read, env) => {
	const line = /(?:^|^)\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*` + "`(?:\\\\`|[^`])*`" + `|[^#\r\n]+)?\s*(?:#.*)?(?:$|$)/mg;
	const parse = (src) => {
		const out = {};
		const text = String(src).replace(/\r\n?/mg, "\n");
		let match;
		while ((match = line.exec(text)) != null) {
			let value = (match[2] || "").trim();
			const quote = value[0];
			value = value.replace(/^(['"` + "`" + `])([\s\S]*)\1$/mg, "$2");
			if (quote === '"') value = value.replace(/\\n/g, "\n").replace(/\\r/g, "\r");
			out[match[1]] = value;
		}
		return out;
	};
	const populate = (target, parsed, options = {}) => {
		for (const key of Object.keys(parsed))
			if (options.override || !Object.prototype.hasOwnProperty.call(target, key)) target[key] = parsed[key];
	};
	const config = (options = {}) => {
		const paths = [].concat(options.path == null ? ".env" : options.path);
		const parsed = {};
		let error;
		for (const path of paths) {
			try { populate(parsed, parse(read(String(path), "utf8")), options); }
			catch (e) { if (e.code !== "ENOENT") throw e; error = e; }
		}
		populate(options.processEnv || env, parsed, options);
		return error ? { parsed, error } : { parsed };
	};
	return { config, parse, populate };
})`))
	v, err := makeModule(goja.Undefined(), s.nodeFS().Get("readFileSync"), s.rt.GlobalObject().Get("process").ToObject(s.rt).Get("env"))
	if err != nil {
		panic(err)
	}
	return v.ToObject(s.rt)
}

func (s *sandbox) dotenvConfig() *goja.Object {
	mod := s.dotenv()
	config, _ := goja.AssertFunction(mod.Get("config"))
	if _, err := config(mod); err != nil {
		panic(err)
	}
	return mod
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// unmarshal reads JSON of a few known members.
func unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }
