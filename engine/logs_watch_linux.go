package engine

import (
	"os"
	"syscall"
)

// nonBlocking keeps open(2) from waiting for the writer of a pipe.
const nonBlocking = syscall.O_NONBLOCK

// dirWatch tells that something changed in directories: inotify(7).
type dirWatch struct {
	changed chan struct{}
	fd      int
	file    *os.File
}

func watchDirs() (*dirWatch, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	w := &dirWatch{changed: make(chan struct{}, 1), fd: fd, file: os.NewFile(uintptr(fd), "inotify")}
	go func() {
		buffer := make([]byte, 64<<10)
		for {
			if _, err := w.file.Read(buffer); err != nil {
				return // closed
			}
			select {
			case w.changed <- struct{}{}:
			default: // told and not yet taken
			}
		}
	}()
	return w, nil
}

// add watches a directory, if it is there; again is no harm.
func (w *dirWatch) add(dir string) {
	const mask = syscall.IN_MODIFY | syscall.IN_CREATE | syscall.IN_MOVE | syscall.IN_DELETE | syscall.IN_ATTRIB |
		syscall.IN_ONLYDIR
	// Without it there is the look from time to time.
	_, _ = syscall.InotifyAddWatch(w.fd, dir, mask)
}

func (w *dirWatch) close() { w.file.Close() }

// gone reports whether a file has no name any more.
func (o *openLog) gone() bool {
	info, err := o.f.Stat()
	if err != nil {
		return true
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}
