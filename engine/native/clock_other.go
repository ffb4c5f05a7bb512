//go:build !linux

package native

import "time"

// clock would tell when the clock on the wall is set; here nothing does, so it is looked
// at once a minute as long as something waits for it.
type clock struct{ post func(event) }

func (c *clock) start() {}

func (c *clock) longest() time.Duration { return time.Minute }

func (c *clock) close() {}
