package units

import (
	"math/bits"
	"time"
)

// Next returns the first moment of c after the given one, in its location, as
// systemd computes it; false when there is none up to LastYear.
//
// c names readings of the wall clock. One that a clock change skips is no moment
// at all (02:30 is not moved to 03:30); one that comes twice is the first of the
// two.
func (c Calendar) Next(after time.Time) (time.Time, bool) {
	zone := after.Location()
	if c.UTC {
		zone = time.UTC
	}
	reading := wallClock(time.Unix(after.Unix()+1, 0).In(zone))
	for {
		next, ok := c.nextReading(reading)
		if !ok {
			return time.Time{}, false
		}
		at, resume, ok := firstMoment(next, zone)
		if ok && at.After(after) {
			return at.In(after.Location()), true
		}
		// In a gap, or in the second pass of a repeated hour: go on behind it.
		// Stepping through it would take 3600 rounds for a job of every second.
		reading = resume
	}
}

// A reading of the wall clock is kept as the time in UTC that shows the same
// digits: readings are ordered and counted without clock changes.

func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return time.Unix(t.Unix()+int64(offset), 0).UTC()
}

// firstMoment returns when the clocks of zone first show a reading, or false
// when they skip it. resume is the first reading behind the skipped or repeated
// stretch.
//
// systemd takes the first as well, unless it comes to a repeated hour from weeks
// before: it leaves the choice to mktime(3), which may then give the second.
func firstMoment(reading time.Time, zone *time.Location) (at, resume time.Time, ok bool) {
	year, month, day := reading.Date()
	hour, minute, second := reading.Clock()
	// For a skipped reading time.Date takes the offset of either side.
	at = time.Date(year, month, day, hour, minute, second, 0, zone)
	start, end := at.ZoneBounds()
	switch shown := wallClock(at); {
	case shown.After(reading):
		return at, wallClock(start), false
	case shown.Before(reading):
		return at, wallClock(end), false
	}
	if !start.IsZero() {
		// time.Date may also have taken the later of two moments: try the offset
		// that was in force before.
		_, offset := start.Add(-time.Second).Zone()
		if earlier := time.Unix(reading.Unix()-int64(offset), 0).In(zone); earlier.Before(start) {
			at, end = earlier, start
		}
	}
	return at, wallClock(end.Add(-time.Second)).Add(time.Second), true
}

// nextReading returns the first reading of c at or after from.
func (c Calendar) nextReading(from time.Time) (time.Time, bool) {
	if c.Hours == 0 || c.Minutes == 0 || c.Seconds == 0 {
		return time.Time{}, false
	}
	date, ok := c.nextDate(from)
	if ok && !date.After(from) { // the very date of from: some of it is over
		if clock, ok := c.nextClock(from.Clock()); ok {
			return date.Add(clock), true
		}
		date, ok = c.nextDate(date.AddDate(0, 0, 1))
	}
	clock, _ := c.nextClock(0, 0, 0)
	return date.Add(clock), ok
}

// nextClock returns the first time of day of c at or after the given one, as
// the time since midnight. Hours, minutes and seconds must not be empty.
func (c Calendar) nextClock(hour, minute, second int) (time.Duration, bool) {
	h, m := hour, minute
	s, ok := c.Seconds.From(second)
	if !ok {
		m++
	}
	if m, ok = c.Minutes.From(m); !ok {
		h++
	}
	if h, ok = c.Hours.From(h); !ok {
		return 0, false
	}
	// What stands behind a digit that moved on starts anew.
	if h != hour {
		m, _ = c.Minutes.From(0)
	}
	if h != hour || m != minute {
		s, _ = c.Seconds.From(0)
	}
	return time.Duration(h*3600+m*60+s) * time.Second, true
}

// nextDate returns the first date of c at or after from's.
func (c Calendar) nextDate(from time.Time) (time.Time, bool) {
	year, m, day := from.Date()
	month := int(m)
	if first := max(c.Year, FirstYear); year < first {
		year, month, day = first, 1, 1
	}
	for year <= LastYear && (c.Year == 0 || year == c.Year) {
		next, ok := c.Months.From(month)
		switch {
		case !ok:
			year, month, day = year+1, 1, 1
		case next > month:
			month, day = next, 1
		default:
			if day, ok = c.daysOf(year, month).From(day); ok {
				return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC), true
			}
			month, day = month+1, 1
		}
	}
	return time.Time{}, false
}

// daysOf returns the days of a month that are in c's days and weekdays.
func (c Calendar) daysOf(year, month int) Numbers {
	end := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC)
	last := end.Day()
	days := c.Days
	if c.FromEnd {
		// n becomes last+1-n; Reverse64 makes it 63-n.
		days = Numbers(bits.Reverse64(uint64(days)) >> (62 - last))
	}
	days &= NumbersBetween(1, last)
	if c.Weekdays != AllWeekdays {
		weekday := int(end.Weekday())
		for day := last; day >= 1; day-- {
			if !c.Weekdays.Has(weekday) {
				days &^= NumbersOf(day)
			}
			weekday = (weekday + 6) % 7
		}
	}
	return days
}
