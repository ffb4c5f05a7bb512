package native

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"gm/engine"
)

// Watch tells of changes of units. The supervisor going away does not end it if another one
// comes: what changed meanwhile is then told.
//
// It has a connection of its own: whoever reads slowly makes the supervisor's queue for it long,
// and not the answers of other calls late.
func (c *Client) Watch(ctx context.Context, names []string) (<-chan engine.UnitState, error) {
	w := &unitWatch{c: c, names: names, known: map[string]engine.UnitState{}}
	if err := w.open(ctx, started); err != nil {
		return nil, fmt.Errorf("cannot watch units: %w", err)
	}
	states, err := w.now(ctx)
	if err != nil {
		w.conn.Close()
		return nil, fmt.Errorf("cannot watch units: %w", err)
	}
	w.known = states
	out := make(chan engine.UnitState)
	go func() {
		defer close(out)
		w.run(ctx, out)
	}()
	return out, nil
}

// unitWatch is a Watch.
type unitWatch struct {
	c     *Client
	names []string
	conn  *greeted
	in    *frames
	known map[string]engine.UnitState // what was told last
}

// open asks for changes over a new connection, and again if the supervisor dies before it answers.
func (w *unitWatch) open(ctx context.Context, when need) (err error) {
	for range tries {
		if err = w.openOnce(ctx, when); !errors.Is(err, errLost) {
			return err
		}
		when |= again
	}
	return err
}

func (w *unitWatch) openOnce(ctx context.Context, when need) error {
	g, err := w.c.reach(ctx, when, wantCalls)
	if err != nil {
		return err
	}
	if g == nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, errNobody)
	}
	w.conn, w.in = g, &frames{r: g.r, longest: longestAnswer}
	defer w.interrupt(ctx)()
	_, err = g.Write(appendRequest(nil, &request{op: opWatch, id: 1, names: w.names}))
	var a answer
	if err == nil {
		a, err = w.read()
	}
	if err == nil {
		err = failed(a)
	}
	if err != nil {
		g.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// interrupt has reads end with ctx, until the function that it returns is called.
func (w *unitWatch) interrupt(ctx context.Context) (stop func()) {
	conn := w.conn
	after := context.AfterFunc(ctx, func() { conn.Close() })
	return func() { after() }
}

func (w *unitWatch) read() (answer, error) {
	frame, err := w.in.next()
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(frame)
}

// now reads the states of all units. Changes are asked for already, so that none is missed in
// between.
func (w *unitWatch) now(ctx context.Context) (map[string]engine.UnitState, error) {
	return w.c.Units(ctx, engine.Brief, w.names)
}

func (w *unitWatch) run(ctx context.Context, out chan<- engine.UnitState) {
	for {
		if !w.tell(ctx, out) || w.open(ctx, again) != nil {
			return
		}
		states, err := w.now(ctx)
		if err != nil {
			w.conn.Close()
			return
		}
		for name, s := range w.known {
			if _, there := states[name]; !there {
				s.Active, s.Sub, s.MainPID = "inactive", "dead", 0
				states[name] = s
			}
		}
		for _, s := range states {
			if !w.pass(ctx, out, s) {
				w.conn.Close()
				return
			}
		}
	}
}

// tell passes on what comes, until the connection ends. It is false when ctx did.
func (w *unitWatch) tell(ctx context.Context, out chan<- engine.UnitState) bool {
	defer w.conn.Close()
	defer w.interrupt(ctx)()
	for {
		a, err := w.read()
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			return true
		}
		states, err := a.states()
		if err != nil {
			return true
		}
		for _, s := range states {
			if !w.pass(ctx, out, s) {
				return false
			}
		}
	}
}

// pass tells a state that is another than the last one.
func (w *unitWatch) pass(ctx context.Context, out chan<- engine.UnitState, s engine.UnitState) bool {
	if reflect.DeepEqual(w.known[s.Name], s) {
		return true
	}
	select {
	case out <- s:
		w.known[s.Name] = s
		return true
	case <-ctx.Done():
		return false
	}
}
