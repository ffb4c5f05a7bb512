package watch

import (
	"context"
	"os"
	"time"
)

// Burst is changes that came together, each path once.
type Burst struct {
	Changes []Change
	index   map[string]int // in Changes, by path
}

// Last is the time of the last change.
func (b *Burst) Last() (last time.Time) {
	for _, c := range b.Changes {
		if c.At.After(last) {
			last = c.At
		}
	}
	return last
}

// After returns the first change after a time, and how many other paths changed.
func (b *Burst) After(t time.Time) (first Change, more int) {
	more = -1
	for _, c := range b.Changes {
		if c.At.After(t) {
			if more++; more == 0 {
				first = c
			}
		}
	}
	return first, max(0, more)
}

const (
	// calm is how long nothing must change before a burst is over: a checkout or a
	// build writes many files, one right after the other.
	calm = 20 * time.Millisecond
	// patience limits how long a burst may last beyond the delay: something may change
	// all the time.
	patience = 2 * time.Second
)

// Bursts joins changes: a burst is told when delay has passed since its first change
// and things are calm. A file that is removed is given the time of atomic to come
// back. Those that come before a burst is taken go into it.
func Bursts(ctx context.Context, changes <-chan Change, delay, atomic time.Duration) <-chan Burst {
	out := make(chan Burst)
	go func() {
		defer close(out)
		var b Burst
		var first time.Time
		over := time.NewTimer(0)
		over.Stop()
		ready := false
		for {
			var taken chan<- Burst
			if ready {
				taken = out
			}
			select {
			case <-ctx.Done():
				return
			case c, ok := <-changes:
				if !ok {
					return
				}
				if len(b.Changes) == 0 {
					first = time.Now()
				}
				b.add(c)
				quiet := calm
				if c.Kind == Removed {
					quiet = max(calm, atomic)
				}
				ready = false
				over.Reset(time.Until(b.end(first, delay, quiet)))
			case <-over.C:
				ready = true
			case taken <- b:
				b, ready = Burst{}, false
			}
		}
	}()
	return out
}

// end is when a burst is over if nothing else changes.
func (b *Burst) end(first time.Time, delay, quiet time.Duration) time.Time {
	end := time.Now().Add(quiet)
	if earliest := first.Add(delay); end.Before(earliest) {
		return earliest
	}
	if latest := first.Add(delay + patience); end.After(latest) {
		return latest
	}
	return end
}

func (b *Burst) add(c Change) {
	if b.index == nil {
		b.index = map[string]int{}
	}
	i, known := b.index[c.Path]
	if !known {
		b.index[c.Path] = len(b.Changes)
		b.Changes = append(b.Changes, c)
	} else if c.At.After(b.Changes[i].At) {
		b.Changes[i].At = c.At
	}
}

// settled holds changes of files back until they have kept their size for a time.
func settled(ctx context.Context, changes <-chan Change, stable, every time.Duration, size func(string) (int64, error)) <-chan Change {
	type pending struct {
		Change
		size  int64
		since time.Time
	}
	out := make(chan Change)
	go func() {
		defer close(out)
		waiting := map[string]*pending{}
		look := time.NewTicker(every)
		defer look.Stop()
		tell := func(c Change) {
			select {
			case out <- c:
			case <-ctx.Done():
			}
		}
		for {
			var tick <-chan time.Time
			if len(waiting) > 0 {
				tick = look.C
			}
			select {
			case <-ctx.Done():
				return
			case c, ok := <-changes:
				if !ok {
					return
				}
				was := waiting[c.Path]
				bytes, err := size(c.Path)
				switch {
				case c.Kind == Removed:
					delete(waiting, c.Path)
					if was == nil || was.Kind != Added { // else nobody was told that it is there
						tell(c)
					}
				case err != nil: // a directory, or gone
					tell(c)
				case was == nil:
					waiting[c.Path] = &pending{c, bytes, time.Now()}
				}
			case now := <-tick:
				for name, p := range waiting {
					bytes, err := size(name)
					if err != nil {
						delete(waiting, name)
						continue
					}
					if bytes != p.size {
						p.size, p.since, p.At = bytes, now, now
					}
					if now.Sub(p.since) >= stable {
						delete(waiting, name)
						tell(p.Change)
					}
				}
			}
		}
	}()
	return out
}

// fileSize is the size of a file; a directory has none.
func fileSize(name string) (int64, error) {
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return 0, os.ErrInvalid
	}
	return info.Size(), nil
}
