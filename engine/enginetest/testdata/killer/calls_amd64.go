package main

import "golang.org/x/sys/unix"

// The older calls, which arm64 never had.
func init() {
	for _, nr := range []uint64{unix.SYS_RENAME, unix.SYS_LINK, unix.SYS_SYMLINK, unix.SYS_UNLINK, unix.SYS_RMDIR, unix.SYS_MKDIR, unix.SYS_CHMOD} {
		changing[nr] = true
	}
}
