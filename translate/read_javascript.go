package translate

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"

	"gm/diag"
)

const config = "ecosystem.config.js"

var (
	codeBadJS = &Code{
		Name: "bad-javascript", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration has a syntax error",
		Example: `module.exports = { apps: [{ name: "web" script: "web.js" }] };`,
	}
	codeJSFailed = &Code{
		Name: "javascript-failed", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration throws an error, or recurses without end",
		Example: `module.exports = { apps: [{ script: settings.script }] };`,
	}
	codeJSTimeout = &Code{
		Name: "js-timeout", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration runs for more than a second, or takes more than 128 MB",
		Example: `for (;;) {}`,
	}
	codeJSFunction = &Code{
		Name: "function-export", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration exports a function, which PM2 does not call",
		Example: `module.exports = () => ({ apps: [{ script: "web.js" }] });`,
	}
	codeJSAsync = &Code{
		Name: "async-export", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration exports a promise, for which PM2 does not wait",
		Example: `module.exports = (async () => ({ apps: [{ script: "web.js" }] }))();`,
	}
	codeJSCycle = &Code{
		Name: "js-cycle", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration exports an object that contains itself",
		Example: `const app = { script: "web.js" }; app.env = { app }; module.exports = app;`,
	}
	codeJSValue = &Code{
		Name: "js-value", Severity: diag.Warning, File: config,
		Doc:     "a member is a function, a regular expression or a symbol, which no unit can hold; it is left out",
		Example: `module.exports = { script: "web.js", ignore_watch: [/node_modules/] };`,
	}
	codePinnedValue = &Code{
		Name: "pinned-value", Severity: diag.Warning,
		Doc:     "a JavaScript declaration asks for a random number, or, where the machine's facts are pinned, for the time or the host's name: it gets a fixed value",
		Example: `module.exports = { apps: [{ script: "a.js", name: "a-" + Math.random() }] }`, File: "ecosystem.config.js",
	}
	codeOutsideAccess = &Code{
		Name: "outside-access", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration reads outside its own directory, or changes files",
		Example: `module.exports = JSON.parse(require("fs").readFileSync("/etc/apps.json"));`,
	}
	codeNeedsNode = &Code{
		Name: "needs-node", Severity: diag.Error, File: config,
		Doc:     "a JavaScript declaration needs what only node has: a module from npm that is not installed beside it, a built-in module, top-level await",
		Example: `const ms = require("ms"); module.exports = { script: "web.js", kill_timeout: ms("5s") };`,
	}
	codeUsedNode = &Code{
		Name: "used-node", Severity: diag.Note, File: config,
		Doc:     "a JavaScript declaration was evaluated by node, because gm's own JavaScript cannot; it is reported where needs-node would be when node is allowed",
		Example: `const ms = require("ms"); module.exports = { script: "web.js", kill_timeout: ms("5s") };`,
	}
)

const needsNodeRemedy = "let gm use node, or write the value out"

// report adds a fault to the messages.
func (r *reader) report(f *jsFault) {
	r.m.add(f.code, f.at, f.remedy, "%s", f.cause)
}

// readJavaScript reads a module. One that only declares literals, as three in
// four do, is read from its syntax tree; the others run.
func (r *reader) readJavaScript() *value {
	s := jsScanner{text: r.text}
	if s.next().kind == tokenEnd {
		r.emptyFile()
		return nil
	}
	if at := jsDepth(r.text); at >= 0 {
		r.tooDeep(at)
		return nil
	}
	mod := newModule(r.text, strings.HasSuffix(r.src.Name, ".mjs"))
	if mod.unsupported >= 0 {
		at := r.at(mod.unsupported, mod.unsupported+len("import"))
		return r.withNode(&jsFault{code: codeNeedsNode, at: at, remedy: needsNodeRemedy,
			cause: "this form of import or export is not one that gm evaluates"})
	}
	program, body, err := parseModule(r.src.Name, mod)
	if err != nil {
		f := r.syntaxFault(codeBadJS, err)
		if mod.esm && f.cause == topLevelAwait {
			f.code, f.remedy = codeNeedsNode, needsNodeRemedy
		}
		return r.withNode(f)
	}
	tree := &jsTree{reader: r, prefix: len(mod.head), body: body, dirname: true}
	tree.declare()
	root, static := tree.exported()
	if root != nil && static {
		if v, ok := tree.static(root); ok {
			return r.defined(v, tree.place(root))
		}
		if r.values > maxValues {
			r.tooLarge(tree.place(root))
			return nil
		}
		r.values = 0
	}
	compiled, err := goja.CompileAST(program, false)
	if err != nil {
		return r.withNode(r.compileFault(mod, err))
	}
	v, fault := r.run(tree, func(s *sandbox) *value {
		s.module = mod
		exports := s.call(r.filename(), mod, compiled).Get("exports")
		return s.convertRoot(exports, root)
	})
	if fault != nil {
		return r.withNode(fault)
	}
	return v
}

// defined makes null of undefined, so that there is a value to complain about.
func (r *reader) defined(v *value, at diag.Range) *value {
	if v == nil {
		return &value{kind: kindNull, at: at}
	}
	return v
}

// convertRoot converts what a declaration exports.
func (s *sandbox) convertRoot(exports goja.Value, expr ast.Expression) *value {
	at := s.at(0, len(strings.TrimRight(string(s.text), " \t\r\n")))
	if expr != nil {
		at = s.tree.valuePlace(expr)
	}
	if obj, ok := exports.(*goja.Object); ok {
		// An ES module exports its default, when there is one.
		if obj.Get("__esModule") != nil && !goja.IsUndefined(obj.Get("default")) && obj.Get("default") != nil {
			exports = obj.Get("default")
		}
	}
	c := converter{sandbox: s}
	if obj, ok := exports.(*goja.Object); ok {
		if obj.ClassName() == "Function" {
			c.stop(codeJSFunction, at, "call it: module.exports = (…)()", "the declaration exports a function, which PM2 does not call")
		}
		if isPromise(obj) {
			c.stop(codeJSAsync, at, "export the value itself, without async", "the declaration exports a promise, for which PM2 does not wait")
		}
	}
	return s.defined(c.convert(exports, expr, at), at)
}

// withNode asks node for the value of a declaration that gm's own JavaScript
// could not give. Without node, or when it fails as well, the fault stands.
func (r *reader) withNode(f *jsFault) *value {
	final := f.final || f.code == codeOutsideAccess || f.code == codeJSTimeout || f.code == codeJSFunction || f.code == codeJSAsync ||
		f.code == codeJSCycle || f.code == codeTooLarge || f.code == codeTooDeep
	if r.out.Node == nil || r.out.Dir == "" || final {
		r.report(f)
		return nil
	}
	data, err := r.out.Node(path.Join(r.out.Dir, path.Base(r.src.Name)))
	if err != nil {
		if f.code == codeNeedsNode {
			f.cause += fmt.Sprintf("; and node says: %v", err)
		}
		r.report(f)
		return nil
	}
	// What node found has no places; every part of it is where the need arose.
	inner := &reader{src: diag.NewSource(r.src.Name, data), text: data, m: &messages{}}
	v := inner.readJSON()
	if v == nil {
		r.report(f)
		return nil
	}
	r.m.add(codeUsedNode, f.at, "", "node evaluated the declaration: %s", f.cause)
	v.relocate(f.at)
	return v
}

// relocate puts a value and all it holds at one place.
func (v *value) relocate(at diag.Range) {
	v.at = at
	for _, item := range v.items {
		item.relocate(at)
	}
	for i := range v.members {
		v.members[i].nameAt = at
		v.members[i].value.relocate(at)
	}
}

// readLiteral reads JSON that is none: PM2 puts the text into parentheses and
// evaluates it. Literals are read from the syntax tree; what is left runs,
// without require.
func (r *reader) readLiteral() *value {
	s := jsScanner{text: r.text}
	first := s.next()
	switch word := string(r.text[first.start:first.end]); {
	case first.kind == tokenEnd:
		r.emptyFile()
		return nil
	case first.kind == tokenWord && oneWord(word):
		r.m.add(codeBadJSON, r.at(first.start, first.end), "name the file .config.js, or keep only the object",
			"found %s: this is JavaScript in a JSON file", word)
		return nil
	}
	if at := jsDepth(r.text); at >= 0 {
		r.tooDeep(at)
		return nil
	}
	mod := &jsModule{head: "(", text: r.text, tail: "\n)", unsupported: -1}
	program, err := parser.ParseFile(nil, r.src.Name, mod.source(), parser.IgnoreRegExpErrors, parser.WithDisableSourceMaps)
	if err != nil {
		var list parser.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			err = &jsSyntaxError{mod.offset(list[0].Position), list[0].Message}
		}
		r.report(r.syntaxFault(codeBadJSON, err))
		return nil
	}
	expr, ok := ast.Expression(nil), false
	if len(program.Body) == 1 {
		if s, is := program.Body[0].(*ast.ExpressionStatement); is {
			expr, ok = s.Expression, true
		}
	}
	if seq, is := expr.(*ast.SequenceExpression); is || !ok {
		at := r.at(0, 0)
		if is {
			tree := &jsTree{reader: r, prefix: 1}
			at = tree.place(seq.Sequence[1])
		}
		r.m.add(codeBadJSON, at, "keep one value: put the apps into one list", "the text goes on after the end of the value")
		return nil
	}
	tree := &jsTree{reader: r, prefix: 1}
	if v, ok := tree.static(expr); ok {
		return r.defined(v, tree.place(expr))
	}
	if r.values > maxValues {
		r.tooLarge(tree.place(expr))
		return nil
	}
	r.values = 0
	compiled, err := goja.CompileAST(program, false)
	if err != nil {
		r.report(r.compileFault(mod, err))
		return nil
	}
	code := tree.place(expr)
	if tree.dynamic != nil {
		code = tree.place(tree.dynamic)
	}
	v, fault := r.run(tree, func(s *sandbox) *value {
		s.module = mod
		result, err := s.rt.RunProgram(compiled)
		if err != nil {
			panic(err)
		}
		return s.convertRoot(result, expr)
	})
	if fault != nil {
		r.report(fault)
		return nil
	}
	r.m.add(codeJSONIsCode, code, "name the file .config.js, or write the value out",
		"this is an expression: PM2 evaluates it, no JSON reader takes it")
	return v
}

// oneWord reports whether a text that starts with the word is a program.
func oneWord(word string) bool {
	switch word {
	case "module", "exports", "export", "import", "const", "let", "var", "function", "class":
		return true
	}
	return false
}

// compileFault explains what goja's compiler, not its parser, refuses.
func (r *reader) compileFault(mod *jsModule, err error) *jsFault {
	at := r.at(0, 0)
	message := err.Error()
	var syntax *goja.CompilerSyntaxError
	if errors.As(err, &syntax) {
		message = syntax.Message
		if syntax.File != nil {
			offset := mod.offset(syntax.File.Position(syntax.Offset))
			at = r.at(offset, offset+1)
		}
	}
	return &jsFault{code: codeBadJS, at: at, cause: "a syntax error: " + message}
}
