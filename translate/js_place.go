package translate

import (
	"math"

	"github.com/dop251/goja/ast"

	"gm/diag"
)

func infinity(name string) float64 {
	if name == "NaN" {
		return math.NaN()
	}
	return math.Inf(1)
}

// literal follows names to the expression that made their value.
func (t *jsTree) literal(e ast.Expression) ast.Expression {
	for range maxDepth {
		id, ok := e.(*ast.Identifier)
		if !ok {
			return e
		}
		init := t.names[id.Name.String()]
		if init == nil {
			return e
		}
		e = init
	}
	return e
}

// slot is where a member or an item of a running program's value was written.
type slot struct {
	nameAt diag.Range
	at     diag.Range
	expr   ast.Expression // nil where only the surroundings are known
}

// memberSlots returns where each member of an object was written. A member
// that is not in the map came from fallback: a call that is spread into the
// object, or code that changed it.
func (t *jsTree) memberSlots(e ast.Expression, around diag.Range) (slots map[string]slot, fallback slot) {
	fallback = slot{around, around, nil}
	obj, ok := t.literal(e).(*ast.ObjectLiteral)
	if !ok {
		return nil, fallback
	}
	slots = map[string]slot{}
	t.warnRepeated(obj)
	t.collectSlots(obj, slots, &fallback, 0)
	return slots, fallback
}

func (t *jsTree) collectSlots(obj *ast.ObjectLiteral, slots map[string]slot, fallback *slot, depth int) {
	for _, p := range obj.Value {
		if spread, ok := p.(*ast.SpreadElement); ok {
			inner, ok := t.literal(spread.Expression).(*ast.ObjectLiteral)
			if ok && depth < maxDepth && t.count(len(inner.Value)) {
				t.collectSlots(inner, slots, fallback, depth+1)
				continue
			}
			at := t.place(spread.Expression)
			*fallback = slot{at, at, nil}
			continue
		}
		name, nameAt, init, ok := t.property(p)
		if !ok {
			continue
		}
		slots[name] = slot{nameAt, t.valuePlace(init), init}
	}
}

// valuePlace is where messages about an expression's value point: lists and
// objects at their literal, all else at the use.
func (t *jsTree) valuePlace(e ast.Expression) diag.Range {
	switch lit := t.literal(e).(type) {
	case *ast.ObjectLiteral, *ast.ArrayLiteral:
		return t.place(lit)
	}
	return t.place(e)
}

// itemSlots returns where each item of a list was written, as far as that is
// known: up to the first spread that is no literal.
func (t *jsTree) itemSlots(e ast.Expression, around diag.Range, depth int) (slots []slot, fallback slot) {
	fallback = slot{around, around, nil}
	arr, ok := t.literal(e).(*ast.ArrayLiteral)
	if !ok {
		return nil, fallback
	}
	for _, item := range arr.Value {
		if item == nil {
			slots = append(slots, fallback)
			continue
		}
		if spread, ok := item.(*ast.SpreadElement); ok {
			inner, ok := t.literal(spread.Expression).(*ast.ArrayLiteral)
			if !ok || depth >= maxDepth || !t.count(len(inner.Value)) {
				at := t.place(spread.Expression)
				return slots, slot{at, at, nil}
			}
			more, rest := t.itemSlots(inner, around, depth+1)
			slots = append(slots, more...)
			if rest.at != around {
				return slots, rest
			}
			continue
		}
		at := t.valuePlace(item)
		slots = append(slots, slot{at, at, item})
	}
	return slots, fallback
}
