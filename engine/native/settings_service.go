package native

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/units"
)

// The setters of [Service] beyond those that rules.go makes of a field.

func setCommand(at func(*serviceDef) *[]command) setter {
	return func(b *builder, v units.Value) error {
		list := at(b.d.service)
		c, ok := v.(units.Command)
		if !ok {
			*list = nil
			return nil
		}
		made := command{
			argv:          make([]string, len(c.Argv)),
			ignoreFailure: strings.Contains(c.Prefix, "-"),
			// "!!" is for kernels without ambient capabilities: Linux before 4.3.
			privileged: strings.Contains(c.Prefix, "+") || strings.Count(c.Prefix, "!") == 1,
			noVars:     strings.Contains(c.Prefix, ":"),
			arg0:       strings.Contains(c.Prefix, "@"),
		}
		for i, arg := range c.Argv {
			made.argv[i] = b.expanded(arg)
		}
		made.Prefix, made.Vars = b.intern(c.Prefix), c.Vars
		*list = append(*list, made)
		return nil
	}
}

// setAccount sets User= or Group=. One whose specifiers come to nothing does not mean root.
func setAccount(at func(*serviceDef) *string) setter {
	return func(b *builder, v units.Value) error {
		*at(b.d.service) = b.textOf(v)
		if !isEmpty(v) && *at(b.d.service) == "" {
			b.refuse(fmt.Sprintf("%s=%s: that is nobody here", b.key, encoded(v)))
		}
		return nil
	}
}

func setDirectory(b *builder, v units.Value) error {
	e := &b.d.service.exec
	e.dir, e.dirOptional = strings.CutPrefix(b.textOf(v), "-")
	return nil
}

func setEnvironment(b *builder, v units.Value) error {
	e := &b.d.service.exec
	a, ok := v.(units.Assign)
	if !ok {
		e.env = nil
		return nil
	}
	name := a.Name + "="
	pair := b.intern(name + b.expanded(a.Value))
	if i := slices.IndexFunc(e.env, func(p string) bool { return strings.HasPrefix(p, name) }); i >= 0 {
		e.env[i] = pair
	} else {
		e.env = append(e.env, pair)
	}
	return nil
}

func setEnvironmentFile(b *builder, v units.Value) error {
	e := &b.d.service.exec
	if isEmpty(v) {
		e.envFiles = nil
		return nil
	}
	pattern, optional := strings.CutPrefix(b.textOf(v), "-")
	e.envFiles = append(e.envFiles, envFile{pattern, optional})
	return nil
}

func setSearchPath(b *builder, v units.Value) error {
	e := &b.d.service.exec
	switch text := b.textOf(v); {
	case text == "":
		e.searchPath = ""
	case e.searchPath != "":
		e.searchPath += ":" + text
	default:
		e.searchPath = text
	}
	return nil
}

func setIOClass(b *builder, v units.Value) error {
	classes := []string{"none", "realtime", "best-effort", "idle"}
	text := encoded(v)
	i := slices.Index(classes, text)
	if n, err := strconv.Atoi(text); err == nil && n < len(classes) {
		i = n
	}
	if i < 0 && !isEmpty(v) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(classes, ", "))
	}
	b.d.service.exec.ioClass = ""
	if i >= 0 {
		b.d.service.exec.ioClass = classes[i]
	}
	return nil
}

// directories are where systemd.exec(5) puts the directories of each directive, as
// specifiers, and the variable that tells of them.
var directories = map[string]struct {
	base     byte
	variable string
}{
	"RuntimeDirectory": {'t', "RUNTIME_DIRECTORY"},
	"StateDirectory":   {'S', "STATE_DIRECTORY"},
	"CacheDirectory":   {'C', "CACHE_DIRECTORY"},
	"LogsDirectory":    {'L', "LOGS_DIRECTORY"},
}

func setDirectories(b *builder, v units.Value) error {
	if isEmpty(v) {
		delete(b.directories, b.key)
		return nil
	}
	base, _ := b.specifier(directories[b.key].base)
	for name := range strings.FieldsSeq(b.textOf(v)) {
		name, _, _ = strings.Cut(name, ":")
		if name == "" || path.IsAbs(name) || !isLocalPath(name) {
			return fmt.Errorf("%q is not the name of a directory below %s", name, base)
		}
		if b.directories == nil {
			b.directories = map[string][]string{}
		}
		b.directories[b.key] = append(b.directories[b.key], path.Join(base, name))
	}
	return nil
}

// isLocalPath reports whether a relative path stays below where it starts.
func isLocalPath(name string) bool { return !slices.Contains(strings.Split(name, "/"), "..") }

func setDirectoryMode(b *builder, v units.Value) error {
	if isEmpty(v) {
		return nil
	}
	mode, err := modeOf(v)
	if err != nil {
		return err
	}
	if b.modes == nil {
		b.modes = map[string]int{}
	}
	b.modes[strings.TrimSuffix(b.key, "Mode")] = mode
	return nil
}

var outputKinds = []string{"journal", "null", "inherit", "append", "file", "truncate"}

// setStream sets where a stream goes. A kind that the supervisor does not have becomes the
// first of those that it has.
func setStream(at func(*serviceDef) *units.Stream, kinds ...string) setter {
	return func(b *builder, v units.Value) error {
		s, ok := v.(units.Stream)
		if !ok {
			*at(b.d.service) = units.Stream{Kind: kinds[0]}
			return nil
		}
		if i := slices.Index(kinds, s.Kind); i >= 0 {
			*at(b.d.service) = units.Stream{Kind: kinds[i], Path: units.Spec(b.expanded(s.Path))}
			return nil
		}
		*at(b.d.service) = units.Stream{Kind: kinds[0]}
		return fmt.Errorf("there is no %s here; %s is taken", s.Kind, kinds[0])
	}
}

func setSlice(b *builder, v units.Value) error {
	name := b.textOf(v)
	if !isEmpty(v) && (path.Ext(name) != ".slice" || units.CheckName(name) != nil) {
		return fmt.Errorf("%q is no slice", name)
	}
	b.d.service.slice = name
	return nil
}

func setMemoryMax(b *builder, v units.Value) error {
	at := &b.d.service.memoryMax
	switch v := v.(type) {
	case units.Bytes:
		*at = -1
		if v < math.MaxInt64 {
			*at = int64(v)
		}
	case units.Word:
		percent, err := strconv.ParseFloat(strings.TrimSuffix(string(v), "%"), 64)
		total := machineMemory()
		if err != nil || percent < 0 || percent > 100 || total <= 0 {
			return fmt.Errorf("%q is no share of this machine's memory", string(v))
		}
		*at = int64(float64(total) / 100 * percent)
	default:
		*at = -1
	}
	return nil
}

// setLimit reads a limit of setrlimit(2): "SOFT:HARD", or one for both.
func setLimit(b *builder, v units.Value) error {
	e, name := &b.d.service.exec, strings.TrimPrefix(b.key, "Limit")
	if isEmpty(v) {
		delete(e.limits, name)
		return nil
	}
	text := encoded(v)
	softText, hardText, two := strings.Cut(text, ":")
	soft, err := parseLimit(name, softText)
	hard := soft
	if two && err == nil {
		hard, err = parseLimit(name, hardText)
	}
	if err != nil || soft > hard {
		return fmt.Errorf("%q is no limit", text)
	}
	if e.limits == nil {
		e.limits = map[string]limit{}
	}
	e.limits[name] = limit{soft, hard}
	return nil
}

func parseLimit(name, text string) (uint64, error) {
	if text == "infinity" {
		return math.MaxUint64, nil
	}
	switch name {
	case "FSIZE", "DATA", "STACK", "CORE", "RSS", "AS", "MEMLOCK", "MSGQUEUE":
		v, err := units.ParseValue(units.Rule{Kind: units.KindBytes}, text)
		size, ok := v.(units.Bytes)
		if !ok {
			return 0, errors.Join(err, errors.New("no size"))
		}
		return uint64(size), nil
	case "CPU", "RTTIME":
		// A number alone is in the limit's own unit: seconds, or microseconds.
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
		v, err := units.ParseValue(units.Rule{Kind: units.KindSpan}, text)
		span, ok := v.(units.Span)
		switch {
		case !ok:
			return 0, errors.Join(err, errors.New("no length of time"))
		case name == "CPU":
			return uint64((time.Duration(span) + time.Second - 1) / time.Second), nil
		}
		return uint64(time.Duration(span) / time.Microsecond), nil
	case "NICE":
		// With a sign it is a nice value, which the kernel counts from 20 downwards.
		if strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-") {
			n, err := strconv.Atoi(text)
			if err != nil || n < -20 || n > 19 {
				return 0, errors.New("no nice value")
			}
			return uint64(20 - n), nil
		}
	}
	return strconv.ParseUint(text, 0, 64)
}
