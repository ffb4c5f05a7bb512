package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gm/units"
)

// parseWhen reads a point in time as systemd.time(7), PARSING TIMESTAMPS, has it,
// or as RFC 3339; a length of time alone is that long ago, as docker logs has it.
func parseWhen(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	midnight := func(days int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day()+days, 0, 0, 0, 0, now.Location())
	}
	switch text {
	case "now":
		return now, nil
	case "today":
		return midnight(0), nil
	case "yesterday":
		return midnight(-1), nil
	case "tomorrow":
		return midnight(1), nil
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		if at, err := strconv.ParseFloat(seconds, 64); err == nil && at >= 0 && at < 1<<40 {
			return time.UnixMicro(int64(at * 1e6)), nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	zone, plain := now.Location(), text
	if rest, ok := strings.CutSuffix(text, " UTC"); ok {
		zone, plain = time.UTC, rest
	}
	// A weekday may stand first; systemd wants it to be right, and so does Go.
	for _, layout := range []string{
		"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02",
		"Mon 2006-01-02 15:04:05", "Mon 2006-01-02 15:04",
	} {
		if t, err := time.ParseInLocation(layout, plain, zone); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, plain, zone); err == nil {
			day := now.In(zone)
			return time.Date(day.Year(), day.Month(), day.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone), nil
		}
	}
	sign, length := time.Duration(-1), text
	if rest, ok := strings.CutSuffix(length, " ago"); ok {
		length = rest
	} else if rest, ok := strings.CutPrefix(length, "-"); ok {
		length = rest
	} else if rest, ok := strings.CutPrefix(length, "+"); ok {
		sign, length = 1, rest
	} else if strings.Trim(length, "0123456789") == "" {
		// Seconds to systemd, surely a clock or a year to a person.
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	value, err := units.ParseValue(units.Rule{Kind: units.KindSpan}, length)
	span, ok := value.(units.Span)
	if err != nil || !ok || span == units.InfiniteSpan {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	t := now.Add(sign * time.Duration(span))
	if t.Year() < 1970 {
		return t, errors.New("that is before 1970")
	}
	return t, nil
}
