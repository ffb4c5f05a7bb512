package engine

import (
	"errors"
	"testing"
	"time"
)

// What was started again before anyone could look still ended with its code.
func TestExitBeforeRestart(t *testing.T) {
	f := newFake(t)
	f.units["bad.service"] = &fakeUnit{state: UnitState{Name: "bad.service", Active: "active", Sub: "running", Restarts: 1}}
	w, err := openWatch(t.Context(), f, []string{"bad.service"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, c := range []struct {
		at   time.Time
		want int
	}{{began.Add(time.Second), 3}, {began.Add(-time.Second), 0}} { // that is the process before
		w.forget("bad.service")
		w.note(UnitState{Name: "bad.service", Active: "activating", Sub: "auto-restart", Exit: Exit{Code: 3, At: c.at}})
		var fell *notUp
		_, err := w.stay(t.Context(), "bad.service", time.Minute, false, true, began)
		if !errors.As(err, &fell) || fell.state.Exit.Code != c.want {
			t.Errorf("an end at %v: got %v, %+v", c.at.Sub(began), err, fell)
		}
	}
}
