package disk

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func (Real) Sync(path string) error { return syncBy(syscall.Fsync, path) }

// SyncAll syncs the whole file system. From Linux 5.8 on it tells of errors, as
// fsync does.
func (Real) SyncAll(dir string) error { return syncBy(unix.Syncfs, dir) }
