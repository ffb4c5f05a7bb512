package translate

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"

	"gm/diag"
)

var (
	codeBadJSON = &Code{
		Name: "bad-json", Severity: diag.Error,
		Doc:     "a JSON declaration cannot be read, neither as JSON nor as the JavaScript expression for which PM2 takes it",
		Example: `{"apps": [{"name": "web" "script": "web.js"}]}`,
	}
	codeDuplicateKey = &Code{
		Name: "duplicate-key", Severity: diag.Warning,
		Doc:     "an object has a key twice; the last one counts, as in PM2",
		Example: `{"apps": [{"script": "a.js", "script": "b.js"}]}`,
	}
	codeJSONIsCode = &Code{
		Name: "json-is-code", Severity: diag.Warning,
		Doc:     "a JSON declaration holds an expression, which PM2 evaluates and no JSON reader takes",
		Example: `{apps: [{script: ["web", "js"].join(".")}]}`,
	}
)

// readJSON reads what PM2 calls JSON: text that it puts into parentheses and
// evaluates (Common.parseConfig in lib/Common.js). Most files are JSON with
// comments, which hujson reads fast; the rest is read as JavaScript.
func (r *reader) readJSON() *value {
	if at := jsonDepth(r.text); at >= 0 {
		r.tooDeep(at)
		return nil
	}
	if root := r.readLarge(); root != nil {
		return root
	}
	tree, err := hujson.Parse(r.text)
	if err == nil {
		b := jsonBuilder{reader: r, cut: math.MaxInt}
		root := b.value(&tree)
		if b.full {
			r.tooLarge(root.at)
			return nil
		}
		return root
	}
	return r.readLiteral()
}

// tooDeep reports the nesting limit.
func (r *reader) tooDeep(at int) {
	r.m.add(codeTooDeep, r.at(at, at+1), "", "this is nested too deep: more than %d brackets, or one endless expression", maxDepth)
}

// jsonDepth returns the offset of the bracket that exceeds the nesting limit,
// or -1.
func jsonDepth(text []byte) int {
	depth, at := 0, -1
	structure(text, func(i int) bool {
		switch text[i] {
		case '[', '{':
			if depth++; depth > maxDepth {
				at = i
			}
		case ']', '}':
			depth--
		}
		return at < 0
	})
	return at
}

// structure calls visit with the offset of each bracket and comma, until it
// returns false. It reads strings and comments as hujson does, and stops where
// hujson does at the latest: before anything that is not JSON with comments.
func structure(text []byte, visit func(i int) bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '[', '{', ']', '}', ',':
			if !visit(i) {
				return
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '/':
			switch {
			case i+1 < len(text) && text[i+1] == '/':
				for i < len(text) && text[i] != '\n' {
					i++
				}
			case i+1 < len(text) && text[i+1] == '*':
				end := indexFrom(text, "*/", i+2)
				if end < 0 {
					return
				}
				i = end + 1
			}
		case '\'', '`', '(':
			return
		}
	}
}

// jsonBuilder turns hujson's tree into values.
type jsonBuilder struct {
	*reader
	// The tree's text may be a part of the declaration's: offsets are counted
	// from base, and those from cut on lie gap bytes further.
	base, cut, gap int

	full  bool    // the budget of values is spent
	slabs []value // values are allocated many at a time
}

// at is the place in the declaration of offsets in the tree's text.
func (b *jsonBuilder) at(start, end int) diag.Range {
	if end > b.cut {
		end += b.gap
	}
	if start >= b.cut {
		start += b.gap
	}
	return b.reader.at(b.base+start, b.base+end)
}

// new returns a value of that kind at a node's place.
func (b *jsonBuilder) new(k kind, node *hujson.Value) *value {
	if len(b.slabs) == 0 {
		b.slabs = make([]value, 64)
	}
	v := &b.slabs[0]
	b.slabs = b.slabs[1:]
	v.kind, v.at = k, b.at(node.StartOffset, node.EndOffset)
	return v
}

func (b *jsonBuilder) value(node *hujson.Value) *value {
	if !b.count(1) {
		b.full = true
		return b.new(kindNull, node)
	}
	switch x := node.Value.(type) {
	case *hujson.Object:
		v := b.new(kindObject, node)
		ob := objectBuilder{members: make([]member, 0, len(x.Members))}
		for i := range x.Members {
			name := &x.Members[i].Name
			b.addMember(&ob, member{
				name:   jsonString(name.Value.(hujson.Literal)),
				nameAt: b.at(name.StartOffset, name.EndOffset),
				value:  b.value(&x.Members[i].Value),
			})
		}
		v.members = ob.members
		return v
	case *hujson.Array:
		v := b.new(kindArray, node)
		v.items = make([]*value, len(x.Elements))
		for i := range x.Elements {
			v.items[i] = b.value(&x.Elements[i])
		}
		return v
	}
	lit := node.Value.(hujson.Literal)
	switch lit.Kind() {
	case '"':
		v := b.new(kindString, node)
		v.text = jsonString(lit)
		return v
	case '0':
		v := b.new(kindNumber, node)
		v.number, v.text = jsonNumber(lit)
		return v
	case 't', 'f':
		v := b.new(kindBool, node)
		v.flag = lit.Bool()
		return v
	}
	return b.new(kindNull, node)
}

// addMember adds a member to an object and warns of a repeated name.
func (r *reader) addMember(b *objectBuilder, mem member) {
	earlier, repeated := b.add(mem)
	if repeated {
		if r.repeats++; r.repeats > maxRepeats {
			return
		}
		line := 1
		if earlier.Src != nil {
			line, _ = earlier.Src.Position(int(earlier.Start))
		}
		r.m.add(codeDuplicateKey, mem.nameAt, "remove one of them",
			"the key %q is here again; line %d has it first, and this one counts", mem.name, line)
	}
}

// jsonString returns the string of a literal. Most have no escapes.
func jsonString(lit hujson.Literal) string {
	inner := lit[1 : len(lit)-1]
	for _, c := range inner {
		if c == '\\' {
			var s string
			// hujson has checked the literal.
			_ = json.Unmarshal(lit, &s)
			return s
		}
	}
	return string(inner)
}

// jsonNumber returns a number, and its text as JavaScript prints it.
func jsonNumber(lit hujson.Literal) (n float64, text string) {
	s := string(lit)
	if len(s) < 16 && strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0 {
		n, _ := strconv.ParseInt(s, 10, 64)
		return float64(n), s
	}
	// Out of range is infinity in JavaScript too.
	n, _ = strconv.ParseFloat(s, 64)
	return n, jsNumber(n)
}
