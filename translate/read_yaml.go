package translate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"gm/diag"
)

var (
	codeBadYAML = &Code{
		Name: "bad-yaml", Severity: diag.Error, File: "process.yml",
		Doc:     "a YAML declaration cannot be read",
		Example: "apps:\n  - name: web\n   script: web.js\n",
	}
	codeYAMLDuplicate = &Code{
		Name: "yaml-duplicate-key", Severity: diag.Error, File: "process.yml",
		Doc:     "a mapping has a key twice, which PM2's YAML reader refuses",
		Example: "apps:\n  - script: a.js\n    script: b.js\n",
	}
	codeYAMLDocuments = &Code{
		Name: "yaml-documents", Severity: diag.Error, File: "process.yml",
		Doc:     "the file holds several YAML documents, and PM2 reads one",
		Example: "script: a.js\n---\nscript: b.js\n",
	}
	codeYAMLCycle = &Code{
		Name: "yaml-cycle", Severity: diag.Error, File: "process.yml",
		Doc:     "an alias stands inside its own anchor, so that the value has no end",
		Example: "apps:\n  - &app\n    script: a.js\n    env: *app\n",
	}
	codeYAMLDate = &Code{
		Name: "yaml-date", Severity: diag.Warning, File: "process.yml",
		Doc:     "a plain scalar is a date to PM2's YAML reader; a variable gets its JSON text, quotes included",
		Example: "script: a.js\nenv:\n  RELEASE: 2026-01-31\n",
	}
)

// yamlReader turns the nodes of yaml.v3 into values as js-yaml 4 would, which
// PM2 reads with: YAML 1.2's core schema, timestamps and merge keys.
type yamlReader struct {
	*reader
	base   int   // where the text that yaml.v3 sees starts
	lines  []int // where its lines start
	active map[*yaml.Node]bool
	dated  map[*yaml.Node]bool // dates that were reported; aliases repeat them
	// failed is set when a diagnostic says why there is no value.
	failed bool
}

// readYAML reads a YAML declaration.
func (r *reader) readYAML() *value {
	y := &yamlReader{reader: r, active: map[*yaml.Node]bool{}, dated: map[*yaml.Node]bool{}}
	if bytes.HasPrefix(r.src.Text, []byte("\ufeff")) {
		y.base = len("\ufeff") // three blanks would indent the first line
	}
	text := yamlVersion(r.text[y.base:])
	y.lines = yamlLines(text)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	root, err := yamlDocument(dec)
	switch {
	case err == io.EOF:
		r.emptyFile()
		return nil
	case err != nil:
		y.syntaxError(text, err)
		return nil
	}
	y.locate(root, &yamlCursor{})
	if more, err := yamlDocument(dec); err == nil {
		y.locate(more, &yamlCursor{})
		at := y.start(more)
		r.m.add(codeYAMLDocuments, r.at(at, at+1), "keep one document, or one file each", "a second document starts before this line; PM2 reads one")
		return nil
	} else if err != io.EOF {
		y.syntaxError(text, err)
		return nil
	}
	if len(root.Content) == 0 || root.Content[0].Kind == yaml.ScalarNode && root.Content[0].Value == "" && root.Content[0].Style == 0 {
		r.emptyFile()
		return nil
	}
	v, _ := y.value(root.Content[0], 0)
	if y.failed {
		return nil
	}
	return v
}

// yamlVersion makes %YAML 1.1 of a directive for 1.2, which yaml.v3 refuses; it
// has no bearing on how values are read here.
func yamlVersion(text []byte) []byte {
	const directive = "%YAML 1."
	if i := bytes.Index(text, []byte(directive)); i == 0 || i > 0 && text[i-1] == '\n' {
		if at := i + len(directive); at < len(text) && text[at] == '2' {
			text = bytes.Clone(text)
			text[at] = '1'
		}
	}
	return text
}

// yamlDocument reads the next document; io.EOF when there is none.
func yamlDocument(dec *yaml.Decoder) (root *yaml.Node, err error) {
	defer func() {
		if x := recover(); x != nil { // a bug in the library
			err = fmt.Errorf("yaml: %v", x)
		}
	}()
	root = &yaml.Node{}
	return root, dec.Decode(root)
}

// yamlLines returns where lines start, counted as yaml.v3 counts them.
func yamlLines(text []byte) []int {
	starts := []int{0}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n', text[i] == '\r' && (i+1 == len(text) || text[i+1] != '\n'):
			starts = append(starts, i+1)
		case text[i] == 0x85 && i > 0 && text[i-1] == 0xc2:
			starts = append(starts, i+1)
		case (text[i] == 0xa8 || text[i] == 0xa9) && i > 1 && text[i-1] == 0x80 && text[i-2] == 0xe2:
			starts = append(starts, i+1)
		}
	}
	return starts
}

// locate replaces the column of a node, and of all below it, by the offset in
// the source. Nodes come in the order of the text, so that one pass over each
// line is enough, even where a line is all there is.
func (y *yamlReader) locate(n *yaml.Node, c *yamlCursor) {
	line := min(max(n.Line, 1), len(y.lines))
	if line != c.line || n.Column < c.column {
		*c = yamlCursor{line: line, column: 1, offset: y.base + y.lines[line-1]}
	}
	for ; c.column < n.Column && c.offset < len(y.text); c.column++ {
		_, size := utf8.DecodeRune(y.text[c.offset:])
		c.offset += size
	}
	n.Column = c.offset
	for _, child := range n.Content {
		y.locate(child, c)
	}
}

// yamlCursor is where a line and column are in the text.
type yamlCursor struct{ line, column, offset int }

// start returns the offset of a node's first byte, its anchor and tag included.
func (y *yamlReader) start(n *yaml.Node) int { return min(n.Column, len(y.text)) }

// place returns a scalar's range, or where a list or mapping starts.
func (y *yamlReader) place(n *yaml.Node) (start, end int) {
	at := y.start(n)
	for at < len(y.text) && (n.Anchor != "" && y.text[at] == '&' || n.Style&yaml.TaggedStyle != 0 && y.text[at] == '!') {
		for at < len(y.text) && y.text[at] > ' ' {
			at++
		}
		for at < len(y.text) && y.text[at] <= ' ' {
			at++
		}
	}
	lineEnd := at
	for lineEnd < len(y.text) && y.text[lineEnd] != '\n' && y.text[lineEnd] != '\r' {
		lineEnd++
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return at, min(at+1+len(n.Value), lineEnd)
	case n.Kind != yaml.ScalarNode || n.Value == "" && n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0:
		return at, at
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := at + 1; i < len(y.text); i++ {
			switch y.text[i] {
			case '\\':
				i++
			case '"':
				return at, i + 1
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := at + 1; i < len(y.text); i++ {
			if y.text[i] == '\'' {
				if i+1 < len(y.text) && y.text[i+1] == '\'' {
					i++
					continue
				}
				return at, i + 1
			}
		}
	case bytes.HasPrefix(y.text[at:], []byte(n.Value)):
		return at, at + len(n.Value)
	}
	return at, at + len(bytes.TrimRight(y.text[at:lineEnd], " \t"))
}

// fail reports an error that leaves no value.
func (y *yamlReader) fail(code *Code, at diag.Range, remedy, cause string, args ...any) *value {
	if !y.failed {
		y.m.add(code, at, remedy, cause, args...)
	}
	y.failed = true
	return &value{kind: kindNull, at: at}
}

// value converts a node and returns where its text ends.
func (y *yamlReader) value(n *yaml.Node, depth int) (v *value, end int) {
	start, end := y.place(n)
	at := y.at(start, end)
	switch {
	case y.failed:
		return &value{at: at}, end
	case !y.count(1):
		y.failed = true
		y.tooLarge(at)
		return &value{at: at}, end
	case depth > maxDepth:
		return y.fail(codeTooDeep, y.at(start, start+1), "", "this is nested more than %d deep", maxDepth), end
	}
	switch n.Kind {
	case yaml.AliasNode:
		if y.active[n.Alias] {
			return y.fail(codeYAMLCycle, at, "write the value out instead of the alias",
				"*%s stands inside &%s itself, so the value has no end", n.Value, n.Value), end
		}
		v, _ = y.value(n.Alias, depth+1)
		if v.kind != kindArray && v.kind != kindObject {
			v.at = at // a message points at the use, not at the anchor
		}
		return v, end
	case yaml.ScalarNode:
		return y.scalar(n, at), end
	case yaml.SequenceNode:
		y.active[n] = true
		defer delete(y.active, n)
		if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!seq" {
			return y.badTag(n, at), end
		}
		v = &value{kind: kindArray, items: make([]*value, 0, len(n.Content))}
		end = start
		for _, child := range n.Content {
			var item *value
			item, end = y.value(child, depth+1)
			v.items = append(v.items, item)
		}
	case yaml.MappingNode:
		y.active[n] = true
		defer delete(y.active, n)
		if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" && n.Tag != "!!set" {
			return y.badTag(n, at), end
		}
		v, end = y.mapping(n, depth)
	}
	if n.Style&yaml.FlowStyle != 0 {
		end = y.flowEnd(max(end, start+1))
	}
	v.at = y.at(start, end)
	return v, end
}

// flowEnd returns the offset behind the bracket that closes a flow list or
// mapping, from the end of its last child on.
func (y *yamlReader) flowEnd(at int) int {
	for ; at < len(y.text); at++ {
		switch c := y.text[at]; {
		case c == ']' || c == '}':
			return at + 1
		case c == '#':
			for at < len(y.text) && y.text[at] != '\n' {
				at++
			}
		case c > ' ' && c != ',' && c != ':':
			return at
		}
	}
	return at
}

func (y *yamlReader) mapping(n *yaml.Node, depth int) (v *value, end int) {
	var ob objectBuilder
	overridable := map[string]bool{} // what a merge key brought
	for i := 0; i+1 < len(n.Content) && !y.failed; i += 2 {
		key, child := n.Content[i], n.Content[i+1]
		start, stop := y.place(key)
		at := y.at(start, stop)
		if key.Tag == "!!merge" {
			end = y.merge(&ob, overridable, child, depth)
			continue
		}
		name, ok := y.key(key)
		if !ok {
			y.fail(codeBadYAML, y.at(start, start+1), "put quotes around it if it is text, as in '{{ name }}'",
				"found a list or mapping where a key was expected")
			break
		}
		var mv *value
		mv, end = y.value(child, depth+1)
		end = max(end, stop)
		mem := member{name, at, mv}
		if i := ob.find(name); i >= 0 && !overridable[name] {
			line, _ := y.src.Position(int(ob.members[i].nameAt.Start))
			y.fail(codeYAMLDuplicate, at, "remove one of them", "the key %q is here again, after line %d; PM2's YAML reader refuses it", name, line)
			break
		}
		delete(overridable, name)
		ob.add(mem)
	}
	return &value{kind: kindObject, members: ob.members}, end
}

// merge adds what <<: brings: the members of a mapping, or of a list of them,
// that are not there yet.
func (y *yamlReader) merge(ob *objectBuilder, overridable map[string]bool, n *yaml.Node, depth int) (end int) {
	source, end := y.value(n, depth+1)
	list := []*value{source}
	if source.kind == kindArray {
		list = source.items
	}
	for _, v := range list {
		if v.kind != kindObject {
			y.fail(codeBadYAML, v.at, "write an alias of a mapping, as in <<: *base", "<< merges mappings, and this is %s", v.kind)
			return end
		}
		if !y.count(len(v.members)) {
			y.failed = true
			y.tooLarge(v.at)
			return end
		}
		for _, mem := range v.members {
			if ob.find(mem.name) < 0 {
				ob.add(mem)
				overridable[mem.name] = true
			}
		}
	}
	return end
}

// key returns a mapping's key as the property name that JavaScript makes of it.
func (y *yamlReader) key(n *yaml.Node) (string, bool) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	if n.Style != 0 { // quoted
		return n.Value, true
	}
	v, _ := yamlPlain(n.Value)
	if text, ok := primitiveText(&v); ok && v.kind != kindString {
		return text, true
	}
	return n.Value, true
}

func (y *yamlReader) badTag(n *yaml.Node, at diag.Range) *value {
	start := y.start(n)
	return y.fail(codeBadYAML, y.at(start, start+len(n.Tag)), "write the value without the tag", "found the tag %s, which PM2's YAML reader does not know here", n.Tag)
}

func (y *yamlReader) scalar(n *yaml.Node, at diag.Range) *value {
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if n.Style&yaml.TaggedStyle == 0 {
		if quoted {
			return stringValue(n.Value, at)
		}
		v, date := yamlPlain(n.Value)
		v.at = at
		if date && !y.dated[n] {
			y.dated[n] = true
			y.m.add(codeYAMLDate, at, "write it in quotes to keep it as it is",
				"%s is a date to PM2's YAML reader; the value becomes %s, quotes included", n.Value, v.text)
		}
		return &v
	}
	v, date := yamlPlain(n.Value)
	v.at = at
	ok := false
	switch n.Tag {
	case "!!str":
		return stringValue(n.Value, at)
	case "!!null":
		ok = v.kind == kindNull
	case "!!bool":
		ok = v.kind == kindBool
	case "!!int":
		_, ok = yamlInt(n.Value)
	case "!!float":
		// js-yaml's own rule for floats takes integers too.
		ok = v.kind == kindNumber
	case "!!timestamp":
		ok = date
	}
	if !ok {
		return y.badTag(n, at)
	}
	return &v
}

// syntaxError reports what yaml.v3 refused. Its line is often that of the
// surrounding block, so the place is the line behind the longest part of the
// text that can be read.
func (y *yamlReader) syntaxError(text []byte, err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		number, problem, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, message = n, problem
		}
	}
	if n := y.goodLines(text); n >= 0 {
		line = n + 1
	}
	line = min(max(line, 1), len(y.lines))
	start := y.lines[line-1]
	end := len(text)
	if line < len(y.lines) {
		end = y.lines[line]
	}
	content := bytes.TrimRight(text[start:end], " \t\r\n")
	indent := len(content) - len(bytes.TrimLeft(content, " \t"))
	at := y.at(y.base+start+indent, y.base+start+len(content))
	remedy := ""
	tab := bytes.IndexByte(content[:indent], '\t')
	if tab < 0 && strings.Contains(message, "cannot start any token") {
		tab = bytes.IndexByte(content, '\t') // as in "-<tab>key: value"
	}
	switch {
	case tab >= 0:
		at = y.at(y.base+start+tab, y.base+start+tab+1)
		message, remedy = "found a tab in the indentation, where YAML takes only spaces", "replace the tab by spaces"
	case strings.Contains(message, "mapping values are not allowed"):
		message, remedy = "found a second key or a deeper one where a value was expected", "indent it like its neighbours, or put the value in quotes"
	case strings.Contains(message, "did not find expected key") || strings.Contains(message, "did not find expected '-' indicator"):
		message, remedy = "found a line that is indented unlike the lines around it", "indent it like its neighbours"
	case strings.Contains(message, "could not find expected ':'"):
		message, remedy = "found a line without a colon where a key was expected", `write "key: value"`
	case strings.Contains(message, "found unexpected end of stream"):
		message, remedy = "found a quote that is never closed", "close it"
	case strings.Contains(message, "cannot start any token"):
		message, remedy = "found a character that no value can start with", "put the value in quotes"
	case strings.Contains(message, "did not find expected ',' or ']'"), strings.Contains(message, "did not find expected ',' or '}'"):
		message, remedy = "found a list or mapping in brackets that is not closed, or lacks a comma", "close it"
	}
	y.m.add(codeBadYAML, at, remedy, "%s", message)
}

// goodLines returns how many of the first lines can be read by themselves, or
// -1 when that is not worth finding out.
func (y *yamlReader) goodLines(text []byte) int {
	if len(text) > 1<<20 {
		return -1
	}
	good := func(n int) bool {
		_, err := yamlDocument(yaml.NewDecoder(bytes.NewReader(text[:y.lines[n]])))
		return err == nil || errors.Is(err, io.EOF)
	}
	// Nearly monotonic: only a quote or bracket over several lines is not.
	n := sort.Search(len(y.lines), func(n int) bool { return !good(n) })
	return n - 1
}
