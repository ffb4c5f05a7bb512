package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

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
		lock := lockDir(filepath.Dir(path))
		if _, err := os.Stat(path); err != nil {
			return lock
		}
		lock.unlock() // whoever had it has made the directory
		return lockDir(path)
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
