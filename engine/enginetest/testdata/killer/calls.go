package main

import "golang.org/x/sys/unix"

// changing are the system calls that every architecture has.
var changing = map[uint64]bool{
	unix.SYS_PWRITE64: true, unix.SYS_WRITEV: true, unix.SYS_SENDMSG: true, unix.SYS_SENDTO: true,
	unix.SYS_RENAMEAT: true, unix.SYS_RENAMEAT2: true, unix.SYS_LINKAT: true, unix.SYS_SYMLINKAT: true,
	unix.SYS_UNLINKAT: true, unix.SYS_MKDIRAT: true, unix.SYS_FCHMOD: true, unix.SYS_FCHMODAT: true,
	unix.SYS_FSYNC: true, unix.SYS_FDATASYNC: true, unix.SYS_SYNCFS: true, unix.SYS_FLOCK: true,
	unix.SYS_FTRUNCATE: true, unix.SYS_CONNECT: true,
}
