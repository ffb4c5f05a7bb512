package native

import (
	"errors"
	"fmt"
	"math"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"gm/units"
)

// The setters of rules.go. Each puts one value into the definition; a later one of the same
// directive adds to it or takes its place, and the empty assignment clears a list. An error
// is a value that systemd would leave out as well: it becomes a note.

// isEmpty reports whether v is the empty assignment.
func isEmpty(v units.Value) bool { return v == units.Raw("") || v == units.Text("") }

// textOf returns a value as it stands in the unit, specifiers resolved.
func (b *builder) textOf(v units.Value) string { return b.expanded(units.Spec(encoded(v))) }

// encoded is units.Encode without a copy of what is text already.
func encoded(v units.Value) string {
	switch v := v.(type) {
	case units.Word:
		return string(v)
	case units.Text:
		return string(v)
	case units.Path:
		return string(v)
	case units.Raw:
		return string(v)
	}
	return units.Encode(v)
}

func setDescription(b *builder, v units.Value) error {
	b.d.description = b.textOf(v)
	return nil
}

// depend adds names of units. Like systemd it does not clear them (systemd.unit(5),
// EXAMPLES), and takes a template's name as that of the instance with this unit's.
func depend(at func(*definition) *[]string) setter {
	return func(b *builder, v units.Value) error {
		words, _ := v.(units.Words)
		var bad []string
		for _, word := range words {
			name := b.expanded(units.Spec(word))
			if templateName(name) == name {
				name = b.instanceOf(name)
			}
			if units.CheckName(name) != nil {
				bad = append(bad, name)
			} else if name != b.d.name {
				b.add(at(b.d), b.intern(name))
			}
		}
		if bad != nil {
			return fmt.Errorf("%s is no name of a unit", strings.Join(bad, ", "))
		}
		return nil
	}
}

// setFlag sets a flag to then if the value is yes, and to its contrary if it is no.
func setFlag(at func(*builder) (flag *bool, then bool)) setter {
	return func(b *builder, v units.Value) error {
		if on, ok := v.(units.Bool); ok {
			flag, then := at(b)
			*flag = bool(on) == then
		}
		return nil
	}
}

// endless is a length of time that is not counted: infinity is written so, but where it is
// the absence of a limit, which is 0.
const endless = 100 * 365 * 24 * time.Hour

func setSpan(at func(*builder) *time.Duration) setter {
	return func(b *builder, v units.Value) error {
		if span, ok := v.(units.Span); ok {
			*at(b) = min(time.Duration(span), endless)
		}
		return nil
	}
}

func setServiceSpan(at func(*serviceDef) *time.Duration) setter {
	return setSpan(func(b *builder) *time.Duration { return at(b.d.service) })
}

func setStartTimeout(b *builder, v units.Value) error {
	if span, ok := v.(units.Span); ok {
		b.d.service.timeoutStart, b.timedStart = min(time.Duration(span), endless), true
	}
	return nil
}

func setTimeouts(b *builder, v units.Value) error {
	if span, ok := v.(units.Span); ok {
		b.d.service.timeoutStop = min(time.Duration(span), endless)
	}
	return setStartTimeout(b, v)
}

func setCount(at func(*builder) *int) setter {
	return func(b *builder, v units.Value) error {
		n, ok := v.(units.Count)
		if !ok {
			return nil
		}
		if n < 0 {
			return fmt.Errorf("%d is below 0", n)
		}
		*at(b) = int(min(n, math.MaxInt32))
		return nil
	}
}

func setNumber(at func(*serviceDef) **int, low, high int64) setter {
	return func(b *builder, v units.Value) error {
		n, ok := v.(units.Count)
		switch {
		case !ok:
			*at(b.d.service) = nil
		case int64(n) < low || int64(n) > high:
			return fmt.Errorf("%d is not between %d and %d", n, low, high)
		default:
			i := int(n)
			*at(b.d.service) = &i
		}
		return nil
	}
}

func setWord(at func(*serviceDef) *string, words ...string) setter {
	return func(b *builder, v units.Value) error {
		text := encoded(v)
		i := slices.Index(words, text)
		if i < 0 && !isEmpty(v) {
			return fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
		}
		if i >= 0 {
			*at(b.d.service) = words[i]
		}
		return nil
	}
}

func setText(at func(*serviceDef) *string) setter {
	return func(b *builder, v units.Value) error {
		*at(b.d.service) = b.textOf(v)
		return nil
	}
}

func setSocketText(at func(*socketDef) *string) setter {
	return func(b *builder, v units.Value) error {
		*at(b.d.socket) = b.textOf(v)
		return nil
	}
}

func setWords(at func(*builder) *[]string) setter {
	return func(b *builder, v units.Value) error {
		list := at(b)
		if isEmpty(v) {
			*list = nil
		}
		words, _ := v.(units.Words)
		for _, word := range words {
			b.add(list, b.expanded(units.Spec(word)))
		}
		return nil
	}
}

func setMode(at func(*builder) *int) setter {
	return func(b *builder, v units.Value) error {
		if isEmpty(v) {
			return nil
		}
		mode, err := modeOf(v)
		if err == nil {
			*at(b) = mode
		}
		return err
	}
}

func modeOf(v units.Value) (int, error) {
	text := encoded(v)
	mode, err := strconv.ParseUint(text, 8, 16)
	if err != nil || mode > 0o7777 {
		return 0, fmt.Errorf("%q is no access mode in octal", text)
	}
	return int(mode), nil
}

func setSignal(at func(*serviceDef) *int) setter {
	return func(b *builder, v units.Value) error {
		if isEmpty(v) {
			return nil
		}
		text := encoded(v)
		signal := signalNumber(text)
		if signal == 0 {
			return fmt.Errorf("%q is no signal", text)
		}
		*at(b.d.service) = signal
		return nil
	}
}

// onLinux sets what no other system has.
func onLinux(set setter) setter {
	if runtime.GOOS == "linux" {
		return set
	}
	return func(_ *builder, v units.Value) error {
		if isEmpty(v) || v == units.Bool(false) {
			return nil
		}
		return errors.New("it is NOT in force; only Linux has it")
	}
}

// refuseBut refuses every value but one.
func refuseBut(word string) setter {
	return func(b *builder, v units.Value) error {
		if isEmpty(v) || encoded(v) == word {
			return nil
		}
		return errRefused
	}
}

// errRefused says that a value makes the unit one that cannot be run.
var errRefused = errors.New("refused")

// [Unit]

func setCondition(b *builder, v units.Value) error {
	if isEmpty(v) {
		b.d.conditions = nil // those of any kind
		return nil
	}
	kind := strings.TrimPrefix(strings.TrimPrefix(b.key, "Condition"), "Assert")
	c := condition{key: b.intern(kind)}
	text := encoded(v)
	if rest, ok := strings.CutPrefix(text, "|"); ok {
		c.trigger, text = true, strings.TrimLeft(rest, " \t")
	}
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		c.negate, text = true, strings.TrimLeft(rest, " \t")
	}
	c.value = b.expanded(units.Spec(text))
	if isPathCondition(kind) && !path.IsAbs(c.value) {
		return fmt.Errorf("%q is not absolute", c.value)
	}
	b.d.conditions = append(b.d.conditions, c)
	return nil
}

// [Service]

func setType(b *builder, v units.Value) error {
	b.d.service.typ = b.intern(encoded(v))
	return nil
}

// [Socket]

func setListen(typ string) setter {
	return func(b *builder, v units.Value) error {
		s := b.d.socket
		if isEmpty(v) {
			s.listen = nil // those of any kind
			return nil
		}
		address := b.textOf(v)
		if typ == "fifo" && !path.IsAbs(address) {
			return fmt.Errorf("%q is not absolute", address)
		}
		s.listen = append(s.listen, listenDef{typ, address})
		return nil
	}
}

func setSocketService(b *builder, v units.Value) error {
	b.d.socket.service = b.textOf(v)
	return nil
}

func setDescriptorName(b *builder, v units.Value) error {
	b.d.socket.names = nil
	if !isEmpty(v) {
		b.d.socket.names = []string{b.textOf(v)}
	}
	return nil
}

func setIPv6Only(b *builder, v units.Value) error {
	switch text := encoded(v); text {
	case "", "default", "both", "ipv6-only":
		b.d.socket.bindIPv6Only = b.intern(text)
		return nil
	default:
		return fmt.Errorf("%q is none of default, both, ipv6-only", text)
	}
}

func setPipe(b *builder, v units.Value) error {
	b.d.socket.pipeSize = 0
	if size, ok := v.(units.Bytes); ok {
		b.d.socket.pipeSize = int(min(size, math.MaxInt32))
	}
	return nil
}

// [Timer]

func setCalendar(b *builder, v units.Value) error {
	c, ok := v.(units.Calendar)
	if !ok {
		clearElapses(b.d.timer)
		return nil
	}
	b.d.timer.calendar = append(b.d.timer.calendar, c)
	return nil
}

func setElapse(at func(*timerDef) *[]time.Duration) setter {
	return func(b *builder, v units.Value) error {
		span, ok := v.(units.Span)
		if !ok {
			clearElapses(b.d.timer)
			return nil
		}
		list := at(b.d.timer)
		*list = append(*list, min(time.Duration(span), endless))
		return nil
	}
}

// clearElapses is what the empty assignment to any of them does (systemd.timer(5)).
func clearElapses(t *timerDef) {
	t.calendar, t.onActive, t.onBoot, t.onStartup, t.onUnit, t.onInact = nil, nil, nil, nil, nil, nil
}

func setTimerUnit(b *builder, v units.Value) error {
	b.d.timer.unit = b.textOf(v)
	return nil
}

// [X-Gm]

func setLogMaxSize(b *builder, v units.Value) error {
	b.d.service.exec.maxLog = 0
	if isEmpty(v) {
		return nil
	}
	parsed, err := units.ParseValue(units.Rule{Kind: units.KindBytes}, encoded(v))
	size, ok := parsed.(units.Bytes)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("%q is no size", encoded(v))
	case size < math.MaxInt64:
		b.d.service.exec.maxLog = int64(size)
	}
	return nil
}

func setLogKeep(b *builder, v units.Value) error {
	b.d.service.exec.keepLogs = 0
	if isEmpty(v) {
		return nil
	}
	n, err := strconv.ParseUint(encoded(v), 10, 16)
	if err != nil {
		return fmt.Errorf("%q is no number of files", encoded(v))
	}
	b.d.service.exec.keepLogs = int(n)
	return nil
}
