package native

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gm/engine"
)

func startOf(unit string) engine.Job { return engine.Job{Op: engine.Start, Unit: unit} }

// What each call comes to where no supervisor runs.
func TestWithoutSupervisor(t *testing.T) {
	running := record{Unit: "web.service", Active: "active", Main: proc{PID: 1}}
	states := map[string]func(t *testing.T, h Home){
		"new home": func(*testing.T, Home) {},
		"ended in peace": func(t *testing.T, h Home) {
			s := opened(t, h)
			_ = s.save("web.service", &running)
			if err := s.finish(); err != nil {
				t.Fatal(err)
			}
		},
		"died with apps": func(t *testing.T, h Home) { _ = opened(t, h).save("web.service", &running) },
		"died with none": func(t *testing.T, h Home) {
			s := opened(t, h)
			_ = s.boots(false)
			_ = s.save("web.service", &record{Unit: "web.service", Active: "failed"})
		},
		"died at once": func(t *testing.T, h Home) { opened(t, h) },
	}
	calls := map[string]struct {
		call   func(c *Client, ctx context.Context) error
		starts bool   // a supervisor, even if nothing was left
		says   string // the error otherwise
	}{
		"units":  {call: func(c *Client, ctx context.Context) error { return second(c.Units(ctx, engine.Full, []string{"a"})) }},
		"reload": {call: func(c *Client, ctx context.Context) error { return c.Reload(ctx) }},
		"reset":  {call: func(c *Client, ctx context.Context) error { return c.ResetFailed(ctx, "a") }},
		"end":    {call: func(c *Client, ctx context.Context) error { return c.End(ctx) }},
		"kill":   {call: func(c *Client, ctx context.Context) error { return c.Kill(ctx, "a", 15, true) }, says: "it does not run"},
		"stop":   {call: func(c *Client, ctx context.Context) error { return c.Do(ctx, engine.Job{Op: engine.Stop, Unit: "a"}) }},
		"exec":   {call: func(c *Client, ctx context.Context) error { return c.Do(ctx, engine.Job{Op: engine.Reload, Unit: "a"}) }, says: "it does not run"},
		"start":  {call: func(c *Client, ctx context.Context) error { return c.Do(ctx, startOf("a")) }, starts: true},
		"restart": {call: func(c *Client, ctx context.Context) error {
			return c.Do(ctx, engine.Job{Op: engine.Restart, Unit: "a"})
		}, starts: true},
		"pull":  {call: func(c *Client, ctx context.Context) error { return second(c.Pull(ctx, "a", nil)) }, starts: true},
		"watch": {call: func(c *Client, ctx context.Context) error { return second(c.Watch(ctx, nil)) }, starts: true},
	}
	starting := errors.New("started")
	for state, prepare := range states {
		for name, tc := range calls {
			t.Run(state+"/"+name, func(t *testing.T) {
				h := homeOf(t)
				prepare(t, h)
				c := client(t, ClientOptions{Home: h, Start: func(context.Context) error { return starting }})
				err := tc.call(c, limited(t))
				wants := tc.starts || state == "died with apps" || state == "died at once"
				switch {
				case wants != errors.Is(err, starting):
					t.Errorf("is a supervisor started? got %v", err)
				case wants && !errors.Is(err, engine.ErrUnreachable):
					t.Errorf("got %v", err)
				case !wants && tc.says == "" && err != nil, !wants && !strings.Contains(fmt.Sprint(err), tc.says):
					t.Errorf("got %v", err)
				}
				alone := client(t, ClientOptions{Home: h})
				if err := tc.call(alone, limited(t)); wants != errors.Is(err, engine.ErrUnreachable) {
					t.Errorf("of a client that starts none: %v", err)
				}
			})
		}
	}
}

func opened(t *testing.T, h Home) *store {
	t.Helper()
	s, _, err := openStore(h)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestHomeOfNobody(t *testing.T) {
	c := client(t, ClientOptions{Home: Home(t.TempDir()) + "/none"})
	if states, err := c.Units(limited(t), engine.Full, []string{"a"}); err != nil || len(states) != 0 {
		t.Errorf("%v, %v", states, err)
	}
	if _, err := c.Info(limited(t)); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// However many start one at the same time, one runs, and all are served.
func TestStartersAtOnce(t *testing.T) {
	h := homeOf(t)
	start := starter(t, h)
	var starts atomic.Int64
	ctx := limited(t)
	var wait sync.WaitGroup
	pids := make([]int, 6)
	for i := range pids {
		wait.Go(func() {
			c := client(t, ClientOptions{Home: h, Start: func(ctx context.Context) error {
				starts.Add(1)
				return start(ctx)
			}})
			if err := c.Do(ctx, startOf(fmt.Sprintf("a%d.service", i))); err != nil {
				t.Error(err)
			}
			info, err := c.Info(ctx)
			if err != nil {
				t.Error(err)
			}
			pids[i] = info.PID
		})
	}
	wait.Wait()
	for _, pid := range pids {
		if pid != pids[0] || pid == 0 {
			t.Fatalf("supervisors %v", pids)
		}
	}
	if err := client(t, ClientOptions{Home: h}).End(ctx); err != nil {
		t.Error(err)
	}
}

// A job whose supervisor dies is asked for again, if it did not do it.
func TestJobOutlivesSupervisor(t *testing.T) {
	for unit, op := range map[string]engine.Op{"never.service": engine.Stop, "crash.service": engine.Start} {
		t.Run(unit, func(t *testing.T) {
			h := homeOf(t)
			c := client(t, ClientOptions{Home: h, Start: starter(t, h)})
			ctx := limited(t)
			if err := c.Do(ctx, startOf("web.service")); err != nil {
				t.Fatal(err)
			}
			before, err := c.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			over := make(chan error, 1)
			go func() { over <- c.Do(ctx, engine.Job{Op: op, Unit: unit}) }()
			if unit == "never.service" {
				// One that is asked for and never answered: a stop of what does not run.
				comesAbout(t, "the job is there", func() bool { return len(over) == 0 })
				if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-over; err != nil {
				t.Error(err)
			}
			after, err := c.Info(ctx)
			if err != nil || after.PID == before.PID {
				t.Errorf("%+v, %v", after, err)
			}
			states, err := c.Units(ctx, engine.Brief, []string{"web.service"})
			if err != nil || states["web.service"].Active != "active" {
				t.Errorf("what ran before: %v, %v", states, err)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	asked := time.Now()
	before, after := asked.Add(-time.Second), asked.Add(time.Second)
	for name, tc := range map[string]struct {
		state engine.UnitState
		op    engine.Op
		want  ending
	}{
		"start: up since before":     {engine.UnitState{Active: "active", Since: before}, engine.Start, well},
		"start: up":                  {engine.UnitState{Active: "active", Since: after}, engine.Start, well},
		"start: coming up":           {engine.UnitState{Active: "activating", Since: after}, engine.Start, under},
		"start: waits for a restart": {engine.UnitState{Active: "activating", Sub: "auto-restart", Since: after}, engine.Start, under},
		"start: failed":              {engine.UnitState{Active: "failed", Since: after, Result: "exit-code"}, engine.Start, badly},
		"start: failed before":       {engine.UnitState{Active: "failed", Since: before, Result: "exit-code"}, engine.Start, never},
		"start: ran and is done":     {engine.UnitState{Active: "inactive", Since: after, Result: "success"}, engine.Start, well},
		"start: down since before":   {engine.UnitState{Active: "inactive", Since: before, Result: "success"}, engine.Start, never},
		"start: unknown":             {engine.UnitState{}, engine.Start, never},
		"restart: same process":      {engine.UnitState{Active: "active", Since: before, Started: before}, engine.Restart, never},
		"restart: new process":       {engine.UnitState{Active: "active", Since: after, Started: after}, engine.Restart, well},
		"restart: on its way":        {engine.UnitState{Active: "deactivating", Since: after}, engine.Restart, under},
		"stop: down":                 {engine.UnitState{Active: "inactive", Since: after}, engine.Stop, well},
		"stop: failed":               {engine.UnitState{Active: "failed", Since: before}, engine.Stop, well},
		"stop: unknown":              {engine.UnitState{}, engine.Stop, well},
		"stop: up":                   {engine.UnitState{Active: "active", Since: before}, engine.Stop, never},
		"stop: coming up":            {engine.UnitState{Active: "activating", Since: before}, engine.Stop, never},
		"stop: on its way":           {engine.UnitState{Active: "deactivating", Since: after}, engine.Stop, under},
		"reload: up":                 {engine.UnitState{Active: "active", Since: before}, engine.Reload, never},
		"reload: under way":          {engine.UnitState{Active: "reloading", Since: before}, engine.Reload, under},
	} {
		if got := ended(tc.state, tc.op, asked); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// One that was ended in peace is not started again by those who had asked it for something.
func TestEndedSupervisorStaysDown(t *testing.T) {
	h := homeOf(t)
	start := starter(t, h)
	if err := start(limited(t)); err != nil {
		t.Fatal(err)
	}
	c := client(t, ClientOptions{Home: h, Start: func(context.Context) error {
		t.Error("another one is started")
		return errors.New("no")
	}})
	over := make(chan error, 1)
	if _, err := c.Units(limited(t), engine.Brief, nil); err != nil {
		t.Fatal(err)
	}
	go func() { over <- c.Do(limited(t), startOf("never.service")) }()
	comesAbout(t, "the job is under way", func() bool { return c.link.pending() > 0 })
	if err := client(t, ClientOptions{Home: h}).End(limited(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-over; !errors.Is(err, engine.ErrUnreachable) || !strings.Contains(err.Error(), "was ended meanwhile") {
		t.Errorf("got %v", err)
	}
}

func (l *link) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// A supervisor that dies before it has answered is followed by one that is asked again.
func TestWatchIsAskedForAgain(t *testing.T) {
	h := homeOf(t)
	opened(t, h)
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	l, err := h.listen()
	if err != nil {
		t.Fatal(err)
	}
	died := make(chan struct{})
	go func() {
		defer close(died)
		defer release()
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _, _ = readGreeting(bufio.NewReaderSize(conn, 16))
		_, _ = fmt.Fprintf(conn, "%s %d 4711\n", greeting, protocol)
		_, _ = conn.Read(make([]byte, 1))
	}()
	c := client(t, ClientOptions{Home: h, Start: func(context.Context) error {
		<-died
		serving(t, h, newFake())
		return nil
	}})
	if _, err := c.Watch(limited(t), nil); err != nil {
		t.Error(err)
	}
}

func TestWatchOutlivesSupervisor(t *testing.T) {
	h := homeOf(t)
	c := client(t, ClientOptions{Home: h, Start: starter(t, h)})
	ctx, cancel := context.WithCancel(limited(t))
	defer cancel()
	if err := c.Do(ctx, startOf("web.service")); err != nil {
		t.Fatal(err)
	}
	changes, err := c.Watch(ctx, []string{"web.service", "crash.service", "api.service"})
	if err != nil {
		t.Fatal(err)
	}
	// The supervisor dies of it, after it was saved and before it was told.
	if err := c.Do(ctx, startOf("crash.service")); err != nil {
		t.Fatal(err)
	}
	if s := <-changes; s.Name != "crash.service" || s.Active != "active" {
		t.Errorf("got %+v", s)
	}
	if err := c.Do(ctx, startOf("api.service")); err != nil {
		t.Fatal(err)
	}
	if s := <-changes; s.Name != "api.service" {
		t.Errorf("got %+v", s)
	}
	if err := c.End(ctx); err != nil {
		t.Fatal(err)
	}
	for range changes { // until it is closed
	}
	if ctx.Err() != nil {
		t.Error("the end of the supervisor is not noticed")
	}
}

func TestStuckSupervisorIsNotWaitedForLongerThanAsked(t *testing.T) {
	h := homeOf(t)
	c := client(t, ClientOptions{Home: h, Start: starter(t, h)})
	if err := c.Do(limited(t), startOf("web.service")); err != nil {
		t.Fatal(err)
	}
	info, err := c.Info(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(info.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(info.PID, syscall.SIGCONT)
	brief := func(ctx context.Context, c *Client) error { return second(c.Units(ctx, engine.Brief, nil)) }
	within := func(c *Client, call func(ctx context.Context, c *Client) error) error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		return call(ctx, c)
	}
	comesAbout(t, "a call over the connection is given up", func() bool { return errors.Is(within(c, brief), context.DeadlineExceeded) })
	for name, call := range map[string]func(ctx context.Context, c *Client) error{
		"units": brief,
		"info":  func(ctx context.Context, c *Client) error { return second(c.Info(ctx)) },
		"end":   func(ctx context.Context, c *Client) error { return c.End(ctx) },
		"watch": func(ctx context.Context, c *Client) error { return second(c.Watch(ctx, nil)) },
		"pull":  func(ctx context.Context, c *Client) error { return second(c.Pull(ctx, "a", nil)) },
	} {
		if err := within(client(t, ClientOptions{Home: h}), call); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, over a new connection: got %v", name, err)
		}
	}
}

func TestClosedClient(t *testing.T) {
	f := newFake()
	f.decide = func(event) func() error { return nil }
	h := homeOf(t)
	serving(t, h, f)
	c := Open(ClientOptions{Home: h})
	over := make(chan error, 1)
	go func() { over <- c.Do(limited(t), startOf("web.service")) }()
	comesAbout(t, "the job is asked for", func() bool { return len(f.seen()) == 1 })
	c.Close()
	if err := <-over; !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Units(limited(t), engine.Brief, nil); !errors.Is(err, engine.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestLockIsForOne(t *testing.T) {
	h := homeOf(t)
	release, err := h.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.lock(); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
	if !h.isLocked() {
		t.Error("it is not locked")
	}
	release()
	if h.isLocked() {
		t.Error("it is locked")
	}
	release, err = h.lock()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := os.Stat(h.lockFile()); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}
