package translate

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"gm/diag"
)

// runtimeKind is what executes a script, as far as gm treats it differently.
type runtimeKind uint8

const (
	runtimeOther runtimeKind = iota
	runtimeNode
	runtimeBun
	runtimePython
	runtimeShell
)

// program is the resolved command of an app.
type program struct {
	argv    []word
	runtime runtimeKind
	// dir is the interpreter's directory when it is not on systemd's own
	// PATH: children (npm, env node) must find it there.
	dir string
	// script is the file that runs, for pm2_env.
	script string
}

// systemPath is the PATH of systemd's services (systemd.exec(5)).
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// byExtension is lib/API/interpreter.json, and the extensions of JavaScript
// that PM2 leaves to sniffing, which finds text and takes node.
func byExtension(ext string) string {
	switch ext {
	case ".js", ".cjs", ".mjs", ".jsx":
		return "node"
	case ".sh":
		return "bash"
	case ".py":
		return "python"
	case ".rb":
		return "ruby"
	case ".php":
		return "php"
	case ".pl":
		return "perl"
	case ".coffee":
		return "coffee"
	case ".ls":
		return "lsc"
	case ".ts", ".tsx":
		return "bun"
	}
	return ""
}

// resolveProgram settles the command line: PM2's lib/Common.js prepareAppConf
// and resolveInterpreter, with the host's facts in place of its disk.
func (a *app) resolveProgram(p *project, m *messages) {
	host := &p.o.Host
	script, args := a.get("script"), a.get("args")
	if !a.checkPath(script, m) {
		return
	}
	file := host.resolve(a.cwd, script.text)
	if strings.Contains(script.text, " ") && !isFile(host.file(file)) {
		a.resolveShell(p, m)
		return
	}
	kind, command := host.file(file), false
	if !isFile(kind) && kind != FileDir && !strings.Contains(script.text, "/") {
		found, _ := host.program(script.text)
		switch {
		case found != "":
			command = true
			if file, kind = found, host.file(found); kind == FileUnknown {
				kind = FileBinary // what is on the PATH can be executed
			}
		case script.text == "serve":
			m.add(pm2Serve, script.at, "run a file server of your own, for example script \"npx\" with args [\"serve\", \"DIR\"]",
				"script \"serve\" is PM2's built-in file server, which gm does not have")
			return
		case path.Ext(script.text) == "" && !a.get("exec_interpreter").given():
			// Neither here nor on the PATH, or nobody could look: a bare word
			// is a command far more often than a file.
			file, kind = p.lookup(script.text, script.at, m), FileBinary
		}
	}
	if kind == FileMissing {
		m.add(scriptNotFound, script.at, "build or copy it there before the app starts, or correct the path",
			"script %q: there is no %s", clip(script.text), file)
	}
	a.program.script = file

	nodeArgs := a.get("node_args")
	interpreter, words, extra := a.interpreter(p, file, kind, m)
	if interpreter == "" {
		if nodeArgs.given() && len(nodeArgs.list) > 0 {
			m.add(argsIgnored, nodeArgs.keyAt, "remove it, or name an interpreter", "%s has no effect: the script runs without an interpreter", nodeArgs.name)
		}
	} else {
		by := a.get("exec_interpreter")
		if !by.given() {
			by = script
		}
		for _, w := range slices.Concat([]string{interpreter}, words, extra) {
			a.program.argv = append(a.program.argv, word{w, by.at})
		}
		a.program.argv = append(a.program.argv, nodeArgs.list...)
	}
	a.program.argv = append(a.program.argv, word{file, script.at})
	a.program.argv = append(a.program.argv, args.list...)
	if interpreter != "" || command {
		a.program.leadPath(a.program.argv[0].text)
	}
}

// leadPath puts the directory of a program first on PATH, if systemd's own PATH
// lacks it: npm, npx and `env node` must find the same interpreter.
func (p *program) leadPath(file string) {
	if dir := path.Dir(file); path.IsAbs(file) && !strings.Contains(":"+systemPath+":", ":"+dir+":") {
		p.dir = dir
	}
}

func isFile(kind FileKind) bool {
	return kind == FileText || kind == FileBinary || strings.HasPrefix(string(kind), "#!")
}

// resolveShell runs a command line as PM2 does: bash -c, and args are lost.
func (a *app) resolveShell(p *project, m *messages) {
	script, args := a.get("script"), a.get("args")
	if len(args.list) > 0 {
		m.add(argsIgnored, args.keyAt, "move them into script, which is a command line for bash",
			"%s has no effect: script %q holds a blank, so PM2 runs it with bash -c", args.name, clip(script.text))
	}
	shell, _ := p.o.Host.program("bash")
	if shell == "" {
		if shell, _ = p.o.Host.program("sh"); shell == "" {
			shell = "/bin/bash"
		}
	}
	a.program = program{argv: []word{{shell, script.at}, {"-c", script.at}, {script.text, script.at}}, script: shell}
	a.program.runtime = runtimeShell
	a.program.leadPath(p.has("node"))
}

// interpreter returns what runs the file ("" for the file itself), the words
// that belong to it, and arguments that PM2 adds before node_args.
func (a *app) interpreter(p *project, file string, kind FileKind, m *messages) (command string, words, extra []string) {
	host := &p.o.Host
	declared := a.get("exec_interpreter")
	name, at := declared.text, declared.at
	ext := path.Ext(file)
	switch {
	case name == "none":
		return "", nil, nil
	case name != "":
		if !a.checkPath(declared, m) {
			return "", nil, nil
		}
	case (ext == ".ts" || ext == ".tsx") && p.has("bun") == "":
		name, at = a.typescript(p, m), a.get("script").at
		if name == "node" && nodeNeedsFlag(host.version(p.has("node"))) {
			extra = []string{"--experimental-strip-types"}
		}
	case byExtension(ext) != "":
		name, at = byExtension(ext), a.get("script").at
		if name == "python" && p.has("python") == "" && p.has("python3") != "" {
			name = "python3"
		}
	case kind == FileBinary:
		return "", nil, nil
	case strings.HasPrefix(string(kind), "#!"):
		// PM2 would hand any text to node; the script says itself who reads it.
		line := strings.Fields(strings.TrimPrefix(string(kind), "#!"))
		if len(line) > 1 && path.Base(line[0]) == "env" {
			line = line[1:]
			if line[0] == "-S" && len(line) > 1 {
				line = line[1:]
			}
		}
		if len(line) == 0 {
			return "", nil, nil
		}
		name, words, at = line[0], line[1:], a.get("script").at
	default:
		name, at = "node", a.get("script").at
	}

	a.program.runtime = runtimeOf(name)
	switch {
	case strings.HasPrefix(name, "node@"):
		a.program.runtime = runtimeNode
		if command, _ = host.program(name); command == "" {
			command = path.Join(host.Home, ".nvm/versions/node/v"+strings.TrimPrefix(name, "node@"), "bin/node")
			m.add(programNotFound, at, "install it with nvm install "+strings.TrimPrefix(name, "node@")+", or name the interpreter by its path",
				"interpreter %q: nvm has no such version on this host; %s is written", name, command)
		}
	case strings.Contains(name, "/"):
		command = host.resolve(a.cwd, name) // spawn(2) happens in cwd
		if host.file(command) == FileMissing {
			m.add(programNotFound, at, "install it there, or correct the path", "interpreter %q: there is no %s", clip(name), command)
		}
	default:
		command = p.lookup(name, at, m)
	}
	return command, words, extra
}

// typescript chooses between bun and node's own type stripping
// (lib/tools/typestrip.js).
func (a *app) typescript(p *project, m *messages) string {
	node := p.has("node")
	v := p.o.Host.version(node)
	if node == "" || v == "" || !nodeStripsTypes(v) {
		m.add(programNotFound, a.get("script").at, "install bun, use node 22.18 or later, or name an interpreter such as ts-node",
			"a TypeScript script needs bun or node 22.18, and the host has neither; bun is written")
		p.missing["bun"] = true
		return "bun"
	}
	return "node"
}

func nodeStripsTypes(v string) bool {
	major, minor := majorMinor(v)
	return major == 22 && minor >= 6 || major >= 23
}

func nodeNeedsFlag(v string) bool {
	major, minor := majorMinor(v)
	return major == 22 && minor < 18 || major == 23 && minor < 6
}

func majorMinor(v string) (major, minor int) {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	return major, minor
}

func runtimeOf(interpreter string) runtimeKind {
	switch base := path.Base(interpreter); {
	case strings.HasSuffix(base, "node"): // PM2's test: /node$/
		return runtimeNode
	case strings.HasSuffix(base, "bun"):
		return runtimeBun
	case strings.Contains(interpreter, "python"):
		return runtimePython
	case base == "bash" || base == "sh":
		return runtimeShell
	}
	return runtimeOther
}

// has returns the path of a command that the host is known to have.
func (p *project) has(name string) string {
	found, _ := p.o.Host.program(name)
	return found
}

// lookup returns the absolute path of a command; one that the host does not
// have is reported once and assumed in /usr/bin.
func (p *project) lookup(name string, at diag.Range, m *messages) string {
	found, known := p.o.Host.program(name)
	if found != "" {
		return found
	}
	guess := "/usr/bin/" + name
	if known && !p.missing[name] {
		p.missing[name] = true
		m.add(programNotFound, at, "install it, give its path, or take the facts of the right host with --host",
			"%q is not on the PATH; %s is written", name, guess)
	}
	return guess
}
