package disk

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Real is the file system of this machine.
type Real struct{}

var _ FS = Real{}

func (Real) Mkdir(path string, mode fs.FileMode) error     { return os.Mkdir(path, mode) }
func (Real) MkdirTemp(dir, pattern string) (string, error) { return os.MkdirTemp(dir, pattern) }
func (Real) Symlink(target, path string) error             { return os.Symlink(target, path) }
func (Real) Rename(from, to string) error                  { return os.Rename(from, to) }
func (Real) Remove(path string) error                      { return os.Remove(path) }
func (Real) RemoveAll(path string) error                   { return os.RemoveAll(path) }
func (Real) Chmod(path string, mode fs.FileMode) error     { return os.Chmod(path, mode) }

// Link calls linkat, as link(2) follows symbolic links on some systems.
func (Real) Link(from, to string) error {
	err := uninterrupted(func() error { return unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0) })
	if err != nil {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: err}
	}
	return nil
}

// Create calls the system directly: os.OpenFile prepares each file for polling,
// at five system calls a file, and of 10,000 small files most of the time goes
// into system calls.
func (Real) Create(path string, mode fs.FileMode, text []byte) error {
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

// syncBy opens a file or directory and has call sync it. File systems that cannot
// sync a directory say so with EINVAL or ENOTSUP, and need not.
func syncBy(call func(fd int) error, path string) error {
	var fd int
	err := uninterrupted(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	err = uninterrupted(func() error { return call(fd) })
	_ = syscall.Close(fd)
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return &fs.PathError{Op: "sync", Path: path, Err: err}
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
