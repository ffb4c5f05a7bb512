package translate

import (
	"bytes"
	"fmt"
	"strings"
)

// The names that a rewritten ES module uses for what goja lacks. esmExports is
// short enough that "$esm.default =" takes the place of "export default".
const (
	esmExports = "$esm"
	esmImport  = "$import"
	esmMeta    = "import_meta" // as long as import.meta
)

// jsModule is the text of a module made ready for goja, which knows scripts
// only: head + text + tail is one function expression. The text keeps its
// length, so that a position in it is one in the file.
type jsModule struct {
	head, tail string
	text       []byte
	esm        bool
	imports    []importSpan
	// unsupported is the offset of an import or export that has no equal in a
	// script, or -1.
	unsupported int
}

// importSpan is an import statement: its place in the head and in the text.
type importSpan struct {
	headEnd    int
	start, end int
}

// params are what every module gets: the five of CommonJS, and the three of
// the rewriting.
const params = "exports,require,module,__filename,__dirname," + esmMeta + "," + esmImport + "," + esmExports

// newModule rewrites a module's text. Named imports move into the head: they
// are hoisted in ES modules too.
func newModule(text []byte, forceESM bool) *jsModule {
	mod := &jsModule{text: text, esm: forceESM, unsupported: -1}
	if bytes.HasPrefix(text, []byte("#!")) { // node strips a hashbang line
		mod.text = bytes.Clone(text)
		copy(mod.text, "//")
	}
	var head, tail strings.Builder
	if bytes.Contains(text, []byte("import")) || bytes.Contains(text, []byte("export")) {
		e := esmRewriter{mod: mod, head: &head, tail: &tail}
		e.scan()
		e.rewrite()
	}
	if !mod.esm {
		mod.head = "(function(" + params + "){"
		mod.tail = "\n})"
		return mod
	}
	// An inner function, because an ES module may well declare a __dirname or
	// a require of its own.
	open := "(function(" + params + "){return (function(){"
	mod.head = open + head.String()
	for i := range mod.imports {
		mod.imports[i].headEnd += len(open)
	}
	mod.tail = "\n" + tail.String() + "})()})"
	return mod
}

// source is what goja reads.
func (m *jsModule) source() string {
	return m.head + string(m.text) + m.tail
}

// esmRewriter replaces the import and export statements of a module.
type esmRewriter struct {
	mod        *jsModule
	tokens     []jsToken
	depth      []int // brackets open before each token
	i          int   // the token at hand
	cloned     bool
	head, tail *strings.Builder
}

func (e *esmRewriter) scan() {
	s := jsScanner{text: e.mod.text}
	for {
		depth := len(s.open)
		t := s.next()
		e.tokens = append(e.tokens, t)
		e.depth = append(e.depth, depth)
		if t.kind == tokenEnd {
			return
		}
	}
}

// is reports whether the token k places on has that text.
func (e *esmRewriter) is(k int, text string) bool {
	if e.i+k < 0 || e.i+k >= len(e.tokens) {
		return false
	}
	t := e.tokens[e.i+k]
	return string(e.mod.text[t.start:t.end]) == text
}

// take moves past a token and returns its text.
func (e *esmRewriter) take() string {
	t := e.tokens[e.i]
	if t.kind != tokenEnd {
		e.i++
	}
	return string(e.mod.text[t.start:t.end])
}

func (e *esmRewriter) kind() tokenKind { return e.tokens[e.i].kind }

// put writes text over the bytes from start to end, and blanks over the rest
// of them. Line ends stay.
func (e *esmRewriter) put(start, end int, text string) {
	if !e.cloned {
		e.mod.text, e.cloned = bytes.Clone(e.mod.text), true
	}
	for i := start; i < end; i++ {
		switch {
		case i-start < len(text):
			e.mod.text[i] = text[i-start]
		case e.mod.text[i] != '\n' && e.mod.text[i] != '\r':
			e.mod.text[i] = ' '
		}
	}
}

func (e *esmRewriter) rewrite() {
	for e.i = 0; e.kind() != tokenEnd; {
		start := e.i
		var ok bool
		switch {
		case e.is(0, "import") && e.is(1, ".") && e.is(2, "meta"):
			t := e.tokens[e.i]
			if ok = e.tokens[e.i+2].end-t.start == len(esmMeta); ok {
				e.put(t.start, t.start+len(esmMeta), esmMeta)
			}
			e.i += 3
		case e.depth[e.i] > 0 || e.is(-1, ".") || e.kind() != tokenWord:
			e.i++
			continue
		case e.is(0, "import") && e.is(1, "("):
			// A dynamic import yields a promise; goja's parser will refuse it.
			e.i++
			continue
		case e.is(0, "import"):
			ok = e.importStatement()
		case e.is(0, "export"):
			ok = e.exportStatement()
		default:
			e.i++
			continue
		}
		e.mod.esm = true
		if !ok && e.mod.unsupported < 0 {
			e.mod.unsupported = e.tokens[start].start
		}
		e.i = max(e.i, start+1)
	}
}

// importStatement moves an import into the head.
func (e *esmRewriter) importStatement() bool {
	start := e.tokens[e.i].start
	e.i++
	var whole string      // import * as whole
	var names [][2]string // import {from as to}; "default" for the default import
	for e.kind() != tokenString {
		switch {
		case e.is(0, "*") && e.is(1, "as"):
			e.i += 2
			whole = e.take()
		case e.is(0, "{"):
			list, ok := e.nameList()
			if !ok {
				return false
			}
			names = append(names, list...)
		case e.kind() == tokenWord:
			names = append(names, [2]string{"default", e.take()})
		default:
			return false
		}
		if e.is(0, ",") {
			e.i++
		} else if e.is(0, "from") {
			e.i++
			if e.kind() != tokenString {
				return false
			}
		} else {
			return false
		}
	}
	name, end := e.moduleName()
	call := esmImport + "(" + name + ")"
	span := importSpan{start: start, end: end}
	switch {
	case whole != "":
		fmt.Fprintf(e.head, "const %s=%s;", whole, call)
		call = whole
	case len(names) == 0:
		e.head.WriteString(call + ";")
	}
	if len(names) > 0 {
		var list []string
		for _, n := range names {
			list = append(list, n[0]+":"+n[1])
		}
		fmt.Fprintf(e.head, "const {%s}=%s;", strings.Join(list, ","), call)
	}
	span.headEnd = e.head.Len()
	e.mod.imports = append(e.mod.imports, span)
	e.put(start, end, "")
	return true
}

// nameList reads {a, b as c} and returns the pairs a:a and b:c.
func (e *esmRewriter) nameList() (names [][2]string, ok bool) {
	e.i++ // {
	for !e.is(0, "}") {
		if e.kind() != tokenWord && e.kind() != tokenString {
			return nil, false
		}
		from := e.take()
		to := from
		if e.is(0, "as") {
			e.i++
			to = e.take()
		}
		names = append(names, [2]string{from, to})
		if e.is(0, ",") {
			e.i++
		} else if !e.is(0, "}") {
			return nil, false
		}
	}
	e.i++
	return names, true
}

// moduleName returns the string that names a module, with its quotes, and
// moves past it and the attributes and semicolon that may follow.
func (e *esmRewriter) moduleName() (name string, end int) {
	end = e.tokens[e.i].end
	name = e.take()
	if (e.is(0, "with") || e.is(0, "assert")) && e.is(1, "{") {
		for e.i++; e.kind() != tokenEnd; {
			if e.take() == "}" {
				break
			}
		}
		end = e.tokens[e.i-1].end
	}
	if e.is(0, ";") {
		end = e.tokens[e.i].end
		e.i++
	}
	return name, end
}

// exportStatement turns an export into a declaration, and adds the assignment
// to the tail.
func (e *esmRewriter) exportStatement() bool {
	start := e.tokens[e.i].start
	e.i++
	export := func(name, value string) {
		if name[0] == '"' || name[0] == '\'' { // export { a as "a b" }
			name = "[" + name + "]"
		} else {
			name = "." + name
		}
		fmt.Fprintf(e.tail, "%s%s=%s;", esmExports, name, value)
	}
	switch {
	case e.is(0, "default"):
		e.put(start, e.tokens[e.i].end, esmExports+".default =")
		e.i++
		return true

	case e.is(0, "const") || e.is(0, "let") || e.is(0, "var"):
		e.put(start, start+len("export"), "")
		level := e.depth[e.i]
		e.i++
		// const a = 1, b = 2: each name follows the keyword or a comma.
		for next := true; e.kind() != tokenEnd && !e.is(0, ";"); {
			switch {
			case e.depth[e.i] != level:
			case next && e.kind() != tokenWord:
				return false // const {a, b} = …
			case next:
				name := string(e.mod.text[e.tokens[e.i].start:e.tokens[e.i].end])
				export(name, name)
				next = false
			case e.is(0, ","):
				next = true
			case e.is(0, "export") || e.is(0, "import") || e.is(0, "const") || e.is(0, "let") || e.is(0, "var"):
				return true // the next statement, without a semicolon between
			}
			e.i++
		}
		return true

	case e.is(0, "function") || e.is(0, "class") || e.is(0, "async"):
		e.put(start, start+len("export"), "")
		for e.is(0, "async") || e.is(0, "function") || e.is(0, "class") || e.is(0, "*") {
			e.i++
		}
		if e.kind() != tokenWord {
			return false
		}
		name := e.take()
		export(name, name)
		return true

	case e.is(0, "{"):
		names, ok := e.nameList()
		if !ok {
			return false
		}
		from := ""
		end := e.tokens[e.i-1].end
		if e.is(0, "from") {
			e.i++
			if e.kind() != tokenString {
				return false
			}
			from, end = e.moduleName()
		} else if e.is(0, ";") {
			end = e.tokens[e.i].end
			e.i++
		}
		for _, n := range names {
			if from != "" {
				export(n[1], fmt.Sprintf("%s(%s).%s", esmImport, from, n[0]))
			} else {
				export(n[1], n[0])
			}
		}
		e.put(start, end, "")
		return true
	}
	return false // export * from
}
