package native

import (
	"errors"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clock tells when the clock on the wall is set: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.
type clock struct {
	post func(event)
	file *os.File
}

// start begins to look, once.
func (c *clock) start() {
	if c.file != nil {
		return
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return
	}
	if err := armForChanges(fd); err != nil {
		_ = unix.Close(fd)
		return
	}
	c.file = os.NewFile(uintptr(fd), "timerfd")
	go c.watch(c.file, fd)
}

func (c *clock) watch(file *os.File, fd int) {
	buf := make([]byte, 8)
	for {
		_, err := file.Read(buf)
		if !errors.Is(err, unix.ECANCELED) {
			return // closed
		}
		// Armed before it is told, so that no change after it is missed.
		if armForChanges(fd) != nil {
			return
		}
		c.post(evClockSet{})
	}
}

func armForChanges(fd int) error {
	never := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32 * 4}}
	return unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &never, nil)
}

// longest is how long to sleep at most before looking at the clock again.
func (c *clock) longest() time.Duration {
	if c.file == nil {
		return time.Minute
	}
	return math.MaxInt64
}

func (c *clock) close() {
	if c.file != nil {
		_ = c.file.Close()
	}
}
