package units

import (
	"slices"
	"strings"
	"sync"
)

// Rule is what gm knows of one directive of systemd.
type Rule struct {
	Section, Key string
	// Doc says in a sentence what the directive does.
	Doc  string
	Kind Kind
	// Since is the systemd version that brought it; 0 is 245 or before, the
	// oldest that gm supports.
	Since int
	// Repeats says that several lines add up; else the last one counts.
	Repeats bool
	// Live says that daemon-reload applies a change: what runs need not be
	// restarted for it.
	Live bool
}

// Kind is the grammar of a directive's value.
type Kind uint8

// Each kind decodes to the Value type of its name, but for Switch, Limit and
// Bytes, which fall back to Word where a directive takes words as well
// (ProtectSystem=strict, LimitNOFILE=1024:4096, MemoryMax=50%), and for Raw("")
// where the value is empty.
const (
	KindRaw Kind = iota
	KindText
	KindWord
	KindWords
	KindBool
	KindSwitch // Bool or Word
	KindCount
	KindLimit // Count or Word
	KindBytes // Bytes or Word
	KindSpan
	KindPath
	KindStream
	KindCommand
	KindAssign
	KindCalendar
)

// String returns the name that docs/directives.md uses.
func (k Kind) String() string {
	return [...]string{"raw", "text", "word", "words", "boolean", "boolean or word", "number",
		"number or word", "size", "time span", "path", "stream", "command", "assignment", "calendar"}[k]
}

// Holds reports whether v is of a type that a directive of this kind decodes
// to: only then does Parse read v back as it was.
func (k Kind) Holds(v Value) bool {
	switch v := v.(type) {
	case Text:
		return k == KindText
	case Word:
		return k == KindWord || k == KindSwitch || k == KindLimit || k == KindBytes
	case Words:
		return k == KindWords
	case Bool:
		return k == KindBool || k == KindSwitch
	case Count:
		return k == KindCount || k == KindLimit
	case Bytes:
		return k == KindBytes
	case Span:
		return k == KindSpan
	case Path:
		return k == KindPath
	case Stream:
		return k == KindStream
	case Command:
		return k == KindCommand
	case Assign:
		return k == KindAssign
	case Calendar:
		return k == KindCalendar
	case Raw:
		return k == KindRaw || v == "" && k != KindText
	}
	return false
}

// Rules returns every directive gm knows, in the order in which a unit's
// directives are written.
func Rules() []Rule { return slices.Clone(table().rules) }

// Lookup returns the rule of a directive.
func Lookup(section, key string) (Rule, bool) {
	t := table()
	i, ok := t.index[name{section, key}]
	if !ok {
		return Rule{}, false
	}
	return t.rules[i], true
}

// Order returns a directive's place in a unit: directives sorted by it, and
// otherwise left in order, are in the order of Rules. Unknown directives come
// last in their section, unknown sections before [Install].
func Order(section, key string) int {
	t := table()
	if i, ok := t.index[name{section, key}]; ok {
		return 2 * i
	}
	end, ok := t.end[section]
	if !ok {
		end = t.end[lastSectionOfWork]
	}
	return 2*end - 1
}

// successor says what took the place of a directive that systemd documents no
// more, and whether it is one.
func successor(section, key string) (string, bool) {
	for _, s := range sectionNames {
		for _, l := range legacy {
			if s.name == section && l.key == key && l.in&s.bit != 0 {
				return l.now, true
			}
		}
	}
	return "", false
}

// Sort puts u's directives in the order of Rules; those of one name keep theirs.
func (u Unit) Sort() {
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	s.places, s.copy = s.places[:0], append(s.copy[:0], u.Directives...)
	for i := range s.copy {
		s.places = append(s.places, place{Order(s.copy[i].Section, s.copy[i].Key), i})
	}
	slices.SortFunc(s.places, func(a, b place) int {
		if a.order == b.order {
			// Unknown sections share a place: each stays in one piece.
			if c := strings.Compare(s.copy[a.at].Section, s.copy[b.at].Section); c != 0 {
				return c
			}
			return a.at - b.at
		}
		return a.order - b.order
	})
	for i, p := range s.places {
		u.Directives[i] = s.copy[p.at]
	}
	clear(s.copy)
}

// sorters are scratch space for Sort.
var sorters = sync.Pool{New: func() any { return new(sorter) }}

type sorter struct {
	places []place
	copy   []Directive
}

type place struct{ order, at int }

// lastSectionOfWork is the section behind which unknown ones are put.
const lastSectionOfWork = "Slice"

type name struct{ section, key string }

type ruleTable struct {
	rules []Rule
	index map[name]int
	end   map[string]int // the place behind a section's last rule
}

// table is made on first use: gm's start must not pay for it.
var table = sync.OnceValue(func() *ruleTable {
	t := &ruleTable{index: map[name]int{}, end: map[string]int{}}
	for _, s := range sectionNames {
		for _, r := range rows {
			if r.in&s.bit != 0 {
				t.index[name{s.name, r.key}] = len(t.rules)
				t.rules = append(t.rules, Rule{s.name, r.key, r.doc, r.kind, r.since, r.repeats, r.live})
			}
		}
		t.end[s.name] = len(t.rules)
	}
	return t
})
