package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"gm/engine"
	"gm/engine/native"
)

// inProcess returns what has a supervisor do the work of a companion itself: one that
// watches files waits nearly all the time, and as a process of its own would take
// more memory than the supervisor. Open connects it to that supervisor.
func inProcess(open func() (engine.Engine, error)) func(argv, environ []string) native.Task {
	return func(argv, environ []string) native.Task {
		if len(argv) < 2 || argv[1] != "watch" {
			return nil
		}
		return func(ctx context.Context, out native.LineWriter) error {
			lines := &lineWriter{line: out}
			inside := &caller{in: bytes.NewReader(nil), out: lines, err: lines, environ: environ, dir: "/", engine: open}
			cmd, o := watchCommand(inside)
			if err := cmd.ParseFlags(argv[2:]); err != nil {
				return err
			}
			err := inside.watch(ctx, o, cmd.Flags().Args())
			var wrong *failure
			if errors.As(err, &wrong) && wrong.remedy != "" {
				err = fmt.Errorf("%s (fix: %s)", wrong.cause, wrong.remedy)
			}
			if err != nil {
				out(err.Error())
			}
			return err
		}
	}
}

// lineWriter hands what is written on line by line. Several goroutines may write.
type lineWriter struct {
	line native.LineWriter
	mu   sync.Mutex
	rest []byte // of a line without its end
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		w.line(string(line))
		w.rest = rest
	}
}
