package translate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gm/diag"
)

// Type is what a key's value may be: one check, one JSON Schema, one label for
// the docs. The checks follow PM2's lib/tools/Config.js; where they are milder,
// docs/differences.md says so.
type Type struct {
	// Label names the type for people: "number of milliseconds".
	Label string
	// Schema is the JSON Schema of the value.
	Schema string

	// read coerces v into a; the returned fault says what was expected.
	read func(v *value, a *arg) *fault
}

// arg is the value of one key in one app, checked and coerced. The zero arg is
// a key that was not given.
type arg struct {
	value  *value // nil when the key is absent or null
	keyAt  diag.Range
	at     diag.Range
	name   string // the spelling that was used
	text   string
	number float64
	flag   bool
	list   []word
}

// word is one element of a list with its place.
type word struct {
	text string
	at   diag.Range
}

// given reports whether the declaration gave the key a value.
func (a *arg) given() bool { return a.value != nil }

// fault says why a value was refused.
type fault struct {
	at       diag.Range // zero: the value
	expected string     // completes "… expected"
	remedy   string
}

func wants(expected, remedy string) *fault { return &fault{expected: expected, remedy: remedy} }

const (
	schemaText    = `{"type": "string"}`
	schemaFlag    = `{"type": "boolean"}`
	schemaObject  = `{"type": "object"}`
	schemaNumber  = `{"anyOf": [{"type": "number", "minimum": 0, "maximum": 100000000000000}, {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}]}`
	schemaCount   = `{"anyOf": [{"type": "number", "minimum": 0, "maximum": 2147483647}, {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"}]}`
	schemaStrings = `{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}`
	schemaEnv     = `{"type": "object"}`
)

var (
	typeText     = Type{"string", schemaText, readText}
	typeFlag     = Type{"boolean", schemaFlag, readFlag}
	typeMillis   = Type{"number of milliseconds", schemaNumber, readNumber}
	typeCount    = Type{"whole number", schemaCount, readCount}
	typePort     = Type{"port number", `{"anyOf": [{"type": "integer", "minimum": 0, "maximum": 65535}, {"type": "string", "pattern": "^([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"}]}`, readPort}
	typeNumber   = Type{"number", `{"type": "number"}`, readNumber}
	typeSize     = Type{"size: bytes, or a string with K, M or G (powers of 1024)", `{"anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([KMGkmg]([iI]?[bB])?|[bB])?$", "not": {"pattern": "^[0.]*[A-Za-z]*$"}}]}`, readSize}
	typeUptime   = Type{"duration: milliseconds (100 or more), or a string with h, m or s", `{"anyOf": [{"type": "number", "minimum": 100, "maximum": 100000000000000}, {"type": "string", "pattern": "^([0-9]+[hms]|[1-9][0-9]{2,})$"}]}`, readUptime}
	typeWords    = Type{"list of strings, or one string that is split at blanks", schemaStrings, readWords}
	typeCommands = Type{"list of commands", schemaStrings, readCommands}
	typeCodes    = Type{"exit code, or a list of them", `{"anyOf": [{"$ref": "#/$defs/code"}, {"type": "array", "items": {"$ref": "#/$defs/code"}}]}`, readExitCodes}
	typeInstance = Type{`whole number, or "max"`, `{"anyOf": [{"type": "number", "minimum": -10000, "maximum": 10000}, {"enum": ["max", "MAX"]}, {"type": "string", "pattern": "^-?[0-9]{1,4}$"}]}`, readInstances}
	typeMode     = Type{`"fork" or "cluster"`, `{"enum": ["fork", "cluster", "fork_mode", "cluster_mode"]}`, readMode}
	typeCron     = Type{"cron expression; 0 switches it off", `{"anyOf": [{"type": "string"}, {"enum": [0, false]}]}`, readCron}
	typeWatch    = Type{"boolean, path, or list of paths", `{"anyOf": [{"type": "boolean"}, {"type": "string", "not": {"enum": ["true", "false"]}}, {"type": "array", "items": {"type": "string"}}]}`, readWatch}
	typeLogFile  = Type{"path, or a boolean", `{"type": ["string", "boolean"]}`, readTextOrFlag}
	typeLogType  = Type{`"json" or "raw"`, `{"enum": ["json", "raw", ""]}`, readLogType}
	typeUser     = Type{"user or group: a name or a number", `{"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0, "maximum": 4294967294}]}`, readUser}
	typeFilter   = Type{"list of substrings, one exact name, or true", `{"anyOf": [{"type": "boolean"}, {"type": "string"}, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}`, readFilter}
	typeEnv      = Type{"object of variables", schemaEnv, readObject}
	typeObject   = Type{"object", schemaObject, readObject}
	typeSwitch   = Type{"boolean or string", `{"type": ["boolean", "string"]}`, readTextOrFlag}
	typeSystemd  = Type{"object", `{"$ref": "#/$defs/systemd"}`, readObject}
)

func readText(v *value, a *arg) *fault {
	if v.kind != kindString {
		return wants("a string", quoteRemedy(v))
	}
	a.text = v.text
	return nil
}

// quoteRemedy offers the quotes that a number or boolean lacks.
func quoteRemedy(v *value) string {
	if v.kind == kindNumber || v.kind == kindBool {
		return fmt.Sprintf("write it in quotes: %q", v.String())
	}
	return ""
}

func readFlag(v *value, a *arg) *fault {
	if v.kind != kindBool {
		remedy := "write true or false"
		if v.kind == kindString && (v.text == "true" || v.text == "false") {
			remedy = "write " + v.text + " without quotes"
		}
		return wants("true or false", remedy)
	}
	a.flag = v.flag
	return nil
}

func readTextOrFlag(v *value, a *arg) *fault {
	switch v.kind {
	case kindString:
		a.text = v.text
	case kindBool:
		a.flag = v.flag
	default:
		return wants("a string or a boolean", quoteRemedy(v))
	}
	return nil
}

// number reads v as PM2 does: a number, or a string that holds one.
func number(v *value) (float64, bool) {
	switch v.kind {
	case kindNumber:
		return v.number, !math.IsNaN(v.number) && !math.IsInf(v.number, 0)
	case kindString:
		text := strings.TrimSpace(v.text)
		if strings.Trim(text, "0123456789+-.eE") != "" || text == "" {
			return 0, false
		}
		n, err := strconv.ParseFloat(text, 64)
		return n, err == nil && !math.IsInf(n, 0)
	case kindArray:
		if len(v.items) == 1 { // parseFloat([5]) is 5
			return number(v.items[0])
		}
	}
	return 0, false
}

// maxMillis keeps times inside what systemd can hold with room to multiply.
const maxMillis = 1e14

func readNumber(v *value, a *arg) *fault {
	n, ok := number(v)
	switch {
	case !ok && v.kind == kindString:
		return wants("a number", unitRemedy(v.text))
	case !ok:
		return wants("a number", "")
	case n < 0:
		return wants("0 or more", "")
	case n > maxMillis:
		return wants("at most 100000000000000", "")
	}
	a.number = n
	return nil
}

// unitRemedy turns "5s" into "write 5000".
func unitRemedy(text string) string {
	text = strings.TrimSpace(text)
	for _, unit := range []struct {
		suffix string
		ms     float64
	}{{"ms", 1}, {"s", 1000}, {"m", 60_000}, {"h", 3_600_000}} {
		if digits, ok := strings.CutSuffix(text, unit.suffix); ok {
			if n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64); err == nil {
				return fmt.Sprintf("write the milliseconds: %s", strconv.FormatFloat(n*unit.ms, 'f', -1, 64))
			}
		}
	}
	return ""
}

func readCount(v *value, a *arg) *fault {
	if f := readNumber(v, a); f != nil {
		return f
	}
	a.number = math.Trunc(a.number) // PM2 compares with integers: 2.7 acts as 2
	if a.number > math.MaxInt32 {
		return wants("at most 2147483647", "")
	}
	return nil
}

func readPort(v *value, a *arg) *fault {
	if f := readNumber(v, a); f != nil {
		return f
	}
	if a.number != math.Trunc(a.number) || a.number > 65535 {
		return wants("a whole number from 0 to 65535", "")
	}
	return nil
}

func readSize(v *value, a *arg) *fault {
	const form = `a number of bytes, or digits with K, M or G`
	if n, ok := number(v); ok {
		if n < 1 {
			return wants("a size above 0", `write for example "150M"`)
		}
		a.number = math.Trunc(n)
		return nil
	}
	if v.kind != kindString {
		return wants(form, `write for example "150M"`)
	}
	text := strings.ToUpper(strings.TrimSpace(v.text))
	text = strings.TrimSuffix(strings.TrimSuffix(text, "B"), "I")
	shift := map[byte]int{'K': 10, 'M': 20, 'G': 30}[last(text)]
	if shift != 0 {
		text = text[:len(text)-1]
	}
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return wants(form, `write for example "150M" or "1G"`)
	}
	n, err := strconv.ParseFloat(text, 64)
	n *= float64(uint64(1) << shift)
	if err != nil || n < 1 || n >= 1<<62 {
		return wants("a size above 0 that fits 62 bits", `write for example "150M"`)
	}
	a.number = math.Trunc(n)
	return nil
}

func last(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}

func readUptime(v *value, a *arg) *fault {
	const form = `milliseconds, or digits with h, m or s`
	if n, ok := number(v); ok {
		// PM2 refuses a plain number below 100, never one with a suffix.
		if n < 100 {
			return wants("at least 100 milliseconds", fmt.Sprintf("write \"%gs\" if seconds were meant", n))
		}
		if n > maxMillis {
			return wants("at most 100000000000000", "")
		}
		a.number = n
		return nil
	}
	if v.kind != kindString || len(v.text) < 2 || strings.Trim(v.text[:len(v.text)-1], "0123456789") != "" {
		return wants(form, `write for example "10s"`)
	}
	scale := map[byte]float64{'h': 3_600_000, 'm': 60_000, 's': 1000}[last(v.text)]
	n, err := strconv.ParseFloat(v.text[:len(v.text)-1], 64)
	if scale == 0 || err != nil || n*scale > maxMillis {
		return wants(form, `write for example "10s"`)
	}
	a.number = n * scale
	return nil
}

func readWords(v *value, a *arg) *fault {
	switch v.kind {
	case kindString:
		for _, w := range splitArgs(v.text) {
			a.list = append(a.list, word{w, v.at})
		}
		return nil
	case kindArray:
		return readItems(v, a)
	}
	return wants("a string or a list", quoteRemedy(v))
}

// readItems takes each element as text, the way spawn(2)'s callers in Node do.
func readItems(v *value, a *arg) *fault {
	a.list = make([]word, 0, len(v.items))
	for _, item := range v.items {
		if item.kind == kindArray || item.kind == kindObject {
			return &fault{at: item.at, expected: "a list of strings"}
		}
		a.list = append(a.list, word{item.String(), item.at})
	}
	return nil
}

func readCommands(v *value, a *arg) *fault {
	if v.kind == kindString { // a single command is meant
		a.list = []word{{v.text, v.at}}
		return nil
	}
	if v.kind != kindArray {
		return wants("a list of commands", "")
	}
	return readItems(v, a)
}

func readExitCodes(v *value, a *arg) *fault {
	items := []*value{v}
	if v.kind == kindArray {
		items = v.items
	}
	for _, item := range items {
		n, ok := number(item)
		if !ok || n != math.Trunc(n) || n < 0 || n > 255 {
			return &fault{at: item.at, expected: "exit codes from 0 to 255"}
		}
		a.list = append(a.list, word{strconv.Itoa(int(n)), item.at})
	}
	return nil
}

// readInstances leaves the count in a.number; 0 means all CPUs, negative all
// but that many.
func readInstances(v *value, a *arg) *fault {
	if v.kind == kindString && strings.EqualFold(strings.TrimSpace(v.text), "max") {
		a.number = 0
		return nil
	}
	n, ok := number(v)
	if !ok {
		return wants(`a number or "max"`, `write "max" for one instance a CPU, as PM2 would start here`)
	}
	if n = math.Trunc(n); math.Abs(n) > maxInstances {
		return wants(fmt.Sprintf("at most %d", maxInstances), "")
	}
	a.number = n
	return nil
}

// maxInstances bounds what one line of a declaration can ask for.
const maxInstances = 10_000

func readMode(v *value, a *arg) *fault {
	if v.kind == kindString {
		if mode := strings.TrimSuffix(v.text, "_mode"); mode == "fork" || mode == "cluster" {
			a.text = mode
			return nil
		}
	}
	return wants(`"fork" or "cluster"`, "")
}

func readLogType(v *value, a *arg) *fault {
	if v.kind != kindString || v.text != "json" && v.text != "raw" && v.text != "" {
		return wants(`"json" or "raw"`, "")
	}
	a.text = v.text
	return nil
}

func readCron(v *value, a *arg) *fault {
	switch {
	case v.kind == kindString:
		a.text = v.text
	case v.kind == kindNumber && v.number == 0, v.kind == kindBool && !v.flag:
	default:
		return wants("a cron expression in quotes, or 0", `write for example "0 3 * * *"`)
	}
	return nil
}

func readWatch(v *value, a *arg) *fault {
	switch v.kind {
	case kindBool:
		a.flag = v.flag
	case kindString:
		if v.text == "true" || v.text == "false" {
			return wants("true, false or a path", "write "+v.text+" without quotes")
		}
		a.flag = v.text != ""
		if a.flag {
			a.list = []word{{v.text, v.at}}
		}
	case kindArray:
		a.flag = true
		for _, item := range v.items {
			if item.kind != kindString {
				return &fault{at: item.at, expected: "a list of paths"}
			}
			a.list = append(a.list, word{item.text, item.at})
		}
	default:
		return wants("true, false, a path or a list of paths", "")
	}
	return nil
}

func readUser(v *value, a *arg) *fault {
	switch {
	case v.kind == kindString && v.text != "":
		a.text = v.text
	case v.kind == kindNumber && v.number == math.Trunc(v.number) && v.number >= 0 && v.number < math.MaxUint32:
		a.text = strconv.FormatInt(int64(v.number), 10)
	default:
		return wants("a name or a number", "")
	}
	return nil
}

func readFilter(v *value, a *arg) *fault {
	switch v.kind {
	case kindBool:
		a.flag = v.flag
	case kindString:
		a.list = []word{{v.text, v.at}}
	case kindArray:
		return readItems(v, a)
	default:
		return wants("a list of strings, a string, or true", "")
	}
	return nil
}

func readObject(v *value, a *arg) *fault {
	if v.kind != kindObject {
		return wants("an object", "")
	}
	return nil
}

// oneOf reports whether v is among the strings.
func oneOf(v string, choices ...string) bool { return slices.Contains(choices, v) }
