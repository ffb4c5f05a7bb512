package native

import "time"

// rest finds the moments at which nothing has happened for a while after something did, or at
// which it goes on and on. Its timer runs only between the two: at rest there is none.
type rest struct {
	timer *time.Timer
	busy  bool
	since time.Time // when something happened first, and last
	last  time.Time
	told  time.Time
}

const (
	// settled is how long nothing has happened, goesOn how long something has, and seldom
	// how long one rest is from the next at least: giving memory back is work, too.
	settled = 2 * time.Second
	goesOn  = 20 * time.Second
	seldom  = time.Minute
)

func newRest() rest {
	r := rest{timer: time.NewTimer(settled)}
	r.timer.Stop()
	return r
}

// stir notes that something happens.
func (r *rest) stir(now time.Time) {
	r.last = now
	if !r.busy {
		r.busy, r.since = true, now
		r.timer.Reset(r.left(now))
	}
}

// rung reports whether there is a rest, when the timer has ended.
func (r *rest) rung(now time.Time) bool {
	if left := r.left(now); left > 0 {
		r.timer.Reset(left)
		return false
	}
	r.busy, r.told = false, now
	return true
}

// left is how long it takes until there is a rest, if nothing happens any more.
func (r *rest) left(now time.Time) time.Duration {
	at := r.last.Add(settled)
	if end := r.since.Add(goesOn); end.Before(at) {
		at = end
	}
	if next := r.told.Add(seldom); !r.told.IsZero() && next.After(at) {
		at = next
	}
	return at.Sub(now)
}
