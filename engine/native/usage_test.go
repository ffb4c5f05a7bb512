package native

import (
	"testing"
	"time"
)

// The reading before is the last one that is not too young, unless it is too old.
func TestUsageBefore(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	f := &family{}
	for _, step := range []struct{ at, cpu, before time.Duration }{
		{0, 0, -1},
		{30 * time.Millisecond, 10 * time.Millisecond, -1},
		{time.Second, 100 * time.Millisecond, 0},
		{time.Second + 40*time.Millisecond, 110 * time.Millisecond, 0},
		{2 * time.Second, 200 * time.Millisecond, time.Second},
		{70 * time.Second, 900 * time.Millisecond, -1},
		{71 * time.Second, 990 * time.Millisecond, 70 * time.Second},
		{72 * time.Second, 5 * time.Millisecond, -1}, // its processes are others
		{73 * time.Second, 6 * time.Millisecond, 72 * time.Second},
	} {
		before := f.note(spent{step.cpu, begin.Add(step.at)})
		if step.before < 0 != before.at.IsZero() || step.before >= 0 && !before.at.Equal(begin.Add(step.before)) {
			t.Errorf("after %v the reading before is of %v, want %v", step.at, before.at.Sub(begin), step.before)
		}
	}
}
