package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"gm/engine"
)

// watched is an engine that tells what a test sends.
type watched struct {
	engine.Engine
	names []string
	told  chan engine.UnitState
	count int
}

func (w *watched) Watch(_ context.Context, names []string) (<-chan engine.UnitState, error) {
	w.names, w.told = names, make(chan engine.UnitState, 8)
	w.count++
	return w.told, nil
}

func TestChanges(t *testing.T) {
	const never = time.Hour
	e := &watched{}
	c := &changes{engine: e}
	defer c.close()
	l := shop(t)
	if err := c.follow(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := c.follow(t.Context(), l); err != nil || e.count != 1 {
		t.Errorf("the same units are watched %d times: %v", e.count, err)
	}

	start := time.Now()
	for range 3 {
		e.told <- engine.UnitState{Name: "worker.service"}
	}
	if err := c.wait(t.Context(), never); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < settle || len(e.told) != 0 {
		t.Errorf("after %v, with %d changes not read", took, len(e.told))
	}
	if err := c.wait(t.Context(), time.Millisecond); err != nil {
		t.Errorf("the interval ended with %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.wait(ended, never); err != nil {
		t.Errorf("the end is the error %v", err)
	}

	l.processes = l.processes[1:]
	if err := c.follow(t.Context(), l); err != nil || e.count != 2 || len(e.names) != len(l.processes) {
		t.Errorf("other units are watched %d times, %v: %v", e.count, e.names, err)
	}
	close(e.told)
	var f *failure
	if err := c.wait(t.Context(), never); !errors.As(err, &f) || f.status != statusUnreachable {
		t.Errorf("the engine is gone: %v", err)
	}
}

// TestRedraw prints to something that is no terminal.
func TestRedraw(t *testing.T) {
	for _, test := range []struct {
		name, text string
		json       bool
		want       string
	}{
		{"table", "a\nb\n", false, "a\nb\n\n"},
		{"nothing", "", false, "No apps are installed.\n\n"},
		{"json", "{}\n", true, "{}\n"},
	} {
		var out bytes.Buffer
		if err := (&caller{out: &out}).redraw(shop(t), []byte(test.text), test.json); err != nil || out.String() != test.want {
			t.Errorf("%s: %q, %v", test.name, out.String(), err)
		}
	}
}
