package disk

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sync of a directory is what puts files on the medium that were synced before:
// fsync(2) hands a file to the drive, and F_FULLFSYNC has the drive write out
// all that it was handed, which takes so long that one must do for many files.
func (Real) Sync(path string) error {
	call := syscall.Fsync
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		call = func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
			if err != nil { // a network's file system
				return syscall.Fsync(fd)
			}
			return nil
		}
	}
	return syncBy(call, path)
}

// SyncAll syncs file by file: there is no call for a file system.
func (f Real) SyncAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	err = parallel(len(entries), syncers, func(i int) error {
		if !entries[i].Type().IsRegular() {
			return nil
		}
		return f.Sync(filepath.Join(dir, entries[i].Name()))
	})
	if err != nil {
		return err
	}
	return f.Sync(dir)
}
