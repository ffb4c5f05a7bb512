package translate

import (
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"

	"gm/diag"
)

// converter turns a running program's value into a declaration's, and gives
// each part the place where the syntax tree has it.
type converter struct {
	*sandbox
	path []*goja.Object // from the root to the object at hand
}

// stop ends a conversion with a diagnostic.
func (c *converter) stop(code *Code, at diag.Range, remedy, cause string) {
	panic(c.rt.NewGoError(&refusal{code, cause, remedy, at}))
}

// convert returns nil for what JSON.stringify leaves out: undefined, functions
// and symbols.
func (c *converter) convert(v goja.Value, expr ast.Expression, at diag.Range) *value {
	if !c.count(1) {
		c.stop(codeTooLarge, at, "write out what the declaration needs, and no more",
			fmt.Sprintf("the declaration expands to more than %d values", maxValues))
	}
	if v == nil || goja.IsUndefined(v) {
		return nil
	}
	if goja.IsNull(v) {
		return &value{kind: kindNull, at: at}
	}
	obj, ok := v.(*goja.Object)
	if !ok {
		return c.primitive(v, at)
	}
	switch class := obj.ClassName(); class {
	case "String", "Number", "Boolean": // new String("a")
		if p, ok := goja.AssertFunction(obj.Get("valueOf")); ok {
			if inner, err := p(obj); err == nil {
				return c.primitive(inner, at)
			}
		}
		return nil
	case "Function":
		c.dropped(at, "a function")
		return nil
	case "RegExp":
		c.dropped(at, "a regular expression, which PM2 turns into {}")
		return nil
	}
	if isPromise(obj) {
		c.dropped(at, "a promise")
		return nil
	}
	if text, ok := c.toJSON(obj); ok {
		return stringValue(text, at)
	}
	for _, parent := range c.path {
		if parent == obj {
			c.stop(codeJSCycle, at, "", "the value contains itself, and so has no end")
		}
	}
	if len(c.path) >= maxDepth {
		c.stop(codeTooDeep, at, "", fmt.Sprintf("the value is nested more than %d deep", maxDepth))
	}
	c.path = append(c.path, obj)
	defer func() { c.path = c.path[:len(c.path)-1] }()
	if obj.ClassName() == "Array" {
		return c.array(obj, expr, at)
	}
	return c.object(obj, expr, at)
}

// toJSON returns the JSON text of what writes itself: a Date, a URL. PM2 puts
// that text, quotes and all, into the environment.
func (c *converter) toJSON(obj *goja.Object) (string, bool) {
	method, ok := goja.AssertFunction(obj.Get("toJSON"))
	if !ok {
		return "", false
	}
	v, err := method(obj)
	if err != nil {
		panic(err)
	}
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return "null", true
	}
	text, err := json.Marshal(v.String())
	return string(text), err == nil
}

func (c *converter) primitive(v goja.Value, at diag.Range) *value {
	if _, ok := v.(*goja.Symbol); ok {
		c.dropped(at, "a symbol")
		return nil
	}
	switch x := v.Export().(type) {
	case bool:
		return &value{kind: kindBool, flag: x, at: at}
	case int64:
		return numberValue(float64(x), at)
	case float64:
		return numberValue(x, at)
	case string:
		return stringValue(x, at)
	case *big.Int:
		return bigValue(x, at)
	}
	return &value{kind: kindNull, at: at}
}

// isPromise reports whether an object can be awaited.
func isPromise(obj *goja.Object) bool {
	_, ok := goja.AssertFunction(obj.Get("then"))
	return ok
}

// dropped reports a value that cannot be written down.
func (c *converter) dropped(at diag.Range, what string) {
	c.m.add(codeJSValue, at, "write a string, a number, a list or an object", "the value is left out: it is %s", what)
}

func (c *converter) array(obj *goja.Object, expr ast.Expression, at diag.Range) *value {
	slots, rest := c.tree.itemSlots(expr, at, 0)
	n := int(obj.Get("length").ToInteger())
	if !c.count(n) {
		c.stop(codeTooLarge, at, "", fmt.Sprintf("the list has %d items", n))
	}
	out := &value{kind: kindArray, at: at, items: make([]*value, 0, n)}
	for i := range n {
		s := rest
		if i < len(slots) {
			s = slots[i]
		}
		item := obj.Get(fmt.Sprint(i))
		v := c.convert(item, s.expr, s.at)
		if v == nil {
			if item != nil && !goja.IsUndefined(item) {
				continue // reported by dropped
			}
			v = &value{kind: kindNull, at: s.at}
		}
		out.items = append(out.items, v)
	}
	return out
}

func (c *converter) object(obj *goja.Object, expr ast.Expression, at diag.Range) *value {
	slots, rest := c.tree.memberSlots(expr, at)
	out := &value{kind: kindObject, at: at}
	for _, name := range obj.Keys() {
		s, ok := slots[name]
		if !ok {
			s = rest
		}
		if v := c.convert(obj.Get(name), s.expr, s.at); v != nil {
			out.members = append(out.members, member{name, s.nameAt, v})
		}
	}
	return out
}
