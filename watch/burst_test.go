package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// step is what happens at a time after the start.
type step struct {
	at   time.Duration
	path string
	kind Kind
}

func feed(t *testing.T, steps []step) <-chan Change {
	changes := make(chan Change)
	began := time.Now()
	go func() {
		for _, s := range steps {
			time.Sleep(time.Until(began.Add(s.at)))
			select {
			case changes <- Change{s.path, s.kind, time.Now()}:
			case <-t.Context().Done():
				return
			}
		}
		<-t.Context().Done()
	}()
	return changes
}

func TestBursts(t *testing.T) {
	type told struct {
		at   time.Duration
		path string
		more int
	}
	many := func(from, to, every time.Duration) (steps []step) {
		for at := from; at <= to; at += every {
			steps = append(steps, step{at, "x" + at.String(), Changed})
		}
		return steps
	}
	for _, test := range []struct {
		name  string
		delay time.Duration
		busy  time.Duration // how long a burst keeps who takes it
		steps []step
		want  []told
	}{
		{name: "one change", steps: []step{{0, "a", Changed}}, want: []told{{20 * ms, "a", 0}}},
		{name: "delay is from the first change", delay: 500 * ms, steps: []step{{0, "a", Changed}, {300 * ms, "b", Changed}},
			want: []told{{500 * ms, "a", 1}}},
		{name: "the end of the delay is awaited", delay: 500 * ms, steps: []step{{0, "a", Changed}, {495 * ms, "b", Changed}},
			want: []told{{515 * ms, "a", 1}}},
		{name: "one path counts once", steps: []step{{0, "a", Changed}, {1, "a", Changed}, {2, "b", Added}}, want: []told{{20*ms + 2, "a", 1}}},
		{name: "checkout", steps: many(0, 600*ms, 5*ms), want: []told{{620 * ms, "x0s", 120}}},
		{name: "no end of changes", steps: many(0, 2499*ms, 7*ms), want: []told{{2000 * ms, "x0s", 285}, {2519 * ms, "x2.002s", 71}}},
		{name: "two bursts", steps: []step{{0, "a", Changed}, {300 * ms, "b", Changed}}, want: []told{{20 * ms, "a", 0}, {320 * ms, "b", 0}}},
		{name: "replaced by an editor", steps: []step{{0, "a", Removed}, {60 * ms, "a", Added}}, want: []told{{80 * ms, "a", 0}}},
		{name: "removed", steps: []step{{0, "a", Removed}}, want: []told{{100 * ms, "a", 0}}},
		{name: "what comes meanwhile is one", busy: time.Second, steps: []step{{0, "a", Changed}, {100 * ms, "b", Changed}, {500 * ms, "c", Changed}},
			want: []told{{20 * ms, "a", 0}, {1020 * ms, "b", 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				began := time.Now()
				var got []told
				for b := range Bursts(ctx, feed(t, test.steps), test.delay, 100*ms) {
					first, more := b.After(time.Time{})
					got = append(got, told{time.Since(began), first.Path, more})
					time.Sleep(test.busy)
				}
				if len(got) != len(test.want) {
					t.Fatalf("got %v, want %v", got, test.want)
				}
				for i := range got {
					if got[i] != test.want[i] {
						t.Errorf("got %v, want %v", got[i], test.want[i])
					}
				}
			})
		})
	}
}

func TestSettled(t *testing.T) {
	gone := errors.New("gone")
	for _, test := range []struct {
		name  string
		steps []step
		grows time.Duration // how long the file grows
		gone  time.Duration // when it goes, if at all
		want  []step
	}{
		{name: "written at once", steps: []step{{0, "f", Changed}}, want: []step{{2000 * ms, "f", Changed}}},
		{name: "grows", steps: []step{{0, "f", Added}, {500 * ms, "f", Changed}}, grows: 1050 * ms, want: []step{{3100 * ms, "f", Added}}},
		{name: "directory", steps: []step{{0, "d", Added}}, want: []step{{0, "d", Added}}},
		{name: "gone before it was told", steps: []step{{0, "f", Added}, {500 * ms, "f", Removed}}},
		{name: "gone after a change", steps: []step{{0, "f", Changed}, {500 * ms, "f", Removed}}, want: []step{{500 * ms, "f", Removed}}},
		{name: "gone unseen", steps: []step{{0, "f", Changed}}, gone: 1000 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				began := time.Now()
				size := func(name string) (int64, error) {
					now := time.Since(began)
					if name == "d" || test.gone > 0 && now > test.gone {
						return 0, gone
					}
					return int64(min(now, test.grows)), nil
				}
				var got []step
				for c := range settled(ctx, feed(t, test.steps), 2*time.Second, 100*ms, size) {
					got = append(got, step{time.Since(began), c.Path, c.Kind})
				}
				if len(got) != len(test.want) {
					t.Fatalf("got %v, want %v", got, test.want)
				}
				for i := range got {
					if got[i] != test.want[i] {
						t.Errorf("got %v, want %v", got[i], test.want[i])
					}
				}
			})
		})
	}
}

func TestBurstAfter(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var b Burst
	for i, path := range []string{"a", "b", "a", "c"} {
		b.add(Change{path, Changed, at(i + 1)})
	}
	for _, test := range []struct {
		after int
		first string
		more  int
	}{{0, "a", 2}, {1, "a", 2}, {2, "a", 1}, {3, "c", 0}, {4, "", 0}} {
		if first, more := b.After(at(test.after)); first.Path != test.first || more != test.more {
			t.Errorf("after %d: %q and %d more, want %q and %d", test.after, first.Path, more, test.first, test.more)
		}
	}
	if !b.Last().Equal(at(4)) {
		t.Errorf("last: %v", b.Last())
	}
}
