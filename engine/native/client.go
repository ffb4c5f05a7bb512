package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gm/engine"
)

// ErrRunning is the error of Run when the home has a supervisor already.
var ErrRunning = errors.New("a supervisor is running already")

// ClientOptions is how a supervisor is reached.
type ClientOptions struct {
	Home Home
	User bool
	// Start starts a supervisor in the background, when a call needs one and there is none
	// (nil: such calls fail with engine.ErrUnreachable). An error that wraps ErrRunning says
	// that there is one by now.
	Start func(ctx context.Context) error
}

// Client is the engine.Engine of a supervisor that is another process. It connects when a
// call needs it: reading what is installed needs none, and without a supervisor nothing runs.
//
// A call that has something started has a supervisor started. So has every call, but Info,
// after one that died with what it ran still there: the next one takes that over.
type Client struct {
	o       ClientOptions
	dialing chan struct{} // held while link is looked at and replaced
	link    *link
	closed  atomic.Bool
}

var _ engine.Engine = (*Client)(nil)

// Open returns a Client.
func Open(o ClientOptions) *Client { return &Client{o: o, dialing: make(chan struct{}, 1)} }

func (c *Client) Name() string { return "native" }

func (c *Client) Version() int { return 0 }

func (c *Client) Dirs() engine.Dirs { return c.o.Home.Dirs(c.o.User) }

// Units asks the supervisor. Without one nothing runs.
func (c *Client) Units(ctx context.Context, detail engine.Detail, names []string) (map[string]engine.UnitState, error) {
	var states map[string]engine.UnitState
	ran, err := c.ask(ctx, ifRuns, request{op: opUnits, detail: detail, names: names}, func(a answer) (err error) {
		if a.op == opDone {
			return a.failure(engine.Job{})
		}
		states, err = a.states()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the state of the units: %w", err)
	}
	if !ran {
		states = map[string]engine.UnitState{}
	}
	return states, nil
}

// Start has a supervisor run: it starts one if there is none, which starts all that is enabled.
// Without it the first call that needs one does.
func (c *Client) Start(ctx context.Context) error {
	if _, err := c.connected(ctx, started); err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	return nil
}

// Reload has the supervisor read the unit files again. One that is started later does anyway.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.ask(ctx, ifRuns, request{op: opReload}, failed)
	if err != nil {
		return fmt.Errorf("cannot reload the unit files: %w", err)
	}
	return nil
}

// ResetFailed clears the failed state and the start counter of a unit.
func (c *Client) ResetFailed(ctx context.Context, unit string) error {
	_, err := c.ask(ctx, ifRuns, request{op: opReset, job: engine.Job{Unit: unit}}, failed)
	if err != nil {
		return fmt.Errorf("cannot reset %s: %w", unit, err)
	}
	return nil
}

// errDown is the error of what can be done only with what runs.
var errDown = errors.New("it does not run")

// Kill sends a signal to a unit's main process, or to all its processes.
func (c *Client) Kill(ctx context.Context, unit string, signal int, all bool) error {
	l, err := c.connected(ctx, ifRuns)
	if err == nil && l == nil {
		err = errDown
	}
	if err == nil {
		var a answer
		// When the connection breaks nobody knows whether the signal was sent, and a second
		// one may mean something else.
		if a, err = l.call(ctx, &request{op: opKill, job: engine.Job{Unit: unit}, signal: signal, all: all}); err == nil {
			err = failed(a)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot send signal %d to %s: %w", signal, unit, err)
	}
	return nil
}

// Logs reads the files that units wrote. It needs no supervisor.
func (c *Client) Logs(ctx context.Context, q engine.LogQuery) iter.Seq2[engine.LogEntry, error] {
	return c.o.Home.readLogs(ctx, q)
}

// Close ends the connection. What is still waiting for it returns an error.
func (c *Client) Close() error {
	c.closed.Store(true)
	c.dialing <- struct{}{}
	defer func() { <-c.dialing }()
	if c.link != nil {
		c.link.close(errClosed)
	}
	return nil
}

var errClosed = fmt.Errorf("%w: the client was closed", engine.ErrUnreachable)

// failed is the error of an answer that is nothing else.
func failed(a answer) error { return a.failure(engine.Job{}) }

// ask makes a call that may be made twice, and so is when the connection breaks. Ran is
// false if there was no supervisor to ask.
func (c *Client) ask(ctx context.Context, when need, r request, read func(answer) error) (ran bool, err error) {
	for range 3 {
		l, e := c.connected(ctx, when)
		if e != nil || l == nil {
			return false, e
		}
		var a answer
		if a, err = l.call(ctx, &r); !errors.Is(err, errLost) {
			if err == nil {
				err = read(a)
			}
			return true, err
		}
		when |= again
	}
	return true, err
}

// need is what a call wants of the supervisor that it is made to.
type need int

const (
	ifRuns  need = 0
	started need = 1 // it is to be started
	again   need = 2 // it was there a moment ago: one that ended in peace is not to be started
)

// connected returns the connection, a new one if the last one broke; nil if no supervisor runs and
// none is needed.
func (c *Client) connected(ctx context.Context, when need) (*link, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.link != nil && !c.link.broken() {
		return c.link, nil
	}
	g, err := c.reach(ctx, when, wantCalls)
	if err != nil || g == nil {
		return nil, err
	}
	c.link = newLink(g)
	return c.link, nil
}

// Pauses between two attempts to connect.
const (
	firstPause   = time.Millisecond
	longestPause = 50 * time.Millisecond
)

// reach connects to the supervisor, and has it started if it is needed.
func (c *Client) reach(ctx context.Context, when need, want string) (*greeted, error) {
	begun := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if c.closed.Load() {
			return nil, errClosed
		}
		g, err := c.o.Home.dial(ctx, want)
		if !errors.Is(err, errNobody) {
			return g, err
		}
		unfinished, left, stateErr := c.o.Home.died()
		switch {
		case stateErr != nil:
			return nil, fmt.Errorf("%w: cannot tell whether its apps run: %w", engine.ErrUnreachable, stateErr)
		case !left && when&started == 0, !unfinished && when&again != 0:
			return nil, nil
		case time.Since(begun) > startLimit && c.o.Home.isLocked():
			return nil, fmt.Errorf("%w: a supervisor%s has %s locked and does not listen at %s: "+
				"end that process by SIGKILL, and gm takes its apps over as they run",
				engine.ErrUnreachable, c.o.Home.holder(), c.o.Home, c.o.Home.Socket())
		case time.Since(begun) > startLimit:
			return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
		case c.o.Home.isLocked():
			// It begins, or is executing another program in its place.
		case c.o.Start == nil:
			return nil, fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
		default:
			// Whoever else starts one at the same time, there will be one.
			if err := c.start(ctx); err != nil && !errors.Is(err, ErrRunning) {
				return nil, err
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (c *Client) start(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- c.o.Start(ctx) }()
	select {
	case err := <-done:
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrRunning) {
			return err
		}
		return fmt.Errorf("%w: cannot start it: %w", engine.ErrUnreachable, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Info is what a supervisor says of itself.
type Info struct {
	PID     int
	Version string
	Program string
	Units   int // that run
	// Goroutines is how many there are at this moment.
	Goroutines int
}

// Info asks the supervisor about itself; engine.ErrUnreachable when there is none.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	g, err := c.o.Home.dial(ctx, wantInfo)
	if errors.Is(err, errNobody) {
		err = fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	if err == nil {
		defer g.Close()
		var line string
		if line, err = g.line(ctx); err == nil {
			err = json.Unmarshal([]byte(line), &info)
		}
	}
	if err != nil {
		return Info{}, fmt.Errorf("cannot ask the supervisor about itself: %w", err)
	}
	return info, nil
}

// End ends the supervisor: everything is stopped in order, then it exits. Nil when there is none.
func (c *Client) End(ctx context.Context) error {
	for when := ifRuns; ; when = again {
		g, err := c.reach(ctx, when, wantEnd)
		if err == nil && g == nil {
			return nil
		}
		var line string
		if err == nil {
			line, err = g.line(ctx)
			g.Close()
		}
		switch {
		case errors.Is(err, io.EOF):
			// It died before everything was stopped. There may be another one.
		case err != nil:
			return fmt.Errorf("cannot end the supervisor: %w", err)
		case line != "done":
			return fmt.Errorf("cannot end the supervisor: it says %q", line)
		default:
			return c.released(ctx)
		}
	}
}

// exitLimit is how long a supervisor that has stopped everything may take to end.
const exitLimit = 2 * time.Second

// released waits until another supervisor can be started.
func (c *Client) released(ctx context.Context) error {
	for begun, pause := time.Now(), firstPause; c.o.Home.isLocked() && time.Since(begun) < exitLimit; pause = min(2*pause, longestPause) {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// Replace has the supervisor execute another program in its place (gm supervise of that
// program), with everything that runs, and returns when the new one answers.
func (c *Client) Replace(ctx context.Context, program string) error {
	g, err := c.o.Home.dial(ctx, wantReplace+" "+strconv.Quote(program))
	if errors.Is(err, errNobody) {
		err = fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	if err == nil {
		var line string
		line, err = g.line(ctx)
		g.Close()
		switch why, refused := strings.CutPrefix(line, "error "); {
		case errors.Is(err, io.EOF): // the program is another one
			if g, err = c.reach(ctx, started|again, wantInfo); err == nil && g == nil {
				err = fmt.Errorf("%w: %s did not take over", engine.ErrUnreachable, program)
			}
			if err == nil {
				g.Close()
			}
		case err == nil && refused:
			if text, unquoted := strconv.Unquote(why); unquoted == nil {
				why = text
			}
			err = errors.New(why)
		case err == nil:
			err = fmt.Errorf("it says %q", line)
		}
	}
	if err != nil {
		return fmt.Errorf("cannot replace the supervisor by %s: %w", program, err)
	}
	return nil
}

// line reads a line, io.EOF if the connection ends before.
func (g *greeted) line(ctx context.Context) (string, error) {
	stop := context.AfterFunc(ctx, func() { _ = g.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := g.r.ReadString('\n')
	switch {
	case err == nil:
		return strings.TrimSuffix(line, "\n"), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, syscall.ECONNRESET):
		return "", io.EOF
	}
	return "", err
}

// link is one connection, over which any number of calls may go at a time. It is used until it
// breaks, and then replaced.
type link struct {
	conn io.Closer
	out  *outbox
	gone chan struct{} // closed when it broke

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan<- answer // nil when it broke
	cause   error
}

// errLost is the error of a call whose connection broke. What became of it is not known.
var errLost = fmt.Errorf("%w: the supervisor went away", engine.ErrUnreachable)

func newLink(g *greeted) *link {
	l := &link{conn: g, out: newOutbox(), gone: make(chan struct{}), waiting: map[uint64]chan<- answer{}}
	go func() {
		l.out.run(g)
		l.close(errLost)
	}()
	go l.read(&frames{r: g.r, longest: longestAnswer})
	return l
}

func (l *link) read(in *frames) {
	for {
		frame, err := in.next()
		var a answer
		if err == nil {
			a, err = parseAnswer(frame)
		}
		if err != nil {
			l.close(errLost)
			return
		}
		l.mu.Lock()
		to := l.waiting[a.id]
		delete(l.waiting, a.id)
		l.mu.Unlock()
		if to != nil {
			to <- a // it takes one
		}
	}
}

func (l *link) close(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting != nil {
		l.waiting, l.cause = nil, cause
		close(l.gone)
	}
	l.out.close()
	l.conn.Close()
}

func (l *link) broken() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// call makes a call and waits for its answer. When ctx ends the supervisor is told that nobody
// waits any more.
func (l *link) call(ctx context.Context, r *request) (answer, error) {
	to := make(chan answer, 1)
	l.mu.Lock()
	if l.waiting == nil {
		l.mu.Unlock()
		return answer{}, l.cause
	}
	l.last++
	r.id = l.last
	l.waiting[r.id] = to
	l.mu.Unlock()
	l.out.put(appendRequest(nil, r))
	select {
	case a := <-to:
		return a, nil
	case <-l.gone:
		select {
		case a := <-to:
			return a, nil
		default:
			return answer{}, l.cause
		}
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.waiting, r.id)
		l.mu.Unlock()
		l.out.put(appendRequest(nil, &request{op: opCancel, id: r.id}))
		return answer{}, ctx.Err()
	}
}
