package translate

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"gm/diag"
)

// Outside is what a JavaScript declaration may reach beyond its own text. The
// zero value reaches nothing.
type Outside struct {
	// Dir is the absolute directory of the declaration on this machine:
	// __dirname and process.cwd(). Without it nothing can be required.
	Dir string
	// Environ is process.env. The declaration sees a copy.
	Environ map[string]string
	// ReadFile reads one file. It is only called with clean absolute paths
	// below Dir; a caller that minds symbolic links opens them with os.Root.
	ReadFile func(path string) ([]byte, error)
	// ReadDir lists the names in a directory below Dir; nil refuses.
	ReadDir func(path string) ([]string, error)
	// Now is the clock of Date; nil is the epoch.
	Now func() time.Time
	// Node evaluates a declaration with node and returns JSON.stringify of its
	// exports. It is the last resort for what cannot run here; nil: no node.
	Node func(path string) (json []byte, err error)
	// Home, Hostname, Platform, TempDir, CPUs and Memory (bytes) are what
	// require('os') tells; zero values are told as "", "linux", "/tmp", 1 and 0.
	Home, Hostname, Platform, TempDir string
	CPUs                              int
	Memory                            uint64
}

// format is what language a declaration is written in.
type format uint8

const (
	formatJSON format = iota
	formatJavaScript
	formatYAML
	formatDump
)

func (f format) String() string {
	return [...]string{"JSON", "JavaScript", "YAML", "a PM2 dump"}[f]
}

// Limits on what is read. They are far above any declaration seen, and low
// enough that a hostile text neither exhausts memory nor the stack of a parser
// that recurses (hujson, goja and yaml all do; a Go stack overflow cannot be
// recovered from).
const (
	maxText   = 32 << 20 // bytes of a declaration
	maxDepth  = 500      // brackets within brackets
	maxValues = 2 << 20  // values after aliases and spreads are expanded

	// maxRepeats is how often one thing is reported: more would not be read,
	// and a line and column for each takes time.
	maxRepeats = 20
)

// readCodes are the diagnostics of reading; each stands with what reports it.
var readCodes = []*Code{
	codeTypeScript, codeTooLarge, codeTooDeep, codeBadEncoding, codeBadUTF8, codeEmptyFile,
	codeNotADeclaration, codeNotAnApp, codeNoApps,
	codeBadJSON, codeDuplicateKey, codeJSONIsCode,
	codeBadJS, codeJSFailed, codeJSTimeout, codeJSFunction, codeJSAsync, codeJSCycle, codeJSValue,
	codeOutsideAccess, codePinnedValue, codeNeedsNode, codeUsedNode,
	codeBadYAML, codeYAMLDuplicate, codeYAMLDocuments, codeYAMLCycle, codeYAMLDate,
	codeDumpEnv, codeDumpModule,
}

var (
	codeTypeScript = &Code{
		Name: "typescript-file", Severity: diag.Error,
		Doc:     "the declaration is a TypeScript file, which neither PM2 nor gm reads as one",
		Example: `export default { apps: [{ name: "web", script: "web.js" }] }`, File: "ecosystem.config.ts",
	}
	codeTooLarge = &Code{
		Name: "too-large", Severity: diag.Error,
		Doc:     "the declaration has more than 32 MB of text, or more than two million values once aliases and spreads are expanded",
		Example: tooLargeExample, File: "ecosystem.config.js",
	}
	codeTooDeep = &Code{
		Name: "too-deep", Severity: diag.Error,
		Doc:     "brackets are nested more than 500 deep, or one expression is of a length that no declaration has",
		Example: strings.Repeat("[", maxDepth+1),
	}
	codeBadEncoding = &Code{
		Name: "bad-encoding", Severity: diag.Error,
		Doc:     "the text is UTF-16, which PM2 does not read",
		Example: "\xff\xfe{\x00}\x00",
	}
	codeBadUTF8 = &Code{
		Name: "bad-utf8", Severity: diag.Warning,
		Doc:     "a byte is no UTF-8; PM2 reads it as U+FFFD, and so a word of another encoding is damaged",
		Example: "{\"apps\": [{\"script\": \"a.js\", \"name\": \"caf\xe9\"}]}",
	}
	codeEmptyFile = &Code{
		Name: "empty-file", Severity: diag.Error,
		Doc:     "the declaration has no text besides white space and comments",
		Example: "// nothing yet\n",
	}
)

// tooLargeExample doubles a list until it would fill the memory.
const tooLargeExample = `const a = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
const b = [...a, ...a, ...a, ...a, ...a, ...a, ...a, ...a, ...a, ...a];
const c = [b, b, b, b, b, b, b, b, b, b], d = [c, c, c, c, c, c, c, c, c, c];
const e = [d, d, d, d, d, d, d, d, d, d], f = [e, e, e, e, e, e, e, e, e, e];
module.exports = { apps: [{ script: "a.js", args: [f, f, f, f, f, f, f, f, f, f] }] };
`

// reader is the work on one declaration.
type reader struct {
	src *diag.Source
	// text is src.Text for the parsers: as long, but a byte-order mark is blank
	// and each byte that is no UTF-8 is a question mark.
	text   []byte
	out    Outside
	m      *messages
	values int // made so far, at most maxValues
	// repeats counts the keys that were reported as duplicates.
	repeats int
}

// at returns a range of the declaration.
func (r *reader) at(start, end int) diag.Range { return r.src.Range(start, end) }

// count takes n values from the budget.
func (r *reader) count(n int) (ok bool) {
	r.values += n
	return r.values <= maxValues
}

// tooLarge reports that the budget of values is spent.
func (r *reader) tooLarge(at diag.Range) {
	r.m.add(codeTooLarge, at, "write out what the declaration needs, and no more",
		"the declaration expands to more than %d values", maxValues)
}

// parse reads a declaration. The result is nil when nothing of it is usable;
// all diagnostics go to m.
func parse(src *diag.Source, out Outside, m *messages) *document {
	r := &reader{src: src, text: src.Text, out: out, m: m}
	if !r.clean() {
		return nil
	}
	lang, ok := r.format()
	if !ok {
		return nil
	}
	var root *value
	switch lang {
	case formatYAML:
		root = r.readYAML()
	case formatJavaScript:
		root = r.readJavaScript()
	default:
		root = r.readJSON()
	}
	if root == nil {
		return nil
	}
	return r.shape(root, lang)
}

// clean makes r.text, and refuses what is no text of a sane size.
func (r *reader) clean() bool {
	if len(r.text) > maxText {
		r.m.add(codeTooLarge, r.at(0, 0), "split the declaration", "the declaration has %d bytes; the limit is %d", len(r.text), maxText)
		return false
	}
	if bytes.HasPrefix(r.text, []byte("\xff\xfe")) || bytes.HasPrefix(r.text, []byte("\xfe\xff")) {
		r.m.add(codeBadEncoding, r.at(0, 2), "save the file as UTF-8", "the text is UTF-16; PM2 and gm read UTF-8")
		return false
	}
	bom := bytes.HasPrefix(r.text, []byte("\ufeff"))
	valid := utf8.Valid(r.text)
	if !bom && valid {
		return true
	}
	r.text = bytes.Clone(r.text)
	if bom {
		copy(r.text, "   ")
	}
	first := -1
	for i := 0; !valid && i < len(r.text); {
		c, n := utf8.DecodeRune(r.text[i:])
		if c == utf8.RuneError && n == 1 {
			if first < 0 {
				first = i
			}
			r.text[i] = '?'
		}
		i += n
	}
	if first >= 0 {
		r.m.add(codeBadUTF8, r.at(first, first+1), "save the file as UTF-8",
			"the byte 0x%02X is no UTF-8; it is read as a question mark", r.src.Text[first])
	}
	return true
}

// format tells the language from the file's name, and from the text where the
// name tells nothing.
func (r *reader) format() (format, bool) {
	name := strings.ToLower(r.src.Name)
	has := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix(name, s) {
				return true
			}
		}
		return false
	}
	switch {
	case has(".ts", ".mts", ".cts"):
		r.m.add(codeTypeScript, r.at(0, 0), "compile it to a .config.js file, or write the declaration as JSON",
			"a TypeScript file cannot be a declaration; PM2 would start it as a script")
		return 0, false
	case has(".yml", ".yaml"):
		return formatYAML, true
	case has(".js", ".cjs", ".mjs"):
		return formatJavaScript, true
	case has(".json", ".json5", "dump.pm2", "dump.pm2.bak"):
		return formatJSON, true
	}
	return r.sniff(), true
}

// sniff tells the language from the text. JSON is the answer when in doubt, as
// PM2 reads what comes through a pipe as JSON.
func (r *reader) sniff() format {
	if bytes.HasPrefix(r.text, []byte("#!")) {
		return formatJavaScript
	}
	if bytes.HasPrefix(bytes.TrimSpace(r.text), []byte("#")) {
		return formatYAML // a comment
	}
	s := jsScanner{text: r.text}
	first, second := s.next(), s.next()
	third := s.next()
	word := string(r.text[first.start:first.end])
	next := string(r.text[second.start:second.end])
	switch word {
	case "module", "exports":
		if next == "." || next == "=" || next == "[" {
			return formatJavaScript
		}
	case "export", "import", "const", "let", "var", "function", "async", "class":
		if next != ":" {
			return formatJavaScript
		}
	case "require":
		if next == "(" {
			return formatJavaScript
		}
	case `"use strict"`, `'use strict'`:
		if next != ":" {
			return formatJavaScript
		}
	case "{", "[", "(":
		return formatJSON
	case "-", "%":
		// "-1" and "- a" both start with a dash; neither is a declaration in JSON.
		return formatYAML
	}
	// key: value
	if (first.kind == tokenWord || first.kind == tokenString) && next == ":" && third.kind != tokenEnd || yamlKey(r.text[min(first.start, len(r.text)):]) {
		return formatYAML
	}
	return formatJSON
}

// yamlKey reports whether text begins with a plain YAML key: words and a colon
// at the end of the line or before a blank.
func yamlKey(text []byte) bool {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimRight(line, " \t\r")
	return bytes.HasSuffix(line, []byte(":")) || bytes.Contains(line, []byte(": "))
}

// emptyFile reports a text without content.
func (r *reader) emptyFile() {
	r.m.add(codeEmptyFile, r.at(0, 0), `write at least {"apps": [{"script": "app.js"}]}`, "the declaration is empty")
}
