package translate

import (
	"math/big"
	"strings"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"

	"gm/diag"
)

// jsTree is the syntax tree of a declaration, and where its nodes stand in the
// text. It answers two questions: what is the exported value, when it can be
// read without running anything; and where does a part of it stand.
type jsTree struct {
	*reader
	prefix int // bytes that goja saw before the text
	body   []ast.Statement
	// names are the initial values of the top level's variables.
	names map[string]ast.Expression
	// dirname is set where __dirname and __filename have their meaning.
	dirname bool
	// dynamic is the first expression that static could not read.
	dynamic ast.Expression
	warned  map[int32]bool // repeated keys that were reported, by offset
	steps   int            // names that are being resolved: a guard against cycles
}

// end returns the offset behind a node. ast.Node.Idx1 is wrong for identifiers
// beyond ASCII, whose names goja holds in UTF-16.
func (t *jsTree) end(n ast.Node) int {
	switch n := n.(type) {
	case *ast.Identifier:
		s := jsScanner{text: t.text}
		start := int(n.Idx) - 1 - t.prefix
		if start < 0 || start >= len(t.text) {
			return start
		}
		return s.scanWord(start).end
	case *ast.DotExpression:
		return t.end(&n.Identifier)
	case *ast.PropertyShort:
		return t.end(&n.Name)
	case *ast.SpreadElement:
		return t.end(n.Expression)
	case *ast.BinaryExpression:
		return t.end(n.Right)
	case *ast.AssignExpression:
		return t.end(n.Right)
	case *ast.ConditionalExpression:
		return t.end(n.Alternate)
	}
	return int(n.Idx1()) - 1 - t.prefix
}

// place returns where a node stands.
func (t *jsTree) place(n ast.Node) diag.Range {
	return t.at(int(n.Idx0())-1-t.prefix, t.end(n))
}

// declare collects the top level's variables.
func (t *jsTree) declare() {
	t.names = map[string]ast.Expression{}
	for _, s := range t.body {
		for _, b := range bindings(s) {
			if id, ok := b.Target.(*ast.Identifier); ok && b.Initializer != nil {
				t.names[id.Name.String()] = b.Initializer
			}
		}
	}
}

func bindings(s ast.Statement) []*ast.Binding {
	switch s := s.(type) {
	case *ast.VariableStatement:
		return s.List
	case *ast.LexicalDeclaration:
		return s.List
	}
	return nil
}

// exported returns the expression that the module exports: the last value of
// module.exports, or an object made of the exports.NAME there are. It is nil
// where neither is found at the top level. Static tells that nothing but
// declarations stands beside it, so that the expression is the whole truth.
func (t *jsTree) exported() (root ast.Expression, static bool) {
	static = true
	var single []ast.Property
	for _, s := range t.body {
		switch s := s.(type) {
		case *ast.EmptyStatement, *ast.FunctionDeclaration:
		case *ast.VariableStatement, *ast.LexicalDeclaration:
			for _, b := range bindings(s) {
				if _, ok := b.Target.(*ast.Identifier); !ok {
					static = false
				}
			}
		case *ast.ExpressionStatement:
			if _, ok := s.Expression.(*ast.StringLiteral); ok {
				continue // "use strict"
			}
			assign, ok := s.Expression.(*ast.AssignExpression)
			if !ok || assign.Operator != token.ASSIGN {
				static = false
				continue
			}
			name, whole, ok := exportTarget(assign.Left)
			switch {
			case !ok:
				static = false
			case whole:
				// After exports.a = 1, module.exports = {} drops a.
				root, single = assignedValue(assign), nil
			default:
				if root != nil {
					static = false
				}
				single = append(single, &ast.PropertyKeyed{Key: name, Kind: ast.PropertyKindValue, Value: assign.Right})
			}
		default:
			static = false
		}
	}
	if root == nil && single != nil {
		first, last := single[0].(*ast.PropertyKeyed), single[len(single)-1].(*ast.PropertyKeyed)
		root = &ast.ObjectLiteral{LeftBrace: first.Key.Idx0(), RightBrace: last.Value.Idx1() - 1, Value: single}
	}
	return root, static
}

// assignedValue returns what exports = module.exports = VALUE assigns.
func assignedValue(a *ast.AssignExpression) ast.Expression {
	for {
		inner, ok := a.Right.(*ast.AssignExpression)
		if !ok || inner.Operator != token.ASSIGN {
			return a.Right
		}
		if _, whole, ok := exportTarget(inner.Left); !ok || !whole {
			return a.Right
		}
		a = inner
	}
}

// exportTarget recognizes module.exports (whole), exports.NAME,
// module.exports.NAME, and what the rewriting of ES modules makes of exports.
func exportTarget(e ast.Expression) (name *ast.StringLiteral, whole, ok bool) {
	if id, is := e.(*ast.Identifier); is {
		return nil, true, id.Name == "exports"
	}
	dot, is := e.(*ast.DotExpression)
	if !is {
		return nil, false, false
	}
	key := dot.Identifier.Name.String()
	switch left := dot.Left.(type) {
	case *ast.Identifier:
		switch left.Name {
		case "module":
			return nil, true, key == "exports"
		case esmExports:
			whole = key == "default"
			ok = true
		case "exports":
			ok = true
		}
	case *ast.DotExpression:
		id, is := left.Left.(*ast.Identifier)
		ok = is && id.Name == "module" && left.Identifier.Name == "exports"
	}
	return &ast.StringLiteral{Idx: dot.Identifier.Idx, Literal: key, Value: unistring.NewFromString(key)}, whole, ok
}

// static reads an expression without running it. A nil value with ok is
// undefined; without ok, t.dynamic is the part that must be run.
func (t *jsTree) static(e ast.Expression) (v *value, ok bool) {
	if !t.count(1) {
		return nil, false
	}
	switch e := e.(type) {
	case *ast.NullLiteral:
		return &value{kind: kindNull, at: t.place(e)}, true
	case *ast.BooleanLiteral:
		return &value{kind: kindBool, flag: e.Value, at: t.place(e)}, true
	case *ast.NumberLiteral:
		return t.number(e), true
	case *ast.StringLiteral:
		return stringValue(e.Value.String(), t.place(e)), true
	case *ast.TemplateLiteral:
		return t.template(e)
	case *ast.UnaryExpression:
		return t.unary(e)
	case *ast.BinaryExpression:
		return t.binary(e)
	case *ast.ArrayLiteral:
		return t.array(e)
	case *ast.ObjectLiteral:
		return t.object(e)
	case *ast.Identifier:
		return t.name(e)
	}
	return t.needsRun(e)
}

func (t *jsTree) needsRun(e ast.Expression) (*value, bool) {
	if t.dynamic == nil {
		t.dynamic = e
	}
	return nil, false
}

func (t *jsTree) number(e *ast.NumberLiteral) *value {
	at := t.place(e)
	switch n := e.Value.(type) {
	case int64:
		// goja reads 0777 as Go does, which is what JavaScript does too.
		return numberValue(float64(n), at)
	case float64:
		return numberValue(n, at)
	case *big.Int:
		return bigValue(n, at)
	}
	return numberValue(0, at)
}

// bigValue returns a BigInt, which prints all its digits.
func bigValue(n *big.Int, at diag.Range) *value {
	f, _ := new(big.Float).SetInt(n).Float64()
	return &value{kind: kindNumber, number: f, text: n.String(), at: at}
}

func (t *jsTree) template(e *ast.TemplateLiteral) (*value, bool) {
	if e.Tag != nil {
		return t.needsRun(e)
	}
	var text strings.Builder
	for i, piece := range e.Elements {
		text.WriteString(piece.Parsed.String())
		if i < len(e.Expressions) {
			v, ok := t.static(e.Expressions[i])
			if !ok {
				return nil, false
			}
			s, ok := primitiveText(v)
			if !ok {
				return t.needsRun(e)
			}
			text.WriteString(s)
		}
	}
	return stringValue(text.String(), t.place(e)), true
}

// primitiveText is String(v), for what is no list or object.
func primitiveText(v *value) (string, bool) {
	switch {
	case v == nil:
		return "undefined", true
	case v.kind == kindString || v.kind == kindNumber:
		return v.text, true
	case v.kind == kindBool && v.flag:
		return "true", true
	case v.kind == kindBool:
		return "false", true
	case v.kind == kindNull:
		return "null", true
	}
	return "", false
}

func (t *jsTree) unary(e *ast.UnaryExpression) (*value, bool) {
	v, ok := t.static(e.Operand)
	if !ok {
		return nil, false
	}
	at := t.place(e)
	switch {
	case e.Operator == token.VOID:
		return nil, true
	case v == nil || e.Postfix:
	case e.Operator == token.MINUS && v.kind == kindNumber:
		return numberValue(-v.number, at), true
	case e.Operator == token.PLUS && v.kind == kindNumber:
		return numberValue(v.number, at), true
	case e.Operator == token.NOT && v.kind == kindBool:
		return &value{kind: kindBool, flag: !v.flag, at: at}, true
	case e.Operator == token.NOT && v.kind == kindNumber: // !0, as minifiers write true
		return &value{kind: kindBool, flag: v.number == 0 || v.number != v.number, at: at}, true
	}
	return t.needsRun(e)
}

func (t *jsTree) binary(e *ast.BinaryExpression) (*value, bool) {
	a, ok := t.static(e.Left)
	if !ok {
		return nil, false
	}
	b, ok := t.static(e.Right)
	if !ok {
		return nil, false
	}
	at := t.place(e)
	if a != nil && b != nil && a.kind == kindNumber && b.kind == kindNumber {
		switch e.Operator {
		case token.PLUS:
			return numberValue(a.number+b.number, at), true
		case token.MINUS:
			return numberValue(a.number-b.number, at), true
		case token.MULTIPLY: // 60 * 1000, 512 * 1024 * 1024
			return numberValue(a.number*b.number, at), true
		case token.SLASH:
			return numberValue(a.number/b.number, at), true
		}
		return t.needsRun(e)
	}
	isString := func(v *value) bool { return v != nil && v.kind == kindString }
	if e.Operator == token.PLUS && (isString(a) || isString(b)) {
		left, ok1 := primitiveText(a)
		right, ok2 := primitiveText(b)
		if ok1 && ok2 {
			return stringValue(left+right, at), true
		}
	}
	return t.needsRun(e)
}

func (t *jsTree) array(e *ast.ArrayLiteral) (*value, bool) {
	out := &value{kind: kindArray, at: t.place(e), items: make([]*value, 0, len(e.Value))}
	for _, item := range e.Value {
		if spread, ok := item.(*ast.SpreadElement); ok {
			v, ok := t.static(spread.Expression)
			switch {
			case !ok:
				return nil, false
			case v == nil || v.kind != kindArray:
				return t.needsRun(spread.Expression)
			}
			if !t.count(len(v.items)) {
				return nil, false
			}
			out.items = append(out.items, v.items...)
			continue
		}
		var v *value
		if item != nil { // a hole, as in [1,,2]
			var ok bool
			if v, ok = t.static(item); !ok {
				return nil, false
			}
		}
		if v == nil { // JSON.stringify makes null of undefined in a list
			v = &value{kind: kindNull, at: out.at}
		}
		out.items = append(out.items, v)
	}
	return out, true
}

func (t *jsTree) object(e *ast.ObjectLiteral) (*value, bool) {
	var ob objectBuilder
	t.warnRepeated(e)
	for _, p := range e.Value {
		if spread, ok := p.(*ast.SpreadElement); ok {
			v, ok := t.static(spread.Expression)
			switch {
			case !ok:
				return nil, false
			case v == nil || v.kind == kindNull: // {...undefined} is {}
				continue
			case v.kind != kindObject:
				return t.needsRun(spread.Expression)
			}
			if !t.count(len(v.members)) {
				return nil, false
			}
			for _, mem := range v.members {
				ob.add(mem)
			}
			continue
		}
		name, nameAt, init, ok := t.property(p)
		if !ok {
			return nil, false
		}
		if keyed, is := p.(*ast.PropertyKeyed); is && keyed.Kind != ast.PropertyKindValue {
			return t.needsRun(init) // a method or a getter
		}
		v, ok := t.static(init)
		if !ok {
			return nil, false
		}
		ob.add(member{name, nameAt, v})
	}
	out := &value{kind: kindObject, at: t.place(e)}
	for _, mem := range ob.members {
		if mem.value != nil { // undefined
			out.members = append(out.members, mem)
		}
	}
	return out, true
}

// property returns the name of a property and its value's expression, where
// the name is known without running anything.
func (t *jsTree) property(p ast.Property) (name string, nameAt diag.Range, init ast.Expression, ok bool) {
	switch p := p.(type) {
	case *ast.PropertyShort:
		return p.Name.Name.String(), t.place(&p.Name), &p.Name, true
	case *ast.PropertyKeyed:
		key, ok := t.static(p.Key)
		if !ok {
			return "", diag.Range{}, nil, false
		}
		name, ok := primitiveText(key)
		if !ok {
			t.needsRun(p.Key)
		}
		return name, t.place(p.Key), p.Value, ok
	}
	return "", diag.Range{}, nil, false
}

// warnRepeated reports the keys that one literal has twice.
func (t *jsTree) warnRepeated(e *ast.ObjectLiteral) {
	start := t.place(e).Start
	if t.warned[start] {
		return
	}
	if t.warned == nil {
		t.warned = map[int32]bool{}
	}
	t.warned[start] = true
	var ob objectBuilder
	for _, p := range e.Value {
		if keyed, ok := p.(*ast.PropertyKeyed); ok && (keyed.Computed || keyed.Kind != ast.PropertyKindValue) {
			continue
		}
		dynamic := t.dynamic
		if name, nameAt, _, ok := t.property(p); ok {
			t.addMember(&ob, member{name, nameAt, nil})
		}
		t.dynamic = dynamic
	}
}

func (t *jsTree) name(e *ast.Identifier) (*value, bool) {
	at := t.place(e)
	name := e.Name.String()
	if init := t.names[name]; init != nil && t.steps < maxDepth {
		t.steps++
		v, ok := t.static(init)
		t.steps--
		if !ok || v == nil || v.kind == kindArray || v.kind == kindObject {
			return v, ok
		}
		// A message about a name's value points at the use, not at the constant.
		used := *v
		used.at = at
		return &used, true
	}
	switch name {
	case "undefined":
		return nil, true
	case "NaN", "Infinity":
		v := numberValue(infinity(name), at)
		return v, true
	case "__dirname":
		if t.dirname && t.out.Dir != "" {
			return stringValue(t.out.Dir, at), true
		}
	case "__filename":
		if t.dirname && t.out.Dir != "" {
			return stringValue(t.filename(), at), true
		}
	}
	return t.needsRun(e)
}
