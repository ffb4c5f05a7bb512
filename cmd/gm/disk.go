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

func (realDisk) Create(path string, mode fs.FileMode, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if mode&umask() != 0 && err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
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
// most of the work on one directory, so more does not help.
const writers = 4

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
