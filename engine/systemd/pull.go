package systemd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"gm/engine"
)

// Pull starts units in one transaction. For each StartUnit systemd walks all that the
// unit depends on, which is sysinit.target with everything behind it; in a
// transaction it does so once.
func (m *manager) Pull(ctx context.Context, unit string, members []string) (func(context.Context, string) error, error) {
	p, err := m.pull(ctx, unit, members)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s and what it pulls in: %w", unit, err)
	}
	return p.ended, nil
}

// pull is what became of a transaction.
type pull struct {
	m      *manager
	c      *conn
	queued time.Time
	waits  map[string]*wait // of the members that have a job, or had one
}

func (m *manager) pull(ctx context.Context, unit string, members []string) (*pull, error) {
	c, err := m.connected(ctx)
	if err == nil {
		// Over a bus only subscribers hear of jobs that they did not queue themselves.
		err = c.subscribe(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer c.remember()()
	p := &pull{m: m, c: c, queued: time.Now(), waits: make(map[string]*wait, len(members))}
	disturbed := c.disturbance()
	var first dbus.ObjectPath
	err = c.do(ctx, object, managerIface+".StartUnit", []any{unit, "replace"}, &first)
	if isReply(err) || errors.Is(err, engine.ErrDenied) {
		return p, nil // nothing was queued
	}
	if err != nil {
		return nil, err
	}
	var jobs []systemd.JobStatus
	over := []*conn{c}
	for {
		if err = c.do(ctx, object, managerIface+".ListJobs", nil, &jobs); !errors.Is(err, engine.ErrUnreachable) {
			break
		}
		if c, err = m.connected(ctx); err != nil {
			break
		}
		defer c.remember()()
		over, p.c = append(over, c), c
	}
	if err != nil {
		return nil, err
	}
	if len(over) > 1 {
		lost := make(chan struct{})
		close(lost)
		disturbed = lost
	}
	ends := firstEnds(over, first)
	queued := make(map[string]*systemd.JobStatus, len(jobs))
	for i := range jobs {
		queued[jobs[i].Unit] = &jobs[i]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, member := range members {
		w := &wait{Job: engine.Job{Op: engine.Start, Unit: member}, queued: p.queued, disturbed: disturbed}
		// A unit may have ended its job, and have another one that starts it again.
		if end, ok := ends[member]; ok {
			w.result = make(chan string, 1)
			w.result <- end.result
		} else if job := queued[member]; job != nil {
			w.path, w.began = job.JobPath, job.Status == "running"
			c.register(w)
		} else {
			continue
		}
		p.waits[member] = w
	}
	return p, nil
}

// firstEnds returns how the first job of each unit ended, of those that are not older
// than the first of a transaction: systemd numbers them in order, and that one is the
// job that was asked for.
func firstEnds(conns []*conn, first dbus.ObjectPath) map[string]ended {
	least, _ := strconv.ParseUint(path.Base(string(first)), 10, 32)
	ends := map[string]ended{}
	for _, c := range conns {
		c.mu.Lock()
		for _, job := range c.ended {
			if known, ok := ends[job.unit]; uint64(job.id) >= least && (!ok || job.id < known.id) {
				ends[job.unit] = job
			}
		}
		c.mu.Unlock()
	}
	return ends
}

// ended waits for the job of a member.
func (p *pull) ended(ctx context.Context, member string) error {
	if w := p.waits[member]; w != nil {
		return p.m.await(ctx, p.c, w)
	}
	// systemd leaves out, and does not tell, what cannot be loaded and what would close
	// a circle. But the end of a job can also have been lost.
	job := engine.Job{Op: engine.Start, Unit: member}
	c, err := p.m.connected(ctx)
	var left time.Time
	if err == nil {
		err = c.all(ctx, []*call{get(member, unitIface, "InactiveExitTimestamp", stamp(&left))})
	}
	if err != nil {
		return fmt.Errorf("cannot tell whether start of %s is done: %w", member, err)
	}
	if w := (&wait{Job: job, queued: p.queued}); !left.Before(w.queued.Truncate(time.Microsecond)) {
		return p.m.settled(ctx, c, w)
	}
	return p.m.Do(ctx, job)
}
