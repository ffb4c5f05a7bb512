package native

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gm/engine"
)

// Do has a job done and returns when it is finished.
func (c *Client) Do(ctx context.Context, job engine.Job) error {
	when := ifRuns
	if job.Op == engine.Start || job.Op == engine.Restart {
		when = started
	}
	err := c.do(ctx, when, job)
	return explained(err, job)
}

// explained says what could not be done, where the error does not say it itself.
func explained(err error, job engine.Job) error {
	var failed *engine.JobError
	switch {
	case err == nil, errors.As(err, &failed):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("cannot %s %s: the job is not finished: %w", job.Op, job.Unit, err)
	}
	return fmt.Errorf("cannot %s %s: %w", job.Op, job.Unit, err)
}

// tries is how often a job is given to another supervisor, if each dies before it is done.
const tries = 5

func (c *Client) do(ctx context.Context, when need, job engine.Job) error {
	if !isJob(job.Op) {
		return errors.New("there is no such job")
	}
	asked := time.Now()
	for range tries {
		l, err := c.connected(ctx, when)
		if err != nil {
			return err
		}
		if l == nil {
			return undone(job, when)
		}
		a, err := l.call(ctx, &request{op: opJob, job: job})
		if !errors.Is(err, errLost) {
			if err == nil {
				err = a.failure(job)
			}
			return err
		}
		when |= again
		if known, err := c.settled(ctx, when, job, asked); known || err != nil {
			return err
		}
	}
	return errLost
}

func isJob(op engine.Op) bool {
	for _, known := range jobOps {
		if op == known {
			return true
		}
	}
	return false
}

// undone is what a job comes to without a supervisor, under which nothing runs.
func undone(job engine.Job, when need) error {
	switch {
	case job.Op == engine.Stop:
		return nil
	case when&again != 0:
		return fmt.Errorf("%w: the supervisor was ended meanwhile", engine.ErrUnreachable)
	}
	return &engine.JobError{Job: job, Cause: errDown}
}

// Pauses between two looks at a unit that is on its way from one state to another.
const (
	firstLook   = 10 * time.Millisecond
	longestLook = 500 * time.Millisecond
)

// settled tells from the unit how a job ended whose supervisor went away, as jobs do not
// survive it. Known is false when there is no sign that the job ever began: it has to be asked
// for again.
func (c *Client) settled(ctx context.Context, when need, job engine.Job, asked time.Time) (known bool, err error) {
	for pause := firstLook; ; pause = min(2*pause, longestLook) {
		var states map[string]engine.UnitState
		ran, err := c.ask(ctx, when, request{op: opUnits, detail: engine.Full, names: []string{job.Unit}}, func(a answer) (err error) {
			states, err = a.states()
			return err
		})
		if err != nil {
			return false, err
		}
		if !ran {
			return true, undone(job, when)
		}
		if end := ended(states[job.Unit], job.Op, asked); end != under {
			return end != never, end.failure(job)
		}
		if err := sleep(ctx, pause); err != nil {
			return false, err
		}
	}
}

// ending is how a job has ended, as far as its unit tells.
type ending int

const (
	well  ending = iota
	badly        // it failed
	under        // it is under way
	never        // nothing shows that it began
)

func (e ending) failure(job engine.Job) error {
	if e == badly {
		return &engine.JobError{Job: job, Result: "failed"}
	}
	return nil
}

// ended judges by a unit's state a job that was asked for at that time. A unit that is in memory
// no more has no state.
func ended(s engine.UnitState, op engine.Op, asked time.Time) ending {
	fresh := !s.Since.Before(asked) // it became what it is after that
	switch s.Active {
	case "deactivating":
		return under
	case "activating", "reloading", "refreshing":
		if op == engine.Stop {
			return never
		}
		return under
	case "active":
		switch {
		case op == engine.Start, op == engine.Restart && (fresh || !s.Started.Before(asked)):
			return well
		}
		return never
	}
	down := s.Active == "failed" || s.Result != "" && s.Result != "success"
	switch {
	case op == engine.Stop:
		return well
	case !fresh:
		return never
	case down:
		return badly
	}
	return well // it ran and is done
}

// Pull starts a unit and all that it pulls in, by one request.
func (c *Client) Pull(ctx context.Context, unit string, members []string) (func(context.Context, string) error, error) {
	asked := time.Now()
	r := request{op: opPull, job: engine.Job{Op: engine.Start, Unit: unit}}
	when := started
	var over *link
	var err error
	for range tries {
		if over, err = c.connected(ctx, when); err != nil {
			break
		}
		if over == nil {
			err = undone(r.job, when)
			break
		}
		when |= again
		var a answer
		if a, err = over.call(ctx, &r); err == nil {
			err = a.failure(r.job)
		}
		if !errors.Is(err, errLost) {
			break
		}
	}
	if err != nil && (errors.Is(err, engine.ErrUnreachable) || errors.Is(err, engine.ErrDenied) || ctx.Err() != nil) {
		return nil, fmt.Errorf("cannot start %s and what it pulls in: %w", unit, err)
	}
	refused := err != nil
	return func(ctx context.Context, member string) error {
		job := engine.Job{Op: engine.Start, Unit: member}
		if refused {
			return c.Do(ctx, job)
		}
		a, err := over.call(ctx, &request{op: opJoin, pull: r.id, job: job})
		if err == nil {
			return explained(a.failure(job), job)
		}
		if !errors.Is(err, errLost) {
			return explained(err, job)
		}
		known, err := c.settled(ctx, when, job, asked)
		if !known && err == nil {
			err = c.do(ctx, when, job)
		}
		return explained(err, job)
	}, nil
}
