package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"gm"
	"gm/engine"
)

// settle is how long changes are collected before the list is printed again.
const settle = 200 * time.Millisecond

// watchList prints the list on every change, and every interval, until it is
// interrupted.
func (c *caller) watchList(ctx context.Context, conn *gm.Conn, o *listOptions, selectors []string,
	interval time.Duration, show func(*listing) ([]byte, error),
) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	changes := &changes{engine: conn.Engine()}
	defer changes.close()
	var before *listing
	for {
		l, err := c.outline(ctx, conn, selectors)
		if err == nil {
			err = changes.follow(ctx, l)
		}
		if err == nil {
			err = l.measure(ctx, before)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := show(l)
		if err != nil {
			return err
		}
		if err := c.redraw(l, text, o.json); err != nil {
			return err
		}
		before = l
		if err := changes.wait(ctx, interval); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// changes tells when units of the list change.
type changes struct {
	engine engine.Engine
	names  []string
	told   <-chan engine.UnitState
	cancel context.CancelFunc
}

// follow watches the units of a listing, if it does not yet.
func (w *changes) follow(ctx context.Context, l *listing) error {
	var names []string
	for _, p := range l.processes {
		names = append(names, p.Unit)
	}
	if w.told != nil && slices.Equal(names, w.names) {
		return nil
	}
	w.close()
	inner, cancel := context.WithCancel(ctx)
	told, err := w.engine.Watch(inner, names)
	if err != nil {
		cancel()
		return engineFailure(err)
	}
	w.names, w.told, w.cancel = names, told, cancel
	return nil
}

func (w *changes) close() {
	if w.cancel != nil {
		w.cancel()
	}
	w.told, w.cancel = nil, nil
}

// wait returns when a unit has changed, after the changes that come with it, when
// the interval is over, or when ctx ends.
func (w *changes) wait(ctx context.Context, interval time.Duration) error {
	limit := time.NewTimer(interval)
	defer limit.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-limit.C:
			return nil
		case <-settled:
			return nil
		case _, ok := <-w.told:
			if !ok && ctx.Err() == nil {
				return &failure{statusUnreachable, "unreachable", "the connection to the engine broke", "start gm list --watch again"}
			}
			if settled == nil {
				settled = time.After(settle)
			}
		}
	}
}

// redraw prints a listing in the place of the last one on a terminal, and behind it
// elsewhere.
func (c *caller) redraw(l *listing, text []byte, json bool) error {
	if json {
		return c.write(text)
	}
	if len(text) == 0 {
		text = []byte("No apps are installed.\n")
	}
	_, height := c.terminal()
	if height == 0 {
		return c.write(append(text, '\n'))
	}
	head := fmt.Sprintf("%s, %d processes; Ctrl-C ends", l.at.Format(time.TimeOnly), len(l.processes))
	lines := bytes.Split(append([]byte(head+"\n"), bytes.TrimSuffix(text, []byte("\n"))...), []byte("\n"))
	if over := len(lines) - (height - 1); over > 0 && height > 2 {
		lines = append(lines[:height-2], fmt.Appendf(nil, "… %d more lines", over+1))
	}
	// Home, each line with the rest of the old one erased, and what is below: without
	// the flicker of an erased screen.
	out := []byte("\x1b[H")
	for _, line := range lines {
		out = append(append(out, line...), "\x1b[K\n"...)
	}
	return c.write(append(out, "\x1b[J"...))
}
