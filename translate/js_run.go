package translate

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"

	"gm/diag"
)

// Bounds on a declaration that runs.
const (
	jsTime   = time.Second // as long as PM2 gives its own evaluation of JSON
	jsGrace  = time.Second // for a built-in that cannot be interrupted
	jsMemory = 128 << 20
	jsCalls  = 1000 // calls within calls; node has some ten thousand
)

var (
	errJSTime   = errors.New("it ran for more than a second")
	errJSMemory = errors.New("it took more than 128 MB of memory")
)

// refusal is an error that gm's own functions throw into a declaration.
type refusal struct {
	code   *Code
	cause  string
	remedy string
	at     diag.Range // zero: where the declaration called
}

func (f *refusal) Error() string { return f.cause }

// sandbox runs a declaration in goja, with the few modules of node that
// declarations use. It works on a copy of the reader: when it must be
// abandoned, nobody else sees what it still does.
type sandbox struct {
	*reader
	rt      *goja.Runtime
	modules map[string]*goja.Object // the module object of each file, by path
	tree    *jsTree                 // of the declaration
	module  *jsModule
	limit   int // modules that may still be loaded

	refused bool            // something outside was asked for
	warned  map[string]bool // what pinned has said
}

// jsFault is why a declaration gave no value.
type jsFault struct {
	code          *Code
	at            diag.Range
	cause, remedy string
	final         bool // node is not asked for a second opinion
}

// run evaluates in the sandbox and converts the result, within the bounds.
func (r *reader) run(tree *jsTree, eval func(s *sandbox) *value) (*value, *jsFault) {
	copied := *r
	copied.m = &messages{}
	moved := *tree
	moved.reader = &copied
	s := &sandbox{reader: &copied, tree: &moved, modules: map[string]*goja.Object{}, limit: 200, warned: map[string]bool{}}

	type outcome struct {
		value *value
		fault *jsFault
	}
	done := make(chan outcome, 1)
	started := make(chan *goja.Runtime, 1)
	go func() {
		s.rt = goja.New()
		started <- s.rt
		v, fault := s.protect(func() *value {
			s.install()
			return eval(s)
		})
		done <- outcome{v, fault}
	}()
	rt := <-started
	base := memoryInUse()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(jsTime)
	for {
		select {
		case o := <-done:
			r.values = copied.values
			r.m.list = append(r.m.list, copied.m.list...)
			return o.value, o.fault
		case now := <-tick.C:
			switch {
			case memoryInUse() > base+jsMemory:
				rt.Interrupt(errJSMemory)
			case now.After(end.Add(jsGrace)):
				return nil, r.timeFault(errJSTime)
			case now.After(end):
				rt.Interrupt(errJSTime)
			}
		}
	}
}

func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func (r *reader) timeFault(err error) *jsFault {
	return &jsFault{code: codeJSTimeout, at: r.at(0, 0), remedy: "write the apps out, or make them with less work",
		cause: fmt.Sprintf("the declaration was stopped: %v", err)}
}

// protect calls f as JavaScript would call it, and makes a fault of whatever
// is thrown.
func (s *sandbox) protect(f func() *value) (v *value, fault *jsFault) {
	defer func() {
		if x := recover(); x != nil {
			// A bug in goja; the declaration is at its mercy, gm is not.
			v, fault = nil, &jsFault{code: codeJSFailed, at: s.at(0, 0), cause: fmt.Sprintf("the JavaScript engine failed: %v", x)}
		}
	}()
	call, _ := goja.AssertFunction(s.rt.ToValue(func(goja.FunctionCall) goja.Value {
		v = f()
		return goja.Undefined()
	}))
	if _, err := call(goja.Undefined()); err != nil {
		return nil, s.fault(err)
	}
	return v, nil
}

// fault explains an error of goja.
func (s *sandbox) fault(err error) *jsFault {
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	var thrown *goja.Exception
	var refused *refusal
	switch {
	case errors.As(err, &interrupted):
		if cause, ok := interrupted.Value().(error); ok {
			err = cause
		}
		f := s.timeFault(err)
		f.at = s.stackPlace(interrupted.Stack())
		return f
	case errors.As(err, &overflow):
		return &jsFault{code: codeJSFailed, at: s.stackPlace(overflow.Stack()),
			cause: fmt.Sprintf("the declaration calls itself without end: more than %d calls deep", jsCalls)}
	case errors.As(err, &refused):
		at := refused.at
		if at.IsZero() && errors.As(err, &thrown) {
			at = s.stackPlace(thrown.Stack())
		}
		return &jsFault{code: refused.code, at: at, cause: refused.cause, remedy: refused.remedy}
	case errors.As(err, &thrown):
		return s.thrown(thrown)
	}
	return &jsFault{code: codeJSFailed, at: s.at(0, 0), cause: err.Error()}
}

// nodeGlobals are names that node has and the sandbox has not.
func nodeGlobal(name string) bool {
	switch name {
	case "Buffer", "URL", "URLSearchParams", "fetch", "structuredClone", "TextEncoder", "TextDecoder", "performance",
		"AbortController", "AbortSignal", "Intl", "WebAssembly", "crypto", "navigator", "queueMicrotask", "Bun", "Deno",
		"atob", "btoa", "Blob", "Headers", "Request", "Response":
		return true
	}
	return false
}

// thrown explains an exception that the declaration did not catch.
func (s *sandbox) thrown(ex *goja.Exception) *jsFault {
	f := &jsFault{code: codeJSFailed, at: s.stackPlace(ex.Stack())}
	text := exceptionText(ex)
	// What is too large here is too large for node, and what was refused once
	// stays refused, whatever the declaration made of it.
	f.final = s.refused || strings.HasPrefix(text, "RangeError")
	if name, ok := strings.CutPrefix(text, "ReferenceError: "); ok {
		name, _, _ = strings.Cut(name, " ")
		if nodeGlobal(name) {
			return &jsFault{code: codeNeedsNode, at: f.at, remedy: needsNodeRemedy,
				cause: fmt.Sprintf("the declaration uses %s, which gm's own JavaScript has not", name)}
		}
		f.remedy = fmt.Sprintf("define %s, or put it in quotes if it is text", name)
	}
	where := ""
	for _, frame := range ex.Stack() {
		if name := frame.SrcName(); name == s.src.Name {
			break
		} else if path.IsAbs(name) { // a module
			where = fmt.Sprintf(" (in %s:%d)", name, frame.Position().Line)
			break
		}
	}
	f.cause = "the declaration failed: " + text + where
	return f
}

// exceptionText is what was thrown, without the stack.
func exceptionText(ex *goja.Exception) (text string) {
	defer func() {
		if recover() != nil { // a toString that throws
			text = "an error"
		}
	}()
	text = ex.Value().String()
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

// stackPlace returns the place in the declaration of the innermost call there.
func (s *sandbox) stackPlace(stack []goja.StackFrame) diag.Range {
	if s.module == nil {
		return s.at(0, 0)
	}
	for _, frame := range stack {
		if frame.SrcName() == s.src.Name {
			offset := s.module.offset(frame.Position())
			wordByte := func(i int) bool { return isWordByte(s.text[i]) || s.text[i] == '.' }
			// goja places a call at its parenthesis; people look for the name.
			end := offset
			for offset > 0 && end < len(s.text) && s.text[end] == '(' && wordByte(offset-1) {
				offset--
			}
			for end = offset; end < len(s.text) && wordByte(end); end++ {
			}
			return s.at(offset, max(end, offset+1))
		}
	}
	return s.at(0, 0)
}

// offset returns where in the text a position of goja is. A position in the
// head is that of the import it was made of.
func (m *jsModule) offset(p file.Position) int {
	at := lineOffset(m.source(), p.Line) + p.Column - 1
	if at < len(m.head) {
		for _, span := range m.imports {
			if at < span.headEnd {
				return span.start
			}
		}
		return 0
	}
	return min(at-len(m.head), len(m.text))
}

// lineOffset returns where a line starts, counted as goja counts lines.
func lineOffset(s string, line int) int {
	at := 0
	for ; line > 1; line-- {
		i := strings.IndexFunc(s[at:], func(c rune) bool { return c == '\n' || c == '\r' || c == '\u2028' || c == '\u2029' })
		if i < 0 {
			return at
		}
		at += i
		switch {
		case strings.HasPrefix(s[at:], "\r\n"):
			at += 2
		case s[at] == '\n' || s[at] == '\r':
			at++
		default:
			at += 3
		}
	}
	return at
}

// jsSyntaxError is the first error of goja's parser.
type jsSyntaxError struct {
	offset  int // in the module's text
	message string
}

func (e *jsSyntaxError) Error() string { return e.message }

// parseModule makes the syntax tree of a module. The name is what a stack says.
func parseModule(name string, m *jsModule) (*ast.Program, []ast.Statement, error) {
	source := m.source()
	program, err := parser.ParseFile(nil, name, source, parser.IgnoreRegExpErrors, parser.WithDisableSourceMaps)
	if err != nil {
		var list parser.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			return nil, nil, &jsSyntaxError{m.offset(list[0].Position), list[0].Message}
		}
		return nil, nil, &jsSyntaxError{0, err.Error()}
	}
	// "}) ; (function () {" would parse, and leave the function too early.
	early := &jsSyntaxError{len(m.text), "Unexpected token }"}
	if len(program.Body) != 1 {
		return nil, nil, early
	}
	body, end, ok := functionBody(program.Body[0])
	if !ok || end != len(source)-1 {
		return nil, nil, early
	}
	if m.esm { // return (function(){…})()
		ret, ok := body[0].(*ast.ReturnStatement)
		if !ok || len(body) != 1 {
			return nil, nil, early
		}
		call, ok := ret.Argument.(*ast.CallExpression)
		if !ok {
			return nil, nil, early
		}
		fn, ok := call.Callee.(*ast.FunctionLiteral)
		if !ok || int(fn.Idx1())-1 != len(source)-len(")()})") {
			return nil, nil, early
		}
		body = fn.Body.List
	}
	return program, body, nil
}

// functionBody returns the statements of (function(…){…}), and where it ends.
func functionBody(s ast.Statement) (list []ast.Statement, end int, ok bool) {
	expr, ok := s.(*ast.ExpressionStatement)
	if !ok {
		return nil, 0, false
	}
	fn, ok := expr.Expression.(*ast.FunctionLiteral)
	if !ok {
		return nil, 0, false
	}
	return fn.Body.List, int(fn.Idx1()) - 1, true
}
