package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"gm/diag"
	"gm/translate"
)

// readHost reads the facts that gm host wrote. They stand for the machine as a
// whole: nothing is asked of the one gm runs on, and an essential fact that
// neither the file nor a flag gives is an error rather than a guess.
func (c *caller) readHost(o *inputOptions) (translate.Host, error) {
	var h translate.Host
	text, err := os.ReadFile(c.abs(o.hostFile))
	if err != nil {
		return h, &failure{statusInvalid, "bad-host", fmt.Sprintf("cannot read --host %s: %s", o.hostFile, reason(err)),
			"write it on the target machine: gm host FILE > " + o.hostFile}
	}
	src := diag.NewSource(o.hostFile, text)
	list := decodeHost(src, &h)
	if !list.HasErrors() {
		list = checkHost(src, &h, o)
	}
	if list.HasErrors() {
		c.print(list)
		return h, exit(statusInvalid)
	}
	return h, nil
}

// hostFacts is the names that a host file may hold.
func hostFacts() []string {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[translate.Host]()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}

// decodeHost reads a host file strictly: encoding/json would take other
// spellings of a name, drop unknown ones, and let the last of two win.
func decodeHost(src *diag.Source, h *translate.Host) diag.List {
	var list diag.List
	refuse := func(start, end int64, remedy, cause string, args ...any) {
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "bad-host",
			At: src.Range(int(start), int(end)), Cause: fmt.Sprintf(cause, args...), Remedy: remedy})
	}
	const rewrite = "write it anew with gm host"
	d := json.NewDecoder(bytes.NewReader(src.Text))
	fail := func(err error) diag.List {
		at := d.InputOffset()
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = syntax.Offset - 1
		}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			refuse(at, at, rewrite, "%s found where %s was expected", wrong.Value, jsonType(wrong.Type))
			return list
		}
		refuse(at, at, rewrite, "no host file: %s", strings.TrimPrefix(err.Error(), "json: "))
		return list
	}

	open, err := d.Token()
	if err != nil {
		return fail(err)
	}
	if open != json.Delim('{') {
		refuse(0, d.InputOffset(), rewrite, "a host file is a JSON object")
		return list
	}
	facts, seen := hostFacts(), []string{}
	host := reflect.ValueOf(h).Elem()
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return fail(err)
		}
		name := token.(string) // the only token in the place of a key
		end := d.InputOffset()
		start := int64(bytes.LastIndexByte(src.Text[:end-1], '"'))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fail(err)
		}
		switch {
		case !slices.Contains(facts, name):
			refuse(start, end, "a host file holds "+strings.Join(facts, ", "), "unknown fact %q", name)
		case slices.Contains(seen, name):
			refuse(start, end, "keep one of them", "%q is there twice", name)
		default:
			field := host.Field(slices.Index(facts, name))
			if err := json.Unmarshal(value, field.Addr().Interface()); err != nil {
				return fail(err)
			}
		}
		seen = append(seen, name)
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	if _, err := d.Token(); err != io.EOF {
		refuse(d.InputOffset(), d.InputOffset(), rewrite, "there is more behind the object")
	}
	return list
}

// jsonType names a Go type as JSON does.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Map:
		return "an object"
	}
	return "a string"
}

// checkHost refuses facts that no machine has, and the lack of essential ones.
func checkHost(src *diag.Source, h *translate.Host, o *inputOptions) diag.List {
	var list diag.List
	refuse := func(remedy, cause string, args ...any) {
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "bad-host", At: src.Range(0, 0),
			Cause: fmt.Sprintf(cause, args...), Remedy: remedy})
	}
	absolute := func(name, path, flag, given string) {
		switch {
		case path == "" && given == "":
			refuse("add it, or "+flag, "%s does not say %q", src.Name, name)
		case path != "" && !filepath.IsAbs(path):
			refuse("start it with /", "%q is %q; an absolute path was expected", name, path)
		}
	}
	if h.CPUs < 1 && o.cpus == 0 {
		refuse("add it, or pass --cpus", "%s does not say how many \"cpus\"", src.Name)
	}
	switch {
	case o.systemd != 0:
	case h.Systemd == 0:
		refuse("add it, or pass --systemd", "%s does not say which version of \"systemd\"", src.Name)
	case h.Systemd < translate.MinSystemd:
		refuse(fmt.Sprintf("update the machine, or write for %d", translate.MinSystemd),
			"\"systemd\" is %d; gm writes for %d and later", h.Systemd, translate.MinSystemd)
	}
	if h.Scope != translate.ScopeSystem && h.Scope != translate.ScopeUser && !o.system && !o.user {
		refuse(`write "system" or "user", or pass --system or --user`, "\"scope\" is %q; system or user was expected", h.Scope)
	}
	absolute("root", h.Root, "pass --root", o.root)
	absolute("gm", h.Gm, "pass --gm", o.gm)
	absolute("home", h.Home, "write it anew with gm host", "")
	return list
}
