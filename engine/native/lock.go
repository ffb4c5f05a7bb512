package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is held by a supervisor as long as it lives, whatever becomes of its socket. The file
// stays: whoever removed it would have to know that nobody has just opened it.
func (h Home) lockFile() string { return filepath.Join(string(h), "lock") }

// isLocked has the lock for a moment too, which is no reason to give up.
const (
	lockTries = 3
	lockPause = 2 * time.Millisecond
)

// lock makes h the home of this supervisor alone, and makes its directories where they
// are missing.
func (h Home) lock() (release func(), err error) {
	for _, dir := range []string{string(h), h.Units(), h.Env(), h.Run(), h.Logs()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the supervisor's directory: %w", err)
		}
	}
	f, err := os.OpenFile(h.lockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", h, err)
	}
	err = flock(f, unix.LOCK_EX)
	for range lockTries {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
		err = flock(f, unix.LOCK_EX)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		if fd, ok := h.inheritedLock(); ok {
			keepNoneOverExec()
			return func() { unix.Close(fd) }, nil
		}
		return nil, fmt.Errorf("%w in %s%s", ErrRunning, h, h.holder())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", h, err)
	}
	keepNoneOverExec() // that of Ready, and what else this program was left
	return func() { f.Close() }, nil
}

func flock(f *os.File, how int) error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) }

// isLocked reports whether there is a supervisor, be it one that does not listen yet, or no more.
func (h Home) isLocked() bool {
	f, err := os.Open(h.lockFile())
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, unix.LOCK_SH), unix.EWOULDBLOCK)
}

// holder says which process has the lock, if its state says so.
func (h Home) holder() string {
	if s, err := readState(h.State()); err == nil && s.head.PID != 0 {
		return fmt.Sprintf(" (process %d)", s.head.PID)
	}
	return ""
}

// descriptors are those of this process that a program which is executed in its place, as
// supervisor of h, must have: without the lock another one could start in between, and without
// the socket clients would find nobody.
func (h Home) descriptors() []int {
	var found []int
	for _, fd := range openDescriptors() {
		if h.isLock(fd) || h.isListener(fd) {
			found = append(found, fd)
		}
	}
	return found
}

// inheritedLock finds the lock's descriptor if the program that this process was before left
// it: one that this program opened would close on exec.
func (h Home) inheritedLock() (fd int, ok bool) {
	for _, fd := range openDescriptors() {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 && h.isLock(fd) {
			return fd, true
		}
	}
	return 0, false
}

// inheritedListener finds the socket that it left. Who has the lock has no other one.
func (h Home) inheritedListener() (fd int, ok bool) {
	for _, fd := range openDescriptors() {
		if h.isListener(fd) {
			return fd, true
		}
	}
	return 0, false
}

func (h Home) isLock(fd int) bool {
	var mine, there unix.Stat_t
	return unix.Fstat(fd, &mine) == nil && unix.Stat(h.lockFile(), &there) == nil &&
		mine.Dev == there.Dev && mine.Ino == there.Ino
}

func (h Home) isListener(fd int) bool {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	local, ok := address.(*unix.SockaddrUnix)
	if !ok || !h.isOf(local.Name) {
		return false
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && listens != 0
}

// openDescriptors lists the descriptors of this process behind the standard ones.
func openDescriptors() []int {
	var open []int
	// Both Linux and macOS have it.
	if entries, err := os.ReadDir("/dev/fd"); err == nil {
		for _, e := range entries {
			if fd, err := strconv.Atoi(e.Name()); err == nil && fd > syscall.Stderr {
				open = append(open, fd)
			}
		}
		return open
	}
	const usual = 1024
	for fd := syscall.Stderr + 1; fd < usual; fd++ {
		open = append(open, fd)
	}
	return open
}
