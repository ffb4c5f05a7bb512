package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// disk is the file system as the output directory changes it. Tests make each
// step fail in turn.
type disk interface {
	// MkdirTemp makes a new directory in dir, with a name of that pattern.
	MkdirTemp(dir, pattern string) (string, error)
	Mkdir(path string, mode fs.FileMode) error
	// Create writes a file that must not exist; mode is not subject to umask.
	Create(path string, mode fs.FileMode, text []byte) error
	Link(from, to string) error
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	Chmod(path string, mode fs.FileMode) error
}

// realDisk is the disk of this machine.
type realDisk struct{}

func (realDisk) MkdirTemp(dir, pattern string) (string, error) { return os.MkdirTemp(dir, pattern) }
func (realDisk) Mkdir(path string, mode fs.FileMode) error     { return os.Mkdir(path, mode) }
func (realDisk) Link(from, to string) error                    { return os.Link(from, to) }
func (realDisk) Rename(from, to string) error                  { return os.Rename(from, to) }
func (realDisk) Remove(path string) error                      { return os.Remove(path) }
func (realDisk) RemoveAll(path string) error                   { return os.RemoveAll(path) }
func (realDisk) Chmod(path string, mode fs.FileMode) error     { return os.Chmod(path, mode) }

// Create calls the system directly: os.OpenFile prepares each file for polling,
// at five system calls a file, and of 10,000 small files most of the time goes
// into system calls.
func (realDisk) Create(path string, mode fs.FileMode, text []byte) error {
	var fd int
	err := uninterrupted(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, uint32(mode))
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for len(text) > 0 && err == nil {
		err = uninterrupted(func() error {
			n, err := syscall.Write(fd, text)
			text = text[max(n, 0):]
			return err
		})
	}
	if mode&umask() != 0 && err == nil {
		err = syscall.Fchmod(fd, uint32(mode))
	}
	// NFS tells of a full disk on closing.
	if closed := syscall.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// uninterrupted repeats a system call that a signal cut short.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// umask returns the bits that the process's umask takes from new files. It can
// only be read by setting it.
var umask = sync.OnceValue(func() fs.FileMode {
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	return fs.FileMode(mask)
})

// dirLock is a directory that this process has for itself.
type dirLock struct {
	path string
	file *os.File // nil where the file system knows no locks
}

// lockDir takes a directory, or the nearest parent that exists, until unlock:
// two runs that write to one directory do it one after the other. Where that is
// impossible they are on their own.
func lockDir(path string) dirLock {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		return lockDir(filepath.Dir(path))
	}
	if err != nil {
		return dirLock{}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return dirLock{}
	}
	return dirLock{path, f}
}

// holds reports whether l is the lock of that directory.
func (l dirLock) holds(path string) bool { return l.file != nil && l.path == path }

func (l dirLock) unlock() {
	if l.file != nil {
		l.file.Close()
	}
}

// writers is how many files are read or written at once. File systems serialise
// most of the work on one directory; the second writer renders meanwhile.
const writers = 2

// inParallel calls f for each index and returns the error of the lowest index
// that failed; after an error no further index is begun.
func inParallel(n int, f func(i int) error) error {
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		next    int
		failed  = n
		problem error
	)
	for range min(writers, n) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || problem != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if i < failed {
						failed, problem = i, err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return problem
}

// remedyFor says what to do about an error of the file system.
func remedyFor(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk, or choose a directory on another"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only; choose a directory on another"
	case errors.Is(err, fs.ErrPermission):
		return "choose a directory that you may write to"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrNotExist):
		return "choose a directory whose parents exist and are directories"
	}
	return ""
}
