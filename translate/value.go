package translate

import (
	"math"
	"strconv"

	"gm/diag"
)

// kind is the JSON type of a value.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

func (k kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "a list", "an object"}[k]
}

// value is a declaration's value with its place, whatever format it came from.
// Members whose value is undefined in JavaScript are absent.
type value struct {
	kind    kind
	flag    bool    // kindBool
	number  float64 // kindNumber
	text    string  // kindString: the string; kindNumber: as JavaScript prints it
	items   []*value
	members []member // in source order, names unique (the last one won)
	at      diag.Range
}

// member is one "name": value of an object.
type member struct {
	name   string
	nameAt diag.Range
	value  *value
}

// member returns the value under name, or nil.
func (v *value) member(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.members {
		if v.members[i].name == name {
			return v.members[i].value
		}
	}
	return nil
}

// numberValue returns the number n.
func numberValue(n float64, at diag.Range) *value {
	return &value{kind: kindNumber, number: n, text: jsNumber(n), at: at}
}

// stringValue returns the string s.
func stringValue(s string, at diag.Range) *value {
	return &value{kind: kindString, text: s, at: at}
}

// jsNumber returns n as JavaScript's Number::toString prints it: the child of
// PM2 sees env values in this form.
func jsNumber(n float64) string {
	switch {
	case math.IsNaN(n):
		return "NaN"
	case math.IsInf(n, 1):
		return "Infinity"
	case math.IsInf(n, -1):
		return "-Infinity"
	case n == 0:
		return "0" // also for -0
	}
	if size := math.Abs(n); size >= 1e-6 && size < 1e21 {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	s := strconv.FormatFloat(n, 'e', -1, 64)
	// Go writes at least two digits of exponent, JavaScript as few as it can.
	if i := len(s) - 2; s[i] == '0' && !isDigit(s[i-1]) {
		s = s[:i] + s[i+1:]
	}
	return s
}

// objectBuilder collects the members of an object. A repeated name replaces the
// earlier value in its slot, as it does in JavaScript.
type objectBuilder struct {
	members []member
	index   map[string]int // only for objects too large for a linear search
}

// linearMembers is how many members are searched one by one: more than an app
// has, so that only unusual objects pay for a map.
const linearMembers = 24

// add stores one member and returns where an earlier one of that name stood.
func (b *objectBuilder) add(mem member) (earlier diag.Range, repeated bool) {
	i := b.find(mem.name)
	if i >= 0 {
		earlier = b.members[i].nameAt
		b.members[i] = mem
		return earlier, true
	}
	if b.index != nil {
		b.index[mem.name] = len(b.members)
	}
	b.members = append(b.members, mem)
	return diag.Range{}, false
}

// find returns the slot of name, or -1.
func (b *objectBuilder) find(name string) int {
	if len(b.members) > linearMembers {
		if b.index == nil {
			b.index = make(map[string]int, 2*len(b.members))
			for i := range b.members {
				b.index[b.members[i].name] = i
			}
		}
		if i, ok := b.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range b.members {
		if b.members[i].name == name {
			return i
		}
	}
	return -1
}

// String returns v as JavaScript's String() prints it: the text that a
// variable or an argument gets. Lists and objects are JSON.
func (v *value) String() string {
	switch v.kind {
	case kindNull:
		return "null"
	case kindBool:
		return strconv.FormatBool(v.flag)
	case kindNumber, kindString:
		return v.text
	}
	return string(v.appendJSON(nil))
}
