package native

import (
	"context"
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	r := newRest()
	defer r.timer.Stop()
	at := func(d time.Duration) time.Time { return time.Unix(1_000_000, 0).Add(d) }
	for _, step := range []struct {
		at    time.Duration
		rings bool // the timer ends, else something happens
		rest  bool
		left  time.Duration // until the timer ends, 0 if it is not set
	}{
		{0, false, false, settled},
		{time.Second, false, false, settled}, // the timer rings too early then
		{2 * time.Second, true, false, time.Second},
		{3 * time.Second, true, true, 0},
		{4 * time.Second, false, false, 59 * time.Second}, // not so soon after the last one
		{63 * time.Second, true, true, 0},
		{time.Hour, false, false, settled},
		{time.Hour + settled, true, true, 0},
		{2 * time.Hour, false, false, settled},
		{2*time.Hour + 10*time.Second, false, false, settled},
		{2*time.Hour + 19*time.Second, false, false, time.Second},
		{2*time.Hour + goesOn, true, true, 0},
	} {
		rest := false
		if step.rings {
			rest = r.rung(at(step.at))
		} else {
			r.stir(at(step.at))
		}
		left := time.Duration(0)
		if r.busy {
			left = r.left(at(step.at))
		}
		if rest != step.rest || left != step.left {
			t.Fatalf("at %v: rest %t, and %v to go; want %t, %v", step.at, rest, left, step.rest, step.left)
		}
	}
}

// A supervisor that has started, and has nothing to do since, says so.
func TestRunTellsOfRest(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	quiet, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- Run(ctx, Options{Home: Home(t.TempDir()), Quiet: func() { quiet <- struct{}{} }}) }()
	select {
	case <-quiet:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(10 * settled):
		t.Error("it never rests")
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
